"""Pairs of ITS_LIVE on a glacier's cells, alone or beside the pairs that hmavel measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hmavel._types import BoolArray, FloatArray, TimeArray
    from hmavel.itslive import PairStack
    from hmavel.outcome import Row
    from hmavel.parallel import Failure
    from hmavel.site import Site

#: Two times that are nearer to each other are of one scene.
_ONE_SCENE = np.timedelta64(30_000, "ms")


def itslive_pairs(
    sources: Sequence[str | Path], site: Site
) -> tuple[PairStack, list[Failure]]:
    """Read the pairs of ITS_LIVE on a glacier's grid; pairs that show no ice are left out.

    Raises
    ------
    HmavelError
        No source could be read, or none of them covers the glacier.
    """
    from hmavel.itslive import read_pairs  # with xarray: 70 MB that most runs do without

    stack, failures = read_pairs(sources, window=site.grid)
    stack = stack.on(site.grid)
    seen = np.isfinite(stack.vx[:, site.ice]) & np.isfinite(stack.vy[:, site.ice])
    return stack.take(np.flatnonzero(seen.any(axis=1))), failures


def join(
    own: dict[str, FloatArray],
    start: TimeArray,
    end: TimeArray,
    other: PairStack,
    ice: BoolArray,
) -> tuple[dict[str, FloatArray], TimeArray, TimeArray]:
    """Put the cells on ice of ITS_LIVE's pairs behind those of hmavel's own.

    Parameters
    ----------
    own
        vx, vy, sigma_vx, sigma_vy, (pairs, 1, cells), m/yr; may be of no pair.
    start, end
        (pairs,) datetime64[ms].
    other
        On the glacier's grid.
    ice
        The cells that ``own`` has.

    Notes
    -----
    A scene is known by its time, which the two sources round differently: times of ITS_LIVE
    within half a minute of a scene that is known already become that scene's. Two
    measurements of the same two scenes then count as one (``PairNetwork.merged``).
    """
    cells = int(ice.sum())
    joined = {}
    for axis in ("vx", "vy"):
        values = getattr(other, axis)[:, ice][:, None, :]
        sigma = getattr(other, f"sigma_{axis}").astype(np.float32)
        wide = np.broadcast_to(sigma[:, None, None], (len(sigma), 1, cells))
        joined[axis] = np.concatenate([own[axis], values])
        joined[f"sigma_{axis}"] = np.concatenate([own[f"sigma_{axis}"], wide])
    times = np.concatenate([start, end, other.start, other.end]).astype("datetime64[ms]")
    times = _one_time_per_scene(times)
    p, q = len(start), len(other.start)
    first = np.concatenate([times[:p], times[2 * p : 2 * p + q]])
    last = np.concatenate([times[p : 2 * p], times[2 * p + q :]])
    return joined, first, last


def _one_time_per_scene(times: TimeArray) -> TimeArray:
    """Give times that follow each other within half a minute the first one's value."""
    order = np.argsort(times, kind="stable")
    ranked = times[order]
    new = np.ones(len(ranked), bool)
    new[1:] = np.diff(ranked) > _ONE_SCENE
    leader = np.maximum.accumulate(np.where(new, np.arange(len(ranked)), 0))
    out = times.copy()
    out[order] = ranked[leader]
    return out


def rows_of(stack: PairStack, site: Site) -> list[Row]:
    """Return the rows of ``pairs.csv`` of ITS_LIVE's pairs."""
    ice, rows = int(site.ice.sum()), []
    good = np.isfinite(stack.vx[:, site.ice]).sum(axis=1)
    for i, days in enumerate(stack.baseline_days):
        one, _, two = str(stack.id[i]).removesuffix(".nc").partition("_X_")
        row: dict[str, Any] = {
            "glacier": site.id, "reference": one or "ITS_LIVE", "secondary": two,
            "start": str(stack.start[i]), "end": str(stack.end[i]), "days": float(days),
            "chosen_for": "ITS_LIVE", "state": "used", "gate": "", "reason": "",
            "nodes_ice": ice, "good_ice": int(good[i]), "sigma_vx": float(stack.sigma_vx[i]),
            "sigma_vy": float(stack.sigma_vy[i]),
        }  # fmt: skip
        rows.append(row)
    return rows


def source_of(stack: PairStack, own: int) -> dict[str, str]:
    """Say in the products' provenance where their pairs are from."""
    pairs = f"{len(stack.start)} image-pair velocities of ITS_LIVE (NASA MEaSUREs)"
    if own:
        pairs += f" and {own} by frequency-domain correlation of Landsat-8/9 Band 8"
    summary = f"Monthly ice surface velocity from {pairs}."
    return {"source": f"{pairs}, inverted to months", "summary": summary}


def facts_of(sources: Sequence[str | Path]) -> list[list[Any]]:
    """Tell whether sources have changed: names, sizes and times of their files."""
    facts: list[list[Any]] = []
    for source in sources:
        path = Path(source)
        files = sorted(path.glob("**/*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                found = file.stat()
                facts.append([str(file), found.st_size, found.st_mtime_ns])
    return facts
