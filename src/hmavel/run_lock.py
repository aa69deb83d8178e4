"""One run at a time in an output folder."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hmavel.errors import RunError, WriteError

#: Name of the file that the running driver holds.
FILE = ".lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep every other run out of an output folder for as long as the block lasts.

    Raises
    ------
    RunError
        Another run is at work there.
    WriteError
        The folder cannot be written.

    Notes
    -----
    An advisory lock of the operating system: it goes with the process, however that ends.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise WriteError(
            "write", path, expected="an output folder that can be written",
            got=str(error.strerror), hint="check permissions and free space",
        ) from error
    try:
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise RunError(
                "run", folder, expected="no other run in this folder",
                got=holder or "one that is starting",
                hint=f"wait for it (hmavel status {folder}), or choose another output.folder",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
        _check_there(path, descriptor)
    finally:
        os.close(descriptor)


def _check_there(path: Path, descriptor: int) -> None:
    """Notice that the folder is another one than at the beginning: work went elsewhere."""
    try:
        same = os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        same = False
    if not same:
        raise RunError(
            "run", path.parent, expected="the folder that the run began in", got="another one",
            hint="was the disk unmounted? mount it, and run again to go on",
        )


def _lock(descriptor: int) -> None:
    for patience in (0.1, 0.3, 0.0):  # `held` takes a lock for a moment, to see
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not patience:
                raise
            time.sleep(patience)
        else:
            return


def held(folder: Path) -> bool:
    """Tell whether a run is at work in a folder."""
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
