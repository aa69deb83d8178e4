"""How a command ends: its exit status, and the list of what failed."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from hmavel.errors import most_frequent

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

DONE, SOME_FAILED, WRONG_USAGE = 0, 1, 2
HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143  #: 128 and the number of the signal

#: Failures that are listed one by one, and reasons.
_LISTED, _REASONS = 20, 10


def by_reason(failures: Sequence[Any]) -> list[tuple[str, int]]:
    """Count what failed by what was not met, the most frequent first."""
    return most_frequent(Counter(failure.cause for failure in failures))


def listed(failures: Sequence[Any], *, retry: str = "", table: Path | None = None) -> int:
    """List what failed, with how to try it again, and return the exit status."""
    if not failures:
        return DONE
    lines = [f"\nfailed ({len(failures)}):", *(f"  {one}" for one in failures[:_LISTED])]
    if len(failures) > _LISTED:
        lines.append(f"  ... and {len(failures) - _LISTED} more")
    counts = by_reason(failures)
    lines.append("by reason:")
    lines += [f"  {number:6d}  {reason}" for reason, number in counts[:_REASONS]]
    if len(counts) > _REASONS:
        rest = sum(number for _, number in counts[_REASONS:])
        lines.append(f"  {rest:6d}  others")
    if retry:
        lines.append(f"all of them: {table}\nto try them again: {retry}")
    print("\n".join(lines), file=sys.stderr)
    return SOME_FAILED


def command_of(arguments: argparse.Namespace) -> str:
    """Return a command of a shell, in whatever folder, that goes on with a run."""
    words = ["hmavel", "run", str(arguments.config.absolute())]
    for name in ("jobs", "memory", "scheduler"):
        if (value := getattr(arguments, name)) not in (None, ""):
            words += [f"--{name}", str(value)]
    return shlex.join(words)
