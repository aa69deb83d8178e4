"""A picture of a glacier's scenes: which days were taken, which not, and for what reason."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from hmavel.outcome import Row

ACCEPTED = "accepted"
#: What a scene is counted as -> colour; Okabe and Ito's, told apart with any colour vision.
COLOURS = {
    ACCEPTED: "#0072B2",
    "cloud": "#999999",
    "snow": "#56B4E9",
    "shadow": "#000000",
    "saturated": "#F0E442",
    "little of it in the image": "#E69F00",
    "no bare ground": "#009E73",
    "unreadable": "#D55E00",
    "other": "#CC79A7",
}
_FIRST_WORDS = {
    "cloud": "cloud", "snow": "snow", "shadow": "shadow", "saturated": "saturated",
    "valid": "little of it in the image", "outside": "little of it in the image",
    "bare": "no bare ground", "unreadable": "unreadable",
}  # fmt: skip
_MONTHS = "JFMAMJJASOND"


def kind_of(row: Row) -> str:
    """Return what a row of the scene table is counted as: a key of ``COLOURS``."""
    if row["accepted"]:
        return ACCEPTED
    word = re.match(r"\w+", str(row["reason"]))
    return _FIRST_WORDS.get(word[0] if word else "", "other")


def months_of(rows: Sequence[Row]) -> dict[str, Counter[str]]:
    """Return calendar month ("2021-07") -> kind -> scenes, for rows with a time, by month."""
    counts: dict[str, Counter[str]] = {}
    for row in sorted(rows, key=lambda row: str(row["time"])):
        counts.setdefault(str(row["time"])[:7], Counter())[kind_of(row)] += 1
    return counts


def draw_calendar(path: Path, rows: Sequence[Row], title: str) -> None:
    """Draw the scenes of one glacier as a PNG.

    Above, every scene is a mark on the line of its year at its day; below, the scenes of each
    calendar month, all years together.

    Parameters
    ----------
    path
        The file; complete or not there.
    rows
        Rows of the scene table with a time.
    title
        Above the picture.

    Raises
    ------
    WriteError
        The file cannot be written.
    """
    from matplotlib.figure import Figure

    times = np.array([str(row["time"])[:10] for row in rows], "datetime64[D]")
    kinds = [kind_of(row) for row in rows]
    years = times.astype("datetime64[Y]")
    first, last = (int(str(year)) for year in (years.min(), years.max()))
    here = [kind for kind in COLOURS if kind in kinds]
    lines = last - first + 1
    figure = Figure(figsize=(9.0, 2.6 + 0.28 * lines), layout="constrained")
    days, bars = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [max(0.28 * lines, 0.5), 1.2]}
    )
    months = times.astype("datetime64[M]")
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    within = (times - months.astype("datetime64[D]")).astype(int) / length
    place = (months - years.astype("datetime64[M]")).astype(int) + within  # 0 ... 12
    for kind in here:
        mine = np.array([k == kind for k in kinds])
        taken = kind == ACCEPTED
        days.plot(
            place[mine], years[mine].astype(int) + 1970, linestyle="none", marker="|",
            markersize=11 if taken else 8, markeredgewidth=2.6 if taken else 1.6,
            color=COLOURS[kind], label=f"{kind} ({int(mine.sum())})",
        )  # fmt: skip
    days.set_ylim(last + 0.6, first - 0.6)
    days.set_yticks(range(first, last + 1))
    days.set_title(title, loc="left", fontsize=10)
    _stack(bars, place, kinds, here)
    for axes in (days, bars):
        axes.set_xlim(0, 12)
        axes.grid(axis="x", which="minor", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", which="both", length=0)
    bars.set_xticks(np.arange(12) + 0.5, list(_MONTHS))
    bars.set_xticks(np.arange(13), minor=True)
    figure.legend(
        *days.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(here), 5),
        frameon=False, fontsize=9,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _stack(axes: Axes, place: Any, kinds: Sequence[str], here: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    month = np.floor(place).astype(int)
    base = np.zeros(12)
    for kind in here:
        mine = np.array([k == kind for k in kinds])
        count = np.bincount(month[mine], minlength=12)
        axes.bar(np.arange(12) + 0.5, count, 0.8, bottom=base, color=COLOURS[kind])
        base += count
    axes.set_ylim(0, 1.05 * base.max())
    axes.set_ylabel("scenes")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
