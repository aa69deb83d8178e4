"""Scenes as users keep them on disk: found once each, and the rest listed with its reason."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from products import product_id, write_band, write_product

from hmavel import archive
from hmavel.errors import ReadError, WriteError


def names(catalogue):
    return [scene.id for scene in catalogue.scenes]


def reasons(catalogue):
    return {path.name: reason for path, reason in catalogue.rejected}


def test_products_anywhere_in_a_tree_sorted_by_time(tmp_path):
    later, earlier, other = (
        product_id("20200121"),
        product_id("20200105"),
        product_id("20200105", wrs=(139, 41)),
    )
    write_product(tmp_path / "b" / "deep" / "er", later)
    write_product(tmp_path / "z", earlier)
    write_product(tmp_path, other)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "z" / "dem.tif").write_bytes(b"II*\0")
    found = archive.find_scenes(tmp_path)
    assert names(found) == [other, earlier, later]  # one time: the lower path first
    assert found.rejected == []
    assert found.scenes[1].wrs == (140, 41)
    assert str(found.scenes[1].time) == "2020-01-05T04:40:11.500"


def test_roots_may_be_products_band_files_and_lists(tmp_path):
    one = write_product(tmp_path / "a", product_id("20200105"))
    two = write_product(tmp_path / "b", product_id("20200121"))
    band8 = two / f"{two.name}_B8.TIF"
    assert names(archive.find_scenes([one, band8])) == [one.name, two.name]
    listing = tmp_path / "mine.txt"
    listing.write_text(f"# scenes\na/{one.name}\n\nb\nnot/there\n")
    found = archive.find_scenes(listing)
    assert names(found) == [one.name, two.name]
    assert reasons(found) == {"there": "listed, but no such file or folder"}
    with pytest.raises(ReadError, match="no such path"):
        archive.find_scenes(tmp_path / "none")


def test_newest_processing_wins_and_copies_are_listed(tmp_path):
    old = product_id(processed="20200110", tier="RT")
    new = product_id(processed="20200823")
    write_product(tmp_path / "a", old)
    write_product(tmp_path / "b", new)
    write_product(tmp_path / "c", new)
    write_product(tmp_path / "d", product_id(sensor="LC09"))
    found = archive.find_scenes(tmp_path)
    assert names(found) == [new, product_id(sensor="LC09")]
    assert found.scenes[0].path == tmp_path / "b" / new
    assert dict(found.rejected) == {
        tmp_path / "a" / old: f"superseded by {new}",
        tmp_path / "c" / new: f"a copy of {tmp_path / 'b' / new}",
    }


def test_same_answer_whatever_the_order(tmp_path):
    for day in ("20200121", "20200105", "20200206"):
        write_product(tmp_path / day, product_id(day))
        write_product(tmp_path / day / "copy", product_id(day))
    folders = sorted(tmp_path.iterdir())
    assert archive.find_scenes(folders) == archive.find_scenes(folders[::-1])
    assert archive.find_scenes(folders) == archive.find_scenes(tmp_path)


def test_every_broken_product_is_listed_and_the_rest_found(tmp_path):
    good = write_product(tmp_path, product_id("20200105"))
    no_b8 = write_product(tmp_path, product_id("20200121"))
    (no_b8 / f"{no_b8.name}_B8.TIF").unlink()
    empty = tmp_path / product_id("20200206")
    empty.mkdir()
    cut = write_product(tmp_path, product_id("20200222"))
    band8 = cut / f"{cut.name}_B8.TIF"
    band8.write_bytes(band8.read_bytes()[:60])
    wrong = write_product(tmp_path, product_id("20200309"))
    shutil.copy(
        good / f"{good.name}_MTL.txt", wrong / f"{wrong.name}_MTL.txt"
    )
    torn = write_product(tmp_path, product_id("20200325"))
    mtl = torn / f"{torn.name}_MTL.txt"
    mtl.write_text(mtl.read_text()[:200])
    packed = tmp_path / f"{product_id('20200426')}.tar"
    packed.write_bytes(b"")
    found = archive.find_scenes(tmp_path)
    assert names(found) == [good.name]
    why = reasons(found)
    assert set(why) == {
        p.name for p in (no_b8, empty, cut, wrong, torn, packed)
    }
    assert "Band 8" in why[no_b8.name]
    assert "empty" in why[empty.name]
    assert f"{cut.name}_B8.TIF" in why[cut.name]
    assert good.name in why[wrong.name]
    assert "a complete MTL file" in why[torn.name]
    assert "expected a complete tar, got an empty file" in why[packed.name]


def test_many_products_side_by_side_in_one_folder(tmp_path):
    one = write_product(tmp_path / "w", product_id("20200105"))
    two = write_product(tmp_path / "w", product_id("20200121"))
    lone = write_product(tmp_path / "w", product_id("20200206"))
    flat = tmp_path / "flat"
    flat.mkdir()
    for folder in (one, two):
        for file in folder.iterdir():
            shutil.copy(file, flat)
    shutil.copy(lone / f"{lone.name}_MTL.txt", flat)
    found = archive.find_scenes(flat)
    assert names(found) == [one.name, two.name]
    assert found.scenes[0].sun_elevation == 50.0  # its own MTL was found beside it
    assert reasons(found) == {
        f"{lone.name}_MTL.txt": "metadata of a product without its Band 8 beside it"
    }


def test_symlink_loop_and_junk(tmp_path):
    folder = write_product(tmp_path / "a" / "b", product_id())
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    for n in range(300):
        (tmp_path / f"junk{n}.tif").write_bytes(b"")
    found = archive.find_scenes(tmp_path)
    assert names(found) == [folder.name]
    assert reasons(found) == {
        "up": "not followed: a link to a folder that it lies in",
        "self": "not followed: a link that leads in a circle",
    }
    assert not any(item.fault for item in found.rejected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_folder_without_permission_is_listed(tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0)
    try:
        found = archive.find_scenes(tmp_path)
    finally:
        shut.chmod(0o700)
    assert "cannot be listed" in reasons(found)["shut"]


def test_empty_folder_finds_nothing(tmp_path):
    assert archive.find_scenes(tmp_path) == ([], [])


def test_real_scenes(shared_data):
    found = archive.find_scenes(shared_data / "yahtse")
    assert names(found) == ["LC80630182016200LGN00", "LC80630182016216LGN00"]
    (a, b), why = found.scenes, reasons(archive.find_scenes(shared_data / "landsat_c2"))
    assert round(float((b.time - a.time) / np.timedelta64(1, 'D')), 3) == 16.0
    assert a.wrs == (63, 18)
    l2 = "LC08_L2SP_005009_20150710_20200908_02_T2"
    assert "which has none" in why[l2]
    # A crop in a tar: its MTL and names are read there, and its TIFFs lie nowhere on Earth.
    crop = why["LC08_L1TP_017051_20151205_20200908_02_T1-cropped.tar.gz"]
    assert "LC08_L1TP_017051_20151205_20200908_02_T1_B8.TIF: expected a geo" in crop


# ---------------------------------------------------------------- tables


def test_scene_table_has_a_row_for_everything(tmp_path):
    write_product(tmp_path / "a", product_id())
    write_product(tmp_path / "b", product_id(processed="20200110"))
    path = tmp_path / "scenes.csv"
    archive.write_csv(archive.scenes_table(archive.find_scenes(tmp_path)), path)
    table = pd.read_csv(path, dtype={"processed": str})
    assert list(table["used"]) == [True, False]
    assert list(table["processed"]) == ["20200823", "20200110"]
    assert table["time"][0] == "2020-01-05T04:40:11.500"
    assert table["reason"][1] == f"superseded by {product_id()}"
    assert list(table["wrs_path"]) == [140, 140]


def test_tables_of_nothing_have_their_columns(tmp_path):
    empty = archive.scenes_table(archive.Found([], []))
    assert "reason" in empty
    assert not len(empty)
    archive.write_csv(archive.pairs_table([]), tmp_path / "pairs.csv")
    assert "baseline_days" in pd.read_csv(tmp_path / "pairs.csv")


def test_table_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"scenes\.csv"):
        archive.write_csv(pd.DataFrame(), tmp_path / "file" / "scenes.csv")


def test_crop_beside_its_whole_band_is_not_a_second_scene(tmp_path):
    folder = write_product(tmp_path, product_id())
    write_band(folder / f"{folder.name}_B8_crop.TIF", np.full((5, 5), 9000, np.uint16), 15.0)
    found = archive.find_scenes(tmp_path)
    assert names(found) == [folder.name]
