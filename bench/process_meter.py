"""What a command and all of its processes take: CPU, bytes, memory. Linux only.

The tree of processes is looked at every second; what a process had used when it was
last seen counts. The kernel's own sum over all that have ended stands beside it as a check.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
#: Entries of /proc/<pid>/io: through system calls, and what went to the disk.
IO = ("rchar", "wchar", "read_bytes", "write_bytes")


@dataclass(frozen=True)
class Used:
    """What a command took."""

    status: int
    wall_s: float
    cpu_s: float  #: of all processes, as the kernel counts those that have ended
    seen_cpu_s: float  #: the same, as last seen; misses the last moment of each
    rchar: int  #: bytes through read calls, from the page cache too
    wchar: int
    read_bytes: int  #: bytes from and to the disk
    write_bytes: int
    peak_bytes: int  #: largest sum of the processes' own memory, and what libraries map once
    own_bytes: int  #: of it their own
    processes: int


def metered(command: list[str], *, every_s: float = 1.0, **options) -> Used:
    """Run a command to its end and measure it; ``options`` go to ``subprocess.Popen``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    last: dict[int, dict[str, float]] = {}
    peak = own = 0
    with subprocess.Popen(command, **options) as process:
        while process.poll() is None:
            anonymous = mapped = 0
            for pid in tree(process.pid):
                try:
                    last[pid] = look(pid)
                    its, files = resident(pid)
                except (OSError, ValueError, IndexError):
                    continue  # gone in between
                anonymous, mapped = anonymous + its, max(mapped, files)
            peak, own = max(peak, anonymous + mapped), max(own, anonymous)
            time.sleep(every_s)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    io = {name: int(sum(one[name] for one in last.values())) for name in IO}
    return Used(
        process.returncode, time.perf_counter() - begin, cpu,
        sum(one["cpu"] for one in last.values()), **io, peak_bytes=peak, own_bytes=own,
        processes=len(last),
    )  # fmt: skip


def tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def look(pid: int) -> dict[str, float]:
    """Return what a process has used so far."""
    stat = _stat(pid)
    pairs = (line.split(": ") for line in (PROC / f"{pid}/io").read_text().splitlines())
    io = {name: float(value) for name, value in pairs if name in IO}
    return {"cpu": (int(stat[11]) + int(stat[12])) / TICK, **io}


def resident(pid: int) -> tuple[int, int]:
    """Return a process's own resident memory and that of the files it maps, bytes.

    Not the kernel's share (PSS) of the latter: the more strangers use the same libraries,
    the less that is, by 16 MB a process here.
    """
    found = {"Rss": 0, "Pss_Anon": 0, "Pss_Shmem": 0, "Anonymous": 0}
    for line in (PROC / f"{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0]) * 1024
    return found["Pss_Anon"] + found["Pss_Shmem"], found["Rss"] - found["Anonymous"]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name: state, parent, ..."""
    return (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()


if __name__ == "__main__":
    print(asdict(metered(sys.argv[1:])))
