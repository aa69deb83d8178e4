"""Months beside other ways to make them, on the same simulated networks.

``python bench/bench_month_peers.py [seeds]``: root-mean-square error (m/yr) and CPU-seconds per
cell and component. TICOI takes part where it is installed (``pip install ticoi``).
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import networks as nw
from peers import with_ticoi

from hmavel.month import compose_months
from hmavel.network import pair_network


def ours(method, sim):
    m = compose_months(
        sim.v[:, 0], sim.sigma[:, 0], sim.start, sim.end, months=sim.months, method=method,
        scene_sigma=nw.SCENE_SIGMA,
    )
    return m.v


def per_month(average, sim):
    """Apply ``average(v, share of the baseline in the month)`` month by month."""
    network = pair_network(sim.start, sim.end)
    touching = network.overlap_years().tocsc()
    v = network.merged(sim.v, sim.sigma)[0][:, 0]
    out = np.full(len(sim.months), np.nan)
    for k in range(len(out)):
        some = slice(touching.indptr[k], touching.indptr[k + 1])
        i = touching.indices[some]
        ok = np.isfinite(v[i])
        if ok.any():
            out[k] = average(v[i][ok], (touching.data[some] / network.baseline_years[i])[ok])
    return out


def median(v, share):
    del share
    return np.median(v)


def giv(v, share):
    """GIV's monthly mean: pairs weighted by the share of their time that is in the month."""
    return np.average(v, weights=share)


def ticoi(coef, sim):
    edges = np.append(sim.months, sim.months[-1] + 1)
    return with_ticoi.months(
        sim.start, sim.end, sim.v[:, 0], sim.sigma[:, 0], edges, coef=coef
    )


def main(seeds: int = 3) -> None:
    ways = {
        "hmavel gp": partial(ours, "gp"),
        "hmavel smooth": partial(ours, "smooth"),
        "hmavel overlap": partial(ours, "overlap"),
        "median of pairs": partial(per_month, median),
        "GIV's weights": partial(per_month, giv),
    }
    if with_ticoi.available():
        ways |= {f"TICOI, {coef}": partial(ticoi, coef) for coef in (100, 1000)}
    else:
        print("TICOI is not installed and left out")
    print(f"{'':16s}" + "".join(f"{name:>12s}" for name in nw.TRUTHS) + "   CPU-s")
    for way, compose in ways.items():
        row, spent = [], 0.0
        for name in nw.TRUTHS:
            square = []
            for seed in range(100, 100 + seeds):
                sim = nw.simulate([name], seed)
                begin = time.process_time()
                v = compose(sim)
                spent += time.process_time() - begin
                square.append(np.sqrt(np.nanmean((v - sim.truth[:, 0]) ** 2)))
            row.append(np.mean(square))
        each = spent / (seeds * len(nw.TRUTHS))
        print(f"{way:16s}" + "".join(f"{x:12.2f}" for x in row) + f"{each:8.3f}", flush=True)


if __name__ == "__main__":
    main(*[int(x) for x in sys.argv[1:]])
