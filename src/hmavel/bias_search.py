"""The search for a pair's matching error: the ground's nodes, the shapes, the choice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np

from hmavel._types import BoolArray, Displacement
from hmavel.bias_average import NAMES, Average, Shapes
from hmavel.bias_frame import Frame
from hmavel.bias_models import (
    WEIGHTED_VARIANCE,
    Array,
    Fit,
    core_sigma,
    find_steps,
    node_redundancy,
    robust_fit,
    shape_over,
    tukey,
)
from hmavel.bias_record import Bias, spread_of
from hmavel.core import core_scatter, middle
from hmavel.sampling import drawn

log = logging.getLogger(__name__)

#: Nodes that enter the fit; more add nothing but time.
SAMPLE = 16_000
#: Pieces a spline may have, and the nodes that each must be long.
PIECES, MIN_PIECE = (4, 9, 18, 36), 8
#: A shape asked for by name is refused when its variance over the nodes exceeds that on
#: the ground by this factor.
MAX_EXTRAPOLATION = 20.0
#: Independent measurements that each parameter of a shape must have.
MIN_PER_PARAMETER = 6.0
#: Probability of the constant up to which ``auto`` takes another shape; where blocks of
#: ground are held out they must speak as clearly.
DOUBT = 0.001
#: Sigmas by which a correction must be an improvement for ``auto`` to take it off.
CAUTION = 1.0
#: Distances from the ground's outline, in reaches, between which that is judged together, and
#: their middles, between which it is interpolated.
RINGS, MIDDLES = (0.0, 0.5, 1.0, np.inf), (0.0, 0.25, 0.75, 1.5)
#: Times that the nodes' weights are found anew beside the mean of the shapes.
ROUNDS = 2
#: -2 log probability of the constant up to which one round is enough to choose it.
CLEAR = 4.0


class Search:
    """One pair's ground, and the shapes tried on it."""

    def __init__(
        self, d: Displacement, used: BoolArray, angle: float, reach: float, module: float
    ) -> None:
        self.d, self.used, self.angle, self.module = d, used, angle, module
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        row, col = np.asarray(d.row, np.float64), np.asarray(d.col, np.float64)
        at = np.nonzero(used)
        self.origin = (float(row[at[0]].mean()), float(col[at[1]].mean()))
        row, col = (row - self.origin[0])[:, None], col - self.origin[1]
        self.places = np.empty((*used.shape, 2))
        # the along-track direction is (cos, -sin) in (row, col): clockwise from down is left
        self.places[..., 0], self.places[..., 1] = col * c + row * s, row * c - col * s
        ground = np.stack([d.drow[used], d.dcol[used]]).astype(np.float64)
        self.shift = np.array([middle(component)[0] for component in ground])
        self.all_y = np.ascontiguousarray(ground.T - self.shift)
        count = len(self.all_y)
        take = np.sort(drawn(count, SAMPLE))
        #: the same array wherever it is asked for: what is known of places is kept by array
        self.ground = self.places[used]
        self.p, self.y = self.ground, self.all_y
        if len(take) < count:
            self.p, self.y = self.ground[take], self.all_y[take]
        self.take = take
        self.thin = count / len(take)
        self.spacing = float(d.col[1] - d.col[0]) if len(d.col) > 1 else 1.0
        self.everywhere = everywhere = self.places.reshape(-1, 2)
        few = max(1, len(everywhere) // 2000)
        self.domain = everywhere[::few] if few > 1 else everywhere
        self.shape = shape_over(self.p, 1, reach)
        self.frame = Frame.over(
            everywhere, self.shape.limits, self.shape.hull, reach, self.spacing
        )
        self.redundancy = 1.0

    def run(self, requested: str) -> Bias:
        """Return the matching error by the model asked for."""
        start = self.y - core_scatter(self.y[:, 0], self.y[:, 1]).centre
        core = core_sigma(start)
        constant = robust_fit(self.shape, self.p, self.y, start, core)
        if requested == "constant":
            self._measure_redundancy(constant, constant.sigma)
            return self._of_fit(requested, constant)
        rich = robust_fit(replace(self.shape, degree=6), self.p, self.y, start, core)
        shapes = self._shapes(rich, quick=requested == "auto")
        criterion = shapes.criterion
        if requested == "auto":
            return self._chosen(shapes, constant, criterion)
        mean = shapes.mean(requested)
        member, i = mean.most_probable()
        reason = ""
        if shapes.independent < MIN_PER_PARAMETER * member.size(i):
            reason = (
                f"expected {MIN_PER_PARAMETER:g} independent measurements per parameter for "
                f"{requested!r}, got fewer from {int(self.used.sum())} nodes"
            )
        elif requested == "stripes":
            everything = np.ones((len(RINGS), 2))
            return self._of_mean(requested, requested, mean, constant, everything, criterion)
        else:
            shape = replace(self.shape, degree=member.degree)
            start = self.y - mean.at(self.p)
            fit = robust_fit(shape, self.p, self.y, start, core_sigma(start))
            leverage = float(fit.leverage(self.domain).mean())
            if self._extrapolation(fit, leverage) <= MAX_EXTRAPOLATION:
                return self._of_fit(requested, fit, criterion)
            reason = (
                f"expected ground spread over the scene for {requested!r}, got it in one part"
            )
        log.warning("bias: %s; the constant is used", reason)
        return self._of_fit(requested, constant, criterion, reason)

    def _shapes(self, rich: Fit, quick: bool) -> Shapes:
        """Weigh all shapes; weights, width and redundancy are those beside the best of them."""
        extent = [self.frame.limits[i + 1] - self.frame.limits[i] for i in (0, 2)]
        pieces = [[k for k in PIECES if k * MIN_PIECE * self.spacing <= e] for e in extent]
        model: Fit | Average = rich
        plane = replace(self.shape, degree=3)
        steps: tuple[float, ...] = ()
        terms = cache(partial(self.frame.terms, self.p))
        for k in range(ROUNDS):
            residual = self.y - model.at(self.p)
            sigma = np.maximum(core_sigma(residual), 1e-9)
            weight = tukey(residual, sigma)
            self._measure_redundancy(model, sigma)
            if k:  # beside a ramp alone steps are not seen yet
                steps = find_steps(
                    plane, self.p, self.y, weight, sigma, self.spacing,
                    max(self.redundancy / self.thin, 1e-3),
                )  # fmt: skip
            shapes = Shapes(
                self.frame, self.p, self.y, weight, sigma,
                WEIGHTED_VARIANCE * self.redundancy / self.thin, pieces, self.module, terms,
                steps,
            )  # fmt: skip
            if quick and shapes.criterion["constant"] < CLEAR:
                break
            model = shapes.mean("stripes")
        return shapes

    def _chosen(
        self, shapes: Shapes, constant: Fit, criterion: Mapping[str, float]
    ) -> Bias:
        """Take the mean of all shapes off as far as that is hardly ever worse."""
        enough = -2.0 * np.log(DOUBT)
        if criterion["constant"] < enough:  # most pairs end here
            return self._of_fit("auto", constant, criterion)
        mean = shapes.mean()
        member, i = mean.most_probable()
        names = sorted(criterion, key=lambda m: criterion[m])
        name = next(m for m in names if m != "constant")
        few = shapes.independent < MIN_PER_PARAMETER * member.size(i)
        if few or shapes.gain(member, i) < enough:
            return self._of_fit("auto", constant, criterion)
        share = self._share(mean, constant)
        if not share.any():
            return self._of_fit("auto", constant, criterion)
        return self._of_mean(name, "auto", mean, constant, share, criterion)

    def _share(self, mean: Average, constant: Fit) -> Array:
        """Return how much (rings, 2) of the shape is taken off besides the constant.

        With the share s of a correction q the squared error over a ring's nodes falls by
        2 s <q, e> - s^2 <q, q>, e being the error less the constant: s is the largest, up to
        1, with which that is positive even when <q, e> is ``CAUTION`` sigmas less than it
        seems. Farther out there is never more of it than farther in.
        """
        flat = constant.at(self.domain)
        extra = mean.at(self.domain) - flat
        ring = np.searchsorted(np.asarray(RINGS), self._distance(self.domain), side="left")
        inside = ring[:, None] == np.arange(len(RINGS))
        parts = inside[:, :, None] * extra[:, None, :]
        product, variance = mean.along(self.domain, parts)
        product = product - (parts * flat[:, None, :]).sum(axis=0)
        sure = product - CAUTION * np.sqrt(variance)
        share = 2.0 * sure / np.maximum((parts**2).sum(axis=0), 1e-30)
        share[~inside.any(axis=0)] = 1.0
        return np.asarray(np.minimum.accumulate(np.clip(share, 0.0, 1.0)))

    def _distance(self, p: Array) -> Array:
        """Return the distance (n,) of places from the ground's outline, in reaches."""
        reach = self.shape.reach
        return self.shape.hull.distance(p, reach) / max(reach, 1e-9)

    def _extrapolation(self, fit: Fit, leverage: float) -> float:
        """Return the mean leverage of all places over that of the ground."""
        on_ground = float((fit.leverage(self.p) * fit.weight).sum() / fit.weight.sum())
        return leverage / max(on_ground, 1e-30)

    def _measure_redundancy(self, fit: Fit | Average, sigma: Array) -> None:
        residual = np.full((*self.d.drow.shape, 2), np.nan)
        rest = self.all_y - fit.at(self.ground)
        rest[tukey(rest, sigma) < 0.25] = np.nan
        residual[self.used] = rest / sigma
        self.redundancy = node_redundancy(residual)

    # -- what comes out ----------------------------------------------------------------

    def _of_fit(
        self, requested: str, fit: Fit, criterion: Mapping[str, float] | None = None,
        reason: str = "",
    ) -> Bias:  # fmt: skip
        repeats = WEIGHTED_VARIANCE * self.redundancy / self.thin
        leverage = float(fit.leverage(self.domain).mean())
        rms = np.sqrt(leverage * repeats)
        beta = np.zeros((6, 2))
        beta[: fit.shape.degree] = fit.beta
        name = NAMES[fit.shape.degree]
        return self._result(
            name, requested, fit.at, rms * fit.sigma, self._extrapolation(fit, leverage),
            _coefficients(beta, fit.shape.unit, self.shift, self.origin), criterion or {},
            None, reason,
        )  # fmt: skip

    def _of_mean(
        self, name: str, requested: str, mean: Average, constant: Fit, share: Array,
        criterion: Mapping[str, float],
    ) -> Bias:  # fmt: skip
        def error(p: Array) -> Array:
            flat, far = constant.at(p), self._distance(p)
            taken = np.stack([np.interp(far, MIDDLES, s) for s in share.T], axis=1)
            return np.asarray(flat + taken * (mean.at(p) - flat))

        variance = mean.variance(self.domain[::4]).mean(axis=0)
        on_ground = mean.variance(self.p[:: max(1, len(self.p) // 500)]).mean()
        coefficients = _coefficients(
            mean.polynomial, self.frame.unit, self.shift, self.origin
        )
        member, i = mean.most_probable()
        at = np.unique(member.shapes.one(i)[0])
        if len(at):
            size = mean.sizes(member, i)
            coefficients["step_places"] = tuple(self.frame.low + self.frame.width * at)
            coefficients["step_row"], coefficients["step_col"] = (tuple(v) for v in size[at].T)
        return self._result(
            name, requested, error, np.sqrt(variance),
            float(variance.mean() / max(on_ground, 1e-30)), coefficients, criterion, share,
        )  # fmt: skip

    def _result(
        self,
        model: str,
        requested: str,
        error_at: Callable[[Array], Array],
        sigma: Array,
        extrapolation: float,
        coefficients: Mapping[str, tuple[float, ...]],
        criterion: Mapping[str, float],
        share: Array | None,
        reason: str = "",
    ) -> Bias:
        d = self.d
        error = error_at(self.everywhere)
        residual = self.y - error[np.flatnonzero(self.used)[self.take]]
        error = error + self.shift
        drow, dcol = (error[:, i].reshape(d.drow.shape) for i in (0, 1))
        corrected = replace(
            d,
            drow=(d.drow - drow).astype(d.drow.dtype),
            dcol=(d.dcol - dcol).astype(d.dcol.dtype),
        )
        weight = tukey(residual, np.maximum(core_sigma(residual), 1e-9))
        return Bias(
            model=model,
            requested=requested,
            count=int(self.used.sum()),
            inliers=round(float((weight > 0.1).sum()) * self.thin),
            coefficients=coefficients,
            corrected=corrected,
            before=spread_of(d, self.used),
            after=spread_of(corrected, self.used),
            drow=drow,
            dcol=dcol,
            sigma_row=float(sigma[0]),
            sigma_col=float(sigma[1]),
            redundancy=self.redundancy,
            extrapolation=extrapolation,
            criterion=criterion,
            share=() if share is None else tuple((float(a), float(b)) for a, b in share),
            column_angle=self.angle,
            flag=bool(reason),
            reason=reason,
        )


def _coefficients(
    beta: Array, unit: float, shift: Array, origin: tuple[float, float]
) -> dict[str, tuple[float, ...]]:
    names = ("constant", "across", "along", "across2", "across_along", "along2")
    power = (0, 1, 1, 2, 2, 2)
    out: dict[str, tuple[float, ...]] = {"origin": origin}
    for name, n, b in zip(names, power, beta, strict=True):
        if n and not b.any():
            continue
        value = b * (1000.0 / unit) ** n + (shift if n == 0 else 0.0)
        out[name] = (float(value[0]), float(value[1]))
    return out
