"""Many items on several cores, none able to end the rest. The only module that knows joblib."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from hmavel.atomic import discard_live
from hmavel.cluster import Cluster, run_on
from hmavel.errors import HmavelError, cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Seconds between two lines of progress where there is no terminal to draw a bar on.
LOG_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Failure:
    """An item that gave no result, and why."""

    item: str  #: the item's name, as in the tables
    reason: str  #: one sentence
    error: str = ""  #: the exception's class name

    def __str__(self) -> str:
        """Give the line of the list of failures."""
        return f"{self.item}: {self.reason}"

    @property
    def cause(self) -> str:
        """What it has in common with others."""
        return cause(self.reason, self.error)

    @classmethod
    def of(cls, item: str, error: Exception) -> Failure:
        """Return the failure of an item that an exception tells of."""
        reason = str(error)
        if not isinstance(error, HmavelError):  # its message alone may say nothing: KeyError
            reason = f"{type(error).__name__}: {error}".strip().rstrip(":")
        return cls(item, reason, type(error).__name__)


@dataclass(frozen=True)
class _Attempt(Generic[Item, Result]):
    """Call the function on one item and hand back what came of it, whatever came of it."""

    function: Callable[[Item], Result]
    name: Callable[[Item], str]

    def __call__(self, index: int, item: Item) -> tuple[int, Result | Failure]:
        try:
            return index, self.function(item)
        except HmavelError as error:
            return index, Failure.of(self.name(item), error)
        except Exception as error:  # one bad item never ends a run
            logger.debug("%s", self.name(item), exc_info=True)
            return index, Failure.of(self.name(item), error)


def _begin_worker(driver: int) -> None:
    """Quiet what the driver keeps quiet, and do not outlive a driver that was killed.

    Called before its first task: one that has got none would wait for minutes. Ctrl-C reaches
    all processes of a terminal: here it is the driver's to say when to end.
    """
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(0.5)
        discard_live()
        os._exit(1)

    threading.Thread(target=watch, name="driver-watch", daemon=True).start()


def cores() -> int:
    """Cores that this process may use (its affinity), at least one."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def map(  # noqa: A001 - reads as parallel.map(...)
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int = 1,
    label: str = "items",
    name: Callable[[Item], str] = str,
    workers: Literal["threads", "processes"] = "threads",
    keep: Callable[[Item, Result], None] | None = None,
    cluster: Cluster | None = None,
) -> list[Result | Failure]:
    """Call ``function`` on every item, ``jobs`` at a time.

    Parameters
    ----------
    function
        What to do with one item. With ``workers="processes"`` it and the items must pickle.
    items
        The items; the results come back in their order.
    jobs
        How many at a time; 0 or less means one per core.
    label
        What is counted, for the progress line: ``"pairs of RGI2000-..."``; "" for none.
    name
        The name of an item in a ``Failure``.
    workers
        ``"threads"`` shares memory and suits work that releases the GIL (the correlator,
        GDAL, NumPy); ``"processes"`` suits the rest, and survives a worker that dies.
    keep
        Called here, in this thread, with each item and its result as soon as that is there:
        what a killed run shall not lose. Where it raises, the item has failed.
    cluster
        Of other machines: it takes the place of ``jobs`` and ``workers``.

    Returns
    -------
    list
        One entry per item: its result, or a ``Failure`` where it raised. Only
        ``KeyboardInterrupt`` and its like pass through.
    """
    jobs = min(cores() if jobs <= 0 else jobs, max(len(items), 1))
    attempt_one = _Attempt(function, name)
    done: dict[int, Result | Failure] = {}
    with _progress(label, len(items) if label else 0) as progress:
        todo = list(enumerate(items))
        answers: Iterator[tuple[int, Any]]
        if cluster is None:
            answers = _attempts(attempt_one, todo, jobs, workers)
        else:
            answers = run_on(cluster, attempt_one, items)
        for index, result in answers:
            if isinstance(result, HmavelError):
                result = Failure.of(name(items[index]), result)
            if keep is not None and not isinstance(result, Failure):
                item = items[index]
                result = attempt(partial(_kept, keep, item, result), name(item))
            done[index] = result
            if isinstance(result, Failure):
                logger.warning("failed: %s", result)
            progress.advance(failed=isinstance(result, Failure))
    return [done[index] for index in range(len(items))]


def _kept(keep: Callable[[Item, Result], None], item: Item, result: Result) -> Result:
    """Keep a result, and hand it back."""
    keep(item, result)
    return result


def attempt(function: Callable[[], Result], name: str) -> Result | Failure:
    """Call ``function``; hand back its result, or a ``Failure`` of that name if it raised."""
    _, result = _Attempt(lambda _: function(), str)(0, name)
    return result


def _attempts(
    attempt_one: _Attempt[Item, Result],
    todo: list[tuple[int, Item]],
    jobs: int,
    workers: Literal["threads", "processes"],
) -> Iterator[tuple[int, Result | Failure]]:
    """Yield (index, result) as they are finished."""
    if jobs == 1:  # in this thread: the traceback of a debugger stays whole
        for index, item in todo:
            yield attempt_one(index, item)
        return
    if workers == "threads":
        yield from _pool(attempt_one, todo, jobs, "threading")
        return
    from joblib.externals.loky.process_executor import (  # type: ignore[import-untyped]
        BrokenProcessPool,
    )

    left = dict(todo)
    try:
        for index, result in _pool(attempt_one, todo, jobs, "loky"):
            del left[index]
            yield index, result
    except BrokenProcessPool:
        logger.warning("a worker process died; its items are tried again, one at a time")
    # Which of the items in flight killed it is not known: each gets a process of its own.
    for index, item in left.items():
        try:
            yield from _pool(attempt_one, [(index, item)], 2, "loky")
        except BrokenProcessPool as error:
            reason = "its worker process died; give it more memory, or report the crash"
            yield index, Failure(attempt_one.name(item), reason, type(error).__name__)


def _pool(
    attempt_one: _Attempt[Item, Result], todo: list[tuple[int, Item]], jobs: int, backend: str
) -> Iterator[tuple[int, Result | Failure]]:
    from joblib import Parallel, delayed, parallel_config  # type: ignore[import-untyped]

    options: dict[str, Any] = {}
    if backend == "loky":
        # loky replaces a worker that has grown by 300 MB and warns in a thread of its own:
        # where warnings are errors that thread would die, and this one wait for ever.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        # A worker's own BLAS threads would fight over the cores that the jobs already fill.
        options = {
            "inner_max_num_threads": 1,
            "initializer": _begin_worker, "initargs": (os.getpid(),),
        }  # fmt: skip
    with parallel_config(backend=backend, n_jobs=jobs, **options):
        yield from Parallel(return_as="generator_unordered", batch_size=1)(
            delayed(attempt_one)(index, item) for index, item in todo
        )


class _Progress(Protocol):
    def advance(self, *, failed: bool) -> None: ...


def _progress(label: str, total: int) -> AbstractContextManager[_Progress]:
    """Return a bar on a terminal, log lines elsewhere, neither below INFO."""
    if not logger.isEnabledFor(logging.INFO) or total == 0:
        return nullcontext(_Silent())
    return _Bar(label, total) if sys.stderr.isatty() else _Lines(label, total)


class _Silent:
    def advance(self, *, failed: bool) -> None:
        """Say nothing."""


class _Bar:
    """A rich bar: count, failures, elapsed and remaining time."""

    def __init__(self, label: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._failed = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failures]}", style="red"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(label, total=total, failures="")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def advance(self, *, failed: bool) -> None:
        self._failed += failed
        text = f"{self._failed} failed" if self._failed else ""
        self._bar.update(self._task, advance=1, failures=text)


class _Lines:
    """Log lines: one every ten seconds, and one at the end."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total = label, total
        self.done = self.failed = 0
        self._begin = self._said = time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: Any) -> None:
        self._say()

    def advance(self, *, failed: bool) -> None:
        self.done += 1
        self.failed += failed
        if self.done < self.total and time.monotonic() - self._said >= LOG_EVERY_SECONDS:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        spent = self._said - self._begin
        text = f"{self.label}: {self.done} of {self.total} in {spent:.1f} s"
        if self.failed:
            text += f", {self.failed} failed"
        if 0 < self.done < self.total:
            text += f", about {spent / self.done * (self.total - self.done):.0f} s left"
        logger.info(text)
