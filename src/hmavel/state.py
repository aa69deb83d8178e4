"""What a second run may skip: the fingerprints of finished work, and the tables on disk.

Work is done when its file is complete (files appear under their name only when they are)
and carries the fingerprint of what it was made from. Nothing else is remembered.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from hmavel.atomic import checksum, write_json, write_text
from hmavel.finite import without_nan
from hmavel.vsi import is_virtual, shown, tar_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hmavel._types import Grid, Scene

#: Name of the fingerprint in tags, attributes and JSON.
KEY = "fingerprint"


def fingerprint(*parts: Any) -> str:
    """Return a short digest of the parts: plain values, lists and mappings of them."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def scene_facts(scene: Scene) -> list[Any]:
    """Return what changes when a scene's files do: names, sizes and times of change."""
    files = sorted({*scene.bands.values(), *(_mtl(scene.path) if scene.path.is_dir() else ())})
    facts: list[Any] = [scene.id, scene.version]
    for file in files:
        inside = tar_of(file)
        if inside is None and is_virtual(file):
            facts.append(shown(file))  # a server's file: ``version`` speaks for it
            continue
        tar, name = inside or (file, file.name)
        status = tar.stat()
        facts.append([name, status.st_size, status.st_mtime_ns])
    return facts


def _mtl(folder: Path) -> Iterable[Path]:
    return (file for file in folder.iterdir() if "_MTL." in file.name)


def grid_facts(grid: Grid) -> list[Any]:
    """Return the grid as plain values."""
    return [grid.crs.to_string(), list(grid.transform)[:6], list(grid.shape)]


def is_done(record: Path, expected: str, files: Iterable[Path] = ()) -> bool:
    """Tell whether ``record`` says that this very work is done and its files are there."""
    before = read_record(record)
    done = before.get(KEY) == expected and all(file.is_file() for file in files)
    return done and intact(before, record.parent)


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON record; a missing or damaged one is empty, and its work is done again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


#: Name of the checksums in a record: file name -> [bytes, SHA-256].
SUMS = "made"


def sums(files: Iterable[Path]) -> dict[str, list[Any]]:
    """Return file name -> [bytes, SHA-256], for the record of finished work."""
    return {file.name: [file.stat().st_size, checksum(file)] for file in files}


def intact(record: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether the files that a record has checksums of are there, in their full size."""
    made = record.get(SUMS, {})
    try:
        return _are_sums(made) and all(
            (folder / name).stat().st_size == size for name, (size, _) in made.items()
        )
    except OSError:
        return False


def damaged(record: Mapping[str, Any], folder: Path) -> list[tuple[Path, str, str]]:
    """Return (file, expected, got) of each file of a record that is not as it was written."""
    found = []
    made = record.get(SUMS, {})
    if not _are_sums(made):
        return [(folder, "a record with checksums", f"{str(made)[:60]!r}")]
    for name, (size, digest) in made.items():
        path = folder / name
        try:
            if path.stat().st_size != size:
                found.append((path, f"{size} bytes", f"{path.stat().st_size}"))
            elif (now := checksum(path)) != digest:
                found.append((path, f"the checksum {digest[:12]}...", f"{now[:12]}..."))
        except OSError as error:
            found.append((path, "a file", error.strerror or str(error)))
    return found


def _are_sums(made: Any) -> bool:
    return isinstance(made, dict) and all(
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[1], str)
        and not set(name.split("/")) & {"", ".", ".."}  # in or below the record's own folder
        and "\0" not in name
        for name, entry in made.items()
    )


def write_record(path: Path, expected: str, **content: Any) -> None:
    """Write the record that its work is done, after its files. NaN becomes null."""
    write_json(path, {KEY: expected, **without_nan(content)})


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return a table as CSV; numbers that are not finite are empty fields."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _field(row.get(key)) for key in columns})
    return stream.getvalue()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a table as CSV, all of it or nothing."""
    write_text(path, csv_text(rows, columns))


def _field(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if value == value and abs(value) != float("inf") else ""
    return "" if value is None else value
