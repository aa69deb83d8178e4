"""Static terrain: GLAFT's numbers, the robust mode's bias and coverage, its edges."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hmavel.errors import StableGroundError
from hmavel.kde import Frame, Smoother, bin_points, density_on_mesh
from hmavel.uncertainty import StaticTerrain, static_terrain

RELATIVE = 1e-9  # sums of the same terms in another order


@pytest.fixture(scope="module")
def glaft() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings and its imports
        import glaft

    return glaft


def package_figures(glaft: ModuleType, job: Any) -> Any:
    """Run the package's steps; ``job`` sets up and returns its Velocity object."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return job(glaft)


def from_samples(x: np.ndarray, y: np.ndarray, **kwargs: Any) -> Any:
    def job(glaft: ModuleType) -> Any:
        run = glaft.Velocity(**kwargs)
        run.xy = np.vstack([x, y])
        run.calculate_xystd()
        run.calculate_bandwidth()
        run.calculate_kde()
        run.construct_crude_mesh()
        run.eval_crude_mesh()
        run.construct_fine_mesh()
        run.eval_fine_mesh()
        run.thresholding_fine_mesh()
        run.thresholding_metric(metric=1)
        run.cal_outlier_percent()
        return run

    return job


def assert_same(ours: StaticTerrain, theirs: Any) -> None:
    pairs = {
        "bias_x": theirs.kdepeak_x,
        "bias_y": theirs.kdepeak_y,
        "delta_x": theirs.metric_static_terrain_x,
        "delta_y": theirs.metric_static_terrain_y,
        "outlier_fraction": theirs.outlier_percent,
        "bandwidth": theirs.bandwidth,
    }
    for name, expected in pairs.items():
        assert getattr(ours, name) == pytest.approx(expected, rel=RELATIVE, abs=1e-15), name
    assert ours.count == theirs.xy.shape[1]


def cloud(
    seed: int, n: int, *, sigma: float = 0.05, outliers: float = 0.0, kind: str = "even"
) -> tuple[np.ndarray, np.ndarray]:
    """Points around (0.3, -0.2), y half as wide again as x, and false matches out to 4."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.3, sigma, n), rng.normal(-0.2, 1.5 * sigma, n)
    false = rng.random(n) < outliers
    k = int(false.sum())
    if kind == "even":
        x[false], y[false] = rng.uniform(-4, 4, k), rng.uniform(-4, 4, k)
    else:
        x[false], y[false] = rng.choice([-4.0, 4.0], k), rng.choice([-4.0, 4.0], k)
    return x, y


# -- glaft mode -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "n", "outliers", "thres_sigma", "gridsize"),
    [(0, 40, 0.0, 2.0, 60), (1, 700, 0.1, 2.0, 60), (2, 5000, 0.3, 2.0, 60),
     (3, 3000, 0.05, 3.0, 60), (4, 3000, 0.05, 1.0, 41)],
)  # fmt: skip
def test_glaft_mode_equals_the_package(
    glaft: ModuleType, seed: int, n: int, outliers: float, thres_sigma: float, gridsize: int
) -> None:
    x, y = cloud(seed, n, outliers=outliers)
    job = from_samples(x, y, thres_sigma=thres_sigma, kde_gridsize=gridsize)
    theirs = package_figures(glaft, job)
    ours = static_terrain(x, y, method="glaft", thres_sigma=thres_sigma, gridsize=gridsize)
    assert_same(ours, theirs)


def test_glaft_mode_drops_missing_samples(glaft: ModuleType) -> None:
    x, y = cloud(5, 900)
    holed_x, holed_y = x.copy(), y.copy()
    holed_x[::7], holed_y[3::11] = np.nan, np.nan
    whole = np.isfinite(holed_x) & np.isfinite(holed_y)
    theirs = package_figures(glaft, from_samples(x[whole], y[whole]))
    assert_same(static_terrain(holed_x, holed_y, method="glaft"), theirs)


def kaskawulsh_samples(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Off-ice velocities as GLAFT's demo takes them: m/day, -9999 = no data."""
    import geopandas
    import rasterio
    from rasterio.features import geometry_mask

    shapes = geopandas.read_file(folder / "bedrock_V2.shp").geometry
    maps = []
    for axis in "xy":
        with rasterio.open(folder / f"20180304-20180405_velo-raw_v{axis}.tif") as source:
            band = source.read(1).astype(float)
            off = geometry_mask(shapes, band.shape, source.transform)
        maps.append(np.where(off | (band <= -9998), np.nan, band))
    return maps[0].ravel(), maps[1].ravel()


def test_glaft_mode_equals_the_demo(glaft: ModuleType, shared_data: Path) -> None:
    folder = shared_data / "kaskawulsh"

    def job(glaft: ModuleType) -> Any:
        run = glaft.Velocity(
            vxfile=str(folder / "20180304-20180405_velo-raw_vx.tif"),
            vyfile=str(folder / "20180304-20180405_velo-raw_vy.tif"),
            static_area=str(folder / "bedrock_V2.shp"),
        )
        run.static_terrain_analysis()
        return run

    x, y = kaskawulsh_samples(folder)
    assert_same(static_terrain(x, y, method="glaft"), package_figures(glaft, job))


# -- robust mode ----------------------------------------------------------------------


@pytest.mark.parametrize("outliers", [0.0, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("kind", ["even", "corners"])
def test_outliers_leave_the_half_width_alone(outliers: float, kind: str) -> None:
    for seed in (0, 1):
        x, y = cloud(seed, 20_000, outliers=outliers, kind=kind)
        t = static_terrain(x, y)
        assert t.delta_x == pytest.approx(0.10, rel=0.05)
        assert t.delta_y == pytest.approx(0.15, rel=0.05)
        assert t.bias_x == pytest.approx(0.3, abs=0.1 * 0.05)
        assert t.bias_y == pytest.approx(-0.2, abs=0.1 * 0.075)
        assert t.contamination == pytest.approx(outliers, abs=0.02)
        # share outside the 2-sigma box: 1 - 0.9545^2 of the core, and the false matches
        expected = 1 - (1 - outliers) * 0.9545**2
        assert t.outlier_fraction == pytest.approx(expected, abs=0.015)


def test_outliers_widen_glaft_as_published() -> None:
    x, y = cloud(0, 20_000, outliers=0.3)
    assert static_terrain(x, y, method="glaft").delta_x > 0.3  # truth: 0.1


@pytest.mark.parametrize(
    ("n", "seeds", "tolerance"),
    # four standard errors of the mean over the seeds, rounded up
    [(200, 60, 0.04), (2_000, 30, 0.018), (50_000, 8, 0.01), (1_000_000, 2, 0.005)],
)
def test_half_width_is_unbiased_at_every_size(n: int, seeds: int, tolerance: float) -> None:
    ratios = []
    for seed in range(seeds):
        t = static_terrain(*cloud(seed, n, outliers=0.1))
        ratios += [t.delta_x / 0.10, t.delta_y / 0.15]
    assert np.mean(ratios) == pytest.approx(1.0, abs=tolerance)


def coverage(n: int, seeds: range, outliers: float) -> tuple[float, float]:
    hits, z = [], []
    for seed in seeds:
        t = static_terrain(*cloud(seed, n, outliers=outliers))
        hits += [t.delta_x_ci[0] <= 0.10 <= t.delta_x_ci[1]]
        hits += [t.delta_y_ci[0] <= 0.15 <= t.delta_y_ci[1]]
        z += [(t.bias_x - 0.3) / t.bias_x_se, (t.bias_y + 0.2) / t.bias_y_se]
    return float(np.mean(hits)), float(np.std(z))


def test_intervals_cover_the_truth() -> None:
    covered, z = coverage(1_000, range(60), 0.1)
    assert 0.88 <= covered <= 0.995  # 120 trials: 95 % +- 3 sigma; the slow test is finer
    assert z == pytest.approx(1.0, abs=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "outliers"), [(200, 0.0), (2_000, 0.3), (30_000, 0.1)])
def test_intervals_cover_93_to_97_per_cent(n: int, outliers: float) -> None:
    covered, z = coverage(n, range(5000, 6500), outliers)
    assert 0.93 <= covered <= 0.97
    assert z == pytest.approx(1.0, abs=0.1)


def test_peak_lies_between_the_nodes() -> None:
    x, y = cloud(3, 400_000)
    t = static_terrain(x, y)
    node = 2 * 5 * t.sigma_x / 256
    assert abs(t.bias_x - 0.3) < 4 * t.bias_x_se < node


def test_shift_and_scale_pass_through() -> None:
    x, y = cloud(4, 3_000, outliers=0.1)
    a = static_terrain(x, y)
    b = static_terrain(1000 * x + 7, -1e-3 * y)
    # the frame is standardised, so this is the same computation up to rounding, which can
    # move a point that sits on a bin's edge
    assert b.bias_x == pytest.approx(1000 * a.bias_x + 7, rel=1e-3)
    assert b.delta_x == pytest.approx(1000 * a.delta_x, rel=3e-3)
    assert b.bias_y == pytest.approx(-1e-3 * a.bias_y, rel=1e-2)
    assert b.delta_y == pytest.approx(1e-3 * a.delta_y, rel=3e-3)


def test_missing_samples_and_types_do_not_matter() -> None:
    x, y = cloud(5, 3_000, outliers=0.1)
    t = static_terrain(x, y)
    gap = np.full(500, np.nan)
    padded = static_terrain(np.concatenate([x, gap]), np.concatenate([y, gap]))
    assert padded.count == 3_000
    assert padded.delta_x == pytest.approx(t.delta_x, rel=1e-12)
    single = static_terrain(x.astype(np.float32), y.astype(np.float32))
    assert single.delta_x == pytest.approx(t.delta_x, rel=1e-2)


def test_a_correlated_core_keeps_its_axis_half_widths() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 40_000))
    t = static_terrain(0.1 * a, 0.2 * (0.8 * a + 0.6 * b))
    assert t.sigma_x == pytest.approx(0.1, rel=0.03)
    assert t.sigma_y == pytest.approx(0.2, rel=0.03)


def test_overlapping_windows_widen_the_interval() -> None:
    x, y = cloud(7, 4_000)
    plain, shared = static_terrain(x, y), static_terrain(x, y, redundancy=16.0)

    def width(t: StaticTerrain) -> float:
        return math.log(t.delta_x_ci[1] / t.delta_x_ci[0])

    assert 2.0 < width(shared) / width(plain) < 5.0


def test_one_and_three_sigma_contours_agree_on_a_gaussian() -> None:
    x, y = cloud(8, 100_000, outliers=0.05)
    for thres in (1.0, 3.0):
        assert static_terrain(x, y, thres_sigma=thres).sigma_x == pytest.approx(0.05, rel=0.03)


# -- edges ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["robust", "glaft"])
def test_too_little_ground_is_said(method: str) -> None:
    with pytest.raises(StableGroundError, match=r"expected 30 points.*got 12"):
        static_terrain(np.arange(12.0), np.arange(12.0), method=method)
    with pytest.raises(StableGroundError, match="got 0"):
        static_terrain(np.full(100, np.nan), np.zeros(100), method=method)


@pytest.mark.parametrize("method", ["robust", "glaft"])
def test_ground_without_scatter_is_said(method: str) -> None:
    with pytest.raises(StableGroundError, match="one and the same value"):
        static_terrain(np.zeros(500), np.random.default_rng(0).normal(size=500), method=method)


def test_displacements_rounded_to_whole_steps_have_no_core() -> None:
    rng = np.random.default_rng(1)
    x, y = np.round(rng.normal(0, 1.2, (2, 100_000)))
    with pytest.raises(StableGroundError, match="expected a scatter with one clear core"):
        static_terrain(x, y)


@pytest.mark.parametrize(
    "wrong",
    [{"method": "kde"}, {"thres_sigma": 0.0}, {"thres_sigma": 9.0}, {"gridsize": 3},
     {"redundancy": 0.5}],
)  # fmt: skip
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected .*got .*;"):
        static_terrain(*cloud(0, 100), **wrong)


def test_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="one length, got 5 and 6"):
        static_terrain(np.zeros(5), np.zeros(6))


# -- densities ------------------------------------------------------------------------


def test_mesh_density_equals_the_plain_sum() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 70))
    xs, ys = np.linspace(-2, 2, 31), np.linspace(-1.5, 2.5, 23)
    h = 0.7
    d2 = (xs[None, :, None] - x) ** 2 + (ys[:, None, None] - y) ** 2
    plain = np.maximum(0, 1 - d2 / h**2).sum(axis=-1) * 2 / (np.pi * h**2 * x.size)
    np.testing.assert_allclose(density_on_mesh(x, y, xs, ys, h), plain, rtol=1e-12, atol=1e-15)


def test_binned_density_keeps_mass_and_adds_the_stated_variance() -> None:
    frame = Frame(1.0, -1.0, 0.5, 0.25, half=5.0, bins=128)
    rng = np.random.default_rng(1)
    x, y = 1.0 + 0.5 * rng.normal(size=200_000), -1.0 + 0.25 * rng.normal(size=200_000)
    counts, total = bin_points(x, y, frame)
    assert total == 200_000
    assert counts.sum() > 199_990  # within five sigma
    smoother = Smoother(frame, 0.8)
    f = smoother(counts)
    assert f.sum() == pytest.approx(counts.sum(), rel=1e-12)
    g = frame.centres
    variance = (f.sum(axis=0) @ g**2) / f.sum() - ((f.sum(axis=0) @ g) / f.sum()) ** 2
    expected = np.var((x - 1.0) / 0.5) + smoother.variance
    assert variance == pytest.approx(expected, abs=3e-3)  # bin rounding of 2e5 points


def test_points_outside_the_frame_are_counted_but_not_binned() -> None:
    frame = Frame(0.0, 0.0, 1.0, 1.0, half=1.0, bins=8)
    x = np.array([0.0, 5.0, -1e30, np.nan, 1e300])
    counts, total = bin_points(x, np.zeros(5), frame)
    assert (counts.sum(), total) == (1, 4)
