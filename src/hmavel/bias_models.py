"""Shapes that a pair's matching error can have, and the robust fit of them.

Coordinates here are pixels along and across the scene's own columns (the track), from the
middle of the stable ground; values are displacements in pixels, one column per component.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from math import isfinite, prod
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmavel import _kernels
from hmavel.bias_hull import Hull
from hmavel.core import NMAD, core_scatter
from hmavel.errors import StableGroundError

Array = NDArray[np.float64]

#: Distance from the centre of the scatter, in core sigmas, at which a node's weight is zero.
#: Real ground has skewed tails; a wider cutoff would follow them away from the median.
CUTOFF = 4.0
#: Variance of an estimate with these weights over that of least squares on as many nodes as
#: they sum to, for a Gaussian scatter: with psi = x w, E[psi^2] E[w] / E[d psi / dx]^2.
WEIGHTED_VARIANCE = 0.896
#: Of the mean of the terms' sums of squares, added to each: settles what terms share.
PULL = 1e-10
#: Nodes between steps: fewer than any detector module has, more than a window covers.
SHORTEST = 10
#: Detector modules of a swath, with room for those of the second scene.
MOST_STEPS = 28
#: Distance, in reaches, over which a shape goes over to the constant beyond its reach: what
#: the ground says of a ramp there is less than what an unseen step of the next module undoes.
FADE = 1.0


@dataclass(frozen=True, eq=False)
class Shape:
    """A polynomial over the ground.

    ``hull`` says where there is ground. Farther than ``reach`` from it the terms of the
    nearest place within are taken, and brought back to their mean over the ground within
    ``FADE`` times as far again: there the value is the constant's.
    """

    degree: int  #: terms of the polynomial: 1, 3 or 6
    unit: float  #: px; the coordinates are divided by it
    limits: tuple[float, float, float, float]  #: across low, high, along low, high
    hull: Hull
    reach: float  #: px

    def design(self, p: Array) -> Array:
        """Return the terms (n, k) at the places ``p`` (n, 2): across, along."""
        if self.degree == 1:  # the same wherever it is
            return np.ones((len(p), 1))
        return fade(self.hull, self.reach, self._polynomial)(p)

    def _polynomial(self, p: Array) -> Array:
        return polynomial_terms(self.held(p) / self.unit)[:, : self.degree]

    def held(self, p: Array) -> Array:
        """Move places beyond reach of the ground's hull to the nearest place within reach."""
        return self.hull.held(p, self.reach)


def polynomial_terms(p: Array) -> Array:
    """Return the six terms (n, 6) of a polynomial of second degree."""
    u, v = p.T
    out = np.empty((len(p), 6))
    for i, term in enumerate((1.0, u, v, u * u, u * v, v * v)):
        out[:, i] = term
    return out


def fade(
    hull: Hull | None, reach: float, terms: Callable[[Array], Array]
) -> Callable[[Array], Array]:
    """Return the terms, going over to their mean over the ground beyond reach of it."""
    if hull is None:
        return terms

    def faded(p: Array) -> Array:
        values = terms(p)
        beyond = hull.distance(p, reach) - reach
        far = np.flatnonzero(beyond > 0)
        if far.size:
            left = np.maximum(1.0 - beyond[far] / max(FADE * reach, 1e-9), 0.0)[:, None]
            mean = terms(hull.sample).mean(axis=0)
            values[far] = mean + left * (values[far] - mean)
        return values

    return faded


def spline_terms(x: Array, low: float, high: float, pieces: int) -> Array:
    """Return the cubic B-splines (n, pieces + 3) between two limits, held beyond them."""
    at = (np.clip(x, low, high) - low) * (pieces / (high - low))
    first = np.minimum(at.astype(np.intp), pieces - 1)
    t = at - first
    s = 1.0 - t
    out = np.zeros((len(x), pieces + 3))
    place = np.arange(len(x)) * (pieces + 3) + first
    for k, value in enumerate((
        s**3, 4.0 - 3.0 * t * t * (2.0 - t), 4.0 - 3.0 * s * s * (2.0 - s), t**3
    )):  # fmt: skip
        out.reshape(-1)[place + k] = value / 6.0
    return out


def shape_over(p: Array, degree: int, reach: float) -> Shape:
    """Return the polynomial shape that is supported by ground at ``p`` (n, 2)."""
    low, high = p.min(axis=0), p.max(axis=0)
    unit = max(float((high - low).max()) / 2, 1.0)
    limits = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    return Shape(degree, unit, limits, Hull(p), reach)


@dataclass(frozen=True)
class Fit:
    """Coefficients of a shape, the nodes' weights, the scatter that is left."""

    shape: Shape
    beta: Array  #: (k, 2)
    weight: Array  #: (n,), 0 ... 1
    sigma: Array  #: (2,) px, of the core of the residuals
    covariance: Array  #: (k, k), of beta for unit sigma and independent nodes

    def at(self, p: Array) -> Array:
        """Return the modelled displacement (n, 2) at the places ``p``, in chunks."""
        if len(p) <= 65536:
            return np.asarray(self.shape.design(p) @ self.beta)
        out = np.empty((len(p), 2))
        for i in range(0, len(p), 65536):
            out[i : i + 65536] = self.shape.design(p[i : i + 65536]) @ self.beta
        return out

    def leverage(self, p: Array) -> Array:
        """Return the variance (n,) of the modelled value at ``p``, for unit sigma."""
        x = self.shape.design(p)
        return np.asarray(((x @ self.covariance) * x).sum(axis=1))


def core_sigma(residual: Array) -> Array:
    """Return the 1-sigma width (2,) of the core of the residuals, false matches left out."""
    core = core_scatter(residual[:, 0], residual[:, 1])
    if core.sigma.all():
        return core.sigma
    # values rounded to steps, half of them one and the same: the deviation of the others
    size = np.abs(residual - core.centre)
    moved = [s[s > 0] if np.median(s) == 0 else s for s in size.T]
    return np.array([NMAD * np.median(s) if s.size else 0.0 for s in moved])


def tukey(residual: Array, sigma: Array) -> Array:
    """Weight (n,) of each node by both components: biweight of the radial distance."""
    (a, b), (s, t) = residual.T, sigma
    a, b = a / s, b / t  # component by component: NumPy is slow over a last axis of two
    inside = np.maximum(0.0, 1.0 - (a * a + b * b) / CUTOFF**2)
    return np.asarray(inside * inside)


def robust_fit(shape: Shape, p: Array, y: Array, start: Array, core: Array) -> Fit:
    """Fit a shape by reweighting, from residuals ``start`` (n, 2) with a core ``core`` wide.

    The width of the core is measured anew as the fit improves, so that a first guess
    without the ramp does not leave the cutoff too wide, and false matches never widen it.

    Raises
    ------
    StableGroundError
        The nodes have no core: not one lies near the middle of the others.
    """
    x = np.ascontiguousarray(shape.design(p))
    n, k = x.shape
    residual, beta = np.array(start), np.full((k, 2), np.nan)
    weight, inverse = np.empty(n), np.empty((k, k))

    def improve(sigma: Array, resting: float, rounds: int) -> None:
        if not _kernels.robust_fit(
            x, y, sigma, CUTOFF, PULL, resting, rounds, residual, beta, weight, inverse
        ):
            raise StableGroundError(
                "bias", "stable ground", expected="nodes that agree with each other",
                got=f"{n} that scatter without a core",
                hint="widen the stable mask or drop the pair",
            )  # fmt: skip

    # a kernel: of some hundred nodes NumPy takes longer to begin than to add
    improve(np.maximum(core, 1e-9), 1e-2, 31)  # one to begin with
    sigma = np.maximum(core_sigma(residual), 1e-9)
    improve(sigma, 1e-7, 30)
    return Fit(shape, beta, weight, sigma, inverse)


@dataclass(frozen=True)
class Normal:
    """Normal equations: sums over nodes from which a fit follows."""

    gram: Array  #: (k, k)
    moment: Array  #: (k, 2)
    mass: float

    @classmethod
    def of(cls, x: Array, y: Array, weight: Array) -> Normal:
        """Sum over the nodes with terms ``x`` (n, k), values ``y`` (n, 2) and weights."""
        xw = x * weight[:, None]
        return cls(xw.T @ x, xw.T @ y, float(weight.sum()))


def find_steps(
    shape: Shape, p: Array, y: Array, weight: Array, sigma: Array, spacing: float,
    redundancy: float,
) -> tuple[float, ...]:  # fmt: skip
    """Find the places across the track where the displacement jumps.

    A step is added to the terms of ``shape`` where it lowers the misfit most, then every
    step found so far is placed anew; the number of steps is the one that minimises misfit
    and price. All places are tried at once, from sums over bins one node wide.

    Parameters
    ----------
    shape
        The other terms.
    p, y
        Places (n, 2) and displacements (n, 2), px.
    weight, sigma
        Of the nodes (n,), and of both components (2,), px.
    spacing
        Of the nodes, px: the width of a bin.
    redundancy
        Nodes per independent measurement.
    """
    low = float(p[:, 0].min()) - spacing / 2  # nodes lie in the middle of their bins
    bins = np.floor((p[:, 0] - low) / spacing).astype(np.intp)
    count = int(bins.max()) + 1
    if count < 2 * SHORTEST:
        return ()
    x, w = shape.design(p), weight
    sums = Normal.of(x, y, w)
    gram = sums.gram

    def beyond(values: Array) -> Array:
        """Weighted sums (count, k) over the nodes at or after the start of each bin."""
        per_bin = np.stack([np.bincount(bins, w * v, count) for v in values.T], axis=1)
        return np.asarray(np.cumsum(per_bin[::-1], axis=0)[::-1])

    with_x, with_y = beyond(x), beyond(y)
    mass = beyond(np.ones((len(p), 1)))[:, 0]

    def solve(steps: list[int]) -> tuple[float, Array]:
        """Misfit saved by these steps (up to a constant), and by one more at each bin."""
        s = np.asarray(steps, dtype=np.intp)
        a = np.block(
            [[gram, with_x[s].T], [with_x[s], mass[np.maximum.outer(s, s)]]]
        )
        rhs = np.concatenate([sums.moment, with_y[s]])
        inverse = inverted(a)
        beta = inverse @ rhs
        saved = float(((rhs * beta).sum(axis=0) / sigma**2).sum())
        cross = np.concatenate([with_x, mass[np.maximum(np.arange(count)[:, None], s)]], axis=1)
        pull = with_y - cross @ beta
        free = mass - ((cross @ inverse) * cross).sum(axis=1)
        gain = (pull**2 / sigma**2).sum(axis=1) / np.maximum(free, 1e-12)
        # a step that the other terms can almost make themselves is not seen, only imagined
        gain[free < 1e-3 * sums.mass] = 0.0
        gain[:SHORTEST] = gain[count - SHORTEST :] = 0.0
        for k in steps:
            gain[max(k - SHORTEST + 1, 0) : k + SHORTEST] = 0.0
        return saved, gain

    price = 2.5 * np.log(max(sums.mass / redundancy, 2.0)) * redundancy
    steps: list[int] = []
    best: tuple[float, list[int]] = (-solve([])[0], [])
    while len(steps) < MOST_STEPS:
        gain = solve(steps)[1]
        if not gain.max() > 0:
            break
        steps.append(int(np.argmax(gain)))
        for _ in range(2):
            for i in range(len(steps) if len(steps) > 1 else 0):
                others = steps[:i] + steps[i + 1 :]
                gain = solve(others)[1]
                if gain.max() > 0:
                    steps[i] = int(np.argmax(gain))
        # two components' levels each, and a place
        total = 2.0 * price * len(steps) - solve(steps)[0]
        if total < best[0]:
            best = (total, sorted(steps))
        elif len(steps) > len(best[1]) + 2:  # a module between two others needs two steps
            break
    return tuple(low + k * spacing for k in best[1])


def inverted(a: Array) -> Array:
    """Invert a symmetric matrix of sums, with a pull that settles what terms share."""
    if len(a) == 1:
        return np.asarray(1.0 / (a * (1.0 + PULL)))
    pulled = a.copy()
    pulled.reshape(-1)[:: len(a) + 1] += PULL * np.trace(a) / len(a)
    return np.asarray(np.linalg.inv(pulled))


def node_redundancy(residual: NDArray[Any], longest: int = 8) -> float:
    """Estimate how many neighbouring nodes repeat one measurement, from a map of residuals.

    Parameters
    ----------
    residual
        (rows, cols, 2), NaN where there is no stable ground or a false match.
    longest
        Lag in nodes at which neighbours no longer share pixels.

    Returns
    -------
    float
        Area under the autocorrelation, at least 1. Variogram-based, so that errors of long
        wavelength do not count. Along an axis with too few neighbours it is taken to be as
        along the other.
    """
    found: list[float] = []
    steps = np.empty((2, longest))
    _kernels.variogram(np.ascontiguousarray(residual, np.float64), 30, steps)
    for line in steps.tolist():
        g = [step for step in line if isfinite(step)]
        if len(g) < 2:
            continue
        sill = max(g[-1], median(g))
        if sill > 0:
            r = takewhile(lambda r: r >= 0.05, (1.0 - step / sill for step in g[:-1]))
            found.append(1.0 + 2.0 * sum(r))
    return float(prod(found * 2 if len(found) == 1 else found))
