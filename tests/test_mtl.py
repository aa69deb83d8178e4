"""Names and metadata of Landsat products."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landsat_products import ID, groups, odl, write_mtl

from hmavel.errors import ReadError, SceneError
from hmavel.mtl import overpass_time, parse_product_id, read_mtl


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "LC08_L1TP_140041_20130503_20200912_02_T1",
            ("LC08", (140, 41), "20130503", "L1TP", "20200912", "02", "T1"),
        ),
        (
            "LO09_L1GT_135039_20230503_20230504_02_RT_B8.TIF",
            ("LO09", (135, 39), "20230503", "L1GT", "20230504", "02", "RT"),
        ),
        (
            "LC09_L2SP_140041_20221111_20221112_02_T2_SR_B5.TIF",
            ("LC09", (140, 41), "20221111", "L2SP", "20221112", "02", "T2"),
        ),
        (  # a STAC item: no processing date
            "LC08_L2SP_047027_20201204_02_T1_SR",
            ("LC08", (47, 27), "20201204", "L2SP", "", "02", "T1"),
        ),
        (  # Earth Engine, merged collections put a number before it, exports come in shards
            "1_LC08_140041_20130503-0000000000-0000008192.tif",
            ("LC08", (140, 41), "20130503", "", "", "", ""),
        ),
        ("LC80630182016200LGN00_MTL.txt", ("LC08", (63, 18), "20160718", "", "", "", "")),
        ("LC80630182016366LGN00", ("LC08", (63, 18), "20161231", "", "", "", "")),
        ("LE71400412000304SGS00_B4.tif", ("LE07", (140, 41), "20001030", "", "", "", "")),
    ],
)
def test_product_ids_of_every_kind(name: str, expected: tuple[object, ...]) -> None:
    found = parse_product_id(name)
    assert found is not None
    parts = ("sensor", "wrs", "date", "level", "processed", "collection", "tier")
    assert tuple(getattr(found, part) for part in parts) == expected
    assert found.id in name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "velocity_20160718.tif",
        "LC08_L1TP_140041_20131303_20200912_02_T1",  # month 13
        "LC80630182015366LGN00",  # 2015 has 365 days
        "LC80630182016000LGN00",
        "LC08_L1TP_14004_20130503",
        "XLC08_140041_20130503",
    ],
)
def test_what_is_no_product_id(name: str) -> None:
    assert parse_product_id(name) is None


def test_names_agree_unless_a_part_contradicts() -> None:
    full = parse_product_id(ID)
    assert full is not None
    for name, expected in [
        (ID, True),
        ("LC08_L1TP_140041_20130503_02_T1", True),
        ("LC08_140041_20130503", True),
        ("LC81400412013123LGN01", True),
        ("LC08_L1TP_140041_20130503_20170310_01_T1", False),
        ("LC08_L2SP_140041_20130503_20200912_02_T1", False),
        ("LC09_140041_20130503", False),
        ("LC08_140041_20130519", False),
    ]:
        other = parse_product_id(name)
        assert other is not None
        assert (full.agrees(other), other.agrees(full)) == (expected, expected), name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 86_399_999), st.sampled_from(["", "4", "49", "4999"]))
def test_the_time_is_exact_to_the_millisecond(
    tmp_path: Path, milliseconds: int, digits: str
) -> None:
    day = np.datetime64("2013-05-03T00:00:00.000", "ms")
    time = day + np.timedelta64(milliseconds, "ms")
    text = f"{str(time).split('T')[1]}{digits}Z"
    path = tmp_path / f"{ID}_MTL.txt"
    path.write_text(odl(groups(time=text)))
    assert read_mtl(path).time == time


@pytest.mark.parametrize("kind", ["txt", "json"])
def test_a_collection_2_file_says_all_that_is_needed(tmp_path: Path, kind: str) -> None:
    write_mtl(tmp_path, kinds=[kind])
    m = read_mtl(tmp_path / f"{ID}_MTL.{kind}")
    assert m.product.id == ID
    assert (m.wrs, m.level, m.tier, m.processed) == ((140, 41), "L1TP", "T1", "20200912")
    assert m.time == np.datetime64("2013-05-03T04:41:57.123", "ms")
    assert (m.sun_azimuth, m.sun_elevation) == (120.5, 30.0)
    assert m.files["B8"] == f"{ID}_B8.TIF"
    assert m.files["QA_PIXEL"] == f"{ID}_QA_PIXEL.TIF"
    assert m.reflectance["B5"] == (2.0e-5, -0.1)


@pytest.mark.parametrize(
    ("land", "scene", "expected"),
    [("12.5", "80", 12.5), ("-1", "80.25", 80.25), (None, "0.00", 0.0), ("-1.00", None, None)],
)
def test_cloud_cover_is_that_of_the_land_where_it_is_said(
    tmp_path: Path, land: str | None, scene: str | None, expected: float | None
) -> None:
    content = groups()
    for name, value in (("CLOUD_COVER_LAND", land), ("CLOUD_COVER", scene)):
        if value is not None:
            content["IMAGE_ATTRIBUTES"][name] = value
    path = tmp_path / f"{ID}_MTL.txt"
    path.write_text(odl(content))
    assert read_mtl(path).cloud_cover == expected


def test_damaged_files_are_read_errors(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}_MTL.txt"
    with pytest.raises(ReadError, match="No such file"):
        read_mtl(path)
    text = odl(groups())
    for wrong in ("", "<html>gone</html>", text[: len(text) // 2], text.removesuffix("END\n")):
        path.write_text(wrong)
        with pytest.raises(ReadError, match="expected a complete MTL file") as caught:
            read_mtl(path)
        assert str(path) in str(caught.value)
    path.write_text("GROUP = A\nEND_GROUP = B\nEND\n")
    with pytest.raises(ReadError, match="END_GROUP = B"):
        read_mtl(path)
    other = tmp_path / f"{ID}_MTL.json"
    whole = json.dumps({"LANDSAT_METADATA_FILE": groups()})
    for wrong in (whole[:200], "{}", "[]", '{"LANDSAT_METADATA_FILE": 3}'):
        other.write_text(wrong)
        with pytest.raises(ReadError, match="JSON"):
            read_mtl(other)


def test_bytes_that_are_not_text_are_a_read_error(tmp_path: Path) -> None:
    path = tmp_path / "x_MTL.txt"
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(ReadError):
        read_mtl(path)


def test_without_time_id_or_numbers_it_is_a_scene_error(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}_MTL.txt"
    for time, got in ((None, "2013-05-03 and no time"), ("soon", "2013-05-03 and soon")):
        path.write_text(odl(groups(time=time)))
        with pytest.raises(SceneError, match=f"expected DATE_ACQUIRED.*got {got}"):
            read_mtl(path)
    content = groups()
    del content["PRODUCT_CONTENTS"]["LANDSAT_PRODUCT_ID"]
    path.write_text(odl(content))
    with pytest.raises(SceneError, match="expected a Landsat product id, got none"):
        read_mtl(path)
    content = groups()
    content["IMAGE_ATTRIBUTES"]["SUN_ELEVATION"] = "high"
    path.write_text(odl(content))
    with pytest.raises(SceneError, match="expected numbers"):
        read_mtl(path)


# --- real files


def test_real_pre_collection_metadata(shared_data: Path) -> None:
    m = read_mtl(shared_data / "yahtse" / "LC80630182016200LGN00_MTL.txt")
    assert m.product.acquisition == ("LC08", (63, 18), "20160718")
    assert m.scene_id == "LC80630182016200LGN00"
    assert m.time == np.datetime64("2016-07-18T20:37:06.339", "ms")
    assert (m.level, m.tier, m.processed, m.wrs) == ("L1TP", "", "20160718", (63, 18))
    assert (m.sun_azimuth, m.sun_elevation) == (159.61050887, 49.49229894)
    assert m.cloud_cover == float(m.groups["IMAGE_ATTRIBUTES"]["CLOUD_COVER_LAND"])
    assert m.reflectance["B8"] == (2e-5, -0.1)
    assert m.files["BQA"] == "LC80630182016200LGN00_BQA.TIF"
    assert "QA_PIXEL" not in m.files  # its bits are others


def test_real_level_2_metadata_is_the_same_in_both_forms(shared_data: Path) -> None:
    product = "LC08_L2SP_005009_20150710_20200908_02_T2"
    text, js = (
        read_mtl(shared_data / "landsat_c2" / product / f"{product}_MTL.{kind}")
        for kind in ("txt", "json")
    )
    # The Level-1 record further down names the product L1GT and has other coefficients.
    assert text.product.id == product
    assert text.level == "L2SP"
    assert text.reflectance["B5"] == (2.75e-5, -0.2)
    assert "B8" not in text.reflectance
    assert text.time == np.datetime64("2015-07-10T14:34:35.978", "ms")
    for name in ("product", "time", "level", "tier", "wrs", "files", "reflectance", "scene_id"):
        assert getattr(text, name) == getattr(js, name), name


def test_real_overpass_times_are_met_within_three_minutes(
    shared_data: Path, tmp_path: Path
) -> None:
    product = "LC08_L1TP_017051_20151205_20200908_02_T1"
    with tarfile.open(shared_data / "landsat_c2" / f"{product}-cropped.tar.gz") as tar:
        tar.extract(f"{product}_MTL.txt", tmp_path, filter="data")
    level2 = "LC08_L2SP_005009_20150710_20200908_02_T2"
    paths = [
        tmp_path / f"{product}_MTL.txt",
        shared_data / "landsat_c2" / level2 / f"{level2}_MTL.txt",
        shared_data / "yahtse" / "LC80630182016200LGN00_MTL.txt",
        shared_data / "yahtse" / "LC80630182016216LGN00_MTL.txt",
    ]
    for path in paths:
        m = read_mtl(path)
        place = next(g for g in m.groups.values() if "CORNER_UL_LAT_PRODUCT" in g)
        latitude, longitude = (
            np.mean(
                [float(place[f"CORNER_{c}_{axis}_PRODUCT"]) for c in ("UL", "UR", "LL", "LR")]
            )
            for axis in ("LAT", "LON")
        )
        estimate = overpass_time(m.time, float(longitude), float(latitude))
        assert abs(estimate - m.time) < np.timedelta64(3, "m"), path.name
