"""All kinds of sources in one job: found together, one product for each acquisition."""

from __future__ import annotations

import numpy as np
import pytest
from landsat_products import B8_GRID, GRID_30M, texture, write_band
from products import product_id, write_product

from hmavel.config import from_dict
from hmavel.dated import open_dated
from hmavel.errors import ConfigError, ReadError
from hmavel.mask import classify
from hmavel.scene_bands import read_b8
from hmavel.sources import Sources, find_all
from hmavel.tables import when


def test_plain_images_with_their_dates_in_a_table(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    arrays = [texture(B8_GRID, seed) for seed in range(3)]
    for number, array in enumerate(arrays):
        write_band(images / f"pan{number}.tif", array, B8_GRID)
    for band in ("B2", "B3", "B4", "B5", "B6", "B7"):
        write_band(images / f"{band}.tif", texture(GRID_30M, 9), GRID_30M)
    (tmp_path / "mine.csv").write_text(
        "\ufefffile;time;wrs;sun_elevation;b2;b3;b4;b5;b6;b7\n"
        "images/pan0.tif;2016-07-18T04:37:06.339Z;140/041\n"
        "images/pan1.tif;2016-08-03T04:37:10+00:00;140/41;35.5;" + ";".join(
            f"images/B{n}.tif" for n in range(2, 8)) + "\n\n"
        "images/pan2.tif;20160819\n"
    )
    scenes, rejected = open_dated(tmp_path / "mine.csv")
    assert rejected == []
    assert [scene.id for scene in scenes] == ["pan0", "pan1", "pan2"]
    assert str(scenes[0].time) == "2016-07-18T04:37:06.339"
    assert str(scenes[2].time.astype("datetime64[D]")) == "2016-08-19"
    assert [scene.wrs for scene in scenes] == [(140, 41), (140, 41), None]
    for scene, array in zip(scenes, arrays, strict=True):
        assert np.array_equal(read_b8(scene)[0], array)
    assert scenes[1].sun_elevation == 35.5
    assert 60 < scenes[0].sun_elevation < 75  # computed
    assert [classify(scene).source for scene in scenes] == ["texture", "albedo", "texture"]


def test_rows_that_cannot_be_used_are_listed(tmp_path):
    write_band(tmp_path / "a.tif", texture(B8_GRID, 1), B8_GRID)
    write_band(tmp_path / "b.tif", texture(GRID_30M, 1), GRID_30M)
    table = tmp_path / "t.csv"
    table.write_text(
        "file,date,wrs,sun_elevation,b6\n"
        "a.tif,2016-07-18,140/041,40\n"
        "a.tif,2016-07-19,140/041,40,lost.tif\n"
        "none.tif,2016-07-18,,\n"
        "a.tif,last summer,,\n"
        ",2016-07-18,,\n"
        "b.tif,2016-07-18,,\n"
        "a.tif,2016-07-20,north,\n"
        "a.tif,2016-07-21,,high\n"
        "a.tif,2016-07-21T20:37:06,,\n"  # local time, or of Alaska
    )
    scenes, rejected = open_dated(table)
    assert len(scenes) == 1
    why = sorted(reason.partition("expected ")[2].partition(";")[0] for _, reason in rejected)
    assert why == sorted([
        "Band 8 with pixels of 15 m, got 30 m",
        "a number, got 'high'",
        "a path, got none",
        "a time in UTC at which the sun was up, got 2016-07-21T20:37:06.000, with the sun at "
        "-31 degrees",
        "a path/row like 140/041, got 'north'",
        "a raster file, got no such file",
        "the file of a band, got no such file or directory",
        "a time like 2016-07-18T20:37:06 or a day, got 'last summer'",
    ])  # fmt: skip
    (tmp_path / "wrong.csv").write_text("path,when\n")
    with pytest.raises(ReadError, match="expected a column file or b8, got path, when"):
        open_dated(tmp_path / "wrong.csv")
    with pytest.raises(ReadError, match="expected a CSV file, got No such file"):
        open_dated(tmp_path / "gone.csv")


def test_times_in_the_forms_that_tables_have():
    second = np.datetime64("2016-07-18T20:37:06", "ms")
    assert when("2016-07-18T20:37:06") == (second, None)
    assert when("2016-07-18 22:37:06+02:00") == (second, None)
    assert when(str(int(second.astype(np.int64)))) == (second, None)
    assert when("2016-07-18") == when("20160718") == (None, np.datetime64("2016-07-18", "D"))


def test_sources_are_settled_together(tmp_path):
    old, other = product_id(processed="20190101"), product_id("20200121")
    write_product(tmp_path / "archive", old)
    write_product(tmp_path / "archive", other)
    exports = tmp_path / "exports"
    exports.mkdir()
    write_band(exports / "LC08_140041_20200105.tif", texture(B8_GRID, 1), B8_GRID)
    write_band(exports / "LC08_140041_20200206.tif", texture(B8_GRID, 1), B8_GRID)
    table = tmp_path / "t.csv"
    write_band(tmp_path / "pan.tif", texture(B8_GRID, 2), B8_GRID)
    table.write_text("file,date,sensor,wrs\npan.tif,2020-02-22,LC08,140/041\n")
    config = from_dict({
        "input": {"archive": [str(tmp_path / "archive")]},
        "scenes": {"earth_engine": [str(exports)], "csv": [str(table)]},
    })  # fmt: skip
    found = find_all(config.sources(), work=tmp_path / "work")
    assert [scene.id for scene in found.scenes] == [old, other, "LC08_140041_20200206", "pan"]
    assert [item.reason for item in found.rejected] == [f"superseded by {old}"]


def test_a_job_needs_a_source(tmp_path):
    with pytest.raises(ConfigError, match=r"input\.archive, or one in \[scenes\], got none"):
        from_dict({"input": {"archive": []}})
    config = from_dict({"input": {"archive": []}, "scenes": {"csv": ["a.csv"]}}, base=tmp_path)
    assert config.sources() == Sources(csv=(tmp_path / "a.csv",))
