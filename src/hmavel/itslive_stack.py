"""Velocities of many ITS_LIVE pairs on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmavel._types import FloatArray, Grid, TimeArray, days_between
from hmavel.errors import GridMismatchError
from hmavel.lattice import crs_name

_PER_PAIR = ("start", "end", "vx", "vy", "sigma_vx", "sigma_vy", "id", "sensor")


@dataclass(frozen=True)
class PairStack:
    """Velocities of many pairs on one grid; arrays (p, rows, cols) unless said."""

    grid: Grid
    start: TimeArray  #: (p,) datetime64[ms] of the earlier scene
    end: TimeArray  #: (p,) of the later scene
    vx: FloatArray  #: float32, m/yr along +x of the grid, NaN = missing
    vy: FloatArray  #: float32, m/yr along +y
    sigma_vx: FloatArray  #: (p,) 1 sigma, m/yr: what the file says of stable ground
    sigma_vy: FloatArray
    id: NDArray[np.str_]  #: (p,) name of the granule, "" where the file has none
    sensor: NDArray[np.str_]  #: (p,) "LC08", or "LC08+LC09" for a pair of two, "" = unknown

    @property
    def baseline_days(self) -> FloatArray:
        """Days from scene to scene."""
        return days_between(self.start, self.end)

    def take(self, pairs: NDArray[Any]) -> PairStack:
        """Return some of the pairs, by index or by mask."""
        return replace(self, **{name: getattr(self, name)[pairs] for name in _PER_PAIR})

    def on(self, grid: Grid) -> PairStack:
        """Return the stack on the cells of another grid of the same CRS.

        Each cell takes the value of the cell that its centre lies in: values are neither
        blended nor made up, and are at most half a cell (ITS_LIVE's 120 m lattice and
        hmavel's: 7.5 m) from where they are said to be.

        Raises
        ------
        GridMismatchError
            Another CRS; the vectors would have to be turned.
        """
        if grid.crs != self.grid.crs:
            raise GridMismatchError(
                "itslive", f"{len(self.start)} pairs", expected=crs_name(grid.crs),
                got=crs_name(self.grid.crs),
                hint="take the datacube of the glacier's own UTM zone",
            )
        rows, cols = (np.arange(n) for n in grid.shape)
        row = np.floor(self.grid.row(grid.y(rows)) + 0.5).astype(int)
        col = np.floor(self.grid.col(grid.x(cols)) + 0.5).astype(int)
        height, width = self.grid.shape
        inside = ((row >= 0) & (row < height))[:, None] & ((col >= 0) & (col < width))
        at = np.ix_(np.clip(row, 0, height - 1), np.clip(col, 0, width - 1))
        vx, vy = (
            np.where(inside, values[:, at[0], at[1]], np.float32(np.nan))
            for values in (self.vx, self.vy)
        )
        return replace(self, grid=grid, vx=vx, vy=vy)


def require_same_lattice(path: object, one: Grid, other: Grid) -> None:
    """Refuse a grid whose cells are not those of ``one``, shifted by whole cells."""
    row, col = one.row(other.y(0)), one.col(other.x(0))
    off = max(abs(row - round(row)), abs(col - round(col)))
    if one.crs != other.crs or abs(one.pixel - other.pixel) > 1e-3 or off > 0.01:
        raise GridMismatchError(
            "itslive", path, expected=f"{crs_name(one.crs)} cells of {one.pixel:g} m at whole "
            "steps from the first file's", got=f"{crs_name(other.crs)}, {other.pixel:g} m, "
            f"{off:.2f} cells off", hint="process each lattice by itself",
        )


def joined(stacks: Sequence[PairStack]) -> PairStack:
    """Put stacks of one lattice on their common extent, pairs one after the other."""
    base = stacks[0].grid
    corners = [
        (round(base.row(s.grid.y(0))), round(base.col(s.grid.x(0))), *s.grid.shape)
        for s in stacks
    ]
    top, left = min(c[0] for c in corners), min(c[1] for c in corners)
    rows = max(c[0] + c[2] for c in corners) - top
    cols = max(c[1] + c[3] for c in corners) - left
    count = sum(len(s.start) for s in stacks)
    fields = [np.full((count, rows, cols), np.nan, np.float32) for _ in range(2)]
    at = 0
    for stack, (row, col, height, width) in zip(stacks, corners, strict=True):
        pairs = slice(at, at + len(stack.start))
        where = slice(row - top, row - top + height), slice(col - left, col - left + width)
        for field, part in zip(fields, (stack.vx, stack.vy), strict=True):
            field[(pairs, *where)] = part
        at += len(stack.start)

    values: dict[str, Any] = {
        name: np.concatenate([getattr(stack, name) for stack in stacks])
        for name in _PER_PAIR
        if name not in ("vx", "vy")
    }
    grid = base.crop(top, left, rows, cols)
    return PairStack(grid=grid, vx=fields[0], vy=fields[1], **values)
