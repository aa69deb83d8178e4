"""Plain GeoTIFFs of Band 8, with their dates in a CSV file."""

from __future__ import annotations

import logging
from pathlib import Path

from hmavel._types import Scene
from hmavel.acquisitions import Rejected
from hmavel.errors import HmavelError
from hmavel.mtl import parse_product_id
from hmavel.plain import KNOWN, plain_scene
from hmavel.tables import path_row, read_table, sun_place, when

log = logging.getLogger(__name__)

_FILE, _TIME = ("file", "b8"), ("time", "date")


def open_dated(table: Path) -> tuple[list[Scene], list[Rejected]]:
    """Open the images that a CSV file lists.

    Parameters
    ----------
    table
        A row for each scene. ``file`` (or ``b8``): the Band-8 GeoTIFF, relative to the table;
        ``time`` (or ``date``): UTC, ISO 8601. Optional: ``id``, ``wrs`` ("140/041"),
        ``sensor``, ``level``, ``sun_azimuth``, ``sun_elevation``, and files of further bands,
        ``b2`` ... ``b7``, ``qa_pixel``, ``qa_radsat``.

    Returns
    -------
    (scenes, rejected)
        A row that cannot be used is rejected with its line's file and the reason.

    Raises
    ------
    ReadError
        The table cannot be read or lacks a column.
    """
    scenes: list[Scene] = []
    rejected: list[Rejected] = []
    for row in read_table(table, need=(_FILE, _TIME)):
        name = next((row[key] for key in _FILE if row.get(key)), "")
        path = table.parent / name if name else table
        try:
            scenes.append(_open(table, path, row))
        except (HmavelError, ValueError, OSError) as error:
            rejected.append(Rejected(path, f"{table.name}: {error}"))
            log.info("scenes: %s", error)
    return scenes, rejected


def _open(table: Path, path: Path, row: dict[str, str]) -> Scene:
    if path == table:
        raise ValueError("file: expected a path, got none; name the Band-8 GeoTIFF")
    moment, day = when(next((row[key] for key in _TIME if row.get(key)), ""))
    bands = {
        band: table.parent / row[band.lower()] for band in KNOWN if row.get(band.lower(), "")
    }
    bands["B8"] = path
    return plain_scene(
        row.get("id") or path.stem,
        path,
        bands,
        time=moment,
        day=day,
        product=parse_product_id(path.name),
        sensor=row.get("sensor", ""),
        wrs=path_row(row),
        level=row.get("level", ""),
        sun=sun_place(row, "sun_azimuth", "sun_elevation"),
    )
