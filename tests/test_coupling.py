"""Neighbouring cells heard with each cell: noise, fronts, false matches, gaps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from scipy import ndimage

from hmavel import config, coupling, derived
from hmavel._types import Grid
from hmavel.glacier_months import _coupled, _with_level
from hmavel.month import compose_months
from hmavel.resolution import taper_variance

#: Variance of the taper, cells squared: errors are alike over some four cells.
V = (6.5 / 8) ** 2
SHAPE = (40, 30, 30)


def correlated(rng):
    wide = (SHAPE[0], SHAPE[1] + 20, SHAPE[2] + 20)
    noise = ndimage.gaussian_filter(rng.standard_normal(wide), (0, V**0.5, V**0.5))
    return noise[:, 10:-10, 10:-10] / noise.std()


def pairs(seed, kind):
    """Return (true, measured, sigma, which are false) of pairs of 16 days to a year."""
    rng = np.random.default_rng(seed)
    years = rng.choice([16, 32, 48, 96, 368.0], SHAPE[0])[:, None, None] / 365.25
    across = 30 * np.exp(-(((np.arange(SHAPE[1]) - 15) / 7) ** 2))[:, None]
    if kind == "season":
        true = across * (1 + 0.3 * rng.standard_normal(SHAPE[0])[:, None, None])
        true = np.broadcast_to(true, SHAPE)
    else:  # a front somewhere along the ice, three times the speed behind it
        front = rng.integers(8, 22, SHAPE[0])[:, None, None]
        true = across * (1 + 2 * (np.arange(SHAPE[2]) > front))
    sigma = np.broadcast_to(0.8 / years, SHAPE).copy()
    v = true + sigma * correlated(rng)
    false = rng.random(SHAPE) < 0.03
    v[false] += rng.choice([-400.0, 400.0], int(false.sum()))
    v[rng.random(SHAPE) < 0.1] = np.nan
    return true, v, sigma, false


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("kind", "gain"), [("season", 0.6), ("front", 0.75)])
def test_errors_shrink_and_sigma_knows(seed, kind, gain):
    true, v, sigma, false = pairs(seed, kind)
    found, error = coupling.couple(v, sigma, radius=2.0, correlation_variance=V)
    good = np.isfinite(v) & ~false
    before, after = ((each - true)[good] / sigma[good] for each in (v, found))
    assert np.sqrt(np.mean(after**2)) < gain * np.sqrt(np.mean(before**2))
    z = (found - true)[good] / error[good]
    assert 0.85 < np.sqrt(np.mean(z**2)) < 1.1
    assert np.mean(np.abs(z) < 2) > 0.92
    assert (error[good] <= sigma[good] * (1 + 1e-6)).all()
    assert abs(np.median(found[good] - true[good])) < 0.3


@pytest.mark.parametrize("seed", [4, 5])
def test_false_matches_stay_as_they_are_and_spoil_no_neighbour(seed):
    true, v, sigma, false = pairs(seed, "season")
    found, error = coupling.couple(v, sigma, radius=2.0, correlation_variance=V)
    false &= np.isfinite(v) & (sigma < 20)  # 400 m/yr is nothing to a pair of 16 days
    assert np.abs(found - v)[false].max() == pytest.approx(0.0, abs=1e-9)
    assert (error[false] == sigma[false]).all()
    beside = ndimage.binary_dilation(false, np.ones((1, 3, 3))) & ~false & np.isfinite(v)
    beside &= sigma < 20
    z = ((found - true) / error)[beside]
    assert np.mean(np.abs(z) < 2) > 0.9


def test_what_is_missing_stays_missing_and_lone_cells_as_they_are():
    rng = np.random.default_rng(6)
    v = rng.normal(50, 5, (12, 9, 9)).astype(np.float32)
    v[:, :4] = np.nan
    v[:, 4] = np.nan
    v[:, 4, 4] = 50 + rng.normal(0, 5, 12)
    v[:, 5:] = np.nan
    sigma = np.full(v.shape, 5.0, np.float32)
    found, error = coupling.couple(v, sigma, radius=1.0, correlation_variance=V)
    assert found.dtype == error.dtype == np.float32
    assert (np.isnan(found) == np.isnan(v)).all()
    assert found[:, 4, 4] == pytest.approx(v[:, 4, 4], abs=0.5)
    none = np.full(v.shape, np.nan, np.float32)
    assert np.isnan(coupling.couple(none, sigma, radius=1.0, correlation_variance=V)[0]).all()


def test_shares_of_noise_are_those_of_a_simulation():
    rng = np.random.default_rng(7)
    noise = np.concatenate([correlated(rng) for _ in range(10)])
    around = ndimage.gaussian_filter(noise, (0, 2.0, 2.0), truncate=3.0)
    inside = (slice(None), slice(8, -8), slice(8, -8))
    rho, kappa = coupling.noise_shares(2.0, V)
    assert around[inside].var() == pytest.approx(rho, rel=0.1)
    assert (around * noise)[inside].mean() == pytest.approx(kappa, rel=0.1)


def level_error(true, v, sigma, missing):
    """Return the rms of a cell's mean over its stated error, for a stack of pairs."""
    weight = 1 / sigma**2
    mean = (weight * v).sum(axis=0) / weight.sum(axis=0)
    return np.sqrt(np.mean((mean - true) ** 2 / (1 / weight.sum(axis=0) + missing**2)))


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_cells_mean_is_known_no_better_than_before(seed):
    rng = np.random.default_rng(seed)
    years = rng.choice([16, 32, 48, 96, 368.0], SHAPE[0])[:, None, None] / 365.25
    sigma = np.broadcast_to(0.8 / years, SHAPE).copy()
    found, error = coupling.couple(
        5 + sigma * correlated(rng), sigma, radius=2.0, correlation_variance=V
    )
    assert level_error(5, found, error, 0.0) > 2  # as the pairs alone would have it
    missing = coupling.missing_of_level(sigma, error)
    # Means of some 900 cells that err alike over windows scatter by a tenth.
    assert level_error(5, found, error, missing) == pytest.approx(1.0, abs=0.2)


def test_months_get_the_error_that_they_share():
    day = np.datetime64("2020-01-05") + 16 * np.arange(24)
    v, sigma = np.full((23, 1, 2), 50.0), np.full((23, 1, 2), 5.0)
    made = compose_months(v, sigma, day[:-1], day[1:], summary=derived.summary, covariance=True)
    level = np.array([[3.0, 0.0]])
    wide = _with_level(made, level)
    whole = made.covariance + level**2
    np.testing.assert_allclose(wide.sigma**2, np.einsum("iirc->irc", whole), rtol=1e-9)
    np.testing.assert_allclose(
        wide.next_correlation[:-1] * wide.sigma[:-1] * wide.sigma[1:],
        np.einsum("iirc->irc", whole[:-1, 1:]), rtol=1e-9,
    )  # fmt: skip
    again = derived.summary(replace(made, covariance=whole))
    for name in ("annual_sigma", "climatology_sigma", "anomaly_sigma", "wave_covariance"):
        np.testing.assert_allclose(wide.summary[name], again[name], rtol=1e-6, atol=1e-9)


def test_what_cannot_be_coupled_is_refused():
    v = np.zeros((2, 3, 3))
    with pytest.raises(ValueError, match="one shape"):
        coupling.couple(v, v[0], radius=1.0, correlation_variance=1.0)
    with pytest.raises(ValueError, match="above 0"):
        coupling.couple(v, v + 1, radius=0.0, correlation_variance=1.0)


def test_the_option_is_in_metres_on_the_ice_of_the_glacier():
    _, v, sigma, _ = pairs(8, "season")
    ice = np.zeros(SHAPE[1:], bool)
    ice[5:25, 3:28] = True
    grid = Grid(CRS.from_epsg(32645), Affine(120, 0, 0, 0, -120, 0), ice.shape)
    site = SimpleNamespace(ice=ice, grid=grid)
    cells = [each[:, ice][:, None].astype(np.float32) for each in (v, sigma)]
    same = _coupled(*cells, site, config.Config())
    assert same[0] is cells[0]
    assert same[1] is cells[1]
    given = config.from_dict({"months": {"coupling_m": 240}})
    found, error = _coupled(*cells, site, given)
    wanted = coupling.couple(
        *(np.where(ice, each, np.nan).astype(np.float32) for each in (v, sigma)),
        radius=2.0, correlation_variance=16 * taper_variance(0.25),
    )  # fmt: skip
    for one, whole in zip((found, error), wanted, strict=True):
        assert one.shape == cells[0].shape
        assert one[:, 0] == pytest.approx(whole[:, ice], rel=1e-5, nan_ok=True)
