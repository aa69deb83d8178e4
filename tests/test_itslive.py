"""ITS_LIVE's cubes and granules: read as they are written, joined, refused where broken."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from rasterio.crs import CRS

from hmavel import cli, itslive, joined
from hmavel._types import Grid
from hmavel.config import from_dict
from hmavel.errors import ConfigError, GridMismatchError, ReadError

FILL = -32767
X = 784252.5 + 120 * np.arange(6)
Y = 3315787.5 - 120 * np.arange(5)
CUBE = "hma_cube/itslive_L89_wrs135039_RGI2000-v7.0-G-15-16257.nc"


def mapping(epsg=32646):
    return xr.DataArray(0, attrs={"crs_wkt": CRS.from_epsg(epsg).to_wkt()})


def cube(epsg=32646, pairs=4, **changes):
    """Make a small datacube in the form of ITS_LIVE's."""
    rng = np.random.default_rng(0)
    cycle = np.timedelta64(16 * 86_400, "s")
    start = np.datetime64("2020-01-01T04:12:14.819", "ns") + cycle * np.arange(pairs)
    v = rng.integers(-50, 50, (2, pairs, len(Y), len(X))).astype(np.int16)
    v[0, 0, 0, 0] = FILL
    dims = ("mid_date", "y", "x")
    stored = {"_FillValue": np.int16(FILL), "units": "meter/year"}
    data = xr.Dataset(
        {
            "vx": (dims, v[0], stored),
            "vy": (dims, v[1], stored),
            "vx_error": ("mid_date", np.linspace(3.0, 9.0, pairs)),
            "vy_error": ("mid_date", np.linspace(4.0, 12.0, pairs)),
            "stable_count_stationary": ("mid_date", np.full(pairs, 500, np.uint16)),
            "acquisition_date_img1": ("mid_date", start),
            "acquisition_date_img2": ("mid_date", start + np.timedelta64(32 * 86_400, "s")),
            "granule": ("mid_date", np.array(
                [f"LC08_L1TP_{i}_X_LC09_L1TP_{i}_G0120V02_P024.nc" for i in range(pairs)]
            )),
            "mapping": mapping(epsg),
        },
        coords={"x": X, "y": Y, "mid_date": start},
    )
    return data.assign(changes)


def granule(path, x=X, y=Y, value=20, flag=1, epsg=32646, times=("20200101", "20200202")):
    stored = {"stable_shift_flag": flag, "error": 7.5, "_FillValue": np.int16(FILL)}
    values = np.full((len(y), len(x)), value, np.int16)
    info = {f"acquisition_date_img{i + 1}": f"{t}T04:12:14.819334" for i, t in enumerate(times)}
    xr.Dataset(
        {
            "vx": (("y", "x"), values, stored),
            "vy": (("y", "x"), -values, stored),
            "img_pair_info": ((), "", info),
            "mapping": mapping(epsg),
        },
        coords={"x": x, "y": y},
    ).to_netcdf(path)
    return path


@pytest.fixture
def path(tmp_path):
    cube().to_netcdf(tmp_path / "cube.nc")
    return tmp_path / "cube.nc"


def test_cube_comes_in_as_it_was_written(path):
    stack = itslive.read_cube(path)
    written = cube()
    assert stack.grid.crs == CRS.from_epsg(32646)
    assert stack.grid.x(0) == X[0]
    assert stack.grid.y(4) == Y[4]
    assert np.isnan(stack.vx[0, 0, 0])
    np.testing.assert_array_equal(stack.vy, written.vy.values)
    np.testing.assert_allclose(stack.sigma_vx, written.vx_error.values)
    np.testing.assert_allclose(stack.baseline_days, 32)
    assert str(stack.start[0]) == "2020-01-01T04:12:14.819"
    assert set(stack.sensor) == {"LC08+LC09"}


def test_window_reads_the_cells_that_it_touches(path):
    whole = itslive.read_cube(path)
    part = itslive.read_cube(path, window=whole.grid.crop(1, 2, 3, 2))
    np.testing.assert_array_equal(part.vx, whole.vx[:, 1:4, 2:4])
    assert part.grid == whole.grid.crop(1, 2, 3, 2)


def test_cells_of_another_lattice_take_the_cell_that_they_lie_in(path):
    stack = itslive.read_cube(path)
    # hmavel's edges lie on multiples of 120 m, 7.5 m from ITS_LIVE's.
    grid = Grid(stack.grid.crs, Affine(120, 0, 784200, 0, -120, 3315840), (4, 8))
    moved = stack.on(grid)
    np.testing.assert_array_equal(moved.vx[:, :, :6], stack.vx[:, :4])
    assert np.isnan(moved.vx[:, :, 6:]).all()


def test_pairs_without_a_stable_error_or_dates_are_left_out(tmp_path, caplog):
    data = cube()
    data.vx_error[1] = np.nan
    data.stable_count_stationary[2] = 0
    data.acquisition_date_img2[3] = data.acquisition_date_img1[3]
    data.to_netcdf(tmp_path / "cube.nc")
    stack = itslive.read_cube(tmp_path / "cube.nc")
    assert len(stack.start) == 1
    assert "3 of 4 pairs left out" in caplog.text


def test_pairs_back_to_front_are_turned_round(tmp_path):
    data = cube()
    one, two = data.acquisition_date_img1.copy(), data.acquisition_date_img2.copy()
    data.assign(acquisition_date_img1=two, acquisition_date_img2=one).to_netcdf(
        tmp_path / "cube.nc"
    )
    stack = itslive.read_cube(tmp_path / "cube.nc")
    assert np.all(stack.baseline_days > 0)
    np.testing.assert_array_equal(stack.vy, data.vy.values)


def test_granules_are_put_on_one_extent_and_the_broken_are_named(tmp_path):
    good = granule(tmp_path / "LC08_a_X_LC09_b.nc")
    shifted = granule(tmp_path / "b.nc", x=X + 240, value=30, times=("20200301", "20200402"))
    broken = tmp_path / "c.nc"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    no_shift = granule(tmp_path / "d.nc", flag=0)
    elsewhere = granule(tmp_path / "e.nc", epsg=32645)
    off = granule(tmp_path / "f.nc", x=X + 60)
    paths = [good, shifted, broken, no_shift, elsewhere, off]
    stack, failures = itslive.read_granules(paths)
    assert stack.vx.shape == (2, 5, 8)
    assert np.all(stack.vx[0, :, :6] == 20)
    assert np.isnan(stack.vx[0, :, 6:]).all()
    assert np.all(stack.vy[1, :, 2:] == -30)
    assert stack.sigma_vx.tolist() == [7.5, 7.5]
    assert stack.sensor[0] == "LC08+LC09"
    assert [f.item.rsplit("/", 1)[-1] for f in failures] == ["c.nc", "d.nc", "e.nc", "f.nc"]
    assert "stable-shift error" in failures[1].reason


def test_cube_and_granules_of_the_same_pairs_count_once(path, tmp_path):
    folder = tmp_path / "granules"
    folder.mkdir()
    granule(folder / "g.nc", times=("20210101", "20210202"))
    stack, failures = itslive.read_pairs([path, folder, path])
    assert failures == []
    assert len(stack.start) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vx": None}, "no vx"),
        ({"vx_error": None}, "no vx_error"),
        ({"x": X * np.array([1, 1, 1, 1, 1, 1.01])}, "uneven"),
        ({"mapping": xr.DataArray(0, attrs={"crs_wkt": "nonsense"})}, "projection"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, change, message):
    data = cube()
    for name, value in change.items():
        data = data.drop_vars(name) if value is None else data.assign_coords({name: value})
    data.to_netcdf(tmp_path / "cube.nc")
    with pytest.raises(ReadError, match=message):
        itslive.read_cube(tmp_path / "cube.nc")


def test_another_zone_or_place_is_refused(path):
    grid = itslive.read_cube(path).grid
    with pytest.raises(GridMismatchError, match="32645"):
        itslive.read_cube(path, window=Grid(CRS.from_epsg(32645), grid.transform, grid.shape))
    with pytest.raises(GridMismatchError, match="covers the glacier"):
        itslive.read_cube(path, window=grid.crop(500, 500, 3, 3))
    with pytest.raises(ReadError, match="NetCDF"):
        itslive.read_cube(path.with_name("none.nc"))


def test_own_pairs_and_those_of_its_live_share_their_scenes(path):
    stack = itslive.read_cube(path)
    ice = np.zeros(stack.grid.shape, bool)
    ice[1:3, 1:4] = True
    names = ("vx", "vy", "sigma_vx", "sigma_vy")
    own = {name: np.ones((2, 1, 6), np.float32) for name in names}
    # Landsat's own metadata have more digits: 0.4 s apart, the same scene.
    start = stack.start[:2] + np.timedelta64(400, "ms")
    end = stack.end[:2] + np.timedelta64(400, "ms")
    values, first, last = joined.join(own, start, end, stack, ice)
    assert values["vx"].shape == values["sigma_vy"].shape == (6, 1, 6)
    np.testing.assert_array_equal(values["vx"][2:, 0], stack.vx[:, ice])
    assert len(np.unique(first)) == 4
    np.testing.assert_array_equal(first[:2], first[2:4])
    np.testing.assert_array_equal(last[:2], last[2:4])


OUTLINE = """{"type": "FeatureCollection",
"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32646"}},
"features": [{"type": "Feature", "properties": {"rgi_id": "RGI2000-v7.0-G-15-00001"},
"geometry": {"type": "Polygon", "coordinates": [[[784320, 3315300], [784800, 3315300],
[784800, 3315700], [784320, 3315700], [784320, 3315300]]]}}]}"""


def test_months_of_a_cube_from_the_command_line(tmp_path, capsys):
    data = cube(pairs=14)
    rng = np.random.default_rng(3)
    shape = data.vx.shape
    data.vx[:] = (40 + rng.normal(0, 4, shape)).round().astype(np.int16)
    data.vy[:] = (-25 + rng.normal(0, 4, shape)).round().astype(np.int16)
    data.to_netcdf(tmp_path / "cube.nc")
    (tmp_path / "outline.json").write_text(OUTLINE)
    arguments = [
        "itslive", str(tmp_path / "cube.nc"), "--glaciers", str(tmp_path / "outline.json"),
        "--out", str(tmp_path / "out"), "--months", "2020-02:2020-06", "--jobs", "1", "-q",
    ]  # fmt: skip
    assert cli.main(arguments) == cli.DONE
    folder = tmp_path / "out" / "RGI2000-v7.0-G-15-00001"
    assert len(list(folder.glob("velocity_*.tif"))) == 5
    with xr.open_dataset(folder / "velocity.nc") as made:
        ice = np.isfinite(made.vx.values).all(axis=0)
        assert ice.sum() >= 6
        # No month may be worse than the pairs of 4 m/yr that it is made from, in the mean.
        for values, truth in ((made.vx.values, 40), (made.vy.values, -25)):
            assert np.sqrt(np.mean((values[:, ice] - truth) ** 2)) < 4
            assert abs(values[:, ice].mean() - truth) < 1
        assert not np.isfinite(made.vx.values[:, ~ice]).any()
    table = (tmp_path / "out" / "pairs.csv").read_text().splitlines()
    assert len(table) == 15
    assert "ITS_LIVE" in table[1]
    # A second run has nothing to do; a cube that is missing is named.
    before = (folder / "velocity.nc").stat().st_mtime_ns
    assert cli.main(arguments) == cli.DONE
    assert (folder / "velocity.nc").stat().st_mtime_ns == before
    arguments[1] = str(tmp_path / "none.nc")
    assert cli.main(arguments) == cli.SOME_FAILED
    assert "none.nc" in capsys.readouterr().err


def test_alone_without_sources_is_refused():
    with pytest.raises(ConfigError, match=r"itslive\.sources"):
        from_dict({"itslive": {"alone": True}})


def test_real_cube(shared_data):
    stack = itslive.read_cube(shared_data / CUBE)
    assert stack.vx.shape == (2286, 37, 40)
    assert 5 <= stack.baseline_days.min() < stack.baseline_days.max() < 545
    years = stack.baseline_days / 365.25
    # What stable ground shows: a sixth of a 15 m pixel, whatever the baseline.
    assert 2 < np.median(stack.sigma_vx * years) < 4
