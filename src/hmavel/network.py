"""The pairs of one stack seen as a network: which months and which scenes each one joins.

Everything here depends on the dates only, so it is made once and shared by all cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hmavel._types import DAYS_PER_YEAR, BoolArray, FloatArray, TimeArray, days_between

#: Measurements of one pair that scatter by so many of their errors contradict each other.
TORN = 5.0


@dataclass(frozen=True)
class PairNetwork:
    """Dates of ``p`` distinct pairs as days, month overlaps and scene incidence.

    Months are contiguous: every calendar month that a pair touches, first to last.
    """

    months: TimeArray  #: (n,) datetime64[M]
    month_days: FloatArray  #: (n,) length of each month, days
    first: FloatArray  #: (p,) earlier scene, days after the start of ``months[0]``
    last: FloatArray  #: (p,) later scene, days after the start of ``months[0]``
    scenes: TimeArray  #: (s,) times of the distinct scenes
    early: NDArray[np.intp]  #: (p,) index into ``scenes`` of the earlier scene
    late: NDArray[np.intp]  #: (p,) index into ``scenes`` of the later scene
    member: NDArray[np.intp]  #: (given pairs,) which of the p pairs each one measures

    @property
    def baseline_days(self) -> FloatArray:
        """Days between the scenes of each pair, always positive."""
        return self.last - self.first

    @property
    def baseline_years(self) -> FloatArray:
        """The same in years of 365.25 days: displacement (m) = velocity (m/yr) x this."""
        return self.baseline_days / DAYS_PER_YEAR

    def overlap_years(
        self, parts: int = 1, pairs: slice = slice(None)
    ) -> sparse.csr_array:
        """Years that each pair spends in each month, or in each ``1 / parts`` of a month.

        ``pairs``: of these only.

        Returns
        -------
        scipy.sparse.csr_array
            Shape (p, n * parts); a row adds up to the pair's baseline.
        """
        lengths = np.repeat(self.month_days / parts, parts)
        edges = np.concatenate([[0.0], np.cumsum(lengths)])
        cells = len(lengths)
        first, last = self.first[pairs], self.last[pairs]
        low = np.clip(np.searchsorted(edges, first, side="right") - 1, 0, cells - 1)
        high = np.clip(np.searchsorted(edges, last, side="left"), low + 1, cells)
        width = high - low
        pointer = np.concatenate([[0], np.cumsum(width)])
        row = np.repeat(np.arange(len(width)), width)
        column = np.arange(pointer[-1]) - pointer[:-1][row] + low[row]
        begin = np.maximum(first[row], edges[column])
        end = np.minimum(last[row], edges[column + 1])
        days = np.maximum(end - begin, 0.0)
        years = days / DAYS_PER_YEAR
        return sparse.csr_array((years, column, pointer), shape=(len(width), cells))

    def merged(self, v: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Make one measurement of all those that the same two scenes were given.

        Parameters
        ----------
        v, sigma
            (given pairs, cells) m/yr; not finite = missing.

        Returns
        -------
        v, sigma
            (p, cells) float64, NaN = missing. Matches of one image pair share its noise, so a
            mean of k has the variance of one; to which their disagreement is added.
        """
        mean, error, _ = self.merged_and_torn(v, sigma)
        return mean, error

    def merged_and_torn(
        self, v: FloatArray, sigma: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Do the same, and say which pairs were given measurements that contradict each other.

        The third array (p, cells) is True where they scatter about their mean by more than
        ``TORN`` times what their errors allow.
        """
        v, sigma = np.asarray(v, np.float64), np.asarray(sigma, np.float64)
        p = len(self.first)
        ok = np.isfinite(v) & np.isfinite(sigma)
        if len(self.member) == p:
            out_v, out_sigma = np.full_like(v, np.nan), np.full_like(v, np.nan)
            out_v[self.member] = np.where(ok, v, np.nan)
            out_sigma[self.member] = np.where(ok, sigma, np.nan)
            return out_v, out_sigma, np.zeros(v.shape, bool)
        collect = sparse.csr_array(
            (np.ones(len(v)), (self.member, np.arange(len(v)))), shape=(p, len(v))
        )
        weight = np.where(ok, 1 / np.where(ok, sigma, 1.0) ** 2, 0.0)
        known = np.where(ok, v, 0.0)
        count, whole = collect @ ok.astype(float), collect @ weight
        seen = count > 0
        whole[~seen] = np.nan
        mean = collect @ (weight * known) / whole
        apart = known - np.where(ok, mean[self.member], 0.0)
        spread = collect @ (weight * apart**2) / whole
        alone = count / whole
        return mean, np.sqrt(alone + spread), spread > TORN**2 * alone

    def incidence(self) -> sparse.csr_array:
        """Scene incidence (p, s): +1 at the later scene of a pair, -1 at the earlier one.

        A scene that is displaced by u metres adds +u to the pairs that end in it and -u to
        the pairs that start in it.
        """
        p = len(self.early)
        column = np.stack([self.early, self.late], axis=1).ravel()
        sign = np.tile([-1.0, 1.0], p)
        pointer = np.arange(0, 2 * p + 1, 2)
        return sparse.csr_array((sign, column, pointer), shape=(p, len(self.scenes)))


def pair_network(start: ArrayLike, end: ArrayLike) -> PairNetwork:
    """Build the network of the pairs that run from ``start`` to ``end``.

    Parameters
    ----------
    start, end
        (p,) datetime64, p >= 1; a scene is identified by its time (to the millisecond). A
        pair given back to front is turned round: its velocity is the same either way.

    Raises
    ------
    ValueError
        Not 1-D, of unequal length, empty, not a time, or a pair of a scene with itself.
    """
    t0, t1 = _times(start, "start"), _times(end, "end")
    if t0.shape != t1.shape:
        raise ValueError(
            f"month dates: expected as many starts as ends, got {len(t0)} and {len(t1)}; "
            "give both dates of every pair"
        )
    if len(t0) == 0:
        raise ValueError("month dates: expected at least one pair, got none; pass months=")
    if np.any(t0 == t1):
        i = int(np.flatnonzero(t0 == t1)[0])
        raise ValueError(
            f"month pair {i}: expected two different times, got {t0[i]} twice; "
            "drop the pairs of a scene with itself"
        )
    given = np.stack([np.minimum(t0, t1), np.maximum(t0, t1)], axis=1).astype(np.int64)
    (early, late), member = _distinct(given)
    # The last pair may end on the first instant of a month that it does not enter.
    last_month = (late.max() - np.timedelta64(1, "ms")).astype("datetime64[M]")
    months = np.arange(early.min().astype("datetime64[M]"), last_month + 1)
    edges = np.append(months, months[-1] + 1).astype("datetime64[ms]")
    scenes, index = np.unique(np.concatenate([early, late]), return_inverse=True)
    p = len(early)
    return PairNetwork(
        months=months,
        month_days=days_between(edges[:-1], edges[1:]),
        first=days_between(edges[0], early),
        last=days_between(edges[0], late),
        scenes=scenes,
        early=index[:p],
        late=index[p:],
        member=member,
    )


def _distinct(given: NDArray[np.int64]) -> tuple[TimeArray, NDArray[np.intp]]:
    """Sort pairs of times, drop repeated ones; (2, p) times and what became of each."""
    pairs, member = np.unique(given, axis=0, return_inverse=True)
    return pairs.T.astype("datetime64[ms]"), member.ravel()


def _times(values: ArrayLike, name: str) -> TimeArray:
    times = np.asarray(values)
    if times.dtype.kind != "M" or times.ndim != 1:
        raise ValueError(
            f"month {name}: expected a 1-D datetime64 array, got {times.dtype} of shape "
            f"{times.shape}; convert with numpy.asarray(dates, 'datetime64[ms]')"
        )
    times = times.astype("datetime64[ms]")
    if np.isnat(times).any():
        i = int(np.flatnonzero(np.isnat(times))[0])
        raise ValueError(f"month {name} {i}: expected a time, got NaT; drop the pair")
    return times
