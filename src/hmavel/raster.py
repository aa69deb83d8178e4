"""The only place that opens raster files.

Reading is by windows on the file's own lattice, in the file's own data type; writing is
atomic and, by default, a valid cloud-optimised GeoTIFF. Whatever GDAL says about a damaged
file comes out as one ``ReadError`` that names the file and what to do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.warp
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from hmavel._types import Grid
from hmavel.atomic import atomic_path
from hmavel.errors import GridMismatchError, HmavelError, ReadError, WriteError
from hmavel.lattice import LATTICE_TOLERANCE, crs_name, lattice_offset
from hmavel.raster_open import check_complete, open_dataset
from hmavel.vsi import shown

#: Rotation that is rounding of the transform and not meant, relative to the pixel.
_ROTATION_TOLERANCE = 1e-6
_BLOCK = 512
#: Of DEFLATE: with the predictor, displacements come out as small at 1 as at 6, a third sooner.
_LEVEL = 1
#: Side of the tiles in which one coordinate system is warped to another.
_TILE = 128

_METHODS = {
    name: Resampling[name]
    for name in ("nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "max")
}
#: Those that weigh the pixels around a point; the others look at what a pixel covers.
_KERNELS = ("bilinear", "cubic", "cubic_spline", "lanczos")


class Tally:
    """Bytes of pixels that were read, decoded."""

    def __init__(self) -> None:
        self.bytes = 0


_tally: ContextVar[Tally | None] = ContextVar("_tally", default=None)


@contextmanager
def tally() -> Iterator[Tally]:
    """Count what this thread reads in the block."""
    count = Tally()
    token = _tally.set(count)
    try:
        yield count
    finally:
        _tally.reset(token)


@dataclass(frozen=True)
class RasterReader:
    """An open raster: one header read, any number of windows.

    Not to be shared between threads; open the file once in each.
    """

    path: Path
    grid: Grid
    dtype: np.dtype[Any]
    descriptions: tuple[str, ...]  #: of each band, "" where it has none
    units: tuple[str, ...]
    nodata: float | None  #: as the file declares it
    tags: Mapping[str, str]
    _dataset: Any

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.descriptions)

    def read(
        self, band: int = 1, *, window: Grid | None = None, fill: float = 0
    ) -> tuple[NDArray[Any], Grid]:
        """Read a band, or the part of it that ``window`` covers.

        Parameters
        ----------
        band
            Number of the band; 1 is the first.
        window
            A grid on this file's lattice and in its CRS, None for the whole file. It may
            reach outside.
        fill
            Value of what lies outside. It must be one that the file's type can hold.

        Returns
        -------
        (array, grid)
            The values as stored, shape ``grid.shape``, and ``window`` itself or the file's
            grid.

        Raises
        ------
        ReadError
            No such band, or the file is damaged where it was read.
        GridMismatchError
            ``window`` has another CRS or lies between this file's pixels.
        ValueError
            ``window`` is empty, or ``fill`` does not fit the type.
        """
        if not 1 <= band <= self.count:
            raise ReadError(
                "read",
                shown(self.path),
                expected=f"band {band}",
                got=f"a file of {self.count} band(s)",
                hint="check which file was given",
            )
        if window is None:
            return self._read(band, Window(0, 0, *self.grid.shape[::-1])), self.grid
        row, col = self._offset(window)
        rows, cols = window.shape
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + rows, self.grid.shape[0]), min(col + cols, self.grid.shape[1])
        inside = bottom > top and right > left
        if inside and (bottom - top, right - left) == (rows, cols):
            return self._read(band, Window(col, row, cols, rows)), window
        array = np.full((rows, cols), self._checked(fill))
        if inside:
            part = self._read(band, Window(left, top, right - left, bottom - top))
            array[top - row : bottom - row, left - col : right - col] = part
        return array, window

    def _checked(self, fill: float) -> Any:
        if np.issubdtype(self.dtype, np.integer):
            limits = np.iinfo(self.dtype)
            if not (limits.min <= fill <= limits.max and fill == int(fill)):
                raise ValueError(
                    f"read {shown(self.path)}: expected a fill that {self.dtype} can hold, "
                    f"got {fill}; read with fill=0 and mask afterwards"
                )
        return self.dtype.type(fill)

    def _offset(self, window: Grid) -> tuple[int, int]:
        if min(window.shape) < 1:
            raise ValueError(
                f"read {shown(self.path)}: expected a window with pixels, "
                f"got shape {window.shape}; check how the window was made"
            )
        row, col, apart = lattice_offset(self.grid, window, item=shown(self.path))
        if apart > LATTICE_TOLERANCE:
            raise GridMismatchError(
                "read",
                shown(self.path),
                expected="a window on the file's own pixels",
                got=f"one that is up to {apart:.3g} px off them",
                hint="make the window with covering_window, or resample",
            )
        return row, col

    def _read(self, band: int, window: Window) -> NDArray[Any]:
        try:
            array: NDArray[Any] = self._dataset.read(band, window=window)
        except (RasterioError, CPLE_BaseError, OSError) as error:
            raise ReadError(
                "read",
                shown(self.path),
                expected="pixels that can be decoded",
                got=str(error.__cause__ or error),
                hint="the file is damaged or incomplete: fetch it again",
            ) from error
        if (count := _tally.get()) is not None:
            count.bytes += array.nbytes
        return array


@contextmanager
def open_raster(
    path: str | os.PathLike[str], *, crs: CRS | None = None
) -> Iterator[RasterReader]:
    """Open a raster for reading by windows.

    Parameters
    ----------
    path
        Any raster that GDAL reads, also by its names for members of tars and files of servers
        (``vsi.in_tar``, ``vsi.remote``).
    crs
        Used when the file has a transform and no coordinate system. It does not override one.

    Yields
    ------
    RasterReader

    Raises
    ------
    ReadError
        The file is missing, not a raster, shorter than its header says, has no coordinate
        system or no transform, or its grid is rotated or has south up.
    """
    path = Path(path)
    dataset = open_dataset(path)
    with dataset:
        check_complete(path, dataset)
        yield RasterReader(
            path=path,
            grid=_grid_of(path, dataset, crs),
            dtype=np.dtype(dataset.dtypes[0]),
            descriptions=tuple(text or "" for text in dataset.descriptions),
            units=tuple(text or "" for text in dataset.units),
            nodata=None if dataset.nodata is None else float(dataset.nodata),
            tags=dataset.tags(),
            _dataset=dataset,
        )


def read_grid(path: str | os.PathLike[str], *, crs: CRS | None = None) -> Grid:
    """Read where a raster lies, without its pixels; arguments and errors of `open_raster`."""
    with open_raster(path, crs=crs) as reader:
        return reader.grid


def read_band(
    path: str | os.PathLike[str],
    band: int = 1,
    *,
    window: Grid | None = None,
    fill: float = 0,
    crs: CRS | None = None,
) -> tuple[NDArray[Any], Grid]:
    """Open, read one band or a part of it, close.

    See `open_raster` and `RasterReader.read` for arguments and errors; to read many windows
    of one file, open it once.
    """
    with open_raster(path, crs=crs) as reader:
        return reader.read(band, window=window, fill=fill)


def write_geotiff(
    path: str | os.PathLike[str],
    bands: Mapping[str, NDArray[Any]],
    grid: Grid,
    *,
    units: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    cog: bool = True,
) -> None:
    """Write named bands to one float32 GeoTIFF with NaN as no-data, all of it or nothing.

    Parameters
    ----------
    path
        The file to make or to replace.
    bands
        Name -> array of ``grid.shape``, real, in the order of the file. Integers up to 2**24
        stay exact in float32; booleans become 0 and 1.
    grid
        Where the arrays lie.
    units
        Name -> unit of the bands that have one.
    tags
        Metadata of the file.
    cog
        A cloud-optimised GeoTIFF (overviews by averaging, which also averages codes and flags:
        read those at full resolution), else a plain one.

    Raises
    ------
    WriteError
        The file cannot be written.
    ValueError
        No bands, a band of another shape or type, or a unit for a band that is not there.

    Notes
    -----
    Blocks of 512, DEFLATE with the floating-point predictor. Beside ``bands`` one float32 copy
    of them is in memory while a COG is made, since its overviews come first in the file.
    """
    units, tags = dict(units or {}), dict(tags or {})
    _check_bands(path, bands, grid, units)
    profile: dict[str, Any] = {
        "width": grid.shape[1],
        "height": grid.shape[0],
        "count": len(bands),
        "dtype": "float32",
        "nodata": np.nan,
        "crs": grid.crs,
        "transform": grid.transform,
    }
    packing = {"compress": "DEFLATE", "bigtiff": "IF_SAFER"}
    with atomic_path(path) as temporary:
        try:
            if cog:
                with rasterio.open("", "w", driver="MEM", **profile) as memory:
                    _fill_dataset(memory, bands, units, tags)
                    rasterio.shutil.copy(
                        memory,
                        temporary,
                        driver="COG",
                        blocksize=_BLOCK,
                        predictor="FLOATING_POINT",
                        overview_resampling="AVERAGE",
                        level=_LEVEL,
                        **packing,
                    )
            else:
                if max(grid.shape) > _BLOCK:
                    packing |= {"tiled": "YES", "blockxsize": "512", "blockysize": "512"}
                profile |= {"driver": "GTiff", "predictor": 3, "zlevel": _LEVEL, **packing}
                with rasterio.open(temporary, "w", **profile) as file:
                    _fill_dataset(file, bands, units, tags)
            _check_written(temporary)
        except (RasterioError, CPLE_BaseError, ReadError) as error:
            raise WriteError(
                "write",
                path,
                expected="a GeoTIFF that can be written",
                got=error.got if isinstance(error, HmavelError) else str(error),
                hint="check permissions and free space",
            ) from error


def resample(
    array: NDArray[Any],
    grid: Grid,
    target: Grid,
    method: str = "cubic",
    *,
    fill: int = 0,
) -> NDArray[Any]:
    """Bring ``array`` from ``grid`` to the pixels of ``target``, across coordinate systems too.

    Parameters
    ----------
    array
        Shape ``grid.shape``. NaN of a float array is no-data. A boolean array comes back as
        one: "max" is the OR of the pixels that a target pixel covers, "average" a majority.
    grid, target
        Where the array is, and where it is wanted.
    method
        "nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average" or "max".
    fill
        What pixels of an integer or boolean array get where it does not reach (a float array
        has NaN there).

    Returns
    -------
    ndarray
        Shape ``target.shape``, the type of ``array``.

    Raises
    ------
    ValueError
        An unknown method or a shape that is not the grid's.
    GridMismatchError
        There is no transformation between the two coordinate systems.

    Notes
    -----
    Positions: exact within one coordinate system; between two, within 1/1000 px from Landsat's
    15 m pixels to those of a neighbouring zone and within 1/50 px from 120 m cells to degrees
    (GDAL's default, 1/8 px, is more than a glacier moves in many a pair). Components of
    vectors are not rotated: see ``velocity.rotate``.
    """
    if method not in _METHODS:
        raise ValueError(
            f"resample: expected a method out of {', '.join(_METHODS)}, got {method!r}; "
            "choose one of them"
        )
    if array.shape != grid.shape:
        raise ValueError(
            f"resample: expected an array of the grid's shape {grid.shape}, got {array.shape}; "
            "give the grid that belongs to the array"
        )
    source = array.astype(np.uint8) if array.dtype == bool else array
    floating = np.issubdtype(array.dtype, np.floating)
    out = np.full(target.shape, np.nan if floating else fill, dtype=source.dtype)
    try:
        ratio = _pixel_ratio(grid, target) if method in _KERNELS else {}
        warp = _warp if grid.crs == target.crs else _warp_tiles
        warp(source, grid, out, target, method, ratio)
    except (RasterioError, CPLE_BaseError) as error:
        raise GridMismatchError(
            "resample",
            crs_name(target.crs),
            expected=f"a coordinate system that can be reached from {crs_name(grid.crs)}",
            got=str(error),
            hint="check both coordinate systems",
        ) from error
    return out.astype(bool) if array.dtype == bool else out


def _warp(
    source: NDArray[Any],
    grid: Grid,
    out: NDArray[Any],
    target: Grid,
    method: str,
    ratio: Mapping[str, float],
) -> None:
    """Warp into ``out``, which keeps its values where the source does not reach.

    Left to itself, GDAL takes the ratio of two windows for the ratio of the pixel sizes, sees
    a shrinking where there is a turn or a small window, and widens its kernel: so it is told.
    """
    nodata = np.nan if np.issubdtype(source.dtype, np.floating) else None
    rasterio.warp.reproject(
        source,
        out,
        src_transform=grid.transform,
        src_crs=grid.crs,
        src_nodata=nodata,
        dst_transform=target.transform,
        dst_crs=target.crs,
        dst_nodata=nodata,
        init_dest_nodata=False,
        resampling=_METHODS[method],
        **ratio,
    )


def _warp_tiles(
    source: NDArray[Any],
    grid: Grid,
    out: NDArray[Any],
    target: Grid,
    method: str,
    ratio: Mapping[str, float],
) -> None:
    """Warp between coordinate systems in tiles, in which GDAL's shortcut does no harm.

    GDAL interpolates positions along a row of the target as long as they are within 1/8 px,
    and rasterio cannot tell it otherwise; the error falls with the square of the row's length.
    """
    rows, cols = target.shape
    for row in range(0, rows, _TILE):
        for col in range(0, cols, _TILE):
            tile = target.crop(row, col, min(_TILE, rows - row), min(_TILE, cols - col))
            bounds = rasterio.warp.transform_bounds(target.crs, grid.crs, *tile.bounds)
            left, bottom, right, top = bounds
            # Cropping spares GDAL the whole source; the pad is for the widest kernel, or, where
            # the target's pixels are the larger ones, for what they cover.
            reach = 8 + math.ceil((right - left) / tile.shape[1] / grid.transform.a)
            first_row = max(0, math.floor(grid.row(top)) - reach)
            first_col = max(0, math.floor(grid.col(left)) - reach)
            end_row = min(grid.shape[0], math.ceil(grid.row(bottom)) + reach + 1)
            end_col = min(grid.shape[1], math.ceil(grid.col(right)) + reach + 1)
            if end_row <= first_row or end_col <= first_col:
                continue
            part = grid.crop(first_row, first_col, end_row - first_row, end_col - first_col)
            piece = np.ascontiguousarray(source[first_row:end_row, first_col:end_col])
            here = np.s_[row : row + tile.shape[0], col : col + tile.shape[1]]
            warped = out[here].copy()
            _warp(piece, part, warped, tile, method, ratio)
            out[here] = warped


def _pixel_ratio(grid: Grid, target: Grid) -> dict[str, float]:
    """Return GDAL's XSCALE and YSCALE: target pixels per source pixel, at the centre."""
    rows, cols = target.shape
    x = target.x(cols / 2 + np.array([-0.5, 0.5, 0.0, 0.0]))
    y = target.y(rows / 2 + np.array([0.0, 0.0, -0.5, 0.5]))
    x, y = rasterio.warp.transform(target.crs, grid.crs, x, y)
    row, col = grid.row(np.asarray(y)), grid.col(np.asarray(x))
    across, down = (math.hypot(row[i + 1] - row[i], col[i + 1] - col[i]) for i in (0, 2))
    return {
        name: 1.0 if abs(length - 1) < 0.05 else 1 / length
        for name, length in (("XSCALE", across), ("YSCALE", down))
    }


def _grid_of(path: Path, dataset: Any, crs: CRS | None) -> Grid:
    transform, found = dataset.transform, dataset.crs or crs

    def error(expected: str, got: str, hint: str) -> ReadError:
        return ReadError("read", shown(path), expected=expected, got=got, hint=hint)

    if transform == Affine.identity():
        raise error("a georeferenced raster", "no transform", "use the original product's file")
    if found is None:
        raise error(
            "a coordinate system", "none", "state it if you know it, or use the original file"
        )
    a, b, d, e = transform.a, transform.b, transform.d, transform.e
    if max(abs(b), abs(d)) > _ROTATION_TOLERANCE * max(abs(a), abs(e)):
        raise error(
            "a north-up grid",
            f"a rotated one (terms {b:g} and {d:g})",
            "warp it to a north-up grid first",
        )
    if a <= 0 or e >= 0:
        raise error(
            "a north-up grid",
            f"columns that run {'east' if a > 0 else 'west'} and rows that run "
            f"{'south' if e < 0 else 'north'}",
            "flip it to a north-up grid first",
        )
    return Grid(found, Affine(a, 0.0, transform.c, 0.0, e, transform.f), dataset.shape)


def _check_bands(
    path: Any, bands: Mapping[str, NDArray[Any]], grid: Grid, units: Mapping[str, str]
) -> None:
    if not bands:
        raise ValueError(f"write {path}: expected bands, got none; pass name -> array")
    for name, array in bands.items():
        if array.shape != grid.shape or array.dtype.kind not in "fiub":
            raise ValueError(
                f"write {path}: expected band {name!r} to be real, of shape {grid.shape}, "
                f"got {array.dtype}, {array.shape}; give the grid that belongs to the arrays"
            )
    if strangers := sorted(set(units) - set(bands)):
        raise ValueError(
            f"write {path}: expected units of the bands {', '.join(bands)}, got one for "
            f"{', '.join(strangers)}; check the spelling"
        )


def _fill_dataset(
    dataset: Any,
    bands: Mapping[str, NDArray[Any]],
    units: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    for index, (name, array) in enumerate(bands.items(), start=1):
        dataset.write(np.asarray(array, dtype=np.float32), index)
        dataset.set_band_description(index, name)
    dataset.units = tuple(units.get(name, "") for name in bands)
    dataset.update_tags(**tags)


def _check_written(path: Path) -> None:
    """GDAL may close a file on a full disk without a word: see that it is all there."""
    with rasterio.open(path) as dataset:
        check_complete(path, dataset)
