"""A glacier as the work sees it: its fixed grid, the image window over it, ice and ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from hmavel._types import BoolArray, FloatArray, Grid
from hmavel.outline_grid import glacier_grid
from hmavel.polygons import buffer, rasterize

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry

#: Side of a Band-8 pixel, m.
PIXEL_M = 15.0


@dataclass(frozen=True)
class Site:
    """One glacier, and the ground around it that is measured with it."""

    id: str
    name: str
    area_km2: float
    outline: BaseGeometry  #: WGS84
    grid: Grid  #: of the products: cells of step x 15 m on a lattice common to its UTM zone
    image: Grid  #: the Band-8 window that all nodes' windows fit in
    row: FloatArray  #: (rows of ``grid``,) the cells' centres, pixel indices of ``image``
    col: FloatArray  #: (cols of ``grid``,)
    ice: BoolArray  #: (grid) cells whose centre lies on this glacier
    any_ice: BoolArray  #: (grid) within a buffer of any glacier: never bare ground
    all_ice: BoolArray  #: (grid) cells whose centre lies on any glacier

    def image_ice(self) -> BoolArray:
        """Return where this glacier lies on the pixels of ``image``."""
        return rasterize(self.outline, self.image, crs=4326)


def make_site(
    glacier: Any,
    inventory: GeoDataFrame,
    *,
    epsg: int | None = None,
    step: int = 8,
    reach: int = 72,
    margin_m: float = 3000.0,
    ice_buffer_m: float = 120.0,
) -> Site:
    """Lay out the work on one glacier.

    Parameters
    ----------
    glacier
        A row of the inventory.
    inventory
        All glaciers, small ones too: ice next door does not stand still either.
    epsg
        The UTM zone of the scenes; by default the outline's own.
    step
        Spacing of the nodes, Band-8 pixels.
    reach
        Pixels around a node that the correlator may look at.
    margin_m, ice_buffer_m
        As in the configuration.
    """
    epsg = epsg or int(glacier.utm_epsg)
    cell = step * PIXEL_M
    grid = glacier_grid(glacier.geometry, step=cell, margin_m=margin_m, epsg=epsg)
    image = _pixels_under(grid, reach)
    near = inventory[inventory.intersects(_lonlat_box(grid))]
    outlines = near.geometry
    if ice_buffer_m > 0:
        outlines = outlines.map(lambda outline: buffer(outline, ice_buffer_m, epsg=epsg))
    crs = inventory.crs
    return Site(
        id=str(glacier.id),
        name=str(glacier.name or ""),
        area_km2=float(glacier.area_km2),
        outline=glacier.geometry,
        grid=grid,
        image=image,
        # Halves are exact in binary: rounding to them only takes off what 1e9 m cost.
        row=np.round(2 * image.row(grid.y(np.arange(grid.shape[0])))) / 2,
        col=np.round(2 * image.col(grid.x(np.arange(grid.shape[1])))) / 2,
        ice=rasterize(glacier.geometry, grid, crs=crs),
        any_ice=rasterize(outlines, grid, all_touched=True, crs=crs),
        all_ice=rasterize(near.geometry, grid, crs=crs),
    )


def image_window(
    outline: BaseGeometry, *, epsg: int, step: int, reach: int, margin_m: float
) -> Grid:
    """Return ``Site.image`` of the site that ``make_site`` would make of an outline (WGS84)."""
    grid = glacier_grid(outline, step=step * PIXEL_M, margin_m=margin_m, epsg=epsg)
    return _pixels_under(grid, reach)


def _pixels_under(grid: Grid, reach: int) -> Grid:
    """Return the Band-8 pixels under ``grid`` and ``reach`` around, on Landsat's own lattice.

    Landsat's pixel *centres* lie on multiples of 15 m.
    """
    left, bottom, right, top = grid.bounds
    west, south = (math.floor(v / PIXEL_M + 0.5) - reach for v in (left, bottom))
    east, north = (math.ceil(v / PIXEL_M - 0.5) + reach for v in (right, top))
    corner_x, corner_y = (west - 0.5) * PIXEL_M, (north + 0.5) * PIXEL_M
    transform = Affine(PIXEL_M, 0.0, corner_x, 0.0, -PIXEL_M, corner_y)
    return Grid(grid.crs, transform, (north - south + 1, east - west + 1))


def _lonlat_box(grid: Grid) -> Any:
    from rasterio.crs import CRS
    from rasterio.warp import transform_bounds
    from shapely.geometry import box

    return box(*transform_bounds(grid.crs, CRS.from_epsg(4326), *grid.bounds))
