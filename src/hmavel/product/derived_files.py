"""Files of what is derived of a glacier's months: GeoTIFFs, and all of it in one NetCDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.product.cf import (
    add_axis,
    add_grid,
    add_periods,
    add_variable,
    flag_attributes,
    global_attributes,
    new_file,
)
from hmavel.product.derived_field import (
    ANNUAL_NOTES,
    ANNUAL_UNITS,
    FLOOR_FLAGS,
    SEASON_FLAGS,
    SEASON_NOTES,
    SEASON_UNITS,
    TREND_FLAGS,
    DerivedField,
)
from hmavel.product.provenance import flat
from hmavel.raster_write import write_geotiff

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEASON_NAME = "season_trend.tif"
CUBE_NAME = "derived.nc"
#: Patterns of all files that `write_derived` makes.
FILES = ("annual_*.tif", SEASON_NAME, CUBE_NAME)

_CF_UNITS = {"m/yr": "m year-1", "m/yr/yr": "m year-2", "degrees": "degree", "days": "day"}
_FLAGS = {
    "season_flag": SEASON_FLAGS,
    "trend_flag": TREND_FLAGS,
    "season_below_floor": FLOOR_FLAGS,
    "trend_below_floor": FLOOR_FLAGS,
}
_NO_FLAG = -1
_ALONG = "velocity along the mean flow"


def write_derived(
    folder: Path, field: DerivedField, provenance: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write ``annual_YYYY.tif``, ``season_trend.tif`` and ``derived.nc``.

    Parameters
    ----------
    folder
        ``<out>/<glacier id>``; made when missing.
    field
        What `combine_derived` returned.
    provenance
        Goes into tags and attributes, as in `write_months`.

    Returns
    -------
    list of Path
        In this order. Every year of the months has its file, also one without a mean.

    Raises
    ------
    WriteError
        A file cannot be written.
    """
    tags = {"glacier_id": field.name, "year_days": "365.25"} | flat(provenance or {})
    first, last = field.months[0], field.months[-1] + 1
    written = []
    for index, year in enumerate(field.years):
        path = folder / f"annual_{year}.tif"
        own = {
            "time_start": f"{max(year.astype('datetime64[M]'), first)}-01T00:00:00Z",
            "time_end": f"{min((year + 1).astype('datetime64[M]'), last)}-01T00:00:00Z",
            **{f"band_{name}": note for name, note in ANNUAL_NOTES.items()},
        }
        bands = {name: values[index] for name, values in field.annual.items()}
        write_geotiff(path, bands, field.grid, units=ANNUAL_UNITS, tags=tags | own)
        written.append(path)
    path = folder / SEASON_NAME
    own = {
        "time_start": f"{first}-01T00:00:00Z",
        "time_end": f"{last}-01T00:00:00Z",
        **{f"band_{name}": note for name, note in SEASON_NOTES.items()},
    }
    write_geotiff(path, field.season, field.grid, units=SEASON_UNITS, tags=tags | own)
    _write_cube(folder / CUBE_NAME, field, provenance or {})
    return [*written, path, folder / CUBE_NAME]


def _write_cube(path: Path, field: DerivedField, provenance: Mapping[str, Any]) -> None:
    with new_file(path) as file:
        add_periods(file, "time", field.months, "middle of the month")
        add_periods(file, "year", field.years, "middle of the calendar year")
        add_axis(
            file, "calendar_month", np.arange(1.0, 13), long_name="calendar month, 1 = January",
            units="1",
        )  # fmt: skip
        add_grid(file, field.grid)
        for name, values in field.annual.items():
            about = {"long_name": ANNUAL_NOTES[name], "units": _unit(ANNUAL_UNITS[name])}
            full = f"annual_{_netcdf_name(name)}"
            _put(file, full, ("year", "y", "x"), about, values)
        for name, values in field.season.items():
            _put(file, _netcdf_name(name), ("y", "x"), *_described(name, values))
        month = "its mean over the calendar month in all years"
        for name, dimension, long_name, values in (
            ("anomaly", "time", f"{_ALONG} less {month}", field.anomaly),
            ("anomaly_error", "time", "standard error (1 sigma) of anomaly",
             field.sigma_anomaly),
            ("climatology", "calendar_month", f"{_ALONG}: {month}", field.climatology),
            ("climatology_error", "calendar_month", "standard error (1 sigma) of climatology",
             field.sigma_climatology),
        ):  # fmt: skip
            about = {"long_name": long_name, "units": "m year-1"}
            _put(file, name, (dimension, "y", "x"), about, values)
        about_all = (
            f"Annual means, season, trend and anomalies of the glacier {field.name}".rstrip()
        )
        how = "derived from its monthly velocities with their covariance."
        file.setncatts(
            global_attributes(
                about_all, how, field.grid, field.name, field.months, provenance
            )
        )


def _netcdf_name(name: str) -> str:
    """Return the name of a band in NetCDF, where errors are named after their variable."""
    return f"{name.removeprefix('sigma_')}_error" if name.startswith("sigma_") else name


def _unit(unit: str) -> str:
    return _CF_UNITS.get(unit, unit)


def _described(name: str, values: Any) -> tuple[dict[str, Any], Any]:
    about = {"long_name": SEASON_NOTES[name]}
    if name in _FLAGS:
        return about | flag_attributes(_FLAGS[name]), np.where(
            np.isnan(values), _NO_FLAG, values
        ).astype("i1")
    return about | {"units": _unit(SEASON_UNITS[name])}, values


def _put(
    file: Any, name: str, dimensions: tuple[str, ...], about: Mapping[str, Any], values: Any
) -> None:
    kind, fill = ("i1", _NO_FLAG) if values.dtype == np.int8 else ("f4", np.nan)
    chunks = tuple(min(n, 64) for n in values.shape)
    add_variable(file, name, dimensions, about, kind=kind, fill=fill, chunks=chunks)[:] = values
