"""Cells whose pairs contradict each other: which of them are right is not known.

One judgement for all methods. The Gaussian process holds each pair against the others under
the prior and the noise that it learnt; the other methods, which have neither, let it be done
under the loose prior that any glacier could obey, with noise by the core of the misfits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hmavel._types import BoolArray, FloatArray
from hmavel.month_gp import SceneErrors
from hmavel.month_kernel import MonthPrior
from hmavel.month_screen import FALSE_SHARE, USED, Batch, agree, first_weights_by_speed
from hmavel.network import PairNetwork

#: No month is measured in a cell where more than this share of the pairs is taken for false, or
#: was measured twice with contradictory results.
DOUBTFUL_SHARE = 1 / 3
#: Nor where twice as many as expected are, although errors count as so many times what they are
#: said to be: pairs that contradict each other, not errors that are understated.
DOUBTFUL_NOISE, _DOUBTFUL_TWICE = 2.5, 2 * FALSE_SHARE
#: Pairs that such a share means something of.
_DOUBTFUL_LEAST = 6
#: Rounds by which the noise is calibrated, its bound, and the median of |z| of a normal z.
_CALIBRATIONS, _MOST_NOISE, _HALF_NORMAL = 5, 5.0, 0.6745


def contradictory(valid: BoolArray, refused: BoolArray, noise: FloatArray) -> BoolArray:
    """Return the cells (cells,) whose pairs contradict each other.

    ``valid`` and ``refused`` are (cells, p), ``noise`` (cells,) by what the errors of a cell
    are multiplied where its pairs are judged.
    """
    count = valid.sum(axis=1)
    share = (valid & refused).sum(axis=1) / np.maximum(count, 1)
    most = np.where(noise > DOUBTFUL_NOISE, _DOUBTFUL_TWICE, DOUBTFUL_SHARE)
    return np.asarray((count >= _DOUBTFUL_LEAST) & (share > most))


def with_noise(
    network: PairNetwork, loose: Sequence[MonthPrior], scenes: SceneErrors, batch: Batch
) -> tuple[MonthPrior, ...]:
    """Give the loose priors the noise of a sample: by the core of its misfits, at least 1."""
    priors, noise = tuple(loose), 1.0
    for _ in range(_CALIBRATIONS):
        weighted = first_weights_by_speed(network, priors, scenes, batch)
        found = agree(priors[-1], scenes, weighted)
        core = weighted.valid & (weighted.weight >= USED)
        if not core.any():
            return priors
        z = np.abs(found.misfit[core]) / np.sqrt(found.variance[core])
        noise = float(np.clip(noise * np.median(z) / _HALF_NORMAL, 1.0, _MOST_NOISE))
        priors = tuple(
            replace(prior, parameters=replace(prior.parameters, noise=noise))
            for prior in priors
        )
    return priors


def judged_loosely(
    network: PairNetwork, loose: Sequence[MonthPrior], scenes: SceneErrors, batch: Batch
) -> tuple[Batch, FloatArray]:
    """Weigh the pairs of cells under the loose priors; return their noise (cells,), too."""
    weighted = first_weights_by_speed(network, loose, scenes, batch)
    return weighted, np.full(len(batch.d), loose[-1].parameters.noise)
