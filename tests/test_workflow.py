"""The whole chain on a tiny archive: products, resuming, failures that stay where they are."""

from __future__ import annotations

import json
import shutil

import numpy as np
import rasterio
from scipy import ndimage
from small_run import GLACIERS, changed, one_glacier, rows, stamps

from hmavel import (
    cli,
    config,
    correlator,
    glacier_months,
    glacier_pairs,
    pair_chain,
    shared_error,
    workflow,
)
from hmavel.catalogue import FILE, Catalogue
from hmavel.month import compose_months
from hmavel.parallel import Failure
from hmavel.raster import read_band
from hmavel.stack import Stack


def written(folder):
    """Products of a run -> their bytes; the configuration names its own folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("pairs/*"))
        if path.is_file()
    }


def test_products_are_there_and_near_the_truth(finished, archive):
    given, result = finished
    assert result.failures == []
    assert [glacier.id[-1] for glacier in result.glaciers] == ["3"]
    out = given.output.folder
    for glacier, plan in zip(result.glaciers, result.plan.glaciers, strict=True):
        months = sorted((out / glacier.id).glob("velocity_*.tif"))
        assert [m.name for m in months] == [f"velocity_2021-0{m}.tif" for m in (6, 7, 8)]
        assert (out / glacier.id / "velocity.nc").is_file()
        site = plan.site
        span = np.arange("2021-06", "2021-09", dtype="datetime64[M]")
        true = archive.true_months(span, site.grid)
        errors = []
        for index, month in enumerate(months):
            with rasterio.open(month) as file:
                assert file.descriptions == (
                    "vx", "vy", "v", "sigma_vx", "sigma_vy", "sigma_v", "count", "flag"
                )  # fmt: skip
                assert file.transform.a == 120
                assert not file.bounds.left % 120
                for band in (1, 2):
                    errors.append(file.read(band)[site.ice] - true[band - 1][index][site.ice])
        errors = np.concatenate(errors)
        seen = np.isfinite(errors)
        assert seen.mean() > 0.3
        # A tenth of a pixel in 16 days is 34 m/yr.
        assert abs(np.median(errors[seen])) < 15
        assert 1.48 * np.median(abs(errors[seen])) < 60


def test_tables_say_what_was_used_and_what_was_not(finished):
    given, result = finished
    scenes = rows(given.output.folder / "scenes.csv")
    assert len(scenes) == 6
    assert all((row["reason"] == "") == (row["accepted"] == "True") for row in scenes)
    pairs = rows(given.output.folder / "pairs.csv")
    assert len(pairs) == sum(len(plan.pairs) for plan in result.plan.glaciers)
    assert {row["state"] for row in pairs} <= {"used", "rejected"}
    assert all(row["reason"] for row in pairs if row["state"] == "rejected")
    assert rows(given.output.folder / "failures.csv") == []
    saved = config.load(given.output.folder / "config.toml")
    assert saved == given


def test_the_catalogue_knows_what_became_of_the_pairs(finished):
    given, result = finished
    with Catalogue(given.output.folder / FILE, read_only=True) as catalogue:
        (glacier,) = result.glaciers
        kept = catalogue.pairs(glacier.id)
        assert {(p["reference"], p["secondary"]): p["state"] for p in kept} == {
            (row["reference"], row["secondary"]): row["state"] for row in glacier.rows
        }
        assert [p["nodes_ice"] for p in kept] == [row["nodes_ice"] for row in glacier.rows]
        assert catalogue.counts()["pairs"].get("planned", 0) == 0


def test_the_mosaic_is_made_once_and_again_when_its_glaciers_change(again):
    given = changed(again, output={"wgs84": True})
    folder = given.output.folder / "wgs84"
    assert workflow.run(given, jobs=1).failures == []
    assert len(list(folder.glob("velocity_*.tif"))) == 3
    before = stamps(folder)
    workflow.run(given, jobs=1)
    assert stamps(folder) == before
    workflow.run(changed(given, correlate={"min_evidence": 7.0}), jobs=1)
    after = stamps(folder)
    assert all(after[path] != before[path] for path in before)


def test_a_second_run_touches_nothing(again):
    before = stamps(again.output.folder)
    result = workflow.run(again, jobs=1)
    assert sum(glacier.made for glacier in result.glaciers) == 0
    assert stamps(again.output.folder) == before


def test_an_option_of_the_months_leaves_the_pairs(again):
    pairs = written(again.output.folder)
    other = changed(again, months={"first": "2021-07", "last": "2021-08"})
    result = workflow.run(other, jobs=1)
    assert sum(glacier.made for glacier in result.glaciers) == 0
    assert written(again.output.folder) == pairs
    for glacier in result.glaciers:
        names = sorted(file.name for file in glacier.folder.glob("velocity_*.tif"))
        assert names == ["velocity_2021-07.tif", "velocity_2021-08.tif"]


def test_an_option_of_the_correlator_makes_all_pairs_again(again):
    result = workflow.run(changed(again, correlate={"min_evidence": 7.0}), jobs=1)
    for glacier, plan in zip(result.glaciers, result.plan.glaciers, strict=True):
        assert glacier.made == len(plan.pairs)


def test_windows_keep_to_their_side_of_a_margin_when_asked(again):
    files = sorted(again.output.folder.rglob("pairs/*.tif"))
    before = {file: read_band(file)[0] for file in files}
    result = workflow.run(changed(again, correlate={"domain_windows": True}), jobs=1)
    changes = {True: [], False: []}
    for glacier, plan in zip(result.glaciers, result.plan.glaciers, strict=True):
        assert glacier.made == len(plan.pairs)
        ice = plan.site.ice
        margin = ice & ~ndimage.minimum_filter(ice, 3)
        far = ~ndimage.maximum_filter(ice, 11)  # no window there sees the glacier
        for file in set(glacier.folder.rglob("pairs/*.tif")) & set(files):
            apart = np.abs(read_band(file)[0] - before[file])
            changes[True].append(apart[margin])
            changes[False].append(apart[far])
    # The bias differs a little too, everywhere alike.
    at_margin, beside = (np.nanmedian(np.concatenate(changes[on])) for on in (True, False))
    assert at_margin > 3 * beside


def test_what_was_lost_is_made_again_to_the_same_bytes(again):
    before = written(again.output.folder)
    lost = next(path for path in sorted(again.output.folder.rglob("pairs/*.tif")))
    lost.unlink()
    (lost.parent.parent / "velocity_2021-07.tif").write_bytes(b"half a file")
    (lost.parent.parent / "velocity_2021-07.tif").unlink()
    result = workflow.run(again, jobs=2)
    assert sum(glacier.made for glacier in result.glaciers) == 1
    assert written(again.output.folder) == before
    assert (lost.parent.parent / "velocity_2021-07.tif").is_file()


def test_jobs_change_nothing_and_scenes_are_read_once(finished, archive, tmp_path, monkeypatch):
    given, _ = finished
    stacks = []

    class Watched(Stack):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            stacks.append(self)

    monkeypatch.setattr(glacier_pairs, "Stack", Watched)
    other = one_glacier(archive.path, tmp_path)
    (plan,) = workflow.run(other, jobs=2).plan.glaciers
    assert written(other.output.folder) == written(given.output.folder)
    (stack,) = stacks
    assert stack.reads == len({s.id for p in plan.pairs for s in (p.reference, p.secondary)})


def test_a_broken_scene_costs_only_itself_and_status_1(archive, tmp_path, capsys):
    root = tmp_path / "archive"
    shutil.copytree(archive.path, root)
    victim = root / "scenes" / archive.scenes[2].id
    b8 = victim / f"{victim.name}_B8.TIF"
    b8.write_bytes(b8.read_bytes()[:20_000])
    one_glacier(root, tmp_path)
    assert cli.main(["run", "-q", str(tmp_path / "my.toml"), "--jobs", "1"]) == cli.SOME_FAILED
    out, err = capsys.readouterr()
    assert GLACIERS[2] in out
    assert victim.name in err
    assert "fetch it again" in err
    failures = rows(tmp_path / "out" / "failures.csv")
    assert failures
    assert all(victim.name in row["item"] + row["reason"] for row in failures)
    scenes = rows(tmp_path / "out" / "scenes.csv")
    (bad,) = (row for row in scenes if "fetch it again" in row["reason"])
    assert victim.name in bad["path"]
    used = [row for row in rows(tmp_path / "out" / "pairs.csv") if row["state"] == "used"]
    assert used
    assert not any(victim.name in (row["reference"], row["secondary"]) for row in used)
    assert len(list((tmp_path / "out" / GLACIERS[2]).glob("velocity_*.tif"))) == 3


def test_a_pair_that_fails_is_recorded_and_tried_again(again, monkeypatch):
    whole = written(again.output.folder)
    shutil.rmtree(again.output.folder)
    calls = []

    def fail_once(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("no room")
        return correlator.correlate(*arguments, **options)

    monkeypatch.setattr(pair_chain, "correlate", fail_once)
    result = workflow.run(again, jobs=1)
    (failure,) = result.failures
    assert isinstance(failure, Failure)
    assert failure.item.startswith("pair LC08")
    assert failure.reason == "MemoryError: no room"
    states = [row["state"] for row in rows(again.output.folder / "pairs.csv")]
    assert states.count("failed") == 1
    second = workflow.run(again, jobs=1)
    assert second.failures == []
    assert sum(glacier.made for glacier in second.glaciers) == 1
    assert written(again.output.folder) == whole


def test_no_bare_ground_at_all_is_the_glaciers_failure(archive, tmp_path):
    everywhere = one_glacier(archive.path, tmp_path, glaciers={"ice_buffer_m": 2_000.0})
    result = workflow.run(everywhere, jobs=1)
    assert [f.error for f in result.failures] == ["StableGroundError"]
    assert "expected bare ground in at least one pair, got none" in result.failures[0].reason
    assert 'bias.model = "none"' in result.failures[0].reason


def command(name, folder, capsys, *options):
    status = cli.main([name, "-q", str(folder / "my.toml"), "--jobs", "1", *options])
    return status, *capsys.readouterr()


def test_an_empty_archive_and_a_missing_one(tmp_path, archive, capsys):
    one_glacier(archive.path, tmp_path)
    text = (tmp_path / "my.toml").read_text()
    for name, said in (("empty", "got none; check archive, first"), ("none", "no such path")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "my.toml").write_text(text.replace(f"{archive.path}/scenes", name))
        status, _, err = command("run", tmp_path, capsys)
        assert status == cli.WRONG_USAGE
        assert said in err
        assert name in err


def test_outlines_outside_of_the_images(tmp_path, archive, capsys):
    import geopandas as gpd

    frame = gpd.read_file(archive.inventory)
    frame["geometry"] = frame.geometry.translate(xoff=3.0)
    frame.to_file(tmp_path / "far.gpkg")
    one_glacier(archive.path, tmp_path)
    text = (tmp_path / "my.toml").read_text()
    (tmp_path / "my.toml").write_text(text.replace(str(archive.inventory), "far.gpkg"))
    status, _, err = command("scenes", tmp_path, capsys)
    assert status == cli.WRONG_USAGE
    assert "got outlines outside of every image; check that archive and inventory" in err


def test_an_output_that_cannot_be_written(tmp_path, archive, capsys):
    one_glacier(archive.path, tmp_path)
    (tmp_path / "out").write_text("a file where the folder should be")
    status, _, err = command("run", tmp_path, capsys)
    assert status == cli.WRONG_USAGE
    assert str(tmp_path / "out") in err
    assert "check permissions" in err


def test_scenes_and_dry_run_show_the_plan_and_match_nothing(
    finished, archive, tmp_path, capsys
):
    _, done = finished
    one_glacier(archive.path, tmp_path)
    status, out, _ = command("scenes", tmp_path, capsys)
    assert status == cli.DONE
    assert "cloud" in out
    status, table, _ = command("scenes", tmp_path, capsys, "--csv")
    assert status == cli.DONE
    assert len(table.splitlines()) == 1 + 6
    status, out, _ = command("run", tmp_path, capsys, "--dry-run")
    assert status == cli.DONE
    pairs = sum(len(plan.pairs) for plan in done.plan.glaciers)
    assert f"1 glacier, 6 scenes, {pairs} pairs; into {tmp_path / 'out'}" in out
    assert not list(tmp_path.rglob("*.tif"))




def test_pairs_are_judged_and_what_scenes_share_reaches_the_months(
    archive, tmp_path, monkeypatch
):
    handed = []

    def watched(v, sigma, *dates, **options):
        handed.append((options["scene_sigma"], sigma))
        return compose_months(v, sigma, *dates, **options)

    monkeypatch.setattr(glacier_months, "compose_months", watched)
    # six small scenes have little ground: the plumbing is tested, not the estimate
    monkeypatch.setattr(shared_error, "LEAST_CELLS", 10)
    monkeypatch.setattr(shared_error, "LEAST_SCENES", 3)
    given = one_glacier(
        archive.path, tmp_path, pairs={"successors": 3}, glaciers={"margin_m": 1500.0},
        gates={"bias_m": (0.0, 300.0)},
    )
    result = workflow.run(given, jobs=1)
    (glacier,) = result.glaciers
    network = json.loads((glacier.folder / "network.json").read_text())
    assert network["triplets"] > 0
    used = [row for row in glacier.rows if row["state"] == "used"]
    assert {row["gate"] for row in used} == {"warn"}
    assert all("matching error of" in row["gate_reasons"] for row in used)
    assert {row["gate"] for row in glacier.rows if row["state"] == "rejected"} <= {"fail"}
    assert any(row["closure_ice"] is not None for row in used)
    table = rows(given.output.folder / "pairs.csv")
    assert [row["gate"] for row in table] == [str(row["gate"]) for row in glacier.rows]
    typical = [np.median([row[n] * row["days"] / 365.25 for row in used])
               for n in ("sigma_vx", "sigma_vy")]  # fmt: skip
    expected = shared_error.scene_sigma_on_ice(
        network["scene_sigma_m"], network["share"], typical
    )
    np.testing.assert_allclose([scene for scene, _ in handed], expected)
    before = stamps(given.output.folder)
    workflow.run(given, jobs=1)
    assert stamps(given.output.folder) == before
    set_by_hand = changed(given, months={"scene_sigma_m": 0.75})
    handed.clear()
    workflow.run(set_by_hand, jobs=1)
    assert [scene for scene, _ in handed] == [0.75, 0.75]


def test_a_pair_that_fails_a_gate_is_not_used(archive, tmp_path):
    strict = one_glacier(archive.path, tmp_path, gates={"static_count": (1e9, 1e9)})
    result = workflow.run(strict, jobs=1)
    reasons = [row["reason"] for row in result.glaciers[0].rows]
    assert any(r.startswith("gate: ") for r in reasons)
    assert all(r.startswith(("gate: ", "bare ground: ")) for r in reasons)
    assert all(row["gate"] == "fail" for row in result.glaciers[0].rows)
    assert result.failures


def test_without_enough_months_the_floor_says_why_it_is_not_there(again):
    given = changed(again, months={"method": "smooth", "smoothness": 0.1})
    result = workflow.run(given, jobs=1)
    assert result.failures == []
    out = given.output.folder
    [glacier] = result.glaciers
    folder = out / glacier.id
    record = json.loads((folder / "floor.json").read_text())
    assert record["floor"] is False
    assert "50 cells with a year and a half of months" in record["reason"]
    [row] = rows(out / "floor.csv")
    assert (row["glacier"], row["reason"]) == (glacier.id, record["reason"])
    assert not (folder / "floor.png").exists()
    assets = json.loads((folder / "collection.json").read_text())["assets"]
    assert assets["floor"]["href"] == "./floor.json"
    assert assets["floor"]["file:size"] == (folder / "floor.json").stat().st_size
    assert "floor_figure" not in assets
    with rasterio.open(folder / "season_trend.tif") as file:
        season = dict(zip(file.descriptions, file.read(), strict=True))
    assert np.isnan(season["season_below_floor"]).all()
    stamp = (folder / "floor.json").stat().st_mtime_ns
    workflow.run(given, jobs=1)  # all is there: nothing is made again
    assert (folder / "floor.json").stat().st_mtime_ns == stamp
    # The overlap's months have no covariance, and then there is no floor to be had.
    workflow.run(again, jobs=1)
    assert not (folder / "floor.json").exists()
    assert rows(out / "floor.csv") == []
