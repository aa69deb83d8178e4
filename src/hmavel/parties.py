"""Glaciers that lie so close together that a scene is better looked at once for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: West, south, east, north, degrees.
Bounds = tuple[float, float, float, float]

#: Metres of a degree of latitude; that of longitude is shorter by the cosine.
_DEGREE_M = 111_320.0
#: Files are decoded by blocks of 256 pixels of 30 m: half of one more on every side, metres.
_HALF_BLOCK_M = 3840.0
#: Ground that is decoded together at most, km^2: some 2 million pixels.
_MOST_KM2 = 1800.0


def close_together(bounds: Sequence[Bounds], margin_m: float) -> list[list[int]]:
    """Divide places into parties whose ground is less than that of their members one by one.

    Parameters
    ----------
    bounds
        Of each place's outline; one is in the party's if it widens the rectangle around it
        by less than its own.
    margin_m
        Ground around each outline that is looked at too, metres.

    Returns
    -------
    list of list of int
        Indices into ``bounds``; every one is in one party, in the order in which they came.
    """
    reach = margin_m + _HALF_BLOCK_M
    parties: list[list[int]] = []
    around = np.empty((0, 4))
    for i, one in enumerate(np.asarray(bounds, np.float64).reshape(-1, 4)):
        rows = math.radians((one[1] + one[3]) / 2)
        wide = reach / _DEGREE_M * np.array([-1 / math.cos(rows), -1, 1 / math.cos(rows), 1])
        both = np.concatenate([np.minimum(around, one + wide)[:, :2],
                               np.maximum(around, one + wide)[:, 2:]], axis=1)  # fmt: skip
        joined = _km2(both)
        saved = np.where(joined <= _MOST_KM2, _km2(around) + _km2(one + wide) - joined, 0.0)
        if len(saved) and saved.max() > 0:
            best = int(np.argmax(saved))
            parties[best].append(i)
            around[best] = both[best]
        else:
            parties.append([i])
            around = np.vstack([around, one + wide])
    return parties


def _km2(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area of rectangles (..., 4) in degrees."""
    west, south, east, north = np.moveaxis(bounds, -1, 0)
    rows = np.cos(np.radians((south + north) / 2))
    return np.asarray((east - west) * (north - south) * rows * (_DEGREE_M / 1e3) ** 2)
