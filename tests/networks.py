"""Simulated pair networks with a known velocity, for the tests and the benchmark of months.

The network imitates Landsat over High Mountain Asia: 16-day revisits, most of the monsoon and
part of the winter lost, pairs of 16 to 400 days, an error of each match, an error of each
scene that all its pairs share, and a share of false matches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PIXEL = 15.0
MATCH_SIGMA = 0.12 * PIXEL
SCENE_SIGMA = 0.07 * PIXEL
YEAR = 365.25
DAY = np.timedelta64(1, "D")

Truth = Callable[[np.ndarray], np.ndarray]


def season(t):
    return 100 + 30 * np.sin(2 * np.pi * (t - 0.3))


def spring(t):
    """A speed-up of 120 m/yr, three weeks wide at half height, every May."""
    phase = (t - 0.37 + 0.5) % 1 - 0.5
    return 80 + 120 * np.exp(-0.5 * (phase * YEAR / (21 / 2.355)) ** 2)


def surge(t, onset=2017.45, stop=2019.0, low=60.0, rise=400.0):
    """Start within about two months, end more slowly."""
    return low + rise / (1 + np.exp(-(t - onset) / 0.05)) / (1 + np.exp((t - stop) / 0.12))


def changing(t):
    """A season whose amplitude and phase wander over the years, on a falling trend."""
    x = (t - 2013) / 12
    return 120 - 3 * (t - 2013) + 40 * (1 - 0.6 * x) * np.sin(2 * np.pi * (t - 0.25 - 0.2 * x))


def two_surges(t):
    return surge(t, 2015.3, 2016.2) + surge(t, 2020.8, 2022.1, 0.0, 250.0)


def slow(t):
    return np.full_like(t, 5.0)


def stagnant(t):
    return np.zeros_like(t)


TRUTHS: dict[str, Truth] = {
    "season": season,
    "spring": spring,
    "surge": surge,
    "changing": changing,
    "two_surges": two_surges,
    "slow": slow,
    "stagnant": stagnant,
}
SIGNAL = ("season", "spring", "surge", "changing", "two_surges")


@dataclass(frozen=True)
class Network:
    """One simulated stack: ``v`` and ``sigma`` are (p, cells), ``truth`` is (months, cells)."""

    start: np.ndarray
    end: np.ndarray
    v: np.ndarray
    sigma: np.ndarray
    false: np.ndarray
    months: np.ndarray
    truth: np.ndarray


def dates(seed, *, first="2013-04-01", last="2025-01-01", pairs=400, short=16, long=400):
    """Scene dates with monsoon and winter gaps, and ``pairs`` of them.

    Every scene is paired with the next one where that is near enough, as any chain does; the
    other pairs are picked at random among all that are allowed.
    """
    rng = np.random.default_rng(seed)
    t0, t1 = np.datetime64(first, "ms"), np.datetime64(last, "ms")
    step = np.timedelta64(16 * 86_400_000, "ms")
    offset = np.timedelta64(int(rng.uniform(0, 16) * 86_400_000), "ms")
    times = np.arange(t0 + offset, t1, step)
    month = times.astype("datetime64[M]").astype(int) % 12 + 1
    monsoon, winter = (month >= 6) & (month <= 9), (month == 12) | (month <= 2)
    chance = np.select([monsoon, winter], [0.15, 0.35], 0.58)
    times = times[rng.uniform(size=len(times)) < chance]
    a, b = np.triu_indices(len(times), 1)
    days = (times[b] - times[a]) / np.timedelta64(86_400_000, "ms")
    ok = np.flatnonzero((days >= short - 0.5) & (days <= long))
    chance = np.where(b[ok] == a[ok] + 1, 1e6, 1.0)
    pick = rng.choice(ok, min(pairs, len(ok)), replace=False, p=chance / chance.sum())
    pick.sort()
    return times[a[pick]], times[b[pick]]


def simulate(truths, seed, *, cells=1, false_share=0.05, missing=0.0, **kwargs):
    """Simulate ``cells`` cells for each name in ``truths``; scene errors are one per cell."""
    rng = np.random.default_rng([seed, 1])
    start, end = dates(seed, **kwargs)
    scenes, index = np.unique(np.concatenate([start, end]), return_inverse=True)
    p = len(start)
    early, late = index[:p], index[p:]
    months = np.arange(start.min().astype("M8[M]"), end.max().astype("M8[M]") + 1)
    quarter = np.timedelta64(6 * 3_600_000, "ms")
    edges = np.append(months, months[-1] + 1).astype("datetime64[ms]")
    fine = np.arange(edges[0], edges[-1], quarter)
    year = 1970 + (fine + quarter // 2 - np.datetime64(0, "ms")) / DAY / YEAR
    dt = (end - start) / DAY / YEAR

    v, truth, false = [], [], []
    for name in truths:
        speed = TRUTHS[name](year)
        path = np.concatenate([[0.0], np.cumsum(speed) * 0.25 / YEAR])
        at = np.arange(len(path)) * 0.25
        at_edges, at_start, at_end = (
            np.interp((t - edges[0]) / DAY, at, path) for t in (edges, start, end)
        )
        moved = at_end - at_start
        for _ in range(cells):
            u = rng.normal(0, SCENE_SIGMA, len(scenes))
            d = moved + rng.normal(0, MATCH_SIGMA, p) + u[late] - u[early]
            wrong = rng.uniform(size=p) < false_share
            d[wrong] = rng.uniform(-90, 90, wrong.sum())
            d[rng.uniform(size=p) < missing] = np.nan
            v.append(d / dt)
            false.append(wrong)
            truth.append(np.diff(at_edges) / (np.diff(edges) / DAY / YEAR))
    v = np.stack(v, 1)
    sigma = np.broadcast_to((MATCH_SIGMA / dt)[:, None], v.shape)
    return Network(start, end, v, sigma, np.stack(false, 1), months, np.stack(truth, 1))


@dataclass(frozen=True)
class Score:
    """How well the months of one truth were recovered, one entry per seed."""

    rmse: np.ndarray
    bias: np.ndarray
    within1: np.ndarray  #: share of months within 1 sigma of the truth
    within2: np.ndarray
    amplitude: np.ndarray  #: slope of the months' departure from their mean on the truth's
    measured: np.ndarray  #: share of months flagged measured
    onset: np.ndarray  #: months by which the steepest rise is late, NaN without a surge


def onset_month(v):
    """Fractional month in which a surge passes half of its rise."""
    half = (np.min(v[:30]) + np.max(v)) / 2
    k = int(np.argmax(v > half))
    return k - 1 + (half - v[k - 1]) / (v[k] - v[k - 1])


def score(name, seeds, compose, **kwargs):
    """Compose the months of one truth for each seed, one cell at a time, and compare."""
    rows = []
    for seed in seeds:
        sim = simulate([name], seed, **kwargs)
        truth = sim.truth[:, 0]
        m = compose(
            sim.v[:, 0], sim.sigma[:, 0], sim.start, sim.end,
            months=sim.months, scene_sigma=SCENE_SIGMA,
        )
        ok = m.flag < 2
        e, z = (m.v - truth)[ok], (np.abs(m.v - truth) / m.sigma)[ok]
        spread = truth[ok] - truth[ok].mean()
        size = spread @ spread
        amplitude = spread @ m.v[ok] / size if size > 1e-9 else np.nan
        late = onset_month(m.v[ok]) - onset_month(truth[ok]) if "surge" in name else np.nan
        rms = np.sqrt(np.mean(e**2))
        share = np.mean(m.flag == 0)
        rows.append([rms, e.mean(), np.mean(z < 1), np.mean(z < 2), amplitude, share, late])
    return Score(*np.array(rows).T)
