"""False matches: each pair of a cell is held against what all its other pairs predict.

First under a loose prior that any glacier could obey, so that a surge is not taken for a
false match; then under the prior that was learnt.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hmavel._types import FloatArray
from hmavel.month_gp import Cell, Design, SceneErrors, leave_out
from hmavel.month_kernel import Hyperparameters, MonthPrior, month_prior
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
_LOOSE_DURATION = 0.3


def loose_prior(network: PairNetwork, level: float, speed: float) -> MonthPrior:
    """Make a prior that lets a month be almost anything: sd 150 m/yr, or half of ``speed``."""
    event = max(_LOOSE_EVENT, _LOOSE_SHARE * speed)
    loose = Hyperparameters(level, 1e-3, 1.0, 10.0, event, _LOOSE_DURATION)
    # Modes that a 16-day pair could not see (its sigma is some 50 m/yr) need not be solved.
    return month_prior(network, loose).cut((event / 30) ** 2)


def first_weights(prior: MonthPrior, scenes: SceneErrors, cell: Cell, rounds: int = 5) -> Cell:
    """Weigh the pairs of a cell under the loose prior, from equal weights."""
    design = Design(prior, scenes)
    cell = replace(cell, weight=np.ones(len(cell.d)))
    for turn in range(rounds):
        left = leave_out(design, cell)
        # Many false matches at once hide each other: lower them all a little first.
        mild = 1 / (1 + left.misfit**2 / left.variance / 4)
        strict = match_weights(left.misfit, left.variance)
        cell = replace(cell, weight=mild if turn < 2 else strict)
    return cell


def reweigh(design: Design, cell: Cell, rounds: int = 2) -> Cell:
    """Weigh the pairs of a cell again under the learnt prior, from the weights it has."""
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
    return np.maximum(right / (right + FALSE_SHARE / (2 * FALSE_REACH)), _FLOOR)
