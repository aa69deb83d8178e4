"""Strain rates in flow coordinates: known flows come back; GLAFT's numbers in its mode."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmavel.errors import StableGroundError
from hmavel.uncertainty import flow_metric, strain_rate

PIXEL = 60.0


def linear_flow(
    gradient: list[list[float]], heading_deg: float, shape: tuple[int, int] = (60, 70)
) -> tuple[np.ndarray, np.ndarray]:
    """Flow of about 10 per day towards ``heading_deg`` with a constant velocity gradient."""
    row, col = np.mgrid[0 : shape[0], 0 : shape[1]]
    x, y = PIXEL * (col - shape[1] / 2), -PIXEL * (row - shape[0] / 2)
    (a, b), (c, d) = gradient
    h = np.deg2rad(heading_deg)
    return 10 * np.cos(h) + a * x + b * y, 10 * np.sin(h) + c * x + d * y


def but_corners(a: np.ndarray) -> np.ndarray:
    """Values of a map whose corner pixels alone have too few neighbours for a slope."""
    assert np.isnan(a).sum() == 4
    return a[np.isfinite(a)]


@pytest.mark.parametrize("heading", [0.0, 90.0, 180.0, -135.0])
def test_a_known_shear_returns_itself(heading: float) -> None:
    # speed grows to the left of the flow: a simple shear of 2e-4, tensor shear 1e-4
    h = np.deg2rad(heading)
    flow, left = np.array([np.cos(h), np.sin(h)]), np.array([-np.sin(h), np.cos(h)])
    vx, vy = linear_flow((2e-4 * np.outer(flow, left)).tolist(), heading)
    strain = strain_rate(vx, vy, np.ones(vx.shape, bool), pixel=PIXEL)
    np.testing.assert_allclose(but_corners(strain.exy), 1e-4, rtol=1e-6)
    np.testing.assert_allclose(but_corners(strain.exx), 0.0, atol=1e-10)


def test_stretching_along_the_flow_is_normal_strain() -> None:
    vx, vy = linear_flow([[3e-4, 0.0], [0.0, 0.0]], 0.0)
    strain = strain_rate(vx, vy, np.ones(vx.shape, bool), pixel=PIXEL)
    np.testing.assert_allclose(but_corners(strain.exx), 3e-4, rtol=1e-9)
    np.testing.assert_allclose(but_corners(strain.exy), 0.0, atol=1e-12)


def test_holes_do_not_bend_the_slopes() -> None:
    vx, vy = linear_flow([[1e-4, 2e-4], [-1e-4, 3e-4]], 40.0)
    whole = strain_rate(vx, vy, np.ones(vx.shape, bool), pixel=PIXEL)
    rng = np.random.default_rng(0)
    vx[rng.random(vx.shape) < 0.15] = np.nan
    holed = strain_rate(vx, vy, np.ones(vx.shape, bool), pixel=PIXEL)
    both = np.isfinite(holed.exx)
    assert both.mean() > 0.6
    # the direction is the median of other pixels: a few metres of flow apart
    np.testing.assert_allclose(holed.exx[both], whole.exx[both], atol=2e-5)
    assert not np.isfinite(holed.exx[np.isnan(vx)]).any()


def test_flow_to_the_west_has_one_direction() -> None:
    rng = np.random.default_rng(1)
    vx = np.full((80, 80), -5.0)
    vy = rng.normal(0, 0.5, (80, 80))  # the angle jumps between +180 and -180 degrees
    strain = strain_rate(vx, vy, np.ones(vx.shape, bool), pixel=PIXEL)
    assert (np.abs(np.abs(strain.direction) - np.pi) < 0.15).all()


def test_ice_is_all_that_counts() -> None:
    vx, vy = linear_flow([[0.0, 2e-4], [0.0, 0.0]], 0.0)
    ice = np.zeros(vx.shape, bool)
    ice[10:50, 10:60] = True
    vx[~ice] += 100.0
    strain = strain_rate(vx, vy, ice, pixel=PIXEL)
    assert not np.isfinite(strain.exx[~ice]).any()
    np.testing.assert_allclose(but_corners(strain.exy[10:50, 10:60]), 1e-4, rtol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_scatter_is_that_of_the_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vx, vy = linear_flow([[0.0, 0.0], [0.0, 0.0]], 0.0, (120, 130))
    vx, vy = vx + rng.normal(0, 0.1, vx.shape), vy + rng.normal(0, 0.1, vx.shape)
    found = flow_metric(vx, vy, np.ones(vx.shape, bool), pixel=PIXEL)
    # slope of a plane over 3 x 3 pixels: sigma / (pixel sqrt 6); shear: two of them, halved
    slope = 0.1 / (PIXEL * np.sqrt(6))
    assert found.delta_normal == pytest.approx(2 * slope, rel=0.08)
    assert found.delta_shear == pytest.approx(2 * slope / np.sqrt(2), rel=0.08)


@pytest.mark.slow
def test_glaft_mode_equals_the_package(shared_data: Path) -> None:
    import geopandas
    import rasterio
    from rasterio.features import geometry_mask

    folder = shared_data / "kaskawulsh"
    files = {c: str(folder / f"20180304-20180405_velo-raw_v{c}.tif") for c in "xy"}
    outline = folder / "glacier_V1_Kaskawulsh_s_inwardBuffer600m.shp"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import glaft

        package: Any = glaft.Velocity(
            vxfile=files["x"], vyfile=files["y"], on_ice_area=str(outline)
        )
        package.longitudinal_shear_analysis()
    maps = {}
    for axis, name in files.items():
        with rasterio.open(name) as source:
            band = source.read(1)
            shapes = geopandas.read_file(outline).geometry
            ice = geometry_mask(shapes, band.shape, source.transform, invert=True)
            pixel = source.transform.a
        band[band <= -9998] = np.nan
        maps[axis] = band
    ours = flow_metric(maps["x"], maps["y"], ice, pixel=pixel, method="glaft")
    assert ours.delta_normal == pytest.approx(package.metric_alongflow_normal, rel=1e-9)
    assert ours.delta_shear == pytest.approx(package.metric_alongflow_shear, rel=1e-9)
    assert ours.scatter.bias_x == pytest.approx(package.kdepeak_x, rel=1e-9)
    assert ours.scatter.bandwidth == pytest.approx(package.bandwidth, rel=1e-9)
    assert ours.scatter.outlier_fraction == pytest.approx(package.outlier_percent, rel=1e-9)


def test_wrong_maps() -> None:
    v, ice = np.zeros((20, 20)), np.ones((20, 20), bool)
    with pytest.raises(ValueError, match="one 2-D shape"):
        flow_metric(v, v[1:], ice, pixel=60.0)
    with pytest.raises(ValueError, match="positive size, got 0"):
        flow_metric(v, v, ice, pixel=0.0)
    with pytest.raises(ValueError, match="'robust' or 'glaft'"):
        flow_metric(v, v, ice, pixel=60.0, method="sobel")
    with pytest.raises(StableGroundError, match="expected 30 points"):
        flow_metric(v, v, ~ice, pixel=60.0)
