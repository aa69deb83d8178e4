"""The products of a whole run: on by default, on request, off again."""

from __future__ import annotations

import sys

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import shapely
import xarray as xr
from small_run import GLACIERS, changed, rows, stamps

from hmavel import glacier_products, workflow
from hmavel.errors import ConfigError
from hmavel.itslive import read_pairs
from hmavel.raster import read_grid
from hmavel.verify import verify_run

(GLACIER,) = GLACIERS[2:]


def test_table_and_stac_are_made_without_being_asked_for(finished):
    given, _ = finished
    out = given.output.folder
    table = rows(out / "timeseries.csv")
    assert table == rows(out / GLACIER / "timeseries.csv")
    months = sorted(path.stem[-7:] for path in (out / GLACIER).glob("velocity_*.tif"))
    assert [row["month"] for row in table] == months
    assert float(table[1]["v_median"]) > 0
    catalog = pystac.Catalog.from_file(str(out / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert [item.id for item in items] == [f"{GLACIER}_{month}" for month in months]
    (collection,) = catalog.get_children()
    assert set(collection.assets) == {"cube", "timeseries"}  # nothing derived of "overlap"
    assert catalog.get_single_link("child").title == GLACIER
    assert [link.rel for link in collection.links].count("license") == 1
    for name in ("velocity.zarr", "granules", "derived.nc"):
        assert not (out / GLACIER / name).exists()
    assert not (out / "timeseries.parquet").exists()


def test_no_product_tells_of_the_users_folders(finished):
    """They are published; configuration, catalogue and logs beside them are for the user."""
    own = {"config.toml", "catalogue.sqlite", "scenes.csv"}
    given, _ = finished
    out = given.output.folder
    folders = {str(given.glaciers.inventory.parent), *map(str, given.input.archive), str(out)}
    told = [
        path.relative_to(out)
        for path in out.rglob("*")
        if path.is_file() and path.name not in own and path.parent.parent.name != "log"
        and any(folder.encode() in path.read_bytes() for folder in folders)
    ]
    assert told == []


def test_days_are_numbers_for_xarray(finished):
    given, _ = finished
    path = given.output.folder / GLACIER / "velocity.nc"
    with xr.open_dataset(path, decode_timedelta=True) as cube:
        assert cube.shortest_days.dtype == np.float32
        assert float(cube.shortest_days.min()) >= 8


def test_the_rest_is_made_on_request_and_goes_when_it_is_not_wanted(again, tmp_path):
    folder = again.output.folder / GLACIER
    before = stamps(folder)
    grid = read_grid(next(folder.glob("velocity_*.tif")))
    n_rows, n_cols = grid.shape
    middle = grid.y(n_rows // 2)
    line = shapely.LineString([(grid.x(0), middle), (grid.x(n_cols), middle)])
    lines = tmp_path / "lines.gpkg"
    gpd.GeoSeries([line], crs=grid.crs).to_file(lines)
    wanted = dict.fromkeys(("zarr", "granules", "parquet", "wgs84"), True)
    given = changed(again, output=wanted | {"centre_lines": lines})
    result = workflow.run(given, jobs=1)
    assert result.failures == []
    assert stamps(folder) == before  # neither pairs nor months again
    cube = folder / "velocity.nc"
    with xr.open_zarr(cube.with_suffix(".zarr")) as one, xr.open_dataset(cube) as two:
        xr.testing.assert_identical(one.load(), two.load())
    used = [row for row in rows(again.output.folder / "pairs.csv") if row["state"] == "used"]
    stack, failures = read_pairs([folder / "granules"])
    assert failures == []
    assert len(stack.start) == len(used)
    sigma = sorted(float(row["sigma_vx"]) for row in used)
    assert sorted(stack.sigma_vx) == pytest.approx(sigma, rel=1e-5)
    months = pq.read_table(again.output.folder / "timeseries.parquet").to_pandas()
    assert (months.line_km > 0.5).all()
    assert months.line_v_mean.notna().any()
    catalog = pystac.Catalog.from_file(str(again.output.folder / "catalog.json"))
    assert {child.id for child in catalog.get_children()} == {GLACIER, "wgs84"}
    assert len(list(catalog.get_items(recursive=True))) == 2 * len(months)
    assert "cube_zarr" in catalog.get_child(GLACIER).assets
    assert verify_run(again.output.folder, sample=0).failures == []
    (folder / "timeseries.csv").write_text("spoilt")
    (failure,) = verify_run(again.output.folder, sample=0).failures
    assert "timeseries.csv" in failure.item
    assert workflow.run(changed(again, output={"stac": False}), jobs=1).failures == []
    for name in ("velocity.zarr", "granules", "collection.json"):
        assert not (folder / name).exists()
    assert not list(folder.glob("velocity_*.json"))


def test_a_second_run_leaves_them(again):
    folder = again.output.folder / GLACIER
    files = [path for path in folder.iterdir() if path.is_file()]
    before = [path.stat().st_mtime_ns for path in files]
    workflow.run(again, jobs=1)
    assert [path.stat().st_mtime_ns for path in files] == before


@pytest.mark.slow
def test_derived_files_come_with_the_process(again):
    """A quarter of a year has no season: bands are there, and blank."""
    given = changed(again, months={"method": "gp"}, output={"stac": True})
    assert workflow.run(given, jobs=1).failures == []
    folder = again.output.folder / GLACIER
    with xr.open_dataset(folder / "derived.nc") as derived:
        assert derived.trend.isnull().all()
        assert derived.annual_months.max() >= 3
    catalog = pystac.Catalog.from_file(str(again.output.folder / "catalog.json"))
    assets = set(catalog.get_child(GLACIER).assets)
    assert {"derived", "season_trend", "annual_2021", "floor"} <= assets
    workflow.run(changed(given, output={"derived": False}), jobs=1)
    assert not (folder / "derived.nc").exists()
    assert not list(folder.glob("annual_*.tif"))


def test_a_missing_package_is_told_before_anything_is_done(again, monkeypatch):
    monkeypatch.setattr(glacier_products, "find_spec", {"pyarrow": sys}.get)
    with pytest.raises(ConfigError, match=r"hmavel\[zarr\]"):
        workflow.run(changed(again, output={"zarr": True}), jobs=1)


def test_lines_that_cannot_be_read_cost_the_table_only(again, tmp_path):
    given = changed(again, output={"centre_lines": tmp_path / "no.gpkg"})
    result = workflow.run(given, jobs=1)
    (failure,) = result.failures
    assert failure.item == f"table and records of {GLACIER}"
    assert "no such file" in failure.reason
    assert (again.output.folder / GLACIER / "velocity.nc").is_file()
