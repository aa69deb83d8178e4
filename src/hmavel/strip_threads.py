"""Calls of the kernels, side by side in threads: they release the GIL."""

from __future__ import annotations

import itertools
from concurrent.futures import Future, ThreadPoolExecutor
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


def pipeline(stages: Sequence[Callable[[int], None]], count: int, threads: int) -> None:
    """Take every strip through all stages; each waits for the one before in the next strips."""
    if threads == 1:
        for k in range(count + len(stages) - 1):
            for lag, stage in enumerate(stages):
                if 0 <= k - lag < count:
                    stage(k - lag)
        return
    done: list[list[Future[None]]] = [[] for _ in stages]

    def after_neighbours(s: int, k: int) -> None:
        for each in done[s - 1][max(k - 1, 0) : k + 2] if s else ():
            each.result()
        stages[s](k)

    # First come, first served: what a strip waits for has begun before it, so none waits
    # for one that is still in the queue. Following some strips behind, it rarely waits.
    with ThreadPoolExecutor(threads) as pool:
        try:
            for k in range(count + threads * (len(stages) - 1)):
                for s in range(len(stages)):
                    if 0 <= k - s * threads < count:
                        done[s].append(pool.submit(after_neighbours, s, k - s * threads))
            for each in done[-1]:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
