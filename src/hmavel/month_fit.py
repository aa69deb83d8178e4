"""The prior's numbers from the pairs themselves: marginal likelihood over a sample of cells.

A glacier has a trunk, margins and dead ice, which no single prior fits. So the sample is sorted
into a few classes with numbers of their own, and every cell later takes the class under which
its pairs are most probable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, sparse

from hmavel._types import FloatArray, TimeArray
from hmavel.month_gp import Cell, Design, SceneErrors
from hmavel.month_kernel import (
    PARTS,
    SEASON_STEPS,
    Hyperparameters,
    matern,
    month_prior,
    season_gain,
    season_phase,
    season_shape,
)
from hmavel.month_screen import reweigh_cell
from hmavel.network import PairNetwork

#: Medians of the log-normal priors, and the standard deviations of their logarithms.
TYPICAL = Hyperparameters(
    level=1000.0, season=5.0, shape=0.8, memory=10.0, event=5.0, duration=0.4, noise=1.0
)
SPREAD = np.array([1.5, 0.5, 0.8, 1.5, 0.6, 0.15])
#: A season is round or a short speed-up: two medians of its shape, the likelier is taken.
_SHAPES = (0.9, 0.2)
#: Standard deviation of the log pace of the clocks, and the time over which it is kept, years.
_PACE_SPREAD = 1.0
_SEASON_KEEPS, _EVENT_KEEPS = 0.08, 0.3
#: Where the search starts (season and event, m/yr, and the season's shape): a quiet cell, a
#: round season, a short speed-up, an event.
_STARTS = ((1.0, 1.0, 0.9), (30.0, 3.0, 0.9), (30.0, 3.0, 0.2), (3.0, 100.0, 0.9))
#: Of the burst: log size, time of year, log width; medians (any time) and spreads.
_BURST = np.array([np.log(2.0), 0.0, np.log(0.05)])
_BURST_SPREAD = np.array([0.8, 1.0, 0.5])
#: Log evidence that the burst must bring.
_BURST_PRICE = 5.0
#: Log evidence that the clocks together must bring.
_CLOCK_PRICE = 1.2
#: Log evidence that another class must bring.
_CLASS_PRICE = 12.0
_MOST_CLASSES = 4
#: Pairs that are certainly false say nothing and only cost time.
_HOPELESS = 1e-3
#: Pairs of a cell that the prior is learnt from at most, evenly drawn.
_MOST_PAIRS = 4000


def learn_classes(
    network: PairNetwork, cells: Sequence[Cell], scenes: SceneErrors, level: float
) -> list[Hyperparameters]:
    """Find the priors under which the sample's displacements are most probable.

    Parameters
    ----------
    cells
        The sample, with first weights. Cells count as independent of each other.
    level
        Standard deviation of the level, m/yr; not learnt, to be taken so wide that it does not
        pull a cell with few pairs towards zero.

    Returns
    -------
    list of Hyperparameters
        One per class, the most common first.
    """
    months = network.months
    overlap = network.overlap_years().toarray()
    nothing = np.zeros(len(overlap))
    cells = [_trimmed(cell) for cell in cells]
    known = [_information(cell, scenes, overlap, nothing) for cell in cells]
    starts = [
        replace(TYPICAL, level=level, season=season, event=event, shape=shape)
        for season, event, shape in _STARTS
    ]
    single = [min((_climb([k], h, months) for h in starts), key=_value)[1] for k in known]
    member = _sort_into_classes(known, single, months)

    classes = []
    for label in np.unique(member)[np.argsort(-np.unique(member, return_counts=True)[1])]:
        inside = np.flatnonzero(member == label)
        h = single[label]
        if len(inside) > 1:
            h = _climb([known[i] for i in inside], h, months)[1]
        classes.append(_refined(network, [cells[i] for i in inside], scenes, h))
    return classes


def _refined(
    network: PairNetwork,
    cells: Sequence[Cell],
    scenes: SceneErrors,
    h: Hyperparameters,
) -> Hyperparameters:
    """Fit again, clocks too, with the weights and unresolved part of the first fit."""
    prior = month_prior(network, h)
    cells = [_trimmed(reweigh_cell(Design(prior, scenes), cell)) for cell in cells]
    # The search scales all of C by noise^2, of which this part is not stated error.
    unresolved = prior.unresolved / h.noise**2
    known = [_information(cell, scenes, prior.design, unresolved) for cell in cells]
    plain, even = _climb(known, h, network.months)
    paced, uneven = _climb(known, even, network.months, clocks=True)
    value, best = (paced, uneven) if plain - paced > _CLOCK_PRICE else (plain, even)
    starts = [
        replace(even, shape=shape, burst=4.0, burst_at=time, burst_width=0.05, season=0.5 * even.season)
        for time in (np.arange(24) + 0.5) / 24
        for shape in _SHAPES
    ]
    start = min(starts, key=lambda h: _evidence(known, h, network.months).value)
    sudden, burst = _climb(known, start, network.months, clocks=True, burst=True)
    DEBUG.append((plain, paced, sudden, burst))
    return burst if value - sudden > _BURST_PRICE else best
DEBUG = []


def _trimmed(cell: Cell) -> Cell:
    keep = cell.weight > _HOPELESS
    some = np.flatnonzero(keep) if keep.any() else np.arange(len(keep))
    some = some[:: 1 + len(some) // _MOST_PAIRS]
    return Cell(cell.pairs[some], cell.d[some], cell.variance[some], cell.weight[some])


@dataclass(frozen=True)
class _Information:
    """What the pairs of a cell say about months, whatever the prior."""

    matrix: FloatArray  #: (n, n) O' C^-1 O
    vector: FloatArray  #: (n,) O' C^-1 d
    square: float  #: d' C^-1 d
    log_det: float  #: log |C|
    count: int


def _information(
    cell: Cell, scenes: SceneErrors, design: FloatArray, unresolved: FloatArray
) -> _Information:
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
    return _Information(
        normal[:-1, :-1], normal[:-1, -1], float(normal[-1, -1]), float(log_det), len(i)
    )


def _sort_into_classes(
    known: Sequence[_Information],
    single: Sequence[Hyperparameters],
    months: TimeArray,
) -> NDArray[np.intp]:
    """Choose few of the cells' own priors that serve all cells; return each cell's choice."""
    count = len(known)
    if count == 1:
        return np.zeros(1, dtype=np.intp)
    score = np.array([[-_evidence([k], h, months).value for h in single] for k in known])
    chosen = [int(np.argmax(score.sum(axis=0)))]
    while len(chosen) < min(_MOST_CLASSES, count):
        best = score[:, chosen].max(axis=1)
        gain = np.maximum(score - best[:, None], 0.0).sum(axis=0)
        if gain.max() < _CLASS_PRICE:
            break
        chosen.append(int(np.argmax(gain)))
    choice: NDArray[np.intp] = np.asarray(chosen)[np.argmax(score[:, chosen], axis=1)]
    return choice


def _value(result: tuple[float, Hyperparameters]) -> float:
    return result[0]


def _climb(
    cells: Sequence[_Information],
    start: Hyperparameters,
    months: TimeArray,
    *,
    clocks: bool = False,
    burst: bool = False,
) -> tuple[float, Hyperparameters]:
    """Follow the slope of the evidence, times the log-normal priors, from ``start``.

    ``clocks`` sets the paces free as well, ``burst`` the three numbers of the burst.
    """
    n = len(months)
    nearest = min(_SHAPES, key=lambda shape: abs(np.log(shape / start.shape)))
    typical, k = replace(TYPICAL, shape=nearest).log, len(SPREAD)
    season_root, event_root = _pace_root(SEASON_STEPS, 24, circular=True), _pace_root(n, 12)
    if start.event_from is not None:
        # Later clocks are counted from where the first ones stand.
        event_base, season_base = start.event_log_pace(months), start.season_log_pace()
    else:
        event_base, season_base = np.zeros(n), np.zeros(SEASON_STEPS)
    event_at = k + SEASON_STEPS
    burst_at = event_at + n if clocks else k

    def at(x: FloatArray) -> Hyperparameters:
        h = start.with_log(typical + SPREAD * x[:k])
        if clocks:
            h = replace(
                h,
                season_pace=tuple(np.exp(season_root @ x[k:event_at])),
                event_pace=tuple(np.exp(event_root @ x[event_at:burst_at])),
                event_from=months[0],
            )
        return h.with_burst(_BURST + _BURST_SPREAD * x[burst_at:]) if burst else h

    def objective(x: FloatArray) -> tuple[float, FloatArray]:
        found = _evidence(cells, at(x), months)
        slopes = [found.by_number * SPREAD]
        if clocks:
            slopes += [season_root.T @ found.by_season, event_root.T @ found.by_event]
        if burst:
            slopes.append(found.by_burst * _BURST_SPREAD)
        price = x.copy()
        if burst:
            price[burst_at + 1] = 0.0  # any time of year is as likely
        return found.value + 0.5 * float(price @ price), np.concatenate(slopes) + price

    first = np.zeros(burst_at + 3 * burst)
    first[:k] = (start.log - typical) / SPREAD
    if clocks and start.season_pace:
        first[k:event_at] = linalg.solve_triangular(season_root, season_base, lower=True)
        first[event_at:burst_at] = linalg.solve_triangular(event_root, event_base, lower=True)
    if burst:
        first[burst_at:] = (start.log_burst - _BURST) / _BURST_SPREAD
    bounds: list[tuple[float | None, float | None]] = [(-5, 5)] * len(first)
    if burst:
        bounds[burst_at + 1] = (None, None)
    found = optimize.minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 60, "ftol": 1e-7, "gtol": 1e-3},
    )
    return float(found.fun), at(found.x)


def _pace_root(steps: int, per_year: int, *, circular: bool = False) -> FloatArray:
    """Root of the prior covariance of a clock's log pace, which is kept for a while."""
    lag = np.arange(steps) / per_year
    if circular:
        correlation = np.exp(-np.minimum(lag, 1 - lag) / _SEASON_KEEPS)
    else:
        correlation = np.exp(-lag / _EVENT_KEEPS)
    root: FloatArray = linalg.cholesky(linalg.toeplitz(correlation), lower=True)
    return _PACE_SPREAD * root


@dataclass(frozen=True)
class _Evidence:
    """Minus the log evidence of all cells, constants aside, and its slopes along ..."""

    value: float
    by_number: FloatArray  #: ... ``h.log``
    by_season: FloatArray  #: ... the log pace of the season's clock
    by_event: FloatArray  #: ... the log pace of the event's clock
    by_burst: FloatArray  #: ... ``h.log_burst``, 0 without a burst


def _evidence(
    cells: Sequence[_Information], h: Hyperparameters, months: TimeArray
) -> _Evidence:
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
    fade = h.season**2 * np.exp(-lag / h.memory)
    season = _month_means(year)[np.ix_(calendar, calendar)] * fade
    pace = np.exp(h.event_log_pace(months)) / 12
    clock = np.cumsum(pace) - pace / 2
    step = clock[:, None] - clock
    event, x, fall = matern(step, h.duration)
    covariance = season + h.event**2 * event + h.level**2
    # The second keeps the factorisation going where level and season are far apart.
    covariance[np.diag_indices(n)] += 1e-6 * (h.season**2 + h.event**2) + 1e-12 * h.level**2

    value, noise_slope, pull = _sum_over_cells(cells, covariance, h.noise)
    pull *= -0.5
    slope = np.empty(6)
    slope[0] = 2 * np.sum(pull * season)
    by_shape = _month_means(2 * apart * year)[np.ix_(calendar, calendar)]
    slope[1] = np.sum(pull * fade * by_shape)
    slope[2] = np.sum(pull * season * lag) / h.memory
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
    return _Evidence(
        value, slope, phase_slope.T @ by_phase, later * pace, gain_slope.T @ by_gain
    )


def _month_means(year: FloatArray) -> FloatArray:
    return np.asarray(year.reshape(12, PARTS, 12, PARTS).mean(axis=(1, 3)))


def _sum_over_cells(
    cells: Sequence[_Information], covariance: FloatArray, noise: float
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
