"""Calls of the kernels, side by side in threads: they release the GIL."""

from __future__ import annotations

import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: What the statuses of the kernels mean, and what to try.
STATUS = (
    "",
    "expected memory for the windows, got none; use fewer threads or smaller windows",
    "expected windows that are even and 8 to 256 px, got another",
    "expected options within their ranges, got one outside",
    "expected FFTW, got none; reinstall pyfftw",
    "expected FFTW to plan this window, got a refusal; use a window of 16, 32 or 64 px",
    "expected every window inside the padded images, got one outside; this is a defect",
)


def in_threads(work: Callable[[int, int], int], count: int, threads: int) -> None:
    """Run ``work`` over ranges of rows; the kernel releases the GIL."""
    pieces = max(1, min(threads * 4, count)) if threads > 1 else 1
    edges = np.linspace(0, count, pieces + 1).astype(int).tolist()
    ranges = list(itertools.pairwise(edges))
    if threads == 1:
        statuses = [work(*each) for each in ranges]
    else:
        with ThreadPoolExecutor(threads) as pool:
            statuses = list(pool.map(lambda each: work(*each), ranges))
    for status in statuses:
        check(status)


def check(status: int) -> None:
    """Raise what a status says, unless it is 0."""
    if status:
        raise RuntimeError(f"correlate kernel: {STATUS[status]}")


def pipeline(
    stages: Sequence[Callable[[int], None]],
    last: Callable[[int], Sequence[Callable[[], None]]],
    count: int,
    threads: int,
) -> None:
    """Take every strip through all stages; each waits for the one before in the next strips.

    ``last`` names what the last stage does with a strip, in pieces that need nothing of each
    other: at the end no thread is left with a whole strip while others have nothing to do.
    """
    if threads == 1:
        for k in range(count + len(stages)):
            for lag, stage in enumerate(stages):
                if 0 <= k - lag < count:
                    stage(k - lag)
            if k >= len(stages):
                for piece in last(k - len(stages)):
                    piece()
        return
    done: list[list[Future[None]]] = [[] for _ in stages]

    def after_neighbours(s: int, k: int, work: Callable[[], None]) -> None:
        for each in done[s - 1][max(k - 1, 0) : k + 2] if s else ():
            each.result()
        work()

    # First come, first served: what a strip waits for has begun before it, so none waits
    # for one that is still in the queue. Following some strips behind, it rarely waits.
    with ThreadPoolExecutor(threads) as pool:
        pieces = []
        try:
            for begun in range(count + threads * len(stages)):
                for s, stage in enumerate(stages):
                    k = begun - s * threads
                    if 0 <= k < count:
                        done[s].append(pool.submit(after_neighbours, s, k, partial(stage, k)))
                k = begun - threads * len(stages)
                if 0 <= k < count:
                    pieces += [
                        pool.submit(after_neighbours, len(stages), k, piece)
                        for piece in last(k)
                    ]
            for each in (*itertools.chain(*done), *pieces):
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
