"""Masks on other grids: exact overlap, whatever the sizes and offsets."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from hmavel import Grid
from hmavel.errors import GridMismatchError
from hmavel.overlap import covered, to_grid

UTM = CRS.from_epsg(32645)


def grid(left, top, pixel, shape, crs=UTM) -> Grid:
    return Grid(crs, Affine(pixel, 0, left, 0, -pixel, top), shape)


def brute(mask, source, target):
    """Area by area: every cell against every pixel."""
    share = np.zeros(target.shape)
    touched, clean = np.zeros(target.shape, bool), np.ones(target.shape, bool)
    p, q = source.pixel, target.pixel
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            inside = 0.0
            for a in range(source.shape[0]):
                for b in range(source.shape[1]):
                    dy = (p + q) / 2 - abs(target.y(i) - source.y(a))
                    dx = (p + q) / 2 - abs(target.x(j) - source.x(b))
                    area = max(0.0, min(dy, p, q)) * max(0.0, min(dx, p, q))
                    inside += area
                    if area > 1e-2 * q * min(p, q):
                        touched[i, j] |= mask[a, b]
                        clean[i, j] &= mask[a, b]
                    share[i, j] += mask[a, b] * area / q**2
            clean[i, j] &= inside > (1 - 1e-3) * q**2
    return share, touched, clean


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    pixels=st.sampled_from([(30, 15), (30, 120), (15, 120), (30, 30), (15, 30), (120, 15)]),
    offset=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
)
def test_equals_area_by_area(seed, pixels, offset):
    rng = np.random.default_rng(seed)
    source = grid(0, 0, pixels[0], (7, 8))
    target = grid(offset[0] * 7.5, offset[1] * 7.5, pixels[1], (4, 5))
    mask = rng.random(source.shape) < 0.4
    share, touched, clean = brute(mask, source, target)
    assert covered(mask, source, target) == pytest.approx(share, abs=1e-9)
    assert (to_grid(mask, source, target) == touched).all()
    assert (to_grid(mask, source, target, "all") == clean).all()
    assert (to_grid(mask, source, target, 0.5) == (share >= 0.5 - 1e-9)).all()


def test_landsat_half_pixel():
    # the two kinds of bands share the first pixel's centre, so 15 m pixel 2i lies inside
    # 30 m pixel i, and 2i + 1 lies across i and i + 1
    thirty, fifteen = grid(-15, 15, 30, (5, 5)), grid(-7.5, 7.5, 15, (9, 9))
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    fine = to_grid(mask, thirty, fifteen)
    assert [v.tolist() for v in np.unravel_index(np.flatnonzero(fine), fine.shape)] == [
        [3, 3, 3, 4, 4, 4, 5, 5, 5],
        [5, 6, 7, 5, 6, 7, 5, 6, 7],
    ]
    share = covered(mask, thirty, fifteen)
    assert share[4, 5:8].tolist() == [0.5, 1.0, 0.5]
    assert share[3, 5] == 0.25
    # every 15 m pixel is covered by the 30 m image: nothing is lost at its far edge
    assert to_grid(np.ones((5, 5), bool), thirty, fifteen, "all").all()


def test_rounding_touches_nothing():
    source, target = grid(0, 0, 30, (4, 4)), grid(30 + 1e-6, -30 - 1e-6, 120, (1, 1))
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = True
    assert not to_grid(mask, source, target).any()


def test_beyond_the_mask_is_false():
    source, target = grid(0, 0, 30, (4, 4)), grid(-120, 120, 120, (3, 3))
    ones = np.ones((4, 4), bool)
    expected = np.zeros((3, 3), bool)
    expected[1, 1] = True
    assert (to_grid(ones, source, target, "all") == expected).all()
    assert (to_grid(ones, source, target) == expected).all()


def test_wrong_arguments():
    source, target = grid(0, 0, 30, (4, 4)), grid(0, 0, 120, (1, 1))
    ones = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="grid's shape"):
        to_grid(ones[:2], source, target)
    with pytest.raises(ValueError, match="how"):
        to_grid(ones, source, target, "most")
    with pytest.raises(ValueError, match="how"):
        to_grid(ones, source, target, 0.0)
    with pytest.raises(GridMismatchError):
        to_grid(ones, source, grid(0, 0, 120, (1, 1), CRS.from_epsg(32646)))
