"""The ground around an outline, and the grid that it is kept on, in metres of its UTM zone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from affine import Affine
from rasterio.crs import CRS

from hmavel._types import Grid
from hmavel.errors import GlacierError
from hmavel.polygons import moved, utm_epsg

if TYPE_CHECKING:
    import geopandas as gpd
    from shapely.geometry.base import BaseGeometry


def surroundings(
    outline: BaseGeometry,
    *,
    gap_m: float = 300.0,
    width_m: float = 5000.0,
    others: gpd.GeoDataFrame | None = None,
) -> BaseGeometry:
    """Return the ring of ground around a glacier (WGS84): where bare ground is looked for.

    Parameters
    ----------
    outline
        Of the glacier, WGS84.
    gap_m
        Distance from the ice to the ring: outlines are decades old and 30 m vague.
    width_m
        Width of the ring.
    others
        Further glaciers, as `read_glaciers` returns them: cut out with the same gap.
    """
    if not gap_m >= 0 or not width_m > 0:
        raise ValueError(
            f"surroundings: expected gap_m >= 0 and width_m > 0, got {gap_m} and {width_m}; "
            "give metres"
        )
    epsg = utm_epsg(outline)
    ice = moved(outline, 4326, epsg)
    ring = ice.buffer(gap_m + width_m).difference(ice.buffer(gap_m))
    if others is not None:
        near = neighbours(outline, others, reach_m=gap_m + width_m)
        if len(near):
            ring = ring.difference(near.geometry.to_crs(epsg).buffer(gap_m).union_all())
    return moved(ring, epsg, 4326)


def neighbours(
    outline: BaseGeometry, others: gpd.GeoDataFrame, *, reach_m: float
) -> gpd.GeoDataFrame:
    """Return the rows of ``others`` that may come within ``reach_m`` of an outline (WGS84).

    The test is that of rectangles around both, so that a few too many are among them.
    """
    if not len(others):
        return others
    epsg = utm_epsg(outline)
    frame = moved(outline, 4326, epsg).buffer(reach_m).envelope
    return others[others.intersects(moved(frame, epsg, 4326).envelope)]


def glacier_grid(
    outline: BaseGeometry,
    *,
    step: float = 120.0,
    margin_m: float = 5000.0,
    epsg: int | None = None,
) -> Grid:
    """Return the fixed grid on which a glacier's velocity is kept.

    Parameters
    ----------
    outline
        Of the glacier, WGS84.
    step
        Cell size, metres. Cell edges lie on multiples of it, so that the grids of all
        glaciers of a zone are parts of one lattice.
    margin_m
        Ground around the outline's bounding box: the stable ground of its pairs.
    epsg
        Another UTM zone than the outline's own.
    """
    if not step > 0 or not margin_m >= 0:
        raise ValueError(
            f"glacier_grid: expected step > 0 and margin_m >= 0, got {step} and {margin_m}; "
            "give metres"
        )
    epsg = epsg or utm_epsg(outline)
    left, bottom, right, top = moved(outline, 4326, epsg).bounds
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise GlacierError(
            "outlines",
            "outline",
            expected=f"an outline within EPSG:{epsg}",
            got="coordinates that it cannot express",
            hint="check the zone",
        )
    west, south = (math.floor((v - margin_m) / step) for v in (left, bottom))
    east, north = (math.ceil((v + margin_m) / step) for v in (right, top))
    transform = Affine(step, 0.0, west * step, 0.0, -step, north * step)
    return Grid(CRS.from_epsg(epsg), transform, (north - south, east - west))
