"""Names of files that lie in no folder: members of tars, and files on a server.

GDAL reads both in place, by names of its own (``/vsitar/``, ``/vsicurl``, ``/vsis3/``). They
are kept as paths, in the forms that survive a path's tidying (``//`` would become ``/``), and
shown to people as what they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

_TAR = re.compile(r"/vsitar/\{(?P<tar>.*)\}/(?P<member>.*)", re.DOTALL)
_URL = re.compile(r"/vsicurl\?(?P<options>.*)", re.DOTALL)
_S3 = "/vsis3/"
#: How often a remote read is tried again, and the seconds before the first time (they double).
RETRIES, DELAY_S = 4, 1.0
_LONGEST_PAUSE_S = 60.0


def in_tar(tar: Path, member: str) -> Path:
    """Return the name under which GDAL reads a member of a tar, packed by gzip or not."""
    return Path(f"/vsitar/{{{tar.absolute()}}}/{member}")


def remote(href: str, *, retries: int = RETRIES, delay_s: float = DELAY_S) -> Path:
    """Return the name under which GDAL reads a file of a server, by ranges of its bytes.

    Parameters
    ----------
    href
        ``http://``, ``https://`` or ``s3://``; GDAL's own ``/vsi`` names pass.
    retries, delay_s
        Kept in the name (not for S3, which has the defaults), so that every process that
        reads the file knows them.

    Raises
    ------
    ValueError
        Another kind of address.
    """
    scheme = urlsplit(href).scheme.lower()
    if href.startswith("/vsi"):
        return Path(href)
    if scheme == "s3":
        return Path(_S3 + href[len("s3://") :])
    if scheme not in ("http", "https"):
        raise ValueError(
            f"remote {href}: expected an http, https or s3 address, got {scheme or 'none'}; "
            "check the address"
        )
    options = f"max_retry={retries}&retry_delay={delay_s:g}&empty_dir=yes"
    return Path(f"/vsicurl?{options}&url={quote(href, safe='')}")


def is_virtual(path: Path) -> bool:
    """Say whether a path is one of GDAL's names and not a file or folder here."""
    return str(path).startswith("/vsi")


def is_remote(path: Path) -> bool:
    """Say whether a path stands for a file of a server."""
    return str(path).startswith(("/vsicurl", _S3))


def patience(path: Path) -> tuple[int, float]:
    """Return (retries, seconds before the first) of a remote file, none for any other."""
    if not is_remote(path):
        return 0, 0.0
    options = _options(path)
    return int(options.get("max_retry", RETRIES)), float(options.get("retry_delay", DELAY_S))


def pauses(retries: int, first_s: float) -> Iterator[float]:
    """Yield the seconds to wait before each further try; they double, up to a minute."""
    for number in range(retries):
        yield min(first_s * 2**number, _LONGEST_PAUSE_S)


def for_gdal(path: Path) -> str:
    """Return what to open: a name whose tries are left to the caller, not to GDAL as well."""
    return re.sub(r"^(/vsicurl\?)max_retry=\d+&", r"\1max_retry=0&", str(path))


def tar_of(path: Path) -> tuple[Path, str] | None:
    """Split the name of a tar's member into the tar and the member."""
    match = _TAR.fullmatch(str(path))
    return None if match is None else (Path(match["tar"]), match["member"])


def address(path: Path) -> str:
    """Return the address that a remote path stands for, complete."""
    text = str(path)
    if text.startswith(_S3):
        return f"s3://{text[len(_S3) :]}"
    return _options(path).get("url", text)


def file_name(path: Path) -> str:
    """Return the last part of a file's name, wherever it lies."""
    return PurePosixPath(urlsplit(address(path)).path).name if is_remote(path) else path.name


def public(address: str) -> str:
    """Return an address without what may be secret: user, query and fragment."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, query="", fragment=""))


def shown(path: object) -> str:
    """Return a path as people write it; an address as `public` has it."""
    if not isinstance(path, Path) or not is_virtual(path):
        return str(path)
    if (tar := tar_of(path)) is not None:
        return f"{tar[0]}/{tar[1]}"
    return public(address(path))


def _options(path: Path) -> dict[str, str]:
    match = _URL.fullmatch(str(path))
    return {} if match is None else dict(parse_qsl(match["options"]))
