"""Where a single pair's ground is bare, and what of it is hidden: polygons, shade, classes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.errors import GlacierError, StableGroundError

if TYPE_CHECKING:
    from pathlib import Path

    from geopandas import GeoSeries
    from numpy.typing import NDArray

    from hmavel._types import BoolArray, Grid, Scene
    from hmavel.config import Config
    from hmavel.pair import PairPlan

#: Sources of classes that tell cloud from snow and snow from rock.
_FULL = ("albedo+qa", "albedo", "qa")
#: Pixels of Band 8 that are classified at a time.
_MASK_PIXELS = 2 << 20


def read_outlines(plan: PairPlan, grid: Grid, glaciers: Path | None) -> GeoSeries | None:
    """Return the outlines of ice on the images' map, None where none are given."""
    if glaciers is None:
        return None
    from hmavel.polygons import read_polygons

    outlines = read_polygons(glaciers, crs=plan.grid.crs).geometry.to_crs(plan.grid.crs)
    found = inside(outlines, grid, all_touched=True).any()
    _require(bool(found), plan, "outlines on the image", glaciers)
    return outlines


def polygons_of_ground(
    plan: PairPlan,
    grid: Grid,
    stable: Path | None,
    outlines: GeoSeries | None,
    config: Config,
) -> BoolArray:
    """Return the nodes that may be stable: in the polygons, off the ice."""
    if stable is None and outlines is None:
        return np.zeros(grid.shape, bool)
    ground = np.ones(grid.shape, bool)
    if stable is not None:
        from hmavel.polygons import read_polygons

        ground = inside(read_polygons(stable, crs=plan.grid.crs), grid)
        _require(bool(ground.any()), plan, "polygons of stable ground on the image", stable)
    if outlines is not None:
        buffered = outlines.buffer(config.glaciers.ice_buffer_m)
        ground &= ~inside(buffered, grid, all_touched=True)
    return ground


def shaded_nodes(
    scenes: tuple[Scene, Scene], grid: Grid, dem: Path | None, config: Config
) -> BoolArray:
    """Return the nodes that mountains shade in either scene."""
    out = np.zeros(grid.shape, bool)
    if dem is None:
        return out
    from hmavel.shade import read_relief
    from hmavel.stack import shaded_cells

    relief = read_relief(dem, grid)
    for scene in scenes:
        out |= shaded_cells(scene, relief, grid, config.glaciers.shade_buffer_m)
    return out


def bare_and_hidden(
    plan: PairPlan,
    grid: Grid,
    ground: BoolArray,
    trusted: bool,
    config: Config,
    threads: int,
) -> tuple[BoolArray, BoolArray, list[str | None]]:
    """Return stable nodes, bare in both scenes; hidden nodes; what the classes were made from.

    The scenes are classified in strips. Without 30 m bands and QA, Band 8 alone cannot tell
    bright rock from snow: where polygons of stable ground are ``trusted``, it is not asked.
    """
    hidden = np.zeros(grid.shape, bool)
    sources: list[str | None] = [None, None]
    for k, scene in enumerate((plan.reference, plan.secondary)):
        if len(scene.bands) > 1 or (not trusted and ground.any()):
            sources[k] = _classify(scene, plan, grid, ground, hidden, trusted, config, threads)
    if not ground.any() and config.bias.model != "none":
        raise StableGroundError(
            "bias", plan.id, expected="bare ground that both scenes see", got="none at all",
            hint="give --stable polygons, choose clearer scenes, or --bias none",
        )
    return ground, hidden, sources


def _classify(
    scene: Scene,
    plan: PairPlan,
    grid: Grid,
    ground: BoolArray,
    hidden: BoolArray,
    trusted: bool,
    config: Config,
    threads: int,
) -> str:
    """Take what a scene hides off the ground and put it to the hidden nodes, in strips."""
    from hmavel.mask import classify, clear_ground, to_grid
    from hmavel.stack import hidden_cells

    step, (rows, cols) = config.correlate.step, plan.grid.shape
    least = max(1, _MASK_PIXELS // cols // step)
    sources = set()

    def strip(first: int) -> None:
        last = min(first + least, grid.shape[0])
        area = plan.grid.crop(first * step, 0, min((last - first) * step, rows), cols)
        nodes = grid.crop(first, 0, last - first, grid.shape[1])
        mask = classify(scene, area, config.mask.thresholds())
        sources.add(mask.source)
        if mask.source in _FULL:
            hidden[first:last] |= hidden_cells(mask, nodes)
        if mask.source in _FULL or not trusted:
            ground[first:last] &= to_grid(clear_ground(mask), mask.grid, nodes, "all")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(strip, range(0, grid.shape[0], least)))
    return sources.pop()


def sides_of_margins(
    outlines: GeoSeries | None, pair: PairPlan, config: Config
) -> NDArray[np.uint8] | None:
    """Return labels for windows that keep to their side of a margin: 1 ice, 2 ground."""
    if outlines is None or not config.correlate.domain_windows:
        return None
    ice = inside(outlines, pair.grid)
    return np.where(ice, 1, 2).astype(np.uint8)


def inside(polygons: Any, grid: Grid, *, all_touched: bool = False) -> BoolArray:
    """Return the nodes or pixels whose centre is in the polygons, or all that they touch."""
    # Imported only where there are polygons: geopandas takes half a second.
    from hmavel.polygons import rasterize

    return rasterize(polygons, grid, all_touched=all_touched)


def _require(found: bool, plan: PairPlan, what: str, path: Path) -> None:
    if not found:
        raise GlacierError(
            "outlines", path, expected=what, got=f"none within {plan.id}",
            hint="check the file's coordinate system, or give the images of this place",
        )
