"""The rates behind ``hmavel run --dry-run``: CPU-seconds and bytes per unit of work.

Simulates a year over three glaciers (18 km), runs the whole chain on it with one job, and
prints what ``estimate.Rates`` holds, as measured here::

    OMP_NUM_THREADS=1 python bench/bench_rates.py [FOLDER] [SEED]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hmavel import config, estimate, glacier_chain, simulate, workflow
from hmavel.outcome import Clock
from hmavel.simulate.build import load

SPENT: dict[str, float] = defaultdict(float)


class CpuClock(Clock):
    """Adds up the process's CPU time of each stage; true for one job."""

    @contextmanager
    def stage(self, name):
        begin = time.process_time()
        with super().stage(name):
            try:
                yield
            finally:
                SPENT[name] += time.process_time() - begin


def size_of(files) -> float:
    """Return the bytes of some files."""
    return float(sum(file.stat().st_size for file in files))


def main() -> None:
    """Measure and print."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    archive = folder / "archive"
    world = load(archive) if archive.is_dir() else simulate.archive(archive, seed=seed, years=1)
    out = Path(tempfile.mkdtemp(dir=folder))
    settings = config.from_dict({
        "input": {"archive": [str(world.scenes_dir)]},
        "glaciers": {"inventory": str(world.inventory)}, "output": {"folder": str(out)},
    })  # fmt: skip
    workflow.Clock = glacier_chain.Clock = CpuClock
    begin = time.process_time()
    speed = estimate.measure_speed()
    result = workflow.run(settings, jobs=1)
    speed = (speed + estimate.measure_speed()) / 2
    months = result.glaciers[0].months
    work = estimate.work_of(result.plan.glaciers, months)
    pairs = size_of(out.glob("*/pairs/*"))
    products = size_of(f for f in out.rglob("*") if f.is_file()) - pairs
    rates = {
        "speed_s": speed,
        "screen_s": SPENT["screen"] / work.screened_mpx,
        "read_s": SPENT["read"] / work.scene_mpx,
        "node_s": SPENT["correlate"] / work.nodes,
        "bias_s": SPENT["bias"] / work.nodes,
        "write_s": SPENT["write"] / work.nodes,
        "month_s": (SPENT["months"] + SPENT["mosaic"]) / work.ice_pairs,
        "pair_bytes": pairs / work.nodes,
        "month_bytes": products / work.cell_months,
    }
    now = estimate.Rates()
    print(f"{work.glaciers} glaciers, {work.selections} scenes, {work.pairs} pairs, "
          f"{work.nodes:.3g} nodes, {months} months; {time.process_time() - begin:.0f} CPU-s")
    print(f"{'rate':12s} {'here':>10s} {'built in':>10s} {'ratio, by speed':>16s}")
    for name, value in rates.items():
        kept = getattr(now, name)
        scale = speed / now.speed_s if name.endswith("_s") else 1.0
        print(f"{name:12s} {value:10.3g} {kept:10.3g} {value / kept / scale:16.2f}")
    nodes = np.array([np.prod(g.site.grid.shape) for g in result.plan.glaciers])
    print(f"nodes of a glacier: {nodes.min()} to {nodes.max()}; per pair "
          f"{result.counts['bytes read'] / work.pairs / 1e6:.2f} MB of pixels read")


if __name__ == "__main__":
    main()
