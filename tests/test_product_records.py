"""The table, Zarr and STAC: against the arrays, read by other programs."""

from __future__ import annotations

import hashlib
import sys

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import shapely
import xarray as xr
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import validate_dict
from test_product_months import GRID, made

from hmavel import state
from hmavel.centre_line import cells_along
from hmavel.errors import GlacierError, WriteError
from hmavel.polygons import read_lines
from hmavel.product.field import BAND_NOTES, BAND_UNITS
from hmavel.product.month_files import open_months, write_months
from hmavel.product.series import COLUMNS, glacier_series, write_parquet
from hmavel.product.stac_files import write_catalog, write_stac
from hmavel.product.zarr_cube import write_zarr

DOMAIN = np.zeros(GRID.shape, bool)
DOMAIN[10:60, 20:80] = True


@pytest.fixture(scope="module")
def glacier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "RGI2000-v7.0-G-14-00001"
    field = made(2, number=5, domain=DOMAIN)
    write_months(folder, field, {"fingerprint": "abc"})
    return folder, field


def test_the_table_says_what_the_arrays_say(glacier):
    folder, field = glacier
    line = np.arange(10, 40), np.full(30, 50)
    rows = glacier_series(open_months(folder), line)
    assert [row["month"] for row in rows] == [f"2013-{m:02}" for m in range(4, 9)]
    cell = 0.12**2
    for k, row in enumerate(rows):
        assert tuple(row) == tuple(COLUMNS)
        seen = np.isfinite(field.v[k]) & DOMAIN
        v = field.v[k][seen]
        assert row["area_km2"] == pytest.approx(DOMAIN.sum() * cell)
        assert row["covered_km2"] == pytest.approx(seen.sum() * cell)
        measured = (field.flag[k][DOMAIN] == 0).mean()
        assert row["measured_share"] == pytest.approx(measured)
        if k == 3:  # blank throughout
            assert row["flag"] == 2
            assert np.isnan([row["v_median"], row["line_v_mean"]]).all()
            assert row["line_share"] == 0
            continue
        assert row["v_median"] == pytest.approx(np.median(v))
        assert row["v_p95"] == pytest.approx(np.percentile(v, 95))
        assert row["v_p05"] < row["v_p25"] < row["v_median"] < row["v_p75"] < row["v_p95"]
        along = field.v[k][line]
        assert row["line_v_mean"] == pytest.approx(np.nanmean(along), rel=1e-5)
        assert row["line_share"] == pytest.approx(np.isfinite(along).mean())
        assert row["line_km"] == pytest.approx(30 * 0.12)
        assert row["line_sigma"] == pytest.approx(np.nanmean(field.sigma_v[k][line]), rel=1e-5)
        assert row["flag"] == (0 if measured >= 0.5 else 1)
    without = glacier_series(open_months(folder))
    assert np.isnan(without[0]["line_km"])


def test_the_table_goes_to_parquet_with_units(glacier, tmp_path, monkeypatch):
    rows = glacier_series(open_months(glacier[0]))
    write_parquet(tmp_path / "t.parquet", rows)
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column_names == list(COLUMNS)
    assert table.schema.field("v_median").metadata[b"units"] == b"m/yr"
    frame = table.to_pandas()
    assert frame.v_median[0] == rows[0]["v_median"]
    assert np.isnan(frame.v_median[3])
    assert str(frame.start[0]) == "2013-04-01"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(WriteError, match=r"hmavel\[parquet\]"):
        write_parquet(tmp_path / "u.parquet", rows)


def lines_file(path, *lines):
    gpd.GeoSeries(lines, crs=32644).to_crs(4326).to_file(path)
    return path


def test_the_line_with_most_of_its_way_on_the_ice_is_taken(tmp_path):
    def at(row, col):
        return GRID.x(col), GRID.y(row)

    main = shapely.LineString([at(5, 50), at(55, 50)])  # five cells above the glacier
    short = shapely.LineString([at(20, 30), at(30, 30)])
    away = shapely.LineString([at(2, 2), at(2, 85)])
    path = lines_file(tmp_path / "lines.gpkg", short, away, main)
    rows, cols = cells_along(read_lines(path, GRID), GRID, DOMAIN)
    assert set(cols) == {50}
    assert rows[0] == 10
    assert np.all(np.diff(rows) == 1)
    assert len(rows) in (45, 46)
    beyond = lines_file(tmp_path / "far.gpkg", shapely.LineString([(1e5, 3e6), (1.1e5, 3e6)]))
    assert len(cells_along(read_lines(beyond, GRID), GRID, DOMAIN)[0]) == 0
    points = tmp_path / "points.gpkg"
    gpd.GeoSeries([shapely.Point(at(20, 30))], crs=32644).to_file(points)
    with pytest.raises(GlacierError, match="lines"):
        read_lines(points, GRID)
    with pytest.raises(GlacierError, match="no such file"):
        read_lines(tmp_path / "no.gpkg", GRID)


def test_zarr_is_the_cube(glacier, tmp_path, monkeypatch):
    cube = glacier[0] / "velocity.nc"
    path = tmp_path / "velocity.zarr"
    for _ in range(2):  # also over one that is there
        write_zarr(cube, path)
    assert list(tmp_path.iterdir()) == [path]
    with (
        xr.open_zarr(path, decode_coords="all") as one,
        xr.open_dataset(cube, decode_coords="all") as other,
    ):
        xr.testing.assert_identical(one.load(), other.load())
        assert one.vx.encoding["chunks"] == other.vx.encoding["chunksizes"]
    with rasterio.open(f'ZARR:"{path}":/vx') as file:
        assert file.crs.to_epsg() == 32644
        assert file.transform.almost_equals(GRID.transform, 1e-6)
        assert np.array_equal(file.read(2), glacier[1].vx[1], equal_nan=True)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(WriteError, match=r"hmavel\[zarr\]"):
        write_zarr(cube, path)


@pytest.fixture
def catalogued(glacier):
    folder, _ = glacier
    months = {month: folder / f"velocity_{month}.tif" for month in open_months(folder).months}
    write_stac(
        folder,
        title="A glacier",
        description="Its months.",
        grid=GRID,
        months=months,
        bands={name: (unit, BAND_NOTES[name]) for name, unit in BAND_UNITS.items()},
        others={
            "cube": (folder / "velocity.nc", "all months"),
            "floor": (folder / "floor.json", "the floor"),
            "floor_figure": (folder / "floor.png", "its picture"),
        },
        sums=state.sums([*months.values(), folder / "velocity.nc"]),
        properties={"2013-06": {"hmavel:measured_share": 0.5}},
    )
    return write_catalog(folder.parent, [folder])


def test_stac_is_walked_and_validated_by_pystac(catalogued, glacier):
    folder, _ = glacier
    catalog = pystac.Catalog.from_file(str(catalogued))
    (collection,) = catalog.get_children()
    items = list(collection.get_items())
    for each in (catalog, collection, *items):
        core = each.to_dict(include_self_link=False, transform_hrefs=False)
        core["stac_extensions"] = []  # their schemas are not within pystac
        validate_dict(core)
    assert collection.id == folder.name
    assert len(items) == 5
    assert items[0].get_collection() is collection
    assert items[0].get_root() is catalog
    item = items[2]
    assert item.datetime is None
    assert item.common_metadata.start_datetime.isoformat() == "2013-06-01T00:00:00+00:00"
    assert item.common_metadata.end_datetime.isoformat() == "2013-06-30T23:59:59+00:00"
    assert item.properties["hmavel:measured_share"] == 0.5
    projection = ProjectionExtension.ext(item)
    assert projection.code == "EPSG:32644"
    assert projection.shape == list(GRID.shape)
    assert projection.transform == list(GRID.transform)[:6]
    asset = item.assets["velocity"]
    path = folder / "velocity_2013-06.tif"
    assert asset.get_absolute_href() == str(path)
    file = FileExtension.ext(asset)
    assert file.size == path.stat().st_size
    assert file.checksum == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    with rasterio.open(path) as raster:
        bands = asset.to_dict()["bands"]
        assert tuple(band["name"] for band in bands) == raster.descriptions
        assert tuple(band["unit"] for band in bands) == raster.units
        assert {band["data_type"] for band in bands} == set(raster.dtypes)
    cube = collection.assets["cube"]
    assert cube.get_absolute_href() == str(folder / "velocity.nc")
    assert cube.roles == ["data"]
    floor, figure = (collection.assets[key] for key in ("floor", "floor_figure"))
    assert (floor.media_type, floor.roles) == (pystac.MediaType.JSON, ["metadata"])
    assert (figure.media_type, figure.roles) == (pystac.MediaType.PNG, ["overview"])
    longitude, latitude = shapely.Polygon(item.geometry["coordinates"][0]).centroid.coords[0]
    west, south, east, north = item.bbox
    assert west < longitude < east
    assert south < latitude < north
    assert collection.extent.temporal.intervals[0][1].isoformat() == "2013-08-31T23:59:59+00:00"


def test_stac_moves_with_its_folder(catalogued, glacier, tmp_path):
    """No path and no time of writing is in it."""
    folder, _ = glacier
    for path in (*folder.glob("*.json"), catalogued):
        text = path.read_text(encoding="utf-8")
        assert str(folder.parent) not in text
        assert '"href": "/' not in text
    elsewhere = tmp_path / "elsewhere"
    folder.parent.rename(elsewhere)
    try:
        catalog = pystac.Catalog.from_file(str(elsewhere / "catalog.json"))
        (item, *_) = catalog.get_items(recursive=True)
        assert item.assets["velocity"].get_absolute_href().startswith(str(elsewhere))
    finally:
        elsewhere.rename(folder.parent)
