"""Images exported from Google Earth Engine: one band or many, whole or in shards.

A large export comes as ``name-0000000000-0000000000.tif``, ``name-0000000000-0000032768.tif``,
...: the row and column at which each shard begins. An image exported band by band comes as
``name_B8.tif`` or ``name.B8.tif``. Many bands in one file carry their names as descriptions.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmavel._types import Scene
from hmavel.acquisitions import Rejected
from hmavel.errors import HmavelError, ReadError
from hmavel.mtl import parse_product_id
from hmavel.plain import KNOWN, plain_scene
from hmavel.raster import open_raster
from hmavel.raster_mosaic import write_mosaic
from hmavel.scene_files import scene_error
from hmavel.tables import number, path_row, read_table, sun_place, when

log = logging.getLogger(__name__)

_NAME = re.compile(
    r"(?P<image>.+?)(?:[._-](?:SR_)?(?P<band>B\d{1,2}|QA_PIXEL|QA_RADSAT))?"
    r"(?P<shard>-\d{10}-\d{10})?\.tiff?",
    re.IGNORECASE,
)
_ID = ("system:index", "id", "name", "file", "landsat_product_id")
_TIME = ("system:time_start", "time", "date", "date_acquired")

Row = dict[str, str]


class _Image(NamedTuple):
    folder: Path
    name: str  #: of the files, without band, shard and suffix


def open_exports(folder: Path, work: Path) -> tuple[list[Scene], list[Rejected]]:
    """Open the exported images below a folder.

    Parameters
    ----------
    folder
        Searched to the bottom. CSV files in it (an export of the images' properties) may give
        what the files lack, by ``system:index`` (or ``id``, ``name``, ``file``):
        ``system:time_start`` (or ``time``, ``date``), ``SUN_ELEVATION``, ``SUN_AZIMUTH``,
        ``WRS_PATH``, ``WRS_ROW``, ``PROCESSING_LEVEL``, ``REFLECTANCE_MULT_BAND_n``.
    work
        Where mosaics of shards are written, a few kilobytes each.

    Returns
    -------
    (scenes, rejected)
        Every image is in one of the two. Integers are taken for DN, floats for
        top-of-atmosphere reflectances, unless a table gives coefficients.

    Raises
    ------
    ReadError
        The folder does not exist.
    """
    if not folder.is_dir():
        raise ReadError(
            "scenes", folder, expected="a folder of Earth Engine exports", got="no such folder",
            hint="check scenes.earth_engine",
        )  # fmt: skip
    images: dict[_Image, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    rejected: list[Rejected] = []
    properties: dict[str, Row] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() == ".csv":
            try:
                properties |= _properties(path)
            except HmavelError as error:
                rejected.append(Rejected(path, str(error)))
        elif match := _NAME.fullmatch(path.name):
            image = _Image(path.parent, match["image"])
            images[image][(match["band"] or "").upper()].append(path)
    scenes = []
    for image, files in images.items():
        try:
            scenes.append(_open(image, files, properties, work))
        except (HmavelError, ValueError) as error:
            first = min(path for paths in files.values() for path in paths)
            rejected.append(Rejected(first, str(error)))
            log.info("scenes: %s", error)
    return scenes, rejected


def _properties(table: Path) -> dict[str, Row]:
    rows = {}
    for row in read_table(table, need=(_ID, _TIME)):
        for key in _ID:
            if row.get(key):
                rows[re.sub(r"\.tiff?$", "", row[key].rpartition("/")[2])] = row
    return rows


def _open(
    image: _Image, files: Mapping[str, list[Path]], properties: Mapping[str, Row], work: Path
) -> Scene:
    product = parse_product_id(image.name)
    row = properties.get(image.name) or (properties.get(product.id) if product else None) or {}
    product = product or parse_product_id(row.get("system:index", ""))
    if product is not None and not re.fullmatch(r"L[CO]0[89]", product.sensor):
        raise scene_error(
            image.folder / image.name, "an image of Landsat 8 or 9", product.sensor,
            "leave it out",
        )  # fmt: skip
    moment, day = _when(row)
    if moment is None and day is None and product is not None:
        moment, day = when(product.date)
    bands: dict[str, Path] = {}
    for band, parts in files.items():
        path = _whole(image, band, parts, work)
        bands |= dict.fromkeys(_bands(path, band), path)
    return plain_scene(
        product.id if product else image.name,
        min(files.get("B8") or files.get("") or next(iter(files.values()))),
        bands,
        time=moment,
        day=day,
        product=product,
        wrs=path_row(row),
        level=row.get("processing_level", ""),
        sun=sun_place(row, "sun_azimuth", "sun_elevation"),
        coefficients=_coefficients(row, bands),
    )


def _when(row: Row) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    text = next((row[key] for key in _TIME if row.get(key)), "")
    if text and len(text) <= 10 and row.get("scene_center_time"):
        text = f"{text}T{row['scene_center_time'].rstrip('Z')[:15]}"
    return when(text) if text else (None, None)


def _coefficients(row: Row, bands: Mapping[str, Path]) -> dict[str, tuple[float, float]] | None:
    found = {}
    for band in bands:
        scale = number(row.get(f"reflectance_mult_band_{band[1:]}", ""), "REFLECTANCE_MULT")
        offset = number(row.get(f"reflectance_add_band_{band[1:]}", ""), "REFLECTANCE_ADD")
        if scale is not None and offset is not None:
            found[band] = (scale, offset)
    return found or None


def _whole(image: _Image, band: str, parts: list[Path], work: Path) -> Path:
    if len(parts) == 1 and not re.search(r"-\d{10}-\d{10}\.", parts[0].name):
        return parts[0]
    # Two folders may hold images of one name.
    place = hashlib.sha256(str(image.folder.absolute()).encode()).hexdigest()[:8]
    name = f"{image.name}{'_' * bool(band)}{band}_{place}.vrt"
    first = re.search(r"-(\d{10})-(\d{10})\.", min(parts).name)
    if first is None or set(first.groups()) != {"0" * 10}:
        raise scene_error(
            min(parts), "a first shard, -0000000000-0000000000", min(parts).name,
            "fetch all shards",
        )  # fmt: skip
    return write_mosaic(work / name, parts)


def _bands(path: Path, band: str) -> Iterator[str]:
    if band:
        yield band
        return
    with open_raster(path) as reader:
        names = [text.upper().removeprefix("SR_") for text in reader.descriptions]
    yield from (name for name in names if name in KNOWN)
    if len(names) == 1 and names[0] not in KNOWN:
        yield "B8"  # a lone band without a name: what else would be given?
