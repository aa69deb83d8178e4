"""The fast core of a scatter: its bias, its spread, and what does not move it."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from hmavel import _kernels
from hmavel.core import (
    _MOMENTS,
    _SIGMAS,
    DISC,
    RING,
    _sigma_of,
    clipped_variance,
    core_scatter,
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


def disc_sums(p: np.ndarray, centre: np.ndarray, sigma: np.ndarray) -> tuple[float, ...]:
    """Sum as the kernel does, with NumPy, in the order of the points."""
    u = (p - centre[:, None]) / sigma[:, None]
    square = u * u
    r2 = square[0] + square[1]
    inside = r2 < DISC**2
    ring = np.count_nonzero((r2 > RING[0] ** 2) & (r2 < RING[1] ** 2))
    sums = [v[inside].cumsum()[-1] for v in (*u, *square)]
    return (np.count_nonzero(inside), ring, *sums)


@pytest.mark.parametrize("n", [1, 7, 300, 4096])
def test_the_kernel_sums_like_numpy_to_the_last_bit(n: int) -> None:
    p = cloud(n, n, 0.3, "even")
    p[:, 0] = CENTRE  # the disc is not empty
    found = _kernels.core_sums(p, *CENTRE, *SIGMA, DISC, *RING)
    fused = platform.machine() not in ("x86_64", "AMD64")  # compilers contract elsewhere
    np.testing.assert_allclose(
        found, disc_sums(p, CENTRE, SIGMA), rtol=1e-12 if fused else 0, atol=1e-12 * fused
    )


def test_sigma_of_a_moment_is_interpolated() -> None:
    moments = np.r_[-1.0, _MOMENTS[0], np.linspace(0.0, 1.7, 500), _MOMENTS[7], _MOMENTS[-1], 9]
    expected = np.interp(moments, _MOMENTS, _SIGMAS)
    assert [_sigma_of(float(m)) for m in moments] == expected.tolist()
