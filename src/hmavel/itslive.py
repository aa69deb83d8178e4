"""Pair velocities of ITS_LIVE: datacubes and pair granules as another source of pairs.

The only place that opens them, by xarray: NetCDF always, Zarr where the ``zarr`` package is
installed. A cube is read a window at a time, so that its size does not matter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from hmavel import memory
from hmavel._types import FloatArray, Grid, TimeArray, days_between
from hmavel.errors import GridMismatchError, HmavelError, ReadError
from hmavel.lattice import crs_name
from hmavel.parallel import Failure
from hmavel.raster_netcdf import damaged_netcdf

logger = logging.getLogger(__name__)

_PER_PAIR = ("start", "end", "vx", "vy", "sigma_vx", "sigma_vy", "id", "sensor")
#: Variables that a cube must have.
_NEEDED = ("vx", "vy", "acquisition_date_img1", "acquisition_date_img2")
#: ITS_LIVE's "no stable surface was found, nothing was subtracted".
_NO_SHIFT = 0
_SENSOR = re.compile(r"(L[COTEM]0[4-9]|S2[AB]|S1[AB])_")


@dataclass(frozen=True)
class PairStack:
    """Velocities of many pairs on one grid; arrays (p, rows, cols) unless said."""

    grid: Grid
    start: TimeArray  #: (p,) datetime64[ms] of the earlier scene
    end: TimeArray  #: (p,) of the later scene
    vx: FloatArray  #: float32, m/yr along +x of the grid, NaN = missing
    vy: FloatArray  #: float32, m/yr along +y
    sigma_vx: FloatArray  #: (p,) 1 sigma, m/yr: what the file says of stable ground
    sigma_vy: FloatArray
    id: NDArray[np.str_]  #: (p,) name of the granule, "" where the file has none
    sensor: NDArray[np.str_]  #: (p,) "LC08", or "LC08+LC09" for a pair of two, "" = unknown

    @property
    def baseline_days(self) -> FloatArray:
        """Days from scene to scene."""
        return days_between(self.start, self.end)

    def take(self, pairs: NDArray[Any]) -> PairStack:
        """Return some of the pairs, by index or by mask."""
        return replace(self, **{name: getattr(self, name)[pairs] for name in _PER_PAIR})

    def on(self, grid: Grid) -> PairStack:
        """Return the stack on the cells of another grid of the same CRS.

        Each cell takes the value of the cell that its centre lies in: values are neither
        blended nor made up, and are at most half a cell (ITS_LIVE's 120 m lattice and
        hmavel's: 7.5 m) from where they are said to be.

        Raises
        ------
        GridMismatchError
            Another CRS; the vectors would have to be turned.
        """
        if grid.crs != self.grid.crs:
            raise GridMismatchError(
                "itslive", f"{len(self.start)} pairs", expected=crs_name(grid.crs),
                got=crs_name(self.grid.crs),
                hint="take the datacube of the glacier's own UTM zone",
            )
        rows, cols = (np.arange(n) for n in grid.shape)
        row = np.floor(self.grid.row(grid.y(rows)) + 0.5).astype(int)
        col = np.floor(self.grid.col(grid.x(cols)) + 0.5).astype(int)
        height, width = self.grid.shape
        inside = ((row >= 0) & (row < height))[:, None] & ((col >= 0) & (col < width))
        at = np.ix_(np.clip(row, 0, height - 1), np.clip(col, 0, width - 1))
        vx, vy = (
            np.where(inside, values[:, at[0], at[1]], np.float32(np.nan))
            for values in (self.vx, self.vy)
        )
        return replace(self, grid=grid, vx=vx, vy=vy)


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
    with _opened(path) as data:
        missing = [name for name in _NEEDED if name not in data]
        if missing or not {"x", "y"} <= set(data.coords):
            raise _unlike(path, f"no {', '.join(missing or ['x, y coordinates'])}")
        if "mid_date" not in data.sizes:
            raise _unlike(path, f"dimensions {tuple(data.sizes)}")
        grid = _grid(path, data)
        rows, cols = slice(None), slice(None)
        if window is not None:
            grid, rows, cols = _cut(path, grid, window)
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
            values = _values(part, data[axis])[some]
            if measured_only and "interp_mask" in data:
                mask = data["interp_mask"].transpose("mid_date", "y", "x")[:, rows, cols]
                values[np.asarray(mask.values)[some] == 1] = np.nan
            fields[axis] = values
    first, last = np.minimum(start, end), np.maximum(start, end)
    return PairStack(
        grid=grid, start=first[some], end=last[some], **fields, sigma_vx=sigma[0][some],
        sigma_vy=sigma[1][some], id=names[some], sensor=sensors[some],
    )


def read_granules(
    paths: Sequence[str | Path], *, window: Grid | None = None
) -> tuple[PairStack, list[Failure]]:
    """Read pair granules of one lattice into a stack.

    Parameters
    ----------
    paths
        NetCDF granules. Their grids must have one CRS and one lattice; extents may differ.
    window
        The cells wanted; None = the extent of all.

    Returns
    -------
    PairStack, list of Failure
        Pairs in the order of ``paths``. A granule that cannot be read, has another lattice,
        or has no stable-shift error (``stable_shift_flag`` 0) is among the failures.

    Raises
    ------
    ReadError
        No granule could be read.
    """
    read: list[PairStack] = []
    failures: list[Failure] = []
    for path in paths:
        try:
            one = _granule(Path(path), window)
            if read:
                _same_lattice(path, read[0].grid, one.grid)
        except HmavelError as error:
            logger.warning("%s", error)
            failures.append(Failure.of(f"granule {path}", error))
        else:
            read.append(one)
    if not read:
        raise ReadError(
            "itslive", f"{len(failures)} granules", expected="at least one readable granule",
            got=failures[0].reason if failures else "none", hint="see the other messages",
        )
    return _joined(read), failures


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
        if local.is_dir() and not _is_zarr(local):
            granules += sorted(local.glob("*.nc"))
        elif local.suffix == ".nc" and _is_granule(local):
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
            _same_lattice("the second source", first.grid, other.grid)
            usable.append(other)
        except GridMismatchError as error:
            failures.append(Failure.of("itslive", error))
    joined = _joined(usable)
    times = np.stack([joined.start, joined.end], axis=1).astype(np.int64)
    _, unique = np.unique(times, axis=0, return_index=True)
    return joined.take(np.sort(unique)), failures


def source_epsg(paths: Sequence[str | Path]) -> int | None:
    """Return the EPSG code of the first source that can be opened, None if none can."""
    for path in paths:
        local = Path(path)
        folder = local.is_dir() and not _is_zarr(local)
        for file in sorted(local.glob("*.nc")) if folder else [path]:
            try:
                with _opened(file) as data:
                    return int(_grid(file, data).crs.to_epsg())
            except ReadError:
                continue
    return None


@contextmanager
def _opened(path: str | Path) -> Iterator[xr.Dataset]:
    options: dict[str, Any] = {"mask_and_scale": False, "decode_times": True}
    zarr = _is_zarr(Path(path)) or str(path).endswith(".zarr")
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


def _is_zarr(path: Path) -> bool:
    return any((path / name).exists() for name in (".zgroup", "zarr.json", ".zmetadata"))


def _is_granule(path: Path) -> bool:
    try:
        with _opened(path) as data:
            return "img_pair_info" in data
    except ReadError:
        return False


def _unlike(path: object, got: str) -> ReadError:
    return ReadError(
        "itslive", path, expected="the variables of an ITS_LIVE cube or granule", got=got,
        hint="see https://its-live.jpl.nasa.gov for the two forms",
    )


def _grid(path: object, data: xr.Dataset) -> Grid:
    """Make the grid from the cell centres and the projection that the file names."""
    x, y = data["x"].values.astype(float), data["y"].values.astype(float)
    if len(x) < 2 or len(y) < 2:
        raise _unlike(path, f"{len(y)} x {len(x)} cells")
    dx, dy = x[1] - x[0], y[1] - y[0]
    uneven = np.abs(np.diff(x) - dx).max() > 1e-3 or np.abs(np.diff(y) - dy).max() > 1e-3
    if uneven or dx <= 0 or dy >= 0 or abs(dx + dy) > 1e-3:
        raise _unlike(path, f"x spacing {dx:g} and y spacing {dy:g}, or uneven ones")
    attributes = data["mapping"].attrs if "mapping" in data else {}
    text = attributes.get("crs_wkt") or attributes.get("spatial_ref") or ""
    epsg = attributes.get("spatial_epsg") or data.attrs.get("projection")
    try:
        crs = CRS.from_epsg(int(epsg)) if epsg else CRS.from_wkt(str(text))
    except (CRSError, ValueError) as error:
        raise _unlike(path, f"projection {epsg or text!r}") from error
    transform = Affine(dx, 0, x[0] - dx / 2, 0, dy, y[0] - dy / 2)
    return Grid(crs, transform, (len(y), len(x)))


def _cut(path: object, grid: Grid, window: Grid) -> tuple[Grid, slice, slice]:
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


def _values(part: xr.DataArray, whole: xr.DataArray) -> NDArray[np.float32]:
    """Read stored numbers as float32 m/yr, NaN where they are the fill value."""
    memory.require(part.size * (part.dtype.itemsize + 4.0), "a cube")
    raw = np.asarray(part.values)
    values = raw.astype(np.float32)
    for key in ("_FillValue", "missing_value"):
        if key in whole.attrs:
            values[raw == whole.attrs[key]] = np.nan
    scale = float(whole.attrs.get("scale_factor", 1.0))
    return values * np.float32(scale) + np.float32(whole.attrs.get("add_offset", 0.0))


def _pair_error(path: object, data: xr.Dataset, axis: str) -> FloatArray:
    """Error of each pair, m/yr, which ITS_LIVE reads off the stable ground of the pair."""
    name = f"{axis}_error"
    if name not in data:
        raise _unlike(path, f"no {name}")
    error = data[name].values.astype(np.float64)
    if "stable_shift_flag" in data:
        error[np.asarray(data["stable_shift_flag"].values) == _NO_SHIFT] = np.nan
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
    out = []
    for name in names:
        found = list(dict.fromkeys(_SENSOR.findall(name)))
        out.append("+".join(found))
    if not any(out) and "satellite_img1" in data:
        one, two = (_strings(data, f"satellite_img{i}", len(names)) for i in (1, 2))
        out = [a if a == b else f"{a}+{b}" for a, b in zip(one, two, strict=True)]
    return np.array(out, dtype=np.str_)


def _granule(path: Path, window: Grid | None) -> PairStack:
    """Read one granule as a stack of one pair."""
    with _opened(path) as data:
        if "img_pair_info" not in data or "vx" not in data or "vy" not in data:
            raise _unlike(path, f"variables {', '.join(map(str, list(data)[:6]))}")
        grid = _grid(path, data)
        rows, cols = slice(None), slice(None)
        if window is not None:
            grid, rows, cols = _cut(path, grid, window)
        info = data["img_pair_info"].attrs
        times = [_time(path, info, i) for i in (1, 2)]
        sigma, fields = {}, {}
        for axis in ("vx", "vy"):
            attributes = data[axis].attrs
            error = float(attributes.get("error", attributes.get(f"{axis}_error", np.nan)))
            if int(attributes.get("stable_shift_flag", _NO_SHIFT)) == _NO_SHIFT:
                error = np.nan
            if not error > 0:
                raise ReadError(
                    "itslive", path, expected=f"a stable-shift error of {axis}",
                    got=f"flag {attributes.get('stable_shift_flag')}, error {error:g}",
                    hint="leave the granule out: nothing says how good it is",
                )
            sigma[f"sigma_{axis}"] = np.array([error])
            part = data[axis].transpose("y", "x")[rows, cols]
            fields[axis] = _values(part, data[axis])[None]
    if times[0] == times[1]:
        raise _unlike(path, "two scenes of one time")
    sensors = list(dict.fromkeys(_SENSOR.findall(path.name)))
    first, last = sorted(times)
    return PairStack(
        grid=grid, start=np.array([first]), end=np.array([last]), **fields, **sigma,
        id=np.array([path.name]), sensor=np.array(["+".join(sensors)]),
    )


def _time(path: object, info: dict[str, Any], i: int) -> np.datetime64:
    text = str(info.get(f"acquisition_date_img{i}", ""))
    match = re.match(r"(\d{4})-?(\d\d)-?(\d\d)T?(\d\d:\d\d:\d\d(?:\.\d+)?)?", text)
    if match is None:
        raise _unlike(path, f"acquisition_date_img{i} {text!r}")
    year, month, day, clock = match.groups()
    return np.datetime64(f"{year}-{month}-{day}T{clock or '12:00:00'}", "ms")


def _same_lattice(path: object, one: Grid, other: Grid) -> None:
    """Refuse a grid whose cells are not those of ``one``, shifted by whole cells."""
    row, col = one.row(other.y(0)), one.col(other.x(0))
    off = max(abs(row - round(row)), abs(col - round(col)))
    if one.crs != other.crs or abs(one.pixel - other.pixel) > 1e-3 or off > 0.01:
        raise GridMismatchError(
            "itslive", path, expected=f"{crs_name(one.crs)} cells of {one.pixel:g} m at whole "
            "steps from the first file's", got=f"{crs_name(other.crs)}, {other.pixel:g} m, "
            f"{off:.2f} cells off", hint="process each lattice by itself",
        )


def _joined(stacks: Sequence[PairStack]) -> PairStack:
    """Put stacks of one lattice on their common extent, pairs one after the other."""
    base = stacks[0].grid
    corners = [
        (round(base.row(s.grid.y(0))), round(base.col(s.grid.x(0))), *s.grid.shape)
        for s in stacks
    ]
    top, left = min(c[0] for c in corners), min(c[1] for c in corners)
    rows = max(c[0] + c[2] for c in corners) - top
    cols = max(c[1] + c[3] for c in corners) - left
    count = sum(len(s.start) for s in stacks)
    fields = [np.full((count, rows, cols), np.nan, np.float32) for _ in range(2)]
    at = 0
    for stack, (row, col, height, width) in zip(stacks, corners, strict=True):
        pairs = slice(at, at + len(stack.start))
        where = slice(row - top, row - top + height), slice(col - left, col - left + width)
        for field, part in zip(fields, (stack.vx, stack.vy), strict=True):
            field[(pairs, *where)] = part
        at += len(stack.start)

    values: dict[str, Any] = {
        name: np.concatenate([getattr(stack, name) for stack in stacks])
        for name in _PER_PAIR
        if name not in ("vx", "vy")
    }
    grid = base.crop(top, left, rows, cols)
    return PairStack(grid=grid, vx=fields[0], vy=fields[1], **values)
