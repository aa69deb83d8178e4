"""What a pair amounts to for its glacier: its row in the table, and whether it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hmavel.errors import HmavelError, PairError, StableGroundError

if TYPE_CHECKING:
    from hmavel._types import BoolArray, FloatArray
    from hmavel.config import Config
    from hmavel.outcome import Row
    from hmavel.pair_chain import Measured
    from hmavel.pairing import PairChoice


def pair_row(choice: PairChoice, glacier: str) -> Row:
    """Return what is known of a pair before it is matched."""
    return {
        "glacier": glacier,
        "reference": choice.reference.id,
        "secondary": choice.secondary.id,
        "start": str(choice.reference.time),
        "end": str(choice.secondary.time),
        "days": choice.baseline_days,
        "chosen_for": choice.reason,
    }


def figures(measured: Measured, ice: BoolArray, pixel: float) -> Row:
    """Return what ``pairs.csv`` says about a pair: how much was matched, and how well."""
    good, bias, velocity = measured.corrected.good, measured.bias, measured.velocity
    return {
        "nodes_ice": int(ice.sum()),
        "good_ice": int((good & ice).sum()),
        "stable": int(bias.count),
        "model": bias.model,
        "bias_east_m": bias.before.median_col * pixel,
        "bias_north_m": -bias.before.median_row * pixel,
        "nmad_east_m": bias.after.nmad_col * pixel,
        "nmad_north_m": bias.after.nmad_row * pixel,
        "sigma_vx": _median(velocity.sigma_vx[good & ice]),
        "sigma_vy": _median(velocity.sigma_vy[good & ice]),
    }


def _median(values: FloatArray) -> float | None:
    return float(np.median(values)) if values.size else None


def verdict(measured: Measured, row: Row, config: Config) -> tuple[str, str]:
    """Decide whether the months can use a pair: ("used" or "rejected", reason)."""
    share = row["good_ice"] / max(row["nodes_ice"], 1)
    if share < config.correlate.min_matched:
        return "rejected", f"{share:.1%} of the ice matched"
    if measured.bias.flag and measured.bias.model == "none":
        return "rejected", f"bare ground: {measured.bias.reason}"
    return "used", ""


def nothing_used(glacier: str, rows: list[Row]) -> HmavelError:
    """Return the error of a glacier that has no usable pair, by what its pairs failed for."""
    if not rows:
        return PairError(
            "pairs", glacier, expected="two accepted scenes within the baselines", got="none",
            hint="see scenes.csv; widen [screening] or [pairs]",
        )
    if all("bare ground" in str(row["reason"]) for row in rows):
        return StableGroundError(
            "bias", glacier, expected="bare ground in at least one pair",
            got=f"none in {len(rows)}",
            hint="widen glaciers.margin_m, or set bias.model = \"none\" and accept the error",
        )
    reasons = sorted({str(row["reason"]) for row in rows})
    return PairError(
        "pairs", glacier, expected="a usable pair", got=f"{len(rows)} that are not",
        hint=f"see pairs.csv; the first reason: {reasons[0]}",
    )
