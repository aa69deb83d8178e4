"""Pictures of what bare ground says: scatter, matching error, its profile, its sigmas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.atomic import atomic_path
from hmavel.core import core_scatter

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hmavel._types import BoolArray, Displacement, FloatArray
    from hmavel.bias import Bias
    from hmavel.terrain import StaticTerrain

#: Okabe & Ito's blue, vermilion and green.
_ONE, _TWO, _THREE = "#0072B2", "#D55E00", "#009E73"
#: Bandwidth of the radial Epanechnikov kernel over its standard deviation per axis.
_EPANECHNIKOV = 6**0.5
#: Points that are drawn; more only make the file larger.
_MOST_POINTS = 20_000


def scatter_figure(
    path: Path, vx: FloatArray, vy: FloatArray, terrain: StaticTerrain, *, title: str, unit: str
) -> None:
    """Draw the scatter over bare ground as PNG: points, density, contour, half-widths.

    Parameters
    ----------
    path
        The PNG to write.
    vx, vy
        Samples over bare ground, 1-D, finite.
    terrain
        Their ``static_terrain``.
    title, unit
        Over the picture; of the samples.
    """
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(6.4, 5.4), layout="constrained", dpi=100)
    _draw_scatter(figure, figure.add_subplot(), vx, vy, terrain, unit)
    figure.suptitle(title, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def ground_figure(
    path: Path,
    *,
    title: str,
    raw: Displacement,
    bias: Bias,
    corrected: Displacement,
    stable: BoolArray,
) -> None:
    """Draw what a pair's bare ground says as PNG: before and after, profile, scatter, QQ.

    Parameters
    ----------
    path
        The PNG to write.
    title
        Over all panels.
    raw, bias, corrected
        Displacement as matched, the error taken off it, and what came out, its sigma scaled.
    stable
        Bare ground, (rows, cols).

    Raises
    ------
    ValueError
        There is no matched node on bare ground to draw.
    """
    from matplotlib.figure import Figure as NewFigure

    on = stable & corrected.good
    if not on.any():
        raise ValueError(
            "figures ground: expected matched nodes on bare ground, got none; draw nothing"
        )
    rows, cols = raw.drow.shape
    wide = float(np.clip(3.0 * cols / rows, 2.2, 4.6))
    figure = NewFigure(figsize=(3 * wide + 4.6, 7.4), layout="constrained", dpi=90)
    grid = figure.add_gridspec(2, 4, width_ratios=[wide, wide, wide, 4.2])
    limit = _limit(raw, bias, on)
    maps = (
        ("right", raw.dcol, bias.dcol, corrected.dcol),
        ("down", raw.drow, bias.drow, corrected.drow),
    )
    for i, (name, before, error, after) in enumerate(maps):
        panels = [figure.add_subplot(grid[i, k]) for k in range(3)]
        shown = (np.where(on, before, np.nan), error, np.where(on, after, np.nan))
        for axes, values, words in zip(
            panels, shown, ("matched", "taken off", "left over"), strict=True
        ):
            image = axes.imshow(
                values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
            )
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{words}, {name}", fontsize=9)
        figure.colorbar(image, ax=panels, shrink=0.7, extend="both", label="px")
    profile, quantiles = figure.add_subplot(grid[0, 3]), figure.add_subplot(grid[1, 3])
    _draw_profile(profile, raw, bias, on)
    _draw_quantiles(quantiles, corrected, on)
    figure.suptitle(f"{title}: bias {bias.model}, {bias.count} nodes", fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _limit(raw: Displacement, bias: Bias, on: BoolArray) -> float:
    """Return the ends of the colours: the error's, and two widths of the scatter about it."""
    core = core_scatter(raw.dcol[on], raw.drow[on])
    size = max(float(np.abs(bias.dcol).max()), float(np.abs(bias.drow).max()))
    return max(size, float(np.abs(core.centre).max())) + 2.0 * float(core.sigma.max()) + 1e-6


def _draw_scatter(
    figure: Figure, axes: Axes, vx: FloatArray, vy: FloatArray, t: StaticTerrain, unit: str
) -> None:
    from scipy.ndimage import gaussian_filter

    reach = 2.5 * max(t.delta_x, t.delta_y)
    edges = [np.linspace(c - reach, c + reach, 161) for c in (t.bias_x, t.bias_y)]
    counts, _, _ = np.histogram2d(vx, vy, bins=edges)
    # The kernel of the estimate, so that what is drawn is what was measured.
    density = gaussian_filter(counts.T, max(t.bandwidth / _EPANECHNIKOV / (reach / 80), 1.0))
    box = (edges[0][0], edges[0][-1], edges[1][0], edges[1][-1])
    take = slice(None, None, max(1, len(vx) // _MOST_POINTS))
    axes.plot(vx[take], vy[take], ",", color="0.55", zorder=0)
    middle = [(e[1:] + e[:-1]) / 2 for e in edges]
    levels = [np.exp(-(s**2) / 2) for s in (3.0, 2.0, 1.5, 1.0, 0.5, 0.0)]
    image = axes.contourf(*middle, density / density.max(), levels, cmap="viridis", alpha=0.75)
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(
        t.bias_x + t.delta_x * np.cos(turn), t.bias_y + t.delta_y * np.sin(turn),
        color=_TWO, linewidth=1.8, label=f"{t.thres_sigma:g} sigma",
    )
    axes.plot(t.bias_x, t.bias_y, "+", color=_TWO, markersize=12, markeredgewidth=2)
    axes.axhline(0.0, color="0.4", linewidth=0.7)
    axes.axvline(0.0, color="0.4", linewidth=0.7)
    axes.set(xlim=box[:2], ylim=box[2:], aspect="equal",
             xlabel=f"vx, {unit}", ylabel=f"vy, {unit}")
    words = [
        f"{t.count} points, {t.method}",
        f"bias {t.bias_x:+.3g}, {t.bias_y:+.3g}",
        f"half-widths {t.delta_x:.3g}, {t.delta_y:.3g}",
        f"outside {t.outlier_fraction:.1%}",
    ]
    axes.text(0.02, 0.98, "\n".join(words), transform=axes.transAxes, va="top", fontsize=8,
              bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none"})
    axes.legend(loc="lower right", fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.8, label="density / highest")


def _draw_profile(axes: Axes, raw: Displacement, bias: Bias, on: BoolArray) -> None:
    """Draw the error taken off by place across the track, and where the ground lies about it.

    The line is the mean along the track over all nodes. Points are the line plus the median
    of what is left over on the ground there: ground that is seen here at one end of a ramp and
    there at the other would jump for itself.
    """
    angle = np.deg2rad(bias.column_angle)
    row, col = np.meshgrid(raw.row, raw.col, indexing="ij")
    across = col * np.cos(angle) + row * np.sin(angle)
    step = float(raw.col[1] - raw.col[0]) if len(raw.col) > 1 else 8.0
    bins = np.floor((across - across.min()) / (2 * step)).astype(int)
    count = np.bincount(bins.ravel())
    place = across.min() + (np.arange(len(count)) + 0.5) * 2 * step
    order = np.argsort(bins[on], kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(bins[on][order])) + 1)
    parts = [part for part in parts if len(part) >= 8]
    seen = np.array([bins[on][part[0]] for part in parts], dtype=int)
    shown = ((raw.dcol, bias.dcol, _ONE, "right"), (raw.drow, bias.drow, _TWO, "down"))
    for measured, error, colour, name in shown:
        with np.errstate(invalid="ignore"):
            line = np.bincount(bins.ravel(), error.ravel()) / count
        left = (measured - error)[on]
        median = np.array([np.median(left[part]) for part in parts])
        axes.plot(
            place[seen], line[seen] + median, ".", color=colour, markersize=4,
            label=f"ground, {name}",
        )  # fmt: skip
        axes.plot(place, line, "-", color=colour, linewidth=1.4, label=f"taken off, {name}")
    axes.set(xlabel="across the track, px", ylabel="px")
    axes.set_title("mean along the track, medians of the ground about it", fontsize=9)
    axes.legend(fontsize=7, ncols=2)
    axes.grid(alpha=0.3)


def _draw_quantiles(axes: Axes, d: Displacement, on: BoolArray) -> None:
    """Draw quantiles of the standardised errors against those of a Gaussian."""
    from scipy.stats import norm

    for values, sigma, colour, name in (
        (d.dcol, d.sigma_col, _ONE, "right"), (d.drow, d.sigma_row, _TWO, "down"),
    ):  # fmt: skip
        z: Any = (values / sigma)[on & (sigma > 0)]
        z = np.sort(z[np.isfinite(z)])
        if z.size < 10:
            continue
        share = (np.arange(z.size) + 0.5) / z.size
        thin = np.unique(np.linspace(0, z.size - 1, 400).astype(int))
        axes.plot(norm.ppf(share[thin]), z[thin], ".", color=colour, markersize=3, label=name)
    axes.plot([-4, 4], [-4, 4], color="0.3", linewidth=0.8)
    axes.set(xlim=(-4, 4), ylim=(-6, 6), xlabel="quantile of a Gaussian")
    axes.set_ylabel("error / sigma")
    axes.set_title("standardised errors on bare ground", fontsize=9)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
