"""What a job will cost: bytes to read, CPU-hours and disk, from measured rates.

The rates were measured with ``bench/bench_region.py``: whole glaciers of a simulated archive,
by one process. What a job takes elsewhere is scaled by the correlator's speed there on an easy
pair, which ``measure_speed`` takes a moment to find out; disk and network are not part of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hmavel.outcome import GlacierPlan

#: Bands that screening and masks read of a scene, at 30 m: B2-B7 and the two QA bands.
_BANDS_30M, _BYTES = 8, 2


@dataclass(frozen=True)
class Rates:
    """CPU-seconds and bytes per unit of work, all defaults measured in one run."""

    speed_s: float = 2.49e-06  #: ``measure_speed`` there and then
    screen_s: float = 0.0420  #: per million Band-8 pixels of a scene over a glacier
    read_s: float = 0.0171  #: the same, cutting a scene whose classes screening has told
    node_s: float = 2.95e-05  #: per node that is matched, the second look at ice with it
    bias_s: float = 1.30e-06  #: per node of the grid: bias, sigma, velocity
    write_s: float = 3.77e-07  #: the same: the pair's file
    month_s: float = 1.11e-05  #: per cell on ice and pair: pairs read back and held together
    learn_s: float = 0.0378  #: per glacier and month: the prior, both components
    glacier_s: float = 0.0  #: per glacier, whatever its size
    solve_s: float = 1.29e-05  #: per cell on ice and month, both components
    product_s: float = 2.54e-06  #: per cell of the grid and month: COG, cube and mosaic
    pair_bytes: float = 4.71  #: per node, the pair's file
    month_bytes: float = 13.3  #: per cell of the grid and month, COG, cube and mosaic


@dataclass(frozen=True)
class Work:
    """How much there is to do."""

    glaciers: int
    selections: int  #: scenes accepted for a glacier, summed over glaciers
    screened: int  #: scenes looked at for a glacier, the same
    pairs: int
    scene_mpx: float  #: million Band-8 pixels of all selections
    screened_mpx: float  #: of all scenes screened
    nodes: float  #: of the grids, summed over pairs
    matched: float  #: of these, on the glacier, around it, or on bare ground in sight
    ice_pairs: float  #: cells on ice times pairs, summed over glaciers
    ice_months: float  #: cells on ice times months
    months: int  #: of the products
    cell_months: float  #: cells of the grids times months


@dataclass(frozen=True)
class Cost:
    """What it takes; CPU-hours by stage."""

    screen_h: float
    read_h: float
    match_h: float
    bias_h: float
    write_h: float
    months_h: float
    product_h: float
    read_gb: float  #: pixels read, decoded
    disk_gb: float  #: of pairs and products

    @property
    def cpu_h(self) -> float:
        """CPU-hours of all stages."""
        return (
            self.screen_h + self.read_h + self.match_h + self.bias_h + self.write_h
            + self.months_h + self.product_h
        )  # fmt: skip


def work_of(glaciers: Sequence[GlacierPlan], months: int) -> Work:
    """Count the work of planned glaciers over a number of months."""
    sums = np.zeros(8)
    for plan in glaciers:
        mpx = float(np.prod(plan.site.image.shape)) / 1e6
        nodes, ice = float(np.prod(plan.site.grid.shape)), float(plan.site.ice.sum())
        count = len(plan.pairs)
        sums += (
            mpx * len(plan.scenes), mpx * len(plan.rows), nodes * count, _matched(plan),
            ice * count, ice * months, nodes * months, count,
        )  # fmt: skip
    scene_mpx, screened_mpx, every, matched, ice_pairs, ice_months, cell_months, pairs = (
        float(value) for value in sums
    )
    return Work(
        glaciers=len(glaciers), selections=sum(len(g.scenes) for g in glaciers),
        screened=sum(len(g.rows) for g in glaciers), pairs=int(pairs), scene_mpx=scene_mpx,
        screened_mpx=screened_mpx, nodes=every, matched=matched, ice_pairs=ice_pairs,
        ice_months=ice_months, months=months, cell_months=cell_months,
    )  # fmt: skip


def _matched(plan: GlacierPlan) -> float:
    """Nodes that the pairs of a glacier will match, from what screening saw of the ground."""
    site = plan.site
    bare = {row["scene"]: float(np.nan_to_num(row["bare"] or 0.0)) for row in plan.rows}
    around = float(ndimage.maximum_filter(site.ice, 5).sum())
    ground = float(np.count_nonzero(~site.any_ice))
    return sum(
        around + ground * min(bare[pair.reference.id], bare[pair.secondary.id])
        for pair in plan.pairs
    )


#: The published data set took 101,827 selections in 2014-2021; twice the satellites since 2022,
#: April 2013 to December 2024. Outlines over 10 km2 of RGI regions 13 to 15 are about 2,000,
#: of 22 km2 in the mean. The eleven of them in RGI 6 around Everest have 27 km2, 16,600 nodes
#: with 3 km around, 1,900 of them on ice, 2,960 within two nodes of it, and 47 % farther than
#: 120 m from any ice; nodes go with the 0.66th power of the area. Of that ground a third is
#: taken to be bare and in sight of both scenes, and three scenes to be screened for one taken.
_HMA_GLACIERS, _HMA_SELECTIONS, _HMA_MONTHS = 2_000, 190_000, 141
_HMA_NODES, _HMA_ICE, _HMA_MPX = 14_250.0, 1_500.0, 1.2
_HMA_MATCHED = 1.56 * _HMA_ICE + _HMA_NODES * 0.47 / 3
_HMA_SCREENED_FOR_ONE = 3.0


def high_mountain_asia(pairs_per_selection: float = 5.5) -> Work:
    """Return the work of all of High Mountain Asia, April 2013 to December 2024.

    Notes
    -----
    Assumed: 2,000 glaciers over 10 km2, 190,000 selections of scenes (the published 101,827
    of 2014-2021, continued with two satellites), three scenes screened for one selected, a
    mean window of 1.2 million Band-8 pixels and 14,250 nodes, of them 1,500 on ice (22 km2)
    and 4,600 to be matched.
    """
    pairs = round(_HMA_SELECTIONS * pairs_per_selection)
    screened = round(_HMA_SELECTIONS * _HMA_SCREENED_FOR_ONE)
    return Work(
        glaciers=_HMA_GLACIERS, selections=_HMA_SELECTIONS, screened=screened, pairs=pairs,
        scene_mpx=_HMA_SELECTIONS * _HMA_MPX, screened_mpx=screened * _HMA_MPX,
        nodes=pairs * _HMA_NODES, matched=pairs * _HMA_MATCHED, ice_pairs=pairs * _HMA_ICE,
        ice_months=_HMA_GLACIERS * _HMA_ICE * _HMA_MONTHS, months=_HMA_MONTHS,
        cell_months=_HMA_GLACIERS * _HMA_NODES * _HMA_MONTHS,
    )  # fmt: skip


def cost_of(work: Work, rates: Rates | None = None) -> Cost:
    """Return what the work takes at these rates."""
    r = rates or Rates()
    hour = 3600.0
    per_mpx = 1e6 * _BYTES * (1 + _BANDS_30M / 4) / 1e9
    return Cost(
        screen_h=work.screened_mpx * r.screen_s / hour,
        read_h=work.scene_mpx * r.read_s / hour,
        match_h=work.matched * r.node_s / hour,
        bias_h=work.nodes * r.bias_s / hour,
        write_h=work.nodes * r.write_s / hour,
        months_h=(
            work.ice_pairs * r.month_s + work.ice_months * r.solve_s
            + work.glaciers * (r.glacier_s + r.learn_s * work.months)
        ) / hour,
        product_h=work.cell_months * r.product_s / hour,
        read_gb=work.scene_mpx * per_mpx + work.screened_mpx * per_mpx * 2 / 3,
        disk_gb=(work.nodes * r.pair_bytes + work.cell_months * r.month_bytes) / 1e9,
    )


def measure_speed(*, side: int = 512, seconds: float = 0.5) -> float:
    """Return the CPU-seconds that a matched node takes here and now, default windows.

    Matches a simulated pair of ``side`` pixels again and again for some CPU-seconds.
    """
    from hmavel import simulate
    from hmavel.correlator import correlate

    pair = simulate.shifted_pair(drow=0.4, dcol=-1.3, seed=1, shape=(side, side))
    correlate(pair.reference, pair.secondary)  # plans and tables
    begin, nodes = time.process_time(), 0
    while (spent := time.process_time() - begin) < seconds or not nodes:
        nodes += correlate(pair.reference, pair.secondary).quality.size
    return spent / nodes


def scaled(rates: Rates, speed_s: float) -> Rates:
    """Return the rates of a machine on which ``measure_speed`` gives ``speed_s``."""
    factor = speed_s / rates.speed_s
    names = [f.name for f in fields(Rates) if f.name.endswith("_s") and f.name != "speed_s"]
    return replace(
        rates, speed_s=speed_s, **{name: getattr(rates, name) * factor for name in names}
    )
