"""Anything goes into the correlator's C: shapes, strides, types, masks, extreme values.

``python bench/fuzz_correlator.py [CASES [SEED]]`` draws so many cases (default 10,000) and lets
each end in numbers that are good or in a named code; a case that does not is printed with its
seed, by which ``fuzz_correlator.py 1 SEED`` repeats it. Meant for a build with the sanitizers
(``-C cmake.define.HMK_SANITIZE=ON``), loaded first as in ``.ci/run``: they end the process
where memory is misused or arithmetic undefined; the last line says from which case on to look.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from hmavel import Quality, _kernels, correlate
from hmavel.correlator import Settings

SIDES = (8, 10, 12, 14, 16, 16, 20, 32, 32, 34, 48, 64)
TYPES = ("f4", "f8", "u1", "i1", "u2", "i2", "u4", "i4", "i8", ">f4", "?")
EXTREMES = (0.0, -0.0, 1e-45, 1e-38, 1e38, -1e38, 3e38, np.inf, -np.inf, np.nan, 65535.0)


def image(rng: np.random.Generator, shape: tuple[int, int], base: np.ndarray) -> np.ndarray:
    """An image of a drawn type: texture, holes, constant parts, extremes, odd strides."""
    kind = str(rng.choice(TYPES))
    dtype = np.dtype(kind)
    x = base + rng.normal(0, rng.choice([0, 1, 20]), shape)
    if rng.random() < 0.2:
        x *= 10.0 ** rng.integers(-30, 31)
    if dtype.kind in "iu":
        limit = np.iinfo(dtype)
        x = np.clip(np.nan_to_num(x), limit.min, limit.max)
    with np.errstate(all="ignore"):
        out = x.astype(dtype)
    if dtype.kind == "f":
        for value in rng.choice(EXTREMES, rng.integers(0, 4)):
            with np.errstate(all="ignore"):
                out[rng.random(shape) < rng.choice([0.001, 0.05, 0.6])] = value
    row, col = (int(rng.integers(0, n)) for n in shape)
    if rng.random() < 0.3:
        out[row:, col:] = out[row, col]
    how = rng.integers(0, 5)
    if how == 1:
        return np.asfortranarray(out)
    if how == 2:
        return out[::-1, ::-1].copy()[::-1, ::-1]
    if how == 3:
        wide = np.empty((shape[0] * 2, shape[1] * 3), dtype)
        wide[::2, ::3] = out
        return wide[::2, ::3]
    return out


def case(seed: int) -> str:
    """One case; what it found, or an AssertionError."""
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 160)), int(rng.integers(1, 160))
    base = np.cumsum(rng.normal(0, 20, shape), axis=int(rng.integers(0, 2))) + 100
    moved = np.roll(base, rng.integers(-5, 6, 2), (0, 1))
    a, b = image(rng, shape, base), image(rng, shape, moved if rng.random() < 0.7 else base)
    window = int(rng.choice(SIDES))
    coarse = int(rng.choice([0, window, 2 * window]))
    step = int(min(rng.integers(1, 40), *shape))
    reach = None if rng.random() < 0.6 else int(rng.choice([0, 1, 7, 40]))
    robust = int(rng.integers(0, 4))
    s = Settings(
        weight=str(rng.choice(["white", "half", "cross", "noise"])), robust=robust,
        rewindow=int(rng.integers(0, 6)), min_evidence=float(rng.choice([0, 5.5])),
        known_evidence=float(rng.choice([0, 4])), min_clump=float(rng.choice([0, 1.25])),
        last_taper=float(rng.uniform(0.02, 0.5)), fine_taper=float(rng.uniform(0.02, 0.5)),
        min_valid=float(rng.uniform(0.01, 1)), fftw_only=bool(rng.random() < 0.15),
        drowned=bool(rng.random() < 0.8), interpolate=bool(rng.random() < 0.4),
        instruction_set=str(rng.choice(list(_kernels.instruction_sets()))),
    )  # fmt: skip
    more: dict[str, Any] = {}
    if rng.random() < 0.3:
        more["valid_reference"] = rng.random(shape) < rng.choice([0.2, 0.9, 0.999])
        more["valid_secondary"] = rng.random(shape) < 0.9
    if rng.random() < 0.15:
        more["domain"] = rng.integers(0, 3, shape)
    nodes = shape[0] // step, shape[1] // step
    if rng.random() < 0.2:
        more["where"] = rng.random(nodes) < rng.choice([0.0, 0.1, 0.9])
    if rng.random() < 0.2:
        start = rng.normal(0, rng.choice([0.5, 30, 1e30]), (2, *nodes))
        start[:, rng.random(nodes) < 0.2] = np.nan
        more["start"] = (start[0], start[1])
    with np.errstate(all="ignore"):
        d = correlate(
            a, b, window=window, coarse=coarse, step=step, reach=reach, settings=s,
            threads=int(rng.choice([1, 1, 2])), **more,
        )  # fmt: skip
    assert d.drow.shape == nodes, "shape"
    assert set(np.unique(d.quality)) <= {q.value for q in Quality}, "a code without a name"
    for value, sigma in ((d.drow, d.sigma_row), (d.dcol, d.sigma_col)):
        assert np.array_equal(np.isfinite(value), d.good), "good without a number"
        assert np.isfinite(sigma[d.good]).all(), "sigma not finite"
        assert (sigma[d.good] > 0).all(), "sigma not positive"
    return "good" if d.good.any() else "none good"


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found: Counter[str] = Counter()
    start = time.process_time()
    for seed in range(first, first + count):
        if seed % 100 == 0:
            print(f"case {seed}, {time.process_time() - start:.0f} CPU-s", flush=True)
        try:
            found[case(seed)] += 1
        except Exception as error:  # every kind is a find
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
            found["found"] += 1
    print(dict(found))
    return int(found["found"] > 0)


if __name__ == "__main__":
    sys.exit(main())
