"""The command line: parse, hand over, print. Nothing heavy is imported before parsing."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import TYPE_CHECKING

from hmavel.cli import commands
from hmavel.cli.arguments import parser
from hmavel.cli.ending import (
    DONE,
    HUNG_UP,
    INTERRUPTED,
    SOME_FAILED,
    TERMINATED,
    WRONG_USAGE,
)
from hmavel.cli.messages import STATUS, say, send_messages, stop_on_signals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = [
    "DONE", "HUNG_UP", "INTERRUPTED", "SOME_FAILED", "TERMINATED", "WRONG_USAGE", "main",
    "parser",
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = parser().parse_args(argv)
    # Each job is one thread of work; BLAS threads on top would only fight over the cores.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    send_messages(arguments)
    stop_on_signals()
    # Of rasterio's own temporary rasters; it silences them, which does not hold in threads.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    from hmavel.errors import ConfigError, HmavelError

    try:
        return int(arguments.command(arguments))
    except (HmavelError, ValueError) as error:
        if arguments.verbose >= 2:
            raise
        _fail(arguments, str(error))
        # A pair is an item that failed; anything else could not even begin.
        usage = isinstance(error, ConfigError | ValueError)
        one_item = arguments.command is commands.pair and not usage
        return SOME_FAILED if one_item else WRONG_USAGE
    except KeyboardInterrupt as stop:
        _fail(arguments, "stopped; what was finished is kept, the same command resumes")
        return STATUS[stop.args[0]] if stop.args else INTERRUPTED
    except BrokenPipeError:  # `hmavel scenes ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _fail(arguments: argparse.Namespace, why: str) -> None:
    """Say why a command came to nothing; where JSON was asked for, in JSON as well."""
    say(f"hmavel: {why}")
    if getattr(arguments, "json", False):
        print(json.dumps({"error": why}, indent=1))
