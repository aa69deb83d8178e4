"""The whole chain, from an archive to months.

::

    scene -> pair -> displacement -> corrected -> velocity -> month

``run`` does it for every glacier of a configuration. Glaciers are worked on side by side, each
in a process of its own, where its scenes are read once and shared by its pairs. The chain of
one pair is in ``pair_chain.py``.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import __version__, journal, parallel, run_lock, spread, state
from hmavel._types import DAYS_PER_YEAR
from hmavel.atomic import sweep, write_text
from hmavel.cluster import Cluster
from hmavel.config import as_json, to_toml
from hmavel.consistency import doubtful
from hmavel.errors import HmavelError
from hmavel.joined import facts_of, itslive_pairs, join, rows_of, source_of
from hmavel.memory import parse as memory_bytes
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
from hmavel.pair_chain import look_again, measure
from hmavel.pair_stack import KEPT, MORE, STABLE, check_pairs, read_pairs, shared_sigma
from hmavel.parallel import Failure
from hmavel.planning import plan as make_plan
from hmavel.planning import remember_pairs
from hmavel.product import combine, open_months, write_months, write_region
from hmavel.product.field import BLANK
from hmavel.raster import write_geotiff
from hmavel.resolution import Gain, fit_gain, stretch
from hmavel.shared_error import match_part
from hmavel.spill import remove_left_over
from hmavel.stack import Stack
from hmavel.verdict import figures, nothing_used, pair_row, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel._types import BoolArray, FloatArray, TimeArray
    from hmavel.config import Config
    from hmavel.itslive import PairStack
    from hmavel.outcome import Row
    from hmavel.pairing import PairChoice
    from hmavel.site import Site
    from hmavel.spread import Span

logger = logging.getLogger(__name__)


def run(
    config: Config,
    *,
    jobs: int | None = None,
    memory: str | None = None,
    scheduler: str = "",
    command: str = "",
) -> RunResult:
    """Make the monthly velocity of every glacier of a configuration.

    Parameters
    ----------
    config
        As ``config.load`` returns it.
    jobs
        Cores to work on, 0 = all; None = what the configuration says.
    memory
        For all workers together, as ``[run] memory``; None = what the configuration says.
    scheduler
        Address of a Dask scheduler whose workers take the glaciers, "local" to start ``jobs``
        workers; they see the scenes and the output folder under the same paths.
    command
        What the user typed, for the record of the run.

    Returns
    -------
    RunResult
        With everything that failed; whatever could be finished is on disk.

    Raises
    ------
    HmavelError
        Nothing could be begun: an unreadable inventory, no scene at all, an output folder
        that cannot be written or in which another run is at work.

    Notes
    -----
    What a former run has finished is left alone when its inputs, the options that it depends
    on and the program's version are the same. Glaciers are worked on in processes of their
    own, as many as cores and memory allow; what is left of the cores becomes threads.
    """
    jobs = config.run.jobs if jobs is None else jobs
    jobs = parallel.cores() if jobs <= 0 else jobs
    total = memory_bytes(config.run.memory if memory is None else memory)
    clock = Clock()
    folder = config.output.folder
    with run_lock.hold(folder):
        if stale := sweep(folder):
            logger.info("removed %d unfinished files of a run that was killed", stale)
        write_text(folder / "config.toml", to_toml(config))
        plan = make_plan(config, jobs=jobs, clock=clock)
        pairs = sum(len(glacier.pairs) for glacier in plan.glaciers)
        notes = journal.begin(
            folder, glaciers=len(plan.glaciers), pairs=pairs, command=command
        )
        done: list[GlacierResult] = []
        failures = list(plan.failures)
        with journal.reporting(folder):
            for result in _all_glaciers(plan, config, jobs, total, notes, scheduler):
                if isinstance(result, Failure):
                    failures.append(result)
                else:
                    done.append(result)
                    clock.add(result.seconds, result.counts)
                    failures += result.failures
        if config.output.wgs84:
            with clock.stage("mosaic"):
                failures += _mosaics(done, folder, config, jobs)
        _write_tables(folder, plan, done, failures)
        remember_pairs(plan, done)
        journal.at(notes).close()
        journal.end(folder, len(failures))
    return RunResult(
        plan, done, failures, dict(clock.seconds), clock.elapsed, dict(clock.counts)
    )


def _all_glaciers(
    plan: Plan, config: Config, jobs: int, total: int, notes: Path, scheduler: str
) -> list[GlacierResult | Failure]:
    """Work on the glaciers side by side; the results are in the order of the plan."""
    span = _span(plan)
    found: dict[str, GlacierResult | Failure] = {}
    cluster = None
    if scheduler:
        total = total // jobs if scheduler == "local" else total
        cluster = Cluster(
            scheduler, jobs, 60 * config.run.patience_minutes,
            partial(journal.sign_of_life, notes), __name__,
        )
    for group in spread.groups(plan.glaciers, total, jobs, alone=bool(scheduler)):
        share = group.share
        logger.info(
            "%d glaciers in %d processes of %d threads, %.1f GB each",
            len(group.glaciers), share.workers, share.threads, share.bytes / 1e9,
        )
        tasks = [
            spread.GlacierTask(
                glacier, config, plan.folder, span, share.threads,
                spread.scene_bytes(glacier, share, config), notes,
            )
            for glacier in group.glaciers
        ]
        results = parallel.map(
            process_glacier, tasks, jobs=share.workers, workers="processes", label="",
            cluster=cluster, name=lambda task: f"glacier {task.glacier.site.id}",
        )
        ids = (glacier.site.id for glacier in group.glaciers)
        found |= dict(zip(ids, results, strict=True))
    return [found[glacier.site.id] for glacier in plan.glaciers]


def process_glacier(task: spread.GlacierTask) -> GlacierResult:
    """Take one glacier from its pairs to its months; what fails on the way is in the result."""
    begin, notes = time.perf_counter(), journal.at(task.journal)
    clock = Clock()
    result = replace(
        _process_glacier(task, notes, clock),
        seconds=dict(clock.seconds), counts=dict(clock.counts),
    )  # fmt: skip
    notes.line(
        "glacier", result.id, "done" if result.state else journal.FAILED,
        time.perf_counter() - begin, "" if result.state else str(result.failures[-1].reason),
        "" if result.state else result.failures[-1].error,
    )  # fmt: skip
    notes.close()
    return result


def _process_glacier(
    task: spread.GlacierTask, notes: journal.Journal, clock: Clock
) -> GlacierResult:
    glacier, config = task.glacier, task.config
    site, folder = glacier.site, task.folder / glacier.site.id

    def match(choice: PairChoice) -> Row:
        begin = time.perf_counter()
        name = f"{site.id} {choice.id}"
        try:
            row = process_pair(
                choice, stack=stack, folder=folder / "pairs", config=config, clock=clock
            )
        except Exception as error:
            spent = time.perf_counter() - begin
            notes.line("pair", name, journal.FAILED, spent, str(error), type(error).__name__)
            raise
        spent = time.perf_counter() - begin
        state = str(row["state"]) if row.get("made") else journal.KEPT
        notes.line("pair", name, state, spent, row["reason"] or "")
        return row

    remove_left_over(folder)
    with open_stack(site, config, budget_bytes=task.scene_bytes, scratch=folder) as stack:
        results = parallel.map(
            match, glacier.pairs, jobs=task.threads, label="",
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
        span=task.span, jobs=task.threads, clock=clock,
    )
    months = parallel.attempt(compose, f"months of {site.id}")
    if isinstance(months, Failure):
        failures.append(months)
        return GlacierResult(site.id, rows, folder, 0, made, "", failures)
    return GlacierResult(site.id, rows, folder, months[1], made, months[0], failures)


def open_stack(
    site: Site, config: Config, *, budget_bytes: float, scratch: Path | None = None
) -> Stack:
    """Return the scenes of a site, as the configuration has them cut and masked."""
    return Stack(
        site, config.mask.thresholds(), budget_bytes=budget_bytes, scratch=scratch,
        dem=config.input.dem, shade_buffer_m=config.glaciers.shade_buffer_m,
    )


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
        config.mask, config.correlate, config.bias, config.uncertainty, config.gates
    )  # fmt: skip
    expected = state.fingerprint(
        __version__,
        [as_json(stage) for stage in options],
        [state.scene_facts(scene) for scene in (choice.reference, choice.secondary)],
        [state.grid_facts(site.grid), site.outline.wkb_hex, int(site.any_ice.sum())],
        # Not the choice of glaciers: it may grow without all pairs being matched again.
        config.glaciers.outlines(),
        config.glaciers.shade_buffer_m,
        str(config.input.dem),
    )
    before = state.read_record(record)
    there = before.get("state") != "used" or image.is_file()
    if before.get(state.KEY) == expected and there and state.intact(before, folder):
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
        if config.correlate.second_taper:
            with clock.stage("correlate"):
                more = look_again(
                    pair, reference.image, secondary.image, measured.raw, where=site.ice,
                    nodes=(site.row, site.col), config=config,
                )
            bands |= dict(zip(MORE, (more.vx, more.vy), strict=True))
            units |= dict.fromkeys(MORE, "m/yr")
        with clock.stage("write"):
            write_geotiff(image, bands, site.grid, units=units, cog=False)
    sums = state.sums([image] if row["state"] == "used" else [])
    state.write_record(record, expected, **row, **{state.SUMS: sums})
    return row | {state.KEY: expected, "made": True}


def compose_glacier(
    glacier: GlacierPlan,
    *,
    used: list[Row],
    folder: Path,
    config: Config,
    span: Span | None,
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
    months = _months(config, span, other)
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
        gain = None
        twice = bool(used) and config.correlate.second_taper > 0
        stack = read_pairs(folder / "pairs", used, site.ice, KEPT + MORE * twice)
        if twice:
            stack, gain = _sharpened(stack, start, end, config)
        if other is not None:
            stack, start, end = join(stack, start, end, other, site.ice)
            learnt = config.itslive.scene_sigma_m
            shared = ("learn" if learnt is None else learnt,) * 2
        years = (end - start) / np.timedelta64(86_400_000, "ms") / DAYS_PER_YEAR
        stack = _believed(stack, start, end, config)
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
        if gain is not None:
            cells = config.correlate.window // config.correlate.step
            composed["vx"], composed["vy"] = gain.on_grid(site.ice).widen(
                composed["vx"], composed["vy"], window=cells
            )
    with clock.stage("write"):
        field = combine(
            composed["vx"], composed["vy"], site.grid, domain=site.ice, name=site.id
        )
        inputs = {
            "configuration": as_json(config), "pairs": len(start), state.KEY: expected,
            "scene_sigma_m": list(shared),
        }  # fmt: skip
        if other is not None:
            inputs |= source_of(other, len(used))
            inputs["scene_sigma_m"] = [m.scene_sigma for m in composed.values()]
        files = write_months(folder, field, inputs)
        for stale in set(folder.glob("velocity_*.tif")) - set(files):
            stale.unlink()  # months that a former configuration asked for
        state.write_record(
            record, expected, files=[file.name for file in files],
            **{state.SUMS: state.sums(files)},
        )
    return expected, len(months)


def _span(plan: Plan) -> Span | None:
    """Return the first and the last time of any pair of any glacier."""
    pairs = [pair for glacier in plan.glaciers for pair in glacier.pairs]
    if not pairs:
        return None
    return min(p.reference.time for p in pairs), max(p.secondary.time for p in pairs)


def _months(config: Config, span: Span | None, other: PairStack | None) -> TimeArray:
    """Return the months of all products: as configured, else those that any pair touches."""
    starts, ends = ([span[0]], [span[1]]) if span else ([], [])
    if other is not None:
        starts, ends = [*starts, *other.start], [*ends, *other.end]
    first = config.months.first or str(min(starts))
    last = config.months.last or str(max(ends))
    return np.arange(first[:7], np.datetime64(last[:7], "M") + 1, dtype="datetime64[M]")


def _believed(
    stack: dict[str, FloatArray], start: TimeArray, end: TimeArray, config: Config
) -> dict[str, FloatArray]:
    """Return the stack without the long pairs that the short ones contradict."""
    wrong = doubtful(
        **stack, start=start, end=end, short_days=config.pairs.short_days,
        limit=config.months.max_disagreement, far_m=config.months.far_m,
    )
    return stack | {axis: np.where(wrong, np.nan, stack[axis]) for axis in ("vx", "vy")}


def _sharpened(
    stack: dict[str, FloatArray], start: TimeArray, end: TimeArray, config: Config
) -> tuple[dict[str, FloatArray], Gain]:
    """Bring pairs from the window's mean to the point; return how far, too."""
    kept = {name: stack[name] for name in KEPT}
    seen = _believed(kept, start, end, config)
    gain = fit_gain(
        seen["vx"], seen["vy"], stack["more_vx"], stack["more_vy"],
        (end - start) / np.timedelta64(1, "D"),
        factor=stretch(config.correlate.last_taper, config.correlate.second_taper),
    )
    vx, vy = gain.sharpen(kept["vx"], kept["vy"])
    return kept | {"vx": vx, "vy": vy}, gain


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
        made_files = [file for region in regions for file in region.files]
        state.write_record(
            record, expected, files=[file.name for file in made_files],
            **{state.SUMS: state.sums(made_files)},
        )
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
