"""Walks over folders as they are: full of other things, half downloaded, tied in knots."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from products import product_id, write_mtl, write_product

from hmavel import archive, folders, mtl


def reasons(found):
    return {path.name: reason for path, reason in found.rejected}


def test_a_hundred_thousand_junk_files_cost_one_pass(tmp_path, monkeypatch):
    """Names are looked at once each, however many products lie among them."""
    for day in ("20200105", "20200121", "20200206"):
        for file in write_product(tmp_path / "w", product_id(day)).iterdir():
            shutil.copy(file, tmp_path)
    shutil.rmtree(tmp_path / "w")
    junk = [f"report_{n:06d}.pdf" for n in range(100_000)]

    class Entry:
        def __init__(self, name):
            self.name = name

        def is_file(self):
            return True

    real = os.scandir

    def scandir(path):
        entries = list(real(path))
        return entries + [Entry(name) for name in junk] if path == tmp_path else entries

    looked = []
    parse = mtl.parse_product_id
    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(folders, "parse_product_id", lambda n: looked.append(n) or parse(n))
    found = archive.find_scenes(tmp_path)
    assert len(found.scenes) == 3
    assert found.rejected == []
    assert len(looked) < 1.01 * len(junk)


def test_unfinished_downloads_are_listed_and_not_opened(tmp_path):
    whole = write_product(tmp_path / "a", product_id())
    coming = write_product(tmp_path / "b", product_id("20200121"))
    band8 = coming / f"{coming.name}_B8.TIF"
    band8.with_name(f"{band8.name}.aria2").write_bytes(b"x")
    part = tmp_path / f"{product_id('20200206')}.tar.part"
    part.write_bytes(b"x")
    (tmp_path / "thesis.pdf.part").write_bytes(b"x")
    first = tmp_path / "c" / product_id("20200222")
    first.mkdir(parents=True)
    (first / f"{first.name}_B8.TIF.crdownload").write_bytes(b"x")
    found = archive.find_scenes(tmp_path)
    assert [scene.id for scene in found.scenes] == [whole.name]
    why = reasons(found)
    assert set(why) == {f"{band8.name}.aria2", part.name, f"{first.name}_B8.TIF.crdownload"}
    assert all("a download that is not finished" in reason for reason in why.values())
    assert all(item.fault for item in found.rejected)


def test_links_in_circles_are_listed_and_other_links_followed(tmp_path):
    product = write_product(tmp_path / "store", product_id())
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "back").symlink_to(root, target_is_directory=True)
    (root / "one").symlink_to(root / "two")
    (root / "two").symlink_to(root / "one")
    (root / "real").symlink_to(product, target_is_directory=True)
    (root / f"{product_id('20200121')}_B8.TIF").symlink_to(root / "nothing.TIF")
    (root / "holiday.jpg").symlink_to(root / "nothing.jpg")
    found = archive.find_scenes(root)
    assert [scene.id for scene in found.scenes] == [product.name]
    assert reasons(found) == {
        "back": "not followed: a link to a folder that it lies in",
        "one": "not followed: a link that leads in a circle",
        "two": "not followed: a link that leads in a circle",
        f"{product_id('20200121')}_B8.TIF": "a link to what is not there: mend the link, or "
        "remove it",
    }
    assert [item.fault for item in found.rejected].count(True) == 1


def test_an_mtl_without_its_time_is_listed(tmp_path):
    good = write_product(tmp_path, product_id())
    timeless = write_product(tmp_path, product_id("20200121"))
    file = timeless / f"{timeless.name}_MTL.txt"
    lines = [line for line in file.read_text().splitlines() if "SCENE_CENTER_TIME" not in line]
    file.write_text("\n".join(lines))
    found = archive.find_scenes(tmp_path)
    assert [scene.id for scene in found.scenes] == [good.name]
    assert (
        "expected DATE_ACQUIRED and SCENE_CENTER_TIME, got 2020-01-21 and no time; fetch the "
        "MTL again"
    ) in reasons(found)[timeless.name]


@pytest.mark.parametrize("level", ["L1TP", "L1GT"])
@pytest.mark.parametrize("tier", ["T1", "T2"])
@pytest.mark.parametrize("sensor", ["LC08", "LC09", "LO08", "LO09"])
def test_every_kind_of_collection_2_product(tmp_path, level, tier, sensor):
    name = product_id(level=level, tier=tier, sensor=sensor)
    write_product(tmp_path, name)
    (scene,) = archive.find_scenes(tmp_path).scenes
    assert (scene.id, scene.level, scene.tier, scene.sensor) == (name, level, tier, sensor)


def test_products_known_from_before_are_not_opened_again(tmp_path):
    paths = [write_product(tmp_path, product_id(day)) for day in ("20200105", "20200121")]
    found, _ = archive.open_all([tmp_path])
    known = {found[0].path: found[0]}
    (paths[0] / f"{paths[0].name}_B8.TIF").write_bytes(b"")  # would fail if it were opened
    again, rejected = archive.open_all([tmp_path], opened=known.get)
    assert again == found
    assert rejected == []


def test_metadata_without_a_name_belong_to_the_file_they_name(tmp_path):
    folder = write_product(tmp_path, product_id())
    image = folder / f"{folder.name}_B8.TIF"
    for path in folder.iterdir():
        if path != image:
            path.unlink()
    image.rename(tmp_path / "scene_B8.TIF")
    shutil.copy(tmp_path / "scene_B8.TIF", tmp_path / "other_20200301_B8.TIF")
    write_mtl(tmp_path / "MTL.txt", folder.name)
    text = (tmp_path / "MTL.txt").read_text()
    line = '    FILE_NAME_BAND_8 = "scene_B8.TIF"\n  END_GROUP = PRODUCT_CONTENTS'
    (tmp_path / "MTL.txt").write_text(text.replace("  END_GROUP = PRODUCT_CONTENTS", line))
    folder.rmdir()
    found = archive.find_scenes(tmp_path)
    assert [scene.id for scene in found.scenes] == [folder.name, "other_20200301_B8"]
    assert np.isnan(found.scenes[1].sun_elevation)
