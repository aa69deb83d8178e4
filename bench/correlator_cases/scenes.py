"""Pairs that ``hmavel.simulate`` does not offer: shear profiles, a moved sun, two materials."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from hmavel.simulate import shifted_pair
from hmavel.simulate.noise import frequencies, shape_spectrum
from hmavel.simulate.pairs import MEAN_DN, STD_DN

Profile = Callable[[np.ndarray], np.ndarray]


def texture(seed: int, shape: tuple[int, int], name: str = "k-1.2") -> np.ndarray:
    """Return the noise-free texture, DN about zero."""
    return shifted_pair(0, 0, seed, shape, name, noise=0.0).reference.astype(float) - MEAN_DN


def _noisy(seed: int, noise: float, *images: np.ndarray) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, 99])
    return [
        (MEAN_DN + x + noise * STD_DN * rng.standard_normal(x.shape)).astype(np.float32)
        for x in images
    ]


def shift_columns(image: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Move every column down its rows by its own ``d``, exactly."""
    f = fft.rfftfreq(image.shape[0])[:, None]
    spectrum = fft.rfft(image, axis=0) * np.exp(-2j * np.pi * f * d[None, :])
    return np.asarray(fft.irfft(spectrum, n=image.shape[0], axis=0))


def sheared(
    profile: Profile, seed: int, shape: tuple[int, int], noise: float, name: str = "k-1.2"
) -> list[np.ndarray]:
    """Pair whose column c moves down by ``profile(c)``."""
    image = texture(seed, shape, name)
    return _noisy(seed, noise, image, shift_columns(image, profile(np.arange(shape[1]))))


def two_materials(
    speed: float, edge: int, seed: int, shape: tuple[int, int], noise: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Ground that stands left of column ``edge``, ice that moves down right of it; labels."""
    ground, ice = texture(seed, shape), texture(seed + 1000, shape)
    moved = shift_columns(ice, np.full(shape[1], speed))
    label = np.broadcast_to((np.arange(shape[1]) >= edge).astype(np.uint8) + 1, shape)
    images = [np.where(label == 2, x, ground) for x in (ice, moved)]
    return _noisy(seed, noise, *images), label.copy()


def hillshade(dem: np.ndarray, azimuth: float, elevation: float, pixel: float) -> np.ndarray:
    """Cosine of the sun's incidence angle, nothing below zero; degrees, rows run south."""
    south, east = np.gradient(dem, pixel)
    az, el = np.radians(azimuth), np.radians(elevation)
    sun = np.cos(el) * np.sin(az), np.cos(el) * np.cos(az), np.sin(el)
    normal = np.sqrt(1 + south**2 + east**2)
    return np.maximum((-east * sun[0] + south * sun[1] + sun[2]) / normal, 0.0)


def moved_sun(
    seed: int, shape: tuple[int, int], noise: float = 0.01, slope: float = 0.35
) -> list[np.ndarray]:
    """Nothing moves; the sun does, from 150° / 30° to 170° / 60° (azimuth / elevation).

    Terrain of amplitude k^-2.5 with an RMS slope of ``slope``, ground whose brightness varies
    by 15 % (k^-1.2).
    """
    rng = np.random.default_rng([seed, 7])
    fr, fc = frequencies(shape)
    k = np.hypot(fr, fc)
    k[0, 0] = 1.0
    dem = shape_spectrum(rng, shape, k**-2.5)
    south, east = np.gradient(dem, 15.0)
    dem = dem * slope / np.sqrt(np.mean(south**2 + east**2))
    albedo = 1 + 0.15 * shape_spectrum(rng, shape, k**-1.2)
    images = []
    for azimuth, elevation in ((150.0, 30.0), (170.0, 60.0)):
        light = albedo * (hillshade(dem, azimuth, elevation, 15.0) + 0.1)
        images.append((light - light.mean()) / light.std() * STD_DN)
    return _noisy(seed, noise, *images)
