"""The whole chain, from an archive to months.

::

    scene -> pair -> displacement -> corrected -> velocity -> month

``run`` does it for every glacier of a configuration. Glaciers are worked on side by side, each
in a process of its own (``glacier_chain.py``), where its scenes are read once and shared by
its pairs (``glacier_pairs.py``; the arithmetic of one pair is in ``pair_chain.py``), and its
months are made from them (``glacier_months.py``).
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hmavel import (
    __version__,
    glacier_chain,
    glacier_floor,
    journal,
    kept_prior,
    parallel,
    run_lock,
    spread,
    state,
)
from hmavel.atomic import sweep, write_text
from hmavel.cluster import Cluster
from hmavel.config import product_options, to_toml
from hmavel.glacier_products import check_packages, finish_run
from hmavel.memory import parse as memory_bytes
from hmavel.outcome import (
    FAILURE_COLUMNS,
    PAIR_COLUMNS,
    SCENE_COLUMNS,
    Clock,
    GlacierResult,
    Plan,
    RunResult,
)
from hmavel.parallel import Failure
from hmavel.planning import plan as make_plan
from hmavel.planning import remember_pairs
from hmavel.product.month_files import open_months
from hmavel.product.region import write_region
from hmavel.seen import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel.config import Config

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
    check_packages(config)
    kept_prior.check(config.months)
    folder = config.output.folder
    with run_lock.hold(folder):
        notes = journal.begin(folder, command=command)
        with journal.errors_noted(folder):
            return _run(config, folder, jobs, total, notes, scheduler, clock)


def _run(
    config: Config,
    folder: Path,
    jobs: int,
    total: int,
    notes: Path,
    scheduler: str,
    clock: Clock,
) -> RunResult:
    if stale := sweep(folder):
        logger.info("removed %d unfinished files of a run that was killed", stale)
    write_text(folder / "config.toml", to_toml(config))
    plan = make_plan(config, jobs=jobs, clock=clock, seen=folder / FOLDER)
    pairs = sum(len(glacier.pairs) for glacier in plan.glaciers)
    _note(notes, "plan", plan.failures)
    journal.planned(folder, glaciers=len(plan.glaciers), pairs=pairs)
    done: list[GlacierResult] = []
    failures = list(plan.failures)
    with journal.reporting(folder):
        for result in _all_glaciers(plan, config, jobs, total, notes, scheduler):
            if isinstance(result, Failure):
                failures.append(result)
                _note(notes, "glacier", [result])  # its worker could not
            else:
                done.append(result)
                clock.add(result.seconds, result.counts)
                failures += result.failures
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    if config.output.wgs84:
        with clock.stage("mosaic"):
            unmade = _mosaics(done, folder, config, jobs)
        _note(notes, "mosaic", unmade)
        failures += unmade
    if scheduler or jobs > 1:
        sweep(folder)  # what a worker left that was lost on the way
    folders = [result.folder for result in done if result.state]
    with clock.stage("write"):
        finished = parallel.attempt(
            partial(finish_run, folder, folders, config), "table and catalogue of the run"
        )
    failures += [finished] if isinstance(finished, Failure) else []
    _write_tables(folder, plan, done, failures)
    remember_pairs(plan, done)
    journal.at(notes).close()
    journal.end(folder, len(failures))
    return RunResult(
        plan, done, failures, dict(clock.seconds), clock.elapsed, dict(clock.counts)
    )


def _note(notes: Path, kind: str, failures: list[Failure]) -> None:
    for failure in failures:
        journal.at(notes).line(
            kind, failure.item, journal.FAILED, reason=failure.reason, error=failure.error
        )
    journal.at(notes).close()


def _all_glaciers(
    plan: Plan, config: Config, jobs: int, total: int, notes: Path, scheduler: str
) -> list[GlacierResult | Failure]:
    """Work on the glaciers side by side; the results are in the order of the plan."""
    found: dict[str, GlacierResult | Failure] = {}
    span = plan.span
    cluster = None
    if scheduler:
        total = total // jobs if scheduler == "local" else total
        cluster = Cluster(
            scheduler, jobs, 60 * config.run.patience_minutes,
            partial(journal.sign_of_life, notes), glacier_chain.__name__,
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
            glacier_chain.process_glacier, tasks, jobs=share.workers, workers="processes",
            label="", cluster=cluster, name=lambda task: f"glacier {task.glacier.site.id}",
        )
        ids = (glacier.site.id for glacier in group.glaciers)
        found |= dict(zip(ids, results, strict=True))
    return [found[glacier.site.id] for glacier in plan.glaciers]


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
    inputs = {
        "configuration": product_options(config),
        "glaciers": {glacier.id: glacier.state for glacier in glaciers},
    }
    made = parallel.map(
        lambda month: write_region(record.parent, sources, months=[month], provenance=inputs),
        months, jobs=jobs, label="mosaics", name=lambda month: f"mosaic {month}",
    )
    failures = [result for result in made if isinstance(result, Failure)]
    regions = [result for result in made if not isinstance(result, Failure)]
    failures += [
        Failure.of(f"mosaic {month}, {glacier}", error)
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


def _write_tables(
    folder: Path, plan: Plan, done: list[GlacierResult], failures: list[Failure]
) -> None:
    state.write_csv(folder / "scenes.csv", plan.rows, SCENE_COLUMNS)
    rows = [row for result in done for row in result.rows]
    state.write_csv(folder / "pairs.csv", rows, PAIR_COLUMNS)
    floors = [row for result in done for row in glacier_floor.rows_of(result.id, result.folder)]
    state.write_csv(folder / "floor.csv", floors, glacier_floor.COLUMNS)
    failed = [asdict(failure) for failure in failures]
    state.write_csv(folder / "failures.csv", failed, FAILURE_COLUMNS)
