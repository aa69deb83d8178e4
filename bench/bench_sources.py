"""Finding scenes: CPU-seconds among junk, side by side, in tars; bytes read from a server.

One process, one thread; the folders are made in a temporary place and removed::

    python bench/bench_sources.py [JUNK] [PRODUCTS]
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from products import product_id, write_product
from stac_server import Server

from hmavel import Grid
from hmavel.archive import find_scenes
from hmavel.landsat import open_scene
from hmavel.raster import read_band
from hmavel.scene_bands import read_b8
from hmavel.vsi import remote

SIDE = 4001


def cpu(what: Callable[[], object]) -> tuple[float, object]:
    """Return (CPU-seconds, result)."""
    start = time.process_time()
    result = what()
    return time.process_time() - start, result


def junk(root: Path, count: int, products: int) -> None:
    """One folder with products side by side, without and with other files among them."""
    flat = root / "flat"
    flat.mkdir()
    day = np.datetime64("2013-05-01")
    for number in range(products):
        name = product_id(str(day + 16 * number).replace("-", ""))
        folder = write_product(root / "made", name)
        for file in folder.iterdir():
            file.rename(flat / file.name)
    plain, found = cpu(lambda: find_scenes(flat))
    assert len(found.scenes) == products
    for number in range(count):
        (flat / f"report_{number:06d}.pdf").touch()
    among, found = cpu(lambda: find_scenes(flat))
    assert len(found.scenes) == products
    print(f"{products} products side by side: {plain:.2f} CPU-s; among {count} other files: "
          f"{among:.2f} CPU-s ({1e6 * (among - plain) / count:.1f} us a file)")  # fmt: skip


def write_image(path: Path) -> Grid:
    """Write a Band 8 as Collection 2 has it: blocks of 256, DEFLATE, numbers of rock."""
    rng = np.random.default_rng(1)
    smooth = rng.normal(0, 1, (SIDE // 8 + 1, SIDE // 8 + 1)).repeat(8, 0).repeat(8, 1)
    rough = 9000 + 800 * smooth[:SIDE, :SIDE] + rng.normal(0, 60, (SIDE, SIDE))
    image = rough.astype(np.uint16)
    grid = Grid(rasterio.crs.CRS.from_epsg(32645), Affine(15, 0, 479992.5, 0, -15, 3100207.5),
                image.shape)  # fmt: skip
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=1, dtype="uint16",
        crs=grid.crs, transform=grid.transform, tiled=True, blockxsize=256, blockysize=256,
        compress="deflate", predictor=2,
    ) as file:  # fmt: skip
        file.write(image, 1)
    return grid


def tars(root: Path, grid: Grid, image: Path) -> None:
    """A window of Band 8 from a folder, from its tar, and from its packed tar."""
    name = product_id()
    folder = write_product(root / "one", name)
    (folder / f"{name}_B8.TIF").write_bytes(image.read_bytes())
    window = grid.crop(1500, 1500, 1000, 1000)
    places = {folder: "", root / f"{name}.tar": "w", root / f"{name}.tgz": "w:gz"}
    for place, mode in places.items():
        if mode:
            with tarfile.open(place, mode) as tar:
                for file in sorted(folder.iterdir()):
                    tar.add(file, file.name)
        opened, scene = cpu(lambda place=place: open_scene(place))
        read, _ = cpu(lambda scene=scene: read_b8(scene, window))
        kind = "folder" if not mode else place.suffix
        print(f"{kind:>8}: opened in {1000 * opened:.1f}, 1000 x 1000 pixels read in "
              f"{1000 * read:.1f} CPU-ms")  # fmt: skip


def served(grid: Grid, image: Path) -> None:
    """Bytes that travel for windows of several sizes."""
    whole = image.stat().st_size
    for side in (256, 500, 1000, 2000):
        with Server(image.parent) as server:
            start = (SIDE - side) // 2
            path = remote(f"{server.url}/data/{image.name}")
            read_band(path, window=grid.crop(start, start, side, side))
            sent, asked = sum(server.sent.values()), len(server.requests)
        print(f"window of {side}: {sent / 1e6:.2f} of {whole / 1e6:.1f} MB "
              f"({100 * sent / whole:.1f} %; its pixels are "
              f"{100 * side**2 / SIDE**2:.1f} %), {asked} requests")  # fmt: skip


def main() -> None:
    """Run all three."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    products = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        junk(root, count, products)
        (root / "served").mkdir()
        image = root / "served" / "b8.tif"
        grid = write_image(image)
        tars(root, grid, image)
        served(grid, image)


if __name__ == "__main__":
    main()
