"""From the pixels of one grid to those of another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import rasterio.warp
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from hmavel._types import Grid
from hmavel.errors import GridMismatchError
from hmavel.lattice import crs_name

#: Side of the tiles in which one coordinate system is warped to another.
_TILE = 128

_METHODS = {
    name: Resampling[name]
    for name in ("nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "max")
}
#: Those that weigh the pixels around a point; the others look at what a pixel covers.
_KERNELS = ("bilinear", "cubic", "cubic_spline", "lanczos")


def resample(
    array: NDArray[Any],
    grid: Grid,
    target: Grid,
    method: str = "cubic",
    *,
    fill: int = 0,
) -> NDArray[Any]:
    """Bring ``array`` from ``grid`` to the pixels of ``target``, across coordinate systems too.

    Parameters
    ----------
    array
        Shape ``grid.shape``. NaN of a float array is no-data. A boolean array comes back as
        one: "max" is the OR of the pixels that a target pixel covers, "average" a majority.
    grid, target
        Where the array is, and where it is wanted.
    method
        "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average" or "max".
    fill
        What pixels of an integer or boolean array get where it does not reach (a float array
        has NaN there).

    Returns
    -------
    ndarray
        Shape ``target.shape``, the type of ``array``.

    Raises
    ------
    ValueError
        An unknown method or a shape that is not the grid's.
    GridMismatchError
        There is no transformation between the two coordinate systems.

    Notes
    -----
    Positions: exact within one coordinate system; between two, within 1/1000 px from Landsat's
    15 m pixels to those of a neighbouring zone and within 1/50 px from 120 m cells to degrees
    (GDAL's default, 1/8 px, is more than a glacier moves in many a pair). Components of
    vectors are not rotated: see ``velocity.rotate``.
    """
    if method not in _METHODS:
        raise ValueError(
            f"resample: expected a method out of {', '.join(_METHODS)}, got {method!r}; "
            "choose one of them"
        )
    if array.shape != grid.shape:
        raise ValueError(
            f"resample: expected an array of the grid's shape {grid.shape}, got {array.shape}; "
            "give the grid that belongs to the array"
        )
    source = array.astype(np.uint8) if array.dtype == bool else array
    floating = np.issubdtype(array.dtype, np.floating)
    out = np.full(target.shape, np.nan if floating else fill, dtype=source.dtype)
    try:
        ratio = _pixel_ratio(grid, target) if method in _KERNELS else {}
        warp = _warp if grid.crs == target.crs else _warp_tiles
        warp(source, grid, out, target, method, ratio)
    except (RasterioError, CPLE_BaseError) as error:
        raise GridMismatchError(
            "resample",
            crs_name(target.crs),
            expected=f"a coordinate system that can be reached from {crs_name(grid.crs)}",
            got=str(error),
            hint="check both coordinate systems",
        ) from error
    return out.astype(bool) if array.dtype == bool else out


def _warp(
    source: NDArray[Any],
    grid: Grid,
    out: NDArray[Any],
    target: Grid,
    method: str,
    ratio: Mapping[str, float],
) -> None:
    """Warp into ``out``, which keeps its values where the source does not reach.

    Left to itself, GDAL takes the ratio of two windows for the ratio of the pixel sizes, sees
    a shrinking where there is a turn or a small window, and widens its kernel: so it is told.
    """
    nodata = np.nan if np.issubdtype(source.dtype, np.floating) else None
    rasterio.warp.reproject(
        source,
        out,
        src_transform=grid.transform,
        src_crs=grid.crs,
        src_nodata=nodata,
        dst_transform=target.transform,
        dst_crs=target.crs,
        dst_nodata=nodata,
        init_dest_nodata=False,
        resampling=_METHODS[method],
        **ratio,
    )


def _warp_tiles(
    source: NDArray[Any],
    grid: Grid,
    out: NDArray[Any],
    target: Grid,
    method: str,
    ratio: Mapping[str, float],
) -> None:
    """Warp between coordinate systems in tiles, in which GDAL's shortcut does no harm.

    GDAL interpolates positions along a row of the target as long as they are within 1/8 px,
    and rasterio cannot tell it otherwise; the error falls with the square of the row's length.
    """
    rows, cols = target.shape
    for row in range(0, rows, _TILE):
        for col in range(0, cols, _TILE):
            tile = target.crop(row, col, min(_TILE, rows - row), min(_TILE, cols - col))
            bounds = rasterio.warp.transform_bounds(target.crs, grid.crs, *tile.bounds)
            left, bottom, right, top = bounds
            # Cropping spares GDAL the whole source; the pad is for the widest kernel, or, where
            # the target's pixels are the larger ones, for what they cover.
            reach = 8 + math.ceil((right - left) / tile.shape[1] / grid.transform.a)
            first_row = max(0, math.floor(grid.row(top)) - reach)
            first_col = max(0, math.floor(grid.col(left)) - reach)
            end_row = min(grid.shape[0], math.ceil(grid.row(bottom)) + reach + 1)
            end_col = min(grid.shape[1], math.ceil(grid.col(right)) + reach + 1)
            if end_row <= first_row or end_col <= first_col:
                continue
            part = grid.crop(first_row, first_col, end_row - first_row, end_col - first_col)
            piece = np.ascontiguousarray(source[first_row:end_row, first_col:end_col])
            here = np.s_[row : row + tile.shape[0], col : col + tile.shape[1]]
            warped = out[here].copy()
            _warp(piece, part, warped, tile, method, ratio)
            out[here] = warped


def _pixel_ratio(grid: Grid, target: Grid) -> dict[str, float]:
    """Return GDAL's XSCALE and YSCALE: target pixels per source pixel, at the centre."""
    rows, cols = target.shape
    x = target.x(cols / 2 + np.array([-0.5, 0.5, 0.0, 0.0]))
    y = target.y(rows / 2 + np.array([0.0, 0.0, -0.5, 0.5]))
    x, y = rasterio.warp.transform(target.crs, grid.crs, x, y)
    row, col = grid.row(np.asarray(y)), grid.col(np.asarray(x))
    across, down = (math.hypot(row[i + 1] - row[i], col[i + 1] - col[i]) for i in (0, 2))
    return {
        name: 1.0 if abs(length - 1) < 0.05 else 1 / length
        for name, length in (("XSCALE", across), ("YSCALE", down))
    }
