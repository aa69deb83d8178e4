"""Masks: formulas, bits, who overrules whom, every route, windows, bare ground."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from products import write_product
from rasterio.crs import CRS
from scipy import ndimage

from hmavel import Grid, SceneMask, classes, mask, qa
from hmavel.classes import Thresholds, qa_classes, spectral_classes, texture_classes
from hmavel.errors import GridMismatchError, ReadError
from hmavel.landsat import open_scene
from hmavel.scene_bands import read_qa

#: For the scene decimated to 515 m pixels: no widening, edges as thin as its pixels allow.
SHARP = Thresholds(cloud_buffer_m=0, veil_m=5 * 515)
NAMES = ("B2", "B3", "B4", "B5", "B6", "B7")
#: Top-of-atmosphere reflectance of what a glacier scene holds, Bands 2-7. Snow and cloud are
#: medians of the real Greenland scene of the tests below; the others are round figures.
SPECTRA = {
    "snow": (0.97, 0.97, 0.95, 0.84, 0.04, 0.05),
    "cloud": (0.94, 0.94, 0.92, 0.84, 0.35, 0.32),
    "ice": (0.52, 0.50, 0.46, 0.33, 0.04, 0.03),
    "debris": (0.17, 0.17, 0.18, 0.21, 0.22, 0.18),
    "rock": (0.14, 0.15, 0.17, 0.21, 0.25, 0.21),
    "sand": (0.22, 0.27, 0.34, 0.40, 0.47, 0.42),
    "grass": (0.08, 0.10, 0.08, 0.38, 0.22, 0.12),
    "lake": (0.14, 0.14, 0.09, 0.04, 0.01, 0.01),
    "terrain shadow": (0.08, 0.06, 0.04, 0.03, 0.02, 0.01),
    "shaded snow": (0.28, 0.24, 0.20, 0.15, 0.01, 0.01),
}
CLEAR, CLOUD, SHADOW, CIRRUS, FILL, WATER = 21824, 22280, 23888, 55052, 1, 21952


def pixels(*kinds: str, thickness: float = 0.0) -> dict[str, np.ndarray]:
    """Return bands of 8 x 8 pixels a kind, side by side, under cloud of that opacity."""
    ground = np.array([SPECTRA[kind] for kind in kinds])
    seen = (1 - thickness) * ground + thickness * np.array(SPECTRA["cloud"])
    return {
        name: np.repeat(np.full((8, 1), 1.0), len(kinds) * 8, axis=1)
        * np.repeat(seen[:, n], 8)[None, :]
        for n, name in enumerate(NAMES)
    }


def one(classes, name, kind=0) -> bool:
    """Return whether the middle of a kind's pixels has a class; they must agree."""
    block = getattr(classes, name)[:, kind * 8 + 2 : kind * 8 + 6]
    assert block.all() or not block.any()
    return bool(block.all())


# ---------------------------------------------------------------- formulas


def test_albedo_of_liang():
    # sum of the coefficients less the constant, and each coefficient alone
    assert mask.broadband_albedo(*np.ones((5, 1))) == pytest.approx(1.016 - 0.0018)
    each = mask.broadband_albedo(*np.eye(5))
    assert each + 0.0018 == pytest.approx([0.356, 0.130, 0.373, 0.085, 0.072])
    assert np.isnan(mask.broadband_albedo(np.array([np.nan]), *np.ones((4, 1)))).all()


def test_ndsi():
    assert mask.ndsi(np.array([0.9, 0.1, 0.0]), np.array([0.1, 0.3, 0.0])) == pytest.approx(
        [0.8, -0.5, np.nan], nan_ok=True
    )


# ---------------------------------------------------------------- bits


@pytest.mark.parametrize(
    ("value", "names", "confidences"),
    [
        (1, {"fill"}, (0, 0, 0, 0)),
        (21824, {"clear"}, (1, 1, 1, 1)),
        (22280, {"cloud"}, (3, 1, 1, 1)),
        (23888, {"shadow", "clear"}, (1, 3, 1, 1)),
        (30048, {"snow", "clear"}, (1, 1, 3, 1)),
        (55052, {"cirrus", "cloud"}, (3, 1, 1, 3)),
        (24082, {"dilated", "shadow"}, (2, 3, 1, 1)),
        (21952, {"clear", "water"}, (1, 1, 1, 1)),
    ],
)
def test_qa_pixel_values_that_are_frequent(value, names, confidences):
    values = np.array([[value]], np.uint16)
    assert {name for name in qa.BITS if qa.has(values, name)[0, 0]} == names
    got = tuple(qa.confidence(values, n)[0, 0] for n in ("cloud", "shadow", "snow", "cirrus"))
    assert got == confidences


def test_qa_radsat_bits():
    values = np.array([0, 1, 64, 128, 256, 2048], np.uint16)
    assert qa.saturated(values).tolist() == [False, True, True, False, False, False]
    assert qa.occluded(values).tolist() == [False] * 5 + [True]


# ---------------------------------------------------------------- who decides


@pytest.mark.parametrize("kind", SPECTRA)
def test_each_surface_alone(kind):
    got = spectral_classes(pixels(kind), None)
    found = {n for n in ("cloud", "shadow", "snow", "water") if one(got, n)}
    expected = {
        "snow": {"snow"}, "ice": {"snow"}, "shaded snow": {"snow"}, "cloud": {"cloud"},
        "lake": {"water"}, "terrain shadow": {"shadow"},
    }  # fmt: skip
    assert found == expected.get(kind, set())


@pytest.mark.parametrize("kind", ["snow", "ice"])
def test_cfmask_calls_bright_ice_cloud_and_is_overruled(kind):
    got = spectral_classes(pixels(kind), np.full((8, 8), CLOUD))
    assert not got.cloud.any()
    assert one(got, "snow")
    assert qa_classes(np.full((8, 8), CLOUD)).cloud.all()


@pytest.mark.parametrize("kind", ["snow", "ice"])
def test_cfmask_misses_thin_cloud_over_ice_and_is_completed(kind):
    got = spectral_classes(pixels(kind, thickness=0.7), np.full((8, 8), CLEAR))
    assert one(got, "cloud")
    assert not one(got, "snow")


@pytest.mark.parametrize("kind", ["rock", "debris", "sand", "grass"])
def test_cloud_over_ground_is_left_to_cfmask(kind):
    assert one(spectral_classes(pixels(kind), np.full((8, 8), CLOUD)), "cloud")
    assert one(spectral_classes(pixels(kind), np.full((8, 8), CIRRUS)), "cloud")


@pytest.mark.parametrize("kind", ["lake", "terrain shadow"])
def test_no_cloud_is_as_dark_as_that(kind):
    assert not spectral_classes(pixels(kind), np.full((8, 8), CLOUD)).cloud.any()


def test_shadow_is_kept_on_ground_and_dropped_on_sunlit_snow():
    bands = pixels("rock", "snow", "shaded snow")
    got = spectral_classes(bands, np.full((8, 24), SHADOW))
    assert [one(got, "shadow", k) for k in range(3)] == [True, False, True]


def test_slope_that_faces_the_sun_is_not_cloud():
    # 1.6 times the light of flat ground puts Band 6 of fine snow above the cloud's threshold
    fine = {name: band * 1.6 for name, band in pixels("snow").items()}
    fine["B6"] = np.full((8, 8), 0.25)
    assert (fine["B6"] > Thresholds().cloud_b6).all()
    assert not spectral_classes(fine, None).cloud.any()
    assert not spectral_classes(fine, np.full((8, 8), CLOUD)).cloud.any()


def spotted(*spots: tuple[slice, slice]) -> dict[str, np.ndarray]:
    """Return 24 x 24 pixels of ice with spots of cloud."""
    bands = {name: np.repeat(band, 3, axis=0) for name, band in pixels(*["ice"] * 3).items()}
    for name in NAMES:
        for spot in spots:
            bands[name][spot] = pixels("cloud")[name][0, 0]
    return bands


def test_small_and_thin_spots_are_mixed_pixels_and_clouds_are_widened():
    small, thin = np.s_[1:4, 1:6], np.s_[8:9, 0:24]  # 15 pixels; a line
    clear = np.full((24, 24), CLEAR)
    assert not spectral_classes(spotted(small, thin), clear).cloud.any()
    bands = spotted(small, thin, np.s_[14:18, 12:16])
    got = spectral_classes(bands, clear).cloud
    # 1.5 pixels about a square of 4 x 4: the eight neighbours of each
    assert got[13:19, 11:17].all()
    assert got.sum() == 36
    bare = Thresholds(cloud_buffer_m=0)
    assert spectral_classes(bands, clear, thresholds=bare).cloud.sum() == 16


def mixed(share: float) -> dict[str, np.ndarray]:
    """Return ice with stripes in which ice and debris share the pixels, 24 x 24."""
    bands = spotted()
    for n, name in enumerate(NAMES):
        stripe = (1 - share) * SPECTRA["ice"][n] + share * SPECTRA["debris"][n]
        bands[name][:, 4::6] = stripe
    return bands


def test_qa_is_not_believed_between_its_own_mistakes():
    bands = mixed(0.5)
    index = mask.ndsi(bands["B3"], bands["B6"])
    assert 0.4 < index[0, 4] < Thresholds().clear_b6_ndsi  # by itself it could be thin cloud
    assert not spectral_classes(bands, np.full((24, 24), CLOUD)).cloud.any()
    # where QA errs nowhere else, it is
    only = np.where(np.arange(24) % 6 == 4, CLOUD, CLEAR) * np.ones((24, 1), int)
    assert spectral_classes(bands, only).cloud[:, 4].all()


def test_cirrus_thins_out_on_ice():
    veil = pixels("ice", "ice", "ice", thickness=0.2)
    bands = {name: np.where(np.arange(24) < 4, pixels("cloud")[name][0, 0], veil[name])
             for name in NAMES}  # fmt: skip
    cirrus = np.where(np.arange(24) < 4, CIRRUS, CLEAR) * np.ones((8, 1), int)
    near = Thresholds(veil_m=300, far_veil_m=0)
    got = spectral_classes(bands, cirrus, thresholds=near).cloud
    assert got[:, :15].all()  # 4 pixels of QA's cirrus, 10 of veil, the buffer
    assert not got[:, 15:].any()
    assert spectral_classes(bands, cirrus).cloud.all()
    cumulus = np.where(np.arange(24) < 4, CLOUD, CLEAR) * np.ones((8, 1), int)
    assert not spectral_classes(bands, cumulus).cloud[:, 6:].any()


def fresh(b6: np.ndarray) -> dict[str, np.ndarray]:
    """Return bright fine-grained snow with that reflectance in Band 6."""
    level = {"B2": 0.85, "B3": 0.84, "B4": 0.82, "B5": 0.71, "B7": 0.09}
    return {name: np.full(b6.shape, level[name]) if name in level else b6 for name in NAMES}


def test_a_veil_goes_on_far_from_qas_cirrus():
    # NDSI 0.735: more than the veil next to the cirrus may have, less than clean snow's 0.79.
    columns = np.arange(150)
    thick = columns < 4
    veiled = fresh(np.where(thick, 0.40, 0.128) * np.ones((20, 1)))
    cirrus = np.where(thick, CIRRUS, CLEAR) * np.ones((20, 1), int)
    got = spectral_classes(veiled, cirrus).cloud
    assert got[:, :104].all()  # 4 pixels of cirrus and 3000 m
    assert not got[:, 106:].any()
    assert not spectral_classes(veiled, cirrus, thresholds=Thresholds(far_veil_m=0)).cloud[
        :, 6:
    ].any()
    assert not spectral_classes(veiled, np.full((20, 150), CLEAR)).cloud[:, 6:].any()
    # Rock or shade in the pixels: there is clean snow between them.
    clean = np.where(columns % 6 == 0, 0.092, 0.128)
    mixed_in = fresh(np.where(thick, 0.40, clean) * np.ones((20, 1)))
    assert not spectral_classes(mixed_in, cirrus).cloud[:, 6:].any()


def test_invalid_pixels_are_nothing():
    bands = pixels("cloud", "rock")
    bands["B5"][:, :4] = np.nan
    values = np.full((8, 16), CLEAR)
    values[:, 12:] = FILL
    got = spectral_classes(bands, values, np.full((8, 16), 3))
    assert (got.valid.sum(0) == [0] * 4 + [8] * 8 + [0] * 4).all()
    for name in ("cloud", "shadow", "snow", "water", "saturated"):
        assert not (getattr(got, name) & ~got.valid).any()
    assert got.saturated.sum() == got.valid.sum()


def test_terrain_occlusion_is_shadow():
    occluded = np.full((8, 8), 1 << qa.OCCLUDED_BIT)
    assert one(spectral_classes(pixels("rock"), None, occluded), "shadow")
    assert one(qa_classes(np.full((8, 8), CLEAR), occluded), "shadow")


def test_band8_alone_tells_bright_and_dark_smooth_and_rough():
    rng = np.random.default_rng(7)
    level = np.repeat([0.75, 0.60, 0.15, 0.02], 40)[None, :] * np.ones((40, 1))
    rough = np.repeat([0.003, 0.10, 0.10, 0.01], 40)[None, :]
    got = texture_classes(level * (1 + rough * rng.standard_normal(level.shape)))
    middle = [slice(40 * k + 12, 40 * k + 28) for k in range(4)]
    assert got.cloud[:, middle[0]].all()
    assert got.snow[:, middle[1]].mean() > 0.99
    assert got.water[:, middle[3]].all()
    ground = got.cloud | got.snow | got.water | got.shadow
    assert not ground[:, middle[2]].any()


# ---------------------------------------------------------------- scenes


def scene_of(tmp_path, kinds=("ice", "rock", "cloud"), *, values=CLEAR, **kwargs):
    bands = pixels(*kinds)
    shape = bands["B2"].shape
    folder = write_product(tmp_path, bands=bands, qa=np.full(shape, values), **kwargs)
    return open_scene(folder)


def drop(scene, *names):
    return replace(scene, bands={k: v for k, v in scene.bands.items() if k not in names})


def test_every_route_says_which_it_was(tmp_path):
    scene = scene_of(tmp_path, values=CLOUD)
    full = mask.classify(scene)
    assert full.source == "albedo+qa"
    assert full.cloud[4].tolist() == [False] * 7 + [True] * 17  # not the ice, but its edge
    assert full.grid.shape == (8, 24)
    assert full.grid.pixel == 30
    no_qa = mask.classify(drop(scene, "QA_PIXEL"))
    assert no_qa.source == "albedo"
    assert no_qa.cloud[4].tolist() == [False] * 15 + [True] * 9
    only_qa = mask.classify(drop(scene, "B6"))
    assert only_qa.source == "qa"
    assert only_qa.cloud.all()
    assert mask.classify(replace(scene, reflectance=None)).source == "qa"
    assert mask.classify(replace(scene, sun_elevation=float("nan"))).source == "qa"
    b8 = mask.classify(drop(scene, "B6", "QA_PIXEL"))
    assert b8.source == "texture"
    assert b8.grid == scene.grid
    assert mask.classify(drop(replace(scene, reflectance=None), "B6", "QA_PIXEL")).source == (
        "texture"
    )


def test_damaged_band_is_an_error_and_no_reason_for_a_weaker_route(tmp_path):
    scene = scene_of(tmp_path)
    path = scene.bands["B6"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReadError, match="B6"):
        mask.classify(scene)


def test_windows_give_what_the_whole_gives(tmp_path):
    rng = np.random.default_rng(3)
    index = rng.integers(0, len(SPECTRA), (12, 13))
    spectra = np.array(list(SPECTRA.values()))
    bands = {n: np.kron(spectra[index, k], np.ones((3, 3))) for k, n in enumerate(NAMES)}
    bands["B4"][5:9, 30:] = np.nan
    values = rng.choice([CLEAR, CLOUD, SHADOW, CIRRUS, FILL, WATER], bands["B4"].shape)
    scene = open_scene(write_product(tmp_path, bands=bands, qa=values))
    whole = mask.classify(scene)
    assert 0.2 < whole.cloud.mean() < 0.95
    windows = ((0, 0, 7, 5), (10, 20, 9, 19), (30, 33, 20, 20), (-8, 3, 9, 9))
    for row, col, rows, cols in windows:
        window = whole.grid.crop(row, col, rows, cols)
        part = mask.classify(scene, window)
        assert part.grid == window
        inside = np.s_[max(row, 0) : row + rows, max(col, 0) : col + cols]
        shape = whole.valid[inside].shape
        r0, c0 = max(-row, 0), max(-col, 0)
        for name in ("valid", "cloud", "shadow", "snow", "water", "saturated"):
            got = getattr(part, name)
            assert (
                got[r0 : r0 + shape[0], c0 : c0 + shape[1]] == getattr(whole, name)[inside]
            ).all(), name
            assert got.sum() == getattr(whole, name)[inside].sum()  # nothing outside
    # a window on another lattice gets the 30 m pixels that it touches
    cells = Grid(scene.grid.crs, Affine(120, 0, 500_040, 0, -120, 3_299_880), (2, 3))
    got = mask.classify(scene, cells).grid
    assert got.pixel == 30
    assert got.bounds[0] <= 500_040 < got.bounds[0] + 30
    with pytest.raises(GridMismatchError):
        mask.classify(scene, replace(cells, crs=CRS.from_epsg(32646)))


# ---------------------------------------------------------------- bare ground


def clear_mask(grid: Grid, **classes) -> SceneMask:
    nothing = np.zeros(grid.shape, bool)
    names = ("cloud", "shadow", "snow", "water", "saturated")
    full = {"valid": ~nothing} | dict.fromkeys(names, nothing) | classes
    return SceneMask(grid=grid, source="albedo+qa", **full)


def test_bare_ground_is_clear_in_both_scenes_and_away_from_ice():
    crs = CRS.from_epsg(32645)
    cells = Grid(crs, Affine(120, 0, 0, 0, -120, 1200), (10, 10))
    thirty = Grid(crs, Affine(30, 0, -15, 0, -30, 1215), (42, 42))
    ice = np.zeros(cells.shape, bool)
    ice[5, 5] = True
    assert mask.bare_ground(clear_mask(thirty), clear_mask(thirty), ice, cells).sum() == 95
    wide = mask.bare_ground(clear_mask(thirty), clear_mask(thirty), ice, cells, buffer_m=240)
    assert wide.sum() == 100 - 13  # the cells within two of the icy one
    spot = np.zeros(thirty.shape, bool)
    spot[4, 4] = True  # 105-135 m from the corner: across four cells
    for name in ("cloud", "shadow", "snow", "water", "saturated"):
        one_bad = clear_mask(thirty, **{name: spot})
        for pair in ((one_bad, clear_mask(thirty)), (clear_mask(thirty), one_bad)):
            got = mask.bare_ground(*pair, np.zeros_like(ice), cells)
            assert got.sum() == 96
            assert not got[:2, :2].any()
    part = Grid(crs, thirty.transform, (42, 20))  # a scene that ends after 585 m
    assert mask.bare_ground(clear_mask(part), clear_mask(thirty), ice, cells)[:, 4:].sum() == 0
    with pytest.raises(ValueError, match="shape"):
        mask.bare_ground(clear_mask(part), clear_mask(part), ice[:3], cells)


# ---------------------------------------------------------------- real scenes


def test_real_greenland_scene(shared_data):
    folder = shared_data / "landsat_c2" / "LC08_L2SP_005009_20150710_20200908_02_T2"
    scene = open_scene(folder, need_b8=False)
    got = mask.classify(scene, None, SHARP)
    assert got.source == "albedo+qa"
    assert got.valid.mean() == pytest.approx(0.525, abs=0.002)
    # Snow and cloud are far apart here, so CFMask can be the judge of the albedo alone.
    albedo = mask.classify(drop(scene, "QA_PIXEL"), None, SHARP)
    values = read_qa(scene)[0]
    cloud = qa.has(values, "cloud")
    snow = qa.has(values, "snow") & ~qa.has(values, "cloud", "dilated", "shadow")
    assert albedo.cloud[cloud].mean() > 0.93
    assert albedo.snow[snow].mean() > 0.98
    assert got.cloud[cloud].mean() > 0.97
    assert got.snow[snow].mean() > 0.98
    assert got.saturated.sum() == 0
    assert got.water.sum() == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_widening_opening_and_counting_equal_scipys(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        shape, share = rng.integers(1, 60, 2), rng.choice([0.0, 0.01, 0.1, 0.5, 1.0])
        mask = rng.uniform(size=shape) < share
        for pixels in (0.5, 1.0, 1.5, 2.0, 5.0, 12.9, 13.0, 40.0):
            far = ndimage.distance_transform_edt(~mask) if mask.any() else np.inf
            assert np.array_equal(classes.widened(mask, pixels), mask | (far <= pixels))
        square = np.ones((2 * 7 + 1, 2 * 7 + 1), int)
        around = ndimage.convolve(mask.astype(int), square, mode="constant")
        assert np.array_equal(classes._count_around(mask, 7), around)
        for side in (2, 3):
            square = np.ones((side, side), bool)
            found = classes._opened(mask, side)
            assert np.array_equal(found, ndimage.binary_opening(mask, square))
