"""How probable steps at the seams of detector modules are, and how large, for all places.

Sums over bins across the track serve every place at once: a step is a column of ones beyond
its bin. Beside the other terms of a shape, which are eliminated (Schur's complement), what
ground says of any steps is a small matrix and a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmavel import _kernels
from hmavel.bias_hull import Array

#: Prior size (1 sigma) of the stagger between even and odd modules, px.
STAGGER = 0.1
#: Deviations of single modules from it, px: most follow it, some do not.
DEVIATIONS = (0.003, 0.02, 0.1)
#: Of the combs that are tried in pairs, one in so many places.
COARSE = 2
#: Difference in log evidence beyond which a shape need not be looked at.
NEGLIGIBLE = 12.0

Bins = NDArray[np.intp]


@dataclass(frozen=True)
class Sums:
    """Weighted sums over the ground at or beyond the start of each bin."""

    x: Array  #: (bins, k) of a shape's terms
    y: Array  #: (2, bins) of the displacement
    mass: Array  #: (bins,) of one


class Terms(NamedTuple):
    """Which terms a shape has, of all that sums were made of."""

    column: Bins  #: (k,)
    prior: Array  #: (k,) precision of their coefficients, 1/px^2; the first, a shift, is free
    log_det: float  #: log of the determinant of the others' prior, both components together

    @classmethod
    def of(cls, column: Bins, prior: Array) -> Terms:
        """Return the terms of these columns with this prior precision."""
        return cls(column, prior, float(np.log(prior[1:]).sum()))


class Base:
    """A shape without seams: its evidence, and what it leaves to be said of steps.

    Parameters
    ----------
    gram, moment
        Weighted sums of products of all terms (all, all), and with the displacement (all, 2).
    terms
        Those k of them that the shape has.
    sums
        The same sums beyond each bin, of these terms.
    kappa
        Information (2,) of a node of weight one, 1/px^2.
    """

    def __init__(
        self, gram: Array, moment: Array, terms: Terms, sums: Sums, kappa: Array
    ) -> None:
        self.prior, self.sums, self.kappa = terms.prior, sums, kappa
        k = len(terms.prior)
        self.inverse = np.empty((2, k, k))  #: of the coefficients' precision
        self.beta = np.empty((2, k))  #: px
        # both components, less what all share
        self.log = terms.log_det + _kernels.base(
            gram, moment, terms.column, terms.prior, kappa, self.inverse, self.beta
        )
        #: what a sum over nodes takes from them: the inverse times a node's information
        self.lean = kappa[:, None, None] * self.inverse

    @cached_property
    def stiff(self) -> Array:
        """What steps of one at each bin take from the coefficients (2, bins, k)."""
        return np.asarray(self.sums.x @ self.lean)

    @cached_property
    def pull(self) -> Array:
        """What the displacement says of a step at each bin (2, bins), beside the terms."""
        left = self.sums.y - self.beta @ self.sums.x.T
        return np.asarray(left * self.kappa[:, None])

    @property
    def ground(self) -> tuple[Array, Array, Array, Array]:
        """What the kernels are told of a base."""
        return self.sums.x, self.sums.mass, self.stiff, self.kappa

    def information(self, steps: Bins) -> Array:
        """Return what ground says of steps at bins (m, n), as matrices (2, m, n, n)."""
        m, n = steps.shape
        out = np.empty((2, m, n, n))
        _kernels.information(*self.ground, steps, out)
        return out

    def terms(self, c: int, jumps: Array) -> Array:
        """Return the coefficients (k,) beside steps of the sizes ``jumps`` (bins,)."""
        return np.asarray(self.beta[c] - jumps @ self.stiff[c])

    def posterior(self, c: int, steps: Bins, covariance: Array) -> tuple[Array, Array]:
        """Return coefficients and steps (k + n,) and their covariance."""
        info = self.information(steps[None])[c, 0]
        pull = self.pull[c][steps]
        of_steps = covariance @ np.linalg.inv(np.eye(len(steps)) + info @ covariance)
        size = of_steps @ pull
        jumps = np.zeros(len(self.sums.mass))
        np.add.at(jumps, steps, size)
        lean = self.stiff[c][steps]
        k, n = len(self.prior), len(steps)
        out = np.empty((k + n, k + n))
        out[:k, :k] = self.inverse[c] + lean.T @ of_steps @ lean
        out[k:, :k] = -of_steps @ lean
        out[:k, k:] = out[k:, :k].T
        out[k:, k:] = of_steps
        return np.concatenate([self.terms(c, jumps), size]), out


def comb_covariance(n: int, deviation: float) -> Array:
    """Return the prior covariance (n, n) of the steps at n seams in a row, px^2."""
    sign = (-1.0) ** np.arange(n)
    level = 2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    return np.asarray(STAGGER**2 * np.outer(sign, sign) + deviation**2 * level)


@lru_cache(maxsize=8)
def combs(bins: int, period: float) -> tuple[Bins, ...]:
    """Return all combs of seams ``period`` bins apart: those of n seams as rows (m, n)."""
    found: dict[int, list[Bins]] = {}
    for first in range(round(period)):
        at = np.rint(first + period * np.arange(int(bins / period) + 2)).astype(np.intp)
        at = at[(at > 0) & (at < bins)]
        if len(at):
            found.setdefault(len(at), []).append(at)
    return tuple(np.array(rows) for rows in found.values())


class StepPrior(NamedTuple):
    """What steps of a shape are expected to be."""

    covariance: Array  #: (n, n) px^2
    precision: Array  #: its inverse
    root: Array  #: lower triangular, times its transpose the covariance
    log_det: float  #: log of the precision's determinant

    @classmethod
    def of(cls, covariance: Array) -> StepPrior:
        """Return the prior with this covariance (n, n)."""
        precision = np.asarray(np.linalg.inv(covariance))
        root = np.asarray(np.linalg.cholesky(covariance))
        return cls(covariance, precision, root, float(np.linalg.slogdet(precision)[1]))


NO_STEPS = StepPrior.of(np.zeros((0, 0)))


@lru_cache(maxsize=64)
def comb_prior(n: int, deviation: float) -> StepPrior:
    """Return the prior of the steps at n seams in a row."""
    return StepPrior.of(comb_covariance(n, deviation))


class Steps:
    """Shapes with as many steps each, all with the same prior, beside one base."""

    def __init__(self, base: Base, at: Bins, prior: StepPrior, log: Array) -> None:
        self.base, self.at, self.prior, self.log = base, at, prior, log

    def jumps(self, share: Array) -> Array:
        """Return the sizes of all steps (bins, 2), each shape's times its share (m,)."""
        out = np.zeros((len(self.base.sums.mass), 2))
        n = self.at.shape[1]
        if n:
            _kernels.step_sizes(
                *self.base.ground, self.base.pull, self.at, self.prior.root, share,
                np.empty(n * (3 * n + 3)), out,
            )  # fmt: skip
        return out

    def one(self, i: int) -> tuple[Bins, Array]:
        """Return the places (n,) and the prior covariance of the steps of one shape."""
        return self.at[i], self.prior.covariance


def all_steps(
    bases: Sequence[Base], at: Bins, priors: Sequence[StepPrior], log_priors: Sequence[float]
) -> list[list[Steps]]:
    """Weigh steps at bins (m, n) beside each base by each prior: lists of bases, of priors.

    ``log_priors`` belong to the bases.
    """
    m, n = at.shape
    precision = np.stack([p.precision for p in priors])
    # No pivot is less than the precision's least eigenvalue; of ground without any scatter
    # the rest is the difference of numbers too large to tell.
    least = min(1.0 / float(np.trace(p.covariance)) for p in priors)
    log_det = np.array([[p.log_det] for p in priors])
    scratch = np.empty(n * (2 * n + 1))
    found = []
    for base, log_prior in zip(bases, log_priors, strict=True):
        log = np.empty((len(priors), m))
        _kernels.steps(*base.ground, base.pull, at, precision, least, scratch, log)
        log += log_det + (base.log + log_prior)
        found.append(
            [Steps(base, at, p, one) for p, one in zip(priors, log, strict=True)]
        )
    return found


class Staggers:
    """Combs that follow the stagger exactly: one amplitude each, both of a pair's scenes."""

    def __init__(self, rows: list[Bins], mass: Array) -> None:
        self.rows = rows
        self.sign = np.zeros((len(rows), len(mass)))
        for line, at in zip(self.sign, rows, strict=True):
            line[at[::2]], line[at[1::2]] = 1.0, -1.0
        level = np.cumsum(self.sign, axis=1)
        self.gram = (level * (mass - np.append(mass[1:], 0.0))) @ level.T


@lru_cache(maxsize=8)
def _pairs_of(count: int) -> tuple[Bins, Bins]:
    """Return the first and the second of all pairs of so many, each pair once."""
    return np.triu_indices(count, 1)


class Pairs:
    """All pairs of combs, one comb of each scene, beside one base."""

    def __init__(self, base: Base, staggers: Staggers, log_prior: float) -> None:
        self.base, self.staggers = base, staggers
        m = len(staggers.rows)
        terms = staggers.sign @ base.sums.x
        self.info = staggers.gram - terms @ base.lean @ terms.T
        self.info *= base.kappa[:, None, None]
        self.pull = base.pull @ staggers.sign.T  # (2, m)
        self.log = np.empty(m * (m - 1) // 2)
        _kernels.pairs(self.info, self.pull, STAGGER**-2.0, self.log)
        self.log += base.log + log_prior - 4.0 * np.log(STAGGER)

    def jumps(self, share: Array) -> Array:
        """Return the sizes of all steps (bins, 2), each pair's times its share (pairs,)."""
        of_comb = np.empty((len(self.staggers.rows), 2))
        _kernels.pair_sizes(self.info, self.pull, STAGGER**-2.0, share, of_comb)
        return np.asarray(self.staggers.sign.T @ of_comb)

    def one(self, i: int) -> tuple[Bins, Array]:
        """Return the places (n,) and the prior covariance of the steps of one pair."""
        rows = [self.staggers.rows[k[i]] for k in _pairs_of(len(self.staggers.rows))]
        n = len(rows[0])
        out = np.zeros((n + len(rows[1]), n + len(rows[1])))
        for part, at in zip((slice(0, n), slice(n, None)), rows, strict=True):
            out[part, part] = comb_prior(len(at), DEVIATIONS[0]).covariance
        return np.concatenate(rows), out
