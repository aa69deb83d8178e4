"""When scenes are taken and what hangs over them: snow, clouds, shadows, cirrus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from hmavel.simulate.layout import World
from hmavel.simulate.noise import F32, fractal, shape_spectrum, smoothstep, window
from hmavel.simulate.sensor import Geolocation, draw_geolocation, sun

#: Band 8 of Landsat 8 crosses path 135 row 39 at this moment and every 16 days.
FIRST = np.datetime64("2013-04-30T04:12:14.819", "ms")
#: days by which each satellite's cycle lies behind Landsat 8's
SATELLITES = {"LC08": 0, "LC09": 8}
#: Longitude and latitude of the world's centre.
LONLAT = (95.6947, 29.9832)


@dataclass(frozen=True)
class Weather:
    """What a scene's sky and season are like."""

    cloud_fraction: float  #: of the scene, opaque and thin cumulus
    cirrus: float  #: strongest opacity of the cirrus, 0 = none
    cloud_height_m: float  #: above the ground, for the shadows
    origin: tuple[int, int]  #: where the clouds are cut from their tile
    flip: int  #: 0 ... 7: how the tile is turned
    snowline_m: float
    haze: float  #: added reflectance
    confusion: float  #: level of the blobs above which clear ice is called cloud


@dataclass(frozen=True)
class Acquisition:
    """One overpass: everything that differs from scene to scene."""

    index: int
    sensor: str  #: "LC08" or "LC09"
    time: np.datetime64
    sun_azimuth: float
    sun_elevation: float
    weather: Weather
    geolocation: Geolocation


def schedule(
    world: World, start: np.datetime64, years: float, satellites: tuple[str, ...]
) -> tuple[Acquisition, ...]:
    """Draw every overpass from ``start`` on, with its sky and its errors."""
    times: list[tuple[np.datetime64, str]] = []
    end = start + np.timedelta64(round(years * 365.25 * 86_400_000), "ms")
    for sensor in satellites:
        offset = np.timedelta64(SATELLITES[sensor], "D")
        cycle = np.timedelta64(16, "D")
        number = int(np.ceil((start - FIRST - offset) / cycle))
        while FIRST + offset + number * cycle < end:
            times.append((FIRST + offset + number * cycle, sensor))
            number += 1
    times.sort()
    rng = np.random.default_rng([world.seed, 3])
    sky = _skies(rng, np.array([t for t, _ in times]))
    out = []
    for i, (time, sensor) in enumerate(times):
        rng = np.random.default_rng([world.seed, 4, i])
        moment = time + np.timedelta64(int(rng.normal(0.0, 6_000.0)), "ms")
        azimuth, elevation = sun(moment, *LONLAT)
        out.append(
            Acquisition(
                i,
                sensor,
                moment,
                azimuth,
                elevation,
                _draw(rng, moment, float(sky[i])),
                draw_geolocation(rng, world.size * 15.0),
            )
        )
    return tuple(out)


def _phase(time: np.datetime64) -> float:
    """Part of the calendar year that has passed."""
    year = time.astype("datetime64[Y]")
    return float((time - year) / np.timedelta64(1, "ms")) / (365.25 * 864e5)


def _skies(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Cloud fraction of every scene: a fixed mixture, dealt out so that summer gets more."""
    n = len(times)
    # sorted shares: half the scenes nearly clear, a third broken, a ninth overcast
    rank = (np.arange(n) + 0.5) / max(n, 1)
    shares = np.interp(
        rank, [0.0, 0.30, 0.55, 0.75, 0.88, 0.90, 1.0], [0.0, 0.01, 0.08, 0.30, 0.60, 0.93, 1.0]
    )
    phase = np.array([_phase(t) for t in times])
    monsoon = np.exp(-(((phase - 0.55) / 0.13) ** 2))
    order = np.argsort(np.argsort(0.55 * monsoon + rng.normal(0.0, 0.45, n)))
    return np.asarray(shares[order])


def _draw(rng: np.random.Generator, time: np.datetime64, cloud: float) -> Weather:
    phase = _phase(time)
    line = 5330.0 - 330.0 * np.cos(2 * np.pi * (phase - 0.13)) + rng.normal(0.0, 70.0)
    if phase < 0.4 or phase > 0.8:
        line -= 350.0 * (rng.random() < 0.15)  # it has just snowed
    return Weather(
        cloud_fraction=float(cloud),
        cirrus=float(rng.uniform(0.10, 0.30)) if rng.random() < 0.25 else 0.0,
        cloud_height_m=float(rng.uniform(900.0, 2600.0)),
        origin=(int(rng.integers(2048)), int(rng.integers(2048))),
        flip=int(rng.integers(8)),
        snowline_m=float(line),
        haze=float(rng.uniform(0.0, 0.015)),
        confusion=float(rng.uniform(0.2, 0.9)),
    )


@lru_cache(maxsize=1)
def _cloud_tiles(seed: int, side: int) -> tuple[F32, F32, F32]:
    """Cumulus, cirrus, and the blobs in which the quality band errs; std 1."""
    rng = np.random.default_rng([seed, 6])
    shape = (side, side)
    cumulus = fractal(rng, shape, 1.7, low=30 / 16_000)
    fr, fc = fft.fftfreq(side)[:, None], fft.rfftfreq(side)[None, :]
    k = np.hypot(fr * 3.5, fc + 0.4 * fr) + 1e-9
    gain = k**-2.1 * (1 - np.exp(-((k / (30 / 12_000)) ** 4)))
    cirrus = shape_spectrum(rng, shape, gain, exact=False)
    blobs = fractal(rng, shape, 1.3, low=30 / 2_500, high=30 / 120)
    return cumulus.astype(np.float32), cirrus.astype(np.float32), blobs.astype(np.float32)


@dataclass(frozen=True)
class Sky:
    """Opacities over a window of the 30 m grid, 0 ... 1."""

    cloud: F32
    shadow: F32
    cirrus: F32
    bright: F32  #: variation of the clouds' brightness, std 1
    blobs: F32  #: std 1


def sky(
    world: World, shot: Acquisition, row: int, rows: int, cols: int, threshold: float
) -> Sky:
    """Compute the sky over rows of the 30 m grid (all its columns)."""
    w = shot.weather
    cumulus, cirrus, blobs = _cloud_tiles(world.seed, world.tile)
    if w.flip & 1:
        cumulus, cirrus, blobs = (t[::-1] for t in (cumulus, cirrus, blobs))
    if w.flip & 2:
        cumulus, cirrus, blobs = (t[:, ::-1] for t in (cumulus, cirrus, blobs))
    if w.flip & 4:
        cumulus, cirrus, blobs = (t.T for t in (cumulus, cirrus, blobs))
    r0, c0 = w.origin[0] + row, w.origin[1]
    here = window(cumulus, r0, c0, rows, cols)
    # the shadow lies away from the sun: look for its cloud towards the sun
    reach = w.cloud_height_m / np.tan(np.deg2rad(shot.sun_elevation)) / 30.0
    a = np.deg2rad(shot.sun_azimuth)
    dr, dc = round(-np.cos(a) * reach), round(np.sin(a) * reach)
    there = window(cumulus, r0 + dr, c0 + dc, rows, cols)
    veil = window(cirrus, r0, c0, rows, cols)
    return Sky(
        cloud=0.97 * _opacity(here, threshold),
        shadow=_opacity(there, threshold),
        cirrus=np.asarray(w.cirrus * smoothstep(veil, -0.3, 1.6), dtype=np.float32),
        bright=window(cumulus, r0 + 517, c0 + 131, rows, cols),
        blobs=window(blobs, r0, c0, rows, cols),
    )


def _opacity(field: F32, threshold: float) -> F32:
    return np.asarray(smoothstep(field, threshold - 0.08, threshold + 0.30), dtype=np.float32)


def cloud_threshold(world: World, shot: Acquisition) -> float:
    """Level of the cumulus field above which the scene's share of it is cloud."""
    w = shot.weather
    if w.cloud_fraction >= 1.0:
        return -9.0
    cumulus = _cloud_tiles(world.seed, world.tile)[0]
    if w.flip & 1:
        cumulus = cumulus[::-1]
    if w.flip & 2:
        cumulus = cumulus[:, ::-1]
    if w.flip & 4:
        cumulus = cumulus.T
    n = world.grid30.shape[0]
    step = max(1, n // 256)
    r = np.arange(w.origin[0], w.origin[0] + n, step) % world.tile
    c = np.arange(w.origin[1], w.origin[1] + n, step) % world.tile
    return float(np.quantile(cumulus[np.ix_(r, c)], 1.0 - w.cloud_fraction))


def snow_cover(
    elevation: F32, east: F32, north: F32, patch: F32, shot: Acquisition
) -> F32:
    """Part of each pixel under snow: above the snow line, longer on shaded sides."""
    line = shot.weather.snowline_m
    height = elevation + 110.0 * patch - 120.0 * np.clip(-north, -1, 1) - 30.0 * east
    cover = smoothstep(height, line - 90.0, line + 130.0)
    steep = smoothstep(np.hypot(east, north), 0.75, 1.25)
    return np.asarray(cover * (1.0 - 0.85 * steep), dtype=np.float32)

