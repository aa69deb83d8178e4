"""What each command does: hand over, and print the outcome. Imports wait until it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hmavel.cli.ending import (
    DONE,
    SOME_FAILED,
    by_reason,
    command_of,
    listed,
)

if TYPE_CHECKING:
    import argparse

    from hmavel.config import Config


def demo(arguments: argparse.Namespace) -> int:
    """Make the demonstration."""
    from hmavel import demo, report

    result = demo.demo(arguments.out, jobs=_jobs(arguments), seed=arguments.seed)
    print(report.demo_text(result))
    return listed(result.run.failures)


def pair(arguments: argparse.Namespace) -> int:
    """Measure one pair of images."""
    from hmavel import single

    def settings() -> Config:
        from hmavel import config

        return config.from_dict(_pair_options(arguments), source="of the command line")

    result = single.pair_files(
        arguments.reference, arguments.secondary, arguments.out, config=settings,
        stable=arguments.stable, glaciers=arguments.glaciers, dem=arguments.dem,
        threads=arguments.threads, figure=not arguments.no_figure,
    )
    from hmavel import report

    print(report.pair_text(result))
    return DONE


def _pair_options(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {key: getattr(arguments, key) for key in ("window", "coarse", "step")}
    correlate = {key: value for key, value in given.items() if value is not None}
    if "window" in correlate and "coarse" not in correlate:
        # A larger fine window than the default coarse one is its own coarse window.
        correlate["coarse"] = max(64, correlate["window"])
    options: dict[str, Any] = {"correlate": correlate}
    if arguments.bias is not None:
        options["bias"] = {"model": arguments.bias}
    return options


def run(arguments: argparse.Namespace) -> int:
    """Make the months of a configuration, or say what that would cost."""
    from hmavel import config

    settings = config.load(arguments.config)
    from hmavel import planning, report, workflow

    jobs = _jobs(arguments)
    if arguments.dry_run:
        plan = planning.plan(settings, jobs=settings.run.jobs if jobs is None else jobs)
        costs = planning.expected_cost(plan, settings)
        if arguments.json:
            print(report.plan_json(plan, costs[0]))
            return SOME_FAILED if plan.failures else DONE
        print(report.plan_text(plan))
        print(report.cost_text(*costs))
        return listed(plan.failures)
    command = command_of(arguments)
    result = workflow.run(
        settings, jobs=jobs, memory=arguments.memory, scheduler=arguments.scheduler,
        command=command,
    )
    if arguments.json:
        print(report.run_json(result, by_reason(result.failures), command))
        return SOME_FAILED if result.failures else DONE
    print(report.run_text(result))
    return listed(result.failures, retry=command, table=result.plan.folder / "failures.csv")


def itslive(arguments: argparse.Namespace) -> int:
    """Make the months of glaciers from pairs of ITS_LIVE."""
    from hmavel import config

    months: dict[str, str] = {}
    if arguments.months:
        first, _, last = arguments.months.partition(":")
        months = {"first": first, "last": last}
    given = {
        "glaciers": {"inventory": str(arguments.glaciers.absolute()),
                     "min_area_km2": arguments.min_area},
        "months": months,
        "itslive": {"sources": [str(path.absolute()) for path in arguments.sources],
                    "alone": True},
        "output": {"folder": str(arguments.out.absolute())},
    }
    settings = config.from_dict(given, source="of the command line")
    from hmavel import report, workflow

    result = workflow.run(settings, jobs=_jobs(arguments))
    print(report.run_text(result))
    return listed(result.failures)


def scenes(arguments: argparse.Namespace) -> int:
    """List the scenes of every glacier."""
    from hmavel import config

    settings = config.load(arguments.config)
    from hmavel import planning, report, state
    from hmavel.outcome import SCENE_COLUMNS

    jobs = _jobs(arguments)
    plan = planning.plan(settings, jobs=settings.run.jobs if jobs is None else jobs)
    state.write_csv(plan.folder / "scenes.csv", plan.rows, SCENE_COLUMNS)
    if arguments.csv:
        print(state.csv_text(plan.rows, SCENE_COLUMNS), end="")
    elif arguments.json:
        print(report.scenes_json(plan))
    elif sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(report.scenes_rich(plan))
        console.print(report.scenes_summary(plan), highlight=False)
    else:
        print(report.scenes_text(plan))
    if not arguments.no_calendar:
        planning.draw_calendars(plan)
    if arguments.export is not None:
        from hmavel.catalogue import FILE, Catalogue
        from hmavel.catalogue_export import export

        with Catalogue(plan.folder / FILE) as catalogue:
            for path in export(catalogue, arguments.export):
                print(f"written: {path}", file=sys.stderr)
    return listed(plan.failures)


def assess(arguments: argparse.Namespace) -> int:
    """Judge velocity maps by their bare ground."""
    from hmavel import map_quality, report
    from hmavel.parallel import Failure

    names = tuple(arguments.names)
    found = map_quality.assess_files(
        map_quality.paired(arguments.maps, names), arguments.out, stable=arguments.stable,
        ice=arguments.ice, names=names, nodata=arguments.nodata,
        figures=not arguments.no_figures, jobs=_jobs(arguments) or 0, days=arguments.days,
        unit=arguments.unit, method=arguments.method,
    )
    failures = [item for item in found if isinstance(item, Failure)]
    print(report.quality_text([item for item in found if not isinstance(item, Failure)]))
    print(f"written to {arguments.out}")
    return listed(failures)


def config(arguments: argparse.Namespace) -> int:
    """Print the commented configuration."""
    from hmavel import config

    text = config.template()
    if arguments.out is None:
        print(text, end="")
        return DONE
    from hmavel.atomic import atomic_path

    with atomic_path(arguments.out) as path:
        path.write_text(text, encoding="utf-8")
    return DONE


def status(arguments: argparse.Namespace) -> int:
    """Show what a run is doing."""
    from hmavel import journal
    from hmavel.errors import RunError

    status = journal.read(arguments.folder)
    if status is None:
        raise RunError(
            "status", arguments.folder, expected="the output folder of a run", got="none",
            hint="give output.folder of its configuration",
        )
    print(journal.status_json(status) if arguments.json else journal.status_text(status))
    return DONE


def verify(arguments: argparse.Namespace) -> int:
    """Check the files of a run."""
    from hmavel import verify

    result = verify.verify_run(
        arguments.folder, sample=arguments.sample, seed=arguments.seed, mend=arguments.mend,
        inputs=not arguments.products_only,
    )
    print(f"{result.files} files checked, {result.remade} pairs computed again")
    return listed(result.failures)


def _jobs(arguments: argparse.Namespace) -> int | None:
    if arguments.jobs is not None and arguments.jobs < 0:
        raise ValueError(f"--jobs: expected 0 (one per core) or more, got {arguments.jobs}")
    return arguments.jobs if arguments.jobs is None else int(arguments.jobs)
