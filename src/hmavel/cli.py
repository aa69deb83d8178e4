"""The command line: parse, hand over, print. Nothing heavy is imported before parsing."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, SOME_FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

#: Seconds that the work in hand has to end after SIGTERM or Ctrl-C; then it is abandoned.
_GRACE = 6.0
#: Failures that are listed one by one.
_LISTED = 20

_DESCRIPTION = """\
Glacier surface velocity from Landsat-8/9, month by month.

hmavel matches the 15 m panchromatic images (Band 8) of two dates in the frequency domain,
removes the matching error seen on bare ground, states an error for every value, and turns
hundreds of such pairs into one velocity map per glacier and month.
"""

_EPILOG = """\
first steps:
  hmavel demo                      a simulated archive, the whole chain, the errors made
  hmavel pair A_B8.TIF B_B8.TIF --out maps
                                   the displacement between two images
  hmavel config > my.toml          every option, explained; edit the paths, then
  hmavel scenes my.toml            see which scenes would be used, and why not the others
  hmavel run my.toml               make the months; run it again to resume

exit status:
  0 done;  1 finished, but some items failed (they are listed);  2 wrong usage or configuration
"""

_DEMO_EPILOG = """\
The archive is written to DIR/archive, the products to DIR/out, one picture per glacier to
DIR. About 2 minutes on 2 cores.

columns of the table (m/yr unless said; over the ice, all months):
  bias, RMSE, NMAD   of the monthly velocity against the simulated truth
  gross %            values wrong by more than 50 m/yr and 4 sigma
  <1s %, <2s %       how often the truth lies within the stated error (68 and 95 are ideal)

examples:
  hmavel demo
  hmavel demo --out /tmp/demo --jobs 4
"""

_PAIR_EPILOG = """\
REF and SEC are the earlier and the later image: Band-8 GeoTIFFs, whose name or *_MTL.txt
beside them gives the date, or Landsat product folders or tars. http(s):// and s3:// addresses
of Band-8 files are read where they are.

output, in DIR:
  displacement.tif   east, north (m), snr, coherence, sigma_east, sigma_north, quality
  velocity.tif       vx, vy, v, sigma_vx, sigma_vy (m/yr)
  pair.json          ids, times, matching error before and after, verdict, configuration
  pair.png, ground.png  speed over the image; bare ground: error before and after, its sigmas

examples:
  hmavel pair ref/ sec/ --glaciers rgi.gpkg --out maps
      stable ground = bare ground outside the outlines, from the 30 m bands and QA
  hmavel pair A_B8.TIF B_B8.TIF --stable bedrock.shp --out maps
      stable ground = the polygons
  hmavel pair A_B8.TIF B_B8.TIF --window 64 --out maps
      larger windows: less noise and more reach, coarser detail
"""

_RUN_EPILOG = """\
output, in the folder of the configuration:
  <glacier>/velocity_YYYY-MM.tif   the months, UTM, 120 m: vx vy v, their sigma, count, flag
  <glacier>/velocity.nc            the same as one CF NetCDF cube
  wgs84/velocity_YYYY-MM.tif       all glaciers in EPSG:4326
  <glacier>/network.json           errors of matches and scenes, closure, doubtful scenes
  scenes.csv, pairs.csv            what was used, what not, and why; each pair's verdict
  config.toml                      the resolved configuration

A second run does only what is missing or what a changed option makes different.

examples:
  hmavel run my.toml --dry-run     glaciers, scenes, pairs, CPU-hours and disk, without the
                                   work; and the same for all of High Mountain Asia
  hmavel run my.toml --jobs 8
"""

_ITSLIVE_EPILOG = """\
The pairs are taken as ITS_LIVE has them: their error is what each pair shows on stable
ground, and what the pairs of one scene share is learnt. The output is that of hmavel run.
To join them with pairs that hmavel measures, set [itslive] sources in a configuration.

examples:
  hmavel itslive cube.nc --glaciers rgi.gpkg --out maps
  hmavel itslive granules/ --glaciers rgi.gpkg --out maps --months 2015-01:2020-12
"""

_STATUS_EPILOG = """\
From another terminal, while it runs, or afterwards. The lines of all tasks, with the reasons
of failures, are in DIR/log.

examples:
  hmavel status hmavel-out
  watch hmavel status hmavel-out
"""

_VERIFY_EPILOG = """\
Every product is compared with the checksum that was noted when it was written; a random
sample of pairs is computed again from the scenes and compared to the byte.

exit status: 0 all is well, 1 something is not (listed)

examples:
  hmavel verify hmavel-out
  hmavel verify hmavel-out --sample 20
"""

_SCENES_EPILOG = """\
One line per glacier and scene: taken or not, the shares of the outline that are valid,
cloudy and snow-covered, and the reason. The same table is written to scenes.csv in the
output folder of the configuration, and a calendar of each glacier's scenes to
<glacier>/scenes.png there.

Scenes come from folders and tars ([input] archive), from STAC, Earth Engine exports and tables
of GeoTIFFs ([scenes] stac, earth_engine, csv): docs/sources.md has an example of each.

examples:
  hmavel scenes my.toml
  hmavel scenes my.toml --csv > scenes.csv
  hmavel scenes my.toml --export scenes.gpkg    frames, outlines, decisions, pairs for a GIS
"""

_ASSESS_EPILOG = """\
MAP is a NetCDF file or a GeoTIFF with bands vx and vy, or two GeoTIFFs, vx then vy. Any
number of them; one that cannot be read is listed and the others are done.

output, in DIR:
  quality.csv, quality.json   for each map: bias, half-widths, outliers, shares, the verdict
  <map>.png                   the scatter over bare ground with its density and contour

examples:
  hmavel assess vx.tif vy.tif --stable bedrock.shp --days 32 --out quality
  hmavel assess S2*_vx.tif S2*_vy.tif ... --method glaft --stable bedrock.shp --out quality
      the numbers of GLAFT 1.0.0
  hmavel assess *.nc --stable rock.gpkg --ice inside.gpkg --unit m/yr --out quality
"""

_CONFIG_EPILOG = """\
examples:
  hmavel config > my.toml
  hmavel config --out my.toml
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = parser().parse_args(argv)
    # Each job is one thread of work; BLAS threads on top would only fight over the cores.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    _log(arguments)
    _stop_on_signals()
    # Of rasterio's own temporary rasters; it silences them, which does not hold in threads.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    from hmavel.errors import ConfigError, HmavelError

    try:
        return int(arguments.command(arguments))
    except (HmavelError, ValueError) as error:
        if arguments.verbose >= 2:
            raise
        print(f"hmavel: {error}", file=sys.stderr)
        # A pair is an item that failed; anything else could not even begin.
        usage = isinstance(error, ConfigError | ValueError) or arguments.command is not _pair
        return WRONG_USAGE if usage else SOME_FAILED
    except KeyboardInterrupt as stop:
        print("hmavel: stopped; what was finished is kept, the same command resumes",
              file=sys.stderr)
        return TERMINATED if stop.args else INTERRUPTED
    except BrokenPipeError:  # `hmavel scenes ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    common = argparse.ArgumentParser(add_help=False)
    log = common.add_argument_group("messages")
    log.add_argument("-v", "--verbose", action="count", default=0,
                     help="say more; twice: also show where an error came from")
    log.add_argument("-q", "--quiet", action="store_true", help="only warnings and errors")
    log.add_argument("--log-file", type=Path, metavar="FILE",
                     help="also write every message, with its time, to FILE")

    top = _Parser("hmavel", _DESCRIPTION, _EPILOG)
    top.add_argument("--version", action=_Version, nargs=0,
                     default=argparse.SUPPRESS, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, function: Any, summary: str, epilog: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + ".",
            epilog=epilog, parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=function)
        return sub

    demo = add("demo", _demo, "simulate a small Landsat archive, run the whole chain on it, "
               "and compare the months with the truth", _DEMO_EPILOG)
    demo.add_argument("--out", type=Path, default=Path("hmavel-demo"), metavar="DIR",
                      help="folder for the archive and the products (default: ./hmavel-demo)")
    demo.add_argument("--seed", type=int, default=1, help="of the simulation (default: 1)")
    _add_jobs(demo)

    pair = add("pair", _pair, "measure the displacement between two images", _PAIR_EPILOG)
    pair.add_argument("reference", type=_image, metavar="REF", help="the earlier image")
    pair.add_argument("secondary", type=_image, metavar="SEC", help="the later image")
    pair.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    pair.add_argument("--stable", type=Path, metavar="VECTOR",
                      help="polygons of ground that does not move (any vector format; if "
                      "without coordinate system, the image's is meant)")
    pair.add_argument("--glaciers", type=Path, metavar="VECTOR",
                      help="ice outlines: what lies outside and is bare counts as stable")
    pair.add_argument("--dem", type=Path, metavar="RASTER",
                      help="heights in metres: ground in the shadow of mountains is not stable")
    pair.add_argument("--bias", default=None, metavar="MODEL",
                      help="auto, constant, plane, quadratic, stripes or none (default: auto; "
                      "none without --stable or --glaciers)")
    pair.add_argument("--window", type=int, default=None, metavar="PX",
                      help="side of the fine window, even (default: 32)")
    pair.add_argument("--coarse", type=int, default=None, metavar="PX",
                      help="side of the coarse window, which sets the reach (default: 64)")
    pair.add_argument("--step", type=int, default=None, metavar="PX",
                      help="spacing of the nodes (default: 8, which is 120 m)")
    pair.add_argument("--threads", type=int, default=0, metavar="N",
                      help="threads of the correlator (default: one per core)")
    pair.add_argument("--no-figure", action="store_true",
                      help="leave pair.png and ground.png out")

    run = add("run", _run, "make the monthly velocity maps of a configuration", _RUN_EPILOG)
    run.add_argument("config", type=Path, metavar="CONFIG", help="TOML file")
    run.add_argument("--dry-run", action="store_true", help="only show what would be done")
    _add_jobs(run)
    run.add_argument("--memory", metavar="SIZE",
                     help="memory for all workers together, such as 16G or 50%% (default: 70%% "
                     "of the machine's or its cgroup's)")
    run.add_argument("--scheduler", metavar="ADDRESS", default="",
                     help="work on a Dask cluster: tcp://host:8786, or local for --jobs "
                     "workers here; --memory is each worker's (pip install 'hmavel[dask]')")
    run.add_argument("--json", action="store_true", help="print the summary as JSON")

    status = add("status", _status, "show what a run is doing or has done", _STATUS_EPILOG)
    status.add_argument("folder", type=Path, metavar="DIR", help="output folder of the run")
    status.add_argument("--json", action="store_true", help="print it as JSON")

    verify = add("verify", _verify, "check the files of a run, and make some of them again",
                 _VERIFY_EPILOG)
    verify.add_argument("folder", type=Path, metavar="DIR", help="output folder of the run")
    verify.add_argument("--sample", type=int, default=3, metavar="N",
                        help="pairs that are computed once more (default: 3)")
    verify.add_argument("--seed", type=int, default=0, help="of the choice of pairs")
    verify.add_argument("--mend", action="store_true",
                        help="forget what is damaged, so that the next run makes it again")

    itslive = add("itslive", _itslive, "make the monthly velocity maps of glaciers from pairs "
                  "of ITS_LIVE", _ITSLIVE_EPILOG)
    itslive.add_argument("sources", type=Path, nargs="+", metavar="SOURCE",
                         help="datacubes (NetCDF, Zarr), pair granules or folders of granules")
    itslive.add_argument("--glaciers", type=Path, required=True, metavar="VECTOR",
                         help="glacier outlines: RGI 6, RGI 7 or any polygon file with ids")
    itslive.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    itslive.add_argument("--months", metavar="FIRST:LAST", default=None,
                         help="such as 2013-04:2024-12 (default: all that a pair touches)")
    itslive.add_argument("--min-area", type=float, default=0.0, metavar="KM2",
                         help="only glaciers larger than this (default: 0)")
    _add_jobs(itslive)

    scenes = add("scenes", _scenes, "list the scenes of every glacier, taken or not, and why",
                 _SCENES_EPILOG)
    scenes.add_argument("config", type=Path, metavar="CONFIG", help="TOML file")
    form = scenes.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    scenes.add_argument("--no-calendar", action="store_true",
                        help="do not draw <glacier>/scenes.png")
    scenes.add_argument("--export", type=Path, metavar="FILE",
                        help="also write the catalogue for other programs: .gpkg, .parquet or "
                        ".csv")
    _add_jobs(scenes)

    assess = add("assess", _assess, "judge velocity maps of any software by their bare ground",
                 _ASSESS_EPILOG)
    assess.add_argument("maps", type=Path, nargs="+", metavar="MAP", help="velocity maps")
    assess.add_argument("--stable", type=Path, required=True, metavar="VECTOR",
                        help="polygons of ground that does not move")
    assess.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    assess.add_argument("--ice", type=Path, metavar="VECTOR",
                        help="polygons well inside the ice: also the scatter of strain rates")
    assess.add_argument("--method", choices=("robust", "glaft"), default="robust",
                        help="estimator (default: robust)")
    assess.add_argument("--unit", choices=("m/day", "m/yr"), default="m/day",
                        help="of the maps (default: m/day)")
    assess.add_argument("--days", type=float, metavar="N",
                        help="baseline, to judge bias and half-width in metres as well")
    assess.add_argument("--names", nargs=2, default=("vx", "vy"), metavar=("VX", "VY"),
                        help="of the variables or bands (default: vx vy)")
    assess.add_argument("--nodata", type=float, metavar="VALUE",
                        help="value that means missing, where the files do not say")
    assess.add_argument("--no-figures", action="store_true", help="only the tables")
    _add_jobs(assess)

    config = add("config", _config, "print a commented configuration with every option",
                 _CONFIG_EPILOG)
    config.add_argument("--out", type=Path, metavar="FILE", help="write it to FILE instead")
    return top


def _Parser(name: str, description: str, epilog: str) -> argparse.ArgumentParser:  # noqa: N802
    return argparse.ArgumentParser(
        prog=name, description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _image(text: str) -> Path:
    """Return an image given as a path, or as the address of a file on a server."""
    if "://" not in text:
        return Path(text)
    from hmavel.vsi import remote

    try:
        return remote(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=None, metavar="N",
                        help="items worked on at a time (default: one per core)")


class _Version(argparse.Action):
    """Print the version; its metadata is read only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from hmavel import __version__

        print(f"hmavel {__version__}")
        parser.exit()


class _ToStderr(logging.StreamHandler[Any]):
    """Write to what ``sys.stderr`` is now: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # setStream would flush the last one, which may be closed
        super().emit(record)


def _log(arguments: argparse.Namespace) -> None:
    level = logging.DEBUG if arguments.verbose else logging.INFO
    root = logging.getLogger("hmavel")
    root.handlers.clear()
    screen = _ToStderr()
    screen.setFormatter(logging.Formatter("%(message)s"))
    root.addHandler(screen)
    if arguments.log_file:
        try:
            file = logging.FileHandler(arguments.log_file, encoding="utf-8")
        except OSError as error:
            print(f"hmavel: --log-file {arguments.log_file}: {error.strerror}", file=sys.stderr)
            raise SystemExit(WRONG_USAGE) from None
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root.addHandler(file)
        screen.setLevel(logging.WARNING if arguments.quiet else logging.NOTSET)
    root.setLevel(logging.WARNING if arguments.quiet and not arguments.log_file else level)


def _stop_on_signals() -> None:
    """End on SIGTERM as on Ctrl-C: at once between tasks, and soon in the midst of one.

    Every file is complete or under a temporary name, so work may be abandoned anywhere.
    """
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, _: Any) -> None:
        def abandon() -> None:
            from hmavel.atomic import discard_live

            discard_live()
            print("hmavel: abandoned the work in hand; the same command resumes",
                  file=sys.stderr, flush=True)
            os._exit(TERMINATED if number == signal.SIGTERM else INTERRUPTED)

        timer = threading.Timer(_GRACE, abandon)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt(*([number] if number == signal.SIGTERM else []))

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _demo(arguments: argparse.Namespace) -> int:
    from hmavel import demo, report

    result = demo.demo(arguments.out, jobs=_jobs(arguments), seed=arguments.seed)
    print(report.demo_text(result))
    return _listed(result.run.failures)


def _pair(arguments: argparse.Namespace) -> int:
    from hmavel import config

    given = {key: getattr(arguments, key) for key in ("window", "coarse", "step")}
    correlate = {key: value for key, value in given.items() if value is not None}
    if "window" in correlate and "coarse" not in correlate:
        # A larger fine window than the default coarse one is its own coarse window.
        correlate["coarse"] = max(64, correlate["window"])
    options: dict[str, Any] = {"correlate": correlate}
    if arguments.bias is not None:
        options["bias"] = {"model": arguments.bias}
    settings = config.from_dict(options, source="of the command line")
    from hmavel import report, single

    result = single.pair_files(
        arguments.reference, arguments.secondary, arguments.out, config=settings,
        stable=arguments.stable, glaciers=arguments.glaciers, dem=arguments.dem,
        threads=arguments.threads, figure=not arguments.no_figure,
    )
    print(report.pair_text(result))
    return DONE


def _run(arguments: argparse.Namespace) -> int:
    from hmavel import config

    settings = config.load(arguments.config)
    from hmavel import planning, report, workflow

    jobs = _jobs(arguments)
    if arguments.dry_run:
        plan = planning.plan(settings, jobs=settings.run.jobs if jobs is None else jobs)
        print(report.plan_text(plan))
        print(report.cost_text(*planning.expected_cost(plan, settings)))
        return _listed(plan.failures)
    command = f"hmavel run {arguments.config}"
    if arguments.scheduler:
        command += f" --scheduler {arguments.scheduler}"
    result = workflow.run(
        settings, jobs=jobs, memory=arguments.memory, scheduler=arguments.scheduler,
        command=command,
    )
    if arguments.json:
        print(report.run_json(result))
        return SOME_FAILED if result.failures else DONE
    print(report.run_text(result))
    return _listed(result.failures, retry=command, table=result.plan.folder / "failures.csv")


def _itslive(arguments: argparse.Namespace) -> int:
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
    return _listed(result.failures)


def _scenes(arguments: argparse.Namespace) -> int:
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
    return _listed(plan.failures)


def _assess(arguments: argparse.Namespace) -> int:
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
    return _listed(failures)


def _config(arguments: argparse.Namespace) -> int:
    from hmavel import config

    text = config.template()
    if arguments.out is None:
        print(text, end="")
        return DONE
    from hmavel.atomic import atomic_path

    with atomic_path(arguments.out) as path:
        path.write_text(text, encoding="utf-8")
    return DONE


def _jobs(arguments: argparse.Namespace) -> int | None:
    if arguments.jobs is not None and arguments.jobs < 0:
        raise ValueError(f"--jobs: expected 0 (one per core) or more, got {arguments.jobs}")
    return arguments.jobs if arguments.jobs is None else int(arguments.jobs)


def _listed(failures: Sequence[Any], *, retry: str = "", table: Path | None = None) -> int:
    if not failures:
        return DONE
    print(f"\nfailed ({len(failures)}):", file=sys.stderr)
    for failure in failures[:_LISTED]:
        print(f"  {failure}", file=sys.stderr)
    if len(failures) > _LISTED:
        print(f"  ... and {len(failures) - _LISTED} more", file=sys.stderr)
        from collections import Counter

        kinds = Counter(failure.error for failure in failures).most_common()
        print("by kind: " + ", ".join(f"{kind} {n}" for kind, n in kinds), file=sys.stderr)
    if retry:
        print(f"all of them: {table}\nto try them again: {retry}", file=sys.stderr)
    return SOME_FAILED


def _status(arguments: argparse.Namespace) -> int:
    from hmavel import journal

    status = journal.read(arguments.folder)
    if status is None:
        print(f"hmavel: status {arguments.folder}: expected the output folder of a run, got "
              "none; give output.folder of its configuration", file=sys.stderr)
        return WRONG_USAGE
    print(journal.status_json(status) if arguments.json else journal.status_text(status))
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    from hmavel import verify

    result = verify.verify_run(
        arguments.folder, sample=arguments.sample, seed=arguments.seed, mend=arguments.mend
    )
    print(f"{result.files} files checked, {result.remade} pairs computed again")
    return _listed(result.failures)
