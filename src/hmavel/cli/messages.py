"""Messages to the screen and to a file, and what a signal does."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from hmavel.cli.ending import HUNG_UP, INTERRUPTED, TERMINATED, WRONG_USAGE

if TYPE_CHECKING:
    import argparse

#: Seconds that the work in hand has to end after a signal; then it is abandoned.
_GRACE = 6.0
#: The exit status of a run that a signal has ended.
STATUS = {
    signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED, signal.SIGHUP: HUNG_UP,
}  # fmt: skip
#: Where the operating system writes the numbers of signals to.
_pipes: list[int] = []
#: Seconds between two lines of progress in a file.
_SPARSE = 60.0


class _ToStderr(logging.StreamHandler[Any]):
    """Write to what ``sys.stderr`` is now: a progress bar puts itself in its place.

    On a terminal a line of progress stands in the place of the last one.
    """

    _over = False  #: the cursor is at the end of such a line

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # setStream would flush the last one, which may be closed
        kind = getattr(record, "progress", "")
        try:
            if kind and self.stream.isatty():
                columns = os.get_terminal_size(2).columns or 80
                line = self.format(record)[: columns - 1]
                self.stream.write(f"\r\x1b[K{line}" + ("\n" if kind == "last" else ""))
                self.stream.flush()
                self._over = kind != "last"
                return
            if self._over:
                self.stream.write("\r\x1b[K")
                self._over = False
        except (OSError, ValueError):
            return
        super().emit(record)


class _Sparse(logging.Filter):
    """Let a line of progress through now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "progress", "last") == "last":
            return True
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _SPARSE
        return True


def send_messages(arguments: argparse.Namespace) -> None:
    """Send the messages of the library where the options say."""
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
        file.addFilter(_Sparse())
        root.addHandler(file)
        screen.setLevel(logging.WARNING if arguments.quiet else logging.NOTSET)
    root.setLevel(logging.WARNING if arguments.quiet and not arguments.log_file else level)


def stop_on_signals() -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C: between tasks, or soon in the midst of one.

    Every file is complete or under a temporary name, so work may be abandoned anywhere. The
    second signal abandons it at once. A thread sees to that, since the main thread may be deep
    in a library when a signal comes, and hears of it only when that returns.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, _: Any) -> None:
        raise KeyboardInterrupt(number)

    for number in STATUS:
        before = signal.signal(number, stop)
        if number == signal.SIGHUP and before == signal.SIG_IGN:
            signal.signal(number, before)  # begun with nohup: it outlives its terminal
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    _pipes.append(write)
    if len(_pipes) > 1:
        os.close(_pipes.pop(0))  # of a former call in this process: its thread ends
    threading.Thread(target=_watch, args=(read,), name="signals", daemon=True).start()


def _watch(pipe: int) -> None:
    """Abandon the work at the second signal, or some seconds after the first."""
    seen: list[int] = []
    end: float | None = None
    while True:
        left = None if end is None else max(end - time.monotonic(), 0.0)
        if select.select([pipe], [], [], left)[0]:
            numbers = os.read(pipe, 64)
            if not numbers:
                os.close(pipe)
                return
            seen += [number for number in numbers if number in STATUS]
        if seen and end is None:
            end = time.monotonic() + _GRACE
        if len(seen) > 1 or (end is not None and time.monotonic() >= end):
            _abandon(STATUS[signal.Signals(seen[0])])


def _abandon(status: int) -> None:
    from hmavel.atomic import discard_live

    try:
        discard_live()
        say("hmavel: abandoned the work in hand; the same command resumes")
    finally:
        os._exit(status)


def say(text: str) -> None:
    """Print an error; the terminal may be gone, or its disk full."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
