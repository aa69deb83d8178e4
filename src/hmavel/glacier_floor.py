"""The systematic floor of a glacier: months of its bare ground, made as those of its ice."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from hmavel import derived, state
from hmavel._types import years_between
from hmavel.errors import HmavelError, StableGroundError
from hmavel.floor import (
    BELOW,
    UNVERIFIED,
    Floor,
    as_record,
    component_floor,
    slope_classes,
)
from hmavel.joined import join
from hmavel.month import Months, compose_months
from hmavel.network_check import sample_of
from hmavel.pair_stack import KEPT, STABLE, believed
from hmavel.product.derived_field import TOLD
from hmavel.raster_resample import resample
from hmavel.shade import read_relief
from hmavel.shared_error import match_part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hmavel._types import BoolArray, FloatArray
    from hmavel.config import Config
    from hmavel.itslive import PairStack
    from hmavel.outcome import GlacierPlan, Row
    from hmavel.site import Site

logger = logging.getLogger(__name__)

#: The record of a glacier's floor, beside its months.
RECORD = "floor.json"
#: Its picture; only where there is a floor.
FIGURE = "floor.png"
#: Cells of bare ground next to the ice, and as many elsewhere, whose months are made: the
#: floor's own error is then about a tenth.
MOST_CELLS = 250
#: Ground that is seen in fewer than this share of the pairs of the ice is left out: its months
#: would rest on the prior.
LEAST_SHARE = 0.5
#: Bands of the pairs that say what the ground does.
GROUND = (*KEPT, STABLE)
#: Columns of ``floor.csv``: a row for each glacier's ice, and for each component and class of
#: its ground.
COLUMNS = (
    "glacier", "component", "ground", "cells", "season_median", "season_high", "season_floor",
    "season_factor", "season_factor_sigma", "season_excess", "season_beyond_chance",
    "common_season", "common_season_sigma", "common_phase_days", "trend_median", "trend_high",
    "trend_floor", "common_trend", "seasons_told", "seasons_below", "seasons_unverified",
    "trends_told", "trends_below", "trends_unverified", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class FloorResult:
    """A floor, or why there is none."""

    floor: Floor | None
    reason: str  #: "" with a floor

    def record(self, season: Mapping[str, FloatArray]) -> dict[str, Any]:
        """Return what ``floor.json`` has; ``season``: the bands of ``season_trend.tif``."""
        made = {} if self.floor is None else as_record(self.floor)
        ice = ice_counts(season)
        return {"floor": self.floor is not None, "reason": self.reason, "ice": ice, **made}


def ice_counts(season: Mapping[str, FloatArray]) -> dict[str, int]:
    """Count the cells with a season or a trend, and how many are below the floor or unverified.

    Parameters
    ----------
    season
        The bands of ``season_trend.tif``.
    """
    counts = {}
    for name in ("season", "trend"):
        told, held = season[f"{name}_flag"] == TOLD, season[f"{name}_below_floor"]
        counts[f"{name}s_told"] = int(told.sum())
        counts[f"{name}s_below"] = int((told & (held == BELOW)).sum())
        counts[f"{name}s_unverified"] = int((told & (held == UNVERIFIED)).sum())
    return counts


def glacier_floor(
    glacier: GlacierPlan,
    on_ice: Mapping[str, Months],
    ground: Mapping[str, FloatArray],
    *,
    used: list[Row],
    config: Config,
    typical_pairs: float,
    jobs: int,
    other: PairStack | None = None,
) -> FloorResult:
    """Compose the months of a sample of bare ground, and measure the floor from them.

    Parameters
    ----------
    glacier
        Its site and scenes.
    on_ice
        The months of "vx" and "vy" on the ice: the ground gets the same months, method, prior
        and scene error.
    ground
        The bands ``GROUND`` of the used pairs at ``ground_cells``, (pairs, 1, cells).
    used, config, jobs, other
        As in ``compose_glacier``.
    typical_pairs
        Pairs in which half of the ice is seen.

    Notes
    -----
    The sample is the same in every run. A cell counts as ground in the pairs in which it is
    bare: off the ice, clear, without snow and shadow, and not moving. The correction to the
    point (``resolution.py``) is proportional to the speed and left out.
    """
    try:
        near_ice = _near_ice(glacier.site, config)
        wave, covariance, months, where = _waves(
            ground_cells(glacier.site, config), near_ice, on_ice, _bare(ground), used, config,
            typical_pairs, jobs, other,
        )  # fmt: skip
        near = near_ice.ravel()[where]
        classes = _classes(glacier, config, where)
        x, y = (
            component_floor(wave[axis], covariance[axis], near, classes, months=months[axis])
            for axis in ("vx", "vy")
        )
        floor = Floor(x, y, 0.5 * _window(config))
    except StableGroundError as error:
        logger.warning("%s: no floor: %s", glacier.site.id, error)
        return FloorResult(None, str(error))
    return FloorResult(floor, "")


def rows_of(glacier: str, folder: Path) -> list[Row]:
    """Return a glacier's rows of ``floor.csv``, from its record; [] without one."""
    record = state.read_record(folder / RECORD)
    if not record:
        return []
    counts = record.get("ice", {})
    if not record.get("floor"):
        reason = record.get("reason", "")
        return [{"glacier": glacier, "cells": 0, "reason": reason, **counts}]
    rows: list[Row] = [
        {"glacier": glacier, "component": "along flow", "ground": "none: the ice", **counts}
    ]
    for axis in ("vx", "vy"):
        found = record[axis]
        for ground, prefix in (("away from ice", ""), ("next to ice", "margin_")):
            season, trend = found[f"{prefix}season"], found[f"{prefix}trend"]
            if season is None:
                continue
            rows.append({
                "glacier": glacier, "component": axis, "ground": ground,
                "cells": season["cells"], "season_median": season["median"],
                "season_high": season["high"], "season_floor": season["typical"],
                "season_factor": season["factor"],
                "season_factor_sigma": season["sigma_factor"],
                "season_excess": season["excess"],
                "season_beyond_chance": season["beyond_chance"],
                "trend_median": trend["median"], "trend_high": trend["high"],
                "trend_floor": trend["typical"],
            })  # fmt: skip
        for kind in found["classes"]:
            of_class = {"glacier": glacier, "component": axis, "ground": kind["name"]}
            rows.append(kind | of_class | {"common_season_sigma": kind["sigma_common_season"]})
    return rows


def ground_cells(site: Site, config: Config) -> BoolArray:
    """Return the cells off the ice, next to it and elsewhere, of which some make the floor."""
    near_ice, bare = _near_ice(site, config), ~site.any_ice
    # Next to the ice there is little ground; of the rest a part is enough.
    return np.asarray(sample_of(near_ice & bare) | sample_of(~near_ice & bare))


def _waves(
    ground: BoolArray,
    near_ice: BoolArray,
    on_ice: Mapping[str, Months],
    stack: dict[str, FloatArray],
    used: list[Row],
    config: Config,
    typical_pairs: float,
    jobs: int,
    other: PairStack | None,
) -> tuple[
    dict[str, FloatArray], dict[str, FloatArray], dict[str, FloatArray], NDArray[np.intp]
]:
    """Return ground cells' line and wave, its covariance, number of months; which cells."""
    start, end = (
        np.array([row[name] for row in used], "datetime64[ms]") for name in ("start", "end")
    )
    if other is not None:
        stack, start, end = join(stack, start, end, other, ground)
    stack = believed(stack, start, end, config)
    chosen = _chosen(
        np.isfinite(stack["vx"][:, 0]).sum(axis=0), typical_pairs, near_ice[ground]
    )
    where = np.flatnonzero(ground)[chosen]
    years = years_between(start, end)
    wave, covariance, number = {}, {}, {}
    for axis in ("vx", "vy"):
        like, alone = on_ice[axis], stack[f"sigma_{axis}"][:, :, chosen]
        if other is None:
            alone = match_part(alone, like.scene_sigma, years)
        months = compose_months(
            stack[axis][:, :, chosen], alone, start, end, months=like.months,
            method=config.months.method, scene_sigma=like.scene_sigma,
            smoothness=like.smoothness, hyperparameters=like.hyperparameters or None,
            jobs=jobs, summary=derived.summary,
        )  # fmt: skip
        wave[axis] = months.summary["wave"][:, 0]
        covariance[axis] = months.summary["wave_covariance"][:, :, 0]
        number[axis] = months.summary["wave_months"][0]
    return wave, covariance, number, where


def _bare(ground: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the pairs at ground cells, NaN where they are not bare in the pair."""
    kept = {name: ground[name] for name in KEPT}
    still = ground[STABLE] == 1
    return kept | {axis: np.where(still, kept[axis], np.nan) for axis in ("vx", "vy")}


def _window(config: Config) -> float:
    """Return the side of the fine window, cells."""
    return config.correlate.window / config.correlate.step


def _near_ice(site: Site, config: Config) -> BoolArray:
    """Return the cells from which a window's width reaches the ice, of any glacier."""
    away = ndimage.distance_transform_edt(~site.any_ice)
    return np.asarray(away < _window(config))


def _chosen(seen: NDArray[Any], typical: float, near: BoolArray) -> NDArray[np.intp]:
    """Choose cells that are seen nearly as often as the ice is, near it and elsewhere."""
    good = seen >= max(LEAST_SHARE * typical, 1)
    if not good.any():
        raise StableGroundError(
            "floor", "bare ground",
            expected=f"cells that are bare in {LEAST_SHARE:.0%} as many pairs as half of the "
            f"ice is seen in ({typical:.0f})",
            got=f"none of {len(seen)}, at most {int(seen.max(initial=0))} pairs",
            hint="widen [glaciers] margin_m",
        )  # fmt: skip
    draw = np.random.default_rng(0)
    some = [draw.permutation(np.flatnonzero(good & of))[:MOST_CELLS] for of in (near, ~near)]
    return np.sort(np.concatenate(some))


def _classes(
    glacier: GlacierPlan, config: Config, where: NDArray[np.intp]
) -> NDArray[np.str_] | None:
    """Name the slope and aspect of cells, where there are heights and the sun is known."""
    azimuth = np.deg2rad([scene.sun_azimuth for scene in glacier.scenes])
    azimuth = azimuth[np.isfinite(azimuth)]
    if config.input.dem is None or len(azimuth) == 0:
        return None
    site = glacier.site
    try:
        height, relief = read_relief(config.input.dem, site.grid)
    except HmavelError as error:
        logger.warning("%s: floor without slopes: %s", site.id, error)
        return None
    mean = np.degrees(np.arctan2(np.sin(azimuth).mean(), np.cos(azimuth).mean()))
    # A slope over the window that is matched, about the size of a few cells.
    height = resample(height, relief, site.grid, "average")
    return slope_classes(height, abs(site.grid.transform.a), float(mean)).ravel()[where]
