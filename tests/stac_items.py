"""STAC items of product folders, as the U.S. Geological Survey writes them."""

from __future__ import annotations

from pathlib import Path

from rasterio.warp import transform_bounds

from hmavel.landsat import open_scene
from hmavel.scene_bands import scene_grid

KEYS = {
    "B2": "blue", "B3": "green", "B4": "red", "B5": "nir08", "B6": "swir16", "B7": "swir22",
    "B8": "pan", "QA_PIXEL": "qa_pixel", "QA_RADSAT": "qa_radsat",
}  # fmt: skip


def item_of(folder: Path, root: Path, *, projection: str = "asset") -> dict:
    """Describe a product; ``projection``: in each "asset", in the "item" (30 m), or "none"."""
    scene = open_scene(folder)
    bounds = transform_bounds(scene.grid.crs, "EPSG:4326", *scene.grid.bounds)
    assets = {}
    for band, path in scene.bands.items():
        asset = {"href": str(path.relative_to(root)), "type": "image/tiff"}
        if projection == "asset":
            asset |= _shape(scene_grid(scene, band))
        assets[KEYS.get(band, band)] = asset
    mtl = next(folder.glob("*_MTL.txt"))
    assets["MTL.txt"] = {"href": str(mtl.relative_to(root)), "type": "text/plain"}
    properties = {
        "datetime": f"{scene.time}Z", "view:sun_azimuth": scene.sun_azimuth,
        "view:sun_elevation": scene.sun_elevation, "eo:cloud_cover": 12.5,
        "landsat:correction": scene.level, "platform": f"LANDSAT_{int(scene.sensor[2:])}",
        "updated": "2022-01-01T00:00:00Z",
    }  # fmt: skip
    if projection != "none":
        properties["proj:epsg"] = scene.grid.crs.to_epsg()
    if projection == "item" and "B6" in scene.bands:
        properties |= _shape(scene_grid(scene, "B6"))
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": scene.id,
        "collection": "landsat-c2l1", "bbox": list(bounds), "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "assets": assets, "links": [],
        "stac_extensions": [],
    }  # fmt: skip


def _shape(grid):
    return {"proj:shape": list(grid.shape), "proj:transform": list(grid.transform)[:6]}
