"""The systematic floor: the season and the trend that ground shows which does not move.

Shadows and shading turn with the sun and come back every year, and so do snow lines; matching
takes part of that for motion, and averages over pairs do not remove it, since it is alike in
all pairs of a season. What it comes to is seen on bare ground around the glacier: its months,
made as those on the ice, have a season and a trend of their own, all of which is false. Ice
whose season is no larger than that of the ground has not shown that it has one.

A window at the margin sees the wall beside the ice as well, and its shadow: there, what the
ground next to the ice shows comes on top.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from hmavel._types import DAYS_PER_YEAR, BoolArray, FloatArray
from hmavel.errors import StableGroundError
from hmavel.finite import without_nan

#: With fewer cells of bare ground than this there is no floor.
LEAST_CELLS = 50
#: A class of slope and aspect with fewer is counted, not described.
LEAST_IN_CLASS = 15
#: Share of the ground's seasons (trends) beyond chance that lie below the floor.
HELD = 0.95
#: A season or a trend is beyond chance when chance makes one as large this rarely.
CHANCE = 0.05
#: Slopes between which ground counts as inclined, degrees.
GENTLE, STEEP = 10.0, 25.0
#: What a season or a trend is, held against its floor; the last where there is no floor.
ABOVE, BELOW, UNVERIFIED = 0, 1, 2
ASPECTS = ("sunward", "right of the sun", "away from the sun", "left of the sun")
_SLOPES = ("gentle", "inclined", "steep")
#: The size that chance exceeds with probability CHANCE, and its median: of two coefficients
#: (Rayleigh), and of one.
_WAVE_CHANCE, _WAVE_MEDIAN = float(np.sqrt(-2 * np.log(CHANCE))), float(np.sqrt(2 * np.log(2)))
_LINE_CHANCE, _LINE_MEDIAN = 1.959964, 0.674490
_RESAMPLES = 200
#: Ground that has as many months as this quantile says how well ground is known.
_MOST_MONTHS = 0.75
#: The floor's own error is put on top: that it is too low has this many sigmas' chance, 5 %.
_CAUTION = 1.645


@dataclass(frozen=True)
class Level:
    """How large a false season (amplitude, m/yr) or trend (m/yr per year) can be."""

    cells: int  #: of bare ground
    excess: float  #: per coefficient, 1 sigma: what the stated errors do not explain
    factor: float  #: the floor in units of a cell's sigma and the excess together
    sigma_factor: float  #: 1 sigma of the factor, by resampling the cells
    median: float  #: of what the ground shows
    high: float  #: the share HELD of the ground shows less
    beyond_chance: float  #: share of ground that shows more than chance would in CHANCE of it
    #: 1 sigma of a coefficient as stated, median of the quarter of the ground that has most
    #: months: the rest is known less well than ice that has all of them.
    sigma: float

    def at(self, sigma: Any) -> FloatArray:
        """Return the floor of cells whose coefficients have the 1-sigma error ``sigma``.

        What returns every year does not become less where a cell is seen in more pairs: the
        floor is nowhere below that of typical ground.
        """
        upper = self.factor + _CAUTION * self.sigma_factor
        return np.asarray(upper * np.hypot(np.maximum(sigma, self.sigma), self.excess))

    @property
    def typical(self) -> float:
        """The floor of a cell that is seen as well as good ground."""
        return float(self.at(self.sigma))


@dataclass(frozen=True)
class GroundClass:
    """What ground of one slope and aspect shows of one component."""

    name: str
    cells: int
    season_median: float  #: m/yr, amplitude, NaN with fewer cells than LEAST_IN_CLASS
    season_high: float  #: m/yr, the share HELD of the cells shows less
    common_season: float  #: m/yr, amplitude of the median wave: what the cells have in common
    sigma_common_season: float
    common_phase_days: float  #: day of the year of its highest velocity
    trend_median: float  #: m/yr per year, of its absolute value
    common_trend: float  #: m/yr per year, median


@dataclass(frozen=True)
class ComponentFloor:
    """The floor of one component."""

    season: Level
    trend: Level
    margin_season: Level | None  #: of the ground next to the ice, None with too few cells
    margin_trend: Level | None
    classes: tuple[GroundClass, ...]  #: of all the ground; empty without heights

    def season_at(self, covariance: FloatArray, margin: BoolArray) -> FloatArray:
        """Return the floor of amplitudes with that (4, 4, ...) covariance, m/yr."""
        return _at(self.season, self.margin_season, _wave_sigma(covariance), margin)

    def trend_at(self, covariance: FloatArray, margin: BoolArray) -> FloatArray:
        """Return the floor of trends, m/yr per year."""
        return _at(self.trend, self.margin_trend, np.sqrt(covariance[1, 1]), margin)


@dataclass(frozen=True)
class Floor:
    """The floor of a glacier's months."""

    x: ComponentFloor
    y: ComponentFloor
    reach: float  #: cells from the edge of the ice that count as its margin

    def along(
        self,
        east: FloatArray,
        north: FloatArray,
        cov_x: FloatArray,
        cov_y: FloatArray,
        ice: BoolArray,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the amplitude, m/yr, and the trend, m/yr per year, that may be false.

        Parameters
        ----------
        east, north
            Unit vector of the direction along which they are wanted, (rows, cols).
        cov_x, cov_y
            Covariance of the components' lines and waves, (4, 4, rows, cols), as
            ``derived.LineAndWave`` has it.
        ice
            (rows, cols): what lies near its edge is margin.
        """
        margin = ice & (
            ndimage.distance_transform_edt(np.pad(ice, 1))[1:-1, 1:-1] <= self.reach
        )
        return (
            np.hypot(east * self.x.season_at(cov_x, margin),
                     north * self.y.season_at(cov_y, margin)),
            np.hypot(east * self.x.trend_at(cov_x, margin),
                     north * self.y.trend_at(cov_y, margin)),
        )  # fmt: skip


def component_floor(
    wave: FloatArray,
    covariance: FloatArray,
    near_ice: BoolArray,
    classes: NDArray[Any] | None = None,
    *,
    months: NDArray[Any] | None = None,
    seed: int = 0,
) -> ComponentFloor:
    """Measure the floor of one component from the line and the wave of bare-ground cells.

    Parameters
    ----------
    wave
        (4, cells): mean, trend, cosine, sine, m/yr; NaN = no months.
    covariance
        (4, 4, cells), as stated.
    near_ice
        (cells,) whether the ground lies next to the ice.
    classes
        (cells,) names (``slope_classes``), "" = not known; None = no heights.
    months
        (cells,) how many months each has; None = all have as many.
    seed
        Of the resampling.

    Returns
    -------
    ComponentFloor

    Raises
    ------
    StableGroundError
        Fewer than ``LEAST_CELLS`` cells away from the ice have a line and a wave.

    Notes
    -----
    The ground's amplitudes A scatter more than their stated errors s say. The excess e is the
    one that makes the median of A^2 / (s^2 + e^2) what chance makes it. The tails are longer
    than that, as is bad ground; the factor f is such that the share HELD of those of the
    ground's seasons that pass for more than chance lies below f sqrt(s^2 + e^2). A share of
    *all* cells would not do: the false seasons are its upper end. The floor of an ice cell
    follows from its own error s, which may be smaller or larger than that of the ground, and
    from f with its error on top.
    """
    seen = np.isfinite(wave).all(axis=0) & np.isfinite(covariance).all(axis=(0, 1))
    away, near = seen & ~near_ice, seen & near_ice
    if away.sum() < LEAST_CELLS:
        raise StableGroundError(
            "floor", "bare ground",
            expected=f"{LEAST_CELLS} cells with a year and a half of months",
            got=f"{int(away.sum())}",
            hint="widen [glaciers] margin_m, or read seasons without a floor with care",
        )  # fmt: skip
    months = np.ones(wave.shape[1]) if months is None else np.asarray(months)

    def levels(of: BoolArray) -> tuple[Level, Level]:
        return _levels(wave[:, of], covariance[:, :, of], months[of], seed)

    season, trend = levels(away)
    margin: tuple[Level | None, Level | None] = None, None
    if near.sum() >= LEAST_CELLS:
        margin = levels(near)
    described: tuple[GroundClass, ...] = ()
    if classes is not None:
        described = tuple(
            _describe(name, wave[:, seen & (classes == name)])
            for name in class_names()
            if (seen & (classes == name)).any()
        )
    return ComponentFloor(season, trend, *margin, described)


def slope_classes(height: FloatArray, cell: float, sun_azimuth: float) -> NDArray[np.str_]:
    """Name the slope and aspect of cells, the aspect as seen from the sun.

    Parameters
    ----------
    height
        Metres, (rows, cols), first row northernmost, NaN = unknown.
    cell
        Side of a cell, m.
    sun_azimuth
        Mean of the scenes, degrees clockwise from the grid's north; Landsat's sun stays in
        the same quarter of the sky all year.

    Returns
    -------
    (rows, cols) array of str
        One of ``class_names()``, "" where the height is not known.
    """
    down, right = np.gradient(np.asarray(height, float), cell)
    steep = np.degrees(np.arctan(np.hypot(down, right)))
    faces = np.degrees(np.arctan2(-right, down))  # downhill, clockwise from north
    quarter = np.round(((faces - sun_azimuth) % 360) / 90).astype(float) % 4
    out = np.full(steep.shape, "", dtype="U40")
    out[steep < GENTLE] = _SLOPES[0]
    for name, low, high in ((_SLOPES[1], GENTLE, STEEP), (_SLOPES[2], STEEP, 91.0)):
        for k, aspect in enumerate(ASPECTS):
            out[(steep >= low) & (steep < high) & (quarter == k)] = f"{name}, {aspect}"
    return out


def class_names() -> tuple[str, ...]:
    """Return the names of all classes of slope and aspect."""
    inclined = [f"{slope}, {aspect}" for slope in _SLOPES[1:] for aspect in ASPECTS]
    return (_SLOPES[0], *inclined)


def below(size: FloatArray, level: FloatArray) -> FloatArray:
    """Hold seasons or trends against their floor: ABOVE, BELOW, or UNVERIFIED without one.

    NaN where there is no season or trend.
    """
    held = np.where(np.abs(size) < level, BELOW, ABOVE)
    found = np.where(np.isfinite(level), held, UNVERIFIED)
    return np.where(np.isfinite(size), found, np.nan)


def as_record(floor: Floor) -> dict[str, Any]:
    """Return the floor as plain values, for JSON."""
    made: dict[str, Any] = {"held": HELD, "chance": CHANCE, "margin_cells": floor.reach}
    for name, component in (("vx", floor.x), ("vy", floor.y)):
        plain = asdict(component)
        for level in ("season", "trend", "margin_season", "margin_trend"):
            found: Level | None = getattr(component, level)
            if found is not None:
                plain[level]["typical"] = found.typical
        made[name] = without_nan(plain)
    return made


def _at(level: Level, margin: Level | None, sigma: FloatArray, where: BoolArray) -> FloatArray:
    """Return the floor; at the margin, where windows mix the two, both add in quadrature."""
    found = level.at(sigma)
    if margin is None:
        return found
    return np.where(where, np.hypot(found, margin.at(sigma)), found)


def _levels(
    wave: FloatArray, covariance: FloatArray, months: NDArray[Any], seed: int
) -> tuple[Level, Level]:
    """Measure the levels of season and trend from cells."""
    full = np.asarray(months >= np.quantile(months, _MOST_MONTHS))
    amplitude, sigma = np.hypot(wave[2], wave[3]), _wave_sigma(covariance)
    chance = _of_chance(wave[2:], covariance[2:, 2:])
    told = chance < CHANCE
    season = _level(amplitude, sigma, told, full, _WAVE_MEDIAN, _WAVE_CHANCE, seed)
    slope, error = np.abs(wave[1]), np.sqrt(covariance[1, 1])
    beyond = slope > _LINE_CHANCE * error
    return season, _level(slope, error, beyond, full, _LINE_MEDIAN, _LINE_CHANCE, seed)


def _wave_sigma(covariance: FloatArray) -> FloatArray:
    """Return the 1-sigma error of cosine and sine, one for both."""
    return np.asarray(np.sqrt((covariance[2, 2] + covariance[3, 3]) / 2))


def _of_chance(pair: FloatArray, spread: FloatArray) -> FloatArray:
    """Return the chance of two coefficients as far from zero, (2, cells) and (2, 2, cells)."""
    solved = np.linalg.solve(np.moveaxis(spread, -1, 0), pair.T[..., None])[..., 0]
    return np.asarray(np.exp(-np.einsum("ci,ic->c", solved, pair) / 2))


def _level(
    size: FloatArray, sigma: FloatArray, beyond: BoolArray, full: BoolArray, median: float,
    least: float, seed: int,
) -> Level:  # fmt: skip
    """Measure the floor from what cells show; ``median`` and ``least`` are chance's.

    ``full`` are the cells with most months.
    """
    excess = _excess(size, sigma, median)
    ratio = size / np.hypot(sigma, excess)
    draw = np.random.default_rng(seed).integers(0, len(size), (_RESAMPLES, len(size)))
    factor = _factor(ratio, beyond, least)
    each = [_factor(ratio[some], beyond[some], least) for some in draw]
    return Level(
        cells=len(size),
        excess=excess,
        factor=factor,
        sigma_factor=float(np.std(each)),
        median=float(np.median(size)),
        high=float(np.quantile(size, HELD)),
        beyond_chance=float(beyond.mean()),
        sigma=float(np.median(sigma[full])),
    )


def _excess(size: FloatArray, sigma: FloatArray, median: float) -> float:
    """Return the scatter beside the stated one that makes the median ratio chance's."""

    def surplus(variance: float) -> float:
        return float(np.median(size**2 / (sigma**2 + variance))) - median**2

    if surplus(0.0) <= 0:
        return 0.0
    high = float(np.median(size**2)) / median**2
    while surplus(high) > 0:
        high *= 2
    return float(np.sqrt(optimize.brentq(surplus, 0.0, high, rtol=1e-6)))


def _factor(ratio: FloatArray, beyond: BoolArray, least: float) -> float:
    """Return the size that holds most of what passes for more than chance."""
    return max(float(np.quantile(ratio[beyond], HELD)) if beyond.any() else 0.0, least)


def _describe(name: str, wave: FloatArray) -> GroundClass:
    """Describe the cells of one class."""
    cells = wave.shape[1]
    if cells < LEAST_IN_CLASS:
        return GroundClass(name, cells, *[float("nan")] * 7)
    amplitude = np.hypot(wave[2], wave[3])
    cosine, sine = np.median(wave[2:], axis=1)
    # Of a median of n: 1.2533 times that of the mean; scatter from the quartiles.
    low, high = np.quantile(wave[2:], [0.25, 0.75], axis=1)
    scatter = float(np.sqrt(np.mean(((high - low) / 1.349) ** 2)))
    return GroundClass(
        name=name,
        cells=cells,
        season_median=float(np.median(amplitude)),
        season_high=float(np.quantile(amplitude, HELD)),
        common_season=float(np.hypot(cosine, sine)),
        sigma_common_season=1.2533 * scatter / float(np.sqrt(cells)),
        common_phase_days=float((np.arctan2(sine, cosine) / (2 * np.pi)) % 1.0 * DAYS_PER_YEAR),
        trend_median=float(np.median(np.abs(wave[1]))),
        common_trend=float(np.median(wave[1])),
    )
