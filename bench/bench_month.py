"""Months: accuracy on known truths, speed, and hold-out on a real data cube.

``python bench/bench_month.py truths [seeds [first]]``, ``... speed``, ``... cube FILE [n]``.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import networks as nw

from hmavel.itslive import read_cube
from hmavel.month import compose_months
from hmavel.month_gp import Cell, Design, predict, scene_errors
from hmavel.month_kernel import month_prior
from hmavel.month_screen import reweigh_cell
from hmavel.network import pair_network


def truths(seeds: int = 10, first: int = 100) -> None:
    """Print the table of the seven truths, one cell at a time, for each method."""
    for method in ("gp", "smooth", "overlap"):
        compose = partial(compose_months, method=method)
        for name in nw.TRUTHS:
            s = nw.score(name, range(first, first + seeds), compose)
            late = f" onset {np.abs(s.onset).max():4.2f}" if "surge" in name else ""
            print(
                f"{method:8s}{name:11s} rmse {s.rmse.mean():6.2f} worst {s.rmse.max():6.2f} "
                f"bias {s.bias.mean():6.2f} within 1s {s.within1.mean():.2f} "
                f"2s {s.within2.mean():.2f} amplitude {s.amplitude.mean():.3f} "
                f"measured {s.measured.mean():.2f}{late}",
                flush=True,
            )


def speed(cells: int = 2048) -> None:
    """Time learning and solving, CPU seconds of this process, for one glacier's cells."""
    sim = nw.simulate(["season"], 0, cells=cells)
    scenes = len(np.unique(np.concatenate([sim.start, sim.end])))
    v, sigma = (x.reshape(len(x), -1, 32) for x in (sim.v, sim.sigma))
    args = {"scene_sigma": nw.SCENE_SIGMA, "months": sim.months}
    begin = time.process_time()
    learnt = compose_months(v[:, :1, :16], sigma[:, :1, :16], sim.start, sim.end, **args)
    print(f"{scenes} scenes, {len(v)} pairs, {len(sim.months)} months")
    print(f"learning from 16 cells: {time.process_time() - begin:.2f} CPU-s")
    for covariance in (False, True):
        some = v[:, :8], sigma[:, :8]
        data = some if covariance else (v, sigma)
        begin = time.process_time()
        compose_months(
            *data, sim.start, sim.end, covariance=covariance,
            hyperparameters=learnt.hyperparameters, **args,
        )
        rate = data[0][0].size / (time.process_time() - begin)
        print(f"covariance kept {covariance}: {rate:.0f} cells per CPU-second")


def cube(path: str, count: int = 16, seed: int = 0) -> None:
    """Hold out a fifth of the pairs of well seen cells and predict their displacement."""
    stack = read_cube(path)
    seen = np.isfinite(stack.vx).sum(axis=0).ravel()
    cells = np.argsort(-seen)[: 25 * count : 25]
    network = pair_network(stack.start, stack.end)
    held = np.random.default_rng(seed).uniform(size=len(network.first)) < 0.2
    for axis in ("vx", "vy"):
        v = getattr(stack, axis).reshape(len(stack.start), -1)[:, cells].astype(float)
        sigma = np.broadcast_to(getattr(stack, f"sigma_{axis}")[:, None], v.shape)
        print(f"{axis}, {count} cells, {held.sum()} of {len(held)} pairs held out")
        _hold_out(stack, network, held, v, sigma)


def _hold_out(stack, network, held, v, sigma) -> None:
    years, months, overlap = network.baseline_years, network.months, network.overlap_years()
    train = np.where(held[network.member][:, None], np.nan, v)[:, None, :]
    test_v, test_sigma = network.merged(v, sigma)
    results, gp = {}, None
    for method in ("gp", "smooth", "overlap"):
        begin = time.process_time()
        m = compose_months(
            train, sigma[:, None, :], stack.start, stack.end, months=months, method=method,
            scene_sigma="learn" if gp is None else gp.scene_sigma,
        )
        print(f"  {method}: {time.process_time() - begin:.1f} CPU-s")
        results[method] = m.v[:, 0]
        gp = gp or m
        if method == "overlap":
            results["plain median"] = plain_medians(network, train[:, 0])
    year = months.astype("M8[Y]")
    means = [np.nanmean(results["overlap"][year == y], axis=0) for y in year]
    results["annual mean"] = np.array(means)
    predictions = {
        name: overlap @ np.where(np.isfinite(x), x, np.nanmedian(x, axis=0))
        for name, x in results.items()
    }
    predictions["gp and scenes"], z = _predicted(
        network, gp, train, sigma, test_v, test_sigma, held
    )
    print(f"  scene error {gp.scene_sigma:.2f} m, times the noise factors "
          f"{[round(h.noise, 2) for h in gp.hyperparameters]}")
    for name, predicted in predictions.items():
        gone = (test_v * years[:, None] - predicted)[held]
        t = gone / (test_sigma * years[:, None])[held]
        gone, t = gone[np.isfinite(gone)], t[np.isfinite(t)]
        clipped = np.clip(gone - np.median(gone), -10, 10)
        print(
            f"  {name:14s} residual: robust spread {_spread(gone):.2f} m, clipped rms "
            f"{np.sqrt(np.mean(clipped**2)):.2f} m; weighted by the stated error: "
            f"{np.sqrt(np.mean(np.minimum(t**2, 16))):.3f}",
            flush=True,
        )
    days = np.repeat(network.baseline_days[held], v.shape[1]).reshape(-1, v.shape[1])
    print(f"  standardised residual, scenes conditioned: robust spread {_spread(z):.3f}, "
          f"beyond 3: {np.mean(np.abs(z) > 3):.3f}")
    z_all = np.full(days.shape, np.nan)
    z_all[np.isfinite(test_v[held])] = z
    for low, high in ((0, 40), (40, 110), (110, 250), (250, 400), (400, 600)):
        some = z_all[(days > low) & (days <= high)]
        print(f"    {low}-{high} d: {_spread(some[np.isfinite(some)]):.2f}")


def plain_medians(network, v):
    """Median of the pairs that overlap each month, (n, cells): no weight, no error."""
    touching = network.overlap_years().tocsc()
    out = np.full((len(network.months), v.shape[1]), np.nan)
    merged, _ = network.merged(v, np.ones_like(v))
    for k in range(len(out)):
        i = touching.indices[touching.indptr[k] : touching.indptr[k + 1]]
        some = np.isfinite(merged[i]).any(axis=0)
        out[k, some] = np.nanmedian(merged[i][:, some], axis=0)
    return out


def _predicted(network, gp, train, sigma, test_v, test_sigma, held):
    """Predict all pairs from months and scene errors, and standardise the held-out ones."""
    years = network.baseline_years
    v, own = network.merged(train[:, 0], sigma)
    scenes = scene_errors(network, gp.scene_sigma)
    designs = [Design(month_prior(network, h), scenes) for h in gp.hyperparameters]
    out, z = np.full(test_v.shape, np.nan), np.full(test_v.shape, np.nan)
    for c in range(v.shape[1]):
        design = designs[int(gp.cell_class[0, c])]
        i = np.flatnonzero(np.isfinite(v[:, c]))
        variance = (own[i, c] * years[i]) ** 2
        cell = reweigh_cell(design, Cell(i, v[i, c] * years[i], variance, np.ones(len(i))), 4)
        test = np.flatnonzero(held & np.isfinite(test_v[:, c]))
        mean, spread = predict(design, cell, test)
        noise = (test_sigma[test, c] * years[test] * design.prior.parameters.noise) ** 2
        out[test, c] = mean
        z[test, c] = (test_v[test, c] * years[test] - mean) / np.sqrt(spread + noise)
    return out, z[held][np.isfinite(test_v[held])]


def _spread(values: np.ndarray) -> float:
    return float(np.median(np.abs(values - np.median(values))) / 0.6745)


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["truths"]
    numbers = [int(x) for x in rest if x.isdigit()]
    if what == "cube":
        cube(rest[0], *numbers)
    else:
        {"truths": truths, "speed": speed}[what](*numbers)
