"""Which scenes are worth using for a glacier: decided once, kept in the catalogue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hmavel import __version__, parallel, state
from hmavel.config import as_json
from hmavel.mask import farthest_m
from hmavel.outline_grid import neighbours
from hmavel.parallel import Failure
from hmavel.parties import close_together
from hmavel.screening import Decision, Place, screen_together
from hmavel.seen import ImageWindow, write_seen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry

    from hmavel._types import Scene
    from hmavel.catalogue import Catalogue
    from hmavel.classes import Thresholds
    from hmavel.config import Config
    from hmavel.screening import Limits

#: Scene id -> what was decided about it, for one glacier.
Found = dict[str, tuple["Scene", Decision]]

#: Scenes that one task screens: the outlines are drawn once for them.
_CHUNK = 12


def wanted(scenes: Sequence[Scene], config: Config) -> list[Scene]:
    """Return the scenes of the paths, rows and dates that a configuration asks for."""
    paths = {tuple(int(part) for part in text.split("/")) for text in config.input.wrs}
    first = np.datetime64(config.input.first or "0001-01-01", "D")
    last = np.datetime64(config.input.last or "9999-12-31", "D")
    return [
        scene
        for scene in scenes
        if first <= scene.time.astype("datetime64[D]") <= last
        and (not paths or scene.wrs in paths)
    ]


class Known(NamedTuple):
    """Scenes that reach a glacier."""

    found: Found  #: those that were decided on
    new: list[Scene]  #: the others
    made_with: str  #: fingerprint of the options


def known_scenes(glacier: Any, catalogue: Catalogue, config: Config) -> Known:
    """Return what the catalogue knows of a glacier's scenes, by the options of now."""
    made_with = _fingerprint(glacier, config)
    known = {d.scene_id: d for d in catalogue.decisions(glacier.id, made_with)}
    reach = wanted(catalogue.scenes(glacier.id), config)
    return Known(
        {s.id: (s, known[s.id]) for s in reach if s.id in known},
        [s for s in reach if s.id not in known], made_with,
    )  # fmt: skip


class _Glacier(NamedTuple):
    """A row of the inventory, for another process."""

    id: str
    geometry: BaseGeometry
    near: GeoDataFrame  #: glaciers whose ice may be within sight
    made_with: str  #: fingerprint of the options


class _Task(NamedTuple):
    """Scenes, and the glaciers close together that each is to be decided on for."""

    glaciers: list[_Glacier]
    visits: list[tuple[Scene, list[int]]]
    seen: Path | None  #: folder for what matching will ask for


def screen_scenes(
    chosen: GeoDataFrame, inventory: GeoDataFrame, catalogue: Catalogue, config: Config,
    jobs: int, seen: Path | None = None,
) -> tuple[dict[str, Found], list[Failure]]:
    """Decide on every scene that reaches a glacier: glacier id -> scene id -> decision.

    Each scene is read once for the glaciers that lie close together. What is seen of the new
    ones that are accepted is kept below ``seen``, a folder for each glacier (see ``seen.py``).
    """
    decisions: dict[str, Found] = {}
    glaciers: list[_Glacier] = []
    new: list[list[Scene]] = []
    limits = config.screening.limits(config.glaciers)
    reach_m = limits.gap_m + limits.ground_m
    for glacier in chosen.itertuples():
        decisions[glacier.id], scenes, made_with = known_scenes(glacier, catalogue, config)
        if scenes:
            near = neighbours(glacier.geometry, inventory, reach_m=reach_m)
            glaciers.append(_Glacier(str(glacier.id), glacier.geometry, near, made_with))
            new.append(scenes)
    thresholds = config.mask.thresholds()
    parties = close_together(
        [glacier.geometry.bounds for glacier in glaciers], reach_m + farthest_m(thresholds)
    )
    tasks = [
        _Task([glaciers[i] for i in party], visits[k : k + _CHUNK], seen)
        for party in parties
        for visits in [_visits([new[i] for i in party])]
        for k in range(0, len(visits), _CHUNK)
    ]

    def keep(task: _Task, made: list[list[Decision]]) -> None:
        for glacier, some in zip(task.glaciers, made, strict=True):
            catalogue.decide(glacier.id, glacier.made_with, some)

    results = parallel.map(
        partial(
            _decide, limits=limits, thresholds=thresholds,
            image=ImageWindow(
                config.correlate.step, config.correlate.margin, config.glaciers.margin_m
            ),
        ),
        tasks, jobs=jobs,
        label="parts of the archive screened", workers="processes", keep=keep,
        name=lambda task: "screening of " + ", ".join(one.id for one in task.glaciers),
    )
    failures = []
    for task, result in zip(tasks, results, strict=True):
        if isinstance(result, Failure):
            failures.append(result)
            continue
        scene_of = {scene.id: scene for scene, _ in task.visits}
        for glacier, made in zip(task.glaciers, result, strict=True):
            decisions[glacier.id] |= {d.scene_id: (scene_of[d.scene_id], d) for d in made}
    failures += [
        Failure(f"scene {decision.scene_id} for {name}", decision.reason, "ReadError")
        for name, found in decisions.items()
        for _, decision in found.values()
        if decision.failed
    ]
    return decisions, failures


def _visits(scenes: Sequence[Sequence[Scene]]) -> list[tuple[Scene, list[int]]]:
    """Turn the scenes of each glacier into the glaciers of each scene, in order of time."""
    wanted_by: dict[str, tuple[Scene, list[int]]] = {}
    for i, some in enumerate(scenes):
        for scene in some:
            wanted_by.setdefault(scene.id, (scene, []))[1].append(i)
    return sorted(wanted_by.values(), key=lambda visit: (visit[0].time, visit[0].id))


def _decide(
    task: _Task, *, limits: Limits, thresholds: Thresholds, image: ImageWindow
) -> list[list[Decision]]:
    """Screen some scenes; return what was decided for each glacier."""
    keeps = None if task.seen is None else image
    places = [Place(one, limits, one.near, keeps) for one in task.glaciers]
    made: list[list[Decision]] = [[] for _ in places]
    for scene, asking in task.visits:
        some = [places[i] for i in asking]
        decided = screen_together(scene, some, limits, thresholds)
        for i, decision in zip(asking, decided, strict=True):
            made[i].append(decision)
    if task.seen is not None:
        for place in places:
            write_seen(task.seen / place.id, place.seen)
    return made


def _fingerprint(glacier: Any, config: Config) -> str:
    """Of what decisions depend on: not of the choice of glaciers, which may grow."""
    options = [as_json(config.screening), as_json(config.mask), config.glaciers.outlines()]
    return state.fingerprint(__version__, options, glacier.geometry.wkb_hex)
