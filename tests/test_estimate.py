"""Work counted, cost linear in it, the region's assumptions, the speed of this machine."""

from __future__ import annotations

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from hmavel import estimate
from hmavel.estimate import Cost, Rates, Work, cost_of, high_mountain_asia, scaled, work_of


def plan(*, scenes=20, rows=30, pairs=80, grid=(100, 90), image=(1000, 900), ice=1500):
    mask = np.zeros(grid, bool)
    mask.flat[:ice] = True
    site = SimpleNamespace(grid=SimpleNamespace(shape=grid), ice=mask,
                           image=SimpleNamespace(shape=image))  # fmt: skip
    return SimpleNamespace(site=site, scenes=[0] * scenes, rows=[0] * rows, pairs=[0] * pairs)


def test_work_is_counted():
    assert work_of([plan()], months=12) == Work(
        glaciers=1, selections=20, screened=30, pairs=80, scene_mpx=18.0, screened_mpx=27.0,
        nodes=720_000, ice_pairs=120_000, cell_months=108_000,
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
    assert region.nodes == region.pairs * 12_600


def test_speed_is_measured_here():
    node_s = estimate.measure_speed(side=256, seconds=0.05)
    assert 1e-7 < node_s < 1e-2
