"""The baseline product: each month is the average of the pairs that overlap it.

No prior and no inversion: a month that only long pairs cover gets their long-term mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hmavel._types import DAYS_PER_YEAR, FloatArray
from hmavel.network import PairNetwork


@dataclass(frozen=True)
class Overlap:
    """Overlap-weighted averages, each (n, cells), NaN where no pair overlaps the month."""

    mean: FloatArray  #: m/yr
    median: FloatArray  #: m/yr
    sigma: FloatArray  #: 1 sigma of the median, m/yr: of the pairs' mean, not of the month
    count: FloatArray  #: pairs, each counted by the share of the month that it covers


def overlap_months(
    network: PairNetwork, v: FloatArray, variance: FloatArray, scene_sigma: float
) -> Overlap:
    """Average the pairs month by month, weighted by (overlap / baseline) / sigma^2.

    Parameters
    ----------
    v
        (p, cells) m/yr, NaN = missing.
    variance
        (p, cells) of the velocities' own errors, (m/yr)^2.
    scene_sigma
        Error that the pairs of a scene share, m; it takes part in the weights and the sigma.

    Notes
    -----
    ``sigma`` is the propagated error of the weighted mean, enlarged by the robust spread of
    the pairs where that exceeds the stated errors, and by sqrt(pi / 2) for the median.
    """
    cells = v.shape[1]
    valid = np.isfinite(v)
    years = network.baseline_years[:, None]
    total = variance + 2 * (scene_sigma / years) ** 2
    overlap = network.overlap_years().tocsc()
    incidence = network.incidence()
    n = len(network.months)
    mean, median, sigma = (np.full((n, cells), np.nan) for _ in range(3))
    count = np.zeros((n, cells))
    for k in range(n):
        i = overlap.indices[overlap.indptr[k] : overlap.indptr[k + 1]]
        share = overlap.data[overlap.indptr[k] : overlap.indptr[k + 1], None]
        ok = valid[i]
        seen = ok.any(axis=0)
        if not seen.any():
            continue
        v_k, total_k = v[i], np.where(ok, total[i], np.inf)
        weight = share / years[i] / total_k
        whole = weight.sum(axis=0)
        whole[~seen] = np.nan
        mean[k] = np.where(ok, weight * v_k, 0.0).sum(axis=0) / whole
        median[k] = _weighted_median(v_k, weight)
        apart = np.where(ok, np.abs(v_k - median[k]) / np.sqrt(total_k), 0.0)
        spread = (weight * np.minimum(apart, 5.0)).sum(axis=0) / whole * np.sqrt(np.pi / 2)
        error = _mean_variance(weight / whole, variance[i], incidence[i], years[i], scene_sigma)
        sigma[k] = np.sqrt(np.pi / 2 * error) * np.maximum(spread, 1.0)
        count[k] = np.where(ok, share * DAYS_PER_YEAR / network.month_days[k], 0.0).sum(axis=0)
    return Overlap(mean, median, sigma, count)


def _mean_variance(
    share: FloatArray,
    variance: FloatArray,
    incidence: sparse.csr_array,
    years: FloatArray,
    scene_sigma: float,
) -> FloatArray:
    """Variance of a weighted mean of pairs, some of which share scenes; share sums to 1."""
    own = np.where(share > 0, share**2 * variance, 0.0).sum(axis=0)
    if scene_sigma == 0:
        return np.asarray(own)
    shared = incidence.T @ (share / years)
    return np.asarray(own + scene_sigma**2 * (shared**2).sum(axis=0))


def _weighted_median(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Weighted median down the columns; entries of weight 0 (or NaN) take no part.

    Halfway through the weight: where the halves meet between two values, their mean.
    """
    order = np.argsort(np.where(weight > 0, values, np.inf), axis=0)
    v = np.take_along_axis(values, order, axis=0)
    total = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0)
    half = total[-1] / 2
    # Sums differ in their last bits: a tie must be seen as one.
    low = _pick(v, (total < half * (1 - 1e-12)).sum(axis=0))
    high = _pick(v, (total <= half * (1 + 1e-12)).sum(axis=0))
    return np.asarray((low + high) / 2)


def _pick(values: FloatArray, row: NDArray[np.intp]) -> FloatArray:
    row = np.minimum(row, len(values) - 1)
    picked: FloatArray = np.take_along_axis(values, row[None], axis=0)[0]
    return picked
