"""Maps in NetCDF files: a variable over (y, x), or over (time, y, x), with its grid."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hmavel import memory
from hmavel._types import Grid
from hmavel.errors import HmavelError, ReadError
from hmavel.netcdf_trial import try_open

#: Attributes in which a coordinate system is looked for, in this order.
_CRS_NAMES = ("crs_wkt", "spatial_ref", "spatial_epsg", "epsg")
#: Units of a time axis.
_SECONDS = {
    "day": 86_400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0, "millisecond": 1e-3,
    "microsecond": 1e-6, "nanosecond": 1e-9,
}  # fmt: skip
#: What netCDF4, HDF5 and xarray raise for damaged files.
NETCDF_FAULTS = (
    OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError,
    OverflowError, MemoryError,
)  # fmt: skip
#: Coordinates may differ from even spacing by this part of a pixel (stored as float32).
_EVEN = 0.01


def read_variables(
    path: str | os.PathLike[str], names: tuple[str, ...], *, crs: CRS | None = None
) -> tuple[list[NDArray[np.float32]], Grid, list[str]]:
    """Read variables of one shape, north up, with missing values as NaN.

    Parameters
    ----------
    path
        NetCDF 3 or 4.
    names
        Variables over (y, x) or (time, y, x).
    crs
        Used when the file names no coordinate system. It does not override one.

    Returns
    -------
    arrays
        One for each name, float32, (layers, rows, cols); scale and offset are applied.
    grid
        Of a layer.
    labels
        One for each layer: the time as the file has it, or "" where there is but one.

    Raises
    ------
    ReadError
        The file is missing or no NetCDF, has no such variable, no even coordinates or no
        coordinate system.
    """
    import netCDF4

    path = Path(path)
    if not path.is_file():
        raise _unusable(path, "a NetCDF file", "no such file", "check the path")
    with damaged_netcdf("read", path), netCDF4.Dataset(os.fspath(path)) as file:
        missing = [name for name in names if name not in file.variables]
        if missing:
            have = ", ".join(sorted(file.variables)[:12])
            raise _unusable(path, f"variables {', '.join(names)}", have, "name the variables")
        first = file.variables[names[0]]
        if first.ndim not in (2, 3):
            got = f"{first.ndim} dimensions"
            raise _unusable(path, f"{names[0]} over (y, x) or (time, y, x)", got, "take a part")
        y, x = (_even_axis(path, file, name) for name in first.dimensions[-2:])
        arrays = []
        for name in names:
            memory.require(4.0 * math.prod(file.variables[name].shape), path)
            values = np.ma.filled(file.variables[name][...].astype(np.float32), np.nan)
            values = values.reshape(-1, len(y), len(x))
            arrays.append(values[:, ::-1] if y[1] > y[0] else values)
        labels = _labels(file, first) if first.ndim == 3 else [""]
        system = _system(path, file, first) or crs
    if system is None:
        raise _unusable(path, "a coordinate system", "none", "give it (--crs EPSG:...)")
    dx, dy = abs(x[-1] - x[0]) / (len(x) - 1), abs(y[-1] - y[0]) / (len(y) - 1)
    corner = Affine(dx, 0.0, min(x) - dx / 2, 0.0, -dy, max(y) + dy / 2)
    if x[1] < x[0]:
        arrays = [values[:, :, ::-1] for values in arrays]
    return arrays, Grid(system, corner, (len(y), len(x))), labels


@contextmanager
def damaged_netcdf(stage: str, path: object) -> Iterator[None]:
    """Say of a file that the libraries stumble over what it is, in one line.

    Of damaged bytes they complain with almost any exception, at opening or when what was put
    off is read.
    """
    try:
        try_open(stage, Path(str(path)))
        yield
    except HmavelError:
        raise
    except NETCDF_FAULTS as error:
        got = " ".join(str(error).split())[:200] or "unreadable"
        raise ReadError(
            stage, path, expected="a NetCDF file or Zarr store",
            got=f"{got} ({type(error).__name__})", hint="download it again",
        ) from error


def _even_axis(path: Path, file: Any, name: str) -> NDArray[np.float64]:
    if name not in file.variables:
        raise _unusable(path, f"coordinates {name!r}", "none", "write x and y with the maps")
    values = np.asarray(file.variables[name][:], np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise _unusable(path, f"two or more {name}", str(values.shape), "check the file")
    steps = np.diff(values)
    if not steps.all() or np.abs(steps / steps.mean() - 1).max() > _EVEN:
        raise _unusable(path, f"evenly spaced {name}", "uneven ones", "resample the maps")
    return values


def _labels(file: Any, variable: Any) -> list[str]:
    axis = file.variables.get(variable.dimensions[0])
    if axis is None or axis.ndim != 1:
        return [str(i) for i in range(variable.shape[0])]
    unit, since, origin = str(getattr(axis, "units", "")).partition(" since ")
    seconds = _SECONDS.get(unit.strip().removesuffix("s"))
    if since and seconds:
        start = np.datetime64(origin.strip().split(".")[0].removesuffix("Z"), "s")
        after = np.rint(np.asarray(axis[:], np.float64) * seconds).astype("timedelta64[s]")
        return [str(time).replace("T", " ") for time in start + after]
    return [str(value) for value in axis[:]]


def _system(path: Path, file: Any, variable: Any) -> CRS | None:
    holder = file.variables.get(getattr(variable, "grid_mapping", ""))
    for source in (holder, file):
        for name in _CRS_NAMES:
            text = getattr(source, name, None) if source is not None else None
            if text is None:
                continue
            try:
                digits = str(text).removeprefix("EPSG:")
                return CRS.from_epsg(int(digits)) if digits.isdigit() else CRS.from_wkt(text)
            except (CRSError, ValueError) as error:
                got = f"{name} = {str(text)[:40]!r}"
                raise _unusable(path, "a coordinate system", got, "correct it") from error
    return None


def _unusable(path: Path, expected: str, got: str, hint: str) -> ReadError:
    return ReadError("read", path, expected=expected, got=got, hint=hint)
