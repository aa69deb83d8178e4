"""Closure of triplets: what it says of sigma, and which scenes it names."""

from __future__ import annotations

import numpy as np
import pytest
from ground_networks import Ground, network
from scipy import integrate, stats

from hmavel import closure
from hmavel.closure import Closure, close_triplets


def closed(g: Ground, sigma: float = 1.8) -> Closure:
    s = np.full(g.x.shape, sigma)
    return close_triplets(g.x, g.y, s, s, g.start, g.end)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_spread_is_one_where_sigma_is_true_and_two_where_it_is_half(seed: int) -> None:
    g = network(seed, scenes=20)
    c = closed(g)
    # scenes err by 1.05 m, which cancels; 5 % false matches do not widen the core
    assert c.overall == pytest.approx(1.0, abs=0.04)
    assert closed(g, 0.9).overall == pytest.approx(2.0, abs=0.1)
    assert np.nanmedian(c.pair_spread) == pytest.approx(1.0, abs=0.05)
    assert np.abs(c.offset).max() < 1.0
    assert np.median(c.sigma) == pytest.approx(1.8 * np.sqrt(3), rel=0.05)
    # three matches, 5 % of each false and most of those far out
    assert np.median(c.open_share) == pytest.approx(1 - 0.95**3, abs=0.03)
    assert not c.suspects.any()


def test_each_node_has_its_own_spread() -> None:
    g = network(3, scenes=30, false=0.0, missing=0.0)
    wild = np.arange(g.x.shape[1]) < 100
    rng = np.random.default_rng(0)
    g.x[:, wild] += rng.normal(0, 5.4, g.x[:, wild].shape)
    c = closed(g)
    assert np.median(c.node_spread[~wild]) == pytest.approx(1.0, abs=0.05)
    assert np.median(c.node_spread[wild]) > 1.5


@pytest.mark.parametrize("bad", [(7,), (3, 12), (0,)])
@pytest.mark.parametrize("seed", [4, 5])
def test_scenes_that_match_badly_are_named_and_no_others(
    bad: tuple[int, ...], seed: int
) -> None:
    g = network(seed, scenes=20, bad_matches=bad)
    c = closed(g)
    assert np.flatnonzero(c.suspects).tolist() == list(bad)
    assert (c.scenes[list(bad)] == g.times[list(bad)]).all()


def test_a_scene_half_of_whose_matches_are_false_is_named() -> None:
    g = network(6, scenes=20)
    hit = (g.start == g.times[9]) | (g.end == g.times[9])
    rng = np.random.default_rng(1)
    wrong = hit[:, None] & (rng.random(g.x.shape) < 0.5)
    g.x[wrong] = rng.uniform(-60, 60, wrong.sum())
    assert np.flatnonzero(closed(g).suspects).tolist() == [9]


def test_what_scenes_share_cancels() -> None:
    g = network(7, scenes=12, match=0.0, scene=5.0, false=0.0, missing=0.0)
    d = [v - v[:, :1] for v in (g.x, g.y)]  # medians of pairs do not add up, differences do
    s = np.ones(g.x.shape)
    c = close_triplets(*d, s, s, g.start, g.end)
    assert np.abs(c.offset).max() < 1e-5


def test_pairs_back_to_front_are_turned_round() -> None:
    g = network(8, scenes=10)
    a = closed(g)
    back = np.arange(len(g.start)) % 2 == 0
    x, y = (np.where(back[:, None], -v, v) for v in (g.x, g.y))
    start, end = np.where(back, g.end, g.start), np.where(back, g.start, g.end)
    s = np.full(g.x.shape, 1.8)
    b = close_triplets(x, y, s, s, start, end)
    np.testing.assert_array_equal(a.triplets, b.triplets)
    np.testing.assert_allclose(a.spread, b.spread)


def test_a_chain_has_no_triplet() -> None:
    c = closed(network(9, successors=1))
    assert c.triplets.shape == (0, 3)
    assert np.isnan(c.overall)
    assert np.isnan(c.pair_spread).all()
    assert not c.suspects.any()


def test_little_in_common_is_counted_and_not_judged() -> None:
    g = network(10, scenes=6, side=5)
    c = closed(g)
    assert (c.count < closure.LEAST_CELLS).all()
    assert np.isnan(c.spread).all()


def test_the_capped_mean_is_the_normal_one() -> None:
    expected = integrate.quad(
        lambda z: min(z, closure.OPEN) * 2 * stats.norm.pdf(z), 0, 12, points=[closure.OPEN]
    )[0]
    assert pytest.approx(expected, rel=1e-5) == closure._MEAN_CAPPED


def test_wrong_shapes() -> None:
    g = network(11, scenes=6, side=6)
    s = np.ones(g.x.shape)
    with pytest.raises(ValueError, match="expected arrays of shape"):
        close_triplets(g.x[:-1], g.y[:-1], s[:-1], s[:-1], g.start, g.end)
    with pytest.raises(ValueError, match="expected arrays of shape"):
        close_triplets(g.x, g.y, s[:, :-1], s[:, :-1], g.start, g.end)
