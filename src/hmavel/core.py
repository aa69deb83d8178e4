"""Centre and width of the core of a scatter, fast: what fits and clippings are based on.

``static_terrain`` measures the same with an interval and twenty times the work; here the
answer is a starting point or one of hundreds.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmavel import _kernels
from hmavel.sampling import drawn

Array = NDArray[np.float64]

#: Consistency factor of the median absolute deviation for a Gaussian.
NMAD = 1.482602218505602
#: Radius of the disc that is the core, and the ring that shows the false matches, in sigmas.
DISC, RING = 2.5, (4.0, 6.0)
#: Points that are enough: the width of so many is known to 1.5 %.
ENOUGH = 4096
_ROUNDS = 30
#: Areas of disc and ring in square sigmas, and the share of a Gaussian that the disc holds.
_AREA, _RING_AREA = np.pi * DISC**2, np.pi * (RING[1] ** 2 - RING[0] ** 2)
_WITHIN = float(1.0 - np.exp(-(DISC**2) / 2))


@dataclass(frozen=True)
class Core:
    """Where most of a two-dimensional scatter lies; units of the input."""

    centre: Array  #: (2,)
    sigma: Array  #: (2,) 1 sigma; 0 where half of the values or more are one and the same
    share: float  #: of the points that belong to it, by the disc's content


def core_scatter(x: ArrayLike, y: ArrayLike) -> Core:
    """Measure the core of a scatter, without what lies evenly below and around it.

    Parameters
    ----------
    x, y
        Finite values, 1-D, at least one.

    Returns
    -------
    Core

    Notes
    -----
    The points within ``DISC`` sigmas of the centre have a second moment that grows with the
    true sigma; it is solved for sigma, and the disc is drawn anew until both rest. The
    density in the ring outside is that of false matches and is taken off the disc's sums, so
    40 % of them do not widen the answer. With more than ``ENOUGH`` points a fixed sample of
    them is used. Measured in ``tests/test_core.py``.
    """
    p = np.stack([np.ravel(x), np.ravel(y)]).astype(np.float64)
    if p.shape[1] > ENOUGH:
        p = p.take(drawn(p.shape[1], ENOUGH), axis=1)
    c0, c1 = (_median(row) for row in p)
    s0, s1 = (NMAD * _median(np.abs(row - c)) for row, c in zip(p, (c0, c1), strict=True))
    if not (s0 and s1):
        return Core(np.array([c0, c1]), np.array([s0, s1]), 1.0)
    count = p.shape[1]
    share = 1.0
    # Of some hundred points NumPy takes longer to begin than to add: the sums are a kernel.
    for _ in range(_ROUNDS):
        members, ring, d0, d1, q0, q1 = _kernels.core_sums(p, c0, c1, s0, s1, DISC, *RING)
        floor = ring / _RING_AREA
        mass = members - floor * _AREA
        if mass < 0.2 * members or members < 5:
            s0, s1 = s0 * 0.7, s1 * 0.7  # no core: the scale is that of the tails
            continue
        d0, d1 = d0 / mass, d1 / mass
        even = floor * _AREA * DISC**2 / 4
        f0 = _sigma_of((q0 - even) / mass - d0 * d0)
        f1 = _sigma_of((q1 - even) / mass - d1 * d1)
        c0, c1 = c0 + s0 * d0, c1 + s1 * d1
        s0, s1 = s0 * f0, s1 * f1
        share = mass / count / _WITHIN
        if max(abs(f0 - 1), abs(f1 - 1), abs(d0), abs(d1)) < 1e-3:
            break
    # few points judge their own spread a little too well: measured, 1.2 % at 300
    more = 1.0 + 3.0 / (share * count)
    return Core(np.array([c0, c1]), np.array([s0 * more, s1 * more]), float(min(share, 1.0)))


def _median(values: Array) -> float:
    """Return the median of finite values: ``np.median`` without its checks."""
    half, odd = divmod(len(values), 2)
    if odd:
        return float(np.partition(values, half)[half]) + 0.0  # never -0
    below, above = np.partition(values, (half - 1, half))[half - 1 : half + 1]
    return float((below + above) / 2) + 0.0


def _sigma_of(moment: float) -> float:
    """Return sigma in units of the disc's own: ``np.interp`` for one value."""
    i = bisect_right(_MOMENTS, moment)
    if i == 0:
        return _SIGMAS[0]
    if i == len(_MOMENTS):
        return _SIGMAS[-1]
    slope = (_SIGMAS[i] - _SIGMAS[i - 1]) / (_MOMENTS[i] - _MOMENTS[i - 1])
    return slope * (moment - _MOMENTS[i - 1]) + _SIGMAS[i - 1]


def clipped_variance(limit: Any) -> Any:
    """Variance per axis of a round Gaussian of sigma 1 of which only r < ``limit`` is kept."""
    half = np.square(limit) / 2
    return 1.0 - half * np.exp(-half) / -np.expm1(-half)


# Second moment inside the disc as a function of sigma, in the unit of the disc's own sigma.
# It levels off at DISC^2 / 4, that of an even scatter; from 2 on only the direction counts.
_SIGMA = np.linspace(0.2, 2.0, 181)
_MOMENT = _SIGMA**2 * clipped_variance(DISC / _SIGMA)
_SIGMAS: list[float] = _SIGMA.tolist()
_MOMENTS: list[float] = _MOMENT.tolist()
