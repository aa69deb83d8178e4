"""Is a scene worth correlating for a glacier? Cloud, snow and shadow on its ice, decided."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from rasterio.warp import transform_bounds
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from hmavel._types import BoolArray, Grid, Scene, SceneMask
from hmavel.classes import Thresholds
from hmavel.errors import HmavelError
from hmavel.lattice import around_both
from hmavel.mask import classify, classify_twice, clear_ground, part_of
from hmavel.outline_grid import glacier_grid, surroundings
from hmavel.polygons import rasterize
from hmavel.scene_files import scene_error
from hmavel.seen import ImageWindow, Seen, key_of

if TYPE_CHECKING:
    import geopandas as gpd

log = logging.getLogger(__name__)

_NAN = float("nan")
#: Pixels of the grid on which an outline is drawn before the scene's own is known, metres.
_PIXEL_M = 30.0


@dataclass(frozen=True)
class Limits:
    """What a scene must show of a glacier; shares are of the ice, 0 ... 1."""

    min_valid: float = 0.6  #: least share with image data
    max_cloud: float = 0.3  #: largest share of that under cloud
    max_shadow: float = 0.6  #: ... in shadow (of clouds or of mountains)
    max_snow: float = 1.0  #: ... of snow or snow-covered ice; clean bare ice counts as snow
    max_saturated: float = 0.2  #: ... at the sensor's ceiling
    min_bare: float = 0.0  #: least share of the surroundings that is clear bare ground
    gap_m: float = 120.0  #: the surroundings begin this far from the ice, metres
    ground_m: float = 3000.0  #: and are this wide, metres


@dataclass(frozen=True)
class Decision:
    """One scene for one glacier: taken or not, by which numbers, and why."""

    scene_id: str
    glacier_id: str
    accepted: bool
    reason: str  #: "" when accepted; else the first limit that failed, with its numbers
    source: str = ""  #: as in ``SceneMask``: what the classes were made from
    failed: bool = False  #: the scene could not be read (a fault, not a judgement)
    valid: float = _NAN  #: share of the ice with image data
    cloud: float = _NAN  #: share of the valid ice, as all down to ``saturated``
    shadow: float = _NAN
    snow: float = _NAN
    saturated: float = _NAN
    qa_cloud: float = _NAN  #: what QA_PIXEL alone takes for cloud, for comparison
    ground_valid: float = _NAN  #: share of the surroundings with image data
    ground_cloud: float = _NAN  #: share of the valid surroundings, as the next two
    ground_shadow: float = _NAN
    ground_snow: float = _NAN
    bare_fraction: float = _NAN  #: share of all surroundings that is clear bare ground


def screen(
    scene: Scene,
    glacier: Any,
    limits: Limits | None = None,
    thresholds: Thresholds | None = None,
    *,
    others: gpd.GeoDataFrame | None = None,
) -> Decision:
    """Decide whether a scene is worth correlating for a glacier.

    Parameters
    ----------
    scene
        As ``open_scene`` returns it. Only the windows of its 30 m bands that the glacier and
        its surroundings need are read.
    glacier
        A row of ``read_glaciers`` (``id`` and ``geometry``), or an outline in WGS84.
    limits, thresholds
        Default: ``Limits()``, ``Thresholds()``.
    others
        Glaciers that are cut out of the surroundings; usually the whole inventory.

    Returns
    -------
    Decision
        Never an exception for what is wrong with the scene: an outline outside the image is
        rejected as "outside", a damaged file as "unreadable" with ``failed`` set.
    """
    return screen_all([scene], glacier, limits, thresholds, others=others)[0]


def screen_all(
    scenes: Iterable[Scene],
    glacier: Any,
    limits: Limits | None = None,
    thresholds: Thresholds | None = None,
    *,
    others: gpd.GeoDataFrame | None = None,
) -> list[Decision]:
    """Decide on many scenes for one glacier: `screen`, with the outline drawn once."""
    limits, thresholds = limits or Limits(), thresholds or Thresholds()
    place = Place(glacier, limits, others)
    return [screen_together(scene, [place], limits, thresholds)[0] for scene in scenes]


def screen_together(
    scene: Scene, places: Sequence[Place], limits: Limits, thresholds: Thresholds
) -> list[Decision]:
    """Decide on a scene for places that lie close together, and read it once for all of them.

    Returns
    -------
    list of Decision
        Of each place, as `screen` makes it. What matching will ask for of an accepted scene
        is added to the ``seen`` of a place that has an image.
    """
    west, south, east, north = transform_bounds(scene.grid.crs, "EPSG:4326", *scene.grid.bounds)
    extent = box(west, south, east, north)
    inside = [place for place in places if place.outline.intersects(extent)]
    shared = None
    if len(inside) > 1:
        # What is damaged for one of them may be whole for another: each will see for itself.
        with contextlib.suppress(HmavelError):
            shared = _classes(scene, inside, thresholds)
    return [
        _decide(scene, place, limits, thresholds, shared) if place in inside
        else Decision(scene.id, place.id, accepted=False, reason="outside")
        for place in places
    ]  # fmt: skip


def decisions_table(decisions: Iterable[Decision]) -> pd.DataFrame:
    """Return a row for each decision, fractions rounded to 0.0001."""
    rows = [asdict(decision) for decision in decisions]
    return pd.DataFrame(rows, columns=[f.name for f in fields(Decision)]).round(4)


class Place:
    """A glacier's outline and surroundings, drawn on each grid that is asked for, once.

    Parameters
    ----------
    glacier, limits, others
        As for `screen`.
    image
        The pixels that will be matched, where what is seen of them is wanted as well.
    """

    def __init__(
        self, glacier: Any, limits: Limits, others: gpd.GeoDataFrame | None = None,
        image: ImageWindow | None = None,
    ) -> None:  # fmt: skip
        #: classes of the accepted scenes over the image, by ``seen.key_of``
        self.seen: dict[str, Seen] = {}
        bare = isinstance(glacier, BaseGeometry)
        self.id = "" if bare else str(glacier.id)
        self.outline: BaseGeometry = glacier if bare else glacier.geometry
        self._limits, self._others, self._image = limits, others, image
        self._ring: BaseGeometry | None = None
        self._windows: dict[int, tuple[Grid, Grid | None]] = {}
        self._drawn: dict[Grid, tuple[BoolArray, BoolArray]] = {}

    def windows(self, epsg: int) -> tuple[Grid, Grid | None]:
        """Return what is decided by, and the pixels to be matched, where they are asked for."""
        if epsg not in self._windows:
            margin = self._limits.gap_m + self._limits.ground_m
            self._windows[epsg] = (
                glacier_grid(self.outline, step=_PIXEL_M, margin_m=margin, epsg=epsg),
                None if self._image is None else self._image.of(self.outline, epsg),
            )
        return self._windows[epsg]

    def draw(self, grid: Grid) -> tuple[BoolArray, BoolArray]:
        """Return (ice, surroundings) on a grid."""
        if grid not in self._drawn:
            if self._ring is None:
                self._ring = surroundings(
                    self.outline,
                    gap_m=self._limits.gap_m,
                    width_m=self._limits.ground_m,
                    others=self._others,
                )
            ice = rasterize(self.outline, grid, crs=4326)
            if not ice.any():  # smaller than a pixel
                ice = rasterize(self.outline, grid, crs=4326, all_touched=True)
            self._drawn[grid] = ice, rasterize(self._ring, grid, crs=4326)
        return self._drawn[grid]


class _Classes(NamedTuple):
    """A scene's classes over some places."""

    to_decide: SceneMask
    to_match: SceneMask | None  #: cloud widened as matching wants it; None where none asks


def _classes(scene: Scene, places: Sequence[Place], thresholds: Thresholds) -> _Classes:
    windows, images = zip(*(place.windows(_epsg(scene)) for place in places), strict=True)
    asked = [image for image in images if image is not None]
    around = reduce(around_both, [*windows, *asked])
    # The share of cloud is wanted, not of cloud and the margin that matching keeps from it.
    margin = min(thresholds.cloud_buffer_m, _PIXEL_M)
    if asked:
        return _Classes(*classify_twice(scene, around, thresholds, margin))
    return _Classes(classify(scene, around, replace(thresholds, cloud_buffer_m=margin)), None)


def _epsg(scene: Scene) -> int:
    epsg = scene.grid.crs.to_epsg()
    if epsg is None:
        raise scene_error(
            scene.path, "a CRS with an EPSG code", "one without", "warp it to its UTM zone"
        )
    return int(epsg)


def _decide(
    scene: Scene, place: Place, limits: Limits, thresholds: Thresholds, shared: _Classes | None
) -> Decision:
    """Decide by classes over this place and others, or over this place alone."""
    no = Decision(scene.id, place.id, accepted=False, reason="outside")
    try:
        classes = shared or _classes(scene, [place], thresholds)
        window, image = place.windows(_epsg(scene))
        mask = part_of(classes.to_decide, window)
        ice, ground = place.draw(mask.grid)
    except HmavelError as error:
        log.warning("screening %s %s: %s", place.id, scene.id, error)
        return replace(no, failed=True, reason=f"unreadable: {error}")
    in_sight, open_ground = ice & mask.valid, ground & mask.valid
    if not in_sight.any():
        return replace(no, source=mask.source, valid=0.0)
    found = replace(
        no,
        source=mask.source,
        valid=_share(mask.valid, ice),
        cloud=_share(mask.cloud, in_sight),
        shadow=_share(mask.shadow, in_sight),
        snow=_share(mask.snow, in_sight),
        saturated=_share(mask.saturated, in_sight),
        qa_cloud=_NAN if mask.qa_cloud is None else _share(mask.qa_cloud, in_sight),
        ground_valid=_share(mask.valid, ground),
        ground_cloud=_share(mask.cloud, open_ground),
        ground_shadow=_share(mask.shadow, open_ground),
        ground_snow=_share(mask.snow, open_ground),
        bare_fraction=_share(clear_ground(mask), ground),
    )
    reason = judge(found, limits)
    if not reason and image is not None and classes.to_match is not None:
        with contextlib.suppress(OSError):  # a file that has just gone: matching will say so
            to_match = part_of(classes.to_match, image)
            place.seen[key_of(scene, image, thresholds)] = Seen.of(to_match)
    return replace(found, accepted=not reason, reason=reason)


def judge(found: Decision, limits: Limits) -> str:
    """Return the first limit that the fractions break, in words, or ""."""
    for what, value, least in (
        ("valid", found.valid, limits.min_valid),
        ("bare ground", found.bare_fraction, limits.min_bare),
    ):
        # No surroundings at all (an ice cap) is NaN: only a limit above 0 can then fail.
        if least > 0 and not value >= least:
            return f"{what} {value:.2f} < {least:.2f}"
    for what, value, most in (
        ("cloud", found.cloud, limits.max_cloud),
        ("shadow", found.shadow, limits.max_shadow),
        ("snow", found.snow, limits.max_snow),
        ("saturated", found.saturated, limits.max_saturated),
    ):
        if not value <= most:
            return f"{what} {value:.2f} > {most:.2f}"
    return ""


def _share(mask: BoolArray, of: BoolArray) -> float:
    count = int(np.count_nonzero(of))
    return float(np.count_nonzero(mask & of)) / count if count else _NAN
