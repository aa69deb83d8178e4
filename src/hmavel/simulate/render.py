"""One scene's pixels: ground, snow, moving ice, sun and sky, seen through the sensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hmavel._types import BoolArray, Grid
from hmavel.simulate import sensor
from hmavel.simulate.layout import World
from hmavel.simulate.noise import F32, F64, sample
from hmavel.simulate.sensor import HALO
from hmavel.simulate.terrain import ICE_PITCH, ICE_TILE, Ground, Ice, ground, tiles
from hmavel.simulate.weather import Acquisition, Sky, sky, snow_cover

U16 = NDArray[np.uint16]
U8 = NDArray[np.uint8]

#: Half the life of a generation of the ice's texture, years: scenes dt apart share
#: cos(pi dt / 2 RENEWAL) of it.
RENEWAL = 1.5

#: Part of the brightness of rock that each scene has for itself (white on the 15 m grid);
#: ice has 0.6 of it. Chosen so that matches on bare ground scatter as on real pairs.
FRESH = 0.09

#: When in the year the snow of a new winter takes over: when least is left of the old.
SNOW_LAID = 0.63

BANDS30 = ("B2", "B3", "B4", "B5", "B6", "B7")
#: Reflectance of what is seen, per band.
SPECTRA = {
    name: dict(zip((*BANDS30, "B8"), values, strict=True))
    for name, values in {
        "rock": (0.11, 0.13, 0.15, 0.20, 0.25, 0.21, 0.14),
        "ice": (0.48, 0.50, 0.46, 0.33, 0.04, 0.03, 0.48),
        "debris": (0.15, 0.17, 0.18, 0.21, 0.22, 0.18, 0.175),
        "snow": (0.89, 0.88, 0.86, 0.74, 0.10, 0.08, 0.87),
        "cloud": (0.76, 0.74, 0.74, 0.73, 0.52, 0.40, 0.74),
        "path": (0.055, 0.035, 0.020, 0.010, 0.003, 0.002, 0.026),  # the air's own light
    }.items()
}
#: Bits of the truth mask.
VALID, CLOUD, CIRRUS, SHADOW, SNOW, ICE, SHADED = (1 << i for i in range(7))

#: Most pixels of Band 8 in one strip; a demo is one strip, a full scene is 121.
STRIP_PIXELS = 4_500_000


@dataclass(frozen=True)
class Strip:
    """The pixels of some rows of a scene."""

    row: int  #: first row, 30 m grid; the first of Band 8 is twice that
    b8: U16
    b30: dict[str, U16]
    qa: U16
    radsat: U16
    truth: U8  #: bits as named above


def strips(world: World) -> list[tuple[int, int]]:
    """Return (first, last + 1) rows of the 30 m grid of every strip."""
    n30 = world.grid30.shape[0]
    rows = n30 if world.size**2 <= STRIP_PIXELS else 64
    return [(a, min(a + rows, n30)) for a in range(0, n30, rows)]


@lru_cache(maxsize=1)
def _ground(world: World, row: int, rows: int) -> Ground:
    return ground(world, row - HALO, -HALO, rows + 2 * HALO, world.size + 2 * HALO)


def year_of(time: np.datetime64, epoch: np.datetime64) -> float:
    """Years of 365.25 days since the epoch of the flow."""
    return float((time - epoch) / np.timedelta64(1, "ms")) / (365.25 * 864e5)


def ice_texture(ice: Ice, world: World, t: float) -> F32:
    """Brightness of the ice relative to its mean, at the window's ice pixels, at time t.

    Each generation of the texture is fixed to the material as it lay at the generation's own
    time; the pixel's particle is followed back to then (in closed form) and the texture
    looked up there. Two generations overlap, one fading in while the other fades out.
    """
    glacier, tile = ice.glacier, tiles(world.seed, world.tile)
    total = np.zeros(len(ice.z), dtype=np.float32)
    first = int(np.floor(t / RENEWAL))
    for generation in (first, first + 1):
        born = generation * RENEWAL
        weight = np.cos(np.pi / 2 * (t - born) / RENEWAL)
        pseudo = float(glacier.rate.integral(born) - glacier.rate.integral(t))
        z = glacier.advance(ice.z, ice.q, pseudo)
        row, col = _texture_place(ice, z, generation)
        grain, cracks = sample(tile.ice, row, col), sample(tile.crevasse, row, col)
        contrast = 0.05 + 0.07 * ice.crevassed
        total += np.float32(weight) * (contrast * grain + 0.17 * ice.crevassed * cracks)
    return np.clip(total, -0.7, 0.9)


def _texture_place(ice: Ice, z: F64, generation: int) -> tuple[F64, F64]:
    """Where a generation's tile has the material: along the glacier is down the tile."""
    g = ice.glacier
    rng = np.random.default_rng([g.texture, generation + 1000])
    offset = rng.uniform(0, ICE_TILE, 2)
    along = z * g.length
    across = g.centre(z) + g.width(z) * ice.q
    return along / ICE_PITCH + offset[0], across / ICE_PITCH + offset[1]


def snow_pattern(ice: Ice, world: World, t: float) -> F32:
    """Where snow stays on the ice, std 1, at the ice pixels of a window at time t.

    Snow that has fallen on a glacier rides on it: each winter lays a pattern of its own, and
    until that has melted it goes where the ice goes.
    """
    glacier, tile = ice.glacier, tiles(world.seed, world.tile)
    winter = int(np.floor(t - SNOW_LAID))
    pseudo = float(glacier.rate.integral(winter + SNOW_LAID) - glacier.rate.integral(t))
    x, y = glacier.from_flow(glacier.advance(ice.z, ice.q, pseudo), ice.q)
    rng = np.random.default_rng([glacier.texture, winter + 2000])
    row, col = world.grid.row(y), world.grid.col(x)
    offset = rng.uniform(0, world.tile, 2)
    return sample(tile.drift, row + offset[0], col + offset[1])


@dataclass(frozen=True)
class _Surface:
    """What lies on the ground at one time, on the 15 m grid with its halo."""

    light: F32  #: irradiance relative to the sun at the zenith, without cloud shadows
    snow: F32
    icy: F32
    debris: F32
    rock: F32  #: brightness factor of bare ground
    ice: F32  #: relative brightness of the ice, times ``icy``
    facing: F32  #: cosine of the sun's angle to the ground's normal


def _surface(world: World, shot: Acquisition, g: Ground, t: float, row: int) -> _Surface:
    e, a = np.deg2rad(shot.sun_elevation), np.deg2rad(shot.sun_azimuth)
    sx, sy, sz = np.cos(e) * np.sin(a), np.cos(e) * np.cos(a), np.sin(e)
    normal = np.sqrt(1.0 + g.east * g.east + g.north * g.north)
    facing = (np.float32(sz) - np.float32(sx) * g.east - np.float32(sy) * g.north) / normal
    light = np.float32(0.86) * np.maximum(facing, 0) + np.float32(0.14 * sz)
    shape = g.elevation.shape
    ice = np.zeros(shape, dtype=np.float32)
    debris = np.zeros(shape, dtype=np.float32)
    patch = g.patch.copy()
    for part in g.ice:
        ice.ravel()[part.flat] = ice_texture(part, world, t)
        debris.ravel()[part.flat] = part.debris
        patch.ravel()[part.flat] = snow_pattern(part, world, t)
    # wet ground, new patches of snow too small to see: a little that no two scenes share
    fresh = sensor.scene_noise(world.seed, shot.index, 0, row, shape)
    # bedrock has no say in what is seen on a glacier, under its snow either
    bed = np.float32(0.24) * g.rock * (1 - g.icy)
    rock = np.clip(1.0 + bed + FRESH * fresh, 0.35, 2.2).astype(np.float32)
    ice += np.float32(0.6 * FRESH) * fresh
    snow = snow_cover(g.elevation, g.east, g.north, patch, shot)
    return _Surface(
        light=light.astype(np.float32),
        snow=snow,
        icy=g.icy,
        debris=debris,
        rock=rock,
        ice=ice * g.icy,
        facing=facing.astype(np.float32),
    )


def _reflect(
    band: str, light: F32, snow: F32, icy: F32, debris: F32, rock: F32, ice: F32
) -> F32:
    """Mix the surfaces of a pixel and light them: reflectance as the satellite has it."""
    s = {name: np.float32(spectrum[band]) for name, spectrum in SPECTRA.items()}
    bare = s["ice"] * (1 - debris) * (icy + ice) + s["debris"] * debris * (icy + 1.6 * ice)
    bare += s["rock"] * rock * (1 - icy)
    # ice shows through the snow on it, faintly; snow has some relief of its own
    white = s["snow"] * (1 + np.float32(0.22) * ice + np.float32(0.06) * (rock - 1))
    return np.asarray(light * (bare + snow * (white - bare)), dtype=np.float32)


def render(
    world: World, shot: Acquisition, epoch: np.datetime64, threshold: float, a: int, b: int
) -> Strip:
    """Compute rows ``a`` to ``b`` (30 m grid) of a scene.

    ``threshold`` is :func:`weather.cloud_threshold` of the scene, ``epoch`` the zero of the
    flow's time.
    """
    row, rows = 2 * a, min(2 * b, world.size) - 2 * a
    grid, grid30 = world.grid.crop(row, 0, rows, world.size), world.grid30
    grid30 = grid30.crop(a, 0, b - a, grid30.shape[1])
    g = _ground(world, row, rows)
    here = _surface(world, shot, g, year_of(shot.time, epoch), row)
    above = sky(world, shot, a, b - a + 1, grid30.shape[1], threshold)
    seen = _seen(shot, grid)
    seen30 = _seen(shot, grid30)

    pan = _reflect(
        "B8", here.light, here.snow, here.icy, here.debris, here.rock, here.ice
    )
    pan = sensor.expose(pan, shot.geolocation, grid)
    large = [
        sensor.grow_to_15m(field, rows, world.size)
        for field in (above.cloud, above.shadow, above.cirrus, above.bright)
    ]
    pan = _through(pan, "B8", shot, *large)
    b8 = _to_dn(world, shot, 8, row, pan, seen)
    del pan, large

    small = {
        name: sensor.reduce_to_30m(getattr(here, name), shot.geolocation, grid30)
        for name in ("light", "snow", "icy", "debris", "rock", "ice")
    }
    top = _crop_sky(above, b - a)
    b30 = {}
    for band in BANDS30:
        value = _through(
            _reflect(band, **small), band, shot, top.cloud, top.shadow, top.cirrus, top.bright
        )
        b30[band] = _to_dn(world, shot, int(band[1:]), row, value, seen30)
    shaded = here.facing[HALO : HALO + rows : 2, HALO : HALO + world.size : 2] <= 0
    return Strip(
        a,
        b8,
        b30,
        qa=_quality(
            top,
            small["snow"],
            small["icy"] * (1 - small["debris"]),
            seen30,
            shot.weather.confusion,
        ),
        radsat=np.where(shaded & seen30, 1 << 11, 0).astype(np.uint16),
        truth=_truth(top, small, shaded, seen30),
    )


def _seen(shot: Acquisition, grid: Grid) -> BoolArray:
    x = grid.x(np.arange(grid.shape[1]))[None, :]
    y = grid.y(np.arange(grid.shape[0]))[:, None]
    return np.asarray(sensor.footprint(shot.geolocation, x, y))


def _crop_sky(s: Sky, rows: int) -> Sky:
    fields = (s.cloud, s.shadow, s.cirrus, s.bright, s.blobs)
    return Sky(*(f[:rows] for f in fields))


def _through(
    ground: F32, band: str, shot: Acquisition, cloud: F32, shadow: F32, cirrus: F32, bright: F32
) -> F32:
    """Put the sky between the ground and the sensor."""
    up = np.float32(np.sin(np.deg2rad(shot.sun_elevation)))
    veil = np.float32(SPECTRA["path"][band] + shot.weather.haze)
    tops = np.float32(SPECTRA["cloud"][band]) * up
    lit = ground * (1 - np.float32(0.80) * shadow) + veil * up
    lit *= (1 - cloud) * (1 - cirrus)
    lit += cloud * tops * (1 + np.float32(0.05) * bright)
    lit += cirrus * (1 - cloud) * np.float32(0.75) * tops
    return lit


def _to_dn(
    world: World, shot: Acquisition, band: int, row: int, value: F32, seen: BoolArray
) -> U16:
    noise = sensor.scene_noise(world.seed, shot.index, band, row, value.shape)
    bits = 12 if shot.sensor == "LC08" else 14
    return np.where(seen, sensor.quantise(value, noise, bits), 0).astype(np.uint16)


def _truth(top: Sky, small: dict[str, F32], shaded: BoolArray, seen: BoolArray) -> U8:
    cloud = top.cloud >= 0.1
    out = np.where(seen, VALID, 0)
    out |= CLOUD * cloud
    out |= CIRRUS * (top.cirrus >= 0.1)
    out |= SHADOW * ((top.shadow >= 0.3) & ~cloud)
    out |= SNOW * (small["snow"] >= 0.5)
    out |= ICE * (small["icy"] >= 0.5)
    out |= SHADED * shaded
    return np.where(seen, out, 0).astype(np.uint8)


def _quality(
    top: Sky, snow: F32, clean_ice: F32, seen: BoolArray, confusion: float
) -> U16:
    """QA_PIXEL, with the mistakes that CFMask makes over snow and bright ice.

    There it takes blobs of clear surface for cloud, and misses cloud and cirrus that are thin.
    """
    white = np.maximum(snow, clean_ice) > 0.5
    cloud = top.cloud > np.where(white, 0.70, 0.35)
    cloud |= white & (top.blobs > confusion)
    cirrus = (top.cirrus > np.where(white, 0.20, 0.10)) & (top.cirrus > 0)
    dilated = ndimage.binary_dilation(cloud & ~white, iterations=3) & ~cloud
    shadow = (top.shadow > 0.5) & ~cloud
    snowy = white & ~cloud
    clear = ~(cloud | dilated | cirrus)

    def confidence(high: BoolArray, bit: int) -> NDArray[np.int32]:
        return np.where(high, 3, 1).astype(np.int32) << bit

    qa = (
        (dilated.astype(np.int32) << 1)
        | (cirrus.astype(np.int32) << 2)
        | (cloud.astype(np.int32) << 3)
        | (shadow.astype(np.int32) << 4)
        | (snowy.astype(np.int32) << 5)
        | (clear.astype(np.int32) << 6)
        | confidence(cloud, 8)
        | confidence(shadow, 10)
        | confidence(snowy, 12)
        | confidence(cirrus, 14)
    )
    return np.where(seen, qa, 1).astype(np.uint16)
