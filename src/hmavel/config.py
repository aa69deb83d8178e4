"""Every option of a run: its default, unit, range and meaning, one model per stage.

A configuration is a TOML file. Unknown keys are refused at every level, relative paths
are relative to the file, and the resolved form that is saved beside a run's output can be
given to ``hmavel run`` again.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hmavel.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from hmavel.classes import Thresholds
    from hmavel.correlator import Settings
    from hmavel.gates import Limits as GateLimits
    from hmavel.screening import Limits
    from hmavel.sources import Sources


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    path = path.expanduser()
    return path if base is None or path.is_absolute() else Path(base) / path


def _address(value: str, info: ValidationInfo) -> str:
    """Leave the address of a server alone; a path is one beside the file."""
    return value if "://" in value else str(_beside_the_file(Path(value), info))


def _even(value: int) -> int:
    if value % 2:
        raise PydanticCustomError("even", "an even number")
    return value


def _month(value: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value):
        raise PydanticCustomError("month", 'a month like "2013-04"')
    return value


def _path_row(value: str) -> str:
    if not re.fullmatch(r"\d{1,3}/\d{1,3}", value):
        raise PydanticCustomError("wrs", 'a path/row like "140/041"')
    return value


def _baseline_set(value: tuple[float, float, int]) -> tuple[float, float, int]:
    if not (0 < value[0] <= value[1] and value[2] >= 1):
        raise PydanticCustomError("set", "[shortest, longest, pairs per scene]")
    return value


UserPath = Annotated[Path, AfterValidator(_beside_the_file)]
BaselineSet = Annotated[tuple[float, float, int], AfterValidator(_baseline_set)]
Even = Annotated[int, AfterValidator(_even)]


def _option(
    default: Any, description: str, unit: str = "", *, example: Any = None, **limits: Any
) -> Any:
    """Declare an option; ``example`` stands in the template where the default is not set."""
    extra = {"unit": unit, "example": example}
    return Field(default, description=description, json_schema_extra=extra, **limits)


class Stage(BaseModel):
    """What the sections share: frozen, and no key but the declared ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Input(Stage):
    """Where the Landsat scenes are."""

    archive: list[UserPath] = _option(
        ["landsat"],
        "Folders that are searched for Landsat-8/9 products, in folders or tars; also tars, "
        "Band-8 files, and text files that list such paths. [] = none.",
    )
    first: date | None = _option(
        None, "First day of scenes to use.", example=date(2013, 4, 1)
    )
    last: date | None = _option(
        None, "Last day of scenes to use.", example=date(2024, 12, 31)
    )
    dem: UserPath | None = _option(
        None, "Heights in metres, any raster: ground in the shadow of mountains is not bare "
        "ground; not set = only shadow that the images tell.", example="dem.tif",
    )
    wrs: list[Annotated[str, AfterValidator(_path_row)]] = _option(
        [], "WRS-2 path/row to use, such as \"140/041\"; empty = all that are found."
    )


class Scenes(Stage):
    """Further sources of scenes, beside [input] (docs/sources.md has an example of each)."""

    earth_engine: list[UserPath] = _option(
        [], "Folders of images exported from Google Earth Engine."
    )
    csv: list[UserPath] = _option(
        [], "Tables of Band-8 GeoTIFFs: columns file and time, and what else is known."
    )

    stac: list[Annotated[str, AfterValidator(_address)]] = _option(
        [],
        "Addresses or paths of STAC APIs, catalogues, collections, items and files of items. "
        "Needs: pip install 'hmavel[stac]'.",
    )
    stac_collections: list[str] = _option(
        [], "Ids of the collections to search, such as \"landsat-c2l1\"; empty = all."
    )
    stac_max_cloud: float | None = _option(
        None, "Leave scenes out whose metadata tell of more cloud.", "%", example=80.0, ge=0,
        le=100,
    )
    stac_alternate: str = _option(
        "", "Name of the assets' alternate addresses to use, such as \"s3\"."
    )
    retries: int = _option(
        4, "How often a failed read of a server is tried again before it counts.", ge=0, le=20
    )
    retry_delay_s: float = _option(
        1.0, "Pause before the first time; it doubles each time, up to a minute.", "s", ge=0
    )

    @property
    def any(self) -> bool:
        """Say whether any of them is given."""
        return bool(self.earth_engine or self.csv or self.stac)


class Glaciers(Stage):
    """Which glaciers, and the grid around each."""

    inventory: UserPath = _option(
        Path("glaciers.gpkg"), "Glacier outlines: RGI 6, RGI 7 or any polygon file with ids."
    )
    columns: dict[Literal["id", "name", "area_km2", "o1region", "utm_zone"], str] = _option(
        {}, "Columns of an inventory that is not RGI's, as { id = \"GGI_ID\", area_km2 = "
        "\"Area\" }; \"\" for one that is not to be used."
    )
    layer: str = _option("", "Layer of the inventory, where it has several.")
    crs: str = _option("", "Coordinate system of an inventory that states none.")
    dissolve: bool = _option(False, "Unite the polygons that have one id.")
    min_area_km2: float = _option(10.0, "Glaciers larger than this.", "km2", ge=0)
    ids: list[str] = _option([], "Only these glacier ids; empty = all.")
    bbox: tuple[float, float, float, float] | None = _option(
        None,
        "Only glaciers that touch this box: west, south, east, north.",
        "degrees",
        example=[73.51, 29.01, 96.99, 42.27],
    )
    regions: list[str] = _option([], "Only these RGI first-order regions, such as \"15\".")
    margin_m: float = _option(
        3000.0, "Width of the ground around an outline that is measured with it.", "m", ge=0
    )
    ice_buffer_m: float = _option(
        120.0, "Ground nearer to any ice than this is not taken for bare ground.", "m", ge=0
    )
    shade_buffer_m: float = _option(
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


class Mask(Stage):
    """What counts as cloud, snow, shadow and water (top-of-atmosphere reflectances 0 ... 1)."""

    snow_ndsi: float = _option(0.40, "Snow and ice: NDSI above this.", ge=-1, le=1)
    snow_b5: float = _option(0.11, "... and Band 5 above this.", ge=0, le=1)
    cloud_albedo: float = _option(0.40, "Cloud: broadband albedo above this.", ge=0, le=2)
    cloud_b6: float = _option(0.20, "... and Band 6 above this.", ge=0, le=1)
    cloud_ndsi: float = _option(0.60, "... and NDSI below this.", ge=-1, le=1)
    cloud_b5_b6: float = _option(1.10, "... and Band 5 / Band 6 above this.", ge=0)
    cloud_min_pixels: int = _option(
        16, "... in clumps of at least this many; smaller ones are mixed pixels.", "px (30 m)",
        ge=0,
    )
    clear_ndsi: float = _option(
        0.70, "Clearly snow or ice, whatever QA_PIXEL says: NDSI above this,", ge=-1, le=1
    )
    clear_b6: float = _option(0.12, "... or Band 6 below this", ge=0, le=1)
    clear_b6_ndsi: float = _option(0.60, "... with NDSI above this.", ge=-1, le=1)
    trust: float = _option(
        0.50, "QA_PIXEL's cloud is believed where this share of it around is not clearly ice.",
        ge=0, le=1,
    )
    veil_ndsi: float = _option(
        0.72, "Cirrus thins out on snow and ice where NDSI is below this", ge=-1, le=1
    )
    veil_m: float = _option(900.0, "... within this distance of QA_PIXEL's cirrus.", "m", ge=0)
    far_veil_ndsi: float = _option(
        0.75, "... and farther on, where no snow nearby has a higher NDSI than this", ge=-1,
        le=1,
    )
    far_veil_m: float = _option(
        3000.0, "... within this distance of QA_PIXEL's cirrus.", "m", ge=0
    )
    cloud_buffer_m: float = _option(45.0, "Cloud is widened by this.", "m", ge=0)
    shadow_albedo: float = _option(
        0.45, "Shadow in QA_PIXEL is overruled where snow is brighter than this.", ge=0, le=2
    )
    shade_albedo: float = _option(
        0.30, "QA_PIXEL's mistaken cloud is shadow where albedo is below this", ge=0, le=2
    )
    shade_m: float = _option(300.0, "... within this distance of its shadow.", "m", ge=0)
    dark_b5: float = _option(0.08, "Terrain shadow or water: Band 5 below this.", ge=0, le=1)
    dark_b6: float = _option(0.05, "... and Band 6 below this.", ge=0, le=1)
    water_ndwi: float = _option(
        0.30, "Of the dark, water: (B3 - B5) / (B3 + B5) above this.", ge=-1, le=1
    )
    water_b3: float = _option(0.08, "... and Band 3 above this.", ge=0, le=1)
    smooth_bright: float = _option(
        0.40, "Band 8 alone: cloud or blank snow is brighter than this.", ge=0, le=2
    )
    smooth_texture: float = _option(
        0.03, "... and its local spread is below this share of its mean.", ge=0
    )
    smooth_dark: float = _option(
        0.05, "Band 8 alone: water or shadow is darker than this.", ge=0, le=1
    )

    def thresholds(self) -> Thresholds:
        """Return them as the mask functions take them."""
        from hmavel.classes import Thresholds

        return Thresholds(**self.model_dump())


class Screening(Stage):
    """Which scenes are worth correlating for a glacier (shares of its ice)."""

    min_valid: float = _option(0.6, "Least share with image data.", ge=0, le=1)
    max_cloud: float = _option(0.3, "Largest share of that under cloud.", ge=0, le=1)
    max_shadow: float = _option(
        0.6, "Largest share in shadow, of clouds or mountains.", ge=0, le=1
    )
    max_snow: float = _option(
        1.0, "Largest share of snow; clean bare ice counts as snow.", ge=0, le=1
    )
    max_saturated: float = _option(
        0.2, "Largest share at the sensor's ceiling.", ge=0, le=1
    )
    min_bare: float = _option(
        0.0, "Least share of the ground around it that is clear and bare.", ge=0, le=1
    )

    def limits(self, glaciers: Glaciers) -> Limits:
        """Return them as the screening takes them, with the ground that belongs to it."""
        from hmavel.screening import Limits

        around = {"gap_m": glaciers.ice_buffer_m, "ground_m": max(glaciers.margin_m, 1.0)}
        return Limits(**self.model_dump(), **around)


class Pairs(Stage):
    """Which scenes are matched with which."""

    min_days: float = _option(15.0, "Shortest baseline.", "days", gt=0)
    max_days: float = _option(410.0, "Longest baseline.", "days", gt=0)
    short_days: float = _option(
        96.0, "Up to this a pair is short: it resolves the season.", "days", gt=0
    )
    successors: int = _option(3, "Short pairs per scene, to the next scenes.", ge=1)
    per_year: int = _option(2, "Pairs per scene to scenes about a year later.", ge=0)
    sets: tuple[BaselineSet, ...] = _option(
        (), "Further sets of baselines: [shortest, longest, pairs per scene].", "days, days, 1",
    )
    sun_degrees: float = _option(
        10.0, "Scenes whose suns are closer than this are preferred where there is a choice.",
        "degrees", ge=0,
    )
    least_degree: int = _option(3, "Pairs that every scene is in, where dates allow.", ge=1)
    max_pairs: int | None = _option(
        None, "Budget of pairs for a glacier and path/row; not set = no limit.", ge=1,
        example=400,
    )
    per_month: int | None = _option(
        None, "Budget of pairs for a glacier and calendar month; it never cuts what joins the "
        "scenes and makes them redundant; not set = no limit.", ge=1, example=20,
    )
    adjacent_paths: bool = _option(
        False, "Also pair scenes of neighbouring paths: errors of the terrain model, seen from "
        "two orbits, then look like displacement."
    )
    prior_velocity: UserPath | None = _option(
        None, "Map of speed (a band \"v\", or \"vx\" and \"vy\"): pairs over which the ice "
        "would leave the correlator's reach are not made.", "m/yr", example="prior.tif",
    )
    prior_share: float = _option(
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


class Correlate(Stage):
    """The matching of a pair's Band 8 (docs/method.md, "Correlator")."""

    window: Even = _option(32, "Side of the fine window.", "px (15 m)", ge=8, le=256)
    coarse: Even = _option(
        64, "Side of the coarse window; 0 = no coarse search.", "px (15 m)", ge=0, le=256
    )
    step: int = _option(
        8, "Spacing of the nodes and so of the products: 8 px are 120 m.", "px (15 m)",
        ge=1, le=64,
    )
    reach: int | None = _option(
        None, "Search limit per axis; not set = half the coarse window.", "px (15 m)",
        example=32, ge=0, le=4096,
    )
    weight: Literal["white", "half", "cross"] = _option(
        "half", "Weights of the frequencies: the cross-spectrum's amplitude to the 0, 1/2 or 1."
    )
    robust: int = _option(2, "Rounds of robust reweighting.", ge=0, le=10)
    last_taper: float = _option(
        0.25, "Share of the window that tapers off at each end in the last passes.",
        gt=0, le=0.5,
    )
    second_taper: float = _option(
        0.5, "The same in a second, narrower look at the ice, by which the months are brought "
        "from the window's mean to the point's value; 0 = none.", ge=0, le=0.5,
    )
    min_valid: float = _option(0.6, "Least valid share of a fine window.", gt=0, le=1)
    min_evidence: float = _option(5.5, "A match is accepted above this evidence.", ge=0)
    known_evidence: float = _option(
        4.0, "... or this, where neighbours or the coarse window vouch for the place.", ge=0
    )
    max_second: float = _option(
        0.85, "... unless a rival peak reaches this share of its height.", gt=0, le=1
    )
    max_shared: float = _option(
        0.4,
        "... or unless its window shows a neighbour's motion with this share of its evidence.",
        gt=0, le=1,
    )
    min_share: float = _option(
        0.6,
        "... or, where a neighbour moves otherwise, fits worse than this share of the nodes "
        "around it.",
        ge=0, lt=1,
    )
    max_median: float = _option(
        4.0, "Neighbour test: normalised residual above which a match is an outlier.", gt=0
    )
    max_step: float = _option(
        2.0, "Neighbours that differ by more do not hang together in a clump.", "px (15 m)",
        ge=0,
    )
    min_clump: float = _option(
        1.25, "Clumps of good nodes that cover less are dropped.", "fine windows", ge=0
    )
    domain_windows: bool = _option(
        False, "Let windows at a margin see only the ice, or only the ground, of their centre."
    )
    min_matched: float = _option(
        0.05, "Least share of the ice that a pair must match to be used.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _nested(self) -> Correlate:
        if 0 < self.coarse < self.window:
            got = {"got": f"{self.coarse} < {self.window}"}
            raise PydanticCustomError("order", "coarse >= window, or coarse = 0", got)
        if 0 < self.second_taper <= self.last_taper:
            got = {"got": f"{self.second_taper:g} <= {self.last_taper:g}"}
            raise PydanticCustomError("order", "second_taper > last_taper, or 0", got)
        return self

    @property
    def search(self) -> int:
        """Pixels per axis by which a match may have moved."""
        return max(self.coarse // 2, 2) if self.reach is None else self.reach

    @property
    def margin(self) -> int:
        """Pixels around a node that the correlator may look at."""
        return max(self.window, self.coarse) // 2 + self.search + 2

    def windows(self) -> dict[str, Any]:
        """Return the arguments of ``correlate`` that set windows and reach."""
        names = ("window", "coarse", "step", "reach")
        return {name: getattr(self, name) for name in names}

    def settings(self) -> Settings:
        """Return the further options of ``correlate``."""
        from hmavel.correlator import Settings

        names = {field.name for field in fields(Settings)} & set(type(self).model_fields)
        return Settings(**{name: getattr(self, name) for name in names})


class Bias(Stage):
    """The matching error, read off bare ground (docs/method.md, "Bias")."""

    model: Literal["auto", "constant", "plane", "quadratic", "stripes", "none"] = _option(
        "auto", "Shape of the error over the scene."
    )
    column_angle: float | None = _option(
        None, "Direction of the scenes' own columns, clockwise from the image's; not set = "
        "Landsat's track at this latitude.", "degrees", example=12.8, ge=-90, le=90,
    )
    min_count: int = _option(100, "Matched cells of bare ground below which nothing is fitted.",
                             ge=3)
    min_spread: float = _option(
        40.0, "... and their rms distance from their middle.", "px (15 m)", ge=0,
    )
    reach: float = _option(
        333.0, "Distance from the bare ground up to which a shape is continued.", "px (15 m)",
        ge=0,
    )


class Uncertainty(Stage):
    """The static-terrain figures of a pair (docs/method.md, "Uncertainty")."""

    method: Literal["robust", "glaft"] = _option(
        "robust", "Estimator; \"glaft\" gives GLAFT 1.0.0's numbers."
    )
    thres_sigma: float = _option(2.0, "Confidence level of the half-widths.", "sigma", gt=0)
    gridsize: int = _option(60, "Cells of the density mesh along a side.", ge=10, le=1000)


class Gates(Stage):
    """When a pair is doubtful, and when it is not used: [warn, fail] for each figure."""

    static_count: tuple[float, float] = _option(
        (300.0, 0.0), "Matched cells of bare ground, at least."
    )
    static_spread_m: tuple[float, float] = _option(
        (1500.0, 0.0), "Root mean square distance of bare ground from its middle, at least.",
        "m",
    )
    bias_m: tuple[float, float] = _option(
        (30.0, 300.0), "Matching error before its removal, at most.", "m"
    )
    delta_m: tuple[float, float] = _option(
        (9.0, 60.0), "Half-width at 2 sigma of the scatter over bare ground, at most.", "m"
    )
    outliers: tuple[float, float] = _option(
        (0.2, 0.7), "Share of bare ground outside the core of that scatter, at most."
    )
    ground_matched: tuple[float, float] = _option(
        (0.5, 0.0), "Share of bare ground that is matched, at least."
    )
    ice_matched: tuple[float, float] = _option(
        (0.3, 0.0), "Share of the ice that is matched, at least."
    )
    closure: tuple[float, float] = _option(
        (1.5, 4.0), "Spread of triplets over the predicted one, on bare ground, at most."
    )

    @model_validator(mode="after")
    def _worse_fails(self) -> Gates:
        from hmavel.gates import AT_LEAST

        for name in type(self).model_fields:
            warn, fail = getattr(self, name)
            if (fail > warn) if name in AT_LEAST else (fail < warn):
                order = "warn >= fail" if name in AT_LEAST else "warn <= fail"
                got = {"got": f"[{warn:g}, {fail:g}]"}
                raise PydanticCustomError("order", f"{name} = [warn, fail], {order}", got)
        return self

    def limits(self) -> GateLimits:
        """Return them as ``judge`` takes them."""
        from hmavel.gates import Limits as GateLimits

        return GateLimits(**self.model_dump())


class Months(Stage):
    """The monthly inversion (docs/method.md, "Months")."""

    method: Literal["gp", "smooth", "overlap"] = _option(
        "gp", "Gaussian process, second differences, or overlap-weighted mean."
    )
    first: Annotated[str, AfterValidator(_month)] | None = _option(
        None, "First month of the products; not set = the first that a pair covers.",
        example="2013-04",
    )
    last: Annotated[str, AfterValidator(_month)] | None = _option(
        None, "Last month of the products; not set = the last that a pair covers.",
        example="2024-12",
    )
    max_disagreement: float = _option(
        3.0, "A long pair that disagrees more with the short ones of its time is left out.",
        "sigma", gt=0,
    )
    far_m: float = _option(
        60.0, "... and one over which, by the short ones, the ice has moved farther.", "m", gt=0
    )
    scene_sigma_m: float | None = _option(
        None, "Error that the pairs of one scene share, 1 sigma; not set = estimated from "
        "bare ground; 0 = none.", "m", example=1.0, ge=0,
    )
    smoothness: float | None = _option(
        None, "Weight of method \"smooth\"; not set = chosen from the data.", example=10.0, gt=0
    )


class ItsLive(Stage):
    """Pair velocities of ITS_LIVE as another source of pairs."""

    sources: list[UserPath] = _option(
        [], "Datacubes (NetCDF, Zarr), pair granules or folders of granules."
    )
    alone: bool = _option(
        False, "Make the months from these only; no Landsat archive is looked at."
    )
    scene_sigma_m: float | None = _option(
        None, "Error that the pairs of one scene share, 1 sigma, where ITS_LIVE takes part; "
        "not set = learnt from the pairs.", "m", example=1.0, ge=0,
    )

    @model_validator(mode="after")
    def _something(self) -> ItsLive:
        if self.alone and not self.sources:
            got = {"got": "alone = true with no sources"}
            raise PydanticCustomError("source", "itslive.sources where alone is true", got)
        return self


class Output(Stage):
    """Where the products go, and which."""

    folder: UserPath = _option(Path("hmavel-out"), "Folder of the products.")
    wgs84: bool = _option(True, "Also make the region's monthly mosaic in EPSG:4326.")


def _size(text: str) -> str:
    from hmavel.memory import parse

    try:
        parse(text)
    except ValueError as error:
        raise PydanticCustomError("size", 'a size like "8G" or "70%"') from error
    return text


class Run(Stage):
    """How the work is spread."""

    jobs: int = _option(0, "Cores to work on; 0 = all that there are.", ge=0)
    memory: Annotated[str, AfterValidator(_size)] = _option(
        "70%", "Memory for all workers together: a size, or a share of the machine's or its "
        "cgroup's.", example="16G",
    )
    patience_minutes: float = _option(
        60.0, "A worker of a cluster that has finished no task for so long hangs.", "minutes",
        gt=0,
    )
    scene_memory_gb: float = _option(
        1.0, "Memory for the images of a glacier's scenes; beyond it they go to scratch files.",
        "GB", gt=0,
    )


class Config(Stage):
    """The whole configuration of ``hmavel run``."""

    input: Input = Input()
    scenes: Scenes = Scenes()
    glaciers: Glaciers = Glaciers()
    mask: Mask = Mask()
    screening: Screening = Screening()
    pairs: Pairs = Pairs()
    correlate: Correlate = Correlate()
    bias: Bias = Bias()
    uncertainty: Uncertainty = Uncertainty()
    gates: Gates = Gates()
    months: Months = Months()
    itslive: ItsLive = ItsLive()
    output: Output = Output()
    run: Run = Run()

    @model_validator(mode="after")
    def _some_source(self) -> Config:
        if not (self.input.archive or self.scenes.any or self.itslive.alone):
            what = "a source of scenes: input.archive, or one in [scenes]"
            raise PydanticCustomError("source", what, {"got": "none"})
        return self

    def sources(self) -> Sources:
        """Return where scenes are looked for, as ``sources.find_all`` takes it."""
        from hmavel.sources import Sources

        return Sources(
            archive=tuple(self.input.archive),
            earth_engine=tuple(self.scenes.earth_engine),
            csv=tuple(self.scenes.csv),
            stac=tuple(self.scenes.stac),
            stac_collections=tuple(self.scenes.stac_collections),
            stac_max_cloud=self.scenes.stac_max_cloud,
            stac_alternate=self.scenes.stac_alternate,
            retries=self.scenes.retries,
            retry_delay_s=self.scenes.retry_delay_s,
        )


def load(path: Path) -> Config:
    """Read a configuration from a TOML file.

    Raises
    ------
    ConfigError
        The file is missing or not TOML, a key is unknown (the nearest known one is
        named), or a value is out of its range.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "config", path, expected="a readable TOML file", got=_brief(error),
            hint="write one with: hmavel config > my.toml",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            "config", path, expected="TOML", got=f"{error}",
            hint="compare the line with the output of: hmavel config",
        ) from error
    return from_dict(data, base=path.absolute().parent, source=path)


def from_dict(data: dict[str, Any], *, base: Path | None = None, source: object = "") -> Config:
    """Validate a configuration given as nested tables; ``base`` anchors relative paths."""
    # An absent section is validated too: its default paths are relative to the file as well.
    data = {section: {} for section in Config.model_fields} | data
    try:
        return Config.model_validate(data, context={"base": base})
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # An unknown key comes first: it is often the cause of the others.
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        expected, got, hint = _explain(dict(problems[0]))
        if len(problems) > 1:
            hint += f" ({len(problems) - 1} more: "
            hint += ", ".join(_dotted(p["loc"]) for p in problems[1:]) + ")"
        raise ConfigError(
            "config", source or "values", expected=expected, got=got, hint=hint
        ) from error


def template() -> str:
    """Return a commented TOML file with every option, its unit, range and default."""
    head = (
        "# Configuration of hmavel. Every option is listed with its default;\n"
        "# lines that begin with a single '#' and a name are not set.\n"
        "# Relative paths are relative to this file.\n"
    )
    return head + _to_toml(Config(), comments=True)


def to_toml(config: Config) -> str:
    """Return the resolved configuration as TOML that ``load`` reads back to the same."""
    return _to_toml(config, comments=False)


def as_json(config: Stage) -> dict[str, Any]:
    """Return the resolved configuration, or a section of it, as plain JSON values."""
    return config.model_dump(mode="json")


def _to_toml(config: Config, *, comments: bool) -> str:
    lines: list[str] = []
    for section, field in type(config).model_fields.items():
        stage = getattr(config, section)
        if not type(stage).model_fields:
            continue
        lines.append("")
        if comments:
            lines.append(f"# {(type(stage).__doc__ or '').strip()}")
        lines.append(f"[{section}]")
        del field
        for key, info in type(stage).model_fields.items():
            lines.extend(_option_lines(key, getattr(stage, key), info, comments=comments))
    return "\n".join(lines) + "\n"


def _option_lines(key: str, value: Any, info: FieldInfo, *, comments: bool) -> Iterator[str]:
    extra = info.json_schema_extra
    extra = extra if isinstance(extra, dict) else {}
    if comments:
        facts = [f"unit {extra['unit']}"] if extra.get("unit") else []
        facts += [f"range {_range(info)}"] if _range(info) else []
        yield f"# {info.description}" + (f" [{'; '.join(facts)}]" if facts else "")
    if value is not None:
        yield f"{key} = {_toml_value(value)}"
    elif comments:
        yield f"# {key} = {_toml_value(extra['example'])}"


def _range(info: FieldInfo) -> str:
    if getattr(info.annotation, "__origin__", None) is Literal:
        return " | ".join(_toml_value(choice) for choice in info.annotation.__args__)  # type: ignore[union-attr]
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in info.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    even = ["even"] if any(getattr(m, "func", None) is _even for m in info.metadata) else []
    return ", ".join(found + even)


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if value else "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date):
        return value.isoformat()
    # JSON's escapes are a subset of those of a TOML basic string.
    return json.dumps(str(value), ensure_ascii=False)


def _explain(problem: dict[str, Any]) -> tuple[str, str, str]:
    """Turn one of pydantic's problems into (expected, got, hint)."""
    location = problem["loc"]
    name = _dotted(location)
    if problem["type"] == "extra_forbidden":
        section = location[0] if len(location) > 1 else ""
        where = f"[{section}]" if section else "the top level"
        return f"a known key in {where}", f"'{location[-1]}'", _nearest(location)
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"a section [{name}]", f"{problem['input']!r}", "see: hmavel config"
    text = str(problem["msg"]).removeprefix("Input should be ")
    shown = problem.get("ctx", {}).get("got") or repr(problem["input"])
    return f"{name}: {text}", shown, "see its range in: hmavel config"


def _nearest(location: tuple[Any, ...]) -> str:
    key = str(location[-1])
    sections = {
        name: list(field.annotation.model_fields)  # type: ignore[union-attr]
        for name, field in Config.model_fields.items()
    }
    if len(location) == 1:
        near = difflib.get_close_matches(key, sections, n=1)
        if near:
            return f"did you mean [{near[0]}]?"
    else:
        near = difflib.get_close_matches(key, sections.get(str(location[0]), []), n=1)
        if near:
            return f"did you mean '{near[0]}'?"
    for section, keys in sections.items():
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.8)
        if near:
            return f"did you mean '{near[0]}' of [{section}]?"
    known = sections.get(str(location[0]), []) if len(location) > 1 else list(sections)
    return "known are " + ", ".join(known)


def _dotted(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)


def _brief(error: Exception) -> str:
    reason = getattr(error, "strerror", None)
    return str(reason).lower() if reason else f"{type(error).__name__}: {error}"
