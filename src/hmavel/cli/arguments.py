"""The arguments of every command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmavel.cli import commands, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    #: A command's name, function, summary and closing text to its parser.
    _Command = Callable[[argparse.Namespace], int]
    _Add = Callable[[str, _Command, str, str], argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    common = argparse.ArgumentParser(add_help=False)
    log = common.add_argument_group("messages")
    log.add_argument("-v", "--verbose", action="count", default=0,
                     help="say more; twice: also show where an error came from")
    log.add_argument("-q", "--quiet", action="store_true",
                     help="only warnings and errors, beside the result")
    log.add_argument("--log-file", type=Path, metavar="FILE",
                     help="also write every message, with its time, to FILE")

    top = argparse.ArgumentParser(
        prog="hmavel", description=texts.DESCRIPTION, epilog=texts.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0,
                     default=argparse.SUPPRESS, help="print the version and exit")
    chosen = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        name: str, function: _Command, summary: str, epilog: str
    ) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = chosen.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + ".",
            epilog=epilog, parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=function)
        return sub

    for command in (
        _demo, _pair, _run, _status, _verify, _itslive, _scenes, _assess, _config,
    ):
        command(add)
    return top


def _demo(add: _Add) -> None:
    demo = add(
        "demo", commands.demo,
        "simulate a small Landsat archive, run the whole chain on it, and compare the "
        "months with the truth", texts.DEMO_EPILOG,
    )
    demo.add_argument("--out", type=Path, default=Path("hmavel-demo"), metavar="DIR",
                      help="folder for the archive and the products (default: ./hmavel-demo)")
    demo.add_argument("--seed", type=int, default=1, help="of the simulation (default: 1)")
    _add_jobs(demo)


def _pair(add: _Add) -> None:
    pair = add(
        "pair", commands.pair,
        "measure the displacement between two images", texts.PAIR_EPILOG,
    )
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


def _run(add: _Add) -> None:
    run = add(
        "run", commands.run,
        "make the monthly velocity maps of a configuration", texts.RUN_EPILOG,
    )
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


def _status(add: _Add) -> None:
    status = add(
        "status", commands.status,
        "show what a run is doing or has done", texts.STATUS_EPILOG,
    )
    status.add_argument("folder", type=Path, metavar="DIR", help="output folder of the run")
    status.add_argument("--json", action="store_true", help="print it as JSON")


def _verify(add: _Add) -> None:
    verify = add(
        "verify", commands.verify,
        "check the files of a run, and make some of them again", texts.VERIFY_EPILOG,
    )
    verify.add_argument("folder", type=Path, metavar="DIR", help="output folder of the run")
    verify.add_argument("--sample", type=int, default=3, metavar="N",
                        help="pairs that are computed once more (default: 3)")
    verify.add_argument("--seed", type=int, default=0, help="of the choice of pairs")
    verify.add_argument("--mend", action="store_true",
                        help="forget what is damaged, so that the next run makes it again")
    verify.add_argument("--products-only", action="store_true",
                        help="leave the archive alone: no look at inputs, no pair made again")


def _itslive(add: _Add) -> None:
    itslive = add(
        "itslive", commands.itslive,
        "make the monthly velocity maps of glaciers from pairs of ITS_LIVE",
        texts.ITSLIVE_EPILOG,
    )
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


def _scenes(add: _Add) -> None:
    scenes = add(
        "scenes", commands.scenes,
        "list the scenes of every glacier, taken or not, and why", texts.SCENES_EPILOG,
    )
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


def _assess(add: _Add) -> None:
    assess = add(
        "assess", commands.assess,
        "judge velocity maps of any software by their bare ground", texts.ASSESS_EPILOG,
    )
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


def _config(add: _Add) -> None:
    config = add(
        "config", commands.config,
        "print a commented configuration with every option", texts.CONFIG_EPILOG,
    )
    config.add_argument("--out", type=Path, metavar="FILE", help="write it to FILE instead")


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
