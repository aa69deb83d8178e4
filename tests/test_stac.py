"""STAC as users meet it: an API on a server, catalogues on disk, and what goes wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import date

import numpy as np
import pystac
import pytest
from products import product_id, write_product
from stac_items import item_of
from stac_server import Server, served

from hmavel import archive
from hmavel.errors import ConfigError
from hmavel.landsat import open_scene
from hmavel.mask import classify
from hmavel.scene_bands import read_b8, read_qa, reflectance
from hmavel.sources import Sources, find_all
from hmavel.stac import Search, open_stac
from hmavel.stac_item import ItemOptions, item_scene
from hmavel.vsi import is_remote, shown

DAYS = ("20200105", "20200121", "20200206", "20200222", "20200309")
QUICK = ItemOptions(retries=3, delay_s=0.01)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    rng = np.random.default_rng(12)
    for day in DAYS:
        bands = {f"B{n}": rng.uniform(0.1, 0.6, (40, 45)) for n in range(2, 8)}
        qa = np.full((40, 45), 21824)
        b8 = rng.uniform(0.1, 0.6, (79, 89))
        write_product(folder, product_id(day), bands=bands, qa=qa, b8=b8)
    return folder


@pytest.fixture(scope="module")
def items(root):
    return [item_of(root / product_id(day), root) for day in DAYS]


@pytest.fixture
def server(root, items):
    with Server(root, items, page=2) as running:
        yield running


def local(root):
    return archive.find_scenes(root).scenes


def ids(answer):
    return [scene.id for scene in answer[0]]


# ---------------------------------------------------------------- an API


def test_a_search_page_by_page_opens_one_file_to_check(server, root):
    scenes, rejected = open_stac(server.url, Search(), QUICK)
    assert rejected == []
    assert [scene.id for scene in scenes] == [product_id(day) for day in DAYS]
    assert server.asked["/search"] == 3  # two a page
    opened = {path for _, path, _ in server.requests if path.startswith("/data")}
    assert opened == {f"/data/{product_id(DAYS[0])}/{product_id(DAYS[0])}_B8.TIF"}
    for scene, there in zip(scenes, local(root), strict=True):
        assert is_remote(scene.bands["B8"])
        assert shown(scene.path) == f"{server.url}/data/{there.id}/{there.id}_B8.TIF"
        assert (scene.time, scene.grid, scene.wrs) == (there.time, there.grid, there.wrs)
        assert (scene.level, scene.tier, scene.sensor) == ("L1TP", "T1", "LC08")
        assert scene.sun_elevation == there.sun_elevation
        assert set(scene.bands) == set(there.bands)


def test_remote_bands_hold_the_numbers_of_the_files(server, root):
    scenes, _ = open_stac(server.url, Search(), QUICK)
    scene, there = scenes[1], local(root)[1]
    window = scene.grid.crop(10, 20, 30, 40)
    assert np.array_equal(read_b8(scene, window)[0], read_b8(there, window)[0])
    assert np.array_equal(reflectance(scene, "B6")[0], reflectance(there, "B6")[0])
    assert np.array_equal(read_qa(scene)[0], read_qa(there)[0])
    a, b = classify(scene), classify(there)
    assert (a.source, a.grid) == (b.source, b.grid)
    assert np.array_equal(a.cloud, b.cloud)


def test_place_time_collection_and_cloud_are_asked_for(server, items):
    west, south, east, north = items[0]["bbox"]
    beside = (east + 1, south, east + 2, north)
    some = Search(first=date(2020, 1, 20), last=date(2020, 2, 10))
    assert ids(open_stac(server.url, some, QUICK)) == [product_id(day) for day in DAYS[1:3]]
    assert open_stac(server.url, Search(area=beside), QUICK) == ([], [])
    assert len(ids(open_stac(server.url, Search(area=(west, south, east, north)), QUICK))) == 5
    other = Search(collections=("sentinel-2",))
    assert open_stac(server.url, other, QUICK) == ([], [])
    scenes, rejected = open_stac(server.url, Search(max_cloud=10), QUICK)
    assert scenes == []
    assert {item.reason for item in rejected} == {"not asked for: cloud cover of 12.5 % > 10 %"}
    assert not any(item.fault for item in rejected)
    server.asked.clear()
    assert len(ids(open_stac(f"{server.url}/collections/landsat-c2l1", Search(), QUICK))) == 5
    assert server.asked["/search"] == 3


def test_an_item_without_projection_has_its_header_read(root):
    bare = [item_of(root / product_id(day), root, projection="none") for day in DAYS[:2]]
    coarse = item_of(root / product_id(DAYS[2]), root, projection="item")
    with Server(root, [*bare, coarse]) as server:
        server.faults[f"/data/{product_id(DAYS[1])}/{product_id(DAYS[1])}_B8.TIF"] = [404] * 99
        scenes, rejected = open_stac(server.url, Search(), QUICK)
        sent = sum(server.sent[path] for path in server.sent if path.startswith("/data"))
    assert [scene.id for scene in scenes] == [product_id(DAYS[0]), product_id(DAYS[2])]
    assert [scene.grid for scene in scenes] == [local(root)[0].grid] * 2  # not the 30 m grid
    assert sent < 40_000  # two headers of 16 KB
    (item,) = rejected
    assert "404" in item.reason
    assert "tried 4 times" in item.reason


def test_items_that_are_half_a_pixel_off_are_found_out(root, items):
    wrong = json.loads(json.dumps(items))
    for item in wrong:
        for asset in item["assets"].values():
            if transform := asset.get("proj:transform"):
                transform[2] += transform[0] / 2  # the centre, taken for the corner
                transform[5] += transform[4] / 2
    with Server(root, wrong) as server:
        scenes, rejected = open_stac(server.url, Search(), QUICK)
        assert rejected == []
        assert [scene.grid for scene in scenes] == [scene.grid for scene in local(root)]


@pytest.mark.parametrize("fault", [404, 500, 503, "cut"])
def test_a_server_that_recovers_is_asked_again(server, fault):
    server.faults["/"] = [fault, fault]
    server.faults["/search"] = [None, fault, fault]
    scenes, rejected = open_stac(server.url, Search(), QUICK)
    assert len(scenes) == 5
    assert rejected == []


def test_a_server_that_stops_in_the_middle_is_recorded_and_its_pages_kept(server):
    server.faults["/search"] = [None, *[500] * 99]
    scenes, rejected = open_stac(server.url, Search(), QUICK)
    assert ids((scenes,)) == [product_id(day) for day in DAYS[:2]]
    (item,) = rejected
    assert shown(item.path) == server.url
    assert "after 2 scenes; check the address and the network" in item.reason
    assert item.fault


def test_no_server_there_and_something_else_there(tmp_path):
    with Server(tmp_path) as gone:
        url = gone.url
    scenes, (item,) = open_stac(url, Search(), replace(QUICK, retries=1))
    assert scenes == []
    assert "expected a STAC catalogue, API, collection or item" in item.reason
    (tmp_path / "page.json").write_text('{"title": "welcome"}')
    (tmp_path / "page.html").write_text("<html>")
    for name in ("page.json", "page.html", "none.json"):
        scenes, (item,) = open_stac(str(tmp_path / name), Search(), QUICK)
        assert scenes == []
        assert "expected a STAC catalogue" in item.reason


# ---------------------------------------------------------------- catalogues on disk


def write_catalogue(root, items, *, folder="years"):
    """Write a static catalogue with relative addresses: root -> collection -> items."""
    (root / folder).mkdir(exist_ok=True)
    links = []
    for item in items:
        item = json.loads(json.dumps(item))
        for asset in item["assets"].values():
            asset["href"] = f"../{asset['href']}"
        (root / folder / f"{item['id']}.json").write_text(json.dumps(item))
        links.append({"rel": "item", "href": f"./{item['id']}.json"})
    collection = {
        "type": "Collection", "stac_version": "1.0.0", "id": "landsat-c2l1", "license": "x",
        "description": "x", "links": [*links, {"rel": "root", "href": "../catalog.json"}],
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]},
                   "temporal": {"interval": [[None, None]]}},
    }  # fmt: skip
    (root / folder / "collection.json").write_text(json.dumps(collection))
    catalogue = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "mine", "description": "x",
        "links": [{"rel": "child", "href": f"./{folder}/collection.json"},
                  {"rel": "child", "href": "./catalog.json"}],
    }  # fmt: skip
    (root / "catalog.json").write_text(json.dumps(catalogue))
    return root / "catalog.json"


@pytest.fixture
def disk(tmp_path, root, items):
    for folder in sorted(root.glob("LC08*")):
        (tmp_path / folder.name).symlink_to(folder, target_is_directory=True)
    return write_catalogue(tmp_path, items)


def test_a_catalogue_on_disk_is_walked(disk, root):
    scenes, rejected = open_stac(str(disk), Search(), QUICK)
    assert rejected == []
    by_id = {scene.id: scene for scene in scenes}
    assert sorted(by_id) == [product_id(day) for day in DAYS]
    for there in local(root):
        scene = by_id[there.id]
        assert not is_remote(scene.bands["B8"])
        assert (scene.time, scene.grid) == (there.time, there.grid)
        assert np.array_equal(read_b8(scene)[0], read_b8(there)[0])
    some = Search(first=date(2020, 2, 1), last=date(2020, 2, 10), area=(80, 20, 95, 35))
    assert ids(open_stac(str(disk), some, QUICK)) == [product_id(DAYS[2])]
    one = disk.parent / "years" / f"{product_id(DAYS[3])}.json"
    assert ids(open_stac(str(one), Search(), QUICK)) == [product_id(DAYS[3])]


def test_the_same_catalogue_on_a_plain_web_server(disk):
    with Server(disk.parent) as server:
        scenes, rejected = open_stac(f"{server.url}/data/catalog.json", Search(), QUICK)
    assert rejected == []
    assert len(scenes) == 5
    assert all(is_remote(scene.bands["B8"]) for scene in scenes)


def test_broken_branches_and_items_are_listed_and_the_rest_used(disk):
    years = disk.parent / "years"
    names = [years / f"{product_id(day)}.json" for day in DAYS]
    names[0].unlink()
    names[1].write_text(names[1].read_text()[:300])
    content = json.loads(names[2].read_text())
    del content["properties"]
    names[2].write_text(json.dumps(content))
    content = json.loads(names[3].read_text())
    content["assets"]["pan"]["href"] = "../gone_B8.TIF"
    names[3].write_text(json.dumps(content))
    scenes, rejected = open_stac(str(disk), Search(), QUICK)
    assert ids((scenes,)) == [product_id(DAYS[4])]
    why = {item.path.name: item.reason for item in rejected}
    assert set(why) == {name.name for name in names[:4]}
    assert "expected a STAC item, got" in why[names[0].name]
    assert "expected a STAC item, got JSONDecodeError" in why[names[1].name]
    assert "malformed" in why[names[2].name]
    assert "gone_B8.TIF, got no such file" in why[names[3].name]
    assert all(item.fault for item in rejected)


def test_a_saved_search_is_a_file_of_items(server, items, tmp_path):
    saved = {"type": "FeatureCollection", "features": [served(i, server.url) for i in items]}
    path = tmp_path / "search.json"
    path.write_text(json.dumps(saved))
    assert len(ids(open_stac(str(path), Search(), QUICK))) == 5


# ---------------------------------------------------------------- items


def one(item, tmp_path, options=QUICK):
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item))
    return open_stac(str(path), Search(), options)


@pytest.fixture
def item(items, root):
    found = json.loads(json.dumps(items[0]))
    for asset in found["assets"].values():
        asset["href"] = str(root / asset["href"])
    return found


def test_what_the_properties_lack_comes_from_the_mtl_or_is_worked_out(item, root, tmp_path):
    there = local(root)[0]
    for key in ("view:sun_elevation", "view:sun_azimuth"):
        del item["properties"][key]
    (scene,), _ = one(item, tmp_path)
    assert scene.sun_elevation == there.sun_elevation  # of the MTL
    item["properties"]["datetime"] = "2020-01-05T00:00:00Z"
    (scene,), _ = one(item, tmp_path)
    assert scene.time == there.time
    del item["assets"]["MTL.txt"]
    (scene,), _ = one(item, tmp_path)
    assert abs(scene.time - there.time) < np.timedelta64(5, "m")
    assert 20 < scene.sun_elevation < 45  # worked out: January over Nepal


def test_items_of_other_sensors_and_without_band_8(item, tmp_path):
    level2 = json.loads(json.dumps(item).replace("L1TP", "L2SP"))
    other = json.loads(json.dumps(item).replace("LC08", "LE07"))
    del item["assets"]["pan"]
    _, (rejected,) = one(item, tmp_path)
    assert "expected an asset of Band 8, got B2, B3" in rejected.reason
    del level2["assets"]["pan"]
    level2["assets"].pop("MTL.txt")
    for asset in level2["assets"].values():
        asset["href"] = asset["href"].replace("L2SP", "L1TP")
    (scene,), _ = one(level2, tmp_path)
    assert scene.level == "L2SP"
    assert "B8" not in scene.bands
    for asset in other["assets"].values():
        asset["href"] = asset["href"].replace("LE07", "LC08")
    _, (rejected,) = one(other, tmp_path)
    assert "a Landsat-8 or -9 OLI scene, got LE07" in rejected.reason


def test_alternate_addresses_are_used_when_asked_for(item):
    pan = item["assets"]["pan"]
    pan["alternate"] = {"s3": {"href": "s3://usgs-landsat/collection02/x_B8.TIF"}}
    found = pystac.Item.from_dict(item)
    scene = item_scene(found, replace(QUICK, alternate="s3"), read_text=lambda _: "")
    assert str(scene.bands["B8"]) == "/vsis3/usgs-landsat/collection02/x_B8.TIF"
    assert shown(scene.bands["B8"]) == "s3://usgs-landsat/collection02/x_B8.TIF"


def test_the_version_of_a_scene_follows_its_item(item, tmp_path):
    (before,), _ = one(item, tmp_path)
    assert one(item, tmp_path)[0] == [before]
    item["properties"]["updated"] = "2023-01-01T00:00:00Z"
    assert one(item, tmp_path)[0][0].version != before.version


def test_a_real_level_2_item(shared_data):
    path = shared_data / "landsat_c2" / "stac" / "LC08_L2SP_047027_20201204_02_T1.json"
    scenes, (rejected,) = open_stac(str(path), Search(), QUICK)
    assert scenes == []  # its files are not there
    assert "expected assets of bands, got none" in rejected.reason
    remote = json.loads(path.read_text())
    for asset in remote["assets"].values():
        asset["href"] = "https://127.0.0.1/" + asset["href"].rpartition("/")[2]
    scene = item_scene(pystac.Item.from_dict(remote), QUICK, read_text=lambda _: "")
    assert scene.id == "LC08_L2SP_047027_20201204_20210313_02_T1"
    assert str(scene.time) == "2020-12-04T19:02:11.194"
    assert (scene.level, scene.tier, scene.sensor) == ("L2SP", "T1", "LC08")
    assert scene.wrs == (47, 27)
    assert scene.sun_elevation == 18.80722985
    assert set(scene.bands) == {*(f"B{n}" for n in range(2, 8)), "QA_PIXEL", "QA_RADSAT"}
    assert scene.grid.shape == (7971, 7861)
    assert scene.reflectance["B4"] == (2.75e-5, -0.2)


def test_a_real_item_of_an_old_version_lends_its_bands(shared_data, tmp_path):
    name = "LC08_L2SP_005009_20150710_20200908_02_T2"
    folder = shared_data / "landsat_c2" / name
    item = json.loads((folder / f"{name}_SR_stac.json").read_text())
    assert item["stac_version"] == "0.7.0"
    for asset in item["assets"].values():
        asset["href"] = str(folder / asset["href"].rpartition("/")[2])
    (scene,), rejected = one(item, tmp_path)
    assert rejected == []
    there = open_scene(folder, need_b8=False)
    assert (scene.id, scene.time, scene.grid) == (there.id, there.time, there.grid)
    assert scene.bands == {b: p for b, p in there.bands.items() if b != "B1"}
    assert scene.sun_elevation == there.sun_elevation  # of the MTL: the item has no clock
    a, b = reflectance(scene, "B4")[0], reflectance(there, "B4")[0]
    assert np.array_equal(a, b, equal_nan=True)


def test_without_pystac_the_user_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pystac_client.stac_api_io", None)
    with pytest.raises(ConfigError, match=r"pip install 'hmavel\[stac\]'"):
        open_stac(str(tmp_path / "catalog.json"), Search(), QUICK)


# ---------------------------------------------------------------- with other sources


def test_what_lies_on_disk_goes_before_the_same_on_a_server(server, root, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    name = product_id(DAYS[1])
    (mine / name).symlink_to(root / name, target_is_directory=True)
    sources = Sources(archive=(mine,), stac=(server.url,), retries=1, retry_delay_s=0.01)
    found = find_all(sources, work=tmp_path / "work")
    assert [is_remote(s.bands["B8"]) for s in found.scenes] == [True, False, True, True, True]
    assert [item.reason for item in found.rejected] == [f"a copy of {mine / name}"]
