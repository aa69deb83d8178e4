"""The Cramér–Rao bound of a uniform window: how well anything could do.

White noise of variance n in both images, texture of spectral density S(k) per pixel, N² pixels,
omega in radians per pixel. Every frequency contributes omega² gamma² / (1 - gamma²) to the
information on a shift, gamma = S / (S + n) the coherence of the two images:

    var(d) >= 1 / (N² mean over k of [omega² S² / (2 S n + n²)])

For n << S this is 2 n / (N² <(ds/dx)²>), the bound for a *known* texture with twice the noise:
the figures of peers.md. Where noise drowns the high frequencies the first is larger and is the
one that counts.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from correlator_cases import scenes
from hmavel.simulate.pairs import STD_DN


def bounds(name: str, noise: float, n: int = 32, seed: int = 1) -> dict[str, float]:
    """1 sigma of one component, px: texture unknown, texture known, and Hann's best."""
    shape = (512, 512)
    image = scenes.texture(seed, shape, name) / STD_DN
    power = np.abs(fft.fft2(image)) ** 2 / image.size
    omega2 = (2 * np.pi * fft.fftfreq(shape[0])[:, None]) ** 2
    variance = noise**2 + (1 / 12 / STD_DN**2 if name == "pan" else 0.0)
    unknown = np.mean(omega2 * power**2 / (2 * power * variance + variance**2))
    known = np.mean(omega2 * power) / (2 * variance)
    crb = float(1 / np.sqrt(n * n * unknown))
    # sum w^4 / (sum w^2)^2 per axis, w the taper of one image: 35/128 / (3/8)^2.
    return {
        "bound": crb,
        "bound_known_texture": float(1 / np.sqrt(n * n * known)),
        "hann_best": crb * (35 / 128) / (3 / 8) ** 2,
    }
