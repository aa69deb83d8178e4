"""Small Landsat products on disk, for tests: true names, true grids, MTLs of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from hmavel._types import Grid

UTM45 = CRS.from_epsg(32645)
#: 15 m and 30 m grids that share the centre of their first pixel, n15 = 2 n30 - 1.
B8_GRID = Grid(UTM45, Affine(15, 0, 479992.5, 0, -15, 3100207.5), (79, 99))
GRID_30M = Grid(UTM45, Affine(30, 0, 479985.0, 0, -30, 3100215.0), (40, 50))

ID = "LC08_L1TP_140041_20130503_20200912_02_T1"
TIME = "04:41:57.1234567Z"


def texture(grid: Grid, seed: int) -> np.ndarray:
    """DN without fill and without saturation."""
    return np.random.default_rng(seed).integers(5000, 20000, grid.shape, dtype=np.uint16)


def write_band(path: Path, array: np.ndarray, grid: Grid, **profile: object) -> None:
    rows, cols = array.shape
    options = {"crs": grid.crs, "transform": grid.transform, "dtype": array.dtype} | profile
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=1, **options
    ) as file:
        file.write(array, 1)


def groups(product: str = ID, time: str | None = TIME) -> dict[str, dict[str, str]]:
    """Return a Collection-2 Level-1 MTL's groups, as far as they matter here."""
    _, level, place, day, *_, tier = product.split("_")
    files = {f"FILE_NAME_BAND_{i}": f"{product}_B{i}.TIF" for i in range(1, 12)}
    image = {
        "SPACECRAFT_ID": f"LANDSAT_{product[3]}",
        "WRS_PATH": str(int(place[:3])),
        "WRS_ROW": str(int(place[3:])),
        "DATE_ACQUIRED": f"{day[:4]}-{day[4:6]}-{day[6:]}",
        "SUN_AZIMUTH": "120.5",
        "SUN_ELEVATION": "30.0",
    }
    if time is not None:
        image["SCENE_CENTER_TIME"] = time
    return {
        "PRODUCT_CONTENTS": {
            "LANDSAT_PRODUCT_ID": product,
            "PROCESSING_LEVEL": level,
            "COLLECTION_CATEGORY": tier,
            **files,
            "FILE_NAME_QUALITY_L1_PIXEL": f"{product}_QA_PIXEL.TIF",
            "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": f"{product}_QA_RADSAT.TIF",
        },
        "IMAGE_ATTRIBUTES": image,
        "LEVEL1_RADIOMETRIC_RESCALING": {
            **{f"REFLECTANCE_MULT_BAND_{i}": "2.0000E-05" for i in range(1, 10)},
            **{f"REFLECTANCE_ADD_BAND_{i}": "-0.100000" for i in range(1, 10)},
        },
    }


def odl(content: Mapping[str, Mapping[str, str]], root: str = "LANDSAT_METADATA_FILE") -> str:
    """Write groups as the .txt form has them: text in quotes, numbers and dates bare."""
    lines = [f"GROUP = {root}"]
    for name, keys in content.items():
        lines.append(f"  GROUP = {name}")
        for key, value in keys.items():
            bare = value.replace(".", "").replace("-", "").replace("E", "").isdigit()
            lines.append(f"    {key} = {value}" if bare else f'    {key} = "{value}"')
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, f"END_GROUP = {root}", "END", ""])


def write_mtl(
    folder: Path,
    product: str = ID,
    *,
    kinds: Iterable[str] = ("txt", "json"),
    name: str | None = None,
    time: str | None = TIME,
) -> None:
    content = groups(product, time)
    for kind in kinds:
        text = odl(content) if kind == "txt" else json.dumps({"LANDSAT_METADATA_FILE": content})
        (folder / f"{name or product}_MTL.{kind}").write_text(text)


def write_product(
    parent: Path,
    product: str = ID,
    *,
    bands: Iterable[str] = ("B3", "B5", "B8", "QA_PIXEL", "QA_RADSAT"),
    seed: int = 0,
    grid: Grid = B8_GRID,
    time: str | None = TIME,
) -> Path:
    """Write a product folder and return it."""
    folder = parent / product
    folder.mkdir(parents=True)
    write_mtl(folder, product, time=time)
    for number, band in enumerate(bands):
        lattice = grid if band == "B8" else GRID_30M
        array = texture(lattice, 100 * seed + number)
        if band == "QA_PIXEL":
            array = np.full(lattice.shape, 21824, np.uint16)
        if band == "QA_RADSAT":
            array = np.zeros(lattice.shape, np.uint16)
        write_band(folder / f"{product}_{band}.TIF", array, lattice)
    return folder
