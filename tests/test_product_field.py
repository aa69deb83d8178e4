"""The monthly field: what a vector needs of its components, and the error of a speed."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from hmavel._types import Grid
from hmavel.month import compose_months
from hmavel.product.field import combine, speed

GRID = Grid(CRS.from_epsg(32645), Affine(120, 0, 480000, 0, -120, 3100080), (2, 3))


def composed(seed: int, *, lost: tuple[int, int] | None = None):
    rng = np.random.default_rng(seed)
    day = np.datetime64("2020-01-05") + 16 * np.arange(12)
    v = 40 + rng.normal(size=(11, *GRID.shape))
    if lost is not None:
        v[(slice(None), *lost)] = np.nan
    return compose_months(v, np.full(11, 2.0), day[:-1], day[1:], method="overlap")


def test_combine_takes_the_worse_of_the_two_components():
    vx, vy = composed(1), composed(2, lost=(1, 2))
    field = combine(vx, vy, GRID, name="one")
    seen = np.ones((len(vx.months), *GRID.shape), bool)
    seen[:, 1, 2] = False
    assert np.array_equal(np.isfinite(field.vx), seen)
    assert np.array_equal(np.isfinite(field.vy), seen)
    assert np.array_equal(np.isfinite(field.sigma_v), seen)
    assert (field.flag[~seen] == 2).all()
    assert (field.count[~seen] == 0).all()
    assert np.array_equal(field.count[seen], np.minimum(vx.count, vy.count)[seen].astype("f4"))
    assert np.array_equal(field.flag[seen], np.maximum(vx.flag, vy.flag)[seen])
    assert np.array_equal(field.v, np.hypot(field.vx, field.vy), equal_nan=True)
    assert set(field.bands_at(0)) == {
        "vx", "vy", "v", "sigma_vx", "sigma_vy", "sigma_v", "count", "flag",
    }  # fmt: skip
    assert field.bands(np.datetime64("1999-01")) is None


def test_outside_the_domain_there_is_neither_value_nor_flag():
    domain = np.zeros(GRID.shape, bool)
    domain[0, :2] = True
    field = combine(composed(1), composed(2, lost=(0, 1)), GRID, domain=domain)
    bands = field.bands(field.months[2])
    assert bands is not None
    assert np.array_equal(np.isfinite(bands["flag"]), domain)
    assert np.array_equal(np.isfinite(bands["count"]), domain)
    assert np.argwhere(np.isfinite(bands["v"])).tolist() == [[0, 0]]
    assert bands["flag"][0, 1] == 2


def test_combine_refuses_what_does_not_fit():
    vx, vy = composed(1), composed(2)
    with pytest.raises(ValueError, match="expected an array of shape"):
        combine(vx, vy, Grid(GRID.crs, GRID.transform, (3, 3)))
    with pytest.raises(ValueError, match="domain"):
        combine(vx, vy, GRID, domain=np.ones((3, 3), bool))
    day = np.datetime64("2020-01-05") + 16 * np.arange(12)
    other = compose_months(
        np.ones((11, *GRID.shape)),
        np.full(11, 2.0),
        day[:-1],
        day[1:],
        months=vx.months + 1,
        method="overlap",
    )
    with pytest.raises(ValueError, match="same months"):
        combine(vx, other, GRID)


def test_fast_ice_has_the_first_order_error_of_its_direction():
    v, sigma = speed(np.array([300.0, 0.0, 300.0]), np.array([0.0, -400.0, 400.0]), 3.0, 4.0)
    assert v.tolist() == [300.0, 400.0, 500.0]
    first_order = np.array([3.0, 4.0, np.hypot(0.6 * 3, 0.8 * 4)])
    assert sigma == pytest.approx(first_order, rel=1e-3)


def test_the_error_of_a_speed_is_continuous_to_zero_and_bounded():
    v = np.array([0.0, 1e-12, 1e-3, 1.0, 10.0, 1e6])
    for angle in (0.0, 0.7, 2.0):
        _, sigma = speed(v * np.cos(angle), v * np.sin(angle), 3.0, 4.0)
        assert sigma[0] == 5.0
        assert sigma[1] == pytest.approx(5.0)
        assert (np.diff(sigma) <= 1e-12).all()
        assert (sigma >= np.hypot(3 * np.cos(angle), 4 * np.sin(angle)) - 1e-9).all()
    assert np.isnan(speed(np.array([np.nan]), np.array([1.0]), 1.0, 1.0)[1]).all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_the_error_bar_of_a_speed_covers_the_truth_also_near_zero(seed, ratio):
    """Where first order covers 0.39 and 0.46 of ice that stands still, within one sigma."""
    rng, n = np.random.default_rng(seed), 100_000
    for truth, least_one, least_two in (
        (0.0, 0.49, 0.90),
        (0.5, 0.66, 0.94),
        (1.0, 0.68, 0.95),
        (3.0, 0.68, 0.95),
        (30.0, 0.68, 0.95),
    ):
        angle = rng.uniform(0, 2 * np.pi, n)
        vx = truth * np.cos(angle) + rng.normal(size=n)
        vy = truth * np.sin(angle) + ratio * rng.normal(size=n)
        v, sigma = speed(vx, vy, np.ones(n), np.full(n, ratio))
        off = np.abs(v - truth) / sigma
        # three standard errors of a share of 100 000 draws are below 0.005
        assert np.mean(off < 1) > least_one - 0.005
        assert np.mean(off < 2) > least_two - 0.005
