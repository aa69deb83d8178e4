"""The matching error of a pair, read off ground that does not move, and its removal.

displacement -> corrected. The shapes and their fit are in ``bias_models``; equations and
measurements in docs/method.md, section Bias.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from hmavel._types import BoolArray, Displacement, FloatArray
from hmavel.bias_menu import MIN_PER_PARAMETER, Menu
from hmavel.bias_models import (
    POLYNOMIALS,
    WEIGHTED_VARIANCE,
    Array,
    Fit,
    Shape,
    find_steps,
    node_redundancy,
    robust_fit,
    shape_over,
    tukey,
)
from hmavel.core import NMAD, core_scatter
from hmavel.errors import StableGroundError
from hmavel.gates import spread_of_places
from hmavel.sampling import drawn

log = logging.getLogger(__name__)

MODELS = ("constant", "plane", "quadratic", "stripes", "auto", "none")
#: Nodes that enter the fit; more add nothing but time.
SAMPLE = 16_000
#: Pieces a spline may have, and the nodes that each must be long.
PIECES, MIN_PIECE = (0, 4, 9, 18, 36), 8
#: A shape asked for by name is refused when its variance over the nodes exceeds that on
#: the ground by this factor.
MAX_EXTRAPOLATION = 20.0


@dataclass(frozen=True)
class Spread:
    """Where displacements over stable ground lie, px; NaN when there are none."""

    median_row: float
    median_col: float
    nmad_row: float
    nmad_col: float


@dataclass(frozen=True)
class Bias:
    """A pair's matching error and the displacement without it."""

    model: str  #: what was fitted: "constant", "plane", "quadratic", "stripes" or "none"
    requested: str  #: what was asked for
    count: int  #: stable nodes with an accepted match
    inliers: int  #: those of them that the fit follows (weight above a tenth)
    coefficients: Mapping[str, tuple[float, ...]]  #: px; keys in the notes of ``fit_bias``
    corrected: Displacement
    before: Spread
    after: Spread
    drow: FloatArray  #: the error itself, px, at every node
    dcol: FloatArray
    sigma_row: float  #: standard error of ``drow``, px, root mean square over the nodes
    sigma_col: float
    redundancy: float  #: neighbouring nodes per independent measurement, estimated
    extrapolation: float  #: mean variance of the error at all nodes over that on the ground
    criterion: Mapping[str, float]  #: of each model the ground admits; smaller is better
    column_angle: float = 0.0  #: degrees clockwise from the image's columns
    flag: bool = False  #: True when the model asked for could not be had
    reason: str = ""  #: why


def fit_bias(
    d: Displacement,
    stable: ArrayLike,
    *,
    model: str = "auto",
    column_angle: float | None = None,
    min_count: int = 100,
    min_spread: float = 40.0,
    reach: float = 333.0,
) -> Bias:
    """Fit the matching error on stable ground and take it off every node.

    Parameters
    ----------
    d
        Displacement, px; its good nodes on stable ground are used.
    stable
        True on ground that does not move, shape of ``d.drow``. Must not hold ice.
    model
        ``"constant"`` (a shift), ``"plane"``, ``"quadratic"``, ``"stripes"`` (a polynomial,
        steps between detector modules and smooth profiles across and along the track),
        ``"none"``, or ``"auto"``: the one of them that the ground supports best.
    column_angle
        Direction of the scene's own columns: degrees clockwise from the image's columns
        (about 13 for Landsat's descending track over High Mountain Asia; see ``track.py``).
        None = not turned.
    min_count
        Stable nodes below which nothing is fitted.
    min_spread
        Root mean square distance of the stable nodes from their middle, px, below which
        nothing is fitted: one patch may be a landslide, or a match of its own. A square of
        12 by 12 nodes, 96 px wide, has 40.
    reach
        Distance from the ground's outline, px, up to which a shape is continued; farther
        out the value of the nearest such place is held. 333 px of 15 m are 5 km.

    Returns
    -------
    Bias
        ``corrected`` has NaN and quality as ``d``. With too little ground ``model`` is
        ``"none"``, ``flag`` is set, ``reason`` says what is missing, and ``corrected`` is
        ``d`` itself.

    Raises
    ------
    ValueError
        ``stable`` has another shape, or an argument is out of range.

    Notes
    -----
    Robust to 40 % false matches: the fit starts from the mode, and its cutoff follows the
    core of the residuals. ``auto`` minimises a Bayesian criterion whose price per parameter
    grows with the model's variance over the nodes to be corrected, so that ground in one
    corner buys no plane, and asks that the model predicts held-out blocks of ground better
    than the constant does.

    ``coefficients``, each (row, col): ``constant`` px; ``across``, ``along`` px per 1000 px;
    ``across2``, ``across_along``, ``along2`` px per (1000 px)^2, about ``origin`` (row, col);
    ``step_places`` px across the track from there, ``step_row``, ``step_col`` px.

    Examples
    --------
    >>> import numpy as np
    >>> from hmavel import Displacement
    >>> drow, dcol = np.random.default_rng(0).normal(0.2, 0.1, (2, 60, 60))
    >>> one, axis = np.ones((60, 60)), 8.0 * np.arange(60)
    >>> d = Displacement(drow, dcol, one, one, one, one, np.zeros((60, 60), "u1"), axis, axis)
    >>> b = fit_bias(d, np.ones((60, 60), bool))
    >>> b.model, round(b.coefficients["constant"][0], 1)
    ('constant', 0.2)
    """
    ground = np.asarray(stable)
    if ground.shape != d.drow.shape or ground.dtype != np.bool_:
        raise ValueError(
            f"bias stable: expected a bool array of shape {d.drow.shape}, got {ground.dtype} "
            f"{ground.shape}; put the mask on the nodes' grid"
        )
    if model not in MODELS:
        raise ValueError(
            f"bias model: expected one of {', '.join(MODELS)}, got {model!r}; 'auto' chooses"
        )
    column_angle = 0.0 if column_angle is None else column_angle
    if min_count < 3 or not min(reach, min_spread) >= 0 or not abs(column_angle) <= 90:
        raise ValueError(
            "bias: expected min_count >= 3, reach and min_spread >= 0 and column_angle in "
            f"-90 ... 90, got {min_count}, {reach}, {min_spread}, {column_angle}; leave them "
            "out for the defaults"
        )
    used = ground & d.good & np.isfinite(d.drow) & np.isfinite(d.dcol)
    count = int(used.sum())
    if model == "none":
        return _untouched(d, used, model, reason="")
    row, col = np.nonzero(used)
    spread = spread_of_places(d.row[row], d.col[col])
    reason = ""
    if count < min_count:
        reason = f"expected {min_count} stable nodes, got {count}"
    elif spread < min_spread:
        reason = f"expected stable nodes spread over {min_spread:g} px, got {spread:.0f} px"
    if reason:
        log.warning("bias: %s; widen the stable mask or drop the pair", reason)
        return _untouched(d, used, model, reason=reason)
    try:
        return _Search(d, used, column_angle, reach).run(model)
    except StableGroundError as error:
        log.warning("%s", error)
        return _untouched(d, used, model, reason=f"expected {error.expected}, got {error.got}")


def spread_of(d: Displacement, where: BoolArray) -> Spread:
    """Return median and NMAD of both components over the nodes ``where``, px."""
    figures = []
    for component in (d.drow, d.dcol):
        v = component[where].astype(np.float64)
        v = v[np.isfinite(v)]
        middle = float(np.median(v)) if v.size else float("nan")
        nmad = float(NMAD * np.median(np.abs(v - middle))) if v.size else float("nan")
        figures += [middle, nmad]
    return Spread(figures[0], figures[2], figures[1], figures[3])


def _untouched(d: Displacement, used: BoolArray, requested: str, reason: str) -> Bias:
    zero = np.zeros(d.drow.shape, dtype=np.float32)
    nan = float("nan")
    spread = spread_of(d, used)
    return Bias(
        model="none", requested=requested, count=int(used.sum()), inliers=0, coefficients={},
        corrected=d, before=spread, after=spread, drow=zero, dcol=zero, sigma_row=nan,
        sigma_col=nan, redundancy=nan, extrapolation=nan, criterion={}, flag=bool(reason),
        reason=reason,
    )  # fmt: skip


class _Search:
    """One pair's ground, and the shapes tried on it."""

    def __init__(self, d: Displacement, used: BoolArray, angle: float, reach: float) -> None:
        self.d, self.used, self.angle = d, used, angle
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        row, col = np.meshgrid(
            np.asarray(d.row, np.float64), np.asarray(d.col, np.float64), indexing="ij"
        )
        self.origin = (float(row[used].mean()), float(col[used].mean()))
        row, col = row - self.origin[0], col - self.origin[1]
        # the along-track direction is (cos, -sin) in (row, col): clockwise from down is left
        self.places = np.stack([col * c + row * s, row * c - col * s], axis=-1)
        ground = np.stack([d.drow[used], d.dcol[used]], axis=1).astype(np.float64)
        self.shift = np.median(ground, axis=0)
        self.all_y = ground - self.shift
        take = np.sort(drawn(len(ground), SAMPLE))
        self.p, self.y = self.places[used][take], self.all_y[take]
        self.thin = len(ground) / len(take)
        self.spacing = float(d.col[1] - d.col[0]) if len(d.col) > 1 else 1.0
        everywhere = self.places.reshape(-1, 2)
        self.domain = everywhere[:: max(1, len(everywhere) // 2000)]
        self.shape = shape_over(self.p, 1, reach)
        self.redundancy = 1.0

    def run(self, requested: str) -> Bias:
        start = self.y - core_scatter(self.y[:, 0], self.y[:, 1]).centre
        shapes = {m: replace(self.shape, degree=k) for m, k in POLYNOMIALS.items()}
        constant = robust_fit(shapes["constant"], self.p, self.y, start)
        if requested == "constant":
            self._measure_redundancy(constant)
            return self._result("constant", requested, constant, {})
        rich = robust_fit(shapes["quadratic"], self.p, self.y, start)
        self._measure_redundancy(rich)
        wanted = MODELS[:4] if requested == "auto" else ("constant", requested)
        if "stripes" in wanted:
            shapes["stripes"], rich = self._stripes(rich)
            self._measure_redundancy(rich)
        menu = self._menu([shapes[m] for m in wanted], rich)
        criterion = {m: menu.criterion(shapes[m]) for m in wanted}
        if requested == "auto":
            order = sorted(wanted, key=lambda m: criterion[m])
            bar = menu.held_out(shapes["constant"])
            best = next(
                m for m in order if m == "constant" or menu.held_out(shapes[m]) < bar
            )
        else:
            best = requested
        if best == "constant":
            return self._result(best, requested, constant, criterion)
        fit = robust_fit(shapes[best], self.p, self.y, self.y - rich.at(self.p))
        reason = ""
        if not np.isfinite(criterion[best]):
            reason = (
                f"expected {MIN_PER_PARAMETER:g} independent measurements per parameter for "
                f"{best!r}, got fewer from {int(self.used.sum())} nodes"
            )
        elif self._extrapolation(fit) > MAX_EXTRAPOLATION:
            reason = f"expected ground spread over the scene for {best!r}, got it in one part"
        if reason:
            log.warning("bias: %s; the constant is used", reason)
            return self._result("constant", requested, constant, criterion, reason)
        return self._result(best, requested, fit, criterion)

    # -- what the ground supports ------------------------------------------------------

    def _extrapolation(self, fit: Fit) -> float:
        on_ground = float((fit.leverage(self.p) * fit.weight).sum() / fit.weight.sum())
        return float(fit.leverage(self.domain).mean()) / max(on_ground, 1e-30)

    def _stripes(self, quadratic: Fit) -> tuple[Shape, Fit]:
        """Choose polynomial, steps and profiles of the ``stripes`` shape."""
        rich = quadratic
        best = replace(self.shape, degree=3)
        extent = [best.limits[i + 1] - best.limits[i] for i in (0, 2)]
        pieces = [
            [k for k in PIECES if k == 0 or k * MIN_PIECE * self.spacing <= e] for e in extent
        ]
        for _ in range(2):
            redundancy = max(self.redundancy / self.thin, 1e-3)
            base = replace(best, across=0)
            steps = find_steps(base, self.p, self.y, rich, self.spacing, redundancy)
            across = [replace(best, steps=(), across=k) for k in pieces[0]]
            across += [replace(best, steps=steps, across=k) for k in pieces[0][:2]]
            tried = [
                replace(s, degree=k, along=n) for s in across for k in (3, 6) for n in pieces[1]
            ]
            menu = self._menu(tried, rich)
            best = min(tried, key=menu.criterion)
            if not (best.steps or best.across or best.along):
                return best, rich  # a polynomial after all: nothing to refine
            rich = robust_fit(best, self.p, self.y, self.y - rich.at(self.p))
        return best, rich

    def _menu(self, shapes: list[Shape], rich: Fit) -> Menu:
        per_node = self.thin / self.redundancy
        return Menu(shapes, rich, self.p, self.y, self.domain, per_node)

    def _measure_redundancy(self, fit: Fit) -> None:
        residual = np.full((*self.d.drow.shape, 2), np.nan)
        rest = self.all_y - fit.at(self.places[self.used])
        rest[tukey(rest, fit.sigma) < 0.25] = np.nan
        residual[self.used] = rest / fit.sigma
        self.redundancy = node_redundancy(residual)

    # -- what comes out ----------------------------------------------------------------

    def _result(
        self,
        model: str,
        requested: str,
        fit: Fit,
        criterion: Mapping[str, float],
        reason: str = "",
    ) -> Bias:
        d = self.d
        error = fit.at(self.places.reshape(-1, 2)) + self.shift
        drow, dcol = (error[:, i].reshape(d.drow.shape) for i in (0, 1))
        corrected = replace(
            d,
            drow=(d.drow - drow).astype(d.drow.dtype),
            dcol=(d.dcol - dcol).astype(d.dcol.dtype),
        )
        repeats = WEIGHTED_VARIANCE * self.redundancy / self.thin
        rms = np.sqrt(float(fit.leverage(self.domain).mean()) * repeats)
        return Bias(
            model=model,
            requested=requested,
            count=int(self.used.sum()),
            inliers=round(float((fit.weight > 0.1).sum()) * self.thin),
            coefficients=_coefficients(fit, self.shift, self.origin),
            corrected=corrected,
            before=spread_of(d, self.used),
            after=spread_of(corrected, self.used),
            drow=drow,
            dcol=dcol,
            sigma_row=float(rms * fit.sigma[0]),
            sigma_col=float(rms * fit.sigma[1]),
            redundancy=self.redundancy,
            extrapolation=self._extrapolation(fit),
            criterion={m: v for m, v in criterion.items() if np.isfinite(v)},
            column_angle=self.angle,
            flag=bool(reason),
            reason=reason,
        )


def _coefficients(
    fit: Fit, shift: Array, origin: tuple[float, float]
) -> dict[str, tuple[float, ...]]:
    names = ("constant", "across", "along", "across2", "across_along", "along2")
    power = (0, 1, 1, 2, 2, 2)
    out: dict[str, tuple[float, ...]] = {"origin": origin}
    for name, n, beta in zip(names[: fit.shape.degree], power, fit.beta, strict=False):
        value = beta * (1000.0 / fit.shape.unit) ** n + (shift if n == 0 else 0.0)
        out[name] = (float(value[0]), float(value[1]))
    if fit.shape.steps:
        k = fit.shape.degree
        size = fit.beta[k : k + len(fit.shape.steps)]
        out["step_places"] = fit.shape.steps
        out["step_row"] = tuple(float(v) for v in size[:, 0])
        out["step_col"] = tuple(float(v) for v in size[:, 1])
    return out
