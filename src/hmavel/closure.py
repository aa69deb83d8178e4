"""Closure of three scenes: A to B and B to C must add up to A to C.

The scenes' own errors cancel in the sum, so what is left is made by the matches alone: a
check of their stated sigma that needs no truth, and a finder of scenes that match badly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmavel._types import BoolArray, FloatArray, TimeArray
from hmavel.core import core_scatter, middle
from hmavel.network import PairNetwork, pair_network

IntArray = NDArray[np.intp]

#: Cells that a triplet must have in common to be judged.
LEAST_CELLS = 30
#: Triplets that a node must be in for a figure of its own.
LEAST_TRIPLETS = 5
#: A scene is named too when this much more of the cells of its triplets are open.
MORE_OPEN = 0.25
#: A cell of a triplet does not close beyond this many standard deviations.
OPEN = 4.0


@dataclass(frozen=True)
class Closure:
    """How well triplets of scenes close; spreads in units of what the sigmas predict.

    A spread (of the core, both components) of 1 says that the matches' sigmas are true, 2
    that they are half of it. False matches do not widen it: they are in the open share.
    """

    triplets: IntArray  #: (t, 3) indices of the pairs AB, BC, AC
    count: IntArray  #: (t,) cells in which all three were measured
    offset: FloatArray  #: (t, 2) centre of AB + BC - AC, metres, (x, y)
    sigma: FloatArray  #: (t, 2) width of its core over the cells, metres
    spread: FloatArray  #: (t,) spread of AB + BC - AC over its predicted sigma, NaN = too few
    open_share: FloatArray  #: (t,) of the cells that miss by more than ``OPEN`` sigmas
    pair_spread: FloatArray  #: (p,) median over the triplets that a pair is in, NaN = none
    pair_open_share: FloatArray  #: (p,) the same of ``open_share``
    node_spread: FloatArray  #: (n,) spread over all triplets of a cell, NaN = too few
    scenes: TimeArray  #: (s,) times
    scene_spread: FloatArray  #: (s,) median over the triplets that a scene is in, NaN = none
    suspects: BoolArray  #: (s,) scenes whose triplets do not close while the others' do

    @property
    def overall(self) -> float:
        """Median spread of all triplets; NaN without any."""
        return _median(self.spread)


def close_triplets(
    x: ArrayLike,
    y: ArrayLike,
    sigma_x: ArrayLike,
    sigma_y: ArrayLike,
    start: ArrayLike,
    end: ArrayLike,
    *,
    limit: float = 2.0,
) -> Closure:
    """Add up the displacements of every three scenes that all have pairs.

    Parameters
    ----------
    x, y
        Displacement, metres; (p, n): a row for each pair, a column for each cell; NaN = not
        measured.
    sigma_x, sigma_y
        1 sigma of the match alone, metres, without the scenes' part, which cancels.
    start, end
        (p,) datetime64 of the scenes; a scene is identified by its time. A pair that runs
        backwards in time is turned round.
    limit
        A scene is named when its triplets spread this many times as much as those without it,
        or when ``MORE_OPEN`` more of their cells do not close.

    Returns
    -------
    Closure
        Without any triplet all of it is empty or NaN.

    Raises
    ------
    ValueError
        Shapes that do not fit, or dates that are no dates.

    Notes
    -----
    On moving ice the three matches see one place of the map, not one piece of ice: AB + BC -
    AC then also holds the displacement over A to B times the gradient of that over B to C.
    Bare ground has no such part. Suspects are named one at a time, worst first, without the
    triplets of those named before, so that a bad scene does not draw its neighbours with it.
    """
    start, end = np.asarray(start), np.asarray(end)
    network = pair_network(start, end)
    # no copy of what is float32: these are the largest arrays of a glacier's network
    d = [np.asarray(a, np.float32) for a in (x, y)]
    sigma = [np.asarray(a, np.float32) for a in (sigma_x, sigma_y)]
    shapes = {a.shape for a in (*d, *sigma)}
    shape = d[0].shape
    if len(shapes) > 1 or len(shape) != 2 or shape[0] != len(start):
        raise ValueError(
            f"uncertainty close_triplets: expected arrays of shape ({len(start)}, cells), got "
            f"{' and '.join(map(str, sorted(shapes)))}; give one row per pair"
        )
    forward = np.where(start < end, 1.0, -1.0).astype(np.float32)
    triplets = _triplets(network)
    t, (p, n) = len(triplets), shape
    count = np.zeros(t, np.intp)
    figures = np.full((t, 6), np.nan)
    sums, seen = np.zeros(n), np.zeros(n, np.intp)
    for i, (ab, bc, ac) in enumerate(triplets):
        miss = np.stack(
            [forward[ab] * a[ab] + forward[bc] * a[bc] - forward[ac] * a[ac] for a in d]
        )
        z = miss / np.sqrt(
            np.stack([a[ab] ** 2 + a[bc] ** 2 + a[ac] ** 2 for a in sigma])
        )
        where = np.flatnonzero(np.isfinite(z).all(axis=0))
        count[i] = len(where)
        size = np.abs(z[:, where])
        # a mean of capped deviations: one false match among a cell's triplets is one vote
        sums[where] += np.minimum(size, OPEN).mean(axis=0)
        seen[where] += 1
        if len(where) < LEAST_CELLS:
            continue
        core = core_scatter(*miss[:, where])
        relative = float(np.sqrt(np.square(core_scatter(*z[:, where]).sigma).mean()))
        not_closed = float((size > OPEN).any(axis=0).mean())
        figures[i] = (*core.centre, *core.sigma, relative, not_closed)
    spread, open_share = figures[:, 4], figures[:, 5]
    members = [np.flatnonzero((triplets == i).any(axis=1)) for i in range(p)]
    in_scene = _scenes_of(triplets, network)
    node_spread = np.full(n, np.nan)
    enough = seen >= LEAST_TRIPLETS
    node_spread[enough] = sums[enough] / seen[enough] / _MEAN_CAPPED
    return Closure(
        triplets=triplets,
        count=count,
        offset=figures[:, 0:2],
        sigma=figures[:, 2:4],
        spread=spread,
        open_share=open_share,
        pair_spread=np.array([_median(spread[m]) for m in members]),
        pair_open_share=np.array([_median(open_share[m]) for m in members]),
        node_spread=node_spread,
        scenes=network.scenes,
        scene_spread=np.array([_median(spread[m]) for m in in_scene.T]),
        suspects=_suspects(spread, open_share, in_scene, limit),
    )


#: Mean of min(|z|, OPEN) for a standard normal z.
_MEAN_CAPPED = 0.7978674


def _triplets(network: PairNetwork) -> IntArray:
    """Return the triplets (t, 3) as indices of the given pairs; repeated pairs count once."""
    given: dict[tuple[int, int], int] = {}
    for i, m in enumerate(network.member):
        key = (int(network.early[m]), int(network.late[m]))
        given.setdefault(key, i)
    after: dict[int, list[int]] = {}
    for early, late in given:
        after.setdefault(early, []).append(late)
    found = [
        (given[a, b], given[b, c], given[a, c])
        for a, b in sorted(given)
        for c in sorted(after.get(b, ()))
        if (a, c) in given
    ]
    return np.array(found, np.intp).reshape(-1, 3)


def _scenes_of(triplets: IntArray, network: PairNetwork) -> BoolArray:
    """Tell (t, s) which scenes a triplet has."""
    out = np.zeros((len(triplets), len(network.scenes)), bool)
    rows = np.arange(len(triplets))
    ab, bc = network.member[triplets[:, 0]], network.member[triplets[:, 1]]
    for scene in (network.early[ab], network.late[ab], network.late[bc]):
        out[rows, scene] = True
    return out


def _suspects(
    spread: FloatArray, open_share: FloatArray, in_scene: BoolArray, limit: float
) -> BoolArray:
    named = np.zeros(in_scene.shape[1], bool)
    left = np.isfinite(spread)
    while left.any():
        score = np.zeros(len(named))
        for s in np.flatnonzero(~named):
            own, others = left & in_scene[:, s], left & ~in_scene[:, s]
            if own.sum() >= 2 and others.sum() >= 2:
                wider = np.median(spread[own]) / max(float(np.median(spread[others])), 1.0)
                more = np.median(open_share[own]) - np.median(open_share[others])
                score[s] = max(wider / limit, more / MORE_OPEN)
        worst = int(np.argmax(score))
        if score[worst] < 1.0:
            break
        named[worst] = True
        left &= ~in_scene[:, worst]
    return named


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return middle(known)[0] if known.size else float("nan")
