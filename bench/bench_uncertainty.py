"""Static terrain: CPU time, memory and accuracy, with GLAFT beside it where it is installed.

``asv run`` reads the class; ``python bench/bench_uncertainty.py [--glaft]`` prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from typing import Any

import numpy as np

from hmavel.uncertainty import static_terrain

SIGMA = 0.05
#: 74 CPU-seconds for a million points: the package is timed up to this many.
GLAFT_MOST = 100_000


def cloud(n: int, outliers: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Core of sigma 0.05 and 0.075, false matches evenly out to 4."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0.3, SIGMA, n), rng.normal(-0.2, 1.5 * SIGMA, n)
    false = rng.random(n) < outliers
    k = int(false.sum())
    x[false], y[false] = rng.uniform(-4, 4, k), rng.uniform(-4, 4, k)
    return x, y


class StaticTerrainSuite:
    """Both methods from 1e3 to 1e7 points with 10 % false matches."""

    params = ([10**3, 10**4, 10**5, 10**6, 10**7], ["robust", "glaft"])
    param_names = ("points", "method")

    def setup(self, points: int, method: str) -> None:
        if method == "glaft" and points > 10**6:
            raise NotImplementedError
        self.x, self.y = cloud(points, 0.1, seed=1)

    def time_static_terrain(self, points: int, method: str) -> None:  # noqa: ARG002
        static_terrain(self.x, self.y, method=method)

    def peakmem_static_terrain(self, points: int, method: str) -> None:  # noqa: ARG002
        static_terrain(self.x, self.y, method=method)

    def track_half_width_error(self, points: int, method: str) -> float:  # noqa: ARG002
        return static_terrain(self.x, self.y, method=method).delta_x / (2 * SIGMA) - 1


def package(x: np.ndarray, y: np.ndarray) -> float:
    """Half-width by the glaft package, its own steps on the same samples."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import glaft

        run: Any = glaft.Velocity()
        run.xy = np.vstack([x, y])
        for step in (
            "calculate_xystd", "calculate_bandwidth", "calculate_kde", "construct_crude_mesh",
            "eval_crude_mesh", "construct_fine_mesh", "eval_fine_mesh",
            "thresholding_fine_mesh", "thresholding_metric",
        ):  # fmt: skip
            getattr(run, step)()
        return float(run.metric_static_terrain_x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--glaft", action="store_true", help="time the package as well")
    parser.add_argument("--outliers", type=float, default=0.1)
    given = parser.parse_args()
    runs: dict[str, Any] = {
        "hmavel robust": lambda x, y: static_terrain(x, y).delta_x,
        "hmavel glaft": lambda x, y: static_terrain(x, y, method="glaft").delta_x,
    }
    if given.glaft:
        package(*cloud(1000, 0.0, 0))  # imports
        runs["glaft 1.0.0"] = package
    print(f"truth: delta_x = {2 * SIGMA}; false matches: {given.outliers:.0%}")
    print(f"{'points':>9}  {'method':<14}{'CPU-s':>8}{'delta_x':>9}")
    for n in (200, 10**4, 10**5, 10**6, 10**7):
        x, y = cloud(n, given.outliers, seed=1)
        for name, run in runs.items():
            if name != "hmavel robust" and n > (GLAFT_MOST if "1.0" in name else 10**6):
                continue
            best, delta = np.inf, np.nan
            for _ in range(1 if "1.0" in name else 3):
                began = time.process_time()
                delta = run(x, y)
                best = min(best, time.process_time() - began)
            print(f"{n:>9}  {name:<14}{best:>8.3f}{delta:>9.4f}")


if __name__ == "__main__":
    main()
