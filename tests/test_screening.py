"""Decisions per scene and glacier: the numbers, the limits, what is outside or broken."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
from products import CORNER, product_id, write_product
from shapely.geometry import box

from hmavel import glaciers, mask, qa, screening, simulate
from hmavel.classes import Thresholds
from hmavel.errors import ReadError
from hmavel.landsat import open_scene
from hmavel.polygons import rasterize
from hmavel.scene_bands import read_qa
from hmavel.screening import (
    Decision,
    Limits,
    Place,
    decisions_table,
    judge,
    screen,
    screen_all,
    screen_together,
)
from hmavel.seen import ImageWindow

SHAPE = (60, 70)  # of 30 m pixels: 1.8 km x 2.1 km
ICE = (0.52, 0.50, 0.46, 0.33, 0.04, 0.03)
CLOUD = (0.94, 0.94, 0.92, 0.84, 0.35, 0.32)
ROCK = (0.14, 0.15, 0.17, 0.21, 0.25, 0.21)
NEAR = Limits(gap_m=60, ground_m=300)


def outline(row, col, rows, cols):
    """Return the outline (WGS84) of a block of 30 m pixels."""
    left, top = CORNER[0] - 15 + 30 * col, CORNER[1] + 15 - 30 * row
    shape = box(left, top - 30 * rows, left + 30 * cols, top)
    return gpd.GeoSeries([shape.segmentize(30)], crs=32645).to_crs(4326).iloc[0]


def glacier(shape, name="g1"):
    return gpd.GeoDataFrame({"id": [name]}, geometry=[shape], crs=4326).iloc[0]


#: 20 x 30 pixels in the middle.
GLACIER = glacier(outline(20, 20, 20, 30))


def bands(cloudy=0, name_of_rest=ROCK):
    """Return rock with the glacier's ice, whose first ``cloudy`` columns are under cloud."""
    image = np.zeros((6, *SHAPE)) + np.array(name_of_rest)[:, None, None]
    image[:, 20:40, 20:50] = np.array(ICE)[:, None, None]
    image[:, 20:40, 20 : 20 + cloudy] = np.array(CLOUD)[:, None, None]
    return dict(zip(("B2", "B3", "B4", "B5", "B6", "B7"), image, strict=True))


def make(tmp_path, **kwargs):
    return open_scene(write_product(tmp_path, **({"bands": bands()} | kwargs)))


def test_clear_scene_is_taken(tmp_path):
    got = screen(make(tmp_path), GLACIER, NEAR)
    assert got == Decision(
        scene_id=product_id(), glacier_id="g1", accepted=True, reason="", source="albedo",
        valid=1.0, cloud=0.0, shadow=0.0, snow=1.0, saturated=0.0, ground_valid=1.0,
        ground_cloud=0.0, ground_shadow=0.0, ground_snow=0.0, bare_fraction=1.0,
    )  # fmt: skip


def test_fractions_and_their_limits(tmp_path):
    # 14 of 30 columns under cloud, widened by 1: half the ice
    scene = make(tmp_path, bands=bands(cloudy=14))
    got = screen(scene, GLACIER, NEAR)
    assert got.cloud == pytest.approx(0.5)
    assert not got.accepted
    assert got.reason == "cloud 0.50 > 0.30"
    assert screen(scene, GLACIER, replace(NEAR, max_cloud=0.5)).accepted
    assert got.ground_cloud == 0  # the widened cloud ends where the ring begins


def test_fill_counts_against_valid_and_not_as_cloud(tmp_path):
    image = bands(cloudy=6)
    for band in image.values():
        band[:, 32:] = np.nan  # 12 of 30 columns have an image, 7 of these cloud
    got = screen(make(tmp_path, bands=image), GLACIER, NEAR)
    assert got.valid == pytest.approx(12 / 30)
    assert got.cloud == pytest.approx(7 / 12)
    assert got.reason == "valid 0.40 < 0.60"


def test_snow_on_the_ground_hides_it(tmp_path):
    got = screen(make(tmp_path, bands=bands(name_of_rest=ICE)), GLACIER, NEAR)
    assert (got.ground_snow, got.bare_fraction) == (1.0, 0.0)
    assert got.accepted
    limits = replace(NEAR, min_bare=0.1)
    assert screen(make(tmp_path / "b"), GLACIER, limits).accepted
    white = make(tmp_path / "c", bands=bands(name_of_rest=ICE))
    assert screen(white, GLACIER, limits).reason == "bare ground 0.00 < 0.10"


def test_other_glaciers_are_no_ground(tmp_path):
    image = bands()
    for n, band in enumerate(image.values()):
        band[20:40, 54:] = ICE[n]
    scene = make(tmp_path, bands=image)
    alone = screen(scene, GLACIER, NEAR)
    assert 0.1 < alone.ground_snow < 0.3
    others = gpd.GeoDataFrame(
        {"id": ["g1", "g2"]}, geometry=[GLACIER.geometry, outline(20, 54, 20, 16)], crs=4326
    )
    assert screen(scene, GLACIER, NEAR, others=others).ground_snow == 0


def test_saturation_and_shadow(tmp_path):
    radsat = np.zeros(SHAPE, int)
    radsat[20:40, 20:35] = 1 << 3  # half the ice
    radsat[20:40, 35:38] = 1 << 11
    qa = np.full(SHAPE, 21824)
    got = screen(make(tmp_path, qa=qa, radsat=radsat), GLACIER, NEAR)
    assert got.saturated == pytest.approx(0.5)
    assert got.shadow == pytest.approx(0.1)
    assert got.reason == "saturated 0.50 > 0.20"


def test_outlines_outside_the_image(tmp_path):
    scene = make(tmp_path)
    beside = glacier(outline(20, 500, 20, 30))
    far = glacier(box(10, 60, 10.1, 60.1))
    for place in (beside, far):
        got = screen(scene, place, NEAR)
        assert (got.accepted, got.reason, got.failed) == (False, "outside", False)
    # inside the file, where the scene's tilted frame has no image
    blank = {name: np.where(np.arange(70) < 18, band, np.nan) for name, band in bands().items()}
    got = screen(make(tmp_path / "b", bands=blank), GLACIER, NEAR)
    assert (got.accepted, got.reason, got.valid) == (False, "outside", 0.0)
    # half beyond the edge
    got = screen(scene, glacier(outline(20, 60, 20, 20)), NEAR)
    assert got.valid == pytest.approx(0.5)


def test_scene_in_the_neighbouring_zone(tmp_path):
    corner = gpd.GeoSeries(gpd.points_from_xy([CORNER[0]], [CORNER[1]]), crs=32645)
    there = corner.to_crs(32644).iloc[0]
    image = {name: np.full((140, 140), ICE[n]) for n, name in enumerate(bands())}
    scene = make(tmp_path, bands=image, epsg=32644, corner=(there.x - 1000, there.y + 1000))
    got = screen(scene, GLACIER, NEAR)
    assert got.accepted
    assert (got.valid, got.snow) == (1.0, 1.0)


def test_broken_scene_is_recorded_and_the_others_judged(tmp_path):
    names = [product_id(day) for day in ("20200105", "20200121", "20200206")]
    scenes = [make(tmp_path, name=name) for name in names]
    band = scenes[1].bands["B6"]
    band.write_bytes(band.read_bytes()[:100])
    got = screen_all(scenes, GLACIER, NEAR)
    assert [d.accepted for d in got] == [True, False, True]
    assert [d.failed for d in got] == [False, True, False]
    assert got[1].reason.startswith("unreadable: ")
    assert "B6" in got[1].reason


#: Two halves of the ice, one place beyond the image.
PARTS = (glacier(outline(20, 20, 20, 10), "a"), glacier(outline(20, 36, 20, 14), "b"),
         glacier(outline(20, 900, 5, 5), "c"))  # fmt: skip


def together(scene, image=None):
    places = [Place(part, NEAR, image=image) for part in PARTS]
    return screen_together(scene, places, NEAR, Thresholds()), places


def test_a_scene_read_once_for_two_glaciers(tmp_path):
    scene = make(tmp_path, bands=bands(cloudy=6), qa=np.full(SHAPE, 21824))
    got, _ = together(scene)
    assert got == [screen(scene, part, NEAR) for part in PARTS]
    assert [d.accepted for d in got] == [False, True, False]
    assert [d.reason for d in got][::2] == ["cloud 0.70 > 0.30", "outside"]


def test_what_is_seen_together_is_what_each_sees(tmp_path):
    scene = make(tmp_path, bands=bands(cloudy=2), qa=np.full(SHAPE, 21824))
    image = ImageWindow(step=8, reach=16, margin_m=300)
    _, places = together(scene, image)
    for part, place in zip(PARTS, places, strict=True):
        alone = Place(part, NEAR, image=image)
        screen_together(scene, [alone], NEAR, Thresholds())
        assert place.seen.keys() == alone.seen.keys()
        for key, found in alone.seen.items():
            assert place.seen[key].grid == found.grid
            assert np.array_equal(place.seen[key].unusable, found.unusable)
            assert np.array_equal(place.seen[key].clear, found.clear)
    assert [len(place.seen) for place in places] == [1, 1, 0]


def test_damage_under_one_glacier_does_not_cost_the_other(tmp_path, monkeypatch):
    scene = make(tmp_path)
    read = screening.classify

    def spoilt(scene, window, thresholds):
        left, _, right, _ = window.bounds
        if left < CORNER[0] + 30 * 12 < right:
            raise ReadError("read", "B6.TIF", expected="pixels", got="none", hint="fetch it")
        return read(scene, window, thresholds)

    monkeypatch.setattr(screening, "classify", spoilt)
    got, _ = together(scene)
    assert [d.failed for d in got] == [True, False, False]
    assert [d.accepted for d in got] == [False, True, False]


def test_band8_alone_says_so(tmp_path):
    rng = np.random.default_rng(5)
    b8 = 0.6 * (1 + 0.1 * rng.standard_normal((119, 139)))
    got = screen(make(tmp_path, bands={}, b8=b8), GLACIER, NEAR)
    assert got.source == "texture"
    assert got.accepted


def test_glacier_smaller_than_a_pixel(tmp_path):
    tiny = glacier(outline(30.1, 30.1, 0.2, 0.2))
    assert screen(make(tmp_path), tiny, NEAR).valid == 1.0


def test_judge_never_takes_what_was_not_measured():
    nothing = Decision("s", "g", accepted=False, reason="")
    assert judge(nothing, Limits()) == "valid nan < 0.60"
    assert judge(replace(nothing, valid=1.0), Limits()) == "cloud nan > 0.30"


def test_table(tmp_path):
    table = decisions_table(screen_all([make(tmp_path)], GLACIER, NEAR))
    assert list(table["accepted"]) == [True]
    assert list(table["bare_fraction"]) == [1.0]
    assert list(decisions_table([]).columns) == list(table.columns)


# ---------------------------------------------------------------- against the truth


def measure(world: simulate.Archive) -> dict[str, float]:
    """Compare masks and decisions with what is true, over all scenes and glaciers."""
    inventory = glaciers.read_glaciers(world.inventory)
    grid = world.world.grid30
    on_ice, limits = world.glacier_mask(grid), Limits()
    outlines = [rasterize(outline, grid, crs=4326) for outline in inventory.geometry]
    count = dict.fromkeys(("cloud", "seen", "qa_seen", "clear", "kept", "qa_kept"), 0)
    wrong = made = 0
    for true in world.scenes:
        scene, truth = open_scene(true.path), world.true_mask(true)
        got = mask.classify(scene)
        product = qa.has(read_qa(scene)[0], "cloud", "cirrus", "dilated")
        clear = on_ice & truth.valid & ~truth.cloud & ~truth.shadow
        count["cloud"] += truth.cloud.sum()
        count["seen"] += (truth.cloud & got.cloud).sum()
        count["qa_seen"] += (truth.cloud & product).sum()
        count["clear"] += clear.sum()
        count["kept"] += (clear & ~got.cloud).sum()
        count["qa_kept"] += (clear & ~product).sum()
        for (_, row), ice in zip(inventory.iterrows(), outlines, strict=True):
            decision = screen(scene, row, limits)
            seen = ice & truth.valid
            share = {
                name: (getattr(truth, name) & seen).sum() / max(seen.sum(), 1)
                for name in ("cloud", "shadow")
            }
            share["shadow"] = (truth.shadow & ~truth.cloud & seen).sum() / max(seen.sum(), 1)
            reason = judge(replace(decision, valid=seen.sum() / ice.sum(), **share), limits)
            wrong, made = wrong + (decision.accepted != (not reason)), made + 1
    return {
        "cloud": count["seen"] / count["cloud"],
        "clear_ice": count["kept"] / count["clear"],
        "qa_cloud": count["qa_seen"] / count["cloud"],
        "qa_clear_ice": count["qa_kept"] / count["clear"],
        "agree": 1 - wrong / made,
        "decisions": made,
    }


def test_masks_and_decisions_agree_with_the_truth(tmp_path):
    got = measure(simulate.archive(tmp_path, seed=5, size=401, years=0.5))
    assert got["decisions"] >= 44
    assert got["cloud"] >= 0.95
    assert got["clear_ice"] >= 0.95
    assert got["qa_clear_ice"] < 0.8  # QA_PIXEL alone
    assert got["agree"] >= 0.97


@pytest.mark.slow
def test_masks_and_decisions_of_several_years(tmp_path):
    agree = []
    for seed, size in ((0, 401), (3, 401), (5, 401), (7, 401), (3, 1201)):
        folder = tmp_path / f"{seed}_{size}"
        got = measure(simulate.archive(folder, seed=seed, size=size, years=1))
        assert got["cloud"] >= 0.95, (seed, got)
        assert got["clear_ice"] >= 0.95, (seed, got)
        assert got["qa_clear_ice"] < 0.8, (seed, got)
        agree.append(got["agree"])
    assert np.mean(agree) >= 0.97, agree
