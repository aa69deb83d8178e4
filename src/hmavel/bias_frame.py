"""The terms of a matching error over an image: polynomial, profiles, bins for seams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmavel.bias_hull import Array, Hull
from hmavel.bias_models import polynomial_terms, spline_terms

#: Bins across the track per node.
FINE = 2
#: Places whose terms are remembered at most, and how many answers.
_FEW_PLACES, _ANSWERS = 4096, 12


class Spline(NamedTuple):
    """A smooth profile beside a polynomial."""

    axis: int  #: 0 across, 1 along the track
    pieces: int  #: 0 = none


NO_SPLINE = Spline(1, 0)


@dataclass(frozen=True)
class Frame:
    """Where there is ground, and the terms of the shapes over it."""

    unit: float  #: px: half the image
    limits: tuple[float, float, float, float]  #: of the ground: across low, high, along ...
    hull: Hull | None  #: None = terms as they are, however far
    reach: float  #: px
    low: float  #: px across the track: where the first bin begins
    width: float  #: px of a bin
    bins: int
    #: Terms that were asked for of late: one shape after the other asks for the same.
    _kept: list[tuple[Array, Spline, Array]] = field(default_factory=list, repr=False)

    @classmethod
    def over(
        cls, domain: Array, limits: tuple[float, float, float, float], hull: Hull | None,
        reach: float, spacing: float,
    ) -> Frame:  # fmt: skip
        """Return the frame of the places ``domain`` (n, 2) with nodes ``spacing`` px apart."""
        extent = [float(np.ptp(axis)) for axis in domain.T]  # slow over a last axis of two
        width = spacing / FINE
        low = float(domain[:, 0].min()) - width
        unit = max(max(extent) / 2, 1.0)
        return cls(unit, limits, hull, reach, low, width, int(extent[0] / width) + 3)

    def bin_of(self, p: Array) -> NDArray[np.intp]:
        """Return the bin across the track of places (n, 2)."""
        at = np.floor((p[:, 0] - self.low) / self.width)
        return np.asarray(np.clip(at, 0, self.bins - 1).astype(np.intp))

    def bin_at(self, across: Sequence[float]) -> NDArray[np.intp]:
        """Return the bins that begin nearest to places across the track, those within."""
        at = np.rint((np.asarray(across) - self.low) / self.width).astype(np.intp)
        return at[(at > 0) & (at < self.bins)]

    def terms(self, p: Array, spline: Spline = NO_SPLINE) -> Array:
        """Return polynomial and spline (n, 6 + pieces + 3) at places (n, 2)."""
        for places, what, answer in self._kept:
            if places is p and what == spline:
                return answer
        out = self._terms(p, spline)
        out.flags.writeable = False
        if len(p) <= _FEW_PLACES:
            self._kept[:] = [*self._kept[-_ANSWERS:], (p, spline, out)]
        return out

    def _terms(self, p: Array, spline: Spline) -> Array:
        if spline.pieces:
            low, high = self.limits[2 * spline.axis : 2 * spline.axis + 2]
            profile = spline_terms(p[:, spline.axis], low, high, spline.pieces)
            return np.concatenate([self.terms(p), profile], axis=1)
        held = p if self.hull is None else self.hull.held(p, self.reach)
        return polynomial_terms(held / self.unit)


def blocks(p: Array, pieces: int = 3) -> NDArray[np.intp]:
    """Label places by blocks of equal numbers: thirds across, each in thirds along."""
    label = np.empty(len(p), dtype=np.intp)
    for i, column in enumerate(np.array_split(np.argsort(p[:, 0], kind="stable"), pieces)):
        inner = column[np.argsort(p[column, 1], kind="stable")]
        for j, block in enumerate(np.array_split(inner, pieces)):
            label[block] = i * pieces + j
    return label
