"""The whole chain, from an archive to months.

::

    scene -> pair -> displacement -> corrected -> velocity -> month

``run`` does it for every glacier of a configuration. The glaciers come one after the other,
the pairs of one side by side in threads (the correlator and GDAL release the GIL), so that
the scenes of a glacier are read once and shared. The chain of one pair is in ``pair_chain.py``.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import __version__, parallel, state
from hmavel._types import DAYS_PER_YEAR
from hmavel.atomic import write_text
from hmavel.config import as_json, to_toml
from hmavel.consistency import doubtful
from hmavel.errors import HmavelError
from hmavel.joined import facts_of, itslive_pairs, join, rows_of
from hmavel.month import Months, compose_months
from hmavel.outcome import (
    FAILURE_COLUMNS,
    PAIR_COLUMNS,
    SCENE_COLUMNS,
    Clock,
    GlacierPlan,
    GlacierResult,
    Plan,
    RunResult,
)
from hmavel.pair import PairPlan
from hmavel.pair_chain import measure
from hmavel.pair_stack import KEPT, STABLE, check_pairs, read_pairs, shared_sigma
from hmavel.parallel import Failure
from hmavel.planning import plan as make_plan
from hmavel.product import combine, open_months, write_months, write_region
from hmavel.product.field import BLANK
from hmavel.raster import write_geotiff
from hmavel.shared_error import match_part
from hmavel.spill import remove_left_over
from hmavel.stack import Stack
from hmavel.verdict import figures, nothing_used, pair_row, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel._types import BoolArray, TimeArray
    from hmavel.config import Config
    from hmavel.itslive import PairStack
    from hmavel.outcome import Row
    from hmavel.pairing import PairChoice

logger = logging.getLogger(__name__)


def run(config: Config, *, jobs: int | None = None) -> RunResult:
    """Make the monthly velocity of every glacier of a configuration.

    Parameters
    ----------
    config
        As ``config.load`` returns it.
    jobs
        Items worked on at a time, 0 = one per core; None = what the configuration says.

    Returns
    -------
    RunResult
        With everything that failed; whatever could be finished is on disk.

    Raises
    ------
    HmavelError
        Nothing could be begun: an unreadable inventory, no scene at all, an output folder
        that cannot be written.

    Notes
    -----
    What a former run has finished is left alone when its inputs, the options that it depends
    on and the program's version are the same.
    """
    jobs = config.run.jobs if jobs is None else jobs
    clock = Clock()
    folder = config.output.folder
    write_text(folder / "config.toml", to_toml(config))
    plan = make_plan(config, jobs=jobs, clock=clock)
    done: list[GlacierResult] = []
    failures = list(plan.failures)
    for glacier in plan.glaciers:
        work = partial(
            process_glacier, glacier, config=config, plan=plan, jobs=jobs, clock=clock
        )
        result = parallel.attempt(work, f"glacier {glacier.site.id}")
        if isinstance(result, Failure):
            logger.error("%s", result)
            failures.append(result)
        else:
            done.append(result)
            failures += result.failures
    if config.output.wgs84:
        with clock.stage("mosaic"):
            failures += _mosaics(done, folder, config, jobs)
    _write_tables(folder, plan, done, failures)
    return RunResult(
        plan, done, failures, dict(clock.seconds), clock.elapsed, dict(clock.counts)
    )


def process_glacier(
    glacier: GlacierPlan, *, config: Config, plan: Plan, jobs: int, clock: Clock
) -> GlacierResult:
    """Take one glacier from its pairs to its months; what fails on the way is in the result."""
    site, folder = glacier.site, plan.folder / glacier.site.id
    budget = config.run.scene_memory_gb * 1e9
    remove_left_over(folder)
    thresholds = config.mask.thresholds()
    with Stack(
        site, thresholds, budget_bytes=budget, scratch=folder, dem=config.input.dem,
        shade_buffer_m=config.glaciers.shade_buffer_m,
    ) as stack:
        match = partial(
            process_pair, stack=stack, folder=folder / "pairs", config=config, clock=clock
        )
        results = parallel.map(
            match, glacier.pairs, jobs=jobs, label=f"pairs of {site.id}",
            name=lambda choice: f"pair {choice.id} of {site.id}",
        )
        clock.count(
            scenes_read=stack.reads, bytes_read=stack.read_bytes,
            bytes_spilled=stack.store.spilled_bytes,
        )
    rows, failures = [], []
    for choice, result in zip(glacier.pairs, results, strict=True):
        if isinstance(result, Failure):
            failures.append(result)
            result = pair_row(choice, site.id) | {"state": "failed", "reason": result.reason}
        rows.append(result)
    failures += check_pairs(rows, site, folder, config, clock)
    used = [row for row in rows if row["state"] == "used"]
    made = sum(1 for row in rows if row.pop("made", False))
    other: PairStack | None = None
    if config.itslive.sources:
        with clock.stage("read"):
            read = partial(itslive_pairs, config.itslive.sources, site)
            taken = parallel.attempt(read, f"ITS_LIVE's pairs of {site.id}")
        if isinstance(taken, Failure):
            failures.append(taken)
        else:
            other, unread = taken
            failures += unread
            rows += rows_of(other, site)
    if not used and (other is None or len(other.start) == 0):
        failures.append(_failure(f"glacier {site.id}", nothing_used(site.id, rows)))
        return GlacierResult(site.id, rows, folder, 0, made, "", failures)
    compose = partial(
        compose_glacier, glacier, used=used, other=other, folder=folder, config=config,
        plan=plan, jobs=jobs, clock=clock,
    )
    months = parallel.attempt(compose, f"months of {site.id}")
    if isinstance(months, Failure):
        failures.append(months)
        return GlacierResult(site.id, rows, folder, 0, made, "", failures)
    return GlacierResult(site.id, rows, folder, months[1], made, months[0], failures)


def process_pair(
    choice: PairChoice, *, stack: Stack, folder: Path, config: Config, clock: Clock
) -> Row:
    """Match one pair on the glacier's fixed grid; keep its velocity for the months.

    Returns
    -------
    dict
        The row of ``pairs.csv``. ``state`` is "used", or "rejected" when the pair is sound but
        shows too little of the glacier or of bare ground; such pairs are remembered too.
    """
    site = stack.site
    record, image = folder / f"{choice.id}.json", folder / f"{choice.id}.tif"
    options = (
        config.mask, config.correlate, config.bias, config.uncertainty, config.gates,
        config.glaciers,
    )  # fmt: skip
    expected = state.fingerprint(
        __version__,
        [as_json(stage) for stage in options],
        [state.scene_facts(scene) for scene in (choice.reference, choice.secondary)],
        [state.grid_facts(site.grid), site.outline.wkb_hex, int(site.any_ice.sum())],
        str(config.input.dem),
    )
    before = state.read_record(record)
    if before.get(state.KEY) == expected and (before["state"] != "used" or image.is_file()):
        return {key: before.get(key) for key in (*PAIR_COLUMNS, state.KEY)}
    with clock.stage("read"):
        reference, secondary = stack.get(choice.reference), stack.get(choice.secondary)
    pair = PairPlan(choice.reference, choice.secondary, site.image, "none", "")
    stable = ~site.any_ice & reference.clear & secondary.clear
    measured = measure(
        pair, reference.image, secondary.image, stable=stable,
        hidden=reference.hidden | secondary.hidden, nodes=(site.row, site.col),
        config=config, clock=clock,
    )
    row = pair_row(choice, site.id) | figures(
        measured, site.ice, site.image.pixel, config.gates.limits()
    )
    row["state"], row["reason"] = verdict(measured, row, config)
    if row["state"] == "rejected":
        row["gate"] = "fail"
    if row["state"] == "used":
        velocity = measured.velocity
        bands = {name: getattr(velocity, name) for name in KEPT}
        bands[STABLE] = measured.stable.astype(np.float32)
        units = dict.fromkeys(KEPT, "m/yr")
        with clock.stage("write"):
            write_geotiff(image, bands, site.grid, units=units, cog=False)
    state.write_record(record, expected, **row)
    return row | {state.KEY: expected, "made": True}


def compose_glacier(
    glacier: GlacierPlan,
    *,
    used: list[Row],
    folder: Path,
    config: Config,
    plan: Plan,
    jobs: int,
    clock: Clock,
    other: PairStack | None = None,
) -> tuple[str, int]:
    """Turn a glacier's pairs into its monthly files; return their fingerprint and number.

    ``other`` are pairs of ITS_LIVE, on the glacier's grid. Only cells on the glacier are
    composed. The record that the months are done is removed before the first file is written
    and comes back after the last.
    """
    site = glacier.site
    start = np.array([row["start"] for row in used], "datetime64[ms]")
    end = np.array([row["end"] for row in used], "datetime64[ms]")
    months = _months(config, plan, other)
    shared: tuple[Any, Any] = shared_sigma(config, folder, used)
    expected = state.fingerprint(
        __version__, as_json(config.months), config.pairs.short_days,
        [str(months[0]), len(months)],
        sorted(row[state.KEY] for row in used), shared,
        [as_json(config.itslive), facts_of(config.itslive.sources)] if other else [],
    )
    record = folder / "months.json"
    before = state.read_record(record)
    if state.is_done(record, expected, [folder / name for name in before.get("files", [])]):
        return expected, len(months)
    record.unlink(missing_ok=True)
    with clock.stage("months"):
        stack = read_pairs(folder / "pairs", used, site.ice)
        if other is not None:
            stack, start, end = join(stack, start, end, other, site.ice)
            learnt = config.itslive.scene_sigma_m
            shared = ("learn" if learnt is None else learnt,) * 2
        years = (end - start) / np.timedelta64(86_400_000, "ms") / DAYS_PER_YEAR
        wrong = doubtful(
            **stack, start=start, end=end, short_days=config.pairs.short_days,
            limit=config.months.max_disagreement, far_m=config.months.far_m,
        )
        stack |= {axis: np.where(wrong, np.nan, stack[axis]) for axis in ("vx", "vy")}
        composed = {}
        for axis, scene_sigma in zip(("vx", "vy"), shared, strict=True):
            alone = stack[f"sigma_{axis}"]
            if other is None:  # theirs state the match's error, so far as is known
                alone = match_part(alone, scene_sigma, years)
            on_ice = compose_months(
                stack[axis], alone, start, end, months=months,
                method=config.months.method, scene_sigma=scene_sigma,
                smoothness=config.months.smoothness, jobs=jobs,
            )
            composed[axis] = _spread(on_ice, site.ice)
    with clock.stage("write"):
        field = combine(
            composed["vx"], composed["vy"], site.grid, domain=site.ice, name=site.id
        )
        inputs = {
            "configuration": as_json(config), "pairs": len(start), state.KEY: expected,
            "scene_sigma_m": list(shared),
        }  # fmt: skip
        files = write_months(folder, field, inputs)
        for stale in set(folder.glob("velocity_*.tif")) - set(files):
            stale.unlink()  # months that a former configuration asked for
        state.write_record(record, expected, files=[file.name for file in files])
    return expected, len(months)


def _months(config: Config, plan: Plan, other: PairStack | None) -> TimeArray:
    """Return the months of all products: as configured, else those that any pair touches."""
    pairs = [pair for glacier in plan.glaciers for pair in glacier.pairs]
    starts, ends = [p.reference.time for p in pairs], [p.secondary.time for p in pairs]
    if other is not None:
        starts, ends = [*starts, *other.start], [*ends, *other.end]
    first = config.months.first or str(min(starts))
    last = config.months.last or str(max(ends))
    return np.arange(first[:7], np.datetime64(last[:7], "M") + 1, dtype="datetime64[M]")


def _spread(months: Months, ice: BoolArray) -> Months:
    """Put the months of the cells on ice, (..., 1, cells), back on their grid."""
    elsewhere = {"count": 0, "flag": BLANK, "cell_class": -1}
    cells = (1, int(ice.sum()))
    spread: dict[str, Any] = {}
    for field in fields(months):
        values = getattr(months, field.name)
        if isinstance(values, np.ndarray) and values.shape[-2:] == cells:
            shape = (*values.shape[:-2], *ice.shape)
            out = np.full(shape, elsewhere.get(field.name, np.nan), values.dtype)
            out[..., ice] = values[..., 0, :]
            spread[field.name] = out
    return replace(months, **spread)


def _mosaics(
    done: list[GlacierResult], folder: Path, config: Config, jobs: int
) -> list[Failure]:
    """Make the region's monthly mosaics of all glaciers that have months."""
    glaciers = [result for result in done if result.state]
    if not glaciers:
        return []
    record = folder / "wgs84" / "mosaic.json"
    expected = state.fingerprint(__version__, [(g.id, g.state) for g in glaciers])
    files = [record.parent / name for name in state.read_record(record).get("files", [])]
    if files and state.is_done(record, expected, files):
        return []
    record.unlink(missing_ok=True)
    sources = [open_months(result.folder) for result in glaciers]
    months = sorted({np.datetime64(month) for source in sources for month in source.months})
    inputs = {"configuration": as_json(config), "glaciers": [g.id for g in glaciers]}
    made = parallel.map(
        lambda month: write_region(record.parent, sources, months=[month], provenance=inputs),
        months, jobs=jobs, label="mosaics", name=lambda month: f"mosaic {month}",
    )
    failures = [result for result in made if isinstance(result, Failure)]
    regions = [result for result in made if not isinstance(result, Failure)]
    failures += [
        Failure(f"mosaic {month}, {glacier}", str(error), type(error).__name__)
        for region in regions
        for glacier, month, error in region.failures
    ]
    if not failures:
        names = [file.name for region in regions for file in region.files]
        state.write_record(record, expected, files=names)
    return failures


def _failure(item: str, error: HmavelError) -> Failure:
    return Failure(item, str(error), type(error).__name__)


def _write_tables(
    folder: Path, plan: Plan, done: list[GlacierResult], failures: list[Failure]
) -> None:
    state.write_csv(folder / "scenes.csv", plan.rows, SCENE_COLUMNS)
    rows = [row for result in done for row in result.rows]
    state.write_csv(folder / "pairs.csv", rows, PAIR_COLUMNS)
    failed = [asdict(failure) for failure in failures]
    state.write_csv(folder / "failures.csv", failed, FAILURE_COLUMNS)
