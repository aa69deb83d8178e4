"""What lies beside the scenes: the glacier inventory and the elevation model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hmavel.simulate.flow import Glacier
from hmavel.simulate.layout import EPSG, World
from hmavel.simulate.render import strips
from hmavel.simulate.terrain import ground


def write_inventory(world: World, path: Path) -> dict[str, float]:
    """Write the outlines as an RGI 7 (G) GeoPackage, WGS84; return id -> area in km2.

    Outlines are those of the flow: the speed is zero on them. The area is geodesic.
    """
    import geopandas as gpd
    from pyproj import Geod
    from shapely.geometry import Polygon

    glaciers = world.glaciers
    utm = gpd.GeoSeries(
        [Polygon(np.column_stack(g.outline())) for g in glaciers], crs=f"EPSG:{EPSG}"
    )
    lonlat = utm.to_crs("EPSG:4326")
    geod = Geod(ellps="WGS84")
    areas = [abs(geod.geometry_area_perimeter(p)[0]) / 1e6 for p in lonlat]
    rows = [
        _record(g, area, shape) for g, area, shape in zip(glaciers, areas, lonlat, strict=True)
    ]
    frame = gpd.GeoDataFrame(rows, geometry=list(lonlat), crs="EPSG:4326")
    path.unlink(missing_ok=True)
    frame.to_file(path, layer=path.stem, driver="GPKG")
    return {g.id: area for g, area in zip(glaciers, areas, strict=True)}


def _record(g: Glacier, area: float, shape: Any) -> dict[str, Any]:
    z = np.linspace(0.01, 0.99, 99)
    heights = g.surface(z, 0.0)
    end = _lonlat(*g.from_flow(1.0, 0.0))
    return {
        "rgi_id": g.id,
        "o1region": "15",
        "o2region": "15-03",
        "glims_id": f"G{shape.centroid.x * 1000:06.0f}E{shape.centroid.y * 1000:05.0f}N",
        "src_date": "2020-09-08T00:00:00",
        "cenlon": float(shape.representative_point().x),
        "cenlat": float(shape.representative_point().y),
        "utm_zone": EPSG - 32600,
        "area_km2": area,
        "primeclass": 0,
        "conn_lvl": 0,
        "surge_type": 3 if g.kind == "surge" else 0,
        "term_type": 0,
        "glac_name": g.name,
        "is_rgi6": 0,
        "termlon": end[0],
        "termlat": end[1],
        "zmin_m": float(heights.min()),
        "zmax_m": float(heights.max()),
        "zmed_m": float(np.median(heights)),
        "zmean_m": float(heights.mean()),
        "slope_deg": float(np.rad2deg(np.arctan(g.drop_m / g.length))),
        "aspect_deg": float(g.azimuth % 360),
        "dem_source": "simulated",
        "lmax_m": round(g.length),
    }


def _lonlat(x: Any, y: Any) -> tuple[float, float]:
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(EPSG, 4326, always_xy=True).transform(float(x), float(y))
    return float(lon), float(lat)


def write_dem(world: World, path: Path) -> None:
    """Write the elevation as a 30 m float32 GeoTIFF on the grid of the reflective bands."""
    from rasterio.windows import Window

    from hmavel.simulate.product import _create

    with _create(path, world.grid30, "float32", 256, predictor=3) as out:
        for a, b in strips(world):
            rows = min(2 * b, world.size) - 2 * a
            z = ground(world, 2 * a, 0, rows, world.size).elevation[::2, ::2]
            out.write(z, 1, window=Window(0, a, z.shape[1], z.shape[0]))
        out.set_band_description(1, "elevation")
        out.set_band_unit(1, "m")
