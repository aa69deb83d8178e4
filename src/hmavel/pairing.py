"""Which scenes to match with which: short pairs for the season, year-long ones for slow ice.

The chosen pairs are seen as a graph, scenes as its nodes: it must hang together, or the
months of two halves could not be compared, and every scene should be in several pairs, since
the error of a scene that is in one pair only cannot be told from motion.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmavel._types import DAYS_PER_YEAR, Scene

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000.0
#: Two dates are of one season when their days of the year are this close: the sun's azimuth
#: and height differ by a few degrees, and so do shadows.
_SEASON_DAYS = 40.0


@dataclass(frozen=True)
class PairChoice:
    """A pair worth making, and why it was chosen."""

    reference: Scene  #: the earlier
    secondary: Scene  #: the later
    baseline_days: float
    reason: str  #: "chain", "redundant", "joins", "year" or "short"

    @property
    def id(self) -> str:
        """Both ids, joined as in the file names."""
        return f"{self.reference.id}_X_{self.secondary.id}"


@dataclass(frozen=True)
class PairGraph:
    """What a set of pairs looks like as a graph over its scenes."""

    scenes: int
    pairs: int
    components: int  #: parts that no pair joins; 1 is what the inversion wants
    lonely: tuple[str, ...]  #: ids of scenes in no pair
    least_degree: int  #: pairs of the scene with the fewest
    median_degree: float
    median_days: float  #: baseline
    months: int  #: calendar months from the first to the last scene
    months_short: int  #: of these, inside a pair of at most ``short_days``


def select_pairs(
    scenes: Sequence[Scene],
    *,
    min_days: float = 15.0,
    max_days: float = 410.0,
    short_days: float = 96.0,
    successors: int = 3,
    per_year: int = 2,
    least_degree: int = 3,
    max_pairs: int | None = None,
) -> list[PairChoice]:
    """Choose pairs of scenes of one path/row and one grid zone.

    Parameters
    ----------
    scenes
        In any order; the answer does not depend on it.
    min_days, max_days
        Baselines allowed, both included. Landsat's revisit is 16 days minus seconds, which
        is why the default is not 16.
    short_days
        Up to this a pair counts as short: it resolves the season.
    successors
        Short pairs per scene, to the next scenes after it.
    per_year
        Pairs per scene to scenes about one year later, the nearest in season first: the same
        sun and snow, and a displacement that stands out of the error on slow ice.
    least_degree
        Every scene in at least this many pairs where the dates allow it.
    max_pairs
        Budget for each path/row. Pairs that hold the graph together come first, then those
        that make it redundant, then years and further successors in turn.

    Returns
    -------
    list of PairChoice
        Sorted by dates.

    Notes
    -----
    "chain": to the next scene at least ``min_days`` later, and from the last one before:
    these cover every date by the shortest baselines there are. "joins": the shortest pair
    between two parts that the chain left apart. "redundant": for scenes below
    ``least_degree``, preferring the same season. "year", "short": as above.
    """
    if not 0 < min_days <= max_days:
        raise ValueError(
            f"select_pairs: expected 0 < min_days <= max_days, got {min_days} and {max_days}; "
            "check the baselines"
        )
    if max_pairs is not None and max_pairs < 1:
        raise ValueError(
            f"select_pairs max_pairs: expected at least 1, got {max_pairs}; "
            "leave it out for all"
        )
    groups: dict[tuple[object, ...], list[Scene]] = defaultdict(list)
    for scene in scenes:
        groups[(scene.wrs or (0, 0), str(scene.grid.crs))].append(scene)
    chosen: list[PairChoice] = []
    for key in sorted(groups, key=repr):
        group = sorted(groups[key], key=_order)
        picker = _Picker(_days(group), min_days, max_days)
        picker.chain()
        picker.join()
        picker.fill(least_degree)
        picker.years_and_successors(per_year, successors, short_days)
        picks = picker.picks[:max_pairs]
        if max_pairs is not None and max_pairs < picker.essential:
            log.warning(
                "pairs %s: the budget of %d is below the %d that hold all scenes together",
                key[0],
                max_pairs,
                picker.essential,
            )
        chosen += [
            PairChoice(group[i], group[j], picker.baseline(i, j), why) for i, j, why in picks
        ]
    return sorted(chosen, key=lambda c: (_order(c.reference), _order(c.secondary)))


def pair_graph(
    choices: Sequence[PairChoice], scenes: Sequence[Scene], *, short_days: float = 96.0
) -> PairGraph:
    """Describe the graph that ``choices`` make over ``scenes``, all that could be used."""
    index = {id(scene): n for n, scene in enumerate(scenes)}
    edges = [(index[id(c.reference)], index[id(c.secondary)]) for c in choices]
    degree = np.zeros(len(scenes), int)
    for edge in edges:
        degree[list(edge)] += 1
    months: set[np.datetime64] = set()
    for choice in choices:
        if choice.baseline_days <= short_days:
            months.update(_months(choice.reference.time, choice.secondary.time))
    times = [scene.time for scene in scenes]
    return PairGraph(
        scenes=len(scenes),
        pairs=len(choices),
        components=len(set(_components(len(scenes), edges))),
        lonely=tuple(scene.id for scene, d in zip(scenes, degree, strict=True) if d == 0),
        least_degree=int(degree.min()) if len(degree) else 0,
        median_degree=float(np.median(degree)) if len(degree) else 0.0,
        median_days=float(np.median([c.baseline_days for c in choices])) if choices else 0.0,
        months=len(_months(min(times), max(times))) if times else 0,
        months_short=len(months),
    )


class _Picker:
    """Picks pairs (i, j, why) over sorted times, each once, in order of importance."""

    def __init__(self, days: NDArray[np.float64], min_days: float, max_days: float) -> None:
        self.days = days
        self.picks: list[tuple[int, int, str]] = []
        self.essential = 0
        self._taken: set[tuple[int, int]] = set()
        self._degree = np.zeros(len(days), int)
        # Scene i may be paired with the later scenes first[i] ... last[i] - 1.
        self._first = np.searchsorted(days, days + min_days, side="left")
        self._last = np.searchsorted(days, days + max_days, side="right")

    def baseline(self, i: int, j: int) -> float:
        return float(self.days[j] - self.days[i])

    def chain(self) -> None:
        n = len(self.days)
        for i in range(n):
            if self._first[i] < self._last[i]:
                self._take(i, int(self._first[i]), "chain")
        for j in range(n):
            earlier = self._earlier(j)
            if earlier:
                self._take(earlier[-1], j, "chain")
        self.essential = len(self.picks)

    def join(self) -> None:
        parts = _components(len(self.days), [pick[:2] for pick in self.picks])
        if len(set(parts)) > 1:
            # Kruskal's tree over what is left: shortest baselines first.
            links = sorted(self._links(), key=lambda link: (self.baseline(*link), link))
            for i, j in links:
                if parts[i] != parts[j]:
                    self._take(i, j, "joins")
                    old, new = parts[j], parts[i]
                    parts = [new if part == old else part for part in parts]
        self.essential = len(self.picks)

    def fill(self, least: int) -> None:
        for k in range(len(self.days)):
            if self._degree[k] >= least:
                continue
            links = [(i, k) for i in self._earlier(k)] + [(k, j) for j in self._later(k)]
            links = [link for link in links if link not in self._taken]
            links.sort(key=lambda link: (*self._cost(*link), link))
            for link in links[: least - int(self._degree[k])]:
                self._take(*link, "redundant")

    def years_and_successors(self, per_year: int, successors: int, short_days: float) -> None:
        for turn in range(max(per_year, successors)):
            if turn < per_year:
                for i in range(len(self.days)):
                    yearly = sorted(
                        (off, j)
                        for j in self._later(i)
                        if (off := self._off_year(i, j)) is not None
                    )
                    if turn < len(yearly):
                        self._take(i, yearly[turn][1], "year")
            if 0 < turn < successors:  # turn 0 is the chain
                for i in range(len(self.days)):
                    j = int(self._first[i]) + turn
                    if j < self._last[i] and self.baseline(i, j) <= short_days:
                        self._take(i, j, "short")

    def _take(self, i: int, j: int, why: str) -> None:
        if (i, j) not in self._taken:
            self._taken.add((i, j))
            self.picks.append((i, j, why))
            self._degree[[i, j]] += 1

    def _later(self, i: int) -> range:
        return range(int(self._first[i]), int(self._last[i]))

    def _earlier(self, j: int) -> list[int]:
        return [i for i in range(j) if self._first[i] <= j < self._last[i]]

    def _links(self) -> Iterator[tuple[int, int]]:
        for i in range(len(self.days)):
            for j in self._later(i):
                yield i, j

    def _off_year(self, i: int, j: int) -> float | None:
        """Days by which a pair misses one whole year, None when it is no year-long pair."""
        off = abs(self.baseline(i, j) - DAYS_PER_YEAR)
        return off if off <= _SEASON_DAYS else None

    def _cost(self, i: int, j: int) -> tuple[float, float]:
        """Rank a link: same season first (short or whole years), then the shorter."""
        days = self.baseline(i, j)
        off = min(days % DAYS_PER_YEAR, -days % DAYS_PER_YEAR)
        return (0.0 if off <= _SEASON_DAYS else 1.0, days)


def _order(scene: Scene) -> tuple[np.datetime64, str]:
    return scene.time, scene.id


def _days(scenes: Iterable[Scene]) -> NDArray[np.float64]:
    stamps = np.asarray([scene.time for scene in scenes], "datetime64[ms]")
    return stamps.astype(np.int64) / _DAY_MS


def _months(start: np.datetime64, end: np.datetime64) -> list[np.datetime64]:
    first, last = start.astype("datetime64[M]"), end.astype("datetime64[M]")
    return list(np.arange(first, last + 1))


def _components(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Label the connected parts by their smallest node (union-find)."""
    parent = list(range(count))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for i, j in edges:
        a, b = root(i), root(j)
        parent[max(a, b)] = min(a, b)
    return [root(k) for k in range(count)]
