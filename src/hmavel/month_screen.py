"""False matches: each pair of a cell is held against what all its other pairs predict.

First under a loose prior that any glacier could obey, so that a surge is not taken for a
false match; then under the prior that was learnt. Many cells at once: here scene errors count
as each pair's own, so that all that differs between cells is a small matrix of modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hmavel._types import BoolArray, FloatArray
from hmavel.medians import median_of_known
from hmavel.month_gp import Cell, Design, SceneErrors, leave_out
from hmavel.month_kernel import Hyperparameters, MonthPrior, month_prior
from hmavel.month_path import steps
from hmavel.network import PairNetwork

#: Share of false matches expected, and the displacement within which they fall, m.
FALSE_SHARE = 0.05
FALSE_REACH = 90.0
#: A pair whose match is right with less than this probability is not counted.
USED = 0.5
_FLOOR = 1e-6
#: Standard deviation of the loose prior, m/yr, at least; and its share of the cell's level.
_LOOSE_EVENT = 150.0
_LOOSE_SHARE = 0.5
_LOOSE_DURATION = 0.4
#: Share of the loose prior's sd that its modes need not explain.
_LOOSE_CUT = 0.15
#: Speed, m/yr, that the first loose prior is for; each next one is for so many times more.
_RUNG_SPEED, _RUNG = 75.0, 4.0


@dataclass(frozen=True)
class Batch:
    """Pairs of several cells; arrays (cells, p), with harmless numbers where not valid."""

    d: FloatArray  #: displacement, m
    variance: FloatArray  #: of the match, m^2
    weight: FloatArray  #: 0 ... 1
    valid: BoolArray

    def take(self, cells: NDArray[np.intp]) -> Batch:
        """Return some of the cells."""
        return Batch(self.d[cells], self.variance[cells], self.weight[cells], self.valid[cells])

    def cell(self, c: int) -> Cell:
        """Return the valid pairs of one cell."""
        i = np.flatnonzero(self.valid[c])
        return Cell(i, self.d[c, i], self.variance[c, i], self.weight[c, i])


def make_batch(network: PairNetwork, v: FloatArray, sigma: FloatArray) -> Batch:
    """Turn velocities (p, cells), NaN = missing, into displacements of cells, weights 1."""
    valid = (np.isfinite(v) & np.isfinite(sigma)).T
    years = network.baseline_years
    d = np.where(valid, v.T * years, 0.0)
    variance = np.where(valid, (sigma.T * years) ** 2, 1.0)
    return Batch(d, variance, np.ones(d.shape), valid)


@dataclass(frozen=True)
class Agreement:
    """How each pair agrees with the others; arrays (cells, p) unless said."""

    misfit: FloatArray  #: m
    variance: FloatArray  #: what the misfit should have if the match is right, m^2
    log_evidence: FloatArray  #: (cells,) constants aside


def loose_prior(network: PairNetwork, level: float, speed: float) -> MonthPrior:
    """Make a prior that lets a month be almost anything: sd 150 m/yr, or half of ``speed``."""
    event = max(_LOOSE_EVENT, _LOOSE_SHARE * speed)
    loose = Hyperparameters(level, 1e-3, 1.0, 10.0, event, _LOOSE_DURATION)
    return month_prior(network, loose).cut((_LOOSE_CUT * event) ** 2)


def agree(prior: MonthPrior, scenes: SceneErrors, batch: Batch) -> Agreement:
    """Predict each pair of each cell from the cell's other pairs.

    Like ``month_gp.leave_out`` with independent scenes, for many cells in a few products:
    the normal matrices are weighted sums of the pairs' mode products, and the leverages are
    sums of the same products weighted by the inverse matrices.
    """
    g = prior.pair_modes
    cells, (p, r) = len(batch.d), g.shape
    own = scenes.variance * prior.parameters.noise**2 + prior.unresolved
    total = batch.variance * prior.parameters.noise**2 + own
    w = np.where(batch.valid, batch.weight / total, 0.0)
    low, high = np.tril_indices(r)
    packed: FloatArray = np.zeros((cells, len(low)))
    for some in steps(p, len(low)):
        rows = g[some]
        packed += w[:, some] @ (rows[:, low] * rows[:, high])
    normal = np.zeros((cells, r, r))
    normal[:, low, high] = packed
    normal[:, high, low] = packed
    normal[:, np.arange(r), np.arange(r)] += 1.0
    inverse = np.linalg.inv(normal)
    right, fit = np.zeros((cells, r)), np.empty((cells, p))
    for some in steps(p, r):
        right += (w * batch.d)[:, some] @ g[some]
    modes = (inverse @ right[:, :, None])[:, :, 0]
    packed = inverse[:, low, high] * np.where(low == high, 1.0, 2.0)
    spread = np.empty((cells, p))
    for some in steps(p, len(low)):
        rows = g[some]
        spread[:, some] = packed @ (rows[:, low] * rows[:, high]).T
    rest = np.maximum(1.0 - spread * w, 1e-9)
    quad = (w * batch.d**2).sum(axis=1) - np.einsum("ci,ci->c", right, modes)
    log_det = np.linalg.slogdet(normal)[1]
    log_det += np.log(np.where(batch.valid, total / batch.weight, 1.0)).sum(axis=1)
    for some in steps(p, r):
        fit[:, some] = modes @ g[some].T
    misfit = (batch.d - fit) / rest
    return Agreement(misfit, total + spread / rest, -0.5 * (quad + log_det))


def first_weights(
    prior: MonthPrior, scenes: SceneErrors, batch: Batch, rounds: int = 3
) -> Batch:
    """Weigh the pairs of cells under the loose prior, from equal weights."""
    batch = replace(batch, weight=np.ones(batch.d.shape))
    for turn in range(rounds):
        found = agree(prior, scenes, batch)
        # Many false matches at once hide each other: lower them all a little first.
        mild = 1 / (1 + found.misfit**2 / found.variance / 4)
        strict = match_weights(found.misfit, found.variance)
        batch = replace(batch, weight=mild if turn < 1 else strict)
    return batch


def loose_priors(network: PairNetwork, level: float, batch: Batch) -> tuple[MonthPrior, ...]:
    """Make a loose prior for each rung of speed that the cells of ``batch`` reach."""
    rungs = 1 + int(_rung(typical_speeds(network, batch)).max())
    return tuple(loose_prior(network, level, _RUNG_SPEED * _RUNG**k) for k in range(rungs))


def first_weights_by_speed(
    network: PairNetwork, loose: Sequence[MonthPrior], scenes: SceneErrors, batch: Batch
) -> Batch:
    """Weigh the pairs of all cells under the loose prior that suits their speed."""
    rung = np.minimum(_rung(typical_speeds(network, batch)), len(loose) - 1)
    weight = batch.weight.copy()
    for k in np.unique(rung):
        some = np.flatnonzero(rung == k)
        weight[some] = first_weights(loose[k], scenes, batch.take(some)).weight
    return replace(batch, weight=weight)


def _rung(speed: FloatArray) -> NDArray[np.intp]:
    steps = np.log(np.maximum(speed / _RUNG_SPEED, 1.0)) / np.log(_RUNG)
    return np.asarray(np.ceil(steps), np.intp)


def typical_speeds(network: PairNetwork, batch: Batch) -> FloatArray:
    """Robust size of each cell's velocity, m/yr: median over the better half of its pairs."""
    years = network.baseline_years
    error = np.where(batch.valid, np.sqrt(batch.variance) / years, np.nan)
    best = error <= median_of_known(error, axis=1)[:, None]
    return np.abs(median_of_known(np.where(best, batch.d / years, np.nan), axis=1))


def reweigh(prior: MonthPrior, scenes: SceneErrors, batch: Batch, rounds: int = 2) -> Batch:
    """Weigh the pairs of cells again under the learnt prior, from the weights they have."""
    for _ in range(rounds):
        found = agree(prior, scenes, batch)
        batch = replace(batch, weight=match_weights(found.misfit, found.variance))
    return batch


def reweigh_cell(design: Design, cell: Cell, rounds: int = 2) -> Cell:
    """Do the same to one cell, with the scene errors shared as they are."""
    for _ in range(rounds):
        left = leave_out(design, cell)
        cell = replace(cell, weight=match_weights(left.misfit, left.variance))
    return cell


def match_weights(misfit: FloatArray, variance: FloatArray) -> FloatArray:
    """Probability that each match is right: its misfit is normal, a false one's is flat.

    It divides the match's variance, as a Tukey weight would, but falls off where a false match
    becomes the better explanation: late for a pair that is hard to predict, early for others.
    Never quite 0, so that it can be divided by.
    """
    right: FloatArray = np.exp(-0.5 * misfit**2 / variance) / np.sqrt(2 * np.pi * variance)
    right *= 1 - FALSE_SHARE
    weight: FloatArray = right / (right + FALSE_SHARE / (2 * FALSE_REACH))
    return np.maximum(weight, _FLOOR)
