"""Simulated residuals over bare ground of a network of pairs, errors of both kinds known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

DAY = np.timedelta64(86_400_000, "ms")


@dataclass(frozen=True)
class Ground:
    """Displacement (p, n), metres, NaN = not matched; each pair's median is taken off."""

    x: np.ndarray
    y: np.ndarray
    start: np.ndarray
    end: np.ndarray
    times: np.ndarray


def network(
    seed: int,
    *,
    scenes: int = 30,
    side: int = 38,
    match: float = 1.8,
    scene: float = 1.05,
    false: float = 0.05,
    missing: float = 0.3,
    smooth: float = 0.0,
    successors: int = 3,
    bad_place: int | None = None,
    bad_matches: tuple[int, ...] = (),
) -> Ground:
    """Draw a network in which every scene is matched with the next ``successors``.

    Parameters
    ----------
    match, scene
        1 sigma, metres, of each match and of each scene's place, smooth over ``smooth`` cells.
    false, missing
        Shares of false matches (even within 60 m) and of cells not matched.
    bad_place
        A scene whose place errs by four times as much.
    bad_matches
        Scenes all of whose matches have 8 m of noise more.
    """
    rng = np.random.default_rng(seed)
    revisits = np.sort(rng.choice(4 * scenes, scenes, replace=False))
    times = np.datetime64("2020-01-01T05:12:00.125") + 16 * revisits * DAY
    pairs = [(i, i + k) for i in range(scenes) for k in range(1, successors + 1)]
    early, late = np.array([p for p in pairs if p[1] < scenes]).T
    n = side * side

    def field(count: int) -> np.ndarray:
        f = rng.normal(size=(count, 2, side, side))
        if smooth:
            f = ndimage.gaussian_filter(f, (0, 0, smooth, smooth))
            f /= f.std()
        return f.reshape(count, 2, n)

    sigma = np.full(scenes, scene)
    if bad_place is not None:
        sigma[bad_place] *= 4
    place = field(scenes) * sigma[:, None, None]
    r = place[late] - place[early] + match * field(len(early))
    hit = np.isin(early, bad_matches) | np.isin(late, bad_matches)
    r[hit] += rng.normal(0, 8, r[hit].shape)
    wrong = rng.random((len(early), n)) < false
    for k in (0, 1):
        r[:, k][wrong] = rng.uniform(-60, 60, wrong.sum())
    lost = rng.random((len(early), 1, n)) < missing
    r[np.broadcast_to(lost, r.shape)] = np.nan
    r -= np.nanmedian(r, axis=2, keepdims=True)
    return Ground(r[:, 0], r[:, 1], times[early], times[late], times)
