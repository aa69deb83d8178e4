"""Landsat product names and MTL metadata: what a scene says of itself beside its pixels."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hmavel.errors import ReadError, SceneError
from hmavel.tars import MOST_TEXT, read_member
from hmavel.vsi import shown, tar_of

Groups = dict[str, dict[str, str]]

#: Collection 1 and 2: LC08_L1TP_140041_20130503_20200912_02_T1, with _SR or _ST in STAC ids.
#: The processing date may be missing (STAC), and all but sensor, path/row and date (GEE).
_COLLECTION = re.compile(
    r"(?P<sensor>L[A-Z]\d{2})_(?:(?P<level>L\d[A-Z]{2})_)?(?P<path>\d{3})(?P<row>\d{3})"
    r"_(?P<date>\d{8})(?!\d)(?:_(?P<processed>\d{8})(?!\d))?"
    r"(?:_(?P<collection>\d{2})_(?P<tier>T1|T2|RT))?"
)
#: Before the collections: LC80630182016200LGN00, sensor, path, row, year, day of the year.
_SCENE = re.compile(
    r"(?P<sensor>L[A-Z]\d)(?P<path>\d{3})(?P<row>\d{3})(?P<year>\d{4})(?P<day>\d{3})"
    r"(?P<station>[A-Z]{3}\d{2})"
)
#: Whole-scene shares of cloud, the better one first.
_CLOUD = ("CLOUD_COVER_LAND", "CLOUD_COVER")


@dataclass(frozen=True)
class ProductId:
    """The parts of a Landsat product's name; "" for what the name leaves out."""

    id: str  #: the part of the name that was the id
    sensor: str  #: "LC08": letter and two digits in all kinds of names
    wrs: tuple[int, int]  #: WRS-2 (path, row)
    date: str  #: acquisition, UTC, YYYYMMDD
    level: str = ""  #: "L1TP", "L1GT", "L2SP", ...
    processed: str = ""  #: YYYYMMDD
    collection: str = ""  #: "02"
    tier: str = ""  #: "T1", "T2", "RT"

    @property
    def acquisition(self) -> tuple[str, tuple[int, int], str]:
        """What every processing of one acquisition has in common."""
        return self.sensor, self.wrs, self.date

    def agrees(self, other: ProductId) -> bool:
        """Say whether two names can stand for one product: no part contradicts another."""
        parts = ("level", "processed", "collection", "tier")
        return self.acquisition == other.acquisition and all(
            not getattr(self, part)
            or not getattr(other, part)
            or getattr(self, part) == getattr(other, part)
            for part in parts
        )


@dataclass(frozen=True)
class Metadata:
    """What an MTL file says that this program uses."""

    path: Path
    product: ProductId  #: from the product id, or the scene id before the collections
    scene_id: str  #: "LC80630182016200LGN00", "" where the MTL has none
    time: np.datetime64  #: scene centre, UTC, milliseconds
    level: str  #: "L1TP", "L1GT", "L2SP", ...; the old "L1T" is "L1TP"
    tier: str
    processed: str  #: YYYYMMDD
    wrs: tuple[int, int]
    sun_azimuth: float  #: degrees clockwise from north, NaN where missing
    sun_elevation: float  #: degrees above the horizon, NaN where missing
    cloud_cover: float | None  #: percent of the land, else of the scene; None where missing
    files: Mapping[str, str]  #: "B1" ... "B11", "QA_PIXEL", "QA_RADSAT", "BQA" -> file name
    reflectance: Mapping[str, tuple[float, float]]  #: band -> (multiplicative, additive)
    groups: Mapping[str, Mapping[str, str]]  #: everything, as text


def parse_product_id(name: str) -> ProductId | None:
    """Find the Landsat product id in a file or folder name.

    Parameters
    ----------
    name
        A name that starts with an id and may go on: ``LC80630182016200LGN00_B8_yahtse.TIF``.
        Collection-1/2 products, STAC items (no processing date), Earth Engine images
        (``LC08_140041_20130503``, with or without its shard or prefix) and pre-collection
        scenes.

    Returns
    -------
    ProductId or None
        None when there is no id in the name or its date is not a date.
    """
    stem = re.sub(r"^.*/", "", name)
    if match := re.search(rf"(?<![A-Za-z0-9]){_COLLECTION.pattern}", stem):
        part = match.groupdict(default="")
        day = _valid_date(part["date"])
        sensor = part["sensor"]
    elif match := re.search(rf"(?<![A-Za-z0-9]){_SCENE.pattern}", stem):
        part = match.groupdict(default="")
        day = _valid_day(int(part["year"]), int(part["day"]))
        sensor = f"{part['sensor'][:2]}0{part['sensor'][2]}"
    else:
        return None
    if not day:
        return None
    return ProductId(
        id=match.group(),
        sensor=sensor,
        wrs=(int(part["path"]), int(part["row"])),
        date=day,
        **{key: part.get(key, "") for key in ("level", "processed", "collection", "tier")},
    )


def read_mtl(path: str | os.PathLike[str]) -> Metadata:
    """Read an MTL file, ``.txt`` or ``.json``, of Collection 1 or 2 or from before.

    Also as a member of a tar, by the name that ``vsi.in_tar`` gives it.

    Returns
    -------
    Metadata

    Raises
    ------
    ReadError
        The file is missing, cut off, or not an MTL.
    SceneError
        It has no id, no acquisition time, no path and row, or a value that is not a number.
    """
    path = Path(path)
    if tar_of(path) is not None:
        return parse_mtl(path, read_member(path).decode("utf-8", errors="replace"))
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(MOST_TEXT)  # an MTL has some 20 KB
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    return parse_mtl(path, text)


def parse_mtl(path: Path, text: str) -> Metadata:
    """Understand the text of an MTL file; ``path`` tells its form and names it in errors.

    See `read_mtl` for what comes out and what is raised.
    """
    groups = _from_json(path, text) if path.suffix.lower() == ".json" else _from_odl(path, text)
    contents = groups.get("PRODUCT_CONTENTS") or groups.get("PRODUCT_METADATA") or {}
    image = groups.get("IMAGE_ATTRIBUTES", {})
    records = [
        groups.get(name, {})
        for name in ("LEVEL1_PROCESSING_RECORD", "METADATA_FILE_INFO", "PRODUCT_METADATA")
    ]
    # The first to have it wins: a Level-2 MTL repeats the ids and dates of its Level-1 input.
    own = [contents, groups.get("LEVEL2_PROCESSING_RECORD", {}), image, *records]

    scene_id = _first("LANDSAT_SCENE_ID", own)
    name = _first("LANDSAT_PRODUCT_ID", own) or scene_id
    product = parse_product_id(name)
    if product is None:
        raise _lacking(path, "a Landsat product id", repr(name) if name else "none")
    level = _first("PROCESSING_LEVEL", own) or _first("DATA_TYPE", own)
    made = _first("DATE_PRODUCT_GENERATED", own) or _first("FILE_DATE", own)
    try:
        wrs = (int(_first("WRS_PATH", own)), int(_first("WRS_ROW", own)))
        sun = {key: float(image.get(key, "nan")) for key in ("SUN_AZIMUTH", "SUN_ELEVATION")}
        cloud = [float(image[key]) for key in _CLOUD if key in image]
        coefficients = _coefficients(groups, level)
    except ValueError as error:
        wanted = "numbers for path, row, sun, cloud and coefficients"
        raise _lacking(path, wanted, str(error)) from error
    return Metadata(
        path=path,
        product=product,
        scene_id=scene_id,
        time=_time(path, _first("DATE_ACQUIRED", own), _first("SCENE_CENTER_TIME", own)),
        level="L1TP" if level == "L1T" else level,
        tier=product.tier or _first("COLLECTION_CATEGORY", own),
        processed=product.processed or re.sub(r"T.*|-", "", made),
        wrs=wrs,
        sun_azimuth=sun["SUN_AZIMUTH"],
        sun_elevation=sun["SUN_ELEVATION"],
        # -1 says that there is no figure: of the land, in a scene of the sea
        cloud_cover=next((share for share in cloud if share >= 0), None),
        files=_files(contents),
        reflectance=coefficients,
        groups=groups,
    )


def overpass_time(day: np.datetime64, longitude: float, latitude: float) -> np.datetime64:
    """Estimate when Landsat 8 or 9 passed over a place on a day, for scenes without a time.

    Parameters
    ----------
    day
        The UTC date of the acquisition, as product names have it.
    longitude, latitude
        Degrees.

    Returns
    -------
    datetime64[ms]
        UTC. Within 3 minutes of the MTL's time for the three real scenes of the tests
        (13, 60 and 72 degrees north); the orbit's node is allowed to wander by 15 minutes.

    Notes
    -----
    The orbit is sun-synchronous: its descending node is at 10:11 local mean solar time, its
    inclination 98.2 degrees. On the way down, at latitude f, the satellite stands
    asin(tan f / tan 81.8) of longitude east of the node, in inertial space, and local time is
    later by that angle.
    """
    node_hours, inclination = 10.0 + 11.0 / 60.0, 98.2
    ratio = math.tan(math.radians(latitude)) / math.tan(math.radians(180.0 - inclination))
    east = math.degrees(math.asin(max(-1.0, min(1.0, ratio))))
    hours = (node_hours + east / 15.0 - longitude / 15.0) % 24.0
    midnight = to_ms(np.datetime_as_string(day, unit="D"))
    return midnight + np.timedelta64(round(hours * 3_600_000), "ms")


def to_ms(time: Any) -> np.datetime64:
    """Return a datetime64, a datetime without zone or ISO text in milliseconds."""
    found: np.datetime64 = np.datetime64(time, "ms")
    return found


def _from_odl(path: Path, text: str) -> Groups:
    """Parse the ``KEY = VALUE`` lines between ``GROUP`` and ``END_GROUP``."""
    groups: Groups = {}
    stack: list[str] = []
    ended = False
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            stack.append(value)
        elif key == "END_GROUP":
            if not stack or stack.pop() != value:
                raise _unreadable(path, f"END_GROUP = {value} without its beginning")
        elif key == "END":
            ended = True
            break
        elif equals and stack:
            groups.setdefault(stack[-1], {})[key] = value.strip('"')
    if not groups:
        raise _unreadable(path, "no GROUP in it")
    if stack or not ended:
        raise _unreadable(path, "a file that stops before its END")
    return groups


def _from_json(path: Path, text: str) -> Groups:
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, f"JSON that breaks off or is wrong: {error}") from error
    roots = ("LANDSAT_METADATA_FILE", "L1_METADATA_FILE")
    root = next((content[r] for r in roots if isinstance(content, dict) and r in content), None)
    if not isinstance(root, dict):
        raise _unreadable(path, f"JSON without {' or '.join(roots)}")
    return {
        group: {key: str(value) for key, value in keys.items()}
        for group, keys in root.items()
        if isinstance(keys, dict)
    }


def _first(key: str, groups: list[dict[str, str]]) -> str:
    return next((group[key] for group in groups if key in group), "")


def _files(contents: Mapping[str, str]) -> dict[str, str]:
    names = {
        "FILE_NAME_QUALITY_L1_PIXEL": "QA_PIXEL",
        "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": "QA_RADSAT",
        "FILE_NAME_BAND_QUALITY": "BQA",
    }
    files = {}
    for key, value in contents.items():
        if match := re.fullmatch(r"FILE_NAME_BAND_(\d+)", key):
            files[f"B{match[1]}"] = value
        elif key in names:
            files[names[key]] = value
    return files


def _coefficients(groups: Groups, level: str) -> dict[str, tuple[float, float]]:
    """Read the reflectance scaling of the product's own level (a Level-2 MTL has both)."""
    if level.startswith("L2"):
        group = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", {})
    else:
        old = groups.get("RADIOMETRIC_RESCALING", {})
        group = groups.get("LEVEL1_RADIOMETRIC_RESCALING", old)
    found = {}
    for key, value in group.items():
        if match := re.fullmatch(r"REFLECTANCE_MULT_BAND_(\d+)", key):
            add = group.get(f"REFLECTANCE_ADD_BAND_{match[1]}", "nothing to add")
            found[f"B{match[1]}"] = (float(value), float(add))
    return found


def _time(path: Path, day: str, clock: str) -> np.datetime64:
    try:
        if not day or not clock:
            raise ValueError
        fine = np.datetime64(f"{day}T{clock.rstrip('Z')}", "ns")
    except ValueError:
        got = f"{day or 'no date'} and {clock or 'no time'}"
        raise _lacking(path, "DATE_ACQUIRED and SCENE_CENTER_TIME", got) from None
    return to_ms(fine + np.timedelta64(500_000, "ns"))


def _valid_date(text: str) -> str:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return ""
    return text


def _valid_day(year: int, day: int) -> str:
    if year < 1 or not 1 <= day <= 366:
        return ""
    found = date(year, 1, 1) + timedelta(days=day - 1)
    return found.strftime("%Y%m%d") if found.year == year else ""


def _unreadable(path: Path, got: str) -> ReadError:
    return ReadError(
        "read", shown(path), expected="a complete MTL file", got=got, hint="fetch the MTL again"
    )


def _lacking(path: Path, expected: str, got: str) -> SceneError:
    return SceneError(
        "scene", shown(path), expected=expected, got=got, hint="fetch the MTL again"
    )
