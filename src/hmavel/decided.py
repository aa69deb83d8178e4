"""Which scenes are worth using for a glacier: decided once, kept in the catalogue."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hmavel import __version__, parallel, state
from hmavel.config import as_json
from hmavel.outline_grid import neighbours
from hmavel.parallel import Failure
from hmavel.screening import Decision, screen_all
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

#: Scenes that one task screens: the outline is drawn once for them.
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


class _Task(NamedTuple):
    glacier: _Glacier
    near: GeoDataFrame  #: glaciers whose ice may be within sight
    scenes: list[Scene]
    made_with: str  #: fingerprint of the options
    seen: Path | None  #: folder for what matching will ask for


def screen_scenes(
    chosen: GeoDataFrame, inventory: GeoDataFrame, catalogue: Catalogue, config: Config,
    jobs: int, seen: Path | None = None,
) -> tuple[dict[str, Found], list[Failure]]:
    """Decide on every scene that reaches a glacier: glacier id -> scene id -> decision.

    What is seen of the new ones that are accepted is kept below ``seen``, a folder for each
    glacier (see ``seen.py``).
    """
    decisions: dict[str, Found] = {}
    tasks: list[_Task] = []
    limits = config.screening.limits(config.glaciers)
    for glacier in chosen.itertuples():
        decisions[glacier.id], new, made_with = known_scenes(glacier, catalogue, config)
        if not new:
            continue
        one = _Glacier(str(glacier.id), glacier.geometry)
        near = neighbours(one.geometry, inventory, reach_m=limits.gap_m + limits.ground_m)
        tasks += [
            _Task(one, near, new[i : i + _CHUNK], made_with, seen and seen / one.id)
            for i in range(0, len(new), _CHUNK)
        ]

    def keep(task: _Task, made: list[Decision]) -> None:
        catalogue.decide(task.glacier.id, task.made_with, made)

    results = parallel.map(
        partial(
            _decide, limits=limits, thresholds=config.mask.thresholds(),
            image=ImageWindow(
                config.correlate.step, config.correlate.margin, config.glaciers.margin_m
            ),
        ),
        tasks, jobs=jobs,
        label="parts of the archive screened", workers="processes", keep=keep,
        name=lambda task: f"screening of {task.glacier.id}",
    )
    failures = []
    for task, result in zip(tasks, results, strict=True):
        if isinstance(result, Failure):
            failures.append(result)
            continue
        for scene, decision in zip(task.scenes, result, strict=True):
            decisions[task.glacier.id][scene.id] = scene, decision
    failures += [
        Failure(f"scene {decision.scene_id} for {name}", decision.reason, "ReadError")
        for name, found in decisions.items()
        for _, decision in found.values()
        if decision.failed
    ]
    return decisions, failures


def _decide(
    task: _Task, *, limits: Limits, thresholds: Thresholds, image: ImageWindow
) -> list[Decision]:
    """Screen some scenes."""
    decisions, seen = screen_all(
        task.scenes, task.glacier, limits, thresholds, others=task.near,
        image=None if task.seen is None else image,
    )
    if task.seen is not None:
        write_seen(task.seen, seen)
    return decisions


def _fingerprint(glacier: Any, config: Config) -> str:
    """Of what decisions depend on: not of the choice of glaciers, which may grow."""
    options = [as_json(config.screening), as_json(config.mask), config.glaciers.outlines()]
    return state.fingerprint(__version__, options, glacier.geometry.wkb_hex)
