"""What makes errors trustworthy: time and accuracy of bias, shared errors, closure, maps.

CPU-seconds of the process, one thread. ``python bench/bench_trust.py`` prints tables; the
accuracies are those that ``tests`` hold to bounds, on other seeds. With ``--picture PNG`` it
draws the simulated pair of docs/method.md instead.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))  # the simulated pairs and networks of the tests

from ground_networks import network  # noqa: E402
from test_bias import error_of, make_case, rms  # noqa: E402

from hmavel import assess_files, close_triplets, fit_bias, separate_errors  # noqa: E402
from hmavel.core import core_scatter  # noqa: E402
from hmavel.figures_ground import ground_figure  # noqa: E402
from hmavel.map_quality import MapQuality, paired  # noqa: E402
from hmavel.sigma_scale import scale_sigma  # noqa: E402
from hmavel.uncertainty import static_terrain  # noqa: E402

SEEDS = range(500, 506)


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[Any, float]:
    """Return the result and the least CPU-seconds."""
    best, result = np.inf, None
    for _ in range(repeats):
        began = time.process_time()
        result = work()
        best = min(best, time.process_time() - began)
    return result, best


def core() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 0.05, (2, 16_000))
    _, fast = timed(lambda: core_scatter(x, y), 20)
    _, whole = timed(lambda: static_terrain(x, y, gridsize=28), 20)
    print(f"core of 16,000 points: {fast * 1e3:.1f} ms; static terrain {whole * 1e3:.1f} ms")


def bias() -> None:
    print(f"\n{'bias of':<28}{'ground':>8}{'model':>10}{'RMS px':>9}{'CPU-s':>8}{'scale':>8}")
    cases: dict[str, dict[str, Any]] = {
        "90 x 100, clean": {"shape": (90, 100)},
        "150 x 180, clean": {"shape": (150, 180)},
        "150 x 180, ramp": {"shape": (150, 180), "ramp": 0.3},
        "260 x 300, ramp and steps": {"shape": (260, 300), "ramp": 0.3, "stripe": 0.15},
    }
    for name, options in cases.items():
        case = make_case(500, **options)
        b, spent = timed(lambda c=case: fit_bias(c.d, c.stable, column_angle=10.0))
        _, scaling = timed(lambda b=b, c=case: scale_sigma(b.corrected, c.stable))
        print(f"{name:<28}{b.count:>8}{b.model:>10}{rms(error_of(b, case)):>9.4f}"
              f"{spent:>8.3f}{scaling:>8.3f}")  # fmt: skip


def shapes(seeds: range = range(500, 504)) -> None:
    """What is left of the matching error, near bare ground and beyond, and the constant's."""
    print(f"\n{'260 x 300 nodes, px':<46}{'chosen':>16}{'near':>7}{'flat':>7}{'far':>7}"
          f"{'flat':>7}{'worst':>8}")  # fmt: skip
    both = {"ramp": 0.3, "stripe": 0.15}
    cases: dict[str, dict[str, Any]] = {
        "ramp and steps": both,
        "with 40 % false matches": {**both, "outliers": 0.4},
        "with undulation of 0.1 px along the track": {**both, "wave": 0.1},
        "ramp only": {"ramp": 0.3},
        "steps only": {"stripe": 0.15},
        "nothing": {},
        "noise correlated over 25 nodes": {**both, "smooth": 1.4},
        "the same, 10 % ground": {**both, "smooth": 1.4, "ground": "few patches"},
        "2 % ground, scattered": {**both, "ground": "scattered"},
        "100 x 120, noise correlated over 25 nodes": {
            **both, "smooth": 1.4, "shape": (100, 120)},
        "ramp, ground at one side": {"ramp": 0.3, "ground": "left"},
        "ramp and steps, ground at one side": {**both, "ground": "left"},
        "the same, noise correlated over 8 nodes": {**both, "smooth": 0.8, "ground": "left"},
        "ramp, ground in a wide corner": {"ramp": 0.3, "ground": "wide corner"},
        "ramp and steps, ground in a wide corner": {**both, "ground": "wide corner"},
        "ramp and steps, ground in a corner": {**both, "ground": "corner"},
        **{
            f"150 x 180, noise over 8 nodes, ground {where}": {
                **both, "smooth": 0.8, "shape": (150, 180), "ground": where}
            for where in ("left", "wide corner", "top", "two corners")
        },
    }  # fmt: skip
    for name, options in cases.items():
        squares, chosen, worst = [], [], -np.inf
        for seed in seeds:
            case = make_case(seed, **{"shape": (260, 300), **options})
            near = ndimage.distance_transform_edt(~case.stable) * 8 <= 333
            fits = [
                fit_bias(case.d, case.stable, model=m, column_angle=10.0)
                for m in ("auto", "constant")
            ]
            left = [error_of(b, case) for b in fits]
            squares.append([
                (e[where] ** 2).mean(axis=0).max() if where.any() else np.nan
                for where in (near, ~near) for e in left
            ])  # fmt: skip
            chosen.append(fits[0].model)
            worst = max(worst, rms(left[0]) - rms(left[1]))
        figures = "".join(f"{v:>7.3f}" for v in np.sqrt(np.mean(squares, axis=0)))
        models = ", ".join(f"{m} {chosen.count(m)}" for m in sorted(set(chosen)))
        print(f"{name:<46}{models:>16}{figures}{worst:>+8.3f}")


def errors() -> None:
    print(f"\n{'network':<40}{'match':>16}{'scene':>16}{'closure':>9}{'CPU-s':>8}")
    cases: list[dict[str, Any]] = [
        {}, {"scenes": 60}, {"false": 0.2}, {"match": 1.0, "scene": 1.8},
        {"match": 1.8, "scene": 0.5}, {"smooth": 1.5}, {"smooth": 2.5, "side": 30},
    ]  # fmt: skip
    for options in cases:
        truth = options.get("match", 1.8), options.get("scene", 1.05)
        found, closed, spent = [], [], 0.0
        for seed in SEEDS:
            g = network(seed, **options)
            repeats = max(1.0, 4 * np.pi * options.get("smooth", 0.0) ** 2)
            parts, cpu = timed(
                lambda g=g, r=repeats: separate_errors(
                    g.x, g.y, g.start, g.end, redundancy=r
                ),
                1,
            )
            sigma = np.full(g.x.shape, truth[0])
            triplets, more = timed(
                lambda g=g, s=sigma: close_triplets(g.x, g.y, s, s, g.start, g.end), 1
            )
            found.append([parts.match_sigma / truth[0] - 1, parts.scene_sigma / truth[1] - 1])
            closed.append(triplets.overall)
            spent += (cpu + more) / len(SEEDS)
        off = 100 * np.array(found)
        figures = [f"{off[:, k].mean():+.1f} ({np.abs(off[:, k]).max():.1f}) %" for k in (0, 1)]
        name = ", ".join(f"{k} {v}" for k, v in options.items()) or "30 scenes"
        print(f"{name:<40}{figures[0]:>16}{figures[1]:>16}{np.mean(closed):>9.3f}{spent:>8.2f}")


def maps() -> None:
    folder = TOP.parent / "shared" / "data" / "kaskawulsh"
    if not folder.is_dir():
        print("\nno real maps: skipped")
        return
    files = [folder / f"20180304-20180405_velo-raw_v{axis}.tif" for axis in "xy"]
    ice = folder / "glacier_V1_Kaskawulsh_s_inwardBuffer600m.shp"
    print(f"\n{'Kaskawulsh':<28}{'2 sigma x':>12}{'2 sigma y':>12}{'CPU-s':>8}")
    for method in ("robust", "glaft"):
        for inside in (None, ice):
            with tempfile.TemporaryDirectory() as out:
                found, spent = timed(
                    lambda m=method, i=inside, o=out: assess_files(
                        paired(files), Path(o), stable=folder / "bedrock_V2.shp", ice=i,
                        method=m, figures=False,
                    )
                )  # fmt: skip
            (q,) = found
            assert isinstance(q, MapQuality)
            assert q.static is not None
            name = method + (", with strain rates" if inside else "")
            print(f"{name:<28}{q.static.delta_x:>12.4f}{q.static.delta_y:>12.4f}{spent:>8.2f}")


def picture(path: Path) -> None:
    case = make_case(2, (180, 220), ramp=0.3, stripe=0.15, wave=0.1)
    b = fit_bias(case.d, case.stable, column_angle=10.0)
    title = "simulated: ramp 0.3 px, modules 0.15 px, undulation 0.1 px, 10 % false matches"
    ground_figure(
        path, title=title, raw=case.d, bias=b,
        corrected=scale_sigma(b.corrected, case.stable), stable=case.stable,
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--picture"]:
        picture(Path(sys.argv[2]))
        sys.exit()
    core()
    bias()
    shapes()
    errors()
    maps()
