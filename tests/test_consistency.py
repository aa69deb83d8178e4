"""Long pairs against the short ones of their time: what is found, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from hmavel.consistency import doubtful

DAY = np.timedelta64(86_400_000, "ms")
CELLS = 300


def network(seed, speed):
    """Return 16-day pairs of two years and year-long ones, as a true flow would give them.

    ``speed``: days since the start -> m/yr along x; along y nothing moves. Every match is
    0.08 px off (1.2 m).
    """
    rng = np.random.default_rng(seed)
    begin = np.datetime64("2020-01-01", "ms")
    starts = [16 * k for k in range(45)] + [16 * k for k in range(20)]
    ends = [16 * (k + 1) for k in range(45)] + [16 * k + 368 for k in range(20)]
    true = np.array([
        speed(np.linspace(a, b, 200)).mean() for a, b in zip(starts, ends, strict=True)
    ])  # fmt: skip
    days = np.subtract(ends, starts)
    sigma = np.repeat((1.2 / (days / 365.25))[:, None], CELLS, axis=1)
    vx = true[:, None] + sigma * rng.standard_normal(sigma.shape)
    vy = sigma * rng.standard_normal(sigma.shape)
    start, end = (np.array([begin + d * DAY for d in x]) for x in (starts, ends))
    flow = {"vx": vx, "vy": vy, "sigma_vx": sigma, "sigma_vy": sigma}
    return flow | {"start": start, "end": end}


@pytest.mark.parametrize("seed", [1, 2])
def test_matches_of_what_stands_still_are_found_and_good_ones_kept(seed):
    pairs = network(seed, lambda t: 50.0 + 0 * t)
    pairs["vx"][50:60, : CELLS // 2] -= 50.0  # these matched the shading
    found = doubtful(**pairs, far_m=1000.0)
    assert not found[:45].any()
    assert found[50:60, : CELLS // 2].mean() > 0.7  # 50 m against 25 to 60 m allowed
    good = np.ones(found.shape, bool)
    good[:45] = False
    good[50:60, : CELLS // 2] = False
    assert found[good].mean() < 0.02


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize(
    "speed",
    [
        lambda t: 40.0 + 30.0 * np.sin(2 * np.pi * t / 365.25),
        lambda t: np.where((t > 300) & (t < 480), 140.0, 10.0),
    ],
    ids=["season", "surge"],
)
def test_flow_that_varies_excuses_long_pairs(seed, speed):
    assert doubtful(**network(seed, speed), far_m=1000.0).mean() < 0.02


def test_ice_that_moves_far_in_a_year_is_left_to_short_pairs():
    pairs = network(5, lambda t: 90.0 + 0 * t)
    assert doubtful(**pairs)[45:].mean() > 0.95
    assert not doubtful(**pairs)[:45].any()
    assert doubtful(**pairs, far_m=200.0).mean() < 0.02


def test_few_short_pairs_decide_nothing():
    pairs = network(6, lambda t: 50.0 + 0 * t)
    pairs["vx"][45:] -= 50.0
    pairs["vx"][3:45] = np.nan
    assert not doubtful(**pairs).any()
