"""Small Landsat product folders in the real form, with any reflectances, for the edges."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

SUN = 50.0
#: Upper-left pixel centre of all bands: B8 and 30 m bands share the centre, not the edge.
CORNER = (500_010.0, 3_300_000.0)


def write_band(path: Path, dn: np.ndarray, pixel: float, corner=CORNER, epsg=32645) -> None:
    x, y = corner
    transform = Affine(pixel, 0, x - pixel / 2, 0, -pixel, y + pixel / 2)
    with rasterio.open(
        path, "w", driver="GTiff", width=dn.shape[1], height=dn.shape[0], count=1,
        dtype=dn.dtype, crs=CRS.from_epsg(epsg), transform=transform,
    ) as file:  # fmt: skip
        file.write(dn, 1)


def dn_of(reflectance: np.ndarray) -> np.ndarray:
    """Turn top-of-atmosphere reflectance into Level-1 DN; NaN becomes fill."""
    raw = (np.asarray(reflectance, float) * math.sin(math.radians(SUN)) + 0.1) / 2e-5
    return np.where(np.isfinite(raw), np.clip(np.rint(raw), 1, 65535), 0).astype(np.uint16)


def product_id(day="20200105", processed="20200823", *, sensor="LC08", wrs=(140, 41), tier="T1",
               level="L1TP") -> str:  # fmt: skip
    return f"{sensor}_{level}_{wrs[0]:03d}{wrs[1]:03d}_{day}_{processed}_02_{tier}"


def write_mtl(path: Path, name: str, *, clock: str = "04:40:11.5000000Z") -> None:
    sensor, level, wrs, day, processed, _, tier = name.split("_")
    del sensor
    lines = [
        "GROUP = LANDSAT_METADATA_FILE",
        "  GROUP = PRODUCT_CONTENTS",
        f'    LANDSAT_PRODUCT_ID = "{name}"',
        f'    PROCESSING_LEVEL = "{level}"',
        f'    COLLECTION_CATEGORY = "{tier}"',
        "  END_GROUP = PRODUCT_CONTENTS",
        "  GROUP = IMAGE_ATTRIBUTES",
        f"    WRS_PATH = {int(wrs[:3])}",
        f"    WRS_ROW = {int(wrs[3:])}",
        f"    DATE_ACQUIRED = {day[:4]}-{day[4:6]}-{day[6:]}",
        f'    SCENE_CENTER_TIME = "{clock}"',
        "    SUN_AZIMUTH = 140.0",
        f"    SUN_ELEVATION = {SUN}",
        "  END_GROUP = IMAGE_ATTRIBUTES",
        "  GROUP = LEVEL1_PROCESSING_RECORD",
        f"    DATE_PRODUCT_GENERATED = {processed[:4]}-{processed[4:6]}-{processed[6:]}",
        "  END_GROUP = LEVEL1_PROCESSING_RECORD",
        "  GROUP = LEVEL1_RADIOMETRIC_RESCALING",
        *(f"    REFLECTANCE_MULT_BAND_{n} = 2.0000E-05" for n in range(1, 10)),
        *(f"    REFLECTANCE_ADD_BAND_{n} = -0.100000" for n in range(1, 10)),
        "  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING",
        "END_GROUP = LANDSAT_METADATA_FILE",
        "END",
    ]
    path.write_text("\n".join(lines) + "\n")


def write_product(
    root: Path,
    name: str | None = None,
    *,
    bands: dict[str, np.ndarray] | None = None,
    qa: np.ndarray | None = None,
    radsat: np.ndarray | None = None,
    b8: np.ndarray | None = None,
    mtl: bool = True,
    epsg: int = 32645,
    corner: tuple[float, float] = CORNER,
    clock: str = "04:40:11.5000000Z",
) -> Path:
    """Write a product folder; bands are reflectances at 30 m, B8 at 15 m."""
    name = name or product_id()
    folder = root / name
    folder.mkdir(parents=True)
    if mtl:
        write_mtl(folder / f"{name}_MTL.txt", name, clock=clock)
    if b8 is None:
        rows, cols = next(iter(bands.values())).shape if bands else (8, 9)
        b8 = np.full((2 * rows - 1, 2 * cols - 1), 0.3)
    write_band(folder / f"{name}_B8.TIF", dn_of(b8), 15.0, corner, epsg)
    for band, values in (bands or {}).items():
        write_band(folder / f"{name}_{band}.TIF", dn_of(values), 30.0, corner, epsg)
    for band, values in (("QA_PIXEL", qa), ("QA_RADSAT", radsat)):
        if values is not None:
            dn = np.asarray(values, np.uint16)
            write_band(folder / f"{name}_{band}.TIF", dn, 30.0, corner, epsg)
    return folder
