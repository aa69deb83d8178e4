"""The plain twin of the Gaussian process: months whose second differences are small.

Minimise the misfit of the pairs plus ``smoothness**2`` times the sum of squared second
differences. One number rules every month, so it flattens a surge or lets a quiet cell wander.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import linalg, sparse

from hmavel._types import FloatArray
from hmavel.month_gp import Cell, Posterior, SceneErrors
from hmavel.network import PairNetwork

#: What the automatic choice may pick, per m/yr of second difference.
CHOICES = 10.0 ** np.arange(-2.5, 1.76, 0.25)
#: Standard deviations, m/yr, of a month and of the step to the next, so wide that they only
#: matter where there are too few pairs to tell a level and a trend.
_FREE_LEVEL, _FREE_STEP = 1e4, 300.0
_TUKEY = 4.685


def choose_smoothness(
    network: PairNetwork, cells: Sequence[Cell], scenes: SceneErrors
) -> float:
    """Pick the smoothness under which the cells' displacements are most probable together."""
    scores = np.zeros(len(CHOICES))
    for cell in cells:
        for j, smoothness in enumerate(CHOICES):
            scores[j] += solve_smooth(network, cell, scenes, smoothness).log_evidence
    return float(CHOICES[np.argmax(scores)])


def solve_smooth(
    network: PairNetwork, cell: Cell, scenes: SceneErrors, smoothness: float
) -> Posterior:
    """Solve one cell for a given smoothness and given weights of its pairs.

    The covariance is that of the months given that their second differences are independent
    with standard deviation ``1 / smoothness``: it leaves out that they are not.
    """
    n, s = len(network.months), scenes.count
    normal, right, square, log_det = _normal_equations(network, cell, scenes)
    second = np.diff(np.eye(n), n=2, axis=0) * smoothness
    first = np.diff(np.eye(n), axis=0) / _FREE_STEP
    precision = second.T @ second + first.T @ first + np.eye(n) / _FREE_LEVEL**2
    normal[s:, s:] += precision
    normal[:s, :s] += np.eye(s)
    factor = linalg.cholesky(normal, lower=True)
    solution = linalg.cho_solve((factor, True), right)
    root = linalg.solve_triangular(factor[s:, s:], np.eye(n), lower=True).T
    log_det += 2 * np.log(np.diag(factor)).sum() - np.linalg.slogdet(precision)[1]
    evidence = -0.5 * (square - right @ solution + log_det + len(cell.d) * np.log(2 * np.pi))
    return Posterior(solution[s:], root, float(evidence))


def robust_smooth(
    network: PairNetwork, cell: Cell, scenes: SceneErrors, smoothness: float, rounds: int = 8
) -> Cell:
    """Reweight the pairs of a cell by Tukey's function of their standardised residuals."""
    overlap = network.overlap_years()[cell.pairs]
    sigma = np.sqrt(cell.variance + scenes.variance[cell.pairs] + 2 * scenes.sigma**2)
    for turn in range(rounds):
        months = solve_smooth(network, cell, scenes, smoothness).mean
        t = np.abs(cell.d - overlap @ months) / sigma
        t /= max(1.0, float(np.median(t)) / 0.6745)
        tukey = np.maximum(1 - (t / _TUKEY) ** 2, 0.0) ** 2
        # Tukey's function finds the nearest of several answers: begin with a convex-like one.
        weight = 1 / (1 + t**2) if turn < 3 else tukey
        cell = replace(cell, weight=np.maximum(weight, 1e-6))
    return cell


def _normal_equations(
    network: PairNetwork, cell: Cell, scenes: SceneErrors
) -> tuple[FloatArray, FloatArray, float, float]:
    """Set up normal matrix and right side of (scenes, months); d'Wd and -log|W|."""
    i = cell.pairs
    weight = cell.weight / (cell.variance + scenes.variance[i])
    overlap = network.overlap_years()[i]
    columns = sparse.csr_array(sparse.hstack([scenes.matrix(i), overlap]))
    weighted = sparse.csr_array(sparse.diags_array(weight) @ columns)
    normal = (columns.T @ weighted).toarray()
    right = weighted.T @ cell.d
    return normal, right, float(weight @ cell.d**2), float(-np.log(weight).sum())
