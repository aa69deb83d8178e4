"""The floor: what ground shows that does not move, and what of the ice is below it."""

from __future__ import annotations

import numpy as np
import pytest

from hmavel.errors import StableGroundError
from hmavel.floor import (
    ABOVE,
    BELOW,
    HELD,
    UNVERIFIED,
    Floor,
    as_record,
    below,
    class_names,
    component_floor,
    slope_classes,
)

TOLD = np.sqrt(-2 * np.log(0.05))


def cells(count, seed, *, sigma=1.0, excess=0.0, trend=0.0):
    """Line and wave of ground cells, and the covariance that is stated for them."""
    draw = np.random.default_rng(seed)
    each = sigma * draw.uniform(0.7, 1.4, count)
    wave = each * draw.normal(size=(4, count))
    wave[2:] += excess * draw.normal(size=(2, count))
    wave[1] += trend * draw.normal(size=count)
    return wave, np.eye(4)[:, :, None] * each**2


def floor_of(*args, **kwargs):
    wave, covariance = args
    return component_floor(wave, covariance, np.zeros(wave.shape[1], bool), **kwargs)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ground_of_honest_errors_adds_little_to_chance(seed):
    found = floor_of(*cells(400, seed))
    assert found.season.excess < 0.5
    assert 0.02 < found.season.beyond_chance < 0.09
    # What is larger than chance by chance alone is hardly larger than that.
    assert TOLD <= found.season.factor < 1.7 * TOLD
    assert found.trend.excess < 0.5


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("excess", [2.0, 5.0])
def test_excess_is_what_the_errors_do_not_say(seed, excess):
    found = floor_of(*cells(400, seed, excess=excess, trend=excess))
    assert found.season.excess == pytest.approx(excess, rel=0.15)
    assert found.trend.excess == pytest.approx(excess, rel=0.2)
    assert found.season.beyond_chance > 0.3


@pytest.mark.parametrize("seed", range(6))
def test_false_seasons_of_like_ice_are_below(seed):
    """Heavy tails, as shading has; ice that is seen twice as well or half as well."""
    draw = np.random.default_rng([9, seed])

    def sample(count, sigma):
        wave, covariance = cells(count, draw.integers(1 << 30), sigma=sigma, excess=0.5)
        wave[2:] += (draw.uniform(size=count) < 0.1) * draw.normal(size=(2, count)) * 6
        return wave, covariance

    found = floor_of(*sample(400, 1.0))
    floor = Floor(found, found, 0.0)
    for sigma in (0.7, 1.0, 2.0):
        wave, covariance = sample(1000, sigma)
        ice = np.ones((1, 1000), bool)
        stated = covariance[:, :, None]
        level, _ = floor.along(np.ones(ice.shape), np.zeros(ice.shape), stated, stated, ice)
        size = np.hypot(wave[2], wave[3])
        told = size > TOLD * np.sqrt(covariance[2, 2])
        assert below(size, level[0])[told].mean() >= 0.9
        # And a season that is far larger than any of them is not.
        assert np.all(below(np.full(1000, 60.0), level[0]) == 0)


def test_bad_cells_do_not_raise_the_excess():
    wave, covariance = cells(300, 7, excess=2.0)
    clean = floor_of(wave, covariance).season.excess
    wave[:, :15] = 500.0
    assert floor_of(wave, covariance).season.excess == pytest.approx(clean, rel=0.12)


def test_cells_without_months_do_not_count():
    wave, covariance = cells(120, 8)
    found = floor_of(wave[:, :100], covariance[:, :, :100])
    wave[:, 100:], covariance[:, :, 100:] = np.nan, np.nan
    assert floor_of(wave, covariance) == found
    assert found.season.cells == 100


def test_too_little_ground_is_an_error_with_a_number():
    with pytest.raises(StableGroundError, match="got 49"):
        floor_of(*cells(49, 1))
    assert floor_of(*cells(50, 1)).season.cells == 50


def test_floor_is_the_same_in_every_run_and_its_error_falls_with_cells():
    few, many = (floor_of(*cells(n, 11, excess=1.0)).season for n in (60, 960))
    assert floor_of(*cells(60, 11, excess=1.0)).season == few
    assert 0 < many.sigma_factor < few.sigma_factor


def test_margin_is_held_against_the_ground_beside_it():
    away, at_ice = cells(200, 12), cells(200, 13, excess=6.0)
    parts = zip(away, at_ice, strict=True)
    wave, covariance = (np.concatenate(part, axis=-1) for part in parts)
    near = np.repeat([False, True], 200)
    found = component_floor(wave, covariance, near)
    assert found.margin_season is not None
    assert found.margin_season.excess > 4 > found.season.excess
    ice = np.zeros((11, 11), bool)
    ice[1:10, 1:10] = True
    stated = np.broadcast_to(np.eye(4)[:, :, None, None], (4, 4, 11, 11))
    one, zero = np.ones(ice.shape), np.zeros(ice.shape)
    level, _ = Floor(found, floor_of(*away), 2.0).along(one, zero, stated, stated, ice)
    assert level[5, 5] == pytest.approx(float(found.season.at(1.0)))
    both = float(np.hypot(found.season.at(1.0), found.margin_season.at(1.0)))
    assert level[1, 5] == level[2, 5] == pytest.approx(both)
    assert level[3, 5] == level[5, 5] < level[2, 5]
    # Across it is the other component's floor, which has no such ground.
    other, _ = Floor(found, floor_of(*away), 2.0).along(zero, one, stated, stated, ice)
    assert other[1, 5] == other[5, 5]


def test_more_pairs_do_not_lower_the_floor():
    level = floor_of(*cells(200, 14, excess=1.0)).season
    assert level.at(0.01) == level.typical == level.at(level.sigma)
    assert level.at(5.0) > 3 * level.typical


def test_slopes_are_named_as_the_sun_sees_them():
    row, col = np.mgrid[:9, :9] * 120.0
    sun = 135.0  # south-east
    names = {
        "falls to the south-east": (-(row + col) * 0.3, "inclined, sunward"),
        "falls to the north-west": ((row + col) * 0.3, "inclined, away from the sun"),
        "falls to the south-west": ((col - row) * 0.3, "inclined, right of the sun"),
        "falls to the north-east": ((row - col) * 0.3, "inclined, left of the sun"),
        "steep": (-(row + col) * 0.5, "steep, sunward"),
        "flat": (0.0 * row, "gentle"),
    }
    for about, (height, expected) in names.items():
        assert set(slope_classes(height, 120.0, sun)[1:-1, 1:-1].ravel()) == {expected}, about
        assert expected in class_names()
    height = 0.0 * row
    height[4, 4] = np.nan
    found = slope_classes(height, 120.0, sun)
    assert found[4, 5] == ""
    assert found[0, 0] == "gentle"


def test_classes_tell_what_their_cells_have_in_common():
    wave, covariance = cells(200, 15, sigma=0.5)
    names = np.repeat(["steep, sunward", "gentle"], [90, 110])
    wave[2, :90] += 3.0  # highest in the first days of the year
    found = floor_of(wave, covariance, classes=names)
    kinds = {kind.name: kind for kind in found.classes}
    assert {name: kind.cells for name, kind in kinds.items()} == {
        "gentle": 110, "steep, sunward": 90,
    }  # fmt: skip
    steep, gentle = kinds["steep, sunward"], kinds["gentle"]
    assert steep.common_season == pytest.approx(3.0, abs=4 * steep.sigma_common_season)
    assert min(steep.common_phase_days, 365.25 - steep.common_phase_days) < 8
    assert gentle.common_season < 4 * gentle.sigma_common_season
    few = floor_of(wave, covariance, classes=np.repeat(["gentle", ""], [10, 190])).classes
    assert [(k.name, k.cells) for k in few] == [("gentle", 10)]
    assert np.isnan(few[0].season_median)


def test_record_is_plain():
    import json

    found = floor_of(*cells(60, 16), classes=np.repeat(["gentle", ""], [10, 50]))
    record = as_record(Floor(found, found, 2.0))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["held"] == HELD
    assert record["vx"]["season"]["typical"] == found.season.typical
    assert record["vx"]["season"]["cells"] == 60
    assert record["vx"]["margin_season"] is None
    assert record["vx"]["classes"][0]["season_median"] is None


def test_without_a_floor_a_season_is_unverified_and_never_clean():
    size, level = np.array([1.0, -3.0, np.nan, 1.0]), np.array([2.0, 2.0, 2.0, np.nan])
    np.testing.assert_array_equal(below(size, level), [BELOW, ABOVE, np.nan, UNVERIFIED])


@pytest.mark.parametrize("seed", [20, 21, 22])
def test_ground_that_lacks_months_does_not_raise_the_floor(seed):
    """Half of the cells lack months: their errors are three times as large, and stated so."""
    full, stated = cells(300, seed, excess=1.0)
    poor, poorly = cells(300, seed + 100, sigma=3.0, excess=1.0)
    wave, covariance = np.hstack([full, poor]), np.concatenate([stated, poorly], axis=2)
    months = np.repeat([24, 19], 300)
    alone = floor_of(full, stated).season
    both = floor_of(wave, covariance, months=months).season
    assert both.cells == 600
    assert both.sigma == pytest.approx(alone.sigma, rel=0.05)
    assert both.typical == pytest.approx(alone.typical, rel=0.35)
    # Of all ground as one: the median sigma is 1.75, and hypot(1.75, 1) / hypot(1.05, 1) 1.39.
    assert floor_of(wave, covariance).season.typical > 1.2 * both.typical
