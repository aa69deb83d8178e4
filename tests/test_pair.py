"""Two scenes on one grid: untouched when the pixels coincide, honest when they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from landsat_products import B8_GRID, ID, UTM45, texture, write_band, write_product
from pyproj import Transformer
from rasterio.crs import CRS

from hmavel._types import Grid, Scene
from hmavel.errors import GridMismatchError, PairError, ReadError
from hmavel.landsat import open_scene
from hmavel.pair import make_pair, pair_from_files, plan_pair, read_pair
from hmavel.pair_strips import Arriving
from hmavel.scene_bands import read_b8

LATER = "LC08_L1TP_140041_20130519_20200912_02_T1"
DAYS = {0: "2013-05-03T04:41:57.123", 1: "2013-05-19T04:42:00.250"}


def scene(folder: Path, number: int, array: np.ndarray, grid: Grid) -> Scene:
    """Write and open a bare Band-8 file; scene 1 is 16 days and 3.127 s after scene 0."""
    path = folder / f"scene_{number}.tif"
    write_band(path, array, grid)
    return open_scene(path, time=DAYS[number])


def two(folder: Path, first: Grid = B8_GRID, second: Grid = B8_GRID) -> tuple[Scene, Scene]:
    return (
        scene(folder, 0, texture(first, 1), first),
        scene(folder, 1, texture(second, 2), second),
    )


def field(grid: Grid, shift: tuple[float, float], seed: int) -> np.ndarray:
    """Sample one smooth random field on a lattice that lies ``shift`` (row, col) px further.

    Periodic and band-limited, so that the samples are exact: the spectrum falls to 0.2 at
    Nyquist as the sensor's does, on top of an amplitude of 1/k.
    """
    rows, cols = grid.shape
    rng = np.random.default_rng(seed)
    fr, fc = np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(cols)[None, :]
    k = np.hypot(fr, fc)
    k[0, 0] = 1
    gain = 0.2 ** ((2 * fr) ** 2 + (2 * fc) ** 2) / k
    gain[0, 0] = 0
    spectrum = np.fft.fft2(rng.standard_normal((rows, cols))) * gain
    spectrum *= np.exp(2j * np.pi * (fr * shift[0] + fc * shift[1]))
    image = np.real(np.fft.ifft2(spectrum))
    scale = np.std(np.real(np.fft.ifft2(np.abs(spectrum))))
    return np.asarray(8000 + 800 * image / scale, dtype=np.float32)


def displacement(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Measure one (drow, dcol) of the whole image, by the gradients of their mean.

    A symmetric kernel that damped one of the images changes the residual by an even function
    of the texture, which has no product with its gradient: what is left is a shift.
    """
    inner = (slice(8, -8), slice(8, -8))
    gy, gx = np.gradient((first.astype(float) + second) / 2)
    residual = (second.astype(float) - first)[inner].ravel()
    design = np.stack([gy[inner].ravel(), gx[inner].ravel()], axis=1)
    drow, dcol = np.linalg.lstsq(design, -residual, rcond=None)[0]
    return float(drow), float(dcol)


# --- the pixels coincide


def test_one_grid_is_read_as_it_is(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    pair = make_pair(first, second)
    assert pair.grid == B8_GRID
    assert pair.resampling == "none"
    assert (pair.reference.dtype, pair.secondary.dtype) == (np.float32, np.float32)
    assert np.array_equal(pair.reference, texture(B8_GRID, 1))
    assert np.array_equal(pair.secondary, texture(B8_GRID, 2))
    assert pair.id == "scene_0_X_scene_1"
    assert pair.baseline_days == pytest.approx(16 + 3.127 / 86400, abs=1e-12)


@pytest.mark.parametrize(("row", "col"), [(0, 0), (7, -11), (-5, 20), (30, 30)])
def test_an_offset_of_whole_pixels_is_a_crop(tmp_path: Path, row: int, col: int) -> None:
    # One big image; each scene shows a part of it, so the common ground must be equal in both.
    whole = texture(B8_GRID.crop(-60, -60, 220, 240), 3)
    second_grid = B8_GRID.crop(row, col, 70, 90)
    first = scene(tmp_path, 0, whole[60 : 60 + 79, 60 : 60 + 99], B8_GRID)
    array = whole[60 + row : 130 + row, 60 + col : 150 + col].copy()
    array[40, 40] += 1  # not a copy
    second = scene(tmp_path, 1, array, second_grid)
    pair = make_pair(first, second)
    assert pair.resampling == "none"
    left, bottom, right, top = pair.grid.bounds
    assert left == max(B8_GRID.bounds[0], second_grid.bounds[0])
    assert top == min(B8_GRID.bounds[3], second_grid.bounds[3])
    assert right == min(B8_GRID.bounds[2], second_grid.bounds[2])
    assert bottom == max(B8_GRID.bounds[1], second_grid.bounds[1])
    assert np.count_nonzero(pair.reference != pair.secondary) == 1


def test_less_than_a_thousandth_of_a_pixel_is_no_offset(tmp_path: Path) -> None:
    t = B8_GRID.transform
    near = Grid(UTM45, Affine(15, 0, t.c + 0.0149, 0, -15, t.f - 0.0149), B8_GRID.shape)
    pair = make_pair(*two(tmp_path, second=near))
    assert pair.resampling == "none"
    assert pair.grid == B8_GRID
    assert np.array_equal(pair.secondary, texture(near, 2))


def test_a_window_is_the_pairs_grid_wherever_it_reaches(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    window = B8_GRID.crop(-4, 60, 30, 60)
    pair = make_pair(first, second, window=window)
    assert pair.grid is window
    for got, seed in ((pair.reference, 1), (pair.secondary, 2)):
        assert np.isnan(got[:4]).all()
        assert np.isnan(got[:, 39:]).all()
        assert np.array_equal(got[4:, :39], texture(B8_GRID, seed)[:26, 60:])


@pytest.mark.parametrize("rows", [1, 17, 79])
def test_strips_are_the_rows_of_the_whole(tmp_path: Path, rows: int) -> None:
    t = B8_GRID.transform
    shifted = Grid(UTM45, Affine(15, 0, t.c - 4.0, 0, -15, t.f + 6.5), (90, 120))
    for second_grid in (B8_GRID.crop(-2, 3, 70, 90), shifted):
        plan = plan_pair(*two(tmp_path, second=second_grid))
        whole = read_pair(plan)
        total, cols = plan.grid.shape
        strips = [
            read_pair(plan, plan.grid.crop(row, 0, min(rows, total - row), cols))
            for row in range(0, total, rows)
        ]
        for name in ("reference", "secondary"):
            joined = np.concatenate([getattr(strip, name) for strip in strips])
            np.testing.assert_array_equal(joined, getattr(whole, name))


def test_folders_and_files_make_the_same_pair(tmp_path: Path) -> None:
    folders = [
        write_product(tmp_path, product, seed=seed, bands=["B8"])
        for seed, product in enumerate((ID, LATER))
    ]
    by_folder = pair_from_files(*folders)
    by_file = pair_from_files(*(next(folder.glob("*_B8.TIF")) for folder in folders))
    assert by_folder.id == by_file.id == f"{ID}_X_{LATER}"
    assert np.array_equal(by_folder.reference, by_file.reference)
    assert by_folder.baseline_days == 16.0


# --- they do not


#: Kernel -> largest bias in px and largest error, in parts of the texture's deviation, at any
#: shift; a kernel that forgot its shift, or took it twice, would be off by the shift.
KERNELS = {"sinc": (1.5e-3, 0.02), "lanczos": (0.008, 0.04), "cubic": (0.035, 0.07)}


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("shift", [(0.5, 0.5), (0.3, -0.4), (-0.05, 0.0), (0.0, 0.25)])
def test_a_shifted_grid_is_resampled_and_moves_nothing(
    tmp_path: Path, method: str, shift: tuple[float, float]
) -> None:
    shape = (256, 256)
    t = Affine(15, 0, 480000, 0, -15, 3100200)
    grid = Grid(UTM45, t, shape)
    moved = Affine(15, 0, t.c + 15 * shift[1], 0, -15, t.f - 15 * shift[0])
    bias, error = KERNELS[method]
    for seed in (1, 2):
        first = scene(tmp_path, 0, field(grid, (0, 0), seed), grid)
        second = scene(tmp_path, 1, field(grid, shift, seed), Grid(UTM45, moved, shape))
        pair = make_pair(first, second, method=method)
        said = f"{method}, offset ({shift[0]:+.4f}, {shift[1]:+.4f}) px"
        assert pair.resampling.replace("-0.5000", "+0.5000") == said
        valid = np.isfinite(pair.secondary)
        rows, cols = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
        inner = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        assert valid[inner].all()
        assert valid[inner].size > 236**2
        drow, dcol = displacement(pair.reference[inner], pair.secondary[inner])
        assert max(abs(drow), abs(dcol)) < bias
        difference = (pair.secondary - pair.reference)[inner]
        assert np.std(difference) / np.std(pair.reference) < error


def test_another_pixel_size_is_resampled_and_said(tmp_path: Path) -> None:
    t = B8_GRID.transform
    coarse = Grid(UTM45, Affine(15.1, 0, t.c, 0, -15.1, t.f), B8_GRID.shape)
    pair = make_pair(*two(tmp_path, second=coarse))
    assert pair.resampling == "lanczos from pixels of 15.1"
    assert pair.grid.pixel == 15


def test_resampling_spreads_fill_and_saturation_not_their_numbers(tmp_path: Path) -> None:
    t = B8_GRID.transform
    grid = Grid(UTM45, Affine(15, 0, t.c + 6, 0, -15, t.f - 6), B8_GRID.shape)
    second = texture(grid, 2)
    second[20, 20], second[50, 60] = 0, 65535
    first = scene(tmp_path, 0, texture(B8_GRID, 1), B8_GRID)
    second_scene = scene(tmp_path, 1, second, grid)
    for method, side in (("sinc", 17), ("lanczos", 7), ("cubic", 5)):
        got = make_pair(first, second_scene, method=method).secondary
        assert np.isnan(got[9:35, 9:40]).sum() == side**2
        assert (got[36:68, 36:85] == 65535).sum() == side**2
        ordinary = got[np.isfinite(got) & (got != 65535)]
        assert ordinary.max() < 40000  # white noise of 5000 ... 20000 rings, 65535 would more


def test_two_coordinate_systems_need_leave_and_then_meet(tmp_path: Path) -> None:
    zone44 = CRS.from_epsg(32644)
    grid = Grid(UTM45, Affine(15, 0, 240007.5, 0, -15, 3200992.5), (200, 200))
    x, y = Transformer.from_crs(32645, 32644, always_xy=True).transform(
        *np.meshgrid(grid.x(np.arange(200)), grid.y(np.arange(200)))
    )
    corner = Affine(15, 0, x.min() - 300, 0, -15, y.max() + 300)
    other = Grid(zone44, corner, (270, 270))

    def ground(east: np.ndarray, north: np.ndarray) -> np.ndarray:
        return (8000 + 900 * np.sin(east / 90) * np.cos(north / 120)).astype(np.float32)

    here = ground(*np.meshgrid(grid.x(np.arange(200)), grid.y(np.arange(200))))
    back = Transformer.from_crs(32644, 32645, always_xy=True).transform(
        *np.meshgrid(other.x(np.arange(270)), other.y(np.arange(270)))
    )
    first = scene(tmp_path, 0, here, grid)
    second = scene(tmp_path, 1, ground(*back), other)
    with pytest.raises(
        GridMismatchError, match=r"EPSG:32645\), got EPSG:32644; pair scenes of"
    ):
        make_pair(first, second)
    pair = make_pair(first, second, resample=True)
    assert pair.grid == grid
    assert pair.resampling == "lanczos from EPSG:32644"
    inner = np.s_[5:-5, 5:-5]
    np.testing.assert_allclose(pair.secondary[inner], here[inner], atol=15)
    drow, dcol = displacement(pair.reference[inner], pair.secondary[inner])
    # Waves of 38 and 50 px, at which Lanczos delays by little.
    assert max(abs(drow), abs(dcol)) < 6e-3
    part = make_pair(first, second, resample=True, window=grid.crop(50, 60, 40, 30))
    # The texture climbs by up to 150 DN a pixel; positions hold to 1/1000 px in either reading.
    np.testing.assert_allclose(part.secondary, pair.secondary[50:90, 60:90], atol=0.3)


# --- what is no pair


def test_one_scene_twice_is_no_pair(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with pytest.raises(PairError, match="got one scene twice"):
        make_pair(first, first)
    with pytest.raises(PairError, match="two files of one instant"):
        make_pair(first, replace(second, time=first.time))
    copy = scene(tmp_path, 1, texture(B8_GRID, 1), B8_GRID)
    with pytest.raises(PairError, match="got the same pixels in both; check for a copy"):
        make_pair(first, copy)


def test_swapped_dates_are_refused_unless_meant(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    with pytest.raises(
        PairError, match=r"after the reference \(2013-05-19.*swap the two scenes"
    ):
        make_pair(second, first)
    pair = make_pair(second, first, allow_swapped=True)
    assert pair.baseline_days == pytest.approx(-16 - 3.127 / 86400, abs=1e-12)


def test_no_common_ground_is_refused(tmp_path: Path) -> None:
    first, second = two(tmp_path, second=B8_GRID.crop(79, 0, 79, 99))
    with pytest.raises(PairError, match="got no overlap"):
        make_pair(first, second)
    first, second = two(tmp_path, second=B8_GRID.crop(40, 0, 79, 99))
    with pytest.raises(PairError, match="common ground under the window, got no overlap"):
        make_pair(first, second, window=B8_GRID.crop(0, 0, 30, 30))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("value", "got"),
    [(0, "no valid pixel"), (7777, "the one value 7777"), (65535, "one value")],
)
def test_an_empty_or_constant_scene_is_named(
    tmp_path: Path, number: int, value: int, got: str
) -> None:
    scenes = list(two(tmp_path))
    flat = np.full(B8_GRID.shape, value, np.uint16)
    scenes[number] = scene(tmp_path, number, flat, B8_GRID)
    with pytest.raises(PairError, match=rf"an image in scene_{number}, got .*{got}"):
        make_pair(*scenes)


def test_images_on_either_side_of_a_gap_are_no_pair(tmp_path: Path) -> None:
    west, east = texture(B8_GRID, 1), texture(B8_GRID, 2)
    west[:, 50:], east[:, :50] = 0, 0
    with pytest.raises(PairError, match="valid in both scenes, got none"):
        make_pair(scene(tmp_path, 0, west, B8_GRID), scene(tmp_path, 1, east, B8_GRID))


def test_a_window_between_the_pixels_is_refused(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    t = B8_GRID.transform
    for window in (
        Grid(UTM45, Affine(15, 0, t.c + 7.5, 0, -15, t.f), (20, 20)),
        Grid(UTM45, Affine(120, 0, t.c, 0, -120, t.f), (5, 5)),
        Grid(CRS.from_epsg(32644), t, (20, 20)),
        B8_GRID.crop(0, 0, 0, 20),
    ):
        with pytest.raises(GridMismatchError):
            make_pair(first, second, window=window)


def test_an_unknown_method_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a method out of sinc, lanczos, cubic"):
        make_pair(*two(tmp_path), method="magic")


def test_a_file_that_broke_after_it_was_opened_is_a_read_error(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    second.path.write_bytes(second.path.read_bytes()[:3000])
    with pytest.raises(ReadError, match=r"scene_1\.tif"):
        make_pair(first, second)


# --- the real pair


def test_the_real_pair_is_two_plain_reads(shared_data: Path) -> None:
    folder = shared_data / "yahtse"
    files = [folder / f"LC80630182016{day}LGN00_B8_yahtse.TIF" for day in (200, 216)]
    pair = pair_from_files(*files)
    assert pair.resampling == "none"
    assert pair.grid.shape == (1087, 1698)
    # 16 days and 3.125 s, by the scene-centre times of the two MTLs.
    assert pair.baseline_days == pytest.approx(16 + 3.125 / 86400, abs=1e-9)
    assert np.array_equal(pair.secondary, read_b8(open_scene(files[1]))[0])
    with pytest.raises(PairError, match="swap the two scenes"):
        pair_from_files(*files[::-1])


# --- strip by strip, by a reader of its own


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.4)])
def test_what_arrives_is_the_pair(tmp_path: Path, offset: tuple[float, float]) -> None:
    t = B8_GRID.transform
    moved = Affine(t.a, 0, t.c + offset[1] * t.a, 0, t.e, t.f + offset[0] * t.e)
    first, second = two(tmp_path, second=Grid(B8_GRID.crs, moved, B8_GRID.shape))
    plan = plan_pair(first, second)
    pair = read_pair(plan)
    with Arriving(plan, rows=37) as arriving:
        arriving.arrived(plan.grid.shape[0])
        for image, whole in zip(arriving.images, (pair.reference, pair.secondary), strict=True):
            got = image.pixels.astype(np.float32)
            if image.fill is not None:
                assert image.pixels.dtype == np.uint16
                got[image.pixels == image.fill] = np.nan
            assert np.array_equal(got, whole, equal_nan=True)
        assert np.array_equal(arriving.every(3), pair.reference[::3, ::3], equal_nan=True)


def test_what_never_arrives_is_an_error_for_all_who_wait(tmp_path: Path) -> None:
    first, same = (scene(tmp_path, number, texture(B8_GRID, 1), B8_GRID) for number in (0, 1))
    with (
        pytest.raises(PairError, match="the same pixels in both"),
        Arriving(plan_pair(first, same), rows=37) as arriving,
    ):
        arriving.arrived(B8_GRID.shape[0])
    second = scene(tmp_path, 1, texture(B8_GRID, 2), B8_GRID)
    plan = plan_pair(first, second)
    with rasterio.open(second.path) as file:
        profile, pixels = file.profile, file.read()
    profile.update(compress="deflate", tiled=False, blockysize=8)
    with rasterio.open(second.path, "w", **profile) as file:
        file.write(pixels)
    with second.path.open("r+b") as stream:
        stream.seek(second.path.stat().st_size // 2)
        stream.write(b"\xff" * 4000)
    with pytest.raises(ReadError), Arriving(plan, rows=37) as arriving:
        arriving.arrived(B8_GRID.shape[0])
    second.path.unlink()
    with (
        pytest.raises(ReadError, match="no such file"),
        Arriving(plan) as arriving,
    ):
        arriving.images  # noqa: B018 - waits for them
