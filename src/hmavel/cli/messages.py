"""Messages to the screen and to a file, and what a signal does."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from hmavel.cli.ending import INTERRUPTED, TERMINATED, WRONG_USAGE

if TYPE_CHECKING:
    import argparse

#: Seconds that the work in hand has to end after SIGTERM or Ctrl-C; then it is abandoned.
_GRACE = 6.0


class _ToStderr(logging.StreamHandler[Any]):
    """Write to what ``sys.stderr`` is now: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr  # setStream would flush the last one, which may be closed
        super().emit(record)


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
        root.addHandler(file)
        screen.setLevel(logging.WARNING if arguments.quiet else logging.NOTSET)
    root.setLevel(logging.WARNING if arguments.quiet and not arguments.log_file else level)


def stop_on_signals() -> None:
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
