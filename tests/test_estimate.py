"""Work counted, cost linear in it, the region's assumptions, the speed of this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hmavel import estimate
from hmavel.estimate import Cost, Rates, Work, cost_of, high_mountain_asia, scaled, work_of

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))
import region_fit  # noqa: E402
from process_meter import metered  # noqa: E402


def plan(*, scenes=20, rows=30, pairs=80, grid=(100, 90), image=(1000, 900), ice=1500):
    mask = np.zeros(grid, bool)
    mask.flat[:ice] = True
    site = SimpleNamespace(grid=SimpleNamespace(shape=grid), ice=mask, any_ice=mask,
                           image=SimpleNamespace(shape=image))  # fmt: skip
    table = [{"scene": f"s{k}", "bare": 0.5 if k % 2 else 0.2} for k in range(rows - 1)]
    table.append({"scene": "unreadable", "bare": float("nan")})
    chosen = [SimpleNamespace(id=f"s{k}") for k in range(scenes)]
    twos = [(chosen[2 * k % scenes], chosen[(2 * k + 1) % scenes]) for k in range(pairs)]
    made = [SimpleNamespace(reference=a, secondary=b) for a, b in twos]
    return SimpleNamespace(site=site, scenes=chosen, rows=table, pairs=made)


def test_work_is_counted():
    # 16 full rows of ice and 60 nodes of the next; two more rows, and two nodes at the end
    around = 18 * 90 + 62
    assert work_of([plan()], months=12) == Work(
        glaciers=1, selections=20, screened=30, pairs=80, scene_mpx=18.0, screened_mpx=27.0,
        nodes=720_000, matched=80 * (around + 0.2 * 7500), ice_pairs=120_000,
        ice_months=18_000, months=12, cell_months=108_000,
    )  # fmt: skip
    assert work_of([], 12).pairs == 0


def test_cost_is_linear_in_work_and_rates():
    one, three = (cost_of(work_of([plan()] * n, months=12)) for n in (1, 3))
    for field in fields(Cost):
        assert getattr(three, field.name) == pytest.approx(3 * getattr(one, field.name))
        assert getattr(one, field.name) > 0
    slow = cost_of(work_of([plan()], 12), scaled(Rates(), 2 * Rates().speed_s))
    assert slow.cpu_h == pytest.approx(2 * one.cpu_h)
    assert slow.disk_gb == one.disk_gb
    # 2 bytes a pixel: Band 8 and eight bands of a quarter of its pixels.
    none = replace(work_of([plan()], 12), screened_mpx=0.0)
    assert cost_of(none).read_gb == pytest.approx(18e6 * 2 * 3 / 1e9)


def test_region_is_what_is_written_about_it():
    region = high_mountain_asia(5.0)
    assert (region.glaciers, region.pairs) == (2000, 950_000)
    assert region.selections > 101_827
    assert region.nodes == region.pairs * 14_250
    assert region.matched == pytest.approx(region.pairs * 4600, rel=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_slopes_of_linear_cost_come_back_with_their_intervals(seed):
    """By hand: 5 s a run, 7 s a glacier, 0.2 s a pair."""
    rng = np.random.default_rng(seed)
    glaciers = np.array([1, 2, 4, 4, 4, 8, 16, 30])
    pairs = np.array([150, 320, 640, 320, 160, 1300, 2500, 5000])
    exact = 5.0 + 7.0 * glaciers + 0.2 * pairs
    found = region_fit.linear(glaciers, pairs, exact)
    assert found["cpu_s"] == pytest.approx({"run": 5.0, "glacier": 7.0, "pair": 0.2})
    assert found["largest_misfit"] < 1e-9
    noisy = region_fit.linear(glaciers, pairs, exact * rng.normal(1.0, 0.03, 8))
    for name, true in (("run", 5.0), ("glacier", 7.0), ("pair", 0.2)):
        assert abs(noisy["cpu_s"][name] - true) < 2 * noisy["half_width_95"][name]
    assert noisy["half_width_95"]["pair"] < 0.1
    assert region_fit.linear(glaciers[:3], pairs[:3], exact[:3])["half_width_95"] is None


def test_a_command_is_metered_with_its_children():
    work = "sum(range(10**7)); open('/dev/null', 'wb').write(bytes(10**6))"
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    used = metered([sys.executable, "-c", command], every_s=0.01)
    assert used.status == 0
    assert used.processes >= 2
    assert 0.02 < used.cpu_s < 60
    assert used.seen_cpu_s <= used.cpu_s + 0.05
    assert used.peak_bytes > used.own_bytes > 5e6
    assert metered([sys.executable, "-c", "raise SystemExit(3)"]).status == 3


def test_speed_is_measured_here():
    node_s = estimate.measure_speed(side=256, seconds=0.05)
    assert 1e-7 < node_s < 1e-2


def test_the_rates_are_those_that_were_measured():
    """The projection and ``--dry-run`` use one set, and its record says where it is from."""
    measured = json.loads((BENCH / "results" / "region.json").read_text())["summary"]["rates"]
    for name, value in measured.items():
        assert getattr(Rates(), name) == pytest.approx(value, rel=0.006), name
