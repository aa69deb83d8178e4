"""A glacier's months as one CF-1.8 NetCDF cube, with the variable names of ITS_LIVE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.product.cf import (
    add_grid,
    add_periods,
    add_variable,
    flag_attributes,
    global_attributes,
    new_file,
)
from hmavel.product.field import FLAG_MEANINGS, MonthlyField, speed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import netCDF4

#: (months, rows, cols) of a chunk: a series touches few of them, and so does a map.
_CHUNK = (36, 64, 64)
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
        "units": "day",  # "days" xarray may take for a span of time
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
    with new_file(path) as file:
        add_periods(file, "time", field.months, "middle of the month")
        add_grid(file, field.grid)
        _variables(file, field)
        about = f"Monthly surface velocity of the glacier {field.name}".rstrip()
        how = (
            "from the displacement of its surface texture between Landsat-8/9 Band 8 images."
        )
        file.setncatts(
            global_attributes(
                about, how, field.grid, field.name, field.months, provenance or {}
            )
        )


def _variables(file: netCDF4.Dataset, field: MonthlyField) -> None:
    number, rows, cols = len(field.months), *field.grid.shape
    chunks = tuple(map(min, _CHUNK, (number, rows, cols)))
    for name, attributes in (_VARIABLES | _extra_attributes(field)).items():
        kind, fill = ("i1", _NO_FLAG) if name == "flag" else ("f4", np.nan)
        codes = flag_attributes(FLAG_MEANINGS) if name == "flag" else {}
        add_variable(
            file,
            name,
            ("time", "y", "x"),
            attributes | codes,
            kind=kind,
            fill=fill,
            chunks=chunks,
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
