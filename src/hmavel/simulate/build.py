"""Write an archive and return its truth; read the truth of one that is there."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hmavel import parallel
from hmavel.errors import ReadError, WriteError
from hmavel.simulate.inventory import write_dem, write_inventory
from hmavel.simulate.layout import World
from hmavel.simulate.product import product_id, write_scene
from hmavel.simulate.truth import Archive, TrueScene, epoch_of, milliseconds
from hmavel.simulate.weather import SATELLITES, Acquisition, schedule

logger = logging.getLogger(__name__)

#: Sides of Band 8: the smallest that still holds glaciers, the demo's, a full scene's.
SMALLEST, DEMO, FULL = 161, 1201, 15481
#: In which ways ``broken`` products are broken, in turn.
DAMAGES = ("truncated", "missing", "fill", "foreign", "unfinished")


@dataclass(frozen=True)
class _Job:
    """Write one scene; pickles, for worker processes."""

    world: World
    epoch: np.datetime64
    scenes: Path
    truth: Path

    def __call__(self, shot: Acquisition) -> dict[str, float]:
        return write_scene(self.world, shot, self.epoch, self.scenes, self.truth)


def archive(
    path: str | Path,
    *,
    seed: int = 0,
    size: int = DEMO,
    start: str | np.datetime64 = "2021-01-01",
    years: float = 2,
    satellites: tuple[str, ...] = ("LC08",),
    broken: int = 0,
    jobs: int = 1,
) -> Archive:
    """Write a Landsat archive whose flow is known, and return the truth.

    Under ``path``: ``scenes/`` with one Collection-2 L1TP folder per overpass (B2-B8,
    QA_PIXEL, QA_RADSAT, MTL .txt and .json), ``glaciers.gpkg`` (RGI7 schema), ``dem.tif``,
    and ``truth/``, from which :func:`load` reads the same record again.

    Parameters
    ----------
    path
        Folder; made if need be. Scenes of the same names are overwritten.
    seed
        The same seed, size, start, years and satellites give the same pixels.
    size
        Pixels of Band 8 on a side, rounded up to an odd number: 1201 (18 km, the demo: one
        surging, one seasonal and one slow glacier of more than 10 km2 and a small one) up to
        15481 (a full scene: the set of glaciers again every 18 km). Below about 1130
        the glaciers shrink with the scene, and none reaches 10 km2.
    start, years
        First day and length. Every glacier's season is fixed to the calendar; the surge comes
        late in the first calendar year.
    satellites
        ``"LC08"``, ``"LC09"`` or both: 16 days each, 8 days apart.
    broken
        How many products to damage after writing, spread over the archive: truncated Band 8,
        missing Band 8, all fill, the MTL of another scene, half a download.
    jobs
        Worker processes.

    Returns
    -------
    Archive
        The truth.

    Raises
    ------
    WriteError
        The folder cannot be written.
    ValueError
        A size, satellite or start that makes no sense.

    Notes
    -----
    Memory: about 0.6 GB a worker at any size; scenes above 2100 pixels are rendered in strips.
    """
    day = _check(size, start, years, satellites, broken)
    world = World(int(seed), int(size) | 1)
    root = Path(path)
    scenes, truth = root / "scenes", root / "truth"
    try:
        scenes.mkdir(parents=True, exist_ok=True)
        truth.mkdir(parents=True, exist_ok=True)
        areas = write_inventory(world, root / "glaciers.gpkg")
        write_dem(world, root / "dem.tif")
    except OSError as error:
        raise WriteError(
            "simulate",
            root,
            expected="a folder that can be written",
            got=str(error),
            hint="give another path, or free the disk",
        ) from error
    shots = schedule(world, day, years, satellites)
    epoch = epoch_of(day)
    done = parallel.map(
        _Job(world, epoch, scenes, truth),
        shots,
        jobs=jobs,
        label="scenes",
        name=product_id,
        workers="processes",
    )
    record = []
    for shot, fractions in zip(shots, done, strict=True):
        if isinstance(fractions, parallel.Failure):
            raise WriteError(
                "simulate",
                fractions.item,
                expected="a scene on disk",
                got=fractions.reason,
                hint="free the disk, or give another path",
            )
        record.append(_true_scene(shot, root, fractions))
    result = Archive(
        root, scenes, root / "glaciers.gpkg", root / "dem.tif", world.seed, world.size, day,
        float(years), tuple(record), areas,
    )  # fmt: skip
    if broken:
        from hmavel.simulate.damage import damage

        where = np.linspace(0, len(record), broken + 2)[1:-1].astype(int)
        for k, i in enumerate(where):
            kind = DAMAGES[k % len(DAMAGES)]
            damage(record[i].path, kind)
            record[i] = replace(record[i], broken=kind)
        result = replace(result, scenes=tuple(record))
    _save(result, satellites)
    return result


def _check(
    size: int,
    start: str | np.datetime64,
    years: float,
    satellites: tuple[str, ...],
    broken: int,
) -> np.datetime64:
    if not SMALLEST <= size <= FULL:
        raise ValueError(
            f"simulate size: expected {SMALLEST} to {FULL} pixels of Band 8, got {size}; "
            f"{DEMO} is the demo's"
        )
    unknown = sorted(set(satellites) - set(SATELLITES))
    if unknown or not satellites:
        raise ValueError(
            f"simulate satellites: expected some of {sorted(SATELLITES)}, got {satellites}; "
            "drop the others"
        )
    if years <= 0 or broken < 0:
        raise ValueError(
            f"simulate years and broken: expected > 0 and >= 0, got {years} and {broken}; "
            "mend them"
        )
    return milliseconds(start)


def _true_scene(
    shot: Acquisition, root: Path, fractions: dict[str, float], broken: str = ""
) -> TrueScene:
    name = product_id(shot)
    return TrueScene(
        name,
        shot.time,
        root / "scenes" / name,
        root / "truth" / f"{name}_TRUTH.TIF",
        shot.sun_azimuth,
        shot.sun_elevation,
        shot.geolocation,
        fractions,
        broken,
    )


def _save(a: Archive, satellites: tuple[str, ...]) -> None:
    document: dict[str, Any] = {
        "seed": a.seed,
        "size": a.size,
        "start": str(a.start),
        "years": a.years,
        "satellites": list(satellites),
        "areas_km2": a.areas_km2,
        "scenes": [
            {
                "id": s.id,
                "time": str(s.time),
                "shift_east_m": s.geolocation.east,
                "shift_north_m": s.geolocation.north,
                "fractions": s.fractions,
                "usable": s.usable,
                "broken": s.broken,
            }
            for s in a.scenes
        ],
    }
    (a.path / "truth" / "archive.json").write_text(json.dumps(document, indent=1))


def load(path: str | Path) -> Archive:
    """Return the truth of an archive that :func:`archive` wrote.

    Raises
    ------
    ReadError
        There is no such archive, or its record is damaged.
    """
    root = Path(path)
    file = root / "truth" / "archive.json"
    try:
        document = json.loads(file.read_text())
        world = World(document["seed"], document["size"])
        start = milliseconds(document["start"])
        shots = schedule(world, start, document["years"], tuple(document["satellites"]))
        scenes = tuple(
            _true_scene(shot, root, entry["fractions"], entry["broken"])
            for shot, entry in zip(shots, document["scenes"], strict=True)
        )
        areas = document["areas_km2"]
    except (OSError, ValueError, KeyError) as error:
        raise ReadError(
            "simulate",
            file,
            expected="the record of a simulated archive",
            got=f"{type(error).__name__}: {error}",
            hint="write the archive again",
        ) from error
    return Archive(
        root, root / "scenes", root / "glaciers.gpkg", root / "dem.tif", world.seed, world.size,
        start, document["years"], scenes, areas,
    )  # fmt: skip
