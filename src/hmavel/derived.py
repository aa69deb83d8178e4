"""What is made from months: annual means, season, trend, anomalies, each with its error.

All are sums over the months with fixed weights, and their errors follow from the covariance of
the months. Errors of neighbouring months hang together, so that the errors of the months
alone would give a mean that is far too certain and a trend that is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmavel._types import DAYS_PER_YEAR, BoolArray, FloatArray, TimeArray
from hmavel.month import Months

#: A year and a half: with fewer months there is no telling season from trend.
LEAST_FOR_TREND = 18
#: And the months must tell the wave: its variance in the worst direction, errors being alike
#: and independent, may be this many times that of as many months without gaps. Two thirds of a
#: year, in each year, are enough; half a year is not, of which a wave is read from its slopes.
MOST_INFLATED = 4.0
#: A year with fewer months than this has no mean: what is missing is a season.
LEAST_MONTHS = 9
_TURN = 2 * np.pi


@dataclass(frozen=True)
class Annual:
    """Calendar-year means; arrays (years[, rows, cols])."""

    years: TimeArray  #: (years,) datetime64[Y]
    v: FloatArray  #: m/yr, weighted by the months' lengths, NaN under ``LEAST_MONTHS`` months
    sigma: FloatArray  #: 1 sigma, m/yr
    months: NDArray[np.int64]  #: months that the mean is made of
    measured: NDArray[np.int64]  #: how many of them are measured, not regularised


@dataclass(frozen=True)
class SeasonAndTrend:
    """The wave and the straight line that are nearest to the months; (rows, cols) or ()."""

    mean: FloatArray  #: m/yr, of the line at the middle of the months
    sigma_mean: FloatArray
    trend: FloatArray  #: m/yr per year
    sigma_trend: FloatArray
    amplitude: FloatArray  #: m/yr, half of the swing from lowest to highest
    sigma_amplitude: FloatArray
    #: Day of the year of the highest velocity, 0 ... 365.25, NaN without a month.
    phase_days: FloatArray
    sigma_phase_days: FloatArray  #: 1 sigma, at most that of a phase that is not known, 105 d
    #: Chance of such an amplitude or a larger one where there is no season.
    p_no_season: FloatArray


@dataclass(frozen=True)
class LineAndWave:
    """The line and the wave by their linear coefficients; of two components they add up."""

    coefficients: FloatArray  #: (4[, rows, cols]): mean, trend, cosine, sine; m/yr
    covariance: FloatArray  #: (4, 4[, rows, cols])

    def described(self) -> SeasonAndTrend:
        """Return amplitude and phase, too, with the errors of all."""
        shape = self.coefficients.shape[1:]
        spread = np.moveaxis(self.covariance.reshape(4, 4, -1), -1, 0)
        found = _wave(self.coefficients.reshape(4, -1), spread)
        return SeasonAndTrend(*(row.reshape(shape) for row in found))


@dataclass(frozen=True)
class Anomalies:
    """Each month less the mean of its calendar month over all years; (months[, rows, cols])."""

    months: TimeArray
    v: FloatArray  #: m/yr, NaN where the calendar month is there in one year only
    sigma: FloatArray
    climatology: FloatArray  #: (12[, rows, cols]) mean of January, February, ..., m/yr
    sigma_climatology: FloatArray


def annual_means(m: Months) -> Annual:
    """Average the months of calendar years.

    Parameters
    ----------
    m
        As ``compose_months(..., covariance=True)`` returns it.

    Raises
    ------
    ValueError
        The covariance was not kept.
    """
    v, covariance, shape = _cells(m)
    year = m.months.astype("datetime64[Y]")
    years = np.unique(year)
    days = (m.months + 1).astype("datetime64[D]") - m.months.astype("datetime64[D]")
    weight = (year[None, :] == years[:, None]) * days.astype(float)
    out, error = (np.full((len(years), v.shape[1]), np.nan) for _ in range(2))
    for known, cells in _alike(v):
        w = weight * known
        enough = (w > 0).sum(axis=1) >= LEAST_MONTHS
        w = w[enough] / w[enough].sum(axis=1, keepdims=True)
        out[np.ix_(enough, cells)], error[np.ix_(enough, cells)] = _applied(
            w, v, covariance, cells
        )
    flag = m.flag.reshape(len(v), -1)
    used = (weight > 0).astype(np.int64) @ np.isfinite(v).astype(np.int64)
    measured = (weight > 0).astype(np.int64) @ (flag == 0).astype(np.int64)
    return Annual(years, *(x.reshape(-1, *shape) for x in (out, error, used, measured)))


def season_and_trend(m: Months) -> SeasonAndTrend:
    """Fit level, trend and one wave a year to the months, by plain least squares.

    Parameters
    ----------
    m
        As ``compose_months(..., covariance=True)`` returns it.

    Notes
    -----
    Least squares with equal weights is a fixed sum over the months, so that its posterior is
    exact: the estimate is the wave and line of the posterior mean, its error that of the wave
    and line of the true months that are there, whatever else they do. Less than a year and a
    half of months, or months of half of the year only, give NaN: season and trend are one, or
    the wave is guessed from a part of it. An amplitude is biased high by noise, by about
    ``sigma_amplitude^2 / (2 amplitude)``; ``p_no_season`` tells a season from that. Its errors
    are to first order.
    """
    return line_and_wave(m).described()


def line_and_wave(m: Months) -> LineAndWave:
    """Return the numbers behind `season_and_trend`, which are linear in the months.

    Parameters
    ----------
    m
        As ``compose_months(..., covariance=True)`` returns it.
    """
    v, covariance, shape = _cells(m)
    time = (m.months - m.months[0]).astype(float) / 12
    # The middle of a month, as a time of year.
    phase = _TURN * ((m.months.astype(int) % 12) + 0.5) / 12
    design = np.stack([np.ones(len(v)), time, np.cos(phase), np.sin(phase)], axis=1)
    out = np.full((4, v.shape[1]), np.nan)
    spread = np.full((4, 4, v.shape[1]), np.nan)
    for known, cells in _alike(v):
        x = design[known].copy()
        x[:, 1] -= x[:, 1].mean()
        if not _determined(x):
            continue
        weight = np.linalg.pinv(x)
        of_known = covariance[np.ix_(cells, known, known)]
        out[:, cells] = weight @ v[np.ix_(known, cells)]
        spread[:, :, cells] = np.moveaxis(weight @ of_known @ weight.T, 0, -1)
    return LineAndWave(out.reshape(4, *shape), spread.reshape(4, 4, *shape))


def anomalies(m: Months) -> Anomalies:
    """Take the mean of its calendar month off each month.

    Parameters
    ----------
    m
        As ``compose_months(..., covariance=True)`` returns it.
    """
    v, covariance, shape = _cells(m)
    n, cells_all = v.shape
    calendar = m.months.astype(int) % 12
    same = np.eye(12)[calendar]
    out, error = np.full((n, cells_all), np.nan), np.full((n, cells_all), np.nan)
    mean, mean_error = np.full((12, cells_all), np.nan), np.full((12, cells_all), np.nan)
    for known, cells in _alike(v):
        count = same[known].sum(axis=0)
        some = count > 0
        average = np.zeros((12, n))
        average[some] = (same * known[:, None]).T[some] / count[some, None]
        mean[np.ix_(some, cells)], mean_error[np.ix_(some, cells)] = _applied(
            average[some], v, covariance, cells
        )
        twice = np.flatnonzero(known & (count[calendar] > 1))
        own = calendar[twice]
        out[np.ix_(twice, cells)] = v[np.ix_(twice, cells)] - mean[np.ix_(own, cells)]
        # var(v - mean) by its three parts: the full product would cost n^2 as much.
        used = np.flatnonzero(known)
        with_mean = average[:, used] @ covariance[np.ix_(cells, used, twice)]
        variance = covariance[np.ix_(cells, twice, twice)].diagonal(axis1=1, axis2=2).T
        variance = variance - 2 * with_mean[:, own, np.arange(len(twice))].T
        variance += mean_error[np.ix_(own, cells)] ** 2
        error[np.ix_(twice, cells)] = np.sqrt(np.maximum(variance, 0))
    fields = (out, error, mean, mean_error)
    return Anomalies(m.months, *(x.reshape(-1, *shape) for x in fields))


def summary(m: Months) -> dict[str, NDArray[Any]]:
    """Return all that this module derives of a component, by name; arrays (..., cells).

    What ``compose_months(..., summary=summary)`` computes of each block of cells while their
    covariance is in memory, and what ``flow_summary`` joins for two components.
    """
    year, fit, odd = annual_means(m), line_and_wave(m), anomalies(m)
    return {
        "annual": year.v, "annual_sigma": year.sigma, "annual_months": year.months,
        "annual_measured": year.measured, "wave": fit.coefficients,
        "wave_covariance": fit.covariance,
        "wave_months": np.isfinite(m.v).sum(axis=0),
        "anomaly": odd.v, "anomaly_sigma": odd.sigma,
        "climatology": odd.climatology, "climatology_sigma": odd.sigma_climatology,
    }  # fmt: skip


def _cells(m: Months) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Months as (n, cells), covariance as (cells, n, n), and the shape of the cells."""
    if m.covariance is None:
        raise ValueError(
            "derived months: expected the covariance of the months, got none; call "
            "compose_months(..., covariance=True), for part of the cells at a time if need be"
        )
    n, shape = len(m.months), m.v.shape[1:]
    covariance = np.moveaxis(m.covariance.reshape(n, n, -1), -1, 0)
    return m.v.reshape(n, -1), covariance, shape


def _alike(v: FloatArray) -> Iterator[tuple[BoolArray, NDArray[np.intp]]]:
    """Sort cells by which months they have, so that each kind is one product."""
    known = np.isfinite(v)
    kinds, kind = np.unique(known, axis=1, return_inverse=True)
    for k in range(kinds.shape[1]):
        if kinds[:, k].any():
            yield kinds[:, k], np.flatnonzero(kind.ravel() == k)


def _determined(x: FloatArray) -> bool:
    """Whether months with these rows of mean, line, cosine and sine tell all four."""
    if len(x) < LEAST_FOR_TREND or np.linalg.matrix_rank(x) < x.shape[1]:
        return False
    alike = np.linalg.inv(x.T @ x)
    return bool(np.linalg.eigvalsh(alike[2:, 2:])[-1] * len(x) / 2 <= MOST_INFLATED)


def _applied(
    weight: FloatArray, v: FloatArray, covariance: FloatArray, cells: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Weighted sums of the months of some cells, and their errors; weight 0 = not used."""
    used = np.flatnonzero((weight != 0).any(axis=0))
    w = weight[:, used]
    spread = covariance[np.ix_(cells, used, used)]
    variance = np.einsum("ki,cij,kj->kc", w, spread, w, optimize=True)
    return w @ v[np.ix_(used, cells)], np.sqrt(variance)


def _wave(found: FloatArray, spread: FloatArray) -> FloatArray:
    """Nine rows of ``SeasonAndTrend`` from level, trend, cosine, sine and their covariance."""
    mean, trend, cosine, sine = found
    error = np.sqrt(np.diagonal(spread, axis1=1, axis2=2)).T
    amplitude = np.hypot(cosine, sine)
    with np.errstate(invalid="ignore", divide="ignore"):
        along = np.stack([cosine, sine]) / amplitude
        across = np.stack([-sine, cosine]) / amplitude
        pair = spread[:, 2:, 2:]
        of_amplitude = np.sqrt(np.einsum("ic,cij,jc->c", along, pair, along))
        of_phase = np.sqrt(np.einsum("ic,cij,jc->c", across, pair, across)) / amplitude
    highest = (np.arctan2(sine, cosine) / _TURN) % 1.0 * DAYS_PER_YEAR
    unknown = DAYS_PER_YEAR / np.sqrt(12)
    sigma_phase = np.minimum(of_phase / _TURN * DAYS_PER_YEAR, unknown)
    whitened = np.linalg.solve(pair, found[2:].T[..., None])[..., 0].T
    size = np.einsum("ic,ic->c", found[2:], whitened)
    return np.stack(
        [mean, error[0], trend, error[1], amplitude, of_amplitude, highest, sigma_phase,
         np.exp(-size / 2)]
    )  # fmt: skip
