"""How a command ends: its exit status, and the list of what failed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DONE, SOME_FAILED, WRONG_USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

#: Failures that are listed one by one.
_LISTED = 20


def listed(failures: Sequence[Any], *, retry: str = "", table: Path | None = None) -> int:
    """List what failed, with how to try it again, and return the exit status."""
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
