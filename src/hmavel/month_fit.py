"""The prior's numbers from the pairs themselves: marginal likelihood over a sample of cells.

A glacier has a trunk, margins and dead ice, which no single prior fits. So the sample is sorted
into a few classes with numbers of their own, and every cell later takes the class under which
its pairs are most probable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from hmavel._types import FloatArray, TimeArray
from hmavel.month_evidence import Information, evidence, information, misfits
from hmavel.month_gp import Cell, Design, SceneErrors, leave_out, scene_errors
from hmavel.month_kernel import SEASON_STEPS, Hyperparameters, month_prior
from hmavel.month_path import overlap_rows
from hmavel.month_screen import USED, match_weights, reweigh_cell
from hmavel.network import PairNetwork

#: Medians of the log-normal priors, and the standard deviations of their logarithms.
TYPICAL = Hyperparameters(
    level=1000.0, season=5.0, shape=0.8, memory=10.0, event=5.0, duration=0.4, noise=1.0
)
SPREAD = np.array([2.0, 0.5, 1.0, 2.0, 0.6, 0.4])
#: Standard deviations that the search may go from the median.
_FARTHEST = 4.0
#: A season is round or a short speed-up: two medians of its shape, the likelier is taken.
_SHAPES = (0.9, 0.2)
#: Standard deviation of the log pace of the clocks, and the time over which it is kept, years.
_PACE_SPREAD = 1.0
_SEASON_KEEPS, _EVENT_KEEPS = 0.08, 0.3
#: Where the search starts (season and event, m/yr, and the season's shape): a quiet cell, a
#: round season, a short speed-up, an event.
_STARTS = ((1.0, 1.0, 0.9), (30.0, 3.0, 0.9), (30.0, 3.0, 0.2), (3.0, 100.0, 0.9))
#: Of the burst: log size, time of year, log width; medians (any time) and spreads.
_BURST = np.array([np.log(3.0), 0.0, np.log(0.05)])
_BURST_SPREAD = np.array([1.0, 1.0, 0.5])
#: Log evidence that the burst must bring.
_BURST_PRICE = 3.5
#: Log evidence that a short speed-up must bring over a round season: where the pairs leave
#: part of the year unseen, noise makes either as likely, and the former costs thrice as much
#: where it is not there.
_SHORT_PRICE = 3.5
#: Log evidence that the clocks together must bring.
_CLOCK_PRICE = 3.0
#: Season and event, m/yr, that are as good as none, and the log evidence that more of either
#: must bring: below its summit the evidence is flat, so that the summit is noise's as a rule.
_QUIET_SEASON, _QUIET_EVENT, _QUIET_PRICE = 1.2, 0.3, 1.0
#: Log evidence that another class must bring.
_CLASS_PRICE = 12.0
_MOST_CLASSES = 4
#: Rounds and least number of misfits by which the noise is calibrated; median of |z|.
_CALIBRATIONS, _FEW, _HALF_NORMAL = 2, 60, 0.6745
_MOST_CHANGE = 2.0
#: Errors of scenes that are tried, as shares of the typical stated error of a match.
_SCENE_SHARES = (0.0, 0.2, 0.4, 0.6, 0.9, 1.3, 2.0)
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
    overlap = overlap_rows(network)
    nothing = np.zeros(len(overlap))
    cells = [_trimmed(cell) for cell in cells]
    known = information(cells, scenes, overlap, nothing)
    starts = [
        replace(TYPICAL, level=level, season=season, event=event, shape=shape)
        for season, event, shape in _STARTS
    ]
    single = [
        _Single(i, *found)
        for i in range(len(known))
        for found in _by_shape([_climb(known.take([i]), h, months) for h in starts])
    ]
    member = _sort_into_classes(known, single, months)

    classes = []
    for label in np.unique(member)[np.argsort(-np.unique(member, return_counts=True)[1])]:
        inside = np.flatnonzero(member == label)
        h = single[label].prior
        if len(inside) > 1:
            h = _climb(known.take(inside), h, months)[1]
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
    known = information(cells, scenes, prior.design, unresolved)
    plain, even = _climb(known, h, network.months)
    paced, uneven = _climb(known, even, network.months, clocks=True)
    clocks = plain - paced > _CLOCK_PRICE
    value, best = (paced, uneven) if clocks else (plain, even)
    start = _likeliest_burst(known, best, network.months)
    sudden, burst = _climb(known, start, network.months, clocks=clocks, burst=True)
    if value - sudden > _BURST_PRICE:
        best = burst
    return _calibrated(network, cells, scenes, _quieted(known, best, network.months))


def _quieted(
    known: Information, h: Hyperparameters, months: TimeArray
) -> Hyperparameters:
    """Lower season, event or both to almost nothing where the pairs hardly mind."""
    season, event = min(_QUIET_SEASON, h.season), min(_QUIET_EVENT, h.event)
    most = float(misfits(known, h, months).sum()) + _QUIET_PRICE
    for quiet in (replace(h, season=season, event=event), replace(h, season=season),
                  replace(h, event=event)):  # fmt: skip
        if float(misfits(known, quiet, months).sum()) < most:
            return quiet
    return h


def _calibrated(
    network: PairNetwork, cells: Sequence[Cell], scenes: SceneErrors, h: Hyperparameters
) -> Hyperparameters:
    """Set the noise by the core of the misfits, each pair held against all others.

    Real errors have longer tails than a Gaussian, to which the evidence stretches the noise;
    tails are what the weights are for. Nothing changes where the errors are Gaussian, and
    nothing by more than a factor of ``_MOST_CHANGE``.
    """
    learnt = h.noise
    for _ in range(_CALIBRATIONS):
        design = Design(month_prior(network, h), scenes)
        parts = []
        for cell in cells:
            left = leave_out(design, reweigh_cell(design, cell, 1))
            z = left.misfit / np.sqrt(left.variance)
            parts.append(z[match_weights(left.misfit, left.variance) >= USED])
        z = np.concatenate(parts)
        if len(z) < _FEW:
            return h
        core_size = float(np.median(np.abs(z))) / _HALF_NORMAL
        noise = np.clip(h.noise * core_size, learnt / _MOST_CHANGE, learnt * _MOST_CHANGE)
        h = replace(h, noise=float(noise))
    return h


def learn_scene_sigma(
    network: PairNetwork, cells: Sequence[Cell], level: float, typical: float
) -> float:
    """Find the error that the pairs of a scene share under which the cells are most probable.

    Parameters
    ----------
    cells
        A few cells, with first weights.
    level
        As for ``learn_classes``.
    typical
        Median stated error of a match, m: the scale on which is searched.

    Returns
    -------
    float
        m; in the units of the stated errors, whose factor (``Hyperparameters.noise``) is
        learnt beside it. 0 where sharing explains nothing.
    """
    overlap = overlap_rows(network)
    nothing = np.zeros(len(overlap))
    cells = [_trimmed(cell) for cell in cells]
    best = [
        replace(TYPICAL, level=level, season=season, event=event, shape=shape)
        for season, event, shape in _STARTS
    ]
    prior: list[Hyperparameters | None] = [None] * len(cells)
    cost = []
    for share in _SCENE_SHARES:
        scenes = scene_errors(network, share * typical)
        total = 0.0
        for k, cell in enumerate(cells):
            known = information([cell], scenes, overlap, nothing)
            near = prior[k]
            starts = best if near is None else [near]
            climbs = (_climb(known, h, network.months) for h in starts)
            value, prior[k] = min(climbs, key=_value)
            total += value
        cost.append(total)
    k = int(np.argmin(cost))
    if k == 0:
        return 0.0
    if k == len(cost) - 1:
        return float(_SCENE_SHARES[k] * typical)
    at = np.asarray(_SCENE_SHARES[k - 1 : k + 2])
    square, slope, _ = np.polyfit(at, np.asarray(cost[k - 1 : k + 2]), 2)
    return float(np.clip(-slope / (2 * square), at[0], at[2]) * typical)


def _likeliest_burst(
    known: Information, h: Hyperparameters, months: TimeArray
) -> Hyperparameters:
    """Try a burst in every half month: the evidence has a summit for each.

    Its season is short: a round one would make each year's burst the same but for its size.
    """
    size, _, width = np.exp(_BURST)
    season, shape = 0.5 * h.season, min(_SHAPES)
    tries = [
        replace(h, shape=shape, season=season, burst=size, burst_at=time, burst_width=width)
        for time in (np.arange(SEASON_STEPS) + 0.5) / SEASON_STEPS
    ]
    return min(tries, key=lambda one: float(misfits(known, one, months).sum()))


def _trimmed(cell: Cell) -> Cell:
    keep = cell.weight > _HOPELESS
    some = np.flatnonzero(keep) if keep.any() else np.arange(len(keep))
    some = some[:: 1 + len(some) // _MOST_PAIRS]
    return Cell(cell.pairs[some], cell.d[some], cell.variance[some], cell.weight[some])


@dataclass(frozen=True)
class _Single:
    """A prior that was learnt from one cell."""

    cell: int
    cost: float  #: minus its log evidence there, and what its numbers cost
    prior: Hyperparameters


def _by_shape(
    found: Sequence[tuple[float, Hyperparameters]],
) -> list[tuple[float, Hyperparameters]]:
    """Keep the likeliest round season and the likeliest short one of what was found."""
    kinds = ([one for one in found if _is_short(one[1]) == short] for short in (False, True))
    return [min(of_kind, key=_value) for of_kind in kinds if of_kind]


def _is_short(h: Hyperparameters) -> bool:
    """Whether a season is a short speed-up rather than round."""
    return _nearest_shape(h) == min(_SHAPES)


def _nearest_shape(h: Hyperparameters) -> float:
    """Return that of the two medians of the season's shape that holds for ``h``."""
    return min(_SHAPES, key=lambda shape: abs(np.log(shape / h.shape)))


def _sort_into_classes(
    known: Information, single: Sequence[_Single], months: TimeArray
) -> NDArray[np.intp]:
    """Choose few of the cells' own priors that serve all cells; return each cell's choice."""
    score = -np.array([misfits(known, one.prior, months) for one in single]).T
    price = [one.cost + score[one.cell, k] for k, one in enumerate(single)]
    price += _SHORT_PRICE * np.array([_is_short(one.prior) for one in single])
    chosen = [int(np.argmax(score.sum(axis=0) - price))]
    while len(chosen) < min(_MOST_CLASSES, len(known)):
        best = score[:, chosen].max(axis=1)
        gain = np.maximum(score - best[:, None], 0.0).sum(axis=0) - price
        if gain.max() < _CLASS_PRICE:
            break
        chosen.append(int(np.argmax(gain)))
    choice: NDArray[np.intp] = np.asarray(chosen)[np.argmax(score[:, chosen], axis=1)]
    return choice


def _value(result: tuple[float, Hyperparameters]) -> float:
    return result[0]


def _climb(
    known: Information,
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
    typical, k = replace(TYPICAL, shape=_nearest_shape(start)).log, len(SPREAD)
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
        found = evidence(known, at(x), months, paces=clocks or burst)
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
    bounds: list[tuple[float | None, float | None]] = [(-_FARTHEST, _FARTHEST)] * len(first)
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


@lru_cache(maxsize=8)
def _pace_root(steps: int, per_year: int, *, circular: bool = False) -> FloatArray:
    """Root of the prior covariance of a clock's log pace, which is kept for a while."""
    lag = np.arange(steps) / per_year
    if circular:
        correlation = np.exp(-np.minimum(lag, 1 - lag) / _SEASON_KEEPS)
    else:
        correlation = np.exp(-lag / _EVENT_KEEPS)
    root: FloatArray = linalg.cholesky(linalg.toeplitz(correlation), lower=True)
    return _PACE_SPREAD * root
