"""What ITS_LIVE's datacubes and pair granules have in common, opened by xarray.

The only place that opens them: NetCDF always, Zarr where the ``zarr`` package is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hmavel import memory
from hmavel._types import Grid
from hmavel.errors import GridMismatchError, ReadError
from hmavel.lattice import crs_name
from hmavel.raster_netcdf import damaged_netcdf

#: ITS_LIVE's "no stable surface was found, nothing was subtracted".
NO_SHIFT = 0
_SENSOR = re.compile(r"(L[COTEM]0[4-9]|S2[AB]|S1[AB])_")


@contextmanager
def opened(path: str | Path) -> Iterator[xr.Dataset]:
    """Open a cube or granule, its numbers as they are stored.

    Raises
    ------
    ReadError
        Nothing that xarray opens, damaged, or Zarr without its package.
    """
    options: dict[str, Any] = {"mask_and_scale": False, "decode_times": True}
    zarr = is_zarr(Path(path)) or str(path).endswith(".zarr")
    try:
        with damaged_netcdf("itslive", path):
            data = xr.open_zarr(path, **options) if zarr else xr.open_dataset(path, **options)
    except ImportError as error:
        raise ReadError(
            "itslive", path, expected="the package zarr", got=str(error),
            hint='pip install "hmavel[zarr]"',
        ) from error
    with data, damaged_netcdf("itslive", path):
        yield data


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / name).exists() for name in (".zgroup", "zarr.json", ".zmetadata"))


def unlike(path: object, got: str) -> ReadError:
    """Make the error of a file that is neither cube nor granule."""
    return ReadError(
        "itslive", path, expected="the variables of an ITS_LIVE cube or granule", got=got,
        hint="see https://its-live.jpl.nasa.gov for the two forms",
    )


def grid_of(path: object, data: xr.Dataset) -> Grid:
    """Make the grid from the cell centres and the projection that the file names."""
    x, y = data["x"].values.astype(float), data["y"].values.astype(float)
    if len(x) < 2 or len(y) < 2:
        raise unlike(path, f"{len(y)} x {len(x)} cells")
    dx, dy = x[1] - x[0], y[1] - y[0]
    uneven = np.abs(np.diff(x) - dx).max() > 1e-3 or np.abs(np.diff(y) - dy).max() > 1e-3
    if uneven or dx <= 0 or dy >= 0 or abs(dx + dy) > 1e-3:
        raise unlike(path, f"x spacing {dx:g} and y spacing {dy:g}, or uneven ones")
    attributes = data["mapping"].attrs if "mapping" in data else {}
    text = attributes.get("crs_wkt") or attributes.get("spatial_ref") or ""
    epsg = attributes.get("spatial_epsg") or data.attrs.get("projection")
    try:
        crs = CRS.from_epsg(int(epsg)) if epsg else CRS.from_wkt(str(text))
    except (CRSError, ValueError) as error:
        raise unlike(path, f"projection {epsg or text!r}") from error
    transform = Affine(dx, 0, x[0] - dx / 2, 0, dy, y[0] - dy / 2)
    return Grid(crs, transform, (len(y), len(x)))


def cut(path: object, grid: Grid, window: Grid) -> tuple[Grid, slice, slice]:
    """Return the part of a grid that a window of its CRS touches, and its rows and columns.

    Raises
    ------
    GridMismatchError
        Another CRS, or nothing in common.
    """
    if window.crs != grid.crs:
        raise GridMismatchError(
            "itslive", path, expected=crs_name(window.crs), got=crs_name(grid.crs),
            hint="take the datacube of the glacier's own UTM zone",
        )
    left, bottom, right, top = window.bounds
    row = np.array([np.floor(grid.row(top) + 0.5), np.ceil(grid.row(bottom) + 0.5)], int)
    col = np.array([np.floor(grid.col(left) + 0.5), np.ceil(grid.col(right) + 0.5)], int)
    row, col = np.clip(row, 0, grid.shape[0]), np.clip(col, 0, grid.shape[1])
    if row[0] >= row[1] or col[0] >= col[1]:
        raise GridMismatchError(
            "itslive", path, expected=f"cells within {window.bounds}", got=f"{grid.bounds}",
            hint="take the datacube that covers the glacier",
        )
    part = grid.crop(row[0], col[0], row[1] - row[0], col[1] - col[0])
    return part, slice(row[0], row[1]), slice(col[0], col[1])


def values_of(part: xr.DataArray, whole: xr.DataArray) -> NDArray[np.float32]:
    """Read stored numbers as float32 m/yr, NaN where they are the fill value."""
    memory.require(part.size * (part.dtype.itemsize + 4.0), "a cube")
    raw = np.asarray(part.values)
    values = raw.astype(np.float32)
    for key in ("_FillValue", "missing_value"):
        if key in whole.attrs:
            values[raw == whole.attrs[key]] = np.nan
    scale = float(whole.attrs.get("scale_factor", 1.0))
    return values * np.float32(scale) + np.float32(whole.attrs.get("add_offset", 0.0))


def sensor_of(name: str) -> str:
    """Read the sensor of a pair off the names of its scenes: "LC08", "LC08+LC09", ""."""
    return "+".join(dict.fromkeys(_SENSOR.findall(name)))
