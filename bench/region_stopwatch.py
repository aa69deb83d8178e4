"""One run with one job, CPU-seconds by stage: ``region_stopwatch.py CONFIG OUT.json``.

Everything happens in one thread, so the process's CPU time is that of the stage.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hmavel import config, estimate, glacier_months, glacier_pairs, outcome, workflow

SPENT: dict[str, float] = defaultdict(float)
_stage, _compose = outcome.Clock.stage, glacier_months.compose_months
_wanted, MATCHED = glacier_pairs._wanted, []


@contextmanager
def _timed(name):
    begin = time.process_time()
    try:
        yield
    finally:
        SPENT[name] += time.process_time() - begin


@contextmanager
def stage(self, name):
    """Do what ``Clock.stage`` does, and add up CPU time."""
    with _timed(name), _stage(self, name):
        yield


def compose(*args, **options):
    """Do what ``compose_months`` does, and add up its CPU time: a part of the months."""
    with _timed("compose"):
        return _compose(*args, **options)


def wanted(ice, stable):
    """Do what ``glacier_pairs`` does, and count the nodes that are to be matched."""
    found = _wanted(ice, stable)
    MATCHED.append(int(found.sum()))
    return found


def main() -> None:
    """Run and write what was spent."""
    outcome.Clock.stage = stage
    glacier_months.compose_months = compose
    glacier_pairs._wanted = wanted
    settings = config.load(Path(sys.argv[1]))
    speed = estimate.measure_speed()
    begin = time.process_time()
    result = workflow.run(settings, jobs=1)
    total = time.process_time() - begin
    speed = (speed + estimate.measure_speed()) / 2
    months = max((g.months for g in result.glaciers), default=0)
    work = estimate.work_of(result.plan.glaciers, months)
    rows = [row for glacier in result.glaciers for row in glacier.rows]
    nodes = [int(np.prod(g.site.grid.shape)) for g in result.plan.glaciers]
    Path(sys.argv[2]).write_text(json.dumps({
        "speed_s": speed, "cpu_s": total, "stages": dict(SPENT), "months": months,
        "work": asdict(work), "failures": len(result.failures), "nodes": nodes,
        "matched": sum(MATCHED),
        "used": sum(row["state"] == "used" for row in rows),
        "counts": result.counts,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
