"""A user's job on scenes that are not in folders: the months are those of the folders' run."""

from __future__ import annotations

import csv
import tarfile

import numpy as np
import pytest
import rasterio
from small_run import GLACIERS, rows, settings_text
from stac_items import item_of
from stac_server import Server

from hmavel import cli, planning
from hmavel.config import load

pytestmark = pytest.mark.slow

(GLACIER,) = GLACIERS[2:]


def settings(folder, root, *, archive=(), scenes=""):
    folder.mkdir(exist_ok=True)
    path = folder / "my.toml"
    bias = 'model = "none"'
    path.write_text(settings_text(root, bias=bias, archive=archive, scenes=scenes))
    return path


def stac(server, retries=2):
    return f'stac = ["{server.url}"]\nretries = {retries}\nretry_delay_s = 0.01'


def months(folder):
    found = {}
    for path in sorted((folder / "out" / GLACIER).glob("velocity_*.tif")):
        with rasterio.open(path) as file:
            found[path.name] = file.read()
    return found


def items(root):
    return [item_of(f, root) for f in sorted((root / "scenes").iterdir()) if f.is_dir()]


def test_the_table_of_a_job_on_a_server(archive, tmp_path, capsys):
    root = archive.path
    with Server(root, items(root), page=4) as server:
        config = settings(tmp_path, root, scenes=stac(server))
        assert cli.main(["scenes", "-q", str(config), "--csv", "--jobs", "1"]) == cli.DONE
        first = sum(server.sent.values())
        table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert len(table) == len(archive.scenes)
        assert all(row["path"].startswith(f"{server.url}/data/scenes/LC08") for row in table)
        assert {row["source"] for row in table} == {"albedo+qa"}
        # A second look asks for the items again, and reads no band.
        assert cli.main(["scenes", "-q", str(config), "--csv", "--jobs", "1"]) == cli.DONE
        assert sum(server.sent.values()) - first < 60_000
        assert list(csv.DictReader(capsys.readouterr().out.splitlines())) == table
        # Its search fails: its scenes are those of the last time, and the failure is listed.
        server.faults["/search"] = [500] * 10_000
        command = ["scenes", "-q", str(config), "--csv", "--jobs", "1"]
        assert cli.main(command) == cli.SOME_FAILED
        said = capsys.readouterr()
        found = list(csv.DictReader(said.out.splitlines()))
        assert [row for row in found if row["glacier"]] == table
        assert [row["path"] for row in found if not row["glacier"]] == [server.url]
        assert "check the address and the network" in said.err


def test_runs_on_folders_tars_and_a_server_give_the_same_months(archive, tmp_path):
    root = archive.path
    tars = tmp_path / "tars"
    tars.mkdir()
    for folder in sorted((root / "scenes").iterdir()):
        with tarfile.open(tars / f"{folder.name}.tar", "w") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
    jobs = {
        "folders": settings(tmp_path / "folders", root, archive=[root / "scenes"]),
        "tars": settings(tmp_path / "tarred", root, archive=[tars]),
    }
    with Server(root, items(root), page=4) as server:
        jobs["server"] = settings(tmp_path / "served", root, scenes=stac(server))
        victim = sorted((root / "scenes").iterdir())[2].name
        server.faults[f"/data/scenes/{victim}/{victim}_B8.TIF"] = [500, None, "cut", 404]
        for config in jobs.values():
            assert cli.main(["run", "-q", str(config), "--jobs", "2"]) == cli.DONE
    given = {name: months(config.parent) for name, config in jobs.items()}
    assert len(given["folders"]) == 3
    for name in ("tars", "server"):
        assert given[name].keys() == given["folders"].keys()
        for month, values in given["folders"].items():
            assert np.array_equal(given[name][month], values, equal_nan=True)


def test_decisions_without_the_30_m_bands_are_warned_of(archive, tmp_path):
    table = tmp_path / "scenes.csv"
    lines = [f"{true.path / true.path.name}_B8.TIF,{true.time}" for true in archive.scenes]
    table.write_text("\n".join(["file,time", *lines]))
    config = load(settings(tmp_path, archive.path, scenes=f'csv = ["{table}"]'))
    plan = planning.plan(config, jobs=1)
    assert {row["source"] for row in plan.rows} == {"texture"}
    (note,) = plan.notes
    assert f"{len(plan.rows)} of {len(plan.rows)} decisions were made without" in note
    whole = settings(tmp_path / "b", archive.path, archive=[archive.path / "scenes"])
    assert planning.plan(load(whole), jobs=1).notes == []


def test_a_band_that_never_comes_costs_its_scene_and_status_1(archive, tmp_path, capsys):
    root = archive.path
    with Server(root, items(root)) as server:
        config = settings(tmp_path, root, scenes=stac(server, retries=1))
        victim = sorted((root / "scenes").iterdir())[2].name
        band = f"/data/scenes/{victim}/{victim}_B8.TIF"
        server.faults[band] = [404] * 10_000
        assert cli.main(["run", "-q", str(config), "--jobs", "1"]) == cli.SOME_FAILED
        said = capsys.readouterr().err
        assert f"{server.url}{band}: expected a raster file from its server" in said
        assert "(tried 2 times)" in said
        assert len(months(tmp_path)) == 3
        used = [r for r in rows(tmp_path / "out" / "pairs.csv") if r["state"] == "used"]
        assert used
        assert not any(victim in (row["reference"], row["secondary"]) for row in used)
        # The server has recovered: the same command makes what is missing.
        server.faults.clear()
        assert cli.main(["run", "-q", str(config), "--jobs", "1"]) == cli.DONE
        used = [r for r in rows(tmp_path / "out" / "pairs.csv") if r["state"] == "used"]
        assert any(victim in (row["reference"], row["secondary"]) for row in used)
