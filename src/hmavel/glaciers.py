"""Glacier inventories and other polygons: read, made uniform, selected.

One schema for RGI 6, RGI 7 (glacier and complex products) and any polygon file whose
columns are named: ``id``, ``name``, ``area_km2``, ``o1region``, ``utm_epsg``, ``geometry``
(longitude and latitude, EPSG:4326). Distances are metres and are taken in the UTM zone of
the outline, never in degrees.
"""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
from shapely.geometry import box

from hmavel.errors import GlacierError
from hmavel.polygons import (
    polygonal,
    read_polygons,
    unusable,
    utm_epsg,
    why_refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

#: Columns of every frame that ``read_glaciers`` returns.
SCHEMA = ("id", "name", "area_km2", "o1region", "utm_epsg", "geometry")

#: Schema name -> column names of the known inventories, compared without regard to case.
KNOWN_COLUMNS = {
    "id": ("rgi_id", "RGIId"),
    "name": ("glac_name", "Name"),
    "area_km2": ("area_km2", "Area"),
    "o1region": ("o1region", "O1Region"),
    "utm_zone": ("utm_zone",),
}

_WGS84 = 4326
_EQUAL_AREA = 6933  # cylindrical equal-area, exact on the WGS84 ellipsoid
_MIXED_UNITS = 30.0  # stated / drawn area: hectares give 100, square metres 1e6
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\<>:\"|?*]")
_TAKEN = {"wgs84"}  # folders of the output tree that are no glacier


# ---------------------------------------------------------------- reading


def read_glaciers(
    path: str | Path,
    *,
    columns: Mapping[str, str | None] | None = None,
    crs: Any = None,
    layer: str | None = None,
    dissolve: bool = False,
) -> gpd.GeoDataFrame:
    """Read an inventory into the one schema.

    Parameters
    ----------
    path
        RGI 6, RGI 7-G or 7-C, or any polygon file.
    columns
        Schema name -> column of the file, for what is not found by itself, such as
        ``{"id": "GGI_ID"}``; ``{"area_km2": None}`` ignores a stated area.
    crs, layer
        As in `read_polygons`.
    dissolve
        Unite the polygons of one id (an outline stored in parts). Without it, an id with
        two different polygons is an error.

    Returns
    -------
    GeoDataFrame
        ``SCHEMA``'s columns, EPSG:4326, sorted by id. ``name`` and ``o1region`` are ""
        where unknown, ``area_km2`` is the inventory's figure or else the equal-area size of
        the polygon, ``utm_epsg`` the zone of the outline's centre.
        ``attrs["refused"]`` lists (id, reason) of the outlines that no UTM grid can hold:
        across the antimeridian, beyond 84 N / 80 S, wider than two zones.

    Raises
    ------
    GlacierError
        What `read_polygons` raises; no id column; an id that is missing, repeated or unfit
        as a folder name; areas in another unit; nothing usable left.
    """
    path = Path(path)
    raw = read_polygons(path, crs=crs, layer=layer)
    found = _columns(path, raw, dict(columns or {}))
    geometry = polygonal(raw.geometry.to_crs(_WGS84))
    ids = [safe_id(value, path) for value in raw[found["id"]]]
    frame = gpd.GeoDataFrame(
        {
            "id": ids,
            "name": _text(raw, found.get("name")),
            "area_km2": _numbers(raw, found.get("area_km2")),
            "o1region": [_region(v) for v in _text(raw, found.get("o1region"))],
            "utm_zone": _numbers(raw, found.get("utm_zone")),
        },
        geometry=geometry.array,
        crs=_WGS84,
    )
    frame = _one_row_per_id(path, frame, dissolve)
    reasons = [why_refused(g) for g in frame.geometry]
    refused = [(i, why) for i, why in zip(frame["id"], reasons, strict=True) if why]
    for name, why in refused:
        log.warning("glaciers %s: %s is left out: %s", path.name, name, why)
    frame = frame[[not why for why in reasons]]
    if not len(frame):
        raise unusable(path, "outlines that a UTM grid can hold", refused[0][1], "split them")
    frame = frame.sort_values("id", kind="stable").reset_index(drop=True)
    frame["area_km2"] = _areas(path, frame)
    frame["utm_epsg"] = _zones(frame)
    frame = frame[list(SCHEMA)]
    frame.attrs["refused"] = refused
    return frame


def safe_id(value: Any, path: str | Path = "id") -> str:
    """Return the id as text, if it can name a folder on every system; raise otherwise.

    Raises
    ------
    GlacierError
        Empty, with a slash or another character that a file system refuses, starting with
        a dot, longer than 120 characters, or the name of another output folder.
    """
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if isinstance(value, float) and not missing and value.is_integer():
        value = int(value)  # a numeric id column with gaps is read as float
    text = "" if missing else str(value).strip()
    bad = (
        not text
        or len(text) > 120
        or text[0] in ".~-"
        or text[-1] == "."
        or _UNSAFE.search(text) is not None
        or text.casefold() in _TAKEN
    )
    if bad:
        raise unusable(
            path,
            "glacier ids that can name a folder",
            repr(text),
            "choose another id column, or rename it",
        )
    return text


# ---------------------------------------------------------------- choosing


def select(
    glaciers: gpd.GeoDataFrame,
    *,
    min_area_km2: float = 10.0,
    ids: Iterable[str] | None = None,
    regions: Iterable[str | int] | None = None,
    bbox: Sequence[float] | None = None,
) -> gpd.GeoDataFrame:
    """Choose the glaciers to work on; every criterion given must hold.

    Parameters
    ----------
    glaciers
        As `read_glaciers` returns them.
    min_area_km2
        Only larger ones (strictly). Glaciers named in ``ids`` are taken whatever their size.
    ids
        Only these.
    regions
        First-order RGI regions, ``15`` or ``"15"``.
    bbox
        (west, south, east, north), degrees: outlines that reach into it.

    Raises
    ------
    GlacierError
        An id that the inventory does not have (or that was refused: the reason is given).
    ValueError
        A bounding box that is upside down or crosses the antimeridian.
    """
    keep = np.ones(len(glaciers), bool)
    if ids is None:
        keep &= glaciers["area_km2"].to_numpy(float) > min_area_km2
    else:
        wanted = list(dict.fromkeys(str(i) for i in ids))
        keep &= glaciers["id"].isin(wanted).to_numpy(bool)
        known, refused = set(glaciers["id"]), dict(glaciers.attrs.get("refused", ()))
        for name in wanted:
            if name not in known:
                raise GlacierError(
                    "outlines",
                    name,
                    expected="an id of the inventory",
                    got=refused.get(name, f"none such among {len(known)}"),
                    hint="check the id and the inventory's version",
                )
    if regions is not None:
        keep &= glaciers["o1region"].isin([_region(r) for r in regions]).to_numpy(bool)
    if bbox is not None:
        west, south, east, north = (float(v) for v in bbox)
        if not (west < east and south < north):
            raise ValueError(
                f"select bbox: expected west < east and south < north, got {tuple(bbox)}; "
                "give two boxes for an area across the antimeridian"
            )
        keep &= glaciers.intersects(box(west, south, east, north)).to_numpy(bool)
    return glaciers[keep].reset_index(drop=True)


# ---------------------------------------------------------------- inside


def _columns(path: Path, raw: gpd.GeoDataFrame, given: dict[str, str | None]) -> dict[str, str]:
    unknown = sorted(set(given) - set(KNOWN_COLUMNS))
    if unknown:
        raise ValueError(
            f"read_glaciers columns: expected some of {', '.join(KNOWN_COLUMNS)}, "
            f"got {', '.join(unknown)}; use the schema's names as keys"
        )
    here = {str(c).casefold(): str(c) for c in raw.columns if c != raw.geometry.name}
    found: dict[str, str] = {}
    for name, candidates in KNOWN_COLUMNS.items():
        if name in given:
            column = given[name]
            if column is None:
                continue
            if column not in raw.columns:
                raise unusable(
                    path, f"a column {column!r}", _listing(here), "name one of these"
                )
            found[name] = column
            continue
        hit = next((here[c.casefold()] for c in candidates if c.casefold() in here), None)
        if hit is not None:
            found[name] = hit
    if "id" not in found:
        known = " or ".join(KNOWN_COLUMNS["id"])
        raise unusable(
            path, f"an id column ({known})", _listing(here), "map it: columns id = ..."
        )
    return found


def _listing(here: Mapping[str, str]) -> str:
    return "columns " + ", ".join(here.values()) if here else "no columns"


def _text(raw: gpd.GeoDataFrame, column: str | None) -> list[str]:
    if column is None:
        return [""] * len(raw)
    # NaN and None alike are "unknown"; v != v is true of NaN alone.
    return ["" if v is None or v != v else str(v).strip() for v in raw[column]]


def _numbers(raw: gpd.GeoDataFrame, column: str | None) -> list[float]:
    values = []
    for text in _text(raw, column):
        try:
            values.append(float(text))
        except ValueError:
            values.append(math.nan)
    return values


def _region(value: Any) -> str:
    text = str(value).strip()
    return f"{int(float(text)):02d}" if re.fullmatch(r"\d+(\.0+)?", text) else text


def _one_row_per_id(path: Path, frame: gpd.GeoDataFrame, dissolve: bool) -> gpd.GeoDataFrame:
    # Folders of a case-insensitive disk: two ids must differ by more than their case.
    key = frame["id"].str.casefold()
    same = frame.geometry.normalize().to_wkb()
    twice = key.duplicated() & same.groupby(key).transform("nunique").eq(1)
    if twice.any():
        log.info("glaciers %s: %d identical rows dropped", path.name, int(twice.sum()))
        frame, key = frame[~twice], key[~twice]
    again = key[key.duplicated()]
    if not len(again):
        return frame
    if not dissolve:
        names = ", ".join(sorted(set(frame.loc[again.index, "id"]))[:5])
        raise unusable(
            path,
            "one outline per id",
            f"{len(again)} more under ids used before ({names})",
            "choose the right id column, or dissolve outlines stored in parts",
        )
    whole = frame.groupby(key, sort=False).first()
    whole = gpd.GeoDataFrame(whole, geometry="geometry", crs=frame.crs)
    whole["geometry"] = frame.geometry.groupby(key, sort=False).agg(lambda g: g.union_all())
    # A stated area belongs to a part or to the whole: nobody can tell, so it is measured.
    whole.loc[list(set(again)), "area_km2"] = math.nan
    return whole.reset_index(drop=True)


def _areas(path: Path, frame: gpd.GeoDataFrame) -> NDArray[np.float64]:
    drawn = frame.geometry.to_crs(_EQUAL_AREA).area.to_numpy(float) / 1e6
    stated = frame["area_km2"].to_numpy(float)
    known = np.isfinite(stated) & (stated > 0) & (drawn > 0)
    if known.any():
        ratio = float(np.median(stated[known] / drawn[known]))
        if not 1 / _MIXED_UNITS < ratio < _MIXED_UNITS:
            raise unusable(
                path,
                "areas in km2",
                f"values {ratio:.3g} times the polygons' size",
                "map another column, or none (area_km2 = None) to have them measured",
            )
    return np.asarray(np.where(known, stated, drawn), dtype=np.float64)


def _zones(frame: gpd.GeoDataFrame) -> list[int]:
    codes = []
    for outline, stated in zip(frame.geometry, frame["utm_zone"], strict=True):
        code = utm_epsg(outline)
        zone = code % 100
        # RGI 7 states a zone; it is followed unless it is far from where the outline lies.
        if 1 <= stated <= 60 and min(abs(stated - zone), 60 - abs(stated - zone)) <= 1:
            code = code - zone + int(stated)
        codes.append(code)
    return codes
