"""One pair of images, whole: what ``hmavel pair`` does."""

from __future__ import annotations

import importlib
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel._types import days_between
from hmavel.atomic import checksum
from hmavel.errors import GlacierError, PairError, StableGroundError
from hmavel.inputs import file_sums
from hmavel.landsat import open_scene
from hmavel.outcome import Clock, PairResult
from hmavel.pair import plan_pair
from hmavel.pair_strips import Arriving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from geopandas import GeoSeries
    from numpy.typing import NDArray

    from hmavel._types import BoolArray, Displacement, FloatArray, Grid, Scene
    from hmavel.bias import Bias as Fitted
    from hmavel.config import Config
    from hmavel.pair import PairPlan
    from hmavel.pair_chain import Measured

#: Sources of classes that tell cloud from snow and snow from rock.
_FULL = ("albedo+qa", "albedo", "qa")
#: What comes after the matching, loaded by another thread meanwhile.
_LATER = ("pair_chain", "verdict", "unsteady", "product.pair_files", "report")
#: Pixels of Band 8 that are classified at a time.
_MASK_PIXELS = 2 << 20

logger = logging.getLogger(__name__)


def pair_files(
    reference: Path,
    secondary: Path,
    out: Path,
    *,
    config: Config | Callable[[], Config],
    stable: Path | None = None,
    glaciers: Path | None = None,
    dem: Path | None = None,
    threads: int = 0,
    figure: bool = True,
) -> PairResult:
    """Measure the displacement between two images and write the pair's files.

    Parameters
    ----------
    reference, secondary
        Band-8 GeoTIFFs or product folders, the earlier one first.
    out
        Folder of ``displacement.tif``, ``velocity.tif``, ``pair.png``, ``ground.png`` (where
        there is bare ground) and ``pair.json``.
    config
        Its sections mask, correlate, bias, uncertainty and glaciers are used. Or what makes
        it: that is called while the first strips are read.
    stable
        Polygons of ground that does not move. A file without coordinate system is taken to
        be in the image's.
    glaciers
        Ice outlines. What is farther from them than ``glaciers.ice_buffer_m``, and bare in
        both scenes, is stable.
    dem
        Heights in metres: ground in the shadow of mountains, by the scenes' sun, is not
        stable, nor what is nearer to it than ``glaciers.shade_buffer_m``.
    threads
        Of the correlator; 0 = one per core.
    figure
        Draw ``pair.png`` and ``ground.png`` too.

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

    The images are read in strips while the first ones are matched, and kept as they are
    stored: a whole scene of 15,000 x 15,000 px takes 0.9 GB. Strips do not show in the result.
    """
    clock = Clock()
    scenes = open_scene(reference), open_scene(secondary)
    plan = plan_pair(*scenes)
    with Arriving(plan) as images, ThreadPoolExecutor(1) as beside:
        config = _settled(config() if callable(config) else config, stable, glaciers)
        _check_size(plan, config)
        if threads <= 0:
            from hmavel import parallel

            threads = parallel.cores()
        grid = _node_grid(plan.grid, config.correlate.step)
        outlines = _outlines(plan, grid, glaciers)
        polygons = _polygons(plan, grid, stable, outlines, config)
        shade = _shade(scenes, grid, dem, config)
        polygons &= ~shade
        labels = _domain(outlines, plan, config)
        given = [file for file in (stable, glaciers, dem) if file is not None]
        # Not before: an error so far ends the reading, and what runs beside would wait for it.
        beside.submit(_load_later)
        sums = beside.submit(_checksums, images, scenes, given, clock)
        found = _correlate(images, labels, config, clock, threads)
        picture = images.every(max(1, round(max(plan.grid.shape) / 900))) if figure else None
    clock.seconds["read"] = images.seconds
    del images
    with clock.stage("mask"):
        trusted = stable is not None
        ground, hidden, sources = _classes(plan, grid, polygons, trusted, config, threads)
    from hmavel.config import as_json
    from hmavel.pair_chain import correct
    from hmavel.product.pair_files import write_pair
    from hmavel.verdict import gate

    measured = correct(plan, found, stable=ground, hidden=hidden, config=config, clock=clock)
    report = {
        "bias": _bias_figures(measured.bias, plan.grid.pixel),
        "static_terrain": _terrain(measured, config),
        "thresholds": as_json(config.mask),
        "configuration": as_json(config),
        "inputs": sums.result(),
        "resampling": plan.resampling,
        "classes_from": sources,
        "sigma_scaled": measured.scaled,
        "unsteady": _unsteady(measured, grid, config),
        "gate": gate(
            measured, plan.grid.pixel, config.gates.limits(),
            ice=None if outlines is None else _inside(outlines, grid),
        ),
        "stable_cells": int(ground.sum()),
        "shaded_cells": None if dem is None else int(shade.sum()),
        "stable_file": stable,
        "glaciers_file": glaciers,
        "seconds": {name: round(value, 3) for name, value in clock.seconds.items()},
    }
    days = days_between(plan.start, plan.end)
    with clock.stage("write"), ThreadPoolExecutor(1) as beside:
        counts = beside.submit(_counts, measured)
        if picture is not None:
            _draw(out, plan, picture, measured)
        # The thread that read the images is free again.
        write_pair(out, measured.corrected, measured.velocity, report, threads=threads + 1)
    return PairResult(out, plan.id, days, measured, report | counts.result())


def _settled(config: Config, stable: Path | None, glaciers: Path | None) -> Config:
    """Return the configuration, without a correction where no ground is given for it."""
    if stable is not None or glaciers is not None or config.bias.model == "none":
        return config
    from hmavel.config import Bias

    logger.warning("no stable ground is given (--stable, --glaciers): nothing is corrected")
    return config.model_copy(update={"bias": Bias(model="none")})


def _load_later() -> None:
    """Load what is used after the matching, and its versions, while the matching runs."""
    for name in _LATER:
        importlib.import_module(f"hmavel.{name}")
    from hmavel.product.provenance import libraries

    libraries(maps=False)


def _draw(out: Path, plan: PairPlan, picture: FloatArray, measured: Measured) -> None:
    """Draw ``pair.png``, and ``ground.png`` where there is bare ground."""
    from hmavel.figures import pair_figure
    from hmavel.figures_ground import ground_figure

    pair_figure(
        out / "pair.png", title=f"{plan.reference_id} to {plan.secondary_id}",
        image=picture, image_grid=plan.grid, velocity=measured.velocity,
    )  # fmt: skip
    if (measured.stable & measured.corrected.good).any():
        ground_figure(
            out / "ground.png", title=plan.id, raw=measured.raw, bias=measured.bias,
            corrected=measured.corrected, stable=measured.stable,
        )  # fmt: skip


def _inside(polygons: Any, grid: Grid, *, all_touched: bool = False) -> BoolArray:
    # Imported only where there are polygons: geopandas takes half a second.
    from hmavel.polygons import rasterize

    return rasterize(polygons, grid, all_touched=all_touched)


def _outlines(plan: PairPlan, grid: Grid, glaciers: Path | None) -> GeoSeries | None:
    """Return the outlines of ice on the images' map, None where none are given."""
    if glaciers is None:
        return None
    from hmavel.polygons import read_polygons

    outlines = read_polygons(glaciers, crs=plan.grid.crs).geometry.to_crs(plan.grid.crs)
    found = _inside(outlines, grid, all_touched=True).any()
    _require(bool(found), plan, "outlines on the image", glaciers)
    return outlines


def _shade(
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


def _unsteady(measured: Measured, grid: Grid, config: Config) -> dict[str, Any]:
    """Return the clumps of bare ground that move, scatter or have no match, on the map."""
    from hmavel.unsteady import find_unsteady

    nodes = config.correlate.window / config.correlate.step
    found = find_unsteady(measured.corrected, measured.stable, window_nodes=nodes)
    pixel = grid.pixel / config.correlate.step
    return {
        "share": found.share,
        "clumps": [
            {
                "kind": clump.kind, "nodes": clump.nodes,
                "x": grid.x(clump.col), "y": grid.y(clump.row),
                "east_m": clump.dcol * pixel, "north_m": -clump.drow * pixel,
                "size_sigma": clump.size,
            }
            for clump in found.clumps
        ],
    }  # fmt: skip


def _checksums(
    images: Arriving, scenes: tuple[Scene, Scene], given: list[Path], clock: Clock
) -> dict[str, Any]:
    """Return the checksums of all files, when the images are read: they are cached then."""
    images.arrived(images.plan.grid.shape[0])
    with clock.stage("checksum"):
        sums: dict[str, Any] = {scene.id: file_sums(scene) for scene in scenes}
        return sums | {str(file): checksum(file) for file in given if file.is_file()}


def _correlate(
    images: Arriving, labels: Any, config: Config, clock: Clock, threads: int
) -> Displacement:
    from hmavel.correlator import correlate_images

    with clock.stage("correlate"):
        return correlate_images(
            *images.images, **config.correlate.windows(), domain=labels, threads=threads,
            settings=config.correlate.settings(), arrived=images.arrived,
        )


def _check_size(pair: PairPlan, config: Config) -> None:
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


def _polygons(
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

        ground = _inside(read_polygons(stable, crs=plan.grid.crs), grid)
        _require(bool(ground.any()), plan, "polygons of stable ground on the image", stable)
    if outlines is not None:
        buffered = outlines.buffer(config.glaciers.ice_buffer_m)
        ground &= ~_inside(buffered, grid, all_touched=True)
    return ground


def _classes(
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


def _require(found: bool, plan: PairPlan, what: str, path: Path) -> None:
    if not found:
        raise GlacierError(
            "outlines", path, expected=what, got=f"none within {plan.id}",
            hint="check the file's coordinate system, or give the images of this place",
        )


def _domain(
    outlines: GeoSeries | None, pair: PairPlan, config: Config
) -> NDArray[np.uint8] | None:
    """Return labels for windows that keep to their side of a margin: 1 ice, 2 ground."""
    if outlines is None or not config.correlate.domain_windows:
        return None
    ice = _inside(outlines, pair.grid)
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
    from hmavel.terrain import static_terrain  # its transforms are slow to load

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
