"""The writer of maps: named bands in one GeoTIFF, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
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
from hmavel.errors import HmavelError, ReadError, WriteError
from hmavel.raster_open import check_complete, open_bare

#: Side of a block, and of the tiles in a file, pixels.
BLOCK = 512
#: The COG driver warns of smaller ones.
_LEAST = 128
#: With the predictor, displacements come out as small at 1 as at 6, a third sooner.
_LEVEL = 1
#: Values up to which a map is made in memory: 16 MB, which stay unseen beside what made them.
_SMALL = 4_000_000

#: Writes the bands, their names and the tags into an open dataset.
Fill = Callable[[Any], None]


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
    floating-point predictor. Beside ``bands`` one float32 copy of them and its overviews, a
    third more, are in memory while a COG is made, since the overviews come first in the file.
    Maps as small as a glacier's are made in memory and written as a whole.
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
    make = _make_cog if cog else _make_plain
    fill = partial(_fill_dataset, bands=bands, units=units, tags=tags)
    with atomic_path(path) as temporary:
        try:
            if len(bands) * np.prod(grid.shape) <= _SMALL:
                # In memory first: GDAL writes to the disk piece by piece, at twice the cost.
                with MemoryFile(ext=".tif") as made:
                    make(made.name, fill, profile, how)
                    temporary.write_bytes(made.getbuffer())
            else:
                make(temporary, fill, profile, how)
                _check_written(temporary)
        except (RasterioError, CPLE_BaseError, ReadError) as error:
            raise WriteError(
                "write",
                path,
                expected="a GeoTIFF that can be written",
                got=error.got if isinstance(error, HmavelError) else str(error),
                hint="check permissions and free space",
            ) from error


def _make_plain(
    made: str | Path, fill: Fill, profile: Mapping[str, Any], how: Mapping[str, Any]
) -> None:
    tiles: dict[str, Any] = {}
    if max(profile["height"], profile["width"]) > BLOCK:
        tiles = {"tiled": "YES", "blockxsize": BLOCK, "blockysize": BLOCK}
    level = "zlevel" if how["compress"] == "DEFLATE" else "zstd_level"
    # Apart, bands pack a tenth smaller and a quarter sooner.
    apart: dict[str, Any] = {"interleave": "band", "predictor": 3, level: _LEVEL}
    with rasterio.open(made, "w", driver="GTiff", **profile, **how, **tiles, **apart) as file:
        fill(file)


def _make_cog(
    made: str | Path, fill: Fill, profile: Mapping[str, Any], how: Mapping[str, Any]
) -> None:
    shape = profile["height"], profile["width"]
    with rasterio.open("", "w", driver="MEM", **profile) as memory:
        fill(memory)
        block = tile_side(shape)
        if factors := _overviews(shape, block):
            # The driver's own come by packing and unpacking files, in twice the time, and
            # beyond the first as means of means: NaN tips these.
            memory.build_overviews(factors, Resampling.average)
        rasterio.shutil.copy(
            memory,
            made,
            driver="COG",
            blocksize=block,
            predictor="FLOATING_POINT",
            overview_resampling="AVERAGE",
            level=_LEVEL,
            **how,
        )


def _check_written(path: Path) -> None:
    """GDAL may close a file on a full disk without a word: see that it is all there."""
    with open_bare(path) as dataset:
        check_complete(path, dataset)


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
    if dataset.count * dataset.height * dataset.width <= _SMALL:
        # At once: rasterio takes longer over a call than to pack so little.
        dataset.write(np.stack(list(bands.values()), dtype=np.float32))
    else:
        for index, array in enumerate(bands.values(), start=1):
            dataset.write(np.asarray(array, dtype=np.float32), index)
    dataset.descriptions = tuple(bands)
    dataset.units = tuple(units.get(name, "") for name in bands)
    dataset.update_tags(**tags)
