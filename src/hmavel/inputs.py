"""What a product was made from, by checksum: files of scenes, or the pixels taken of them.

A run reads windows of an archive of terabytes. To hash whole files would cost more than to
match them, so a run's products name the pixels and masks that they were made from; the single
pair, which reads all of its files, names these.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from hmavel.tars import open_bytes
from hmavel.vsi import is_remote, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from hmavel._types import Scene

#: Name of the checksums in the record of a pair: scene id -> SHA-256.
INPUTS = "inputs"
_PART = 1 << 20


def digest(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of arrays: of their types, shapes and values."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.dtype.str}{array.shape}".encode())
        made.update(array.tobytes())
    return made.hexdigest()


def file_sums(scene: Scene) -> dict[str, Any]:
    """Return file name -> [bytes, SHA-256] of a scene's bands and metadata.

    A server's files are not fetched for it: its own word for their state stands there, if any.

    Raises
    ------
    OSError, ReadError
        A file cannot be read.
    """
    files = set(scene.bands.values())
    if scene.path.is_dir():
        files |= {file for file in scene.path.iterdir() if "_MTL." in file.name}
    sums: dict[str, Any] = {}
    for file in sorted(files):
        if is_remote(file):
            sums[shown(file)] = scene.version or None
            continue
        made, size = hashlib.sha256(), 0
        with open_bytes(file) as stream:
            while part := stream.read(_PART):
                made.update(part)
                size += len(part)
        sums[file.name] = [size, made.hexdigest()]
    return sums


def together(pairs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the inputs of pairs as one record: their scenes, and a checksum of all.

    Returns
    -------
    dict
        ``scenes``: scene id -> SHA-256 of what was taken of it; ``sha256``: of these lines.
    """
    scenes = {name: made for pair in pairs for name, made in pair[INPUTS].items()}
    lines = "".join(f"{name} {made}\n" for name, made in sorted(scenes.items()))
    whole = hashlib.sha256(lines.encode()).hexdigest()
    return {"scenes": dict(sorted(scenes.items())), "sha256": whole}


def shortened(made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Return `together`'s record with the number of scenes in the place of their names."""
    return dict(made_from) | {"scenes": len(made_from["scenes"])}
