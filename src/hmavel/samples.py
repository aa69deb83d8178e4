"""Are two products of one name the same? Told from sizes, metadata and samples of Band 8.

Not from every byte: a user who keeps the tars beside what was unpacked from them has two of
everything, and an archive is terabytes.
"""

from __future__ import annotations

from pathlib import Path

from hmavel._types import Scene
from hmavel.tars import member_size, open_bytes
from hmavel.vsi import is_remote, tar_of

_SAMPLE = 1 << 14
_SAMPLES = 17


def difference(one: Scene, other: Scene) -> str:
    """Say in what two products differ, in the first band that differs; "" where in none.

    Products on servers are not compared: "".

    Raises
    ------
    ReadError, OSError
        A file cannot be read.
    """
    if any(is_remote(path) for path in (*one.bands.values(), *other.bands.values())):
        return ""
    for band in sorted(set(one.bands) & set(other.bands)):
        a, b = one.bands[band], other.bands[band]
        if a == b:
            continue
        sizes = _size(a), _size(b)
        if sizes[0] != sizes[1]:
            return f"{band} of {sizes[0]} bytes against {sizes[1]}"
        if band == "B8" and not _alike(a, b, sizes[0]):
            return f"other bytes in {band}"
    if one.time != other.time or one.reflectance != other.reflectance:
        return "other metadata"
    return ""


def _size(path: Path) -> int:
    return path.stat().st_size if tar_of(path) is None else member_size(path)


def _alike(one: Path, other: Path, size: int) -> bool:
    with open_bytes(one) as a, open_bytes(other) as b:
        for k in range(_SAMPLES):
            start = max(0, size - _SAMPLE) * k // (_SAMPLES - 1)
            a.seek(start)
            b.seek(start)
            if a.read(_SAMPLE) != b.read(_SAMPLE):
                return False
    return True
