"""The shadow of mountains, from heights and the sun's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from hmavel._types import Grid
from hmavel.errors import ReadError
from hmavel.raster_write import write_geotiff
from hmavel.shade import RELIEF_REACH_M, read_relief, terrain_shadow


@pytest.mark.parametrize("azimuth", [0, 30, 90, 135, 180, 225, 300, 345])
@pytest.mark.parametrize("elevation", [20.0, 45.0])
def test_a_tower_throws_its_shadow_away_from_the_sun(azimuth: float, elevation: float) -> None:
    z = np.zeros((121, 121))
    z[59:62, 59:62] = 300.0
    shade = terrain_shadow(z, 30.0, azimuth, elevation)
    row, col = np.nonzero(shade)
    # from the edge of the tower, whichever corner it is, and by whole pixels
    length = np.hypot(row - 60, col - 60).max() * 30.0
    expected = 300.0 / np.tan(np.deg2rad(elevation))
    assert expected - 45 < length < expected + 75
    heading = np.degrees(np.arctan2((col - 60).mean(), -(row - 60).mean()))
    assert (heading - azimuth - 180 + 540) % 360 - 180 == pytest.approx(0.0, abs=4)


def test_slopes_steeper_than_the_rays_are_dark() -> None:
    # falls to the north at 40 degrees: lit from the south only by a sun above 40 degrees
    row = np.arange(80)
    z = np.repeat(row[:, None] * 30.0 * np.tan(np.deg2rad(40)), 60, axis=1)
    assert terrain_shadow(z, 30.0, 180.0, 35.0)[:-1].all()
    assert not terrain_shadow(z, 30.0, 180.0, 45.0).any()
    assert not terrain_shadow(z, 30.0, 0.0, 35.0).any()
    turned = terrain_shadow(np.ascontiguousarray(z.T), 30.0, 90.0, 35.0)
    assert turned[:, :-1].all()


def test_flat_and_unknown_ground_is_not_in_shadow() -> None:
    assert not terrain_shadow(np.full((20, 20), 4000.0), 30.0, 150.0, 10.0).any()
    z = np.zeros((30, 30))
    z[:10] = np.nan
    assert not terrain_shadow(z, 30.0, 0.0, 30.0).any()
    assert not terrain_shadow(np.full((5, 5), np.nan), 30.0, 0.0, 30.0).any()


@pytest.mark.parametrize(
    "wrong", [(30.0, 0.0, 1.0), (0.0, 0.0, 30.0), (30.0, 0.0, float("nan"))]
)
def test_wrong_arguments(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="terrain_shadow: expected"):
        terrain_shadow(np.zeros((5, 5)), *wrong)


def test_heights_come_from_another_coordinate_system(tmp_path: Path) -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(1e-3, 0, 86.0, 0, -1e-3, 29.0), (1000, 1000))
    lon, lat = np.meshgrid(degrees.x(np.arange(1000)), degrees.y(np.arange(1000)))
    plane = (5000 + 1000 * (lon - 86.5) + 2000 * (lat - 28.5)).astype("f4")
    write_geotiff(tmp_path / "dem.tif", {"height": plane}, degrees, cog=False)
    over = Grid(CRS.from_epsg(32645), Affine(120, 0, 445_000, 0, -120, 3_160_000), (60, 70))
    height, grid = read_relief(tmp_path / "dem.tif", over)
    assert grid.crs == over.crs
    assert grid.pixel == 30
    assert grid.bounds[0] == over.bounds[0] - RELIEF_REACH_M
    assert grid.bounds[1] <= over.bounds[1] - RELIEF_REACH_M
    assert np.isfinite(height).all()
    import pyproj

    to = pyproj.Transformer.from_crs(32645, 4326, always_xy=True)
    x, y = to.transform(grid.x(100), grid.y(200))
    expected = 5000 + 1000 * (x - 86.5) + 2000 * (y - 28.5)
    assert height[200, 100] == pytest.approx(expected, abs=1)
    far = Grid(over.crs, Affine(120, 0, 745_000, 0, -120, 3_960_000), (60, 70))
    with pytest.raises(ReadError, match="got none there"):
        read_relief(tmp_path / "dem.tif", far)
