"""Landsat scenes on disk: find their files, know their time.

A scene is a product folder, a Band-8 file with its MTL beside it, or a bare Band-8 GeoTIFF.
Nothing is read into memory until a band is asked for, and then only the window in use.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import rasterio.warp
from rasterio.crs import CRS

from hmavel._types import Grid, Scene
from hmavel.errors import ReadError
from hmavel.mtl import (
    Metadata,
    ProductId,
    overpass_time,
    parse_product_id,
    read_mtl,
    to_ms,
)
from hmavel.raster import read_grid
from hmavel.scene_files import (
    MTL_NAME,
    band_files,
    band_of,
    list_files,
    metadata_beside,
    own_metadata,
    scene_error,
    without_b8,
)
from hmavel.tars import TAR_NAME, list_tar
from hmavel.vsi import file_name, is_remote, shown

logger = logging.getLogger(__name__)

#: 20160718, 2016-07-18, either with T203706 or T20:37:06 behind it.
_DATE = re.compile(
    r"(?<!\d)(20\d{2})(-?)(\d{2})\2(\d{2})(?:T(\d{2}):?(\d{2}):?(\d{2})Z?)?(?!\d)"
)


def open_scene(
    path: str | os.PathLike[str],
    *,
    time: np.datetime64 | datetime | str | None = None,
    crs: CRS | None = None,
    need_b8: bool = True,
    files: Sequence[Path] | None = None,
) -> Scene:
    """Find out what a Landsat-8/9 scene is, when it was taken and where its bands are.

    Parameters
    ----------
    path
        A product folder or tar (Collection 1 or 2, or from before); or a Band-8 file, whose MTL
        may lie beside it among those of other scenes; or any single-band GeoTIFF. A tar is
        read where it is, and so is a file of a server (``vsi.remote``), without its MTL.
    time
        UTC. Goes before what the MTL or the name say; needed when neither says anything.
    crs
        For a file that has a transform and no coordinate system.
    need_b8
        False to accept a product without Band 8 (every Level-2 product), for masks. ``grid``
        is then that of the first other band.
    files
        What lies in the folder, or beside the file, where the caller has listed it already.

    Returns
    -------
    Scene
        ``bands`` holds the files that are there. A scene without MTL has no ``reflectance``.

    Raises
    ------
    ReadError
        A path that is not there, a file that is damaged or has no georeferencing.
    SceneError
        Half-downloaded folder, MTL of another scene, no Band 8, no time, not Landsat 8 or 9.

    Notes
    -----
    Without MTL and ``time``, the time comes from the file name. A name that has a date and no
    time of day gives the day's overpass as estimated by ``mtl.overpass_time``, which is a few
    minutes off (1e-4 of a 16-day baseline) and is logged as a warning.
    """
    path = Path(path)
    given = None if time is None else _utc(time)
    if is_remote(path):
        return _open_file(path, (), given, crs)
    if path.is_dir():
        found = list_files(path) if files is None else files
        return _open_product(path, found, given, crs, need_b8)
    if not path.exists():
        raise ReadError(
            "read", path, expected="a scene", got="no such file", hint="check the path"
        )
    if TAR_NAME.fullmatch(path.name):
        return _open_product(path, list_tar(path), given, crs, need_b8)
    if path.name.lower().endswith(".zip"):
        raise scene_error(
            path, "a product folder or tar", "a zip", "extract it and give the folder"
        )
    if MTL_NAME.fullmatch(path.name):
        raise scene_error(
            path, "a product folder or a Band-8 file", "its MTL", "give the folder"
        )
    return _open_file(path, list_files(path.parent) if files is None else files, given, crs)


def open_level2(mtl: Path, files: Sequence[Path]) -> Scene:
    """Open a Level-2 product by its MTL, where its files lie among those of others."""
    metadata = own_metadata(read_mtl(mtl))
    bands = band_files(mtl.parent, files, metadata.product)
    if not bands:
        raise scene_error(mtl, "band files", "only the MTL", "fetch the complete product")
    return _scene(mtl, metadata, bands, None, None)


def _open_product(
    folder: Path,
    files: Sequence[Path],
    given: np.datetime64 | None,
    crs: CRS | None,
    need_b8: bool,
) -> Scene:
    """Open what a folder or a tar holds."""
    found = [file for file in files if MTL_NAME.fullmatch(file.name)]
    if not found:
        got = "no MTL" if files else "an empty folder"
        raise scene_error(folder, "a product folder", got, "fetch the complete product")
    if len({file.stem.upper() for file in found}) > 1:
        names = ", ".join(file.name for file in found)
        packed = TAR_NAME.fullmatch(folder.name) is not None
        hint = "pack each by itself, or unpack it" if packed else "give one Band-8 file instead"
        raise scene_error(folder, "one product", f"the MTLs {names}", hint)
    metadata = own_metadata(read_mtl(max(found, key=lambda file: file.suffix.lower())))
    bands = band_files(folder, files, metadata.product)
    if "B8" not in bands and need_b8:
        raise without_b8(folder, files, metadata)
    if not bands:
        raise scene_error(folder, "band files", "only the MTL", "fetch the complete product")
    return _scene(folder, metadata, bands, given, crs)


def _open_file(
    file: Path, files: Sequence[Path], given: np.datetime64 | None, crs: CRS | None
) -> Scene:
    name = Path(file_name(file))
    product = parse_product_id(name.name)
    band = band_of(name, product)
    if band is not None and band[0] != "B8":
        raise scene_error(file, "a Band-8 file", f"{band[0]}", "give the B8 file or the folder")
    metadata = metadata_beside(file, product, files)
    if metadata is not None:
        bands = band_files(file.parent, files, metadata.product, b8=file)
        return _scene(file, metadata, bands, given, crs)
    if product is not None:
        _require_oli(file, product)
    grid = read_grid(file, crs=crs)
    return Scene(
        id=product.id if product else name.stem,
        time=_time_from_name(file, product, grid) if given is None else given,
        path=file,
        bands={"B8": file},
        grid=grid,
        sensor=product.sensor if product else "",
        wrs=product.wrs if product else None,
        level=product.level if product else "",
        tier=product.tier if product else "",
        processed=product.processed if product else "",
    )


def _scene(
    path: Path,
    metadata: Metadata,
    bands: Mapping[str, Path],
    given: np.datetime64 | None,
    crs: CRS | None,
) -> Scene:
    product = metadata.product
    _require_oli(path, product)
    return Scene(
        id=product.id,
        time=metadata.time if given is None else given,
        path=path,
        bands=bands,
        grid=read_grid(bands.get("B8") or next(iter(bands.values())), crs=crs),
        sensor=product.sensor,
        wrs=metadata.wrs,
        level=metadata.level,
        tier=metadata.tier,
        processed=metadata.processed,
        sun_azimuth=metadata.sun_azimuth,
        sun_elevation=metadata.sun_elevation,
        cloud_cover=metadata.cloud_cover,
        reflectance=metadata.reflectance or None,
    )


def _require_oli(path: Path, product: ProductId) -> None:
    if product.sensor[1] not in "CO" or product.sensor[2:] not in ("08", "09"):
        raise scene_error(
            path,
            "a Landsat-8 or -9 OLI scene (LC08, LO08, LC09, LO09)",
            product.sensor,
            "leave it out",
        )


def _time_from_name(file: Path, product: ProductId | None, grid: Grid) -> np.datetime64:
    days = {product.date} if product else set()
    clock = None
    if not days:
        for year, _, month, day, *hms in _DATE.findall(Path(file_name(file)).stem):
            try:
                date(int(year), int(month), int(day))
            except ValueError:
                continue
            days.add(f"{year}{month}{day}")
            clock = ":".join(hms) if all(hms) else None
    if len(days) != 1:
        got = f"the dates {', '.join(sorted(days))}" if days else "no date"
        raise scene_error(
            file, "an MTL beside it or one date in its name", got, "state the time (time=...)"
        )
    text = days.pop()
    day64 = np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}", "D")
    if clock is not None:
        return to_ms(f"{day64}T{clock}")
    return day_time(shown(file), day64, grid)


def day_time(item: object, day: np.datetime64, grid: Grid) -> np.datetime64:
    """Return the usual overpass over a grid on a day, and warn that it is an estimate."""
    left, bottom, right, top = grid.bounds
    (longitude,), (latitude,) = rasterio.warp.transform(
        grid.crs, CRS.from_epsg(4326), [(left + right) / 2], [(bottom + top) / 2]
    )
    estimate = overpass_time(day, longitude, latitude)
    logger.warning(
        "scene %s: no MTL; took the usual overpass of that day, %s UTC, as its time",
        item,
        estimate,
    )
    return estimate


def _utc(time: np.datetime64 | datetime | str) -> np.datetime64:
    try:
        if isinstance(time, str):
            time = datetime.fromisoformat(time)
        if isinstance(time, datetime) and time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
        found = to_ms(time)
    except ValueError as error:
        raise ValueError(
            f"scene: expected a time like 2016-07-18T20:37:06.339, got {time!r}; use ISO 8601"
        ) from error
    if np.isnat(found):
        raise ValueError("scene: expected a time, got NaT; state the scene's UTC time")
    return found
