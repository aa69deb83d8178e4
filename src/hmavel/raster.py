"""Reading of rasters: by windows on the file's own lattice, in the file's own data type.

Whatever GDAL says about a damaged file comes out as one ``ReadError`` that names the file and
what to do. No module but the ``raster`` ones opens rasters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from hmavel import memory
from hmavel._types import BoolArray, FloatArray, Grid
from hmavel.errors import GridMismatchError, ReadError
from hmavel.lattice import LATTICE_TOLERANCE, lattice_offset
from hmavel.raster_header import Header, known_header, remembered
from hmavel.raster_open import check_complete, open_bare, open_dataset, status_of
from hmavel.vsi import shown

#: Rotation that is rounding of the transform and not meant, relative to the pixel.
_ROTATION_TOLERANCE = 1e-6


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
        self,
        band: int = 1,
        *,
        window: Grid | None = None,
        fill: float = 0,
        out: NDArray[Any] | None = None,
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
        out
            Of the file's type and the window's shape: where the values may be put. A window
            that reaches outside comes in an array of its own.

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
        rows, cols = (self.grid if window is None else window).shape
        memory.require(rows * cols * self.dtype.itemsize, shown(self.path))
        if window is None:
            return self._read(band, Window(0, 0, *self.grid.shape[::-1])), self.grid
        row, col = self._offset(window)
        rows, cols = window.shape
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + rows, self.grid.shape[0]), min(col + cols, self.grid.shape[1])
        inside = bottom > top and right > left
        if inside and (bottom - top, right - left) == (rows, cols):
            return self._read(band, Window(col, row, cols, rows), out), window
        array = np.full((rows, cols), self._checked(fill))
        if inside:
            part = self._read(band, Window(left, top, right - left, bottom - top))
            array[top - row : bottom - row, left - col : right - col] = part
        return array, window

    def read_known(
        self, band: int = 1, *, window: Grid | None = None
    ) -> tuple[FloatArray, Grid]:
        """Read as `read`, as float32 with NaN for no-data and for what lies outside."""
        raw, grid = self.read(band, window=window)
        out = raw.astype(np.float32)
        if self.nodata is not None:
            out[raw == self.nodata] = np.nan
        row, col = self._offset(grid)
        rows, cols = self.grid.shape
        inside = np.zeros(out.shape, bool)
        inside[max(-row, 0) : max(rows - row, 0), max(-col, 0) : max(cols - col, 0)] = True
        out[~inside] = np.nan
        return out, grid

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

    def _read(
        self, band: int, window: Window, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        with _decoding(self.path):
            array: NDArray[Any] = self._dataset.read(band, window=window, out=out)
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
    # Before the file is opened: what changes afterwards is noticed the next time.
    status = status_of(path)
    header = known_header(path, status)
    dataset = open_dataset(path) if header is None else open_bare(path)
    with dataset:
        if header is None:
            check_complete(path, dataset)
            header = remembered(path, status, dataset)
        yield RasterReader(
            path=path, grid=_grid_of(path, header, crs), dtype=header.dtype,
            descriptions=header.descriptions, units=header.units, nodata=header.nodata,
            tags=header.tags, _dataset=dataset,
        )  # fmt: skip


def read_grid(path: str | os.PathLike[str], *, crs: CRS | None = None) -> Grid:
    """Read where a raster lies, without its pixels; arguments and errors of `open_raster`."""
    path = Path(path)
    if (header := known_header(path, status_of(path))) is not None:
        return _grid_of(path, header, crs)
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


def read_cells(
    paths: Sequence[Path], wanted: Sequence[tuple[BoolArray, Sequence[str]]]
) -> list[dict[str, FloatArray]]:
    """Read some pixels of many rasters of one shape, each of which is opened once.

    Parameters
    ----------
    paths
        Float32 rasters. Where they lie is not looked at: making a coordinate system of what
        the file says takes longer than the rest of opening it.
    wanted
        Pixels, (rows, cols), with the descriptions of the bands to read there.

    Returns
    -------
    list of dict
        For each of ``wanted``: description -> (rasters, pixels) float32, as stored.

    Raises
    ------
    ReadError
        A file is missing or damaged.
    """
    found = [
        {name: np.empty((len(paths), int(cells.sum())), np.float32) for name in names}
        for cells, names in wanted
    ]
    places = [np.flatnonzero(cells) for cells, _ in wanted]
    every = list(dict.fromkeys(name for _, names in wanted for name in names))
    # Nor at what lies beside it: a glacier's pairs are hundreds of files in one folder.
    with rasterio.Env(GDAL_GEOREF_SOURCES="NONE", GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        for index, path in enumerate(paths):
            with open_dataset(path) as dataset, _decoding(path):
                check_complete(path, dataset)
                bands = dataset.read([dataset.descriptions.index(name) + 1 for name in every])
            for made, place in zip(found, places, strict=True):
                for name, row in made.items():
                    row[index] = bands[every.index(name)].take(place)
    return found


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Say which file it was whose pixels GDAL could not make out."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise ReadError(
            "read",
            shown(path),
            expected="pixels that can be decoded",
            got=str(error.__cause__ or error),
            hint="the file is damaged or incomplete: fetch it again",
        ) from error


def _grid_of(path: Path, header: Header, crs: CRS | None) -> Grid:
    transform, found = header.transform, header.crs or crs

    def error(expected: str, got: str, hint: str) -> ReadError:
        return ReadError("read", shown(path), expected=expected, got=got, hint=hint)

    if transform == Affine.identity():
        raise error("a georeferenced raster", "no transform", "use the original product's file")
    if not np.isfinite(list(transform)).all():
        raise error("a georeferenced raster", "a place that is no number", "fetch it again")
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
    return Grid(found, Affine(a, 0.0, transform.c, 0.0, e, transform.f), header.shape)
