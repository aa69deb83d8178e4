"""Where mountains keep the sun off the ground: from heights and the sun's place alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from hmavel._types import BoolArray, FloatArray, Grid
from hmavel.errors import ReadError
from hmavel.lattice import window_around
from hmavel.raster import open_raster
from hmavel.raster_resample import resample

#: Below this the sun does not light a scene that could be matched.
_LOWEST_SUN = 2.0
#: A height that shades nothing, metres.
_NOTHING = np.float32(-1e6)
#: Pixel that heights are brought to, and how far beyond the ground mountains are looked at.
RELIEF_PIXEL_M, RELIEF_REACH_M = 30.0, 6000.0


def terrain_shadow(
    height: FloatArray, pixel: float, azimuth: float, elevation: float
) -> BoolArray:
    """Find ground that faces away from the sun, or that higher ground keeps it off.

    Parameters
    ----------
    height
        Metres, (rows, cols), first row northernmost; NaN = unknown, which shades nothing and
        is not in shadow.
    pixel
        Side of a pixel, metres.
    azimuth, elevation
        Of the sun, degrees: clockwise from north, above the horizon.

    Returns
    -------
    bool array, shape of ``height``

    Raises
    ------
    ValueError
        The sun is lower than 2 degrees or above the zenith, or ``pixel`` is not positive.

    Notes
    -----
    The terrain is followed towards the sun, one row or column at a time and linearly between
    the pixels of it; what lies beyond the map shades nothing. A shadow's edge is right to
    about a pixel. Refraction (0.1 degrees at 10) and the Earth's curvature (4 m over 7 km)
    are neglected.
    """
    z = np.asarray(height, np.float32)
    if z.ndim != 2 or not pixel > 0 or not _LOWEST_SUN <= elevation <= 90:
        raise ValueError(
            "mask terrain_shadow: expected a 2-D height, pixel > 0 and the sun at "
            f"{_LOWEST_SUN:g} ... 90 degrees, got {z.ndim}-D, {pixel}, {elevation}; check the "
            "scene's sun angles"
        )
    known = np.isfinite(z)
    if not known.any():
        return np.zeros(z.shape, bool)
    ground = np.where(known, z, _NOTHING)
    east, north = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))
    by_row = abs(north) >= abs(east)
    if not by_row:  # step along columns instead: the same work on the turned map
        ground, east, north = ground.T, -north, -east
    # now rows are stepped; north is the first axis, backwards
    along = -1 if north > 0 else 1
    across = east / abs(north)
    rise = pixel * math.hypot(1.0, across) * math.tan(math.radians(elevation))
    relief = float(np.ptp(z[known]))
    steps = min(math.ceil(relief / rise), ground.shape[0] - 1)
    shadow = np.zeros(ground.shape, bool)
    for k in range(1, steps + 1):
        shift = across * k
        whole = math.floor(shift)
        part = np.float32(shift - whole)
        seen = _moved(ground, along * k, whole) * (1 - part)
        if part > 0:
            seen = seen + _moved(ground, along * k, whole + 1) * part
        shadow |= seen > ground + np.float32(rise * k)
    shadow = shadow if by_row else shadow.T
    return np.asarray(shadow & known)


def read_relief(path: Path, over: Grid) -> tuple[FloatArray, Grid]:
    """Read the heights around a grid, of which only the part needed is read.

    Parameters
    ----------
    path
        Any raster of heights in metres, in any coordinate system.
    over
        The ground that shadows may fall on.

    Returns
    -------
    (height, grid)
        float32 metres, NaN = unknown; pixels of 30 m in the system of ``over``, to 6 km
        beyond it.

    Raises
    ------
    ReadError
        The file cannot be read, or has no height here.
    """
    left, bottom, right, top = over.bounds
    left, top = left - RELIEF_REACH_M, top + RELIEF_REACH_M
    shape = (
        math.ceil((top - bottom + RELIEF_REACH_M) / RELIEF_PIXEL_M),
        math.ceil((right + RELIEF_REACH_M - left) / RELIEF_PIXEL_M),
    )
    grid = Grid(over.crs, Affine(RELIEF_PIXEL_M, 0, left, 0, -RELIEF_PIXEL_M, top), shape)
    with open_raster(path) as reader:
        height, part = reader.read_known(window=window_around(reader.grid, grid, margin=2))
    if not np.isfinite(height).any():
        raise ReadError(
            "read", path, expected="heights around the glacier", got="none there",
            hint="check that the elevation model covers it",
        )
    return resample(height, part, grid, "bilinear"), grid


def _moved(ground: NDArray[np.float32], row: int, col: int) -> NDArray[np.float32]:
    """Return the map as seen ``row`` and ``col`` pixels further; nothing beyond its edge."""
    out = np.full_like(ground, _NOTHING)
    rows, cols = ground.shape
    if abs(row) >= rows or abs(col) >= cols:
        return out
    target = (_part(-row, rows), _part(-col, cols))
    source = (_part(row, rows), _part(col, cols))
    out[target] = ground[source]
    return out


def _part(shift: int, size: int) -> slice:
    """Return the indices that remain after dropping ``shift`` from the start or the end."""
    return slice(max(shift, 0), size + min(shift, 0))
