"""The region's mosaic: place, direction, overlap and the sparse file behind it."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from hmavel._types import Grid
from hmavel.errors import WriteError
from hmavel.product.field import MonthlyField
from hmavel.product.month_files import open_months, write_months
from hmavel.product.placement import Placement
from hmavel.product.region import HMA, region_grid, write_region
from hmavel.raster_blocks import write_blocks

MONTH = np.datetime64("2020-07", "M")


def utm(zone: int, longitude: float, latitude: float, shape: tuple[int, int]) -> Grid:
    """A grid of 120 m on the fixed lattice, its upper left near a place."""
    to = pyproj.Transformer.from_crs(4326, 32600 + zone, always_xy=True)
    x, y = to.transform(longitude, latitude)
    left, top = 120 * round(x / 120), 120 * round(y / 120)
    return Grid(CRS.from_epsg(32600 + zone), Affine(120, 0, left, 0, -120, top), shape)


def field(grid: Grid, vx, vy, *, sigma=2.0, flag=0, count=4.0, name="g") -> MonthlyField:
    def full(value):
        return np.broadcast_to(np.asarray(value, "f4"), grid.shape)[None].copy()

    vx, vy = full(vx), full(vy)
    blank = np.isnan(vx)

    def where(value):
        return np.where(blank, np.float32(np.nan), full(value))

    return MonthlyField(
        grid=grid,
        months=np.array([MONTH]),
        vx=vx,
        vy=vy,
        sigma_vx=where(sigma),
        sigma_vy=where(sigma),
        count=np.where(blank, 0, full(count)),
        flag=np.where(blank, 2, full(flag)).astype("u1"),
        shortest_days=where(16),
        name=name,
    )


def read(path) -> dict[str, np.ndarray]:
    with rasterio.open(path) as file:
        return dict(zip(file.descriptions, file.read(), strict=True))


def lonlat(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(grid.x(np.arange(grid.shape[1])), grid.y(np.arange(grid.shape[0])))
    return pyproj.Transformer.from_crs(grid.crs.to_epsg(), 4326, always_xy=True).transform(x, y)


def heading(grid: Grid, azimuth: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors towards a true azimuth, by walking 10 m along a geodesic."""
    longitude, latitude = lonlat(grid)
    geod = pyproj.Geod(ellps="WGS84")
    full = np.full(grid.shape, azimuth)
    there = geod.fwd(longitude, latitude, full, np.full(grid.shape, 10.0))
    to = pyproj.Transformer.from_crs(4326, grid.crs.to_epsg(), always_xy=True)
    x0, y0 = to.transform(longitude, latitude)
    x1, y1 = to.transform(there[0], there[1])
    length = np.hypot(x1 - x0, y1 - y0)
    return (x1 - x0) / length, (y1 - y0) / length


@pytest.mark.parametrize("azimuth", [90.0, 0.0, 215.0])
def test_a_true_heading_is_kept_across_two_zones(tmp_path, azimuth):
    """Zones 44 and 45 meet at 84 E, where their grids differ by 1.7 degrees at 35 N."""
    sources = []
    for zone, west in ((44, 83.85), (45, 83.95)):
        grid = utm(zone, west, 35.0, (80, 150))
        east, north = heading(grid, azimuth)
        sources.append(field(grid, 100 * east, 100 * north))
    one, other = ((s.vx.mean(), s.vy.mean()) for s in sources)
    assert np.hypot(one[0] - other[0], one[1] - other[1]) > 2.5  # the two grids do differ
    (path,) = write_region(tmp_path, sources, months=[MONTH]).files
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    bands = read(path)
    seen = np.isfinite(bands["v"])
    assert seen.sum() > 15_000
    expected = 100 * np.sin(np.radians(azimuth)), 100 * np.cos(np.radians(azimuth))
    for name, value in zip(("vx", "vy"), expected, strict=True):
        assert np.abs(bands[name][seen] - value).max() < 0.02  # m/yr out of 100
    assert bands["v"][seen] == pytest.approx(100, abs=0.02)
    assert np.array_equal(np.isfinite(bands["sigma_v"]), seen)
    assert bands["sigma_vx"][seen] == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(("zone", "place"), [(43, (74.3, 36.2)), (45, (87.9, 28.05))])
def test_a_marked_cell_lands_where_it_is(tmp_path, zone, place):
    grid = utm(zone, *place, (40, 50))
    vx = np.full(grid.shape, np.nan)
    vx[17, 31] = 5.0
    (path,) = write_region(tmp_path, [field(grid, vx, 0.0)], months=[MONTH]).files
    back = pyproj.Transformer.from_crs(4326, grid.crs.to_epsg(), always_xy=True)
    with rasterio.open(path) as file:
        seen = np.isfinite(file.read(1))
        inside = np.zeros(seen.shape, bool)
        for row, col in np.ndindex(*seen.shape):
            x, y = back.transform(*file.xy(row, col))
            inside[row, col] = max(abs(x - grid.x(31)), abs(y - grid.y(17))) < 60
    # Exactly the cells whose centre lies in the marked one.
    assert np.array_equal(seen, inside)
    assert 1 <= seen.sum() <= 2


def test_a_slope_comes_through_without_a_shift(tmp_path):
    """A field that is linear in x and y must be so after interpolation: 0.1 m of place."""
    grid = utm(44, 79.2, 35.4, (120, 90))
    x, y = np.meshgrid(grid.x(np.arange(90)), grid.y(np.arange(120)))
    x0, y0 = grid.x(45), grid.y(60)
    source = field(grid, (x - x0) / 120, (y - y0) / 120)
    (path,) = write_region(tmp_path, [source], months=[MONTH]).files
    with rasterio.open(path) as file:
        rows, cols = np.nonzero(np.isfinite(file.read(1)))
        longitude, latitude = file.xy(rows, cols)
        east, north = file.read(1)[rows, cols], file.read(2)[rows, cols]
    to = pyproj.Transformer.from_crs(4326, 32644, always_xy=True)
    px, py = to.transform(np.asarray(longitude), np.asarray(latitude))
    inner = (np.abs(px - x0) < 40 * 120) & (np.abs(py - y0) < 55 * 120)
    assert inner.sum() > 8_000
    # the rotation mixes the two, but not their length; errors of place are in cells
    length = np.hypot(px - x0, py - y0)[inner] / 120
    assert np.abs(np.hypot(east, north)[inner] - length).max() < 0.002


def test_interpolated_positions_are_those_of_the_projection():
    lattice = region_grid([], (78.0, 35.0, 78.6, 35.5))
    grid = utm(44, 77.9, 35.6, (700, 700))
    x, y = np.meshgrid(grid.x(np.arange(700)), grid.y(np.arange(700)))
    place = Placement(grid, lattice)
    got_x, got_y = place.bilinear([x, y])
    longitude, latitude = lonlat(lattice)
    to = pyproj.Transformer.from_crs(4326, 32644, always_xy=True)
    want_x, want_y = to.transform(longitude, latitude)
    assert place.inside.all()
    # float32 weights of coordinates up to 4e6 m leave half a metre; the knots 0.1 m
    assert np.abs(got_x - want_x).max() < 1
    assert np.abs(got_y - want_y).max() < 1


def test_the_lattice_is_one_for_all_runs():
    whole = region_grid([], HMA)
    assert whole.shape == (11934, 21132)
    assert whole.bounds == pytest.approx(HMA, abs=1e-9)
    part = region_grid([field(utm(45, 86.8, 28.0, (30, 30)), 1.0, 1.0)])
    row, col = whole.row(part.y(0)), whole.col(part.x(0))
    assert abs(row - round(row)) < 1e-6
    assert abs(col - round(col)) < 1e-6
    assert max(part.shape) < 50
    with pytest.raises(ValueError, match="west < east"):
        region_grid([], (90, 30, 80, 40))
    with pytest.raises(ValueError, match="got none"):
        region_grid([])


def test_overlap_is_weighted_and_categories_follow_the_surer(tmp_path):
    grid = utm(45, 87.0, 28.0, (60, 60))  # on the central meridian: hardly a rotation
    sure = field(grid, 10.0, 0.0, sigma=1.0, flag=0, count=9.0)
    hole = np.full(grid.shape, 20.0)
    hole[:30] = np.nan
    vague = field(grid, hole, 0.0, sigma=2.0, flag=1, count=2.0)
    results = []
    for number, sources in enumerate(([sure, vague], [vague, sure])):
        (path,) = write_region(tmp_path / str(number), sources, months=[MONTH]).files
        results.append(read(path))
        bands = results[-1]
        seen = np.isfinite(bands["v"])
        both = seen & (bands["vx"] > 11)
        assert bands["vx"][seen & ~both] == pytest.approx(10, abs=0.01)
        # weights 1 and 1/4; the error of common errors, (1 * 1 + 2 / 4) / (1 + 1 / 4)
        assert bands["vx"][both] == pytest.approx(12, abs=0.01)
        assert bands["sigma_vx"][both] == pytest.approx(1.2, abs=0.01)
        assert both.sum() == pytest.approx(seen.sum() / 2, rel=0.05)
        assert (bands["flag"][seen] == 0).all()
        assert (bands["count"][seen] == 9).all()
    for name, values in results[0].items():
        assert np.allclose(values, results[1][name], equal_nan=True, atol=1e-5), name


def test_blank_and_outside_differ(tmp_path):
    grid = utm(45, 87.0, 28.0, (60, 60))
    vx = np.full(grid.shape, 3.0)
    vx[:, 30:] = np.nan
    (path,) = write_region(tmp_path, [field(grid, vx, 1.0)], months=[MONTH]).files
    bands = read(path)
    assert set(np.unique(bands["flag"][np.isfinite(bands["flag"])])) == {0.0, 2.0}
    assert np.isnan(bands["flag"]).any()  # beyond the glacier's grid
    assert np.isnan(bands["vx"][bands["flag"] == 2]).all()
    assert (bands["count"][bands["flag"] == 2] == 0).all()


def test_a_damaged_month_is_left_out_and_listed(tmp_path):
    folders = []
    for name, longitude in (("good", 86.9), ("bad", 87.1)):
        source = field(utm(45, longitude, 28.0, (30, 30)), 7.0, 1.0, name=name)
        write_months(tmp_path / name, source)
        folders.append(open_months(tmp_path / name))
    bad = tmp_path / "bad" / "velocity_2020-07.tif"
    bad.write_bytes(bad.read_bytes()[:700])
    region = write_region(tmp_path / "wgs84", folders, months=[MONTH, MONTH + 1])
    ((glacier, month, error),) = region.failures
    assert (glacier, month) == ("bad", "2020-07")
    assert str(bad) in str(error)
    seen = np.isfinite(read(region.files[0])["vx"])
    assert seen.sum() == pytest.approx(30 * 30 * 120 * 120 / (123.2 * 109.2), rel=0.05)
    assert np.isnan(read(region.files[1])["vx"]).all()  # a month that nobody has


def test_the_whole_of_high_mountain_asia_costs_what_its_ice_costs(tmp_path):
    sources = [
        field(utm(43, 74.5, 36.3, (60, 60)), 30.0, 5.0),
        field(utm(47, 96.7, 29.4, (60, 60)), 10.0, 5.0),
    ]
    (path,) = write_region(tmp_path, sources, months=[MONTH], bounds=HMA).files
    assert [item.name for item in tmp_path.iterdir()] == ["velocity_2020-07.tif"]
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    assert path.stat().st_size < 1_000_000  # dense it would be 8 GB
    with rasterio.open(path) as file:
        assert file.shape == (11934, 21132)
        assert file.overviews(1) == [2, 4, 8, 16, 32, 64]
        assert file.descriptions[7] == "flag"
        assert file.units[0] == "m/yr"
        assert file.tags()["lattice"].startswith("1/900")
        for longitude, latitude, value in ((74.53, 36.27, 30.0), (96.73, 29.37, 10.0)):
            (values,) = file.sample([(longitude, latitude)])
            assert values[0] == pytest.approx(value, rel=0.03)  # turned to true east
            assert values[2] == pytest.approx(np.hypot(value, 5), rel=1e-4)


def test_blocks_make_the_file_that_the_whole_array_would(tmp_path):
    rng = np.random.default_rng(5)
    grid = region_grid([], (80, 30, 80 + 1301 / 900, 30 + 1100 / 900))
    whole = (rng.integers(-9, 9, (2, 1100, 1301)) / 8).astype("f4")
    whole[:, 512:, 512:1024] = np.nan
    whole[:, rng.random((1100, 1301)) < 0.2] = np.nan
    whole[1] = np.abs(whole[1] * 8)
    asked = []

    def produce(part: Grid):
        row, col = round(grid.row(part.y(0))), round(grid.col(part.x(0)))
        asked.append((row, col, *part.shape))
        block = whole[:, row : row + part.shape[0], col : col + part.shape[1]]
        return None if np.isnan(block).all() else block

    path = tmp_path / "x.tif"
    write_blocks(path, ["mean", "code"], grid, produce, worst=["code"], tags={"a": "b"})
    assert len(asked) == len(set(asked)) == 9
    assert cog_validate(path, strict=True)[0]
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(), whole, equal_nan=True)
        assert file.transform.almost_equals(grid.transform, 1e-12)
        assert file.overviews(1) == [2, 4]
    padded = np.full((2, 1100, 1302), np.nan)
    padded[:, :, :1301] = whole
    fours = padded.reshape(2, 550, 2, 651, 2)
    with rasterio.open(path, overview_level=0) as file:
        half = file.read()
    valid = np.isfinite(fours).any(axis=(2, 4))
    assert np.array_equal(np.isfinite(half), valid)
    mean = np.nansum(fours[0], axis=(1, 3)) / np.maximum(np.isfinite(fours[0]).sum((1, 3)), 1)
    worst = np.where(np.isfinite(fours[1]), fours[1], -1).max(axis=(1, 3))
    assert half[0][valid[0]] == pytest.approx(mean[valid[0]], abs=1e-6)
    assert np.array_equal(half[1][valid[1]], worst[valid[1]])


def test_a_failing_block_leaves_nothing_behind(tmp_path):
    grid = region_grid([], (80, 30, 81, 31))

    def produce(_part: Grid):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_blocks(tmp_path / "x.tif", ["a"], grid, produce)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError):
        write_blocks(tmp_path / "file" / "x.tif", ["a"], grid, lambda _part: None)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_seam_at_a_zone_border_is_larger_than_its_error(tmp_path, seed):
    """One flow seen in zones 44 and 45, each with its own error: the step where one ends.

    The errors are alike within a glacier (scenes are), so a seam is a step and no noise.
    """
    rng = np.random.default_rng(seed)
    rise = 0.01  # m/yr a cell, so that a shift would show too
    jumps, errors = [], []
    for number in range(12):
        sources = []
        # 1.5 km of overlap about 84 E
        for zone, west in ((44, 83.93), (45, 83.985)):
            grid = utm(zone, west, 33.0 + 0.3 * number, (50, 60))
            east, north = heading(grid, 90.0)
            longitude, _ = lonlat(grid)
            flow = 60 + rise * 900 * (longitude - 84)
            sigma = rng.uniform(0.5, 4.0)
            off = rng.normal(0, sigma, 2)
            sources.append(
                field(grid, flow * east + off[0], flow * north + off[1], sigma=sigma)
            )
        (path,) = write_region(tmp_path / str(number), sources, months=[MONTH]).files
        with rasterio.open(path) as file:
            vx, error = file.read(1), file.read(4)
            longitude = file.xy(0, np.arange(file.width))[0]
        left = float(lonlat(sources[1].grid)[0][25, 0])
        right = float(lonlat(sources[0].grid)[0][25, -1])
        assert left < right  # they overlap
        row = file.height // 2
        flow = 60 + rise * 900 * (np.asarray(longitude) - 84)
        rest = vx[row] - flow
        for edge in (left, right):
            at = int(np.searchsorted(longitude, edge))
            one, two = slice(at - 6, at - 3), slice(at + 4, at + 7)
            jumps.append(rest[two].mean() - rest[one].mean())
            errors.append(np.hypot(error[row, one].mean(), error[row, two].mean()))
    z = np.abs(np.array(jumps)) / np.array(errors)
    assert np.isfinite(z).all()
    assert np.mean(z < 1) > 0.68
    assert np.mean(z < 2) > 0.95
