"""How much memory there is for a run, and how many workers it is enough for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from hmavel.errors import ReadError

#: Share of the memory that a run takes when it is not told.
SHARE = 0.7
#: What a worker needs before it has any data: Python, the libraries, GDAL's block cache.
BASE = 450 * 2**20

#: Arrays below this are not worth a look at how much memory there is.
_SMALL = 2**28
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Share:
    """What one of several workers may use."""

    workers: int
    threads: int  #: of each worker: together no more than the jobs
    bytes: int  #: of each worker


def require(size: float, item: object) -> None:
    """Refuse an array that a file declares and that the machine could never hold.

    Raises
    ------
    ReadError
        More than all memory: a few bytes of a header may say a million by a million.
    """
    if size > _SMALL and size > (there := limit()):
        raise ReadError(
            "read", item, expected=f"an array within {there / 1e9:.0f} GB of memory",
            got=f"one of {size / 1e9:.0f} GB by its header",
            hint="take a part of it, or check the file",
        )


def limit(root: Path = _CGROUP, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes of memory of the machine, or of this process's cgroup if less.

    Both versions of cgroups; the lowest limit on the way up counts.
    """
    found = int(psutil.virtual_memory().total)
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        # Within a container the path may be the host's: then only the top is there.
        place = top / path.lstrip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(top):
                break
            found = min(found, _number(folder / name, found))
    return found


def _number(file: Path, otherwise: int) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such file; "max"
        return otherwise


def parse(text: str) -> int:
    """Turn "8G", "800 MB" or "70%" (of `limit`) into bytes.

    Raises
    ------
    ValueError
        Something else, or nothing at all.
    """
    match = re.fullmatch(r"([\d.]+)\s*(%|[kmgt]?)(i?b)?", text.strip().lower())
    try:
        amount = float(match[1]) if match else 0.0
    except ValueError:
        amount = 0.0
    if match is None or not 0 < amount < 1e18 or (match[2] == "%" and amount > 100):
        raise ValueError(
            f"memory: expected a size like 8G or 70%, got {text!r}; give one or leave it out"
        )
    if match[2] == "%":
        return int(limit() * amount / 100)
    return int(amount * _UNITS[match[2]])


def share(total: int, jobs: int, need: int) -> Share:
    """Divide ``total`` bytes and ``jobs`` cores among as many workers as ``need`` allows.

    Parameters
    ----------
    total
        For all workers together.
    jobs
        Threads that may compute at one time.
    need
        Bytes of the item that needs most, `BASE` included.

    Returns
    -------
    Share
        At least one worker, even where the memory is not enough for one.
    """
    workers = max(1, min(jobs, total // max(need, 1)))
    return Share(workers, max(1, jobs // workers), total // workers)
