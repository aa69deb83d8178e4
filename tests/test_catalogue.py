"""The catalogue: what a second scan touches, what a killed process leaves, what is refused."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import box

from hmavel import Grid, Scene
from hmavel.catalogue import Catalogue, Changes, Entry
from hmavel.database import on_shared_disk
from hmavel.errors import CatalogueError, WriteError
from hmavel.footprints import footprints, intersecting
from hmavel.pairing import PairChoice
from hmavel.screening import Decision

GRID = Grid(CRS.from_epsg(32645), Affine(15, 0, 300000, 0, -15, 3200000), (8000, 8000))


def scene(number: int, *, grid: Grid = GRID, **other) -> Scene:
    when = np.datetime64("2014-01-01T04:40:11.519", "ms") + np.timedelta64(16 * number, "D")
    name = f"LC08_L1TP_140041_{number:04d}"
    given = {
        "bands": {"B8": Path(f"/a/{name}/B8.TIF"), "QA_PIXEL": Path(f"/a/{name}/QA.TIF")},
        "sensor": "LC08", "wrs": (140, 41), "level": "L1TP", "tier": "T1",
        "processed": "20200101", "sun_azimuth": 144.5, "sun_elevation": 51.25,
        "reflectance": {"B8": (2e-5, -0.1)},
    }  # fmt: skip
    return Scene(id=name, time=when, path=Path(f"/a/{name}"), grid=grid, **(given | other))


def entry(number: int, facts: str = "1", reason: str = "", **other) -> Entry:
    found = scene(number, **other)
    return Entry(str(found.path), facts, found, reason)


def inventory(*outlines, first=1) -> gpd.GeoDataFrame:
    ids = [f"g{first + k}" for k in range(len(outlines))]
    columns = {"id": ids, "name": "", "area_km2": 12.5, "o1region": "15", "utm_epsg": 32645}
    return gpd.GeoDataFrame(columns, geometry=list(outlines), crs=4326)


#: In the frame of GRID (85.0 to 86.2 E, 27.8 to 28.9 N), and far from it.
HERE, AWAY = box(85.5, 28.2, 85.7, 28.4), box(95.5, 28.2, 95.7, 28.4)


def decision(number: int, glacier: str = "g1", **other) -> Decision:
    given = {"accepted": True, "reason": "", "source": "albedo+qa", "valid": 1.0, "cloud": 0.25}
    return Decision(scene(number).id, glacier, **(given | other))


@pytest.fixture
def catalogue(tmp_path):
    with Catalogue(tmp_path / "c.sqlite") as made:
        yield made


# ---------------------------------------------------------------- what is kept


def test_scenes_come_back_as_they_were(catalogue):
    plain = scene(2, sun_azimuth=float("nan"), wrs=None, reflectance=None, sensor="")
    odd = Grid(CRS.from_wkt(CRS.from_epsg(3413).to_wkt()), Affine(15, 0, 1, 0, -15, 2), (9, 8))
    beside = {"B8": Path("/a/x_B8.TIF"), "B6": Path("/vsicurl?url=https%3A%2F%2Fy%2Fz"),
              "B5": Path("z.TIF")}  # fmt: skip
    scenes = [scene(1), plain, scene(3, grid=odd), scene(4, bands=beside)]
    catalogue.sync([Entry(str(s.path), "1", s) for s in scenes])
    back = catalogue.scenes()
    assert [s.id for s in back] == [s.id for s in scenes]
    assert back[0] == scenes[0]
    assert back[2].grid == odd
    assert back[3].bands == beside
    assert pickle.loads(pickle.dumps(back[3])) == scenes[3]
    assert np.isnan(back[1].sun_azimuth)
    assert replace(back[1], sun_azimuth=0.0) == replace(plain, sun_azimuth=0.0)


def test_second_scan_changes_only_what_is_new(catalogue):
    assert catalogue.sync(map(entry, range(5))) == Changes(5, 0, 0, 0)
    catalogue.sync_glaciers(inventory(HERE))
    catalogue.decide("g1", "options", map(decision, range(5)))
    before = catalogue.path.stat().st_mtime_ns
    assert catalogue.sync(map(entry, range(5))) == Changes(0, 0, 0, 5)
    assert catalogue.path.stat().st_mtime_ns == before
    found = catalogue.sync([*map(entry, range(4)), entry(4, facts="2"), entry(5)])
    assert found == Changes(1, 1, 0, 4)
    kept = [d.scene_id for d in catalogue.decisions("g1", "options")]
    assert kept == [scene(k).id for k in range(4)]  # not of the one that has changed
    assert [s.id for s in catalogue.scenes("g1")] == [scene(k).id for k in range(6)]


def test_what_is_gone_comes_back_with_its_decisions(catalogue):
    catalogue.sync(map(entry, range(3)))
    catalogue.sync_glaciers(inventory(HERE))
    catalogue.decide("g1", "options", map(decision, range(3)))
    assert catalogue.sync([entry(1)]) == Changes(0, 0, 2, 1)
    assert [s.id for s in catalogue.scenes("g1")] == [scene(1).id]
    assert [d.scene_id for d in catalogue.decisions("g1")] == [scene(1).id]
    assert catalogue.counts()["scenes"] == {"used": 1, "gone": 2}
    catalogue.sync(map(entry, range(3)))
    assert len(catalogue.decisions("g1", "options")) == 3


def test_left_out_items_have_their_reason(catalogue):
    catalogue.sync([entry(0), entry(1, reason="superseded by another"),
                    Entry("/a/x", "1", None, "scene x: expected B8, got none")])  # fmt: skip
    assert [s.id for s in catalogue.scenes()] == [scene(0).id]
    assert catalogue.left_out() == [
        ("/a/LC08_L1TP_140041_0001", "superseded by another"),
        ("/a/x", "scene x: expected B8, got none"),
    ]
    # A superseded scene is remembered as one, and of what could not be used the reason.
    assert catalogue.recall("/a/LC08_L1TP_140041_0001", "1") == scene(1)
    assert catalogue.recall("/a/x", "1") == "scene x: expected B8, got none"
    for item, facts in (("/a/x", "2"), ("/a/new", "1"), ("/a/LC08_L1TP_140041_0001", "2")):
        assert catalogue.recall(item, facts) is None
    catalogue.sync([entry(0, reason="superseded by it"), entry(1)])
    assert [s.id for s in catalogue.scenes()] == [scene(1).id]


def test_lent_bands_are_used_and_the_product_stays_itself(catalogue):
    own = scene(1, bands={"B8": Path("/a/1/B8.TIF")}, reflectance=None)

    def complete(level2: str) -> Entry:
        bands = {**own.bands, "B6": Path(f"/{level2}/B6.TIF")}
        lent = replace(own, bands=bands, level_30m="L2SP", reflectance={"B6": (2.75e-5, -0.2)})
        return Entry("/a/1", "1", lent, own=own)

    catalogue.sync([complete("l2")])
    catalogue.sync_glaciers(inventory(HERE))
    catalogue.decide("g1", "a", [decision(1)])
    assert catalogue.scenes() == [complete("l2").scene]
    assert catalogue.recall("/a/1", "1") == own
    assert catalogue.sync([complete("l2")]).same == 1
    assert len(catalogue.decisions("g1")) == 1
    for other in (complete("new"), Entry("/a/1", "1", own), complete("new")):
        assert catalogue.sync([other]).changed == 1
        assert catalogue.scenes() == [other.scene]
        assert catalogue.decisions("g1") == []


def test_names_are_never_sql(catalogue):
    name = "'; DROP TABLE scenes; --"
    catalogue.sync([Entry(name, "x' OR 1=1", scene(1, sensor=name))])
    catalogue.sync_glaciers(inventory(HERE).assign(id=[name]))
    catalogue.decide(name, name, [decision(1, name, reason=name)])
    catalogue.record(name, name, name, name, text=name)
    assert catalogue.scenes(name)[0].sensor == name
    assert catalogue.decisions(name, name)[0].reason == name
    assert catalogue.look_up(name, name)["text"] == name


# ---------------------------------------------------------------- which touch


def test_changed_outlines_are_joined_again_and_others_left(catalogue):
    catalogue.sync(map(entry, range(3)))
    assert catalogue.sync_glaciers(inventory(HERE, AWAY)) == Changes(2, 0, 0, 0)
    catalogue.decide("g1", "options", map(decision, range(3)))
    assert [len(catalogue.scenes(g)) for g in catalogue.glaciers()] == [3, 0]
    assert catalogue.sync_glaciers(inventory(HERE, HERE)) == Changes(0, 1, 0, 1)
    assert [len(catalogue.scenes(g)) for g in catalogue.glaciers()] == [3, 3]
    assert len(catalogue.decisions("g1")) == 3
    assert catalogue.sync_glaciers(inventory(AWAY, first=2)) == Changes(0, 1, 1, 0)
    assert catalogue.glaciers() == ["g2"]


@pytest.mark.parametrize("epsg", [32601, 32645, 32660, 32745])
def test_frames_hold_their_own_pixels_and_no_far_ones(epsg):
    rng = np.random.default_rng(epsg)
    corners = rng.uniform((170_000, 1_000_000), (600_000, 8_000_000), (40, 2))
    crs = CRS.from_epsg(epsg)
    grids = [Grid(crs, Affine(15, 0, x, 0, -15, y), (15000, 15000)) for x, y in corners]
    frames = footprints(grids)
    assert shapely.is_valid(frames).all()
    inside = rng.uniform(60, 225_000 - 60, (40, 2))
    outside = inside.copy()
    outside[:, 0] = rng.choice([-100.0, 225_100.0], 40)
    for offset, expected in ((inside, True), (outside, False)):
        x, y = corners[:, 0] + offset[:, 0], corners[:, 1] - offset[:, 1]
        points = gpd.GeoSeries(gpd.points_from_xy(x, y), crs=epsg).to_crs(4326).to_numpy()
        assert (shapely.intersects(frames, points) == expected).all()
    assert (shapely.bounds(frames)[:, 2] <= 180).all()


def test_join_is_what_testing_every_pair_gives():
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 50, (60, 2))
    frames = shapely.box(*corner.T, *(corner + 3).T)
    outlines = shapely.buffer(shapely.points(rng.uniform(0, 50, (30, 2))), 0.7)
    touch = shapely.intersects(outlines[:, None], frames[None, :])
    assert np.array_equal(intersecting(outlines, frames), np.argwhere(touch))
    assert intersecting(outlines, frames[:0]).shape == (0, 2)


# ---------------------------------------------------------------- decisions, pairs, records


def test_decisions_of_other_options_are_not_returned_and_then_dropped(catalogue):
    catalogue.sync(map(entry, range(3)))
    catalogue.sync_glaciers(inventory(HERE))
    assert catalogue.counts()["glaciers"] == {"new": 1}
    kept = decision(0, accepted=False, reason="cloud 0.40 > 0.30")
    catalogue.decide("g1", "a", [kept, decision(1), decision(2, failed=True)])
    (back, _) = catalogue.decisions("g1", "a")  # the failed one is tried again
    assert repr(back) == repr(kept)  # NaN included
    assert catalogue.decisions("g1", "b") == []
    assert len(catalogue.decisions("g1")) == 2
    catalogue.decide("g1", "b", [decision(2)])
    assert [d.scene_id for d in catalogue.decisions("g1", "b")] == [scene(2).id]
    assert catalogue.counts()["glaciers"] == {"screened": 1}
    with pytest.raises(ValueError, match="expected a glacier of this catalogue"):
        catalogue.decide("g9", "a", [])


def choice(a: int, b: int) -> PairChoice:
    return PairChoice(scene(a), scene(b), 16.0 * (b - a), "chain")


def test_listing_has_decisions_where_there_are_any(catalogue):
    catalogue.sync(map(entry, range(2)))
    catalogue.sync_glaciers(inventory(HERE))
    catalogue.decide("g1", "a", [decision(1, accepted=False, reason="cloud")])
    first, second = catalogue.listing("g1")
    assert (first["scene"], first["accepted"], first["reason"]) == (scene(0).id, None, None)
    assert (second["wrs_path"], second["accepted"], second["reason"]) == (140, 0, "cloud")
    assert second["cloud"] == 0.25
    assert second["shadow"] is None
    assert catalogue.listing("none") == []


def test_pairs_keep_their_state_while_they_are_wanted(catalogue):
    catalogue.sync(map(entry, range(4)))
    catalogue.sync_glaciers(inventory(HERE))
    catalogue.plan_pairs("g1", [choice(1, 2), choice(0, 1), choice(2, 3)])
    done = {"reference": scene(0).id, "secondary": scene(1).id, "state": "used",
            "fingerprint": "f", "good": 12, "bias": float("nan")}  # fmt: skip
    catalogue.mark_pairs("g1", [done])
    first, *others = catalogue.pairs("g1")
    assert first | {"bias": None} == done | {
        "bias": None, "days": 16.0, "chosen_for": "chain", "reason": ""
    }  # fmt: skip
    assert {row["state"] for row in others} == {"planned"}
    catalogue.plan_pairs("g1", [choice(0, 1), choice(0, 3)])
    assert [(p["state"], p["days"]) for p in catalogue.pairs("g1")] == [
        ("used", 16.0), ("planned", 48.0)
    ]  # fmt: skip
    assert len(catalogue.pairs("g1", "planned")) == 1
    assert catalogue.counts()["pairs"] == {"used": 1, "planned": 1}


def test_records_of_any_stage(catalogue):
    assert catalogue.look_up("months", "g1") is None
    catalogue.record("months", "g1", "running")
    catalogue.record("months", "g1", "done", "f1", files=["a.tif"], rmse=float("nan"))
    found = catalogue.look_up("months", "g1")
    assert (found["state"], found["fingerprint"]) == ("done", "f1")
    assert (found["files"], found["rmse"]) == (["a.tif"], None)
    assert catalogue.counts()["months"] == {"done": 1}


def test_several_changes_are_one(catalogue):
    def half() -> None:
        with catalogue.transaction():
            catalogue.sync([entry(1)])
            catalogue.record("a", "b", "c")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert catalogue.counts() == {}


def test_tables_name_ids_and_not_keys(catalogue):
    catalogue.sync([entry(1)])
    catalogue.sync_glaciers(inventory(HERE))
    catalogue.decide("g1", "a", [decision(1)])
    columns, rows = catalogue.table("decisions")
    assert dict(zip(columns, rows[0], strict=True))["scene"] == scene(1).id
    columns, rows = catalogue.table("glacier_summary")
    assert dict(zip(columns, rows[0], strict=True))["accepted"] == 1
    with pytest.raises(ValueError, match="expected one of scenes, glaciers"):
        catalogue.table("sqlite_master")


# ---------------------------------------------------------------- faults


def test_newer_older_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "c.sqlite"
    Catalogue(path).close()
    for version, words in ((99, "version 99, of a newer hmavel"), (0, "of an older hmavel")):
        with sqlite3.connect(path) as base:
            base.execute(f"PRAGMA user_version = {version}")
        base.close()
        before = path.read_bytes()
        with pytest.raises(CatalogueError, match=words):
            Catalogue(path)
        assert path.read_bytes() == before
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE theirs (x)")
    base.close()
    with pytest.raises(CatalogueError, match="another program's database"):
        Catalogue(other)
    text = tmp_path / "text.sqlite"
    text.write_text("not a database at all, but long enough to be read as a header" * 9)
    with pytest.raises(CatalogueError, match="expected a sound database"):
        Catalogue(text)
    with pytest.raises(CatalogueError, match="no such file"):
        Catalogue(tmp_path / "none.sqlite", read_only=True)
    with pytest.raises(WriteError, match="expected a file that can be written"):
        Catalogue(text / "below" / "c.sqlite")


def test_damage_in_the_middle_is_said(tmp_path):
    path = tmp_path / "c.sqlite"
    with Catalogue(path) as made:
        made.sync(map(entry, range(400)))
    content = bytearray(path.read_bytes())
    content[8192:60_000] = bytes(60_000 - 8192)
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match="move it away"), Catalogue(path) as broken:
        broken.scenes()


def test_reader_beside_a_writer(tmp_path):
    with Catalogue(tmp_path / "c.sqlite") as writer:
        writer.sync(map(entry, range(3)))
        with Catalogue(writer.path, read_only=True) as reader, writer.transaction():
            writer.sync(map(entry, range(5)))
            assert len(reader.scenes()) == 3
            with pytest.raises(WriteError, match="readonly"):
                reader.record("a", "b", "c")


def test_network_disks_are_told_from_local_ones(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\n"
        "server:/y /my\\040data cifs r 0 0\n"
        "none /data/fast tmpfs rw 0 0\nscratch /lustre/a lustre rw 0 0\n"
    )
    shared = [p for p in ("/home/c", "/data/c", "/datax/c", "/my data/c", "/data/fast/c",
                          "/lustre/a/c") if on_shared_disk(Path(p), mounts)]  # fmt: skip
    assert shared == ["/data/c", "/my data/c", "/lustre/a/c"]
    assert not on_shared_disk(Path("/data/c"), tmp_path / "none")


_WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_catalogue import *
with Catalogue({path!r}) as catalogue:
    for turn in range(10_000):
        catalogue.sync_glaciers(inventory(HERE, AWAY if turn % 2 else HERE))
        catalogue.sync([entry(k, facts=str(turn + k % 2)) for k in range(60)])
        catalogue.decide("g1", str(turn), [decision(k, reason=str(turn)) for k in range(60)])
        print(flush=True)
"""


def test_killed_while_writing_it_is_whole(tmp_path):
    path = tmp_path / "c.sqlite"
    code = _WRITER.format(tests=str(Path(__file__).parent), path=str(path))
    rng = random.Random(4)
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout.readline() == "\n"  # the first turn is done
            time.sleep(rng.uniform(0.02, 0.3))
            os.kill(writer.pid, signal.SIGKILL)
        with Catalogue(path) as left:
            assert left._base.all("PRAGMA integrity_check") == [("ok",)]
            assert left._base.all("PRAGMA foreign_key_check") == []
            facts = {row[0] for row in left._base.all("SELECT facts FROM scenes")}
            made = {d.reason for g in left.glaciers() for d in left.decisions(g)}
            # Each change is whole: two neighbouring facts, the decisions of one turn.
            assert len(facts) == 2
            assert len(made) <= 1
            left.sync([entry(k, facts="end") for k in range(60)])
            left.sync_glaciers(inventory(HERE))
            assert len(left.scenes("g1")) == 60
