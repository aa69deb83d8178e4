"""The work's layout on a glacier: lattices, nodes, ice and the ground beside it."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import Point

from hmavel.site import PIXEL_M, make_site


@pytest.fixture(scope="module")
def inventory():
    """Two discs of ice, 2 km and 0.5 km in radius, 3 km apart, in UTM zone 45."""
    discs = gpd.GeoSeries(
        [Point(481_000, 3_100_000).buffer(2000), Point(484_000, 3_100_000).buffer(500)],
        crs=32645,
    )
    return gpd.GeoDataFrame(
        {"id": ["big", "small"], "name": ["Big", ""], "area_km2": [12.5, 0.78],
         "o1region": "15", "utm_epsg": 32645},
        geometry=discs.to_crs(4326).array, crs=4326,
    )


@pytest.mark.parametrize("step", [8, 3, 5])
def test_nodes_are_the_cells_centres_on_the_lattice_of_landsat(inventory, step):
    site = make_site(next(inventory.itertuples()), inventory, step=step, reach=40)
    assert site.grid.pixel == step * PIXEL_M
    assert site.image.x(0) % PIXEL_M == 0
    assert site.image.y(0) % PIXEL_M == 0
    np.testing.assert_array_equal((2 * site.row) % 1, 0)
    np.testing.assert_allclose(site.image.x(site.col), site.grid.x(np.arange(len(site.col))))
    np.testing.assert_allclose(site.image.y(site.row), site.grid.y(np.arange(len(site.row))))
    for node, size in ((site.row, site.image.shape[0]), (site.col, site.image.shape[1])):
        assert node.min() >= 40
        assert node.max() <= size - 1 - 40


def test_ice_is_this_glacier_and_any_ice_all_of_them_with_a_buffer(inventory):
    site = make_site(next(inventory.itertuples()), inventory, margin_m=3000, ice_buffer_m=240)
    x, y = np.meshgrid(site.grid.x(np.arange(site.grid.shape[1])),
                       site.grid.y(np.arange(site.grid.shape[0])))
    from_big = np.hypot(x - 481_000, y - 3_100_000)
    from_small = np.hypot(x - 484_000, y - 3_100_000)
    clear = abs(from_big - 2000) > 5  # the disc is a polygon
    np.testing.assert_array_equal(site.ice[clear], (from_big < 2000)[clear])
    assert site.any_ice[(from_big < 2240) | (from_small < 740)].all()
    # A touched cell's centre is at most half a diagonal away.
    assert not site.any_ice[(from_big > 2240 + 90) & (from_small > 740 + 90)].any()
    own = site.image_ice().sum() * PIXEL_M**2 / 1e6
    assert own == pytest.approx(np.pi * 4, rel=0.01)
