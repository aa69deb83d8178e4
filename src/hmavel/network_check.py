"""What all pairs of a glacier say about each other: their errors, and bad scenes among them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hmavel._types import FloatArray, TimeArray, years_between
from hmavel.closure import Closure, close_triplets
from hmavel.errors import StableGroundError
from hmavel.finite import without_nan
from hmavel.sampling import drawn
from hmavel.shared_error import MOST_CELLS, ErrorComponents, match_part, separate_errors

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkCheck:
    """Errors and closure of a glacier's pairs."""

    errors: ErrorComponents | None  #: None = too little bare ground
    reason: str  #: why there are no errors
    ground: Closure  #: over bare ground
    ice: Closure  #: over the ice, where moving through a gradient adds to it

    @property
    def suspects(self) -> dict[np.datetime64, str]:
        """Scenes that are not like the others: time -> why."""
        found: dict[np.datetime64, str] = {}
        for closure, where in ((self.ice, "on the ice"), (self.ground, "on bare ground")):
            for s in np.flatnonzero(closure.suspects):
                found[closure.scenes[s]] = (
                    f"its triplets spread {closure.scene_spread[s]:.1f} times as much as "
                    f"predicted {where}"
                )
        if self.errors is not None:
            for s in np.flatnonzero(self.errors.suspects):
                size = float(np.nanmax(self.errors.each_scene_sigma[s]))
                words = f"its place errs by {size:.1f} m"
                time = self.errors.scenes[s]
                found[time] = f"{found[time]}; {words}" if time in found else words
        return dict(sorted(found.items()))


def check_network(
    ground: Mapping[str, FloatArray],
    ice: Mapping[str, FloatArray],
    start: TimeArray,
    end: TimeArray,
    *,
    redundancy: float = 1.0,
) -> NetworkCheck:
    """Tell the pairs' errors apart over bare ground, and close all triplets.

    Parameters
    ----------
    ground, ice
        ``vx``, ``vy``, ``sigma_vx``, ``sigma_vy``, m/yr, (p, cells), NaN = not measured (or
        not bare ground in this pair).
    start, end
        (p,) datetime64.
    redundancy
        As for ``separate_errors``.

    Returns
    -------
    NetworkCheck
    """
    years = years_between(
        np.asarray(start, "datetime64[ms]"), np.asarray(end, "datetime64[ms]")
    )
    errors, reason = _errors(ground, years, start, end, redundancy)
    scene = errors.scene_sigma if errors else np.zeros(2)

    def closed(stack: Mapping[str, FloatArray]) -> Closure:
        x, y, sigma_x, sigma_y = np.empty((4, *np.shape(stack["vx"])), np.float32)
        axes = (("vx", x, sigma_x, scene[0]), ("vy", y, sigma_y, scene[1]))
        for axis, d, alone, s in axes:
            for i in range(len(years)):  # pair by pair: nothing large is made beside them
                one = slice(i, i + 1)
                d[one] = stack[axis][one] * years[one]
                match = match_part(stack[f"sigma_{axis}"][one], float(s), years[one])
                alone[one] = match * np.abs(years[one])
        return close_triplets(x, y, sigma_x, sigma_y, start, end)

    return NetworkCheck(errors, reason, closed(ground), closed(ice))


def _errors(
    ground: Mapping[str, FloatArray], years: FloatArray, start: TimeArray, end: TimeArray,
    redundancy: float,
) -> tuple[ErrorComponents | None, str]:  # fmt: skip
    """Return the errors over bare ground, or None and why there are none."""
    x, y = (ground[axis] * years[:, None] for axis in ("vx", "vy"))
    try:
        return separate_errors(x, y, start, end, redundancy=redundancy), ""
    except StableGroundError as error:
        logger.debug("%s", error)
        return None, str(error)


def as_record(check: NetworkCheck, ids: Sequence[str]) -> dict[str, Any]:
    """Return the check as plain values: by pair id, by scene time, and over all."""
    errors = check.errors
    pairs = {
        name: {
            "closure": check.ground.pair_spread[i],
            "closure_ice": check.ice.pair_spread[i],
            "open_share": check.ground.pair_open_share[i],
        }
        for i, name in enumerate(ids)
    }
    figures: dict[str, Any] = {"match_sigma_m": None, "scene_sigma_m": None, "share": None}
    if errors is not None:
        figures = {
            "match_sigma_m": errors.match_sigma.tolist(),
            "match_sigma_se_m": errors.match_sigma_se.tolist(),
            "scene_sigma_m": errors.scene_sigma.tolist(),
            "scene_sigma_se_m": errors.scene_sigma_se.tolist(),
            "share": errors.scene_share,
            "cells": errors.cells,
        }
    figures |= {
        "reason": check.reason,
        "triplets": len(check.ground.triplets),
        "closure": check.ground.overall,
        "closure_ice": check.ice.overall,
        "suspects": {str(time): why for time, why in check.suspects.items()},
        "by_pair": pairs,
    }
    record: dict[str, Any] = without_nan(figures)
    return record


def sample_of(cells: np.ndarray) -> np.ndarray:
    """Return the mask ``cells`` with at most ``MOST_CELLS`` of its cells, evenly drawn."""
    where = np.flatnonzero(cells)
    out = np.zeros(cells.size, bool)
    out[where[drawn(len(where), MOST_CELLS)]] = True
    return out.reshape(cells.shape)
