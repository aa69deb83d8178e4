"""What a user has on disk: find every Landsat scene, and say why the rest is left out.

Also the home of pair selection (``pairing.py``) and of the tables of scenes and pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hmavel._types import Scene
from hmavel.acquisitions import Found, Rejected, Unusable, settle
from hmavel.atomic import atomic_path
from hmavel.errors import HmavelError, SceneError
from hmavel.folders import Candidate, Walk
from hmavel.landsat import open_level2, open_scene
from hmavel.mtl import parse_product_id
from hmavel.pairing import PairChoice, PairGraph, pair_graph, select_pairs
from hmavel.scene_files import MTL_NAME
from hmavel.vsi import shown

__all__ = [
    "Found",
    "PairChoice",
    "PairGraph",
    "Rejected",
    "find_scenes",
    "open_all",
    "pair_graph",
    "pairs_table",
    "scenes_table",
    "select_pairs",
    "write_csv",
]

log = logging.getLogger(__name__)


def find_scenes(roots: str | Path | Iterable[str | Path]) -> Found:
    """Find the Landsat scenes under one or several folders.

    Parameters
    ----------
    roots
        Folders (searched to the bottom), product folders, tars, Band-8 files, or several of
        these. A text file lists one such path a line (relative to itself, ``#`` comments).

    Returns
    -------
    Found
        ``scenes`` sorted by time, path/row and id: of each acquisition (sensor, path/row, date)
        the newest processing; where it has Band 8 alone, with the 30 m bands of its Level-2
        product, if that is there. ``rejected`` sorted by path: older processings, copies,
        unreadable and incomplete products, each with its reason. Files that do not look
        like Landsat products are passed over.

    Raises
    ------
    ReadError
        A root does not exist or is an unreadable list. Nothing found is no error here.
    """
    found, rejected = open_all([roots] if isinstance(roots, str | Path) else roots)
    catalogue = settle(found, rejected)
    log.info(
        "scenes: %d to use, %d left out", len(catalogue.scenes), len(catalogue.rejected)
    )
    return catalogue


def open_all(
    roots: Iterable[str | Path],
    *,
    opened: Callable[[Path], Scene | Rejected | None] | None = None,
) -> tuple[list[Scene], list[Rejected]]:
    """Open every product under the roots, without a choice between those of one acquisition.

    Parameters
    ----------
    roots
        As for `find_scenes`.
    opened
        Asked for each candidate (folder, tar or file) first: its scene, or why it cannot be
        used, where that is known from before and nothing has changed, spares the opening; None
        has it opened.

    Returns
    -------
    (scenes, rejected)
        For ``acquisitions.settle``. Level-2 products are among the scenes, without Band 8.
    """
    walk = Walk()
    candidates: dict[Path, Candidate] = {}
    for root in roots:
        for candidate in walk(Path(root)):
            candidates.setdefault(candidate.path, candidate)
    found: list[Scene] = []
    rejected = walk.rejected
    for path in sorted(candidates):
        try:
            known = opened(path) if opened is not None else None
            if isinstance(known, Rejected):
                rejected.append(known)
            else:
                found.append(_open(candidates[path]) if known is None else known)
        except HmavelError as error:
            # What a product is does not change by itself; that it could not be read may.
            kind = Unusable if isinstance(error, SceneError) else Rejected
            rejected.append(kind(path, str(error)))
            log.info("scenes: %s", error)
    return found, rejected


def _open(candidate: Candidate) -> Scene:
    path, files = candidate
    if MTL_NAME.fullmatch(path.name):  # of a Level-2 product among others in one folder
        return open_level2(path, files or ())
    try:
        scene = open_scene(path, need_b8=False, files=files)
        if "B8" in scene.bands or scene.level.startswith("L2"):
            return scene
    except HmavelError:
        pass
    return open_scene(path, files=files)  # which says what is missing first


def scenes_table(catalogue: Found) -> pd.DataFrame:
    """Return a row for each scene and each product left out (``used`` False, ``reason``)."""
    rows: list[dict[str, Any]] = []
    for scene in catalogue.scenes:
        wrs_path, wrs_row = scene.wrs or ("", "")
        rows.append(
            {
                "id": scene.id,
                "time": str(scene.time),
                "sensor": scene.sensor,
                "wrs_path": wrs_path,
                "wrs_row": wrs_row,
                "level": scene.level,
                "tier": scene.tier,
                "processed": scene.processed,
                "cloud_cover": scene.cloud_cover,
                "sun_azimuth": round(scene.sun_azimuth, 2),
                "sun_elevation": round(scene.sun_elevation, 2),
                "crs": str(scene.grid.crs.to_string()),
                "bands": " ".join(scene.bands),
                "used": True,
                "reason": "",
                "path": shown(scene.path),
            }
        )
    for path, reason in catalogue.rejected:
        product = parse_product_id(path.name)
        wrs_path, wrs_row = product.wrs if product else ("", "")
        rows.append(
            {
                "id": product.id if product else path.name,
                "sensor": product.sensor if product else "",
                "wrs_path": wrs_path,
                "wrs_row": wrs_row,
                "level": product.level if product else "",
                "tier": product.tier if product else "",
                "processed": product.processed if product else "",
                "used": False,
                "reason": reason,
                "path": shown(path),
            }
        )
    return pd.DataFrame(rows, columns=_SCENE_COLUMNS)


def pairs_table(choices: Sequence[PairChoice]) -> pd.DataFrame:
    """Return a row for each chosen pair."""
    rows = [
        {
            "id": choice.id,
            "reference": choice.reference.id,
            "secondary": choice.secondary.id,
            "start": str(choice.reference.time),
            "end": str(choice.secondary.time),
            "baseline_days": round(choice.baseline_days, 6),
            "wrs_path": (choice.reference.wrs or ("", ""))[0],
            "wrs_row": (choice.reference.wrs or ("", ""))[1],
            "reason": choice.reason,
        }
        for choice in choices
    ]
    return pd.DataFrame(rows, columns=_PAIR_COLUMNS)


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table, all of it or nothing.

    Raises
    ------
    WriteError
        The file cannot be written.
    """
    with atomic_path(Path(path)) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


_SCENE_COLUMNS = [
    "id", "time", "sensor", "wrs_path", "wrs_row", "level", "tier", "processed",
    "cloud_cover", "sun_azimuth", "sun_elevation", "crs", "bands", "used", "reason", "path",
]  # fmt: skip
_PAIR_COLUMNS = [
    "id", "reference", "secondary", "start", "end", "baseline_days", "wrs_path", "wrs_row",
    "reason",
]  # fmt: skip
