"""What a measured field as a whole says of its nodes: outliers, clumps, strain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hmavel import _kernels
from hmavel._types import Displacement, Quality
from hmavel.strip_threads import check, in_threads

if TYPE_CHECKING:
    from hmavel.correlator_settings import Settings

#: A node follows its neighbours, or is judged by them, when so many of them agree or are there.
FOLLOW = 5
#: Distance from its neighbours' median that no node is blamed for (Westerweel and Scarano), px;
#: the node's own sigma widens it on noise.
_FLOOR = 0.1
#: A strain of one component is an error of the other, too, of so much of its own.
_TIED = 0.5


def without_outliers(
    d: Displacement, settings: Settings, *, window: int, step: float, threads: int
) -> Displacement:
    """Reject what its neighbours contradict, then the small clumps that are left."""
    rows = d.drow.shape[0]
    outlier = np.zeros(d.drow.shape, np.uint8)
    u, v, *sigma = (
        np.ascontiguousarray(x, np.float32) for x in (d.drow, d.dcol, d.sigma_row, d.sigma_col)
    )
    in_threads(
        lambda i, j: _kernels.median_test(
            u, v, sigma[0], sigma[1], FOLLOW, _FLOOR, settings.max_median, outlier, i, j
        ),
        rows,
        threads,
    )
    kept = d.rejected(outlier.view(bool), Quality.OUTLIER)
    # Windows that overlap repeat one chance match at all their nodes.
    least = settings.min_clump * (window / step) ** 2
    good = kept.good
    if good.size <= least or least <= 1:
        return kept
    u, v = (np.ascontiguousarray(x, np.float32) for x in (kept.drow, kept.dcol))
    parent, size = np.empty(u.shape, np.int32), np.empty(u.shape, np.int32)
    check(_kernels.clump_sizes(u, v, settings.max_step, parent, size))
    return kept.rejected(good & (size < least), Quality.ISOLATED)


def with_strain(d: Displacement, centre: float, *, step: float, threads: int) -> Displacement:
    """Add to sigma what a steady strain leaves of not knowing where a window's match sits.

    The texture that decides a match lies somewhere about the middle of its window, ``centre``
    px from it (1 sigma, per axis): times the change of the displacement, px per px, that is an
    error which the window itself does not show. Half as much of it passes on to the other
    component: texture ties them together. Changes are those to two nodes on either side, the
    lesser of both: beside a jump nothing changes steadily.
    """
    if centre == 0 or min(d.drow.shape) < 5:
        return d
    u, v = (np.ascontiguousarray(x, np.float32) for x in (d.drow, d.dcol))
    reach = centre / (2 * step)
    sigma = [np.array(of, np.float32, order="C") for of in (d.sigma_row, d.sigma_col)]

    def widen(i: int, j: int) -> int:
        for own, other, wider in ((u, v, sigma[0]), (v, u, sigma[1])):
            _kernels.add_strain(own, reach, wider, i, j)
            _kernels.add_strain(other, _TIED * reach, wider, i, j)
        return 0

    in_threads(widen, d.drow.shape[0], threads)
    return replace(d, sigma_row=sigma[0], sigma_col=sigma[1])
