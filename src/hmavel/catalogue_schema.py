"""How scenes, decisions and pairs stand in the catalogue's tables, and the tables themselves.

``docs/catalogue.md`` explains the columns to those who read the file with another program.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from hmavel._types import Grid, Scene
from hmavel.finite import without_nan
from hmavel.screening import Decision

Value = TypeVar("Value")

#: Marks a catalogue among SQLite files: "hmav".
APPLICATION = 0x686D6176
#: Of the tables below. A change that an older hmavel would misread raises it.
VERSION = 2

#: States of an item of the archive.
USED, LEFT_OUT, GONE = "used", "left out", "gone"
#: State of a pair that nothing has been done about yet; a run adds its own.
PLANNED = "planned"

#: Columns of a decision beside its scene and glacier.
DECIDED = [field.name for field in fields(Decision) if field.name[-3:] != "_id"]

_SQL_TYPES = {"str": "TEXT", "bool": "INTEGER", "float": "REAL"}
_decided = ", ".join(
    f"{field.name} {_SQL_TYPES[str(field.type)]}"
    for field in fields(Decision)
    if field.name in DECIDED
)
SCHEMA = f"""
CREATE TABLE scenes (
  key INTEGER PRIMARY KEY, item TEXT NOT NULL UNIQUE, facts TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL,
  id TEXT, time TEXT, sensor TEXT, wrs_path INTEGER, wrs_row INTEGER, level TEXT, tier TEXT,
  processed TEXT, sun_azimuth REAL, sun_elevation REAL, cloud_cover REAL, path TEXT, bands TEXT,
  reflectance TEXT, level_30m TEXT, version TEXT, crs TEXT, transform TEXT, rows INTEGER,
  cols INTEGER, own TEXT
) STRICT;
CREATE TABLE frames (
  scene INTEGER PRIMARY KEY REFERENCES scenes ON DELETE CASCADE, footprint BLOB NOT NULL
) STRICT;
CREATE INDEX scenes_by_id ON scenes (id);
CREATE TABLE glaciers (
  key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT, area_km2 REAL, o1region TEXT,
  utm_epsg INTEGER, outline BLOB NOT NULL, screened_with TEXT
) STRICT;
CREATE TABLE touches (
  glacier INTEGER NOT NULL REFERENCES glaciers ON DELETE CASCADE,
  scene INTEGER NOT NULL REFERENCES scenes ON DELETE CASCADE,
  PRIMARY KEY (glacier, scene)
) STRICT, WITHOUT ROWID;
CREATE INDEX touches_by_scene ON touches (scene);
CREATE TABLE decisions (
  glacier INTEGER NOT NULL, scene INTEGER NOT NULL,
  {_decided},
  PRIMARY KEY (glacier, scene),
  FOREIGN KEY (glacier, scene) REFERENCES touches ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX decisions_by_scene ON decisions (scene);
CREATE TABLE pairs (
  glacier INTEGER NOT NULL REFERENCES glaciers ON DELETE CASCADE,
  reference TEXT NOT NULL, secondary TEXT NOT NULL, days REAL NOT NULL,
  chosen_for TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
  fingerprint TEXT NOT NULL, figures TEXT NOT NULL,
  PRIMARY KEY (glacier, reference, secondary)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
  stage TEXT NOT NULL, item TEXT NOT NULL, state TEXT NOT NULL, fingerprint TEXT NOT NULL,
  content TEXT NOT NULL, changed TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
  PRIMARY KEY (stage, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_by_state ON records (stage, state);
CREATE VIEW glacier_summary AS
  SELECT g.id AS glacier, g.name, g.area_km2, count(d.scene) AS screened,
         coalesce(sum(d.accepted), 0) AS accepted, avg(d.cloud) AS cloud,
         avg(d.qa_cloud) AS qa_cloud, avg(d.snow) AS snow
  FROM glaciers g LEFT JOIN decisions d ON d.glacier = g.key GROUP BY g.key;
CREATE VIEW scene_summary AS
  SELECT s.id AS scene, s.time, count(d.glacier) AS screened,
         coalesce(sum(d.accepted), 0) AS accepted, avg(d.cloud) AS cloud,
         avg(d.qa_cloud) AS qa_cloud, avg(d.snow) AS snow
  FROM scenes s LEFT JOIN decisions d ON d.scene = s.key
  WHERE s.state = '{USED}' GROUP BY s.key;
"""
SCENE_COLUMNS = (
    "id", "time", "sensor", "wrs_path", "wrs_row", "level", "tier", "processed", "sun_azimuth",
    "sun_elevation", "cloud_cover", "path", "bands", "reflectance", "level_30m", "version",
    "crs", "transform", "rows", "cols",
)  # fmt: skip


def scene_row(scene: Scene) -> tuple[Any, ...]:
    """Return SCENE_COLUMNS of a scene."""
    wrs_path, wrs_row = scene.wrs or (None, None)
    grid = scene.grid
    known = scene.reflectance
    return (
        scene.id, str(scene.time.astype("datetime64[ms]")), scene.sensor, wrs_path, wrs_row,
        scene.level, scene.tier, scene.processed, plain(scene.sun_azimuth),
        plain(scene.sun_elevation), scene.cloud_cover, str(scene.path),
        json.dumps({name: _short(file, scene.path) for name, file in scene.bands.items()}),
        None if known is None else json.dumps({band: list(ma) for band, ma in known.items()}),
        scene.level_30m, scene.version,
        _crs_text(grid.crs), json.dumps(list(grid.transform)[:6]), *grid.shape,
    )  # fmt: skip


def row_scene(row: Sequence[Any]) -> Scene:
    """Return the scene of SCENE_COLUMNS."""
    (
        name, time, sensor, wrs_path, wrs_row, level, tier, processed, azimuth, elevation,
        cloud, path, bands, reflectance, level_30m, version, crs, transform, rows, cols,
    ) = row  # fmt: skip
    above, _, last = path.rpartition("/")
    # Most scenes lie in one folder, and to take a path apart is slow.
    place = _folder(above) / last if above and last else Path(path)
    return Scene(
        id=name,
        time=np.datetime64(time, "ms"),
        path=place,
        bands=_Bands(bands, place),
        grid=Grid(_crs(crs), Affine(*json.loads(transform)), (rows, cols)),
        sensor=sensor,
        wrs=None if wrs_path is None else (wrs_path, wrs_row),
        level=level,
        tier=tier,
        processed=processed,
        sun_azimuth=float("nan") if azimuth is None else azimuth,
        sun_elevation=float("nan") if elevation is None else elevation,
        cloud_cover=cloud,
        reflectance=None if reflectance is None else _Coefficients(reflectance),
        level_30m=level_30m,
        version=version,
    )


def own_text(scene: Scene) -> str:
    """Return what a product has of itself, where another lends it more: for ``own_scene``."""
    row = dict(zip(SCENE_COLUMNS, scene_row(scene), strict=True))
    return json.dumps([row["bands"], row["reflectance"], row["level_30m"]])


def own_scene(scene: Scene, text: str) -> Scene:
    """Return the scene as it was opened, before another product lent it bands."""
    bands, reflectance, level_30m = json.loads(text)
    return replace(
        scene,
        bands=_Bands(bands, scene.path),
        reflectance=None if reflectance is None else _Coefficients(reflectance),
        level_30m=level_30m,
    )


class _Lazy(Mapping[str, Value]):
    """A mapping that is taken apart when it is first asked for.

    A glacier has thousands of scenes, and listing them asks for none of their bands.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._content: dict[str, Value] | None = None

    def _parse(self, text: str) -> dict[str, Value]:
        raise NotImplementedError

    @property
    def _all(self) -> dict[str, Value]:
        if self._content is None:
            self._content = self._parse(self._text)
        return self._content

    def __getitem__(self, name: str) -> Value:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return repr(self._all)


class _Bands(_Lazy[Path]):
    def __init__(self, text: str, place: Path) -> None:
        super().__init__(text)
        self._place = place

    def _parse(self, text: str) -> dict[str, Path]:
        return {band: _long(short, self._place) for band, short in json.loads(text).items()}


class _Coefficients(_Lazy[tuple[float, float]]):
    def _parse(self, text: str) -> dict[str, tuple[float, float]]:
        return {band: (m, a) for band, (m, a) in json.loads(text).items()}


def _short(file: Path, place: Path) -> str:
    """Write a file's path by where it lies to its scene: ``<`` inside, ``^`` beside it."""
    if file.parent == place:
        return f"<{file.name}"
    return f"^{file.name}" if file.parent == place.parent else f"={file}"


def _long(short: str, place: Path) -> Path:
    where, name = short[0], short[1:]
    return Path(name) if where == "=" else (place if where == "<" else place.parent) / name


def decision_row(decision: Decision) -> tuple[Any, ...]:
    """Return DECIDED of a decision."""
    return tuple(plain(getattr(decision, name)) for name in DECIDED)


def row_decision(row: Sequence[Any]) -> Decision:
    """Return the decision of (scene id, glacier id, *DECIDED)."""
    values: dict[str, Any] = {}
    for field, value in zip(DECIDED, row[2:], strict=True):
        kind = _KINDS[field]
        values[field] = float("nan") if value is None and kind == "float" else value
        if kind == "bool":
            values[field] = bool(value)
    return Decision(scene_id=row[0], glacier_id=row[1], **values)


_KINDS = {field.name: str(field.type) for field in fields(Decision)}


@lru_cache(maxsize=4096)
def _folder(text: str) -> Path:
    return Path(text)


@lru_cache(maxsize=256)
def _crs(text: str) -> CRS:
    return CRS.from_user_input(text)


@lru_cache(maxsize=256)
def _crs_text(crs: CRS) -> str:
    epsg = crs.to_epsg()
    # A WKT that only resembles an EPSG system comes back as itself.
    return f"EPSG:{epsg}" if epsg and CRS.from_epsg(epsg) == crs else str(crs.to_wkt())


def plain(value: Any) -> Any:
    """SQLite has no NaN (it would take it for NULL, silently) and no truth values."""
    return int(value) if isinstance(value, bool) else without_nan(value)


def json_text(content: Mapping[str, Any]) -> str:
    """Return plain values as JSON; NaN becomes null."""
    return json.dumps(without_nan(content), default=str, allow_nan=False)
