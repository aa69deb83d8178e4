"""Where a file comes from, in the plain words that JSON, TIFF tags and NetCDF can hold.

No time of writing and no machine goes in: the same inputs and configuration give the same
bytes, so that a product can be verified by making it again.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
from collections.abc import Mapping
from enum import Enum
from importlib import metadata
from pathlib import PurePath
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

import hmavel
from hmavel import _kernels
from hmavel._types import Grid
from hmavel.finite import without_nan

#: A report holds figures, not maps: longer arrays are a mistake of the caller.
_LONGEST = 10_000


def plain(value: Any, name: str = "report") -> Any:
    """Return ``value`` as what JSON has words for.

    NaN and infinity become None, times ISO 8601 in UTC, enumerations their name in small
    letters, records and mappings objects, arrays and sets lists.

    Raises
    ------
    ValueError
        An array too long for a report, or a type that has no plain form; ``name`` says where.
    """
    if value is None or isinstance(value, str | bool) or type(value) is int:
        return value
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, np.generic | datetime.date | datetime.timedelta):
        return _scalar(value)
    if isinstance(value, float):
        return without_nan(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Grid):
        return plain({"crs": value.crs, "transform": value.transform, "shape": value.shape})
    if isinstance(value, CRS):
        return value.to_string()
    if isinstance(value, Affine):
        return list(value)[:6]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return plain({field.name: getattr(value, field.name) for field in fields}, name)
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"), name)
    if isinstance(value, Mapping):
        return {_key(key): plain(item, f"{name}.{_key(key)}") for key, item in value.items()}
    if isinstance(value, np.ndarray):
        if value.size > _LONGEST:
            raise ValueError(
                f"{name}: expected figures, got an array of {value.size}; give its summary"
            )
        return [plain(item, name) for item in value] if value.ndim else plain(value[()], name)
    if isinstance(value, list | tuple):
        return [plain(item, name) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, name) for item in value), key=str)
    raise ValueError(
        f"{name}: expected something that JSON can hold, got {type(value).__name__}; "
        "convert it first"
    )


@functools.cache
def libraries(*, maps: bool = True) -> str:
    """Return the versions that bytes depend on: libraries, and the kernels' instruction set.

    Without ``maps`` those that only outlines, other coordinate systems and NetCDF need are left
    out: half of what a plain pair would have to load.
    """
    lanes = _kernels.instruction_sets()
    widest = max(lanes, key=lambda name: lanes[name])
    words = {
        "numpy": np.__version__, "scipy": metadata.version("scipy"),
        "rasterio": rasterio.__version__, "GDAL": rasterio.__gdal_version__,
        "kernels": widest,
    }  # fmt: skip
    if maps:
        import netCDF4
        import pyproj

        words |= {
            "pyproj": pyproj.__version__, "PROJ": pyproj.proj_version_str,
            "netCDF": netCDF4.__netcdf4libversion__,
        }  # fmt: skip
    return ", ".join(f"{name} {version}" for name, version in words.items())


def flat(provenance: Mapping[str, Any], *, maps: bool = True) -> dict[str, str]:
    """Return name -> text, for TIFF tags and NetCDF attributes; what is nested becomes JSON.

    ``maps`` as for `libraries`.
    """
    out = {"software": f"hmavel {hmavel.__version__}", "libraries": libraries(maps=maps)}
    for name, value in provenance.items():
        word = plain(value, name)
        if word is not None:
            out[str(name)] = word if isinstance(word, str) else json.dumps(word)
    return out


def _scalar(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else _iso(str(value))
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else float(value / np.timedelta64(1, "D"))
    if isinstance(value, datetime.timedelta):
        return value / datetime.timedelta(days=1)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return plain(value.item())


def _iso(text: str) -> str:
    """Mark the time of day of a datetime64, which is UTC throughout, as such."""
    return text + "Z" if "T" in text else text


def _key(key: Any) -> str:
    return key.name.lower() if isinstance(key, Enum) else str(key)
