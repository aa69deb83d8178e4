"""STAC records beside the products: an item a month, a collection a glacier, one catalogue.

Plain JSON with relative links, readable without a server (docs/products.md). STAC 1.1 with
the projection and file extensions; nothing in it depends on when or where it was written.
"""

from __future__ import annotations

import calendar
from typing import TYPE_CHECKING, Any

import hmavel
from hmavel.atomic import write_json
from hmavel.product.cf import GEOGRAPHIC
from hmavel.product.placement import corners, footprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hmavel._types import Grid

STAC_VERSION = "1.1.0"
#: Its id and address under https://stac-extensions.github.io.
_EXTENSIONS = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
}
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_TYPES = {
    ".tif": _COG,
    ".nc": "application/netcdf",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".zarr": "application/vnd+zarr",
    ".json": "application/json",
    ".png": "image/png",
}
#: What a file is for, where it is not the data.
_ROLES = {".json": ["metadata"], ".png": ["overview"]}
CATALOG, COLLECTION = "catalog.json", "collection.json"
#: Of the images; that of the products is their maker's to choose.
_LICENCE = {
    "rel": "license",
    "href": "https://www.usgs.gov/information-policies-and-instructions/copyrights-and-credits",
    "type": "text/html",
    "title": "Landsat images: public domain of the United States",
}
#: Of SHA-256 in a multihash: its code and its length.
_MULTIHASH = "1220"


def write_stac(
    folder: Path,
    *,
    title: str,
    description: str,
    grid: Grid,
    months: Mapping[str, Path],
    bands: Mapping[str, tuple[str, str]],
    others: Mapping[str, tuple[Path, str]],
    sums: Mapping[str, Sequence[Any]],
    properties: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Write ``velocity_YYYY-MM.json`` beside each month's file and ``collection.json``.

    Parameters
    ----------
    folder
        Of the products; its name is the id of the collection.
    title, description
        Of the collection.
    grid
        Of every month's file.
    months
        "YYYY-MM" -> the month's GeoTIFF, in order of time.
    bands
        Name -> (unit, meaning) of the bands of these.
    others
        Key -> (file, title): what covers all months, such as the cube.
    sums
        File name -> [bytes, SHA-256], for the files that have one (``state.sums``).
    properties
        "YYYY-MM" -> more properties of the item, such as how much was measured.

    Returns
    -------
    list of Path
        The items in order of time, then the collection.

    Raises
    ------
    WriteError
        A file cannot be written.
    """
    name = folder.name
    box = [round(value, 6) for value in footprint(grid, GEOGRAPHIC)]
    ring = [[round(x, 6), round(y, 6)] for x, y in corners(grid, GEOGRAPHIC)]
    place = {
        "proj:code": grid.crs.to_string(),
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
        "proj:bbox": list(grid.bounds),
    }
    described = [
        {"name": key, "description": about, "unit": unit, "data_type": "float32",
         "nodata": "nan"}
        for key, (unit, about) in bands.items()
    ]  # fmt: skip
    written, item_links = [], []
    for month, path in months.items():
        start, end = _span(month)
        item = {
            "type": "Feature",
            "stac_version": STAC_VERSION,
            "stac_extensions": list(_EXTENSIONS.values()),
            "id": f"{name}_{month}",
            "collection": name,
            "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
            "bbox": box,
            "properties": {
                "title": f"{title}, {month}",
                "datetime": None,
                "start_datetime": start,
                "end_datetime": end,
                "gsd": grid.pixel if grid.crs.is_projected else 120,
                **place,
                **((properties or {}).get(month, {})),
            },
            "links": [
                _link("root", f"../{CATALOG}"),
                _link("parent", f"./{COLLECTION}"),
                _link("collection", f"./{COLLECTION}"),
            ],
            "assets": {
                "velocity": {
                    **_asset(path, folder, "monthly velocity", sums, ["data"]),
                    "bands": described,
                },
            },
        }
        written.append(folder / f"{path.stem}.json")
        write_json(written[-1], item)
        item_links.append(_link("item", f"./{written[-1].name}", "application/geo+json"))
    first, last = _span(min(months))[0], _span(max(months))[1]
    collection = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(_EXTENSIONS.values()),
        "id": name,
        "title": title,
        "description": description,
        "keywords": ["glacier", "ice velocity", "Landsat", "High Mountain Asia"],
        "license": "other",
        "providers": [
            {
                "name": "U.S. Geological Survey",
                "description": "Landsat-8/9 images",
                "roles": ["licensor"],
                "url": "https://www.usgs.gov/landsat-missions",
            }
        ],
        "extent": {"spatial": {"bbox": [box]}, "temporal": {"interval": [[first, last]]}},
        "summaries": {"proj:code": [place["proj:code"]], "software": [_software()]},
        "item_assets": {
            "velocity": {"type": _COG, "roles": ["data"], "bands": described},
        },
        "assets": {
            key: _asset(path, folder, about, sums, _ROLES.get(path.suffix, ["data"]))
            for key, (path, about) in others.items()
        },
        "links": [
            _link("root", f"../{CATALOG}"),
            _link("parent", f"../{CATALOG}"),
            _LICENCE,
            *item_links,
        ],
    }
    write_json(folder / COLLECTION, collection)
    return [*written, folder / COLLECTION]


def write_catalog(folder: Path, collections: Sequence[Path]) -> Path:
    """Write ``catalog.json``, which leads to the collections of a run.

    Parameters
    ----------
    folder
        The output folder.
    collections
        Folders below it that have a ``collection.json``.
    """
    links = [_link("root", f"./{CATALOG}")]
    links += [
        _link("child", f"./{path.name}/{COLLECTION}") | {"title": path.name}
        for path in collections
    ]
    catalog = {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "hmavel",
        "title": "Monthly glacier velocity",
        "description": f"Glacier surface velocity from Landsat-8/9, month by month, by "
        f"{_software()}.",
        "links": links,
    }
    write_json(folder / CATALOG, catalog)
    return folder / CATALOG


def _span(month: str) -> tuple[str, str]:
    """Return the first and the last second of "YYYY-MM"."""
    days = calendar.monthrange(int(month[:4]), int(month[5:]))[1]
    return f"{month}-01T00:00:00Z", f"{month}-{days}T23:59:59Z"


def _link(rel: str, href: str, kind: str = "application/json") -> dict[str, str]:
    return {"rel": rel, "href": href, "type": kind}


def _asset(
    path: Path, folder: Path, title: str, sums: Mapping[str, Sequence[Any]], roles: list[str]
) -> dict[str, Any]:
    href = path.relative_to(folder).as_posix()
    asset = {"href": f"./{href}", "title": title, "type": _TYPES[path.suffix], "roles": roles}
    if path.name in sums:
        size, digest = sums[path.name]
        asset |= {"file:size": size, "file:checksum": _MULTIHASH + digest}
    return asset


def _software() -> str:
    return f"hmavel {hmavel.__version__}"
