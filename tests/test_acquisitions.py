"""One product for each acquisition: the newest, completed by Level 2, and twins named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from products import product_id, write_band, write_mtl, write_product

from hmavel import archive
from hmavel.acquisitions import _SPECTRAL
from hmavel.classes import SPECTRAL_BANDS
from hmavel.mask import classify
from hmavel.scene_bands import read_b8, reflectance

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7")


def write_level2(root, reflectances, *, qa=None, day="20200105", epsg=32645):
    """Write a Level-2 product folder: SR bands with their own scaling, no Band 8."""
    name = product_id(day, level="L2SP")
    folder = root / name
    folder.mkdir(parents=True)
    write_mtl(folder / f"{name}_MTL.txt", name)
    mtl = folder / f"{name}_MTL.txt"
    lines = "\n".join(
        f"    REFLECTANCE_{kind}_BAND_{n} = {value}"
        for n in range(1, 8)
        for kind, value in (("MULT", 2.75e-5), ("ADD", -0.2))
    )
    group = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
    text = mtl.read_text().replace(
        "END_GROUP = LANDSAT_METADATA_FILE",
        f"  GROUP = {group}\n{lines}\n  END_GROUP = {group}\nEND_GROUP = LANDSAT_METADATA_FILE",
    )
    mtl.write_text(text)
    for band, values in reflectances.items():
        dn = np.rint((values + 0.2) / 2.75e-5).astype(np.uint16)
        write_band(folder / f"{name}_SR_{band}.TIF", dn, 30.0, epsg=epsg)
    if qa is not None:
        write_band(folder / f"{name}_QA_PIXEL.TIF", qa.astype(np.uint16), 30.0, epsg=epsg)
    return folder


@pytest.fixture
def surface():
    rng = np.random.default_rng(8)
    return {band: rng.uniform(0.05, 0.6, (8, 9)) for band in BANDS}


def test_the_bands_that_masks_need_are_those_of_the_classes():
    assert _SPECTRAL == SPECTRAL_BANDS


def test_level_2_completes_a_scene_that_has_band_8_alone(tmp_path, surface):
    qa = np.full((8, 9), 21824)
    alone = write_product(tmp_path / "l1", product_id())
    level2 = write_level2(tmp_path / "l2", surface, qa=qa)
    found = archive.find_scenes(tmp_path)
    (scene,) = found.scenes
    assert (scene.id, scene.path, scene.level_of("B8")) == (alone.name, alone, "L1TP")
    assert scene.level_of("B6") == "L2SP"
    for band in BANDS:
        assert np.abs(reflectance(scene, band)[0] - surface[band]).max() < 2e-5
    plain = archive.find_scenes(tmp_path / "l1").scenes[0]
    assert np.array_equal(read_b8(scene)[0], read_b8(plain)[0])
    assert np.array_equal(reflectance(scene, "B8")[0], reflectance(plain, "B8")[0])
    assert classify(plain).source == "texture"
    assert classify(scene).source == "albedo+qa"
    lent = "B2, B3, B4, B5, B6, B7, QA_PIXEL"
    assert found.rejected == [(level2, f"lends {lent} to {alone.name}")]
    assert not found.rejected[0].fault


def test_level_1_keeps_what_it_has(tmp_path, surface):
    qa = np.full((8, 9), 21824)
    whole = write_product(tmp_path / "l1", product_id(), bands=surface)
    level2 = write_level2(tmp_path / "l2", surface, qa=qa)
    found = archive.find_scenes(tmp_path)
    (scene,) = found.scenes
    assert scene.level_of("B6") == "L1TP"
    assert scene.bands["B6"].parent == whole
    assert scene.bands["QA_PIXEL"].parent == level2
    assert found.rejected[0].reason == f"lends QA_PIXEL to {whole.name}"
    shutil.rmtree(level2)
    level2 = write_level2(tmp_path / "l2", surface)
    found = archive.find_scenes(tmp_path)
    assert found.rejected == [(level2, f"not needed: {whole.name} has its own 30 m bands")]


def test_level_2_alone_or_of_another_zone_is_listed(tmp_path, surface):
    alone = write_level2(tmp_path / "a", surface, day="20200121")
    write_product(tmp_path / "b", product_id())
    other = write_level2(tmp_path / "c", surface, epsg=32646)
    found = archive.find_scenes(tmp_path)
    assert [scene.level_30m for scene in found.scenes] == [""]
    why = dict(found.rejected)
    assert "a L2SP product, which has none; use the L1TP" in why[alone]
    assert "in EPSG:32646, and" in why[other]
    assert all(item.fault for item in found.rejected)


def test_level_2_among_other_products_in_one_folder(tmp_path, surface):
    flat = tmp_path / "flat"
    flat.mkdir()
    for folder in (
        write_product(tmp_path / "w", product_id()),
        write_product(tmp_path / "w", product_id("20200121")),
        write_level2(tmp_path / "w", surface),
    ):
        for file in folder.iterdir():
            shutil.copy(file, flat)
    found = archive.find_scenes(flat)
    assert [scene.level_of("B6") for scene in found.scenes] == ["L2SP", "L1TP"]
    assert [reason.split()[0] for _, reason in found.rejected] == ["lends"]


def test_two_products_of_one_id_and_other_content_are_both_named(tmp_path):
    name = product_id()
    rng = np.random.default_rng(3)
    image = rng.uniform(0.1, 0.6, (201, 203))
    first = write_product(tmp_path / "a", name, b8=image)
    same = write_product(tmp_path / "b", name, b8=image)
    image[100, 90:110] = 0.25
    other = write_product(tmp_path / "c", name, b8=image)
    timed = write_product(tmp_path / "d", name, b8=rng.uniform(0.1, 0.6, (201, 203)),
                          clock="04:41:00Z")  # fmt: skip
    shutil.copy(first / f"{name}_B8.TIF", timed)
    small = write_product(tmp_path / "e", name, b8=image[:150])
    found = archive.find_scenes(tmp_path)
    assert [scene.path for scene in found.scenes] == [first]
    why = {item.path: item for item in found.rejected}
    assert why[same].reason == f"a copy of {first}"
    assert not why[same].fault
    twins = {other: "other bytes in B8", timed: "other metadata", small: "B8 of "}
    for twin, what in twins.items():
        assert f"the id of {first} and other content ({what}" in why[twin].reason
        assert why[twin].fault


def test_newer_processing_goes_before_a_better_place(tmp_path):
    old = write_product(tmp_path / "a", product_id(processed="20190101"))
    new = write_product(tmp_path / "b", product_id(processed="20200823"))
    for tier, level in (("T2", "L1GT"), ("RT", "L1TP")):
        write_product(tmp_path / "c", product_id(tier=tier, level=level))
    found = archive.find_scenes(tmp_path)
    assert [scene.path for scene in found.scenes] == [new]
    assert {reason for _, reason in found.rejected} == {f"superseded by {new.name}"}
    assert old in {path for path, _ in found.rejected}
