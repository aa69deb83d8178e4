"""Index arithmetic between grids."""

from __future__ import annotations

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from hmavel._types import Grid
from hmavel.errors import GridMismatchError
from hmavel.lattice import covering_window, lattice_offset

UTM45 = CRS.from_epsg(32645)
#: Pixel edges as Landsat has them: B8 centres on multiples of 15 m, the upper left one shared.
B8 = Grid(UTM45, Affine(15, 0, 479992.5, 0, -15, 3100207.5), (1999, 2199))
B5 = Grid(UTM45, Affine(30, 0, 479985.0, 0, -30, 3100215.0), (1000, 1100))


@given(st.integers(-500, 3000), st.integers(-500, 3000), st.integers(1, 99), st.integers(1, 99))
def test_a_crop_is_found_again_wherever_it_starts(r: int, c: int, rows: int, cols: int) -> None:
    row, col, apart = lattice_offset(B8, B8.crop(r, c, rows, cols))
    assert (row, col) == (r, c)
    assert apart < 1e-6


def test_a_subpixel_shift_and_a_pixel_size_that_adds_up_are_both_seen() -> None:
    shifted = Grid(UTM45, Affine(15, 0, 479992.5 + 3.75, 0, -15, 3100207.5), (100, 100))
    assert lattice_offset(B8, shifted)[2] == pytest.approx(0.25)
    # One part in a million of the pixel is nothing at one pixel and 0.002 px at the far end.
    wide = Grid(UTM45, Affine(15.000015, 0, 479992.5, 0, -15, 3100207.5), (100, 2001))
    assert lattice_offset(B8, wide)[2] == pytest.approx(0.002, rel=1e-3)


def test_the_30_m_band_shares_the_centre_of_the_first_pixel_and_covers_band_8() -> None:
    assert (B8.x(0), B8.y(0)) == (B5.x(0), B5.y(0))
    assert covering_window(B5, B8) == B5
    # Pixel 2i of Band 8 lies on 30 m pixel i; odd ones straddle two.
    assert covering_window(B5, B8.crop(2, 4, 1, 1)) == B5.crop(1, 2, 1, 1)
    assert covering_window(B5, B8.crop(3, 5, 1, 1)) == B5.crop(1, 2, 2, 2)


@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(0, 3))
def test_the_covering_window_covers_and_is_not_larger_than_needed(
    east: int, north: int, margin: int
) -> None:
    x, y = 480000 + 120 * east, 3100200 + 120 * north
    area = Grid(UTM45, Affine(120, 0, x, 0, -120, y), (7, 5))
    window = covering_window(B8, area, margin=margin)
    assert lattice_offset(B8, window)[2] < 1e-6
    pad = margin * 15
    left, bottom, right, top = window.bounds
    for slack in (x - left, y - (top - 2 * (top - y)), right - x - 600, y - 840 - bottom):
        assert pad <= slack + 1e-6
        assert slack < pad + 15 + 1e-6


def test_another_coordinate_system_is_refused_by_name() -> None:
    other = Grid(CRS.from_epsg(32644), B8.transform, B8.shape)
    with pytest.raises(GridMismatchError, match=r"EPSG:32645.*EPSG:32644"):
        lattice_offset(B8, other)
    with pytest.raises(GridMismatchError, match="one coordinate system"):
        covering_window(B8, other)
