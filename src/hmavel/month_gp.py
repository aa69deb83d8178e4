"""Months of one cell from its pairs, given the prior: the Gaussian process solved in modes.

With months = modes @ z and scene errors = scene_sigma * u (z, u standard normal), a cell is one
regularised least-squares problem in (u, z). Its normal matrix is I + G' W G, one Cholesky
factor of which yields the months, their full covariance and the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import blas, cython_blas, cython_lapack, lapack

from hmavel import _kernels
from hmavel._types import FloatArray
from hmavel.month_kernel import MonthPrior
from hmavel.month_path import steps
from hmavel.network import PairNetwork

# The library that SciPy's own functions use, with their number of threads.
_kernels.bind_lapack(cython_blas.__pyx_capi__, cython_lapack.__pyx_capi__)

#: Scenes that may share their error among pairs: the normal matrix is dense in them.
_MOST_SCENES = 8000


@dataclass(frozen=True)
class Cell:
    """One cell's valid pairs."""

    pairs: NDArray[np.intp]  #: (q,) which pairs of the network
    d: FloatArray  #: (q,) displacement, m
    variance: FloatArray  #: (q,) of the match, without the scenes' share, m^2
    weight: FloatArray  #: (q,) 0 ... 1: a match's variance is divided by it


@dataclass(frozen=True)
class SceneErrors:
    """Which scenes tie pairs together, and by how much.

    A scene of one pair only adds its variance to that pair; the others get a column each.
    """

    sigma: float  #: m
    count: int  #: scenes with a column
    early: NDArray[np.intp]  #: (p,) column of the earlier scene, -1 = none
    late: NDArray[np.intp]
    variance: FloatArray  #: (p,) from the scenes without a column, m^2

    def matrix(self, pairs: NDArray[np.intp]) -> sparse.csr_array:
        """Displacement of some pairs per standard scene error, m: (q, count), sparse."""
        ends = np.stack([self.early[pairs], self.late[pairs]], axis=1)
        row, end = np.nonzero(ends >= 0)
        value = self.sigma * np.array([-1.0, 1.0])[end]
        shape = (len(pairs), self.count)
        return sparse.coo_array((value, (row, ends[row, end])), shape=shape).tocsr()

    def add_products(
        self, pairs: Any, rows: FloatArray, amplitude: FloatArray, normal: FloatArray
    ) -> None:
        """Add what weighted pairs make of a normal matrix to its lower half, in place.

        ``normal`` in Fortran order, the scenes first; of each pair, times the root of its
        weight: ``rows`` (q, r) in the columns after them, and the ``amplitude`` (q,) of a
        standard scene error.
        """
        _kernels.add_products(rows, amplitude, self.early[pairs], self.late[pairs], normal)


def scene_errors(network: PairNetwork, sigma: float, *, shared: bool = True) -> SceneErrors:
    """Sort the scenes; ``shared=False`` treats their errors as each pair's own."""
    used = np.bincount(
        np.concatenate([network.early, network.late]), minlength=len(network.scenes)
    )
    keep = (used > 1) & shared & (sigma > 0)
    if keep.sum() > _MOST_SCENES:
        raise ValueError(
            f"month scenes: expected at most {_MOST_SCENES} scenes that share an error, got "
            f"{int(keep.sum())}; round the times to scenes, or pass scene_sigma=None"
        )
    column = np.where(keep, np.cumsum(keep) - 1, -1)
    early, late = column[network.early], column[network.late]
    alone = (early < 0).astype(float) + (late < 0)
    return SceneErrors(sigma, int(keep.sum()), early, late, sigma**2 * alone)


@dataclass(frozen=True)
class Design:
    """A prior and scene errors joined, ready for any cell: d = rows @ (u, z) + noise."""

    prior: MonthPrior
    scenes: SceneErrors

    @property
    def width(self) -> int:
        """Number of unknowns: scenes and modes."""
        return self.scenes.count + int(self.prior.modes.shape[1])

    def total_variance(self, cell: Cell) -> FloatArray:
        """Variance of each pair that the unknowns do not explain, weights aside, m^2."""
        i = cell.pairs
        stated = (cell.variance + self.scenes.variance[i]) * self.prior.parameters.noise**2
        return np.asarray(stated + self.prior.unresolved[i])

    def rows(self, pairs: NDArray[np.intp], out: FloatArray) -> FloatArray:
        """Write the rows of some pairs into ``out``."""
        s = self.scenes.count
        if s:
            out[:, :s] = 0.0
            amplitude = self.scenes.sigma * self.prior.parameters.noise
            for column, sign in ((self.scenes.early, -1.0), (self.scenes.late, 1.0)):
                at = column[pairs]
                has = np.flatnonzero(at >= 0)
                out[has, at[has]] = sign * amplitude
        out[:, s:] = self.mode_rows(pairs)
        return out

    def mode_rows(self, pairs: NDArray[np.intp]) -> FloatArray:
        """Return the rows of some pairs in the modes; to be read only."""
        modes = self.prior.pair_modes
        # All pairs are valid in most cells: no need to copy their rows first.
        return modes[:] if len(pairs) == len(modes) else modes[pairs]


class Workspace:
    """Memory that each solve uses again: getting it anew costs as much as a product."""

    def __init__(self) -> None:
        self._rows = self._normal = np.empty(0)

    def rows(self, count: int, width: int) -> FloatArray:
        """Return (count, width) numbers, not set to anything."""
        if self._rows.size < count * width:
            self._rows = np.empty(count * width)
        return self._rows[: count * width].reshape(count, width)

    def identity(self, width: int) -> FloatArray:
        """Return the identity matrix in Fortran order."""
        if self._normal.size < width**2:
            self._normal = np.empty(width**2)
        normal = self._normal[: width**2].reshape(width, width).T
        normal[:] = 0.0
        self._normal[: width**2 : width + 1] = 1.0
        return normal


@dataclass(frozen=True)
class Posterior:
    """A cell's months, in the square-root form that its covariance is made from."""

    mean: FloatArray  #: (n,) m/yr
    root: FloatArray  #: (n, r): covariance of the months = root @ root.T + lost
    log_evidence: float  #: log density of the pairs' displacements under the prior


@dataclass(frozen=True)
class LeaveOut:
    """How each pair agrees with what all the others predict for it."""

    misfit: FloatArray  #: (q,) m
    variance: FloatArray  #: (q,) what it should have if the match is right, m^2
    log_evidence: float


def solve(design: Design, cell: Cell, work: Workspace | None = None) -> Posterior:
    """Solve one cell: mean, covariance root and evidence."""
    total = design.total_variance(cell)
    factor, evidence = _factorise(design, cell, total, work or Workspace())
    s, m = design.scenes.count, design.width
    root = blas.dtrsm(1.0, factor[s:m, s:m], design.prior.modes, side=1, lower=1, trans_a=1)
    return Posterior(root @ factor[m, s:m], root, evidence)


def log_evidence(design: Design, cell: Cell, work: Workspace | None = None) -> float:
    """Log density of the cell's displacements under the prior."""
    return _factorise(design, cell, design.total_variance(cell), work or Workspace())[1]


def predict(
    design: Design, cell: Cell, pairs: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Predict displacements of other pairs of the network from those of a cell.

    Returns
    -------
    mean, variance
        (len(pairs),) m and m^2. A scene that the cell has seen is predicted with its error as
        the cell's pairs have it. The new pair's own match error is not part of the variance.
    """
    work = Workspace()
    factor, _ = _factorise(design, cell, design.total_variance(cell), work)
    m, noise = design.width, design.prior.parameters.noise
    rows = design.rows(pairs, np.empty((len(pairs), m)))
    reach = blas.dtrsm(1.0, factor[:m, :m], rows.T, side=0, lower=1)
    own = design.scenes.variance[pairs] * noise**2 + design.prior.unresolved[pairs]
    return factor[m, :m] @ reach, np.einsum("ij,ij->j", reach, reach) + own


def leave_out(design: Design, cell: Cell) -> LeaveOut:
    """Predict each pair of a cell from the others; a pair's own weight does not matter."""
    total = design.total_variance(cell)
    work = Workspace()
    factor, evidence = _factorise(design, cell, total, work)
    m, q = design.width, len(cell.d)
    y = factor[m, :m]
    fit, spread = np.empty(q), np.empty(q)
    for some in steps(q, m):
        count = len(cell.d[some])
        rows = design.rows(cell.pairs[some], work.rows(count, m))
        reach = blas.dtrsm(1.0, factor[:m, :m], rows.T, side=0, lower=1)
        fit[some] = y @ reach
        spread[some] = np.einsum("ij,ij->j", reach, reach)
    rest = np.maximum(1.0 - spread * cell.weight / total, 1e-9)
    return LeaveOut((cell.d - fit) / rest, total + spread / rest, evidence)


def _factorise(
    design: Design, cell: Cell, total: FloatArray, work: Workspace
) -> tuple[FloatArray, float]:
    """Cholesky factor of the normal matrix with the data as its last row, and the evidence."""
    m, q, r = design.width, len(cell.d), design.width - design.scenes.count
    w = cell.weight / total
    root_w = np.sqrt(w)
    amplitude = design.scenes.sigma * design.prior.parameters.noise * root_w
    # The data row gets a 1 too: it keeps its pivot positive, and is taken off below.
    normal = work.identity(m + 1)
    for some in steps(q, r + 1):
        pairs, scale = cell.pairs[some], root_w[some, None]
        rows = work.rows(len(pairs), r + 1)
        np.multiply(design.mode_rows(pairs), scale, out=rows[:, :r])
        np.multiply(cell.d[some], root_w[some], out=rows[:, r])
        design.scenes.add_products(pairs, rows, amplitude[some], normal)
    factor, info = lapack.dpotrf(normal, lower=1, overwrite_a=1, clean=0)
    if info != 0:
        raise ArithmeticError(
            f"month solve: expected a positive definite system, got a bad pivot in row {info}; "
            "look for velocities or sigmas that are many orders of magnitude apart"
        )
    log_det = 2 * np.log(np.diagonal(factor)[:m]).sum() - np.log(w).sum()
    quad = factor[m, m] ** 2 - 1.0
    return factor, float(-0.5 * (quad + log_det + q * np.log(2 * np.pi)))

