"""The pairs of an archive as a graph: connected, redundant, short where dates allow it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from hmavel import Grid, Scene
from hmavel.archive import PairChoice, pair_graph, select_pairs
from hmavel.pairing import reach_days

GRID = Grid(CRS.from_epsg(32645), Affine(15, 0, 0, 0, -15, 0), (10, 10))
START = np.datetime64("2014-01-01T04:40:11.500", "ms")


def scene(day: float, *, wrs=(140, 41), grid=GRID) -> Scene:
    when = START + np.timedelta64(round(day * 86_400_000), "ms")
    name = f"S{wrs[0]}{day:09.3f}"
    return Scene(id=name, time=when, path=Path("s"), bands={}, grid=grid, wrs=wrs)


def days(choice) -> tuple[float, float]:
    return tuple(
        round(float((s.time - START) / np.timedelta64(1, "ms")) / 86.4e6, 3)
        for s in (choice.reference, choice.secondary)
    )


#: Two years of 16-day visits with a monsoon gap in each.
TWO_YEARS = [scene(16 * k) for k in range(46) if not 9 <= k % 23 <= 13]


def test_pairs_of_one_track_and_zone_only():
    north = Grid(CRS.from_epsg(32646), GRID.transform, GRID.shape)
    scenes = [scene(0), scene(16), scene(16, wrs=(139, 41)), scene(32, grid=north)]
    assert [days(c) for c in select_pairs(scenes)] == [(0, 16)]


def test_reference_is_the_earlier_and_baselines_are_in_bounds():
    chosen = select_pairs(TWO_YEARS, min_days=15, max_days=400)
    assert len(chosen) == len({c.id for c in chosen})
    for choice in chosen:
        a, b = days(choice)
        assert 15 <= b - a <= 400
        assert choice.baseline_days == pytest.approx(b - a, abs=1e-6)


def test_two_years_hang_together_and_every_scene_is_redundant():
    graph = pair_graph(select_pairs(TWO_YEARS), TWO_YEARS)
    assert graph.components == 1
    assert graph.lonely == ()
    assert graph.least_degree >= 3
    # The monsoon gaps (96 days) can be bridged by a pair of 96 days: every month is inside one.
    assert graph.months_short == graph.months


def test_year_pairs_are_of_one_season():
    years = [c for c in select_pairs(TWO_YEARS) if c.reason == "year"]
    assert len(years) > 20
    assert all(abs(c.baseline_days - 365.25) <= 40 for c in years)
    # every scene whose anniversary (23 x 16 = 368 days) was taken is paired with it
    taken = {round(float((s.time - START) / np.timedelta64(1, "D"))) for s in TWO_YEARS}
    wanted = {(a, a + 368) for a in taken if a + 368 in taken}
    assert len(wanted) == 18
    assert wanted <= {days(c) for c in years}


def test_gap_longer_than_the_longest_baseline_leaves_two_parts():
    scenes = [scene(d) for d in (0, 16, 32, 500, 516, 532)]
    graph = pair_graph(select_pairs(scenes, max_days=400), scenes)
    assert graph.components == 2
    assert graph.lonely == ()


def test_far_scene_is_joined_by_the_shortest_pair_there_is():
    scenes = [scene(d) for d in (0, 16, 32, 300)]
    chosen = select_pairs(scenes, least_degree=1, per_year=0, successors=1)
    assert [days(c) for c in chosen] == [(0, 16), (16, 32), (32, 300)]


def test_eight_day_neighbours_are_joined_though_no_pair():
    # Landsat 8 and 9: 8 days apart is too short, so even and odd visits make two chains
    scenes = [scene(8 * k) for k in range(6)]
    chosen = select_pairs(scenes, min_days=15, successors=1, per_year=0, least_degree=1)
    assert pair_graph(chosen, scenes).components == 1
    assert {"chain", "joins"} >= {c.reason for c in chosen}
    assert min(c.baseline_days for c in chosen if c.reason == "joins") == pytest.approx(24)


def test_budget_keeps_the_graph_together(caplog):
    chain = [c for c in select_pairs(TWO_YEARS) if c.reason in ("chain", "joins")]
    tight = select_pairs(TWO_YEARS, max_pairs=len(chain))
    assert tight == chain
    assert pair_graph(tight, TWO_YEARS).components == 1
    assert not caplog.records
    assert len(select_pairs(TWO_YEARS, max_pairs=10)) == 10
    assert "below" in caplog.text


def test_monthly_budget_never_cuts_what_holds_and_repeats():
    full = select_pairs(TWO_YEARS)
    kept = select_pairs(TWO_YEARS, per_month=6)
    assert len(kept) < len(full)
    holding = {c.id for c in full if c.reason in ("chain", "joins", "redundant")}
    assert holding <= {c.id for c in kept} <= {c.id for c in full}
    graph = pair_graph(kept, TWO_YEARS)
    assert (graph.components, graph.lonely) == (1, ())
    assert graph.least_degree >= 2
    middles = [
        (c.reference.time + (c.secondary.time - c.reference.time) // 2).astype("datetime64[M]")
        for c in kept
        if c.id not in holding
    ]
    most = {m: sum(k == m for k in middles) for m in middles}
    assert max(most.values()) <= 6
    # The budget is shared between the purposes: short pairs do not crowd out the years.
    assert {c.reason for c in kept} == {c.reason for c in full}
    with pytest.raises(ValueError, match="per_month"):
        select_pairs([], per_month=0)


def test_redundant_and_year_pairs_prefer_the_same_sun():
    def lit(day, azimuth, elevation):
        return replace(scene(day), sun_azimuth=azimuth, sun_elevation=elevation)

    # A year later two visits: the nearer one in date has another sun.
    scenes = [lit(0, 140, 50), lit(366, 165, 30), lit(382, 141, 51)]
    chosen = select_pairs(scenes, per_year=1, least_degree=1, successors=1)
    years = [days(c) for c in chosen if c.reason == "year"]
    assert years == [(0, 382)]
    loose = select_pairs(scenes, per_year=1, least_degree=1, successors=1, sun_degrees=60)
    assert next(days(c) for c in loose if c.reason in ("year", "chain")) == (0, 366)
    # The third pair of a scene goes to the one of its sun, though farther in time.
    scenes = [lit(0, 140, 50), lit(16, 150, 40), lit(32, 165, 30), lit(48, 170, 25),
              lit(64, 140, 50)]  # fmt: skip
    chosen = select_pairs(scenes, per_year=0, successors=1, least_degree=2)
    assert (0, 64) in [days(c) for c in chosen if c.reason == "redundant"]


def test_further_sets_of_baselines():
    scenes = [scene(16 * k) for k in range(70)]
    two_years = select_pairs(scenes, max_days=800, sets=[(690, 770, 2)])
    added = [c for c in two_years if c.reason == "set"]
    assert {c.id for c in select_pairs(scenes, max_days=800)} == {
        c.id for c in two_years if c.reason != "set"
    }
    assert all(690 <= c.baseline_days <= 770 for c in added)
    # Two for each scene that has as many visits that late.
    assert len(added) == sum(min(2, sum(690 <= 16 * (j - i) <= 770 for j in range(70)))
                             for i in range(70))  # fmt: skip
    assert select_pairs(scenes, max_days=410, sets=[(690, 770, 2)]) == select_pairs(scenes)
    with pytest.raises(ValueError, match="sets"):
        select_pairs([], sets=[(30, 20, 1)])


def test_adjacent_paths_only_on_request_and_with_a_warning(caplog):
    scenes = [scene(16 * k) for k in range(4)]
    scenes += [scene(16 * k + 7, wrs=(139, 41)) for k in range(4)]
    scenes += [scene(16 * k + 3, wrs=(137, 41)) for k in range(4)]
    alone = select_pairs(scenes)
    assert {c.reference.wrs == c.secondary.wrs for c in alone} == {True}
    assert not caplog.records
    both = select_pairs(scenes, adjacent_paths=True)
    across = [c for c in both if c.reason == "adjacent path"]
    assert [c for c in both if c.reason != "adjacent path"] == alone
    paths = {(c.reference.wrs[0], c.secondary.wrs[0]) for c in across}
    assert paths == {(140, 139), (139, 140)}
    assert all(c.baseline_days >= 15 for c in across)
    assert "two orbits" in caplog.text
    assert pair_graph(both, scenes).components == 2
    round_ = [scene(0, wrs=(1, 41)), scene(16, wrs=(233, 41)), scene(32, wrs=(233, 43))]
    assert [days(c) for c in select_pairs(round_, adjacent_paths=True)] == [(0, 16)]


def test_baseline_that_keeps_ice_within_reach():
    assert reach_days(730.5, 480, allowance=1.0) == pytest.approx(240)
    assert reach_days(0.0, 480) == float("inf")
    assert reach_days(float("nan"), 480) == float("inf")


def test_few_scenes():
    assert select_pairs([]) == []
    assert select_pairs([scene(0)]) == []
    assert pair_graph([], [scene(0)]).lonely == (scene(0).id,)


def test_wrong_limits():
    with pytest.raises(ValueError, match="min_days <= max_days"):
        select_pairs([], min_days=50, max_days=20)
    with pytest.raises(ValueError, match="max_pairs"):
        select_pairs([], max_pairs=0)


@settings(max_examples=60, deadline=None)
@given(
    offsets=st.lists(st.integers(0, 900), min_size=2, max_size=30, unique=True),
    order=st.randoms(use_true_random=False),
)
def test_whatever_the_dates(offsets, order):
    scenes = [scene(d) for d in sorted(offsets)]
    shuffled = scenes[:]
    order.shuffle(shuffled)
    chosen = select_pairs(scenes)
    assert select_pairs(shuffled) == chosen  # the order does not matter

    possible = [
        (i, j)
        for i, a in enumerate(sorted(offsets))
        for j, b in enumerate(sorted(offsets))
        if 15 <= b - a <= 410
    ]
    index = {s.id: n for n, s in enumerate(scenes)}
    edges = {(index[c.reference.id], index[c.secondary.id]) for c in chosen}
    assert edges <= set(possible)
    # as connected as all possible pairs together
    everything = [PairChoice(scenes[i], scenes[j], 0.0, "") for i, j in possible]
    assert pair_graph(chosen, scenes).components == pair_graph(everything, scenes).components
    # three pairs a scene, or all that it could have
    for n in range(len(scenes)):
        degree = sum(n in edge for edge in edges)
        assert degree >= min(3, sum(n in edge for edge in possible))
    # no month without a short pair if one exists
    assert pair_graph(chosen, scenes).months_short == _months_of(scenes, possible)


def _months_of(scenes, possible) -> int:
    months = set()
    for i, j in possible:
        if scenes[j].time - scenes[i].time <= np.timedelta64(96, "D"):
            first, last = (scenes[k].time.astype("datetime64[M]") for k in (i, j))
            months.update(np.arange(first, last + 1))
    return len(months)


def test_sixty_scenes_make_a_few_hundred_pairs():
    scenes = [scene(16 * k + 3 * (k % 2)) for k in range(60)]
    assert 150 < len(select_pairs(scenes)) < 400
