"""Velocity at the point, from windows of two widths that average over what is around it.

A window sees the mean of the displacement under its taper, weighted by the texture there. On
a valley glacier that falls from its full speed to nothing within a kilometre, a mean over
360 m is up to 20 % too slow beside the middle, where the crevassed margin has most of the
texture, and too fast at the margin. The error is proportional to the speed, so it is alike
in all pairs: averaging over pairs makes the error bars smaller and leaves it as it is.

The ice is therefore looked at twice, the second time through a narrower taper. To second
order the error of a mean goes with the variance of the taper, so two of them tell the value
at zero width. One pair is too noisy for that; all pairs of a cell together are not.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from hmavel._types import DAYS_PER_YEAR
from hmavel.core import NMAD

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from hmavel._types import BoolArray, FloatArray
    from hmavel.month import Months

#: Standard deviation, before it is measured, of a cell's gain: how much the narrow window
#: differs from the wide one along the flow, as a part of the speed. At margins it is 0.05 to
#: 0.2, amid wide ice 0.01: mean and spread are learnt from all cells of a zone, from this.
#: Pairs of one cell differ by as much, since snow and light change the texture.
PRIOR_GAIN = 0.1
#: The same across the flow: only where it turns within a window.
PRIOR_ACROSS = 0.03
#: Part of the corrections around a cell that stays as 1-sigma error in each zone: what the
#: second order leaves out. Around, because at an inflection of the profile the correction is
#: zero and the higher orders are not.
LEFT_OUT = (1.0, 1.0, 0.5, 0.5)
#: Pairs share scenes, so that so many tell as much as one that shares none.
PAIRS_ALIKE = 1.4
#: Fewer pairs than this tell nothing about a cell.
LEAST_PAIRS = 4
#: Zones of cells that share a prior end at these distances from the ice's edge, in sides of
#: the window: within a quarter the window holds more ground than ice, beyond one none.
ZONE_ENDS = (0.25, 0.5, 1.0)
#: By how much smaller gains are in zones away from the edge, before they are measured.
ZONE_SCALES = (1.0, 1.0, 0.5, 0.25)
#: A cell tells nothing of its gain unless so much of the sum of squares is displacement.
_LEAST_MOVED = 0.2
#: What the spread of a zone's gains may be, as parts of the prior's; how freely (in ln).
_SPREADS, _FREEDOM = 2.0 ** np.arange(-4.0, 1.0, 0.5), 0.7
#: A cell further from its zone's mean than so many sigmas does not move the mean further.
_FAR = 3.0
#: Tukey's weight is 0 beyond so many robust standard deviations; rounds of reweighting.
_CUT, _ROUNDS = 4.685, 3


def taper_variance(taper: float) -> float:
    """Return the variance of position under the squared taper, in units of the window squared.

    ``taper`` is the share that falls off at each end (docs/method.md, "Windows"). Texture
    enters the cross-spectrum with the taper of both images, hence squared.
    """
    x = (np.arange(4096) + 0.5) / 4096 - 0.5
    fall = np.clip((np.abs(x) - (0.5 - taper)) / taper, 0.0, 1.0)
    weight = np.cos(0.5 * np.pi * fall) ** 4
    return float((weight * x * x).sum() / weight.sum())


def stretch(wide: float, narrow: float) -> float:
    """Return how many times (narrow - wide) leads from the wide taper's value to the point's.

    The tapers are those of windows of one size; the narrow one has the larger share.
    """
    if not 0 < wide < narrow <= 0.5:
        raise ValueError(
            f"resolution tapers: expected 0 < wide < narrow <= 0.5, got {wide} and {narrow}; "
            "give the second look the larger share"
        )
    large, small = taper_variance(wide), taper_variance(narrow)
    return large / (large - small)


@dataclass(frozen=True)
class Gain:
    """How the point's velocity differs from the window's, per cell: parts of the speed.

    The velocity at the point is v + g * (v along the cell's mean flow).
    """

    along_x: FloatArray  #: (...) unit vector of the mean flow
    along_y: FloatArray
    x: FloatArray  #: (...) g
    y: FloatArray
    sigma_x: FloatArray  #: (...) 1 sigma of g, from the pairs' noise
    sigma_y: FloatArray
    left_out: FloatArray  #: (...) part of the corrections around that stays as error, 1 sigma

    def speed(self, vx: FloatArray, vy: FloatArray) -> FloatArray:
        """Return the part of a velocity (..., cells) along the cells' mean flow, m/yr."""
        return np.asarray(self.along_x * vx + self.along_y * vy)

    def sharpen(self, vx: FloatArray, vy: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return velocities (..., cells), m/yr, as they are at the points."""
        speed = self.speed(vx, vy)
        return vx + self.x * speed, vy + self.y * speed

    def on_grid(self, ice: BoolArray) -> Gain:
        """Put the gain of the cells on ice, (1, cells), back on their grid; NaN elsewhere."""
        spread = {}
        for field in fields(self):
            spread[field.name] = np.full(ice.shape, np.nan)
            spread[field.name][ice] = getattr(self, field.name)[0]
        return Gain(**spread)

    def relative_error(self, window: int) -> tuple[FloatArray, FloatArray]:
        """Return what `widen` adds to x and y as a part of the speed, (rows, cols).

        It is the same in all months, so that means, trends and amplitudes have it, too.
        """
        g_x, g_y = (_mean_around(np.square(g), window) for g in (self.x, self.y))
        x, y = self.left_out * np.sqrt(g_x), self.left_out * np.sqrt(g_y)
        return np.hypot(self.sigma_x, x), np.hypot(self.sigma_y, y)

    def widen(self, x: Months, y: Months, *, window: int) -> tuple[Months, Months]:
        """Add the correction's own error to the months' sigmas; all months of a cell share it.

        Parameters
        ----------
        x, y
            The components of sharpened velocity on the gain's grid, (n_months, rows, cols).
        window
            Side of the matching window in cells.
        """
        speed = self.speed(x.v, y.v)
        wider = []
        for months, g, sigma in ((x, self.x, self.sigma_x), (y, self.y, self.sigma_y)):
            left_out = self.left_out**2 * _mean_around(np.square(g * speed), window)
            wider.append(_with_shared(months, np.sqrt(np.square(sigma * speed) + left_out)))
        return wider[0], wider[1]


def fit_gain(
    vx: FloatArray,
    vy: FloatArray,
    more_x: FloatArray,
    more_y: FloatArray,
    sigma: FloatArray,
    days: FloatArray,
    *,
    factor: float,
    zone: ArrayLike = 0,
    repeats: float = 1.0,
) -> Gain:
    """Compare the two looks at the ice over all pairs of each cell.

    Parameters
    ----------
    vx, vy
        Velocity by the wide taper, m/yr, (pairs, ...), NaN = missing.
    more_x, more_y
        Velocity by the narrow taper minus that, m/yr, NaN = missing.
    sigma
        1 sigma of a component of velocity, m/yr, (pairs, ...).
    days
        (pairs,) baselines.
    factor
        As ``stretch`` returns it.
    zone
        (...) integers: cells of one zone have gains of one distribution (``edge_zones``).
    repeats
        Neighbouring cells that share one cell's worth of noise (``cells_alike``).

    Returns
    -------
    Gain
        Of each cell. Where a cell does not move far enough to tell it is near its zone's mean;
        where no cell of the zone does, and where nothing was seen, near zero with the
        prior's error.

    Notes
    -----
    With D the displacement along the mean flow (metres) and Q the difference of the looks,
    along or across it, Q = (g + g_i) D + noise, g_i the pair's own deviation. Q is as noisy
    as ``sigma`` says D is, but for a factor that each cell's residuals tell. Weighted least
    squares with Tukey's weights; as a part of sum(w D^2) is noise, the slope is too small by
    it, which is made up for, and counts for as much less. Before a cell's own data g is
    normal with its zone's mean m and spread t, which maximise the evidence of the zone's
    cells (to the power 1 / ``repeats``) times a normal prior of m and a log-normal one of t,
    both of scale ``PRIOR_GAIN`` (across: ``PRIOR_ACROSS``) times ``ZONE_SCALES``.
    """
    years = np.asarray(days, float).reshape(-1, *([1] * (vx.ndim - 1))) / DAYS_PER_YEAR
    seen = np.isfinite(vx) & np.isfinite(vy) & np.isfinite(more_x) & np.isfinite(more_y)
    dx, dy, qx, qy = (np.where(seen, v * years, 0.0) for v in (vx, vy, more_x, more_y))
    far_x, far_y = dx.sum(axis=0), dy.sum(axis=0)
    length = np.maximum(np.hypot(far_x, far_y), 1e-9)
    east, north = far_x / length, far_y / length
    d = east * dx + north * dy
    zones = np.broadcast_to(np.asarray(zone), d.shape[1:])
    level = np.where(seen, sigma * years, 1.0)
    along, along_error = _regress(
        east * qx + north * qy, d, level, seen, PRIOR_GAIN, zones, repeats
    )
    across, across_error = _regress(
        east * qy - north * qx, d, level, seen, PRIOR_ACROSS, zones, repeats
    )
    return Gain(
        east,
        north,
        factor * (east * along - north * across),
        factor * (north * along + east * across),
        factor * np.hypot(east * along_error, north * across_error),
        factor * np.hypot(north * along_error, east * across_error),
        np.asarray(LEFT_OUT)[zones],
    )


def _regress(
    q: FloatArray, d: FloatArray, level: FloatArray, seen: BoolArray, prior: float,
    zone: NDArray[Any], repeats: float,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Return slope of q on d per cell and its sigma, both with the zone's knowledge."""
    enough = seen.sum(axis=0) >= LEAST_PAIRS
    slope = np.zeros(q.shape[1:])
    error = np.full(q.shape[1:], prior)
    for _ in range(_ROUNDS):
        residual = q - slope * d
        noise = NMAD * _median(np.abs(residual) / level, seen)
        noise = np.where(enough, np.maximum(noise, 1e-6), 1.0) * level
        variance = noise**2 + (prior * d) ** 2
        weight = seen * np.clip(1 - residual**2 / (_CUT**2 * variance), 0.0, None) ** 2
        weight /= variance
        power = (weight * d * d).sum(axis=0)
        moved = power - (weight * level * level).sum(axis=0)
        tells = enough & (moved > _LEAST_MOVED * power) & (power > 0)
        own, precision = np.zeros(power.shape), np.zeros(power.shape)
        own[tells] = (weight * q * d).sum(axis=0)[tells] / moved[tells]
        precision[tells] = moved[tells] ** 2 / power[tells] / PAIRS_ALIKE
        for number in np.unique(zone):
            there = zone == number
            scale = prior * ZONE_SCALES[number]
            told = there & tells
            mean, spread, mean_error = _zone_prior(own[told], precision[told], scale, repeats)
            total = precision[there] + spread**-2
            pull = spread**-2 / total
            slope[there] = (1 - pull) * own[there] + pull * mean
            error[there] = np.sqrt(1 / total + (pull * mean_error) ** 2)
        slope, error = np.where(enough, slope, 0.0), np.where(enough, error, prior)
    return slope, error


def _zone_prior(
    own: FloatArray, precision: FloatArray, prior: float, repeats: float
) -> tuple[float, float, float]:
    """Return mean, spread and the mean's error of the gains that cells were seen to have."""
    best = (-np.inf, 0.0, prior, prior)
    for spread in prior * _SPREADS:
        variance = spread**2 + 1 / precision
        weight = 1 / (repeats * variance)
        total = weight.sum() + prior**-2
        mean = (weight * own).sum() / total
        for _ in range(_ROUNDS):
            reach = _FAR * np.sqrt(variance)
            mean = (weight * np.clip(own, mean - reach, mean + reach)).sum() / total
        misfit = np.minimum((own - mean) ** 2 / variance, _FAR**2)
        evidence = -(np.log(variance) + misfit).sum() / repeats
        evidence -= (mean / prior) ** 2 + (np.log(spread / prior) / _FREEDOM) ** 2
        best = max(best, (float(evidence), float(mean), float(spread), float(total**-0.5)))
    return best[1:]


def edge_zones(ice: BoolArray, window: float) -> NDArray[np.intp]:
    """Return the zone of each cell by its distance from the edge of the ice.

    Parameters
    ----------
    ice
        (rows, cols) all ice, of other glaciers, too.
    window
        Side of the matching window in cells.

    Returns
    -------
    ndarray
        (rows, cols) number of ``ZONE_ENDS`` that the cell's centre lies beyond.
    """
    around = np.pad(ice, 1, mode="edge")
    distance = ndimage.distance_transform_edt(around)[1:-1, 1:-1] - 0.5
    return np.searchsorted(np.asarray(ZONE_ENDS) * window, distance, side="right")


def cells_alike(taper: float, window: float) -> float:
    """Return how many cells share one cell's worth of noise, the window being so many wide.

    That is the area over which means under the squared taper repeat each other, of a Gaussian
    of the same variance.
    """
    return max(1.0, 4 * np.pi * taper_variance(taper) * window**2)


def _median(values: FloatArray, seen: BoolArray) -> FloatArray:
    """Return the median over pairs of what was seen, 0 where nothing was."""
    last = np.sort(np.where(seen, values, np.inf), axis=0)
    count = seen.sum(axis=0)
    middle = np.maximum(count - 1, 0) // 2
    found = np.take_along_axis(last, middle[None], axis=0)[0]
    return np.asarray(np.where(count > 0, found, 0.0))


def _mean_around(values: FloatArray, window: int) -> FloatArray:
    """Return the mean within a window of cells, (..., rows, cols), of what is not NaN."""
    side = 2 * (window // 2) + 1
    size = (1,) * (values.ndim - 2) + (side, side)
    seen = np.isfinite(values)
    total = ndimage.uniform_filter(np.where(seen, values, 0.0), size, mode="constant")
    share = ndimage.uniform_filter(seen.astype(float), size, mode="constant")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(seen, np.maximum(total, 0.0) / share, np.nan))


def _with_shared(months: Months, shared: FloatArray) -> Months:
    """Add an error that all months of a cell share, (n_months, ...), to the months' sigmas."""
    sigma = np.hypot(months.sigma, shared)
    together = months.next_correlation * months.sigma * np.roll(months.sigma, -1, axis=0)
    together = together + shared * np.roll(shared, -1, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = together / (sigma * np.roll(sigma, -1, axis=0))
    return replace(
        months,
        sigma=sigma.astype(months.sigma.dtype),
        next_correlation=correlation.astype(months.next_correlation.dtype),
    )
