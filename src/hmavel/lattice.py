"""How the pixels of two grids lie to each other: index arithmetic, without any file.

A *lattice* is a grid continued without end. The scenes of one path and row share theirs, the
30 m and the 15 m bands of one scene do not (their pixel edges are 7.5 m apart).
"""

from __future__ import annotations

import math

from affine import Affine
from rasterio.crs import CRS

from hmavel._types import Grid
from hmavel.errors import GridMismatchError

#: Two lattices are one when no pixel of the part in use is further apart than this, in pixels.
LATTICE_TOLERANCE = 1e-3


def lattice_offset(
    lattice: Grid, window: Grid, *, item: object = "grid"
) -> tuple[int, int, float]:
    """Find where ``window`` starts on the pixels of ``lattice``.

    Returns
    -------
    (row, col, apart)
        The index, in ``lattice``, of the first pixel of ``window`` (negative when it starts
        outside), and by how much the two sets of pixels are apart where they are furthest
        apart inside ``window``, in pixels: the sub-pixel shift, and what a difference in pixel
        size adds up to. Below `LATTICE_TOLERANCE` the two are one lattice.

    Raises
    ------
    GridMismatchError
        The two have different coordinate systems.
    """
    require_same_crs(lattice, window, item=item)
    rows, cols = window.shape
    first_row, first_col = float(lattice.row(window.y(0))), float(lattice.col(window.x(0)))
    row, col = round(first_row), round(first_col)
    last_row = float(lattice.row(window.y(rows - 1))) - (rows - 1)
    last_col = float(lattice.col(window.x(cols - 1))) - (cols - 1)
    apart = max(
        abs(first_row - row), abs(first_col - col), abs(last_row - row), abs(last_col - col)
    )
    return row, col, apart


def require_same_crs(one: Grid, other: Grid, *, item: object = "grid") -> None:
    """Raise ``GridMismatchError`` unless both grids have the same coordinate system."""
    if one.crs != other.crs:
        raise GridMismatchError(
            "grid",
            item,
            expected=f"one coordinate system ({crs_name(one.crs)})",
            got=crs_name(other.crs),
            hint="bring both to one coordinate system first",
        )


def covering_window(lattice: Grid, area: Grid, *, margin: int = 0) -> Grid:
    """Return the smallest part of ``lattice`` whose pixels cover ``area``.

    The way from one scene grid to another: the pixels of a 30 m band that a 15 m window
    touches, or the Band-8 pixels under a 120 m grid.

    Parameters
    ----------
    lattice
        Its pixels are used, continued without end: the result may reach outside of it.
    area
        Any grid in the same coordinate system.
    margin
        Pixels of ``lattice`` to add on every side.

    Raises
    ------
    GridMismatchError
        The two have different coordinate systems.
    """
    require_same_crs(lattice, area)
    left, bottom, right, top = area.bounds
    # A pixel that is touched by rounding only is not touched.
    touch = LATTICE_TOLERANCE
    row = math.floor(lattice.row(top) + 0.5 + touch) - margin
    col = math.floor(lattice.col(left) + 0.5 + touch) - margin
    end_row = math.ceil(lattice.row(bottom) + 0.5 - touch) + margin
    end_col = math.ceil(lattice.col(right) + 0.5 - touch) + margin
    return lattice.crop(row, col, end_row - row, end_col - col)


def around_both(one: Grid, other: Grid) -> Grid:
    """Return a grid of one pixel that two of the same coordinate system lie in."""
    require_same_crs(one, other)
    left, bottom, right, top = (
        least(a, b) for least, a, b in zip((min, min, max, max), one.bounds, other.bounds,
                                           strict=True)
    )  # fmt: skip
    return Grid(one.crs, Affine(right - left, 0.0, left, 0.0, bottom - top, top), (1, 1))


def window_around(lattice: Grid, area: Grid, *, margin: int = 0) -> Grid:
    """Return the part of ``lattice`` around ``area``, which is in any coordinate system.

    As `covering_window` otherwise; within one system the result may be a pixel wider.
    """
    from pyproj import Transformer  # slow to load, and needed across systems only

    to_lattice = Transformer.from_crs(area.crs, lattice.crs, always_xy=True)
    left, bottom, right, top = to_lattice.transform_bounds(*area.bounds, densify_pts=21)
    row = math.floor(lattice.row(top) + 0.5) - margin
    col = math.floor(lattice.col(left) + 0.5) - margin
    end_row = math.ceil(lattice.row(bottom) + 0.5) + margin
    end_col = math.ceil(lattice.col(right) + 0.5) + margin
    return lattice.crop(row, col, end_row - row, end_col - col)


def crs_name(crs: CRS) -> str:
    """Name a coordinate system in a message: its code, or the start of its definition."""
    return str(crs.to_string())[:80]
