"""Medians of what is there: ``np.nanmedian`` by one sort, without masked arrays."""

from __future__ import annotations

import numpy as np

from hmavel._types import FloatArray


def median_of_known(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the median along an axis of what is not NaN; NaN where nothing is.

    Parameters
    ----------
    values
        Two-dimensional or more.
    axis
        Along which; it is lost.
    """
    ordered = np.sort(values, axis=axis)  # NaN last
    count = np.sum(~np.isnan(ordered), axis=axis, keepdims=True)
    low, high = (
        np.take_along_axis(ordered, k // 2, axis) for k in (np.maximum(count - 1, 0), count)
    )
    return np.asarray(np.squeeze((low + high) / 2, axis))
