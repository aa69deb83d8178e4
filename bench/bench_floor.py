"""Seasons and trends that are not there, and how many of them are below the floor.

``python bench/bench_floor.py FOLDER ...``: folders of ``hmavel demo``, a seed each; of longer
archives: ``simulate.archive(years=...)`` below ``archive``, the run's output beside it in
``out``. On the ice, a season (along the mean flow) is

- *told*: ``p_no_season`` < 0.05, what a user would take for one;
- *false*: told, and the truth has less than 1 m/yr where the cell's centre is;
- *false, alone*: and less than 1 m/yr within a window of it, so that it was not borrowed from
  faster ice next to it;
- *true*: told, and the truth has 5 m/yr or more; *strong*: 20 m/yr or more.

The truth is the wave that is nearest to the true months of the cell.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
from scipy import ndimage

from hmavel import simulate

FALSE_M_YR, TRUE_M_YR, STRONG_M_YR = 1.0, 5.0, 20.0
FALSE_TREND, TRUE_TREND = 0.3, 3.0
NAMES = ("false", "false, alone", "true", "strong", "false trend", "true trend")


def waves(months, v):
    """Trend and wave of true months by least squares, (3, cells)."""
    time = (months - months[0]).astype(float) / 12
    phase = 2 * np.pi * ((months.astype(int) % 12) + 0.5) / 12
    design = np.stack([np.ones(len(v)), time - time.mean(), np.cos(phase), np.sin(phase)], 1)
    return (np.linalg.pinv(design) @ v.reshape(len(v), -1)).reshape(4, *v.shape[1:])[1:]


def glacier(archive, folder):
    """Count what is told of each kind, and what of it is below the floor: (kinds, 2)."""
    from hmavel._types import Grid

    with rasterio.open(folder / "season_trend.tif") as file:
        band = dict(zip(file.descriptions, file.read().astype(float), strict=True))
        grid = Grid(file.crs, file.transform, file.shape)
    months = sorted(folder.glob("velocity_*.tif"))
    months = np.array([m.stem[9:] for m in months], "M8[M]")
    tx, ty = (waves(months, v) for v in archive.true_months(months, grid))
    azimuth = np.deg2rad(band["azimuth"])
    along = np.sin(azimuth) * tx + np.cos(azimuth) * ty
    true = np.hypot(along[1], along[2])
    around = ndimage.maximum_filter(np.sqrt((tx[1:] ** 2 + ty[1:] ** 2).sum(axis=0)), 5)
    told, trend = band["season_flag"] == 0, band["trend_flag"] == 0
    kinds = (
        told & (true < FALSE_M_YR), told & (around < FALSE_M_YR), told & (true >= TRUE_M_YR),
        told & (true >= STRONG_M_YR),
        trend & (np.abs(along[0]) < FALSE_TREND), trend & (np.abs(along[0]) >= TRUE_TREND),
    )
    below = [band["season_below_floor"] == 1] * 4 + [band["trend_below_floor"] == 1] * 2
    return np.array([[(k & b).sum(), k.sum()] for k, b in zip(kinds, below, strict=True)])


def main(folders) -> None:
    """Print the counts of each glacier of each folder, and the shares over all."""
    total = 0
    for folder in map(Path, folders):
        archive = simulate.load(folder / "archive")
        for path in sorted((folder / "out").glob("*/season_trend.tif")):
            found = glacier(archive, path.parent)
            total = total + found
            words = ", ".join(
                f"{name} {a}/{b}" for name, (a, b) in zip(NAMES, found, strict=True)
            )
            print(f"{folder.name} {archive.glacier(path.parent.name).kind:7s} below: {words}")
    for name, (a, b) in zip(NAMES, total, strict=True):
        print(f"{name:13s} {b:5d} told, {a / max(b, 1):.3f} of them below the floor")


if __name__ == "__main__":
    main(sys.argv[1:])
