"""Bias: what each shape takes off, which one is chosen, and when none may be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import BSpline
from shapely import Point, Polygon

from hmavel import Displacement, Quality
from hmavel.bias import Bias, fit_bias, spread_of
from hmavel.bias_hull import Hull
from hmavel.bias_models import (
    CUTOFF,
    WEIGHTED_VARIANCE,
    node_redundancy,
    shape_over,
    spline_terms,
)
from hmavel.track import scene_column_angle, track_angle

MODULE_PX = 880.0  # 13.2 km: a detector module of Landsat's OLI on the ground


@dataclass(frozen=True)
class Case:
    """A pair's displacement over still ground, its stable mask and its true error."""

    d: Displacement
    stable: np.ndarray
    truth: np.ndarray  # (rows, cols, 2)


def make_case(
    seed: int,
    shape: tuple[int, int] = (150, 180),
    *,
    ramp: float = 0.0,
    stripe: float = 0.0,
    wave: float = 0.0,
    angle: float = 10.0,
    noise: float = 0.1,
    smooth: float = 0.0,
    outliers: float = 0.1,
    ground: str = "patches",
) -> Case:
    """Draw a pair with a shift, a ramp (px over the image), module steps and undulation."""
    rng = np.random.default_rng(seed)
    row, col = 8.0 * np.arange(shape[0]) + 3.5, 8.0 * np.arange(shape[1]) + 3.5
    down, right = np.meshgrid(row, col, indexing="ij")
    a = np.deg2rad(angle)
    across = right * np.cos(a) + down * np.sin(a)
    along = down * np.cos(a) - right * np.sin(a)
    truth = np.empty((*shape, 2))
    for k in range(2):
        turn = rng.uniform(0, 2 * np.pi)
        slope = np.cos(turn) * right / col[-1] + np.sin(turn) * down / row[-1]
        truth[..., k] = rng.normal(0, 0.2) + ramp * slope / np.ptp(slope)
    module = np.floor((across + rng.uniform(0, MODULE_PX)) / MODULE_PX).astype(int)
    module -= module.min()
    level = np.where(np.arange(module.max() + 1) % 2, 0.5, -0.5)[:, None] * stripe
    truth += (level * rng.choice([-1, 1], 2))[module]
    truth += wave / 2 * np.sin(2 * np.pi * along / 900 + rng.uniform(0, 6))[..., None]

    error = rng.normal(size=(*shape, 2))
    if smooth:
        error = ndimage.gaussian_filter(error, (smooth, smooth, 0))
    y = truth + noise * error / error.std()
    false = rng.random(shape) < outliers
    y[false] = rng.uniform(-4, 4, (false.sum(), 2))
    rough = ndimage.gaussian_filter(rng.normal(size=shape), 5)
    stable = {
        "patches": rough > np.quantile(rough, 0.7),
        "few patches": rough > np.quantile(rough, 0.9),
        "scattered": rough.argsort(axis=None).argsort().reshape(shape) % 50 == 0,
        "corner": np.add.outer(np.arange(shape[0]), np.arange(shape[1])) < 40,
        "two corners": (np.add.outer(np.arange(shape[0]), np.arange(shape[1])) < 40)
        | (np.add.outer(np.arange(shape[0]), np.arange(shape[1])) >= sum(shape) - 41),
        "wide corner": np.add.outer(np.arange(shape[0]), np.arange(shape[1])) < 110,
        "left": np.arange(shape[1]) < 40 + np.zeros((shape[0], 1)),
        "top": np.arange(shape[0])[:, None] < 40 + np.zeros(shape[1]),
        "all": np.ones(shape, bool),
    }[ground]
    one = np.ones(shape, np.float32)
    d = Displacement(
        y[..., 0].astype(np.float32), y[..., 1].astype(np.float32), noise * one, noise * one,
        one, one, np.zeros(shape, np.uint8), row, col,
    )  # fmt: skip
    return Case(d, stable, truth)


def error_of(b: Bias, case: Case) -> np.ndarray:
    """What is left of the systematic error, px, (rows, cols, 2)."""
    return np.stack([b.drow, b.dcol], axis=-1) - case.truth


def rms(e: np.ndarray) -> float:
    return float(np.sqrt((e**2).mean(axis=(0, 1)).max()))


# -- constant -------------------------------------------------------------------------


@pytest.mark.parametrize("outliers", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("seed", [0, 1])
def test_constant_finds_the_shift_among_false_matches(outliers: float, seed: int) -> None:
    case = make_case(seed, (80, 90), outliers=outliers, ground="all")
    b = fit_bias(case.d, case.stable, model="constant")
    # 4 standard errors of a mean of the good nodes
    assert np.abs(error_of(b, case)).max() < 4 * 0.1 / np.sqrt(0.6 * 7200)
    assert b.inliers == pytest.approx((1 - outliers) * 7200, rel=0.05)
    assert b.after.nmad_row == pytest.approx(b.before.nmad_row, rel=1e-3)
    assert abs(b.after.median_row) < 0.01
    assert b.before.median_row == pytest.approx(case.truth[0, 0, 0], abs=0.02)


def test_one_sided_false_matches_do_not_pull() -> None:
    case = make_case(2, (80, 90), outliers=0.0, ground="all")
    rng = np.random.default_rng(5)
    false = rng.random((80, 90)) < 0.4
    case.d.drow[false] += rng.uniform(0.8, 3.0, false.sum()).astype(np.float32)
    b = fit_bias(case.d, case.stable, model="constant")
    assert np.abs(error_of(b, case)).max() < 0.007


@pytest.mark.parametrize("model", ["constant", "quadratic", "auto"])
def test_a_uniform_shift_vanishes(model: str) -> None:
    case = make_case(3, (70, 80), ramp=0.3)
    drow, dcol = case.d.drow + np.float32(2.5), case.d.dcol - np.float32(1)
    moved = replace(case.d, drow=drow, dcol=dcol)
    a = fit_bias(case.d, case.stable, model=model)
    b = fit_bias(moved, case.stable, model=model)
    assert a.model == b.model
    # float32 keeps 2e-7 of a value of 4; the fit stops at 1e-7 of sigma
    np.testing.assert_allclose(a.corrected.drow, b.corrected.drow, atol=3e-6)
    np.testing.assert_allclose(a.corrected.dcol, b.corrected.dcol, atol=3e-6)


def test_a_pure_shift_is_taken_off_exactly() -> None:
    case = make_case(4, (40, 40), ground="all")
    d = replace(case.d, drow=np.full((40, 40), np.float32(0.3)), dcol=np.full((40, 40), 7.25))
    for model in ("constant", "plane", "auto"):
        b = fit_bias(d, case.stable, model=model)
        assert not b.corrected.drow.any()
        assert not b.corrected.dcol.any()
        assert b.model == ("constant" if model == "auto" else model)


def test_swapping_the_pair_flips_the_error() -> None:
    case = make_case(5, (80, 90), ramp=0.3)
    back = replace(case.d, drow=-case.d.drow, dcol=-case.d.dcol)
    a = fit_bias(case.d, case.stable, model="plane")
    b = fit_bias(back, case.stable, model="plane")
    np.testing.assert_allclose(a.drow, -b.drow, atol=2e-3)  # the mode's mesh is not symmetric


def test_values_rounded_to_steps_have_a_median() -> None:
    case = make_case(6, (60, 60), ground="all", outliers=0.0)
    drow, dcol = (np.round(c * 4) / 4 for c in (case.d.drow, case.d.dcol))
    coarse = replace(case.d, drow=drow, dcol=dcol)
    b = fit_bias(coarse, case.stable, model="constant")
    assert np.abs(error_of(b, case)).max() < 0.05


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_the_standard_error_is_that_of_repeated_pairs(smooth: float) -> None:
    z = []
    for seed in range(60):
        case = make_case(seed, (50, 50), smooth=smooth, ground="all")
        b = fit_bias(case.d, case.stable, model="constant")
        e = error_of(b, case)[0, 0]
        z += [e[0] / b.sigma_row, e[1] / b.sigma_col]
    # 120 figures know their spread to 0.065; over 600 it is 0.99 and 0.94
    assert np.std(z) == pytest.approx(1.0, abs=0.2)


def test_the_weights_cost_what_is_said() -> None:
    """The variance of the biweight by the integrals over a Gaussian scatter."""
    s = (np.arange(200_000) + 0.5) / 200_000 * CUTOFF**2  # squared radius
    share = np.exp(-s / 2) / 2 * (s[1] - s[0])
    w = (1 - s / CUTOFF**2) ** 2
    slope = w - 2 * s / CUTOFF**2 * (1 - s / CUTOFF**2)  # of x w(x^2 + y^2), mean over angles
    variance = (s / 2 * w**2) @ share / (slope @ share) ** 2
    assert variance * (w @ share) == pytest.approx(WEIGHTED_VARIANCE, rel=1e-3)


# -- ramps and stripes ----------------------------------------------------------------


@pytest.mark.parametrize(("seed", "outliers"), [(0, 0.1), (1, 0.4), (2, 0.4)])
def test_auto_takes_a_ramp_off(seed: int, outliers: float) -> None:
    case = make_case(seed, (90, 100), ramp=0.3, outliers=outliers)
    b = fit_bias(case.d, case.stable, column_angle=10.0)
    assert b.model == "plane"
    assert rms(error_of(b, case)) < 0.01
    assert b.sigma_row < 0.01


@pytest.mark.parametrize(("seed", "wave"), [(0, 0.0), (1, 0.0), (2, 0.1)])
def test_auto_takes_ramp_and_stripes_off(seed: int, wave: float) -> None:
    case = make_case(seed, (180, 220), ramp=0.3, stripe=0.15, wave=wave, smooth=0.6)
    b = fit_bias(case.d, case.stable, column_angle=10.0)
    constant = fit_bias(case.d, case.stable, model="constant")
    left, flat = error_of(b, case), error_of(constant, case)
    near = ndimage.distance_transform_edt(~case.stable) * 8 <= 333
    assert b.model == "stripes"
    assert np.sqrt((left[near] ** 2).mean(axis=0)).max() < 0.02
    assert rms(left) < rms(flat) / 4
    assert np.quantile(np.abs(left[near]), 0.9) < 0.02


@pytest.mark.parametrize("smooth", [0.0, 1.5])
def test_auto_leaves_a_clean_pair_alone(smooth: float) -> None:
    chosen = [
        fit_bias(c.d, c.stable, column_angle=10.0).model
        for c in (make_case(50 + s, (70, 80), smooth=smooth) for s in range(3))
    ]
    assert chosen.count("constant") == 3


@pytest.mark.slow
def test_auto_leaves_95_of_100_clean_pairs_alone() -> None:
    grounds, widths = ("patches", "corner", "all"), (0.0, 1.5)
    chosen = []
    for seed in range(120):
        case = make_case(
            1000 + seed, (90, 110), smooth=widths[seed % 2], ground=grounds[seed % 3]
        )
        chosen.append(fit_bias(case.d, case.stable, column_angle=10.0).model)
    assert chosen.count("constant") >= 0.95 * len(chosen)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ground_in_one_corner_never_makes_it_worse(seed: int) -> None:
    case = make_case(seed, ramp=0.3, stripe=0.15, ground="corner")
    b = fit_bias(case.d, case.stable, column_angle=10.0)
    constant = fit_bias(case.d, case.stable, model="constant")
    assert rms(error_of(b, case)) <= rms(error_of(constant, case)) + 0.005


def test_far_from_the_ground_the_nearest_value_is_held() -> None:
    case = make_case(7, ramp=0.3, ground="corner", noise=0.02)
    b = fit_bias(case.d, case.stable, model="plane", reach=100.0)
    if b.model == "plane":
        inside = b.drow[case.stable]
        step = np.hypot(*(np.abs(np.diff(b.drow, axis=i)).max() for i in (0, 1)))
        assert b.drow.min() >= inside.min() - 100 / 8 * step - 1e-6
        assert b.drow.max() <= inside.max() + 100 / 8 * step + 1e-6
    else:
        assert b.flag


def test_far_from_the_ground_the_constant_is_taken_off() -> None:
    case = make_case(7, ramp=0.3, ground="left")
    b = fit_bias(case.d, case.stable, model="plane", reach=200.0)
    flat = fit_bias(case.d, case.stable, model="constant")
    assert b.model == "plane"
    gap = case.d.col - case.d.col[39]
    far, near = gap > 400, (gap > 0) & (gap < 200)
    # the mean of the plane over the ground, which false matches draw nowhere
    middle = np.array([flat.drow[0, 0], flat.dcol[0, 0]])
    beyond = np.stack([b.drow, b.dcol])[:, :, far]
    assert np.ptp(beyond, axis=(1, 2)).max() < 1e-9
    assert beyond[:, 0, 0] == pytest.approx(middle, abs=4 * flat.sigma_row)
    left, ours = (error_of(x, case)[:, near] for x in (flat, b))
    assert rms(ours) < 0.2 * rms(left)  # as far as the ground's word goes it is taken


@pytest.mark.parametrize("ground", ["left", "top", "wide corner"])
def test_ground_at_one_side_serves_what_is_near(ground: str) -> None:
    squares = []
    for seed in range(20, 24):
        case = make_case(seed, ramp=0.3, ground=ground)
        near = ndimage.distance_transform_edt(~case.stable) * 8 <= 333
        b = fit_bias(case.d, case.stable, column_angle=10.0)
        flat = fit_bias(case.d, case.stable, model="constant")
        ours, constant = error_of(b, case), error_of(flat, case)
        squares.append([(ours[near] ** 2).mean(axis=0), (constant[near] ** 2).mean(axis=0)])
        assert rms(ours) <= rms(constant)
    left, before = np.sqrt(np.mean(squares, axis=0).max(axis=1))
    assert left < 0.02 < before  # the bound


@pytest.mark.parametrize("ground", ["left", "wide corner"])
def test_ground_at_one_side_does_no_harm_beyond(ground: str) -> None:
    """Steps that the ground does not see undo what a shape says of places far away."""
    squares = []
    for seed in range(30, 34):
        case = make_case(seed, ramp=0.3, stripe=0.15, smooth=0.8, ground=ground)
        near = ndimage.distance_transform_edt(~case.stable) * 8 <= 333
        b = fit_bias(case.d, case.stable, column_angle=10.0)
        flat = fit_bias(case.d, case.stable, model="constant")
        parts = [error_of(x, case)[where] for x in (b, flat) for where in (near, ~near)]
        squares.append([(e**2).mean(axis=0).max() for e in parts])
        assert rms(error_of(b, case)) <= rms(error_of(flat, case)) + 0.005
    near, far, near_flat, far_flat = np.sqrt(np.mean(squares, axis=0))
    assert near < near_flat
    assert far <= far_flat


def test_seams_are_found_in_correlated_noise() -> None:
    """One shape, chosen step by step, left 0.04 px of ground with 260 measurements."""
    squares = []
    for seed in range(40, 44):
        case = make_case(
            seed, (260, 300), ramp=0.3, stripe=0.15, smooth=1.4, ground="few patches"
        )
        near = ndimage.distance_transform_edt(~case.stable) * 8 <= 333
        b = fit_bias(case.d, case.stable, column_angle=10.0)
        assert b.model == "stripes"
        squares.append((error_of(b, case)[near] ** 2).mean(axis=0))
    assert np.sqrt(np.mean(squares, axis=0)).max() < 0.02  # the bound


@pytest.mark.parametrize("smooth", [0.0, 0.8])
def test_ground_in_two_corners_never_makes_it_worse(smooth: float) -> None:
    """A step in one corner passes for a slope: once 0.10 px worse than the constant."""
    gain = []
    for seed in range(50, 54):
        case = make_case(seed, ramp=0.3, stripe=0.15, smooth=smooth, ground="two corners")
        b = fit_bias(case.d, case.stable, column_angle=10.0)
        flat = fit_bias(case.d, case.stable, model="constant")
        gain.append(rms(error_of(flat, case)) - rms(error_of(b, case)))
    assert min(gain) >= -0.005
    assert np.mean(gain) > 0.01


def test_steps_that_are_no_modules_are_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_bias.MODULE_PX", 610.0)
    for seed in (60, 61):
        case = make_case(seed, (180, 220), ramp=0.3, stripe=0.15)
        near = ndimage.distance_transform_edt(~case.stable) * 8 <= 333
        b = fit_bias(case.d, case.stable, column_angle=10.0)
        assert np.sqrt((error_of(b, case)[near] ** 2).mean(axis=0)).max() < 0.02
        told = fit_bias(case.d, case.stable, column_angle=10.0, module=610.0)
        assert rms(error_of(told, case)) <= rms(error_of(b, case)) + 0.002


def test_farther_out_less_of_a_shape_is_taken_off() -> None:
    case = make_case(21, ramp=0.3, stripe=0.15, smooth=0.8, ground="left")
    b = fit_bias(case.d, case.stable, column_angle=10.0)
    share = np.array(b.share)
    assert share.shape == (4, 2)  # within the outline, to half, one and two reaches
    assert (np.diff(share, axis=0) <= 0).all()
    assert share[0] == pytest.approx([1, 1])
    assert fit_bias(case.d, case.stable, model="constant").share == ()


def test_held_places_lie_on_the_way_to_the_hull() -> None:
    square = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1], [0, 0]])
    shape = shape_over(square, 3, reach=0.5)
    p = np.array([[0.3, 0.2], [1.25, 0.0], [9.0, 0.5], [4.0, 5.0]])
    expected = [[0.3, 0.2], [1.25, 0.0], [1.5, 0.5], [1 + 0.5 * 0.6, 1 + 0.5 * 0.8]]
    np.testing.assert_allclose(shape.held(p), expected, atol=1e-12)


# -- too little, and wrong ------------------------------------------------------------


@pytest.mark.parametrize("model", ["auto", "constant", "stripes"])
def test_too_little_ground_is_flagged(model: str) -> None:
    case = make_case(8, (60, 60))
    few = np.zeros((60, 60), bool)
    few[:6, :6] = True
    b = fit_bias(case.d, few, model=model)
    assert (b.model, b.flag, b.count, b.requested) == ("none", True, 36, model)
    assert "expected 100 stable nodes, got 36" in b.reason
    assert b.corrected is case.d
    assert np.isnan(b.sigma_row)


def test_ground_in_one_patch_is_flagged() -> None:
    case = make_case(8, (60, 60), ground="all")
    patch = np.zeros((60, 60), bool)
    patch[20:31, 20:31] = True
    b = fit_bias(case.d, patch)
    assert (b.model, b.flag, b.count) == ("none", True, 121)
    # a square of n by n nodes has sqrt((n^2 - 1) / 6) node spacings of 8 px
    assert "expected stable nodes spread over 40 px, got 36 px" in b.reason
    assert not fit_bias(case.d, patch, min_spread=30.0).flag
    apart = patch.copy()
    apart[50:55, 50:55] = True
    assert fit_bias(case.d, apart).model == "constant"


def test_no_ground_at_all_is_flagged() -> None:
    case = make_case(8, (60, 60))
    b = fit_bias(case.d, np.zeros((60, 60), bool))
    assert b.flag
    assert "got 0" in b.reason
    assert np.isnan(b.before.median_row)


def test_none_asked_for_is_not_a_failure() -> None:
    case = make_case(9, (60, 60))
    b = fit_bias(case.d, case.stable, model="none")
    assert (b.model, b.flag, b.reason) == ("none", False, "")
    assert b.corrected is case.d


def test_rejected_and_unstable_nodes_have_no_say() -> None:
    case = make_case(10, (80, 80), outliers=0.0)
    rng = np.random.default_rng(0)
    wild = replace(case.d, drow=np.where(case.stable, case.d.drow, rng.normal(9, 1, (80, 80))))
    refused = np.zeros((80, 80), bool)
    refused[::3] = True
    wild = wild.rejected(refused, Quality.OUTLIER)
    b = fit_bias(wild, case.stable, model="constant")
    assert b.count == (case.stable & ~refused).sum()
    assert np.abs(b.drow - case.truth[..., 0]).max() < 0.02
    assert np.isnan(b.corrected.drow[refused]).all()
    np.testing.assert_array_equal(b.corrected.quality, wild.quality)


def test_the_input_is_left_as_it_was() -> None:
    case = make_case(11, (70, 70), ramp=0.3)
    before = case.d.drow.copy()
    b = fit_bias(case.d, case.stable)
    np.testing.assert_array_equal(case.d.drow, before)
    assert b.corrected.drow.dtype == case.d.drow.dtype


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "cubic"}, {"min_count": 0}, {"reach": -1.0}, {"min_spread": -1.0},
        {"column_angle": 120.0}, {"module": 0.0},
    ],
)
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    case = make_case(0, (30, 30))
    with pytest.raises(ValueError, match=r"expected .*got .*;"):
        fit_bias(case.d, case.stable, **wrong)


def test_the_mask_must_be_the_nodes() -> None:
    case = make_case(0, (30, 30))
    with pytest.raises(ValueError, match="expected a bool array of shape"):
        fit_bias(case.d, np.ones((31, 30), bool))
    with pytest.raises(ValueError, match="expected a bool array"):
        fit_bias(case.d, np.ones((30, 30)))


# -- helpers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epsg", "x", "y", "expected"),
    # sides of the footprints of LC08_047027_20201204 and LC08_005009_20150710, true north
    [(32610, 0.0, 47.65, 14.7), (32622, 0.0, 72.43, 28.8)],
)
def test_the_track_is_that_of_real_footprints(
    epsg: int, x: float, y: float, expected: float
) -> None:
    import pyproj
    from affine import Affine
    from rasterio.crs import CRS

    from hmavel._types import Grid

    central = 6 * (epsg % 100) - 183.0
    east, north = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(
        central + x, y
    )
    grid = Grid(CRS.from_epsg(epsg), Affine(15, 0, east, 0, -15, north), (1, 1))
    assert track_angle(grid) == pytest.approx(expected, abs=0.5)
    # east of the central meridian grid north lies to the east of true north
    moved = Grid(grid.crs, Affine(15, 0, east + 100_000, 0, -15, north), (1, 1))
    assert track_angle(moved) < track_angle(grid) - 0.5


@pytest.mark.parametrize("angle", [-11.0, 0.0, 4.0, 12.5])
def test_the_footprint_tells_the_columns_direction(angle: float) -> None:
    row, col = np.mgrid[-200:200, -220:220]
    a = np.deg2rad(angle)
    across, along = col * np.cos(a) + row * np.sin(a), row * np.cos(a) - col * np.sin(a)
    valid = (np.abs(across) < 150) & (np.abs(along) < 140)
    assert scene_column_angle(valid) == pytest.approx(angle, abs=0.5)


def test_a_crop_without_edges_has_no_direction() -> None:
    assert scene_column_angle(np.ones((50, 60), bool)) == 0.0
    assert scene_column_angle(np.zeros((50, 60), bool)) == 0.0


@pytest.mark.parametrize(("smooth", "expected"), [(0.0, 1.0), (1.0, 4 * np.pi)])
def test_redundancy_is_the_area_of_the_autocorrelation(smooth: float, expected: float) -> None:
    error = np.random.default_rng(0).normal(size=(200, 220, 2))
    if smooth:
        error = ndimage.gaussian_filter(error, (smooth, smooth, 0))
    error += np.linspace(0, 0.5, 220)[None, :, None] * error.std()  # a ramp does not count
    assert node_redundancy(error) == pytest.approx(expected, rel=0.15)


def test_an_axis_without_neighbours_has_the_others_redundancy() -> None:
    error = np.random.default_rng(1).normal(size=(200, 220, 2))
    error = ndimage.gaussian_filter(error, (1, 1, 0))
    whole = node_redundancy(error)
    error[np.arange(200) % 12 > 0] = np.nan  # rows with nothing beside them
    assert node_redundancy(error) == pytest.approx(whole, rel=0.2)


def test_spread_of_nothing_is_nan() -> None:
    case = make_case(0, (30, 30))
    s = spread_of(case.d, np.zeros((30, 30), bool))
    assert np.isnan([s.median_row, s.median_col, s.nmad_row, s.nmad_col]).all()


# -- the real pair --------------------------------------------------------------------


@pytest.fixture(scope="module")
def yahtse(shared_data: Path) -> tuple[Displacement, list[Any], Any]:
    """Displacement of the Landsat-8 pair, bedrock polygons, the nodes' transform."""
    import rasterio
    from affine import Affine
    from shapely.geometry import Polygon

    from hmavel import correlate

    folder = shared_data / "yahtse"
    bands = []
    for day in ("200", "216"):
        with rasterio.open(folder / f"LC80630182016{day}LGN00_B8_yahtse.TIF") as source:
            bands.append(source.read(1).astype(np.float32))
            edge = source.transform
    d = correlate(*(np.where(b == 0, np.nan, b) for b in bands), window=64, coarse=64)
    rings: list[list[tuple[float, ...]]] = []
    for line in (folder / "StEliasMtn_utm7v_rock.gmt").read_text().splitlines():
        if line.startswith(">"):
            rings.append([])
        elif line[:1] not in ("#", ""):
            rings[-1].append(tuple(float(v) for v in line.split()[:2]))
    rock = [Polygon(r) for r in rings if len(r) > 3]
    return d, rock, Affine(8 * edge.a, 0, edge.c, 0, 8 * edge.e, edge.f)


def on_rock(yahtse: tuple[Displacement, list[Any], Any], chosen: np.ndarray) -> np.ndarray:
    from rasterio.features import geometry_mask

    d, rock, transform = yahtse
    shapes = [p for p, take in zip(rock, chosen, strict=True) if take]
    return np.asarray(geometry_mask(shapes, d.drow.shape, transform, invert=True))


def test_bedrock_of_the_real_pair(yahtse: tuple[Displacement, list[Any], Any]) -> None:
    d, rock, _ = yahtse
    b = fit_bias(d, on_rock(yahtse, np.ones(len(rock), bool)))
    assert b.before.median_row == pytest.approx(0.198, abs=0.03)
    assert b.before.median_col == pytest.approx(0.105, abs=0.03)
    assert abs(b.after.median_row) < 0.01
    assert abs(b.after.median_col) < 0.01
    assert max(b.after.nmad_row, b.after.nmad_col) <= 0.075


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_half_of_the_bedrock_judges_the_other(
    yahtse: tuple[Displacement, list[Any], Any], seed: int
) -> None:
    d, rock, _ = yahtse
    chosen = np.random.default_rng(seed).random(len(rock)) < 0.5
    fitted = on_rock(yahtse, chosen)
    judge = on_rock(yahtse, ~chosen) & ~fitted & d.good
    figures = []
    for model in ("constant", "auto"):
        s = spread_of(fit_bias(d, fitted, model=model).corrected, judge)
        figures.append([np.hypot(s.median_row, s.median_col), np.hypot(s.nmad_row, s.nmad_col)])
    flat, auto = figures
    assert auto[0] <= flat[0] + 1e-3
    assert auto[1] <= flat[1] * 1.01


@pytest.mark.parametrize("seed", range(4))
def test_nodes_without_a_core_are_no_ground(seed: int) -> None:
    """A few nodes that scatter over the whole reach once gave a singular matrix."""
    rng = np.random.default_rng(seed)
    left_out = 0
    for _ in range(60):
        drow, dcol = rng.uniform(-4, 4, (2, 12, 12)).astype(np.float32)
        one, axis = np.ones((12, 12), np.float32), 8.0 * np.arange(12)
        good = np.zeros((12, 12), np.uint8)
        d = Displacement(drow, dcol, one, one, one, one, good, axis, axis)
        stable = np.zeros((12, 12), bool)
        stable.flat[rng.permutation(144)[:10]] = True
        b = fit_bias(d, stable, min_count=8, min_spread=0.0)
        assert b.model in {"none", "constant"}
        if b.model == "none":
            left_out += 1
            assert b.flag
            assert b.reason == "expected nodes that agree with each other, got 10 that " \
                "scatter without a core"  # fmt: skip
            assert not b.drow.any()
    assert left_out


def test_splines_are_those_of_scipy() -> None:
    x = np.random.default_rng(0).uniform(-30.0, 480.0, 300)
    knots = 10.0 + 50.0 * np.arange(-3, 13)
    theirs = BSpline.design_matrix(np.clip(x, 10.0, 460.0), knots, 3).toarray()
    np.testing.assert_allclose(spline_terms(x, 10.0, 460.0, 9), theirs, atol=1e-14)


def test_places_beyond_the_ground_are_held_at_the_nearest_within_reach() -> None:
    rng = np.random.default_rng(1)
    corners = np.array([[0.0, 0.0], [100.0, 10.0], [80.0, 90.0], [10.0, 70.0]])
    hull = Hull(corners)
    p = rng.uniform(-200.0, 300.0, (200, 2))
    held, distance = hull.held(p, 50.0), hull.distance(p, 50.0)
    outline = Polygon(corners)
    for place, at, far in zip(p, held, distance, strict=True):
        assert far == pytest.approx(outline.distance(Point(place)), abs=1e-9)
        assert outline.distance(Point(at)) == pytest.approx(min(far, 50.0), abs=1e-9)
        if far <= 50.0:
            np.testing.assert_allclose(at, place, atol=1e-9)
