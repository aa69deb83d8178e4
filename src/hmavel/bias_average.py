"""The matching error as the mean over its possible shapes, each as probable as ground says.

Where ground tells one shape from the others it has all the weight. Where it does not (a seam
in a gap, a step that passes for a slope) the mean lies between them, and what no ground
tells stays at its expectation, zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmavel import _kernels
from hmavel.bias_frame import FINE, NO_SPLINE, Frame, Spline, blocks
from hmavel.bias_hull import Array
from hmavel.bias_models import Normal, fade
from hmavel.bias_seams import (
    COARSE,
    DEVIATIONS,
    NEGLIGIBLE,
    NO_STEPS,
    STAGGER,
    Base,
    Pairs,
    Staggers,
    StepPrior,
    Steps,
    Sums,
    Terms,
    all_steps,
    comb_prior,
    combs,
)

#: Prior sizes (1 sigma), px: of a ramp's terms over half the image, of splines' coefficients.
RAMP, BEND = 0.2, 0.1
#: Prior probability of the polynomials by their number of terms, of a spline beside them, and
#: of seams: none, one comb, two combs, steps wherever they are.
DEGREES = {1: 0.5, 3: 0.35, 6: 0.15}
SPLINE = 0.1
SEAMS = (0.4, 0.3, 0.2, 0.1)
#: Shapes drawn to tell how much they differ.
DRAWN = 48
#: Share below which shapes of one kind are left out of the mean.
LEAST = 1e-4
NAMES = {1: "constant", 3: "plane", 6: "quadratic"}


class Member(NamedTuple):
    """Shapes of one kind."""

    name: str
    degree: int
    spline: Spline
    shapes: Steps | Pairs

    def columns(self, i: int, frame: Frame, p: Array) -> Array:
        """Return the terms and the steps (n, k) of one shape at places (n, 2)."""
        x = frame.terms(p, self.spline)
        at, _ = self.shapes.one(i)
        steps = frame.bin_of(p)[:, None] >= at
        return np.concatenate([x[:, : self.degree], x[:, 6:], steps], axis=1)

    def precision(self, i: int) -> Array:
        """Return the prior precision (k, k) of one shape's coefficients and steps."""
        prior = self.shapes.base.prior
        at, covariance = self.shapes.one(i)
        out = np.zeros((len(prior) + len(at), len(prior) + len(at)))
        out[: len(prior), : len(prior)] = np.diag(prior)
        out[len(prior) :, len(prior) :] = np.linalg.inv(covariance)
        return out

    def size(self, i: int) -> int:
        """Free parameters per component of one shape; a place counts as half a parameter."""
        spline = self.spline.pieces + 1 if self.spline.pieces else 0
        n = len(self.shapes.one(i)[0])
        return self.degree + spline + (n + 1 if n else 0)


@cache
def _terms(degree: int, count: int) -> Terms:
    """Return the terms of a polynomial and of the spline beside it, of ``count`` in all."""
    column = np.r_[:degree, 6:count].astype(np.intp)
    prior = np.full(len(column), BEND**-2.0)
    prior[:degree] = RAMP**-2.0
    prior[0] = 1e-9
    return Terms.of(column, prior)


class Drawn(NamedTuple):
    """One shape among those that the mean is made of."""

    member: Member
    i: int
    part: float  #: of the draws
    posterior: tuple[tuple[Array, Array], ...]  #: of each component, see ``Base.posterior``


@dataclass(frozen=True)
class Average:
    """The mean of all shapes, and what it is made of."""

    frame: Frame
    polynomial: Array  #: (6, 2) px
    splines: Mapping[Spline, Array]  #: coefficients (k, 2), px
    jumps: Array  #: (bins, 2) px: steps at the start of each bin
    members: Sequence[Member]
    shares: Sequence[Array]  #: of each member's shapes

    def at(self, p: Array) -> Array:
        """Return the modelled displacement (n, 2) at places (n, 2), px."""
        f = self.frame
        profile = np.cumsum(self.jumps, axis=0)

        def plain(p: Array) -> Array:
            value = f.terms(p) @ self.polynomial + profile[f.bin_of(p)]
            for spline, beta in self.splines.items():
                value = value + f.terms(p, spline)[:, 6:] @ beta
            return np.asarray(value)

        faded = fade(f.hull, f.reach, plain)
        if len(p) <= 65536:
            return faded(p)
        return np.concatenate([faded(p[i : i + 65536]) for i in range(0, len(p), 65536)])

    def most_probable(self) -> tuple[Member, int]:
        """Return the shape with the largest share."""
        k = max(range(len(self.members)), key=lambda k: float(self.shares[k].max()))
        return self.members[k], int(self.shares[k].argmax())

    def sizes(self, member: Member, i: int) -> Array:
        """Return the steps (bins, 2) of one shape, px."""
        alone = np.zeros(member.shapes.log.shape)
        alone[i] = 1.0
        return member.shapes.jumps(alone)

    @cached_property
    def drawn(self) -> list[Drawn]:
        """Shapes as often as they are probable: every 48th part of all shares.

        Each comes once, with the part of the draws that fell to it.
        """
        total = np.cumsum([s.sum() for s in self.shares])
        count: dict[tuple[int, int], int] = {}
        for level in (np.arange(DRAWN) + 0.5) / DRAWN * total[-1]:
            k = int(np.searchsorted(total, level))
            within = np.cumsum(self.shares[k])
            i = int(np.searchsorted(within, level - (total[k] - within[-1])))
            one = k, min(i, len(within) - 1)
            count[one] = count.get(one, 0) + 1
        found = []
        for (k, i), n in count.items():
            shapes = self.members[k].shapes
            both = tuple(shapes.base.posterior(c, *shapes.one(i)) for c in (0, 1))
            found.append(Drawn(self.members[k], i, n / DRAWN, both))
        return found

    def variance(self, p: Array) -> Array:
        """Return the variance (n, 2) of the modelled value, the shapes' differences in it."""
        f = self.frame
        first, second = np.zeros((len(p), 2)), np.zeros((len(p), 2))
        for member, i, part, posterior in self.drawn:
            x = fade(f.hull, f.reach, partial(member.columns, i, f))(p)
            for c, (beta, spread) in enumerate(posterior):
                value = x @ beta
                first[:, c] += part * value
                second[:, c] += part * (value**2 + ((x @ spread) * x).sum(axis=1))
        return np.maximum(second - first**2, 0.0)

    def along(self, p: Array, direction: Array) -> tuple[Array, Array]:
        """Return mean and variance (m, 2) of the error's products with ``direction`` (n, m, 2).

        The error itself, unseen steps included, not the faded value that is taken off.
        """
        everywhere = replace(self.frame, hull=None)
        mean, square = np.zeros(direction.shape[1:]), np.zeros(direction.shape[1:])
        flat = direction.reshape(len(p), -1)
        bins = everywhere.bin_of(p)
        per_bin = np.stack([np.bincount(bins, v, everywhere.bins) for v in flat.T])
        beyond = np.cumsum(per_bin[:, ::-1], axis=1)[:, ::-1]
        products = cache(lambda spline: flat.T @ everywhere.terms(p, spline))
        for member, i, part, posterior in self.drawn:
            x, at = products(member.spline), member.shapes.one(i)[0]
            whole = np.concatenate([x[:, : member.degree], x[:, 6:], beyond[:, at]], axis=1)
            whole = whole.reshape(*mean.shape, -1)
            for c, (beta, spread) in enumerate(posterior):
                sums = whole[:, c]
                value = sums @ beta
                mean[:, c] += part * value
                square[:, c] += part * (value**2 + ((sums @ spread) * sums).sum(axis=1))
        return mean, np.maximum(square - mean**2, 0.0)


class Shapes:
    """All shapes of the matching error, weighed by the ground.

    Parameters
    ----------
    frame
        Where they live.
    p, y
        Ground: places (n, 2) and displacements (n, 2), px.
    weight, sigma
        The nodes' weights (n,) and the width of their core (2,), px.
    repeats
        Nodes per independent measurement.
    pieces
        Pieces that splines across and along the track may have.
    module
        Width of a detector module, px.
    terms
        The frame's terms at ``p`` beside a spline, which are needed more than once.
    steps
        Steps (px across the track) that were found without regard to modules.
    """

    def __init__(
        self, frame: Frame, p: Array, y: Array, weight: Array, sigma: Array, repeats: float,
        pieces: Sequence[Sequence[int]], module: float, terms: Callable[[Spline], Array],
        steps: Sequence[float] = (),
    ) -> None:  # fmt: skip
        self.frame = frame
        self.ground = p, y, weight, sigma, repeats
        self.independent = float(weight.sum()) / repeats
        self.members: list[Member] = []
        kappa = 1.0 / (repeats * sigma**2)
        bins = frame.bin_of(p)

        def beyond(values: Array) -> Array:
            out = np.empty((frame.bins, values.shape[1]))
            _kernels.beyond(np.ascontiguousarray(values), weight, bins, out)
            return out

        with_y, with_plain = beyond(y).T.copy(), beyond(terms(NO_SPLINE))
        mass = with_plain[:, 0].copy()
        splines = [NO_SPLINE]
        splines += [Spline(axis, k) for axis in (0, 1) for k in pieces[axis] if k]
        nowhere = np.zeros((1, 0), np.intp)
        bases: list[tuple[Base, int, Spline, float]] = []
        for spline in splines:
            x = terms(spline)
            sums, with_x = Normal.of(x, y, weight), with_plain
            if spline.pieces:
                with_x = np.concatenate([with_plain, beyond(x[:, 6:])], axis=1)
            share = SPLINE / (len(splines) - 1) if spline.pieces else 1.0 - SPLINE
            for degree in DEGREES:
                shape = _terms(degree, x.shape[1])
                of_terms = Sums(with_x.take(shape.column, axis=1), with_y, mass)
                base = Base(sums.gram, sums.moment, shape, of_terms, kappa)
                log_prior = float(np.log(DEGREES[degree] * share))
                bases.append((base, degree, spline, log_prior))
                name = "stripes" if spline.pieces else NAMES[degree]
                log = np.array([base.log + log_prior + np.log(SEAMS[0])])
                plain = Steps(base, nowhere, NO_STEPS, log)
                self.members.append(Member(name, degree, spline, plain))
        self._seams(bases, mass, module / frame.width, frame.bin_at(steps))

    def _seams(
        self, bases: Sequence[tuple[Base, int, Spline, float]], mass: Array, period: float,
        free: NDArray[np.intp],
    ) -> None:  # fmt: skip
        """Add the shapes with seams, beside no spline and the best of either direction."""
        best = {NO_SPLINE}
        for axis in (0, 1):
            found = [b for b in bases if b[2].pieces and b[2].axis == axis]
            best |= {max(found, key=lambda b: b[0].log)[2]} if found else set()
        every = combs(len(mass), period)
        rows = [at for group in every for at in group]
        if not rows:
            return
        few = rows[::COARSE]
        staggers = Staggers(few, mass)
        two = np.log(SEAMS[2] * 2.0 / max(len(few) * (len(few) - 1), 1))
        one = np.log(SEAMS[1] / (len(rows) * len(DEVIATIONS)))
        pairs = [(*b, Pairs(b[0], staggers, b[3] + two)) for b in bases if b[2] in best]
        top = max(float(q.log.max(initial=-np.inf)) for *_, q in pairs)
        # one comb is a pair at almost the same place: no base is lost with it
        pairs = [b for b in pairs if b[4].log.max(initial=-np.inf) >= top - 2.0 * NEGLIGIBLE]
        kinds: list[list[Steps | Pairs]] = [[q] if q.log.size else [] for *_, q in pairs]

        def add(at: NDArray[np.intp], priors: Sequence[StepPrior], log_prior: float) -> None:
            found = all_steps(
                [b[0] for b in pairs], at, priors, [b[3] + log_prior for b in pairs]
            )
            for kind, more in zip(kinds, found, strict=True):
                kind += more

        for at in every:
            add(at, [comb_prior(at.shape[1], d) for d in DEVIATIONS], one)
        if len(free):
            # each place is one of as many as there are nodes across the track
            places = len(free) * np.log(len(mass) / FINE)
            prior = StepPrior.of(STAGGER**2 * np.eye(len(free)))
            add(free[None], [prior], float(np.log(SEAMS[3]) - places))
        for (_, degree, spline, _, _), kind in zip(pairs, kinds, strict=True):
            self.members += [Member("stripes", degree, spline, k) for k in kind]

    @cached_property
    def _weights(self) -> tuple[Array, Array, list[Array]]:
        """Largest log of each member's shapes, their sum and all of them relative to that."""
        logs = [m.shapes.log for m in self.members]
        size = np.array([len(log) for log in logs])
        end = np.cumsum(size)
        every = np.concatenate(logs)
        top = np.maximum.reduceat(every, end - size)
        weight = np.exp(every - np.repeat(top, size))
        parts = [weight[e - n : e] for e, n in zip(end.tolist(), size.tolist(), strict=True)]
        return top, np.add.reduceat(weight, end - size), parts

    @cached_property
    def criterion(self) -> dict[str, float]:
        """-2 log of each model's probability, at most 1400."""
        top, mass, _ = self._weights
        out = dict.fromkeys([*NAMES.values(), "stripes"], 0.0)
        for m, weight in zip(self.members, np.exp(top - top.max()) * mass, strict=True):
            out[m.name] += float(weight)
        total = sum(out.values())
        share = {name: max(v / total, 1e-304) for name, v in out.items()}
        return {name: abs(2.0 * float(np.log(v))) for name, v in share.items()}

    def gain(self, member: Member, i: int) -> float:
        """Return how much better than the constant a shape predicts ground it did not see.

        Of nine blocks of ground one is left out after the other: the constant's squared error
        there less the shape's, in units of the error's variance; -inf where one block holds
        all the ground there is.
        """
        p, y, weight, sigma, repeats = self.ground
        x, precision = member.columns(i, self.frame, p), member.precision(i)
        label = blocks(p)
        parts = [Normal.of(x[b], y[b], weight[b]) for b in (label == k for k in range(9))]
        whole = Normal.of(x, y, weight)
        gram, moment, mass = whole.gram, whole.moment, whole.mass
        gain = 0.0
        for out in parts:
            if not mass - out.mass > 1e-9 * mass:
                return -np.inf
            for c in (0, 1):
                unit = repeats * sigma[c] ** 2
                rest = gram - out.gram
                flat = (moment[0, c] - out.moment[0, c]) / rest[0, 0]
                beta = np.linalg.solve(rest + precision * unit, moment[:, c] - out.moment[:, c])
                loss = beta @ out.gram @ beta - 2.0 * beta @ out.moment[:, c]
                constant = flat**2 * out.gram[0, 0] - 2.0 * flat * out.moment[0, c]
                gain += float(constant - loss) / unit
        return gain

    def mean(self, only: str | None = None) -> Average:
        """Return the mean of all shapes, or of those of one model."""
        top, mass, weight = self._weights
        found = [k for k, m in enumerate(self.members) if only in (None, m.name)]
        scale = np.exp(top[found] - top[found].max())
        whole = scale * mass[found]
        kept = np.flatnonzero(whole > LEAST * whole.sum())
        scale = scale / whole[kept].sum()
        members = [self.members[found[k]] for k in kept]
        shares = [weight[found[k]] * scale[k] for k in kept]
        polynomial = np.zeros((6, 2))
        splines: dict[Spline, Array] = {}
        jumps = np.zeros((self.frame.bins, 2))
        for m, share in zip(members, shares, strict=True):
            base = m.shapes.base
            here = m.shapes.jumps(share)
            jumps += here
            beta = share.sum() * base.beta
            if here.any():
                beta = beta - np.matmul(here.T[:, None], base.stiff)[:, 0]
            polynomial[: m.degree] += beta[:, : m.degree].T
            if m.spline.pieces:
                size = (beta.shape[1] - m.degree, 2)
                splines.setdefault(m.spline, np.zeros(size))[:] += beta[:, m.degree :].T
        return Average(self.frame, polynomial, splines, jumps, members, shares)
