"""Markdown from the numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Measured once by others on one machine (2 cores, Zen 5 at 3.5 GHz); neither is on a package
#: index. k-1.2 texture, window 32, step 8.
NOT_MEASURED_HERE = {
    "COSI-Corr's library 32→32 ¹": "25-31 k",
    "COSI-Corr's library 64→32 ¹": "13-21 k",
    "autoRIFT 2.1 core, chip 32, ±8 ¹": "24 k",
    "autoRIFT with its filters ¹": "7 k",
}
COSI_CORR = "COSI-Corr 64→32 ¹"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [list(r) for r in rows]
    return "\n".join("| " + " | ".join(r) + " |" for r in lines) + "\n"


def px(x: float | None, digits: int = 4) -> str:
    if x is None or x != x:
        return "-"
    return f"{x:.{digits}f}"


def share(x: float | None) -> str:
    if x is None or x != x:
        return "-"
    return f"{100 * x:.2f} %" if x < 0.1 else f"{100 * x:.1f} %"


def speed(result: dict[str, Any]) -> str:
    rows = [
        [
            name, f"{r['nodes_per_cpu_s'] / 1000:.1f} k", f"{r['times_floor']:.2f}",
            f"{r['times_double_floor']:.2f}",
        ]
        for name, r in result["rows"].items()
    ]  # fmt: skip
    rows += [[name, x, "-", "-"] for name, x in NOT_MEASURED_HERE.items()]
    out = _table(["engine", "nodes / CPU-s", "x floor", "x floor in double precision"], rows)
    out += "\n" + _table(
        ["hmavel, default settings", "µs / node", "nodes x floor"],
        [
            [name, f"{r['us_per_node']:.2f}", f"{r['times_floor']:.2f}"]
            for name, r in result["scaling"]["rows"].items()
        ],
    )
    t = result["scaling"]["threads"]
    one, two = t["1"], t["2"]
    return out + (
        f"\nTwo threads, {t['side']}²: wall {one['wall_s'] / two['wall_s']:.2f}x faster than "
        f"one, CPU time {two['cpu_s'] / one['cpu_s']:.2f}x (best of the repeats; load "
        f"{t['load_1min']} on the machine meanwhile).\n"
    )


def accuracy(result: dict[str, Any]) -> str:
    out = ""
    for case, cell in result["cells"].items():
        out += (
            f"\n**{case} noise**: bound of a uniform 32² window {px(cell['bound'])} px "
            f"({px(cell['bound_known_texture'])} if the texture were known), best of a Hann "
            f"window {px(cell['hann_best'])} px\n\n"
        )
        rows = []
        for who, s in cell["engines"].items():
            if not s.get("reported"):
                rows.append([who] + ["-"] * 6 + ["0 %", "0 %"])
                continue
            rows.append(
                [
                    who,
                    px(s["bias"]),
                    f"{px(s['worst_bias']['px'])} ± {px(s['worst_bias']['standard_error'])}",
                    px(s["rmse"]),
                    px(s["nmad"]),
                    f"{s['rmse'] / cell['bound']:.2f}",
                    share(s["gross"]),
                    share(s["reported"]),
                    share(s["right"]),
                ]
            )
        head = ["engine", "bias", "worst bias of a shift", "RMSE", "NMAD", "RMSE / bound"]
        out += _table([*head, "> 1 px", "reported", "right"], rows)
    return out


def glacier(result: dict[str, Any]) -> str:
    rows = [
        [
            who,
            *(
                f(r[part].get(key))
                for part in ("all", "margin")
                for key, f in (("gross", share), ("rmse", px), ("reported", share))
            ),
        ]
        for who, r in result.items()
    ]
    rows.append([COSI_CORR, "-", ".262", "-", "-", ".92", "-"])
    head = ["engine", "> 1 px", "RMSE", "reported"]
    return _table([*head, *(f"{x}, ±16 px of the margin" for x in head[1:])], rows)


def domains(result: dict[str, Any]) -> str:
    distances = list(next(iter(result.values())))
    rows = [
        [label]
        + [
            f"{share(r[x]['bias_share'])} ({share(r[x]['reported'])})"
            if r[x]["bias_share"] is not None
            else "none"
            for x in distances
        ]
        for label, r in result.items()
    ]
    return _table(["windows", *(f"{x} px" for x in distances)], rows)


def resolution(result: dict[str, Any]) -> str:
    waves = list(next(iter(result.values()))["ratio"])
    rows = [
        [who, *(f"{r['ratio'][w]:.3f}" for w in waves), px(r.get("fault_px"), 1)]
        for who, r in result.items()
    ]
    return _table(["engine", *(f"{w} px" for w in waves), "fault, 10-90 %, px"], rows)


def acceptance(result: dict[str, Any]) -> str:
    rows = [
        [f"{case}{label}", *(share(x) for x in values)]
        for curve, label in (("evidence", ""), ("alone", ", without the tests of neighbours"))
        for case, values in result[curve].items()
    ]
    out = _table(["min_evidence", *(f"{x:g}" for x in result["thresholds"])], rows)
    levels = [0.6, 0.7, 0.8, 0.85, 0.9, 0.95]
    at = [result["levels"].index(x) for x in levels]
    for name, cases in result["ratio"].items():
        rows = [[case, *(share(values[i]) for i in at)] for case, values in cases.items()]
        out += "\n" + _table([f"{name} >", *(f"{x:g}" for x in levels)], rows)
    rows = [
        [case, share(r["accepted"]), str(r["nodes"]), _reasons(r.get("why"))]
        for case, r in result["default"].items()
    ]
    return out + "\n" + _table(["default settings", "accepted", "nodes", "why not"], rows)


def _reasons(why: dict[str, int] | None) -> str:
    return ", ".join(f"{k} {v}" for k, v in (why or {}).items() if k != "GOOD")


def sigma(result: dict[str, Any]) -> str:
    rows = [
        [
            case,
            px(r["spread"], 2),
            share(r["beyond_3"]),
            px(r["sigma_px"]),
            share(r["reported"]),
        ]
        for case, r in result.items()
    ]
    head = ["case", "robust spread of error / sigma", "beyond 3 sigma", "median sigma, px"]
    return _table([*head, "reported"], rows)


def textures(result: dict[str, Any]) -> str:
    rows = [
        [
            name,
            share(r["accepted"]),
            share(r["alone"]),
            str(r["nodes"]),
            str(r["good_without_sigma"]),
        ]
        for name, r in result.items()
    ]
    head = ["texture of both", "accepted", "without the tests of neighbours", "nodes"]
    return _table([*head, "good without sigma"], rows)


def holes(result: dict[str, Any]) -> str:
    rows = [
        [
            name,
            px(r.get("bias")),
            px(r.get("rmse")),
            px(r.get("spread"), 2),
            share(r.get("gross")),
            share(r["reported"]),
        ]
        for name, r in result.items()
    ]
    head = ["masked", "bias", "RMSE", "spread of error / sigma", "> 1 px", "reported"]
    return _table(head, rows)


def weights(result: dict[str, Any]) -> str:
    rows = []
    for name, r in result["rows"].items():
        row = [name]
        for case in ("white noise 2%", "white noise 10%", "moved sun"):
            s = r[case]
            row.append(f"{px(s.get('rmse'))} / {px(s.get('nmad'))} ({share(s['reported'])})")
        if "real" in r:
            x = r["real"]
            row.append(f"{px(x['nmad_row'], 3)} / {px(x['nmad_col'], 3)} ({share(x['good'])})")
        else:
            row.append("-")
        rows.append(row)
    head = ["weight, taper, rounds", "2 % noise: RMSE / NMAD", "10 % noise", "moved sun"]
    out = _table([*head, "real: bedrock NMAD row / col (good)"], rows)
    out += "\nMoved sun, peers: " + "; ".join(
        f"{who} RMSE {px(s.get('rmse'), 3)}, NMAD {px(s.get('nmad'), 3)}"
        for who, s in result["peers_moved_sun"].items()
    )
    for size, x in result.get("real_windows", {}).items():
        out += (
            f"\n\nReal pair, {size}: bedrock NMAD {px(x['nmad_row'], 3)} / "
            f"{px(x['nmad_col'], 3)} px (row / col), median {px(x['median_row'], 3)} / "
            f"{px(x['median_col'], 3)}, {x['held_nodes']} held-out nodes, "
            f"{share(x['held_reported'])} of them reported."
        )
    return out + "\n"
