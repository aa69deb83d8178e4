"""Frames: pixels as the kernel wants them, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from hmavel import _kernels

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_standardised_pixels_are_those_of_numpy_on_every_instruction_set(dtype, masked):
    rng = np.random.default_rng(TYPES.index(dtype))
    image = (rng.random((7, 133)) * 120).astype(dtype)
    full = image[3, 5] = 100
    if image.dtype.kind == "f":
        image[2, 3], image[1, 5], image[0, 0] = np.nan, np.inf, -np.inf
    valid = rng.random(image.shape) > 0.1 if masked else None
    mean, spread = 70.3, 17.7
    narrow = image.dtype.itemsize < 4 or dtype == "float32"
    real = np.float32 if narrow else np.float64
    want = (image.astype(real) - real(mean)).astype(np.float32) * np.float32(1 / spread)
    want[~np.isfinite(want)] = np.nan
    want[image == full] = np.inf
    if valid is not None:
        want[~valid] = np.nan
    for name in _kernels.instruction_sets():
        out = np.full((9, 140), -1, np.float32)
        mask = None if valid is None else valid.view(np.uint8)
        holes = _kernels.standardise(image, mask, mean, spread, full, out, 1, 2, name)
        np.testing.assert_array_equal(out[1:8, 2:135], want, err_msg=name)
        assert holes
        out[1:8, 2:135] = -1
        assert (out == -1).all()  # nothing beyond
    whole = np.full((2, 40), 7).astype(dtype)
    assert not _kernels.standardise(whole, None, mean, spread, full, out, 0, 0)


@pytest.mark.parametrize("shape", [(1, 9), (3, 3), (5, 6), (20, 70), (9, 150)])
def test_bends_are_found_wherever_they_are(shape):
    """Rows that are looked at as a whole first, and edges, where they are not."""
    rng = np.random.default_rng(shape[1])
    u, v = rng.normal(0, 0.3, (2, *shape)).astype(np.float32)
    u[rng.random(shape) < 0.05] += 2
    v[rng.random(shape) < 0.1] = np.nan
    far = np.empty((2, *shape), np.float32)
    assert _kernels.bend(u, v, 0.75, far[0], far[1], 0, shape[0]) == 0
    pairs = [(r, c) for r in range(3) for c in range(-2, 3) if r or c > 0]
    for i, j in np.ndindex(shape):
        most, want = 0.75, (np.nan, np.nan)
        for r, c in pairs:
            p, q = (i + r, j + c), (i - r, j - c)
            if not all(0 <= a < n for at in (p, q) for a, n in zip(at, shape, strict=True)):
                continue
            gone = np.hypot((u[p] + u[q]) / 2 - u[i, j], (v[p] + v[q]) / 2 - v[i, j])
            if gone > most:
                distance = [np.hypot(u[at] - u[i, j], v[at] - v[i, j]) for at in (p, q)]
                at = p if distance[0] > distance[1] else q
                most, want = gone, (u[at], v[at])
        np.testing.assert_array_equal(far[:, i, j], want)
    if shape[0] > 5:
        assert 0.02 < np.isfinite(far[0]).mean() < 0.9
