"""What a run is doing, on disk: a line per task, and counts for whoever asks.

``<out>/log/run.json`` says what the last run set out to do. Every process of a run, wherever
it is, has a file of lines and a small file of counts of its own beside it, so that none waits
for another and `read` needs to open few files however many tasks there are.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from hmavel import __version__
from hmavel.atomic import write_json
from hmavel.errors import HmavelError, RunError, cause, most_frequent
from hmavel.run_lock import held

logger = logging.getLogger(__name__)

FOLDER = "log"
_RUN = "run.json"
#: Seconds between two writings of the counts.
_EVERY = 1.0
#: Seconds of matching before anybody is told how long the rest will take.
_EARLY_S = 30.0
#: What is raised where a file of the log is none, or is not there.
_STRANGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
#: States of a task that was not done now.
KEPT = "kept"
FAILED = "failed"

_open: dict[Path, Journal] = {}
_open_lock = threading.Lock()


class Journal:
    """One process's part in a run: lines and counts. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}"
        self._lines, self._counts_file = folder / f"{name}.tsv", folder / f"{name}.counts"
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._reasons: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._written = 0.0

    def line(
        self, kind: str, item: str, state: str, seconds: float = 0.0, reason: str = "",
        error: str = "",
    ) -> None:  # fmt: skip
        """Note one task: "pair", its name, "used", how long it took, and why not."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        words = (now, kind, item, state, f"{seconds:.3f}", reason)
        text = "\t".join(" ".join(word.split()) for word in words) + "\n"
        with self._lock:
            self._counts[kind, state] += 1
            self._seconds[kind] += seconds
            if state == FAILED:
                self._reasons[cause(reason, error)] += 1
            # The log is no result: a disk without room for it does not end the run.
            with contextlib.suppress(OSError):
                with self._lines.open("a", encoding="utf-8") as stream:
                    stream.write(text)
                if time.monotonic() - self._written >= _EVERY:
                    self._write()

    def close(self) -> None:
        """Write the counts."""
        with self._lock, contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        content = {
            "counts": [[*key, number] for key, number in self._counts.items()],
            "seconds": dict(self._seconds), "reasons": dict(self._reasons),
            "clock": _clock(), "process": self._counts_file.stem,
        }  # fmt: skip
        new = self._counts_file.with_suffix(".new")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self._counts_file)


def begin(out: Path, *, command: str) -> Path:
    """Say that a run has begun, with its planning; return the folder that `at` wants."""
    started = datetime.now(UTC)
    folder = out / FOLDER / f"{started:%Y%m%dT%H%M%S}-{os.getpid()}"
    content = {
        "started": started.isoformat(timespec="seconds"), "clock": _clock(),
        "folder": folder.name, "host": socket.gethostname(), "process": os.getpid(),
        "version": __version__, "command": command, "glaciers": None, "pairs": None,
        "planned": None, "finished": None, "seconds": None, "failed": None, "error": None,
    }  # fmt: skip
    write_json(out / FOLDER / _RUN, content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def planned(out: Path, *, glaciers: int, pairs: int) -> None:
    """Say what the run sets out to do; raises as `end` does."""
    _amend(out, glaciers=glaciers, pairs=pairs, planned=_clock())


def end(out: Path, failed: int) -> None:
    """Say that the run has come to its end, with so many failures.

    Raises
    ------
    RunError
        The log is gone: the disk was unmounted, or the folder moved.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    _amend(out, finished=now, failed=failed)


@contextmanager
def errors_noted(out: Path) -> Iterator[None]:
    """Have the run's record say which error ended the block, if one does."""
    try:
        yield
    except HmavelError as error:
        with contextlib.suppress(HmavelError):  # that one may be why this cannot be written
            _amend(out, error=str(error))
        raise


def _amend(out: Path, **more: Any) -> None:
    path = out / FOLDER / _RUN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        seconds = round(_since(content["clock"]), 1)
    except _STRANGE as error:
        raise RunError(
            "run", path, expected="the log that the run began",
            got=getattr(error, "strerror", None) or "something else",
            hint="was the disk unmounted? mount it, and run again to go on",
        ) from error
    write_json(path, content | more | {"seconds": seconds})


def _clock() -> dict[str, Any]:
    """Return the time by the wall, and by the clock of this boot, which nobody sets."""
    return {"time": time.time(), "monotonic": time.monotonic(), "boot": _boot()}


def _since(clock: dict[str, Any]) -> float:
    """Return the seconds since a `_clock`: not by the wall where that can be avoided."""
    return _between(clock, _clock())


def _between(begin: dict[str, Any], end: dict[str, Any]) -> float:
    key = "monotonic" if begin["boot"] and begin["boot"] == end["boot"] else "time"
    return max(float(end[key]) - float(begin[key]), 0.0)


@lru_cache
def _boot() -> str:
    """Return what is one for all processes of one machine until it starts anew; "" unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def at(folder: Path) -> Journal:
    """Return this process's journal in a folder of `begin`."""
    with _open_lock:
        if folder not in _open:
            _open[folder] = Journal(folder)
        return _open[folder]


def sign_of_life(folder: Path, host: str, process: int) -> int:
    """Return a number that is another one whenever a process has noted a task."""
    try:
        return (folder / f"{host}-{process}.tsv").stat().st_size
    except OSError:
        return 0


@dataclass(frozen=True)
class Status:
    """What is known of the last run in a folder."""

    run: dict[str, Any]  #: as `begin` and `end` wrote it
    running: bool
    elapsed: float  #: seconds since it began, or from begin to its last word
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  #: kind -> state -> number
    reasons: dict[str, int] = field(default_factory=dict)  #: error -> failures
    last: float | None = None  #: seconds since any process wrote its counts
    matching: float = 0.0  #: seconds of `elapsed` after the planning

    @property
    def pairs_done(self) -> int:
        """Pairs that are settled, in whatever way."""
        return self._pair_lines - self.pairs_again

    @property
    def pairs_again(self) -> int:
        """Lines beyond the pairs there are: by workers that were lost after they wrote them."""
        return 0 if self.planning else max(self._pair_lines - int(self.run["pairs"]), 0)

    @property
    def _pair_lines(self) -> int:
        return sum(self.counts.get("pair", {}).values())

    @property
    def per_minute(self) -> float:
        """Pairs matched a minute; those of former runs do not count."""
        fresh = self.pairs_done - self.counts.get("pair", {}).get(KEPT, 0)
        return 60 * fresh / self.matching if self.matching > 0 else 0.0

    @property
    def planning(self) -> bool:
        """Whether it has not yet said how many pairs there are."""
        return self.run["pairs"] is None

    @property
    def seconds_left(self) -> float | None:
        """Until the pairs are done, at the rate so far; None when nothing can be said."""
        if self.planning:
            return None
        left = int(self.run["pairs"]) - self.pairs_done
        if not self.per_minute or left < 0 or self.matching < _EARLY_S:
            return None
        return 60 * left / self.per_minute


def read(out: Path) -> Status | None:
    """Return what the last run in ``out`` is doing or has done; None when there was none."""
    try:
        run = json.loads((out / FOLDER / _RUN).read_text(encoding="utf-8"))
        folder = out / FOLDER / str(run["folder"])
        for key in ("started", "host", "process", "command", "failed", "error"):
            run[key]  # whatever lacks one of them is not ours
        if not all(run[key] is None or _is_count(run[key]) for key in ("pairs", "glaciers")):
            return None
        ended = run["finished"] or run["error"]
        elapsed = float(run["seconds"]) if ended else _since(run["clock"])
        planning = _between(run["clock"], run["planned"]) if run["planned"] else elapsed
        if not (math.isfinite(elapsed) and math.isfinite(planning)):
            return None
        files = sorted(folder.glob("*.counts"))
    except _STRANGE:
        return None
    counts: dict[str, dict[str, int]] = {}
    reasons: Counter[str] = Counter()
    last = None
    for path in files:
        try:
            part = json.loads(path.read_text(encoding="utf-8"))
            numbers = [number for *_, number in part["counts"]]
            if not all(map(_is_count, [*numbers, *part["reasons"].values()])):
                continue
            for kind, state, number in part["counts"]:
                states = counts.setdefault(str(kind), {})
                states[str(state)] = states.get(str(state), 0) + number
            reasons.update(part["reasons"])
            ago = _since(part["clock"])
            last = ago if last is None else min(last, ago)
        except _STRANGE:
            continue  # it is being replaced, or is not ours
    running = not ended and held(out)
    if not running and not ended and last is not None:
        elapsed = max(elapsed - last, 0.0)  # it was stopped, since when nobody counts
    matching = max(elapsed - planning, 0.0)
    return Status(run, running, elapsed, counts, dict(reasons), last, matching)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**53


def progress(status: Status) -> str:
    """Return one line: what is done, how fast, how long it will take, what failed."""
    if status.planning:
        if status.running:
            return "planning: scenes, glaciers and pairs are being looked for"
        return "it did not come to the end of planning"
    pairs = status.counts.get("pair", {})
    glaciers = status.counts.get("glacier", {})
    text = f"{status.pairs_done} of {status.run['pairs']} pairs"
    if pairs.get(KEPT):
        text += f" ({pairs[KEPT]} from before)"
    if status.pairs_again:
        text += f" ({status.pairs_again} twice, their worker was lost)"
    text += f", {sum(glaciers.values())} of {status.run['glaciers']} glaciers"
    text += f", {sum(status.reasons.values())} failed"
    if status.per_minute:
        text += f"; {_rate(status.per_minute)}"
    if status.running and status.seconds_left:
        text += f", about {duration(status.seconds_left)} left"
    return text


def _rate(per_minute: float) -> str:
    if per_minute >= 10:
        return f"{per_minute:.0f} pairs a minute"
    return f"{60 * per_minute:.0f} pairs an hour"


def status_text(status: Status) -> str:
    """Return what ``hmavel status`` prints."""
    run = status.run
    if status.running:
        word = f"running for {duration(status.elapsed)}"
    elif run["finished"]:
        word = f"finished after {duration(status.elapsed)}, {run['failed']} failures"
    elif run["error"]:
        word = f"ended after {duration(status.elapsed)} by an error"
    else:
        word = "stopped before its end"
    lines = [
        f"run of {run['started']} (process {run['process']} on {run['host']}): {word}",
        progress(status),
    ]
    for kind, states in sorted(status.counts.items()):
        parts = ", ".join(f"{state} {number}" for state, number in sorted(states.items()))
        lines.append(f"  {kind}: {parts}")
    if status.reasons:
        lines.append(f"  failures by reason; each is in {FOLDER}/{run['folder']}:")
        counts = most_frequent(status.reasons)
        lines += [f"    {number:6d}  {reason}" for reason, number in counts]
    if run["error"]:
        lines.append(f"  {run['error']}")
    if status.running and status.last is not None:
        lines.append(f"  last sign of life {duration(status.last)} ago")
    if not status.running and not run["finished"] and run["command"]:
        lines.append(f"to go on: {run['command']}")
    return "\n".join(lines)


def status_json(status: Status) -> str:
    """Return the same as JSON."""
    content = status.run | {
        "running": status.running, "elapsed_s": round(status.elapsed, 1),
        "counts": status.counts, "errors": status.reasons, "pairs_done": status.pairs_done,
        "pairs_again": status.pairs_again,
        "pairs_per_minute": round(status.per_minute, 2), "seconds_left": status.seconds_left,
        "last_sign_s": status.last,
    }  # fmt: skip
    del content["clock"], content["planned"]
    return json.dumps(content, indent=1)


def duration(seconds: float) -> str:
    """Return a length of time in words that a person would use."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else (
        f"{minutes} min"
    )


@contextmanager
def reporting(out: Path) -> Iterator[None]:
    """Log a line of progress now and then while the block runs, and at its end.

    The records have an attribute ``progress``, so that a terminal may show each in the place
    of the last one: there, one every two seconds; elsewhere ever fewer, down to one a minute.
    """
    done = threading.Event()

    def report() -> None:
        begin = time.monotonic()
        while True:
            every = min(10.0 + (time.monotonic() - begin) / 20, 60.0)
            ended = done.wait(2.0 if sys.stderr.isatty() else every)
            status = read(out)
            if status is not None:
                more = {"progress": "last" if ended else "more"}
                logger.info("%s", progress(status), extra=more)
            if ended:
                return

    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
