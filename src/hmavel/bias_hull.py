"""How far places lie from the convex outline of bare ground."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Places for which the nearest ground is remembered at most.
_FEW_PLACES = 65_536


class Hull:
    """The convex outline of ground, and some of the ground.

    Most pairs are asked for nothing but the ground itself, which lies within: the outline is
    drawn when it is needed. The same places are asked for by one shape after the other: the
    last few answers are kept.
    """

    def __init__(self, ground: Array) -> None:
        self.ground = ground  #: (n, 2)
        self.sample = ground[:: max(1, len(ground) // 2000)]  #: (n, 2)
        self._kept: list[tuple[Array, float, tuple[Array, Array]]] = []

    @cached_property
    def corners(self) -> Array | None:
        """The outline's corners (m, 2), counter-clockwise; None of a line or a point."""
        from scipy.spatial import ConvexHull, QhullError  # slow to load

        if len(self.ground) <= 3:
            return None
        try:
            return np.asarray(self.ground[ConvexHull(self.ground).vertices])
        except QhullError:  # all on one line
            return None

    def held(self, p: Array, reach: float) -> Array:
        """Move places beyond ``reach`` of the outline to the nearest place within."""
        return self._nearest(p, reach)[0]

    def distance(self, p: Array, reach: float) -> Array:
        """Return the distance (n,) of places from the outline, px; 0 within."""
        return self._nearest(p, reach)[1]

    def _nearest(self, p: Array, reach: float) -> tuple[Array, Array]:
        if p is self.ground or self.corners is None:
            return p, np.zeros(len(p))
        for places, far, answer in self._kept:
            if places is p and far == reach:
                return answer
        answer = self._held(p, reach, self.corners)
        if len(p) <= _FEW_PLACES:
            self._kept = [*self._kept[-3:], (p, reach, answer)]
        return answer

    @staticmethod
    def _held(p: Array, reach: float, start: Array) -> tuple[Array, Array]:
        end = np.roll(start, -1, axis=0)
        side = end - start
        normal = np.stack([side[:, 1], -side[:, 0]], axis=1)  # outward: corners run ccw
        beyond = p @ normal.T > (start * normal).sum(axis=1) + 1e-9
        outside = np.flatnonzero(beyond.any(axis=1))
        every = np.zeros(len(p))
        if outside.size == 0:
            return p, every
        q = p[outside]
        t = (q @ side.T - (start * side).sum(axis=1)) / (side * side).sum(axis=1)
        t = np.clip(t, 0.0, 1.0)  # of each side, the place nearest to each q
        dx = q[:, :1] - (start[:, 0] + t * side[:, 0])
        dy = q[:, 1:] - (start[:, 1] + t * side[:, 1])
        far = dx * dx + dy * dy
        best = far.argmin(axis=1)
        line = np.arange(len(q))
        nearest = start[best] + t[line, best][:, None] * side[best]
        distance = np.sqrt(far[line, best])
        share = np.minimum(1.0, reach / np.maximum(distance, 1e-12))
        out = p.copy()
        out[outside] = nearest + share[:, None] * (q - nearest)
        every[outside] = distance
        return out, every
