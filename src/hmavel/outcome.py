"""The records that a run hands back: what was planned, done, left out, and how long it took."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from hmavel._types import Scene
    from hmavel.pair_chain import Measured
    from hmavel.pairing import PairChoice
    from hmavel.parallel import Failure
    from hmavel.site import Site

#: Columns of ``scenes.csv``: one row per glacier and scene.
SCENE_COLUMNS = (
    "glacier", "scene", "time", "accepted", "reason", "valid", "cloud", "shadow", "snow",
    "saturated", "bare", "source", "path",
)  # fmt: skip
#: Columns of ``pairs.csv``: one row per glacier and pair.
PAIR_COLUMNS = (
    "glacier", "reference", "secondary", "start", "end", "days", "chosen_for", "state",
    "reason", "nodes_ice", "good_ice", "stable", "model", "bias_east_m", "bias_north_m",
    "nmad_east_m", "nmad_north_m", "sigma_vx", "sigma_vy", "gate", "gate_reasons",
    "static_spread_m", "bias_m", "delta_m", "outliers", "ground_matched", "ice_matched",
    "closure", "closure_ice", "redundancy", "unsteady",
)  # fmt: skip
FAILURE_COLUMNS = ("item", "error", "reason")

Row = dict[str, Any]


@dataclass(frozen=True)
class GlacierPlan:
    """One glacier: where it is, which scenes are good for it, which pairs are made of them."""

    site: Site
    rows: list[Row]  #: SCENE_COLUMNS
    scenes: list[Scene]  #: the accepted ones, by time
    pairs: list[PairChoice]


@dataclass(frozen=True)
class Plan:
    """What a configuration amounts to."""

    folder: Path
    glaciers: list[GlacierPlan]
    found: int  #: usable scenes in the archive
    failures: list[Failure]  #: products and glaciers that cannot be used
    notes: list[str] = field(default_factory=list)  #: what was left out for a good reason
    left_out: list[Row] = field(default_factory=list)  #: SCENE_COLUMNS: products not usable
    short_days: float = 96.0  #: up to this a pair resolves the season

    @property
    def rows(self) -> list[Row]:
        """All rows of the scene table."""
        return [row for glacier in self.glaciers for row in glacier.rows] + self.left_out

    @property
    def span(self) -> tuple[np.datetime64, np.datetime64] | None:
        """First and last time of any pair of any glacier; None without pairs."""
        pairs = [pair for glacier in self.glaciers for pair in glacier.pairs]
        if not pairs:
            return None
        return min(p.reference.time for p in pairs), max(p.secondary.time for p in pairs)


@dataclass(frozen=True)
class GlacierResult:
    """What was made of one glacier."""

    id: str
    rows: list[Row]  #: PAIR_COLUMNS
    folder: Path
    months: int  #: monthly files
    made: int  #: pairs matched by this run; the others were there
    state: str  #: fingerprint of its months, "" when it has none
    failures: list[Failure]
    seconds: dict[str, float] = field(default_factory=dict)  #: stage -> seconds of work
    counts: dict[str, float] = field(default_factory=dict)  #: what was read, see ``Clock``


@dataclass(frozen=True)
class RunResult:
    """What a run came to."""

    plan: Plan
    glaciers: list[GlacierResult]
    failures: list[Failure]
    seconds: dict[str, float]  #: stage -> seconds of work, summed over the jobs
    elapsed: float  #: seconds on the clock
    counts: dict[str, float] = field(default_factory=dict)  #: what was read, see ``Clock``


@dataclass(frozen=True)
class PairResult:
    """What a single pair came to."""

    folder: Path
    id: str
    baseline_days: float
    measured: Measured  #: every stage's arrays
    figures: Row  #: those of ``pair.json``, and the numbers of nodes


class Clock:
    """Seconds per stage, and what was read, added up over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        #: "scenes read", "scenes used", "bytes read", "bytes spilled"
        self.counts: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._begin = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._begin

    def count(self, **numbers: float) -> None:
        """Add numbers; ``_`` in their names stands for a space."""
        with self._lock:
            for name, number in numbers.items():
                self.counts[name.replace("_", " ")] += number

    def add(self, seconds: Mapping[str, float], counts: Mapping[str, float]) -> None:
        """Add what another clock has counted."""
        with self._lock:
            for name, value in seconds.items():
                self.seconds[name] += value
            for name, value in counts.items():
                self.counts[name] += value

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[name] += time.perf_counter() - begin
