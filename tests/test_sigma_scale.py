"""Scaled sigmas: true on the ground they were read from, class by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hmavel import Displacement
from hmavel.errors import StableGroundError
from hmavel.uncertainty import fit_sigma_scale, scale_sigma

NMAD = 1.4826


def pair(seed: int, *, outliers: float = 0.1) -> tuple[Displacement, np.ndarray, np.ndarray]:
    """Nodes whose true error is a floor of 0.06 px and 1.5 times (rows) the prediction."""
    rng = np.random.default_rng(seed)
    shape = (150, 160)
    predicted = np.exp(rng.normal(np.log(0.05), 0.6, shape))
    true = np.stack([np.hypot(0.06, 1.5 * predicted), np.hypot(0.03, predicted)], axis=-1)
    y = true * rng.normal(size=(*shape, 2)) + np.array([0.004, -0.003])
    false = rng.random(shape) < outliers
    y[false] = rng.uniform(-4, 4, (false.sum(), 2))
    stable = np.zeros(shape, bool)
    stable[:, :80] = True
    one = np.ones(shape, np.float32)
    p = predicted.astype(np.float32)
    d = Displacement(
        y[..., 0].astype(np.float32), y[..., 1].astype(np.float32), p, p.copy(), one, one,
        np.zeros(shape, np.uint8), 8.0 * np.arange(150), 8.0 * np.arange(160),
    )  # fmt: skip
    return d, stable, true


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_scaled_sigmas_are_the_true_errors_elsewhere(seed: int, outliers: float) -> None:
    d, stable, true = pair(seed, outliers=outliers)
    scaled = scale_sigma(d, stable)
    ratio = np.stack([scaled.sigma_row, scaled.sigma_col], axis=-1) / true
    elsewhere = ratio[~stable]
    # deciles of the prediction, on nodes that the fit has not seen
    order = np.argsort(d.sigma_row[~stable])
    for part in np.array_split(order, 10):
        assert np.median(elsewhere[part], axis=0) == pytest.approx([1, 1], abs=0.12)


def test_standardised_residuals_have_unit_spread() -> None:
    d, stable, _ = pair(2, outliers=0.0)
    scaled = scale_sigma(d, stable)
    for value, sigma in ((d.drow, scaled.sigma_row), (d.dcol, scaled.sigma_col)):
        z = ((value - np.median(value)) / sigma)[~stable]
        assert NMAD * np.median(np.abs(z)) == pytest.approx(1.0, abs=0.05)


def test_nothing_else_changes() -> None:
    d, stable, _ = pair(3)
    holed = replace(d, sigma_row=np.where(d.sigma_row > 0.1, np.nan, d.sigma_row))
    scaled = scale_sigma(holed, stable)
    assert scaled.drow is holed.drow
    np.testing.assert_array_equal(np.isnan(scaled.sigma_row), np.isnan(holed.sigma_row))
    assert scaled.sigma_row.dtype == holed.sigma_row.dtype


def test_little_ground_has_one_class_and_too_little_is_said() -> None:
    d, stable, _ = pair(4)
    few = np.zeros_like(stable)
    few[:15, :15] = True
    assert fit_sigma_scale(d, few).factor_row.size == 1
    few[:] = False
    few[:5, :5] = True
    with pytest.raises(StableGroundError, match=r"expected 100 stable nodes .* got 25"):
        scale_sigma(d, few)
    with pytest.raises(ValueError, match="expected a bool array"):
        scale_sigma(d, stable[1:])
