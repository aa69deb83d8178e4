"""How probable steps at the seams of detector modules are, and how large, for all places.

Sums over bins across the track serve every place at once: a step is a column of ones beyond
its bin. Beside the other terms of a shape, which are eliminated (Schur's complement), what
ground says of any steps is a small matrix and a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
        self.log = float(np.log(prior[1:]).sum())  # both components, less what all share
        self.inverse: list[Array] = []
        self.beta: list[Array] = []
        self.cross: list[Array] = []
        self.stiff: list[Array] = []
        self.pull: list[Array] = []
        for c in (0, 1):
            a = gram * kappa[c] + np.diag(prior)
            inverse = np.linalg.inv(a)
            beta = inverse @ (moment[:, c] * kappa[c])
            self.log += 0.5 * float(moment[:, c] @ beta) * kappa[c]
            self.log -= 0.5 * float(np.linalg.slogdet(a)[1])
            cross = sums.x * kappa[c]
            self.inverse.append(inverse)
            self.beta.append(beta)
            self.cross.append(cross)
            self.stiff.append(cross @ inverse)
            self.pull.append(sums.y[:, c] * kappa[c] - cross @ beta)

    def information(self, c: int, steps: Bins) -> Array:
        """Return what ground says of steps at bins (..., n), as a matrix (..., n, n)."""
        both = self.sums.mass[np.maximum(steps[..., :, None], steps[..., None, :])]
        shared = self.stiff[c][steps] @ np.swapaxes(self.cross[c][steps], -1, -2)
        return np.asarray(both * self.kappa[c] - shared)

    def terms(self, c: int, jumps: Array) -> Array:
        """Return the coefficients (k,) beside steps of the sizes ``jumps`` (bins,)."""
        return np.asarray(self.beta[c] - jumps @ self.stiff[c])

    def posterior(self, c: int, steps: Bins, covariance: Array) -> tuple[Array, Array]:
        """Return coefficients and steps (k + n,) and their covariance."""
        info, pull = self.information(c, steps), self.pull[c][steps]
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


class Steps:
    """Shapes with as many steps each, all with the same prior, beside one base."""

    def __init__(self, base: Base, at: Bins, covariance: Array, log_prior: float) -> None:
        self.base, self.at, self.covariance = base, at, covariance  # at: (m, n)
        self.log = np.full(len(at), base.log + log_prior)
        self.size = np.empty((*at.shape, 2))
        eye = np.eye(at.shape[1])
        for c in (0, 1):
            m = eye + base.information(c, at) @ covariance
            pull = base.pull[c][at]
            self.size[..., c] = np.linalg.solve(m, pull[..., None])[..., 0] @ covariance
            self.log += 0.5 * (pull * self.size[..., c]).sum(axis=1)
            self.log -= 0.5 * np.linalg.slogdet(m)[1]

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


class Staggers:
    """Combs that follow the stagger exactly: one amplitude each, both of a pair's scenes."""

    def __init__(self, rows: list[Bins], mass: Array) -> None:
        self.rows = rows
        self.sign = np.zeros((len(rows), len(mass)))
        for line, at in zip(self.sign, rows, strict=True):
            line[at] = (-1.0) ** np.arange(len(at))
        level = np.cumsum(self.sign, axis=1)
        self.gram = (level * (mass - np.append(mass[1:], 0.0))) @ level.T


class Pairs:
    """All pairs of combs, one comb of each scene, beside one base."""

    def __init__(self, base: Base, staggers: Staggers, log_prior: float) -> None:
        self.base, self.staggers = base, staggers
        sign = staggers.sign
        m = len(sign)
        log = np.full((m, m), base.log + log_prior)
        self.size = np.empty((m, m, 2))  # of the first of each pair
        for c in (0, 1):
            info = staggers.gram * base.kappa[c]
            info -= (sign @ base.stiff[c]) @ (sign @ base.cross[c]).T
            pull = sign @ base.pull[c]
            d = np.diag(info) + STAGGER**-2.0
            det = np.maximum(d[:, None] * d - info * info, 1e-9)
            size = (pull[:, None] * d - pull * info) / det
            self.size[..., c] = size
            log += 0.5 * (size * pull[:, None] + size.T * pull)
            log -= 0.5 * np.log(det * STAGGER**4)
        log[np.tril_indices(m)] = -np.inf
        self.log = log.ravel()

    def jumps(self, share: Array) -> Array:
        """Return the sizes of all steps (bins, 2), each pair's times its share (m * m,)."""
        share = share.reshape(self.size.shape[:2])
        both = [share * self.size[..., c] for c in (0, 1)]
        other = [share * self.size[..., c].T for c in (0, 1)]
        of_comb = np.stack(
            [a.sum(axis=1) + b.sum(axis=0) for a, b in zip(both, other, strict=True)], axis=1
        )
        return np.asarray(self.staggers.sign.T @ of_comb)

    def one(self, i: int) -> tuple[Bins, Array]:
        """Return the places (n,) and the prior covariance of the steps of one pair."""
        first, second = divmod(i, len(self.staggers.rows))
        rows = [self.staggers.rows[k] for k in (first, second)]
        n = len(rows[0])
        out = np.zeros((n + len(rows[1]), n + len(rows[1])))
        for part, at in zip((slice(0, n), slice(n, None)), rows, strict=True):
            out[part, part] = comb_covariance(len(at), DEVIATIONS[0])
        return np.concatenate(rows), out
