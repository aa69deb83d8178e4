"""Two images with a known displacement: the correlator's plain test cases.

The recipe of the published comparisons: fractal texture, mean 8000 and standard deviation
800 DN, white noise in *both* images in parts of the texture's standard deviation, and shifts
that are exact because they are made in the Fourier domain of a periodic image.
"""

from __future__ import annotations

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from scipy import fft

from hmavel._types import FloatArray, Grid, Pair
from hmavel.simulate.noise import F64, fourier_shift, frequencies, mtf, shape_spectrum

MEAN_DN = 8000.0
STD_DN = 800.0

#: texture -> (exponent of the amplitude spectrum, seen through the sensor's MTF, rounded)
TEXTURES = {
    "k-1.2": (1.2, False, False),
    "k-2": (2.0, False, False),
    "pan": (1.2, True, True),
}


def _texture(rng: np.random.Generator, shape: tuple[int, int], texture: str) -> F64:
    if texture not in TEXTURES:
        raise ValueError(
            f"simulate texture: expected one of {sorted(TEXTURES)}, got {texture!r}; "
            "pick one of those"
        )
    if min(shape) < 16:
        raise ValueError(
            f"simulate shape: expected at least 16 x 16 pixels, got {shape}; enlarge it"
        )
    beta, sensor, _ = TEXTURES[texture]
    fr, fc = frequencies(shape)
    k = np.hypot(fr, fc)
    k[0, 0] = 1.0
    gain = k**-beta
    if sensor:
        gain = gain * mtf(fr) * mtf(fc)
    return np.asarray(STD_DN * shape_spectrum(rng, shape, gain))


def _finish(
    rng: np.random.Generator,
    reference: F64,
    secondary: F64,
    texture: str,
    noise: float,
    seed: int,
) -> Pair:
    images = []
    for image in (reference, secondary):
        dn = MEAN_DN + image + noise * STD_DN * rng.standard_normal(image.shape)
        images.append((np.rint(dn) if TEXTURES[texture][2] else dn).astype(np.float32))
    shape = (int(reference.shape[0]), int(reference.shape[1]))
    grid = Grid(
        CRS.from_epsg(32646), Affine(15.0, 0.0, 759982.5, 0.0, -15.0, 3320017.5), shape
    )
    return Pair(
        reference_id=f"simulated-{seed}-reference",
        secondary_id=f"simulated-{seed}-secondary",
        start=np.datetime64("2022-01-01T04:12:00.000"),
        end=np.datetime64("2022-01-17T04:12:00.000"),
        reference=images[0],
        secondary=images[1],
        grid=grid,
    )


def shifted_pair(
    drow: float,
    dcol: float,
    seed: int = 0,
    shape: tuple[int, int] = (512, 512),
    texture: str = "k-1.2",
    noise: float = 0.01,
) -> Pair:
    """Make a pair whose secondary is the reference moved by (``drow``, ``dcol``) everywhere.

    Parameters
    ----------
    drow, dcol
        Displacement in pixels: ``secondary(x) = reference(x - d)``, so positive means that
        the texture moved down / right. Exact; the image wraps at its edges.
    seed
        The same seed gives the same arrays.
    shape
        (rows, cols).
    texture
        ``"k-1.2"`` rock and crevasses; ``"k-2"`` smooth snow; ``"pan"`` as the first, seen
        through a sensor with a transfer of 0.2 at Nyquist, and rounded to whole DN.
    noise
        Standard deviation of the white noise in each of both images, as a part of the
        texture's (0.01 = 1 %).

    Returns
    -------
    Pair
        float32 DN, mean 8000, standard deviation of the texture 800, 16 days apart, on a
        15 m UTM grid.

    Raises
    ------
    ValueError
        An unknown texture, or fewer than 16 pixels on a side.
    """
    rng = np.random.default_rng(seed)
    image = _texture(rng, shape, texture)
    return _finish(rng, image, fourier_shift(image, drow, dcol), texture, noise, seed)


def glacier_pair(
    seed: int = 0,
    shape: tuple[int, int] = (512, 512),
    *,
    speed: float = 6.0,
    margin: int = 8,
    half_width: float | None = None,
    texture: str = "k-1.2",
    noise: float = 0.05,
) -> tuple[Pair, FloatArray, FloatArray]:
    """Make a pair with a glacier in it: plug flow down the rows between shear margins.

    Every column moves by its own shift, exactly, so the truth holds at every pixel of either
    image (material never leaves its column).

    Parameters
    ----------
    seed, shape, texture, noise
        As for :func:`shifted_pair`; 5 % noise by default.
    speed
        Displacement of the plug in pixels, down the rows.
    margin
        Width of each shear margin, pixels: the shift falls linearly from ``speed`` to 0.
    half_width
        From the middle of the image to the outer edge of the margins; a quarter of the
        columns by default.

    Returns
    -------
    pair, drow, dcol
        The pair, and the true displacement of every pixel, float64, of the images' shape.
    """
    rng = np.random.default_rng(seed)
    image = _texture(rng, shape, texture)
    half = shape[1] / 4.0 if half_width is None else half_width
    col = np.arange(shape[1]) - (shape[1] - 1) / 2.0
    profile = speed * np.clip((half - np.abs(col)) / margin, 0.0, 1.0)
    f = fft.rfftfreq(shape[0])[:, None]
    spectrum = fft.rfft(image, axis=0) * np.exp(-2j * np.pi * f * profile[None, :])
    moved = np.asarray(fft.irfft(spectrum, n=shape[0], axis=0))
    drow = np.broadcast_to(profile, shape).copy()
    pair = _finish(rng, image, moved, texture, noise, seed)
    return pair, drow, np.zeros(shape)
