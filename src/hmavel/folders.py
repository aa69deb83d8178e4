"""Walk down folders to what looks like Landsat products, past everything else, however much."""

from __future__ import annotations

import errno
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hmavel.acquisitions import Rejected
from hmavel.errors import ReadError
from hmavel.mtl import ProductId, parse_product_id
from hmavel.scene_files import MTL_NAME

_B8 = re.compile(r".*_B8([_-].*)?\.tiff?", re.IGNORECASE)
_PACKED = (".tar", ".tar.gz", ".tgz", ".zip")
#: Download managers write to such names, or keep such a file beside what is not whole yet.
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".filepart", ".tmp", ".aria2")
#: Deeper trees than this are not archives but loops that the file system hides.
_DEEPEST = 32


class Candidate(NamedTuple):
    """What to give to ``open_scene``, and what lies beside it."""

    path: Path
    files: tuple[Path, ...] | None  #: of the folder, or those that may belong to the file


class Walk:
    """One walk over several roots: no folder is entered twice.

    ``rejected`` grows while it goes on.
    """

    def __init__(self) -> None:
        self.rejected: list[Rejected] = []
        self._seen: set[tuple[int, int]] = set()

    def __call__(self, root: Path) -> Iterator[Candidate]:
        """Yield the candidates at or below a root (a text file lists further roots).

        Raises
        ------
        ReadError
            The root does not exist or is an unreadable list.
        """
        for start in _listed(root):
            yield from self._enter(start, ())

    def _enter(self, path: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Candidate]:
        try:
            if not path.is_dir():
                if path.exists():
                    yield Candidate(path, None)
                else:
                    self._reject(path, "listed, but no such file or folder")
                return
            stat = path.stat()
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            self._reject(path, f"cannot be listed: {error.strerror or error}")
            return
        # Device and inode, not the path: a link to a folder above has ever new paths.
        key = (stat.st_dev, stat.st_ino)
        if key in above:
            self._reject(path, "not followed: a link to a folder that it lies in")
        if key in self._seen:
            return
        if len(above) > _DEEPEST:
            self._reject(path, f"folders nested deeper than {_DEEPEST}: give this one itself")
            return
        self._seen.add(key)
        files, folders = self._sorted(path, entries)
        yield from self._products(path, files, any(folders))
        for name in folders:
            yield from self._enter(path / name, (*above, key))

    def _sorted(
        self, path: Path, entries: Sequence[os.DirEntry[str]]
    ) -> tuple[list[str], list[str]]:
        files, folders = [], []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_file():
                    files.append(entry.name)
                elif entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_symlink():
                    self._dangling(path / entry.name)
            except OSError as error:
                self._dangling(path / entry.name, error)
        return files, folders

    def _dangling(self, link: Path, error: OSError | None = None) -> None:
        if error is None:
            try:
                link.stat()
            except OSError as found:
                error = found
        if error is not None and error.errno == errno.ELOOP:
            self._reject(link, "not followed: a link that leads in a circle")
        elif parse_product_id(link.name) is not None:
            self._reject(link, "a link to what is not there: mend the link, or remove it")

    def _products(self, path: Path, files: list[str], nested: bool) -> Iterator[Candidate]:
        """Find the products among the files of one folder, in one pass over their names."""
        torn = self._unfinished(path, files)
        band8 = [name for name in files if _B8.fullmatch(name)]
        mtls = [name for name in files if MTL_NAME.fullmatch(name)]
        ids: dict[str, ProductId | None] = {n: parse_product_id(n) for n in (*mtls, *band8)}
        products = {product.id for product in ids.values() if product is not None}
        if len(products) > 1 or len(band8) > 1:
            yield from self._side_by_side(path, files, band8, mtls, ids, torn)
        elif torn and (products or band8 or mtls):
            pass  # its unfinished file is listed
        elif mtls:
            yield Candidate(path, tuple(path / name for name in files))
        elif band8:
            yield Candidate(path / band8[0], tuple(path / name for name in files))
        elif parse_product_id(path.name) is not None and not nested and not torn:
            # An empty or half-downloaded product: opening it says what is missing.
            yield Candidate(path, tuple(path / name for name in files))
        for name in files:
            if name.lower().endswith(_PACKED) and parse_product_id(name) and name not in torn:
                yield Candidate(path / name, ())

    def _side_by_side(
        self,
        path: Path,
        files: list[str],
        band8: list[str],
        mtls: list[str],
        ids: dict[str, ProductId | None],
        torn: set[str],
    ) -> Iterator[Candidate]:
        """Many products in one folder: each is known by its Band 8, or is a Level-2 one."""
        groups: dict[Any, list[Path]] = defaultdict(list)
        for name in files:
            product = ids[name] if name in ids else parse_product_id(name)
            if product is not None:
                groups[product.acquisition].append(path / name)
        plain = {product.id for n in band8 if (product := ids[n]) and _is_plain(n, product)}
        with_b8 = {product.id for n in band8 if (product := ids[n])}
        bare = tuple(path / name for name in mtls)
        for name in band8:
            product = ids[name]
            if name in torn or (
                product is not None and product.id in plain and not _is_plain(name, product)
            ):
                continue  # a crop beside the whole image
            beside = bare if product is None else tuple(groups[product.acquisition])
            yield Candidate(path / name, (path / name, *beside))
        for name in mtls:
            product = ids[name]
            if product is None or product.id in with_b8:
                continue
            if product.level.startswith("L2") and name.lower().endswith(".txt"):
                yield Candidate(path / name, tuple(groups[product.acquisition]))
            elif not product.level.startswith("L2"):
                self._reject(
                    path / name, "metadata of a product without its Band 8 beside it"
                )

    def _unfinished(self, path: Path, files: list[str]) -> set[str]:
        """List the products' files that are being downloaded; return what they will be."""
        torn = set()
        for name in files:
            if name.lower().endswith(_UNFINISHED) and parse_product_id(name) is not None:
                self._reject(
                    path / name, "a download that is not finished: wait, or fetch it again"
                )
                torn.add(name.rpartition(".")[0])
        return torn

    def _reject(self, path: Path, reason: str) -> None:
        self.rejected.append(Rejected(path, reason))


def _listed(root: Path) -> list[Path]:
    if not root.exists():
        raise ReadError(
            "scenes", root, expected="a folder of Landsat products", got="no such path",
            hint="check the path",
        )  # fmt: skip
    if (
        root.is_dir()
        or root.suffix.lower() not in {".txt", ".lst", ".list"}
        or MTL_NAME.fullmatch(root.name)
    ):
        return [root]
    try:
        lines = root.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(
            "scenes", root, expected="a text file with a path a line", got=str(error),
            hint="check the list",
        ) from error  # fmt: skip
    paths = [line.strip() for line in lines]
    return [root.parent / line for line in paths if line and not line.startswith("#")]


def _is_plain(name: str, product: ProductId) -> bool:
    """Say whether a Band-8 file is the product's own, without a crop's decoration."""
    return name.lower() in (f"{product.id}_b8.tif".lower(), f"{product.id}_b8.tiff".lower())
