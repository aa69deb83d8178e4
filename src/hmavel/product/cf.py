"""What the NetCDF files have in common: axes, grid mapping, packed variables, attributes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import netCDF4
import numpy as np
import pyproj
from rasterio.crs import CRS

from hmavel.atomic import atomic_path
from hmavel.errors import WriteError
from hmavel.product.placement import footprint
from hmavel.product.provenance import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hmavel._types import Grid, TimeArray

_EPOCH = np.datetime64("1970-01-01", "s")
GEOGRAPHIC = CRS.from_epsg(4326)


@contextmanager
def new_file(path: Path) -> Iterator[netCDF4.Dataset]:
    """Open a NetCDF-4 file to fill; it gets its name when it is complete.

    Raises
    ------
    WriteError
        The file cannot be written.
    """
    try:
        with (
            atomic_path(path) as temporary,
            netCDF4.Dataset(temporary, "w", format="NETCDF4") as file,
        ):
            yield file
    except RuntimeError as error:  # what the HDF5 library says of a full disk
        raise WriteError(
            "write",
            path,
            expected="a NetCDF file that can be written",
            got=str(error),
            hint="check permissions and free space",
        ) from error


def add_axis(file: netCDF4.Dataset, name: str, values: Any, **attributes: Any) -> None:
    """Add a dimension with its coordinate, as doubles."""
    file.createDimension(name, len(values))
    variable = file.createVariable(name, "f8", (name,), fill_value=False)
    variable.setncatts(attributes)
    variable[:] = values


def add_periods(
    file: netCDF4.Dataset, name: str, starts: TimeArray, long_name: str
) -> None:
    """Add an axis of months or of years: their middles, with their bounds."""
    bounds = np.stack([starts, starts + 1], axis=1).astype("datetime64[s]")
    days = (bounds - _EPOCH) / np.timedelta64(1, "D")
    if "bounds" not in file.dimensions:
        file.createDimension("bounds", 2)
    add_axis(
        file,
        name,
        days.mean(axis=1),
        standard_name="time",
        long_name=long_name,
        axis="T",
        units="days since 1970-01-01",
        calendar="standard",
        bounds=f"{name}_bnds",
    )
    file.createVariable(f"{name}_bnds", "f8", (name, "bounds"), fill_value=False)[:] = days


def add_grid(file: netCDF4.Dataset, grid: Grid) -> None:
    """Add y, x and ``mapping``, which both CF readers and GDAL understand."""
    rows, cols = grid.shape
    for name, values in (("y", grid.y(np.arange(rows))), ("x", grid.x(np.arange(cols)))):
        add_axis(
            file,
            name,
            values,
            standard_name=f"projection_{name}_coordinate",
            long_name=f"{name} of the cell centres",
            axis=name.upper(),
            units="m",
        )
    crs, transform = pyproj.CRS.from_wkt(grid.crs.to_wkt()), grid.transform
    mapping = file.createVariable("mapping", "i4", fill_value=False)
    # GDAL's order: x origin, pixel width, rotation, y origin, rotation, pixel height.
    six = (transform.c, transform.a, 0.0, transform.f, 0.0, transform.e)
    mapping.setncatts(
        crs.to_cf()
        | {"spatial_ref": grid.crs.to_wkt(), "GeoTransform": " ".join(f"{t:.17g}" for t in six)}
    )
    mapping[...] = 0


def add_variable(
    file: netCDF4.Dataset,
    name: str,
    dimensions: tuple[str, ...],
    attributes: Mapping[str, Any],
    *,
    kind: str = "f4",
    fill: float | None = np.nan,
    chunks: tuple[int, ...] | None = None,
) -> Any:
    """Add a compressed variable on the grid and return it, to be filled.

    ``fill`` is what a missing value is; None = none is missing.
    """
    variable = file.createVariable(
        name,
        kind,
        dimensions,
        fill_value=False if fill is None else fill,
        zlib=True,
        complevel=4,
        shuffle=True,
        chunksizes=chunks,
    )
    variable.setncatts({**attributes, "grid_mapping": "mapping"})
    return variable


def flag_attributes(meanings: Mapping[int, str]) -> dict[str, Any]:
    """Return what CF wants of a variable of codes."""
    return {
        "flag_values": np.array(list(meanings), dtype="i1"),
        "flag_meanings": " ".join(meanings.values()),
    }


def global_attributes(
    about: str,
    how: str,
    grid: Grid,
    name: str,
    months: TimeArray,
    provenance: Mapping[str, Any],
) -> dict[str, str | float]:
    """Return the attributes of a file: conventions, place, time, and what made it.

    ``about`` is the title, ``how`` continues it to the summary; ``provenance`` may replace
    any of them.
    """
    words = flat(provenance)
    software = words.pop("software")
    west, south, east, north = footprint(grid, GEOGRAPHIC)
    return {
        "Conventions": "CF-1.8",
        "title": about,
        "summary": f"{about}, {how}",
        "keywords": "glacier, ice velocity, Landsat, image correlation, High Mountain Asia",
        "source": f"{software}: frequency-domain image correlation of Landsat-8/9 Band 8 "
        "pairs, corrected on bare ground, inverted to months",
        "history": f"made by {software}",
        "references": "docs/method.md of the software",
        "software": software,
        "id": name,
        "glacier_id": name,
        "time_coverage_start": f"{months[0]}-01T00:00:00Z",
        "time_coverage_end": f"{months[-1] + 1}-01T00:00:00Z",
        "time_coverage_resolution": "P1M",
        "time_coverage_duration": f"P{len(months)}M",
        "geospatial_lon_min": west,
        "geospatial_lon_max": east,
        "geospatial_lat_min": south,
        "geospatial_lat_max": north,
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_bounds": f"POLYGON(({south:.6f} {west:.6f}, {south:.6f} {east:.6f}, "
        f"{north:.6f} {east:.6f}, {north:.6f} {west:.6f}, {south:.6f} {west:.6f}))",
        **words,
    }
