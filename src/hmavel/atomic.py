"""Files that are either complete or not there.

A run of days is stopped, restarted and killed. Whatever it finds under a final name it
takes for finished, so nothing unfinished may ever carry one: everything is written beside
its destination under a hidden name, flushed to the disk, and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from hmavel.errors import WriteError

#: Leaves room for the token and a suffix within the 255 bytes of a file name.
_LONGEST_STEM = 64

#: .name.host-process-began-token, and whatever a driver appends to it.
_TEMPORARY = re.compile(r"\.[^/]*\.([0-9a-z]{1,16})-(\d+)-(\d+)-[0-9a-f]{12}(\..*)?")
_HOST = re.sub("[^0-9a-z]", "", socket.gethostname().lower())[:16] or "host"

_live: set[Path] = set()
_live_lock = threading.Lock()


@contextmanager
def atomic_path(final: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a temporary name beside ``final``; when the block ends well, rename it.

    Parameters
    ----------
    final
        The file to make or to replace. Its folder is made when missing.

    Yields
    ------
    Path
        A name in the same folder that does not exist yet: hidden, unique among processes and
        threads, with the suffix of ``final`` (drivers go by it). Write exactly that file.

    Raises
    ------
    WriteError
        The operating system refused: no permission, no space, a folder in the way; or the
        block wrote nothing. Any ``OSError`` of the block counts, since the block is there to
        write. Every other exception passes unchanged. Either way the temporary file is gone
        and ``final`` is as it was.

    Notes
    -----
    The file is flushed to the disk before the rename and the folder after it, so that a power
    cut leaves the old file or the new one. The rename replaces an existing file in one step
    (POSIX ``rename``), and readers that have the old one open keep it.
    """
    final = Path(final)
    temporary = _hidden_name(final, final.suffix)
    try:
        with _noted(temporary):
            final.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush(temporary)
            temporary.replace(final)
            _flush_folder(final.parent)
    except OSError as error:
        raise WriteError(
            "write",
            final,
            expected="a file that can be written",
            got=_reason(error),
            hint="check permissions, free space and that its folder is not a file",
        ) from error


@contextmanager
def temporary_folder(final: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a folder beside ``final`` for what is needed to make it; gone afterwards.

    Raises
    ------
    WriteError
        It cannot be made.
    """
    folder = _hidden_name(Path(final), ".parts")
    with _noted(folder):
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise WriteError(
                "write", folder.parent, expected="a folder that can be written",
                got=_reason(error), hint="check permissions and free space",
            ) from error
        yield folder
        _remove(folder)


def discard_live() -> None:
    """Remove what this process has under temporary names: for a process about to end."""
    with _live_lock:
        live = list(_live)
    for path in live:
        _remove(path)


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove what processes that are no longer there left below ``folder``; return how many.

    Temporary names of other machines and of living processes are left alone.
    """
    count = 0
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            match = _TEMPORARY.fullmatch(name)
            if match and match[1] == _HOST and _over(int(match[2]), match[3]):
                _remove(Path(root) / name)
                count += 1
        folders[:] = [name for name in folders if not _TEMPORARY.fullmatch(name)]
    return count


def _over(process: int, began: str) -> bool:
    """Tell whether a process is no longer there, or its number another's by now."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return _life(process) not in (began, None)


def _life(process: int) -> str | None:
    """Return when a process began, "" for one that is dead and not yet waited for.

    None where that is not to be known. Not by a clock that may be set.
    """
    try:
        if sys.platform == "linux":
            stat = Path(f"/proc/{process}/stat").read_bytes()
            state, *further = stat.rpartition(b") ")[2].split()
            return "" if state in (b"Z", b"X") else further[18].decode()
        found = psutil.Process(process)
        dead = found.status() == psutil.STATUS_ZOMBIE
        return "" if dead else f"{found.create_time():.0f}"
    except (OSError, psutil.Error):
        return None


@lru_cache(maxsize=1)
def _began(process: int) -> str:
    """Return when this process began; by its number, since a fork has another."""
    return _life(process) or "0"


def _hidden_name(final: Path, suffix: str) -> Path:
    stem = final.stem.encode()[:_LONGEST_STEM].decode(errors="ignore")
    process, token = os.getpid(), uuid.uuid4().hex[:12]
    return final.with_name(f".{stem}.{_HOST}-{process}-{_began(process)}-{token}{suffix}")


@contextmanager
def _noted(temporary: Path) -> Iterator[None]:
    """Keep a temporary name in mind, and remove what carries it if the block fails."""
    with _live_lock:
        _live.add(temporary)
    try:
        yield
    except BaseException:
        _remove(temporary)
        raise
    finally:
        with _live_lock:
            _live.discard(temporary)


def _remove(path: Path) -> None:
    """Remove a temporary file or folder, and what GDAL may have put beside it."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    for more in (".ovr.tmp", ".ovr", ".msk.ovr.tmp", ".aux.xml"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + more).unlink(missing_ok=True)


def write_text(final: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 to ``final``, all of it or nothing.

    Raises
    ------
    WriteError
        The file cannot be written.
    """
    with atomic_path(final) as temporary:
        temporary.write_bytes(text.encode())


def write_json(final: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as indented JSON to ``final``, all of it or nothing.

    Parameters
    ----------
    final
        The file to make or to replace.
    content
        What ``json`` can take. NaN and infinity have no place in JSON: pass None instead.

    Raises
    ------
    WriteError
        The file cannot be written.
    ValueError, TypeError
        ``content`` holds NaN, infinity or something that JSON has no word for. Raised before
        anything is written.
    """
    write_text(final, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def checksum(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems refuse to flush a folder. The file itself is on the disk
        # and carries its name by now; reporting it as not written would be the lie.
        pass
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    """Name the refusal and the path that it was about: often a folder above ``final``."""
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
