"""The robust fit and the redundancy against their slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from hmavel import _kernels
from hmavel.bias_hull import Hull
from hmavel.bias_models import CUTOFF, PULL, Shape, core_sigma, robust_fit, tukey
from hmavel.errors import StableGroundError


def ground(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and displacements with a ramp and false matches."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(-150, 150, (n, 2))
    y = 0.05 * rng.normal(size=(n, 2)) + 5e-4 * p
    false = rng.random(n) < 0.05 * seed
    y[false] += rng.uniform(-3, 3, (int(false.sum()), 2))
    return p, y


def slow_fit(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, core: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reweight with NumPy: coefficients, weights, sigma, the inverse of the sums."""
    sigma = core

    def fitted(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weight = tukey(residual, sigma)
        gram = (x * weight[:, None]).T @ x
        inverse = np.linalg.inv(gram + PULL * np.trace(gram) / len(gram) * np.eye(len(gram)))
        return inverse @ (x * weight[:, None]).T @ y, weight, inverse

    fit = fitted(start)
    for resting in (1e-2, 1e-7):
        for _ in range(30):
            old, fit = fit, fitted(y - x @ fit[0])
            if np.abs(fit[0] - old[0]).max() / sigma.max() < resting:
                break
        if resting == 1e-2:
            sigma = core_sigma(y - x @ fit[0])
    beta, weight, inverse = fit
    return beta, weight, sigma, inverse


@pytest.mark.parametrize("degree", [1, 3, 6])
@pytest.mark.parametrize("n", [12, 60, 900])
def test_the_fit_is_that_of_numpy(n: int, degree: int) -> None:
    for seed in range(6):
        p, y = ground(seed, n)
        shape = Shape(degree, 150.0, (-150, 150, -150, 150), Hull(p), 333.0)
        start = y - np.median(y, axis=0)
        kept = start.copy()
        core = core_sigma(start)
        fit = robust_fit(shape, p, y, start, core)
        beta, weight, sigma, inverse = slow_fit(shape.design(p), y, start, core)
        np.testing.assert_allclose(fit.beta, beta, atol=1e-12)
        np.testing.assert_allclose(fit.weight, weight, atol=1e-10)
        np.testing.assert_allclose(fit.sigma, sigma, rtol=1e-10)
        np.testing.assert_allclose(fit.covariance, inverse, rtol=1e-9, atol=1e-13)
        np.testing.assert_array_equal(start, kept)


def test_terms_that_are_all_one_share_what_is_there() -> None:
    """Nodes on one line: the pull settles what their terms cannot tell."""
    rng = np.random.default_rng(0)
    p = np.stack([np.zeros(80), np.linspace(-150, 150, 80)], axis=1)
    y = 0.2 + 0.05 * rng.normal(size=(80, 2))
    shape = Shape(6, 150.0, (0, 0, -150, 150), Hull(p), 333.0)
    fit = robust_fit(shape, p, y, y - np.median(y, axis=0), np.array([0.05, 0.05]))
    assert fit.at(p).mean(axis=0) == pytest.approx([0.2, 0.2], abs=0.02)
    assert np.abs(fit.beta[[1, 3, 4]]).max() < 1e-3  # of what is not there, nothing


def test_without_a_residual_in_reach_there_is_no_fit() -> None:
    p, y = ground(0, 30)
    shape = Shape(3, 150.0, (-150, 150, -150, 150), Hull(p), 333.0)
    with pytest.raises(StableGroundError, match="30 that scatter without a core"):
        robust_fit(shape, p, y, y + 10 * CUTOFF, np.array([1.0, 1.0]))


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (23, 31)])
def test_the_variogram_is_the_mean_squared_difference(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    field = rng.normal(size=(*shape, 2))
    field[rng.random(shape) < 0.3] = np.nan
    out = np.empty((2, 8))
    _kernels.variogram(field, 30, out)
    for axis, line in enumerate(out):
        along = np.moveaxis(field, axis, 0)
        for lag, found in enumerate(line, start=1):
            square = ((along[lag:] - along[:-lag]) ** 2).sum(axis=-1)
            square = square[np.isfinite(square)]
            if square.size < 30:
                assert np.isnan(found)
            else:
                assert found == pytest.approx(square.mean(), rel=1e-12)


def test_ground_on_a_line_has_no_outline_and_holds_nothing() -> None:
    line = np.stack([np.linspace(0, 70, 8), np.linspace(0, 35, 8)], axis=1)
    p = np.array([[500.0, -300.0], [20.0, 10.0]])
    for few in (line, line[:1], line[:3]):
        hull = Hull(few)
        np.testing.assert_array_equal(hull.held(p, 50.0), p)
        assert not hull.distance(p, 50.0).any()


def test_ground_lies_within_itself() -> None:
    p, _ = ground(0, 200)
    hull = Hull(p)
    assert hull.held(p, 50.0) is p
    assert not hull.distance(p, 50.0).any()
    np.testing.assert_allclose(hull.distance(p.copy(), 50.0), 0.0, atol=1e-9)
