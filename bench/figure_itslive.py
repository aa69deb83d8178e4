"""The picture of docs/gallery: twelve years of a real glacier from ITS_LIVE's pairs.

``python bench/figure_itslive.py CUBE GLACIERS OUT.png [FOLDER]``: months as ``hmavel itslive``
makes them (in FOLDER, made when it is empty), along the flow of three places, beside the
medians of the pairs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from hmavel import cli

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"


def draw(cube: Path, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with xr.open_dataset(cube) as data:
        data = data.load()
    ice = np.isfinite(data.vx).any("time").values
    mean = {a: np.nanmedian(data[a].values[:, ice], axis=0) for a in ("vx", "vy")}
    speed = np.full(ice.shape, np.nan)
    speed[ice] = np.hypot(mean["vx"], mean["vy"])
    ranked = np.sort(speed[ice])
    figure = plt.figure(figsize=(13, 6.5), layout="constrained", dpi=90)
    panels = figure.add_gridspec(3, 2, width_ratios=[1, 2.2])
    axes = [figure.add_subplot(panels[:, 0])]
    axes += [figure.add_subplot(panels[k, 1]) for k in range(3)]
    x, y = data.x.values / 1e3, data.y.values / 1e3
    rows, cols = np.flatnonzero(ice.any(1)), np.flatnonzero(ice.any(0))
    drawn = axes[0].pcolormesh(x, y, speed, vmin=0, vmax=ranked[int(0.98 * len(ranked))])
    axes[0].set(aspect="equal", xlim=(x[cols[0]], x[cols[-1]]), ylim=(y[rows[-1]], y[rows[0]]),
                xlabel="easting, km", ylabel="northing, km")
    axes[0].ticklabel_format(style="plain", useOffset=False)
    figure.colorbar(drawn, ax=axes[0], location="bottom", label="median velocity, m/yr")
    times = data.time.values
    for share, axis, label in zip((0.995, 0.9, 0.5), axes[1:], "ABC", strict=True):
        row, col = np.argwhere(speed == ranked[int(share * (len(ranked) - 1))])[0]
        u = np.array([np.nanmedian(data[a].values[:, row, col]) for a in ("vx", "vy")])
        u /= np.hypot(*u)

        def along(kind, row=row, col=col, u=u):
            return u[0] * kind("vx")[:, row, col] + u[1] * kind("vy")[:, row, col]

        v = along(lambda a: data[a].values)
        sigma = np.hypot(*(u[i] * data[f"{a}_error"].values[:, row, col]
                           for i, a in enumerate(("vx", "vy"))))
        median = along(lambda a: data[f"{a}_overlap_median"].values)
        flag = data.flag.values[:, row, col]
        for k, alpha in ((2, 0.15), (1, 0.3)):
            low, high = v - k * sigma, v + k * sigma
            axis.fill_between(times, low, high, color=BLUE, alpha=alpha, lw=0,
                              label=f"{k} sigma")
        axis.plot(times, v, color=BLUE, lw=1)
        axis.plot(times[flag == 0], v[flag == 0], "o", color=BLUE, ms=3, label="measured")
        axis.plot(times[flag == 1], v[flag == 1], "o", color="white", mec=BLUE, ms=3,
                  label="regularised")
        axis.plot(times, median, color=ORANGE, lw=0.8, label="median of pairs")
        axis.set(ylabel="m/yr along flow")
        axis.set_title(f"{label}", loc="left", fontsize=10)
        axis.axhline(0, color=GREY, lw=0.6)
        axis.grid(alpha=0.3)
        axes[0].plot(x[col], y[row], "o", ms=9, mfc="white", mec="black")
        axes[0].annotate(label, (x[col], y[row]), ha="center", va="center", fontsize=7)
    axes[1].legend(ncols=5, fontsize=8, frameon=False, loc="lower right")
    figure.suptitle("RGI2000-v7.0-G-15-16257, months from 1,714 Landsat-8/9 pairs of ITS_LIVE")
    figure.savefig(path)


def main(cube: str, glaciers: str, out: str, folder: str = "") -> None:
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(folder or temporary)
        if not list(made.glob("*/velocity.nc")):
            cli.main(["itslive", cube, "--glaciers", glaciers, "--out", str(made)])
        draw(next(made.glob("*/velocity.nc")), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
