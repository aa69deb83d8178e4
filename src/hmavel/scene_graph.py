"""Pairs as a graph over their scenes: whether it hangs together, and what it covers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hmavel._types import Scene, pair_id


@dataclass(frozen=True)
class PairChoice:
    """A pair worth making, and why it was chosen."""

    reference: Scene  #: the earlier
    secondary: Scene  #: the later
    baseline_days: float
    reason: str  #: "chain", "joins", "redundant", "year", "short", "set" or "adjacent path"

    @property
    def id(self) -> str:
        """Both ids, joined as in the file names."""
        return pair_id(self.reference.id, self.secondary.id)


@dataclass(frozen=True)
class PairGraph:
    """What a set of pairs looks like as a graph over its scenes."""

    scenes: int
    pairs: int
    components: int  #: parts that no pair joins; 1 is what the inversion wants
    lonely: tuple[str, ...]  #: ids of scenes in no pair
    least_degree: int  #: pairs of the scene with the fewest
    median_degree: float
    most_degree: int  #: pairs of the scene with the most
    redundant: int  #: scenes in at least three pairs
    least_days: float  #: shortest baseline
    median_days: float
    most_days: float
    months: int  #: calendar months from the first to the last scene
    months_short: int  #: of these, inside a pair of at most ``short_days``


def pair_graph(
    choices: Sequence[PairChoice], scenes: Sequence[Scene], *, short_days: float = 96.0
) -> PairGraph:
    """Describe the graph that ``choices`` make over ``scenes``, all that could be used."""
    index = {id(scene): n for n, scene in enumerate(scenes)}
    edges = [(index[id(c.reference)], index[id(c.secondary)]) for c in choices]
    degree = np.bincount(np.array(edges, int).ravel(), minlength=len(scenes))
    days = np.array([choice.baseline_days for choice in choices] or [0.0])
    covered: set[int] = set()
    for choice in choices:
        if choice.baseline_days <= short_days:
            first, last = _month(choice.reference), _month(choice.secondary)
            covered.update(range(first, last + 1))
    months = [_month(scene) for scene in scenes]
    return PairGraph(
        scenes=len(scenes),
        pairs=len(choices),
        components=len(set(components(len(scenes), edges))),
        lonely=tuple(scene.id for scene, d in zip(scenes, degree, strict=True) if d == 0),
        least_degree=int(degree.min()) if len(degree) else 0,
        median_degree=float(np.median(degree)) if len(degree) else 0.0,
        most_degree=int(degree.max(initial=0)),
        redundant=int((degree >= 3).sum()),
        least_days=float(days.min()),
        median_days=float(np.median(days)),
        most_days=float(days.max()),
        months=max(months) - min(months) + 1 if months else 0,
        months_short=len(covered),
    )


def components(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Label the connected parts of ``count`` nodes by their smallest node (union-find)."""
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


def _month(scene: Scene) -> int:
    """Months since January 1970."""
    return int(scene.time.astype("datetime64[M]").astype(np.int64))
