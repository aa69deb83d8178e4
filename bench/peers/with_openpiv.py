"""OpenPIV: multi-pass window deformation, and its single circular pass."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from openpiv import pyprocess, windef
from openpiv.settings import PIVSettings

from peers import Engine, Field


def _settings() -> PIVSettings:
    s = PIVSettings()
    s.windowsizes, s.overlap, s.num_iterations = (64, 32, 32), (32, 16, 24), 3
    s.correlation_method, s.normalized_correlation = "linear", True
    s.deformation_method, s.interpolation_order = "symmetric", 3
    s.subpixel_method = "gaussian"
    s.sig2noise_validate, s.sig2noise_method = False, None
    s.show_all_plots = s.show_plot = False
    return s


def deforming(
    reference: np.ndarray,
    secondary: np.ndarray,
    guess: tuple[int, int],  # noqa: ARG001
    reach: int,  # noqa: ARG001
) -> Field:
    a, b = (x - x.mean() for x in (reference.astype(float), secondary.astype(float)))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its counts
        x, y, u, v, flags = windef.simple_multipass(a, b, _settings())
    # Its coordinates have y up, and v with it; rows of its arrays still run down.
    good = np.asarray(flags) == 0
    return Field(
        np.sort(y[:, 0]) - 0.5,
        x[0] - 0.5,
        np.where(good, -v, np.nan),
        np.where(good, u, np.nan),
    )


def circular(
    reference: np.ndarray,
    secondary: np.ndarray,
    guess: tuple[int, int],  # noqa: ARG001
    reach: int,  # noqa: ARG001
) -> Field:
    a, b = (x - x.mean() for x in (reference.astype(float), secondary.astype(float)))
    u, v, _ = pyprocess.extended_search_area_piv(
        a, b, window_size=32, overlap=24, search_area_size=32, sig2noise_method=None
    )
    x, y = pyprocess.get_coordinates(a.shape, 32, 24)
    return Field(np.sort(y[:, 0]) - 0.5, x[0] - 0.5, v, u)


ENGINES = [
    Engine(
        "OpenPIV windef 64→32→32",
        "openpiv",
        "passes 64/32, 32/16, 32/24 (window/overlap), linear normalised correlation, symmetric "
        "cubic deformation, Gaussian peak, its validation: the most accurate of seven tried",
        deforming,
    ),
    Engine(
        "OpenPIV circular",
        "openpiv",
        "extended_search_area_piv, 32/24, circular, Gaussian peak (its defaults)",
        circular,
    ),
]
