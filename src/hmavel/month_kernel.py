"""What a glacier's velocity is expected to look like in time, before any pair is seen.

A level, a season whose shape may change, and events: a sum of three covariances. Season and
event run on clocks of their own, which go faster where more happens: a spring speed-up takes
most of the season's year, a surge most of the event's decade. Equations in docs/method.md,
"Months".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse

from hmavel._types import FloatArray, TimeArray
from hmavel.month_path import PairRows, pair_rows, steps
from hmavel.network import PairNetwork

#: Parts that a month is divided into where the covariance is averaged over it; and steps of the
#: season's clock in a year, half months. Both as in ``hmk_month_prior.h``.
PARTS, SEASON_STEPS = 8, 24
_NAMES = ("season", "shape", "memory", "event", "duration", "noise")
#: White monthly variance, as a share of the prior's, that keeps the interpolation well posed.
_NUGGET = 1e-4


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
    duration: float  #: lr, over which an event rises and falls, on the event's clock
    noise: float = 1.0
    season_pace: tuple[float, ...] = ()  #: pace of the season's clock, per half month
    burst: float = 0.0  #: how much larger the season's sd is at its height than elsewhere
    burst_at: float = 0.0  #: time of year of that height, 0 ... 1
    burst_width: float = 0.1  #: its standard deviation in time
    event_pace: tuple[float, ...] = ()  #: pace of the event's clock, per month ...
    event_from: np.datetime64 | None = None  #: ... from this month on; 1 elsewhere

    @property
    def log(self) -> FloatArray:
        """Logarithms of season, shape, memory, event, duration, noise."""
        return np.log([getattr(self, name) for name in _NAMES])

    def with_log(self, values: FloatArray) -> Hyperparameters:
        """Return a copy with the numbers that ``log`` gives replaced."""
        return replace(self, **dict(zip(_NAMES, np.exp(values).tolist(), strict=True)))

    def season_log_pace(self) -> FloatArray:
        """Logarithm of the season's pace, (SEASON_STEPS,), beginning with January."""
        return np.log(self.season_pace) if self.season_pace else np.zeros(SEASON_STEPS)

    @property
    def log_burst(self) -> FloatArray:
        """Logarithms of the burst's size and width, and its time of year between them."""
        return np.array([np.log(self.burst), self.burst_at, np.log(self.burst_width)])

    def with_burst(self, values: FloatArray) -> Hyperparameters:
        """Return a copy with the numbers that ``log_burst`` gives replaced."""
        size, at, width = values
        burst, width = float(np.exp(size)), float(np.exp(width))
        return replace(self, burst=burst, burst_at=float(at) % 1.0, burst_width=width)

    def event_log_pace(self, months: TimeArray) -> FloatArray:
        """Logarithm of the event's pace in the given months."""
        pace = np.zeros(len(months))
        if self.event_from is not None:
            at = (months - self.event_from).astype(int)
            known = (at >= 0) & (at < len(self.event_pace))
            pace[known] = np.log(self.event_pace)[at[known]]
        return pace


def season_phase(log_pace: FloatArray) -> FloatArray:
    """Read the season's clock at the centres of the year's parts.

    (12 * PARTS,) 0 ... 1, where 1 is the next new year.
    """
    each = np.repeat(np.exp(log_pace), 12 * PARTS // SEASON_STEPS)
    return np.asarray((np.cumsum(each) - each / 2) / each.sum())


def season_gain(h: Hyperparameters) -> FloatArray:
    """Relative size of the season in the parts of the year: 1, and more around the burst."""
    if h.burst == 0.0:
        return np.ones(12 * PARTS)
    turn = 2 * np.pi * ((np.arange(12 * PARTS) + 0.5) / (12 * PARTS) - h.burst_at)
    apart = (1 - np.cos(turn)) / (2 * np.pi * h.burst_width) ** 2
    return np.asarray(1 + h.burst * np.exp(-apart))


def matern(lag: FloatArray, duration: float) -> FloatArray:
    """Matern-3/2 correlation."""
    x = np.sqrt(3) / duration * np.abs(lag)
    return np.asarray((1 + x) * np.exp(-x))


def fine_covariance(months: TimeArray, h: Hyperparameters) -> FloatArray:
    """Prior covariance, level aside, between all parts of the months, (m/yr)^2."""
    n = len(months)
    part = np.arange(n * PARTS)
    calendar = (part + int(months[0].astype(int)) % 12 * PARTS) % (12 * PARTS)
    phase, gain = season_phase(h.season_log_pace()), season_gain(h)
    turns = 2 * np.sin(np.pi * (phase[:, None] - phase)) ** 2
    year = np.exp(-turns / h.shape**2)
    year *= np.outer(gain, gain)
    decay = matern(part / (12 * PARTS), h.memory)
    out = year[np.ix_(calendar, calendar)]
    out *= h.season**2 * linalg.toeplitz(decay)
    pace = np.repeat(np.exp(h.event_log_pace(months)), PARTS) / (12 * PARTS)
    clock = np.cumsum(pace) - pace / 2
    out += h.event**2 * matern(clock[:, None] - clock, h.duration)
    return out


@dataclass(frozen=True)
class MonthPrior:
    """The prior of one set of hyperparameters, brought to the months and pairs of a network.

    A pair rarely starts and ends with a month, and velocity changes within one. So a pair is
    not taken as the overlap-weighted sum of the months but as the best linear prediction from
    them, with what months cannot tell as an error of its own (``unresolved``).
    """

    modes: FloatArray  #: (n, r): months = modes @ z with z ~ N(0, I), strongest first
    lost: FloatArray  #: (n,) prior variance of the modes that were left out, (m/yr)^2
    variance: FloatArray  #: (n,) prior variance of each month about the level, (m/yr)^2
    pair_modes: PairRows  #: (p, r): displacement of a pair per unit of a mode, m
    unresolved: FloatArray  #: (p,) variance of the displacement that no mode knows, m^2
    design: PairRows  #: (p, n): displacement (m) = design @ months
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
            pair_modes=self.pair_modes.first_columns(r),
            unresolved=self.unresolved + self.pair_modes.squares_from(r),
        )


def month_prior(network: PairNetwork, h: Hyperparameters) -> MonthPrior:
    """Bring the prior ``h`` to a network: covariance of months, months to pairs, remainder."""
    n = len(network.months)
    fine = fine_covariance(network.months, h)
    to_month = fine.reshape(n * PARTS, n, PARTS).mean(axis=2)
    covariance = to_month.reshape(n, PARTS, n).mean(axis=1)
    variance = np.diag(covariance).copy()
    per_month = _predict_parts(to_month, covariance)
    design = pair_rows(network, per_month, PARTS)
    unresolved = _unresolved(network, design, fine, to_month, covariance)
    values, vectors = linalg.eigh(covariance + h.level**2)
    modes = vectors * np.sqrt(np.maximum(values, 0.0))
    modes = np.ascontiguousarray(modes[:, ::-1])
    lost = np.zeros(n)
    pair_modes = pair_rows(network, per_month @ modes, PARTS)
    return MonthPrior(modes, lost, variance, pair_modes, unresolved, design, h)


def _predict_parts(to_month: FloatArray, covariance: FloatArray) -> FloatArray:
    """Best linear prediction of the parts from the months, unbiased for any level.

    (n * PARTS, n); what a pair has of the parts, times this, predicts its displacement.
    """
    n = len(covariance)
    nugget = covariance + _NUGGET * np.trace(covariance) / n * np.eye(n)
    factor = linalg.cho_factor(nugget, lower=True)
    ones = linalg.cho_solve(factor, np.ones(n))
    ones /= ones.sum()
    rows = np.repeat(np.eye(n), PARTS, axis=0)
    rows += linalg.cho_solve(factor, (to_month - rows @ covariance).T).T
    # A constant velocity must give exactly velocity x baseline, whatever the level.
    rows += (1.0 - rows.sum(axis=1))[:, None] * ones
    return np.asarray(rows)


def _unresolved(
    network: PairNetwork,
    design: PairRows,
    fine: FloatArray,
    to_month: FloatArray,
    covariance: FloatArray,
) -> FloatArray:
    """Variance of each pair's displacement that the months do not tell, m^2."""
    cross, out = pair_rows(network, to_month, PARTS), np.empty(len(design))
    for some in steps(*design.shape):
        rows = design[some]
        known = 2 * np.einsum("ij,ij->i", rows, cross[some])
        known -= np.einsum("ij,ij->i", rows @ covariance, rows)
        out[some] = _own_variance(network.overlap_years(PARTS, some), fine) - known
    return np.maximum(out, 0.0)


def _own_variance(parts: sparse.csr_array, fine: FloatArray) -> FloatArray:
    """Prior variance of each pair's displacement about the level, m^2."""
    out = np.empty(parts.shape[0])
    for i in range(len(out)):
        some = slice(parts.indptr[i], parts.indptr[i + 1])
        share, begin = parts.data[some], parts.indices[some][0]
        out[i] = share @ fine[begin : begin + len(share), begin : begin + len(share)] @ share
    return out
