"""Arrays that are kept small in memory, and on the disk when the memory is used up.

The images of a glacier's scenes are Landsat's numbers with holes: two bytes a pixel hold what
four do, exactly. What does not fit the budget is written to scratch files, from which it
comes back faster than from the archive; a scratch disk that is full or faulty costs time and
nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Array = NDArray[Any]
#: Marks a hole in two bytes. Landsat has no such number: 0 is fill.
_HOLE = 0


@dataclass(frozen=True)
class Packed:
    """An array in as few bytes as hold it exactly."""

    data: Array
    shape: tuple[int, ...]
    kind: str  #: "bits", "dn" or "plain"

    def unpack(self) -> Array:
        """Return the array as it was."""
        if self.kind == "bits":
            count = int(np.prod(self.shape))
            return np.unpackbits(self.data, count=count).astype(bool).reshape(self.shape)
        if self.kind == "dn":
            out = self.data.astype(np.float32)
            out[self.data == _HOLE] = np.nan
            return out
        return self.data


def pack(array: Array) -> Packed:
    """Pack a boolean array into bits, float32 of whole numbers up to 65535 into two bytes."""
    if array.dtype == bool:
        return Packed(np.packbits(array), array.shape, "bits")
    if array.dtype == np.float32 and array.size:
        hole = np.isnan(array)
        whole = np.where(hole, np.float32(_HOLE), array)
        small = whole.min() >= 0 and whole.max() <= np.iinfo(np.uint16).max
        if small:
            data = whole.astype(np.uint16)
            if np.array_equal(data, whole) and np.array_equal(data == _HOLE, hole):
                return Packed(data, array.shape, "dn")
    return Packed(array, array.shape, "plain")


class Store:
    """Named sets of arrays, the most recently used in memory, the others in scratch files.

    Parameters
    ----------
    budget_bytes
        Of memory for the packed arrays. One set is always kept.
    folder
        Where the scratch files go, in a folder of their own, removed by ``close``. None to
        forget what does not fit.

    Notes
    -----
    Safe to use from several threads.
    """

    def __init__(self, budget_bytes: float, folder: Path | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.spilled_bytes = 0  #: written to scratch files so far
        self._folder, self._scratch = folder, ""
        self._kept: OrderedDict[str, dict[str, Packed]] = OrderedDict()
        self._on_disk: dict[str, tuple[Path, int, dict[str, Packed]]] = {}
        self._held = 0
        self._lock = threading.RLock()

    @property
    def held_bytes(self) -> int:
        """Bytes in memory now."""
        return self._held

    def get(self, name: str) -> dict[str, Array] | None:
        """Return the arrays of that name, None when they were never put or are lost."""
        with self._lock:
            packed = self._kept.get(name)
            if packed is not None:
                self._kept.move_to_end(name)
            else:
                packed = self._load(name)
                if packed is not None:
                    self._keep(name, packed)
        return None if packed is None else {key: p.unpack() for key, p in packed.items()}

    def put(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a name; what has not been used for longest makes room."""
        packed = {key: pack(array) for key, array in arrays.items()}
        with self._lock:
            self._keep(name, packed)

    def close(self) -> None:
        """Forget everything and remove the scratch files."""
        with self._lock:
            self._kept.clear()
            self._on_disk.clear()
            self._held = 0
            if self._scratch:
                shutil.rmtree(self._scratch, ignore_errors=True)
                self._scratch = ""

    def _keep(self, name: str, packed: dict[str, Packed]) -> None:
        before = self._kept.pop(name, None)
        self._held += _size(packed) - (0 if before is None else _size(before))
        self._kept[name] = packed
        while self._held > self.budget_bytes and len(self._kept) > 1:
            oldest, dropped = self._kept.popitem(last=False)
            self._held -= _size(dropped)
            self._spill(oldest, dropped)

    def _spill(self, name: str, packed: dict[str, Packed]) -> None:
        if self._folder is None or name in self._on_disk:
            return
        content = b"".join(np.ascontiguousarray(p.data).tobytes() for p in packed.values())
        path = None
        try:
            if not self._scratch:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._scratch = tempfile.mkdtemp(prefix=".stack-", dir=self._folder)
            path = Path(self._scratch) / f"{len(self._on_disk)}.bin"
            path.write_bytes(content)
        except OSError as error:
            log.warning(
                "stack: no scratch file for %s (%s); it will be read from the archive again",
                name, error.strerror or error,
            )  # fmt: skip
            if path is not None:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            return
        self.spilled_bytes += len(content)
        # The shapes stay; of the data only an empty array, for its type.
        shells = {
            key: Packed(np.empty(0, p.data.dtype), p.shape, p.kind) for key, p in packed.items()
        }
        self._on_disk[name] = (path, zlib.crc32(content), shells)

    def _load(self, name: str) -> dict[str, Packed] | None:
        if name not in self._on_disk:
            return None
        path, check, shells = self._on_disk[name]
        try:
            content = path.read_bytes()
        except OSError as error:
            content, why = b"", error.strerror or str(error)
        else:
            why = "" if zlib.crc32(content) == check else "damaged"
        if why:
            log.warning("stack: scratch file of %s lost (%s); reading it again", name, why)
            del self._on_disk[name]
            return None
        packed, place = {}, 0
        for key, shell in shells.items():
            shape, count = shell.shape, int(np.prod(shell.shape))
            if shell.kind == "bits":
                shape, count = (-(-count // 8),), -(-count // 8)
            data = np.frombuffer(content, shell.data.dtype, count, place).reshape(shape)
            packed[key] = Packed(data, shell.shape, shell.kind)
            place += data.nbytes
        return packed


def remove_left_over(folder: Path) -> int:
    """Remove the scratch folders that a killed process has left; return how many."""
    left = [path for path in folder.glob(".stack-*") if path.is_dir()]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return len(left)


def _size(packed: Mapping[str, Packed]) -> int:
    return sum(p.data.nbytes for p in packed.values())
