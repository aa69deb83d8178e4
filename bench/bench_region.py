"""A region end to end, at a size that one machine does in minutes; what all of it would take.

Simulates an archive (1.3 years of two satellites, 18 km, one path/row: the simulator has no
more), cuts its glaciers into pieces that are glaciers of their own to the program, and runs
``hmavel run`` on them::

    OMP_NUM_THREADS=1 python bench/bench_region.py [--quick] [--folder DIR] [--out FILE]

In this order: the whole region with two jobs, metered with all its processes (CPU, bytes,
memory, files); sub-runs with fewer glaciers and fewer pairs, one job, CPU by stage; one of them
with two jobs; the whole glaciers with their usual margins, for the rates of ``estimate.Rates``;
months over a network of 141 months. All into one JSON, tables to the terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
from process_meter import metered
from region_fit import linear
from shapely.geometry import box

from hmavel import estimate, simulate
from hmavel.simulate.build import load

HERE = Path(__file__).resolve().parent
SEED = 0
PARTS = ("region", "runs", "large", "months", "two jobs")
#: Million Band-8 pixels of a simulated image, all of which is read once for the three glaciers.
IMAGE_MPX = 1.44
#: Of the 30 m bands, in the same unit, what is read for a million pixels that are screened: for
#: the eleven RGI 6 outlines over 10 km^2 around Everest 1.24 with cirrus in reach, else 0.86.
READ_MPX = 1.05
CONFIG = """[input]
archive = ["{scenes}"]
[glaciers]
inventory = "{inventory}"
min_area_km2 = {area}
margin_m = {margin}
{ids}
[pairs]
{pairs}
[bias]
min_count = {ground}
[output]
folder = "{out}"
"""


def main() -> None:
    """Measure, fit, project, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes, to see it work")
    parser.add_argument("--folder", type=Path, help="keeps the archive for the next time")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "region.json")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS),
                        help="these parts; the others of the results stay")  # fmt: skip
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    found: dict = {}
    if set(options.only) != set(PARTS) and options.out.is_file():
        found = json.loads(options.out.read_text())
    region = Region(folder, options.quick)
    region.measure(found, options.only, lambda part: write(options.out, part))
    found["summary"] = summary(found)
    write(options.out, found)
    print(json.dumps(found["summary"], indent=1))


def write(path: Path, found: dict) -> None:
    """Write what there is so far: a run that is stopped has not been for nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def about(region: Region) -> dict:
    """Return where and on what a part was measured."""
    return {
        "cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "load_after": os.getloadavg(),
        "python": platform.python_version(), "seed": SEED,
        "scenes": len(region.world.scenes), "glaciers": len(region.ids),
    }  # fmt: skip


class Region:
    """The archive, the pieces of its glaciers, and the runs over them."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self.folder, self.quick = folder, quick
        years = 0.5 if quick else 1.3
        archive = folder / "archive"
        if not (archive / "truth" / "archive.json").is_file():
            simulate.archive(
                archive, seed=SEED, years=years, satellites=("LC08", "LC09"),
                jobs=len(os.sched_getaffinity(0)),
            )
        self.world = load(archive)
        self.pieces = folder / "pieces.gpkg"
        self.ids = cut(self.world.inventory, self.pieces, 2 if quick else 10)

    def measure(self, found: dict, only: list[str], keep) -> None:
        """Add the parts of ``only`` to what was found before; ``keep`` it after each run."""
        few, some = (1, 2) if self.quick else (1, 3)
        most = (6, 12) if self.quick else (40, 80)
        chosen = self.ids[3::7]  # of all kinds
        if "region" in only:
            found["region"] = self.whole("region", self.ids, jobs=2) | about(self)
            keep(found)
        if "runs" in only:
            found["runs"] = {}
            for name, count, pairs in (
                ("few glaciers", few, None), ("some glaciers", some, None),
                ("half the pairs", some, most[1]), ("a quarter of the pairs", some, most[0]),
            ):  # fmt: skip
                found["runs"][name] = self.one_job(name, chosen[:count], pairs)
                keep(found)
        if "large" in only:
            found["large"] = self.large() | about(self)
            keep(found)
        if "months" in only:
            found["months"] = months_alone(512 if self.quick else 2048)
            keep(found)
        if "two jobs" in only:
            found["two jobs"] = [
                self.whole(f"jobs{jobs}", self.ids[::2], jobs=jobs) | about(self)
                for jobs in (1, 2)
            ]
            keep(found)

    def config(self, out: Path, ids=(), pairs=None, *, large=False) -> Path:
        """Write a configuration and return its path."""
        shutil.rmtree(out, ignore_errors=True)
        path = out.with_suffix(".toml")
        path.write_text(CONFIG.format(
            scenes=self.world.scenes_dir, out=out, ground=100 if large else 40,
            inventory=self.world.inventory if large else self.pieces,
            area=10 if large else 0, margin=3000 if large else 1800,
            ids=f"ids = {json.dumps(list(ids))}" if len(ids) else "",
            pairs="\n".join(([] if large else ["successors = 4"])
                            + ([f"max_pairs = {pairs}"] if pairs else [])),
        ))  # fmt: skip
        return path

    def whole(self, name: str, ids, jobs: int) -> dict:
        """Run the real command, metered from outside."""
        out = self.folder / name
        path = self.config(out, ids)
        command = [sys.executable, "-m", "hmavel.cli", "run", str(path), "--jobs", str(jobs)]
        used = metered(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return asdict(used) | made(out) | {"jobs": jobs}

    def one_job(self, name: str, ids, pairs, *, large: bool = False) -> dict:
        """Run in one thread, CPU by stage."""
        out = self.folder / name.replace(" ", "_")
        path, result = self.config(out, ids, pairs, large=large), out.with_suffix(".json")
        command = [sys.executable, str(HERE / "region_stopwatch.py"), str(path), str(result)]
        used = metered(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return asdict(used) | made(out) | json.loads(result.read_text())

    def large(self) -> dict:
        """Run the whole glaciers with the usual margin."""
        return self.one_job("large", (), 4 if self.quick else 20, large=True)


def cut(inventory: Path, path: Path, count: int) -> list[str]:
    """Cut the long glaciers into ``count`` pieces from west to east; return their ids."""
    table = gpd.read_file(inventory)
    utm = table.to_crs(table.estimate_utm_crs())
    rows = []
    for row, shape in zip(table.itertuples(), utm.geometry, strict=True):
        west, south, east, north = shape.bounds
        parts = count if row.area_km2 > 5 else 1
        edges = np.linspace(west, east, parts + 1)
        for left, right in pairwise(edges):
            piece = shape.intersection(box(left, south, right, north))
            number = len(rows) + 1
            rows.append(row._asdict() | {
                "rgi_id": f"RGI2000-v7.0-G-15-{91000 + number:05d}",
                "area_km2": piece.area / 1e6, "geometry": piece,
            })  # fmt: skip
    made_of = gpd.GeoDataFrame(rows, crs=utm.crs).drop(columns="Index").to_crs(table.crs)
    path.unlink(missing_ok=True)
    made_of.to_file(path, driver="GPKG")
    return list(made_of["rgi_id"])


def made(out: Path) -> dict:
    """Return what a run has left: pairs, files, bytes."""
    lines = (out / "pairs.csv").read_text().splitlines()[1:]
    files = [file for file in out.rglob("*") if file.is_file()]
    pair_files = [file for file in files if file.parent.name == "pairs"]
    glaciers = {line.split(",", 1)[0] for line in lines}
    other = [file for file in files if file.parent.name in glaciers]
    return {
        "made_pairs": len(lines), "made_glaciers": len(glaciers),
        "months_files": len(list(out.glob("*/velocity_*.tif"))),
        "pair_files": len(pair_files), "pair_bytes": size_of(pair_files),
        "glacier_files": len(other), "glacier_bytes": size_of(other),
        "files": len(files), "bytes": size_of(files),
        "failures": len((out / "failures.csv").read_text().splitlines()) - 1,
    }  # fmt: skip


def size_of(files) -> int:
    """Return the bytes of some files."""
    return sum(file.stat().st_size for file in files)


def months_alone(cells: int) -> dict:
    """Time learning and solving over 141 months, one component; CPU-seconds of this process."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    import networks as nw

    from hmavel.month import compose_months

    sim = nw.simulate(["season"], 0, cells=cells)
    v, sigma = (x.reshape(len(x), -1, 32) for x in (sim.v, sim.sigma))
    args = {"scene_sigma": nw.SCENE_SIGMA, "months": sim.months}
    speed = estimate.measure_speed()
    begin = time.process_time()
    learnt = compose_months(v[:, :1, :16], sigma[:, :1, :16], sim.start, sim.end, **args)
    middle = time.process_time()
    compose_months(
        v, sigma, sim.start, sim.end, hyperparameters=learnt.hyperparameters, **args
    )
    end = time.process_time()
    return {
        "speed_s": (speed + estimate.measure_speed()) / 2, "months": len(sim.months),
        "pairs": len(v), "cells": v[0].size, "learn_cpu_s": middle - begin,
        "solve_cpu_s": end - middle,
    }  # fmt: skip


def cpu_name() -> str:
    """Return the processor's name, if the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")


def rates_of(found: dict) -> estimate.Rates:
    """Return the rates that were measured, as if all parts had found the machine equally fast.

    Not scaled among each other by the correlator's speed, which differs from build to build.
    """
    large, alone = found["large"], found["months"]
    work, spent = large["work"], large["stages"]
    scenes = large["counts"]["scenes read"]
    both = 2  # components
    few = min(found["runs"].values(), key=lambda run: run["made_glaciers"])
    # Learning over few months, of which the solving of cells is no large part.
    short = few["stages"]["compose"] / few["made_glaciers"]
    long = alone["learn_cpu_s"] * both
    per_month = (long - short) / (alone["months"] - few["months"])
    return estimate.Rates(
        speed_s=large["speed_s"],
        screen_s=spent["screen"] / (large["scenes"] * IMAGE_MPX) * READ_MPX,
        # Of the selected scenes, those that are in the few pairs of this run.
        read_s=spent["read"] / work["scene_mpx"] * work["selections"] / scenes,
        node_s=spent["correlate"] / large["matched"],
        bias_s=spent["bias"] / work["nodes"],
        write_s=spent["write"] / work["nodes"],
        month_s=(spent["months"] - spent["compose"] + spent["network"]) / work["ice_pairs"],
        learn_s=per_month,
        glacier_s=max(short - per_month * few["months"], 0.0),
        solve_s=alone["solve_cpu_s"] * both / alone["cells"] / alone["months"],
        product_s=(spent["products"] + spent["mosaic"]) / work["cell_months"],
        pair_bytes=large["pair_bytes"] / work["nodes"],
        month_bytes=(large["bytes"] - large["pair_bytes"]) / work["cell_months"],
    )


def summary(found: dict) -> dict:
    """Return slopes, shares, throughput, rates and the projection, of the parts there are."""
    told: dict = {}
    every = list(found.get("runs", {}).values())
    if region := found.get("region"):
        pairs, glaciers = region["made_pairs"], region["made_glaciers"]
        every.append(region)
        told["region"] = {
            "pairs": pairs, "glaciers": glaciers, "cpu_h": region["cpu_s"] / 3600,
            "cpu_s_per_pair": region["cpu_s"] / pairs, "wall_s": region["wall_s"],
            "read_MB_per_pair": region["rchar"] / pairs / 1e6,
            "written_MB_per_pair": region["wchar"] / pairs / 1e6,
            "disk_read_GB": region["read_bytes"] / 1e9,
            "disk_written_GB": region["write_bytes"] / 1e9,
            "peak_MB": region["peak_bytes"] / 1e6,
            "files_per_pair": region["pair_files"] / pairs,
            "files_per_glacier": region["glacier_files"] / glaciers,
            "KB_per_pair": region["pair_bytes"] / pairs / 1e3,
        }  # fmt: skip
    if len(every) >= 3:
        told["linear"] = linear(
            [run["made_glaciers"] for run in every], [run["made_pairs"] for run in every],
            [run["cpu_s"] for run in every],
        )  # fmt: skip
    alone = dict(found.get("runs", {}))
    if large := found.get("large"):
        alone["whole glaciers"] = large
        told["cpu_s_per_pair_by_stage"] = {
            name: value / large["made_pairs"]
            for name, value in large["stages"].items() if name != "compose"
        }  # fmt: skip
        told["matched_nodes_expected"] = large["work"]["matched"] / large["matched"]
    told["share_outside_correlator"] = {
        name: 1 - run["stages"]["correlate"] / run["cpu_s"] for name, run in alone.items()
    }
    if "two jobs" in found:
        one, two = found["two jobs"]
        told["two_jobs"] = {
            "throughput": one["wall_s"] / two["wall_s"], "cpu": two["cpu_s"] / one["cpu_s"],
            "cores_used": two["cpu_s"] / two["wall_s"],
        }  # fmt: skip
    if {"runs", "large", "months"} <= set(found):
        rates = rates_of(found)
        work = estimate.high_mountain_asia()
        cost = estimate.cost_of(work, rates)
        told["rates"] = asdict(rates)
        told["high_mountain_asia"] = {
            "work": asdict(work), "cost": asdict(cost), "cpu_h": cost.cpu_h,
        }  # fmt: skip
    return told


if __name__ == "__main__":
    main()
