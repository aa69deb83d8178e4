"""Landsat products as they are delivered: tars, read where they are and never unpacked."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from hmavel.errors import ReadError, SceneError
from hmavel.vsi import in_tar, tar_of

TAR_NAME = re.compile(r".+\.(?:tar|tar\.gz|tgz)", re.IGNORECASE)
#: What is read of a text member: an MTL is 20 KB, and a tar may hold anything.
MOST_TEXT = 4 << 20
_BLOCK = tarfile.BLOCKSIZE


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    size: int  #: bytes, unpacked
    offset: int  #: where its bytes begin, in the unpacked tar


def list_tar(tar: Path) -> list[Path]:
    """List the files in a tar by the names that GDAL reads them under, sorted.

    Hidden ones (macOS packs its resource forks as ``._name``), links and devices are left out.

    Raises
    ------
    ReadError
        It is not a tar, cannot be read, or ends before its end: a partial download.
    SceneError
        A name in it is absolute or leads out of it through ``..``: nothing of it is used.
    """
    names = [member.name for member in tar_members(tar)]
    return [in_tar(tar, n) for n in names if not PurePosixPath(n).name.startswith(".")]


def tar_members(tar: Path) -> tuple[Member, ...]:
    """List the regular files in a tar; errors of `list_tar`.

    A packed tar has to be unpacked (in passing) for that, so the answer is remembered until
    the file changes.
    """
    try:
        status = tar.stat()
    except OSError as error:
        raise _unreadable(tar, error.strerror or str(error), "check the path") from error
    return _members(tar, status.st_size, status.st_mtime_ns)


def read_member(path: Path) -> bytes:
    """Read a small member (an MTL) by its GDAL name; errors of `list_tar`."""
    with open_member(path) as file:
        return file.read(MOST_TEXT)


def open_bytes(path: Path) -> AbstractContextManager[IO[bytes]]:
    """Open a file of the disk, or a tar's member by its GDAL name."""
    return path.open("rb") if tar_of(path) is None else open_member(path)


@contextmanager
def open_member(path: Path) -> Iterator[IO[bytes]]:
    """Open a member for reading, by its GDAL name; errors of `list_tar`."""
    tar, name = _split(path)
    try:
        with tarfile.open(tar) as archive:
            for item in archive:
                if item.isfile() and _tidy(item.name) == name:
                    file = archive.extractfile(item)
                    assert file is not None  # as it is of every regular file
                    yield file
                    return
    except _DAMAGE as error:
        raise _broken(tar, error) from error
    raise _unreadable(tar, f"no member {name}", "fetch the complete product")


def member_size(path: Path) -> int:
    """Return the bytes of a member, by its GDAL name; errors of `list_tar`."""
    tar, name = _split(path)
    for member in tar_members(tar):
        if member.name == name:
            return member.size
    raise _unreadable(tar, f"no member {name}", "fetch the complete product")


#: What a damaged tar is found out by: `OverflowError` where a size has too many digits.
_DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, OverflowError)


@lru_cache(maxsize=512)
def _members(tar: Path, size: int, changed: int) -> tuple[Member, ...]:
    del changed  # only part of the key
    found: list[Member] = []
    end = 0
    if not size:
        raise _unreadable(tar, "an empty file", "fetch it again")
    try:
        with tarfile.open(tar) as archive:
            for item in archive:
                parts = PurePosixPath(item.name).parts
                if item.name.startswith("/") or ".." in parts:
                    raise SceneError(
                        "scene", tar, expected="a tar whose names stay inside it",
                        got=repr(item.name), hint="it is refused: do not unpack it, fetch the "
                        "product again from where you trust",
                    )  # fmt: skip
                end = item.offset_data + -(-item.size // _BLOCK) * _BLOCK
                if item.isfile() and _tidy(item.name) != ".":  # a name that is none
                    found.append(Member(_tidy(item.name), item.size, item.offset_data))
            _check_end(archive, tar, end)
    except _DAMAGE as error:
        raise _broken(tar, error) from error
    if not found:
        got = "a tar without files"
        raise _unreadable(tar, got, "fetch the product again")
    return tuple(sorted(found))


def _check_end(archive: tarfile.TarFile, tar: Path, end: int) -> None:
    """Notice a cut between two members: a whole tar ends with blocks of zeros."""
    file = archive.fileobj
    assert file is not None
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise _unreadable(
            tar, "one that stops before its end", "the download is incomplete: fetch it again"
        )


def _tidy(name: str) -> str:
    """Return a name without its ``./``, as GDAL and paths have it."""
    return str(PurePosixPath(name))


def _split(path: Path) -> tuple[Path, str]:
    parts = tar_of(path)
    if parts is None:
        raise ValueError(f"tar {path}: expected the name of a member, got a path; check it")
    return parts


def _broken(tar: Path, error: Exception) -> ReadError:
    said = ("unexpected end", "empty header", "truncated header")
    torn = isinstance(error, EOFError | zlib.error) or any(part in str(error) for part in said)
    if torn:
        got = "one that stops before its end"
        hint = "the download is incomplete: fetch it again"
    else:
        opened = not isinstance(error, tarfile.ReadError)  # whose message lists every packing
        got = str(error) if opened else "another kind of file"
        hint = "the file is damaged: fetch it again"
    return _unreadable(tar, got, hint)


def _unreadable(tar: Path, got: str, hint: str) -> ReadError:
    return ReadError("read", tar, expected="a complete tar", got=got, hint=hint)
