"""The ground that does not change from scene to scene: elevation, slopes, rock, ice.

Everything is a formula or a periodic tile, so any window can be made alone: a full scene is
rendered strip by strip, and the memory does not grow with its size. Terrain and rock repeat
every 30.7 km in scenes that are larger than that; glaciers and their valleys do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, interpolate, ndimage, spatial

from hmavel.simulate.flow import Glacier
from hmavel.simulate.layout import World
from hmavel.simulate.noise import F32, F64, fractal, shape_spectrum, smoothstep, spline, window

#: Side and pitch of the tiles of the ice: twice oversampled, so that they can be sampled
#: anywhere between their pixels.
ICE_TILE, ICE_PITCH = 1024, 7.5
#: How far from the ice a valley's walls reach.
_VALLEY_M = 1700.0


@dataclass(frozen=True)
class Tiles:
    """Periodic random fields, made once per seed."""

    terrain: F32  #: metres
    rock: F32  #: std 1: brightness of bare ground
    patch: F32  #: std 1: where snow stays
    drift: F32  #: the same as spline coefficients, for what lies on moving ice
    ice: F32  #: spline coefficients, std 1: the grain of the ice
    crevasse: F32  #: spline coefficients, std 1: cracks across the flow (its rows)


@lru_cache(maxsize=1)
def tiles(seed: int, side: int) -> Tiles:
    """Make the tiles of a seed, ``side`` pixels of 15 m; the last ones are kept."""
    rng = np.random.default_rng([seed, 2])
    shape = (side, side)
    white = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    fr, fc = fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None, :]
    k = np.hypot(fr, fc).astype(np.float32)
    k[0, 0] = 1.0
    turn = np.exp(2j * np.pi * rng.random(6)).astype(np.complex64)

    def band(low_m: float, high_m: float, beta: float, which: int) -> F32:
        """Cut wavelengths between two lengths; another phase per band hides the kinship."""
        low, high = 15.0 / high_m, 15.0 / low_m
        gain = k**-beta * (1 - np.exp(-((k / low) ** 4))) * np.exp(-((k / high) ** 6))
        gain[0, 0] = 0.0
        field = fft.irfft2(white * gain * turn[which], s=shape)
        return np.asarray(field / field.std(), dtype=np.float32)

    base = band(7_000, 40_000, 1.0, 0)
    high = 1.0 - np.abs(band(3_500, 9_000, 1.0, 1))  # |noise| has creases: ridges
    mid = 1.0 - np.abs(band(1_100, 3_500, 1.2, 2))
    low = 1.0 - np.abs(band(350, 1_100, 1.4, 3))
    rough = band(40, 500, 1.7, 4)
    weight = np.clip(0.5 + 0.5 * high, 0.15, 1.0)
    terrain = 4960.0 + 160.0 * base + 360.0 * high + weight * (190.0 * mid + 55.0 * low)
    terrain += 7.0 * rough
    rock = fractal(rng, shape, 1.05).astype(np.float32)
    patch = band(90, 1_500, 1.3, 5)
    return Tiles(
        terrain=terrain.astype(np.float32),
        rock=rock,
        patch=patch,
        drift=spline(patch),
        ice=spline(fractal(rng, (ICE_TILE, ICE_TILE), 1.1, low=1 / 150, high=0.22)),
        crevasse=spline(_crevasses(rng)),
    )


def _crevasses(rng: np.random.Generator) -> F32:
    """Cracks that run along the columns' direction: wavelengths 35 to 200 m down the rows."""
    fr = np.abs(fft.fftfreq(ICE_TILE))[:, None]
    fc = fft.rfftfreq(ICE_TILE)[None, :]
    k = np.hypot(fr, fc) + 1e-9
    angle = np.arctan2(fc, fr)
    low, high = ICE_PITCH / 200, ICE_PITCH / 35
    gain = k**-0.6 * (1 - np.exp(-((k / low) ** 4))) * np.exp(-((k / high) ** 8))
    gain = gain * np.exp(-((angle / 0.6) ** 2))
    return np.asarray(shape_spectrum(rng, (ICE_TILE, ICE_TILE), gain, exact=False))


@dataclass(frozen=True)
class Ice:
    """The pixels of a window that show one glacier."""

    glacier: Glacier
    flat: NDArray[np.intp]  #: flat indices into the window
    z: F64
    q: F64
    crevassed: F32
    debris: F32


@dataclass(frozen=True)
class Ground:
    """What does not change, in a window of the 15 m grid."""

    elevation: F32  #: metres
    east: F32  #: rise per metre to the east
    north: F32  #: rise per metre to the north
    rock: F32  #: std 1
    patch: F32  #: std 1
    icy: F32  #: part of the pixel that is glacier, 0 ... 1
    ice: tuple[Ice, ...]


def ground(world: World, row: int, col: int, rows: int, cols: int) -> Ground:
    """Compute a window of the ground; it may reach outside the scene."""
    tile = tiles(world.seed, world.tile)
    pad = 1  # slopes are central differences
    grid = world.grid.crop(row - pad, col - pad, rows + 2 * pad, cols + 2 * pad)
    z = window(tile.terrain, row - pad, col - pad, *grid.shape)
    icy = np.zeros(grid.shape, dtype=np.float32)
    share = np.ones(grid.shape, dtype=np.float32)
    relief = 12.0 * window(tile.patch, row - pad, col - pad, *grid.shape)
    x, y = grid.x(np.arange(grid.shape[1])), grid.y(np.arange(grid.shape[0]))
    for glacier in world.glaciers:
        part = _reach(glacier, x, y, _VALLEY_M)
        if part is not None:
            xs, ys = x[part[1]][None, :], y[part[0]][:, None]
            _carve(glacier, xs, ys, relief[part], z[part], share[part], icy[part])
    z /= share
    north, east = np.gradient(z, -15.0, 15.0)
    inner = (slice(pad, -pad), slice(pad, -pad))
    xi, yi = x[pad:-pad], y[pad:-pad]
    found = (_on_ice(g, xi, yi) for g in world.glaciers)
    return Ground(
        elevation=np.ascontiguousarray(z[inner]),
        east=np.ascontiguousarray(east[inner], dtype=np.float32),
        north=np.ascontiguousarray(north[inner], dtype=np.float32),
        rock=window(tile.rock, row, col, rows, cols),
        patch=window(tile.patch, row, col, rows, cols),
        icy=np.ascontiguousarray(icy[inner]),
        ice=tuple(ice for ice in found if ice is not None),
    )


def _reach(glacier: Glacier, x: F64, y: F64, margin: float) -> tuple[slice, slice] | None:
    """Return the rows and columns within ``margin`` of the glacier's box, if there are any."""
    gx, gy = glacier.outline(60)
    cols = np.flatnonzero((x >= gx.min() - margin) & (x <= gx.max() + margin))
    rows = np.flatnonzero((y >= gy.min() - margin) & (y <= gy.max() + margin))
    if not (len(cols) and len(rows)):
        return None
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def _carve(
    glacier: Glacier, x: F64, y: F64, relief: F32, z: F32, share: F32, icy: F32
) -> None:
    """Lay the glacier into its valley: the walls rise from the ice to the terrain.

    ``z`` and ``share`` gather the weighted sum of elevations and its weights; on the ice and
    beside it the weight is so large that no neighbour's valley counts.
    """
    away = _away(glacier)(y[::-1, 0], x[0])[::-1]
    along, q = glacier.to_flow(x, y)
    surface = glacier.surface(along, np.where(np.abs(q) < 1, q, 1.0))
    wall = surface + 0.50 * np.clip(away, 0.0, None)
    wall += relief * smoothstep(away, 20.0, 300.0)
    near = smoothstep(away, _VALLEY_M, 100.0)
    weight = near / (1.0 + 1e-4 - near)
    z += weight * wall
    share += weight
    icy[...] = np.maximum(icy, smoothstep(glacier.distance(x, y), 8.0, -8.0))


@lru_cache(maxsize=1024)
def _away(glacier: Glacier) -> interpolate.RectBivariateSpline:
    """Distance to the outline as a spline over (y, x): exact every 120 m, smooth between."""
    outline = np.column_stack(glacier.outline(600))
    low, high = outline.min(axis=0) - 2_400.0, outline.max(axis=0) + 2_400.0
    x, y = np.arange(low[0], high[0], 120.0), np.arange(low[1], high[1], 120.0)
    points = np.stack(np.meshgrid(x, y), axis=-1)
    metres, _ = spatial.cKDTree(outline).query(points)
    sign = np.where(glacier.inside(points[..., 0], points[..., 1]), -1.0, 1.0)
    return interpolate.RectBivariateSpline(y, x, sign * metres)


def _on_ice(glacier: Glacier, x: F64, y: F64) -> Ice | None:
    part = _reach(glacier, x, y, 30.0)
    if part is None:
        return None
    xs, ys = x[part[1]][None, :], y[part[0]][:, None]
    near = ndimage.binary_dilation(glacier.inside(xs, ys), iterations=1)
    rows, cols = np.nonzero(near)
    if not len(rows):
        return None
    z, q = glacier.to_flow(xs[0, cols], ys[rows, 0])
    # pixels whose centre lies just outside still show ice in a part of their area
    z, q = np.clip(z, 1e-6, 1 - 1e-6), np.clip(q, -1.0, 1.0)
    flat = (rows + part[0].start) * len(x) + cols + part[1].start
    return Ice(
        glacier,
        flat,
        z,
        q,
        glacier.crevassed(z, q).astype(np.float32),
        glacier.debris(z, q).astype(np.float32),
    )
