"""Which glaciers are worked on side by side, with how many threads and how much memory each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hmavel import memory

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel.config import Config
    from hmavel.outcome import GlacierPlan

#: First and last time of a set of pairs.
Span = tuple[np.datetime64, np.datetime64]

#: Arrays of a glacier's pairs that are in memory at one time while its months are made: four
#: of them as read, and what the inversion of a block needs beside them.
_MONTH_COPIES = 12
#: Bytes of a pixel of one scene, and of a pair while it is matched.
_SCENE_PIXEL, _PAIR_PIXEL = 4, 8


@dataclass(frozen=True)
class GlacierTask:
    """All that a worker needs to take one glacier from its pairs to its months."""

    glacier: GlacierPlan
    config: Config
    folder: Path  #: of the run's output
    span: Span | None  #: of all pairs of all glaciers
    threads: int
    scene_bytes: float  #: for the images of its scenes
    journal: Path  #: as ``journal.begin`` returns it


@dataclass(frozen=True)
class Group:
    """Glaciers that fit side by side."""

    share: memory.Share
    glaciers: list[GlacierPlan]


def fixed_bytes(glacier: GlacierPlan, threads: int) -> float:
    """Return the memory that a glacier takes beside the images of its scenes.

    An upper estimate: the libraries, the pair being matched in each thread, and the larger of
    that and the velocities of all its pairs on the ice.
    """
    rows, cols = glacier.site.image.shape
    matching = threads * rows * cols * _PAIR_PIXEL
    months = len(glacier.pairs) * int(glacier.site.ice.sum()) * 4 * _MONTH_COPIES
    return memory.BASE + max(matching, months)


def scene_bytes(glacier: GlacierPlan, share: memory.Share, config: Config) -> float:
    """Return how much of a worker's memory the images of a glacier's scenes may take."""
    rows, cols = glacier.site.image.shape
    least = 3 * rows * cols * _SCENE_PIXEL
    left = share.bytes - fixed_bytes(glacier, share.threads)
    return max(least, min(left, config.run.scene_memory_gb * 1e9))


def groups(
    glaciers: list[GlacierPlan], total: int, jobs: int, *, alone: bool = False
) -> list[Group]:
    """Divide glaciers by the number of workers that memory allows for them.

    Parameters
    ----------
    glaciers
        In any order.
    total
        Bytes for all workers.
    jobs
        Threads that may compute at one time.
    alone
        Each worker is a machine's own business: one group, one thread, ``total`` for each.

    Returns
    -------
    list of Group
        The one with most workers first, the largest glaciers first in each: so none that
        takes long begins when all others are done.
    """
    found: dict[int, list[GlacierPlan]] = {}
    most = max(1, min(jobs, len(glaciers)))
    for glacier in glaciers:
        if alone:
            found.setdefault(1, []).append(glacier)
            continue
        rows, cols = glacier.site.image.shape
        need = int(fixed_bytes(glacier, 1)) + 3 * rows * cols * _SCENE_PIXEL
        found.setdefault(memory.share(total, most, need).workers, []).append(glacier)
    made = []
    for workers, members in sorted(found.items(), reverse=True):
        members.sort(key=lambda g: (-len(g.pairs) * math.prod(g.site.image.shape), g.site.id))
        workers = min(workers, len(members))
        threads = 1 if alone else max(1, jobs // workers)
        share = memory.Share(workers, threads, total // workers)
        made.append(Group(share, members))
    return made
