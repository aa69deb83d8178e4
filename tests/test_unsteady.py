"""Clumps of bare ground that move, scatter or have no match."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hmavel import Displacement, Quality
from hmavel.unsteady import find_unsteady

SHAPE = (90, 110)


def ground(seed: int, *, false: float = 0.05) -> tuple[Displacement, np.ndarray]:
    """Noise of 0.1 px that neighbouring windows share, and false matches of one window each."""
    rng = np.random.default_rng(seed)
    y = ndimage.gaussian_filter(rng.normal(size=(2, *SHAPE)), (0, 1.5, 1.5))
    y *= 0.1 / y.std()
    for _ in range(int(false * SHAPE[0] * SHAPE[1] / 6)):
        r, c = rng.integers(0, SHAPE[0] - 2), rng.integers(0, SHAPE[1] - 3)
        y[:, r : r + 2, c : c + 3] = rng.uniform(-4, 4, (2, 1, 1))
    one = np.ones(SHAPE, np.float32)
    d = Displacement(
        y[0].astype("f4"), y[1].astype("f4"), 0.1 * one, 0.1 * one, one, one,
        np.zeros(SHAPE, np.uint8), 8.0 * np.arange(SHAPE[0]), 8.0 * np.arange(SHAPE[1]),
    )  # fmt: skip
    stable = np.ones(SHAPE, bool)
    stable[:, 60:] = False
    return d, stable


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_noise_and_single_false_matches_make_no_clump(seed: int) -> None:
    d, stable = ground(seed)
    found = find_unsteady(d, stable)
    assert sum(c.nodes for c in found.clumps) <= 0.01 * stable.sum()
    assert found.share < 0.01


@pytest.mark.parametrize("seed", [4, 5])
def test_each_kind_is_found_where_it_is(seed: int) -> None:
    d, stable = ground(seed, false=0.02)
    rng = np.random.default_rng(seed)
    d.drow[10:18, 10:20] += 0.8  # a rock glacier
    d.dcol[10:18, 10:20] -= 0.5
    lake = (slice(40, 52), slice(20, 32))
    d.drow[lake], d.dcol[lake] = rng.uniform(-6, 6, (2, 12, 12))
    d.quality[70:80, 40:50] = Quality.INCOHERENT
    d.drow[70:80, 80:90] += 3.0  # not bare ground: no business of ours
    found = find_unsteady(d, stable)
    kinds = {c.kind: c for c in found.clumps}
    assert set(kinds) == {"moving", "unsteady", "unmatched"}
    moving, lake_found, blind = (kinds[k] for k in ("moving", "unsteady", "unmatched"))
    assert (moving.row, moving.col) == pytest.approx((13.5, 14.5), abs=1.5)
    assert (moving.drow, moving.dcol) == pytest.approx((0.8, -0.5), abs=0.1)
    assert moving.nodes == pytest.approx(80, abs=30)
    assert (lake_found.row, lake_found.col) == pytest.approx((45.5, 25.5), abs=1.5)
    assert lake_found.nodes > 100
    assert (blind.row, blind.col, blind.nodes) == (74.5, 44.5, 100)
    assert np.isnan(blind.drow)
    assert not found.where[:, 60:].any()
    assert found.share == pytest.approx(found.where.sum() / stable.sum())


def test_nothing_to_compare_with() -> None:
    d, _ = ground(6)
    nothing = find_unsteady(d, np.zeros(SHAPE, bool))
    assert (nothing.clumps, nothing.share) == ((), 0.0)
    few = np.zeros(SHAPE, bool)
    few[:4, :5] = True
    assert find_unsteady(d, few).clumps == ()
