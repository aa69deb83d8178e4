"""compose_months: what goes in, what comes out, and what it refuses."""

from __future__ import annotations

import networks as nw
import numpy as np
import pytest

from hmavel.month import compose_months
from hmavel.month_input import METHODS

DAY = np.timedelta64(86_400_000, "ms")
MONTHLY = np.arange("2019-01-05", "2021-01-06", 16, dtype="datetime64[D]").astype("M8[ms]")


def chain(velocity, *, sigma=20.0):
    """Pairs end to end, all of one velocity."""
    start, end = MONTHLY[:-1], MONTHLY[1:]
    return np.full(len(start), float(velocity)), np.full(len(start), sigma), start, end


@pytest.mark.parametrize("method", METHODS)
def test_constant_velocity_comes_back(method):
    v, sigma, start, end = chain(70.0)
    m = compose_months(v, sigma, start, end, method=method)
    assert m.months[0] == np.datetime64("2019-01")
    assert m.months[-1] == np.datetime64("2020-12")
    np.testing.assert_allclose(m.v, 70.0, atol=0.5)
    assert np.all(m.sigma > 0)
    assert m.v.shape == m.sigma.shape == m.flag.shape == (24,)
    assert np.all(m.shortest_days == 16)


@pytest.mark.parametrize("method", METHODS)
def test_cells_do_not_depend_on_their_company_or_place(method):
    sim = nw.simulate(["season"], 3, cells=6, pairs=150, last="2017-01-01", missing=0.1)
    v, sigma = sim.v.reshape(-1, 2, 3), sim.sigma.reshape(-1, 2, 3)
    kwargs = {"method": method, "scene_sigma": nw.SCENE_SIGMA}
    m = compose_months(v, sigma, sim.start, sim.end, **kwargs)
    if method == "gp":
        kwargs["hyperparameters"] = m.hyperparameters
    if method == "smooth":
        kwargs["smoothness"] = m.smoothness
    one = compose_months(v[:, 1, 2], sigma[:, 1, 2], sim.start, sim.end, **kwargs)
    np.testing.assert_allclose(one.v, m.v[:, 1, 2], rtol=0, atol=0.02)
    np.testing.assert_array_equal(one.flag, m.flag[:, 1, 2])


@pytest.mark.parametrize("method", METHODS)
def test_order_of_pairs_and_of_their_dates_does_not_matter(method):
    sim = nw.simulate(["surge"], 4, pairs=150, last="2018-01-01")
    v, sigma = sim.v[:, 0], sim.sigma[:, 0]
    kwargs = {"method": method, "scene_sigma": nw.SCENE_SIGMA}
    m = compose_months(v, sigma, sim.start, sim.end, **kwargs)
    mixed = np.random.default_rng(0).permutation(len(v))
    turned = np.arange(len(v)) % 3 == 0
    start = np.where(turned, sim.end, sim.start)[mixed]
    end = np.where(turned, sim.start, sim.end)[mixed]
    again = compose_months(v[mixed], sigma[mixed], start, end, **kwargs)
    np.testing.assert_allclose(again.v, m.v, atol=0.05)
    np.testing.assert_array_equal(again.flag, m.flag)


@pytest.mark.parametrize("method", METHODS)
def test_flipping_the_axis_flips_the_sign(method):
    sim = nw.simulate(["season"], 5, pairs=120, last="2016-01-01")
    args = sim.sigma[:, 0], sim.start, sim.end
    one = compose_months(sim.v[:, 0], *args, method=method)
    other = compose_months(-sim.v[:, 0], *args, method=method)
    np.testing.assert_allclose(one.v, -other.v, atol=1e-6)
    np.testing.assert_allclose(one.sigma, other.sigma, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_pair_listed_twice_changes_nothing(method):
    sim = nw.simulate(["season"], 6, pairs=60, last="2015-06-01")
    v, sigma = sim.v[:, 0], sim.sigma[:, 0]
    twice = np.arange(len(v)).repeat(2)
    once = compose_months(v, sigma, sim.start, sim.end, method=method)
    start, end = sim.start[twice], sim.end[twice]
    again = compose_months(v[twice], sigma[twice], start, end, method=method)
    np.testing.assert_allclose(again.v, once.v, atol=1e-6)
    np.testing.assert_allclose(again.sigma, once.sigma, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_one_pair(method):
    start, end = np.array(["2019-03-03"], "M8[ms]"), np.array(["2019-05-06"], "M8[ms]")
    m = compose_months([40.0], [5.0], start, end, method=method)
    assert list(m.months.astype(str)) == ["2019-03", "2019-04", "2019-05"]
    np.testing.assert_allclose(m.v, 40.0, atol=2.0)
    assert np.all(m.sigma >= 4.5)


@pytest.mark.parametrize("method", METHODS)
def test_months_outside_the_data_are_blank(method):
    v, sigma, start, end = chain(70.0)
    wanted = np.arange("2018-06", "2021-08", dtype="M8[M]")
    m = compose_months(v, sigma, start, end, method=method, months=wanted)
    outside = (wanted < np.datetime64("2019-01")) | (wanted > np.datetime64("2020-12"))
    assert np.all(m.flag[outside] == 2)
    assert np.all(np.isnan(m.v[outside]))
    assert np.all(np.isnan(m.sigma[outside]))
    assert np.all(m.count[outside] == 0)
    assert np.all(np.isfinite(m.v[~outside]))


@pytest.mark.parametrize("method", METHODS)
def test_cell_seen_once_in_twelve_years(method):
    sim = nw.simulate(["season"], 7, cells=2, pairs=200)
    v = sim.v.copy()
    lone = 90
    v[np.arange(len(v)) != lone, 1] = np.nan
    v[lone, 1] = 55.0
    v, sigma = v[:, None, :], sim.sigma[:, None, :]
    m = compose_months(v, sigma, sim.start, sim.end, method=method, scene_sigma=1.05)
    seen = np.isfinite(m.v[:, 0, 1])
    touched = (m.months + 1 > sim.start[lone]) & (m.months.astype("M8[ms]") < sim.end[lone])
    np.testing.assert_array_equal(seen, touched)
    assert np.abs(m.v[seen, 0, 1] - 55).max() < 45
    assert np.all(m.flag[~seen, 0, 1] == 2)


def test_no_pair_gives_blank_months_or_a_clear_error():
    empty = np.array([], "M8[ms]")
    m = compose_months(
        np.empty((0, 2, 3)),
        np.empty((0, 2, 3)),
        empty,
        empty,
        months=np.array(["2020-01", "2020-02"], "M8[M]"),
    )
    assert m.v.shape == (2, 2, 3)
    assert np.all(m.flag == 2)
    with pytest.raises(ValueError, match="at least one valid pair"):
        compose_months([], [], empty, empty)
    v, sigma, start, end = chain(1.0)
    with pytest.raises(ValueError, match="at least one valid pair"):
        compose_months(v * np.nan, sigma, start, end)


GOOD = chain(10.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": GOOD[1] * 0}, "more than 0"),
        ({"sigma": -GOOD[1]}, "more than 0"),
        ({"sigma": np.ones(3)}, "broadcasts"),
        ({"v": np.ones((3, 4))}, r"\(p, rows, cols\)"),
        ({"v": np.array(["a"] * len(GOOD[0]))}, "numbers"),
        ({"start": GOOD[2][:-1]}, "one per pair"),
        ({"start": np.arange(len(GOOD[0]))}, "datetime64"),
        ({"start": np.full(len(GOOD[0]), "NaT", "M8[ms]")}, "NaT"),
        ({"end": GOOD[2]}, "two different times"),
        ({"method": "magic"}, "expected one of"),
        ({"scene_sigma": -1.0}, "metres >= 0"),
        ({"scene_sigma": "guess"}, "metres >= 0 or .learn."),
        ({"smoothness": 1.0}, "smoothness"),
        ({"method": "smooth", "smoothness": 0.0}, "smoothness"),
        ({"method": "overlap", "hyperparameters": ()}, "hyperparameters"),
        ({"months": ["2020-01"]}, "datetime64 months"),
        ({"months": np.array(["2020-02", "2020-01"], "M8[M]")}, "later than"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    v, sigma, start, end = GOOD
    given = {"v": v, "sigma": sigma, "start": start, "end": end, **change}
    with pytest.raises(ValueError, match=message):
        compose_months(**given)


@pytest.mark.parametrize("method", METHODS)
def test_missing_velocity_or_sigma_leaves_the_pair_out(method):
    v, sigma, start, end = chain(70.0)
    holes, infinite, unknown = v.copy(), v.copy(), sigma.copy()
    holes[5], infinite[5], unknown[5] = np.nan, np.inf, np.nan
    rest = np.arange(len(v)) != 5
    kwargs = {"method": method, "months": np.arange("2019-01", "2021-01", dtype="M8[M]")}
    expected = compose_months(v[rest], sigma[rest], start[rest], end[rest], **kwargs)
    for values, errors in ((holes, sigma), (infinite, sigma), (v, unknown)):
        m = compose_months(values, errors, start, end, **kwargs)
        np.testing.assert_allclose(m.v, expected.v, atol=1e-6)
        np.testing.assert_array_equal(m.flag, expected.flag)


@pytest.mark.parametrize("method", METHODS)
def test_contradictory_measurements_of_one_pair_are_not_trusted(method):
    v, sigma, start, end = chain(70.0)
    v2 = np.append(v, 2000.0)
    args = np.append(sigma, sigma[8]), np.append(start, start[8]), np.append(end, end[8])
    m = compose_months(v2, *args, method=method)
    np.testing.assert_allclose(m.v, 70, atol=25)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [31, 33, 34, 41])
def test_where_pairs_contradict_each_other_all_over_nothing_is_measured(seed, method):
    """Neither of two stories is known to be the true one; five false pairs in a hundred are."""
    sim = nw.simulate(["season"], seed, cells=2, pairs=120)
    v, start, end = sim.v[:, None, :], sim.start, sim.end
    sigma = np.broadcast_to(np.asarray(sim.sigma)[:, None, :], v.shape)
    torn = v + 300.0 * (np.arange(len(v)) % 2)[:, None, None]
    good, bad = (
        compose_months(x, sigma, start, end, method=method).flag == 0 for x in (v, torn)
    )
    assert good.any(axis=0).all()
    assert not bad.any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [31, 33])
def test_errors_that_are_understated_are_no_contradiction(seed, method):
    sim = nw.simulate(["season"], seed, cells=2, pairs=120)
    v, sigma = sim.v[:, None, :], np.asarray(sim.sigma)[:, None, :]
    said, less = (
        compose_months(v, s, sim.start, sim.end, method=method).flag == 0
        for s in (sigma, sigma / 5)
    )
    assert less.mean() > 0.9 * said.mean()


@pytest.mark.parametrize("method", METHODS)
def test_pairs_that_were_measured_twice_and_differently_measure_nothing(method):
    sim = nw.simulate(["season"], 31, cells=1, pairs=120)
    v, start, end = sim.v[:, 0], np.tile(sim.start, 2), np.tile(sim.end, 2)
    sigma = np.tile(np.broadcast_to(np.asarray(sim.sigma).ravel(), v.shape), 2)
    once, apart = (
        compose_months(np.append(v, v + more), sigma, start, end, method=method).flag
        for more in (0.0, 400.0)
    )
    assert (once == 0).any()
    assert not (apart == 0).any()
    assert (apart == 1).sum() >= (once == 0).sum()


def test_only_pairs_over_a_year_measure_no_month():
    start = MONTHLY[:20]
    end = start + np.timedelta64(400, "D")
    m = compose_months(np.full(20, 90.0), 2.0, start, end)
    assert np.all(m.flag != 0)
    np.testing.assert_allclose(m.v, 90, atol=3)


@pytest.mark.slow
def test_processes_agree_with_serial():
    sim = nw.simulate(["season"], 12, cells=300, pairs=60, last="2014-10-01")
    v, sigma = sim.v.reshape(-1, 10, 30), sim.sigma.reshape(-1, 10, 30)
    kwargs = {"scene_sigma": nw.SCENE_SIGMA}
    serial = compose_months(v, sigma, sim.start, sim.end, **kwargs)
    spread = compose_months(v, sigma, sim.start, sim.end, jobs=2, **kwargs)
    np.testing.assert_allclose(spread.v, serial.v, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(spread.flag, serial.flag)


def test_overlap_median_resists_a_false_match():
    v, _, start, end = chain(70.0)
    starts, ends = np.tile(start, 3), np.tile(end, 3) + np.repeat([0, 1, 2], len(v)) * DAY
    many = np.tile(v, 3)
    many[4] = 3000.0
    m = compose_months(many, 20.0, starts, ends, method="overlap")
    np.testing.assert_allclose(m.overlap_median, 70, atol=1e-6)
    assert np.nanmax(m.overlap_mean) > 200


@pytest.mark.parametrize("count", [1, 2, 5])
def test_scene_errors_are_learnt_from_what_there_is(count):
    """So few pairs tell nothing of scenes, and must not be needed to."""
    v, sigma, start, end = (x[:count] for x in chain(70.0))
    m = compose_months(v, sigma, start, end, scene_sigma="learn")
    assert 0 <= m.scene_sigma <= 2 * 20 * 16 / 365.25
    np.testing.assert_allclose(m.v, 70, atol=5)
    assert np.all(np.isfinite(m.sigma))


def test_cells_without_any_pair_stay_blank_beside_others():
    v, sigma, start, end = chain(70.0)
    wide = np.stack([v, v * np.nan], axis=1)[:, None, :]
    m = compose_months(wide, sigma, start, end, scene_sigma="learn", covariance=True)
    assert np.all(m.flag[:, 0, 1] == 2)
    assert np.isnan(m.v[:, 0, 1]).all()
    assert np.isfinite(m.v[:, 0, 0]).all()
    assert m.covariance.shape == (24, 24, 1, 2)


def test_pairs_that_contradict_each_other_widen_the_error():
    v, sigma, start, end = chain(70.0, sigma=5.0)
    torn = np.where(np.arange(len(v)) % 2 == 0, 120.0, 20.0)
    calm, wild = (compose_months(x, sigma, start, end) for x in (v, torn))
    assert np.median(wild.sigma) > 3 * np.median(calm.sigma)
    assert abs(np.mean(wild.v) - 70) < 15


@pytest.mark.parametrize(
    ("method", "size", "sigma"),
    [
        ("gp", 1.0, 1e-12),
        ("gp", 1.0, np.logspace(-6, 6, 200)),
        ("gp", 1e30, 20.0),
        ("smooth", 1.0, 1e-12),
        ("smooth", 1.0, np.logspace(-6, 6, 200)),
        ("smooth", 1e30, 20.0),
        ("overlap", 1e30, 20.0),
    ],
)
def test_numbers_too_far_apart_to_solve_are_said_to_be(method, size, sigma):
    sim = nw.simulate(["season"], 5001, pairs=200, last="2018-01-01")
    with pytest.raises(ValueError, match="orders of magnitude"):
        compose_months(size * sim.v[:, 0], sigma, sim.start, sim.end, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [5002, 5003])
def test_errors_four_orders_of_magnitude_apart_are_answered(method, seed):
    """Even flow seen by pairs that are as good as they say, from 0.3 to 3000 m/yr."""
    sim = nw.simulate(["season"], seed, pairs=200, last="2018-01-01")
    rng = np.random.default_rng(seed)
    sigma = rng.permutation(np.logspace(-0.5, 3.5, 200))
    v = 70 + sigma * rng.normal(size=200)
    m = compose_months(v, sigma, sim.start, sim.end, method=method)
    error = np.abs(m.v - 70)[m.flag < 2]
    assert np.median(error) < 3
    assert np.mean(error < 2 * m.sigma[m.flag < 2]) > 0.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", ["v", "sigma"])
@pytest.mark.parametrize("kind", [np.float64, np.int16])
def test_masked_values_are_missing_whatever_lies_below(method, where, kind):
    sim = nw.simulate(["season"], 5004, pairs=120, last="2016-01-01")
    given = {"v": sim.v[:, 0].astype(kind), "sigma": np.ceil(sim.sigma[:, 0]).astype(kind)}
    out = np.arange(120) % 5 == 2
    nan = given | {where: np.where(out, np.nan, given[where])}
    fill = given | {where: np.ma.masked_array(np.where(out, -32767, given[where]), out)}
    kwargs = {"start": sim.start, "end": sim.end, "months": sim.months, "method": method}
    expected, found = compose_months(**nan, **kwargs), compose_months(**fill, **kwargs)
    np.testing.assert_array_equal(found.v, expected.v)
    np.testing.assert_array_equal(found.flag, expected.flag)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_an_error_beyond_a_doubles_square_is_said_to_be_one(method, size, caplog):
    sim = nw.simulate(["season"], 5005, pairs=120, last="2016-01-01")
    sigma = np.array(sim.sigma[:, 0])
    sigma[5] = size
    with pytest.raises(ValueError, match="orders of magnitude"):
        compose_months(sim.v[:, 0], sigma, sim.start, sim.end, method=method)
    assert caplog.text == ""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS)
def test_cells_whose_sigma_is_missing_are_not_learnt_from(method):
    """They are seen by more pairs than the others, of which not one can be used."""
    sim = nw.simulate(["season"], 5006, cells=2, pairs=120, last="2016-01-01")
    v = sim.v.reshape(-1, 1, 2).copy()
    sigma = np.broadcast_to(sim.sigma[:, :1, None], v.shape).copy()
    v[80:, 0, 0] = np.nan
    sigma[:, 0, 1] = np.nan
    kwargs = {"months": sim.months, "method": method}
    m = compose_months(v, sigma, sim.start, sim.end, **kwargs)
    alone = compose_months(v[:, 0, 0], sigma[:, 0, 0], sim.start, sim.end, **kwargs)
    np.testing.assert_allclose(m.v[:, 0, 0], alone.v, rtol=1e-9)
    assert np.all(m.flag[:, 0, 1] == 2)
