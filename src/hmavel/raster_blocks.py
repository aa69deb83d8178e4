"""Write a raster that is larger than memory and mostly empty: block by block, sparse.

The companion of ``raster_write.write_geotiff`` for mosaics. Only blocks that hold something are
computed, averaged down for the overviews, stored and copied, so that the cost follows the ice
and not the map: GDAL's own overview pass over High Mountain Asia reads two thousand million
empty pixels for every month.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from hmavel._types import BoolArray, FloatArray, Grid
from hmavel.atomic import atomic_path, temporary_folder
from hmavel.errors import WriteError
from hmavel.raster_write import BLOCK, tile_side

Produce = Callable[[Grid], "FloatArray | None"]


def write_blocks(
    path: str | os.PathLike[str],
    bands: Sequence[str],
    grid: Grid,
    produce: Produce,
    *,
    units: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    worst: Sequence[str] = (),
) -> None:
    """Write a sparse cloud-optimised GeoTIFF, asking for one block at a time.

    Parameters
    ----------
    path
        The file to make or to replace, atomically.
    bands
        Names of the bands, in the order of the file.
    grid
        Where the whole raster lies; it may be far larger than memory.
    produce
        Called once for every block with its part of ``grid`` (at most 512 x 512); returns
        float32 (bands, rows, cols) with NaN as no-data, or None where there is nothing. Blocks
        that are NaN throughout count as nothing, and take no space in the file.
    units, tags
        Units by band name; metadata of the file.
    worst
        Bands of ordered codes: their overviews keep the largest of each 2 x 2, since the mean
        of two codes is a third one. Every other band is averaged over its valid pixels.

    Raises
    ------
    WriteError
        The file cannot be written. What ``produce`` raises passes unchanged.

    Notes
    -----
    The blocks are visited along a quadtree, children before their parent, so one block per
    overview level is in memory and no more. Beside ``path`` a hidden folder holds the levels
    until they are copied into their final order (overviews first), twice the size of the file.

    The copy goes through the GTiff driver: the COG driver interleaves by pixel and then visits
    every empty block (8 s of CPU for High Mountain Asia, against 1 s).
    """
    path, sizes, side = Path(path), _sizes(grid.shape), tile_side(grid.shape)
    keep_worst = np.isin(np.asarray(bands), list(worst))
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": len(bands),
        "dtype": "float32",
        "nodata": np.nan,
        "crs": grid.crs,
        "tiled": True,
        "blockxsize": side,
        "blockysize": side,
        "sparse_ok": True,
        "compress": "ZSTD",  # of what is read once: in a seventh of the time of DEFLATE
        "zstd_level": 1,
        "bigtiff": "IF_SAFER",
    }
    try:
        with (
            atomic_path(path) as temporary,
            rasterio.Env(GDAL_CACHEMAX=64 << 20),
            temporary_folder(path) as folder,
        ):
            with ExitStack() as stack:
                # GDAL takes x.tif.ovr as the first overview of x.tif, x.tif.ovr.ovr as the
                # second: each level is an ordinary file that can be written by blocks.
                levels = [
                    stack.enter_context(
                        rasterio.open(
                            folder / ("level.tif" + ".ovr" * level),
                            "w",
                            width=cols,
                            height=rows,
                            transform=grid.transform @ Affine.scale(2**level),
                            **profile,
                        )
                    )
                    for level, (rows, cols) in enumerate(sizes)
                ]
                _Pyramid(grid, sizes, levels, produce, keep_worst).visit(len(sizes) - 1, 0, 0)
                for index, name in enumerate(bands, start=1):
                    levels[0].set_band_description(index, name)
                levels[0].units = tuple((units or {}).get(name, "") for name in bands)
                levels[0].update_tags(**(tags or {}))
            rasterio.shutil.copy(
                str(folder / "level.tif"),
                folder / "whole.tif",
                driver="GTiff",
                copy_src_overviews="YES",  # in the order that makes the file a COG
                tiled="YES",
                blockxsize=side,
                blockysize=side,
                interleave="BAND",
                compress="DEFLATE",
                zlevel=1,
                predictor=3,
                sparse_ok="TRUE",
                bigtiff="IF_SAFER",
            )
            (folder / "whole.tif").replace(temporary)
    except (RasterioError, CPLE_BaseError) as error:
        raise WriteError(
            "write",
            path,
            expected="a GeoTIFF that can be written",
            got=str(error),
            hint="check permissions and free space",
        ) from error


class _Pyramid:
    """Visits the blocks of all levels, the fine ones first."""

    def __init__(
        self,
        grid: Grid,
        sizes: Sequence[tuple[int, int]],
        levels: Sequence[Any],
        produce: Produce,
        keep_worst: BoolArray,
    ) -> None:
        self.grid, self.sizes, self.levels = grid, sizes, levels
        self.produce, self.keep_worst = produce, keep_worst

    def visit(self, level: int, block_row: int, block_col: int) -> FloatArray | None:
        """Write one block and all below it; return it at half the resolution, or None."""
        row, col = block_row * BLOCK, block_col * BLOCK
        rows = min(BLOCK, self.sizes[level][0] - row)
        cols = min(BLOCK, self.sizes[level][1] - col)
        if rows <= 0 or cols <= 0:
            return None
        if level == 0:
            block = self.produce(self.grid.crop(row, col, rows, cols))
        else:
            block = self._children(level - 1, block_row, block_col, rows, cols)
        if block is None or np.isnan(block).all():
            return None
        self.levels[level].write(
            np.asarray(block, dtype=np.float32), window=Window(col, row, cols, rows)
        )
        return _halve(block, self.keep_worst) if level + 1 < len(self.sizes) else None

    def _children(
        self, level: int, block_row: int, block_col: int, rows: int, cols: int
    ) -> FloatArray | None:
        block: FloatArray | None = None
        for down in (0, 1):
            for right in (0, 1):
                half = self.visit(level, 2 * block_row + down, 2 * block_col + right)
                if half is None:
                    continue
                if block is None:
                    block = np.full((half.shape[0], rows, cols), np.nan, dtype=np.float32)
                top, left = down * BLOCK // 2, right * BLOCK // 2
                block[:, top : top + half.shape[1], left : left + half.shape[2]] = half
        return block


def _sizes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (rows, cols) of every level, the last of which is a single block."""
    sizes = [shape]
    while max(sizes[-1]) > BLOCK:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def _halve(block: FloatArray, keep_worst: BoolArray) -> FloatArray:
    """Return (bands, rows, cols) at half the resolution, NaN where all four are."""
    count, rows, cols = block.shape
    half = np.full((count, (rows + 1) // 2, (cols + 1) // 2), np.nan, dtype=np.float32)
    # A glacier fills a small part of most blocks: leave the rest alone.
    some: BoolArray = np.any(~np.isnan(block), axis=0)
    top, bottom = _even_range(np.any(some, axis=1))
    left, right = _even_range(np.any(some, axis=0))
    part = np.full((count, bottom - top, right - left), np.nan, dtype=np.float32)
    filled = block[:, top:bottom, left:right]  # shorter where the range ends beyond an odd edge
    part[:, : filled.shape[1], : filled.shape[2]] = filled
    fours = [part[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    valid = [~np.isnan(quarter) for quarter in fours]
    number = np.sum(valid, axis=0)
    mean = sum(np.where(has, four, 0) for has, four in zip(valid, fours, strict=True))
    mean = np.divide(mean, number, out=np.full_like(mean, np.nan), where=number > 0)
    mean[keep_worst] = np.fmax.reduce([four[keep_worst] for four in fours])
    half[:, top // 2 : bottom // 2, left // 2 : right // 2] = mean
    return half


def _even_range(some: BoolArray) -> tuple[int, int]:
    """Return the even start and end of the range that holds every True."""
    (hits,) = np.nonzero(some)
    return int(hits[0]) // 2 * 2, int(hits[-1]) // 2 * 2 + 2
