"""A pair's three files: what was measured, the velocity, and the record of both."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

import hmavel
from hmavel._types import Displacement, Quality, Velocity, days_between
from hmavel.atomic import write_json
from hmavel.product.provenance import flat, libraries, plain
from hmavel.raster_write import write_geotiff
from hmavel.velocity import east_north

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Entries that every ``pair.json`` has; null where the step was not made.
REPORTED = ("bias", "static_terrain", "gate", "thresholds", "configuration")

#: Entries of a report that name vector files: what these say goes through PROJ.
_VECTORS = ("stable_file", "glaciers_file")

_UNITS = dict.fromkeys(("east", "north", "sigma_east", "sigma_north"), "m") | dict.fromkeys(
    ("snr", "coherence", "quality"), "1"
)

_MOVING = ("vx", "vy", "v", "sigma_vx", "sigma_vy")


def write_pair(
    out: Path,
    displacement: Displacement,
    velocity: Velocity,
    report: Mapping[str, Any],
    *,
    threads: int = 1,
) -> tuple[Path, Path, Path]:
    """Write ``displacement.tif``, ``velocity.tif`` and ``pair.json``.

    Parameters
    ----------
    out
        Folder; made when missing.
    displacement
        In pixels; corrected by the bias model when there was stable ground.
    velocity
        What `to_velocity` made of ``displacement``: its grid is the grid of the files, its
        cell centres are the nodes.
    report
        More entries of ``pair.json``: ``bias`` (before, after, model), ``static_terrain``,
        ``thresholds``, ``configuration`` (null when not given) and whatever else is worth
        keeping. Records, arrays, times and NaN are put into plain words.
    threads
        Two write both rasters at once.

    Returns
    -------
    (displacement, velocity, record)
        The paths. The record is removed first and written last: where it is, the two others
        belong to it.

    Raises
    ------
    WriteError
        A file cannot be written.
    ValueError
        The two records are of different shape, or the report uses a name that is taken or
        holds what JSON cannot.

    Notes
    -----
    ``displacement.tif``: ``east``, ``north`` (m, positive east / north), ``snr``, ``coherence``
    (0 ... 1), ``sigma_east``, ``sigma_north`` (m, 1 sigma), ``quality`` (a `Quality` code, 0 =
    good). ``velocity.tif``: ``vx``, ``vy``, ``v``, ``sigma_vx``, ``sigma_vy`` (m/yr of 365.25
    days). float32, packed with ZSTD; displacement and velocity are NaN wherever ``quality`` is
    not 0; ``snr``, ``coherence`` and ``quality`` say there why.
    """
    if displacement.drow.shape != velocity.vx.shape:
        raise ValueError(
            f"pair files {velocity.reference_id}: expected one shape, got displacement "
            f"{displacement.drow.shape} and velocity {velocity.vx.shape}; "
            "make the velocity of this displacement"
        )
    vectors = any(report.get(name) for name in _VECTORS)
    record = _record(displacement, velocity, report, vectors)
    paths = (out / "displacement.tif", out / "velocity.tif", out / "pair.json")
    with contextlib.suppress(OSError):  # what cannot be removed cannot be replaced either
        paths[2].unlink()
    tags = {
        **flat({name: report[name] for name in ("inputs",) if name in report}, maps=vectors),
        "reference_id": velocity.reference_id,
        "secondary_id": velocity.secondary_id,
        "time_start": record["reference"]["time"],
        "time_end": record["secondary"]["time"],
    }
    pixel = velocity.grid.pixel / _step(displacement)
    east, north, sigma_east, sigma_north = east_north(displacement, pixel)
    codes = ", ".join(f"{q} {q.name.lower()}" for q in Quality)
    displaced = {
        "east": east,
        "north": north,
        "snr": displacement.snr,
        "coherence": displacement.coherence,
        "sigma_east": sigma_east,
        "sigma_north": sigma_north,
        "quality": displacement.quality,
    }
    moving = {name: getattr(velocity, name) for name in _MOVING}
    with ThreadPoolExecutor(min(threads, 2)) as pool:
        writing = [
            pool.submit(
                write_geotiff, paths[0], displaced, velocity.grid, packing="ZSTD",
                units=_UNITS, tags=tags | {"quality_codes": codes},
            ),
            pool.submit(
                write_geotiff, paths[1], moving, velocity.grid, packing="ZSTD",
                units=dict.fromkeys(_MOVING, "m/yr"), tags=tags | {"year_days": "365.25"},
            ),
        ]  # fmt: skip
        for each in writing:
            each.result()
    write_json(paths[2], record)
    return paths


def _step(displacement: Displacement) -> float:
    """Return the distance of the nodes in pixels."""
    for index in (displacement.col, displacement.row):
        if len(index) > 1:
            return float(index[1] - index[0])
    return 1.0


def _record(
    displacement: Displacement, velocity: Velocity, report: Mapping[str, Any], vectors: bool
) -> dict[str, Any]:
    values, counts = np.unique(displacement.quality, return_counts=True)
    own = {
        "software": "hmavel",
        "version": hmavel.__version__,
        "libraries": libraries(maps=vectors),
        "reference": {"id": velocity.reference_id, "time": velocity.start},
        "secondary": {"id": velocity.secondary_id, "time": velocity.end},
        "dt_days": days_between(velocity.start, velocity.end),
        "grid": velocity.grid,
        "step_px": _step(displacement),
        "nodes": int(displacement.quality.size),
        "quality": {
            Quality(value).name.lower(): int(count)
            for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        },
    }
    if taken := sorted(set(own) & set(report)):
        raise ValueError(
            f"pair report: expected names that are free, got {', '.join(taken)}; rename them"
        )
    record: dict[str, Any] = plain(own | dict.fromkeys(REPORTED) | dict(report))
    return record
