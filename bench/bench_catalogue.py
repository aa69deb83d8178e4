"""The catalogue at the size of High Mountain Asia: 100,000 scenes, 2,000 glaciers.

Prints CPU-seconds and peak memory of filling it, joining frames and outlines, listing a
glacier's scenes, a second scan, and choosing all pairs. One process, one thread::

    python bench/bench_catalogue.py [SCENES] [GLACIERS]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from hmavel import Grid, Scene
from hmavel.catalogue import Catalogue, Entry
from hmavel.pairing import select_pairs
from hmavel.screening import Decision

WEST, SOUTH, EAST, NORTH = 73.51, 29.01, 96.99, 42.27
SIDE = 15_481


def scenes(count: int, rng: np.random.Generator) -> list[Scene]:
    """Return scenes on the WRS lattice over the region: one path/row every 1.5 degrees."""
    places = [
        (lon, lat) for lat in np.arange(28.9, 42.5, 1.43) for lon in np.arange(73, 97.5, 1.35)
    ]
    points = gpd.GeoSeries(gpd.points_from_xy(*np.array(places).T), crs=4326)
    zones = (32600 + (points.x.to_numpy() + 180) // 6 + 1).astype(int)
    crs = {zone: CRS.from_epsg(int(zone)) for zone in set(zones)}
    here = [points.iloc[[k]].to_crs(int(zones[k])).iloc[0] for k in range(len(places))]
    found = []
    for number in range(count):
        k = number % len(places)
        visit = number // len(places)
        # Frames of one path/row differ by some hundred metres from visit to visit.
        dx, dy = rng.integers(-60, 60, 2) * 15
        left = round(here[k].x / 15) * 15 - 116_100 + dx
        top = round(here[k].y / 15) * 15 + 116_100 + dy
        grid = Grid(crs[zones[k]], Affine(15, 0, left, 0, -15, top), (SIDE, SIDE))
        name = f"LC08_L1TP_{k:03d}041_{visit:06d}_20200101_02_T1"
        time_ = np.datetime64("2013-04-10T04:40:11.519", "ms") + np.timedelta64(8 * visit, "D")
        folder = Path(f"/archive/{name}")
        bands = {b: folder / f"{name}_{b}.TIF" for b in ("B2", "B3", "B4", "B5", "B6", "B7",
                                                         "B8", "QA_PIXEL", "QA_RADSAT")}
        found.append(Scene(name, time_, folder, bands, grid, "LC08", (k, 41), "L1TP", "T1",
                           "20200101", 144.0, 50.0, dict.fromkeys(bands, (2e-05, -0.1))))
    return found


def outlines(count: int, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """Return outlines of 500 vertices and about 20 km2, ragged as glaciers are."""
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    shapes = []
    for _ in range(count):
        wave = np.sum([rng.normal(0, 0.5 / k) * np.cos(k * angle + rng.uniform(0, 6.3))
                       for k in range(1, 9)], axis=0)
        radius = 0.022 * np.exp(0.4 * wave)
        x, y = rng.uniform(WEST, EAST), rng.uniform(SOUTH, NORTH)
        shapes.append(shapely.Polygon(np.column_stack(
            [x + 1.6 * radius * np.cos(angle), y + 0.7 * radius * np.sin(angle)])))
    ids = [f"RGI2000-v7.0-G-14-{k:05d}" for k in range(count)]
    zone = [32600 + int((s.centroid.x + 180) // 6) + 1 for s in shapes]
    return gpd.GeoDataFrame({"id": ids, "name": "", "area_km2": 20.0, "o1region": "14",
                             "utm_epsg": zone}, geometry=shapes, crs=4326)


def timed(label: str, work) -> object:
    """Run and print one step."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{label:44s} {time.process_time() - cpu:8.2f} CPU-s "
          f"{time.perf_counter() - wall:8.2f} s   peak {peak:.2f} GiB", flush=True)
    return result


def main() -> None:
    """Fill a catalogue in a temporary folder and time it."""
    n_scenes = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    n_glaciers = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    rng = np.random.default_rng(7)
    found, glaciers = scenes(n_scenes, rng), outlines(n_glaciers, rng)
    print(f"{n_scenes} scenes, {n_glaciers} glaciers")
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(Path(folder) / "c.sqlite")
        entries = [Entry(str(s.path), s.processed, s) for s in found]
        timed("scenes and their frames", lambda: catalogue.sync(entries))
        timed("outlines joined with frames", lambda: catalogue.sync_glaciers(glaciers))
        (pairs,) = catalogue._base.one("SELECT count(*) FROM touches")
        print(f"  {pairs} (glacier, scene) touch")
        timed("second scan, nothing new", lambda: catalogue.sync(entries))
        timed("second inventory, nothing new", lambda: catalogue.sync_glaciers(glaciers))
        more = [*entries, *(e._replace(item=e.item + "x", scene=e.scene)
                            for e in entries[:160])]
        timed("160 more scenes", lambda: catalogue.sync(more))
        names = catalogue.glaciers()
        for what, listing in (("rows", catalogue.listing), ("Scene records", catalogue.scenes)):
            spent = []
            for name in names[::40]:
                listing(name)  # from the disk
                begin = time.process_time()
                listed = listing(name)
                spent.append((1e3 * (time.process_time() - begin), len(listed)))
            took = [milliseconds for milliseconds, _ in spent]
            number = [count for _, count in spent]
            print(f"a glacier's scenes as {what}: median {np.median(took):.1f} CPU-ms, worst "
                  f"{max(took):.1f}; {np.median(number):.0f} scenes, up to {max(number)}")

        def screened() -> None:
            for name in names[::20]:
                catalogue.decide(name, "a", [
                    Decision(s.id, name, accepted=True, reason="", source="qa", valid=1.0)
                    for s in catalogue.scenes(name)
                ])

        timed(f"decisions of {len(names[::20])} glaciers kept", screened)
        spent = []
        for name in names[::40]:
            begin = time.process_time()
            catalogue.decisions(name, "a")
            spent.append(1e3 * (time.process_time() - begin))
        print(f"reading a glacier's decisions: median {np.median(spent):.1f} CPU-ms")
        catalogue.close()
        size = sum(f.stat().st_size for f in Path(folder).iterdir()) / 2**20
        print(f"file: {size:.0f} MiB")
    sixty = [s for s in found if s.wrs == found[0].wrs][:60]

    def all_pairs() -> int:
        return sum(len(select_pairs(sixty)) for _ in range(n_glaciers))

    number = timed(f"pairs of {len(sixty)} scenes, {n_glaciers} times", all_pairs)
    print(f"  {number} pairs")


if __name__ == "__main__":
    main()
