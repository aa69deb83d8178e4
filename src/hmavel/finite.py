"""Plain values for JSON and SQLite, which have no words for NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def without_nan(value: Any) -> Any:
    """Return ``value`` with None for each number in it that is not finite.

    Parameters
    ----------
    value
        Numbers, text, None; mappings, lists and tuples of them, to any depth. Tuples become
        lists, as in JSON; all else stays what it is.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return value
