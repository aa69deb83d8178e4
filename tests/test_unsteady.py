"""Clumps of bare ground that move, scatter or have no match."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hmavel import Displacement, Quality, correlate, fit_bias
from hmavel.simulate.noise import fourier_shift
from hmavel.unsteady import _clumps, find_unsteady

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


N = 768
ROCK_GLACIER = (slice(80, 240), slice(80, 240))
LANDSLIDE = (slice(80, 220), slice(440, 580))
LAKE, SHADOW = (slice(400, 560), slice(80, 240)), (slice(400, 560), slice(400, 680))


def restless(seed: int) -> Displacement:
    """Match images with a rock glacier, a landslide, a lake and a growing shadow."""
    rng = np.random.default_rng(seed)
    fr, fc = np.fft.fftfreq(N)[:, None], np.fft.rfftfreq(N)
    k = np.hypot(fr, fc)
    k[0, 0] = np.inf

    def texture() -> np.ndarray:
        t = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(N, N))) * k**-1.2)
        return np.asarray(t / t.std())

    reference = texture()
    second = fourier_shift(reference, 0.2, -0.1)
    second[ROCK_GLACIER] = fourier_shift(reference, 0.9, 0.1)[ROCK_GLACIER]
    second[LANDSLIDE] = fourier_shift(reference, 0.2, 2.9)[LANDSLIDE]
    second[LAKE] = texture()[LAKE]
    for image, end in ((reference, 460), (second, 475)):
        dark = (slice(400, end), SHADOW[1])
        image[dark] = 0.15 * image[dark] - 3.0
    a, b = (
        (8000 + 800 * (m + 0.05 * rng.normal(size=m.shape))).astype(np.float32)
        for m in (reference, second)
    )
    return correlate(a, b)


def nodes_in(d: Displacement, *places: tuple[slice, slice]) -> np.ndarray:
    inside = np.zeros((N, N), bool)
    for place in places:
        inside[place] = True
    return inside[np.ix_(np.rint(d.row).astype(int), np.rint(d.col).astype(int))]


@pytest.mark.parametrize("seed", [60, 61])
def test_matched_images_of_ground_that_does_not_stand_still(seed: int) -> None:
    """The bias sees none of what moves, and all of it is reported."""
    d = restless(seed)
    ground = np.ones(d.drow.shape, bool)
    bias = fit_bias(d, ground)
    assert bias.model == "constant"
    assert np.abs(bias.drow - 0.2).max() < 0.002  # a tenth of the bound on what may be left
    assert np.abs(bias.dcol + 0.1).max() < 0.002
    found = find_unsteady(bias.corrected, ground)

    def kinds(place: tuple[slice, slice]) -> dict[str, int]:
        """Nodes by kind of the clumps whose middle is there."""
        out: dict[str, int] = {}
        for clump in found.clumps:
            row, col = d.row[round(clump.row)], d.col[round(clump.col)]
            if all(s.start <= x < s.stop for s, x in zip(place, (row, col), strict=True)):
                out[clump.kind] = out.get(clump.kind, 0) + clump.nodes
        return out

    for place in (ROCK_GLACIER, LANDSLIDE, LAKE):
        assert found.where[nodes_in(d, place)].mean() > 0.85
    assert kinds(ROCK_GLACIER)["moving"] > 300
    assert kinds(LANDSLIDE)["moving"] > 150
    assert kinds(LAKE)["unmatched"] > 200
    busy = np.zeros((N, N), bool)
    for place in (ROCK_GLACIER, LANDSLIDE, LAKE, SHADOW):
        busy[place] = True
    away = ~ndimage.binary_dilation(busy, iterations=24)  # half a window and a step
    at = np.ix_(np.rint(d.row).astype(int), np.rint(d.col).astype(int))
    assert not found.where[away[at]].any()


def test_the_edge_of_a_growing_shadow_is_found() -> None:
    """Four seeds: windows there hold mostly shadow, and one seed finds nine nodes of ten."""
    shares = []
    for seed in range(60, 64):
        d = restless(seed)
        ground = np.ones(d.drow.shape, bool)
        found = find_unsteady(fit_bias(d, ground).corrected, ground)
        shares.append(found.where[nodes_in(d, (slice(460, 475), SHADOW[1]))].mean())
    assert np.mean(shares) > 0.9
    assert min(shares) >= 0.85


@pytest.mark.parametrize("seed", range(20))
def test_clumps_are_the_large_parts_label_by_label(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 40, 2)) < rng.uniform(0, 0.6)
    least = int(rng.integers(1, 15))
    label, count = ndimage.label(mask, structure=np.ones((3, 3)))
    parts = [np.nonzero(label == one) for one in range(1, count + 1)]
    expected = [part for part in parts if part[0].size >= least]
    found = _clumps(mask, least)
    assert [np.array(part).tolist() for part in found] == [
        np.array(part).tolist() for part in expected
    ]
