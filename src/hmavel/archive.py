"""What a user has on disk: find every Landsat scene, and say why the rest is left out.

Also the home of pair selection (``pairing.py``) and of the tables of scenes and pairs.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hmavel._types import Scene
from hmavel.atomic import atomic_path
from hmavel.errors import HmavelError, ReadError
from hmavel.landsat import open_scene
from hmavel.mtl import parse_product_id
from hmavel.pairing import PairChoice, PairGraph, pair_graph, select_pairs

__all__ = [
    "Catalogue",
    "PairChoice",
    "PairGraph",
    "Rejected",
    "find_scenes",
    "pair_graph",
    "pairs_table",
    "scenes_table",
    "select_pairs",
    "write_csv",
]

log = logging.getLogger(__name__)

_MTL = re.compile(r"(.*_)?MTL\.(txt|json)", re.IGNORECASE)
_B8 = re.compile(r".*_B8([_-].*)?\.tiff?", re.IGNORECASE)
_PACKED = (".tar", ".tar.gz", ".tgz", ".zip")
#: Deeper trees than this are not archives but loops that the file system hides.
_DEEPEST = 32
#: Preferred last: of two processings on one day, and of two copies of one product.
_TIERS = ("RT", "T2", "", "T1")
_LEVELS = ("L1GS", "L1GT", "", "L1TP")


class Rejected(NamedTuple):
    """A product that is not used, and why."""

    path: Path
    reason: str


class Catalogue(NamedTuple):
    """What was found: usable scenes by time, and everything else that looks like a product."""

    scenes: list[Scene]
    rejected: list[Rejected]


def find_scenes(roots: str | Path | Iterable[str | Path]) -> Catalogue:
    """Find the Landsat scenes under one or several folders.

    Parameters
    ----------
    roots
        Folders (searched to the bottom), product folders, Band-8 files, or several of these.
        A text file lists one such path a line (relative to itself, ``#`` comments).

    Returns
    -------
    Catalogue
        ``scenes`` sorted by time, path/row and id: of each acquisition (sensor, path/row, date)
        the newest processing. ``rejected`` sorted by path: older processings, copies,
        unreadable and incomplete products, each with its reason. Files that do not look
        like Landsat products are passed over.

    Raises
    ------
    ReadError
        A root does not exist or is an unreadable list. Nothing found is no error here.
    """
    if isinstance(roots, str | Path):
        roots = [roots]
    candidates: dict[Path, None] = {}  # a set in the order of insertion
    seen: set[tuple[int, int]] = set()
    rejected: list[Rejected] = []
    for root in roots:
        for start in _listed(Path(root)):
            for path in _candidates(start, seen, rejected):
                candidates[path] = None
    found: list[Scene] = []
    for path in sorted(candidates):
        try:
            found.append(open_scene(path))
        except HmavelError as error:
            rejected.append(Rejected(path, str(error)))
            log.info("scenes: %s", error)
    scenes, superseded = _newest(found)
    rejected = sorted({*rejected, *superseded})
    log.info("scenes: %d to use, %d left out", len(scenes), len(rejected))
    return Catalogue(scenes, rejected)


def scenes_table(catalogue: Catalogue) -> pd.DataFrame:
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
                "sun_azimuth": round(scene.sun_azimuth, 2),
                "sun_elevation": round(scene.sun_elevation, 2),
                "crs": str(scene.grid.crs.to_string()),
                "bands": " ".join(scene.bands),
                "used": True,
                "reason": "",
                "path": str(scene.path),
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
                "path": str(path),
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
    "sun_azimuth", "sun_elevation", "crs", "bands", "used", "reason", "path",
]  # fmt: skip
_PAIR_COLUMNS = [
    "id", "reference", "secondary", "start", "end", "baseline_days", "wrs_path", "wrs_row",
    "reason",
]  # fmt: skip


def _listed(root: Path) -> list[Path]:
    if not root.exists():
        raise ReadError(
            "scenes", root, expected="a folder of Landsat products", got="no such path",
            hint="check the path",
        )  # fmt: skip
    if (
        root.is_dir()
        or root.suffix.lower() not in {".txt", ".lst", ".list"}
        or _MTL.match(root.name)
    ):
        return [root]
    try:
        lines = root.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(
            "scenes", root, expected="a text file with a path a line", got=str(error),
            hint="check the list",
        ) from error  # fmt: skip
    paths = [line.strip() for line in lines]
    return [root.parent / line for line in paths if line and not line.startswith("#")]


def _candidates(
    path: Path, seen: set[tuple[int, int]], rejected: list[Rejected], depth: int = 0
) -> Iterator[Path]:
    """Walk down to product folders and Band-8 files, entering no folder twice."""
    try:
        if not path.is_dir():
            if path.exists():
                yield path
            else:
                rejected.append(Rejected(path, "listed, but no such file or folder"))
            return
        stat = path.stat()
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        rejected.append(Rejected(path, f"cannot be listed: {error.strerror or error}"))
        return
    # Device and inode, not the path: a link to a folder above has ever new paths.
    key = (stat.st_dev, stat.st_ino)
    if key in seen or depth > _DEEPEST:
        return
    seen.add(key)
    files = [e.name for e in entries if not e.name.startswith(".") and _is_file(e)]
    band8 = [name for name in files if _B8.fullmatch(name)]
    products = {
        p.id for n in files if _MTL.fullmatch(n) or n in band8 if (p := parse_product_id(n))
    }
    if len(products) > 1 or len(band8) > 1:
        # Many products side by side: each is known by its Band 8.
        without = products - {p.id for n in band8 if (p := parse_product_id(n))}
        whole = [n for n in band8 if not _shadowed(n, band8)]
        yield from (path / name for name in whole)
        rejected.extend(
            Rejected(path / name, "metadata of a product without its Band 8 beside it")
            for name in files
            if _MTL.fullmatch(name) and (p := parse_product_id(name)) and p.id in without
        )
    elif products or band8 or any(_MTL.fullmatch(name) for name in files):
        has_mtl = any(_MTL.fullmatch(name) for name in files)
        yield path if has_mtl else path / band8[0]
    elif parse_product_id(path.name) is not None and not any(_is_dir(e) for e in entries):
        yield path  # an empty or half-downloaded product: opening it says what is missing
    yield from (path / n for n in files if n.lower().endswith(_PACKED) and parse_product_id(n))
    for entry in entries:
        if not entry.name.startswith(".") and _is_dir(entry):
            yield from _candidates(path / entry.name, seen, rejected, depth + 1)


def _shadowed(name: str, others: Sequence[str]) -> bool:
    """Whether a decorated Band-8 file (a crop) lies beside the plain one of its product."""
    product = parse_product_id(name)
    if product is None or re.search(r"_B8\.tiff?$", name, re.IGNORECASE):
        return False
    return any(
        re.fullmatch(re.escape(product.id) + r"_B8\.tiff?", other, re.IGNORECASE)
        for other in others
    )


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _newest(found: Iterable[Scene]) -> tuple[list[Scene], list[Rejected]]:
    groups: dict[tuple[Any, ...], list[Scene]] = defaultdict(list)
    for scene in found:
        day = str(scene.time.astype("datetime64[D]"))
        known = bool(scene.sensor) and scene.wrs is not None
        groups[(scene.sensor, scene.wrs, day) if known else (scene.id, day)].append(scene)
    kept, rejected = [], []
    for group in groups.values():
        *older, best = sorted(group, key=_preference)
        kept.append(best)
        for scene in older:
            same = scene.id == best.id
            why = f"a copy of {best.path}" if same else f"superseded by {best.id}"
            rejected.append(Rejected(scene.path, why))
    kept.sort(key=lambda scene: (scene.time, scene.wrs or (0, 0), scene.id))
    return kept, rejected


def _preference(scene: Scene) -> tuple[Any, ...]:
    """Sort key: the scene to keep comes last."""
    tier = _TIERS.index(scene.tier) if scene.tier in _TIERS else 0
    level = _LEVELS.index(scene.level) if scene.level in _LEVELS else 0
    # Of equal copies the one with the smallest path stays, whatever the order of the disk.
    backwards = tuple(-ord(letter) for letter in str(scene.path))
    return (scene.processed, tier, level, len(scene.bands), backwards)
