"""Windows that hold two motions, of which a node has matched one that may not be its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hmavel import _kernels
from hmavel._types import Quality
from hmavel.strip_threads import in_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmavel._types import BoolArray

#: A node this far from the mean of two opposite neighbours may look at two motions, px.
_BEND = 0.75

#: Windows of 16 px see too little to confirm those of 32: gross errors of a margin pass them.
_LEAST_HALF = 32

#: A window of half the side that agrees to this confirms a match, px.
_CONFIRMED = 0.5

#: Matches closer than this are not told apart by one window, px.
_APART = 2.5

#: Rows of coherence and evidence among the kernel's results.
_COHERENCE, _EVIDENCE = 5, 6


class Look(Protocol):
    """Measures nodes (i, j) from guesses (2, n) with other options: results and qualities."""

    def __call__(  # noqa: D102
        self,
        changes: dict[str, Any],
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        guess: NDArray[np.float32],
        *,
        told: bool = True,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]: ...


def refuse_shared(
    out: NDArray[np.float32],
    quality: NDArray[np.uint8],
    options: dict[str, Any],
    look: Look,
    threads: int,
) -> None:
    """Refuse nodes whose window holds two motions, their own and a neighbour's.

    Where the flow changes within less than a window, a window in the middle of the change
    shows both sides and matches one of them, for a node that moves with neither. Nothing in
    its own match tells; how well the other one fits the same window does.
    """
    moved = np.where(quality == Quality.GOOD, out[:2], np.float32(np.nan))
    guess = np.empty_like(moved)
    in_threads(
        lambda i, j: _kernels.bend(moved[0], moved[1], _BEND, guess[0], guess[1], i, j),
        quality.shape[0],
        threads,
    )
    i, j = np.nonzero(np.isfinite(guess[0]))
    if not i.size:
        return
    # One pass where the neighbour's match would be; its evidence, whether enough or not.
    once = {"coarse": 0, "rewindow": 1, "known_evidence": -np.inf, "min_evidence": -np.inf}
    other, why = look(once, i, j, guess[:, i, j])
    shared = (
        (why == Quality.GOOD)
        & (np.hypot(*(guess - out[:2])) > _APART)
        & (np.hypot(*(other[:2] - guess)) < _BEND)
        & (other[_EVIDENCE] > options["max_shared"] * out[_EVIDENCE])
    )
    cosine = np.where(quality == Quality.GOOD, 2 * out[_COHERENCE] - 1, np.float32(np.nan))
    usual = _upper_quartile_around(cosine, i, j)
    shared[i, j] |= cosine[i, j] < options["min_share"] * usual
    _keep_what_halves_confirm(shared, out, int(options["fine"]) // 2, look)
    out[:2, shared] = np.nan
    quality[shared] = Quality.AMBIGUOUS


def _keep_what_halves_confirm(
    shared: BoolArray, out: NDArray[np.float32], fine: int, look: Look
) -> None:
    """Take nodes out of ``shared`` that windows of half the side measure alike."""
    i, j = np.nonzero(shared)
    if fine < _LEAST_HALF or fine % 2 or not i.size:
        return
    inner = {"coarse": 0, "fine": fine, "guess_evidence": -np.inf}
    half, why = look(inner, i, j, out[:2, i, j], told=False)
    apart = np.hypot(*(half[:2] - out[:2]))
    shared &= ~((why == Quality.GOOD) & (apart < _CONFIRMED))


def _upper_quartile_around(
    field: NDArray[np.float32], i: NDArray[np.intp], j: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Upper quartile of the 5 x 5 nodes around each node (i, j), NaN left out."""
    wide = np.pad(field, 2, constant_values=np.nan)
    near = np.stack([wide[i + di, j + dj] for di in range(5) for dj in range(5)])
    near.sort(axis=0)  # NaN last; nanpercentile would go through Python node by node
    at = 0.75 * np.maximum(np.isfinite(near).sum(axis=0) - 1, 0)
    low = at.astype(np.intp)
    below, above = (
        np.take_along_axis(near, k[None], axis=0)[0] for k in (low, np.minimum(low + 1, 24))
    )
    part = (at - low).astype(np.float32)
    quartile: NDArray[np.float32] = np.where(part > 0, below + part * (above - below), below)
    return quartile
