"""Places in the bare ground that do not stand still, or cannot be matched: clumps of nodes.

Landslides, rock glaciers and creeping debris move as one; at the edge of a growing shadow or
on a lake the matches disagree with each other or are missing altogether.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmavel._types import BoolArray, Displacement, FloatArray
from hmavel.core import core_scatter
from hmavel.medians import median_of_known

Nodes = tuple[NDArray[np.intp], NDArray[np.intp]]

#: How the nodes of a clump behave.
KINDS = ("moving", "unsteady", "unmatched")
#: Residual of a clump's nodes, in widths of the ground's core, taken over 3 x 3 nodes.
FAR = 3.5
#: Length of the mean vector over the mean length above which a clump moves as one.
AS_ONE = 0.7


@dataclass(frozen=True)
class Clump:
    """A connected part of the stable mask that is not like the rest."""

    kind: str  #: "moving" as one, "unsteady" (its nodes disagree) or "unmatched"
    nodes: int
    row: float  #: of its middle, index of the node
    col: float
    drow: float  #: median displacement, px; NaN when unmatched
    dcol: float
    size: float  #: median length, in widths of the ground's core; NaN when unmatched


@dataclass(frozen=True)
class Unsteady:
    """The clumps of a pair's bare ground, the largest first."""

    clumps: tuple[Clump, ...]
    where: BoolArray  #: (rows, cols) nodes in any of them
    share: float  #: of the stable nodes


def find_unsteady(
    d: Displacement, stable: BoolArray, *, least: int = 12, window_nodes: float = 4.0
) -> Unsteady:
    """Find the clumps of stable ground that move, scatter or have no match.

    Parameters
    ----------
    d
        Displacement without its bias, px.
    stable
        Ground taken to stand still, (rows, cols).
    least
        Nodes of a clump; a single false match shows at up to a window's worth of nodes.
    window_nodes
        Side of the fine window in nodes: what moves as one over less than half of that again
        as many nodes is one false match.

    Returns
    -------
    Unsteady
        Without a core to compare with (fewer than 30 matched nodes, or values without
        scatter) only clumps without match are told.

    Notes
    -----
    A node is far when the median of its stable neighbours (3 x 3) is ``FAR`` core widths from
    the ground's centre, and it is itself half as far; neighbours share most of
    their window, so pure noise seldom makes a clump of it (``tests/test_unsteady.py``).
    """
    least = max(least, int(np.ceil(1.5 * window_nodes)))
    good = stable & d.good & np.isfinite(d.drow) & np.isfinite(d.dcol)
    found: list[Clump] = []
    where = np.zeros(stable.shape, bool)
    core = core_scatter(d.drow[good], d.dcol[good]) if good.sum() >= 30 else None
    if core is not None and core.sigma.all():
        z = np.stack([d.drow - core.centre[0], d.dcol - core.centre[1]])
        z = np.where(good, z / core.sigma[:, None, None], np.nan)
        far = _local_median_above(np.hypot(*z), FAR)
        for nodes in _clumps(far, least):
            mean = np.nanmean(z[:, *nodes], axis=1)
            length = float(np.nanmean(np.hypot(*z[:, *nodes])))
            as_one = float(np.hypot(*mean)) / length > AS_ONE
            where[nodes] = True
            found.append(_clump("moving" if as_one else "unsteady", nodes, d, z))
    for nodes in _clumps(stable & ~d.good, least):
        where[nodes] = True
        found.append(_clump("unmatched", nodes, d, None))
    found.sort(key=lambda clump: -clump.nodes)
    share = float(where.sum()) / max(int(stable.sum()), 1)
    return Unsteady(tuple(found), where, share)


def _clump(kind: str, nodes: Nodes, d: Displacement, z: FloatArray | None) -> Clump:
    row, col = nodes
    nan = float("nan")
    drow, dcol, size = nan, nan, nan
    if z is not None:
        drow, dcol = float(np.median(d.drow[nodes])), float(np.median(d.dcol[nodes]))
        size = float(np.median(np.hypot(*z[:, *nodes])))
    return Clump(kind, len(row), float(row.mean()), float(col.mean()), drow, dcol, size)


def _clumps(mask: BoolArray, least: int) -> list[Nodes]:
    """Return the connected parts (8 neighbours) of at least that many nodes."""
    if np.count_nonzero(mask) < least:
        return []
    from scipy import ndimage  # slow to load, and there may be no bare ground

    label, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    large = np.bincount(label.ravel()) >= least
    large[0] = False  # what is in none
    if not large.any():
        return []
    row, col = np.nonzero(large[label])
    order = np.argsort(label[row, col], kind="stable")
    row, col = row[order], col[order]
    ends = np.flatnonzero(np.diff(label[row, col])) + 1
    return list(zip(np.split(row, ends), np.split(col, ends), strict=True))


def _local_median_above(values: FloatArray, limit: float) -> BoolArray:
    """Tell where the median of 3 x 3 neighbours exceeds a limit, and the value half of it."""
    out = np.zeros(values.shape, bool)
    row, col = np.nonzero(2.0 * values > limit)
    if not row.size:
        return out
    padded = np.pad(values, 1, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))[row, col].reshape(-1, 9)
    out[row, col] = median_of_known(windows, axis=1) > limit
    return out
