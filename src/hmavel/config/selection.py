"""What is cloud, and what is worth matching: [mask], [screening], [pairs]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from hmavel.config.option import BaselineSet, Stage, UserPath, option

if TYPE_CHECKING:
    from hmavel.classes import Thresholds
    from hmavel.config.archive import Glaciers
    from hmavel.screening import Limits


class Mask(Stage):
    """What counts as cloud, snow, shadow and water (top-of-atmosphere reflectances 0 ... 1)."""

    snow_ndsi: float = option(0.40, "Snow and ice: NDSI above this.", ge=-1, le=1)
    snow_b5: float = option(0.11, "... and Band 5 above this.", ge=0, le=1)
    cloud_albedo: float = option(0.40, "Cloud: broadband albedo above this.", ge=0, le=2)
    cloud_b6: float = option(0.20, "... and Band 6 above this.", ge=0, le=1)
    cloud_ndsi: float = option(0.60, "... and NDSI below this.", ge=-1, le=1)
    cloud_b5_b6: float = option(1.10, "... and Band 5 / Band 6 above this.", ge=0)
    cloud_min_pixels: int = option(
        16, "... in clumps of at least this many; smaller ones are mixed pixels.", "px (30 m)",
        ge=0,
    )
    clear_ndsi: float = option(
        0.70, "Clearly snow or ice, whatever QA_PIXEL says: NDSI above this,", ge=-1, le=1
    )
    clear_b6: float = option(0.12, "... or Band 6 below this", ge=0, le=1)
    clear_b6_ndsi: float = option(0.60, "... with NDSI above this.", ge=-1, le=1)
    trust: float = option(
        0.50, "QA_PIXEL's cloud is believed where this share of it around is not clearly ice.",
        ge=0, le=1,
    )
    veil_ndsi: float = option(
        0.72, "Cirrus thins out on snow and ice where NDSI is below this", ge=-1, le=1
    )
    veil_m: float = option(900.0, "... within this distance of QA_PIXEL's cirrus.", "m", ge=0)
    far_veil_ndsi: float = option(
        0.75, "... and farther on, where no snow nearby has a higher NDSI than this", ge=-1,
        le=1,
    )
    far_veil_m: float = option(
        3000.0, "... within this distance of QA_PIXEL's cirrus.", "m", ge=0
    )
    cloud_buffer_m: float = option(45.0, "Cloud is widened by this.", "m", ge=0)
    shadow_albedo: float = option(
        0.45, "Shadow in QA_PIXEL is overruled where snow is brighter than this.", ge=0, le=2
    )
    shade_albedo: float = option(
        0.30, "QA_PIXEL's mistaken cloud is shadow where albedo is below this", ge=0, le=2
    )
    shade_m: float = option(300.0, "... within this distance of its shadow.", "m", ge=0)
    dark_b5: float = option(0.08, "Terrain shadow or water: Band 5 below this.", ge=0, le=1)
    dark_b6: float = option(0.05, "... and Band 6 below this.", ge=0, le=1)
    water_ndwi: float = option(
        0.30, "Of the dark, water: (B3 - B5) / (B3 + B5) above this.", ge=-1, le=1
    )
    water_b3: float = option(0.08, "... and Band 3 above this.", ge=0, le=1)
    smooth_bright: float = option(
        0.40, "Band 8 alone: cloud or blank snow is brighter than this.", ge=0, le=2
    )
    smooth_texture: float = option(
        0.03, "... and its local spread is below this share of its mean.", ge=0
    )
    smooth_dark: float = option(
        0.05, "Band 8 alone: water or shadow is darker than this.", ge=0, le=1
    )

    def thresholds(self) -> Thresholds:
        """Return them as the mask functions take them."""
        from hmavel.classes import Thresholds

        return Thresholds(**self.model_dump())


class Screening(Stage):
    """Which scenes are worth correlating for a glacier (shares of its ice)."""

    min_valid: float = option(0.6, "Least share with image data.", ge=0, le=1)
    max_cloud: float = option(0.3, "Largest share of that under cloud.", ge=0, le=1)
    max_shadow: float = option(
        0.6, "Largest share in shadow, of clouds or mountains.", ge=0, le=1
    )
    max_snow: float = option(
        1.0, "Largest share of snow; clean bare ice counts as snow.", ge=0, le=1
    )
    max_saturated: float = option(
        0.2, "Largest share at the sensor's ceiling.", ge=0, le=1
    )
    min_bare: float = option(
        0.0, "Least share of the ground around it that is clear and bare.", ge=0, le=1
    )

    def limits(self, glaciers: Glaciers) -> Limits:
        """Return them as the screening takes them, with the ground that belongs to it."""
        from hmavel.screening import Limits

        around = {"gap_m": glaciers.ice_buffer_m, "ground_m": max(glaciers.margin_m, 1.0)}
        return Limits(**self.model_dump(), **around)


class Pairs(Stage):
    """Which scenes are matched with which."""

    min_days: float = option(15.0, "Shortest baseline.", "days", gt=0)
    max_days: float = option(410.0, "Longest baseline.", "days", gt=0)
    short_days: float = option(
        96.0, "Up to this a pair is short: it resolves the season.", "days", gt=0
    )
    successors: int = option(3, "Short pairs per scene, to the next scenes.", ge=1)
    per_year: int = option(2, "Pairs per scene to scenes about a year later.", ge=0)
    sets: tuple[BaselineSet, ...] = option(
        (), "Further sets of baselines: [shortest, longest, pairs per scene].", "days, days, 1",
    )
    sun_degrees: float = option(
        10.0, "Scenes whose suns are closer than this are preferred where there is a choice.",
        "degrees", ge=0,
    )
    least_degree: int = option(3, "Pairs that every scene is in, where dates allow.", ge=1)
    max_pairs: int | None = option(
        None, "Budget of pairs for a glacier and path/row; not set = no limit.", ge=1,
        example=400,
    )
    per_month: int | None = option(
        None, "Budget of pairs for a glacier and calendar month; it never cuts what joins the "
        "scenes and makes them redundant; not set = no limit.", ge=1, example=20,
    )
    adjacent_paths: bool = option(
        False, "Also pair scenes of neighbouring paths: errors of the terrain model, seen from "
        "two orbits, then look like displacement."
    )
    prior_velocity: UserPath | None = option(
        None, "Map of speed (a band \"v\", or \"vx\" and \"vy\"): pairs over which the ice "
        "would leave the correlator's reach are not made.", "m/yr", example="prior.tif",
    )
    prior_share: float = option(
        0.9, "Share of the ice that is to stay within reach.", gt=0, le=1
    )

    def choice(self) -> dict[str, Any]:
        """Return the arguments of ``select_pairs``."""
        return self.model_dump(exclude={"prior_velocity", "prior_share"})

    @model_validator(mode="after")
    def _ordered(self) -> Pairs:
        if self.max_days < self.min_days:
            got = {"got": f"{self.max_days:g} < {self.min_days:g}"}
            raise PydanticCustomError("order", "max_days >= min_days", got)
        return self
