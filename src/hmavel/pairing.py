"""Which scenes to match with which: short pairs for the season, year-long ones for slow ice.

The chosen pairs are seen as a graph, scenes as its nodes: it must hang together, or the
months of two halves could not be compared, and every scene should be in several pairs, since
the error of a scene that is in one pair only cannot be told from motion.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hmavel._types import DAYS_PER_YEAR, Scene, days_between
from hmavel.scene_graph import PairChoice, PairGraph, components, pair_graph

__all__ = ["PairChoice", "PairGraph", "pair_graph", "reach_days", "select_pairs"]

log = logging.getLogger(__name__)

#: A pair is "a year long" when it misses one year by no more than this.
_SEASON_DAYS = 40.0
#: Landsat's paths go round the Earth once.
_PATHS = 233

#: What holds a graph together, and what makes it redundant: never cut by a monthly budget.
_HOLDING = ("chain", "joins", "redundant")
Pick = tuple[int, int, str]


def select_pairs(
    scenes: Sequence[Scene],
    *,
    min_days: float = 15.0,
    max_days: float = 410.0,
    short_days: float = 96.0,
    successors: int = 3,
    per_year: int = 2,
    sets: Sequence[tuple[float, float, int]] = (),
    sun_degrees: float = 10.0,
    least_degree: int = 3,
    max_pairs: int | None = None,
    per_month: int | None = None,
    adjacent_paths: bool = False,
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
    sets
        Further sets of baselines, each (shortest, longest, pairs per scene), within
        ``min_days`` and ``max_days``.
    sun_degrees
        Where there is a choice, scenes whose suns are closer than this go first: moving
        shadows look like moving ice.
    least_degree
        Every scene in at least this many pairs where the dates allow it.
    max_pairs
        Budget for each path/row. Pairs that hold the graph together come first, then those
        that make it redundant, then years, further successors and sets in turn.
    per_month
        Budget for each calendar month (of a pair's middle), all paths together. It never
        cuts what holds the graph together or makes it redundant.
    adjacent_paths
        Also pair scenes of neighbouring paths, one for each scene. They are seen from two
        orbits: errors of the terrain model come out as displacement.

    Returns
    -------
    list of PairChoice
        Sorted by dates.

    Notes
    -----
    "chain": to the next scene at least ``min_days`` later, and from the last one before:
    these cover every date by the shortest baselines there are. "joins": the shortest pair
    between two parts that the chain left apart. "redundant": for scenes below
    ``least_degree``, preferring the same sun. "year", "short", "set", "adjacent path": as
    above. Scenes whose sun is unknown have the sun of their date.
    """
    _check(min_days, max_days, max_pairs, per_month, sets)
    groups: dict[tuple[object, ...], list[Scene]] = defaultdict(list)
    for scene in scenes:
        groups[(scene.wrs or (0, 0), str(scene.grid.crs))].append(scene)
    found: list[tuple[list[Scene], _Picker]] = []
    for key in sorted(groups, key=repr):
        group = sorted(groups[key], key=_order)
        picker = _Picker(group, min_days, max_days, sun_degrees)
        picker.chain()
        picker.join()
        picker.fill(least_degree)
        picker.in_turns(per_year, successors, short_days, sets)
        if max_pairs is not None and max_pairs < picker.essential:
            log.warning(
                "pairs %s: the budget of %d is below the %d that hold all scenes together",
                key[0],
                max_pairs,
                picker.essential,
            )
        picker.picks = picker.picks[:max_pairs]
        found.append((group, picker))
    chosen = [
        PairChoice(group[i], group[j], picker.baseline(i, j), why)
        for group, picker in found
        for i, j, why in picker.picks
    ]
    if adjacent_paths:
        chosen += _across([group for group, _ in found], min_days, short_days)
    if per_month is not None:
        chosen = _within(chosen, per_month)
    return sorted(chosen, key=lambda c: (_order(c.reference), _order(c.secondary)))


def reach_days(speed_m_yr: float, reach_m: float, *, allowance: float = 1.5) -> float:
    """Return the longest baseline over which ice of this speed stays within reach.

    ``allowance``: how much faster than the given speed, a mean, the ice may be for a while.
    """
    if not speed_m_yr > 0:
        return math.inf
    return reach_m / (allowance * speed_m_yr) * DAYS_PER_YEAR


class _Picker:
    """Picks pairs (i, j, why) over sorted scenes, each once, in order of importance."""

    def __init__(
        self, scenes: Sequence[Scene], min_days: float, max_days: float, sun_degrees: float
    ) -> None:
        self.days = _days(scenes)
        self.picks: list[Pick] = []
        self.essential = 0
        self._min_days, self._max_days, self._sun = min_days, max_days, sun_degrees
        self._light = _sun_directions(scenes)
        self._taken: set[tuple[int, int]] = set()
        self._degree = [0] * len(self.days)
        # Scene i may be paired with the later scenes first[i] ... last[i] - 1, and with the
        # earlier ones from[i] ... to[i] - 1.
        self._first, self._last = self._between(min_days, max_days)
        self._from = np.searchsorted(self._last, np.arange(len(self.days)), side="right")
        self._to = np.searchsorted(self._first, np.arange(len(self.days)), side="right")

    def baseline(self, i: int, j: int) -> float:
        return float(self.days[j] - self.days[i])

    def chain(self) -> None:
        n = len(self.days)
        for i in range(n):
            if self._first[i] < self._last[i]:
                self._take(i, int(self._first[i]), "chain")
        for j in range(n):
            if self._from[j] < self._to[j]:
                self._take(int(self._to[j]) - 1, j, "chain")
        self.essential = len(self.picks)

    def join(self) -> None:
        parts = components(len(self.days), [pick[:2] for pick in self.picks])
        if len(set(parts)) > 1:
            # Kruskal's tree over what is left: shortest baselines first.
            links = [link for link in self._links() if parts[link[0]] != parts[link[1]]]
            links.sort(key=lambda link: (self.baseline(*link), link))
            for i, j in links:
                if parts[i] != parts[j]:
                    self._take(i, j, "joins")
                    old, new = parts[j], parts[i]
                    parts = [new if part == old else part for part in parts]
        self.essential = len(self.picks)

    def fill(self, least: int) -> None:
        for k, degree in enumerate(self._degree):
            if degree >= least:
                continue
            links = [(i, k) for i in range(int(self._from[k]), int(self._to[k]))]
            links += [(k, j) for j in range(int(self._first[k]), int(self._last[k]))]
            links = [link for link in links if link not in self._taken]
            links.sort(key=lambda link: (self._other_sun(*link), self.baseline(*link), link))
            for link in links[: least - self._degree[k]]:
                self._take(*link, "redundant")

    def in_turns(
        self,
        per_year: int,
        successors: int,
        short_days: float,
        sets: Sequence[tuple[float, float, int]],
    ) -> None:
        """Add years, successors and further sets, one of each for every scene at a time."""
        years = self._ranked(
            DAYS_PER_YEAR - _SEASON_DAYS, DAYS_PER_YEAR + _SEASON_DAYS, DAYS_PER_YEAR
        )
        others = [(self._ranked(low, high, low), number) for low, high, number in sets]
        turns = max(per_year, successors, *(number for _, number in others), 0)
        for turn in range(turns):
            if turn < per_year:
                self._take_ranked(years, turn, "year")
            if 0 < turn < successors:  # turn 0 is the chain
                for i in range(len(self.days)):
                    j = int(self._first[i]) + turn
                    if j < self._last[i] and self.baseline(i, j) <= short_days:
                        self._take(i, j, "short")
            for ranked, number in others:
                if turn < number:
                    self._take_ranked(ranked, turn, "set")

    def _ranked(self, low: float, high: float, wish: float) -> list[list[int]]:
        """List each scene's partners in a set of baselines, the best first.

        Those of another sun come after the others, and each in order of its distance from the
        ``wish``.
        """
        first, last = self._between(max(low, self._min_days), min(high, self._max_days))
        ranked = []
        for i in range(len(self.days)):
            later = range(int(first[i]), int(last[i]))
            ranked.append(
                sorted(
                    later,
                    key=lambda j, i=i: (  # type: ignore[misc]
                        self._other_sun(i, j), abs(self.baseline(i, j) - wish), j
                    ),
                )
            )
        return ranked

    def _take_ranked(self, ranked: list[list[int]], turn: int, why: str) -> None:
        for i, partners in enumerate(ranked):
            if turn < len(partners):
                self._take(i, partners[turn], why)

    def _between(self, low: float, high: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return (
            np.searchsorted(self.days, self.days + low, side="left"),
            np.searchsorted(self.days, self.days + high, side="right"),
        )

    def _take(self, i: int, j: int, why: str) -> None:
        if (i, j) not in self._taken:
            self._taken.add((i, j))
            self.picks.append((i, j, why))
            self._degree[i] += 1
            self._degree[j] += 1

    def _links(self) -> Iterator[tuple[int, int]]:
        for i in range(len(self.days)):
            for j in range(int(self._first[i]), int(self._last[i])):
                yield i, j

    def _other_sun(self, i: int, j: int) -> bool:
        a, b = self._light[i], self._light[j]
        cosine = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
        return math.degrees(math.acos(min(max(cosine, -1.0), 1.0))) > self._sun


def _across(
    groups: Sequence[Sequence[Scene]], min_days: float, short_days: float
) -> list[PairChoice]:
    """Pair each scene with the next one of every neighbouring path."""
    found = []
    days = [_days(group) for group in groups]
    for a, group in enumerate(groups):
        for b, other in enumerate(groups):
            if not _adjacent(group[0], other[0]):
                continue
            nearest = np.searchsorted(days[b], days[a] + min_days, side="left")
            for i, j in enumerate(nearest):
                if j < len(other) and days[b][j] - days[a][i] <= short_days:
                    length = float(days[b][j] - days[a][i])
                    found.append(PairChoice(group[i], other[j], length, "adjacent path"))
    if found:
        log.warning(
            "pairs: %d join scenes of adjacent paths; they are seen from two orbits, so errors "
            "of the terrain model look like displacement (a tenth of the height error and "
            "more, mostly east-west): use them where nothing else is there",
            len(found),
        )
    return found


def _adjacent(a: Scene, b: Scene) -> bool:
    if a.wrs is None or b.wrs is None or a.grid.crs != b.grid.crs:
        return False
    paths = (a.wrs[0] - b.wrs[0]) % _PATHS
    return paths in (1, _PATHS - 1) and abs(a.wrs[1] - b.wrs[1]) <= 1


def _within(chosen: Sequence[PairChoice], per_month: int) -> list[PairChoice]:
    """Keep the pairs that a monthly budget has room for, the most needed first."""
    kept = [choice for choice in chosen if choice.reason in _HOLDING]
    used = Counter(map(_middle_month, kept))
    rest = sorted(
        (choice for choice in chosen if choice.reason not in _HOLDING),
        key=lambda c: (c.reason == "adjacent path", c.baseline_days, c.id),
    )
    # In turns of the purposes, or short pairs would leave no room for those of a year.
    queues: dict[str, list[PairChoice]] = defaultdict(list)
    for choice in rest:
        queues[choice.reason].append(choice)
    order = sorted(
        ((rank, name, choice) for name, queue in queues.items()
         for rank, choice in enumerate(_month_by_month(queue))),
        key=lambda item: (item[1] == "adjacent path", item[0], item[1]),
    )  # fmt: skip
    for _, _, choice in order:
        month = _middle_month(choice)
        if used[month] < per_month:
            used[month] += 1
            kept.append(choice)
    return kept


def _month_by_month(choices: Iterable[PairChoice]) -> list[PairChoice]:
    """Order pairs so that each month's first comes before any month's second."""
    seen: Counter[int] = Counter()
    ranked: list[tuple[int, int, PairChoice]] = []
    for choice in choices:
        month = _middle_month(choice)
        ranked.append((seen[month], len(ranked), choice))
        seen[month] += 1
    return [choice for *_, choice in sorted(ranked, key=lambda item: item[:2])]


def _middle_month(choice: PairChoice) -> int:
    start = choice.reference.time.astype("datetime64[ms]")
    middle = start + (choice.secondary.time.astype("datetime64[ms]") - start) // 2
    return int(middle.astype("datetime64[M]").astype(np.int64))


def _sun_directions(scenes: Sequence[Scene]) -> list[tuple[float, float, float]]:
    """Return unit vectors to the sun; of the date alone where a scene does not say."""
    known = [
        math.isfinite(s.sun_azimuth) and math.isfinite(s.sun_elevation) for s in scenes
    ]
    whole = all(known)  # the two kinds cannot be compared with each other
    directions = []
    for scene in scenes:
        if whole:
            up, round_ = math.radians(scene.sun_elevation), math.radians(scene.sun_azimuth)
        else:
            # At one local time the sun's direction turns with its declination.
            day = days_between(scene.time.astype("datetime64[Y]"), scene.time)
            up = math.radians(23.44) * math.sin(2 * math.pi * (day - 80.0) / DAYS_PER_YEAR)
            round_ = 0.0
        flat = math.cos(up)
        directions.append((flat * math.sin(round_), flat * math.cos(round_), math.sin(up)))
    return directions


def _order(scene: Scene) -> tuple[np.datetime64, str]:
    return scene.time, scene.id


def _days(scenes: Iterable[Scene]) -> NDArray[np.float64]:
    stamps = np.asarray([scene.time for scene in scenes], "datetime64[ms]")
    return days_between(np.datetime64(0, "ms"), stamps)


def _check(
    min_days: float,
    max_days: float,
    max_pairs: int | None,
    per_month: int | None,
    sets: Sequence[tuple[float, float, int]],
) -> None:
    if not 0 < min_days <= max_days:
        raise ValueError(
            f"select_pairs: expected 0 < min_days <= max_days, got {min_days} and {max_days}; "
            "check the baselines"
        )
    for name, value in (("max_pairs", max_pairs), ("per_month", per_month)):
        if value is not None and value < 1:
            raise ValueError(
                f"select_pairs {name}: expected at least 1, got {value}; "
                "leave it out for all"
            )
    for low, high, number in sets:
        if not (0 < low <= high and number >= 1):
            raise ValueError(
                "select_pairs sets: expected (shortest, longest, at least 1 pair per scene), "
                f"got {(low, high, number)}; check the set"
            )
