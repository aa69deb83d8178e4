"""A scan of the archive that opens only what is new, and its result in the catalogue."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hmavel._types import Scene
from hmavel.acquisitions import Found, Rejected, Unusable, settle
from hmavel.archive import open_all
from hmavel.catalogue import Catalogue, Changes, Entry
from hmavel.mtl import parse_product_id
from hmavel.state import fingerprint

log = logging.getLogger(__name__)

#: Name, bytes, times of change.
_Row = tuple[str, int, int, int]


def scan(
    catalogue: Catalogue,
    roots: Iterable[str | Path],
    *,
    more: tuple[Iterable[Scene], Iterable[Rejected]] = ((), ()),
) -> Changes:
    """Bring a catalogue up to date with what lies below some folders.

    Parameters
    ----------
    catalogue
        Its ``scenes`` and ``left_out`` are afterwards those of these folders.
    roots
        As for ``archive.find_scenes``.
    more
        Scenes of other sources, and what these cannot use. Their ``version`` tells whether
        they have changed.

    Returns
    -------
    Changes
        Items; only the new and the changed ones were opened.
    """
    memory = Memory(catalogue, DiskFacts())
    opened, rejected = open_all(roots, opened=memory)
    scenes, unusable = list(more[0]), list(more[1])
    settled = settle([*opened, *scenes], [*rejected, *unusable])
    entries = memory.entries(opened, rejected)
    entries += [
        Entry(str(s.path), fingerprint(s.version, s.id, str(s.time)), s) for s in scenes
    ]
    changes = catalogue.sync(_chosen(entries, settled))
    log.info("archive: %d items new, %d changed, %d gone, %d as before", *changes)
    return changes


def _chosen(entries: Iterable[Entry], settled: Found) -> Iterator[Entry]:
    """Complete the entries by the choice between the products of one acquisition."""
    used = {scene.path: scene for scene in settled.scenes}
    reasons = {item.path: item.reason for item in settled.rejected}
    for entry in entries:
        if entry.scene is None:
            reasons.pop(Path(entry.item), None)
            yield entry
            continue
        reason = reasons.pop(entry.scene.path, "")
        final = used.get(entry.scene.path)
        lent = final is not None and not reason and final != entry.scene
        if lent:
            entry = entry._replace(scene=final, own=entry.scene)
        yield entry._replace(reason=reason)
    for path, reason in reasons.items():  # what never was a candidate: a torn link, a .part
        yield Entry(str(path), "", None, reason)


class DiskFacts:
    """Fingerprints of products on disk: names, sizes and times of change of their files.

    The time of change is that of content (mtime) and of rights (ctime): a file that may now be
    read is another one.

    Every folder is listed once, so that a folder of a hundred thousand files stays linear.
    """

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[_Row]]] = {}

    def __call__(self, path: Path) -> str:
        """Return the facts of a product folder, or of a file and those of its product."""
        if path.is_dir():
            groups = self._list(path)
            return fingerprint(sorted(row for rows in groups.values() for row in rows))
        groups = self._list(path.parent)
        # Metadata without an id in its name may belong to any Band 8 beside it.
        kin = {*groups.get(_family(path.name), []), *groups.get(_METADATA, [])}
        return fingerprint(sorted(kin))

    def _list(self, folder: Path) -> dict[str, list[_Row]]:
        if folder not in self._listed:
            groups: dict[str, list[_Row]] = defaultdict(list)
            try:
                for entry in os.scandir(folder):
                    if entry.name.startswith(".") or not entry.is_file():
                        continue
                    status = entry.stat()
                    row = (entry.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                    groups[_family(entry.name)].append(row)
            except OSError as error:
                # Opening it will say what is wrong; that it cannot be listed is a fact too.
                groups[""].append((str(error.strerror), 0, 0, 0))
            self._listed[folder] = groups
        return self._listed[folder]


#: Where metadata without an id is listed.
_METADATA = "metadata"


def _family(name: str) -> str:
    """Return what the files of one product have in common, else the name itself."""
    product = parse_product_id(name)
    if product is not None:
        return product.id
    return _METADATA if "MTL" in name.upper() else name


class Memory:
    """What a catalogue knows of products that are as they were: the ``opened`` of ``open_all``.

    Parameters
    ----------
    catalogue
        What was found before.
    facts
        Item -> fingerprint of what is on the disk, without opening it.
    """

    def __init__(self, catalogue: Catalogue, facts: Callable[[Path], str]) -> None:
        self._catalogue, self._facts = catalogue, facts
        self.unknown = 0  #: items that have to be opened
        self._asked: dict[Path, str] = {}

    def __call__(self, path: Path) -> Scene | Rejected | None:
        """Return an item's scene, or why it cannot be used; None when it is to be opened."""
        self._asked[path] = facts = self._facts(path)
        found = self._catalogue.recall(str(path), facts)
        self.unknown += found is None
        return Unusable(path, found) if isinstance(found, str) else found

    def entries(self, opened: Iterable[Scene], rejected: Iterable[Rejected]) -> list[Entry]:
        """Return an entry for each item asked for, given what ``open_all`` returned."""
        failed = {item.path: item for item in rejected}
        good = [path for path in self._asked if path not in failed]
        scenes = dict(zip(good, opened, strict=True))
        entries = []
        for path, facts in self._asked.items():
            if path in scenes:
                entries.append(Entry(str(path), facts, scenes[path]))
            else:  # without facts it is opened again by every scan
                facts = facts if isinstance(failed[path], Unusable) else ""
                entries.append(Entry(str(path), facts, None, failed[path].reason))
        return entries
