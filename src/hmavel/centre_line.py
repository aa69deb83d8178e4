"""Which cells a glacier's centre line runs over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from hmavel._types import BoolArray, Grid


def cells_along(
    lines: Sequence[BaseGeometry], grid: Grid, ice: BoolArray
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the cells along the line that has most of its way on ice.

    Parameters
    ----------
    lines
        LineStrings in the CRS of ``grid``, of this and of other glaciers.
    grid
        Of the glacier's products.
    ice
        (rows, cols): cells on the glacier.

    Returns
    -------
    (rows, cols)
        In the order of the line, one for each cell width of it, so that their mean is one
        over the line's length. Empty where no line crosses the ice.
    """
    best: tuple[NDArray[np.intp], NDArray[np.intp]] = (np.zeros(0, np.intp),) * 2
    for line in lines:
        steps = max(1, round(line.length / grid.pixel))
        at = [line.interpolate((k + 0.5) / steps, normalized=True) for k in range(steps)]
        x, y = (np.array([getattr(point, axis) for point in at]) for axis in "xy")
        row = np.floor(grid.row(y) + 0.5).astype(np.intp)
        col = np.floor(grid.col(x) + 0.5).astype(np.intp)
        there = (row >= 0) & (row < ice.shape[0]) & (col >= 0) & (col < ice.shape[1])
        row, col = row[there], col[there]
        on_ice = ice[row, col]
        if np.count_nonzero(on_ice) > len(best[0]):
            best = row[on_ice], col[on_ice]
    return best
