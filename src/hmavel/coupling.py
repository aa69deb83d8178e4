"""Neighbouring cells heard with each cell: less noise where they change alike.

Ice changes its speed over kilometres, a match errs over the width of its window. What the
cells around show of a change, beyond their own mean speeds, is therefore a second measurement
of it. How much it counts for is decided by how alike the cells were, so that a front that
runs through the ice is not smeared: there, each cell is left to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hmavel.core import NMAD
from hmavel.medians import median_of_known

if TYPE_CHECKING:
    from hmavel._types import BoolArray, FloatArray

#: A change that is further from the median of the cells around, in sigmas, is a false match's.
OUTLIER = 4.0
#: Sides, in cells, of what is around for that median, and for a pair's own disagreement.
_MEDIAN, _AROUND = 5, 7
#: Kernels end at so many standard deviations.
_TRUNCATE = 3.0


def couple(
    v: FloatArray, sigma: FloatArray, *, radius: float, correlation_variance: float
) -> tuple[FloatArray, FloatArray]:
    """Bring each pair's change of velocity together with what the cells around show.

    Parameters
    ----------
    v, sigma
        One component of the pairs' velocity and its 1 sigma, m/yr, (pairs, rows, cols), NaN =
        missing.
    radius
        Standard deviation of the kernel, cells.
    correlation_variance
        V, cells squared: errors of two cells at the distance r correlate by exp(-r^2 / 4 V)
        (``resolution.taper_variance`` times the window squared).

    Returns
    -------
    v, sigma
        As given, NaN where they were; sigma is never larger. A cell's mean over the pairs
        stays as it is, but for rounding, in what all pairs share.

    Raises
    ------
    ValueError
        Shapes that do not fit, or a radius or variance that is not positive.

    Notes
    -----
    With a = v - m, m being the cell's weighted mean over the pairs, and A the mean of a around
    (weights of the kernel over sigma^2, false matches left out),

        var A = rho sigma^2 + e^2,    cov(a, A) = kappa sigma^2,

    rho and kappa following from the kernel and the errors' correlation, and e how unlike the
    cells are: what a - A scatters beyond its noise, the largest of over all pairs of the
    cell, over the cells around in this pair, and over all cells of this pair. The result is
    m and the best mean of a and A by these variances.
    """
    if v.ndim != 3 or v.shape != sigma.shape:
        raise ValueError(
            f"coupling: expected v and sigma of one shape (pairs, rows, cols), got {v.shape} "
            f"and {sigma.shape}; give a stack of maps"
        )
    if not (radius > 0 and correlation_variance > 0):
        raise ValueError(
            f"coupling: expected a radius and a variance above 0, got {radius} and "
            f"{correlation_variance}; leave the coupling out instead"
        )
    seen = np.isfinite(v) & np.isfinite(sigma) & (sigma > 0)
    level = np.where(seen, sigma, 1.0)
    mean = _robust_mean(v, level, seen)
    change = np.where(seen, v - mean, 0.0)
    rho, kappa = noise_shares(radius, correlation_variance)
    around, share = np.zeros(v.shape), np.full(v.shape, np.inf)
    for i in range(len(v)):
        around[i], share[i] = _around(change[i], level[i], seen[i], radius, rho)
    # Between the mean of few cells and a cell there is less than half of the noise left.
    own = np.minimum(kappa, share)
    known = seen & np.isfinite(share)
    share = np.where(known, share, 1.0)
    noise = np.sqrt(np.maximum(1 + share - 2 * own, 1e-3)) * level
    unlike = noise * _excess((change - around) / noise, known)
    variance = np.square(level)
    far = share * variance + np.square(unlike)
    weight = (1 - own) * variance / np.maximum(variance + far - 2 * own * variance, 1e-30)
    weight = np.where(known, np.clip(weight, 0.0, 1.0), 0.0)
    both = np.square(1 - weight) * variance + 2 * weight * (1 - weight) * own * variance
    both += np.square(weight) * far
    out = mean + (1 - weight) * change + weight * around
    found = np.sqrt(np.minimum(both, variance))
    return (
        np.where(seen, out, np.nan).astype(v.dtype),
        np.where(seen, found, sigma).astype(sigma.dtype),
    )


def noise_shares(radius: float, correlation_variance: float) -> tuple[float, float]:
    """Return rho and kappa: variance of a mean around, and its covariance with the middle.

    Both in units of one cell's variance, where all cells around are seen and err alike.
    """
    reach = int(np.ceil(_TRUNCATE * radius))
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * np.square(at / radius))
    kernel /= kernel.sum()
    between = np.exp(-np.square(at[:, None] - at[None, :]) / (4 * correlation_variance))
    # Kernel and correlation are products of one for the rows and one for the columns.
    return float(kernel @ between @ kernel) ** 2, float(kernel @ between[reach]) ** 2


def missing_of_level(sigma: FloatArray, coupled: FloatArray) -> FloatArray:
    """Return what the coupled errors leave out of the error of a cell's mean, 1 sigma, m/yr.

    Cells' means are not coupled: they are known as well as before, and no better, whatever
    the coupled pairs' errors add up to.

    Parameters
    ----------
    sigma, coupled
        Errors before and after, (pairs, ...), NaN = missing.

    Returns
    -------
    (...) array
        To be added in quadrature to each month: all have it in common. 0 where there is no
        pair.
    """

    def variance(error: FloatArray) -> FloatArray:
        weight = np.nansum(1.0 / np.square(error.astype(np.float64)), axis=0)
        return np.where(weight > 0, 1.0 / np.where(weight > 0, weight, 1.0), 0.0)

    return np.asarray(np.sqrt(np.maximum(variance(sigma) - variance(coupled), 0.0)))


def _robust_mean(v: FloatArray, level: FloatArray, seen: BoolArray) -> FloatArray:
    """Return the weighted mean over pairs of each cell, without what is far from the median."""
    values = np.where(seen, v, np.nan)
    blank = ~seen.any(axis=0)
    values[:, blank] = 0.0
    middle = median_of_known(values)
    near = np.abs(values - middle) < OUTLIER * np.maximum(
        level, NMAD * median_of_known(np.abs(values - middle))
    )
    weight = np.where(near & seen, 1.0 / np.square(level), 0.0)
    total = weight.sum(axis=0)
    mean = (weight * np.where(near, values, 0.0)).sum(axis=0) / np.where(total > 0, total, 1)
    return np.asarray(np.where(total > 0, mean, middle))


def _around(
    change: FloatArray, level: FloatArray, seen: BoolArray, radius: float, rho: float
) -> tuple[FloatArray, FloatArray]:
    """Return the mean change around each cell, and its variance in units of the cell's own.

    The latter is infinite where there is none, and for what looks like a false match: that is
    left as it is, for the months to judge.
    """
    near = _median_around(change, seen)
    good = seen & (np.abs(change - near) < OUTLIER * level)
    weight = np.where(good, 1.0 / np.square(level), 0.0)

    def smooth(values: FloatArray) -> FloatArray:
        return np.asarray(
            ndimage.gaussian_filter(values, radius, mode="constant", truncate=_TRUNCATE)
        )

    total = smooth(weight)
    filled = smooth(good.astype(float))
    enough = (filled > 0.05) & (total > 0)
    mean = np.where(enough, smooth(weight * change) / np.where(enough, total, 1.0), 0.0)
    # Of weights 1 / sigma^2 the mean has the harmonic mean of the variances; fewer cells than
    # the kernel holds average less.
    variance = np.where(enough, filled / np.where(enough, total, 1.0), np.inf)
    share = rho / np.where(enough, filled, 1.0) * variance / np.square(level)
    return mean, np.where(enough & good, np.maximum(share, rho), np.inf)


def _median_around(change: FloatArray, seen: BoolArray) -> FloatArray:
    """Return the median of the cells around each that were seen, itself included."""
    padded = np.pad(np.where(seen, change, np.nan), _MEDIAN // 2, constant_values=np.nan)
    rows, cols = change.shape
    side = range(_MEDIAN)
    some = np.stack([padded[r : r + rows, c : c + cols] for r in side for c in side])
    some[:, ~seen] = 0.0
    return median_of_known(some)


def _excess(z: FloatArray, known: BoolArray) -> FloatArray:
    """Return what z scatters beyond 1: in the cell, around it in the pair, in all of it."""
    square = np.where(known, np.minimum(np.square(z), OUTLIER**2), 0.0)
    count = known.sum(axis=0)
    by_cell = np.where(count > 0, square.sum(axis=0) / np.maximum(count, 1), 0.0)
    size = (1, _AROUND, _AROUND)
    total = ndimage.uniform_filter(square, size, mode="constant")
    share = ndimage.uniform_filter(known.astype(float), size, mode="constant")
    by_pair = total / np.maximum(share, 1.0 / _AROUND**2)
    of_pair = known.sum(axis=(1, 2), keepdims=True)
    whole = square.sum(axis=(1, 2), keepdims=True) / np.maximum(of_pair, 1)
    most = np.maximum(np.maximum(by_cell, by_pair), whole)
    return np.asarray(np.sqrt(np.maximum(most - 1.0, 0.0)))
