"""What is known of a pair's matching error: the record, and what it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hmavel._types import BoolArray, Displacement, FloatArray
from hmavel.core import NMAD, middle


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
    criterion: Mapping[str, float]  #: -2 log of each model's probability
    #: of the shape beside the constant, (row, col), that is taken off within the ground's
    #: outline, up to half, one and two reaches from it; empty for a single polynomial
    share: tuple[tuple[float, float], ...] = ()
    column_angle: float = 0.0  #: degrees clockwise from the image's columns
    flag: bool = False  #: True when the model asked for could not be had
    reason: str = ""  #: why


def spread_of(d: Displacement, where: BoolArray) -> Spread:
    """Return median and NMAD of both components over the nodes ``where``, px."""
    figures = []
    for component in (d.drow, d.dcol):
        v = component[where].astype(np.float64)
        v = v[np.isfinite(v)]
        centre, deviation = middle(v) if v.size else (np.nan, np.nan)
        figures += [centre, NMAD * deviation]
    return Spread(figures[0], figures[2], figures[1], figures[3])


def untouched(d: Displacement, used: BoolArray, requested: str, reason: str) -> Bias:
    """Return the record of a pair from which nothing is taken off, and why."""
    zero = np.zeros(d.drow.shape, dtype=np.float32)
    nan = float("nan")
    spread = spread_of(d, used)
    return Bias(
        model="none", requested=requested, count=int(used.sum()), inliers=0, coefficients={},
        corrected=d, before=spread, after=spread, drow=zero, dcol=zero, sigma_row=nan,
        sigma_col=nan, redundancy=nan, extrapolation=nan, criterion={}, flag=bool(reason),
        reason=reason,
    )  # fmt: skip
