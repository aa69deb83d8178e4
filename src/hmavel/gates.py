"""Pass, warn or fail: what the figures of a pair, or of any velocity map, amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from hmavel._types import BoolArray
from hmavel.core import core_scatter

Figure = float | None
LEVELS = ("pass", "warn", "fail")
#: Fewer samples than this have no width.
_LEAST = 10


@dataclass(frozen=True)
class Limits:
    """For each figure: (warn, fail). Below them for the ``least`` ones, else above.

    The failing limits catch what no map can be made of; the warning ones what one should
    look at. A limit of 0 (least) or infinity never applies.
    """

    static_count: tuple[float, float] = (300.0, 0.0)  #: matched cells on bare ground
    static_spread_m: tuple[float, float] = (1500.0, 0.0)  #: rms distance from their middle
    bias_m: tuple[float, float] = (30.0, 300.0)  #: matching error before its removal
    delta_m: tuple[float, float] = (9.0, 60.0)  #: 2-sigma half-width over bare ground
    outliers: tuple[float, float] = (0.2, 0.7)  #: share of bare ground outside the core
    ground_matched: tuple[float, float] = (0.5, 0.0)  #: share of bare ground that is matched
    ice_matched: tuple[float, float] = (0.3, 0.0)  #: share of ice that is matched
    closure: tuple[float, float] = (1.5, 4.0)  #: spread of triplets over the predicted one


#: Figures that must be at least their limit; the others at most.
AT_LEAST = ("static_count", "static_spread_m", "ground_matched", "ice_matched")
_WORDS = {
    "static_count": "{:.0f} matched cells of bare ground",
    "static_spread_m": "bare ground within {:.0f} m",
    "bias_m": "matching error of {:.1f} m",
    "delta_m": "2 sigma of {:.1f} m over bare ground",
    "outliers": "{:.0%} of bare ground is outside the core",
    "ground_matched": "{:.0%} of bare ground matched",
    "ice_matched": "{:.0%} of the ice matched",
    "closure": "triplets spread {:.1f} times as much as predicted",
}


@dataclass(frozen=True)
class Gate:
    """The verdict over a set of figures."""

    level: str  #: the worst of "pass", "warn", "fail"
    reasons: tuple[str, ...]  #: what does not pass, the worst first
    figures: Mapping[str, Figure]  #: None = not known, which passes

    @property
    def text(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


def judge(figures: Mapping[str, Figure], limits: Limits | None = None) -> Gate:
    """Hold figures against their limits.

    Parameters
    ----------
    figures
        Any of the names in ``Limits``; None or NaN = not known. Other names are kept, and
        not judged.
    limits
        Default: ``Limits()``.

    Returns
    -------
    Gate
    """
    limits = limits or Limits()
    found: list[tuple[int, str]] = []
    for field in fields(Limits):
        value = figures.get(field.name)
        if value is None or np.isnan(value):
            continue
        warn, fail = getattr(limits, field.name)
        least = field.name in AT_LEAST
        failed, warned = ((value < x) if least else (value > x) for x in (fail, warn))
        if failed or warned:
            bound = fail if failed else warn
            words = _WORDS[field.name].format(value)
            sign = "at least" if least else "at most"
            found.append((2 if failed else 1, f"{words} ({sign} {bound:g})"))
    found.sort(key=lambda item: -item[0])
    level = LEVELS[found[0][0]] if found else LEVELS[0]
    return Gate(level, tuple(words for _, words in found), dict(figures))


def ground_figures(
    x: ArrayLike, y: ArrayLike, stable: BoolArray, cell_m: float
) -> dict[str, Figure]:
    """Return what the displacement over bare ground says.

    Parameters
    ----------
    x, y
        Displacement without its bias, metres, (rows, cols); NaN = not matched.
    stable
        Bare ground, (rows, cols).
    cell_m
        Side of a cell, metres.

    Returns
    -------
    dict
        ``static_count``, ``static_spread_m``, ``delta_m``, ``outliers``, ``ground_matched``;
        None where there is too little ground to say.
    """
    x, y = np.asarray(x), np.asarray(y)
    row, col = np.nonzero(stable & np.isfinite(x) & np.isfinite(y))
    cells = int(np.count_nonzero(stable))
    out: dict[str, Figure] = {
        "static_count": float(len(row)),
        "static_spread_m": None,
        "delta_m": None,
        "outliers": None,
        "ground_matched": len(row) / cells if cells else None,
    }
    if len(row) < _LEAST:
        return out
    core = core_scatter(x[row, col], y[row, col])
    return out | {
        "static_spread_m": spread_of_places(row, col) * cell_m,
        "delta_m": 2.0 * float(core.sigma.max()),
        "outliers": 1.0 - core.share,
    }


def spread_of_places(row: ArrayLike, col: ArrayLike) -> float:
    """Return the root mean square distance of places from their middle; 0 without any."""
    r, c = np.asarray(row, np.float64), np.asarray(col, np.float64)
    return float(np.sqrt(r.var() + c.var())) if r.size else 0.0
