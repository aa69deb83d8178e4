"""A picture of the floor: what bare ground shows, and which of the ice rises above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from hmavel._types import BoolArray, FloatArray

#: Okabe & Ito's blue, vermilion, and a grey.
_X, _Y, _BELOW = "#0072B2", "#D55E00", "#9A9A9A"


def floor_figure(
    path: Path, *, season: Mapping[str, FloatArray], record: Mapping[str, Any], title: str
) -> None:
    """Draw the floor of a glacier as PNG: amplitudes on the map and against the floor, ground.

    Parameters
    ----------
    path
        The PNG to write.
    season
        The bands of ``season_trend.tif``, (rows, cols).
    record
        ``floor.json``, with a floor.
    title
        Over all panels.

    Raises
    ------
    ValueError
        There is no floor in the record.
    """
    if not record.get("floor"):
        raise ValueError(
            "figures floor: expected a record with a floor, got one without: "
            f"{record.get('reason', '')}; draw nothing"
        )
    from matplotlib.figure import Figure as NewFigure

    rows, cols = season["amplitude"].shape
    figure = NewFigure(figsize=(12.0, 3.0 + 5.2 * rows / cols), layout="constrained", dpi=100)
    height = [5.2 * rows / cols, 3.0]
    grid = figure.add_gridspec(2, 2, height_ratios=height, width_ratios=[1.0, 1.0])
    shown = np.isfinite(season["amplitude"])
    below = season["season_below_floor"] == 1
    limit = float(np.quantile(season["amplitude"][shown], 0.98)) if shown.any() else 1.0
    for column, (words, hidden) in enumerate(
        (("all of the ice", ~shown), ("above the floor; grey: below", ~shown | below))
    ):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(
            np.where(shown & hidden, 1.0, np.nan), cmap="Greys", vmin=0, vmax=2.5,
            interpolation="nearest",
        )  # fmt: skip
        image = axes.imshow(
            np.where(hidden, np.nan, season["amplitude"]), cmap="viridis", vmin=0, vmax=limit,
            interpolation="nearest",
        )  # fmt: skip
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"seasonal amplitude, {words}", fontsize=9)
        if column == 1:
            figure.colorbar(image, ax=axes, shrink=0.8, extend="max", label="m/yr")
    _draw_ice(figure.add_subplot(grid[1, 0]), season, shown, below)
    _draw_ground(figure.add_subplot(grid[1, 1]), record)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _draw_ice(
    axes: Axes, season: Mapping[str, FloatArray], shown: BoolArray, below: BoolArray
) -> None:
    """Plot each cell's amplitude over its floor."""
    for which, colour, words in (
        (shown & below, _BELOW, "below"), (shown & ~below, _X, "above"),
    ):  # fmt: skip
        label = f"{words}: {int(which.sum())} cells"
        axes.loglog(
            season["season_floor"][which], season["amplitude"][which], ".", ms=3, color=colour,
            label=label, rasterized=True,
        )  # fmt: skip
    ends = np.array(axes.get_xlim())
    axes.plot(ends, ends, "k-", lw=0.8)
    axes.set(xlabel="floor of the cell, m/yr", ylabel="amplitude on the ice, m/yr")
    from matplotlib.ticker import FuncFormatter, NullFormatter

    # Plain numbers, 1-2-5 where the axis spans less than a decade or two: no "2x10^1".
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        axis.set_major_locator(_one_two_five(*limits))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    # Points are anywhere: the legend stands above them, outside.
    axes.legend(
        fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, frameon=False,
        markerscale=2.0,
    )  # fmt: skip


def _one_two_five(low: float, high: float) -> LogLocator:
    """Place ticks at 1, 2, 5, 10, ... where few decades are shown, else at the decades."""
    from matplotlib.ticker import LogLocator as NewLocator

    few = high < 100.0 * low
    return NewLocator(base=10.0, subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=12)


def _draw_ground(axes: Axes, record: Mapping[str, Any]) -> None:
    """Draw what ground shows: from its median to where 95 % show less, by class."""
    kinds: list[str] = []
    for side, (name, colour) in enumerate((("vx", _X), ("vy", _Y))):
        levels = {
            "away from ice": record[name]["season"],
            "next to ice": record[name]["margin_season"],
        }
        spans = {key: (v["median"], v["high"], v["cells"]) for key, v in levels.items() if v}
        spans |= {
            kind["name"]: (kind["season_median"], kind["season_high"], kind["cells"])
            for kind in record[name]["classes"]
            if kind["season_median"] is not None
        }
        for key, (median, high, cells) in spans.items():
            if key not in kinds:
                kinds.append(key)
            at = kinds.index(key) + 0.3 * side
            axes.plot([median, high], [at, at], "-", color=colour, lw=3, solid_capstyle="butt")
            axes.plot([median], [at], "o", color=colour, ms=4)
            if side == 0:
                axes.annotate(
                    f" {cells}", (high, at), fontsize=7, va="center", annotation_clip=False
                )
    axes.set_yticks(np.arange(len(kinds)) + 0.15, kinds, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("amplitude on bare ground, m/yr: median to 95 % (blue vx, red vy; cells)")


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
