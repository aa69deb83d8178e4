"""What screening saw: the classes that matching would tell itself; nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from products import write_product
from small_run import changed, one_glacier

from hmavel import mask, planning, seen
from hmavel.classes import Thresholds
from hmavel.glacier_pairs import open_stack
from hmavel.landsat import open_scene
from hmavel.lattice import around_both
from hmavel.screening import Limits, Place, screen_together

NAMES = ("B2", "B3", "B4", "B5", "B6", "B7")
#: Reflectances of snow, cloud, ice, rock and a lake, Bands 2-7; QA_PIXEL of clear ground,
#: cloud, shadow, cirrus, fill and water.
SPECTRA = np.array([
    (0.97, 0.97, 0.95, 0.84, 0.04, 0.05), (0.94, 0.94, 0.92, 0.84, 0.35, 0.32),
    (0.52, 0.50, 0.46, 0.33, 0.04, 0.03), (0.14, 0.15, 0.17, 0.21, 0.25, 0.21),
    (0.14, 0.14, 0.09, 0.04, 0.01, 0.01),
])  # fmt: skip
QA = (21824, 22280, 23888, 55052, 1, 21952)


def a_scene(folder, route: str, seed: int):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, len(SPECTRA), (15, 16))
    bands = {n: np.kron(SPECTRA[index, k], np.ones((4, 4))) for k, n in enumerate(NAMES)}
    bands["B4"][5:9, 30:] = np.nan  # invalid, and QA's cloud in places
    # Clear for the most part: else the widened cloud is everywhere, and so the same.
    codes = rng.choice(QA, (20, 22), p=(0.93, 0.03, 0.02, 0.004, 0.006, 0.01))
    qa = np.kron(codes, np.ones((3, 3), int))[: 4 * 15, : 4 * 16]
    options = {"albedo+qa": {"bands": bands, "qa": qa}, "albedo": {"bands": bands},
               "qa": {"qa": qa}, "texture": {}}  # fmt: skip
    scene = open_scene(write_product(folder, **options[route]))
    return replace(scene, bands={k: p for k, p in scene.bands.items() if p.is_file()})


def same(one, other) -> None:
    assert one.grid == other.grid
    for name, value in asdict(other).items():
        if name != "grid":
            assert np.array_equal(getattr(one, name), value), name


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("route", ["albedo+qa", "albedo", "qa", "texture"])
def test_told_in_one_as_told_one_by_one(tmp_path, route, seed):
    scene, t = a_scene(tmp_path, route, seed), Thresholds(cloud_buffer_m=75)
    whole = mask.classify(scene).grid
    small, other = whole.crop(9, 12, 20, 16), whole.crop(14, 6, 23, 40)
    narrow, wide = mask.classify_twice(scene, around_both(small, other), t, 30)
    assert wide.source == route
    alone = mask.classify(scene, small, replace(t, cloud_buffer_m=30))
    same(mask.part_of(narrow, small), alone)
    same(mask.part_of(wide, other), mask.classify(scene, other, t))
    if route.startswith("albedo"):
        assert narrow.cloud.sum() < wide.cloud.sum() < 0.9 * wide.cloud.size
    with pytest.raises(ValueError, match="within"):
        mask.part_of(narrow, whole)
    with pytest.raises(ValueError, match="narrow_m"):
        mask.classify_twice(scene, small, t, 76)


@pytest.fixture(scope="module")
def planned(archive, tmp_path_factory):
    """Return settings, a glacier's plan, and the folder of what screening saw of it."""
    folder = tmp_path_factory.mktemp("planned")
    given = changed(one_glacier(archive.path, folder), output={"folder": folder / "out"})
    plan = planning.plan(given, jobs=1, seen=folder / seen.FOLDER)
    return given, plan.glaciers[0], folder / seen.FOLDER / plan.glaciers[0].site.id


def cuts(given, glacier, folder) -> list:
    with open_stack(glacier.site, given, budget_bytes=1e9, seen=folder) as stack:
        return [stack.get(scene) for scene in glacier.scenes]


def test_scenes_are_cut_the_same_and_their_bands_read_once(planned, monkeypatch):
    given, glacier, folder = planned
    told = cuts(given, glacier, None)
    assert len(told) >= 3
    assert any(cut.hidden.any() for cut in told)
    monkeypatch.setattr("hmavel.stack.classify_in", lambda *_: pytest.fail("told again"))
    kept = cuts(given, glacier, folder)
    assert [cut.sha256 for cut in kept] == [cut.sha256 for cut in told]
    assert [cut.source for cut in kept] == [cut.source for cut in told]


def test_other_options_or_files_are_not_those_that_were_seen(planned):
    given, glacier, folder = planned
    scene, image = glacier.scenes[0], glacier.site.image
    t = given.mask.thresholds()
    known = seen.read_seen(folder)
    key = seen.key_of(scene, image, t)
    assert key in known
    for other in (
        seen.key_of(scene, image, replace(t, cloud_buffer_m=46)),
        seen.key_of(scene, image.crop(0, 0, 40, 40), t),
        seen.key_of(replace(scene, version="another"), image, t),
    ):
        assert other not in known


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text", "no JSON", "crafted"])
def test_what_is_damaged_is_told_again(planned, tmp_path, damage):
    given, glacier, folder = planned
    told = cuts(given, glacier, None)
    spoilt = tmp_path / "seen"
    spoilt.mkdir()
    for path in folder.glob("*.json"):
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[len(content) // 2] ^= 1
        elif damage == "cut":
            del content[-100:]
        elif damage == "empty":
            content.clear()
        elif damage == "text":
            content = bytearray(b"\xff\xfe no text")
        elif damage == "no JSON":
            content = bytearray(f"{seen._sum('{')}\n{{".encode())
        else:  # with the right checksum, but no masks: a shape beyond all memory among them
            entries = json.loads(bytes(content).partition(b"\n")[2])
            wrong = [{"shape": [10**6, 10**7]}, {"unusable": "!"}, {"clear": 3}, {"shape": 5},
                     {"transform": [1.0]}, {"shape": [1, 1]}]  # fmt: skip
            for number, (key, entry) in enumerate(entries.items()):
                entries[key] = entry | wrong[number % len(wrong)]
            text = json.dumps(entries)
            content = bytearray(f"{seen._sum(text)}\n{text}".encode())
        (spoilt / path.name).write_bytes(content)
    kept = cuts(given, glacier, spoilt)
    assert [cut.sha256 for cut in kept] == [cut.sha256 for cut in told]


def test_a_disk_that_takes_nothing_costs_only_time(planned, tmp_path, caplog):
    _, glacier, folder = planned
    entry = next(iter(seen.read_seen(folder).values()))
    what = seen.unpacked(entry, glacier.scenes[0].grid.crs)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    seen.write_seen(in_the_way, {"key": what})
    assert "told again" in caplog.text
    seen.write_seen(tmp_path / "nothing", {})
    assert not (tmp_path / "nothing").exists()


def test_nothing_is_left_after_a_run(finished):
    given, _ = finished
    assert not (given.output.folder / seen.FOLDER).exists()


def test_without_an_image_nothing_is_seen(planned):
    _, glacier, _ = planned
    row = type("Row", (), {"id": "x", "geometry": glacier.site.outline})()
    place = Place(row, Limits())
    made = [screen_together(s, [place], Limits(), Thresholds()) for s in glacier.scenes]
    assert any(decision.accepted for (decision,) in made)
    assert place.seen == {}
