"""The floor of a glacier from its pairs on disk."""

from __future__ import annotations

import json
from types import SimpleNamespace

import networks as nw
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from hmavel import state
from hmavel._types import Grid, pair_id
from hmavel.config import Config
from hmavel.derived import summary
from hmavel.floor import UNVERIFIED, Floor
from hmavel.glacier_floor import (
    COLUMNS,
    GROUND,
    RECORD,
    glacier_floor,
    ground_cells,
    ice_counts,
    rows_of,
)
from hmavel.month import compose_months
from hmavel.month_kernel import Hyperparameters
from hmavel.pair_stack import read_pairs
from hmavel.product.derived_field import combine_derived
from hmavel.raster_write import write_geotiff

GRID = Grid(CRS.from_epsg(32644), Affine(120, 0, 600000, 0, -120, 3950040), (16, 18))
MONTHS = np.arange("2014-01", "2017-01", dtype="M8[M]")
PRIOR = Hyperparameters(
    level=1000.0, season=15.0, shape=0.9, memory=20.0, event=2.0, duration=0.4
)
#: Four cells; three have a season: below the floor, above it, not held against any.
FLAGS = {
    "season_flag": np.array([0, 0, 0, 1]), "season_below_floor": np.array([1, 0, 2, 2]),
    "trend_flag": np.array([1, 1, 0, np.nan]), "trend_below_floor": np.array([1, 0, 2, np.nan]),
}  # fmt: skip
SHADE = 8.0  # m/yr, the false season of every cell along x


@pytest.fixture(scope="module")
def glacier(tmp_path_factory):
    """Three years of pairs: ice of 40 m/yr that has no season, and ground, both shaded."""
    folder = tmp_path_factory.mktemp("G1")
    (folder / "pairs").mkdir()
    start, end = nw.dates(5, first="2014-01-01", last="2017-01-01", pairs=60)
    ice = np.zeros(GRID.shape, bool)
    ice[7:10, 4:14] = True
    any_ice = np.zeros(GRID.shape, bool)
    any_ice[6:11, 3:15] = True
    draw = np.random.default_rng(6)
    years = (end - start) / nw.DAY / nw.YEAR
    phase = [(t - np.datetime64("2014-01-01")) / nw.DAY / nw.YEAR * 2 * np.pi
             for t in (start, end)]  # fmt: skip
    # What a shadow does: a place that swings with the season, in each cell by another amount.
    size = SHADE / (2 * np.pi) * draw.normal(size=(2, *GRID.shape))
    rows, stack = [], {"vx": [], "vy": [], "sigma": []}
    for i in range(len(start)):
        sigma = nw.MATCH_SIGMA / 4 / years[i]
        turned = [f(phase[1][i]) - f(phase[0][i]) for f in (np.sin, np.cos)]
        swing = (size[0] * turned[0] + size[1] * turned[1]) / years[i]
        vx = 40.0 * ice + swing + sigma * draw.normal(size=GRID.shape)
        vy = sigma * draw.normal(size=GRID.shape)
        row = {"reference": f"A{i:03d}", "secondary": f"B{i:03d}", "start": str(start[i]),
               "end": str(end[i])}  # fmt: skip
        stable = (~any_ice).astype(np.float32)
        stable[:, :2] = 0  # snow
        wide = np.full(GRID.shape, sigma)
        bands = {"vx": vx, "vy": vy, "sigma_vx": wide, "sigma_vy": wide, "stable": stable}
        write_geotiff(
            folder / "pairs" / f"{pair_id(row['reference'], row['secondary'])}.tif",
            {name: np.asarray(band, np.float32) for name, band in bands.items()}, GRID,
            cog=False,
        )  # fmt: skip
        rows.append(row)
        for name, values in (("vx", vx), ("vy", vy), ("sigma", wide)):
            stack[name].append(values)
    composed = {
        axis: compose_months(
            np.array(stack[axis]), np.array(stack["sigma"]), start, end, months=MONTHS,
            hyperparameters=PRIOR, summary=summary,
        )
        for axis in ("vx", "vy")
    }  # fmt: skip
    site = SimpleNamespace(id="G1", grid=GRID, ice=ice, any_ice=any_ice)
    return SimpleNamespace(site=site, scenes=[]), composed, rows, folder


def made(glacier, config=None, typical=60.0):
    plan, composed, rows, folder = glacier
    config = config or Config()
    cells = ground_cells(plan.site, config)
    [ground] = read_pairs(folder / "pairs", rows, (cells, GROUND))
    return glacier_floor(
        plan, composed, ground, used=rows, config=config, jobs=1, typical_pairs=typical
    )


def test_shaded_ground_is_the_floor_of_shaded_ice(glacier):
    found = made(glacier)
    assert found.reason == ""
    assert isinstance(found.floor, Floor)
    assert found.floor.x.season.excess == pytest.approx(SHADE, rel=0.35)
    assert found.floor.y.season.excess < 1.5
    ground = (~glacier[0].site.any_ice)[:, 2:].sum()
    near = found.floor.x.margin_season
    assert near is not None
    assert found.floor.x.season.cells + near.cells == ground
    _, composed, _, _ = glacier
    ice = glacier[0].site.ice
    field = combine_derived(
        composed["vx"], composed["vy"], GRID, domain=ice, floor=found.floor
    )
    season = field.season
    told = ice & (season["season_flag"] == 0)
    assert told.sum() > 0.5 * ice.sum()  # by its errors alone most of the ice has a season
    assert (season["season_below_floor"][told] == 1).mean() >= 0.9
    assert np.isnan(season["season_below_floor"][~ice]).all()
    without = combine_derived(composed["vx"], composed["vy"], GRID, domain=ice).season
    assert np.isnan(without["season_floor"]).all()
    for name in ("season_below_floor", "trend_below_floor"):
        assert (without[name][ice] == UNVERIFIED).all()
        assert np.isnan(without[name][~ice]).all()
    counts = ice_counts(without)
    assert counts["seasons_told"] == counts["seasons_unverified"] == told.sum()
    assert counts["seasons_below"] == counts["trends_below"] == 0
    held = ice_counts(season)
    assert held["seasons_unverified"] == held["trends_unverified"] == 0
    assert held["seasons_below"] >= 0.9 * held["seasons_told"]


def test_record_and_rows(glacier, tmp_path):
    found = made(glacier)
    assert made(glacier) == found
    assert rows_of("G1", tmp_path) == []
    state.write_record(tmp_path / RECORD, "x", **found.record(FLAGS))
    assert json.loads((tmp_path / RECORD).read_text())["floor"] is True
    ice, *rows = rows_of("G1", tmp_path)
    assert (ice["component"], ice["ground"]) == ("along flow", "none: the ice")
    assert (ice["seasons_told"], ice["seasons_below"], ice["trends_unverified"]) == (3, 1, 1)
    assert set(ice) <= set(COLUMNS)
    assert [(row["component"], row["ground"]) for row in rows] == [
        ("vx", "away from ice"), ("vx", "next to ice"), ("vy", "away from ice"),
        ("vy", "next to ice"),
    ]  # fmt: skip
    assert set(rows[0]) <= set(COLUMNS)
    assert rows[0]["season_floor"] > rows[0]["season_high"] > rows[0]["season_median"] > 0


def test_too_little_ground_is_said(glacier, tmp_path):
    found = made(glacier, typical=130.0)
    assert found.floor is None
    assert "none of" in found.reason
    state.write_record(tmp_path / RECORD, "x", **found.record(FLAGS))
    [row] = rows_of("G1", tmp_path)
    assert (row["glacier"], row["cells"], row["reason"]) == ("G1", 0, found.reason)
    assert row["seasons_unverified"] == 1
    assert set(row) <= set(COLUMNS)


def test_classes_need_heights_and_the_sun(glacier, tmp_path):
    height = np.broadcast_to(np.arange(18) * 60.0, GRID.shape)  # 27 degrees
    dem = tmp_path / "dem.tif"
    write_geotiff(dem, {"height": np.asarray(height, np.float32)}, GRID)
    with_dem = Config(input={"dem": dem})
    plan, *rest = glacier
    assert made(glacier, with_dem).floor.x.classes == ()  # no scene says where the sun was
    lit = SimpleNamespace(site=plan.site, scenes=[SimpleNamespace(sun_azimuth=90.0)])
    kinds = made((lit, *rest), with_dem).floor.x.classes
    assert kinds[-1].name == "steep, away from the sun"
    assert kinds[-1].cells > 0.9 * sum(kind.cells for kind in kinds)
