"""A glacier's months on disk: one GeoTIFF a month, and the way back from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.errors import ReadError
from hmavel.inputs import shortened
from hmavel.product.cube import write_cube
from hmavel.product.field import BAND_NOTES, BAND_UNITS, MonthlyField
from hmavel.product.provenance import flat
from hmavel.raster import open_raster, read_grid
from hmavel.raster_write import write_geotiff

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hmavel._types import FloatArray, Grid

_NAME = re.compile(r"velocity_(\d{4}-\d{2})\.tif")


def write_months(
    folder: Path,
    field: MonthlyField,
    provenance: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a glacier's ``velocity_YYYY-MM.tif`` and ``velocity.nc``.

    Parameters
    ----------
    folder
        ``<out>/<glacier id>``; made when missing.
    field
        What `combine` returned.
    provenance
        Goes into the tags of every file: configuration, fingerprint, inputs. Nested values are
        stored as JSON.
    inputs
        Checksums of what it was made from. All of them go into the cube; a month's file names
        their number and their common checksum ``sha256``, so that it does not carry a hundred
        names in every one of a hundred files.

    Returns
    -------
    list of Path
        The monthly files in order of time, then the cube. Every month has its file, also one
        that is blank throughout (all NaN, count 0, flag 2): a missing file means "not made",
        never "nothing seen".

    Raises
    ------
    WriteError
        A file cannot be written. Each is complete or not there.
    """
    written = []
    provenance, inputs = dict(provenance or {}), dict(inputs or {})
    short = provenance | ({"inputs": shortened(inputs)} if inputs else {})
    for index, month in enumerate(field.months):
        path = folder / month_name(month)
        tags = month_tags(month) | {"glacier_id": field.name} | flat(short)
        write_geotiff(path, field.bands_at(index), field.grid, units=BAND_UNITS, tags=tags)
        written.append(path)
    cube = folder / "velocity.nc"
    write_cube(cube, field, provenance | ({"inputs": inputs} if inputs else {}))
    return [*written, cube]


def month_name(month: np.datetime64) -> str:
    """Return the name of a month's file."""
    return f"velocity_{month.astype('datetime64[M]')}.tif"


def month_tags(month: np.datetime64) -> dict[str, str]:
    """Return what the tags of a month's file say about its content."""
    month = month.astype("datetime64[M]")
    return {
        "time_start": f"{month}-01T00:00:00Z",
        "time_end": f"{month + 1}-01T00:00:00Z",
        "year_days": "365.25",
        **{f"band_{name}": note for name, note in BAND_NOTES.items()},
    }


@dataclass(frozen=True)
class MonthFiles:
    """The monthly files of one glacier, read when asked: a source of the region's mosaic."""

    folder: Path
    grid: Grid
    months: tuple[str, ...]  #: "YYYY-MM", ascending

    @property
    def name(self) -> str:
        """The glacier's id: the folder's name."""
        return self.folder.name

    def bands(self, month: np.datetime64) -> dict[str, FloatArray] | None:
        """Return the bands of a month, float32 (rows, cols), None when there is no file.

        Raises
        ------
        ReadError
            The file is damaged, or does not have the bands or the grid of the others.
        """
        text = str(month.astype("datetime64[M]"))
        if text not in self.months:
            return None
        path = self.folder / f"velocity_{text}.tif"
        with open_raster(path) as reader:
            if reader.grid != self.grid or not set(BAND_UNITS) <= set(reader.descriptions):
                raise ReadError(
                    "read",
                    path,
                    expected=f"the bands {', '.join(BAND_UNITS)} on the grid of its neighbours",
                    got=f"{', '.join(reader.descriptions)} on {reader.grid.shape}",
                    hint="make this glacier's months again",
                )
            return {
                name: reader.read(1 + reader.descriptions.index(name))[0] for name in BAND_UNITS
            }


def open_months(folder: Path) -> MonthFiles:
    """Find the monthly files of a glacier.

    Raises
    ------
    ReadError
        There are none, or the first cannot be read.
    """
    hits = (_NAME.fullmatch(path.name) for path in folder.glob("velocity_*.tif"))
    months = tuple(sorted(hit[1] for hit in hits if hit))
    if not months:
        raise ReadError(
            "read",
            folder,
            expected="files velocity_YYYY-MM.tif",
            got="none",
            hint="run this glacier first",
        )
    return MonthFiles(folder, read_grid(folder / f"velocity_{months[0]}.tif"), months)
