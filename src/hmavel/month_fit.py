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

from hmavel._types import FloatArray
from hmavel.month_gp import Cell, Design, SceneErrors
from hmavel.month_kernel import Hyperparameters, kernel, month_lags, month_prior
from hmavel.month_screen import reweigh
from hmavel.network import PairNetwork

#: Medians of the log-normal priors, and the standard deviations of their logarithms.
TYPICAL = Hyperparameters(
    level=1000.0, season=5.0, shape=0.8, memory=10.0, event=5.0, duration=0.4, noise=1.0
)
SPREAD = np.array([1.5, 0.5, 0.8, 1.5, 0.6, 0.1])
#: Where the search starts (season, event, m/yr): a quiet cell, a season, an event.
_STARTS = ((1.0, 1.0), (30.0, 3.0), (3.0, 100.0))
#: Log evidence that another class must bring.
_CLASS_PRICE = 12.0
_MOST_CLASSES = 4
#: Pairs that are certainly false say nothing and only cost time.
_HOPELESS = 1e-3


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
    n = len(network.months)
    lags = month_lags(n)
    overlap = network.overlap_years().toarray()
    nothing = np.zeros(len(overlap))
    cells = [_trimmed(cell) for cell in cells]
    known = [_information(cell, scenes, overlap, nothing) for cell in cells]
    starts = [
        replace(TYPICAL, level=level, season=season, event=event) for season, event in _STARTS
    ]
    single = [min((_climb([k], h, lags) for h in starts), key=_value)[1] for k in known]
    member = _sort_into_classes(known, single, lags)

    classes = []
    for label in np.unique(member)[np.argsort(-np.unique(member, return_counts=True)[1])]:
        inside = np.flatnonzero(member == label)
        h = single[label]
        if len(inside) > 1:
            h = _climb([known[i] for i in inside], h, lags)[1]
        classes.append(_refined(network, [cells[i] for i in inside], scenes, h, lags))
    return classes


def _refined(
    network: PairNetwork,
    cells: Sequence[Cell],
    scenes: SceneErrors,
    h: Hyperparameters,
    lags: tuple[FloatArray, FloatArray],
) -> Hyperparameters:
    """Fit again with the weights and the unresolved part that the first fit leads to."""
    prior = month_prior(network, h)
    cells = [_trimmed(reweigh(Design(prior, scenes), cell)) for cell in cells]
    # The search scales all of C by noise^2, of which this part is not stated error.
    unresolved = prior.unresolved / h.noise**2
    known = [_information(cell, scenes, prior.design, unresolved) for cell in cells]
    return _climb(known, h, lags)[1]


def _trimmed(cell: Cell) -> Cell:
    keep = cell.weight > _HOPELESS
    if keep.all() or not keep.any():
        return cell
    return Cell(cell.pairs[keep], cell.d[keep], cell.variance[keep], cell.weight[keep])


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
    lags: tuple[FloatArray, FloatArray],
) -> NDArray[np.intp]:
    """Choose few of the cells' own priors that serve all cells; return each cell's choice."""
    count = len(known)
    if count == 1:
        return np.zeros(1, dtype=np.intp)
    score = np.array([[-_evidence([k], h, lags)[0] for h in single] for k in known])
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
    lags: tuple[FloatArray, FloatArray],
) -> tuple[float, Hyperparameters]:
    """Follow the slope of the evidence, times the log-normal priors, from ``start``."""
    typical = TYPICAL.log

    def objective(x: FloatArray) -> tuple[float, FloatArray]:
        value, slope = _evidence(cells, start.with_log(typical + SPREAD * x), lags)
        return value + 0.5 * float(x @ x), slope * SPREAD + x

    first = (start.log - typical) / SPREAD
    found = optimize.minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-5, 5)] * len(first),
        options={"maxiter": 60, "ftol": 1e-7, "gtol": 1e-3},
    )
    return float(found.fun), start.with_log(typical + SPREAD * found.x)


def _evidence(
    cells: Sequence[_Information], h: Hyperparameters, lags: tuple[FloatArray, FloatArray]
) -> tuple[float, FloatArray]:
    """Minus the log evidence of all cells, constants aside, and its slope along ``h.log``.

    With A = O'C^-1 O, alpha = O'(OKO' + C)^-1 d and W = A - A S A (S the posterior covariance),
    d log p / d theta = (alpha' dK alpha - tr(W dK)) / 2; dK is Toeplitz, so the sums of
    alpha alpha' - W along the diagonals are all that is needed.
    """
    lag, average = lags
    fine, slopes = kernel(lag, h)
    n = len(average)
    column = average @ fine
    covariance = linalg.toeplitz(column)
    covariance[np.diag_indices(n)] += 1e-6 * column[0]
    covariance += h.level**2
    root = linalg.cholesky(covariance, lower=True)
    f2 = h.noise**2
    value, noise_slope = 0.0, 0.0
    pull = np.zeros((n, n))
    for c in cells:
        a, b = c.matrix / f2, c.vector / f2
        inner = root.T @ a @ root
        inner[np.diag_indices(n)] += 1.0
        factor = linalg.cholesky(inner, lower=True, overwrite_a=True)
        x = linalg.solve_triangular(factor, root.T, lower=True).T
        mean = x @ (x.T @ b)
        log_det = 2 * np.log(np.diag(factor)).sum() + c.log_det + c.count * np.log(f2)
        quad = c.square / f2 - b @ mean
        value += 0.5 * (quad + log_det)
        ax = a @ x
        gain = a - ax @ ax.T
        alpha = b - a @ mean
        pull += np.outer(alpha, alpha) - gain
        noise_slope += (quad - alpha @ covariance @ alpha) - (
            c.count - np.einsum("ij,ij->", gain, covariance)
        )
    by_lag = np.array([np.trace(pull, k) for k in range(n)])
    by_lag[1:] *= 2
    slope = np.empty(6)
    slope[:5] = -0.5 * (slopes @ average.T) @ by_lag
    slope[5] = -noise_slope
    return float(value), slope
