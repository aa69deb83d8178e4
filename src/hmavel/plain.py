"""Scenes without an MTL: images whose time and scaling are told in other ways."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio.warp
from rasterio.crs import CRS

from hmavel._types import Grid, Scene
from hmavel.landsat import day_time
from hmavel.mtl import ProductId
from hmavel.raster import open_raster
from hmavel.scene_files import scene_error
from hmavel.state import fingerprint
from hmavel.sun import sun_position
from hmavel.vsi import shown

#: Of every Collection-2 Level-1 product of Landsat 8 and 9 (Data Format Control Book).
LEVEL_1 = (2.0e-5, -0.1)
#: Side of a Band-8 pixel, metres.
PIXEL_M = 15.0
#: Bands that are worth a name.
KNOWN = (*(f"B{n}" for n in range(1, 10)), "QA_PIXEL", "QA_RADSAT")
_NAME = re.compile(r"[^\W_][\w.+-]{0,99}")


def plain_scene(
    name: str,
    path: Path,
    bands: Mapping[str, Path],
    *,
    time: np.datetime64 | None = None,
    day: np.datetime64 | None = None,
    product: ProductId | None = None,
    sensor: str = "",
    wrs: tuple[int, int] | None = None,
    level: str = "",
    sun: tuple[float, float] | None = None,
    coefficients: Mapping[str, tuple[float, float]] | None = None,
) -> Scene:
    """Make a scene of Band 8 and, perhaps, others.

    Parameters
    ----------
    name, path
        The scene's id, and what it is shown as.
    bands
        Band -> file; "B8" must be among them.
    time, day
        UTC. With the day alone, the overpass is estimated.
    product
        What the name says of sensor, path/row, level and so on.
    sensor, wrs, level
        Go before ``product``.
    sun
        (azimuth, elevation) in degrees; computed from time and place when None.
    coefficients
        Band -> (multiplicative, additive) for reflectance. When None: floats are taken for
        top-of-atmosphere reflectances (level "TOA"), integers for the DN of Collection 2.

    Raises
    ------
    ReadError
        A file is damaged or lies nowhere.
    SceneError
        Band 8 is missing, is not in metres or has not its 15 m, or there is no date.
    """
    if not _NAME.fullmatch(name):  # pairs of scenes are files of their names
        raise scene_error(
            path, "an id of letters, digits, dots and dashes, at most 100", repr(name[:120]),
            "give another, or none",
        )  # fmt: skip
    if "B8" not in bands:
        got = ", ".join(sorted(bands)) or "no band that is named"
        raise scene_error(path, "Band 8", got, "add B8 to the image")
    with open_raster(bands["B8"]) as reader:
        grid, floating = reader.grid, np.issubdtype(reader.dtype, np.floating)
    check_grid(path, grid)
    if time is None:
        if day is None:
            raise scene_error(
                path, "a date in its name or in a table", "none", "give its date in a CSV"
            )
        time = day_time(path, day, grid)
    if sun is None:
        sun = sun_position(time, *centre(grid))
        if not sun[1] > 0:
            raise scene_error(
                path, "a time in UTC at which the sun was up", f"{time}, with the sun at "
                f"{sun[1]:.0f} degrees", "state the time in UTC, with its day in UTC",
            )  # fmt: skip
    level = level or (product.level if product else "")
    if coefficients is None:
        pair = (1.0, 0.0) if floating else LEVEL_1
        coefficients = {band: pair for band in bands if band.startswith("B")}
        level = "TOA" if floating else level
    return Scene(
        id=name,
        time=time,
        path=path,
        bands=dict(bands),
        grid=grid,
        sensor=sensor or (product.sensor if product else ""),
        wrs=wrs or (product.wrs if product else None),
        level=level,
        tier=product.tier if product else "",
        processed=product.processed if product else "",
        sun_azimuth=sun[0],
        sun_elevation=sun[1],
        reflectance=dict(coefficients),
        version=fingerprint([_facts(bands[band]) for band in sorted(bands)]),
    )


def _facts(path: Path) -> list[object]:
    try:
        status = path.stat()
    except OSError as error:
        got = error.strerror or str(error)
        raise scene_error(path, "the file of a band", got.lower(), "check its path") from error
    return [path.name, status.st_size, status.st_mtime_ns]


def centre(grid: Grid) -> tuple[float, float]:
    """Return (longitude, latitude) of a grid's centre, degrees."""
    left, bottom, right, top = grid.bounds
    (longitude,), (latitude,) = rasterio.warp.transform(
        grid.crs, CRS.from_epsg(4326), [(left + right) / 2], [(bottom + top) / 2]
    )
    return longitude, latitude


def check_grid(path: Path, grid: Grid) -> None:
    """Raise ``SceneError`` unless a grid of Band 8 is in metres and has its 15 m."""
    if not grid.crs.is_projected:
        raise scene_error(
            shown(path), "an image in metres, in its UTM zone",
            f"one in {grid.crs.to_string()[:40]}", "export it in the scene's own projection",
        )  # fmt: skip
    if not math.isclose(grid.pixel, PIXEL_M, rel_tol=0.01):
        raise scene_error(
            path, f"Band 8 with pixels of {PIXEL_M:g} m", f"{grid.pixel:g} m",
            "export it with its own scale of 15 m",
        )  # fmt: skip
