"""From the window's mean to the point: tapers of two widths, and the gain of a cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hmavel
from hmavel import config, resolution
from hmavel._types import Quality
from hmavel.correlator import DEFAULT
from hmavel.errors import ConfigError
from hmavel.month import compose_months
from hmavel.simulate.noise import fractal, sample, spline

WIDE, NARROW = 0.25, 0.5


def test_the_variance_of_a_taper_is_that_of_its_formula():
    assert resolution.taper_variance(NARROW) == pytest.approx(1 / 12 - 5 / (8 * np.pi**2))
    assert resolution.taper_variance(1e-3) == pytest.approx(1 / 12, rel=5e-3)
    large, small = resolution.taper_variance(WIDE), resolution.taper_variance(NARROW)
    factor = resolution.stretch(WIDE, NARROW)
    assert large + factor * (small - large) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="second look"):
        resolution.stretch(0.5, 0.25)


@pytest.mark.parametrize("seed", [1, 2])
def test_two_windows_lead_to_the_value_at_the_point(seed):
    """Ice that moves along the rows, fastest in the middle column, of even texture."""
    rng = np.random.default_rng(seed)
    tile = spline(fractal(rng, (1024, 1024), 1.1, high=0.22))  # twice oversampled
    row, col = np.mgrid[:480, :128].astype(float)
    top, bend = 2.0, 2.0 / 50.0**2  # px, px per px^2
    moved = top - bend * (col - 63.5) ** 2
    a, b = (sample(tile, 2 * (row - d), 2 * col) for d in (0.0, moved))
    b += 0.05 * rng.standard_normal(b.shape, dtype=np.float32)
    first = hmavel.correlate(a, b)
    start = first.drow, first.dcol
    again = hmavel.correlate(a, b, start=start, settings=replace(DEFAULT, last_taper=NARROW))
    middle = np.abs(first.col - 63.5) < 20
    both = (first.good & again.good)[:, middle]
    assert both.mean() > 0.9
    truth = top - bend * (first.col[middle] - 63.5) ** 2

    def bias(drow):
        return np.median((drow[:, middle] - truth)[both])

    wide, narrow = bias(first.drow), bias(again.drow)
    curve = -bend * 32**2  # half the second derivative, times the window squared
    assert wide == pytest.approx(curve * resolution.taper_variance(WIDE), rel=0.15)
    assert narrow == pytest.approx(curve * resolution.taper_variance(NARROW), rel=0.25)
    point = wide + resolution.stretch(WIDE, NARROW) * (narrow - wide)
    assert abs(point) < 0.15 * abs(wide)


def test_a_second_look_starts_where_it_is_told_and_finds_the_same():
    pair = hmavel.simulate.shifted_pair(drow=3.3, dcol=-1.25, seed=5, shape=(160, 160))
    first = hmavel.correlate(pair.reference, pair.secondary)
    start = first.drow.copy(), first.dcol.copy()
    start[0][:4] = np.nan
    again = hmavel.correlate(pair.reference, pair.secondary, start=start)
    assert (again.quality[:4] == Quality.OUTSIDE).all()
    seen = again.good[4:]
    assert seen.sum() > 0.99 * first.good[4:].sum()
    assert np.abs(again.drow - first.drow)[4:][seen].max() < 0.01
    assert np.abs(again.dcol - first.dcol)[4:][seen].max() < 0.01
    with pytest.raises(ValueError, match="correlate start"):
        hmavel.correlate(pair.reference, pair.secondary, start=(start[0][1:], start[1][1:]))


def looks(seed, speed, lost, cells=400, pairs=90):
    """Return what two windows see of cells that move at ``speed`` (m/yr) along (0.6, 0.8).

    The wide one sees 1 - ``lost`` of it; each look is 0.05 px off, 3 % are far off.
    """
    rng = np.random.default_rng(seed)
    days = rng.choice([16.0, 32.0, 48.0, 96.0, 368.0], pairs)
    years = (days / 365.25)[:, None]
    factor = resolution.stretch(WIDE, NARROW)
    rate = 1 + 0.4 * rng.standard_normal((pairs, 1))
    found = {}
    for axis, part in (("x", 0.6), ("y", 0.8)):
        true = part * speed * rate * np.ones(cells)
        noise = 0.75 / years * rng.standard_normal((2, pairs, cells))
        noise[1][rng.random((pairs, cells)) < 0.03] += 300.0
        found["sigma"] = np.repeat(0.75 / years, cells, axis=1)
        found[f"v{axis}"] = (1 - lost) * true + noise[0]
        found[f"more_{axis}"] = lost / factor * true + noise[1]
    return found, days, factor


def fitted(found, days, factor, **more):
    names = ("vx", "vy", "more_x", "more_y", "sigma")
    return resolution.fit_gain(*(found[name] for name in names), days, factor=factor, **more)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("lost", [0.15, -0.3])
def test_the_gain_of_fast_ice_is_found_through_noise_and_false_matches(seed, lost):
    found, days, factor = looks(seed, 100.0, lost)
    gain = fitted(found, days, factor)
    for part, g, sigma in ((0.6, gain.x, gain.sigma_x), (0.8, gain.y, gain.sigma_y)):
        true = part * lost / (1 - lost)
        assert np.median(g) == pytest.approx(true, rel=0.1)
        assert (np.abs(g - true) < 2 * sigma).mean() > 0.95
    x, y = gain.sharpen(found["vx"], found["vy"])
    assert np.median(0.6 * x + 0.8 * y) / np.median(0.6 * found["vx"] + 0.8 * found["vy"]) == (
        pytest.approx(1 / (1 - lost), rel=0.03)
    )


def test_ice_that_hardly_moves_keeps_what_the_wide_window_says():
    found, days, factor = looks(6, 0.0, 0.2)
    gain = fitted(found, days, factor)
    assert np.abs(gain.x).max() < factor * resolution.PRIOR_GAIN
    either = np.hypot(gain.sigma_x, gain.sigma_y)  # along and across the flow together
    assert either.min() > 0.5 * factor * resolution.PRIOR_GAIN
    x, _ = gain.sharpen(found["vx"], found["vy"])
    assert np.median(np.abs(x - found["vx"]) / np.abs(found["vx"])) < 0.1


@pytest.mark.parametrize("seed", [9, 10, 11])
def test_slow_cells_learn_from_all_cells_of_their_zone(seed):
    """Two zones of slow ice: each cell alone would say nothing, all of a zone say enough."""
    edge, _, _ = looks(seed, 8.0, 0.15)
    amid, days, factor = looks(seed, 8.0, 0.0)
    found = {name: np.concatenate([edge[name], amid[name]], axis=1) for name in edge}
    zone = np.repeat([1, 3], 400)
    true = np.repeat([0.15 / 0.85, 0.0], 400)
    gain = fitted(found, days, factor, zone=zone, repeats=8.0)
    g = 0.6 * gain.x + 0.8 * gain.y
    alone = fitted(found, days, factor, zone=zone, repeats=1e9)
    g_alone = 0.6 * alone.x + 0.8 * alone.y
    for there in (zone == 1, zone == 3):
        assert np.median(g[there]) == pytest.approx(true[there][0], abs=0.06)
    off, off_alone = (np.sqrt(np.mean((each - true) ** 2)) for each in (g, g_alone))
    assert off < 0.6 * off_alone
    sigma = np.hypot(0.6 * gain.sigma_x, 0.8 * gain.sigma_y)
    assert (np.abs(g - true) < 2 * sigma).mean() > 0.95
    assert gain.left_out[[0, -1]].tolist() == [resolution.LEFT_OUT[1], resolution.LEFT_OUT[3]]


def test_a_zones_spread_is_what_its_cells_show():
    rng = np.random.default_rng(12)
    precision = rng.uniform(300, 3000, 500)
    for spread in (0.01, 0.04, 0.1):
        seen = -0.05 + spread * rng.standard_normal(500)
        seen += rng.standard_normal(500) / np.sqrt(precision)
        seen[:10] = 5.0
        mean, found, error = resolution._zone_prior(seen, precision, 0.1, 1.0)
        assert found == pytest.approx(spread, rel=0.45)
        assert abs(mean + 0.05) < 4 * error
    nothing = np.zeros(0)
    assert resolution._zone_prior(nothing, nothing, 0.1, 1.0) == (0.0, 0.1, 0.1)


def test_zones_are_bands_along_the_edge_of_the_ice():
    ice = np.zeros((9, 40), bool)
    ice[:, 10:] = True  # on to the border, where there is no edge
    zone = resolution.edge_zones(ice, 4.0)
    assert (zone == zone[0]).all()
    # centres half a cell, one and a half, ... from the edge; zones end at 1, 2 and 4 cells
    assert zone[0, 10:16].tolist() == [0, 1, 2, 2, 3, 3]
    assert (zone[0, 14:] == 3).all()


def test_cells_alike_are_fewer_with_a_narrower_taper():
    wide, narrow = (resolution.cells_alike(taper, 4.0) for taper in (WIDE, NARROW))
    assert wide == pytest.approx(4 * np.pi * 6.5**2 / 8**2, rel=0.02)
    assert 1.0 < narrow < wide
    assert resolution.cells_alike(NARROW, 0.5) == 1.0


def test_cells_without_pairs_get_the_prior():
    found, days, factor = looks(7, 50.0, 0.2, cells=3)
    for name in found:
        found[name][:, 0] = np.nan
        found[name][3:, 1] = np.nan
    gain = fitted(found, days, factor)
    assert (gain.x[:2] == 0).all()
    assert np.hypot(gain.sigma_x, gain.sigma_y)[1] > 0.9 * factor * resolution.PRIOR_GAIN
    assert gain.x[2] > 0.05


def test_the_corrections_error_is_shared_by_all_months_of_a_cell():
    day = np.datetime64("2020-01-05") + 16 * np.arange(30)
    rng = np.random.default_rng(8)
    x, y = (
        compose_months(mean + rng.normal(0, 5, (29, 1, 8)), 5.0, day[:-1], day[1:])
        for mean in (60.0, 80.0)
    )
    one = np.ones((1, 8))
    g = np.where(np.arange(8) == 1, 0.3, 0.0)[None]
    gain = resolution.Gain(0.6 * one, 0.8 * one, g, 0 * one, 0.2 * one, 0 * one, 0.5 * one)
    wider, same = gain.widen(x, y, window=4)
    speed = 0.6 * x.v + 0.8 * y.v
    # windows of five cells; at the edge of the ice, what there is of them
    count = np.array([3, 4, 5, 5, 5, 5, 4, 3])
    around = np.where(np.arange(8) < 4, (0.3 * speed[..., 1:2]) ** 2 / count, 0.0)
    shared = np.sqrt((0.2 * speed) ** 2 + 0.5**2 * around)
    assert wider.sigma == pytest.approx(np.hypot(x.sigma, shared))
    assert same.sigma == pytest.approx(y.sigma)
    between = wider.next_correlation[:-1] * wider.sigma[:-1] * wider.sigma[1:]
    before = x.next_correlation[:-1] * x.sigma[:-1] * x.sigma[1:]
    assert between == pytest.approx(before + shared[:-1] * shared[1:], rel=1e-4)
    assert np.isnan(wider.next_correlation[-1]).all()


def test_cells_go_back_to_their_places():
    ice = np.zeros((3, 4), bool)
    ice[1, 1:3] = True
    cells = [np.array([[k, k + 0.5]]) for k in range(7)]
    gain = resolution.Gain(*cells).on_grid(ice)
    assert gain.left_out[1, 1:3].tolist() == [6.0, 6.5]
    assert np.isnan(gain.x[~ice]).all()


def test_the_second_taper_is_the_narrower_or_none(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[correlate]\nsecond_taper = 0.2\n")
    with pytest.raises(ConfigError, match="second_taper > last_taper"):
        config.load(file)
    file.write_text("[correlate]\nsecond_taper = 0\n")
    assert config.load(file).correlate.second_taper == 0
