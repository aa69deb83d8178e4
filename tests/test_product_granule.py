"""Pairs as ITS_LIVE's granules: read back by the reader of ITS_LIVE's own."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import rasterio
from cf_check import faults
from test_product_months import GRID

from hmavel.errors import ReadError
from hmavel.itslive import read_granules, read_pairs
from hmavel.product.granule import granule_name, write_granule

ONE = "LC08_L1TP_140041_20200101_20200113_02_T1"
TWO = "LC09_L1TP_140041_20200117_20200129_02_T1"
START = np.datetime64("2020-01-01T04:12:13.576", "ms")
END = np.datetime64("2020-01-17T04:12:09", "ms")


def made(folder, seed=0, **changes):
    rng = np.random.default_rng(seed)
    velocity = {
        name: (centre + spread * rng.normal(size=GRID.shape)).astype("f4")
        for name, centre, spread in (
            ("vx", 40, 300), ("vy", -900, 20), ("sigma_vx", 9, 1), ("sigma_vy", 12, 1)
        )
    }  # fmt: skip
    hole = rng.random(GRID.shape) < 0.25
    for values in velocity.values():
        values[hole] = np.nan
    region = np.zeros(GRID.shape, bool)
    region[5:40, 10:50] = True
    given = {
        "reference": ONE, "secondary": TWO, "start": START, "end": END, "grid": GRID,
        "velocity": velocity, "error": (7.25, 8.5), "shift": (3.5, -1.25),
        "stable_count": 812, "region": region, "window_m": 480.0,
    } | changes  # fmt: skip
    return write_granule(folder, **given), velocity, hole, region


def test_our_own_reader_reads_it_back(tmp_path):
    path, velocity, hole, region = made(tmp_path)
    percent = round(100 * (~hole & region).sum() / region.sum())
    assert path.name == f"{ONE}_X_{TWO}_G0120V02_P{percent:03}.nc"
    stack, failures = read_granules([path])
    assert failures == []
    assert stack.grid == GRID
    assert (stack.start[0], stack.end[0]) == (START, END)
    for axis in ("vx", "vy"):
        got = getattr(stack, axis)[0]
        assert np.array_equal(np.isnan(got), hole)
        assert np.nanmax(np.abs(got - velocity[axis])) <= 0.5  # whole m/yr
    assert (stack.sigma_vx[0], stack.sigma_vy[0]) == (7.25, 8.5)
    assert stack.id[0] == path.name
    assert stack.sensor[0] == "LC08+LC09"
    other, *_ = made(tmp_path, 1, start=START + 1, reference=ONE.replace("0101", "0102"))
    assert len(read_pairs([tmp_path])[0].start) == 2
    assert other.name != path.name


def test_it_has_what_granules_of_its_live_have(tmp_path):
    path, velocity, hole, _ = made(tmp_path)
    with netCDF4.Dataset(path) as file:
        assert {"x", "y", "mapping", "vx", "vy", "v", "v_error", "interp_mask",
                "chip_size_width", "chip_size_height", "img_pair_info"} <= set(file.variables)
        for name in ("vx", "vy", "v", "v_error"):
            assert file[name].dtype == np.int16
            assert file[name]._FillValue == -32767
            assert file[name].units == "meter/year"
            assert file[name].grid_mapping == "mapping"
        assert file["vx"].standard_name == "land_ice_surface_x_velocity"
        assert (file["vx"].stable_shift, file["vy"].stable_shift) == (3.5, -1.25)
        assert file["vx"].stable_shift_flag == 1
        speed = np.hypot(velocity["vx"], velocity["vy"])
        assert np.abs(file["v"][:] - speed)[~hole].max() <= 0.5
        info = file["img_pair_info"]
        assert info.id_img1 == ONE
        assert info.acquisition_date_img1 == "20200101T04:12:13.576000"
        assert info.date_dt == pytest.approx(16, abs=1e-3)
        assert info.date_center.startswith("20200109T04:12:11")
        assert set(np.unique(file["chip_size_width"][:].filled(0))) == {0, 480}
        assert info.long_name
        assert file["interp_mask"][:].sum() == 0
        assert not np.ma.is_masked(file["interp_mask"][:])
    with rasterio.open(f"netcdf:{path}:vx") as file:
        assert file.crs.to_epsg() == 32644
        assert file.transform.almost_equals(GRID.transform, 1e-6)


def test_without_stable_ground_it_says_so(tmp_path):
    for changes in ({"stable_count": 0}, {"error": (np.nan, 3.0)}):
        path, *_ = made(tmp_path, **changes)
        with netCDF4.Dataset(path) as file:
            assert file["vx"].stable_shift_flag == 0
            assert file["vy"].stable_shift == 0
        with pytest.raises(ReadError, match="readable granule"):
            read_granules([path])


def test_what_sixteen_bits_cannot_hold_is_missing(tmp_path):
    fast = {name: np.full(GRID.shape, 5.0, "f4") for name in ("vy", "sigma_vx", "sigma_vy")}
    fast["vx"] = np.full(GRID.shape, 40_000.0, "f4")
    path, *_ = made(tmp_path, velocity=fast)
    stack, _ = read_granules([path])
    assert np.isnan(stack.vx).all()
    assert (stack.vy == 5).all()
    assert granule_name("a", "b", 1.0) == "a_X_b_G0120V02_P100.nc"


@pytest.mark.slow
def test_granules_keep_to_the_conventions(tmp_path):
    assert faults(made(tmp_path)[0], "1.9") == []
