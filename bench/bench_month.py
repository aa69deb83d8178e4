"""Months: accuracy on known truths, speed, and hold-out on a real data cube.

``python bench/bench_month.py truths [seeds]``, ``... speed`` or ``... cube FILE [cells]``.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import networks as nw

from hmavel.month import compose_months
from hmavel.month_gp import Cell, Design, predict, scene_errors
from hmavel.month_kernel import month_prior
from hmavel.month_screen import USED, reweigh_cell
from hmavel.network import pair_network


def truths(seeds: int = 10) -> None:
    """Print the table of the seven truths, one cell at a time, for each method."""
    for method in ("gp", "smooth", "overlap"):
        compose = partial(compose_months, method=method)
        for name in nw.TRUTHS:
            s = nw.score(name, range(100, 100 + seeds), compose)
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


def cube(path: str, count: int = 16, seed: int = 0, scene_sigma: float = 1.0) -> None:
    """Hold out a fifth of the pairs of well seen cells and predict their displacement."""
    import xarray as xr

    with xr.open_dataset(path) as data:
        start = data.acquisition_date_img1.values.astype("M8[s]")
        end = data.acquisition_date_img2.values.astype("M8[s]")
        v, error = data.vx.values, data.vx_error.values
    seen = np.isfinite(v).sum(axis=0).ravel()
    cells = np.argsort(-seen)[: 25 * count : 25]
    v = v.reshape(len(v), -1)[:, cells][:, None, :].astype(float)
    total = np.broadcast_to(error[:, None, None], v.shape)
    network = pair_network(start, end)
    years = network.baseline_years
    years_given = years[network.member]
    # The file's error is that of a pair; the scenes' share is taken out of it.
    own = total**2 - 2 * (scene_sigma / years_given[:, None, None]) ** 2
    sigma = np.sqrt(np.maximum(own, (0.3 * total) ** 2))
    held = np.random.default_rng(seed).uniform(size=len(years)) < 0.2
    train = np.where(held[network.member][:, None, None], np.nan, v)
    test_v, test_sigma = network.merged(v[:, 0], sigma[:, 0])
    months = network.months
    overlap = network.overlap_years()
    results = {}
    for method in ("gp", "smooth", "overlap"):
        begin = time.process_time()
        m = compose_months(
            train, sigma, start, end, months=months, method=method, scene_sigma=scene_sigma
        )
        print(f"{method}: {time.process_time() - begin:.1f} CPU-s")
        results[method] = m.v[:, 0]
        if method == "gp":
            gp = m
    year = months.astype("M8[Y]")
    annual = np.array([np.nanmean(results["overlap"][year == y], axis=0) for y in year])
    results["annual mean"] = annual
    for name, values in results.items():
        values = np.where(np.isfinite(values), values, np.nanmedian(values, axis=0))
        gone = (test_v * years[:, None] - overlap @ values)[held]
        z = gone / np.hypot(test_sigma * years[:, None], np.sqrt(2) * scene_sigma)[held]
        gone, z = gone[np.isfinite(gone)], z[np.isfinite(z)]
        clipped = np.clip(gone - np.median(gone), -10, 10)
        print(
            f"{name:12s} held-out residual: robust spread {_spread(gone):.2f} m, clipped rms "
            f"{np.sqrt(np.mean(clipped**2)):.2f} m, weighted rms "
            f"{np.sqrt(np.mean(np.minimum(z**2, 16))):.3f}"
        )
    z = _standardised(network, gp, train, sigma, test_v, test_sigma, held, scene_sigma)
    print(f"standardised residual, scenes conditioned: robust spread {_spread(z):.3f}")
    print(f"noise factors {[round(h.noise, 2) for h in gp.hyperparameters]}")


def _standardised(network, gp, train, sigma, test_v, test_sigma, held, scene_sigma):
    """Held-out misfits over what the posterior of months and scenes says they should be."""
    years = network.baseline_years
    v, own = network.merged(train[:, 0], sigma[:, 0])
    scenes = scene_errors(network, scene_sigma)
    designs = [Design(month_prior(network, h), scenes) for h in gp.hyperparameters]
    z = []
    for c in range(v.shape[1]):
        design = designs[int(gp.cell_class[0, c])]
        i = np.flatnonzero(np.isfinite(v[:, c]))
        variance = (own[i, c] * years[i]) ** 2
        cell = reweigh_cell(design, Cell(i, v[i, c] * years[i], variance, np.ones(len(i))), 4)
        test = np.flatnonzero(held & np.isfinite(test_v[:, c]))
        mean, spread = predict(design, cell, test)
        noise = (test_sigma[test, c] * years[test] * design.prior.parameters.noise) ** 2
        z.append((test_v[test, c] * years[test] - mean) / np.sqrt(spread + noise))
        print(f"  cell {c}: {np.mean(cell.weight < USED):.3f} of the pairs given up")
    return np.concatenate(z)


def _spread(values: np.ndarray) -> float:
    return float(np.median(np.abs(values - np.median(values))) / 0.6745)


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["truths"]
    numbers = [int(x) for x in rest if x.isdigit()]
    if what == "cube":
        cube(rest[0], *numbers)
    else:
        {"truths": truths, "speed": speed}[what](*numbers)
