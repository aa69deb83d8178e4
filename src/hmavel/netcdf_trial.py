"""Whether a NetCDF file can be opened at all, found out in another process.

Damaged files of a hundred bytes end the C libraries (netCDF and HDF5) with a segmentation
fault, or keep them busy for ever, where no exception and no signal handler helps. So every file
is opened first by a process that may die. A file that it refuses is not opened here at all: of
one that the libraries have given up they keep what makes them stumble over later ones, and
thousands of those ended a process at a file that a fresh one had refused. So every trial is a
fork of a process that has loaded the libraries and opened nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import math
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

#: Opens each file that it is told of, in a fork that looks at all it declares, and says "" or
#: why the library refused it, in hexadecimal digits. It dies as its fork has died; the alarm
#: ends one that is busy for ever and whose parent has been killed for it.
_PROGRAM = """\
import os, signal, sys, netCDF4
patience = int(sys.argv[1])

def look(path, out):
    said = ""
    signal.alarm(patience)
    try:
        with netCDF4.Dataset(path) as file:
            for holder in (file, *file.variables.values()):
                for name in holder.ncattrs():
                    holder.getncattr(name)
    except Exception as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
    os.write(out, said.encode(errors="replace").hex().encode() + b"\\n")

for line in sys.stdin.buffer:
    child = os.fork()
    if not child:
        look(os.fsdecode(bytes.fromhex(line.decode())), sys.stdout.fileno())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        os.kill(os.getpid(), os.WTERMSIG(status) or signal.SIGKILL)
"""
#: How files begin that the library takes for its own; HDF5 also at 512 bytes and its doubles.
_CLASSIC, _HDF5 = b"CDF", b"\x89HDF\r\n\x1a\n"


def try_open(stage: str, path: Path) -> None:
    """Have a file opened elsewhere; what is not a file here is left to its reader.

    Raises
    ------
    ReadError
        Opening it killed the process, or took longer than `PATIENCE_S`; or it is a NetCDF file
        and was refused.
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


def _is_netcdf(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(3) == _CLASSIC:
            return True
        at, size = 0, path.stat().st_size
        while at < size:
            file.seek(at)
            if file.read(8) == _HDF5:
                return True
            at = max(2 * at, 512)
    return False


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
            if answered and (answer := process.stdout.readline()):
                said = bytes.fromhex(answer.decode()).decode(errors="replace")
                return said if said and _is_netcdf(path) else ""
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
            alarm = str(math.ceil(PATIENCE_S) + 1)
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", _PROGRAM, alarm], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            self._owner = os.getpid()
        return self._process


_lock = threading.Lock()
_opener = _Opener()
atexit.register(_opener.end)
