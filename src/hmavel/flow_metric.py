"""Strain rates over ice in the direction of flow, and their scatter.

Ice has no zero to compare with, but it deforms smoothly: what a velocity map shows of
strain beyond that is its error (GLAFT's second metric).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from hmavel._types import BoolArray
from hmavel.terrain import StaticTerrain, static_terrain

Array = NDArray[np.float64]

#: Width of the window that gives the flow's direction, metres.
DIRECTION_M = 1500.0


@dataclass(frozen=True)
class StrainRate:
    """Strain rates in flow coordinates: x' along the flow, y' to its left; NaN = unknown.

    Units are those of velocity over length: 1/day for m/day on a grid in metres.
    """

    exx: Array  #: normal strain rate along the flow, shape of the maps
    exy: Array  #: shear strain rate, half the sum of the two cross derivatives
    direction: Array  #: radians, counter-clockwise from east


@dataclass(frozen=True)
class FlowMetric:
    """Scatter of the strain rates over ice."""

    scatter: StaticTerrain  #: x = along-flow normal, y = along-flow shear
    strain: StrainRate

    @property
    def delta_normal(self) -> float:
        """Half-width of the along-flow normal strain rate at ``thres_sigma``."""
        return self.scatter.delta_x

    @property
    def delta_shear(self) -> float:
        """Half-width of the along-flow shear strain rate at ``thres_sigma``."""
        return self.scatter.delta_y


def flow_metric(
    vx: ArrayLike,
    vy: ArrayLike,
    ice: ArrayLike,
    *,
    pixel: float,
    method: str = "robust",
    thres_sigma: float = 2.0,
    gridsize: int = 60,
) -> FlowMetric:
    """Measure the scatter of along-flow strain rates over ice.

    Parameters
    ----------
    vx, vy
        Velocity maps (rows, cols), x east, y north, first row northernmost; NaN = missing.
    ice
        True where the glacier is, well inside its outline (GLAFT's demo: 600 m).
    pixel
        Side of a pixel in the length unit of the velocity, usually metres.
    method
        ``"robust"``, or ``"glaft"`` for the numbers of GLAFT 1.0.0.
    thres_sigma, gridsize
        As for ``static_terrain``.

    Returns
    -------
    FlowMetric
        Half-widths and the strain-rate maps.

    Raises
    ------
    ValueError
        Shapes differ, ``pixel`` is not positive, or an argument of ``static_terrain``.
    StableGroundError
        Too few strain rates for a density.
    """
    strain = strain_rate(vx, vy, ice, pixel=pixel, method=method)
    known = np.isfinite(strain.exx) & np.isfinite(strain.exy)
    scatter = static_terrain(
        strain.exx[known],
        strain.exy[known],
        method=method,
        thres_sigma=thres_sigma,
        gridsize=gridsize,
        # neighbouring 3 x 3 windows share two thirds of their pixels each way
        redundancy=9.0 if method == "robust" else 1.0,
    )
    return FlowMetric(scatter, strain)


def strain_rate(
    vx: ArrayLike, vy: ArrayLike, ice: ArrayLike, *, pixel: float, method: str = "robust"
) -> StrainRate:
    """Return strain rates in flow coordinates over ice.

    Parameters
    ----------
    vx, vy, ice, pixel, method
        As for ``flow_metric``.

    Notes
    -----
    Derivatives are those of the plane fitted to the valid pixels of a 3 x 3 window, exact
    on linear flow whatever is missing, and the direction is that of the median of the
    components over 1.5 km, so that it does not jump at west. GLAFT's derivatives are plain
    Sobel sums, eight times the derivative, and its direction is a median of angles; the
    ``glaft`` mode keeps both.
    """
    x, y, on = np.asarray(vx), np.asarray(vy), np.asarray(ice, dtype=bool)
    if x.ndim != 2 or x.shape != y.shape or x.shape != on.shape:
        raise ValueError(
            f"flow_metric maps: expected three of one 2-D shape, got {x.shape}, {y.shape} and "
            f"{on.shape}; put the ice mask on the maps' grid"
        )
    if not pixel > 0:
        raise ValueError(f"flow_metric pixel: expected a positive size, got {pixel}; in metres")
    if method not in ("robust", "glaft"):
        raise ValueError(
            f"flow_metric method: expected 'robust' or 'glaft', got {method!r}; choose one"
        )
    return _glaft_strain(x, y, on, pixel) if method == "glaft" else _strain(x, y, on, pixel)


def _strain(vx: NDArray[Any], vy: NDArray[Any], ice: BoolArray, pixel: float) -> StrainRate:
    known = ice & np.isfinite(vx) & np.isfinite(vy)
    x, y = np.where(known, vx, 0.0).astype(np.float64), np.where(known, vy, 0.0).astype(float)
    size = _odd(DIRECTION_M / pixel)
    along, across = _median_field(x, known, size), _median_field(y, known, size)
    dx_dx, dx_dy = _slopes(x, known, pixel)
    dy_dx, dy_dy = _slopes(y, known, pixel)
    direction = np.where(known, np.arctan2(across, along), np.nan)
    return _rotated(dx_dx, dy_dy, (dx_dy + dy_dx) / 2, direction)


def _rotated(exx: Array, eyy: Array, exy: Array, direction: Array) -> StrainRate:
    twice = np.sin(2 * direction)
    normal = exx * np.cos(direction) ** 2 + eyy * np.sin(direction) ** 2 + exy * twice
    shear = (eyy - exx) / 2 * twice + exy * np.cos(2 * direction)
    return StrainRate(normal, shear, direction)


def _slopes(v: Array, known: BoolArray, pixel: float) -> tuple[Array, Array]:
    """Slopes to the east and to the north of the plane through the valid 3 x 3 neighbours."""
    weight = known.astype(np.float64)
    one, ramp = np.ones(3), np.array([-1.0, 0.0, 1.0])

    def total(a: Array, down: Array, right: Array) -> Array:
        partly = ndimage.correlate1d(a, down, axis=0, mode="constant")
        return np.asarray(ndimage.correlate1d(partly, right, axis=1, mode="constant"))

    n, c, r = total(weight, one, one), total(weight, one, ramp), total(weight, ramp, one)
    cc, rr = total(weight, one, ramp**2), total(weight, ramp**2, one)
    cr = total(weight, ramp, ramp)
    f, fc, fr = total(v, one, one), total(v, one, ramp), total(v, ramp, one)
    with np.errstate(divide="ignore", invalid="ignore"):
        # normal equations with the mean taken out
        scc, srr, scr = cc - c * c / n, rr - r * r / n, cr - c * r / n
        sfc, sfr = fc - f * c / n, fr - f * r / n
        det = scc * srr - scr * scr
        east, south = (sfc * srr - sfr * scr) / det, (sfr * scc - sfc * scr) / det
    # six valid pixels and both slopes seen: less is guessing
    enough = known & (n >= 6) & (det > 1.0)
    return (
        np.where(enough, east / pixel, np.nan),
        np.where(enough, -south / pixel, np.nan),
    )


def _median_field(v: Array, known: BoolArray, size: int) -> Array:
    """Masked running median: on every few pixels, interpolated between them.

    A median over many pixels varies slowly; a quarter of its width is close enough.
    """
    stride = max(1, size // 4)
    half = size // 2
    padded = np.pad(np.where(known, v, np.nan), half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    windows = windows[::stride, ::stride]
    coarse = np.full(windows.shape[:2], np.nan)
    for i, line in enumerate(windows):
        flat = np.sort(line.reshape(len(line), -1), axis=1)  # NaN last
        n = np.isfinite(flat).sum(axis=1)
        any_known = np.flatnonzero(n)
        low, high = (n[any_known] - 1) // 2, n[any_known] // 2
        coarse[i, any_known] = (flat[any_known, low] + flat[any_known, high]) / 2
    have = np.isfinite(coarse)
    at = np.mgrid[0 : v.shape[0], 0 : v.shape[1]] / stride
    filled = ndimage.map_coordinates(np.where(have, coarse, 0.0), at, order=1, mode="nearest")
    share = ndimage.map_coordinates(have.astype(float), at, order=1, mode="nearest")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(share > 1e-9, filled / share, np.nan))


def _glaft_strain(
    vx: NDArray[Any], vy: NDArray[Any], ice: BoolArray, pixel: float
) -> StrainRate:
    """GLAFT's steps: no-data as -9999 in the angles, Sobel sums, a median of angles."""
    from scipy import signal  # half a second to load, and nothing else here needs it

    nodata = np.asarray(-9999.0, dtype=vx.dtype)
    angle = np.arctan2(
        np.where(np.isfinite(vy), vy, nodata), np.where(np.isfinite(vx), vx, nodata)
    )
    # in the precision of the maps, as the package has it: its numbers depend on that
    direction: Array = np.asarray(signal.medfilt2d(angle, min(_odd(DIRECTION_M / pixel), 35)))
    known = ice & np.isfinite(vx) & np.isfinite(vy)
    x, y = (np.where(known, v, np.nan).astype(np.float64) for v in (vx, vy))
    direction[~known] = np.nan

    def sobel(v: Array, axis: int) -> Array:
        return np.asarray(ndimage.sobel(v, axis=axis, mode="constant", cval=np.nan)) / pixel

    shear = (sobel(y, 1) - sobel(x, 0)) / 2  # rows run south
    return _rotated(sobel(x, 1), -sobel(y, 0), shear, direction)


def _odd(pixels: float) -> int:
    return max(3, int(pixels // 2 * 2 + 1))
