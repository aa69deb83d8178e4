"""What the files of an archive say of their pixels, remembered while they do not change.

The bands of a scene are opened for one glacier after the other, and to read where a file lies
takes four times as long as to open it. Private to the raster modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

#: Headers that are remembered; those of a year's scenes of one path and row are some hundred.
_MOST = 4096


@dataclass(frozen=True)
class Header:
    """What a file says of its pixels: where they lie, what they are."""

    transform: Affine
    crs: CRS | None
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    descriptions: tuple[str, ...]
    units: tuple[str, ...]
    nodata: float | None
    tags: Mapping[str, str]


#: Path -> status when it was opened (``raster_open.status_of``), and its header.
_headers: dict[Path, tuple[Any, Header]] = {}


def known_header(path: Path, status: Any) -> Header | None:
    """Return what is remembered of a file, if it still has the same status."""
    then, header = _headers.get(path, (None, None))
    return header if status is not None and then == status else None


def remembered(path: Path, status: Any, dataset: Any) -> Header:
    """Return the header of an open file; remember it, if the file has a status."""
    header = Header(
        dataset.transform, dataset.crs, dataset.shape, np.dtype(dataset.dtypes[0]),
        tuple(text or "" for text in dataset.descriptions),
        tuple(text or "" for text in dataset.units),
        None if dataset.nodata is None else float(dataset.nodata),
        MappingProxyType(dataset.tags()),
    )  # fmt: skip
    if status is not None:
        if len(_headers) >= _MOST:
            _headers.clear()
        _headers[path] = status, header
    return header
