"""Where the scenes are, and which glaciers: the sections [input], [scenes], [glaciers]."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

from hmavel.config.option import Address, PathRow, Stage, UserPath, option


class Input(Stage):
    """Where the Landsat scenes are."""

    archive: list[UserPath] = option(
        ["landsat"],
        "Folders that are searched for Landsat-8/9 products, in folders or tars; also tars, "
        "Band-8 files, and text files that list such paths. [] = none.",
    )
    first: date | None = option(
        None, "First day of scenes to use.", example=date(2013, 4, 1)
    )
    last: date | None = option(
        None, "Last day of scenes to use.", example=date(2024, 12, 31)
    )
    dem: UserPath | None = option(
        None, "Heights in metres, any raster: ground in the shadow of mountains is not bare "
        "ground; not set = only shadow that the images tell.", example="dem.tif",
    )
    wrs: list[PathRow] = option(
        [], "WRS-2 path/row to use, such as \"140/041\"; empty = all that are found."
    )


class Scenes(Stage):
    """Further sources of scenes, beside [input] (docs/sources.md has an example of each)."""

    earth_engine: list[UserPath] = option(
        [], "Folders of images exported from Google Earth Engine."
    )
    csv: list[UserPath] = option(
        [], "Tables of Band-8 GeoTIFFs: columns file and time, and what else is known."
    )

    stac: list[Address] = option(
        [],
        "Addresses or paths of STAC APIs, catalogues, collections, items and files of items. "
        "Needs: pip install 'hmavel[stac]'.",
    )
    stac_collections: list[str] = option(
        [], "Ids of the collections to search, such as \"landsat-c2l1\"; empty = all."
    )
    stac_max_cloud: float | None = option(
        None, "Leave scenes out whose metadata tell of more cloud.", "%", example=80.0, ge=0,
        le=100,
    )
    stac_alternate: str = option(
        "", "Name of the assets' alternate addresses to use, such as \"s3\"."
    )
    retries: int = option(
        4, "How often a failed read of a server is tried again before it counts.", ge=0, le=20
    )
    retry_delay_s: float = option(
        1.0, "Pause before the first time; it doubles each time, up to a minute.", "s", ge=0
    )

    @property
    def any(self) -> bool:
        """Say whether any of them is given."""
        return bool(self.earth_engine or self.csv or self.stac)


class Glaciers(Stage):
    """Which glaciers, and the grid around each."""

    inventory: UserPath = option(
        Path("glaciers.gpkg"), "Glacier outlines: RGI 6, RGI 7 or any polygon file with ids."
    )
    columns: dict[Literal["id", "name", "area_km2", "o1region", "utm_zone"], str] = option(
        {}, "Columns of an inventory that is not RGI's, as { id = \"GGI_ID\", area_km2 = "
        "\"Area\" }; \"\" for one that is not to be used."
    )
    layer: str = option("", "Layer of the inventory, where it has several.")
    crs: str = option("", "Coordinate system of an inventory that states none.")
    dissolve: bool = option(False, "Unite the polygons that have one id.")
    min_area_km2: float = option(10.0, "Glaciers larger than this.", "km2", ge=0)
    ids: list[str] = option([], "Only these glacier ids; empty = all.")
    bbox: tuple[float, float, float, float] | None = option(
        None,
        "Only glaciers that touch this box: west, south, east, north.",
        "degrees",
        example=[73.51, 29.01, 96.99, 42.27],
    )
    regions: list[str] = option([], "Only these RGI first-order regions, such as \"15\".")
    margin_m: float = option(
        3000.0, "Width of the ground around an outline that is measured with it.", "m", ge=0
    )
    ice_buffer_m: float = option(
        120.0, "Ground nearer to any ice than this is not taken for bare ground.", "m", ge=0
    )
    shade_buffer_m: float = option(
        120.0, "... nor what is nearer than this to the shadow of a mountain (with input.dem).",
        "m", ge=0,
    )

    def reading(self) -> dict[str, Any]:
        """Return the arguments of ``read_glaciers``."""
        return {
            "path": self.inventory,
            "columns": {name: column or None for name, column in self.columns.items()},
            "layer": self.layer or None, "crs": self.crs or None, "dissolve": self.dissolve,
        }  # fmt: skip

    def outlines(self) -> dict[str, Any]:
        """Return what an outline and its surroundings depend on, as plain JSON values."""
        choice = {"min_area_km2", "ids", "bbox", "regions", "shade_buffer_m"}
        return self.model_dump(mode="json", exclude=choice)
