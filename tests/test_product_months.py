"""A glacier's months on disk: GeoTIFFs and the CF cube, read back by independent readers."""

from __future__ import annotations

import netCDF4
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from cf_check import faults
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from hmavel._types import Grid
from hmavel.errors import ReadError, WriteError
from hmavel.product.cube import write_cube
from hmavel.product.field import MonthlyField
from hmavel.product.month_files import open_months, write_months

GRID = Grid(CRS.from_epsg(32644), Affine(120, 0, 600000, 0, -120, 3950040), (70, 90))


def made(seed: int = 0, number: int = 40, *, domain=None, grid: Grid = GRID) -> MonthlyField:
    rng = np.random.default_rng(seed)
    shape = (number, *grid.shape)
    flag = rng.choice(np.array([0, 1, 2], "u1"), shape)
    flag[3] = 2  # a month that is blank throughout
    if domain is not None:
        flag[:, ~domain] = 2
    blank = flag == 2

    def values(centre: float, spread: float):
        array = (centre + spread * rng.normal(size=shape)).astype("f4")
        return np.where(blank, np.float32(np.nan), array)

    return MonthlyField(
        grid=grid,
        months=np.datetime64("2013-04", "M") + np.arange(number),
        vx=values(50, 5),
        vy=values(-20, 5),
        sigma_vx=np.abs(values(3, 0.3)),
        sigma_vy=np.abs(values(4, 0.3)),
        count=np.where(blank, 0, np.abs(values(5, 1))).astype("f4"),
        flag=flag,
        shortest_days=np.where(blank, np.nan, 16).astype("f4"),
        domain=domain,
        name="RGI2000-v7.0-G-14-00001",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "RGI2000-v7.0-G-14-00001"
    field = made(number=5)
    provenance = {"fingerprint": "abc", "config": {"a": 1}}
    return folder, field, write_months(folder, field, provenance)


def test_one_valid_cog_a_month_also_for_a_blank_one(written):
    folder, field, paths = written
    assert [path.name for path in paths] == [
        *(f"velocity_2013-{month:02}.tif" for month in range(4, 9)),
        "velocity.nc",
    ]
    assert sorted(folder.iterdir()) == sorted(paths)  # no temporary is left
    for index, path in enumerate(paths[:-1]):
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (errors, warnings)
        with rasterio.open(path) as file:
            assert file.descriptions == (
                "vx", "vy", "v", "sigma_vx", "sigma_vy", "sigma_v", "count", "flag",
            )  # fmt: skip
            assert file.units == (*("m/yr",) * 6, "1", "1")
            assert file.crs.to_epsg() == 32644
            assert file.transform == GRID.transform
            assert np.array_equal(file.read(1), field.vx[index], equal_nan=True)
            assert np.array_equal(file.read(6), field.sigma_v[index], equal_nan=True)
            assert np.array_equal(file.read(8), field.flag[index])
            tags = file.tags()
            assert tags["fingerprint"] == "abc"
            assert tags["config"] == '{"a": 1}'
            assert tags["time_start"] == f"{field.months[index]}-01T00:00:00Z"
            assert tags["glacier_id"] == field.name
    with rasterio.open(paths[3]) as file:
        assert np.isnan(file.read(range(1, 7))).all()
        assert (file.read(7) == 0).all()
        assert (file.read(8) == 2).all()


def test_the_cube_opens_in_xarray_with_time_place_and_values(written):
    folder, field, _ = written
    with xr.open_dataset(folder / "velocity.nc", decode_coords="all") as cube:
        assert dict(cube.sizes) == {"time": 5, "y": 70, "x": 90, "bounds": 2}
        assert np.array_equal(cube.vx.values, field.vx, equal_nan=True)
        assert np.array_equal(cube.v_error.values, field.sigma_v, equal_nan=True)
        assert cube.x.values == pytest.approx(600060 + 120 * np.arange(90))
        assert cube.y.values == pytest.approx(3949980 - 120 * np.arange(70))
        assert cube.time.values[0] == np.datetime64("2013-04-16")
        assert cube.time_bnds.values[-1].astype("datetime64[D]").tolist() == [
            np.datetime64("2013-08-01").item(),
            np.datetime64("2013-09-01").item(),
        ]
        assert cube.sel(time="2013-06").sizes["time"] == 1
        assert cube.vx.attrs["standard_name"] == "land_ice_surface_x_velocity"
        assert cube.vy.attrs["units"] == "m year-1"
        assert pyproj.CRS.from_cf(cube.mapping.attrs).to_epsg() == 32644
        assert cube.attrs["Conventions"] == "CF-1.8"
        assert cube.attrs["fingerprint"] == "abc"
        to = pyproj.Transformer.from_crs(32644, 4326, always_xy=True)
        west, south, _, north = to.transform_bounds(*GRID.bounds)
        for name, value in (("lon_min", west), ("lat_min", south), ("lat_max", north)):
            assert cube.attrs[f"geospatial_{name}"] == pytest.approx(value, abs=1e-6)
    with netCDF4.Dataset(folder / "velocity.nc") as cube:
        assert cube["flag"].flag_meanings == "measured regularised blank"
        assert cube["flag"][3].min() == 2
        assert cube["flag"].dtype == np.int8  # CF 1.8 has no unsigned types
        assert cube["vx"].filters()["zlib"]


def test_the_cube_keeps_to_the_conventions(written):
    folder, _, _ = written
    assert faults(folder / "velocity.nc") == []


def test_gdal_puts_the_cube_where_the_geotiffs_are(written):
    folder, field, _ = written
    with rasterio.open(f"netcdf:{folder / 'velocity.nc'}:vx") as file:
        assert file.count == 5
        assert file.crs.to_epsg() == 32644
        assert file.transform.almost_equals(GRID.transform, 1e-6)
        assert np.array_equal(file.read(2), field.vx[1], equal_nan=True)


def test_the_same_field_gives_the_same_bytes(tmp_path):
    field = made(7, number=4)
    first, second = (write_months(tmp_path / name, field) for name in "ab")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_more_months_than_a_chunk_and_cells_outside_the_domain(tmp_path):
    domain = np.zeros(GRID.shape, bool)
    domain[10:60, 20:80] = True
    field = made(3, number=40, domain=domain)
    write_cube(tmp_path / "velocity.nc", field)
    with xr.open_dataset(tmp_path / "velocity.nc") as cube:
        assert np.array_equal(cube.vy.values, field.vy, equal_nan=True)
        everywhere = np.broadcast_to(domain, field.vx.shape)
        assert np.array_equal(np.isfinite(cube.flag.values), everywhere)
        assert np.array_equal(cube["count"].notnull().values[5], domain)
        assert cube.flag.values[:, domain] == pytest.approx(field.flag[:, domain])


def test_months_are_found_again(written):
    folder, field, _ = written
    files = open_months(folder)
    assert files.grid == GRID
    assert files.name == field.name
    assert files.months[0] == "2013-04"
    bands = files.bands(np.datetime64("2013-05"))
    expected = field.bands(np.datetime64("2013-05"))
    assert bands is not None
    assert expected is not None
    for name, values in expected.items():
        assert np.array_equal(bands[name], values, equal_nan=True), name
    assert files.bands(np.datetime64("2020-01")) is None


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(ReadError, match="velocity_YYYY-MM"):
        open_months(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError):
        write_cube(tmp_path / "file" / "velocity.nc", made(number=4))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
