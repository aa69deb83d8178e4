"""How probable the displacements of cells are under a prior, and the slopes of that.

What the prior is learnt by (``month_fit``). The pairs of a cell enter as the little that they
say about months, so that a new prior costs the same for ten pairs as for a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.linalg import blas, lapack

from hmavel._types import FloatArray, TimeArray
from hmavel.month_gp import Cell, SceneErrors
from hmavel.month_kernel import (
    PARTS,
    Hyperparameters,
    matern,
    season_gain,
    season_phase,
    season_shape,
)
from hmavel.month_path import PairRows


@dataclass(frozen=True)
class Information:
    """What the pairs of a cell say about months, whatever the prior."""

    matrix: FloatArray  #: (n, n) O' C^-1 O
    vector: FloatArray  #: (n,) O' C^-1 d
    square: float  #: d' C^-1 d
    log_det: float  #: log |C|
    count: int


def information(
    cell: Cell, scenes: SceneErrors, design: PairRows, unresolved: FloatArray
) -> Information:
    """Sum up the pairs of a cell; ``unresolved`` (p,), m^2, is added to their variance."""
    i = cell.pairs
    w = cell.weight / (cell.variance + scenes.variance[i] + unresolved[i])
    columns = np.hstack([design[i], cell.d[:, None]])
    normal = (columns * w[:, None]).T @ columns
    log_det = -np.log(w).sum()
    if scenes.count:
        matrix = scenes.matrix(i)
        weighted = (sparse.diags_array(w) @ matrix).T.tocsr()
        inner = (weighted @ matrix).toarray() + np.eye(scenes.count)
        factor = linalg.cholesky(inner, lower=True)
        cross = linalg.solve_triangular(factor, weighted @ columns, lower=True)
        normal -= cross.T @ cross
        log_det += 2 * np.log(np.diag(factor)).sum()
    return Information(
        np.asfortranarray(normal[:-1, :-1]), normal[:-1, -1], float(normal[-1, -1]),
        float(log_det), len(i),
    )  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Minus the log evidence of all cells, constants aside, and its slopes along ..."""

    value: float
    by_number: FloatArray  #: ... ``h.log``
    by_season: FloatArray  #: ... the log pace of the season's clock; empty where not asked for
    by_event: FloatArray  #: ... the log pace of the event's clock; the same
    by_burst: FloatArray  #: ... ``h.log_burst``, 0 without a burst; the same


def misfits(
    cells: Sequence[Information], h: Hyperparameters, months: TimeArray
) -> FloatArray:
    """Return minus the log evidence of each cell, constants aside, without slopes."""
    covariance = _Covariance(h, months).whole
    root = _root(covariance)
    return np.array([_factorised(c, root, h.noise)[0] for c in cells])


def evidence(
    cells: Sequence[Information], h: Hyperparameters, months: TimeArray, *, paces: bool = True
) -> Evidence:
    """Evaluate the evidence and its slopes.

    ``paces=False`` leaves out those along the clocks and the burst.

    With A = O'C^-1 O, alpha = O'(OKO' + C)^-1 d and W = A - A S A (S the posterior covariance),
    d log p / d theta = (alpha' dK alpha - tr(W dK)) / 2.
    """
    k = _Covariance(h, months)
    value, noise_slope, pull = _sum_over_cells(cells, k.whole, h.noise)
    pull *= -0.5
    _, in_month, _ = _calendar(len(months), int(months[0].astype(int)))
    pull_kept = pull * k.kept
    by_month = in_month.T @ pull_kept @ in_month
    by_age = in_month.T @ (pull * k.aged) @ in_month
    slope = np.empty(6)
    slope[0] = 2 * np.vdot(by_month, k.season)
    slope[1] = h.season**2 * np.vdot(by_month, _month_means(2 * k.apart * k.year))
    slope[2] = np.vdot(by_age, k.season)
    slope[3] = 2 * h.event**2 * np.vdot(pull, k.event)
    pull *= k.fall  # used up: what follows needs no other
    slope[4] = h.event**2 * np.vdot(pull, k.x * k.x)
    slope[5] = noise_slope
    if not paces:
        none = np.empty(0)
        return Evidence(value, slope, none, none, none)

    pull_year = by_month * (h.season / PARTS) ** 2
    pull_year = np.repeat(np.repeat(pull_year, PARTS, axis=0), PARTS, axis=1)
    pull_year *= k.year
    turn = np.sin(2 * np.pi * (k.phase[:, None] - k.phase))
    by_phase = -4 * np.pi / h.shape**2 * np.einsum("ij,ij->i", pull_year, turn)
    by_gain = 2 * np.sum(pull_year, axis=1)
    by_clock = np.einsum("ij,ij->i", pull, k.clock[:, None] - k.clock)
    by_clock *= -6 * (h.event / h.duration) ** 2
    # A month's pace moves its own centre by half, all later ones by the whole.
    later = np.cumsum(by_clock[::-1])[::-1] - by_clock / 2
    return Evidence(
        value, slope, k.phase_slope.T @ by_phase, later * k.pace, k.gain_slope.T @ by_gain
    )


class _Covariance:
    """The prior covariance of the months, with the parts that its slopes are made of."""

    def __init__(self, h: Hyperparameters, months: TimeArray) -> None:
        n = len(months)
        calendar, _, lag = _calendar(n, int(months[0].astype(int)))
        self.phase, self.phase_slope = season_phase(h.season_log_pace())
        self.year, self.apart = season_shape(self.phase, h.shape)
        self.gain, self.gain_slope = season_gain(h)
        if h.burst:
            self.year *= self.gain[:, None] * self.gain
        #: (12, 12) of the season, between months of one year
        self.season = h.season**2 * _month_means(self.year)
        kept, passed, forgotten = matern(lag, h.memory)
        aged = forgotten * passed**2
        if h.event_from is None:  # the clock goes evenly
            self.pace, self.clock = _even_clock(n)
            by_lag = _toeplitz(kept, aged, *matern(lag, h.duration))
            self.event, self.x, self.fall = by_lag[2:]
        else:
            self.pace, self.clock = _clock(h.event_log_pace(months))
            by_lag = _toeplitz(kept, aged)
            step = self.clock[:, None] - self.clock
            self.event, self.x, self.fall = matern(step, h.duration)
        #: (n, n) what is left of the season, and the slope of that along log memory
        self.kept, self.aged = by_lag[:2]
        whole = self.season[:, calendar][calendar]
        whole *= self.kept
        whole += h.event**2 * self.event
        whole += h.level**2
        # The second keeps the factorisation going where level and season are far apart.
        most = np.max(self.gain) if h.burst else 1.0
        nugget = 1e-6 * (most**2 * h.season**2 + h.event**2)
        whole.reshape(-1)[:: n + 1] += nugget + 1e-12 * h.level**2
        self.whole = whole


@lru_cache(maxsize=4)
def _calendar(n: int, first: int) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Month of the year of each month, the same as (n, 12) of 0 and 1, and lags in years."""
    calendar = (np.arange(n) + first) % 12
    return calendar, np.eye(12)[calendar], np.arange(n) / 12


def _clock(log_pace: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the pace of the event's clock, years a month, and what it shows in each month."""
    pace = np.exp(log_pace) / 12
    return pace, np.cumsum(pace) - pace / 2


@lru_cache(maxsize=4)
def _even_clock(n: int) -> tuple[FloatArray, FloatArray]:
    return _clock(np.zeros(n))


def _toeplitz(*values: FloatArray) -> FloatArray:
    """Return (count, n, n) of what depends on the lag alone: a view, for reading."""
    by_lag = np.array(values)
    line = np.concatenate([by_lag[:, :0:-1], by_lag], axis=1)
    row, step = line.strides
    count, n = by_lag.shape
    view = as_strided(line[:, n - 1 :], (count, n, n), (row, -step, step), writeable=False)
    return np.asarray(view)


def _month_means(year: FloatArray) -> FloatArray:
    # What ``mean`` does, without what it looks after.
    total: FloatArray = np.add.reduce(year.reshape(12, PARTS, 12, PARTS), axis=(1, 3))
    return total / PARTS**2


@lru_cache(maxsize=4)
def _lower(n: int) -> NDArray[np.bool_]:
    """Return where the lower triangle of (n, n) is."""
    return np.tri(n, dtype=bool)


def _root(covariance: FloatArray) -> FloatArray:
    """Return the lower Cholesky factor, Fortran order."""
    root: FloatArray
    root, info = lapack.dpotrf(covariance, lower=1, clean=1)
    if info:
        raise linalg.LinAlgError(f"a bad pivot in row {info} of the months' prior covariance")
    return root


def _factorised(
    c: Information, root: FloatArray, noise: float
) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """Minus the log evidence; L'A, the factor F of I + L'AL, and F^-1 L'O'C^-1 d.

    With L, the root of the prior covariance, the matrix is graded: its first row alone has the
    level, which is a thousand times larger than the rest, and the others keep their digits.
    """
    f2 = noise**2
    part = blas.dtrmm(1.0 / f2, root, c.matrix, lower=1, trans_a=1)
    inner = blas.dtrmm(1.0, root, part, side=1, lower=1)
    inner.T.reshape(-1)[:: len(inner) + 1] += 1.0
    factor, info = lapack.dpotrf(inner, lower=1, overwrite_a=1, clean=0)
    if info:
        raise linalg.LinAlgError(f"a bad pivot in row {info} of what the pairs say of months")
    told = blas.dtrsv(factor, blas.dtrmv(root, c.vector, lower=1, trans=1), lower=1) / f2
    log_det = 2 * np.log(factor.diagonal()).sum() + c.log_det + c.count * np.log(f2)
    return float(0.5 * (c.square / f2 - told @ told + log_det)), part, factor, told


def _sum_over_cells(
    cells: Sequence[Information], covariance: FloatArray, noise: float
) -> tuple[float, float, FloatArray]:
    """Minus log evidence, its slope along log noise, and the sum of alpha alpha' - W."""
    f2 = noise**2
    root = _root(covariance)
    value = noise_slope = 0.0
    alphas = np.empty((len(covariance), len(cells)), order="F")
    minus = np.zeros(covariance.shape, order="F")  # the lower half of W
    for i, c in enumerate(cells):
        cost, part, factor, told = _factorised(c, root, noise)
        value += cost
        mean = blas.dtrmv(root, blas.dtrsv(factor, told, lower=1, trans=1), lower=1)
        alphas[:, i] = (c.vector - c.matrix @ mean) / f2
        part = blas.dtrsm(1.0, factor, part, lower=1, overwrite_b=1)
        minus += c.matrix / f2
        minus = blas.dsyrk(-1.0, part, beta=1.0, c=minus, trans=1, lower=1, overwrite_c=1)
        noise_slope += float(c.count - c.square / f2 + told @ told)
    pull = blas.dsyrk(1.0, alphas, beta=-1.0, c=minus, lower=1, overwrite_c=1)
    pull = np.where(_lower(len(pull)), pull, pull.T)
    # Of both at once: alpha' K alpha, and the trace of W K.
    noise_slope += float(np.vdot(pull, covariance))
    return value, noise_slope, pull
