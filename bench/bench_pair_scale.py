"""A whole pair from two GeoTIFFs to its files: time outside the correlator, memory, strips.

``python bench/bench_pair_scale.py [--size 8000 15000] [--threads 2]`` makes pairs of Band-8
files (texture of a known shift, noise, a border of fill), runs ``hmavel pair`` on each in a
process of its own, and prints CPU-seconds, peak memory and the largest difference from the run
that is not cut into strips. See bench/README.md.
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
from multiprocessing import get_context
from pathlib import Path
from typing import Any

SHIFT = (1.3, -2.4)
NAMES = ("LC08_L1TP_140041_20130503_20200912_02_T1", "LC08_L1TP_140041_20130519_20200912_02_T1")

#: What the processes run; the folder of the pair comes first, then the output, then threads.
WHOLE_CHAIN = """
import sys
from hmavel.cli import main
sys.exit(main(sys.argv[1:]))
"""
UNCUT = """
import sys
from hmavel import frame
frame.Frame.__init__.__kwdefaults__["whole"] = 1 << 60
from hmavel.cli import main
sys.exit(main(sys.argv[1:]))
"""
CORRELATOR = """
import json, sys, time
import rasterio
from hmavel.correlator import correlate_images
from hmavel.frame import Image
images = []
for path in sys.argv[1:3]:
    with rasterio.open(path) as file:
        images.append(Image(file.read(1), fill=0))
found = {}
for threads in map(int, sys.argv[3:]):
    clock = time.perf_counter(), time.process_time(), time.thread_time()
    d = correlate_images(*images, threads=threads)
    now = time.perf_counter(), time.process_time(), time.thread_time()
    wall, cpu, main = (b - a for a, b in zip(clock, now))
    found[threads] = {"wall": wall, "cpu": cpu, "main": main, "good": float(d.good.mean())}
print(json.dumps(found))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[8000], metavar="PX")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="keep the pairs here (default: nowhere)")
    parser.add_argument("--no-uncut", action="store_true", help="leave the comparison out")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    args = parser.parse_args()
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        for size in args.size:
            folder = work / str(size)
            if not (folder / "ground.gpkg").is_file():
                # A process is counted the memory of the one that began it, so that stays small.
                maker = get_context("spawn").Process(target=make_pair, args=(folder, size))
                maker.start()
                maker.join()
                if maker.exitcode:
                    raise SystemExit(f"{folder}: the pair could not be made")
            results[str(size)] = measure(folder, args.threads, uncut=not args.no_uncut)
    print(json.dumps(results, indent=1))
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def make_pair(folder: Path, size: int) -> None:
    """Write two Band-8 files of size x size px, tiled and deflated as Landsat's are."""
    import geopandas as gpd
    import numpy as np
    import rasterio
    from shapely.geometry import box

    from hmavel.simulate import shifted_pair

    folder.mkdir(parents=True, exist_ok=True)
    tile = 4000 if size % 4000 == 0 else 5000
    pair = shifted_pair(*SHIFT, seed=1, shape=(tile, tile), texture="pan", noise=0.0)
    transform = rasterio.Affine(15, 0, 450007.5, 0, -15, 3300007.5)
    profile = {
        "driver": "GTiff", "height": size, "width": size, "count": 1, "dtype": "uint16",
        "crs": "EPSG:32645", "transform": transform, "tiled": True, "blockxsize": 256,
        "blockysize": 256, "compress": "deflate", "predictor": 2, "nodata": 0,
    }  # fmt: skip
    rng = np.random.default_rng(2)
    slant = (np.arange(size) * 0.17).astype(int)  # scenes lie aslant in their frame
    for name, image in zip(NAMES, (pair.reference, pair.secondary), strict=True):
        with rasterio.open(folder / f"{name}_B8.TIF", "w", **profile) as file:
            for row in range(0, size, tile):
                rows = min(tile, size - row)
                strip = np.tile(image[:rows], (1, -(-size // tile)))[:, :size]
                strip = strip + rng.normal(0, 40, strip.shape).astype(np.float32)
                strip = np.rint(strip).astype(np.uint16)
                lead = size // 12 - slant[row : row + rows, None] // 2
                strip[np.arange(size) < lead] = 0
                file.write(strip, 1, window=rasterio.windows.Window(0, row, size, rows))
    ground = [
        box(x, y, x + 6000, y + 6000)
        for x in np.arange(460000, 450000 + 15 * size - 6000, 20000)
        for y in np.arange(3300000 - 15 * size + 6000, 3290000, 20000)
    ]
    gpd.GeoDataFrame(geometry=ground, crs="EPSG:32645").to_file(folder / "ground.gpkg")


def measure(folder: Path, threads: int, *, uncut: bool) -> dict[str, Any]:
    files = [str(folder / f"{name}_B8.TIF") for name in NAMES]
    many = [str(threads)] if threads > 1 else []
    alone = json.loads(run(CORRELATOR, *files, "1", *many)["out"])
    result: dict[str, Any] = {"correlator": alone, "load": os.getloadavg()[0]}
    one, wall = alone["1"]["cpu"], alone[str(threads)]["wall"]
    common = ["pair", *files, "--threads", str(threads), "--quiet", "--out"]
    cases = {
        "displacement only": ["--no-figure"],
        "and the figure": [],
        "and bedrock": ["--no-figure", "--stable", str(folder / "ground.gpkg")],
    }
    for name, more in cases.items():
        got = run(WHOLE_CHAIN, *common, str(folder / "out"), *more)
        result[name] = {
            "cpu": got["cpu"], "wall": got["wall"], "peak_MiB": got["peak_MiB"],
            "outside_share_of_cpu": 1 - one / got["cpu"],
            "outside_share_of_wall": 1 - wall / got["wall"],
        }  # fmt: skip
    if uncut:
        got = run(UNCUT, *common, str(folder / "uncut"), *cases["and bedrock"])
        result["uncut"] = {"peak_MiB": got["peak_MiB"]} | compare(folder)
    return result


def run(code: str, *arguments: str) -> dict[str, Any]:
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        raise SystemExit(f"failed: {arguments}")
    assert isinstance(usage, resource.struct_rusage)
    return {
        "out": text, "wall": time.perf_counter() - begin,
        "cpu": usage.ru_utime + usage.ru_stime, "peak_MiB": usage.ru_maxrss / 1024,
    }  # fmt: skip


def compare(folder: Path) -> dict[str, float]:
    import numpy as np
    import rasterio

    bands = []
    for name in ("out", "uncut"):
        with rasterio.open(folder / name / "displacement.tif") as file:
            bands.append(file.read())
    cut, whole = bands
    other = np.isnan(cut) != np.isnan(whole)
    return {"largest_difference_m": float(np.nanmax(np.abs(cut - whole))),
            "other_nodes": int(other.sum()), "nodes": int(cut[0].size)}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
