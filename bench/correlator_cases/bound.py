"""The Cramér-Rao bound of a uniform window: how well anything could do.

White noise of variance n in both images, texture of spectral density S(k) per pixel, N² pixels,
omega in radians per pixel. Every frequency contributes omega² gamma² / (1 - gamma²) to the
information on a shift, gamma = S / (S + n) the coherence of the two images:

    var(d) >= 1 / (N² mean over k of [omega² S² / (2 S n + n²)])

For n << S this is 2 n / (N² <(ds/dx)²>), the bound for a *known* texture with twice the noise:
the figure that is usually quoted. Where noise drowns the high frequencies the first is larger
and is the one that counts.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from correlator_cases import scenes
from hmavel.simulate.pairs import STD_DN


def bounds(
    seed: int, shape: tuple[int, int], name: str, noise: float, n: int = 32
) -> np.ndarray:
    """1 sigma of one component, px: texture unknown, texture known.

    Of one texture: its few largest waves carry most of its standard deviation, by which it is
    scaled, so that the bound differs by a third from seed to seed.
    """
    image = scenes.texture(seed, shape, name) / STD_DN
    power = np.abs(fft.fft2(image)) ** 2 / image.size
    omega2 = (2 * np.pi * fft.fftfreq(shape[0])[:, None]) ** 2
    variance = noise**2 + (1 / 12 / STD_DN**2 if name == "pan" else 0.0)
    unknown = np.mean(omega2 * power**2 / (2 * power * variance + variance**2))
    known = np.mean(omega2 * power) / (2 * variance)
    return np.array([1 / np.sqrt(n * n * x) for x in (unknown, known)])


def of_taper(beta: float) -> float:
    """Noise of the best use of a tapered window, in bounds of the uniform one.

    sum w^4 / (sum w^2)^2 per axis, w the taper of each image; 1.94 for Hann (beta 0.5).
    """
    return (1 - 93 / 64 * beta) / (1 - 1.25 * beta) ** 2
