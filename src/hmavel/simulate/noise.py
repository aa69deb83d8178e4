"""Periodic random fields with a known spectrum, and exact shifts of them.

Everything that looks natural in a simulated scene is cut from such a tile: it wraps, so any
window of any size is one modulo away, and its spectrum is known, so it can be sampled
between its pixels without guessing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: Modulation transfer at the Nyquist frequency of the simulated sensor, per axis.
MTF_NYQUIST = 0.2


def frequencies(shape: tuple[int, int]) -> tuple[F64, F64]:
    """Return (row, col) frequencies of a real 2-D transform, cycles per pixel."""
    return fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]


def mtf(f: Any, nyquist: float = MTF_NYQUIST) -> Any:
    """Gaussian transfer at ``f`` cycles per pixel, equal to ``nyquist`` at 0.5."""
    return nyquist ** (4.0 * np.square(f))


def shape_spectrum(
    rng: np.random.Generator, shape: tuple[int, int], gain: Any, *, exact: bool = True
) -> Any:
    """Filter white noise by ``gain`` (the shape of the rfft); mean 0, std 1, periodic.

    float64, or float32 at half the cost where ``exact`` is not asked for.
    """
    white = fft.rfft2(rng.standard_normal(shape, dtype=np.float64 if exact else np.float32))
    white *= np.asarray(gain, dtype=np.float64 if exact else np.float32)
    white[0, 0] = 0.0
    field = fft.irfft2(white, s=shape)
    field /= field.std()
    return field


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    beta: float,
    *,
    low: float = 0.0,
    high: float = 0.5,
) -> F32:
    """Return a periodic float32 field of amplitude k^-beta between two frequencies; std 1.

    Parameters
    ----------
    rng
        Source of the randomness; the same state gives the same field.
    shape
        (rows, cols).
    beta
        Exponent of the amplitude spectrum.
    low, high
        Band in cycles per pixel; outside it falls off smoothly (one octave below, a
        quarter octave above).
    """
    fr, fc = frequencies(shape)
    k = np.hypot(fr, fc).astype(np.float32)
    k[0, 0] = 1.0
    gain = k**-beta
    if low > 0:
        gain *= 1.0 - np.exp(-((k / low) ** 4))
    if high < 0.5:
        gain *= np.exp(-((k / high) ** 12))
    return np.asarray(shape_spectrum(rng, shape, gain, exact=False))


def fourier_shift(image: Any, drow: Any, dcol: Any) -> F64:
    """Shift a periodic image exactly: ``out(x) = image(x - d)``, positive = down / right."""
    fr, fc = frequencies(image.shape)
    spectrum = fft.rfft2(image) * np.exp(-2j * np.pi * (fr * drow + fc * dcol))
    return np.asarray(fft.irfft2(spectrum, s=image.shape))


def window(tile: Any, row: int, col: int, rows: int, cols: int) -> Any:
    """Cut a window from a periodic tile; it may start anywhere and be larger than the tile."""
    r = np.arange(row, row + rows) % tile.shape[0]
    c = np.arange(col, col + cols) % tile.shape[1]
    return tile[np.ix_(r, c)]


def spline(tile: Any) -> F32:
    """Return the cubic B-spline coefficients of a periodic tile, for :func:`sample`."""
    return np.asarray(
        ndimage.spline_filter(tile, order=3, output=np.float32, mode="grid-wrap")
    )


def sample(coefficients: F32, row: F64, col: F64) -> F32:
    """Evaluate a periodic cubic spline at fractional pixel indices (any real number).

    Exact at the tile's pixels; between them the error of content below a quarter of a cycle
    per pixel is under 1 % of its amplitude, so tiles meant for this are twice oversampled.
    """
    n, m = coefficients.shape
    points = np.stack([np.mod(row, n), np.mod(col, m)])
    return np.asarray(
        ndimage.map_coordinates(
            coefficients, points, order=3, mode="grid-wrap", prefilter=False, output=np.float32
        )
    )


def smoothstep(x: Any, low: Any, high: Any) -> Any:
    """Rise from 0 at ``low`` to 1 at ``high`` with zero slope at both ends."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
