"""Scans of an archive into the catalogue: the second opens only what has changed."""

from __future__ import annotations

import os
import shutil

import pytest
from products import product_id, write_product

from hmavel import archive
from hmavel.archive import find_scenes
from hmavel.catalogue import Catalogue, Changes
from hmavel.scanning import DiskFacts, scan

DAYS = ("20200105", "20200121", "20200206")


@pytest.fixture
def opened(monkeypatch):
    """Names of the products that were opened, in order."""
    names = []
    really = archive._open

    def count(candidate):
        names.append(candidate.path.name)
        return really(candidate)

    monkeypatch.setattr(archive, "_open", count)
    return names


@pytest.fixture
def products(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for day in DAYS:
        write_product(folder, name=product_id(day))
    return folder


def test_second_scan_opens_only_what_has_changed(products, opened, tmp_path):
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        assert scan(catalogue, [products]) == Changes(3, 0, 0, 0)
        assert catalogue.scenes() == find_scenes(products).scenes
        opened.clear()
        assert scan(catalogue, [products]) == Changes(0, 0, 0, 3)
        assert opened == []
        assert catalogue.scenes() == find_scenes(products).scenes
        opened.clear()
        (mtl,) = (products / product_id(DAYS[1])).glob("*_MTL.txt")
        os.utime(mtl, (1, 1))
        write_product(products, name=product_id("20200222"))
        shutil.rmtree(products / product_id(DAYS[0]))
        assert scan(catalogue, [products]) == Changes(1, 1, 1, 1)
        assert opened == [product_id(DAYS[1]), product_id("20200222")]


def test_what_is_no_usable_product_is_not_opened_again(products, opened, tmp_path):
    """Until one of its files changes, be it only in who may read it."""
    odd = products / product_id(DAYS[1])
    (mtl,) = odd.glob("*_MTL.txt")
    text = mtl.read_text(encoding="utf-8")
    mtl.write_text(text.replace("SCENE_CENTER_TIME", "NO_TIME"), encoding="utf-8")
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        scan(catalogue, [products])
        before = catalogue.left_out()
        assert "SCENE_CENTER_TIME" in dict(before)[str(odd)]
        opened.clear()
        assert scan(catalogue, [products]).same == 3
        assert opened == []
        assert catalogue.left_out() == before
        mtl.chmod(0o600)
        assert scan(catalogue, [products]).changed == 1
        assert opened == [odd.name]
        mtl.write_text(text, encoding="utf-8")
        scan(catalogue, [products])
        assert len(catalogue.scenes()) == 3


def test_what_cannot_be_read_is_listed_and_tried_again(products, opened, tmp_path):
    broken = products / product_id(DAYS[1])
    (band,) = broken.glob("*_B8.TIF")
    whole = band.read_bytes()
    band.write_bytes(whole[: len(whole) // 2])
    (products / "loop").symlink_to(products)
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        scan(catalogue, [products])
        left_out = dict(catalogue.left_out())
        assert set(left_out) == {str(broken), str(products / "loop")}
        assert "fetch it again" in left_out[str(broken)]
        opened.clear()
        assert scan(catalogue, [products]).same == 4
        assert opened == [broken.name]
        band.write_bytes(whole)
        assert scan(catalogue, [products]).changed == 1
        assert len(catalogue.scenes()) == 3


def test_a_newer_processing_takes_the_place_of_the_older(products, opened, tmp_path):
    newer = product_id(DAYS[1], "20220101")
    with Catalogue(tmp_path / "c.sqlite") as catalogue:
        scan(catalogue, [products])
        opened.clear()
        write_product(products, name=newer)
        assert scan(catalogue, [products]) == Changes(1, 0, 0, 3)
        assert opened == [newer]
        assert [s.id for s in catalogue.scenes()] == [
            product_id(DAYS[0]), newer, product_id(DAYS[2])
        ]  # fmt: skip
        ((item, reason),) = catalogue.left_out()
        assert item.endswith(product_id(DAYS[1]))
        assert reason == f"superseded by {newer}"
        shutil.rmtree(products / newer)
        opened.clear()
        scan(catalogue, [products])
        assert opened == []
        assert [s.id for s in catalogue.scenes()] == [product_id(day) for day in DAYS]


def test_facts_of_files_side_by_side_are_those_of_their_product(products):
    flat = products.parent / "flat"
    flat.mkdir()
    for file in products.rglob("*.*"):
        if file.is_file():
            shutil.copy2(file, flat)
    band8 = sorted(flat.glob("*_B8.TIF"))
    assert len(band8) == 3
    before = [DiskFacts()(file) for file in band8]
    assert len(set(before)) == 3
    (mtl,) = flat.glob(f"{product_id(DAYS[1])}_MTL.txt")
    os.utime(mtl, (1, 1))
    after = [DiskFacts()(file) for file in band8]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert DiskFacts()(products / "none") == DiskFacts()(products / "none")
