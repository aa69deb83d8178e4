"""The machine, the clock and the scores that all measurements share."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers import Field

import hmavel
from hmavel.correlator import LIKELIEST, Settings

#: Nodes nearer to the edge than this are not scored, px: window, shift, deformation.
EDGE = 48.0
DEFAULT = Settings()
#: The evidence of cross-power weights rests on few frequencies and does not reach thresholds
#: that are made for half-whitening; these let it be measured, and are not calibrated.
FEW_BINS: dict[str, Any] = {"min_evidence": 2.5, "known_evidence": 2.0, "guess_evidence": 2.5}
#: Weights of maximum likelihood, in the window that is flattest without leaking.
NOISE = Settings(
    weight="noise", robust=0, last_taper=0.1, noisy_taper=0.04, noisy_from=0.025,
    sigma_scale=0.93,
)
#: Settings whose accuracy is published beside the default's.
VARIANTS = {
    "hmavel": DEFAULT,
    "hmavel, last taper Hann": Settings(last_taper=0.5),
    "hmavel, weights of noise, taper 0.1, not robust": NOISE,
    "hmavel, weights of noise, interpolated, not robust": LIKELIEST,
    "hmavel, cross-power, taper 0.15, not robust": Settings(
        weight="cross", robust=0, last_taper=0.15, **FEW_BINS
    ),
}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    quick: bool
    repeats: int
    shifts: int
    seeds: int

    @classmethod
    def of(cls, quick: bool) -> Scale:
        return cls(True, 3, 4, 1) if quick else cls(False, 7, 20, 3)


def pin(cpus: set[int] | None = None) -> None:
    """Keep this process and the threads that it will start on ``cpus`` (default: one)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus or {max(os.sched_getaffinity(0))})


def machine() -> dict[str, Any]:
    """Name what the numbers were measured on."""
    cpu, info = platform.processor(), Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
        cpu = (
            f"{fields.get('model name', cpu)}, family {fields.get('cpu family')} "
            f"model {fields.get('model')} stepping {fields.get('stepping')}, "
            f"{fields.get('cpu MHz')} MHz"
        )
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "hmavel": hmavel.__version__,
    }


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU time of all threads of this process while ``work`` runs."""
    start = time.process_time()
    work()
    return time.process_time() - start


def interleaved(work: dict[str, Callable[[], Any]], floor: str, repeats: int) -> dict[str, Any]:
    """Time every entry ``repeats`` times, the floor before each: {name: (seconds, ratio)}.

    A shared machine changes its speed from second to second. The ratio is the median of
    ratios to the floor runs on either side, which share the moment.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    ratio: dict[str, list[float]] = {name: [] for name in work}
    for job in work.values():
        job()  # plans, caches, first imports
    others = [name for name in work if name != floor]
    for _ in range(repeats):
        for name in others:
            before = cpu_seconds(work[floor])
            spent = cpu_seconds(work[name])
            after = cpu_seconds(work[floor])
            seconds[floor] += [before, after]
            seconds[name].append(spent)
            ratio[name].append(0.5 * (before + after) / spent)
    ratio[floor] = [1.0]
    return {
        name: {
            "seconds": float(np.median(seconds[name])),
            "best": float(np.min(seconds[name])),
            "times_floor": float(np.median(ratio[name])),
        }
        for name in work
    }


def by_hmavel(
    reference: np.ndarray, secondary: np.ndarray, settings: Settings = DEFAULT, **options: Any
) -> Field:
    d = hmavel.correlate(reference, secondary, settings=settings, **options)
    return Field(d.row, d.col, d.drow, d.dcol)


def inside(f: Field, shape: tuple[int, int], edge: float = EDGE) -> tuple[slice, slice]:
    """Nodes at least ``edge`` px from the border of the image."""
    parts = []
    for x, n in ((f.row, shape[0]), (f.col, shape[1])):
        keep = np.flatnonzero((x >= edge) & (x <= n - 1 - edge))
        parts.append(slice(int(keep[0]), int(keep[-1]) + 1))
    return parts[0], parts[1]


def errors(
    f: Field, shape: tuple[int, int], drow: Any, dcol: Any, edge: float = EDGE
) -> np.ndarray:
    """(2, nodes) errors of the inner nodes; ``drow``, ``dcol`` may be functions of column."""
    r, c = inside(f, shape, edge)
    col = f.col[c]
    truth = [t(col)[None, :] if callable(t) else t for t in (drow, dcol)]
    return np.stack(
        [(d[r, c] - t).ravel() for d, t in zip((f.drow, f.dcol), truth, strict=True)]
    )


def nmad(x: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(x - np.median(x)))) if x.size else float("nan")


def score(e: np.ndarray) -> dict[str, float]:
    """Bias, RMSE, NMAD (the worse component), share > 1 px of the reported, share reported."""
    reported = np.isfinite(e).all(axis=0)
    good = e[:, reported]
    if not good.size:
        return {"reported": 0.0}
    worst = np.argmax(np.abs(good.mean(axis=1)))
    gross = (np.abs(good) > 1).any(axis=0)
    return {
        "bias": float(good.mean(axis=1)[worst]),
        "rmse": float(np.sqrt((good**2).mean(axis=1)).max()),
        "nmad": max(nmad(x) for x in good),
        "gross": float(gross.mean()),
        "reported": float(reported.mean()),
        "right": float((~gross).sum() / reported.size),
        "nodes": int(reported.size),
    }
