"""What a field says of its nodes: clumps against a flood, ranges of rows against the whole."""

from __future__ import annotations

import numpy as np
import pytest

from hmavel import _kernels


def flooded(u: np.ndarray, v: np.ndarray, limit: float) -> np.ndarray:
    """Size of each node's clump, walked from node to node."""
    size = np.zeros(u.shape, int)
    for start in zip(*np.nonzero(np.isfinite(u)), strict=True):
        if size[start]:
            continue
        clump, edge = {start}, [start]
        while edge:
            r, c = edge.pop()
            for at in ((r + dr, c + dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1)):
                inside = 0 <= at[0] < u.shape[0] and 0 <= at[1] < u.shape[1]
                if not inside or at in clump:
                    continue
                du, dv = u[at] - u[r, c], v[at] - v[r, c]
                if du * du + dv * dv <= limit * limit:
                    clump.add(at)
                    edge.append(at)
        for at in clump:
            size[at] = len(clump)
    return size


@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1), (2, 64), (40, 65), (33, 130)])
@pytest.mark.parametrize("steps", [2, 3, 6])
def test_clumps_are_what_a_flood_reaches(shape: tuple[int, int], steps: int) -> None:
    for seed in range(4):
        rng = np.random.default_rng((seed, steps))
        u, v = rng.integers(0, steps, (2, *shape)).astype(np.float32)
        v[rng.random(shape) < 0.9] = 0  # long clumps that wind
        hole = rng.random(shape) < 0.15
        u[hole] = np.nan
        v[hole & (rng.random(shape) < 0.5)] = np.nan
        parent, size = np.empty((2, *shape), np.int32)
        assert _kernels.clump_sizes(u, v, 0.5, parent, size) == 0
        np.testing.assert_array_equal(size, flooded(u, v, np.float32(0.5)))


def test_a_field_without_jumps_is_one_clump() -> None:
    row, col = np.mgrid[:50, :90].astype(np.float32)
    parent, size = np.empty((2, 50, 90), np.int32)
    _kernels.clump_sizes(0.1 * row, 0.1 * col, 0.15, parent, size)
    assert (size == 4500).all()


def test_rows_may_be_widened_and_judged_in_any_ranges() -> None:
    rng = np.random.default_rng(3)
    u, v = np.cumsum(rng.normal(0, 0.3, (2, 40, 70)), axis=1).astype(np.float32)
    u[rng.random(u.shape) < 0.1] = np.nan
    sigma = rng.uniform(0.01, 0.1, (2, 40, 70)).astype(np.float32)
    sigma[:, 5, 6] = np.nan, np.inf
    whole, parts = sigma[0].copy(), sigma[0].copy()
    _kernels.add_strain(u, 0.4, whole, 0, 40)
    outlier = np.zeros((2, *u.shape), np.uint8)
    _kernels.median_test(u, v, *sigma, 5, 0.1, 3.0, outlier[0], 0, 40)
    for first, last in ((17, 40), (0, 1), (1, 17)):
        _kernels.add_strain(u, 0.4, parts, first, last)
        _kernels.median_test(u, v, *sigma, 5, 0.1, 3.0, outlier[1], first, last)
    np.testing.assert_array_equal(whole, parts)
    assert (whole > sigma[0])[np.isfinite(u)].mean() > 0.3
    np.testing.assert_array_equal(*outlier)
    assert 0 < outlier[0].mean() < 0.5
