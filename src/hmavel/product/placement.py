"""Where the cells of one grid fall in another, found once and used for every month and band."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
from numpy.typing import NDArray

from hmavel._types import BoolArray, FloatArray, Grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasterio.crs import CRS

#: Cells between exact positions. In between they are interpolated: over 16 cells of 120 m the
#: curvature of UTM against the meridians is below 0.1 m, a thousandth of a cell.
_KNOT = 16

IntArray = NDArray[np.int32]


class Placement:
    """The cells of ``target`` in the index space of ``source``, in another CRS.

    Parameters
    ----------
    source, target
        The grid that has the values, and the one that wants them. Keep the target small (the
        part of a mosaic's block that a glacier touches): one weight per cell and corner is
        kept.

    Notes
    -----
    Interpolation is bilinear over the corners that have a value, weights renormalised; a
    target cell has one only if the nearest source cell does, so that nothing grows at margins
    and gaps. Positions refer to cell centres on both sides.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        x, y = _positions(target, source.crs)
        row, col = source.row(y), source.col(x)
        self._shape = source.shape
        self._nearest_row = _rounded(row, source.shape[0])
        self._nearest_col = _rounded(col, source.shape[1])
        #: True where the target's cell centre lies in a cell of the source.
        self.inside: BoolArray = (self._nearest_row >= 0) & (self._nearest_col >= 0)
        self._row, self._col = np.floor(row), np.floor(col)
        self._down = (row - self._row).astype(np.float32)
        self._right = (col - self._col).astype(np.float32)

    def nearest(self, array: FloatArray) -> FloatArray:
        """Return the value of the source cell that each target centre lies in, else NaN."""
        values = array[self._nearest_row, self._nearest_col]
        return np.where(self.inside, values, np.float32(np.nan))

    def bilinear(self, arrays: Sequence[FloatArray]) -> list[FloatArray]:
        """Interpolate arrays that have their gaps in common (the first one's are used)."""
        has = self.inside & np.isfinite(self.nearest(arrays[0]))
        sums = [np.zeros(has.shape, dtype=np.float32) for _ in arrays]
        total = np.zeros(has.shape, dtype=np.float32)
        rows, cols = self._shape
        for down in (0, 1):
            for right in (0, 1):
                weight = (self._down if down else 1 - self._down) * (
                    self._right if right else 1 - self._right
                )
                # A corner beyond the edge repeats the edge: as the cell there is taken
                # already, with the same value, that only shifts weight to it.
                row = np.clip(self._row + down, 0, rows - 1).astype(np.int32)
                col = np.clip(self._col + right, 0, cols - 1).astype(np.int32)
                known = has & np.isfinite(arrays[0][row, col])
                weight = np.where(known, weight, 0)
                total += weight
                for sum_, array in zip(sums, arrays, strict=True):
                    sum_ += weight * np.where(known, array[row, col], 0)
        total = np.where(has, total, np.nan)
        return [sum_ / total for sum_ in sums]


def footprint(source: Grid, crs: CRS) -> tuple[float, float, float, float]:
    """Return (left, bottom, right, top) of a grid in another CRS, its edges densified."""
    left, bottom, right, top = source.bounds
    box: tuple[float, float, float, float] = _transformer(source.crs, crs).transform_bounds(
        left, bottom, right, top, densify_pts=41
    )
    return box


def corners(source: Grid, crs: CRS) -> list[tuple[float, float]]:
    """Return the four corners of a grid in another CRS, counterclockwise from the lower left.

    Its sides are straight in its own CRS; in the other they are off by some metres.
    """
    left, bottom, right, top = source.bounds
    x, y = [left, right, right, left], [bottom, bottom, top, top]
    there = _transformer(source.crs, crs).transform(x, y)
    return list(zip(*there, strict=True))


def _positions(target: Grid, crs: CRS) -> tuple[FloatArray, FloatArray]:
    """Return x and y in ``crs`` of the target's cell centres, each ``target.shape``."""
    rows, cols = target.shape
    knot_row, knot_col = _knots(rows), _knots(cols)
    x, y = np.meshgrid(target.x(knot_col), target.y(knot_row))
    x, y = _transformer(target.crs, crs).transform(x, y)
    return _between(x, knot_row, knot_col, target), _between(y, knot_row, knot_col, target)


def _knots(size: int) -> FloatArray:
    return np.linspace(0, max(size - 1, 1), -(-max(size - 1, 1) // _KNOT) + 1)


def _between(
    values: FloatArray, knot_row: FloatArray, knot_col: FloatArray, target: Grid
) -> FloatArray:
    rows, cols = target.shape
    return _weights(knot_row, rows) @ values @ _weights(knot_col, cols).T


def _weights(knots: FloatArray, size: int) -> FloatArray:
    """Return the (size, n_knots) matrix of linear interpolation."""
    return np.stack([np.interp(np.arange(size), knots, unit) for unit in np.eye(len(knots))], 1)


def _rounded(index: FloatArray, size: int) -> IntArray:
    """Return the cell that an index falls in, -1 outside."""
    cell = np.floor(index + 0.5)
    return np.where((cell >= 0) & (cell < size), cell, -1).astype(np.int32)


@lru_cache(maxsize=32)
def _transformer(source: CRS, target: CRS) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source.to_wkt(), target.to_wkt(), always_xy=True)
