"""Long pairs that contradict the short ones of the same time: matches of something else.

Over a year a glacier's surface melts, snows over and is shaded anew, while patterns that
stand still (shadows, rock at the margin, crevasse fields that form again at one place)
return. The match that then wins is wrong in the same way for whole patches of cells and for
many pairs, which no statistic over all pairs finds out. The pairs of 16 to 96 days inside
the same interval do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel._types import DAYS_PER_YEAR, days_between
from hmavel.core import NMAD
from hmavel.medians import median_of_known

if TYPE_CHECKING:
    from hmavel._types import BoolArray, FloatArray, TimeArray

#: Fewer short pairs than this do not outvote a long one.
LEAST_SHORT = 4
#: Variance of a median over that of a mean, for a Gaussian.
_MEDIAN_LOSS = np.pi / 2


def doubtful(
    vx: FloatArray,
    vy: FloatArray,
    sigma_vx: FloatArray,
    sigma_vy: FloatArray,
    start: TimeArray,
    end: TimeArray,
    *,
    short_days: float = 96.0,
    limit: float = 3.0,
    far_m: float = 60.0,
) -> BoolArray:
    """Find where long pairs are not to be believed, by the short pairs of their own interval.

    Parameters
    ----------
    vx, vy, sigma_vx, sigma_vy
        Velocity and its 1 sigma, m/yr, (pairs, ...), NaN = missing.
    start, end
        (pairs,) datetime64.
    short_days
        Longest baseline of a short pair.
    limit
        Disagreement with the short pairs above which the long one is at fault, in standard
        deviations of the disagreement.
    far_m
        Displacement, as the short pairs would have it, above which the long pair is left out:
        ground that has moved so far has changed, and what stood still is matched instead.

    Returns
    -------
    bool array, shape of ``vx``
        Never True for short pairs, nor where fewer than ``LEAST_SHORT`` short pairs that lie
        at least half inside the interval are seen.

    Notes
    -----
    The short pairs inside give a median m, a robust spread s and a typical stated error e.
    The mean over the interval may differ from m by their real variation, sqrt(s^2 - e^2)
    where positive (all of it: a surge spreads the short pairs and so excuses the long one),
    by the error of the median and by the long pair's own sigma: ``limit`` times the root of
    the sum of these squares is allowed, for either component. A year-long pair that is 50 m
    off is found in three of four cells (``tests/test_consistency.py``).
    """
    first = np.asarray(start, "datetime64[ms]")
    last = np.asarray(end, "datetime64[ms]")
    days = np.abs(days_between(first, last))
    short = days <= short_days
    out = np.zeros(vx.shape, bool)
    for i in np.flatnonzero(~short):
        overlap = days_between(np.maximum(first, first[i]), np.minimum(last, last[i]))
        inside = np.flatnonzero(short & (overlap >= 0.5 * days))
        if len(inside) < LEAST_SHORT:
            continue
        seen = np.isfinite(vx[inside] + vy[inside] + sigma_vx[inside] + sigma_vy[inside])
        enough = (seen.sum(axis=0) >= LEAST_SHORT) & np.isfinite(vx[i] + vy[i])
        if not enough.any():
            continue
        seen = seen[:, enough]
        x, y = (
            _Middle(v[inside][:, enough], s[inside][:, enough], seen)
            for v, s in ((vx, sigma_vx), (vy, sigma_vy))
        )
        gone = np.hypot(x.value, y.value) * days[i] / DAYS_PER_YEAR > far_m
        for middle, v, s in ((x, vx, sigma_vx), (y, vy, sigma_vy)):
            gone |= middle.contradicts(v[i][enough], s[i][enough], limit)
        out[i, enough] = gone
    return out


class _Middle:
    """What short pairs (pairs, cells) say about the mean over an interval."""

    def __init__(self, v: Any, sigma: Any, seen: BoolArray) -> None:
        v = np.where(seen, v, np.nan).astype(float)
        stated = median_of_known(np.where(seen, sigma, np.nan).astype(float))
        self.value = median_of_known(v)
        spread = NMAD * median_of_known(np.abs(v - self.value))
        count = seen.sum(axis=0)
        real = np.maximum(spread**2 - stated**2, 0.0)
        self.variance = real + _MEDIAN_LOSS * (stated**2 + real) / count

    def contradicts(self, v: Any, sigma: Any, limit: float) -> Any:
        allowed = np.sqrt(self.variance + np.square(sigma, dtype=float))
        return np.abs(v - self.value) > limit * allowed

