"""Speeds from a map made before: which bands, which cells, what is unknown."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import box

from hmavel import Grid
from hmavel.errors import ReadError
from hmavel.prior import expected_speed
from hmavel.raster_write import write_geotiff
from hmavel.site import make_site

UTM = CRS.from_epsg(32645)
#: 4.8 km on a side, speeds 0 ... 400 from west to east.
MAP = Grid(UTM, Affine(240, 0, 480_000, 0, -240, 3_300_000), (40, 40))
SPEED = np.tile(np.linspace(0, 400, 40), (40, 1))


@pytest.fixture
def site():
    shape = box(483_000, 3_294_000, 486_000, 3_297_000).segmentize(100)
    frame = gpd.GeoDataFrame(
        {"id": ["g"], "name": "", "area_km2": 9.0, "utm_epsg": 32645},
        geometry=gpd.GeoSeries([shape], crs=32645).to_crs(4326), crs=4326,
    )  # fmt: skip
    return make_site(next(frame.itertuples()), frame, margin_m=600)


@pytest.mark.parametrize("bands", [{"v": SPEED}, {"vx": 0.6 * SPEED, "vy": -0.8 * SPEED},
                                   {"other": SPEED * 0 + 7, "V": SPEED}])  # fmt: skip
def test_share_of_the_ice(tmp_path, site, bands):
    path = tmp_path / "map.tif"
    write_geotiff(path, bands, MAP)
    # The ice lies 3000 to 6000 m from the west edge; the first cell's centre is at 120 m.
    for share in (0.5, 0.9):
        truth = (3000 + share * 3000 - 120) / 240 * 400 / 39
        assert expected_speed(path, site, share) == pytest.approx(truth, abs=2)


def test_another_projection_and_holes(tmp_path, site):
    degrees = Grid(CRS.from_epsg(4326), Affine(0.002, 0, 86.7, 0, -0.002, 29.9), (90, 110))
    values = np.full(degrees.shape, 120.0)
    values[:, ::3] = np.nan
    path = tmp_path / "map.tif"
    write_geotiff(path, {"v": values}, degrees)
    assert expected_speed(path, site, 0.9) == pytest.approx(120)
    write_geotiff(path, {"v": values * np.nan}, degrees)
    assert np.isnan(expected_speed(path, site, 0.9))


def test_a_map_of_elsewhere_and_one_without_speed(tmp_path, site):
    path = tmp_path / "map.tif"
    away = Grid(UTM, Affine(240, 0, 680_000, 0, -240, 3_300_000), (40, 40))
    write_geotiff(path, {"v": SPEED}, away)
    assert np.isnan(expected_speed(path, site, 0.9))
    write_geotiff(path, {"a": SPEED, "b": SPEED}, MAP)
    with pytest.raises(ReadError, match='expected one band, one named "v"'):
        expected_speed(path, site, 0.9)
    with pytest.raises(ReadError, match="no such file"):
        expected_speed(tmp_path / "none.tif", site, 0.9)
