"""Nodes per CPU-second of one pinned thread, against bare transforms measured in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from peers import Engine
from scipy import fft

from correlator_cases.common import DEFAULT, Scale, by_hmavel, interleaved, pin
from hmavel.correlator import LIKELIEST, Settings
from hmavel.simulate import shifted_pair

#: One pass, three Newton steps and the one that the judgement takes.
SINGLE = Settings(robust=0, rewindow=0)
INSTRUCTION_SETS = ("sse2", "neon", "avx2", "avx512")


#: The floor once more in NumPy's usual type, which takes SciPy's transforms 1.7 times as long.
DOUBLE = "floor, double precision"


def _floor(count: int, batch: int, dtype: type = np.float32) -> Callable[[], None]:
    """Two forward and one inverse real 32² transforms for each of ``count`` windows."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, batch, 32, 32)).astype(dtype)

    def work() -> None:
        for _ in range(count // batch):
            fft.rfft2(a, workers=1)
            spectrum = fft.rfft2(b, workers=1)
            fft.irfft2(spectrum, s=(32, 32), workers=1)

    return work


def _batch_of_floor(dtype: type = np.float32) -> int:
    """The batch that suits this machine's cache: the floor is to be fast."""
    count = 4096
    trials = {b: _floor(count, b, dtype) for b in (16, 64, 256, 1024)}
    for work in trials.values():
        work()
    seconds = {b: [] for b in trials}
    for _ in range(5):
        for b, work in trials.items():
            start = time.process_time()
            work()
            seconds[b].append(time.process_time() - start)
    return min(trials, key=lambda b: float(np.median(seconds[b])))


def _available() -> list[str]:
    small = shifted_pair(0, 0, 0, (64, 64))
    names = []
    for name in INSTRUCTION_SETS:
        try:
            by_hmavel(
                small.reference, small.secondary, Settings(instruction_set=name), step=32
            )
        except (ValueError, RuntimeError):
            continue
        names.append(name)
    return names


def measure(scale: Scale, engines: list[Engine]) -> dict[str, Any]:
    batch = _batch_of_floor()
    side = 512 if scale.quick else 1024
    p = shifted_pair(2.3, -1.7, 1, (side, side), noise=0.05)
    near = shifted_pair(0.3, -0.2, 2, (side, side), noise=0.05)
    nodes = (side // 8) ** 2
    windows = 4096
    work: dict[str, Callable[[], Any]] = {
        "floor": _floor(windows, batch),
        DOUBLE: _floor(windows, _batch_of_floor(np.float64), np.float64),
    }
    count = {"floor": windows, DOUBLE: windows}
    a, b = p.reference, p.secondary
    for isa in _available():
        for label, images, settings, options in (
            ("default", (a, b), DEFAULT, {}),
            ("Hann last taper", (a, b), Settings(last_taper=0.5), {}),
            ("single 32 pass", (near.reference, near.secondary), SINGLE, {"coarse": 0}),
            ("weights of noise, interpolated", (a, b), LIKELIEST, {}),
        ):
            s = replace(settings, instruction_set=isa)
            key = f"hmavel {label}, {isa}"
            work[key] = partial(by_hmavel, *images, s, **options)
            count[key] = nodes
    result = interleaved(work, "floor", scale.repeats)
    crop = np.s_[:288, :288]
    peers: dict[str, Callable[[], Any]] = {"floor": _floor(windows, batch)}
    for engine in engines:
        peers[engine.name] = partial(engine.run, a[crop], b[crop], (2, -2), 0)
        count[engine.name] = engine.run(a[crop], b[crop], (2, -2), 0).drow.size
    timed = interleaved(peers, "floor", 3) if engines else {}
    timed.pop("floor", None)
    result |= timed
    for name, row in result.items():
        per_second = count[name] / row["seconds"]
        row["nodes_per_cpu_s"] = per_second
        # The ratio of seconds counted one floor of `windows`; now per window.
        row["times_floor"] *= count[name] / windows
    for row in result.values():
        row["times_double_floor"] = row["times_floor"] / result[DOUBLE]["times_floor"]
    return {"floor_batch": batch, "rows": result, "scaling": _scaling(scale, batch)}


def _scaling(scale: Scale, batch: int) -> dict[str, Any]:
    """Microseconds per node against window, step, image size and threads."""
    p = shifted_pair(1.3, -0.7, 3, (512, 512), noise=0.05)
    big = shifted_pair(1.3, -0.7, 3, (1024, 1024), noise=0.05)
    a, b = p.reference, p.secondary
    work: dict[str, Callable[[], Any]] = {"floor": _floor(4096, batch)}
    count: dict[str, int] = {}

    def add(key: str, images: Any, step: int, **options: Any) -> None:
        work[key] = partial(by_hmavel, *images, step=step, **options)
        count[key] = (images[0].shape[0] // step) ** 2

    for window in (16, 20, 24, 32, 48, 64):
        coarse = 2 * window
        add(f"window {coarse}→{window}, step 8", (a, b), 8, window=window, coarse=coarse)
    for step in (4, 16, 32):
        add(f"window 64→32, step {step}", (a, b), step)
    add("window 64→32, step 8, 1024² image", (big.reference, big.secondary), 8)
    timed = interleaved(work, "floor", max(3, scale.repeats // 2))
    rows = {
        key: {
            "us_per_node": 1e6 * timed[key]["seconds"] / n,
            "times_floor": timed[key]["times_floor"] * n / 4096,
        }
        for key, n in count.items()
    }
    return {"rows": rows, "threads": _threads(scale)}


def _threads(scale: Scale) -> dict[str, Any]:
    """Wall and CPU time of one and two threads; wall means little on a busy machine."""
    side = 1024 if scale.quick else 8000
    pair = shifted_pair(1.3, -0.7, 3, (side, side), noise=0.05)
    cpus = set(range(os.cpu_count() or 1))
    pin(cpus)
    out: dict[str, Any] = {}
    try:
        seconds: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for _ in range(max(4, scale.repeats)):
            for threads in seconds:
                wall, cpu = time.perf_counter(), time.process_time()
                by_hmavel(pair.reference, pair.secondary, threads=threads)
                seconds[threads].append(
                    (time.perf_counter() - wall, time.process_time() - cpu)
                )
        for threads, x in seconds.items():
            best = np.min(x, axis=0)
            out[str(threads)] = {"wall_s": float(best[0]), "cpu_s": float(best[1])}
    finally:
        pin()
    out["side"] = side
    out["load_1min"] = round(os.getloadavg()[0], 1)
    return out
