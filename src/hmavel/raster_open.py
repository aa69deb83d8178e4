"""How a raster is opened, on disk, in a tar or on a server; the patience that servers need.

Private to the raster modules. A server's file is read by ranges, never whole: its header, and
the blocks that a window touches. What a server answers today it may not answer in a minute,
so a failed read is tried again, with growing pauses, before it counts.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from hmavel.errors import ReadError
from hmavel.tars import member_size
from hmavel.vsi import for_gdal, is_remote, is_virtual, patience, pauses, shown, tar_of

# GDAL would keep decoded blocks up to a twentieth of the machine's memory, in every process.
os.environ.setdefault("GDAL_CACHEMAX", "64")

logger = logging.getLogger(__name__)

#: ``rasterio.open`` speaks of a missing transform by a warning; silencing it touches a
#: process-wide list, which two threads must not do at once.
_open_lock = threading.Lock()
#: A server that says nothing is given up after these, seconds (and bytes a second). GDAL's own
#: options: where the user has set one, it holds.
_SERVER = {
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
}
#: What rasterio raises for a file that is damaged or does not come.
FAULTS = (RasterioError, CPLE_BaseError, OSError, UnicodeDecodeError)


def open_dataset(path: Path) -> Any:
    """Open a raster as rasterio does; a remote one so that its reads are tried again.

    Raises
    ------
    ReadError
        It is missing, not a raster, or no server gave it however often it was asked.
    """
    if is_remote(path):
        return _Patient(path)
    if path.is_dir():
        raise ReadError(
            "read",
            path,
            expected="a raster file",
            got="a folder",
            hint="give the file inside it",
        )
    if tar_of(path) is not None:
        # GDAL would leave a file of its own beside a packed tar.
        os.environ.setdefault("CPL_VSIL_GZIP_WRITE_PROPERTIES", "NO")
    return _open(path)


def open_bare(path: Path) -> Any:
    """Open a TIFF on disk for its pixels alone, not for where it lies or what is beside it.

    Raises
    ------
    ReadError
        It is missing, or not a TIFF.
    """
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        return _open(path, GEOREF_SOURCES="NONE")


def status_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a TIFF on disk does; None for every other kind of file."""
    if is_virtual(path) or _driver(path) is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def _open(path: Path, **options: str) -> Any:
    try:
        with _open_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path, driver=_driver(path), **options)
    except FAULTS as error:
        missing = not is_virtual(path) and not path.exists()
        raise ReadError(
            "read",
            shown(path),
            expected="a raster file",
            got="no such file" if missing else str(error),
            hint="check the path" if missing else "the file is damaged: fetch it again",
        ) from error


def _driver(path: Path) -> str | None:
    """Hold a TIFF to its name: a VRT or WMS of that name has GDAL read other files, servers."""
    return "GTiff" if path.suffix.lower() in (".tif", ".tiff") else None


def check_complete(path: Path, dataset: Any) -> None:
    """Notice a download that broke off before its last block, which the header cannot tell."""
    inside = tar_of(path) is not None
    if dataset.driver != "GTiff" or not (inside or path.is_file()):
        return
    height, width = dataset.block_shapes[-1]
    last = f"{-(-dataset.width // width) - 1}_{-(-dataset.height // height) - 1}"
    items = [
        dataset.get_tag_item(f"BLOCK_{what}_{last}", "TIFF", bidx=dataset.count)
        for what in ("OFFSET", "SIZE")
    ]
    if None in items:  # a sparse file: blocks that are all no-data are not stored
        return
    end = sum(int(item) for item in items)
    size = member_size(path) if inside else path.stat().st_size
    if end > size:
        raise ReadError(
            "read",
            shown(path),
            expected=f"at least {end} bytes, as its header says",
            got=f"{size}",
            hint="the file is incomplete: fetch it again",
        )


class _Patient:
    """A dataset on a server: what fails is closed, forgotten, and tried again after a pause."""

    def __init__(self, path: Path) -> None:
        for option, value in _SERVER.items():
            os.environ.setdefault(option, value)
        self._path, self._name = path, for_gdal(path)
        self._dataset: Any = None
        self._dataset = self._try(self._open)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def __enter__(self) -> _Patient:
        return self

    def __exit__(self, *_: object) -> None:
        self._dataset.close()

    def read(
        self, band: int, window: Window, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Read a window; raises ``ReadError`` when every try has failed."""

        def read() -> Any:
            if self._dataset is None or self._dataset.closed:
                self._dataset = self._open()
            return self._dataset.read(band, window=window, out=out)

        array: NDArray[Any] = self._try(read)
        return array

    def _open(self) -> Any:
        # No listing of the folder beside it, no search for sidecars that are not there.
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
            return rasterio.open(self._name, driver=_driver(self._path))

    def _try(self, what: Any) -> Any:
        retries, first = patience(self._path)
        waits = pauses(retries, first)
        readable = shown(self._path)
        while True:
            try:
                return what()
            except FAULTS as error:
                said = str(error.__cause__ or error)
                got = said.replace(self._name, readable).replace(self._name[1:], readable)
                pause = next(waits, None)
                if pause is None:
                    raise ReadError(
                        "read",
                        readable,
                        expected="a raster file from its server",
                        got=f"{got} (tried {retries + 1} times)",
                        hint="check address, network and rights, and run again later",
                    ) from error
                logger.info("read %s: %s; again in %g s", readable, got, pause)
                self._forget()
                time.sleep(pause)

    def _forget(self) -> None:
        """Drop what GDAL remembers of the file, also that it was not there or was cut off."""
        if self._dataset is not None:
            self._dataset.close()
        try:
            with rasterio.Env(
                CPL_VSIL_CURL_NON_CACHED="/vsicurl:/vsis3",
                GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
            ):
                rasterio.open(self._name).close()
        except FAULTS:
            pass  # that it still fails is what the next try will find out
