"""Exports of Earth Engine: bands in one file or many, in shards, with dates from tables."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from landsat_products import B8_GRID, GRID_30M, write_band

from hmavel.earth_engine import open_exports
from hmavel.errors import ReadError
from hmavel.mask import classify
from hmavel.mtl import read_mtl
from hmavel.scene_bands import read_b8, read_qa, reflectance
from hmavel.sun import sun_position

ID = "LC08_140041_20130503"
BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "QA_PIXEL")


@pytest.fixture
def image():
    """DN of every band on the 15 m pixels, as Earth Engine exports them at scale 15."""
    rng = np.random.default_rng(6)
    found = {b: rng.integers(6000, 30000, B8_GRID.shape, dtype=np.uint16) for b in BANDS[:-1]}
    return found | {"QA_PIXEL": np.full(B8_GRID.shape, 21824, np.uint16)}


def write_many(path, bands, *, grid=B8_GRID, dtype="uint16", crs=None, named=True):
    rows, cols = grid.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=len(bands), dtype=dtype,
        crs=crs or grid.crs, transform=grid.transform,
    ) as file:  # fmt: skip
        for number, (name, array) in enumerate(bands.items(), start=1):
            file.write(array.astype(dtype), number)
            if named:
                file.set_band_description(number, name)


def shards(folder, stem, bands, rows, cols, **options):
    height, width = B8_GRID.shape
    for row in range(0, height, rows):
        for col in range(0, width, cols):
            part = {k: v[row : row + rows, col : col + cols] for k, v in bands.items()}
            shape = next(iter(part.values())).shape
            grid = B8_GRID.crop(row, col, *shape)
            write_many(folder / f"{stem}-{row:010d}-{col:010d}.tif", part, grid=grid, **options)


def test_one_file_of_many_bands(tmp_path, image):
    write_many(tmp_path / f"1_2_{ID}.tif", image)
    scenes, rejected = open_exports(tmp_path, tmp_path / "work")
    assert rejected == []
    (scene,) = scenes
    assert (scene.id, scene.sensor, scene.wrs) == (ID, "LC08", (140, 41))
    assert abs(scene.time - np.datetime64("2013-05-03T04:42", "ms")) < np.timedelta64(4, "m")
    assert np.array_equal(read_b8(scene)[0], image["B8"])
    scale = np.sin(np.radians(scene.sun_elevation))
    expected = (2e-5 * image["B6"] - 0.1) / scale
    assert np.abs(reflectance(scene, "B6")[0] - expected).max() < 1e-5
    assert classify(scene).source == "albedo+qa"


def test_a_file_for_each_band_named_either_way(tmp_path, image):
    thirty = {b: a[::2, ::2] for b, a in image.items()}
    for band in BANDS:
        grid = B8_GRID if band == "B8" else GRID_30M
        array = image[band] if band == "B8" else thirty[band][:40, :50]
        write_band(tmp_path / f"{ID}.{band}.tif", array, grid)
        write_band(tmp_path / f"LC09_140041_20130511_{band}.tif", array, grid)
    scenes, rejected = open_exports(tmp_path, tmp_path / "work")
    assert rejected == []
    assert [scene.id for scene in scenes] == ["LC08_140041_20130503", "LC09_140041_20130511"]
    for scene in scenes:
        assert set(scene.bands) == set(BANDS)
        assert np.array_equal(read_b8(scene)[0], image["B8"])
        assert classify(scene).source == "albedo+qa"


def test_reflectances_are_not_divided_by_the_sun_again(tmp_path, image):
    toa = {b: (a * 3e-5 - 0.1).astype(np.float32) for b, a in image.items()}
    toa["B8"][:5] = np.nan  # what the image masks
    toa["QA_PIXEL"] = np.where(np.isnan(toa["B8"]), np.nan, 21824).astype(np.float32)
    write_many(tmp_path / f"{ID}.tif", toa, dtype="float32")
    (scene,), _ = open_exports(tmp_path, tmp_path / "work")
    assert scene.level == "TOA"
    assert np.array_equal(reflectance(scene, "B6")[0], toa["B6"])
    assert np.array_equal(read_b8(scene)[0], toa["B8"], equal_nan=True)
    assert set(np.unique(read_qa(scene)[0])) == {1, 21824}
    assert classify(scene).source == "albedo+qa"


@pytest.mark.parametrize("split", ["one file", "band by band"])
def test_shards_are_one_image(tmp_path, image, split):
    exports = tmp_path / "exports"
    exports.mkdir()
    if split == "one file":
        shards(exports, ID, image, 32, 64)
    else:
        for band in ("B8", "B6"):
            shards(exports, f"{ID}_{band}", {band: image[band]}, 32, 64)
    scenes, rejected = open_exports(exports, tmp_path / "work")
    assert rejected == []
    (scene,) = scenes
    assert scene.grid == B8_GRID
    assert np.array_equal(read_b8(scene)[0], image["B8"])
    window = B8_GRID.crop(20, 50, 30, 40)  # across four shards
    assert np.array_equal(read_b8(scene, window)[0], image["B8"][20:50, 50:90])
    assert reflectance(scene, "B6")[0].shape == B8_GRID.shape
    mosaic = scene.bands["B8"]
    before = mosaic.stat().st_mtime_ns
    assert open_exports(exports, tmp_path / "work")[0] == scenes
    assert mosaic.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("lost", "why"),
    [("-0000000032-0000000000", "pixels missing; fetch the missing part"),
     ("-0000000000-0000000000", "a first shard"),
     ("-0000000064-0000000064", "pixels missing")],
)  # fmt: skip
def test_a_missing_shard_is_named(tmp_path, image, lost, why):
    shards(tmp_path, ID, image, 32, 64)
    (tmp_path / f"{ID}{lost}.tif").unlink()
    scenes, rejected = open_exports(tmp_path, tmp_path / "work")
    assert scenes == []
    assert why in rejected[0].reason


def test_shards_that_do_not_belong_together(tmp_path, image):
    shards(tmp_path, ID, image, 40, 99)
    name = f"{ID}-0000000040-0000000000.tif"
    part = {k: v[40:] for k, v in image.items()}
    moved = B8_GRID.crop(40, 0, 39, 99)
    moved = type(moved)(moved.crs, moved.transform @ Affine.translation(0.4, 0), moved.shape)
    write_many(tmp_path / name, part, grid=moved)
    assert "px off them" in open_exports(tmp_path, tmp_path)[1][0].reason
    write_many(tmp_path / name, part, grid=B8_GRID.crop(30, 0, 39, 99))
    assert "an overlap with" in open_exports(tmp_path, tmp_path)[1][0].reason
    write_many(tmp_path / name, part, grid=B8_GRID.crop(40, 0, 39, 99), dtype="float32")
    assert "got float32" in open_exports(tmp_path, tmp_path)[1][0].reason
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert "incomplete" in open_exports(tmp_path, tmp_path)[1][0].reason


def test_dates_sun_and_scaling_from_a_table(tmp_path, image):
    write_many(tmp_path / "everest_17.tif", image)
    write_many(tmp_path / f"{ID}.tif", image)
    millis = int(np.datetime64("2019-11-02T04:41:57.123", "ms").astype(np.int64))
    (tmp_path / "images.csv").write_text(
        "system:index,system:time_start,SUN_ELEVATION,SUN_AZIMUTH,WRS_PATH,WRS_ROW,"
        "REFLECTANCE_MULT_BAND_6,REFLECTANCE_ADD_BAND_6\n"
        f"everest_17,{millis},41.5,155.25,140,41,0.00003,-0.2\n"
        f"{ID},2013-05-03T04:41:57,63.0,120.0,140,41,,\n"
    )
    scenes, rejected = open_exports(tmp_path, tmp_path / "work")
    assert rejected == []
    by = {scene.id: scene for scene in scenes}
    scene = by["everest_17"]
    assert str(scene.time) == "2019-11-02T04:41:57.123"
    assert (scene.sun_elevation, scene.sun_azimuth, scene.wrs) == (41.5, 155.25, (140, 41))
    expected = (3e-5 * image["B6"] - 0.2) / np.sin(np.radians(41.5))
    assert np.abs(reflectance(scene, "B6")[0] - expected).max() < 1e-5
    assert str(by[ID].time) == "2013-05-03T04:41:57.000"
    assert by[ID].sun_elevation == 63.0


def test_what_cannot_be_used_is_listed_with_a_mend(tmp_path, image):
    good = {"B8": image["B8"]}
    write_many(tmp_path / "nodate.tif", good)
    write_many(tmp_path / "LC08_140041_20130519.tif", {"B6": image["B6"]})
    write_many(tmp_path / "LC08_140041_20130604.tif", image, named=False)
    degrees = type(B8_GRID)(B8_GRID.crs, Affine(1e-4, 0, 86, 0, -1e-4, 28), B8_GRID.shape)
    write_many(tmp_path / "LC08_140041_20130620.tif", good, grid=degrees, crs="EPSG:4326")
    write_band(tmp_path / "LC08_140041_20130706.tif", image["B8"][:40, :50], GRID_30M)
    write_many(tmp_path / "LE07_140041_20130722.tif", good)
    (tmp_path / "LC08_140041_20130807.tif").write_bytes(b"no image")
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    (tmp_path / "readme.txt").write_text("words")
    scenes, rejected = open_exports(tmp_path, tmp_path / "work")
    assert scenes == []
    why = {item.path.name: item.reason for item in rejected}
    assert "a date in its name or in a table" in why.pop("nodate.tif")
    assert "expected Band 8, got B6" in why.pop("LC08_140041_20130519.tif")
    assert "expected Band 8, got no band that is named" in why.pop("LC08_140041_20130604.tif")
    assert "an image in metres" in why.pop("LC08_140041_20130620.tif")
    assert "pixels of 15 m, got 30 m" in why.pop("LC08_140041_20130706.tif")
    assert "an image of Landsat 8 or 9, got LE07" in why.pop("LE07_140041_20130722.tif")
    assert "expected a raster file" in why.pop("LC08_140041_20130807.tif")
    assert "a column system:index or" in why.pop("broken.csv")
    assert why == {}
    with pytest.raises(ReadError, match=r"check scenes\.earth_engine"):
        open_exports(tmp_path / "none", tmp_path)


def test_the_sun_stands_where_real_metadata_say(shared_data):
    files = sorted(shared_data.rglob("*_MTL.txt"))
    names = ("UL", "UR", "LL", "LR")
    assert len(files) >= 3
    for file in files:
        found = read_mtl(file)
        corners = found.groups.get("PRODUCT_METADATA") or found.groups["PROJECTION_ATTRIBUTES"]
        place = [
            np.mean([float(corners[f"CORNER_{c}_{axis}_PRODUCT"]) for c in names])
            for axis in ("LON", "LAT")
        ]
        azimuth, elevation = sun_position(found.time, *place)
        assert abs(azimuth - found.sun_azimuth) < 0.05
        assert abs(elevation - found.sun_elevation) < 0.05
