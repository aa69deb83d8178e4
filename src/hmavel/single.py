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
from hmavel.errors import PairError, StableGroundError
from hmavel.inputs import file_sums
from hmavel.landsat import open_scene
from hmavel.outcome import Clock, PairResult
from hmavel.pair import plan_pair
from hmavel.pair_strips import Arriving
from hmavel.single_ground import (
    bare_and_hidden,
    inside,
    polygons_of_ground,
    read_outlines,
    shaded_nodes,
    sides_of_margins,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hmavel._types import FloatArray, Grid, Scene
    from hmavel.bias import Bias as Fitted
    from hmavel.config import Config
    from hmavel.pair import PairPlan
    from hmavel.pair_chain import Measured

#: What comes after the matching, loaded by another thread meanwhile.
_LATER = (
    "hmavel.pair_chain", "hmavel.verdict", "hmavel.unsteady", "hmavel.product.pair_files",
    "numpy.ma",  # medians look at it
)  # fmt: skip

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
        outlines = read_outlines(plan, grid, glaciers)
        polygons = polygons_of_ground(plan, grid, stable, outlines, config)
        shade = shaded_nodes(scenes, grid, dem, config)
        polygons &= ~shade
        labels = sides_of_margins(outlines, plan, config)
        given = [file for file in (stable, glaciers, dem) if file is not None]
        from hmavel.correlator import correlate_images

        # Not before: an error so far ends the reading, and what runs beside would wait for it.
        beside.submit(_load_later)
        sums = beside.submit(_checksums, images, scenes, given, clock)
        with clock.stage("correlate"):
            found = correlate_images(
                *images.images, **config.correlate.windows(), domain=labels, threads=threads,
                settings=config.correlate.settings(), arrived=images.arrived,
            )
        picture = images.every(max(1, round(max(plan.grid.shape) / 900))) if figure else None
    clock.seconds["read"] = images.seconds
    del images
    with clock.stage("mask"):
        trusted = stable is not None
        ground, hidden, sources = bare_and_hidden(
            plan, grid, polygons, trusted, config, threads
        )
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
            ice=None if outlines is None else inside(outlines, grid),
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
        importlib.import_module(name)
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
