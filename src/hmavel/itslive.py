"""Pair velocities of ITS_LIVE: datacubes and pair granules as another source of pairs.

A cube is read a window at a time, so that its size does not matter.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hmavel._types import FloatArray, Grid
from hmavel.errors import GridMismatchError, HmavelError, ReadError
from hmavel.itslive_file import (
    NO_SHIFT,
    cut,
    grid_of,
    is_zarr,
    opened,
    sensor_of,
    unlike,
    values_of,
)
from hmavel.itslive_granule import is_granule, read_granules
from hmavel.itslive_stack import PairStack, joined, require_same_lattice
from hmavel.parallel import Failure

__all__ = ["PairStack", "read_cube", "read_granules", "read_pairs", "source_epsg"]

logger = logging.getLogger(__name__)

#: Variables that a cube must have.
_NEEDED = ("vx", "vy", "acquisition_date_img1", "acquisition_date_img2")


def read_cube(
    path: str | Path, *, window: Grid | None = None, measured_only: bool = False
) -> PairStack:
    """Read an ITS_LIVE datacube, or the part of it that a glacier needs.

    Parameters
    ----------
    path
        NetCDF file, or Zarr folder or address.
    window
        Only the cells that this grid (same CRS) touches; None = all.
    measured_only
        Leave out values that ITS_LIVE interpolated from neighbours (``interp_mask``).

    Returns
    -------
    PairStack
        In the order of the file. Pairs without a stable-shift error, with a date missing, or
        of a scene with itself are left out and logged; a pair that is stored back to front is
        turned round (velocity is the same either way).

    Raises
    ------
    ReadError
        Not a file that xarray opens, a variable is missing, axes that are not evenly spaced.
    GridMismatchError
        ``window`` is of another CRS or does not touch the cube.
    """
    with opened(path) as data:
        missing = [name for name in _NEEDED if name not in data]
        if missing or not {"x", "y"} <= set(data.coords):
            raise unlike(path, f"no {', '.join(missing or ['x, y coordinates'])}")
        if "mid_date" not in data.sizes:
            raise unlike(path, f"dimensions {tuple(data.sizes)}")
        grid = grid_of(path, data)
        rows, cols = slice(None), slice(None)
        if window is not None:
            grid, rows, cols = cut(path, grid, window)
        start, end = (
            data[f"acquisition_date_img{i}"].values.astype("datetime64[ms]") for i in (1, 2)
        )
        sigma = [_pair_error(path, data, axis) for axis in ("vx", "vy")]
        names = _strings(data, "granule", len(start))
        sensors = _sensors(data, names)
        keep = np.isfinite(sigma[0] + sigma[1]) & (sigma[0] > 0) & (sigma[1] > 0)
        keep &= ~np.isnat(start) & ~np.isnat(end) & (start != end)
        if not keep.all():
            logger.warning(
                "itslive %s: %d of %d pairs left out: no date or no stable-shift error",
                path, np.count_nonzero(~keep), len(keep),
            )
        some = np.flatnonzero(keep)
        fields = {}
        for axis in ("vx", "vy"):
            part = data[axis].transpose("mid_date", "y", "x")[:, rows, cols]
            values = values_of(part, data[axis])[some]
            if measured_only and "interp_mask" in data:
                mask = data["interp_mask"].transpose("mid_date", "y", "x")[:, rows, cols]
                values[np.asarray(mask.values)[some] == 1] = np.nan
            fields[axis] = values
    first, last = np.minimum(start, end), np.maximum(start, end)
    return PairStack(
        grid=grid, start=first[some], end=last[some], **fields, sigma_vx=sigma[0][some],
        sigma_vy=sigma[1][some], id=names[some], sensor=sensors[some],
    )


def read_pairs(
    paths: Sequence[str | Path], *, window: Grid | None = None
) -> tuple[PairStack, list[Failure]]:
    """Read cubes and granules, mixed; a pair that is in several is taken from the first.

    Parameters
    ----------
    paths
        Datacubes (NetCDF, Zarr), granules, or folders of granules.
    window
        The cells wanted.
    """
    stacks: list[PairStack] = []
    failures: list[Failure] = []
    granules: list[Path] = []
    for path in paths:
        local = Path(path)
        if local.is_dir() and not is_zarr(local):
            granules += sorted(local.glob("*.nc"))
        elif local.suffix == ".nc" and is_granule(local):
            granules.append(local)
        else:
            try:
                stacks.append(read_cube(path, window=window))
            except HmavelError as error:
                logger.warning("%s", error)
                failures.append(Failure.of(f"cube {path}", error))
    if granules:
        try:
            stack, refused = read_granules(granules, window=window)
            stacks.append(stack)
            failures += refused
        except ReadError as error:
            failures.append(Failure.of("granules", error))
    if not stacks:
        raise ReadError(
            "itslive", ", ".join(map(str, paths)), expected="a datacube or granules",
            got=failures[0].reason if failures else "no NetCDF file", hint="check the paths",
        )
    first = stacks[0]
    usable = [first]
    for other in stacks[1:]:
        try:
            require_same_lattice("the second source", first.grid, other.grid)
            usable.append(other)
        except GridMismatchError as error:
            failures.append(Failure.of("itslive", error))
    every = joined(usable)
    times = np.stack([every.start, every.end], axis=1).astype(np.int64)
    _, unique = np.unique(times, axis=0, return_index=True)
    return every.take(np.sort(unique)), failures


def source_epsg(paths: Sequence[str | Path]) -> int | None:
    """Return the EPSG code of the first source that can be opened, None if none can."""
    for path in paths:
        local = Path(path)
        folder = local.is_dir() and not is_zarr(local)
        for file in sorted(local.glob("*.nc")) if folder else [path]:
            try:
                with opened(file) as data:
                    return int(grid_of(file, data).crs.to_epsg())
            except ReadError:
                continue
    return None


def _pair_error(path: object, data: xr.Dataset, axis: str) -> FloatArray:
    """Error of each pair, m/yr, which ITS_LIVE reads off the stable ground of the pair."""
    name = f"{axis}_error"
    if name not in data:
        raise unlike(path, f"no {name}")
    error = data[name].values.astype(np.float64)
    if "stable_shift_flag" in data:
        error[np.asarray(data["stable_shift_flag"].values) == NO_SHIFT] = np.nan
    elif "stable_count_stationary" in data and f"{axis}_error_slow" not in data:
        error[np.asarray(data["stable_count_stationary"].values) == 0] = np.nan
    return error


def _strings(data: xr.Dataset, name: str, count: int) -> NDArray[np.str_]:
    if name not in data:
        return np.full(count, "")
    raw = np.asarray(data[name].values)
    return np.array([x.decode() if isinstance(x, bytes) else str(x) for x in raw])


def _sensors(data: xr.Dataset, names: NDArray[np.str_]) -> NDArray[np.str_]:
    """Read the sensor of each pair off the names of its scenes."""
    out = [sensor_of(name) for name in names]
    if not any(out) and "satellite_img1" in data:
        one, two = (_strings(data, f"satellite_img{i}", len(names)) for i in (1, 2))
        out = [a if a == b else f"{a}+{b}" for a, b in zip(one, two, strict=True)]
    return np.array(out, dtype=np.str_)
