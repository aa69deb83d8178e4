"""What a glacier's velocity is expected to look like in time, before any pair is seen.

A level, a season whose shape may change, and events: a sum of three covariances. Equations
in docs/method.md, "Months".
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import linalg, sparse

from hmavel._types import FloatArray
from hmavel.network import PairNetwork

#: Parts that a month is divided into where the covariance is averaged over it.
PARTS = 8
#: White monthly variance, as a share of the prior's, that keeps the interpolation well posed.
_NUGGET = 1e-4
#: Pairs that are dense arrays at one time.
_CHUNK = 8192


@dataclass(frozen=True)
class Hyperparameters:
    """The numbers of the prior; amplitudes in m/yr, times in years.

    ``noise`` multiplies every pair's and every scene's stated error.
    """

    level: float  #: a0, prior sd of the mean velocity; so wide that it hardly matters
    season: float  #: ap, sd of the part that returns every year
    shape: float  #: lp, smoothness of the season within the year (dimensionless)
    memory: float  #: tau, over which the season changes
    event: float  #: ar, sd of what does not return: trends, surges
    duration: float  #: lr, over which an event rises and falls
    noise: float = 1.0

    @property
    def log(self) -> FloatArray:
        """Logarithms of all but the level, in the order of the fields."""
        return np.log([getattr(self, f.name) for f in fields(self)[1:]])

    def with_log(self, values: FloatArray) -> Hyperparameters:
        """Return a copy with the numbers that ``log`` gives replaced."""
        names = [f.name for f in fields(self)[1:]]
        return replace(self, **dict(zip(names, np.exp(values).tolist(), strict=True)))


def kernel(lag: FloatArray, h: Hyperparameters) -> tuple[FloatArray, FloatArray]:
    """Prior covariance without the level, and its derivatives.

    Parameters
    ----------
    lag
        Time differences in years, any shape; the sign does not matter.

    Returns
    -------
    value
        (m/yr)^2, the shape of ``lag``.
    slopes
        (5, ...): d value / d log of season, shape, memory, event, duration.
    """
    lag = np.abs(lag)
    sine = np.sin(np.pi * lag) ** 2 / h.shape**2
    season = h.season**2 * np.exp(-2 * sine - lag / h.memory)
    x = np.sqrt(3) * lag / h.duration
    fall = h.event**2 * np.exp(-x)
    event = fall * (1 + x)
    slopes = np.stack(
        [2 * season, 4 * sine * season, lag / h.memory * season, 2 * event, fall * x**2]
    )
    return season + event, slopes


def month_lags(months: int) -> tuple[FloatArray, FloatArray]:
    """Lags between parts of months, and what turns values there into values between months.

    Returns
    -------
    lag
        (m,) years, one every ``1 / PARTS`` month.
    average
        (months, m): the covariance of two monthly means, k months apart, is the mean of the
        kernel over all pairs of their parts: ``average @ kernel(lag)``.
    """
    count = months * PARTS
    lag = np.arange(count) / (12 * PARTS)
    average = np.zeros((months, count))
    offset = np.arange(1 - PARTS, PARTS)
    share = (PARTS - np.abs(offset)) / PARTS**2
    for k in range(months):
        np.add.at(average[k], np.abs(k * PARTS + offset), share)
    return lag, average


@dataclass(frozen=True)
class MonthPrior:
    """The prior of one set of hyperparameters, brought to the months and pairs of a network.

    A pair rarely starts and ends with a month, and velocity changes within one. So a pair is
    not taken as the overlap-weighted sum of the months but as the best linear prediction from
    them, with what months cannot tell as an error of its own (``unresolved``).
    """

    modes: FloatArray  #: (n, r): months = modes @ z with z ~ N(0, I), strongest first
    lost: FloatArray  #: (n,) prior variance of the modes that were left out, (m/yr)^2
    variance: float  #: prior variance of a month about the level, (m/yr)^2
    pair_modes: FloatArray  #: (p, r): displacement of a pair per unit of a mode, m
    unresolved: FloatArray  #: (p,) variance of the displacement that no mode knows, m^2
    design: FloatArray  #: (p, n): displacement (m) = design @ months
    parameters: Hyperparameters

    def cut(self, tolerance: float) -> MonthPrior:
        """Leave out the weakest modes while no month loses more than ``tolerance``, (m/yr)^2.

        What is left out is kept as prior variance: in ``lost`` for the months and in
        ``unresolved`` for the pairs.
        """
        power = np.cumsum((self.modes**2)[:, ::-1], axis=1).max(axis=0)
        r = self.modes.shape[1] - int(np.searchsorted(power, tolerance, side="right"))
        r = max(r, 1)
        return replace(
            self,
            modes=np.ascontiguousarray(self.modes[:, :r]),
            lost=self.lost + (self.modes[:, r:] ** 2).sum(axis=1),
            pair_modes=np.ascontiguousarray(self.pair_modes[:, :r]),
            unresolved=self.unresolved + (self.pair_modes[:, r:] ** 2).sum(axis=1),
        )


def month_prior(network: PairNetwork, h: Hyperparameters) -> MonthPrior:
    """Bring the prior ``h`` to a network: covariance of months, months to pairs, remainder."""
    n = len(network.months)
    lag, average = month_lags(n)
    fine, _ = kernel(lag, h)
    covariance = linalg.toeplitz(average @ fine)
    variance = float(covariance[0, 0])
    design, unresolved = _predict_pairs(network, fine, covariance)
    values, vectors = linalg.eigh(covariance + h.level**2)
    modes = vectors * np.sqrt(np.maximum(values, 0.0))
    modes = np.ascontiguousarray(modes[:, ::-1])
    lost = np.zeros(n)
    return MonthPrior(modes, lost, variance, design @ modes, unresolved, design, h)


def _predict_pairs(
    network: PairNetwork, fine: FloatArray, covariance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Best linear prediction of displacements from months, unbiased for any level."""
    n = len(network.months)
    overlaps = network.overlap_years()
    parts = network.overlap_years(PARTS)
    baseline = network.baseline_years
    # Covariance of every part with every month: that of the parts, averaged over each month.
    both = np.concatenate([fine[:0:-1], fine])  # lags -(m - 1) ... m - 1
    running = np.concatenate([[0.0], np.cumsum(both)])
    part, month = np.ogrid[: n * PARTS, :n]
    begin = part - month * PARTS + (n - 1) * PARTS
    to_month = (running[begin + PARTS] - running[begin]) / PARTS

    nugget = covariance + _NUGGET * covariance[0, 0] * np.eye(n)
    factor = linalg.cho_factor(nugget, lower=True)
    ones = linalg.cho_solve(factor, np.ones(n))
    ones /= ones.sum()
    design = np.empty(overlaps.shape)
    unresolved = np.empty(len(baseline))
    for first in range(0, len(baseline), _CHUNK):
        some = slice(first, first + _CHUNK)
        overlap = overlaps[some].toarray()
        cross = parts[some] @ to_month
        rows = overlap + linalg.cho_solve(factor, (cross - overlap @ covariance).T).T
        # A constant velocity must give exactly velocity x baseline, whatever the level.
        rows += (baseline[some] - rows.sum(axis=1))[:, None] * ones
        known = 2 * np.einsum("ij,ij->i", rows, cross)
        known -= np.einsum("ij,ij->i", rows @ covariance, rows)
        design[some], unresolved[some] = rows, -known
    unresolved += _own_variance(parts, fine)
    return design, np.maximum(unresolved, 0.0)


def _own_variance(parts: sparse.csr_array, fine: FloatArray) -> FloatArray:
    """Prior variance of each pair's displacement about the level, m^2."""
    pointer, data = parts.indptr, parts.data
    widths = np.diff(pointer)
    out = np.empty(len(widths))
    for width in np.unique(widths):
        rows = np.flatnonzero(widths == width)
        block = linalg.toeplitz(fine[:width])
        for some in np.array_split(rows, 1 + len(rows) // _CHUNK):
            share = data[pointer[some][:, None] + np.arange(width)]
            out[some] = np.einsum("ij,ij->i", share @ block, share)
    return out
