"""Plain shifts: bias, RMSE, NMAD and gross errors per texture and noise; bias per fraction."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from peers import Engine

from correlator_cases import bound
from correlator_cases.common import VARIANTS, Scale, by_hmavel, errors, score
from hmavel.simulate import shifted_pair

TEXTURES = ("k-1.2", "k-2", "pan")
NOISES = (0.01, 0.10, 0.50)
SHAPE = (512, 512)
#: Peers that need a hundred times the time see this much of each image, and these cases.
PEER_CROP = 224
PEER_CASES = {("k-1.2", 0.01), ("k-1.2", 0.1), ("k-1.2", 0.5), ("pan", 0.01), ("k-2", 0.01)}


def shifts(count: int) -> list[tuple[float, float]]:
    """``count`` shifts over ±8 px whose fractions are even in -0.5 ... 0.5, halves included."""
    rng = np.random.default_rng(2024)
    fraction = np.arange(count) / count - 0.5
    whole = rng.integers(-7, 8, (2, count))
    other = np.roll(fraction[::-1], count // 3)
    both = zip(whole[0] + fraction, whole[1] + other, strict=True)
    return [(float(a), float(b)) for a, b in both]


def _nearest(x: float) -> int:
    return int(np.floor(x + 0.5))


def measure(scale: Scale, engines: list[Engine]) -> dict[str, Any]:
    runs = {name: partial(by_hmavel, settings=s) for name, s in VARIANTS.items()}
    cells: dict[str, Any] = {}
    fractions: dict[str, list[Any]] = {}
    moves = shifts(scale.shifts)
    for name in TEXTURES:
        for noise in NOISES:
            found: dict[str, list[np.ndarray]] = {}
            limit = []
            for i, (drow, dcol) in enumerate(moves):
                p = shifted_pair(drow, dcol, 100 + i, SHAPE, name, noise)
                limit.append(bound.bounds(100 + i, SHAPE, name, noise))
                for who, run in runs.items():
                    e = errors(run(p.reference, p.secondary), SHAPE, drow, dcol)
                    found.setdefault(who, []).append(e)
                    if who == "hmavel" and noise == 0.01:
                        _note_fractions(fractions, name, (drow, dcol), e)
                small = (PEER_CROP, PEER_CROP)
                a, b = (x[:PEER_CROP, :PEER_CROP] for x in (p.reference, p.secondary))
                guess = _nearest(drow), _nearest(dcol)
                for engine in engines if (name, noise) in PEER_CASES else ():
                    e = errors(engine.run(a, b, guess, 0), small, drow, dcol)
                    found.setdefault(engine.name, []).append(e)
                    if noise == 0.01 and name == "pan":
                        _note_fractions(fractions, engine.name, (drow, dcol), e)
            best = np.sqrt(np.mean(np.square(limit), axis=0))
            cell = {who: score(np.concatenate(e, axis=1)) for who, e in found.items()}
            for who, e in found.items():
                cell[who]["worst_bias"] = _worst_bias(e)
            cells[f"{name} {noise:.0%}"] = {
                "bound": best[0],
                "bound_known_texture": best[1],
                "hann_best": best[0] * bound.of_taper(0.5),
                "engines": cell,
            }
    return {"shifts": moves, "cells": cells, "fractions": fractions}


def _worst_bias(per_shift: list[np.ndarray]) -> dict[str, float]:
    """Largest |bias| of a component of a shift, and the standard error that it has at most.

    Windows of 32 px every 8 px: one in sixteen is independent.
    """
    worst = {"px": 0.0, "standard_error": 0.0}
    for e in per_shift:
        for x in e:
            x = x[np.isfinite(x)]
            if x.size > 32 and abs(x.mean()) > worst["px"]:
                worst = {
                    "px": float(abs(x.mean())),
                    "standard_error": float(x.std() / np.sqrt(x.size / 16)),
                }
    return worst


def _note_fractions(
    into: dict[str, list[Any]], key: str, shift: tuple[float, float], e: np.ndarray
) -> None:
    for d, x in zip(shift, e, strict=True):
        x = x[np.isfinite(x)]
        if x.size:
            into.setdefault(key, []).append(
                [d - _nearest(d), float(x.mean()), float(x.std() / np.sqrt(x.size / 16))]
            )
