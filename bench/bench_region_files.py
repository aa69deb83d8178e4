"""The region's monthly files: memory, CPU and size against the number of glaciers.

Synthetic glaciers over the whole extent of High Mountain Asia (73.51-96.99 E, 29.01-42.27 N),
in clusters as in nature, each with its monthly file on disk in its own UTM zone; every count
is measured in a process of its own, on one thread.

    python bench/bench_region_files.py [COUNT ...] [--months 2]
    python bench/bench_region_files.py 80 --months 141 --box 74 34.8 77.5 37 [--out FOLDER]

``--box`` crowds the glaciers into a region of its own. Every file is held against rio-cogeo's
strict validation; with ``--out`` the files are kept there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyproj
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from hmavel._types import Grid
from hmavel.product.field import BAND_UNITS, speed
from hmavel.product.month_files import open_months
from hmavel.product.region import HMA, write_region
from hmavel.raster_write import write_geotiff

CELL, MARGIN = 120.0, 3000.0
FIRST_MONTH = np.datetime64("2013-04")
#: Clusters of ice, by longitude and latitude, and their share: about where RGI's glaciers are.
CLUSTERS = [
    (74.5, 36.0, 0.16), (76.5, 35.5, 0.18), (78.0, 33.5, 0.10), (80.0, 30.8, 0.08),
    (86.5, 28.9, 0.04), (84.0, 29.3, 0.05), (81.5, 35.6, 0.10), (87.0, 36.4, 0.07),
    (79.5, 42.0, 0.10), (95.0, 30.2, 0.10), (91.0, 33.2, 0.02),
]  # fmt: skip


def glaciers(
    count: int, box: tuple[float, ...] = HMA, seed: int = 1
) -> list[tuple[Grid, np.ndarray]]:
    """Grids and ice of ``count`` glaciers of 5 km2 and more, 17 km2 on average.

    In clusters over the whole extent; evenly over any other ``box``.
    """
    rng = np.random.default_rng(seed)
    share = np.array([c[2] for c in CLUSTERS])
    made = []
    west, south, east, north = box
    for which in rng.choice(len(CLUSTERS), count, p=share / share.sum()):
        longitude = np.clip(CLUSTERS[which][0] + rng.normal(0, 0.9), west + 0.1, east - 0.1)
        latitude = np.clip(CLUSTERS[which][1] + rng.normal(0, 0.5), south + 0.1, north - 0.1)
        if tuple(box) != HMA:
            longitude = rng.uniform(west + 0.3, east - 0.3)
            latitude = rng.uniform(south + 0.3, north - 0.3)
        zone = int((longitude + 180) // 6) + 1
        to = pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True)
        x, y = (CELL * round(v / CELL) for v in to.transform(longitude, latitude))
        area = 5 + rng.pareto(1.4) * 5
        length = min(np.sqrt(area * 4), 40) * 1000
        width = area * 1e6 / length * 4 / np.pi
        rows, cols = (int((side + 2 * MARGIN) / CELL) for side in (length, width))
        if rng.random() < 0.5:
            rows, cols = cols, rows
        row, col = np.mgrid[:rows, :cols]
        inside = ((row - rows / 2) / (rows - 50)) ** 2 + ((col - cols / 2) / (cols - 50)) ** 2
        grid = Grid(CRS.from_epsg(32600 + zone), Affine(CELL, 0, x, 0, -CELL, y), (rows, cols))
        made.append((grid, inside < 0.25))
    return made


def write_months(folder: Path, grid: Grid, ice: np.ndarray, months: int, seed: int) -> None:
    """Write a year of months; those of the years after are the same files by other names."""
    for k in range(months):
        name = str(FIRST_MONTH + k)
        if k < 12:
            write_month(folder, grid, ice, name, seed)
        else:
            first = folder / f"velocity_{FIRST_MONTH + k % 12}.tif"
            os.link(first, folder / f"velocity_{name}.tif")


def write_month(folder: Path, grid: Grid, ice: np.ndarray, month: str, seed: int) -> None:
    rng = np.random.default_rng([seed, int(month[-2:])])
    shape = grid.shape

    def on_ice(values: np.ndarray) -> np.ndarray:
        return np.where(ice, values, np.nan).astype("f4")

    vx, vy = (on_ice(rng.normal(centre, 3, shape)) for centre in (40, -15))
    sx, sy = (on_ice(rng.uniform(1, 4, shape)) for _ in range(2))
    v, sv = speed(vx, vy, sx, sy)
    count, flag = on_ice(rng.uniform(1, 9, shape)), on_ice(rng.integers(0, 2, shape))
    bands = dict(zip(BAND_UNITS, (vx, vy, v, sx, sy, sv, count, flag), strict=True))
    write_geotiff(folder / f"velocity_{month}.tif", bands, grid, units=BAND_UNITS)


def measure(folder: Path, out: Path, months: int, box: tuple[float, ...]) -> dict[str, float]:
    """Write the region's files of all glaciers below ``folder``, in this process."""
    sources = [open_months(path) for path in sorted(folder.iterdir())]
    names = [np.datetime64(name, "M") for name in sources[0].months[:months]]
    before = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.process_time()
    region = write_region(out, sources, months=names, bounds=box)
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert not region.failures
    return {
        "files": len(region.files),
        "valid": sum(cog_validate(file, strict=True, quiet=True)[0] for file in region.files),
        "glaciers": len(sources),
        "cpu_s_per_month": seconds / len(names),
        "peak_mb": peak,
        "before_mb": before.ru_maxrss / 1024,
        "file_mb": float(np.mean([file.stat().st_size for file in region.files])) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", default=[100, 500, 2000])
    parser.add_argument("--months", type=int, default=2)
    parser.add_argument("--box", type=float, nargs=4, default=HMA, metavar=tuple("WSEN"))
    parser.add_argument("--out", type=Path, help="keep the files here")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure, given.months, tuple(given.box))))
        return
    dense = 21132 * 11934 * 8 * 4 / 1e9
    print(f"whole extent: 21132 x 11934 cells, {dense:.1f} GB a month if it were dense\n")
    print("| glaciers | ice, km2 | CPU-s a month file | peak memory, MB | file, MB | valid |")
    print("|---|---|---|---|---|---|")
    for count in given.counts:
        with tempfile.TemporaryDirectory() as name:
            folder, out = Path(name) / "glaciers", given.out or Path(name) / "wgs84"
            ice_km2 = 0.0
            for number, (grid, ice) in enumerate(glaciers(count, tuple(given.box))):
                ice_km2 += ice.sum() * (CELL / 1000) ** 2
                write_months(folder / f"g{number:05}", grid, ice, given.months, number)
            call = [sys.executable, __file__, "--months", str(given.months)]
            call += ["--box", *map(str, given.box), "--measure"]
            one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
            made = subprocess.run(
                [*call, str(folder), str(out)], capture_output=True, text=True, check=True,
                env=os.environ | one,
            )
            found = json.loads(made.stdout.splitlines()[-1])
            print(
                f"| {count} | {ice_km2:.0f} | {found['cpu_s_per_month']:.1f} "
                f"| {found['peak_mb']:.0f} (before: {found['before_mb']:.0f}) "
                f"| {found['file_mb']:.1f} | {found['valid']} of {found['files']} |",
                flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
