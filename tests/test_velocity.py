"""Signs, units and directions of what comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from hmavel._types import Displacement, Grid
from hmavel.errors import GridMismatchError
from hmavel.velocity import axis_angle, east_north, rotate, to_velocity

UTM45 = CRS.from_epsg(32645)
GRID = Grid(UTM45, Affine(15, 0, 479992.5, 0, -15, 3100207.5), (80, 120))


@dataclass(frozen=True)
class Frame:
    """A pair without its arrays."""

    grid: Grid
    start: np.datetime64
    end: np.datetime64
    reference_id: str = "A"
    secondary_id: str = "B"


def frame(days: float, grid: Grid = GRID) -> Frame:
    start = np.datetime64("2016-07-18T20:37:06.339", "ms")
    return Frame(grid, start, start + np.timedelta64(round(days * 86_400_000), "ms"))


def displaced(drow: float, dcol: float, step: int = 8) -> Displacement:
    shape = (80 // step, 120 // step)
    full = {
        name: np.full(shape, value, np.float32)
        for name, value in (
            ("drow", drow),
            ("dcol", dcol),
            ("sigma_row", 0.05),
            ("sigma_col", 0.1),
            ("snr", 0.9),
            ("coherence", 0.8),
        )
    }
    half = (step - 1) / 2
    return Displacement(
        **full,
        quality=np.zeros(shape, np.uint8),
        row=np.arange(shape[0]) * step + half,
        col=np.arange(shape[1]) * step + half,
    )


def test_right_is_east_and_down_is_south() -> None:
    east, north, sigma_east, sigma_north = east_north(displaced(2.0, 1.0), 15.0)
    for array, value in ((east, 15), (north, -30), (sigma_east, 1.5), (sigma_north, 0.75)):
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, value, rtol=1e-6)


def test_a_year_has_365_and_a_quarter_days_and_days_have_fractions() -> None:
    v = to_velocity(displaced(-1.0, 2.0), frame(365.25))
    np.testing.assert_allclose(v.vx, 30, rtol=1e-6)
    np.testing.assert_allclose(v.vy, 15, rtol=1e-6)
    np.testing.assert_allclose(v.sigma_vx, 1.5, rtol=1e-6)
    np.testing.assert_allclose(v.sigma_vy, 0.75, rtol=1e-6)
    np.testing.assert_allclose(v.v, np.hypot(30, 15), rtol=1e-6)
    for days in (16.0, 15.5, 16 + 3.125 / 86400):
        v = to_velocity(displaced(0.0, 1.0), frame(days))
        np.testing.assert_allclose(v.vx, 15 * 365.25 / days, rtol=2e-7)
    assert (v.reference_id, v.secondary_id) == ("A", "B")
    assert v.end - v.start == np.timedelta64(16 * 86_400_000 + 3125, "ms")


def test_the_swapped_pair_has_the_same_velocity() -> None:
    forth = to_velocity(displaced(0.5, -0.25), frame(32))
    back = to_velocity(displaced(-0.5, 0.25), frame(-32))
    for name in ("vx", "vy", "sigma_vx", "sigma_vy"):
        np.testing.assert_array_equal(getattr(forth, name), getattr(back, name))
    assert (back.sigma_vx > 0).all()


def test_the_cells_lie_around_the_nodes() -> None:
    v = to_velocity(displaced(0, 0), frame(16))
    # Step 8: the first cell is the first 8 x 8 pixels, edge to edge.
    assert v.grid == Grid(UTM45, Affine(120, 0, 479992.5, 0, -120, 3100207.5), (10, 15))
    d = replace(displaced(0, 0), row=np.arange(10) * 8.0 + 4, col=np.arange(15) * 8.0 + 5)
    v = to_velocity(d, frame(16))
    assert (v.grid.x(0), v.grid.y(0)) == (GRID.x(5), GRID.y(4))
    assert (v.grid.x(14), v.grid.y(9)) == (GRID.x(117), GRID.y(76))


def test_what_was_not_measured_stays_so() -> None:
    d = displaced(1, 1)
    quality = d.quality.copy()
    quality[3, 4] = 6
    drow = d.drow.copy()
    drow[3, 4] = np.nan
    v = to_velocity(replace(d, drow=drow, quality=quality), frame(16))
    assert np.isnan(v.vy[3, 4])
    assert np.isfinite(v.vy).sum() == v.vy.size - 1
    assert np.array_equal(v.quality, quality)


def test_grids_without_square_metres_and_pairs_without_time_are_refused() -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(1e-4, 0, 86, 0, -1e-4, 28), (80, 120))
    feet = Grid(CRS.from_epsg(2263), GRID.transform, GRID.shape)
    oblong = Grid(UTM45, Affine(15, 0, 0, 0, -15.1, 0), (80, 120))
    for grid, got in ((degrees, "EPSG:4326"), (feet, "EPSG:2263"), (oblong, "15 by 15.1 m")):
        with pytest.raises(GridMismatchError, match=got):
            to_velocity(displaced(0, 0), frame(16, grid))
    with pytest.raises(ValueError, match="expected two times"):
        to_velocity(displaced(0, 0), frame(0))


# --- axes of other systems


def directions(grid: Grid, code: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a step to grid east leads in another system, by two transformed points."""
    col, row = np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[0]))
    x, y = grid.x(col), grid.y(row)
    onto = pyproj.Transformer.from_crs(grid.crs.to_epsg(), code, always_xy=True)
    (x0, y0), (x1, y1) = onto.transform(x - 5.0, y), onto.transform(x + 5.0, y)
    if code == 4326:
        azimuth, _, _ = pyproj.Geod(ellps="WGS84").inv(x0, y0, x1, y1)
        return np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))
    length = np.hypot(x1 - x0, y1 - y0)
    return (x1 - x0) / length, (y1 - y0) / length


@pytest.mark.parametrize("code", [32644, 32646, 4326])
@pytest.mark.parametrize(
    ("x", "y", "shape"),
    [
        (205_000, 3_300_000, (40, 60)),  # west edge of the zone, 30 N
        (770_000, 4_600_000, (300, 200)),  # east edge, 41 N, a large glacier
        (495_000, 3_900_000, (1, 1)),  # across the central meridian, a single cell
    ],
)
def test_rotated_vectors_point_where_transformed_points_go(
    x: float, y: float, shape: tuple[int, int], code: int
) -> None:
    grid = Grid(UTM45, Affine(120, 0, x, 0, -120, y), shape)
    want_x, want_y = directions(grid, code)  # a geodesic of 10 m bends by 6e-7
    east = rotate(np.ones(shape), np.zeros(shape), grid, CRS.from_epsg(code))
    np.testing.assert_allclose(east.vx, want_x, atol=1e-6)
    np.testing.assert_allclose(east.vy, want_y, atol=1e-6)
    # North is a quarter turn from east: the systems are conformal.
    north = rotate(np.zeros(shape), np.ones(shape), grid, CRS.from_epsg(code))
    np.testing.assert_allclose(north.vx, -want_y, atol=1e-6)
    np.testing.assert_allclose(north.vy, want_x, atol=1e-6)


def test_the_turn_to_true_north_is_as_large_as_it_is_said_to_be() -> None:
    # 3 degrees from the meridian at 35 N: 3 sin 35 = 1.72 degrees.
    (x,), (y,) = pyproj.Transformer.from_crs(4326, 32645, always_xy=True).transform([84], [35])
    grid = Grid(UTM45, Affine(120, 0, x, 0, -120, y), (1, 1))
    angle = np.degrees(axis_angle(grid, CRS.from_epsg(4326)))
    # West of the meridian grid north lies to the left of true north, so true east is turned
    # clockwise from grid east.
    np.testing.assert_allclose(angle, -1.72, atol=0.01)


@settings(max_examples=30)
@given(st.floats(-500, 500), st.floats(-500, 500), st.sampled_from([32644, 32646, 4326]))
def test_there_and_back_is_where_one_was(vx: float, vy: float, code: int) -> None:
    grid = Grid(UTM45, Affine(120, 0, 230000, 0, -120, 3600000), (3, 4))
    there = rotate(np.full((3, 4), vx), np.full((3, 4), vy), grid, CRS.from_epsg(code))
    np.testing.assert_allclose(np.hypot(there.vx, there.vy), np.hypot(vx, vy), atol=1e-9)
    angle = axis_angle(grid, CRS.from_epsg(code))
    back_x = np.cos(angle) * there.vx - np.sin(angle) * there.vy
    np.testing.assert_allclose(back_x, vx, atol=1e-9)


def test_errors_turn_with_their_vectors() -> None:
    # 20,000 draws of one vector, turned one by one, scatter as the turned errors say.
    grid = Grid(UTM45, Affine(120, 0, 210000, 0, -120, 4200000), (1, 1))
    covariance = np.array([[25.0, -6.0], [-6.0, 4.0]])
    zone44 = CRS.from_epsg(32644)
    turned = rotate(
        np.zeros((1, 1)),
        np.zeros((1, 1)),
        grid,
        zone44,
        sigma_vx=np.full((1, 1), 5.0),
        sigma_vy=np.full((1, 1), 2.0),
        covariance=np.full((1, 1), -6.0),
    )
    assert turned.sigma_vx is not None
    assert turned.sigma_vy is not None
    assert turned.covariance is not None
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        draws = rng.multivariate_normal([0, 0], covariance, 20_000)
        many = rotate(draws[:, 0, None, None], draws[:, 1, None, None], grid, zone44)
        got = np.cov(many.vx.ravel(), many.vy.ravel())
        np.testing.assert_allclose(turned.sigma_vx**2, got[0, 0], rtol=0.04)
        np.testing.assert_allclose(turned.sigma_vy**2, got[1, 1], rtol=0.04)
        np.testing.assert_allclose(turned.covariance, got[0, 1], rtol=0.06)
    # And exactly: a turn keeps the trace and the determinant.
    trace = turned.sigma_vx**2 + turned.sigma_vy**2
    determinant = turned.sigma_vx**2 * turned.sigma_vy**2 - turned.covariance**2
    np.testing.assert_allclose(trace, 29)
    np.testing.assert_allclose(determinant, 64)


def test_a_turn_makes_a_covariance_where_there_was_none() -> None:
    grid = Grid(UTM45, Affine(120, 0, 210000, 0, -120, 4200000), (2, 2))
    ones = np.ones((2, 2))
    turned = rotate(ones, ones, grid, CRS.from_epsg(4326), sigma_vx=10 * ones, sigma_vy=ones)
    assert turned.covariance is not None
    assert (np.abs(turned.covariance) > 1).all()
    same = rotate(ones, ones, grid, UTM45, sigma_vx=10 * ones, sigma_vy=ones)
    assert same.covariance is not None
    assert not same.covariance.any()
    assert np.array_equal(same.vx, ones)


def test_stacks_keep_their_shape_type_and_gaps() -> None:
    grid = Grid(UTM45, Affine(120, 0, 210000, 0, -120, 4200000), (4, 5))
    rng = np.random.default_rng(3)
    vx, vy = rng.normal(size=(2, 7, 4, 5)).astype(np.float32)
    vx[2, 1, 1] = np.nan
    turned = rotate(vx, vy, grid, CRS.from_epsg(4326))
    assert turned.vx.shape == (7, 4, 5)
    assert turned.vx.dtype == np.float32
    # One component is not enough to turn: both are lost where one is.
    assert np.argwhere(np.isnan(turned.vx)).tolist() == [[2, 1, 1]]
    assert np.argwhere(np.isnan(turned.vy)).tolist() == [[2, 1, 1]]


def test_wrong_arguments_of_rotate_are_refused() -> None:
    grid = Grid(UTM45, Affine(120, 0, 210000, 0, -120, 4200000), (2, 3))
    zeros = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"rotate vy: expected .*\(2, 3\), got \(3, 2\)"):
        rotate(zeros, zeros.T, grid, UTM45)
    with pytest.raises(ValueError, match="expected both sigmas or none"):
        rotate(zeros, zeros, grid, UTM45, sigma_vx=zeros)
