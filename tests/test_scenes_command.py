"""``hmavel scenes`` and ``run --dry-run``: tables for people and machines, pictures, costs."""

from __future__ import annotations

import csv
import io
import json

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from products import product_id, write_product
from test_screening import GLACIER, bands

from hmavel import Grid, cli, config, planning, report
from hmavel.raster_write import write_geotiff

DAYS = ("20200105", "20200121", "20200206", "20210107")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Return the configuration file of four scenes, one cloudy and one broken, of a glacier."""
    root = tmp_path_factory.mktemp("job")
    for number, day in enumerate(DAYS):
        write_product(root / "scenes", name=product_id(day),
                      bands=bands(cloudy=25 if number == 1 else 0))  # fmt: skip
    (broken,) = (root / "scenes" / product_id(DAYS[2])).glob("*_B8.TIF")
    broken.write_bytes(broken.read_bytes()[:200])
    columns = {"rgi_id": ["g1"], "glac_name": ["One"], "area_km2": [0.5], "o1region": ["15"]}
    gpd.GeoDataFrame(columns, geometry=[GLACIER.geometry], crs=4326).to_file(root / "g.gpkg")
    file = root / "job.toml"
    file.write_text(
        '[input]\narchive = ["scenes"]\n[glaciers]\ninventory = "g.gpkg"\nmin_area_km2 = 0.1\n'
        'margin_m = 300\nice_buffer_m = 60\n[output]\nfolder = "out"\n'
    )
    return file


def test_json_csv_and_calendar(settings, capsys):
    # One product is broken: finished, with something that failed.
    assert cli.main(["scenes", str(settings), "--json", "-q"]) == cli.SOME_FAILED
    rows = json.loads(capsys.readouterr().out)["scenes"]
    assert [row["accepted"] for row in rows] == [True, False, True, False]
    assert rows[0]["cloud"] == 0.0
    assert rows[1]["reason"].startswith("cloud 0.8")
    assert "B8" in rows[3]["reason"]
    out = settings.parent / "out"
    assert (out / "g1" / "scenes.png").stat().st_size > 5000
    assert cli.main(["scenes", str(settings), "--csv", "-q"]) == cli.SOME_FAILED
    text = capsys.readouterr().out
    assert text == (out / "scenes.csv").read_text()
    assert [row["scene"] for row in csv.DictReader(io.StringIO(text))][:3] == [
        product_id(DAYS[k]) for k in (0, 1, 3)
    ]


def test_plain_table_and_export(settings, capsys, tmp_path):
    target = tmp_path / "all.gpkg"
    arguments = ["scenes", str(settings), "-q", "--no-calendar", "--export", str(target)]
    assert cli.main(arguments) == cli.SOME_FAILED
    said = capsys.readouterr()
    assert "2 of 4 rows accepted" in said.out
    assert f"written: {target}" in said.err
    assert len(gpd.read_file(target, layer="decisions")) == 3


def test_table_for_a_narrow_terminal(settings):
    from rich.console import Console

    plan = planning.plan(config.load(settings))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.scenes_rich(plan))
    text = console.export_text()
    assert "g1: 2 of 3 accepted" in text
    assert "2020-01-05 LC08 140/41" in text
    assert "cloud 0.8" in text
    assert "not usable" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_fast_glacier_gets_short_pairs_only(settings, tmp_path, caplog):
    file = tmp_path / "prior.tif"
    plan = planning.plan(config.load(settings))
    (glacier,) = plan.glaciers
    assert [round(pair.baseline_days) for pair in glacier.pairs] == [368]
    caplog.set_level("INFO", logger="hmavel.planning")
    for speed, pairs in ((100.0, 1), (400.0, 0)):  # reach: 480 m, 1.5 times the speed
        write_geotiff(file, {"v": np.full((60, 60), speed)}, around(glacier.site.grid))
        section = f'[pairs]\nprior_velocity = "{file}"\n[output]'
        text = settings.read_text().replace("[output]", section)
        other = settings.with_name("fast.toml")
        other.write_text(text)
        (glacier,) = planning.plan(config.load(other)).glaciers
        assert len(glacier.pairs) == pairs
    assert "400 m/yr, pairs of at most 292 days" in caplog.text


def around(grid: Grid) -> Grid:
    left, _, _, top = grid.bounds
    return Grid(grid.crs, Affine(100, 0, left - 500, 0, -100, top + 500), (60, 60))


def test_dry_run_says_what_it_will_cost(settings, capsys):
    assert cli.main(["run", str(settings), "--dry-run", "-q"]) == cli.SOME_FAILED
    text = capsys.readouterr().out
    assert "1 glacier, 3 scenes, 1 pair" in text
    job, region = (
        next(line.split() for line in text.splitlines() if line.startswith(name))
        for name in ("this job", "High Mountain Asia  ")
    )
    assert float(job[-1]) < 1 < float(region[-1])
    assert "2,000 glaciers over 10 km2" in text
    assert not (settings.parent / "out" / "g1" / "pairs").exists()
