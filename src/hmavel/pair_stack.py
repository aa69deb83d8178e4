"""The pairs of a glacier on disk: read back for the months, and held against each other."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hmavel import __version__, parallel, state
from hmavel._types import DAYS_PER_YEAR, pair_id
from hmavel.config import as_json
from hmavel.consistency import doubtful
from hmavel.network_check import as_record, check_network, sample_of
from hmavel.parallel import Failure
from hmavel.raster import read_cells
from hmavel.shared_error import scene_sigma_on_ice
from hmavel.verdict import gate_of_row

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel._types import BoolArray, FloatArray, TimeArray
    from hmavel.config import Config
    from hmavel.outcome import Clock, Row
    from hmavel.site import Site

logger = logging.getLogger(__name__)

#: The record of what a glacier's pairs say about each other.
NETWORK = "network.json"
#: What is kept of a pair for the months, and for what all pairs say of each other.
KEPT = ("vx", "vy", "sigma_vx", "sigma_vy")
STABLE = "stable"
#: And where the ice is looked at twice: by how much the second look differs.
MORE = ("more_vx", "more_vy")


def check_pairs(
    rows: list[Row], site: Site, folder: Path, config: Config, clock: Clock
) -> list[Failure]:
    """Let a glacier's pairs judge each other; their closure and gates go into the rows.

    The check is kept in ``network.json`` and made anew when the pairs change.
    """
    used = [row for row in rows if row["state"] == "used"]
    expected = state.fingerprint(
        __version__, as_json(config.gates), sorted(row[state.KEY] for row in used)
    )
    path = folder / NETWORK
    found = state.read_record(path)
    if used and found.get(state.KEY) != expected:
        with clock.stage("network"):
            work = partial(_network_record, used, site, folder / "pairs")
            made = parallel.attempt(work, f"network of {site.id}")
        if isinstance(made, Failure):
            path.unlink(missing_ok=True)  # what it says is of other pairs
            return [made]
        found = made
        state.write_record(path, expected, **found)
        for time, why in found["suspects"].items():
            logger.warning("%s: scene of %s: %s", site.id, time, why)
    for row in used:
        row |= found["by_pair"].get(_name(row), {})
        judged = gate_of_row(row, config.gates.limits())
        row |= {"gate": judged.level, "gate_reasons": judged.text}
        named = [t for t in found["suspects"] if t in (row["start"], row["end"])]
        if named and judged.level != "fail":
            words = f"a scene unlike the others: {', '.join(named)}"
            reasons = "; ".join(filter(None, [judged.text, words]))
            row |= {"gate": "warn", "gate_reasons": reasons}
        if judged.level == "fail":
            row |= {"state": "rejected", "reason": f"gate: {judged.text}"}
    return []


def _network_record(used: list[Row], site: Site, folder: Path) -> Row:
    """Read the pairs over ice and bare ground, and check them against each other."""
    ice, bare = sample_of(site.ice), sample_of(~site.any_ice)
    start, end = (
        np.asarray([row[name] for row in used], "datetime64[ms]") for name in ("start", "end")
    )
    on_ice, ground = read_cells(
        _files(folder, used), [(ice, KEPT), (bare, (*KEPT, STABLE))]
    )
    moving = ground.pop(STABLE) != 1
    for band in ground.values():
        band[moving] = np.nan
    repeats = [row["redundancy"] for row in used if np.isfinite(row["redundancy"] or np.nan)]
    check = check_network(
        ground, on_ice, start, end,
        redundancy=max(float(np.median(repeats)), 1.0) if repeats else 1.0,
    )  # fmt: skip
    return as_record(check, [_name(row) for row in used])


def shared_sigma(config: Config, folder: Path, used: list[Row]) -> tuple[float, float]:
    """Return the error that the pairs of a scene share on the ice, metres, (x, y).

    As configured, else from bare ground; 0 where there is too little of that to say.
    """
    found = state.read_record(folder / NETWORK)
    given, ground = config.months.scene_sigma_m, found.get("scene_sigma_m")
    if given is not None:
        return given, given
    if ground is None or not used:
        return 0.0, 0.0
    typical = [
        float(np.median([row[name] * row["days"] / DAYS_PER_YEAR for row in used if row[name]]))
        for name in ("sigma_vx", "sigma_vy")
    ]
    x, y = scene_sigma_on_ice(ground, found["share"], typical)
    return float(x), float(y)


def read_pairs(
    folder: Path, used: list[Row], *wanted: tuple[BoolArray, tuple[str, ...]]
) -> list[dict[str, FloatArray]]:
    """Read bands of the pairs at some cells: for each wanted, name -> (pairs, 1, cells)."""
    found = read_cells(_files(folder, used), wanted)
    return [{name: band[:, None] for name, band in stack.items()} for stack in found]


def _files(folder: Path, rows: list[Row]) -> list[Path]:
    return [folder / f"{_name(row)}.tif" for row in rows]


def _name(row: Row) -> str:
    return pair_id(row["reference"], row["secondary"])


def believed(
    stack: dict[str, FloatArray], start: TimeArray, end: TimeArray, config: Config
) -> dict[str, FloatArray]:
    """Return the stack without the long pairs that the short ones contradict."""
    wrong = doubtful(
        **stack, start=start, end=end, short_days=config.pairs.short_days,
        limit=config.months.max_disagreement, far_m=config.months.far_m,
    )
    return stack | {axis: np.where(wrong, np.nan, stack[axis]) for axis in ("vx", "vy")}
