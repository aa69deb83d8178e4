"""Velocity maps of any software, judged: arrays, files of several kinds, many at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import netCDF4
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import box

from hmavel import cli
from hmavel._types import Grid
from hmavel.errors import HmavelError, ReadError
from hmavel.gates import Limits
from hmavel.map_quality import COLUMNS, MapQuality, assess_files, assess_map, paired, read_maps
from hmavel.parallel import Failure
from hmavel.raster_netcdf import read_variables
from hmavel.raster_write import write_geotiff
from hmavel.uncertainty import flow_metric, static_terrain

GRID = Grid(CRS.from_epsg(32645), Affine(60, 0, 500_000, 0, -60, 3_100_000), (120, 150))


def flow(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Components in m/day, bare ground in the west, ice (with a shear) in the east."""
    rng = np.random.default_rng(seed)
    vx, vy = rng.normal((0.03, -0.02), (0.05, 0.08), (*GRID.shape, 2)).transpose(2, 0, 1)
    stable = np.zeros(GRID.shape, bool)
    stable[10:110, 5:65] = True
    ice = np.zeros(GRID.shape, bool)
    ice[20:100, 90:140] = True
    vy = np.where(ice, vy + 1.0, vy)
    wrong = stable & (rng.random(GRID.shape) < 0.1)
    vx = np.where(wrong, rng.uniform(-4, 4, GRID.shape), vx)
    vx[50:53] = np.nan
    return vx.astype("f4"), vy.astype("f4"), stable, ice


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold the same maps as two GeoTIFFs, as one, as NetCDF, and their polygons."""
    root = tmp_path_factory.mktemp("maps")
    vx, vy, stable, ice = flow(1)
    filled = [np.where(np.isfinite(v), v, -9999).astype("f4") for v in (vx, vy)]
    for name, band in zip(("a_vx", "a_vy"), filled, strict=True):
        profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "nodata": -9999.0,
                   "crs": GRID.crs, "transform": GRID.transform,
                   "height": GRID.shape[0], "width": GRID.shape[1]}  # fmt: skip
        with rasterio.open(root / f"{name}.tif", "w", **profile) as file:
            file.write(band, 1)
    write_geotiff(root / "both.tif", {"vx": vx, "vy": vy}, GRID, cog=False)
    netcdf(root / "cube.nc", vx, vy)
    for name, mask in (("rock", stable), ("ice", ice)):
        row, col = np.nonzero(mask)
        x, y = GRID.x(col), GRID.y(row)
        outline = box(x.min() - 30, y.min() - 30, x.max() + 30, y.max() + 30)
        gpd.GeoDataFrame(geometry=[outline], crs=32645).to_file(root / f"{name}.gpkg")
    return root


def netcdf(path: Path, vx: np.ndarray, vy: np.ndarray, **changes: Any) -> None:
    """Write two layers, south up, packed; the second is twice as fast."""
    with netCDF4.Dataset(path, "w") as file:
        rows, cols = vx.shape
        for name, size in (("time", 2), ("y", rows), ("x", cols)):
            file.createDimension(name, size)
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 2018-01-01"
        time[:] = [10.0, 42.5]
        y = file.createVariable("y", "f8", ("y",))
        y[:] = GRID.y(np.arange(rows))[::-1]
        x = file.createVariable("x", "f8", ("x",))
        x[:] = changes.get("x", GRID.x(np.arange(cols)))
        if changes.get("mapping", True):
            mapping = file.createVariable("mapping", "i4")
            mapping.crs_wkt = GRID.crs.to_wkt()
        for name, values in (("vx", vx), ("vy", vy)):
            v = file.createVariable(name, "i2", ("time", "y", "x"), fill_value=-32767)
            v.scale_factor = 1e-3
            v.grid_mapping = "mapping"
            layers = np.ma.masked_invalid(np.stack([values, 2 * values])[:, ::-1])
            v[:] = np.ma.array(layers.filled(0.0), mask=layers.mask)


# -- arrays -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["robust", "glaft"])
def test_the_figures_are_those_of_the_two_metrics(method: str) -> None:
    vx, vy, stable, ice = flow(2)
    q = assess_map(vx, vy, stable, ice=ice, pixel=60.0, method=method)
    on = stable & np.isfinite(vx)
    assert q.static == static_terrain(vx[on], vy[on], method=method)
    strain = flow_metric(vx, vy, ice, pixel=60.0, method=method)
    assert (q.delta_normal, q.delta_shear) == (strain.delta_normal, strain.delta_shear)
    assert q.invalid_fraction == pytest.approx(3 / 120)
    assert q.gate.level == "pass"
    assert q.gate.figures["ground_matched"] == pytest.approx(0.97)
    assert "bias_m" not in q.gate.figures
    assert set(q.row()) <= set(COLUMNS)


def test_a_baseline_lets_metres_be_judged() -> None:
    vx, vy, stable, _ = flow(3)
    q = assess_map(vx, vy, stable, days=100.0)
    assert q.gate.figures["delta_m"] == pytest.approx(100 * 2 * 0.08, rel=0.1)
    assert q.gate.level == "warn"
    assert "2 sigma of" in q.gate.text
    yearly = assess_map(365.25 * vx, 365.25 * vy, stable, days=100.0, unit="m/yr")
    assert yearly.gate.figures["delta_m"] == pytest.approx(
        float(q.gate.figures["delta_m"] or 0), rel=1e-3
    )
    strict = Limits(delta_m=(1.0, 2.0))
    assert assess_map(vx, vy, stable, days=100.0, limits=strict).gate.level == "fail"


def test_no_bare_ground_is_a_reason_not_an_exception() -> None:
    vx, vy, stable, _ = flow(4)
    q = assess_map(np.full_like(vx, np.nan), vy, stable)
    assert q.static is None
    assert "expected 30 points on stable ground, got 0" in q.reason
    assert q.gate.level == "warn"
    assert "delta_x" not in q.row()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stable": np.ones((3, 3), bool)}, "of one shape"),
        ({"stable": np.ones(GRID.shape)}, "bool masks"),
        ({"unit": "km/yr"}, "a unit of m/day, m/yr"),
        ({"ice": np.ones(GRID.shape, bool)}, "pixel="),
        ({"method": "best"}, "'robust' or 'glaft'"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], said: str) -> None:
    vx, vy, stable, _ = flow(5)
    with pytest.raises(ValueError, match=said):
        assess_map(**({"vx": vx, "vy": vy, "stable": stable} | change))


# -- files ------------------------------------------------------------------------------


def test_all_kinds_of_files_give_the_same_map(folder: Path) -> None:
    vx, _, _, _ = flow(1)
    for source in ((folder / "a_vx.tif", folder / "a_vy.tif"), folder / "both.tif"):
        (found,) = read_maps(source)
        np.testing.assert_array_equal(found.vx, vx)
        assert found.grid == GRID
    first, second = read_maps(folder / "cube.nc")
    np.testing.assert_allclose(first.vx, vx, atol=6e-4)  # packed to 1e-3
    np.testing.assert_allclose(second.vx, 2 * vx, atol=6e-4)
    assert first.grid == GRID
    assert [first.name, second.name] == [
        "cube_2018-01-11T000000", "cube_2018-02-12T120000"
    ]  # fmt: skip


def test_a_batch_writes_tables_and_figures_and_survives_a_broken_file(
    folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes((folder / "both.tif").read_bytes()[:5000])
    files = [folder / n for n in ("a_vx.tif", "a_vy.tif", "cube.nc")]
    found = assess_files(
        [*paired(files), (broken, broken)], tmp_path / "out", stable=folder / "rock.gpkg",
        ice=folder / "ice.gpkg", days=32.0,
    )  # fmt: skip
    assert [type(item) for item in found] == [MapQuality] * 3 + [Failure]
    with (tmp_path / "out" / "quality.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["name"] for row in table] == [
        "a", "cube_2018-01-11T000000", "cube_2018-02-12T120000"
    ]  # fmt: skip
    assert float(table[0]["bias_x"]) == pytest.approx(0.03, abs=0.004)
    assert float(table[0]["delta_y"]) == pytest.approx(0.16, rel=0.06)
    assert float(table[2]["bias_x"]) == pytest.approx(2 * float(table[1]["bias_x"]), rel=0.1)
    low, high = float(table[0]["delta_y_low"]), float(table[0]["delta_y_high"])
    assert low < float(table[0]["delta_y"]) < high
    record = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert len(record["maps"]) == 3
    (failure,) = record["failures"]
    assert "broken" in failure["item"]
    pictures = sorted(p.name for p in (tmp_path / "out").glob("*.png"))
    assert pictures == [f"{row['name']}.png" for row in table]
    assert all((tmp_path / "out" / p).stat().st_size > 10_000 for p in pictures)


def test_the_command_line(folder: Path, tmp_path: Path, capsys: Any) -> None:
    command = ["assess", str(folder / "both.tif"), str(folder / "none.nc"), "--out",
               str(tmp_path), "--stable", str(folder / "rock.gpkg"), "--method", "glaft",
               "--no-figures", "-q", "--jobs", "1"]  # fmt: skip
    assert cli.main(command) == cli.SOME_FAILED
    out, err = capsys.readouterr()
    assert "both" in out
    assert "pass" in out
    assert "no such file" in err
    record = json.loads((tmp_path / "quality.json").read_text())
    vx, vy, stable, _ = flow(1)
    on = stable & np.isfinite(vx)
    expected = static_terrain(vx[on], vy[on], method="glaft")
    assert record["maps"][0]["delta_x"] == expected.delta_x
    assert record["maps"][0]["outlier_fraction"] == expected.outlier_fraction
    assert not list(tmp_path.glob("*.png"))


def test_components_are_taken_by_twos(folder: Path) -> None:
    a, b, both, nc = (folder / n for n in ("a_vx.tif", "a_vy.tif", "both.tif", "cube.nc"))
    assert paired([a, b, nc, both]) == [(a, b), nc, both]
    with pytest.raises(HmavelError, match="the other component"):
        paired([nc, a])


def test_two_components_on_two_grids_are_refused(folder: Path, tmp_path: Path) -> None:
    part = GRID.crop(0, 0, 50, 60)
    write_geotiff(tmp_path / "vy.tif", {"vy": np.zeros(part.shape, "f4")}, part, cog=False)
    with pytest.raises(ReadError, match="got another one"):
        read_maps((folder / "a_vx.tif", tmp_path / "vy.tif"))
    with pytest.raises(ReadError, match="bands named vx and vy"):
        read_maps(folder / "a_vx.tif")


def test_netcdf_that_cannot_be_placed(tmp_path: Path) -> None:
    vx, vy, _, _ = flow(6)
    uneven = GRID.x(np.arange(150.0) ** 1.1)
    netcdf(tmp_path / "uneven.nc", vx, vy, x=uneven)
    with pytest.raises(ReadError, match="evenly spaced x"):
        read_variables(tmp_path / "uneven.nc", ("vx", "vy"))
    netcdf(tmp_path / "nowhere.nc", vx, vy, mapping=False)
    with pytest.raises(ReadError, match="a coordinate system, got none"):
        read_variables(tmp_path / "nowhere.nc", ("vx", "vy"))
    _, grid, _ = read_variables(tmp_path / "nowhere.nc", ("vx",), crs=GRID.crs)
    assert grid == GRID
    with pytest.raises(ReadError, match="variables vx, speed"):
        read_variables(tmp_path / "nowhere.nc", ("vx", "speed"))
    (tmp_path / "no.nc").write_text("no NetCDF")
    with pytest.raises(ReadError, match="a NetCDF file"):
        read_variables(tmp_path / "no.nc", ("vx",))


# -- real maps --------------------------------------------------------------------------


def test_kaskawulsh(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "kaskawulsh"
    files = [folder / f"20180304-20180405_velo-raw_v{axis}.tif" for axis in "xy"]
    (q,) = assess_files(
        paired(files), tmp_path, stable=folder / "bedrock_V2.shp", method="glaft", days=32.0
    )
    assert isinstance(q, MapQuality)
    assert q.static is not None
    # the package's own figures on its demo, which test_uncertainty.py takes from the package
    assert q.static.count == 46_677
    assert q.static.delta_x == pytest.approx(0.1501300, abs=1e-6)
    assert q.static.delta_y == pytest.approx(0.1598158, abs=1e-6)
    assert q.name == "20180304-20180405_velo-raw"
    assert (tmp_path / f"{q.name}.png").stat().st_size > 10_000


def test_itslive(shared_data: Path) -> None:
    (cube,) = (shared_data / "hma_cube").glob("*.nc")
    arrays, grid, labels = read_variables(cube, ("vx", "vy"), crs=CRS.from_epsg(32646))
    assert grid.pixel == 120
    assert arrays[0].shape[1:] == grid.shape
    assert len(labels) == arrays[0].shape[0] == 2286
    assert np.isnan(arrays[0]).any()
    assert np.nanmax(np.abs(arrays[0])) < 30_000
