"""What a STAC item says of a Landsat scene, and what has to be asked of its files."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hmavel._types import Grid, Scene
from hmavel.errors import HmavelError
from hmavel.landsat import day_time
from hmavel.mtl import Metadata, ProductId, parse_mtl, parse_product_id, to_ms
from hmavel.plain import KNOWN, LEVEL_1, PIXEL_M, centre, check_grid
from hmavel.raster import read_grid
from hmavel.scene_files import band_of, scene_error
from hmavel.state import fingerprint
from hmavel.sun import sun_position
from hmavel.vsi import DELAY_S, RETRIES, is_virtual, remote, shown

if TYPE_CHECKING:
    import pystac

log = logging.getLogger(__name__)

#: Of every Collection-2 Level-2 product (Data Format Control Book).
_LEVEL_2 = (2.75e-5, -0.2)
#: Keys and common names of assets whose file names say nothing.
_COMMON = {
    "pan": "B8", "blue": "B2", "green": "B3", "red": "B4", "nir08": "B5", "swir16": "B6",
    "swir22": "B7", "qa_pixel": "QA_PIXEL", "qa_radsat": "QA_RADSAT",
}  # fmt: skip
_USED = frozenset(KNOWN) - {"B1", "B9"}
_NAN = float("nan")


@dataclass(frozen=True)
class ItemOptions:
    """How items become scenes."""

    alternate: str = ""  #: name of the assets' other addresses to use, such as "s3"
    retries: int = RETRIES  #: how often a read is tried again
    delay_s: float = DELAY_S  #: pause before the first time, doubled each time
    headers: bool = False  #: read where Band 8 lies in its header, whatever the item states


def item_scene(
    item: pystac.Item, options: ItemOptions, *, read_text: Callable[[str], str]
) -> Scene:
    """Make the scene of an item, from its properties as far as they go.

    Parameters
    ----------
    item
        Of Landsat-8/9 Level 1; or of Level 2, which has no Band 8 and lends its bands.
    options
        Where its bands are, and how patiently they are read.
    read_text
        Fetches an MTL, by its address. Called only when the item lacks the time of day or the
        sun's elevation.

    Returns
    -------
    Scene
        With names for GDAL as ``bands`` (files, for a catalogue on disk). The grid is that of
        the item's ``proj:`` fields; where Band 8 has none of its own, its header is read.

    Raises
    ------
    SceneError
        Not Landsat 8 or 9, no asset of Band 8, no date, no file where an asset should be.
    ReadError
        There is no projection, and the header of Band 8 cannot be read.
    """
    bands, fields, mtl = _assets(item, options)
    product = _product(item, bands)
    level = product.level or str(item.properties.get("landsat:correction", ""))
    lender = level.startswith("L2")
    for band in [b for b, file in bands.items() if not (is_virtual(file) or file.is_file())]:
        gone = bands.pop(band)
        if band == "B8":
            raise scene_error(item.id, f"{band}, {gone}", "no such file", "mend the catalogue")
        log.warning("stac %s: no file %s; used without it", item.id, gone)
    if "B8" not in bands and not lender:
        got = ", ".join(sorted(bands)) or "none of Landsat's bands"
        raise scene_error(item.id, "an asset of Band 8", got, "use the Level-1 collection")
    if not bands:
        raise scene_error(item.id, "assets of bands", "none", "leave it out")
    first = "B8" if "B8" in bands else min(bands)
    path = bands[first]
    grid = read_grid(path) if options.headers else _grid(item, first, path, fields[first])
    if first == "B8":
        check_grid(path, grid)
    time, sun = _time_and_sun(item, grid, mtl, read_text)
    scaling = _LEVEL_2 if lender else LEVEL_1
    properties = item.properties
    version = fingerprint(
        properties.get("updated") or properties.get("created"),
        {band: shown(file) for band, file in bands.items()},
    )
    return Scene(
        id=product.id,
        time=time,
        path=path,
        bands=bands,
        grid=grid,
        sensor=product.sensor,
        wrs=product.wrs,
        level=level,
        tier=product.tier or str(properties.get("landsat:collection_category", "")),
        processed=product.processed,
        sun_azimuth=sun[0],
        sun_elevation=sun[1],
        cloud_cover=_cloud_cover(properties),
        reflectance={band: scaling for band in bands if band.startswith("B")},
        version=version,
    )


def _assets(
    item: pystac.Item, options: ItemOptions
) -> tuple[dict[str, Path], dict[str, Mapping[str, Any]], str]:
    """Return (band -> file, band -> its asset's further fields, address of the MTL)."""
    bands: dict[str, Path] = {}
    fields: dict[str, Mapping[str, Any]] = {}
    mtl = ""
    for key, asset in item.assets.items():
        href = asset.get_absolute_href() or asset.href
        if options.alternate:
            other = asset.extra_fields.get("alternate", {}).get(options.alternate, {})
            href = other.get("href", href)
        if re.search(r"MTL\.(json|txt)$", urlsplit(href).path, re.IGNORECASE):
            mtl = href if href.lower().endswith("json") or not mtl else mtl
            continue
        band = _band(key, href, asset.extra_fields)
        if band in _USED and band not in bands:
            bands[band] = _file(href, options)
            fields[band] = asset.extra_fields
    return bands, fields, mtl


def _band(key: str, href: str, fields: Mapping[str, Any]) -> str:
    name = unquote(urlsplit(href).path.rpartition("/")[2])
    if not name.lower().endswith((".tif", ".tiff")):
        return ""
    if found := band_of(Path(name), parse_product_id(name)):
        return found[0]
    described = fields.get("eo:bands") or fields.get("bands") or []
    words = [key, *(str(b.get("name", "")) for b in described if isinstance(b, dict))]
    for word in words:
        plain = word.lower().removesuffix(".tif")
        if plain in _COMMON:
            return _COMMON[plain]
        bare = re.sub(r"^(OLI_|SR_)", "", plain.upper())
        if bare in KNOWN:
            return bare
    return ""


def _file(href: str, options: ItemOptions) -> Path:
    kind = urlsplit(href).scheme
    if kind in ("http", "https", "s3") or href.startswith("/vsi"):
        return remote(href, retries=options.retries, delay_s=options.delay_s)
    return Path(unquote(urlsplit(href).path)) if kind == "file" else Path(href)


def _product(item: pystac.Item, bands: Mapping[str, Path]) -> ProductId:
    names = [item.id, *(shown(file).rpartition("/")[2] for _, file in sorted(bands.items()))]
    found = [product for name in names if (product := parse_product_id(name)) is not None]
    if not found:
        raise scene_error(item.id, "a Landsat product id", "none in item or assets",
                          "leave it out")  # fmt: skip
    # An item's own id lacks the processing date, which its files' names have.
    best = max(found, key=lambda product: (len(product.id), product.id))
    best = best if best.agrees(found[0]) else found[0]
    if not re.fullmatch(r"L[CO]0[89]", best.sensor):
        raise scene_error(item.id, "a Landsat-8 or -9 OLI scene", best.sensor, "leave it out")
    return best


def _grid(item: pystac.Item, band: str, path: Path, own: Mapping[str, Any]) -> Grid:
    """Return the grid that the item states for a band, else the one in the file."""
    stated = _stated(item.properties, own)
    # The item's own fields may be those of its 30 m bands: then they are not B8's.
    if stated is not None and (band != "B8" or abs(stated.pixel - PIXEL_M) < 0.01):
        return stated
    log.info("stac %s: no projection of %s; its header is read", item.id, band)
    return read_grid(path)


def _stated(common: Mapping[str, Any], own: Mapping[str, Any]) -> Grid | None:
    fields = {**common, **own}
    shape, transform = fields.get("proj:shape"), fields.get("proj:transform")
    code = fields.get("proj:code") or fields.get("proj:epsg")
    try:
        rows, cols = (int(number) for number in shape or ())
        a, b, c, d, e, f = (float(number) for number in (transform or ())[:6])
        crs = CRS.from_user_input(code if isinstance(code, int) else str(code or ""))
    except (ValueError, TypeError, CRSError):
        return None
    if b or d or a <= 0 or e >= 0 or min(rows, cols) < 1:
        return None
    return Grid(crs, Affine(a, 0.0, c, 0.0, e, f), (rows, cols))


def _time_and_sun(
    item: pystac.Item, grid: Grid, mtl: str, read_text: Callable[[str], str]
) -> tuple[np.datetime64, tuple[float, float]]:
    azimuth = item.properties.get("view:sun_azimuth", item.properties.get("eo:sun_azimuth"))
    elevation = item.properties.get(
        "view:sun_elevation", item.properties.get("eo:sun_elevation")
    )
    stamp = item.datetime or item.common_metadata.start_datetime
    # A date alone becomes midnight, when Landsat sees nothing.
    whole = stamp is not None and (stamp.hour, stamp.minute, stamp.second) != (0, 0, 0)
    if not (whole and elevation is not None) and (found := _metadata(item, mtl, read_text)):
        return found.time, (found.sun_azimuth, found.sun_elevation)
    if stamp is None:
        raise scene_error(item.id, "a datetime", "none", "leave it out")
    time = to_ms(stamp.replace(tzinfo=None))
    if not whole:
        time = day_time(item.id, time.astype("datetime64[D]"), grid)
    if elevation is None:
        return time, sun_position(time, *centre(grid))
    return time, (_NAN if azimuth is None else float(azimuth), float(elevation))


def _cloud_cover(properties: Mapping[str, Any]) -> float | None:
    """Return the share of the land, else of the scene; a server may state it as -1 or null."""
    for name in ("landsat:cloud_cover_land", "eo:cloud_cover"):
        value = properties.get(name)
        if isinstance(value, int | float) and 0 <= value <= 100:
            return float(value)
    return None


def _metadata(
    item: pystac.Item, mtl: str, read_text: Callable[[str], str]
) -> Metadata | None:
    if not mtl or urlsplit(mtl).scheme == "s3":
        return None
    try:
        return parse_mtl(Path(urlsplit(mtl).path), read_text(mtl))
    except (HmavelError, OSError, ValueError) as error:
        log.warning("stac %s: its MTL cannot be used: %s", item.id, error)
    except Exception as error:  # what a server's silence makes of requests and pystac
        log.warning("stac %s: its MTL cannot be fetched: %s", item.id, error)
    return None
