"""Which nodes of a lattice are measured first, and what they tell the nodes between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmavel._types import BoolArray


def levels(where: BoolArray, leading: list[int]) -> list[BoolArray]:
    """Share the nodes of ``where`` out: lattices of those spacings, then the others."""
    levels = []
    left = where.copy()
    for apart in leading:
        lattice = np.zeros_like(where)
        lattice[every(apart), every(apart)] = True
        levels.append(left & lattice)
        left &= ~lattice
    return [*levels, left]


def every(apart: int) -> slice:
    """Return the places of a lattice with that spacing."""
    return slice(apart // 2, None, apart)


#: Seeds that differ by more than this do not lead the nodes between them, px.
AGREE = 2.0


def between_seeds(
    d: NDArray[np.float32], apart: int, rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Interpolate the seeds' displacement (2, rows, cols) to where rows and columns cross.

    NaN where the seeds disagree.
    """
    seeds = d[:, every(apart), every(apart)]
    if not seeds.size:
        return np.full((2, rows.size, cols.size), np.nan, np.float32)
    near: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]] = []
    for nodes, count in zip((rows, cols), seeds.shape[1:], strict=True):
        at = (nodes - apart // 2) / apart
        low = np.clip(np.floor(at).astype(int), 0, count - 1)
        high = np.minimum(low + 1, count - 1)
        near.append((low, high, np.clip(at - low, 0, 1).astype(np.float32)))
    (r0, r1, fr), (c0, c1, fc) = near
    first, last = (int(r0[0]), int(r1[-1])) if r0.size else (0, 0)
    seeds, r0, r1 = seeds[:, first : last + 1], r0 - first, r1 - first
    along = (1 - fc) * seeds[:, :, c0] + fc * seeds[:, :, c1]
    fr = fr[:, None]
    guess: NDArray[np.float32] = (1 - fr) * along[:, r0] + fr * along[:, r1]
    apart_too_far = _cells_that_disagree(seeds)
    if apart_too_far.any():
        guess[:, apart_too_far[r0[:, None], c0]] = np.nan
    return guess


def _cells_that_disagree(seeds: NDArray[np.float32]) -> BoolArray:
    """Return, for the cell below and to the right of each seed, whether its corners differ."""
    wide = np.pad(seeds, ((0, 0), (0, 1), (0, 1)), mode="edge")
    corners = wide[:, :-1, :-1], wide[:, :-1, 1:], wide[:, 1:, :-1], wide[:, 1:, 1:]
    spread = np.maximum.reduce(corners) - np.minimum.reduce(corners)
    return np.asarray(np.any(~(spread <= AGREE), axis=0))


def within(where: BoolArray, apart: int) -> BoolArray:
    """Return the nodes of which one of ``where`` is at most ``apart`` away."""
    if where.all():
        return where
    from scipy import ndimage  # a quarter of a second, which whole pairs do not need

    return np.asarray(ndimage.maximum_filter(where, 2 * apart + 1))
