"""A glacier's months as one CF-1.8 NetCDF cube, with the variable names of ITS_LIVE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import netCDF4
import numpy as np
import pyproj
from rasterio.crs import CRS

from hmavel.atomic import atomic_path
from hmavel.errors import WriteError
from hmavel.product.field import FLAG_MEANINGS, MonthlyField, speed
from hmavel.product.placement import footprint
from hmavel.product.provenance import flat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hmavel._types import Grid

#: (months, rows, cols) of a chunk: a series touches few of them, and so does a map.
_CHUNK = (36, 64, 64)
_EPOCH = np.datetime64("1970-01-01", "s")
_NO_FLAG = -1  # outside the domain

_YEAR = "1 year = 365.25 days"
#: name -> attributes; the order is that of the file.
_VARIABLES: dict[str, dict[str, str]] = {
    "vx": {
        "standard_name": "land_ice_surface_x_velocity",
        "long_name": "ice surface velocity in the x direction of the grid, monthly mean",
        "units": "m year-1",
        "cell_methods": "time: mean",
        "ancillary_variables": "vx_error count flag shortest_days",
        "comment": _YEAR,
    },
    "vy": {
        "standard_name": "land_ice_surface_y_velocity",
        "long_name": "ice surface velocity in the y direction of the grid, monthly mean",
        "units": "m year-1",
        "cell_methods": "time: mean",
        "ancillary_variables": "vy_error count flag shortest_days",
        "comment": _YEAR,
    },
    "v": {
        "long_name": "magnitude of the monthly mean ice surface velocity",
        "units": "m year-1",
        "ancillary_variables": "v_error count flag shortest_days",
        "comment": f"{_YEAR}; biased high by about v_error^2 / (2 v) where v is not "
        "several times v_error",
    },
    "vx_error": {
        "standard_name": "land_ice_surface_x_velocity standard_error",
        "long_name": "standard error (1 sigma) of vx",
        "units": "m year-1",
    },
    "vy_error": {
        "standard_name": "land_ice_surface_y_velocity standard_error",
        "long_name": "standard error (1 sigma) of vy",
        "units": "m year-1",
    },
    "v_error": {"long_name": "standard error (1 sigma) of v", "units": "m year-1"},
    "count": {
        "long_name": "effective number of image pairs, the smaller of the two components",
        "units": "1",
    },
    "shortest_days": {
        "long_name": "shortest image-pair baseline that saw the month",
        "units": "days",
    },
    "flag": {"long_name": "what a month rests on, the worse of the two components"},
}
_EXTRAS: dict[str, dict[str, str]] = {
    "next_correlation": {
        "long_name": "correlation of the errors of {axis} in this month and in the next",
        "units": "1",
    },
    "overlap_mean": {
        "long_name": "{axis} as the weighted mean of the image pairs that touch the month",
        "units": "m year-1",
        "comment": "blurred in time by the baselines; no prior",
    },
    "overlap_median": {
        "long_name": "{axis} as the weighted median of the image pairs that touch the month",
        "units": "m year-1",
        "comment": "blurred in time by the baselines; no prior",
    },
}


def write_cube(
    path: Path, field: MonthlyField, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write ``velocity.nc``: dimensions time, y, x; CF-1.8; compressed.

    Parameters
    ----------
    path
        The file to make or to replace, atomically.
    field
        What `combine` returned.
    provenance
        Global attributes; nested values are stored as JSON.

    Raises
    ------
    WriteError
        The file cannot be written.

    Notes
    -----
    ``time`` is the middle of the month, its bounds are the first of the month and of the next;
    the values are means over them. ``vx`` and ``vy`` follow the grid of ``mapping``, as in
    ITS_LIVE. Values are those of the GeoTIFFs to the last bit: float32, NaN = not measured.
    The bytes depend on nothing but the arguments and the library versions.
    """
    try:
        with (
            atomic_path(path) as temporary,
            netCDF4.Dataset(temporary, "w", format="NETCDF4") as file,
        ):
            _axes(file, field)
            _mapping(file, field.grid)
            _variables(file, field)
            file.setncatts(_global(field, provenance or {}))
    except RuntimeError as error:  # what the HDF5 library says of a full disk
        raise WriteError(
            "write",
            path,
            expected="a NetCDF file that can be written",
            got=str(error),
            hint="check permissions and free space",
        ) from error


def _axes(file: netCDF4.Dataset, field: MonthlyField) -> None:
    starts = field.months.astype("datetime64[M]")
    bounds = np.stack([starts, starts + 1], axis=1).astype("datetime64[s]")
    days = (bounds - _EPOCH) / np.timedelta64(1, "D")
    rows, cols = field.grid.shape
    for name, size in (("time", len(starts)), ("y", rows), ("x", cols), ("bounds", 2)):
        file.createDimension(name, size)

    def axis(name: str, values: Any, **attributes: str) -> None:
        variable = file.createVariable(name, "f8", (name,), fill_value=False)
        variable.setncatts(attributes)
        variable[:] = values

    axis(
        "time",
        days.mean(axis=1),
        standard_name="time",
        long_name="middle of the month",
        axis="T",
        units="days since 1970-01-01",
        calendar="standard",
        bounds="time_bnds",
    )
    file.createVariable("time_bnds", "f8", ("time", "bounds"), fill_value=False)[:] = days
    y, x = field.grid.y(np.arange(rows)), field.grid.x(np.arange(cols))
    for name, values in (("y", y), ("x", x)):
        axis(
            name,
            values,
            standard_name=f"projection_{name}_coordinate",
            long_name=f"{name} of the cell centres",
            axis=name.upper(),
            units="m",
        )


def _mapping(file: netCDF4.Dataset, grid: Grid) -> None:
    crs, transform = pyproj.CRS.from_wkt(grid.crs.to_wkt()), grid.transform
    mapping = file.createVariable("mapping", "i4", fill_value=False)
    # GDAL's order: x origin, pixel width, rotation, y origin, rotation, pixel height.
    six = (transform.c, transform.a, 0.0, transform.f, 0.0, transform.e)
    mapping.setncatts(
        crs.to_cf()
        | {"spatial_ref": grid.crs.to_wkt(), "GeoTransform": " ".join(f"{t:.17g}" for t in six)}
    )
    mapping[...] = 0


def _variables(file: netCDF4.Dataset, field: MonthlyField) -> None:
    number, rows, cols = len(field.months), *field.grid.shape
    chunks = tuple(map(min, _CHUNK, (number, rows, cols)))
    for name, attributes in (_VARIABLES | _extra_attributes(field)).items():
        kind, fill = ("i1", _NO_FLAG) if name == "flag" else ("f4", np.nan)
        variable = file.createVariable(
            name,
            kind,
            ("time", "y", "x"),
            fill_value=fill,
            zlib=True,
            complevel=4,
            shuffle=True,
            chunksizes=chunks,
        )
        variable.setncatts(attributes | {"grid_mapping": "mapping"})
        if name == "flag":
            variable.setncatts(
                {
                    "flag_values": np.array(list(FLAG_MEANINGS), dtype="i1"),
                    "flag_meanings": " ".join(FLAG_MEANINGS.values()),
                }
            )
    # Whole chunks at a time, so that none is packed twice and only one slab is derived.
    for start in range(0, number, chunks[0]):
        part = slice(start, min(start + chunks[0], number))
        for name, values in _slab(field, part).items():
            file[name][part] = values


def _slab(field: MonthlyField, part: slice) -> dict[str, Any]:
    vx, vy = field.vx[part], field.vy[part]
    sigma_vx, sigma_vy = field.sigma_vx[part], field.sigma_vy[part]
    v, sigma_v = speed(vx, vy, sigma_vx, sigma_vy)
    count, flag = field.count[part], field.flag[part]
    if field.domain is not None:
        count = _inside(field, count)
        flag = np.where(field.domain, flag, _NO_FLAG)
    return {
        "vx": vx,
        "vy": vy,
        "v": v,
        "vx_error": sigma_vx,
        "vy_error": sigma_vy,
        "v_error": sigma_v,
        "count": count,
        "shortest_days": field.shortest_days[part],
        "flag": flag,
        **{name: _inside(field, values[part]) for name, values in field.extras.items()},
    }


def _inside(field: MonthlyField, values: Any) -> Any:
    values, nan = np.asarray(values, dtype=np.float32), np.float32(np.nan)
    return values if field.domain is None else np.where(field.domain, values, nan)


def _extra_attributes(field: MonthlyField) -> dict[str, dict[str, str]]:
    """Return the attributes of the extras that the field has: "vx_overlap_mean" and so on."""
    out = {}
    for name in field.extras:
        axis, what = name.split("_", 1)
        out[name] = {key: text.format(axis=axis) for key, text in _EXTRAS[what].items()}
    return out


def _global(field: MonthlyField, provenance: Mapping[str, Any]) -> dict[str, str | float]:
    about = f"Monthly surface velocity of the glacier {field.name}".rstrip()
    words = flat(provenance)
    software = words.pop("software")
    west, south, east, north = footprint(field.grid, CRS.from_epsg(4326))
    return {
        "Conventions": "CF-1.8",
        "title": about,
        "summary": f"{about}, from the displacement of its surface texture between Landsat-8/9 "
        "Band 8 images.",
        "source": f"{software}: frequency-domain image correlation of Landsat-8/9 Band 8 "
        "pairs, corrected on bare ground, inverted to months",
        "history": f"made by {software}",
        "references": "docs/method.md of the software",
        "software": software,
        "glacier_id": field.name,
        "time_coverage_start": f"{field.months[0]}-01T00:00:00Z",
        "time_coverage_end": f"{field.months[-1] + 1}-01T00:00:00Z",
        "geospatial_lon_min": west,
        "geospatial_lon_max": east,
        "geospatial_lat_min": south,
        "geospatial_lat_max": north,
        **words,
    }
