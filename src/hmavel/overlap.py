"""Masks from one grid to another, by how much of each cell they cover.

The 30 m and 15 m bands of a Landsat scene have their pixel *edges* 7.5 m apart, so a 15 m
pixel lies in one 30 m pixel or across two, and repeating pixels is wrong. Here the overlap
of every cell with every pixel is exact: both are rectangles on the same axes, so that the
covered area is a double integral which is taken along one axis and then the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmavel._types import BoolArray, FloatArray, Grid
from hmavel.lattice import LATTICE_TOLERANCE, require_same_crs


def to_grid(mask: BoolArray, grid: Grid, target: Grid, how: str | float = "any") -> BoolArray:
    """Bring a mask to the cells of another grid of the same coordinate system.

    Parameters
    ----------
    mask
        Shape ``grid.shape``.
    grid, target
        Where the mask is, and where it is wanted; any sizes, any offset.
    how
        ``"any"``: a cell is True when one pixel that it touches is (clouds).
        ``"all"``: when it lies inside ``grid`` and every pixel that it touches is True
        (validity). A number in 0 < f <= 1: when at least this share of its area is True.

    Returns
    -------
    bool array, shape ``target.shape``
        False beyond ``grid``.

    Raises
    ------
    GridMismatchError
        Two coordinate systems.
    ValueError
        Another shape than the grid's, or an unknown ``how``.
    """
    mask = _checked(mask, grid, target)
    if how == "any":
        return _touches(mask, grid, target)
    if how == "all":
        return _inside(grid, target) & ~_touches(~mask, grid, target)
    if isinstance(how, str) or not 0 < how <= 1:
        raise ValueError(
            f'to_grid how: expected "any", "all" or a share in 0 < f <= 1, got {how!r}; '
            'use "any" for what spoils a cell'
        )
    return np.asarray(covered(mask, grid, target) >= how - 1e-9)


def covered(mask: BoolArray, grid: Grid, target: Grid) -> FloatArray:
    """Return the share of each target cell's area that a mask covers, 0 ... 1, float64.

    Parameters and errors as in `to_grid`.
    """
    mask = _checked(mask, grid, target)
    rows, cols = _edges(grid, target)
    area = _integral(_integral(mask.astype(float), rows, 0), cols, 1)
    per_cell = np.diff(rows)[:, None] * np.diff(cols)[None, :]
    return np.clip(area / per_cell, 0.0, 1.0)


def _checked(mask: BoolArray, grid: Grid, target: Grid) -> BoolArray:
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != grid.shape:
        raise ValueError(
            f"to_grid mask: expected the grid's shape {grid.shape}, got {mask.shape}; "
            "pass the grid that the mask was read with"
        )
    require_same_crs(grid, target, item="mask")
    return mask


def _edges(grid: Grid, target: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of the target's cells, in pixels of the grid from its first edge."""
    rows, cols = target.shape
    # y(-0.5) is the first row's upper edge, and row() counts from the first centre.
    row = grid.row(target.y(np.arange(rows + 1) - 0.5)) + 0.5
    col = grid.col(target.x(np.arange(cols + 1) - 0.5)) + 0.5
    return np.asarray(row, dtype=float), np.asarray(col, dtype=float)


def _integral(
    values: NDArray[Any], edges: NDArray[np.float64], axis: int
) -> NDArray[np.float64]:
    """Integrate pixels of unit width between successive edges; nothing lies outside."""
    values = np.moveaxis(values, axis, 0)
    count = values.shape[0]
    total = np.zeros((count + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=total[1:])
    at = np.clip(edges, 0.0, count)
    whole = np.minimum(at.astype(int), count)
    part = (at - whole).reshape(-1, *[1] * (values.ndim - 1))
    following = values[np.minimum(whole, count - 1)] if count else 0.0
    return np.moveaxis(np.diff(total[whole] + part * following, axis=0), 0, axis)


def _touches(mask: BoolArray, grid: Grid, target: Grid) -> BoolArray:
    edges_of = _edges(grid, target)
    for axis in (1, 0):  # rows last: they lie together in memory
        edges, count = edges_of[axis], mask.shape[axis]
        # What is touched by rounding only is not touched.
        first = np.clip(np.floor(edges[:-1] + LATTICE_TOLERANCE), 0, count).astype(int)
        last = np.clip(np.ceil(edges[1:] - LATTICE_TOLERANCE), 0, count).astype(int)
        if not count:
            return np.zeros(target.shape, bool)
        # One pixel of every cell, then the next: cells have next to none in common.
        found = mask.take(np.minimum(first, last - 1), axis)
        for step in range(1, int((last - first).max(initial=0))):
            found |= mask.take(np.minimum(first + step, last - 1), axis)
        mask = found & (first < last).reshape((-1, 1) if axis == 0 else (1, -1))
    return mask


def _inside(grid: Grid, target: Grid) -> BoolArray:
    inside = []
    for count, edges in zip(grid.shape, _edges(grid, target), strict=True):
        first, last = edges[:-1] + LATTICE_TOLERANCE, edges[1:] - LATTICE_TOLERANCE
        inside.append((first >= 0) & (last <= count))
    return np.asarray(inside[0][:, None] & inside[1][None, :])
