"""Shear margins, domain-aware windows, and how much detail survives a window."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from peers import Engine

import hmavel
from correlator_cases import scenes
from correlator_cases.common import VARIANTS, Scale, by_hmavel, errors, inside, score
from hmavel.simulate import glacier_pair

SHAPE = (512, 512)
WAVELENGTHS = (24, 32, 48, 64, 96, 128, 192, 256)


def glacier(scale: Scale, engines: list[Engine]) -> dict[str, Any]:
    """Plug flow of 6 px between 8 px margins, 5 % noise: gross errors, RMSE near the margin.

    The hard node is the one in the middle of a margin. Programs place their nodes differently,
    so the margins take four places on the 8 px lattice.
    """
    found: dict[str, list[np.ndarray]] = {}
    near: dict[str, list[np.ndarray]] = {}
    runs: dict[str, Any] = {n: partial(by_hmavel, settings=s) for n, s in VARIANTS.items()}
    runs |= {e.name: lambda a, b, e=e: e.run(a, b, (3, 0), 8) for e in engines}
    for i, seed in enumerate(range(200, 200 + (2 if scale.quick else 4))):
        half = 128.0 + (2 * i if not scale.quick else 4 * i)
        pair, drow, _ = glacier_pair(seed, SHAPE, half_width=half)
        col = np.arange(SHAPE[1])
        profile = partial(np.interp, xp=col, fp=drow[0])
        # The middle of each margin lies 4 px inside its outer edge.
        middle = [(SHAPE[1] - 1) / 2 + side * (half - 4) for side in (-1, 1)]
        for who, run in runs.items():
            f = run(pair.reference, pair.secondary)
            e = errors(f, SHAPE, profile, 0.0)
            r, c = inside(f, SHAPE)
            away = np.min([np.abs(f.col[c] - m) for m in middle], axis=0)
            close = np.broadcast_to(away <= 16, (len(f.row[r]), len(f.col[c]))).ravel()
            found.setdefault(who, []).append(e)
            near.setdefault(who, []).append(e[:, close])
    return {
        who: {
            "all": score(np.concatenate(e, axis=1)),
            "margin": score(np.concatenate(near[who], axis=1)),
        }
        for who, e in found.items()
    }


def domains(scale: Scale, engines: list[Engine]) -> dict[str, Any]:  # noqa: ARG001
    """Ice of 3 px beside ground of 0 px: bias against the distance from the edge, per side."""
    edge, speed = 256, 3.0
    rows: dict[str, dict[str, Any]] = {}
    for label in ("plain", "domain"):
        d: list[np.ndarray] = []
        for seed in range(300, 300 + scale.seeds):
            (a, b), domain = scenes.two_materials(speed, edge, seed, SHAPE, 0.05)
            centres = np.arange(47.5, 464, 8.0), np.arange(edge - 32.5, edge + 32, 2.0)
            found = hmavel.correlate(
                a, b, nodes=centres, domain=domain if label == "domain" else None
            )
            d.append(found.drow)
        all_rows = np.concatenate(d, axis=0)
        away = centres[1] - (edge - 0.5)
        at: dict[str, Any] = {}
        for x in (-16, -8, -4, -2, 2, 4, 8, 16):
            j = int(np.argmin(np.abs(away - x)))
            v = all_rows[:, j]
            good = v[np.isfinite(v)]
            truth = speed if x > 0 else 0.0
            at[str(x)] = {
                "bias_share": float((good.mean() - truth) / speed) if good.size else None,
                "spread": float(good.std()) if good.size else None,
                "reported": float(np.isfinite(v).mean()),
            }
        rows[label] = at
    return rows


def resolution(scale: Scale, engines: list[Engine]) -> dict[str, Any]:
    """Amplitude ratio of a sinusoidal displacement, 10-90 % width of a fault, noise beside."""
    amplitude, shape = 0.5, SHAPE
    runs: dict[str, Any] = {n: partial(by_hmavel, settings=s) for n, s in VARIANTS.items()}
    runs |= {e.name: lambda a, b, e=e: e.run(a, b, (0, 0), 0) for e in engines}
    out: dict[str, Any] = {who: {"ratio": {}} for who in runs}
    for wavelength in WAVELENGTHS:
        k = 2 * np.pi / wavelength
        a, b = scenes.sheared(
            lambda c, k=k: amplitude * np.sin(k * c), 400, shape, 0.01
        )
        for who, run in runs.items():
            ours = who in VARIANTS
            rows = shape[0] if ours else 320
            f = run(a[:rows], b[:rows], **({"step": 4} if ours else {}))
            r, c = inside(f, (rows, shape[1]))
            d = np.nanmedian(f.drow[r, c], axis=0)
            ok = np.isfinite(d)
            col = f.col[c][ok]
            waves = np.stack([np.sin(k * col), np.cos(k * col), np.ones_like(col)], axis=1)
            fit = np.linalg.lstsq(waves, d[ok], rcond=None)[0]
            out[who]["ratio"][str(wavelength)] = float(fit[0] / amplitude)
    for who in VARIANTS:
        out[who]["fault_px"] = _fault(scale, VARIANTS[who])
    return out


def _fault(scale: Scale, settings: Any) -> float:
    """10-90 % width of a step of 1 px, from the median over rows of nodes on every pixel."""
    edge, rows = 256, []
    for seed in range(500, 500 + scale.seeds):
        a, b = scenes.sheared(lambda c: np.where(c >= edge, 1.0, 0.0), seed, SHAPE, 0.01)
        centres = np.arange(47.5, 464, 16.0), np.arange(edge - 31.5, edge + 32, 1.0)
        rows.append(hmavel.correlate(a, b, nodes=centres, settings=settings).drow)
    d = np.nanmedian(np.concatenate(rows), axis=0)
    rising = np.maximum.accumulate(d)
    low, high = (np.interp(x, rising, centres[1]) for x in (0.1, 0.9))
    return float(high - low)
