"""Scenes are opened for what they are, and refused by name for what they are not."""

from __future__ import annotations

import logging
import shutil
import tarfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from landsat_products import B8_GRID, GRID_30M, ID, UTM45, texture, write_band, write_mtl
from landsat_products import write_product as product_folder
from rasterio.crs import CRS

from hmavel._types import Grid
from hmavel.errors import GridMismatchError, ReadError, SceneError
from hmavel.landsat import open_scene
from hmavel.lattice import covering_window
from hmavel.scene_bands import read_b8, read_dn, read_qa, read_radsat, reflectance, scene_grid

OTHER = "LC08_L1TP_140041_20130519_20200912_02_T1"
OLD = "LC80630182016200LGN00"


# --- what is opened


@pytest.mark.parametrize("part", ["", f"{ID}_B8.TIF"])
def test_a_product_is_the_same_by_its_folder_and_by_its_band_8(
    tmp_path: Path, part: str
) -> None:
    folder = product_folder(tmp_path)
    scene = open_scene(folder / part)
    assert scene.id == ID
    assert scene.path == folder / part
    assert scene.time == np.datetime64("2013-05-03T04:41:57.123", "ms")
    assert (scene.sensor, scene.wrs, scene.level) == ("LC08", (140, 41), "L1TP")
    assert (scene.tier, scene.processed) == ("T1", "20200912")
    assert set(scene.bands) == {"B3", "B5", "B8", "QA_PIXEL", "QA_RADSAT"}
    assert scene.grid == B8_GRID
    assert scene_grid(scene, "B5") == GRID_30M
    assert scene.sun_elevation == 30.0


def test_names_in_lower_case_and_either_mtl_will_do(tmp_path: Path) -> None:
    folder = product_folder(tmp_path)
    (folder / f"{ID}_B8.TIF").rename(folder / f"{ID}_B8.tif")
    (folder / f"{ID}_MTL.txt").unlink()
    assert open_scene(folder).bands["B8"].name == f"{ID}_B8.tif"


def test_band_8_finds_its_own_mtl_among_those_of_others(tmp_path: Path) -> None:
    for product in (ID, OTHER):
        write_mtl(tmp_path, product)
        write_band(tmp_path / f"{product}_B8_crop.TIF", texture(B8_GRID, 1), B8_GRID)
    for product, day in ((ID, "2013-05-03"), (OTHER, "2013-05-19")):
        scene = open_scene(tmp_path / f"{product}_B8_crop.TIF")
        assert scene.id == product
        assert str(scene.time).startswith(day)
        assert scene.reflectance is not None
        assert set(scene.bands) == {"B8"}
    with pytest.raises(SceneError, match="expected one product, got the MTLs"):
        open_scene(tmp_path)


def test_crops_go_with_the_crop_that_was_asked_for(tmp_path: Path) -> None:
    folder = product_folder(tmp_path, bands=[])
    for crop in ("east", "west"):
        for band, grid in (("B5", GRID_30M), ("B8", B8_GRID)):
            write_band(folder / f"{ID}_{band}_{crop}.TIF", texture(grid, 1), grid)
    scene = open_scene(folder / f"{ID}_B8_west.TIF")
    assert scene.bands["B5"].name == f"{ID}_B5_west.TIF"
    with pytest.raises(SceneError, match=r"one file of B8, got .*east.*west.*give the Band-8"):
        open_scene(folder)


def test_files_of_an_unfinished_write_are_not_seen(tmp_path: Path) -> None:
    folder = product_folder(tmp_path)
    (folder / f"._{ID}_MTL.txt").write_bytes(b"resource fork")
    (folder / f".{ID}_B8.123.TIF").write_bytes(b"half")
    assert open_scene(folder).bands["B8"].name == f"{ID}_B8.TIF"


# --- bare files


def test_a_plain_file_needs_a_time_and_takes_it_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "pan_A.tif"
    write_band(path, texture(B8_GRID, 1), B8_GRID)
    with pytest.raises(SceneError, match=r"pan_A\.tif: expected an MTL.*got no date; state"):
        open_scene(path)
    nepal = timezone(timedelta(hours=5, minutes=45))
    for time in (
        np.datetime64("2020-07-01T04:45:00.250"),
        "2020-07-01T04:45:00.250",
        "2020-07-01T04:45:00.250Z",
        datetime(2020, 7, 1, 4, 45, 0, 250_000),
        datetime(2020, 7, 1, 10, 30, 0, 250_000, tzinfo=nepal),
    ):
        scene = open_scene(path, time=time)
        assert scene.time == np.datetime64("2020-07-01T04:45:00.250", "ms")
        assert scene.time.dtype == np.dtype("datetime64[ms]")
    assert (scene.id, scene.sensor, scene.wrs, scene.reflectance) == ("pan_A", "", None, None)
    for wrong in ("yesterday", np.datetime64("NaT")):
        with pytest.raises(ValueError, match="expected a time"):
            open_scene(path, time=wrong)


@pytest.mark.parametrize(
    "name",
    ["LC08_140041_20130503", "pan-2013-05-03-B8", "B8_20130503", "LC81400412013123LGN01_B8"],
)
def test_a_date_in_the_name_gives_the_days_overpass_and_a_warning(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"{name}.tif"
    write_band(path, texture(B8_GRID, 1), B8_GRID)
    with caplog.at_level(logging.WARNING):
        scene = open_scene(path)
    # 86.8 E, 28.0 N: 10:30 local solar time is 4:42 UTC, as Landsat has it there.
    error = scene.time - np.datetime64("2013-05-03T04:42:00", "ms")
    assert abs(error) < np.timedelta64(5, "m")
    assert "no MTL" in caplog.text
    assert str(path) in caplog.text


def test_a_time_in_the_name_is_taken_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pan_20130503T044157.tif"
    write_band(path, texture(B8_GRID, 1), B8_GRID)
    assert open_scene(path).time == np.datetime64("2013-05-03T04:41:57", "ms")
    assert caplog.text == ""


def test_two_dates_or_no_date_in_a_name_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("pan_20130503_20130519", "pan_20131332", "pan_120130503"):
        path = tmp_path / f"{name}.tif"
        write_band(path, texture(B8_GRID, 1), B8_GRID)
        with pytest.raises(SceneError, match=r"state the time"):
            open_scene(path)


def test_an_explicit_time_goes_before_the_mtl(tmp_path: Path) -> None:
    scene = open_scene(product_folder(tmp_path), time="2013-05-03T05:00:00")
    assert scene.time == np.datetime64("2013-05-03T05:00:00", "ms")


def test_a_file_without_coordinate_system_takes_the_one_given(tmp_path: Path) -> None:
    path = tmp_path / "LC08_140041_20130503.tif"
    write_band(path, texture(B8_GRID, 1), B8_GRID, crs=None)
    with pytest.raises(ReadError, match="expected a coordinate system"):
        open_scene(path, time="2013-05-03")
    scene = open_scene(path, time="2013-05-03", crs=UTM45)
    array, grid = read_b8(scene)  # and it is remembered
    assert grid == B8_GRID
    assert array.shape == B8_GRID.shape


def test_a_multi_band_export_is_read_by_the_name_of_its_band(tmp_path: Path) -> None:
    path = tmp_path / "LC08_140041_20130503.tif"
    rows, cols = B8_GRID.shape
    profile = {"crs": UTM45, "transform": B8_GRID.transform, "dtype": "uint16"}
    arrays = [texture(B8_GRID, seed) for seed in (1, 2)]
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=2, **profile
    ) as file:
        for index, array in enumerate(arrays, start=1):
            file.write(array, index)
    scene = open_scene(path, time="2013-05-03T04:42")
    with pytest.raises(SceneError, match="described as B8, got 2 bands: unnamed, unnamed"):
        read_b8(scene)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B4", "B8")
    assert np.array_equal(read_b8(scene)[0], arrays[1])


# --- what is refused


def test_folders_that_hold_no_scene(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="got no such file"):
        open_scene(tmp_path / "nothing")
    with pytest.raises(SceneError, match="got an empty folder"):
        open_scene(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SceneError, match="got no MTL; fetch the complete product"):
        open_scene(tmp_path)
    write_mtl(tmp_path)
    with pytest.raises(SceneError, match=f"expected Band 8, {ID}_B8.TIF, got no such file"):
        open_scene(tmp_path)
    with pytest.raises(SceneError, match="expected band files, got only the MTL"):
        open_scene(tmp_path, need_b8=False)


def test_files_that_are_not_band_8(tmp_path: Path) -> None:
    folder = product_folder(tmp_path)
    with pytest.raises(SceneError, match="expected a Band-8 file, got B5"):
        open_scene(folder / f"{ID}_B5.TIF")
    with pytest.raises(SceneError, match="got its MTL; give the folder"):
        open_scene(folder / f"{ID}_MTL.txt")
    archive = tmp_path / f"{ID}.zip"
    archive.write_bytes(b"")
    with pytest.raises(SceneError, match="got a zip; extract it"):
        open_scene(archive)


def test_a_half_downloaded_folder_is_named(tmp_path: Path) -> None:
    folder = product_folder(tmp_path)
    path = folder / f"{ID}_B8.TIF"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ReadError, match=rf"{ID}_B8\.TIF.*the file is incomplete"):
        open_scene(folder)
    path.unlink()
    with pytest.raises(SceneError, match=rf"{ID}_B8\.TIF, got no such file; fetch the compl"):
        open_scene(folder)


def test_metadata_of_another_scene_is_refused(tmp_path: Path) -> None:
    # The right name on the wrong content, seen from the folder and from the file.
    folder = product_folder(tmp_path)
    for path in folder.glob("*MTL*"):
        path.unlink()
    write_mtl(folder, OTHER, name=ID, kinds=["txt"])
    for path in (folder, folder / f"{ID}_B8.TIF"):
        with pytest.raises(
            SceneError, match=f"the MTL of {ID}, got one that describes {OTHER}"
        ):
            open_scene(path)
    # The MTL of another scene under its own name.
    (folder / f"{ID}_MTL.txt").rename(folder / f"{OTHER}_MTL.txt")
    with pytest.raises(SceneError, match=f"expected files of {OTHER}.*got {ID}"):
        open_scene(folder)
    # Another processing of the same acquisition.
    again = ID.replace("20200912", "20170310")
    (folder / f"{OTHER}_MTL.txt").unlink()
    write_mtl(folder, again)
    with pytest.raises(SceneError, match=f"expected files of {again}"):
        open_scene(folder)


def test_an_mtl_without_time_is_refused(tmp_path: Path) -> None:
    folder = product_folder(tmp_path, time=None)
    with pytest.raises(SceneError, match="expected DATE_ACQUIRED and SCENE_CENTER_TIME"):
        open_scene(folder)


@pytest.mark.parametrize("product", ["LE07", "LT05", "LT08"])
def test_other_sensors_are_refused(tmp_path: Path, product: str) -> None:
    folder = product_folder(tmp_path, ID.replace("LC08", product))
    with pytest.raises(SceneError, match=rf"Landsat-8 or -9.*got {product}"):
        open_scene(folder)


def test_a_level_2_product_has_no_band_8_and_serves_for_masks(tmp_path: Path) -> None:
    level2 = ID.replace("L1TP", "L2SP")
    folder = product_folder(tmp_path, level2, bands=["QA_PIXEL"])
    write_band(folder / f"{level2}_SR_B5.TIF", texture(GRID_30M, 1), GRID_30M)
    with pytest.raises(SceneError, match="a L2SP product, which has none; use the L1TP"):
        open_scene(folder)
    scene = open_scene(folder, need_b8=False)
    assert set(scene.bands) == {"B5", "QA_PIXEL"}
    assert scene.grid == GRID_30M


# --- what is read


def with_values(folder: Path, band: str, values: dict[tuple[int, int], int]) -> np.ndarray:
    path = folder / f"{ID}_{band}.TIF"
    with rasterio.open(path, "r+") as file:
        array = file.read(1)
        for index, value in values.items():
            array[index] = value
        file.write(array, 1)
    return np.asarray(array)


def test_band_8_is_nan_at_fill_and_keeps_saturation(tmp_path: Path) -> None:
    folder = product_folder(tmp_path)
    stored = with_values(folder, "B8", {(0, 0): 0, (5, 6): 65535, (7, 8): 1})
    array, grid = read_b8(open_scene(folder))
    assert array.dtype == np.float32
    assert grid == B8_GRID
    assert np.argwhere(np.isnan(array)).tolist() == [[0, 0]]
    assert (array[5, 6], array[7, 8]) == (65535.0, 1.0)
    assert np.array_equal(np.nan_to_num(array), stored)


def test_outside_the_scene_is_nan(tmp_path: Path) -> None:
    scene = open_scene(product_folder(tmp_path))
    window = B8_GRID.crop(-3, 90, 10, 20)
    array, grid = read_b8(scene, window)
    assert grid is window
    assert np.isnan(array[:3]).all()
    assert np.isnan(array[:, 9:]).all()
    assert np.array_equal(array[3:, :9], read_b8(scene)[0][:7, 90:])
    far, _ = read_b8(scene, B8_GRID.crop(1000, 1000, 4, 4))
    assert np.isnan(far).all()


def test_a_file_of_floats_keeps_its_zeros(tmp_path: Path) -> None:
    path = tmp_path / "LC08_140041_20130503.tif"
    values = np.linspace(-1, 1, B8_GRID.shape[0] * B8_GRID.shape[1], dtype=np.float32)
    values = values.reshape(B8_GRID.shape)
    values[0, :4] = (0, np.nan, np.inf, -9999)
    write_band(path, values, B8_GRID, nodata=-9999)
    array, _ = read_b8(open_scene(path, time="2013-05-03T04:42"), B8_GRID.crop(-1, 0, 5, 5))
    assert np.isnan(array[0]).all()
    assert array[1, 0] == 0
    assert np.isnan(array[1, 1:4]).all()
    assert np.array_equal(array[2:], values[1:4, :5])


def test_reflectance_of_level_1_has_the_sun_in_it(tmp_path: Path) -> None:
    folder = product_folder(tmp_path)
    stored = with_values(folder, "B5", {(0, 0): 0, (1, 1): 65535}).astype(float)
    array, grid = reflectance(open_scene(folder), "B5")
    assert grid == GRID_30M
    assert array.dtype == np.float32
    expected = (2e-5 * stored - 0.1) / 0.5  # the sun stands at 30 degrees
    expected[0, 0] = np.nan
    np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)


def test_reflectance_needs_coefficients_and_a_sun(tmp_path: Path) -> None:
    folder = product_folder(tmp_path)
    scene = open_scene(folder)
    with pytest.raises(SceneError, match="coefficients of QA_PIXEL, got none"):
        reflectance(scene, "QA_PIXEL")
    with pytest.raises(SceneError, match=rf"expected band B6, {ID}_B6\.TIF, got only B8"):
        reflectance(scene, "B6")
    for path in folder.glob("*MTL*"):
        text = path.read_text()
        path.write_text(text.replace("SUN_ELEVATION = 30.0", "SUN_ELEVATION = -3.5"))
    with pytest.raises(SceneError, match=r"a sun above the horizon, got .* -3\.5 degrees"):
        reflectance(open_scene(folder), "B5")
    bare = tmp_path / "bare.tif"
    shutil.copy(folder / f"{ID}_B8.TIF", bare)
    with pytest.raises(SceneError, match="got a scene without MTL"):
        reflectance(open_scene(bare, time="2013-05-03"), "B8")


def test_quality_bands_and_what_lies_outside_of_them(tmp_path: Path) -> None:
    scene = open_scene(product_folder(tmp_path))
    window = GRID_30M.crop(-2, 0, 5, 5)
    qa, grid = read_qa(scene, window)
    assert grid is window
    assert qa.dtype == np.uint16
    assert qa[:2].tolist() == [[1] * 5] * 2  # bit 0: fill
    assert (qa[2:] == 21824).all()
    assert not read_radsat(scene, window)[0].any()
    with pytest.raises(SceneError, match="expected band B4"):
        read_dn(scene, "B4")
    bare = open_scene(product_folder(tmp_path / "b8", bands=["B8"]))
    with pytest.raises(SceneError, match="expected band QA_PIXEL"):
        read_qa(bare)


def test_a_15_m_window_finds_its_30_m_pixels(tmp_path: Path) -> None:
    scene = open_scene(product_folder(tmp_path))
    window = B8_GRID.crop(11, 20, 8, 8)
    with pytest.raises(GridMismatchError, match="make the window with covering_window"):
        read_dn(scene, "B5", window)
    covering = covering_window(scene_grid(scene, "B5"), window)
    assert covering == GRID_30M.crop(5, 10, 5, 5)
    assert np.array_equal(
        read_dn(scene, "B5", covering)[0], read_dn(scene, "B5")[0][5:10, 10:15]
    )


# --- real files


def test_the_real_pre_collection_pair(shared_data: Path) -> None:
    folder = shared_data / "yahtse"
    times = ("2016-07-18T20:37:06.339", "2016-08-03T20:37:09.464")
    for product, time in zip((OLD, "LC80630182016216LGN00"), times, strict=True):
        scene = open_scene(folder / f"{product}_B8_yahtse.TIF")
        assert scene.id == product
        assert scene.time == np.datetime64(time, "ms")
        assert (scene.sensor, scene.wrs, scene.level) == ("LC08", (63, 18), "L1TP")
        array, grid = read_b8(scene)
        assert array.shape == (1087, 1698)
        assert grid.crs == CRS.from_epsg(32607)
        assert np.isfinite(array).all()
        values, _ = reflectance(scene, "B8")
        assert 0 < np.nanmin(values) < np.nanmax(values) < 1.3


def test_the_real_level_2_scene(shared_data: Path) -> None:
    folder = shared_data / "landsat_c2" / "LC08_L2SP_005009_20150710_20200908_02_T2"
    scene = open_scene(folder, need_b8=False)
    dn, grid = read_dn(scene, "B5")
    values, _ = reflectance(scene, "B5")
    assert grid.shape == (512, 512)
    np.testing.assert_allclose(
        values[dn > 0], 2.75e-5 * dn[dn > 0].astype(float) - 0.2, rtol=1e-5, atol=1e-6
    )
    qa, _ = read_qa(scene)
    assert np.array_equal(np.isnan(values), dn == 0)
    # Nearly half of the raster is the scene's tilted margin. The files were decimated one by
    # one, so that the bands agree on it but for its edge: 99.65 % of the pixels.
    fill = (qa & 1).astype(bool)
    assert 0.4 < fill.mean() < 0.5
    assert np.mean(fill == np.isnan(values)) > 0.99


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_real_level_1_crop_with_its_place_put_back(
    shared_data: Path, tmp_path: Path
) -> None:
    product = "LC08_L1TP_017051_20151205_20200908_02_T1"
    with tarfile.open(shared_data / "landsat_c2" / f"{product}-cropped.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    with pytest.raises(ReadError, match=r"_B8\.TIF: expected a georeferenced raster"):
        open_scene(tmp_path)
    # Its MTL gives the centre of the first 30 m pixel; Band 8 starts 7.5 m further in.
    utm16 = CRS.from_epsg(32616)
    for path in sorted(tmp_path.glob("*.TIF")):
        pixel = 15 if path.stem.endswith("B8") else 30
        corner = Affine(pixel, 0, 543990 - pixel / 2, 0, -pixel, 1378980 + pixel / 2)
        with rasterio.open(path, "r+") as file:
            file.crs, file.transform = utm16, corner
    scene = open_scene(tmp_path)
    assert scene.id == product
    assert scene.time == np.datetime64("2015-12-05T16:06:06.877", "ms")
    assert set(scene.bands) == {"B2", "B3", "B4", "B5", "B6", "B7", "B8"}
    half = covering_window(scene_grid(scene, "B5"), scene.grid.crop(2, 2, 400, 400))
    values, _ = reflectance(scene, "B5", half)
    dn, _ = read_dn(scene, "B5", half)
    sun = np.sin(np.radians(48.24450155))
    valid = dn > 0
    np.testing.assert_allclose(
        values[valid], (2e-5 * dn[valid].astype(float) - 0.1) / sun, rtol=1e-5, atol=1e-6
    )


def test_a_geographic_grid_is_opened_too(tmp_path: Path) -> None:
    # Where it cannot serve (velocities need metres), the later stage says so.
    grid = Grid(CRS.from_epsg(4326), Affine(1e-4, 0, 86.8, 0, -1e-4, 28.0), (20, 30))
    write_band(tmp_path / "LC08_140041_20130503.tif", texture(grid, 1), grid)
    assert open_scene(tmp_path / "LC08_140041_20130503.tif").grid == grid
