"""Rows of a design, one a pair, as differences of a path at the pair's two scenes.

What a pair sees of a month, or of a mode of the prior, is an integral over its days. Kept as
the integral from the first month on, at the edges of the months' parts, a row costs two
look-ups, and no number of pairs needs all its rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hmavel._types import DAYS_PER_YEAR, FloatArray
from hmavel.network import PairNetwork

#: Pairs whose rows are kept: they are asked for again with every cell.
_KEPT = 8192
#: Numbers of dense rows at one time.
_MOST = 4_000_000


def steps(count: int, width: int) -> Iterator[slice]:
    """Divide ``count`` rows of ``width`` numbers into pieces of bounded size."""
    size = max(64, min(_KEPT, _MOST // max(width, 1)))
    return (slice(first, first + size) for first in range(0, count, size))


@dataclass(frozen=True)
class PairRows:
    """A (p, r) matrix that is made as it is asked for: ``rows[pairs]`` or ``rows[:]``."""

    path: FloatArray  #: (edges, r): the integral from the first edge on
    early: FloatArray  #: (p,) the earlier scene, in steps from the first edge
    late: FloatArray  #: (p,)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.early)

    @property
    def shape(self) -> tuple[int, int]:
        """Pairs and columns."""
        return len(self.early), self.path.shape[1]

    def __getitem__(self, pairs: Any) -> FloatArray:
        """Make the rows of some pairs."""
        if len(self) <= _KEPT:
            return np.asarray(self._whole[pairs])
        return self._between(pairs)

    def first_columns(self, count: int) -> PairRows:
        """Return the rows without the columns from ``count`` on."""
        return replace(self, path=np.ascontiguousarray(self.path[:, :count]))

    def squares_from(self, column: int) -> FloatArray:
        """Sum the squares of each row from a column on, (p,)."""
        rest = replace(self, path=np.ascontiguousarray(self.path[:, column:]))
        out = np.empty(len(self))
        for some in steps(*rest.shape):
            out[some] = (rest._between(some) ** 2).sum(axis=1)
        return out

    @cached_property
    def _whole(self) -> FloatArray:
        return self._between(slice(None))

    def _between(self, pairs: Any) -> FloatArray:
        return self._at(self.late[pairs]) - self._at(self.early[pairs])

    def _at(self, position: FloatArray) -> FloatArray:
        low = np.minimum(position.astype(np.intp), len(self.path) - 2)
        rows = self.path[low + 1] - self.path[low]
        rows *= (position - low)[:, None]
        rows += self.path[low]
        return np.asarray(rows)


def pair_rows(network: PairNetwork, per_year: FloatArray, parts: int = 1) -> PairRows:
    """Integrate ``per_year``, (n * parts, r) in the parts of the months, over each pair."""
    days = np.repeat(network.month_days / parts, parts)
    edges = np.concatenate([[0.0], np.cumsum(days)])
    path = np.zeros((len(edges), per_year.shape[1]))
    np.cumsum(per_year * (days / DAYS_PER_YEAR)[:, None], axis=0, out=path[1:])
    steps_at = np.arange(len(edges), dtype=float)
    early, late = (np.interp(t, edges, steps_at) for t in (network.first, network.last))
    return PairRows(path, early, late)


def overlap_rows(network: PairNetwork) -> PairRows:
    """Return the years that each pair spends in each month, (p, n)."""
    return pair_rows(network, np.eye(len(network.months)))
