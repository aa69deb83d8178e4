"""Tables to read: plain text with aligned columns, the same on every terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hmavel.finite import without_nan
from hmavel.mtl import parse_product_id
from hmavel.scene_graph import pair_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group, RenderableType

    from hmavel.demo import DemoResult
    from hmavel.estimate import Cost, Work
    from hmavel.map_quality import MapQuality
    from hmavel.outcome import PairResult, Plan, Row, RunResult


def text_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows under a header, text to the left and numbers to the right.

    Floats are shown with three digits that count, NaN as "-".
    """
    shown = [[_cell(value) for value in row] for row in rows]
    widths = [
        max([len(title), *(len(row[i]) for row in shown)]) for i, title in enumerate(header)
    ]
    right = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(header))
    ]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(header), rule, *(line(row) for row in shown)])


def count(number: int, what: str) -> str:
    """Return "1 pair", "2 pairs"."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if value != value else _digits(value)
    return "" if value is None else str(value)


def _digits(value: float) -> str:
    size = abs(value)
    if size >= 99.95 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"


def pair_text(result: PairResult) -> str:
    """Return what ``hmavel pair`` prints."""
    figures, bias = result.figures, result.figures["bias"]
    share = figures["matched"] / max(figures["nodes"], 1)
    lines = [
        f"{result.id}, {result.baseline_days:.3f} days",
        f"matched   {figures['matched']} of {count(figures['nodes'], 'node')} ({share:.1%})",
        f"speed     median {_cell(figures['speed_median'])} m/yr, "
        f"99 % below {_cell(figures['speed_99'])} m/yr",
    ]
    if bias["model"] == "none":
        why = bias["reason"] or "no correction was asked for"
        lines.append(f"bias      not corrected: {why}")
    else:
        lines.append(f"bias      {bias['model']}, from {count(bias['count'], 'stable node')}")
    if bias["count"]:
        header = ("stable ground, px", "median right", "median down", "nmad right", "nmad down")
        rows = [
            (when, *(f"{bias[when][key]:+.4f}" if "median" in key else f"{bias[when][key]:.4f}"
                     for key in ("median_col", "median_row", "nmad_col", "nmad_row")))
            for when in ("before", "after")
        ]
        lines += ["", text_table(header, rows)]
    gate = figures["gate"]
    lines += ["", f"verdict   {gate.level}" + (f": {gate.text}" if gate.reasons else "")]
    lines += ["", f"written to {result.folder}"]
    return "\n".join(lines)


def quality_text(maps: Sequence[MapQuality]) -> str:
    """Return what ``hmavel assess`` prints: a line for each map."""
    rows = []
    for m in maps:
        t = m.static
        figures = (t.bias_x, t.bias_y, t.delta_x, t.delta_y, t.outlier_fraction) if t else ()
        # A unit may make them small: digits that count, not decimals.
        shown = [f"{value:.3g}" for value in figures] or ["-"] * 5
        rows.append(
            (m.name, m.gate.level, int(m.gate.figures["static_count"] or 0), *shown,
             f"{m.delta_shear:.3g}", m.gate.text or m.reason)
        )  # fmt: skip
    header = (
        "map", "verdict", "points", "bias x", "bias y", "2 sigma x", "2 sigma y", "outside",
        "shear", "reasons",
    )  # fmt: skip
    return text_table(header, rows)


def plan_text(plan: Plan) -> str:
    """Return what ``hmavel run --dry-run`` prints: the glaciers, and their pairs as graphs."""
    header = (
        "glacier", "name", "km2", "scenes", "accepted", "pairs", "parts", "pairs a scene",
        "days", "months", "ice cells", "grid",
    )  # fmt: skip
    rows = []
    for glacier in plan.glaciers:
        graph = pair_graph(glacier.pairs, glacier.scenes, short_days=plan.short_days)
        rows.append(
            (glacier.site.id, glacier.site.name, glacier.site.area_km2, len(glacier.rows),
             len(glacier.scenes), len(glacier.pairs), graph.components,
             f"{graph.least_degree}-{graph.median_degree:.0f}-{graph.most_degree}",
             f"{graph.least_days:.0f}-{graph.median_days:.0f}-{graph.most_days:.0f}",
             f"{graph.months_short} of {graph.months}", int(glacier.site.ice.sum()),
             f"{glacier.site.grid.shape[0]}x{glacier.site.grid.shape[1]}")
        )  # fmt: skip
    pairs = sum(len(glacier.pairs) for glacier in plan.glaciers)
    numbers = ((len(rows), "glacier"), (plan.found, "scene"), (pairs, "pair"))
    total = ", ".join(count(number, what) for number, what in numbers)
    total += f"; into {plan.folder}"
    explained = (
        "parts: of the graph of scenes that no pair joins; pairs a scene and days between "
        "scenes: least-median-most; months: inside a short pair"
    )
    return "\n".join([text_table(header, rows), "", explained, *plan.notes, total])


def cost_text(here: Cost, region: Cost, work: Work, speed_s: float) -> str:
    """Return what a job will take, and what all of High Mountain Asia would."""
    header = ("CPU-hours", "screen", "read", "match", "bias", "write", "months", "products",
              "all", "GB read", "GB on disk")  # fmt: skip
    rows = [
        (name, cost.screen_h, cost.read_h, cost.match_h, cost.bias_h, cost.write_h,
         cost.months_h, cost.product_h, cost.cpu_h, cost.read_gb, cost.disk_gb)
        for name, cost in (("this job", here), ("High Mountain Asia", region))
    ]  # fmt: skip
    return "\n".join([
        "", text_table(header, rows), "",
        f"from rates measured before, scaled by this machine's {1e6 * speed_s:.1f} us for a "
        "node that is easy to match, measured now; GB read are pixels, unpacked",
        f"High Mountain Asia, April 2013 to December 2024: {work.glaciers:,} glaciers over 10 "
        f"km2, {work.selections:,} scenes selected of {work.screened:,} screened, "
        f"{work.pairs:,} pairs of {work.nodes / max(work.pairs, 1):,.0f} nodes",
    ])  # fmt: skip


_SHOWN = ("glacier", "scene", "accepted", "valid", "cloud", "shadow", "snow", "reason")


def scenes_text(plan: Plan) -> str:
    """Return the scene table that ``hmavel scenes`` prints."""
    rows = [[row.get(name) for name in _SHOWN] for row in plan.rows]
    return "\n".join([text_table(_SHOWN, rows), "", scenes_summary(plan)])


def scenes_summary(plan: Plan) -> str:
    """Return the lines below the scene table."""
    accepted = sum(bool(row["accepted"]) for row in plan.rows)
    summary = f"{accepted} of {count(len(plan.rows), 'row')} accepted"
    return "\n".join([*plan.notes, summary])


def scenes_rich(plan: Plan) -> Group:
    """Return the scene table for a terminal, glacier by glacier; green: taken, red: faults."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shares = ("valid", "cloud", "shadow", "snow")
    groups: dict[str, list[Row]] = {}
    for row in plan.rows:
        groups.setdefault(row["glacier"], []).append(row)
    tables: list[RenderableType] = []
    for glacier, rows in groups.items():
        taken = sum(bool(row["accepted"]) for row in rows)
        title = f"{glacier}: {taken} of {len(rows)} accepted" if glacier else "not usable"
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False,
            header_style="dim",
        )  # fmt: skip
        # What does not fit a narrow terminal is the reason, and it is folded.
        table.add_column("scene", no_wrap=bool(glacier), overflow="fold")
        for name in shares if glacier else ():
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("reason", overflow="fold")
        for row in rows:
            fault = not glacier or str(row["reason"]).startswith("unreadable")
            style = "green" if row["accepted"] else "red" if fault else "bright_black"
            numbers = [_cell(row.get(name)) for name in shares] if glacier else []
            reason = str(row["reason"]) or "accepted"
            cells = [_short_scene(row), *numbers, reason]
            table.add_row(*(Text(cell) for cell in cells), style=style)
        tables += [table, Text()]
    return Group(*tables)


def _short_scene(row: Row) -> str:
    """Return a scene as date, satellite and path/row, where its id is a product's."""
    product = parse_product_id(str(row["scene"]))
    if product is None or "time" not in row:
        return str(row["scene"])
    return f"{str(row['time'])[:10]} {product.sensor} {product.wrs[0]}/{product.wrs[1]}"


def scenes_json(plan: Plan) -> str:
    """Return the scene table as JSON; what is not known is null."""
    content = without_nan({"scenes": plan.rows, "notes": plan.notes})
    return json.dumps(content, indent=1, allow_nan=False)


def run_text(result: RunResult) -> str:
    """Return what ``hmavel run`` prints at its end."""
    rows = []
    for glacier in result.glaciers:
        states = [row["state"] for row in glacier.rows]
        warned = sum(
            row["state"] == "used" and row.get("gate") == "warn" for row in glacier.rows
        )
        rows.append(
            (glacier.id, len(states), states.count("used"), warned, states.count("rejected"),
             states.count("failed"), glacier.made, glacier.months)
        )  # fmt: skip
    header = (
        "glacier", "pairs", "used", "of them warned", "rejected", "failed", "made now", "months"
    )  # fmt: skip
    return "\n".join(
        [text_table(header, rows), "", seconds_text(result.seconds, result.elapsed),
         read_text(result.counts), f"written to {result.plan.folder}"]
    )  # fmt: skip


def read_text(counts: dict[str, float]) -> str:
    """Return in one line what was read of the archive."""
    scenes = int(counts.get("scenes read", 0))
    spilled = counts.get("bytes spilled", 0.0)
    more = f", {spilled / 1e9:.2f} GB to scratch files and back" if spilled else ""
    return f"read: {counts.get('bytes read', 0.0) / 1e9:.2f} GB of pixels, of " + count(
        scenes, "scene"
    ) + more


def plan_json(plan: Plan, cost: Cost) -> str:
    """Return what ``hmavel run --dry-run`` says of this job as JSON."""
    glaciers = {
        glacier.site.id: {
            "scenes": len(glacier.rows), "accepted": len(glacier.scenes),
            "pairs": len(glacier.pairs), "ice_cells": int(glacier.site.ice.sum()),
        }
        for glacier in plan.glaciers
    }  # fmt: skip
    content = {
        "folder": str(plan.folder), "glaciers": glaciers, "scenes": plan.found,
        "notes": plan.notes, "failures": [asdict(failure) for failure in plan.failures],
        "cost": asdict(cost) | {"cpu_h": cost.cpu_h},
    }  # fmt: skip
    return json.dumps(content, indent=1, allow_nan=False)


def run_json(result: RunResult, reasons: Sequence[tuple[str, int]], retry: str) -> str:
    """Return the summary of a run as JSON, with reasons counted and how to try again."""
    counts = {
        glacier.id: {"pairs": len(glacier.rows), "made": glacier.made, "months": glacier.months}
        for glacier in result.glaciers
    }
    content = {
        "folder": str(result.plan.folder), "glaciers": counts,
        "failures": [asdict(failure) for failure in result.failures],
        "reasons": dict(reasons), "retry": retry if result.failures else None,
        "seconds": result.seconds, "elapsed": result.elapsed,
    }  # fmt: skip
    return json.dumps(content, indent=1, allow_nan=False)


def seconds_text(seconds: dict[str, float], elapsed: float) -> str:
    """Return the time per stage in one line."""
    parts = ", ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items())
    return f"seconds per stage, all jobs together: {parts}; {elapsed:.1f} s on the clock"


def demo_text(result: DemoResult) -> str:
    """Return what ``hmavel demo`` prints."""
    header = (
        "glacier", "months of", "values", "blank %", "bias", "RMSE", "NMAD", "gross %", "<1s %",
        "<2s %",
    )  # fmt: skip
    rows = [
        (
            score.name or score.glacier, score.quantity, score.values, 100 * score.blank,
            score.bias, score.rmse, score.nmad, 100 * score.gross, 100 * score.within_1_sigma,
            100 * score.within_2_sigma,
        )
        for score in result.scores
    ]  # fmt: skip
    pictures = [f"picture: {path}" for path in result.pictures]
    return "\n".join(
        [
            "monthly velocity against the simulated truth, on the ice (m/yr unless said):", "",
            text_table(header, rows), "", seconds_text(result.seconds, result.elapsed),
            *pictures,
        ]
    )  # fmt: skip
