"""What of a pair's error belongs to its match, and what to its two scenes.

Pairs that share a scene share what is wrong with its place on the ground: terrain seen from
another orbit, the sensor's own unrest, light and noise in the image. Over ground that does
not move this shows as a covariance between pairs. The months need the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmavel._types import BoolArray, FloatArray, TimeArray
from hmavel.core import NMAD, clipped_variance, core_scatter
from hmavel.errors import StableGroundError
from hmavel.network import PairNetwork, pair_network
from hmavel.sampling import drawn

Array = NDArray[np.float64]

#: Cells of bare ground that a pair, and two pairs in common, must have.
LEAST_CELLS = 50
#: Scenes in two pairs or more that it takes.
LEAST_SCENES = 5
#: Cells looked at, at most; more make no answer better, as neighbours repeat each other.
MOST_CELLS = 4000
#: Residuals beyond this many sigmas of their pair are false matches. A map of a dozen
#: independent errors has tails of its own: at 3.5 it lost 2 to 4 % of the scenes' sigma.
CLIP = 4.0
#: How much the width that is clipped by may differ from that of the core.
_NEAR_CORE = 2.0
#: Rounds of clipping.
_ROUNDS = 4
#: A scene stands out by this many robust deviations from the others, and this factor.
STANDS_OUT, BY_FACTOR = 5.0, 2.0
#: Least share of a pair's variance that is left to the match alone on ice.
_LEAST_MATCH = 0.1


@dataclass(frozen=True)
class ErrorComponents:
    """Errors of a network of pairs over bare ground, 1 sigma in metres, (x, y)."""

    match_sigma: Array  #: (2,) of a match, shared with no other pair; the typical pair's
    match_sigma_se: Array  #: (2,) its standard error
    scene_sigma: Array  #: (2,) of a scene, shared by all its pairs; the typical scene's
    scene_sigma_se: Array  #: (2,)
    pair_sigma: Array  #: (p, 2) all of it together, NaN = too little ground
    pair_match_sigma: Array  #: (p, 2) without the two scenes' part, NaN = not known
    scenes: TimeArray  #: (s,) times
    each_scene_sigma: Array  #: (s, 2) NaN = in fewer than two pairs with common ground
    suspects: BoolArray  #: (s,) scenes whose own error stands out from the others'
    cells: int  #: cells of bare ground used
    combinations: int  #: of two pairs that share one scene

    @property
    def scene_share(self) -> float:
        """Part of a typical pair's variance that its scenes share with other pairs."""
        scene = 2.0 * float((self.scene_sigma**2).sum())
        return scene / max(scene + float((self.match_sigma**2).sum()), 1e-30)


def separate_errors(
    x: ArrayLike,
    y: ArrayLike,
    start: ArrayLike,
    end: ArrayLike,
    *,
    redundancy: float = 1.0,
) -> ErrorComponents:
    """Estimate the errors of matches and of scenes from pairs over bare ground.

    Parameters
    ----------
    x, y
        Displacement over ground that does not move, its bias removed, metres; (p, n): a row
        for each pair, a column for each cell. NaN = not matched, or not bare in this pair.
    start, end
        (p,) datetime64 of the scenes; a scene is identified by its time.
    redundancy
        Neighbouring cells that repeat one independent measurement where all are measured
        (``Bias.redundancy``): taking off each pair's mean takes that share off the variance,
        which is made up for.

    Returns
    -------
    ErrorComponents

    Raises
    ------
    StableGroundError
        Fewer than ``LEAST_SCENES`` scenes have two pairs with common bare ground.
    ValueError
        Shapes that do not fit, or dates that are no dates.

    Notes
    -----
    With u_s the error of scene s and e_i that of a match, pair i shows r_i = u_late - u_early
    + e_i. Two pairs that share one scene have the covariance +var(u) (both begin, or both end
    in it) or -var(u), whatever the matches do. The mean over all such combinations of a
    scene is its own variance; the typical scene's is the mean without those that stand out.
    What is left of var(r_i) is the match's. False matches are cut off at ``CLIP`` core sigmas
    of their pair and what that cuts from a Gaussian is made up for. An error that all cells
    of a scene share is not seen here: the bias correction has taken it off. Within 10 % on
    simulated networks of 30 scenes (``tests/test_shared_error.py``).
    """
    r = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)])
    network = pair_network(start, end)
    if r.ndim != 3 or r.shape[1] != len(network.member):
        raise ValueError(
            f"uncertainty separate_errors: expected x and y of shape ({len(network.member)}, "
            f"cells), got {r.shape[1:]}; give one row per pair"
        )
    if r.shape[2] > MOST_CELLS:
        r = r[:, :, np.sort(drawn(r.shape[2], MOST_CELLS))]
    kept = _clip(r)
    scale = clipped_variance(CLIP)
    count = kept.sum(axis=1)
    centred = _without_mean(count, redundancy, int(kept.any(axis=0).sum()))
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.stack([(component**2).sum(axis=1) for component in r])
        total = square / count / (scale * centred)
        total[:, count < LEAST_CELLS] = np.nan
    early, late = network.early[network.member], network.late[network.member]
    # either of two clippings takes its share of a small covariance
    r /= scale * np.sqrt(centred)[:, None]
    variance, weight, combinations = _scene_variance(r, kept, network)
    known: BoolArray = np.asarray(np.isfinite(variance).all(axis=1))
    if known.sum() < LEAST_SCENES:
        raise StableGroundError(
            "uncertainty", "separate_errors",
            expected=f"{LEAST_SCENES} scenes with two pairs over common bare ground",
            got=str(int(known.sum())),
            hint="use more pairs per scene, or a wider margin around the glacier",
        )  # fmt: skip
    typical, spread, ordinary = _robust_mean(variance, weight)
    se = spread / np.sqrt(max(int(ordinary.sum()), 1))
    with np.errstate(invalid="ignore"):
        far = (variance > typical + STANDS_OUT * spread) & (variance > BY_FACTOR**2 * typical)
    scene_sigma = np.sqrt(np.maximum(typical, 0.0))
    both = np.where(known[:, None], variance, typical)
    match = total.T - both[early] - both[late]
    of_match, match_spread, used = _robust_mean(match, np.ones(len(match)))
    match_se = np.hypot(match_spread / np.sqrt(max(int(used.sum()), 1)), 2 * se)
    match_sigma = np.sqrt(np.maximum(of_match, 0.0))
    return ErrorComponents(
        match_sigma=match_sigma,
        match_sigma_se=match_se / (2 * np.maximum(match_sigma, 1e-12)),
        scene_sigma=scene_sigma,
        scene_sigma_se=se / (2 * np.maximum(scene_sigma, np.sqrt(np.maximum(se, 1e-24)))),
        pair_sigma=np.sqrt(total.T),
        pair_match_sigma=np.sqrt(np.maximum(match, 0.0)),
        scenes=network.scenes,
        each_scene_sigma=np.sqrt(np.maximum(variance, 0.0)),
        suspects=np.asarray(far.any(axis=1)),
        cells=r.shape[2],
        combinations=combinations,
    )


def scene_sigma_on_ice(scene_sigma: ArrayLike, share: float, sigma: ArrayLike) -> Array:
    """Return the scenes' error for ice whose matches have another sigma than the ground's.

    Parameters
    ----------
    scene_sigma, share
        ``ErrorComponents.scene_sigma`` (metres) and ``.scene_share`` from bare ground.
    sigma
        (2,) typical 1 sigma of the pairs' displacement on the ice, metres, (x, y).

    Returns
    -------
    ndarray
        (2,) metres: the ground's, but never a larger share of the variance than it has there.
        Ice that is matched better than the ground has scenes that err less as well, because
        part of a scene's error is its noise.
    """
    most = np.square(np.asarray(sigma, np.float64)) * share / 2
    return np.asarray(np.minimum(scene_sigma, np.sqrt(most)))


def match_part(sigma: FloatArray, scene_sigma: float, baseline_years: ArrayLike) -> FloatArray:
    """Take the scenes' part off the error of velocities.

    Parameters
    ----------
    sigma
        1 sigma of the pairs' velocities, m/yr, (p, ...): match and scenes together.
    scene_sigma
        Metres.
    baseline_years
        (p,) years.

    Returns
    -------
    ndarray
        1 sigma of the match alone, m/yr; at least a tenth of the variance is left to it.
    """
    years = np.abs(np.asarray(baseline_years, np.float64))
    shared = (2.0 * scene_sigma**2 / years**2).reshape(-1, *(1,) * (sigma.ndim - 1))
    square = np.square(sigma, dtype=np.float64)
    return np.sqrt(np.maximum(square - shared, _LEAST_MATCH * square)).astype(sigma.dtype)


def _without_mean(count: NDArray[np.intp], redundancy: float, cells: int) -> Array:
    """Share of the variance that is left when the mean of ``count`` of ``cells`` is taken off.

    A pair that misses cells has fewer neighbours to repeat what a cell says.
    """
    if not redundancy >= 1.0:
        raise ValueError(
            f"uncertainty separate_errors: expected redundancy >= 1, got {redundancy}; "
            "1 means independent cells"
        )
    repeats = 1.0 + (redundancy - 1.0) * count / max(cells, 1)
    return np.asarray(1.0 - np.minimum(repeats / np.maximum(count, 1), 0.5))


def _clip(r: Array) -> BoolArray:
    """Centre each pair in place; false matches and missing cells become 0, in (p, n) False.

    Pairs with too little ground are emptied.
    """
    kept: BoolArray = np.asarray(np.isfinite(r).all(axis=0))
    scale = float(clipped_variance(CLIP))
    for i in range(r.shape[1]):
        where = np.flatnonzero(kept[i])
        values = r[:, i, where]
        kept[i], r[:, i] = False, 0.0
        if len(where) < LEAST_CELLS:
            continue
        core = core_scatter(values[0], values[1])
        if not core.sigma.all():  # the same value everywhere: no scatter to share
            continue
        centre, sigma = core.centre[:, None], core.sigma[:, None]
        # the core of a few independent errors is narrower or wider than they are: the width
        # of what is kept is the better one to clip by, unless it runs away
        for _ in range(_ROUNDS):
            near = (((values - centre) / sigma) ** 2).sum(axis=0) < CLIP**2
            inside = values[:, near]
            centre = inside.mean(axis=1, keepdims=True)
            rest = inside - centre
            width = np.sqrt(np.square(rest).mean(axis=1, keepdims=True)) / np.sqrt(scale)
            sigma = np.clip(
                width, core.sigma[:, None] / _NEAR_CORE, core.sigma[:, None] * _NEAR_CORE
            )
        kept[i, where[near]] = True
        r[:, i, where[near]] = rest
    return kept


def _scene_variance(
    r: Array, kept: BoolArray, network: PairNetwork
) -> tuple[Array, Array, int]:
    """Return each scene's variance (s, 2), its weight (s,), and the combinations used."""
    early, late = network.early[network.member], network.late[network.member]
    variance = np.full((len(network.scenes), 2), np.nan)
    weight = np.zeros(len(network.scenes))
    used = 0
    mask = kept.astype(np.float64)
    for s in range(len(network.scenes)):
        pairs = np.flatnonzero(((early == s) | (late == s)) & kept.any(axis=1))
        if len(pairs) < 2:
            continue
        sign = np.where(late[pairs] == s, 1.0, -1.0)
        other = np.where(late[pairs] == s, early[pairs], late[pairs])
        common = mask[pairs] @ mask[pairs].T
        # two matches of one and the same pair share more than this scene
        ok = (common >= LEAST_CELLS) & (other[:, None] != other[None, :])
        if not ok.any():
            continue
        for axis in (0, 1):
            signed = r[axis, pairs] * sign[:, None]
            variance[s, axis] = (signed @ signed.T)[ok].sum() / common[ok].sum()
        weight[s] = ok.sum() / 2
        used += int(ok.sum()) // 2
    return variance, weight, used


def _robust_mean(values: Array, weight: Array) -> tuple[Array, Array, BoolArray]:
    """Mean (2,) over the rows that do not stand out, their spread (2,), and which they are."""
    known: BoolArray = np.asarray(np.isfinite(values).all(axis=1))
    if not known.any():
        return np.full(2, np.nan), np.full(2, np.nan), known
    v = values[known]
    middle = np.median(v, axis=0)
    spread = NMAD * np.median(np.abs(v - middle), axis=0)
    used = known.copy()
    used[known] = (np.abs(v - middle) <= 4.0 * spread + 1e-12 * np.abs(middle)).all(axis=1)
    if used.sum() < 3:
        return middle, spread, known
    mean = np.average(values[used], axis=0, weights=weight[used])
    return mean, values[used].std(axis=0, ddof=1), used
