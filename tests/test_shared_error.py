"""Errors of matches and of scenes, told apart over bare ground."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ground_networks import Ground, network

from hmavel.errors import StableGroundError
from hmavel.shared_error import (
    ErrorComponents,
    match_part,
    scene_sigma_on_ice,
    separate_errors,
)

#: What the issue of trust asks for: both errors within this of the truth.
WITHIN = 0.10


def separated(g: Ground, **options: Any) -> ErrorComponents:
    return separate_errors(g.x, g.y, g.start, g.end, **options)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"scenes": 60},
        {"false": 0.2},
        {"match": 1.0, "scene": 1.8},
        {"match": 1.8, "scene": 0.5},
        {"smooth": 1.5},
    ],
    ids=str,
)
def test_both_errors_come_back(seed: int, case: dict[str, Any]) -> None:
    g = network(seed, **case)
    redundancy = max(1.0, 4 * np.pi * case.get("smooth", 0.0) ** 2)
    parts = separated(g, redundancy=redundancy)
    assert parts.match_sigma == pytest.approx([case.get("match", 1.8)] * 2, rel=WITHIN)
    assert parts.scene_sigma == pytest.approx([case.get("scene", 1.05)] * 2, rel=WITHIN)
    assert not parts.suspects.any()


def test_a_dozen_independent_errors_a_map_bias_neither() -> None:
    """Errors smooth over 2.5 cells: chance decides on each network, not on their mean."""
    found = []
    for seed in range(20, 32):
        parts = separated(network(seed, smooth=2.5, side=30), redundancy=4 * np.pi * 2.5**2)
        found.append([parts.match_sigma / 1.8, parts.scene_sigma / 1.05])
    match, scene = np.array(found).transpose(1, 0, 2).reshape(2, -1)
    # one network's scatter is 2 % and 4 to 5 %, the mean of 24 figures' a fifth of that
    assert match.mean() == pytest.approx(1.0, abs=0.015)
    assert scene.mean() == pytest.approx(1.0, abs=0.03)


def test_a_network_without_scene_errors_has_none() -> None:
    parts = separated(network(3, scene=0.0))
    assert parts.match_sigma == pytest.approx([1.8, 1.8], rel=0.03)
    assert parts.scene_sigma.max() < 0.3  # a variance of 0.09 where a pair's is 3.2
    assert parts.scene_share < 0.05


def test_standard_errors_are_those_of_repeated_networks() -> None:
    z = []
    for seed in range(20):
        parts = separated(network(100 + seed, side=25))
        z += [*(parts.scene_sigma - 1.05) / parts.scene_sigma_se]
    assert 0.6 < np.std(z) < 1.6


def test_a_scene_out_of_place_is_named_and_has_no_say() -> None:
    g = network(4, bad_place=7)
    parts = separated(g)
    assert np.flatnonzero(parts.suspects).tolist() == [7]
    assert parts.scenes[7] == g.times[7]
    assert parts.each_scene_sigma[7] == pytest.approx([4.2, 4.2], rel=0.15)
    assert parts.scene_sigma == pytest.approx([1.05, 1.05], rel=WITHIN)


def test_a_pair_listed_twice_does_not_pass_for_a_scene_error() -> None:
    g = network(5, scene=0.0)
    twice = Ground(
        np.repeat(g.x, 2, axis=0), np.repeat(g.y, 2, axis=0), np.repeat(g.start, 2),
        np.repeat(g.end, 2), g.times,
    )  # fmt: skip
    assert separated(twice).scene_sigma.max() < 0.3


def test_pairs_back_to_front_and_in_any_order_say_the_same() -> None:
    g = network(6)
    order = np.random.default_rng(0).permutation(len(g.start))
    a, b = separated(g), separate_errors(g.x[order], g.y[order], g.start[order], g.end[order])
    np.testing.assert_allclose(a.scene_sigma, b.scene_sigma, rtol=1e-9)
    np.testing.assert_allclose(a.pair_sigma[order], b.pair_sigma, rtol=1e-9)


def test_pairs_without_ground_are_nan() -> None:
    g = network(7)
    g.x[3] = np.nan
    g.x[4, 40:] = np.nan
    parts = separated(g)
    assert np.isnan(parts.pair_sigma[[3, 4]]).all()
    assert np.isfinite(parts.pair_sigma[5:]).all()
    assert parts.scene_sigma == pytest.approx([1.05, 1.05], rel=WITHIN)


def test_too_few_scenes_are_refused() -> None:
    g = network(8, scenes=4)
    with pytest.raises(StableGroundError, match=r"expected 5 scenes .* got 4"):
        separated(g)
    g = network(8)
    with pytest.raises(StableGroundError, match="got 0"):
        separate_errors(g.x[:, :20], g.y[:, :20], g.start, g.end)


def test_wrong_arguments() -> None:
    g = network(9, scenes=6, side=10)
    with pytest.raises(ValueError, match="expected x and y of shape"):
        separate_errors(g.x[1:], g.y[1:], g.start, g.end)
    with pytest.raises(ValueError, match="redundancy >= 1"):
        separated(g, redundancy=0.5)


def test_ice_has_no_larger_share_than_the_ground() -> None:
    parts = separated(network(10))
    ground = parts.scene_sigma, parts.scene_share
    like_ground = np.sqrt(1.8**2 + 2 * 1.05**2)
    same = scene_sigma_on_ice(*ground, [like_ground, 3 * like_ground])
    assert same == pytest.approx([1.05, 1.05], rel=WITHIN)
    better = scene_sigma_on_ice(*ground, [like_ground / 2, like_ground / 2])
    assert better == pytest.approx([0.525, 0.525], rel=WITHIN)


def test_match_part_and_scenes_add_up() -> None:
    sigma = np.array([[40.0, 60.0], [1.0, 9.0]], np.float32)
    years = np.array([16 / 365.25, 1.0])
    alone = match_part(sigma, 1.0, years)
    both = np.sqrt(alone**2 + 2 * (1.0 / years[:, None]) ** 2)
    assert alone.dtype == np.float32
    np.testing.assert_allclose(both[:, 1], sigma[:, 1], rtol=1e-6)
    assert alone[1, 0] == pytest.approx(np.sqrt(0.1), rel=1e-6)  # never nothing
    np.testing.assert_array_equal(match_part(sigma, 0.0, years), sigma)
