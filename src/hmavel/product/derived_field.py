"""What is derived of a glacier's months: years, season, trend, anomalies, along the flow.

The components are joined here. A season of the *speed* cannot be read off its months, which
are biased where ice is slow: the components are projected on the cell's mean flow instead,
which is linear, and its errors follow from theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel._types import BoolArray, FloatArray, Grid, TimeArray
from hmavel.derived import LineAndWave
from hmavel.floor import ABOVE, BELOW, UNVERIFIED, below
from hmavel.product.field import speed

if TYPE_CHECKING:
    from hmavel.floor import Floor
    from hmavel.month import Months

#: A season or a trend is told from none when chance makes one as large this rarely.
CHANCE = 0.05
_NORMAL = 1.959964  # half-width of the 95 % interval, in sigmas
TOLD, NOT_TOLD = 0, 1
SEASON_FLAGS = {TOLD: "season", NOT_TOLD: "not_told_from_none"}
TREND_FLAGS = {TOLD: "trend", NOT_TOLD: "not_told_from_none"}
FLOOR_FLAGS = {ABOVE: "above_floor", BELOW: "below_floor", UNVERIFIED: "unverified"}

#: Bands of ``annual_YYYY.tif`` with their units.
ANNUAL_UNITS = {
    "vx": "m/yr", "vy": "m/yr", "v": "m/yr", "sigma_vx": "m/yr", "sigma_vy": "m/yr",
    "sigma_v": "m/yr", "months": "1", "measured": "1",
}  # fmt: skip
ANNUAL_NOTES = {
    "vx": "mean velocity of the calendar year along +x of the grid",
    "vy": "mean velocity of the calendar year along +y of the grid",
    "v": "magnitude of the mean vector",
    "sigma_vx": "1 sigma of vx, by the covariance of the months",
    "sigma_vy": "1 sigma of vy, by the covariance of the months",
    "sigma_v": "1 sigma of v",
    "months": "months that the mean is made of; below 9 there is none",
    "measured": "how many of them are measured, not regularised, the fewer of the components",
}
#: Bands of ``season_trend.tif`` with their units.
SEASON_UNITS = {
    "azimuth": "degrees", "mean": "m/yr", "sigma_mean": "m/yr", "trend": "m/yr/yr",
    "sigma_trend": "m/yr/yr", "amplitude": "m/yr", "sigma_amplitude": "m/yr",
    "phase": "days", "sigma_phase": "days", "p_no_season": "1", "measured_share": "1",
    "season_flag": "1", "trend_flag": "1", "season_floor": "m/yr", "trend_floor": "m/yr/yr",
    "season_below_floor": "1", "trend_below_floor": "1",
}  # fmt: skip
SEASON_NOTES = {
    "azimuth": "direction of the mean flow, clockwise from +y of the grid",
    "mean": "velocity along the mean flow, in the middle of the months",
    "sigma_mean": "1 sigma of mean",
    "trend": "change of the velocity along the mean flow in a year, by least squares",
    "sigma_trend": "1 sigma of trend, by the covariance of the months",
    "amplitude": "half of the swing of the yearly wave along the mean flow",
    "sigma_amplitude": "1 sigma of amplitude",
    "phase": "day of the year of the highest velocity, 0 to 365.25",
    "sigma_phase": "1 sigma of phase, 105 where it is not known",
    "p_no_season": "chance of such an amplitude or a larger one where there is no season",
    "measured_share": "share of the months that is measured, not regularised",
    "season_flag": "0 season (p_no_season < 0.05), 1 not told from none",
    "trend_flag": "0 trend (1.96 sigma and more from zero), 1 not told from none",
    "season_floor": "amplitude up to which ground that does not move shows seasons, too",
    "trend_floor": "trend up to which ground that does not move shows trends, too",
    "season_below_floor": "1 amplitude below season_floor, 0 above, 2 unverified: no floor",
    "trend_below_floor": "1 size of trend below trend_floor, 0 above, 2 unverified: no floor",
}


@dataclass(frozen=True)
class DerivedField:
    """What is derived of one glacier; float32, NaN = not there."""

    grid: Grid
    years: TimeArray  #: (n_years,) datetime64[Y]
    months: TimeArray  #: (n_months,) datetime64[M]
    annual: Mapping[str, FloatArray]  #: ``ANNUAL_UNITS``, (n_years, rows, cols)
    season: Mapping[str, FloatArray]  #: ``SEASON_UNITS``, (rows, cols)
    #: Velocity along the mean flow less its mean over all years of the calendar month, m/yr,
    #: (n_months, rows, cols).
    anomaly: FloatArray
    sigma_anomaly: FloatArray
    climatology: FloatArray  #: the same mean, m/yr, (12, rows, cols)
    sigma_climatology: FloatArray
    name: str = ""


def combine_derived(
    x: Months,
    y: Months,
    grid: Grid,
    *,
    domain: BoolArray | None = None,
    relative_error: tuple[FloatArray, FloatArray] | None = None,
    floor: Floor | None = None,
    name: str = "",
) -> DerivedField:
    """Join what ``compose_months(..., summary=derived.summary)`` made of the components.

    Parameters
    ----------
    x, y
        The components' months, with their ``summary``, on ``grid``.
    grid
        Where the cells lie.
    domain
        Bool (rows, cols): cells that the field is about; None = all.
    relative_error
        Errors of x and y that all months have in common, as parts of the speed, (rows, cols)
        (``Gain.relative_error``).
    floor
        What bare ground shows of season and trend; None = not known, which leaves the floor
        NaN and every season and trend unverified.
    name
        The glacier's id.

    Notes
    -----
    The errors of the two components are taken as independent, as everywhere. The mean flow
    is that of the fitted means; where ice does not move its direction is noise, and the mean
    along it is then positive by chance, while season and trend stay unbiased but for that.
    """
    sx, sy = x.summary, y.summary
    common = relative_error or (np.zeros(grid.shape), np.zeros(grid.shape))
    east, north, length = _direction(sx, sy)
    share = np.hypot(east * common[0], north * common[1])

    def along(key: str) -> FloatArray:
        return np.asarray(east * sx[key] + north * sy[key])

    def sigma_along(key: str, value: FloatArray) -> FloatArray:
        own = np.hypot(east * sx[key], north * sy[key])
        return np.asarray(np.hypot(own, share * np.abs(value)))

    wave = LineAndWave(
        along("wave"), east**2 * sx["wave_covariance"] + north**2 * sy["wave_covariance"]
    ).described()
    months, measured = (
        np.minimum(sx[key], sy[key]).astype(float)
        for key in ("annual_months", "annual_measured")
    )
    seen = np.isfinite(length) & (True if domain is None else domain)

    def kept(values: Any) -> FloatArray:
        return np.where(seen, values, np.nan).astype(np.float32)

    total = months.sum(axis=0)
    with np.errstate(invalid="ignore"):
        measured_share = measured.sum(axis=0) / np.where(total > 0, total, np.nan)
    unknown = np.full(east.shape, np.nan)
    season_floor = trend_floor = unknown
    if floor is not None:
        season_floor, trend_floor = floor.along(
            east, north, sx["wave_covariance"], sy["wave_covariance"],
            np.ones(grid.shape, bool) if domain is None else domain,
        )  # fmt: skip
    sigma_trend = np.hypot(wave.sigma_trend, share * np.abs(wave.trend))
    blank = ~np.isfinite(wave.trend)
    season = {
        "azimuth": np.degrees(np.arctan2(east, north)) % 360,
        "mean": wave.mean,
        "sigma_mean": np.hypot(wave.sigma_mean, share * np.abs(wave.mean)),
        "trend": wave.trend,
        "sigma_trend": sigma_trend,
        "amplitude": wave.amplitude,
        "sigma_amplitude": np.hypot(wave.sigma_amplitude, share * wave.amplitude),
        "phase": wave.phase_days,
        "sigma_phase": wave.sigma_phase_days,
        "p_no_season": wave.p_no_season,
        "measured_share": measured_share,
        "season_flag": np.where(blank, np.nan, wave.p_no_season >= CHANCE),
        "trend_flag": np.where(blank, np.nan, np.abs(wave.trend) < _NORMAL * sigma_trend),
        "season_floor": season_floor,
        "trend_floor": trend_floor,
        "season_below_floor": below(wave.amplitude, season_floor),
        "trend_below_floor": below(wave.trend, trend_floor),
    }
    vx, vy = sx["annual"], sy["annual"]
    both = np.isfinite(vx) & np.isfinite(vy)
    vx, vy = np.where(both, vx, np.nan), np.where(both, vy, np.nan)
    fast = np.hypot(vx, vy)
    sigma_vx, sigma_vy = (
        np.where(both, np.hypot(s["annual_sigma"], part * fast), np.nan)
        for s, part in zip((sx, sy), common, strict=True)
    )
    v, sigma_v = speed(vx, vy, sigma_vx, sigma_vy)
    annual = dict(
        zip(ANNUAL_UNITS, (vx, vy, v, sigma_vx, sigma_vy, sigma_v, months, measured),
            strict=True)
    )  # fmt: skip
    anomaly, climatology = along("anomaly"), along("climatology")
    return DerivedField(
        grid=grid,
        years=np.unique(np.asarray(x.months).astype("datetime64[Y]")),
        months=np.asarray(x.months, "datetime64[M]"),
        annual={key: kept(values) for key, values in annual.items()},
        season={key: kept(season[key]) for key in SEASON_UNITS},
        anomaly=kept(anomaly),
        sigma_anomaly=kept(sigma_along("anomaly_sigma", anomaly)),
        climatology=kept(climatology),
        sigma_climatology=kept(sigma_along("climatology_sigma", climatology)),
        name=name,
    )


def _direction(
    sx: Mapping[str, Any], sy: Mapping[str, Any]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the unit vector of each cell's mean flow, and the length of its mean."""
    mean_x, mean_y = (_level(s) for s in (sx, sy))
    length = np.hypot(mean_x, mean_y)
    still = length == 0
    size = np.where(still, 1, length)
    return np.where(still, 1, mean_x / size), mean_y / size, length


def _level(s: Mapping[str, Any]) -> FloatArray:
    """Return the fitted mean, else that of the calendar months where there is none."""
    some = np.isfinite(s["climatology"])
    number = some.sum(axis=0)
    total = np.where(some, s["climatology"], 0).sum(axis=0)
    mean = total / np.where(number > 0, number, np.nan)
    return np.asarray(np.where(np.isfinite(s["wave"][0]), s["wave"][0], mean))
