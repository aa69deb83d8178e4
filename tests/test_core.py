"""The fast core of a scatter: its bias, its spread, and what does not move it."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from hmavel.core import (
    _MOMENT,
    _SIGMA,
    _WITHIN,
    DISC,
    NMAD,
    RING,
    Core,
    clipped_variance,
    core_scatter,
    middle,
)

SIGMA = np.array([0.05, 0.075])
CENTRE = np.array([0.3, -0.2])


def cloud(seed: int, n: int, share: float, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = CENTRE[:, None] + SIGMA[:, None] * rng.normal(size=(2, n))
    false = rng.random(n) < share
    k = int(false.sum())
    if kind == "even":
        p[:, false] = rng.uniform(-4, 4, (2, k))
    elif kind == "one-sided":
        p[0, false] += rng.uniform(0.4, 1.5, k)
    elif kind == "near":
        p[:, false] = CENTRE[:, None] + rng.normal(0, 0.5, (2, k))
    return p


@pytest.mark.parametrize(
    ("n", "share", "kind"),
    [(300, 0.0, "even"), (300, 0.4, "even"), (1000, 0.4, "one-sided"), (4000, 0.4, "even"),
     (4000, 0.2, "near"), (20_000, 0.3, "even")],
)  # fmt: skip
def test_centre_and_width_among_false_matches(n: int, share: float, kind: str) -> None:
    cores = [core_scatter(*cloud(seed, n, share, kind)) for seed in range(40)]
    ratio = np.array([c.sigma for c in cores]) / SIGMA
    off = (np.array([c.centre for c in cores]) - CENTRE) / SIGMA
    # 1 / sqrt(2 n) is what a standard deviation of a clean sample has
    assert ratio.mean(axis=0) == pytest.approx([1, 1], abs=0.02)
    assert ratio.std(axis=0).max() < 2.5 / np.sqrt(2 * min(n, 4096) * (1 - share))
    assert np.abs(off.mean(axis=0)).max() < 0.03
    assert np.mean([c.share for c in cores]) == pytest.approx(1 - share, abs=0.02)


def test_few_points_are_judged_without_bias() -> None:
    ratio = np.array([core_scatter(*cloud(s, 60, 0.1, "even")).sigma for s in range(200)])
    assert (ratio / SIGMA).mean(axis=0) == pytest.approx([1, 1], abs=0.04)


def test_shift_and_scale_carry_over() -> None:
    p = cloud(1, 500, 0.2, "even")
    a, b = core_scatter(*p), core_scatter(10 + 3 * p[0], -3 * p[1])
    np.testing.assert_allclose(b.sigma, 3 * a.sigma, rtol=1e-6)
    np.testing.assert_allclose(b.centre, [10 + 3 * a.centre[0], -3 * a.centre[1]], rtol=1e-6)


def test_half_of_the_values_being_one_have_no_width() -> None:
    x = np.r_[np.zeros(60), np.linspace(-1, 1, 40)]
    core = core_scatter(x, np.zeros(100))
    assert core.sigma.tolist() == [0, 0]
    assert core.centre.tolist() == [0, 0]


@pytest.mark.parametrize("limit", [1.0, 2.5, 3.5])
def test_clipped_variance_is_that_of_clipped_points(limit: float) -> None:
    p = np.random.default_rng(2).normal(size=(2, 400_000))
    kept = p[:, (p**2).sum(axis=0) < limit**2]
    assert clipped_variance(limit) == pytest.approx(kept.var(axis=1).mean(), rel=0.01)


def slow_core(p: np.ndarray) -> Core:
    """Do what the kernel does with NumPy, one round after the other."""
    count = p.shape[1]
    centre = np.median(p, axis=1)
    sigma = NMAD * np.median(np.abs(p - centre[:, None]), axis=1)
    share = 1.0
    if not sigma.all():
        return Core(centre, sigma, share)
    for _ in range(30):
        u = (p - centre[:, None]) / sigma[:, None]
        square = u * u
        r2 = square[0] + square[1]
        inside = r2 < DISC**2
        members = np.count_nonzero(inside)
        floor = np.count_nonzero((r2 > RING[0] ** 2) & (r2 < RING[1] ** 2)) / (
            np.pi * (RING[1] ** 2 - RING[0] ** 2)
        )
        even = floor * (np.pi * DISC**2)
        mass = members - even
        if mass < 0.2 * members or members < 5:
            sigma = sigma * 0.7
            continue
        # cumulative: in the order of the points
        mean = u[:, inside].cumsum(axis=1)[:, -1] / mass
        moment = (square[:, inside].cumsum(axis=1)[:, -1] - even * DISC**2 / 4) / mass
        factor = np.interp(moment - mean * mean, _MOMENT, _SIGMA)
        centre, sigma = centre + sigma * mean, sigma * factor
        share = mass / count / _WITHIN
        if max(*np.abs(factor - 1), *np.abs(mean)) < 1e-3:
            break
    return Core(centre, sigma * (1.0 + 3.0 / (share * count)), min(share, 1.0))


@pytest.mark.parametrize("kind", ["even", "one-sided", "near"])
@pytest.mark.parametrize("n", [1, 2, 7, 60, 300, 301, 4096])
def test_the_kernel_finds_the_core_as_numpy_does_to_the_last_bit(n: int, kind: str) -> None:
    fused = platform.machine() not in ("x86_64", "AMD64")  # compilers contract elsewhere
    tolerance = {"rtol": 1e-9 if fused else 0, "atol": 0}
    for seed in range(5):
        p = cloud(seed, n, 0.3 + 0.1 * seed, kind)
        found, expected = core_scatter(*p), slow_core(p)
        np.testing.assert_allclose(found.centre, expected.centre, **tolerance)
        np.testing.assert_allclose(found.sigma, expected.sigma, **tolerance)
        np.testing.assert_allclose(found.share, expected.share, **tolerance)


def test_values_on_a_lattice_and_a_scatter_without_a_core_are_judged_as_numpy_does() -> None:
    rng = np.random.default_rng(3)
    for p in (rng.integers(-3, 4, (2, 200)) / 4.0, rng.standard_cauchy((2, 150)) ** 3):
        found, expected = core_scatter(*p), slow_core(p)
        np.testing.assert_allclose(found.centre, expected.centre, rtol=1e-9)
        np.testing.assert_allclose(found.sigma, expected.sigma, rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 11, 500, 4097])
def test_the_middle_is_the_median_of_numpy(n: int) -> None:
    rng = np.random.default_rng(n)
    shapes = (
        rng.normal(size=n), rng.integers(0, 3, n) - 1.0, np.arange(n, 0.0, -1.0),
        np.full(n, -0.0), np.abs(np.arange(n) - n / 2),
    )  # fmt: skip
    for values in shapes:
        given = values.copy()
        found = middle(values)
        centre = np.median(values)
        assert found == (centre, np.median(np.abs(values - centre)))
        assert not np.signbit(found[0]) or centre < 0
        np.testing.assert_array_equal(values, given)
    assert middle(np.arange(10.0)[::2]) == (4.0, 2.0)  # strided
