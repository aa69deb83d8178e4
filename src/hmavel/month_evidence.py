"""How probable the displacements of cells are under a prior, and the slopes of that.

What the prior is learnt by (``month_fit``). The pairs of a cell enter as the little that they
say about months, so that a new prior costs the same for ten pairs as for a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

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


@dataclass(frozen=True)
class Information:
    """What the pairs of a cell say about months, whatever the prior."""

    matrix: FloatArray  #: (n, n) O' C^-1 O
    vector: FloatArray  #: (n,) O' C^-1 d
    square: float  #: d' C^-1 d
    log_det: float  #: log |C|
    count: int


def information(
    cell: Cell, scenes: SceneErrors, design: FloatArray, unresolved: FloatArray
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
        normal[:-1, :-1], normal[:-1, -1], float(normal[-1, -1]), float(log_det), len(i)
    )


@dataclass(frozen=True)
class Evidence:
    """Minus the log evidence of all cells, constants aside, and its slopes along ..."""

    value: float
    by_number: FloatArray  #: ... ``h.log``
    by_season: FloatArray  #: ... the log pace of the season's clock
    by_event: FloatArray  #: ... the log pace of the event's clock
    by_burst: FloatArray  #: ... ``h.log_burst``, 0 without a burst


def evidence(
    cells: Sequence[Information], h: Hyperparameters, months: TimeArray
) -> Evidence:
    """Evaluate the evidence and its slopes.

    With A = O'C^-1 O, alpha = O'(OKO' + C)^-1 d and W = A - A S A (S the posterior covariance),
    d log p / d theta = (alpha' dK alpha - tr(W dK)) / 2.
    """
    n = len(months)
    calendar = (np.arange(n) + int(months[0].astype(int))) % 12
    phase, phase_slope = season_phase(h.season_log_pace())
    year, apart = season_shape(phase, h.shape)
    gain, gain_slope = season_gain(h)
    year *= np.outer(gain, gain)
    lag = linalg.toeplitz(np.arange(n) / 12)
    every_year = h.season**2 * _month_means(year)[np.ix_(calendar, calendar)]
    kept, passed, forgotten = matern(lag, h.memory)
    season = every_year * kept
    fade = h.season**2 * kept
    pace = np.exp(h.event_log_pace(months)) / 12
    clock = np.cumsum(pace) - pace / 2
    step = clock[:, None] - clock
    event, x, fall = matern(step, h.duration)
    covariance = season + h.event**2 * event + h.level**2
    # The second keeps the factorisation going where level and season are far apart.
    nugget = 1e-6 * (np.max(gain) ** 2 * h.season**2 + h.event**2)
    covariance[np.diag_indices(n)] += nugget + 1e-12 * h.level**2

    value, noise_slope, pull = _sum_over_cells(cells, covariance, h.noise)
    pull *= -0.5
    slope = np.empty(6)
    slope[0] = 2 * np.sum(pull * season)
    by_shape = _month_means(2 * apart * year)[np.ix_(calendar, calendar)]
    slope[1] = np.sum(pull * fade * by_shape)
    slope[2] = np.sum(pull * every_year * forgotten * passed**2)
    slope[3] = 2 * h.event**2 * np.sum(pull * event)
    slope[4] = h.event**2 * np.sum(pull * fall * x**2)
    slope[5] = noise_slope

    in_month = np.eye(12)[calendar]
    pull_year = in_month.T @ (pull * fade) @ in_month / PARTS**2
    pull_year = np.repeat(np.repeat(pull_year, PARTS, axis=0), PARTS, axis=1)
    turn = np.sin(2 * np.pi * (phase[:, None] - phase)) * year
    by_phase = -4 * np.pi / h.shape**2 * np.sum(pull_year * turn, axis=1)
    by_gain = 2 * np.sum(pull_year * year, axis=1)
    by_clock = -6 * (h.event / h.duration) ** 2 * np.sum(pull * fall * step, axis=1)
    # A month's pace moves its own centre by half, all later ones by the whole.
    later = np.cumsum(by_clock[::-1])[::-1] - by_clock / 2
    return Evidence(
        value, slope, phase_slope.T @ by_phase, later * pace, gain_slope.T @ by_gain
    )


def _month_means(year: FloatArray) -> FloatArray:
    return np.asarray(year.reshape(12, PARTS, 12, PARTS).mean(axis=(1, 3)))


def _sum_over_cells(
    cells: Sequence[Information], covariance: FloatArray, noise: float
) -> tuple[float, float, FloatArray]:
    """Minus log evidence, its slope along log noise, and the sum of alpha alpha' - W."""
    n = len(covariance)
    root = linalg.cholesky(covariance, lower=True)
    f2 = noise**2
    value: float = 0.0
    noise_slope: float = 0.0
    pull: FloatArray = np.zeros((n, n))
    for c in cells:
        a, b = c.matrix / f2, c.vector / f2
        inner = root.T @ a @ root
        inner[np.diag_indices(n)] += 1.0
        factor = linalg.cholesky(inner, lower=True, overwrite_a=True)
        x = linalg.solve_triangular(factor, root.T, lower=True).T
        mean = x @ (x.T @ b)
        log_det = 2 * np.log(np.diag(factor)).sum() + c.log_det + c.count * np.log(f2)
        quad = c.square / f2 - b @ mean
        value += 0.5 * float(quad + log_det)
        ax = a @ x
        gain = a - ax @ ax.T
        alpha = b - a @ mean
        pull += np.outer(alpha, alpha) - gain
        noise_slope -= float(quad - alpha @ covariance @ alpha)
        noise_slope += float(c.count - np.einsum("ij,ij->", gain, covariance))
    return value, noise_slope, pull
