"""Several rasters that are the parts of one, read as one: a virtual mosaic (GDAL's VRT)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from hmavel._types import Grid
from hmavel.atomic import write_text
from hmavel.errors import GridMismatchError
from hmavel.lattice import LATTICE_TOLERANCE, lattice_offset
from hmavel.raster import open_raster

_GDAL_TYPE = {
    "uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip


class _Part(NamedTuple):
    path: Path
    grid: Grid
    row: int
    col: int


def write_mosaic(path: Path, parts: Sequence[Path]) -> Path:
    """Write a VRT over the parts of one image, unless the same one is there already.

    Parameters
    ----------
    path
        The ``.vrt`` to make; a few kilobytes, whatever the size of the parts.
    parts
        Rasters of one lattice, type and set of bands, that fill a rectangle without holes and
        without overlap.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    ReadError
        A part is damaged.
    GridMismatchError
        The parts do not belong together, overlap, or one is missing.
    WriteError
        ``path`` cannot be written.
    """
    text = _vrt(path, sorted(parts))
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return path


def _vrt(path: Path, files: Sequence[Path]) -> str:
    with open_raster(files[0]) as reader:
        first, dtype, bands = reader.grid, reader.dtype, reader.descriptions
        nodata = reader.nodata
    parts = [_Part(files[0], first, 0, 0)]
    for file in files[1:]:
        with open_raster(file) as reader:
            row, col, apart = lattice_offset(first, reader.grid, item=file)
            if apart > LATTICE_TOLERANCE:
                got = f"{apart:.3g} px off them"
                raise _unlike(file, f"the pixels of {files[0].name}", got)
            if (reader.dtype, reader.descriptions) != (dtype, bands):
                got = f"{reader.dtype} {', '.join(reader.descriptions)}"
                raise _unlike(file, f"{dtype} {', '.join(bands)} as in {files[0].name}", got)
            parts.append(_Part(file, reader.grid, row, col))
    top, left = min(p.row for p in parts), min(p.col for p in parts)
    rows = max(p.row + p.grid.shape[0] for p in parts) - top
    cols = max(p.col + p.grid.shape[1] for p in parts) - left
    parts = [p._replace(row=p.row - top, col=p.col - left) for p in parts]
    _check_cover(path, parts, rows, cols)
    grid = first.crop(top, left, rows, cols)
    t = grid.transform
    lines = [
        f'<VRTDataset rasterXSize="{cols}" rasterYSize="{rows}">',
        f"<SRS>{escape(grid.crs.to_wkt())}</SRS>",
        f"<GeoTransform>{t.c!r}, {t.a!r}, 0.0, {t.f!r}, 0.0, {t.e!r}</GeoTransform>",
    ]
    for number, name in enumerate(bands, start=1):
        lines.append(f'<VRTRasterBand dataType="{_GDAL_TYPE[dtype.name]}" band="{number}">')
        lines.append(f"<Description>{escape(name)}</Description>")
        if nodata is not None:
            lines.append(f"<NoDataValue>{nodata!r}</NoDataValue>")
        for part in parts:
            height, width = part.grid.shape
            stat = part.path.stat()  # so that the VRT changes when its parts do
            lines += [
                f"<!-- {stat.st_size} bytes, {stat.st_mtime_ns} --><SimpleSource>",
                f'<SourceFilename relativeToVRT="0">{escape(str(part.path.absolute()))}'
                f"</SourceFilename><SourceBand>{number}</SourceBand>",
                f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>',
                f'<DstRect xOff="{part.col}" yOff="{part.row}" xSize="{width}" '
                f'ySize="{height}"/></SimpleSource>',
            ]
        lines.append("</VRTRasterBand>")
    return "\n".join([*lines, "</VRTDataset>", ""])


def _check_cover(path: Path, parts: Sequence[_Part], rows: int, cols: int) -> None:
    """Parts fill their rectangle once when their areas add up and none overlap."""
    for i, a in enumerate(parts):
        for b in parts[:i]:
            if (
                a.row < b.row + b.grid.shape[0]
                and b.row < a.row + a.grid.shape[0]
                and a.col < b.col + b.grid.shape[1]
                and b.col < a.col + a.grid.shape[1]
            ):
                got = f"an overlap with {b.path.name}"
                raise _unlike(a.path, "parts beside each other", got)
    missing = rows * cols - sum(p.grid.shape[0] * p.grid.shape[1] for p in parts)
    if missing:
        raise _unlike(
            path.stem,
            f"parts that fill {rows} x {cols} pixels",
            f"{len(parts)} with {missing} pixels missing",
            "fetch the missing part",
        )


def _unlike(
    item: object, expected: str, got: str, hint: str = "put the parts of each image apart"
) -> GridMismatchError:
    return GridMismatchError("mosaic", item, expected=expected, got=got, hint=hint)
