"""What a pair amounts to for its glacier: its row in the table, and whether it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hmavel.errors import HmavelError, PairError, StableGroundError
from hmavel.gates import Gate, ground_figures, judge
from hmavel.unsteady import find_unsteady
from hmavel.velocity import east_north

if TYPE_CHECKING:
    from hmavel._types import BoolArray, FloatArray
    from hmavel.config import Config
    from hmavel.gates import Limits
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


def figures(measured: Measured, ice: BoolArray, pixel: float, limits: Limits) -> Row:
    """Return what ``pairs.csv`` says about a pair: how much was matched, and how well."""
    good, bias, velocity = measured.corrected.good, measured.bias, measured.velocity
    passed = gate(measured, pixel, limits, ice=ice)
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
        "redundancy": bias.redundancy,
        "unsteady": find_unsteady(measured.corrected, measured.stable).share,
        "gate": passed.level,
        "gate_reasons": passed.text,
        **{name: passed.figures[name] for name in GATED if name in passed.figures},
    }


#: The figures of the gates that stand in ``pairs.csv`` under their own name.
GATED = (
    "static_spread_m", "bias_m", "delta_m", "outliers", "ground_matched", "ice_matched",
    "closure",
)  # fmt: skip


def gate(
    measured: Measured, pixel: float, limits: Limits, *, ice: BoolArray | None = None
) -> Gate:
    """Hold a pair's figures against the limits; ``ice`` is None where no outline is known."""
    corrected, before = measured.corrected, measured.bias.before
    cell = pixel * float(corrected.col[1] - corrected.col[0]) if corrected.col.size > 1 else 0.0
    east, north, _, _ = east_north(corrected, pixel)
    found = ground_figures(east, north, measured.stable, cell)
    found["bias_m"] = pixel * float(np.hypot(before.median_row, before.median_col))
    if ice is not None:
        found["ice_matched"] = float((corrected.good & ice).sum()) / max(int(ice.sum()), 1)
    return judge(found, limits)


def gate_of_row(row: Row, limits: Limits) -> Gate:
    """Judge a row of ``pairs.csv`` again, after more is known of the pair."""
    known = {name: row.get(name) for name in GATED}
    return judge(known | {"static_count": row.get("stable")}, limits)


def _median(values: FloatArray) -> float | None:
    return float(np.median(values)) if values.size else None


def verdict(measured: Measured, row: Row, config: Config) -> tuple[str, str]:
    """Decide whether the months can use a pair: ("used" or "rejected", reason)."""
    share = row["good_ice"] / max(row["nodes_ice"], 1)
    if share < config.correlate.min_matched:
        return "rejected", f"{share:.1%} of the ice matched"
    if measured.bias.flag and measured.bias.model == "none":
        return "rejected", f"bare ground: {measured.bias.reason}"
    if row["gate"] == "fail":
        return "rejected", f"gate: {row['gate_reasons']}"
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
