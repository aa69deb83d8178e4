"""Predicted errors of nodes, scaled so that they are true on ground that does not move.

The correlator predicts each node's sigma from its own window; light, shadow and terrain
add errors that a window cannot know. Bare ground shows how large they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmavel._types import Displacement
from hmavel.core import core_scatter, middle
from hmavel.errors import StableGroundError

Array = NDArray[np.float64]

#: Stable nodes that a class must have. Beyond the middles of the first and of the last class
#: the factor cannot change, so classes are narrow: where noise is strong the nodes with the
#: largest predictions err least beyond their neighbours, and wide classes made their sigma a
#: fifth too large.
PER_CLASS = 200
#: Classes at most.
MOST_CLASSES = 30
#: px; nodes that scatter by less were matched with themselves and say nothing of errors.
LEAST_ERROR = 1e-5
#: Times that each class's factor is averaged with its neighbours': windows overlap, so that
#: one node in sixteen says something of its own, and one class knows its factor to 25 %.
ROUNDS = 2


@dataclass(frozen=True)
class SigmaScale:
    """Factors on the predicted sigma, by class of predicted sigma; row and col apart."""

    sigma_row: Array  #: px, median predicted sigma of each class, increasing
    sigma_col: Array
    factor_row: Array  #: robust spread of the standardised residuals of the class and beside it
    factor_col: Array
    count: int  #: stable nodes used

    def apply(self, d: Displacement) -> Displacement:
        """Return ``d`` with scaled sigmas; between classes the factor is interpolated."""
        row = np.interp(_log(d.sigma_row), np.log(self.sigma_row), np.log(self.factor_row))
        col = np.interp(_log(d.sigma_col), np.log(self.sigma_col), np.log(self.factor_col))
        return replace(
            d,
            sigma_row=(d.sigma_row * np.exp(row)).astype(d.sigma_row.dtype),
            sigma_col=(d.sigma_col * np.exp(col)).astype(d.sigma_col.dtype),
        )


def scale_sigma(d: Displacement, stable: ArrayLike, *, min_count: int = 100) -> Displacement:
    """Scale every node's sigma so that bare ground scatters as predicted.

    Parameters
    ----------
    d
        Displacement with its matching error taken off, px.
    stable
        True on ground that does not move, shape of ``d.drow``.
    min_count
        Stable nodes below which nothing is scaled.

    Returns
    -------
    Displacement
        As ``d``, with ``sigma_row`` and ``sigma_col`` scaled.

    Raises
    ------
    StableGroundError
        Fewer than ``min_count`` stable nodes with a match and a sigma, or in most classes the
        displacements are one and the same.
    ValueError
        ``stable`` has another shape.

    Notes
    -----
    A class holds nodes of like predicted sigma, up to 30 classes of 200 nodes or more; its
    factor is the robust 1-sigma width of (displacement - centre) / sigma, to which false
    matches do not contribute, averaged with those of its neighbours. Nodes outside the
    classes get the nearest class's factor. By decile of sigma the standardised errors of
    simulated matches have a spread of 1 to within 0.1 (``tests/test_sigma_scale.py``).
    """
    return fit_sigma_scale(d, stable, min_count=min_count).apply(d)


def fit_sigma_scale(
    d: Displacement, stable: ArrayLike, *, min_count: int = 100
) -> SigmaScale:
    """Return the factors that ``scale_sigma`` applies."""
    ground = np.asarray(stable)
    if ground.shape != d.drow.shape or ground.dtype != np.bool_:
        raise ValueError(
            f"uncertainty stable: expected a bool array of shape {d.drow.shape}, got "
            f"{ground.dtype} {ground.shape}; put the mask on the nodes' grid"
        )
    used = ground & d.good & (d.sigma_row > 0) & (d.sigma_col > 0)
    used &= np.isfinite(d.drow) & np.isfinite(d.dcol)
    used &= np.isfinite(d.sigma_row) & np.isfinite(d.sigma_col)
    count = int(used.sum())
    if count < max(min_count, 30):
        raise StableGroundError(
            "uncertainty",
            "scale_sigma",
            expected=f"{max(min_count, 30)} stable nodes with a sigma",
            got=str(count),
            hint="widen the stable mask, or keep the predicted sigma and say so",
        )
    value = np.stack([d.drow[used], d.dcol[used]]).astype(np.float64)
    sigma = np.stack([d.sigma_row[used], d.sigma_col[used]]).astype(np.float64)
    offset = value - core_scatter(value[0], value[1]).centre[:, None]
    order = np.argsort(sigma[0] * sigma[1], kind="stable")
    pieces = min(MOST_CLASSES, max(1, count // PER_CLASS))
    centres, factors = [], []
    for part in np.array_split(order, pieces):
        z = offset[:, part] / sigma[:, part]
        width = core_scatter(z[0], z[1]).sigma
        usual = [middle(s)[0] for s in sigma[:, part]]
        if min(w * s for w, s in zip(width, usual, strict=True)) > LEAST_ERROR:
            centres.append(usual)
            factors.append(width)
    if len(factors) < pieces / 2:
        raise StableGroundError(
            "uncertainty",
            "scale_sigma",
            expected=f"stable nodes whose displacements differ by more than {LEAST_ERROR:g} px",
            got=f"such in {len(factors)} classes of {pieces}",
            hint="mask what was matched with itself (fill, parts that both images share)",
        )
    centre, factor = np.asarray(centres), _smoothed(np.asarray(factors))
    rows, cols = np.argsort(centre[:, 0]), np.argsort(centre[:, 1])
    return SigmaScale(
        centre[rows, 0], centre[cols, 1], factor[rows, 0], factor[cols, 1], count
    )


def _smoothed(factor: Array) -> Array:
    """Average factors (classes, 2) with their neighbours; the first and the last stay."""
    out = np.log(factor)
    for _ in range(ROUNDS):
        out[1:-1] = (out[:-2] + 2.0 * out[1:-1] + out[2:]) / 4.0
    return np.asarray(np.exp(out))


def _log(sigma: NDArray[np.floating]) -> Array:
    """Logarithm where there is a sigma; the value elsewhere does not matter (NaN stays NaN)."""
    return np.asarray(np.log(np.where(sigma > 0, sigma, 1.0), dtype=np.float64))
