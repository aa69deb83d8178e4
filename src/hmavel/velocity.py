"""Displacements in pixels to velocities on map axes: displacement -> velocity.

The only file in which (row, col) becomes (x, y).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rasterio.crs import CRS

from hmavel._types import (
    DAYS_PER_YEAR,
    Displacement,
    FloatArray,
    Grid,
    Velocity,
    days_between,
)
from hmavel.errors import GridMismatchError

if TYPE_CHECKING:
    import pyproj

#: Nodes per side on which the convergence is computed; it bends so little that a cubic spline
#: through them is exact to 1e-9 rad over a Landsat scene.
_CONVERGENCE_NODES = 17


class Baseline(Protocol):
    """What a velocity needs to know of a pair: a ``Pair``, or a plan of one without arrays."""

    @property
    def grid(self) -> Grid:
        """The pixels that the displacement's ``row`` and ``col`` count."""

    @property
    def reference_id(self) -> str:
        """Id of the reference scene."""

    @property
    def secondary_id(self) -> str:
        """Id of the secondary scene."""

    @property
    def start(self) -> np.datetime64:
        """Time of the reference scene."""

    @property
    def end(self) -> np.datetime64:
        """Time of the secondary scene."""


@dataclass(frozen=True)
class Rotated:
    """Vectors along the axes of another coordinate system, with their errors."""

    vx: FloatArray  #: along the new x axis; the unit that came in
    vy: FloatArray
    sigma_vx: FloatArray | None  #: 1 sigma; None when none came in
    sigma_vy: FloatArray | None
    covariance: FloatArray | None  #: between vx and vy: a turn makes one even where none was


def east_north(
    d: Displacement, pixel: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Turn a displacement in pixels into metres on map axes.

    Parameters
    ----------
    d
        Pixels, positive down / right.
    pixel
        Side of a pixel, metres.

    Returns
    -------
    (east, north, sigma_east, sigma_north)
        Metres, float32, positive east / north; NaN where ``d`` is NaN.
    """
    size = np.float32(pixel)
    return (
        np.asarray(d.dcol, dtype=np.float32) * size,
        np.asarray(d.drow, dtype=np.float32) * -size,
        np.asarray(d.sigma_col, dtype=np.float32) * size,
        np.asarray(d.sigma_row, dtype=np.float32) * size,
    )


def to_velocity(d: Displacement, pair: Baseline) -> Velocity:
    """Divide a pair's displacement by its baseline.

    Parameters
    ----------
    d
        Pixels of ``pair.grid``.
    pair
        A ``Pair`` or a ``PairPlan``: grid, ids, times.

    Returns
    -------
    Velocity
        m/yr of 365.25 days, float32, on the grid whose cell centres are the nodes. A negative
        baseline (secondary before reference) gives the same velocity as the pair put right.

    Raises
    ------
    GridMismatchError
        The grid is not in metres, or its pixels are not square.
    ValueError
        Both scenes have one time.

    Notes
    -----
    Metres are those of the map: in UTM between 0.9996 of the ground's (on the central
    meridian) and about 1.0004 (at the edge of the zone).
    """
    _require_metres(pair.grid)
    years = days_between(pair.start, pair.end) / DAYS_PER_YEAR
    if years == 0:
        raise ValueError(
            f"velocity {pair.reference_id}: expected two times, got {pair.start} twice; "
            "check the scenes' times"
        )
    east, north, sigma_east, sigma_north = east_north(d, pair.grid.pixel)
    return Velocity(
        grid=pair.grid.nodes(d.row, d.col),
        reference_id=pair.reference_id,
        secondary_id=pair.secondary_id,
        start=pair.start,
        end=pair.end,
        vx=east / np.float32(years),
        vy=north / np.float32(years),
        sigma_vx=sigma_east / np.float32(abs(years)),
        sigma_vy=sigma_north / np.float32(abs(years)),
        quality=d.quality,
    )


def rotate(
    vx: FloatArray,
    vy: FloatArray,
    grid: Grid,
    crs: CRS,
    *,
    sigma_vx: FloatArray | None = None,
    sigma_vy: FloatArray | None = None,
    covariance: FloatArray | None = None,
) -> Rotated:
    """Give the components of vectors along the axes of another coordinate system.

    The vectors stay where they are: only their components change. To be done before they are
    put on a grid in ``crs``.

    Parameters
    ----------
    vx, vy
        Components along the x and y axis of ``grid``, shape (..., rows, cols).
    grid
        Where the vectors are.
    crs
        Whose axes are wanted. A geographic system means east and north at each place, still
        in metres.
    sigma_vx, sigma_vy, covariance
        1 sigma of the components and their covariance (taken as 0 when not given); both
        sigmas or neither.

    Returns
    -------
    Rotated

    Raises
    ------
    ValueError
        A shape that is not the grid's, or one sigma without the other.

    Notes
    -----
    The angle is the difference of the two meridian convergences at each cell. At the edge of
    a UTM zone at 35 degrees north it is 1.7 degrees to the geographic axes (3 % of the speed)
    and twice that to the neighbouring zone. The systems in use are conformal, so an angle is
    all there is, apart from the point scale (4e-4), which is left as it is.
    """
    for name, array in (("vx", vx), ("vy", vy), ("sigma_vx", sigma_vx), ("sigma_vy", sigma_vy)):
        if array is not None and array.shape[-2:] != grid.shape:
            raise ValueError(
                f"rotate {name}: expected an array of the grid's shape {grid.shape}, got "
                f"{array.shape}; give the grid that belongs to the vectors"
            )
    if (sigma_vx is None) != (sigma_vy is None):
        raise ValueError(
            "rotate: expected both sigmas or none, got one; give sigma_vx, sigma_vy"
        )
    angle = axis_angle(grid, crs)
    c, s = np.cos(angle), np.sin(angle)
    kind = np.result_type(vx, vy)
    new_x, new_y = (c * vx + s * vy).astype(kind), (c * vy - s * vx).astype(kind)
    if sigma_vx is None or sigma_vy is None:
        return Rotated(new_x, new_y, None, None, None)
    xx, yy = np.square(sigma_vx, dtype=float), np.square(sigma_vy, dtype=float)
    xy = np.zeros_like(xx) if covariance is None else np.asarray(covariance, dtype=float)
    return Rotated(
        new_x,
        new_y,
        np.sqrt(c * c * xx + s * s * yy + 2 * c * s * xy).astype(kind),
        np.sqrt(s * s * xx + c * c * yy - 2 * c * s * xy).astype(kind),
        (c * s * (yy - xx) + (c * c - s * s) * xy).astype(kind),
    )


def axis_angle(grid: Grid, crs: CRS) -> FloatArray:
    """Return by how much the axes of ``crs`` are turned against the grid's, at each cell.

    Returns
    -------
    ndarray
        (rows, cols), radians, positive when the other x axis points further to the north
        (anticlockwise). Zero when both systems are one.
    """
    found = _angle_at_nodes(grid, crs)
    rows, cols = grid.shape
    if found is None:
        return np.zeros(grid.shape)
    from scipy.interpolate import RectBivariateSpline  # slow to load, and rarely needed

    return np.asarray(RectBivariateSpline(*found)(np.arange(rows), np.arange(cols)))


# A region's mosaic turns the same glaciers month after month.
@lru_cache(maxsize=4096)
def _angle_at_nodes(grid: Grid, crs: CRS) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return rows, columns and the angle where they cross; None where nothing is turned."""
    import pyproj  # slow to load, and a pair is not turned

    rows, cols = grid.shape
    own, other = pyproj.CRS.from_wkt(grid.crs.to_wkt()), pyproj.CRS.from_wkt(crs.to_wkt())
    if own == other:
        return None
    row = np.linspace(0, max(rows - 1, 1), _CONVERGENCE_NODES)
    col = np.linspace(0, max(cols - 1, 1), _CONVERGENCE_NODES)
    x, y = np.meshgrid(grid.x(col), grid.y(row))
    geographic = (
        own.geodetic_crs if own.geodetic_crs is not None else pyproj.CRS.from_epsg(4326)
    )
    longitude, latitude = pyproj.Transformer.from_crs(
        own, geographic, always_xy=True
    ).transform(x, y)
    angle = _convergence(own, longitude, latitude) - _convergence(other, longitude, latitude)
    return row, col, angle


def _convergence(crs: pyproj.CRS, longitude: FloatArray, latitude: FloatArray) -> FloatArray:
    """Return the angle from grid north to true north, radians, positive anticlockwise."""
    import pyproj

    if crs.is_geographic:
        return np.zeros_like(longitude)
    factors = pyproj.Proj(crs).get_factors(longitude, latitude, errcheck=True)
    return np.asarray(np.radians(factors.meridian_convergence))


def _require_metres(grid: Grid) -> None:
    crs, (a, e) = grid.crs, (grid.transform.a, grid.transform.e)
    if not crs.is_projected or abs(crs.linear_units_factor[1] - 1.0) > 1e-12:
        raise GridMismatchError(
            "velocity",
            "grid",
            expected="a projected coordinate system in metres",
            got=str(crs.to_string())[:80],
            hint="use scenes in their UTM zone",
        )
    if abs(abs(a) - abs(e)) > 1e-9 * abs(a):
        raise GridMismatchError(
            "velocity",
            "grid",
            expected="square pixels",
            got=f"{abs(a):g} by {abs(e):g} m",
            hint="use scenes in their UTM zone",
        )
