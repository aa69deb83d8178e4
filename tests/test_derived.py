"""Annual means, season, trend and anomalies: against the truth, and against their errors."""

from __future__ import annotations

from dataclasses import replace

import networks as nw
import numpy as np
import pytest

from hmavel.derived import annual_means, anomalies, season_and_trend, summary
from hmavel.month import Months, compose_months
from hmavel.month_kernel import Hyperparameters

PRIOR = Hyperparameters(
    level=1000.0, season=20.0, shape=0.9, memory=20.0, event=2.0, duration=0.4
)
CELLS = 40


@pytest.fixture(scope="module")
def composed():
    """Forty cells of one season, of which some lack months, and their truth."""
    sim = nw.simulate(["season"], 21, cells=CELLS, pairs=250, last="2019-04-01")
    months = np.arange("2013-06", "2019-01", dtype="M8[M]")
    v = sim.v.reshape(-1, 4, 10)
    sigma = sim.sigma.reshape(v.shape)
    m = compose_months(
        v, sigma, sim.start, sim.end, months=months, scene_sigma=nw.SCENE_SIGMA,
        hyperparameters=PRIOR, covariance=True,
    )
    at = (months - sim.months[0]).astype(int)
    return m, sim.truth[at].reshape(len(months), 4, 10)


def within(estimate, sigma, truth):
    z = np.abs(estimate - truth) / sigma
    return np.mean(z[np.isfinite(z)] < 1)


def test_annual_means(composed):
    m, truth = composed
    found = annual_means(m)
    assert list(found.years.astype(str)) == [str(y) for y in range(2013, 2019)]
    # Seven months of 2013: their mean would be that of a season.
    assert np.isnan(found.v[0]).all()
    assert np.all(found.months[1:] == 12)
    year = m.months.astype("M8[Y]").astype(str)
    days = np.diff(np.append(m.months, m.months[-1] + 1).astype("M8[D]")).astype(float)
    for k, name in enumerate(found.years.astype(str)):
        if k == 0:
            continue
        expected = np.average(truth[year == name], axis=0, weights=days[year == name])
        assert np.sqrt(np.mean((found.v[k] - expected) ** 2)) < 2.0
        assert 0.45 < within(found.v[k], found.sigma[k], expected) < 0.95
    # Neighbouring months make up for each other: a year is known better than its months say.
    alone = np.sqrt((m.sigma[year == "2016"] ** 2).sum(axis=0)) / 12
    assert not np.allclose(found.sigma[3], alone, rtol=0.1)


def test_season_and_trend(composed):
    m, truth = composed
    found = season_and_trend(m)
    # The months are means, so that a sine of 30 comes out 1 % smaller.
    assert np.sqrt(np.mean((found.amplitude - 29.7) ** 2)) < 2.0
    assert np.all(found.p_no_season < 1e-6)
    perfect = season_and_trend(replace(m, v=truth))
    # Highest a quarter of a year after 0.3.
    np.testing.assert_allclose(perfect.phase_days, 0.55 * 365.25, atol=2)
    assert np.sqrt(np.mean((found.phase_days - perfect.phase_days) ** 2)) < 8
    for name in ("mean", "trend", "amplitude", "phase_days"):
        share = within(getattr(found, name), getattr(found, f"sigma_{name}"),
                       getattr(perfect, name))
        assert 0.4 < share < 0.97, name
    assert np.sqrt(np.mean((found.trend - perfect.trend) ** 2)) < 0.6


def test_a_season_of_noise_is_told_as_such():
    sim = nw.simulate(["slow"], 5, cells=30, pairs=200, last="2018-04-01")
    shape = (len(sim.v), 3, 10)
    m = compose_months(
        sim.v.reshape(shape), sim.sigma.reshape(shape), sim.start, sim.end, covariance=True,
        scene_sigma=nw.SCENE_SIGMA, hyperparameters=PRIOR,
    )
    found = season_and_trend(m)
    # Amplitudes are never zero; chances are even where there is nothing.
    assert np.median(found.amplitude) > 0.3
    assert np.mean(found.p_no_season < 0.05) < 0.25


def test_anomalies(composed):
    m, truth = composed
    found = anomalies(m)
    np.testing.assert_allclose(np.nanmean(found.v[6:], axis=0), 0, atol=1.0)
    expected = anomalies(replace(m, v=truth))
    assert within(found.v, found.sigma, expected.v) > 0.6
    assert np.sqrt(np.nanmean((found.v - expected.v) ** 2)) < 4
    assert found.climatology.shape == (12, 4, 10)
    assert 0.4 < within(found.climatology, found.sigma_climatology, expected.climatology) < 0.97


def test_sums_are_those_of_plain_algebra(composed):
    m, _ = composed
    found, covariance = annual_means(m), m.covariance[:, :, 1, 2]
    days = np.diff(np.append(m.months, m.months[-1] + 1).astype("M8[D]")).astype(float)
    w = np.where(m.months.astype("M8[Y]").astype(str) == "2015", days, 0)
    w /= w.sum()
    k = list(found.years.astype(str)).index("2015")
    assert found.v[k, 1, 2] == pytest.approx(w @ m.v[:, 1, 2])
    assert found.sigma[k, 1, 2] == pytest.approx(np.sqrt(w @ covariance @ w))


def test_missing_months_cells_and_covariance(composed):
    m, _ = composed
    v = m.v.copy()
    v[:, 0, 0] = np.nan
    v[20:26, 0, 1] = np.nan
    v[12:, 0, 2] = np.nan
    holes = replace(m, v=v)
    year, wave, odd = annual_means(holes), season_and_trend(holes), anomalies(holes)
    for field in (year.v, wave.trend, wave.phase_days, odd.v):
        assert np.isnan(field[..., 0, 0]).all()
        assert np.isfinite(field[..., 3, 3]).any()
    assert np.isfinite(wave.trend[0, 1])
    assert np.isnan(wave.trend[0, 2])
    assert np.isnan(odd.v[20:26, 0, 1]).all()
    # A month that is there in one year only has no mean to differ from.
    assert np.isnan(odd.v[:, 0, 2]).all()
    with pytest.raises(ValueError, match="covariance=True"):
        annual_means(replace(m, covariance=None))


def test_one_cell():
    sim = nw.simulate(["season"], 2, pairs=120, last="2016-06-01")
    m = compose_months(
        sim.v[:, 0], sim.sigma[:, 0], sim.start, sim.end, covariance=True,
        hyperparameters=PRIOR,
    )
    assert annual_means(m).v.shape == (4,)
    assert season_and_trend(m).trend.shape == ()
    assert anomalies(m).v.shape == m.v.shape


def test_a_summary_by_blocks_is_that_of_the_whole():
    """300 cells are two blocks; the months wanted reach beyond those of the pairs."""
    sim = nw.simulate(["season"], 3, cells=300, pairs=80, last="2017-06-01")
    months = np.arange("2012-12", "2017-10", dtype="M8[M]")
    given = (sim.v.reshape(-1, 15, 20), sim.sigma.reshape(-1, 15, 20), sim.start, sim.end)
    options = {"months": months, "hyperparameters": PRIOR}
    m = compose_months(*given, covariance=True, **options)
    by_blocks = compose_months(*given, summary=summary, **options)
    assert by_blocks.covariance is None
    whole = summary(m)
    assert set(by_blocks.summary) == set(whole)
    for name, values in whole.items():
        np.testing.assert_allclose(by_blocks.summary[name], values, err_msg=name, rtol=1e-6)
    assert np.isfinite(whole["wave"]).mean() > 0.9
    nothing = compose_months(
        np.full((1, 2, 2), np.nan), 1.0, sim.start[:1], sim.end[:1], summary=summary, **options
    )
    assert np.isnan(nothing.summary["wave"]).all()
    assert nothing.summary["wave"].shape == (4, 2, 2)


def test_the_error_of_an_anomaly_is_that_of_the_whole_sum(composed):
    m, _ = composed
    found, covariance = anomalies(m), m.covariance[:, :, 2, 3]
    calendar = m.months.astype(int) % 12
    for k in (0, 17, 40):
        w = np.where(calendar == calendar[k], -1.0, 0)
        w /= -w.sum()
        w[k] += 1
        assert found.v[k, 2, 3] == pytest.approx(w @ m.v[:, 2, 3])
        assert found.sigma[k, 2, 3] == pytest.approx(np.sqrt(w @ covariance @ w))


def months_of(known: np.ndarray, v: np.ndarray, first: str = "2014-01") -> Months:
    """Months as if composed, errors of 1 m/yr each, blank where not known."""
    months = np.arange(first, np.datetime64(first, "M") + len(known), dtype="M8[M]")
    v = np.where(known, v, np.nan)
    covariance = np.where(known[:, None] & known, np.eye(len(known)), np.nan)
    nothing = np.full(len(v), np.nan)
    return Months(
        months, v, np.where(known, 1.0, np.nan), nothing, nothing, nothing, nothing, nothing,
        nothing, "gp", (), np.array(0), None, 0.0, covariance,
    )  # fmt: skip


@pytest.mark.parametrize("first", ["2014-01", "2014-06"])
@pytest.mark.parametrize(
    ("blank", "told"),
    [
        ([], True), ([0, 1, 2, 3, 4, 5], True), ([0, 22, 23], True),
        ([0, 1, 11, 12, 13, 23], True), ([0, 1, 2, 3, 4, 5, 6], False),
        ([*range(6), *range(18, 24)], False),
    ],
)  # fmt: skip
def test_a_year_and_a_half_of_two_tells_wave_and_line(first, blank, told):
    """What is told is exact where the months are a line and a wave."""
    known = np.ones(24, bool)
    known[blank] = False
    month = np.arange(24) + np.datetime64(first, "M").astype(int)
    turn = 2 * np.pi * (month % 12 + 0.5) / 12
    v = 50 + 4 * np.arange(24) / 12 + 20 * np.cos(turn - 1.0)
    found = season_and_trend(months_of(known, v, first))
    if not told:
        assert np.isnan(found.amplitude)
        assert np.isnan(found.p_no_season)
        return
    assert found.amplitude == pytest.approx(20)
    assert found.trend == pytest.approx(4)
    assert found.phase_days == pytest.approx(365.25 / (2 * np.pi))
    # Neither is known much worse than from all months.
    assert found.sigma_trend < 2.2 * season_and_trend(months_of(known | True, v)).sigma_trend
    assert found.sigma_amplitude < 0.6


def test_months_of_half_of_the_year_tell_no_wave_however_many():
    """Five summers; and Januaries alone."""
    for kept in ((4, 5, 6, 7, 8, 9), (1,)):
        known = np.isin(np.arange(240) % 12 + 1, kept)
        found = season_and_trend(months_of(known, np.ones(240)))
        assert np.isnan(found.amplitude)
        assert np.isnan(found.sigma_trend)
    eight = np.isin(np.arange(36) % 12 + 1, (4, 5, 6, 7, 8, 9, 10, 11))
    assert np.isfinite(season_and_trend(months_of(eight, np.ones(36))).amplitude)
