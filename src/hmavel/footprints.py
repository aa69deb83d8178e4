"""Where scenes lie on the globe, and which outlines they touch: a hundred thousand at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import affinity

from hmavel._types import Grid

#: Straight pieces of an edge. A UTM edge of 230 km bulges by up to 1.2 km in degrees; its
#: eighths by 20 m.
_PIECES = 8


def footprints(grids: Sequence[Grid]) -> NDArray[Any]:
    """Return the outlines of grids in longitude and latitude (EPSG:4326).

    Parameters
    ----------
    grids
        In any projected coordinate systems.

    Returns
    -------
    object array of shapely geometries, shape (len(grids),)
        The *file's* frame; the image is a tilted part of it, and screening looks at the
        pixels. A frame across the antimeridian has two parts.
    """
    out = np.empty(len(grids), object)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, grid in enumerate(grids):
        groups[grid.crs.to_wkt()].append(index)
    along = np.arange(_PIECES) / _PIECES
    zero, one = np.zeros(_PIECES), np.ones(_PIECES)
    # Once around: left to right, up, back, down.
    u = np.concatenate([along, one, 1 - along, zero])
    v = np.concatenate([zero, along, one, 1 - along])
    for wkt, members in groups.items():
        bounds = np.array([grids[i].bounds for i in members])
        west, south, east, north = bounds.T[:, :, None]
        to_globe = Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)
        lon, lat = to_globe.transform(west + u * (east - west), south + v * (north - south))
        # Around its first corner, so that a frame across 180 degrees stays in one piece.
        lon = lon[:, :1] + (lon - lon[:, :1] + 180.0) % 360.0 - 180.0
        corners = np.stack([lon, lat], axis=-1)
        shapes: NDArray[Any] = np.asarray(shapely.polygons(corners), object)
        for place in np.flatnonzero((lon.min(axis=1) < -180) | (lon.max(axis=1) > 180)):
            shapes[place] = _wrapped(shapes[place])
        out[members] = shapes
    return out


def intersecting(outlines: NDArray[Any], frames: NDArray[Any]) -> NDArray[np.int64]:
    """Return which outlines touch which frames.

    Parameters
    ----------
    outlines, frames
        Arrays of geometries in one coordinate system.

    Returns
    -------
    (n, 2) int64
        (outline, frame) indices, sorted.
    """
    if not len(outlines) or not len(frames):
        return np.empty((0, 2), np.int64)
    # Many scenes have almost one frame: the tree is over the frames, each outline is prepared
    # once and asks for those that its box meets.
    tree = shapely.STRtree(frames)
    found = tree.query(outlines, predicate="intersects")
    order = np.lexsort((found[1], found[0]))
    return np.ascontiguousarray(found[:, order].T).astype(np.int64)


def _wrapped(shape: Any) -> Any:
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        moved = affinity.translate(shape, xoff=turn)
        part = shapely.intersection(moved, shapely.box(-180, -90, 180, 90))
        if not shapely.is_empty(part):
            parts.append(part)
    return shapely.union_all(parts)
