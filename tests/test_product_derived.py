"""Years, season, trend and anomalies along the flow: the truth, the errors, the files."""

from __future__ import annotations

from dataclasses import replace

import netCDF4
import networks as nw
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from cf_check import faults
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from hmavel._types import Grid
from hmavel.derived import anomalies, summary
from hmavel.month import compose_months
from hmavel.month_kernel import Hyperparameters
from hmavel.product.derived_field import ANNUAL_UNITS, SEASON_UNITS, combine_derived
from hmavel.product.derived_files import write_derived

GRID = Grid(CRS.from_epsg(32644), Affine(120, 0, 600000, 0, -120, 3950040), (4, 10))
MONTHS = np.arange("2013-06", "2019-01", dtype="M8[M]")
EAST, NORTH = 0.6, -0.8  # of the flow: towards the south-east
PRIOR = Hyperparameters(
    level=1000.0, season=20.0, shape=0.9, memory=20.0, event=2.0, duration=0.4
)


def component(part: float, name: str, seed: int):
    sim = nw.simulate([name], seed, cells=40, pairs=250, last="2019-04-01")
    v = part * sim.v.reshape(-1, *GRID.shape)
    m = compose_months(
        v, abs(part) * sim.sigma.reshape(v.shape), sim.start, sim.end, months=MONTHS,
        scene_sigma=abs(part) * nw.SCENE_SIGMA, hyperparameters=PRIOR, summary=summary,
    )  # fmt: skip
    at = (MONTHS - sim.months[0]).astype(int)
    return m, sim.truth[at, 0]


@pytest.fixture(scope="module")
def season():
    x, truth = component(EAST, "season", 31)
    y, _ = component(NORTH, "season", 32)
    return x, y, truth


@pytest.fixture(scope="module")
def field(season):
    x, y, _ = season
    return combine_derived(x, y, GRID, name="G1")


def covered(estimate, sigma, truth):
    return np.mean(np.abs(estimate - truth) < sigma)


def test_season_and_trend_are_those_along_the_flow(field):
    found = field.season
    azimuth = np.degrees(np.arctan2(EAST, NORTH)) % 360
    np.testing.assert_allclose(found["azimuth"], azimuth, atol=3)
    for name, truth, rmse in (
        ("mean", 100.0, 1.5), ("trend", 0.0, 0.6), ("amplitude", 29.7, 2.0),
        ("phase", 0.55 * 365.25, 8.0),
    ):  # fmt: skip
        error = found[name] - truth
        assert np.sqrt(np.mean(error**2)) < rmse, name
        assert 0.4 < covered(found[name], found[f"sigma_{name}"], truth) < 0.97, name
    assert (found["season_flag"] == 0).all()
    assert (found["trend_flag"] == 1).mean() > 0.8  # there is none
    assert ((found["measured_share"] > 0.5) & (found["measured_share"] <= 1)).all()


def test_years_are_vectors_with_the_error_of_their_speed(field, season):
    truth = season[2]
    assert list(field.years.astype(str)) == [str(year) for year in range(2013, 2019)]
    assert np.isnan(field.annual["v"][0]).all()  # seven months are not a year
    assert (field.annual["months"][0] == 7).all()
    days = np.diff(np.append(MONTHS, MONTHS[-1] + 1).astype("M8[D]")).astype(float)
    for k, year in enumerate(field.years[1:], start=1):
        some = MONTHS.astype("M8[Y]") == year
        expected = np.average(truth[some], weights=days[some])
        assert np.sqrt(np.mean((field.annual["v"][k] - expected) ** 2)) < 2.5
        assert covered(field.annual["v"][k], field.annual["sigma_v"][k], expected) > 0.4
        np.testing.assert_allclose(
            field.annual["v"][k], np.hypot(field.annual["vx"][k], field.annual["vy"][k]),
            rtol=1e-5,
        )  # fmt: skip


def test_anomalies_are_small_where_every_year_is_alike(field):
    assert np.sqrt(np.nanmean(field.anomaly**2)) < 5
    assert np.nanmean(np.abs(field.anomaly) < field.sigma_anomaly) > 0.55
    assert np.argmax(np.nanmean(field.climatology, axis=(1, 2))) in (5, 6, 7)


def test_ice_without_season_or_trend_is_flagged():
    x, _ = component(0.7, "stagnant", 5)
    y, _ = component(0.7, "slow", 6)
    found = combine_derived(x, y, GRID).season
    # A chance of 0.05 that one is taken for real, if the errors are right.
    assert (found["season_flag"] == 1).mean() > 0.75
    assert (found["trend_flag"] == 1).mean() > 0.75


def test_an_error_in_common_grows_with_the_speed(season, field):
    x, y, _ = season
    part = (np.full(GRID.shape, 0.1), np.full(GRID.shape, 0.1))
    wider = combine_derived(x, y, GRID, relative_error=part)
    for name in ("mean", "trend", "amplitude"):
        expected = np.hypot(field.season[f"sigma_{name}"], 0.1 * field.season[name])
        np.testing.assert_allclose(wider.season[f"sigma_{name}"], expected, rtol=1e-4)
    expected = np.hypot(field.annual["sigma_vx"], 0.1 * field.annual["v"])
    np.testing.assert_allclose(wider.annual["sigma_vx"], expected, rtol=1e-4)


def test_cells_beyond_the_domain_and_without_two_years_are_blank(season):
    x, y, _ = season
    domain = np.ones(GRID.shape, bool)
    domain[:, 7:] = False
    found = combine_derived(x, y, GRID, domain=domain)
    for values in (found.season["mean"], found.annual["months"][2], found.anomaly[30]):
        assert np.isnan(values[:, 7:]).all()
        assert np.isfinite(values[:, :7]).all()
    sim = nw.simulate(["season"], 3, cells=40, pairs=40, last="2014-12-01")
    v = sim.v.reshape(-1, *GRID.shape)
    short = compose_months(
        v, sim.sigma.reshape(v.shape), sim.start, sim.end, months=MONTHS[:14], summary=summary,
        hyperparameters=PRIOR,
    )
    found = combine_derived(short, short, GRID)
    assert np.isnan(found.season["trend"]).all()
    assert np.isnan(found.season["season_flag"]).all()
    assert np.isfinite(found.climatology).any()


def test_files_open_everywhere(field, tmp_path):
    paths = write_derived(tmp_path / "G1", field, {"fingerprint": "abc"})
    names = [*(f"annual_{year}.tif" for year in range(2013, 2019)), "season_trend.tif"]
    assert [path.name for path in paths] == [*names, "derived.nc"]
    for path in paths[:-1]:
        valid, errors, warnings = cog_validate(path, strict=True)
        assert valid, (errors, warnings)
    with rasterio.open(paths[1]) as file:
        assert dict(zip(file.descriptions, file.units, strict=True)) == ANNUAL_UNITS
        assert np.array_equal(file.read(1), field.annual["vx"][1], equal_nan=True)
        assert np.isnan(file.nodata)
        tags = file.tags()
        assert (tags["time_start"], tags["time_end"]) == (
            "2014-01-01T00:00:00Z", "2015-01-01T00:00:00Z",
        )  # fmt: skip
        assert tags["fingerprint"] == "abc"
        assert "covariance" in tags["band_sigma_vx"]
    with rasterio.open(paths[0]) as file:
        assert file.tags()["time_start"] == "2013-06-01T00:00:00Z"
    with rasterio.open(paths[-2]) as file:
        assert dict(zip(file.descriptions, file.units, strict=True)) == SEASON_UNITS
        assert file.crs.to_epsg() == 32644
    with rasterio.open(f"netcdf:{paths[-1]}:trend") as file:
        assert file.crs.to_epsg() == 32644
        assert file.transform.almost_equals(GRID.transform, 1e-6)
        assert np.array_equal(file.read(1), field.season["trend"], equal_nan=True)
    with xr.open_dataset(paths[-1]) as cube:
        assert np.array_equal(cube.anomaly.values, field.anomaly, equal_nan=True)
        assert np.array_equal(cube.annual_v_error[1].values, field.annual["sigma_v"][1])
        assert cube.year.values[1].astype("M8[D]") == np.datetime64("2014-07-02")
        assert cube.climatology.sizes["calendar_month"] == 12
    with netCDF4.Dataset(paths[-1]) as cube:
        assert cube["season_flag"].flag_meanings == "season not_told_from_none"


@pytest.mark.slow
def test_the_netcdf_keeps_to_the_conventions(field, tmp_path):
    assert faults(write_derived(tmp_path, field)[-1]) == []


def test_a_component_alone_agrees_with_the_whole(season):
    """Along +x the projection is the component itself."""
    x, _, _ = season
    nothing = {name: 0 * values for name, values in x.summary.items()}
    found = combine_derived(x, replace(x, summary=nothing), GRID)
    np.testing.assert_allclose(found.season["azimuth"], 90)
    np.testing.assert_allclose(found.season["mean"], x.summary["wave"][0], rtol=1e-5)
    np.testing.assert_allclose(found.anomaly, x.summary["anomaly"], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="covariance"):
        anomalies(x)
