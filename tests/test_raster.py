"""Rasters go out and come back where they were; damaged ones are named."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.crs import CRS
from rio_cogeo import cog_validate

from hmavel import raster_write
from hmavel._types import Grid
from hmavel.errors import GridMismatchError, ReadError, WriteError
from hmavel.raster import open_raster, read_band, read_grid
from hmavel.raster_resample import resample
from hmavel.raster_write import write_geotiff

UTM45 = CRS.from_epsg(32645)
GRID = Grid(UTM45, Affine(15, 0, 479992.5, 0, -15, 3100207.5), (40, 50))


def write_uint16(path: Path, grid: Grid = GRID, seed: int = 0, **profile: object) -> np.ndarray:
    array = np.random.default_rng(seed).integers(1, 65536, grid.shape, dtype=np.uint16)
    options = {"driver": "GTiff", "crs": grid.crs, "transform": grid.transform} | profile
    rows, cols = grid.shape
    with rasterio.open(
        path, "w", width=cols, height=rows, count=1, dtype="uint16", **options
    ) as file:
        file.write(array, 1)
    return array


# --- reading


def test_a_file_comes_back_in_its_own_type_and_place(tmp_path: Path) -> None:
    stored = write_uint16(tmp_path / "b8.tif")
    array, grid = read_band(tmp_path / "b8.tif")
    assert array.dtype == np.uint16
    assert np.array_equal(array, stored)
    assert grid == GRID
    assert grid == read_grid(tmp_path / "b8.tif")


def test_area_or_point_does_not_move_the_pixels(tmp_path: Path) -> None:
    # Landsat files say Point: their tags hold pixel centres, half a pixel from the edges.
    path = tmp_path / "point.tif"
    write_uint16(path)
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    assert read_grid(path) == GRID


@settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    row=st.integers(-60, 60),
    col=st.integers(-70, 70),
    rows=st.integers(1, 90),
    cols=st.integers(1, 90),
)
def test_a_window_may_reach_outside_anywhere(
    tmp_path: Path, row: int, col: int, rows: int, cols: int
) -> None:
    path = tmp_path / "b8.tif"
    stored = read_band(path)[0] if path.exists() else write_uint16(path)
    expected = np.pad(stored, 200)[200 + row : 200 + row + rows, 200 + col : 200 + col + cols]
    window = GRID.crop(row, col, rows, cols)
    array, grid = read_band(path, window=window)
    assert grid is window
    assert np.array_equal(array, expected)


def test_strips_of_one_open_file_are_the_whole(tmp_path: Path) -> None:
    stored = write_uint16(tmp_path / "b8.tif")
    with open_raster(tmp_path / "b8.tif") as reader:
        strips = [
            reader.read(window=reader.grid.crop(row, 0, 7, 50), fill=9)[0]
            for row in range(0, 40, 7)
        ]
    whole = np.concatenate(strips)
    assert np.array_equal(whole[:40], stored)
    assert np.all(whole[40:] == 9)


def test_fill_must_fit_the_file_type(tmp_path: Path) -> None:
    write_uint16(tmp_path / "b8.tif")
    outside = GRID.crop(-1, -1, 3, 3)
    for fill in (float("nan"), -1, 65536, 0.5):
        with pytest.raises(ValueError, match="a fill that uint16 can hold"):
            read_band(tmp_path / "b8.tif", window=outside, fill=fill)
    write_geotiff(tmp_path / "f.tif", {"v": np.ones(GRID.shape)}, GRID)
    array, _ = read_band(tmp_path / "f.tif", window=outside, fill=float("nan"))
    assert np.isnan(array[0]).all()
    assert array[1, 1] == 1.0


def test_what_is_not_known_is_nan(tmp_path: Path) -> None:
    """No-data of an integer file, and what lies outside of it, on every side."""
    stored = write_uint16(tmp_path / "b8.tif")
    with rasterio.open(tmp_path / "b8.tif", "r+") as file:
        file.nodata = int(stored[3, 4])
    expected = np.pad(stored.astype(np.float32), 60, constant_values=np.nan)
    expected[expected == stored[3, 4]] = np.nan
    with open_raster(tmp_path / "b8.tif") as reader:
        for row, col in ((-5, -7), (30, 40), (-60, 0), (0, 60), (5, 5)):
            values, grid = reader.read_known(window=reader.grid.crop(row, col, 20, 20))
            here = np.s_[60 + row : 80 + row, 60 + col : 80 + col]
            assert np.array_equal(values, expected[here], equal_nan=True)
            assert grid.shape == (20, 20)
            assert values.dtype == np.float32


def test_an_empty_window_is_a_wrong_argument(tmp_path: Path) -> None:
    write_uint16(tmp_path / "b8.tif")
    with pytest.raises(ValueError, match="a window with pixels"):
        read_band(tmp_path / "b8.tif", window=GRID.crop(0, 0, 0, 5))


def test_a_window_between_the_pixels_or_in_another_zone_is_refused(tmp_path: Path) -> None:
    write_uint16(tmp_path / "b8.tif")
    t = GRID.transform
    between = Grid(UTM45, Affine(15, 0, t.c + 7.5, 0, -15, t.f), (5, 5))
    with pytest.raises(GridMismatchError, match=r"up to 0\.5 px off"):
        read_band(tmp_path / "b8.tif", window=between)
    other = Grid(CRS.from_epsg(32644), t, (5, 5))
    with pytest.raises(GridMismatchError, match=r"b8\.tif.*EPSG:32645.*EPSG:32644"):
        read_band(tmp_path / "b8.tif", window=other)


def test_a_band_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_uint16(tmp_path / "b8.tif")
    for band in (0, 2):
        with pytest.raises(ReadError, match=f"expected band {band}, got a file of 1 band"):
            read_band(tmp_path / "b8.tif", band)


# --- hostile files


@pytest.mark.parametrize("cog", [False, True])
@pytest.mark.parametrize("kept", [0, 5, 200, 0.3, 0.7, 0.9])
def test_a_truncated_tiff_is_named_on_opening(tmp_path: Path, kept: float, cog: bool) -> None:
    path = tmp_path / "LC08_B8.TIF"
    noise = np.random.default_rng(1).normal(size=GRID.shape)
    write_geotiff(path, {"noise": noise}, GRID, cog=cog)
    content = path.read_bytes()
    size = round(kept * len(content)) if isinstance(kept, float) else kept
    path.write_bytes(content[:size])
    with pytest.raises(ReadError) as caught:
        read_grid(path)
    assert str(path) in str(caught.value)
    assert "fetch it again" in caught.value.hint


def test_pixels_that_cannot_be_decoded_are_a_read_error(tmp_path: Path) -> None:
    path = tmp_path / "b8.tif"
    write_uint16(path, compress="DEFLATE")
    content = bytearray(path.read_bytes())
    with rasterio.open(path) as file:
        start = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    assert read_grid(path) == GRID
    with pytest.raises(ReadError, match=r"b8\.tif: expected pixels that can be decoded"):
        read_band(path)


def test_what_is_not_a_raster_is_a_read_error(tmp_path: Path) -> None:
    (tmp_path / "page.tif").write_text("<html>404 not found</html>")
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(ReadError, match=r"page\.tif.*expected a raster file"):
        read_grid(tmp_path / "page.tif")
    with pytest.raises(ReadError, match="got a folder"):
        read_grid(tmp_path / "folder.tif")
    with pytest.raises(ReadError, match="got no such file; check the path"):
        read_grid(tmp_path / "none.tif")


def test_without_coordinate_system_or_transform_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b8.tif"
    write_uint16(path, crs=None)
    with pytest.raises(ReadError, match="expected a coordinate system, got none; state it"):
        read_grid(path)
    assert read_grid(path, crs=UTM45) == GRID
    bare = tmp_path / "bare.tif"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_uint16(bare, crs=None, transform=None)
    for crs in (None, UTM45):
        with pytest.raises(ReadError, match="expected a georeferenced raster, got no trans"):
            read_grid(bare, crs=crs)


def test_an_explicit_coordinate_system_does_not_override_the_files(tmp_path: Path) -> None:
    write_uint16(tmp_path / "b8.tif")
    assert read_grid(tmp_path / "b8.tif", crs=CRS.from_epsg(32644)).crs == UTM45


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (Affine(15, 1, 0, 1, -15, 0), "a rotated one"),
        (Affine(15, 0, 0, 0, 15, 0), "rows that run north"),
        (Affine(-15, 0, 0, 0, -15, 0), "columns that run west"),
    ],
)
def test_grids_that_are_not_north_up_are_refused(
    tmp_path: Path, transform: Affine, message: str
) -> None:
    write_uint16(tmp_path / "odd.tif", Grid(UTM45, transform, (5, 5)))
    with pytest.raises(ReadError, match=message):
        read_grid(tmp_path / "odd.tif")


def test_handled_errors_leave_standard_error_empty(tmp_path: Path) -> None:
    path = tmp_path / "b8.tif"
    write_uint16(path, compress="DEFLATE")
    content = bytearray(path.read_bytes())
    content[-1500:] = b"\xff" * 1500
    (tmp_path / "broken.tif").write_bytes(content)
    (tmp_path / "short.tif").write_bytes(content[:300])
    (tmp_path / "text.tif").write_text("hello")
    script = f"""
        from pathlib import Path
        from hmavel.errors import ReadError
        from hmavel.raster import read_band
        for path in sorted(Path({str(tmp_path)!r}).iterdir()):
            try:
                read_band(path)
                print("read", path.name)
            except ReadError:
                print("refused", path.name)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    refused = ["refused broken.tif", "refused short.tif", "refused text.tif"]
    assert done.stdout.splitlines() == ["read b8.tif", *refused]


# --- writing


@pytest.mark.parametrize("shape", [(3, 4), (40, 50), (700, 1100)])
def test_the_cog_is_valid_and_says_what_it_holds(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    path = tmp_path / "velocity.tif"
    grid = Grid(UTM45, Affine(120, 0, 480000, 0, -120, 3100200), shape)
    rng = np.random.default_rng(2)
    vx = rng.normal(20, 5, shape)
    vx[: shape[0] // 3] = np.nan
    quality = rng.integers(0, 12, shape, dtype=np.uint8)
    write_geotiff(
        path,
        {"vx": vx, "quality": quality, "stable": quality > 6},
        grid,
        units={"vx": "m/yr"},
        tags={"hmavel_version": "0.1.0", "configuration": json.dumps({"window": 32})},
    )
    valid, errors, warnings = cog_validate(path, strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as file:
        assert file.descriptions == ("vx", "quality", "stable")
        assert [unit or "" for unit in file.units] == ["m/yr", "", ""]
        assert set(file.dtypes) == {"float32"}
        assert np.isnan(file.nodata)
        assert file.transform == grid.transform
        assert file.crs.to_epsg() == 32645
        assert json.loads(file.tags()["configuration"]) == {"window": 32}
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert (structure["LAYOUT"], structure["PREDICTOR"]) == ("COG", "3")
        assert np.array_equal(file.read(1), vx.astype(np.float32), equal_nan=True)
        assert np.array_equal(file.read(2), quality)
        assert np.array_equal(file.read(3), quality > 6)
    assert [entry.name for entry in tmp_path.iterdir()] == ["velocity.tif"]


def test_a_reader_that_is_not_gdal_finds_the_same_corner(tmp_path: Path) -> None:
    grid = Grid(UTM45, Affine(120, 0, 480060, 0, -120, 3100140), (30, 40))
    write_geotiff(tmp_path / "v.tif", {"v": np.zeros(grid.shape)}, grid)
    with Image.open(tmp_path / "v.tif") as image:
        tags = image.tag_v2
        assert image.size == (40, 30)
        assert tags[33550][:2] == (120.0, 120.0)  # ModelPixelScale
        assert tags[33922] == (0, 0, 0, 480060, 3100140, 0)  # ModelTiepoint: corner of pixel 0
        keys = dict(zip(tags[34735][4::4], tags[34735][7::4], strict=True))
    assert keys[1025] == 1  # RasterPixelIsArea: the tie point is an edge
    assert keys[3072] == 32645  # ProjectedCSType


@pytest.mark.parametrize(("shape", "factors"), [((600, 800), [2]), ((1024, 1540), [2, 4])])
def test_overviews_are_averages_of_what_was_measured(
    tmp_path: Path, shape: tuple[int, int], factors: list[int]
) -> None:
    path = tmp_path / "velocity.tif"
    grid = Grid(UTM45, Affine(120, 0, 480000, 0, -120, 3100200), shape)
    v = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    v[::2, ::2] = np.nan  # one of every four
    v[:7, ::3] = np.nan  # some cells of a smaller image hold fewer values than their neighbours
    write_geotiff(path, {"v": v}, grid)
    with rasterio.open(path) as file:
        assert file.overviews(1) == factors
    for level, by in enumerate(factors):
        with rasterio.open(path, overview_level=level) as file:
            overview = file.read(1)
        rows, cols = (side // by for side in shape)
        cells = v.reshape(rows, by, cols, by).swapaxes(1, 2).reshape(rows, cols, by * by)
        np.testing.assert_allclose(overview, np.nanmean(cells, axis=2), atol=1e-5)


@pytest.mark.parametrize("cog", [True, False])
def test_either_packing_holds_the_same(tmp_path: Path, cog: bool) -> None:
    grid = Grid(UTM45, Affine(120, 0, 480000, 0, -120, 3100200), (600, 700))
    rng = np.random.default_rng(5)
    bands = {name: rng.normal(size=grid.shape).astype(np.float32) for name in ("east", "snr")}
    bands["east"][::3] = np.nan
    for packing in ("DEFLATE", "ZSTD"):
        path = tmp_path / f"{packing}.tif"
        write_geotiff(path, bands, grid, cog=cog, packing=packing)
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == packing
            for index, band in enumerate(bands.values(), start=1):
                assert np.array_equal(file.read(index), band, equal_nan=True)
        if cog:
            assert cog_validate(path, strict=True) == (True, [], [])


def test_a_remembered_header_is_that_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    path, moved = tmp_path / "b8.tif", tmp_path / "moved.tif"
    first = write_uint16(path, nodata=7)
    pixels: dict[str, np.ndarray] = {}
    for when in ("new", "known"):
        with open_raster(path) as reader:
            pixels[when], _ = reader.read(window=GRID.crop(3, 4, 5, 6))
            facts = reader.grid, reader.dtype, reader.nodata, reader.descriptions, reader.units
            assert facts == (GRID, np.dtype("uint16"), 7.0, ("",), ("",))
            assert reader.tags["AREA_OR_POINT"] == "Area"
        assert np.array_equal(pixels[when], first[3:8, 4:10])
    # Another file of the same size takes its place, then the same file is written over.
    elsewhere = Grid(CRS.from_epsg(32644), Affine(15, 0, 400000, 0, -15, 3000000), GRID.shape)
    second = write_uint16(moved, elsewhere, seed=1, nodata=8)
    assert moved.stat().st_size == path.stat().st_size
    moved.replace(path)
    assert read_grid(path) == elsewhere
    with open_raster(path) as reader:
        assert np.array_equal(reader.read()[0], second)
        assert reader.nodata == 8
    write_uint16(path, GRID, seed=2)
    assert read_grid(path) == GRID
    path.write_bytes(path.read_bytes()[:-500])
    for read in (read_grid, read_band):
        with pytest.raises(ReadError, match="incomplete"):
            read(path)
    path.unlink()
    with pytest.raises(ReadError, match="no such file"):
        read_grid(path)


def test_a_window_may_be_read_into_its_place(tmp_path: Path) -> None:
    grid = Grid(UTM45, Affine(120, 0, 480000, 0, -120, 3100200), (60, 70))
    v = np.random.default_rng(6).normal(size=grid.shape).astype(np.float32)
    write_geotiff(tmp_path / "v.tif", {"v": v}, grid)
    whole = np.full(grid.shape, np.float32(-1))
    with open_raster(tmp_path / "v.tif") as reader:
        got, _ = reader.read(window=grid.crop(20, 0, 10, 70), out=whole[20:30])
        assert np.shares_memory(got, whole)
        beyond, _ = reader.read(window=grid.crop(55, 0, 10, 70), out=np.ones((10, 70), "f4"))
    assert np.array_equal(whole[20:30], v[20:30])
    assert (whole[:20] == -1).all()
    assert (whole[30:] == -1).all()
    assert np.array_equal(beyond, np.vstack([v[55:], np.zeros((5, 70))]))


def test_a_plain_geotiff_is_one_too(tmp_path: Path) -> None:
    grid = Grid(UTM45, Affine(120, 0, 480000, 0, -120, 3100200), (600, 30))
    v = np.random.default_rng(4).normal(size=grid.shape).astype(np.float32)
    write_geotiff(tmp_path / "v.tif", {"v": v}, grid, units={"v": "m"}, cog=False)
    array, found = read_band(tmp_path / "v.tif")
    assert np.array_equal(array, v)
    assert found == grid
    with open_raster(tmp_path / "v.tif") as reader:
        assert (reader.descriptions, reader.units) == (("v",), ("m",))


def test_wrong_bands_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "v.tif"
    good = np.zeros(GRID.shape)
    with pytest.raises(ValueError, match="got none"):
        write_geotiff(path, {}, GRID)
    with pytest.raises(ValueError, match=r"band 'vy'.*\(40, 50\), got float64, \(50, 40\)"):
        write_geotiff(path, {"vx": good, "vy": good.T}, GRID)
    with pytest.raises(ValueError, match="complex128"):
        write_geotiff(path, {"vx": good.astype(complex)}, GRID)
    with pytest.raises(ValueError, match="got one for vz"):
        write_geotiff(path, {"vx": good}, GRID, units={"vz": "m"})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_output_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(WriteError, match=r"out/v\.tif"):
        write_geotiff(tmp_path / "out" / "v.tif", {"v": np.zeros(GRID.shape)}, GRID)


@pytest.mark.parametrize("cog", [True, False])
@pytest.mark.parametrize("shape", [(46, 43), (700, 600)])
def test_a_large_map_has_the_bytes_of_a_small_one(
    tmp_path: Path, shape: tuple[int, int], cog: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(GRID.crs, GRID.transform, shape)
    bands = {name: np.random.default_rng(7).normal(size=shape) for name in ("vx", "vy")}
    write_geotiff(tmp_path / "small.tif", bands, grid, units={"vx": "m/yr"}, cog=cog)
    monkeypatch.setattr(raster_write, "_SMALL", 0)
    write_geotiff(tmp_path / "large.tif", bands, grid, units={"vx": "m/yr"}, cog=cog)
    assert (tmp_path / "large.tif").read_bytes() == (tmp_path / "small.tif").read_bytes()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(46, 43), (700, 600)])
def test_a_plain_file_is_what_gdal_writes_to_the_disk_band_by_band(
    tmp_path: Path, seed: int, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid(GRID.crs, GRID.transform, shape)
    bands = {name: rng.normal(size=shape) for name in ("vx", "vy", "flag")}
    bands["vx"][rng.random(shape) < 0.2] = np.nan
    bands["flag"] = rng.integers(0, 5, shape)
    units, tags = {"vx": "m/yr"}, {"fingerprint": "x" * 300}
    write_geotiff(
        tmp_path / "new.tif", bands, grid, units=units, tags=tags, cog=False, packing="ZSTD"
    )
    tiles = {"tiled": "YES", "blockxsize": 512, "blockysize": 512} if max(shape) > 512 else {}
    with rasterio.open(
        tmp_path / "old.tif", "w", driver="GTiff", width=shape[1], height=shape[0], count=3,
        dtype="float32", nodata=np.nan, crs=grid.crs, transform=grid.transform,
        compress="ZSTD", zstd_level=1, predictor=3, interleave="band", bigtiff="IF_SAFER",
        **tiles,
    ) as file:  # fmt: skip
        for index, (name, array) in enumerate(bands.items(), start=1):
            file.write(array.astype(np.float32), index)
            file.set_band_description(index, name)
        file.units = ("m/yr", "", "")
        file.update_tags(**tags)
    assert (tmp_path / "new.tif").read_bytes() == (tmp_path / "old.tif").read_bytes()


@pytest.mark.parametrize("small", [0, 4_000_000])
@pytest.mark.parametrize("cog", [True, False])
def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, cog: bool, small: int) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] not in (resource.RLIM_INFINITY,):
        pytest.skip("this process already has a limit on file sizes")
    script = f"""
        import resource, signal
        import numpy as np
        from affine import Affine
        from rasterio.crs import CRS
        from hmavel._types import Grid
        from hmavel.errors import WriteError
        from hmavel import raster_write
        from hmavel.raster_write import write_geotiff
        raster_write._SMALL = {small}
        grid = Grid(CRS.from_epsg(32645), Affine(120, 0, 0, 0, -120, 0), (600, 600))
        noise = np.random.default_rng(0).normal(size=grid.shape)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            write_geotiff({str(tmp_path / "v.tif")!r}, {{"v": noise}}, grid, cog={cog})
        except WriteError as error:
            raise SystemExit(7)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=False, capture_output=True
    )
    assert done.returncode == 7, done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


# --- resampling


def test_resampling_moves_a_smooth_field_to_where_it_belongs() -> None:
    # A plane and a wave of 63 px: what a target pixel gets is known at its centre. Tolerances:
    # the kernels' own errors at that wavelength. A shift of 1/100 px would be 1e-3.
    def field(grid: Grid) -> np.ndarray:
        x = np.asarray(grid.x(np.arange(grid.shape[1])))[None, :] - 480000
        y = np.asarray(grid.y(np.arange(grid.shape[0])))[:, None] - 3100000
        return (np.sin(x / 150) + 0.002 * y).astype(np.float32)

    source = Grid(UTM45, Affine(15, 0, 479992.5, 0, -15, 3100207.5), (80, 80))
    target = Grid(UTM45, Affine(15, 0, 480097.5 + 4.5, 0, -15, 3100102.5 - 6), (60, 60))
    for method, tolerance in (("cubic", 3e-4), ("lanczos", 3e-3), ("bilinear", 2e-3)):
        got = resample(field(source), source, target, method)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, field(target), atol=tolerance)


@pytest.mark.parametrize(
    ("pixel", "code", "tolerance"),
    [(15.0, 32644, 1e-3), (120.0, 32644, 5e-3), (120.0, 4326, 0.02)],
)
def test_positions_in_another_system_are_those_of_pyproj(
    pixel: float, code: int, tolerance: float
) -> None:
    # Values are the pixel indices themselves, so the answer is a transformed coordinate. Wide:
    # the shortcut that GDAL takes within 1/8 px grows with the square of the row's length.
    source = Grid(UTM45, Affine(pixel, 0, 240000, 0, -pixel, 3900000), (500, 900))
    onto = pyproj.Transformer.from_crs(32645, code, always_xy=True)
    left, bottom, right, top = onto.transform_bounds(
        source.x(60), source.y(440), source.x(840), source.y(60)
    )
    step = pixel if code != 4326 else pixel / 111_000
    shape = (int((top - bottom) / step), int((right - left) / step))
    target = Grid(CRS.from_epsg(code), Affine(step, 0, left, 0, -step, top), shape)
    columns, rows = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    x, y = onto.transform(target.x(columns), target.y(rows), direction="INVERSE")
    for index, want in (
        (np.arange(900.0) + np.zeros((500, 1)), source.col(x)),
        (np.arange(500.0)[:, None] + np.zeros((1, 900)), source.row(y)),
    ):
        got = resample(index, source, target, "bilinear")
        inside = (want > 1) & (want < index.max() - 1) & np.isfinite(got)
        assert inside.mean() > 0.7
        np.testing.assert_allclose(got[inside], want[inside], atol=tolerance)


def test_resampling_keeps_types_and_marks_what_it_cannot_reach() -> None:
    source = Grid(UTM45, Affine(30, 0, 480000, 0, -30, 3100200), (4, 4))
    target = Grid(UTM45, Affine(30, 0, 480060, 0, -30, 3100200), (4, 4))
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    values[1, 3] = np.nan
    moved = resample(values, source, target, "nearest")
    expected = np.full((4, 4), np.nan, np.float32)
    expected[:, :2] = values[:, 2:]
    np.testing.assert_array_equal(moved, expected)
    codes = resample(np.full((4, 4), 21824, np.uint16), source, target, "nearest", fill=1)
    assert codes.dtype == np.uint16
    assert codes[0].tolist() == [21824, 21824, 1, 1]
    flags = resample(np.ones((4, 4), bool), source, target, "max")
    assert flags.dtype == bool
    assert flags[0].tolist() == [True, True, False, False]


def test_max_of_a_mask_is_the_or_of_the_covered_pixels() -> None:
    source = Grid(UTM45, Affine(15, 0, 480000, 0, -15, 3100200), (16, 16))
    target = Grid(UTM45, Affine(120, 0, 480000, 0, -120, 3100200), (2, 2))
    mask = np.zeros((16, 16), bool)
    mask[7, 7] = True
    assert resample(mask, source, target, "max").tolist() == [[True, False], [False, False]]
    assert not resample(mask, source, target, "average").any()


def test_wrong_arguments_of_resample_are_refused() -> None:
    array = np.zeros(GRID.shape)
    with pytest.raises(ValueError, match="expected a method out of nearest"):
        resample(array, GRID, GRID, "best")
    with pytest.raises(ValueError, match="of the grid's shape"):
        resample(array.T, GRID, GRID)


# --- real files


def test_the_real_pair_lies_where_its_metadata_says(shared_data: Path) -> None:
    path = shared_data / "yahtse" / "LC80630182016200LGN00_B8_yahtse.TIF"
    grid = read_grid(path)
    assert grid.shape == (1087, 1698)
    # Landsat's Band-8 pixel centres stand on multiples of 15 m.
    assert (grid.x(0) % 15, grid.y(0) % 15) == (0, 0)
    whole, _ = read_band(path)
    window = grid.crop(1000, -5, 200, 300)
    part, _ = read_band(path, window=window)
    assert np.array_equal(part[:87, 5:], whole[1000:, :295])
    assert not part[87:].any()
    assert not part[:, :5].any()


def test_the_real_crop_without_georeferencing_is_refused(
    shared_data: Path, tmp_path: Path
) -> None:
    import tarfile

    archive = (
        shared_data / "landsat_c2" / "LC08_L1TP_017051_20151205_20200908_02_T1-cropped.tar.gz"
    )
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    with pytest.raises(ReadError, match="expected a georeferenced raster"):
        read_grid(next(tmp_path.glob("*_B8.TIF")))
