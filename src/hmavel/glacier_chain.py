"""One glacier, from its choice of pairs to its months; what fails on the way is kept."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hmavel import journal, parallel
from hmavel.glacier_months import compose_glacier
from hmavel.glacier_pairs import PairFingerprints, open_stack, process_pair
from hmavel.glacier_products import finish_glacier
from hmavel.joined import itslive_pairs, rows_of
from hmavel.outcome import Clock, GlacierResult
from hmavel.pair_stack import check_pairs
from hmavel.parallel import Failure
from hmavel.seen import FOLDER
from hmavel.spill import remove_left_over
from hmavel.verdict import nothing_used, pair_row

if TYPE_CHECKING:
    from hmavel.itslive import PairStack
    from hmavel.outcome import Row
    from hmavel.pairing import PairChoice
    from hmavel.spread import GlacierTask


def process_glacier(task: GlacierTask) -> GlacierResult:
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
    task: GlacierTask, notes: journal.Journal, clock: Clock
) -> GlacierResult:
    glacier, config = task.glacier, task.config
    site, folder = glacier.site, task.folder / glacier.site.id
    fingerprints = PairFingerprints(site, config)

    def match(choice: PairChoice) -> Row:
        begin = time.perf_counter()
        name = f"{site.id} {choice.id}"
        try:
            row = process_pair(
                choice, stack=stack, fingerprints=fingerprints, folder=folder / "pairs",
                config=config, clock=clock,
            )  # fmt: skip
        except Exception as error:
            spent = time.perf_counter() - begin
            notes.line("pair", name, journal.FAILED, spent, str(error), type(error).__name__)
            raise
        spent = time.perf_counter() - begin
        state = str(row["state"]) if row.get("made") else journal.KEPT
        notes.line("pair", name, state, spent, row["reason"] or "")
        return row

    remove_left_over(folder)
    with open_stack(
        site, config, budget_bytes=task.scene_bytes, scratch=folder,
        seen=task.folder / FOLDER / site.id,
    ) as stack:
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
        failures.append(Failure.of(f"glacier {site.id}", nothing_used(site.id, rows)))
        return GlacierResult(site.id, rows, folder, 0, made, "", failures)
    compose = partial(
        compose_glacier, glacier, used=used, other=other, folder=folder, config=config,
        span=task.span, jobs=task.threads, clock=clock,
    )
    months = parallel.attempt(compose, f"months of {site.id}")
    if isinstance(months, Failure):
        failures.append(months)
        return GlacierResult(site.id, rows, folder, 0, made, "", failures)
    finish = partial(finish_glacier, site, folder, used, config, months[0], clock)
    finished = parallel.attempt(finish, f"table and records of {site.id}")
    if isinstance(finished, Failure):
        failures.append(finished)
    return GlacierResult(site.id, rows, folder, months[1], made, months[0], failures)
