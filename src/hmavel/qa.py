"""The bits of Landsat Collection 2's QA_PIXEL and QA_RADSAT bands.

Single bits are CFMask's classes; pairs of bits are its confidence in four of them. Bit 6
("clear") is set beside snow and beside shadow, so it never decides anything here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmavel._types import BoolArray, ByteArray

#: Class -> bit of QA_PIXEL.
BITS = {
    "fill": 0,
    "dilated": 1,
    "cirrus": 2,
    "cloud": 3,
    "shadow": 4,
    "snow": 5,
    "clear": 6,
    "water": 7,
}
#: Class -> lower bit of its two confidence bits (0 none, 1 low, 2 medium, 3 high).
CONFIDENCE_BITS = {"cloud": 8, "shadow": 10, "snow": 12, "cirrus": 14}

#: Bits of QA_RADSAT for bands 1-7. Band 8 has none: look for its ceiling, 65535.
SATURATED_BITS = 0b0111_1111
#: Bit of QA_RADSAT for ground that terrain hides from the sensor.
OCCLUDED_BIT = 11


def has(qa: NDArray[Any], *names: str) -> BoolArray:
    """Return where QA_PIXEL names any of these classes (keys of ``BITS``)."""
    wanted = 0
    for name in names:
        wanted |= 1 << BITS[name]
    return np.asarray((np.asarray(qa) & wanted) != 0)


def confidence(qa: NDArray[Any], name: str) -> ByteArray:
    """Return CFMask's confidence in a class: 0 none, 1 low, 2 medium, 3 high."""
    return ((np.asarray(qa) >> CONFIDENCE_BITS[name]) & 3).astype(np.uint8)


def saturated(radsat: NDArray[Any]) -> BoolArray:
    """Return where any of bands 1-7 is at the sensor's ceiling."""
    return np.asarray((np.asarray(radsat) & SATURATED_BITS) != 0)


def occluded(radsat: NDArray[Any]) -> BoolArray:
    """Return where terrain hides the ground from the sensor."""
    return np.asarray((np.asarray(radsat) >> OCCLUDED_BIT) & 1 != 0)
