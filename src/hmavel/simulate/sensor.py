"""What lies between the ground and the product: sun, blur, noise, and where pixels land."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import interpolate, ndimage

from hmavel._types import Grid
from hmavel.simulate.layout import CENTRE
from hmavel.simulate.noise import F32, F64, mtf, smoothstep

#: Degrees by which the descending track leaves the grid's columns, at 30 degrees north.
HEADING = 10.5
#: Detector modules across the swath of 185 km, staggered in two rows.
MODULES, SWATH_M, LENGTH_M = 14, 185_000.0, 180_000.0
#: 1 sigma of a scene's registration against the ground, per axis.
SHIFT_M = 4.0
#: Largest size of a scene's ramp over a scene side, peak to peak, and of a module's offset:
#: a pair holds the difference of two, 0.3 px and 0.15 px at the worst.
RAMP_M, STRIPE_M = 2.2, 1.1

#: Pixels on either side of the one that the sensor's kernel covers.
REACH = 5


def sun(time: np.datetime64, lon: float, lat: float) -> tuple[float, float]:
    """Return the sun's (azimuth, elevation) in degrees; good to about 0.1 degree."""
    days = float((time - np.datetime64("2000-01-01T12:00")) / np.timedelta64(1, "ms")) / 864e5
    g = np.deg2rad(357.529 + 0.98560028 * days)
    lam = np.deg2rad(280.459 + 0.98564736 * days + 1.915 * np.sin(g) + 0.020 * np.sin(2 * g))
    tilt = np.deg2rad(23.439)
    declination = np.arcsin(np.sin(tilt) * np.sin(lam))
    ascension = np.arctan2(np.cos(tilt) * np.sin(lam), np.cos(lam))
    sidereal = np.deg2rad((280.46062 + 360.98564737 * days + lon) % 360.0)
    hour, phi = sidereal - ascension, np.deg2rad(lat)
    up = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(phi) * np.sin(declination) - np.sin(phi) * np.cos(declination) * np.cos(hour)
    return float(np.rad2deg(np.arctan2(east, north)) % 360.0), float(np.rad2deg(np.arcsin(up)))


def earth_sun_distance(time: np.datetime64) -> float:
    """Astronomical units."""
    days = float((time - np.datetime64("2000-01-01T12:00")) / np.timedelta64(1, "ms")) / 864e5
    g = np.deg2rad(357.529 + 0.98560028 * days)
    return float(1.00014 - 0.01671 * np.cos(g) - 0.00014 * np.cos(2 * g))


@dataclass(frozen=True)
class Geolocation:
    """Where a scene's product puts the ground: the pixel at map p shows the ground p - e(p).

    So a feature appears moved by e, metres (east, north): the scene's own shift, a smooth
    ramp over it, and the offsets of the detector modules, which are bands along the track.
    """

    east: float  #: m, the shift
    north: float  #: m
    ramp: tuple[float, ...]  #: m: across, along, across squared, of east and then of north
    modules: tuple[tuple[float, float], ...]  #: m (east, north) of each module
    ramp_m: float  #: length over which the ramp runs: the scene's side
    across_m: float  #: how far the swath's middle lies from the world's centre

    def error(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return e (east, north) in metres at map coordinates (arrays broadcast)."""
        de, dn = self.bent(x, y)
        return self.east + de, self.north + dn

    def bent(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return e without the shift: ramp and modules."""
        across, along = track(x, y)
        place = ((across - self.across_m) / SWATH_M + 0.5) * (MODULES * _FINE) + 0.5
        place = np.asarray(place).astype(np.int32)
        np.clip(place, 0, MODULES * _FINE, out=place)
        u, v = across / self.ramp_m, along / self.ramp_m
        uu = u * u - 1 / 12
        out = []
        for axis in (0, 1):
            a, b, c = self.ramp[3 * axis : 3 * axis + 3]
            stripe = _stripes(tuple(m[axis] for m in self.modules))[place]
            out.append(a * u + b * v + c * uu + stripe)
        return out[0], out[1]


#: Steps to a module (about 4 m each) in which the stripes are tabulated.
_FINE = 3_304


@lru_cache(maxsize=8)
def _stripes(offsets: tuple[float, ...]) -> F64:
    """Offset across the swath, metres; a seam is 60 m wide: two rows of detectors overlap."""
    place = np.arange(MODULES * _FINE + 1) / _FINE - 0.5
    step = np.floor(place)
    blend = smoothstep(place - step, 0.5 - 30 / 13_214, 0.5 + 30 / 13_214)
    offset = np.asarray(offsets)
    left = offset[np.clip(step, 0, MODULES - 1).astype(np.intp)]
    right = offset[np.clip(step + 1, 0, MODULES - 1).astype(np.intp)]
    return np.asarray(left * (1 - blend) + right * blend)


def track(x: Any, y: Any) -> tuple[Any, Any]:
    """Return (across, along) the track in metres from the world's centre; along points down."""
    s, c = np.sin(np.deg2rad(HEADING)), np.cos(np.deg2rad(HEADING))
    dx, dy = x - CENTRE[0], y - CENTRE[1]
    return dx * c - dy * s, -dx * s - dy * c


def draw_geolocation(rng: np.random.Generator, world_m: float) -> Geolocation:
    """Draw a scene's errors.

    ``world_m`` is the side of the simulated world: the ramp has its full size over a world
    of any side, or a small one would hold none of it.
    """
    east, north = rng.normal(0.0, SHIFT_M, 2)
    ramp: list[float] = []
    for _ in range(2):
        a, b, c = rng.uniform(-1, 1, 3)
        size = abs(a) + abs(b) + 0.25 * abs(c)
        grow = rng.uniform(0.3, 1.0) * RAMP_M / size
        ramp += [float(a * grow), float(b * grow), float(c * grow)]
    stagger = np.where(np.arange(MODULES) % 2, 0.5, -0.5)[:, None]
    offsets = stagger * rng.uniform(-1, 1, 2) * STRIPE_M
    offsets = offsets + rng.normal(0.0, 0.12 * STRIPE_M, (MODULES, 2))
    return Geolocation(
        float(east),
        float(north),
        tuple(ramp),
        tuple((float(e), float(n)) for e, n in offsets),
        ramp_m=min(world_m, SWATH_M),
        across_m=float(rng.normal(0.0, 1_500.0)),
    )


def footprint(geolocation: Geolocation, x: Any, y: Any) -> Any:
    """Whether the sensor saw a place: inside the tilted square of swath and scene length."""
    across, along = track(x, y)
    off = geolocation.across_m
    return (np.abs(across - off) < SWATH_M / 2) & (np.abs(along - 0.7 * off) < LENGTH_M / 2)


@lru_cache(maxsize=1)
def _kernel() -> interpolate.CubicSpline:
    """Return the sensor's response to a point, in pixels: the transform of its MTF.

    Cut off at Nyquist, so that sampling it at any sub-pixel offset is exact, and windowed.
    """
    x = np.linspace(-REACH - 1, REACH + 1, 2401)
    f = (np.arange(800) + 0.5) / 1600  # midpoints of 800 bins up to Nyquist
    response = np.mean(mtf(f) * np.cos(2 * np.pi * x[:, None] * f), axis=1)
    taper = np.cos(np.pi / 2 * x / (REACH + 1)) ** 2
    return interpolate.CubicSpline(x, response * taper)


def _taps(shift: float) -> tuple[int, F32, F32]:
    """Whole part of a shift, and the kernel and its derivative at the rest."""
    whole = int(np.floor(shift + 0.5))
    at = -(shift - whole) - np.arange(-REACH, REACH + 1)
    spline = _kernel()
    kernel = spline(at)
    scale = kernel.sum()
    slope = (spline(at, 1) - spline(at, 1).mean()) / scale
    return whole, (kernel / scale).astype(np.float32), slope.astype(np.float32)


#: Rows and columns of ground that an image needs around it: the kernel and 4 sigma of shift.
HALO = 10


def expose(image: F32, geolocation: Geolocation, grid: Grid) -> F32:
    """Blur the ground as the sensor does and put it where the product has it.

    Parameters
    ----------
    image
        The ground on ``grid``, with ``HALO`` pixels more on every side.
    geolocation
        The scene's errors.
    grid
        The product's grid, 15 m.

    Returns
    -------
    ndarray
        float32 of the grid's shape. The shift is exact at every frequency; ramp and modules
        (about 0.1 px) enter by the first term of their Taylor series, good to 0.001 px at
        half the Nyquist frequency.
    """
    e0, n0 = geolocation.east, geolocation.north
    whole_r, kernel_r, slope_r = _taps(-n0 / 15.0)
    whole_c, kernel_c, slope_c = _taps(e0 / 15.0)
    if max(abs(whole_r), abs(whole_c)) > HALO - REACH:
        raise ValueError(
            f"simulate shift: expected under {HALO - REACH} px, got ({e0:.1f}, {n0:.1f}) m; "
            "draw another one"
        )
    rows, cols = grid.shape
    de, dn = geolocation.bent(
        grid.x(np.arange(cols))[None, :], grid.y(np.arange(rows))[:, None]
    )
    dr = np.asarray(-dn / 15.0, dtype=np.float32)
    dc = np.asarray(de / 15.0, dtype=np.float32)

    top, left = HALO - whole_r, HALO - whole_c
    # f(p - e0 - d) = f - d . grad f, each term a pair of one-dimensional filters
    def filtered(band: F32, taps: F32) -> F32:
        both = ndimage.correlate1d(band, taps, axis=1)
        return np.asarray(both[:, left : left + cols])

    band = ndimage.correlate1d(image, kernel_r, axis=0)[top : top + rows]
    out = filtered(band, kernel_c)
    out = out - dc * filtered(band, slope_c)
    band = ndimage.correlate1d(image, slope_r, axis=0)[top : top + rows]
    out -= dr * filtered(band, kernel_c)
    return np.asarray(out)


def reduce_to_30m(image: F32, geolocation: Geolocation, grid30: Grid) -> F32:
    """Average the ground to 30 m pixels, whose centres are those of every second 15 m pixel.

    ``image`` is on the 15 m grid with ``HALO`` more on every side. The footprint is a
    triangle of 60 m full width; the scene's shift is applied, ramp and modules (7 % of a
    pixel at most) are not.
    """
    rows, cols = grid30.shape
    out = image
    for axis, count, shift in (
        (0, rows, -geolocation.north / 15.0),
        (1, cols, geolocation.east / 15.0),
    ):
        whole = int(np.floor(shift + 0.5))
        at = np.arange(-3, 4)
        weights = np.clip(1.0 - np.abs(at + shift - whole) / 2.0, 0.0, None)
        total: Any = 0.0
        for k, w in zip(at, weights / weights.sum(), strict=True):
            first = HALO - whole + int(k)
            part = slice(first, first + 2 * count - 1, 2)
            if w > 0:
                total = total + np.float32(w) * (out[part] if axis == 0 else out[:, part])
        out = total
    return np.asarray(out, dtype=np.float32)


def quantise(reflectance: Any, noise: F32, bits: int) -> Any:
    """Turn top-of-atmosphere reflectance (not divided by the sun's sine) into DN.

    ``noise`` is white with a standard deviation of 1; the sensor's own grows with the root
    of the signal (a signal-to-noise ratio of about 150 at 0.15). DN are spaced by the
    instrument's bits, spread over 16.
    """
    signal = np.clip(reflectance, 0.0, None)
    noisy = reflectance + noise * (0.0006 + 0.001 * np.sqrt(signal / 0.15))
    step = 65536 >> bits
    dn = np.rint((noisy + 0.1) / 2.0e-5 / step) * step
    return np.clip(dn, step, 65535).astype(np.uint16)


def scene_noise(seed: int, scene: int, band: int, row: int, shape: tuple[int, int]) -> F32:
    """White noise that depends on nothing but its arguments."""
    rng = np.random.default_rng([seed, 5, scene, band, row])
    return rng.standard_normal(shape, dtype=np.float32)


def grow_to_15m(image30: F64 | F32, rows: int, cols: int) -> F32:
    """Interpolate a 30 m image to the 15 m grid: even pixels coincide, odd ones lie between."""
    out = np.empty((rows, cols), dtype=np.float32)
    out[::2, ::2] = image30[: (rows + 1) // 2, : (cols + 1) // 2]
    right = image30[: (rows + 1) // 2, 1 : cols // 2 + 1]
    out[::2, 1::2] = 0.5 * (out[::2, 0 : 2 * right.shape[1] : 2] + right)
    below = np.empty((rows // 2, cols), dtype=np.float32)
    nxt = image30[1 : rows // 2 + 1]
    below[:, ::2] = nxt[:, : (cols + 1) // 2]
    below[:, 1::2] = 0.5 * (nxt[:, : cols // 2] + nxt[:, 1 : cols // 2 + 1])
    out[1::2] = 0.5 * (out[0 : 2 * (rows // 2) : 2] + below)
    return out
