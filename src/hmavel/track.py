"""The direction of a scene's own columns: the satellite's track over the map."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from hmavel._types import Grid

#: Landsat's orbit: cosine of the inclination (west), speed of its foot, of the equator, km/s.
_COS_INCLINATION, _GROUND_SPEED, _ROTATION_SPEED = 0.1426, 6.76, 0.465


def track_angle(grid: Grid) -> float:
    """Return the direction of Landsat's own columns in the middle of a grid.

    Parameters
    ----------
    grid
        North up, in a projected coordinate system.

    Returns
    -------
    float
        Degrees clockwise from the grid's columns, of a descending track; 0 beyond 81 degrees
        of latitude, where the satellite turns.

    Notes
    -----
    From the orbit's inclination (98.2 degrees), the satellite's speed over ground and the
    Earth's rotation under it; the sides of two Collection-2 footprints, at 48 and at 72
    degrees north, are turned by 14.7 and 28.8 degrees where this gives 14.8 and 29.2.
    """
    middle = grid.x((grid.shape[1] - 1) / 2), grid.y((grid.shape[0] - 1) / 2)
    return _track_angle_at(grid.crs.wkt, *middle)


@lru_cache(maxsize=64)
def _track_angle_at(wkt: str, x: float, y: float) -> float:
    """Do it for one place, once: it is asked for every pair of a glacier."""
    import pyproj

    system = pyproj.CRS.from_wkt(wkt)
    to_degrees = pyproj.Transformer.from_crs(system, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(x, y)
    lean = _COS_INCLINATION / np.cos(np.deg2rad(latitude))
    if lean >= 0.95:
        return 0.0
    west = _GROUND_SPEED * lean + _ROTATION_SPEED * np.cos(np.deg2rad(latitude))
    heading = np.degrees(np.arctan2(west, _GROUND_SPEED * np.sqrt(1 - lean**2)))
    convergence = pyproj.Proj(system).get_factors(longitude, latitude).meridian_convergence
    return float(heading - convergence)


def scene_column_angle(valid: ArrayLike) -> float:
    """Estimate the direction of a scene's own columns from the edge of its data.

    Parameters
    ----------
    valid
        True where the scene has data, (rows, cols): square pixels or nodes.

    Returns
    -------
    float
        Degrees clockwise from the image's columns; 0 where neither the left nor the right
        edge of the footprint is inside the image.
    """
    mask = np.asarray(valid, dtype=bool)
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size < 8:
        return 0.0
    cols = mask.shape[1]
    first = np.argmax(mask[rows], axis=1)
    last = cols - 1 - np.argmax(mask[rows][:, ::-1], axis=1)
    lag = max(4, rows.size // 8)
    slopes = []
    for edge, border in ((first, 0), (last, cols - 1)):
        inside = edge != border
        both = inside[lag:] & inside[:-lag]
        slope = (edge[lag:] - edge[:-lag])[both] / (rows[lag:] - rows[:-lag])[both]
        # the footprint's upper and lower edges run across: they are the other pair of sides
        slopes.append(slope[np.abs(slope) < 1.0])
    found = np.concatenate(slopes)
    if found.size < max(8, rows.size // 8):
        return 0.0
    # edges run along whole pixels: the middle of the likely slopes is finer than any of them
    likely = found[np.abs(found - np.median(found)) <= 2.0 / lag]
    return float(-np.degrees(np.arctan(likely.mean())))
