"""One pair of images, whole: what ``hmavel pair`` does."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import parallel
from hmavel.config import Bias, as_json
from hmavel.errors import GlacierError, PairError, StableGroundError
from hmavel.figures import pair_figure
from hmavel.glaciers import rasterize, read_polygons
from hmavel.landsat import open_scene
from hmavel.mask import classify, clear_ground, to_grid
from hmavel.outcome import Clock, PairResult
from hmavel.pair import make_pair
from hmavel.product import write_pair
from hmavel.stack import hidden_cells
from hmavel.uncertainty import static_terrain
from hmavel.workflow import Measured, measure

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmavel._types import BoolArray, Grid, Pair, SceneMask
    from hmavel.bias import Bias as Fitted
    from hmavel.config import Config

#: Sources of classes that tell cloud from snow and snow from rock.
_FULL = ("albedo+qa", "albedo", "qa")

logger = logging.getLogger(__name__)


def pair_files(
    reference: Path,
    secondary: Path,
    out: Path,
    *,
    config: Config,
    stable: Path | None = None,
    glaciers: Path | None = None,
    threads: int = 0,
) -> PairResult:
    """Measure the displacement between two images and write the pair's files.

    Parameters
    ----------
    reference, secondary
        Band-8 GeoTIFFs or product folders, the earlier one first.
    out
        Folder of ``displacement.tif``, ``velocity.tif``, ``pair.png`` and ``pair.json``.
    config
        Its sections mask, correlate, bias, uncertainty and glaciers are used.
    stable
        Polygons of ground that does not move. A file without coordinate system is taken to
        be in the image's.
    glaciers
        Ice outlines. What is farther from them than ``glaciers.ice_buffer_m``, and bare in
        both scenes, is stable.
    threads
        Of the correlator; 0 = one per core.

    Returns
    -------
    PairResult

    Raises
    ------
    HmavelError
        An image, the pair, a vector file or the output cannot be used.

    Notes
    -----
    Where a scene has 30 m bands or QA_PIXEL, cloud, shadow and water are neither matched nor
    stable. Without them, Band 8's brightness and texture say where water and cloud may be, and
    only ground that they call neither is stable; matching is left to its own acceptance.
    With neither ``stable`` nor ``glaciers`` nothing is corrected.
    """
    clock = Clock()
    if stable is None and glaciers is None and config.bias.model != "none":
        logger.warning("no stable ground is given (--stable, --glaciers): nothing is corrected")
        config = config.model_copy(update={"bias": Bias(model="none")})
    scenes = open_scene(reference), open_scene(secondary)
    with clock.stage("read"):
        pair = make_pair(*scenes)
    _check_size(pair, config)
    grid = _node_grid(pair.grid, config.correlate.step)
    with clock.stage("mask"):
        masks = [classify(scene, pair.grid, config.mask.thresholds()) for scene in scenes]
        ground = _stable_ground(pair, grid, masks, stable, glaciers, config)
        hidden = _hidden(masks, grid)
    labels = _domain(glaciers, pair, config)
    measured = measure(
        pair, pair.reference, pair.secondary, stable=ground, hidden=hidden, domain=labels,
        config=config, clock=clock, threads=parallel.cores() if threads <= 0 else threads,
    )
    report = {
        "bias": _bias_figures(measured.bias, pair.grid.pixel),
        "static_terrain": _terrain(measured, config),
        "thresholds": as_json(config.mask),
        "configuration": as_json(config),
        "resampling": pair.resampling,
        "classes_from": [mask.source for mask in masks],
        "sigma_scaled": measured.scaled,
        "stable_cells": int(ground.sum()),
        "stable_file": stable,
        "glaciers_file": glaciers,
        "seconds": {name: round(value, 3) for name, value in clock.seconds.items()},
    }
    with clock.stage("write"):
        pair_figure(
            out / "pair.png", title=f"{pair.reference_id} to {pair.secondary_id}",
            image=pair.reference, image_grid=pair.grid, velocity=measured.velocity,
        )
        write_pair(out, measured.corrected, measured.velocity, report)
    return PairResult(out, pair.id, pair.baseline_days, measured, report | _counts(measured))


def _check_size(pair: Pair, config: Config) -> None:
    largest = max(config.correlate.window, config.correlate.coarse)
    if min(pair.grid.shape) < largest:
        raise PairError(
            "pair", pair.id, expected=f"common ground of at least {largest} px, the window",
            got=f"{pair.grid.shape[0]} by {pair.grid.shape[1]} px",
            hint="use smaller windows (--window, --coarse) or larger images",
        )


def _node_grid(image: Grid, step: int) -> Grid:
    """Return the grid of ``correlate``'s own nodes: the centres of step x step cells."""
    row, col = (np.arange(size // step) * step + (step - 1) / 2 for size in image.shape)
    return image.nodes(row, col)


def _stable_ground(
    pair: Pair,
    grid: Grid,
    masks: list[SceneMask],
    stable: Path | None,
    glaciers: Path | None,
    config: Config,
) -> BoolArray:
    """Return the nodes on stable ground: in the polygons, off the ice, bare in both scenes."""
    if stable is None and glaciers is None:
        return np.zeros(grid.shape, bool)
    ground = np.ones(grid.shape, bool)
    if stable is not None:
        ground = rasterize(read_polygons(stable, crs=pair.grid.crs), grid)
        _require(bool(ground.any()), pair, "polygons of stable ground on the image", stable)
    if glaciers is not None:
        outlines = read_polygons(glaciers, crs=pair.grid.crs).geometry.to_crs(pair.grid.crs)
        buffered = outlines.buffer(config.glaciers.ice_buffer_m)
        ice = rasterize(buffered, grid, all_touched=True)
        _require(bool(ice.any()), pair, "outlines on the image", glaciers)
        ground &= ~ice
    for mask in masks:
        # Band 8 alone cannot tell bright rock from snow: polygons know better.
        if mask.source in _FULL or stable is None:
            ground &= to_grid(clear_ground(mask), mask.grid, grid, "all")
    if not ground.any() and config.bias.model != "none":
        raise StableGroundError(
            "bias", pair.id, expected="bare ground that both scenes see", got="none at all",
            hint="give --stable polygons, choose clearer scenes, or --bias none",
        )
    return ground


def _require(found: bool, pair: Pair, what: str, path: Path) -> None:
    if not found:
        raise GlacierError(
            "outlines", path, expected=what, got=f"none within {pair.id}",
            hint="check the file's coordinate system, or give the images of this place",
        )


def _hidden(masks: list[SceneMask], grid: Grid) -> BoolArray:
    """Return the nodes under cloud, shadow or water, as far as the 30 m bands or QA tell."""
    hidden = np.zeros(grid.shape, bool)
    for mask in masks:
        if mask.source in _FULL:
            hidden |= hidden_cells(mask, grid)
    return hidden


def _domain(glaciers: Path | None, pair: Pair, config: Config) -> NDArray[np.uint8] | None:
    """Return labels for windows that keep to their side of a margin: 1 ice, 2 ground."""
    if glaciers is None or not config.correlate.domain_windows:
        return None
    ice = rasterize(read_polygons(glaciers, crs=pair.grid.crs), pair.grid)
    return np.where(ice, 1, 2).astype(np.uint8)


def _bias_figures(bias: Fitted, pixel: float) -> dict[str, Any]:
    """Return the matching error before and after, in pixels and in metres on map axes."""
    maps = ("corrected", "drow", "dcol")
    figures = {f.name: getattr(bias, f.name) for f in fields(bias) if f.name not in maps}
    for when in ("before", "after"):
        spread = getattr(bias, when)
        figures[when] = asdict(spread)
        figures[f"{when}_m"] = {
            "median_east": spread.median_col * pixel,
            "median_north": -spread.median_row * pixel,
            "nmad_east": spread.nmad_col * pixel,
            "nmad_north": spread.nmad_row * pixel,
        }
    return figures


def _terrain(measured: Measured, config: Config) -> Any:
    """Return the static-terrain figures of the velocity, or why there are none."""
    velocity, on = measured.velocity, measured.stable & measured.corrected.good
    if not measured.stable.any():
        return None
    try:
        return static_terrain(
            velocity.vx[on], velocity.vy[on], **config.uncertainty.model_dump()
        )
    except StableGroundError as error:
        logger.warning("%s", error)
        return {"reason": str(error)}


def _counts(measured: Measured) -> dict[str, Any]:
    """Return how many nodes were matched, and how fast the fast ones move."""
    good = measured.corrected.good
    speed = measured.velocity.v[good]
    return {
        "nodes": int(good.size),
        "matched": int(good.sum()),
        "speed_median": float(np.median(speed)) if speed.size else math.nan,
        "speed_99": float(np.percentile(speed, 99)) if speed.size else math.nan,
    }
