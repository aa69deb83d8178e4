"""Whether a NetCDF file can be opened at all, found out in another process.

Damaged files of a hundred bytes end the C libraries (netCDF and HDF5) with a segmentation
fault, or keep them busy for ever, where no exception and no signal handler helps. So every file
is opened first by a process that may die; one serves for all files.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from hmavel.errors import ReadError

#: Seconds that a file may take to be opened.
PATIENCE_S = 120.0

#: Opens each file that it is told of and looks at all it declares. That the library refuses a
#: file is an answer too: the caller will hear the same.
_PROGRAM = """\
import os, sys, netCDF4
for line in sys.stdin.buffer:
    try:
        with netCDF4.Dataset(os.fsdecode(bytes.fromhex(line.decode()))) as file:
            for holder in (file, *file.variables.values()):
                for name in holder.ncattrs():
                    holder.getncattr(name)
    except Exception:
        pass
    sys.stdout.write("opened\\n")
    sys.stdout.flush()
"""


def try_open(stage: str, path: Path) -> None:
    """Have a file opened elsewhere; what is not a file here is left to its reader.

    Raises
    ------
    ReadError
        Opening it killed the process, or took longer than `PATIENCE_S`.
    """
    if not path.is_file():
        return
    status = path.stat()
    if why := _verdict(path.absolute(), status.st_size, status.st_mtime_ns):
        raise ReadError(
            stage, path, expected="a NetCDF file that can be opened", got=why,
            hint="it is damaged: download it again",
        )


@lru_cache(maxsize=1 << 16)
def _verdict(path: Path, size: int, changed: int) -> str:
    del size, changed  # only part of the key
    with _lock:
        return _opener.open(path)


class _Opener:
    """The other process; begun when it is needed, and anew after it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def open(self, path: Path) -> str:
        """Return why a file cannot be opened, "" where it can or is refused in good order."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(os.fsencode(path).hex().encode() + b"\n")
            process.stdin.flush()
            answered, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
            if answered and process.stdout.readline():
                return ""
        except BrokenPipeError:
            answered = [process.stdout]
        if answered:
            return f"one that kills the NetCDF library (status {self.end()})"
        self.end()
        return f"one that keeps the NetCDF library busy for more than {PATIENCE_S:g} s"

    def end(self) -> int:
        """End the process, if there is one; return its status."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return 0
        assert process.stdin is not None
        assert process.stdout is not None
        # One that is dead or dying by itself keeps its own status.
        if not select.select([process.stdout], [], [], 0)[0]:
            process.kill()
        status = process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return status

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a forked child must not talk to its parent's process
            self._process = None
        if self._process is not None and self._process.poll() is not None:
            self.end()
        if self._process is None:
            # This Python and a fixed program; paths are no more than its input.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            self._owner = os.getpid()
        return self._process


_lock = threading.Lock()
_opener = _Opener()
atexit.register(_opener.end)
