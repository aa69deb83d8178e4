"""Tables, scores and pictures: what a reader sees of a run."""

from __future__ import annotations

import csv
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from hmavel import cli, demo, figures, figures_floor, outcome, report, state
from hmavel._types import Grid


def test_a_table_lines_up_its_columns():
    text = report.text_table(
        ("name", "value", "good"),
        [("one", 1234.5, True), ("three", 0.12345, False), ("", float("nan"), None)],
    )
    assert text.splitlines() == [
        "name   value  good",
        "-----  -----  ----",
        "one     1234  yes",
        "three   0.12  no",
        "           -",
    ]


def test_an_empty_table_is_its_header():
    assert report.text_table(("a", "bb"), []) == "a  bb\n-  --"
    assert report.count(1, "pair") == "1 pair"
    assert report.count(0, "pair") == "0 pairs"


def test_csv_leaves_what_is_not_finite_empty(tmp_path):
    rows = [{"a": 1.23456789, "b": float("nan"), "c": "x,y"}, {"a": None, "b": float("inf")}]
    state.write_csv(tmp_path / "t.csv", rows, ("a", "b", "c"))
    with (tmp_path / "t.csv").open(newline="") as stream:
        read = list(csv.reader(stream))
    assert read == [["a", "b", "c"], ["1.23457", "", "x,y"], ["", "", ""]]


def test_scores_of_known_errors():
    rng = np.random.default_rng(4)
    error = 2.0 + 5.0 * rng.standard_normal(40_000)
    error[:400] = 300.0
    error[400:1000] = np.nan
    scored = demo.score(error, np.full(error.shape, 5.0), "id", "name", "vx")
    assert scored.values == 39_400
    assert scored.blank == pytest.approx(600 / 40_000)
    assert scored.gross == pytest.approx(400 / 39_400)
    assert scored.nmad == pytest.approx(5.0, rel=0.03)
    assert scored.bias == pytest.approx(2.0 + 298 * 400 / 39_400, abs=0.1)
    assert scored.rmse == pytest.approx(np.sqrt(np.nanmean(error**2)))
    # Of N(2, 5) within 5: Phi(0.6) - Phi(-1.4).
    assert scored.within_1_sigma == pytest.approx(0.645, abs=0.015)


def test_scores_of_nothing_are_nan_not_zero():
    scored = demo.score(np.full(5, np.nan), np.ones(5), "id", "name", "v")
    assert scored.values == 0
    assert scored.blank == 1.0
    assert np.isnan([scored.bias, scored.rmse, scored.nmad, scored.within_1_sigma]).all()


def test_light_from_the_north_west_falls_on_slopes_that_face_it():
    row, col = np.mgrid[:40, :40]
    to_north_west = 10.0 * (row + col)  # rises to the south-east
    lit = figures.hillshade(to_north_west, 30.0, azimuth=315.0)
    shaded = figures.hillshade(-to_north_west, 30.0, azimuth=315.0)
    flat = figures.hillshade(np.zeros((40, 40)), 30.0)
    assert lit.mean() > flat.mean() > shaded.mean()
    assert flat[0, 0] == pytest.approx(np.sqrt(0.5))


def test_a_picture_is_drawn_even_of_a_glacier_with_gaps(tmp_path):
    import matplotlib.image

    grid = Grid(CRS.from_epsg(32645), Affine(120, 0, 480_000, 0, -120, 3_100_080), (60, 40))
    ice = np.zeros(grid.shape, bool)
    ice[10:50, 15:25] = True
    vx = np.where(ice, 30.0, np.nan)
    vx[20:25] = np.nan
    months = np.arange("2021-01", "2022-01", dtype="datetime64[M]")
    speed = np.linspace(20, 40, 12)
    speed[3:5] = np.nan
    place = figures.Series("A", 30, 20, months, speed, np.full(12, 3.0), months, speed + 1)
    path = tmp_path / "glacier.png"
    figures.glacier_figure(
        path, title="A glacier", grid=grid, ice=ice, vx=vx, vy=-2 * vx, series=[place],
        relief=(np.add.outer(np.arange(60.0), np.arange(40.0)), grid),
    )
    picture = matplotlib.image.imread(path)
    assert picture.shape[0] > 400
    assert picture.shape[1] > 800
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 500


def test_a_map_ends_where_its_relief_does_but_not_before_its_ice():
    grid = Grid(CRS.from_epsg(32645), Affine(120, 0, 480_000, 0, -120, 3_100_080), (60, 40))
    ice, shade = np.zeros(grid.shape, bool), np.zeros(grid.shape)
    ice[10:50, 15:25] = True
    shade[:, 30:] = np.nan  # the DEM ends east of the ice ...
    shade[45:] = np.nan  # ... and within it in the south
    left, right, low, high = figures._view_km(grid, ice, shade, grid)
    assert (left, right) == pytest.approx((480.0, 480 + 30 * 0.12))
    assert (low, high) == pytest.approx((3100.08 - 50 * 0.12, 3100.08))
    wide = figures._view_km(grid, ice, np.zeros((80, 80)), grid.crop(-10, -10, 80, 80))
    assert wide == pytest.approx(figures._box_km(grid))


@pytest.mark.parametrize("span", [(12.0, 34.0), (3.0, 60.0), (0.4, 700.0), (18.0, 19.0)])
def test_the_floor_s_axes_have_plain_numbers_and_its_legend_is_beside_its_points(span):
    from matplotlib.figure import Figure

    amplitude = np.geomspace(*span, 50)
    season = {"season_floor": np.full(50, np.mean(span)), "amplitude": amplitude}
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes, shown = figure.subplots(), np.ones(50, bool)
    figures_floor._draw_ice(axes, season, shown, amplitude < np.mean(span))
    figure.canvas.draw()
    for axis in (axes.xaxis, axes.yaxis):
        words = [tick.get_text() for tick in axis.get_ticklabels(which="both")]
        words = [word for word in words if word]
        assert words
        assert all(float(word) > 0 for word in words)
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    """Run the demonstration once; return its folder, its scores and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(["demo", "-q", "--out", str(folder), "--jobs", "2"])
    with (folder / "demo.csv").open(newline="") as stream:
        scores = list(csv.DictReader(stream))
    return status, folder, scores, out.getvalue(), err.getvalue()


@pytest.mark.slow
def test_the_demo_prints_its_table_and_draws_its_pictures(demo_run):
    status, folder, scores, out, err = demo_run
    assert status == cli.DONE
    assert err == ""
    assert "seconds per stage" in out
    assert len(list(folder.glob("*.png"))) == 3
    assert len(scores) == 9
    for score in scores:
        assert float(score["blank"]) < 0.05
        assert float(score["nmad"]) < 20.0
    assert cli.main(["run", "-q", str(folder / "demo.toml")]) == cli.DONE


@pytest.mark.slow
def test_the_demo_keeps_its_word_on_slow_ice(demo_run):
    still = [score for score in demo_run[2] if score["name"] == "Still"]
    assert len(still) == 3
    for score in still:
        assert float(score["gross"]) < 0.01
        assert float(score["within_2_sigma"]) > 0.85


@pytest.mark.slow
def test_the_demo_keeps_its_word_on_fast_ice(demo_run):
    for score in demo_run[2]:
        assert float(score["gross"]) < 0.05
        assert float(score["within_2_sigma"]) > 0.8


def test_a_run_counts_the_pairs_that_are_warned_of_and_knows_rows_without_a_verdict(tmp_path):
    rows = [
        {"state": "used", "gate": "warn"}, {"state": "used", "gate": "pass"},
        {"state": "used"},  # a pair of ITS_LIVE has none
        {"state": "rejected", "gate": "fail"}, {"state": "failed"},
    ]  # fmt: skip
    glacier = outcome.GlacierResult("RGI-1", rows, tmp_path, 12, 3, "x", [])
    plan = outcome.Plan(tmp_path, [], 0, [])
    result = outcome.RunResult(plan, [glacier], [], {"bias": 1.0}, 2.0)
    line = next(s for s in report.run_text(result).splitlines() if s.startswith("RGI-1"))
    assert line.split()[1:] == ["5", "3", "1", "1", "1", "3", "12"]
