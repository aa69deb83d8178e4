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
    y: Array  #: (bins, 2) of the displacement
    mass: Array  #: (bins,) of one


class Base:
    """A shape without seams: its evidence, and what it leaves to be said of steps.

    Parameters
    ----------
    gram, moment
        Weighted sums of products of the terms (k, k), and with the displacement (k, 2).
    prior
        Precision (k,) of the terms' coefficients, 1/px^2; the first, a shift, is free.
    sums
        The same sums beyond each bin.
    kappa
        Information (2,) of a node of weight one, 1/px^2.
    """

    def __init__(
        self, gram: Array, moment: Array, prior: Array, sums: Sums, kappa: Array
    ) -> None:
        self.prior, self.sums, self.kappa = prior, sums, kappa
        a = kappa[:, None, None] * gram + np.diag(prior)
        pulls = kappa[:, None] * moment.T
        self.inverse = np.linalg.inv(a)  #: (2, k, k)
        self.beta = np.matmul(self.inverse, pulls[..., None])[..., 0]  #: (2, k)
        # both components, less what all share
        self.log = float(np.log(prior[1:]).sum() + 0.5 * (pulls * self.beta).sum())
        self.log -= 0.5 * float(np.linalg.slogdet(a)[1].sum())

    @cached_property
    def stiff(self) -> Array:
        """What steps of one at each bin take from the coefficients (2, bins, k)."""
        return np.asarray(self.kappa[:, None, None] * (self.sums.x @ self.inverse))

    @cached_property
    def pull(self) -> Array:
        """What the displacement says of a step at each bin (2, bins), beside the terms."""
        left = self.sums.y - self.sums.x @ self.beta.T
        return np.ascontiguousarray((left * self.kappa).T)

    def information(self, steps: Bins) -> Array:
        """Return what ground says of steps at bins (m, n), as matrices (n, n, 2, m)."""
        places = steps.T
        both = self.sums.mass[np.maximum(places[:, None], places)]
        shared = np.einsum(
            "cmik,mjk->ijcm", self.stiff[:, steps], self.sums.x[steps], optimize=False
        )
        return np.asarray((both[:, :, None] - shared) * self.kappa[:, None])

    def terms(self, c: int, jumps: Array) -> Array:
        """Return the coefficients (k,) beside steps of the sizes ``jumps`` (bins,)."""
        return np.asarray(self.beta[c] - jumps @ self.stiff[c])

    def posterior(self, c: int, steps: Bins, covariance: Array) -> tuple[Array, Array]:
        """Return coefficients and steps (k + n,) and their covariance."""
        info = np.ascontiguousarray(self.information(steps[None])[:, :, c, 0])
        pull = self.pull[c][steps]
        size = covariance @ np.linalg.solve(np.eye(len(steps)) + info @ covariance, pull)
        of_steps = covariance @ np.linalg.inv(np.eye(len(steps)) + info @ covariance)
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
    log_det: float  #: log of the precision's determinant

    @classmethod
    def of(cls, covariance: Array) -> StepPrior:
        """Return the prior with this covariance (n, n)."""
        precision = np.asarray(np.linalg.inv(covariance))
        return cls(covariance, precision, float(np.linalg.slogdet(precision)[1]))


@lru_cache(maxsize=64)
def comb_prior(n: int, deviation: float) -> StepPrior:
    """Return the prior of the steps at n seams in a row."""
    return StepPrior.of(comb_covariance(n, deviation))


class Steps:
    """Shapes with as many steps each, all with the same prior, beside one base."""

    def __init__(self, base: Base, at: Bins, covariance: Array, log: Array) -> None:
        self.base, self.at, self.covariance, self.log = base, at, covariance, log

    @cached_property
    def size(self) -> Array:
        """Expected sizes of the steps (m, n, 2) of each shape, px."""
        if not self.at.size:
            return np.zeros((*self.at.shape, 2))
        info = np.moveaxis(self.base.information(self.at), (0, 1), (2, 3))  # (2, m, n, n)
        m = np.eye(self.at.shape[1]) + info @ self.covariance
        size = np.linalg.solve(m, self.base.pull[:, self.at][..., None])[..., 0]
        return np.moveaxis(size @ self.covariance, 0, -1)

    def jumps(self, share: Array) -> Array:
        """Return the sizes of all steps (bins, 2), each shape's times its share (m,)."""
        bins = len(self.base.sums.mass)
        out = np.empty((bins, 2))
        for c in (0, 1):
            size = share[:, None] * self.size[..., c]
            out[:, c] = np.bincount(self.at.ravel(), size.ravel(), bins)
        return out

    def one(self, i: int) -> tuple[Bins, Array]:
        """Return the places (n,) and the prior covariance of the steps of one shape."""
        return self.at[i], self.covariance


def all_steps(
    bases: Sequence[Base], at: Bins, priors: Sequence[StepPrior], log_priors: Sequence[float]
) -> list[list[Steps]]:
    """Weigh steps at bins (m, n) beside each base by each prior: lists of bases, of priors.

    ``log_priors`` belong to the bases. All are weighed at once: matrices are small and many.
    """
    info = np.stack([b.information(at) for b in bases], axis=2)  # (n, n, bases, 2, m)
    pull = np.stack([b.pull[:, at.T] for b in bases]).transpose(2, 0, 1, 3)
    precision = np.stack([p.precision for p in priors], axis=-1)  # (n, n, priors)
    whole = info[..., None, :] + precision[:, :, None, None, :, None]
    # No pivot is less than the precision's least eigenvalue; of ground without any scatter
    # the rest is the difference of numbers too large to tell.
    least = min(1.0 / float(np.trace(p.covariance)) for p in priors)
    gain, log_det = eliminated(whole, pull[..., None, :], least)
    log = 0.5 * (gain - log_det).sum(axis=1)  # (bases, priors, m)
    for line, base, log_prior in zip(log, bases, log_priors, strict=True):
        line += np.array([[base.log + log_prior + p.log_det] for p in priors])
    return [
        [Steps(base, at, p.covariance, log[i, k]) for k, p in enumerate(priors)]
        for i, base in enumerate(bases)
    ]


def eliminated(a: Array, b: Array, least: float = 0.0) -> tuple[Array, Array]:
    """Return b . a^-1 b and log det a of symmetric, positive a (n, n, ...), b (n, ...).

    Elimination in the order of the rows, over all matrices at once; ``a`` is used up. No
    eigenvalue is less than ``least``.
    """
    b = np.array(np.broadcast_to(b, a.shape[1:]))
    gain, log_det = np.zeros(a.shape[2:]), np.zeros(a.shape[2:])
    for j in range(len(a)):
        pivot, below = np.maximum(a[j, j], least), slice(j + 1, None)
        lean = a[below, j] / pivot
        gain += b[j] * b[j] / pivot
        log_det += np.log(pivot)
        b[below] -= lean * b[j]
        a[below, below] -= lean[:, None] * a[j, below]
    return gain, log_det


class Staggers:
    """Combs that follow the stagger exactly: one amplitude each, both of a pair's scenes."""

    def __init__(self, rows: list[Bins], mass: Array) -> None:
        self.rows = rows
        self.sign = np.zeros((len(rows), len(mass)))
        for line, at in zip(self.sign, rows, strict=True):
            line[at] = (-1.0) ** np.arange(len(at))
        level = np.cumsum(self.sign, axis=1)
        self.gram = (level * (mass - np.append(mass[1:], 0.0))) @ level.T
        self.first, self.second = _pairs_of(len(rows))


@lru_cache(maxsize=8)
def _pairs_of(count: int) -> tuple[Bins, Bins]:
    """Return the first and the second of all pairs of so many, each pair once."""
    return np.triu_indices(count, 1)


class Pairs:
    """All pairs of combs, one comb of each scene, beside one base."""

    def __init__(self, base: Base, staggers: Staggers, log_prior: float) -> None:
        self.base, self.staggers = base, staggers
        i, j = staggers.first, staggers.second
        terms = staggers.sign @ base.sums.x
        stiff = base.kappa[:, None, None] * (terms @ base.inverse)
        info = base.kappa[:, None, None] * (staggers.gram - stiff @ terms.T)
        self.pull = base.pull @ staggers.sign.T  # (2, m)
        own = info.diagonal(axis1=1, axis2=2) + STAGGER**-2.0
        self.own = own
        self.both = info.reshape(2, -1).take(i * len(terms) + j, axis=1)
        d1, d2 = own.take(i, axis=1), own.take(j, axis=1)
        self.det = np.maximum(d1 * d2 - self.both * self.both, 1e-9)
        p1, p2 = self.pull.take(i, axis=1), self.pull.take(j, axis=1)
        gain = p1 * (p1 * d2 - 2.0 * p2 * self.both) + p2 * p2 * d1
        gain, det = gain / self.det, self.det
        self.log = 0.5 * (gain[0] + gain[1] - np.log(det[0] * det[1]))
        self.log += base.log + log_prior - 4.0 * np.log(STAGGER)

    def jumps(self, share: Array) -> Array:
        """Return the sizes of all steps (bins, 2), each pair's times its share (pairs,)."""
        i, j = self.staggers.first, self.staggers.second
        m = len(self.staggers.rows)
        of_comb = np.empty((m, 2))
        for c in (0, 1):
            own, pull, scale = self.own[c], self.pull[c], share / self.det[c]
            first = scale * (pull[i] * own[j] - pull[j] * self.both[c])
            second = scale * (pull[j] * own[i] - pull[i] * self.both[c])
            of_comb[:, c] = np.bincount(i, first, m) + np.bincount(j, second, m)
        return np.asarray(self.staggers.sign.T @ of_comb)

    def one(self, i: int) -> tuple[Bins, Array]:
        """Return the places (n,) and the prior covariance of the steps of one pair."""
        rows = [
            self.staggers.rows[k[i]] for k in (self.staggers.first, self.staggers.second)
        ]
        n = len(rows[0])
        out = np.zeros((n + len(rows[1]), n + len(rows[1])))
        for part, at in zip((slice(0, n), slice(n, None)), rows, strict=True):
            out[part, part] = comb_covariance(len(at), DEVIATIONS[0])
        return np.concatenate(rows), out
