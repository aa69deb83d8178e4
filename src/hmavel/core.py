"""Centre and width of the core of a scatter, fast: what fits and clippings are based on.

``static_terrain`` measures the same with an interval and twenty times the work; here the
answer is a starting point or one of hundreds.
"""

from __future__ import annotations

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
#: Share of a Gaussian that the disc holds.
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
    c0, c1, s0, s1, share = _kernels.core(
        p, np.empty(p.shape[1]), DISC, *RING, NMAD, _WITHIN, _MOMENT, _SIGMA
    )
    return Core(np.array([c0, c1]), np.array([s0, s1]), share)


def middle(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the median of finite values, at least one, and their median distance to it."""
    return _kernels.middle(np.ascontiguousarray(values, np.float64), np.empty(len(values)))


def clipped_variance(limit: Any) -> Any:
    """Variance per axis of a round Gaussian of sigma 1 of which only r < ``limit`` is kept."""
    half = np.square(limit) / 2
    return 1.0 - half * np.exp(-half) / -np.expm1(-half)


# Second moment inside the disc as a function of sigma, in the unit of the disc's own sigma.
# It levels off at DISC^2 / 4, that of an even scatter; from 2 on only the direction counts.
_SIGMA = np.linspace(0.2, 2.0, 181)
_MOMENT = _SIGMA**2 * clipped_variance(DISC / _SIGMA)
