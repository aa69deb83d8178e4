"""Frequency weights, taper and robustness of the last pass, where they pull apart.

White noise, a moved sun, and a real pair: what wins one of them may lose another.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from peers import Engine

import hmavel
from correlator_cases import scenes
from correlator_cases.common import DEFAULT, FEW_BINS, Scale, by_hmavel, errors, nmad, score
from hmavel.correlator import LIKELIEST, Settings
from hmavel.simulate import shifted_pair

SHAPE = (512, 512)
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "yahtse"


def measure(scale: Scale, engines: list[Engine]) -> dict[str, Any]:
    seeds = range(1000, 1000 + scale.seeds)
    move = 1.3, -0.6
    noisy = {
        f"white noise {noise:.0%}": [
            _arrays(shifted_pair(*move, s, SHAPE, noise=noise)) for s in seeds
        ]
        for noise in (0.02, 0.1)
    }
    sun = [scenes.moved_sun(s, SHAPE) for s in seeds]
    real = _real_pair()
    rows: dict[str, Any] = {}
    tapers = (0.1, 0.15, 0.25, 0.5)
    tried = {}
    for weight, taper, robust in product(("white", "half", "cross", "noise"), tapers, (0, 1)):
        asked = FEW_BINS if weight == "cross" else {}
        s = Settings(weight=weight, last_taper=taper, robust=robust, **asked)
        tried[f"{weight} {taper:g} R{robust}"] = s
    for taper in (0.03, 0.1, 0.25):
        s = replace(LIKELIEST, noisy_taper=taper, last_taper=max(taper, 0.1))
        tried[f"noise, interpolated {taper:g} R0"] = s
    for taper in (0.1, 0.25):
        s = replace(DEFAULT, interpolate=True, last_taper=taper)
        tried[f"half, interpolated {taper:g} R1"] = s
    for name, s in tried.items():
        row: dict[str, Any] = {}
        for case, pairs in noisy.items():
            e = [errors(by_hmavel(a, b, s), SHAPE, *move) for a, b in pairs]
            row[case] = score(np.concatenate(e, axis=1))
        e = [errors(by_hmavel(a, b, s), SHAPE, 0.0, 0.0) for a, b in sun]
        row["moved sun"] = score(np.concatenate(e, axis=1))
        if real is not None:
            row["real"] = _held_out(real, s, 32)
        rows[name] = row
    out: dict[str, Any] = {"rows": rows}
    if real is not None:
        out["real_windows"] = {
            f"{coarse}→{window}": _held_out(real, DEFAULT, window, coarse)
            for coarse, window in ((64, 32), (64, 64), (128, 64))
        }
    peers: dict[str, Any] = {}
    for engine in engines:
        e = [
            errors(engine.run(a[:224, :224], b[:224, :224], (0, 0), 0), (224, 224), 0, 0)
            for a, b in sun[:1]
        ]
        peers[engine.name] = score(np.concatenate(e, axis=1))
    out["peers_moved_sun"] = peers
    return out


def _arrays(p: Any) -> tuple[np.ndarray, np.ndarray]:
    return p.reference, p.secondary


def _real_pair() -> Any:
    """Return the Landsat-8 pair and its bedrock: one random half of polygons, the other."""
    if not REAL.is_dir():
        return None
    from hmavel.pair import pair_from_files
    from hmavel.polygons import rasterize, read_polygons

    pair = pair_from_files(*sorted(REAL.glob("*B8*.TIF")))
    row, col = (np.arange(n // 8) * 8 + 3.5 for n in pair.grid.shape)
    nodes = pair.grid.nodes(row, col)
    rock = read_polygons(REAL / "StEliasMtn_utm7v_rock.gmt", crs=pair.grid.crs)
    first = np.random.default_rng(1).random(len(rock)) < 0.5
    halves = [rasterize(rock[x], nodes) for x in (first, ~first)]
    return pair, halves[0] & ~halves[1], halves[1] & ~halves[0]


def _held_out(real: Any, settings: Settings, window: int, coarse: int = 64) -> dict[str, Any]:
    """Bedrock scatter on one half of the polygons; the bias comes from the other half."""
    pair, fitted, held = real
    d = hmavel.correlate(
        pair.reference, pair.secondary, window=window, coarse=coarse, settings=settings
    )
    corrected = hmavel.fit_bias(d, fitted & d.good, model="constant").corrected
    return {
        "nmad_row": nmad(corrected.drow[held & d.good]),
        "nmad_col": nmad(corrected.dcol[held & d.good]),
        "median_row": float(np.median(corrected.drow[held & d.good])),
        "median_col": float(np.median(corrected.dcol[held & d.good])),
        "held_nodes": int((held & d.good).sum()),
        "held_reported": float(d.good[held].mean()),
        "good": float(d.good.mean()),
    }
