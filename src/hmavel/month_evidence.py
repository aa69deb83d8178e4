"""How probable the displacements of cells are under a prior, and the slopes of that.

What the prior is learnt by (``month_fit``). The pairs of a cell enter as the little that they
say about months, so that a new prior costs the same for ten pairs as for a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hmavel import _kernels
from hmavel._types import FloatArray, TimeArray
from hmavel.month_gp import Cell, SceneErrors
from hmavel.month_kernel import SEASON_STEPS, Hyperparameters
from hmavel.month_path import PairRows, steps

Array = NDArray[np.float64]

#: Numbers of the prior that are learnt, and of its burst.
_NUMBERS, _BURST = 6, 3


@dataclass(frozen=True)
class Information:
    """What the pairs of some cells say about months, whatever the prior."""

    normal: Array  #: (cells, n + 1, n + 1) [O d]' C^-1 [O d]
    log_det: Array  #: (cells,) log |C|
    count: Array  #: (cells,) pairs

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.normal)

    def take(self, cells: NDArray[np.intp] | Sequence[int]) -> Information:
        """Return some of the cells."""
        return Information(self.normal[cells], self.log_det[cells], self.count[cells])


def information(
    cells: Sequence[Cell], scenes: SceneErrors, design: PairRows, unresolved: FloatArray
) -> Information:
    """Sum up the pairs of cells; ``unresolved`` (p,), m^2, is added to their variance."""
    normal, log_det = zip(*(_summed(c, scenes, design, unresolved) for c in cells), strict=True)
    count = np.array([len(cell.pairs) for cell in cells], float)
    return Information(np.array(normal, float), np.array(log_det), count)


def _summed(
    cell: Cell, scenes: SceneErrors, design: PairRows, unresolved: FloatArray
) -> tuple[FloatArray, float]:
    """Return ``normal`` and ``log_det`` of one cell."""
    i, s = cell.pairs, scenes.count
    root_w = np.sqrt(cell.weight / (cell.variance + scenes.variance[i] + unresolved[i]))
    side = s + design.shape[1] + 1
    normal = np.zeros((side, side), order="F")
    normal[np.diag_indices(s)] = 1.0
    for some in steps(len(i), side - s):
        rows = np.column_stack([design[i[some]], cell.d[some]]) * root_w[some, None]
        scenes.add_products(i[some], rows, scenes.sigma * root_w[some], normal)
    log_det = -2 * np.log(root_w).sum()
    told = normal[s:, s:]
    if s:
        factor = linalg.cholesky(normal[:s, :s], lower=True)
        cross = linalg.solve_triangular(factor, normal[s:, :s].T, lower=True)
        told = told - cross.T @ cross
        log_det += 2 * np.log(np.diag(factor)).sum()
    return np.tril(told) + np.tril(told, -1).T, float(log_det)


@dataclass(frozen=True)
class Evidence:
    """Minus the log evidence of all cells, constants aside, and its slopes along ..."""

    value: float
    by_number: FloatArray  #: ... ``h.log``
    by_season: FloatArray  #: ... the log pace of the season's clock; empty where not asked for
    by_event: FloatArray  #: ... the log pace of the event's clock; the same
    by_burst: FloatArray  #: ... ``h.log_burst``, 0 without a burst; the same


def misfits(known: Information, h: Hyperparameters, months: TimeArray) -> FloatArray:
    """Return minus the log evidence of each cell, constants aside, without slopes."""
    return _evaluated(known, h, months, None)


def evidence(
    known: Information, h: Hyperparameters, months: TimeArray, *, paces: bool = True
) -> Evidence:
    """Evaluate the evidence and its slopes.

    ``paces=False`` leaves out those along the clocks and the burst.

    With A = O'C^-1 O, alpha = O'(OKO' + C)^-1 d and W = A - A S A (S the posterior covariance),
    d log p / d theta = (alpha' dK alpha - tr(W dK)) / 2.
    """
    event_at = _NUMBERS + SEASON_STEPS
    burst_at = event_at + len(months)
    slopes = np.empty(burst_at + _BURST if paces else _NUMBERS)
    value = float(_evaluated(known, h, months, slopes).sum())
    return Evidence(
        value, slopes[:_NUMBERS], slopes[_NUMBERS:event_at], slopes[event_at:burst_at],
        slopes[burst_at:],
    )  # fmt: skip


def _evaluated(
    known: Information, h: Hyperparameters, months: TimeArray, slopes: Array | None
) -> FloatArray:
    """Return minus the log evidence of each cell; fill ``slopes``, if it is not None."""
    n, misfit = len(months), np.empty(len(known))
    pivot = _kernels.evidence(
        known.normal, known.log_det, known.count, int(months[0].astype(int)) % 12,
        (h.level, h.season, h.shape, h.memory, h.event, h.duration, h.noise,
         h.burst, h.burst_at, h.burst_width),
        np.log(h.season_pace) if h.season_pace else None,
        None if h.event_from is None else h.event_log_pace(months),
        np.empty(_kernels.evidence_work(n, len(known))), misfit, slopes,
    )  # fmt: skip
    if pivot > 0:
        raise linalg.LinAlgError(f"a bad pivot in row {pivot} of the months' prior covariance")
    if pivot < 0:
        raise linalg.LinAlgError(f"a bad pivot in row {-pivot} of what the pairs say of months")
    return misfit
