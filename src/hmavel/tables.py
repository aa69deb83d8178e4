"""Tables that users write or export: rows by column name, with the row's place for messages."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hmavel.errors import ReadError
from hmavel.mtl import to_ms


def read_table(path: Path, *, need: Iterable[Iterable[str]] = ()) -> list[dict[str, str]]:
    """Read a CSV file with a header line.

    Parameters
    ----------
    path
        UTF-8, with commas, semicolons or tabs between the fields.
    need
        Groups of column names; of each group at least one must be there.

    Returns
    -------
    list of dict
        Column (in lower case) -> text without spaces around it; "" where a field is missing.
        Lines without any text are left out.

    Raises
    ------
    ReadError
        The file is missing or not text, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or "something that is not UTF-8 text"
        raise _wrong(path, "a CSV file", got) from error
    lines = text.splitlines()
    head = lines[0] if lines else ""
    mark = max(",;\t", key=head.count)
    rows = list(csv.reader(lines, delimiter=mark))
    names = [name.strip().lower() for name in rows[0]] if rows else []
    for group in need:
        if not set(group) & set(names):
            wanted = " or ".join(group)
            raise _wrong(path, f"a column {wanted}", ", ".join(names) or "an empty file")
    found = []
    for row in rows[1:]:
        fields = [field.strip() for field in row]
        if any(fields):
            fields += [""] * (len(names) - len(fields))
            found.append(dict(zip(names, fields, strict=False)))
    return found


def when(text: str) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Understand a date or time as (time, day), of which one is None.

    ISO 8601 with or without a clock and a zone (UTC when it has none), the same without
    dashes, or Earth Engine's milliseconds since 1970.

    Raises
    ------
    ValueError
        It is none of these.
    """
    if text.isdecimal() and 8 < len(text) < 18:
        return np.datetime64(int(text), "ms"), None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"date: expected a time like 2016-07-18T20:37:06 or a day, got {text!r}; "
            "use ISO 8601"
        ) from None
    if len(text) <= 10:
        return None, np.datetime64(moment.date(), "D")
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return to_ms(moment), None


def number(text: str, name: str) -> float | None:
    """Return a field as a number, None when it is empty; ``ValueError`` for other text."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: expected a number, got {text!r}; mend the table") from None


def sun_place(row: dict[str, str], azimuth: str, elevation: str) -> tuple[float, float] | None:
    """Return the sun's (azimuth, elevation), degrees, from two columns.

    None without an elevation; an azimuth that is missing is NaN.
    """
    high = number(row.get(elevation, ""), elevation)
    if high is None:
        return None
    where = number(row.get(azimuth, ""), azimuth)
    return float("nan") if where is None else where, high


def path_row(row: dict[str, str]) -> tuple[int, int] | None:
    """Return WRS-2 (path, row) from ``wrs`` ("140/041") or ``wrs_path`` and ``wrs_row``."""
    text = row.get("wrs", "") or f"{row.get('wrs_path', '')}/{row.get('wrs_row', '')}"
    if text == "/":
        return None
    first, slash, second = text.partition("/")
    try:
        if not slash:
            raise ValueError
        return round(float(first)), round(float(second))
    except (ValueError, OverflowError):
        raise ValueError(f"wrs: expected a path/row like 140/041, got {text!r}") from None


def _wrong(path: Path, expected: str, got: str) -> ReadError:
    return ReadError("table", path, expected=expected, got=got, hint="see docs/sources.md")
