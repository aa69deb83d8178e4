"""Medians of what is there are NumPy's, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from hmavel.medians import median_of_known


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 31, 700])
@pytest.mark.parametrize("axis", [0, 1])
def test_median_is_numpys(count, dtype, axis):
    rng = np.random.default_rng(count)
    values = rng.standard_normal((count, 200)).astype(dtype)
    there = rng.random(values.shape) < 0.6
    there[rng.integers(count, size=200), np.arange(200)] = True
    values[~there] = np.nan
    values = values if axis == 0 else values.T
    found = median_of_known(values, axis)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.nanmedian(values, axis=axis))


def test_nothing_has_no_median():
    values = np.array([[1.0, np.nan], [4.0, np.nan]])
    np.testing.assert_array_equal(median_of_known(values), [2.5, np.nan])
    assert median_of_known(np.empty((3, 0))).shape == (0,)
