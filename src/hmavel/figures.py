"""Pictures: a glacier's velocity and its months with their error; a pair's velocity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel._types import Quality
from hmavel.atomic import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hmavel._types import BoolArray, FloatArray, Grid, TimeArray, Velocity

#: Okabe & Ito's blue and vermilion: told apart with every kind of colour vision.
_MEASURED, _TRUTH = "#0072B2", "#D55E00"
_KM = 1e-3


@dataclass(frozen=True)
class Series:
    """The months of one place: speed in m/yr, NaN = blank."""

    label: str
    row: int  #: cell of the map
    col: int
    months: TimeArray  #: (n,) datetime64[M]
    speed: FloatArray  #: (n,)
    sigma: FloatArray  #: (n,) 1 sigma
    truth_times: TimeArray | None = None  #: (k,) datetime64, where a truth is known
    truth: FloatArray | None = None  #: (k,)


def hillshade(height: FloatArray, pixel: float, *, azimuth: float = 315.0) -> FloatArray:
    """Return the brightness 0 ... 1 of a matt surface lit from 45 degrees above ``azimuth``.

    Parameters
    ----------
    height
        Metres, (rows, cols), row down (north up).
    pixel
        Metres.
    azimuth
        Of the light, degrees clockwise from north.
    """
    down, right = np.gradient(np.asarray(height, float), pixel)
    sun = np.deg2rad(azimuth)
    # The slope towards the light; row counts southwards, so d/dnorth is -d/drow.
    towards = np.sin(sun) * right - np.cos(sun) * down
    lit = (1.0 - towards) / np.sqrt(2.0 * (1.0 + right**2 + down**2))
    return np.asarray(np.clip(lit, 0.0, 1.0))


def glacier_figure(
    path: Path,
    *,
    title: str,
    grid: Grid,
    ice: BoolArray,
    vx: FloatArray,
    vy: FloatArray,
    series: list[Series],
    relief: tuple[FloatArray, Grid] | None = None,
) -> None:
    """Draw a glacier as PNG: its mean velocity over the relief, and the months of places.

    Parameters
    ----------
    path
        The PNG to write.
    title
        Over both panels.
    grid, ice, vx, vy
        The map: true on the glacier, and the velocity in m/yr, NaN = blank.
    series
        One to three places; each is marked on the map.
    relief
        Height in metres and its grid (same CRS), for the shading; None leaves it white.
    """
    from matplotlib.figure import Figure as NewFigure

    height, width = _extent_km(grid)
    map_width = float(np.clip(5.2 * width / height, 3.2, 7.5))
    figure = NewFigure(figsize=(map_width + 7.0, 5.4), layout="constrained", dpi=110)
    panels = figure.add_gridspec(len(series), 2, width_ratios=[map_width, 5.0])
    _draw_map(figure, figure.add_subplot(panels[:, 0]), grid, ice, vx, vy, series, relief)
    first: Axes | None = None
    for index, place in enumerate(series):
        axes = figure.add_subplot(panels[index, 1], sharex=first)
        first = first or axes
        _draw_series(axes, place, legend=index == 0)
        axes.tick_params(labelbottom=index == len(series) - 1)
    figure.suptitle(title, fontsize=12)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def pair_figure(
    path: Path, *, title: str, image: FloatArray, image_grid: Grid, velocity: Velocity
) -> None:
    """Draw a pair as PNG: its speed over the reference image, and why cells are empty.

    Parameters
    ----------
    path
        The PNG to write.
    title
        Over both panels.
    image, image_grid
        The reference's Band 8, NaN = no data, and its grid.
    velocity
        The pair's velocity, m/yr.
    """
    from matplotlib.colors import ListedColormap, PowerNorm
    from matplotlib.figure import Figure as NewFigure

    height, width = _extent_km(velocity.grid)
    panel = float(np.clip(5.5 * width / height, 3.5, 9.0))
    figure = NewFigure(figsize=(2 * panel + 1.6, 6.0), layout="constrained", dpi=100)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    # Every few pixels will do for a picture of some hundred dots a side.
    thin = max(1, round(max(image.shape) / 900))
    low, high = np.nanpercentile(image[::thin, ::thin], [2.0, 98.0])
    axes[0].imshow(
        image[::thin, ::thin], extent=_box_km(image_grid), cmap="gray", vmin=low, vmax=high
    )
    coarse = max(1, math.ceil(max(velocity.quality.shape) / 900))
    part = (slice(coarse // 2, None, coarse),) * 2
    speed, quality = np.hypot(velocity.vx[part], velocity.vy[part]), velocity.quality[part]
    known = speed[np.isfinite(speed)]
    top = max(float(np.percentile(known, 99.5)) if known.size else 1.0, 1.0)
    # The square root keeps slow ice apart where a trunk runs a hundred times as fast.
    drawn = axes[0].imshow(
        speed, extent=_box_km(velocity.grid), cmap="viridis", alpha=0.85,
        norm=PowerNorm(0.5, vmin=0.0, vmax=top), interpolation="nearest",
    )
    x = velocity.grid.x(np.arange(velocity.grid.shape[1])) * _KM
    y = velocity.grid.y(np.arange(velocity.grid.shape[0])) * _KM
    _draw_arrows(axes[0], x, y, velocity.vx, velocity.vy, top)
    figure.colorbar(drawn, ax=axes[0], shrink=0.8, extend="max", label="speed, m/yr")
    codes = [q for q in Quality if (quality == q).any()]
    places = np.searchsorted([int(q) for q in codes], quality)
    # Twelve colours of Paul Tol's that are told apart; measured cells are pale.
    palette = ["#DDDDDD", "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77",
               "#CC6677", "#882255", "#AA4499", "#FFFFFF", "#555555"]  # fmt: skip
    coded = axes[1].imshow(
        places, extent=_box_km(velocity.grid), interpolation="nearest",
        cmap=ListedColormap([palette[q] for q in codes]), vmin=-0.5, vmax=len(codes) - 0.5,
    )
    bar = figure.colorbar(coded, ax=axes[1], shrink=0.8, ticks=range(len(codes)))
    bar.ax.set_yticklabels([q.name.lower().replace("_", " ") for q in codes])
    axes[0].set(ylabel="northing, km")
    for each in axes:
        each.set(aspect="equal", xlabel="easting, km")
        each.ticklabel_format(style="plain", useOffset=False)
    figure.suptitle(title, fontsize=12)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _extent_km(grid: Grid) -> tuple[float, float]:
    return (grid.shape[0] * grid.pixel * _KM, grid.shape[1] * grid.pixel * _KM)


def _box_km(grid: Grid) -> tuple[float, float, float, float]:
    left, bottom, right, top = grid.bounds
    return (left * _KM, right * _KM, bottom * _KM, top * _KM)


def _view_km(
    grid: Grid, ice: BoolArray, shade: FloatArray, where: Grid
) -> tuple[float, float, float, float]:
    """Return the part of the map to show: no margin without relief, but all of the ice."""
    # All of the ice; and what relief there is around it, not what its edge leaves bare.
    boxes = [
        _box_km(of.crop(rows[0], cols[0], rows[-1] + 1 - rows[0], cols[-1] + 1 - cols[0]))
        for of, known in ((grid, ice), (where, np.isfinite(shade)))
        if len(rows := np.flatnonzero(known.any(axis=1)))
        and len(cols := np.flatnonzero(known.any(axis=0)))
    ]
    outer, whole = np.array(boxes or [_box_km(grid)]), _box_km(grid)
    return (
        max(float(outer[:, 0].min()), whole[0]), min(float(outer[:, 1].max()), whole[1]),
        max(float(outer[:, 2].min()), whole[2]), min(float(outer[:, 3].max()), whole[3]),
    )  # fmt: skip


def _draw_map(
    figure: Figure,
    axes: Axes,
    grid: Grid,
    ice: BoolArray,
    vx: FloatArray,
    vy: FloatArray,
    series: list[Series],
    relief: tuple[FloatArray, Grid] | None,
) -> None:
    left, right, low, high = _box_km(grid)
    if relief is not None:
        heights, where = relief
        shade = hillshade(heights, where.pixel)
        axes.imshow(
            shade, extent=_box_km(where), cmap="gray", vmin=0.0, vmax=1.05,
            interpolation="bilinear",
        )
        left, right, low, high = _view_km(grid, ice, shade, where)
    speed = np.where(ice, np.hypot(vx, vy), np.nan)
    known = speed[np.isfinite(speed)]
    top = float(np.percentile(known, 99.5)) if known.size else 1.0
    image = axes.imshow(
        speed, extent=_box_km(grid), cmap="viridis", vmin=0.0, vmax=max(top, 1.0), alpha=0.9,
        interpolation="nearest",
    )
    x, y = grid.x(np.arange(grid.shape[1])) * _KM, grid.y(np.arange(grid.shape[0])) * _KM
    if 0 < ice.sum() < ice.size:
        axes.contour(x, y, ice.astype(float), levels=[0.5], colors="black", linewidths=0.8)
    _draw_arrows(axes, x, y, np.where(ice, vx, np.nan), np.where(ice, vy, np.nan), top)
    for place in series:
        point = (x[place.col], y[place.row])
        axes.plot(*point, "o", markersize=9, color="white", markeredgecolor="black")
        axes.annotate(place.label, point, ha="center", va="center", fontsize=7, color="black")
    axes.set(aspect="equal", xlabel="easting, km", ylabel="northing, km")
    axes.set(xlim=(left, right), ylim=(low, high))
    axes.ticklabel_format(style="plain", useOffset=False)
    figure.colorbar(image, ax=axes, shrink=0.8, extend="max", label="mean speed, m/yr")


def _draw_arrows(
    axes: Axes, x: FloatArray, y: FloatArray, vx: FloatArray, vy: FloatArray, top: float
) -> None:
    """Draw some fifty arrows where the flow is not noise."""
    every = max(2, round(np.sqrt(np.isfinite(vx).sum() / 50)))
    part = (slice(every // 2, None, every),) * 2
    u, v = vx[part], vy[part]
    size = np.hypot(u, v)
    with np.errstate(invalid="ignore"):
        shown = size > 0.15 * top
    scale = np.sqrt(np.maximum(size, 1e-9) * max(top, 1e-9))  # small ones stay visible
    east, north = np.meshgrid(x[part[1]], y[part[0]])
    axes.quiver(
        east[shown], north[shown], (u / scale)[shown], (v / scale)[shown], color="white",
        edgecolor="black", linewidth=0.4, scale=30, width=0.005, pivot="mid",
    )


def _draw_series(axes: Axes, place: Series, *, legend: bool) -> None:
    # A month's value stands in its middle.
    middle = place.months.astype("datetime64[D]") + np.timedelta64(14, "D")
    low, high = place.speed - place.sigma, place.speed + place.sigma
    band: dict[str, Any] = {"color": _MEASURED, "linewidth": 0}
    axes.fill_between(middle, place.speed - 2 * place.sigma, place.speed + 2 * place.sigma,
                      alpha=0.15, label="2 sigma", **band)
    axes.fill_between(middle, low, high, alpha=0.3, label="1 sigma", **band)
    # A month between two blanks has no band to be part of.
    axes.vlines(middle, low, high, color=_MEASURED, alpha=0.3, linewidth=1.0)
    axes.plot(middle, place.speed, "o-", color=_MEASURED, markersize=4, linewidth=1.2,
              label="measured")
    if place.truth is not None and place.truth_times is not None:
        axes.plot(place.truth_times, place.truth, "--", color=_TRUTH, linewidth=1.6,
                  label="truth")
    axes.set(ylabel="speed, m/yr", ylim=(0.0, None))
    axes.set_title(f"place {place.label}", loc="right", fontsize=9)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=4, fontsize=8, frameon=False
        )
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
