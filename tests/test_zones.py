"""Scenes of the neighbouring UTM zone: used, in the right place, without a bias."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from products import product_id, write_product
from pyproj import Transformer
from rasterio.transform import rowcol
from shapely.geometry import box

import hmavel
from hmavel import planning
from hmavel.classes import Thresholds
from hmavel.config import from_dict
from hmavel.landsat import open_scene
from hmavel.site import make_site
from hmavel.stack import cut_scene
from hmavel.zones import classify_in

#: Upper-left pixel centre, zone 45, beside 90 degrees east; and the same place in zone 46.
CORNER = (786_000.0, 3_325_020.0)
OTHER = tuple(
    30 * round(value / 30)
    for value in Transformer.from_crs(32645, 32646, always_xy=True).transform(*CORNER)
)
TO_46 = Transformer.from_crs(32645, 32646, always_xy=True)
SIDE = 320  # 30 m pixels
MOVED = [(1, (0.3, -0.7)), (2, (1.5, 2.25)), (3, (-0.5, 0.5))]
MIDDLE = (CORNER[0] + SIDE * 15.0, CORNER[1] - SIDE * 15.0)


@pytest.fixture(scope="module")
def glaciers():
    east, north = Transformer.from_crs(32645, 4326, always_xy=True).transform(*MIDDLE)
    outline = box(east - 0.011, north - 0.009, east + 0.011, north + 0.009)
    facts = {"id": ["g"], "name": ["g"], "area_km2": [4.0], "o1region": ["15"],
             "utm_epsg": [32645]}  # fmt: skip
    return gpd.GeoDataFrame(facts, geometry=[outline], crs=4326)


def site_of(glaciers, epsg):
    return make_site(next(glaciers.itertuples()), glaciers, epsg=epsg, margin_m=600)


@pytest.mark.parametrize(("seed", "moved"), MOVED)
def test_a_displacement_comes_out_on_the_axes_of_the_glacier(tmp_path, glaciers, seed, moved):
    """Against the same pair in its own zone: turned by 3 degrees, with about the same noise."""
    drow, dcol = moved
    pair = hmavel.simulate.shifted_pair(drow, dcol, seed=seed, shape=(640, 640), noise=0.05)
    scenes = []
    for day, image in (("20200105", pair.reference), ("20200121", pair.secondary)):
        reflectance = 0.1 + image / 40_000  # of the DN's order, linear in it
        folder = write_product(tmp_path, product_id(day), b8=reflectance, corner=CORNER)
        scenes.append(open_scene(folder))
    errors = {}
    for epsg in (32645, 32646):
        site, thresholds = site_of(glaciers, epsg), Thresholds(smooth_texture=0)
        cuts = [cut_scene(scene, site, thresholds) for scene in scenes]
        found = hmavel.correlate(cuts[0].image, cuts[1].image)
        assert np.mean(found.good) > 0.75
        east, south = dcol, drow
        if epsg == 32646:
            x, y = TO_46.transform(*MIDDLE)
            x1, y1 = TO_46.transform(MIDDLE[0] + 15 * dcol, MIDDLE[1] - 15 * drow)
            east, south = (x1 - x) / 15, (y - y1) / 15
            assert abs(east - dcol) > 0.01  # the axes do differ
        errors[epsg] = found.dcol[found.good] - east, found.drow[found.good] - south
    for here, there in zip(errors[32645], errors[32646], strict=True):
        assert abs(there.mean()) < 0.01
        assert there.std() < 1.15 * here.std()


def test_classes_lie_where_they_are_on_the_ground(tmp_path):
    shape = (SIDE, SIDE)
    qa = np.full(shape, 21824)
    qa[100:140, 150:230] = 22280  # a cloud
    qa[300:, :] = 1  # fill
    scene = open_scene(write_product(tmp_path, product_id(), qa=qa, corner=CORNER,
                                     b8=np.full((639, 639), 0.3)))  # fmt: skip
    here = classify_in(scene, scene.grid, Thresholds())
    window = site_window()
    there = classify_in(scene, window, Thresholds())
    assert there.grid.crs == window.crs
    assert there.source == here.source == "qa"
    rows, cols = np.indices(there.grid.shape)
    x, y = there.grid.x(cols), there.grid.y(rows)
    back = Transformer.from_crs(32646, 32645, always_xy=True).transform(x, y)
    row, col = rowcol(here.grid.transform, *(axis.ravel() for axis in back))
    row, col = (np.reshape(axis, rows.shape).astype(int) for axis in (row, col))
    truth = here.cloud[row, col]
    assert truth.sum() > 2000
    assert not np.any(truth & ~there.cloud)  # none is lost
    assert there.cloud.sum() < 1.15 * truth.sum()  # and little is added: a rim of one pixel
    assert not np.any(there.valid & ~here.valid[row, col])
    assert there.valid.mean() > 0.97


def site_window():
    """Return 15 m pixels of zone 46 that lie inside the scene."""
    from affine import Affine
    from rasterio.crs import CRS

    from hmavel._types import Grid

    x, y = TO_46.transform(CORNER[0] + 1200, CORNER[1] - 1200)
    transform = Affine(15, 0, x, 0, -15, y)
    return Grid(CRS.from_epsg(32646), transform, (430, 430))


def test_a_plan_uses_the_scenes_of_both_zones(tmp_path, glaciers):
    archive = tmp_path / "archive"
    b8 = np.random.default_rng(5).uniform(0.2, 0.5, (639, 639))
    qa = np.full((SIDE, SIDE), 21824)
    for day in ("20200105", "20200121", "20200206"):
        write_product(archive, product_id(day), b8=b8, qa=qa, corner=CORNER)
    for day in ("20200112", "20200128"):
        name = product_id(day, wrs=(139, 41))
        write_product(archive, name, b8=b8, qa=qa, corner=OTHER, epsg=32646)
    facts = glaciers.rename(columns={"id": "RGIId"})
    facts.to_file(tmp_path / "glaciers.gpkg")
    config = from_dict({
        "input": {"archive": [str(archive)]},
        "glaciers": {"inventory": str(tmp_path / "glaciers.gpkg"), "min_area_km2": 1.0,
                     "margin_m": 600.0},
        "output": {"folder": str(tmp_path / "out")},
    })  # fmt: skip
    plan = planning.plan(config)
    assert plan.failures == []
    (glacier,) = plan.glaciers
    assert glacier.site.grid.crs.to_epsg() == 32645
    assert [scene.grid.crs.to_epsg() for scene in glacier.scenes] == [
        32645, 32646, 32645, 32646, 32645,
    ]  # fmt: skip
    assert all(row["accepted"] for row in glacier.rows)
    assert {p.reference.wrs for p in glacier.pairs} == {(140, 41), (139, 41)}
    assert all(p.reference.grid.crs == p.secondary.grid.crs for p in glacier.pairs)
    thresholds = config.mask.thresholds()
    shown = [np.isfinite(cut_scene(s, glacier.site, thresholds).image) for s in glacier.scenes]
    assert min(image.mean() for image in shown) > 0.9
