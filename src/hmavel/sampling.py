"""Some of many: drawn evenly, and the same ones in every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def drawn(count: int, most: int, *, seed: int = 0) -> NDArray[np.intp]:
    """Return at most ``most`` of the indices 0 ... ``count`` - 1: all of few, in no order."""
    if count <= most:
        return np.arange(count)
    return np.random.default_rng(seed).choice(count, most, replace=False)
