"""The writer of maps: named bands in one GeoTIFF, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from hmavel._types import Grid
from hmavel.atomic import atomic_path
from hmavel.errors import WriteError

#: Side of a block, and of the tiles in a file, pixels.
BLOCK = 512
#: The COG driver warns of smaller ones.
_LEAST = 128
#: With the predictor, displacements come out as small at 1 as at 6, a third sooner.
_LEVEL = 1


def write_geotiff(
    path: str | os.PathLike[str],
    bands: Mapping[str, NDArray[Any]],
    grid: Grid,
    *,
    units: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    cog: bool = True,
    packing: Literal["DEFLATE", "ZSTD"] = "DEFLATE",
) -> None:
    """Write named bands to one float32 GeoTIFF with NaN as no-data, all of it or nothing.

    Parameters
    ----------
    path
        The file to make or to replace.
    bands
        Name -> array of ``grid.shape``, real, in the order of the file. Integers up to 2**24
        stay exact in float32; booleans become 0 and 1.
    grid
        Where the arrays lie.
    units
        Name -> unit of the bands that have one.
    tags
        Metadata of the file.
    cog
        A cloud-optimised GeoTIFF (overviews are means of all that was measured in a cell, of
        codes and flags, too: read those at full resolution), else a plain one.
    packing
        ZSTD takes half the time, to write and to read, and comes out as small; every reader
        knows DEFLATE.

    Raises
    ------
    WriteError
        The file cannot be written.
    ValueError
        No bands, a band of another shape or type, or a unit for a band that is not there.

    Notes
    -----
    Blocks of 512, or one block that holds all of a smaller COG; packed with the
    floating-point predictor. Beside ``bands`` one float32 copy of them and the packed file are
    in memory; of a COG, whose overviews come first in the file, two copies for a moment.
    """
    units, tags = dict(units or {}), dict(tags or {})
    _check_bands(path, bands, grid, units)
    profile: dict[str, Any] = {
        "width": grid.shape[1],
        "height": grid.shape[0],
        "count": len(bands),
        "dtype": "float32",
        "nodata": np.nan,
        "crs": grid.crs,
        "transform": grid.transform,
    }
    how: dict[str, Any] = {"compress": packing, "bigtiff": "IF_SAFER"}
    # In memory first, then to the disk as a whole: GDAL writes there piece by piece, at twice
    # the cost, and may close a file on a full disk without a word.
    with MemoryFile(ext=".tif") as made:
        try:
            if cog:
                _make_cog(made, bands, profile, how, units, tags)
            else:
                if max(grid.shape) > BLOCK:
                    how |= {"tiled": "YES", "blockxsize": "512", "blockysize": "512"}
                level = "zlevel" if packing == "DEFLATE" else "zstd_level"
                # Apart, bands pack a tenth smaller and a quarter sooner.
                how |= {"interleave": "band", "predictor": 3, level: _LEVEL}
                with made.open(driver="GTiff", **profile, **how) as file:
                    _fill_dataset(file, bands, units, tags)
        except (RasterioError, CPLE_BaseError) as error:
            raise WriteError(
                "write",
                path,
                expected="a GeoTIFF that can be made",
                got=str(error),
                hint="check that there is memory for it",
            ) from error
        with atomic_path(path) as temporary:
            temporary.write_bytes(made.getbuffer())


def _make_cog(
    made: Any,
    bands: Mapping[str, NDArray[Any]],
    profile: Mapping[str, Any],
    how: Mapping[str, Any],
    units: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    shape = profile["height"], profile["width"]
    with rasterio.open("", "w", driver="MEM", **profile) as memory:
        _fill_dataset(memory, bands, units, tags)
        block = tile_side(shape)
        if factors := _overviews(shape, block):
            # The driver's own come by packing and unpacking files, in twice the time, and
            # beyond the first as means of means: NaN tips these.
            memory.build_overviews(factors, Resampling.average)
        rasterio.shutil.copy(
            memory,
            made.name,
            driver="COG",
            blocksize=block,
            predictor="FLOATING_POINT",
            overview_resampling="AVERAGE",
            level=_LEVEL,
            **how,
        )


def tile_side(shape: tuple[int, ...]) -> int:
    """Return the side of a COG's tiles: what lies beyond the image is packed as well."""
    return min(BLOCK, max(16 * -(-max(shape) // 16), _LEAST))


def _overviews(shape: tuple[int, ...], block: int) -> list[int]:
    """Return by what a COG's overviews are smaller: down to one that is a single block."""
    factors: list[int] = []
    while max(-(-side // 2 ** len(factors)) for side in shape) > block:
        factors.append(2 ** (len(factors) + 1))
    return factors


def _check_bands(
    path: Any, bands: Mapping[str, NDArray[Any]], grid: Grid, units: Mapping[str, str]
) -> None:
    if not bands:
        raise ValueError(f"write {path}: expected bands, got none; pass name -> array")
    for name, array in bands.items():
        if array.shape != grid.shape or array.dtype.kind not in "fiub":
            raise ValueError(
                f"write {path}: expected band {name!r} to be real, of shape {grid.shape}, "
                f"got {array.dtype}, {array.shape}; give the grid that belongs to the arrays"
            )
    if strangers := sorted(set(units) - set(bands)):
        raise ValueError(
            f"write {path}: expected units of the bands {', '.join(bands)}, got one for "
            f"{', '.join(strangers)}; check the spelling"
        )


def _fill_dataset(
    dataset: Any,
    bands: Mapping[str, NDArray[Any]],
    units: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    # At once: for maps as small as a glacier's, rasterio takes longer over a call than to pack.
    dataset.write(np.stack(list(bands.values()), dtype=np.float32))
    dataset.descriptions = tuple(bands)
    dataset.units = tuple(units.get(name, "") for name in bands)
    dataset.update_tags(**tags)
