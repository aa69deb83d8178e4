"""One SQLite file: opened, checked, changed by whole transactions; faults in hmavel's words."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from rasterio.errors import CRSError

from hmavel.errors import CatalogueError, WriteError

log = logging.getLogger(__name__)

#: File systems whose locks or shared memory SQLite's write-ahead log cannot rely on.
_SHARED = (
    "nfs", "cifs", "smb", "9p", "afs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse",
    "virtiofs", "ncp", "pvfs", "orangefs", "davfs",
)  # fmt: skip
#: SQLite's primary result codes of a disk that refuses.
_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
#: What its messages say of damage that has no code of its own.
_DAMAGE = ("UTF-8", "unsupported file format")
#: What is raised where a row is no record.
_UNBELIEVABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, CRSError)
#: Seconds to wait for another process that is writing.
_PATIENCE_S = 30.0


class Database:
    """A connection that any thread may use, and one process may write at a time.

    Parameters
    ----------
    path
        The file; made, with its folder, unless ``read_only``.
    schema
        The statements that make its tables, run on a new file.
    application
        Number that tells this kind of file from all other SQLite files.
    version
        Of the schema. A file of a newer one is refused, and so is one of an older one.
    read_only
        Never write, not even a journal.

    Raises
    ------
    CatalogueError
        Not such a file, damaged, of another version, or locked by another process.
    WriteError
        It cannot be made.

    Notes
    -----
    The write-ahead log is used where the file lies on a disk of this machine, so that others
    can read while this process writes; on network file systems, whose machines do not share
    memory, it is the rollback journal. Both survive a killed process and a power cut: after
    either, a transaction is whole or not there.
    """

    def __init__(
        self, path: Path, schema: str, *, application: int, version: int,
        read_only: bool = False,
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self._application, self._version = application, version
        self._lock = threading.RLock()
        self._depth = 0
        if not read_only:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._refused(error.strerror or str(error)) from error
        elif not self.path.is_file():
            raise CatalogueError(
                "catalogue", self.path, expected="a catalogue", got="no such file",
                hint="make it with: hmavel scenes",
            )  # fmt: skip
        with self._faults():
            self._connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}{'?mode=ro' if read_only else ''}",
                uri=True, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False,
            )  # fmt: skip
        try:
            with self._faults():
                self._prepare(schema, read_only)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, schema: str, read_only: bool) -> None:
        run = self._connection.execute
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA cache_size = -65536")  # KiB; the default of 2 MiB holds no glacier's rows
        (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = run("PRAGMA application_id").fetchone()
        (version,) = run("PRAGMA user_version").fetchone()
        if tables and application != self._application:
            raise CatalogueError(
                "catalogue", self.path, expected="a catalogue of hmavel",
                got="another program's database", hint="choose another output folder",
            )  # fmt: skip
        if tables and version > self._version:
            raise CatalogueError(
                "catalogue", self.path, expected=f"version {self._version} or older",
                got=f"version {version}, of a newer hmavel",
                hint="run that hmavel, or choose another output folder",
            )  # fmt: skip
        if tables and version < self._version:
            raise CatalogueError(
                "catalogue", self.path, expected=f"version {self._version}",
                got=f"version {version}, of an older hmavel",
                hint="move it away: it is made again from the archive",
            )  # fmt: skip
        if tables and not _layout_of(schema) <= _layout(self._connection):
            raise self._damaged(ValueError("tables that are not those of a catalogue"))
        if read_only:
            return
        mode = "DELETE" if on_shared_disk(self.path) else "WAL"
        (got,) = run(f"PRAGMA journal_mode = {mode}").fetchone()
        run(f"PRAGMA synchronous = {'NORMAL' if got == 'wal' else 'FULL'}")
        log.debug("catalogue %s: journal %s", self.path, got)
        if not tables:
            with self.transaction():
                # Another process may have been first since the look above.
                if not run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    _create(self._connection, schema)
                    run(f"PRAGMA application_id = {self._application}")
                    run(f"PRAGMA user_version = {self._version}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that the block writes is there after it, or nothing; blocks may be nested."""
        with self._lock, self._faults():
            if self._depth:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it by itself
                    self._connection.execute("ROLLBACK")
                raise
            else:
                self._connection.execute("COMMIT")
            finally:
                self._depth = 0

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        with self._lock, self._faults():
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Run a query and return its first row, None without one."""
        with self._lock, self._faults():
            row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            return row

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Change rows, in a transaction; return how many."""
        with self.transaction():
            return self._connection.execute(statement, values).rowcount

    def run_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> int:
        """Change rows, once for each set of values, in a transaction; return how many."""
        with self.transaction():
            return self._connection.executemany(statement, rows).rowcount

    def query(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run a query and return (column names, rows)."""
        with self._lock, self._faults():
            cursor = self._connection.execute(statement)
            return [str(column[0]) for column in cursor.description], cursor.fetchall()

    def close(self) -> None:
        """Let the file go; the write-ahead log is folded into it."""
        with self._lock, self._faults():
            self._connection.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise self._damaged(error) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _DISK or code == sqlite3.SQLITE_CANTOPEN:
                raise self._refused(str(error)) from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise CatalogueError(
                    "catalogue", self.path, expected="to write it",
                    got=f"another process writing for {_PATIENCE_S:.0f} s",
                    hint="wait for the other run, or give this one its own output folder",
                ) from error  # fmt: skip
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._damaged(error) from error
            if any(words in str(error) for words in _DAMAGE):
                raise self._damaged(error) from error
            raise

    @contextmanager
    def believed(self) -> Iterator[None]:
        """Turn rows into records; rows that make none are damage.

        Raises
        ------
        CatalogueError
            What stands in a row is not what was written there.
        """
        try:
            yield
        except _UNBELIEVABLE as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> CatalogueError:
        return CatalogueError(
            "catalogue", self.path, expected="a sound database", got=str(error),
            hint="move it away: it is made again from the archive",
        )  # fmt: skip

    def _refused(self, why: str) -> WriteError:
        return WriteError(
            "catalogue", self.path, expected="a file that can be written", got=why,
            hint="check permissions and free space",
        )  # fmt: skip


def on_shared_disk(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Tell whether a file lies on a file system that several machines may have mounted.

    Where the mounts cannot be listed (not Linux), the answer is no.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    here = os.path.realpath(path)
    best, kind = "", ""
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = words[1].replace("\\040", " ")
        inside = here == place or here.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, words[2]
    return kind.startswith(_SHARED)


def _create(connection: sqlite3.Connection, schema: str) -> None:
    for statement in schema.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _layout(connection: sqlite3.Connection) -> set[tuple[Any, ...]]:
    """Return what tables, views and indices there are, and what they were made by."""
    found = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    )
    return set(found.fetchall())


@lru_cache(maxsize=4)
def _layout_of(schema: str) -> set[tuple[Any, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        _create(connection, schema)
        return _layout(connection)
