"""What a configuration amounts to: glaciers, the scenes worth using for each, their pairs."""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmavel import estimate
from hmavel.acquisitions import Rejected
from hmavel.catalogue import FILE, Catalogue
from hmavel.decided import known_scenes, screen_scenes, wanted
from hmavel.errors import ConfigError, GlacierError, HmavelError
from hmavel.glaciers import read_glaciers, select
from hmavel.outcome import Clock, GlacierPlan, Plan
from hmavel.pairing import reach_days, select_pairs
from hmavel.parallel import Failure
from hmavel.prior import expected_speed
from hmavel.scanning import scan
from hmavel.site import make_site
from hmavel.sources import find_other, with_silent
from hmavel.vsi import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geopandas import GeoDataFrame

    from hmavel._types import Scene
    from hmavel.config import Config
    from hmavel.decided import Found
    from hmavel.estimate import Cost, Work
    from hmavel.outcome import GlacierResult, Row
    from hmavel.screening import Decision
    from hmavel.site import Site

logger = logging.getLogger(__name__)


def plan(
    config: Config, *, jobs: int = 1, clock: Clock | None = None, seen: Path | None = None
) -> Plan:
    """Find the glaciers and scenes, screen every scene for every glacier, choose the pairs.

    Parameters
    ----------
    config
        As ``config.load`` returns it.
    jobs
        As for ``parallel.map``.
    clock
        Where the time spent is added up.
    seen
        Folder for what screening sees and matching will ask for; None to keep nothing.

    Returns
    -------
    Plan
        Products that cannot be read, scenes that cannot be screened and glaciers that cannot
        be laid out are among its failures, glaciers that no scene covers in its notes.

    Raises
    ------
    HmavelError
        There is nothing to plan: a path that is missing, no scene in the archive, no glacier
        that fulfils the criteria, no scene on any of them.

    Notes
    -----
    What is found and decided is kept in ``<out>/catalogue.sqlite``. A second plan opens only
    products that are new or have changed, and decides again only on those, or where an option
    that decisions depend on has changed.
    """
    if config.itslive.alone:
        return _plan_alone(config, clock or Clock())
    with Catalogue(config.output.folder / FILE) as catalogue:
        return _plan(config, catalogue, jobs, clock or Clock(), seen)


def _plan(
    config: Config, catalogue: Catalogue, jobs: int, clock: Clock, seen: Path | None
) -> Plan:
    with clock.stage("find"):
        inventory = read_glaciers(**config.glaciers.reading())
        chosen = _choose(inventory, config)
        other = find_other(
            config.sources(), work=config.output.folder / "mosaics",
            area=_area(chosen), first=config.input.first, last=config.input.last,
        )
        other = with_silent(config.sources(), other, catalogue.scenes())
        scan(catalogue, config.input.archive, more=other)
        catalogue.sync_glaciers(chosen)
        rejected = [Rejected(Path(item), reason) for item, reason in catalogue.left_out()]
        scenes = wanted(catalogue.scenes(), config)
    failures = [_unusable(item) for item in rejected if item.fault]
    if not scenes:
        raise _no_scene(config, rejected)
    # The failures of the products that could not be opened are in the table as well.
    shared = [_rejected_row(item) for item in rejected]
    with clock.stage("screen"):
        decisions, failed = screen_scenes(
            chosen, inventory, catalogue, config, jobs, seen
        )
    failures += failed
    glaciers = []
    notes = [f"{name}: left out, {why}" for name, why in inventory.attrs["refused"]]
    made = [d.source for found in decisions.values() for _, d in found.values() if d.source]
    if blind := sum(source != "albedo+qa" for source in made):
        notes.append(
            f"{blind} of {len(made)} decisions were made without the 30 m bands and are right "
            "in six cases of ten: add Bands 2 to 7 beside Band 8 (docs/method.md, Masks)"
        )
    for glacier in chosen.itertuples():
        found = decisions[glacier.id]
        if not found:
            if not any(glacier.id in failure.item for failure in failed):
                notes.append(f"{glacier.id}: no scene covers it")
            continue
        try:
            planned = _plan_glacier(glacier, inventory, found, config)
            catalogue.plan_pairs(glacier.id, planned.pairs)
            glaciers.append(planned)
        except HmavelError as error:
            failures.append(Failure.of(f"glacier {glacier.id}", error))
    if not glaciers and not failures:
        raise _outside(chosen, scenes)
    for note in notes:
        logger.warning("%s", note)
    return Plan(
        config.output.folder, glaciers, len(scenes), failures, notes, shared,
        config.pairs.short_days,
    )


def draw_calendars(plan: Plan) -> list[Path]:
    """Draw ``<out>/<glacier>/scenes.png`` for every planned glacier; return the files."""
    from hmavel.scene_calendar import draw_calendar

    drawn = []
    for glacier in plan.glaciers:
        site = glacier.site
        title = f"{site.id}  {site.name}".rstrip() + f", {site.area_km2:.0f} km²: "
        title += f"{len(glacier.scenes)} of {len(glacier.rows)} scenes accepted"
        path = plan.folder / site.id / "scenes.png"
        draw_calendar(path, glacier.rows, title)
        drawn.append(path)
    return drawn


def expected_cost(plan: Plan, config: Config) -> tuple[Cost, Cost, Work, float]:
    """Return the cost of a plan and of all of High Mountain Asia at this machine's speed.

    Returns
    -------
    (Cost, Cost, Work, float)
        Of the plan, of the region, the region's work, and the CPU-seconds of a node here.
    """
    speed_s = estimate.measure_speed()
    rates = estimate.scaled(estimate.Rates(), speed_s)
    months = 0
    if (span := plan.span) is not None:
        months = len(config.months.covered([span[0]], [span[1]]))
    work = estimate.work_of(plan.glaciers, months)
    region = estimate.high_mountain_asia(
        work.pairs / work.selections if work.selections >= 40 else 5.5
    )
    return (
        estimate.cost_of(work, rates), estimate.cost_of(region, rates), region, speed_s
    )


def _plan_alone(config: Config, clock: Clock) -> Plan:
    """Lay out the glaciers on the lattice zone of ITS_LIVE's pairs, without any scene."""
    with clock.stage("find"):
        inventory = read_glaciers(**config.glaciers.reading())
        chosen = _choose(inventory, config)
        from hmavel.itslive import source_epsg  # with xarray: 70 MB that most do without

        epsg = source_epsg(config.itslive.sources)
    glaciers, failures = [], []
    for glacier in chosen.itertuples():
        try:
            site = _site(glacier, inventory, epsg, config)
        except HmavelError as error:
            failures.append(Failure.of(f"glacier {glacier.id}", error))
        else:
            glaciers.append(GlacierPlan(site, [], [], []))
    return Plan(config.output.folder, glaciers, 0, failures)


def remember_pairs(plan: Plan, results: Sequence[GlacierResult]) -> None:
    """Keep in the catalogue what became of each planned pair."""
    with Catalogue(plan.folder / FILE) as catalogue, catalogue.transaction():
        known = set(catalogue.glaciers())
        for result in results:
            if result.id in known:
                catalogue.mark_pairs(result.id, result.rows)


def recall(config: Config) -> dict[str, GlacierPlan]:
    """Return glacier id -> plan from what the catalogue knows, without looking at any scene.

    Raises
    ------
    HmavelError
        There is no catalogue, or the inventory cannot be read.
    """
    with Catalogue(config.output.folder / FILE, read_only=True) as catalogue:
        inventory = read_glaciers(**config.glaciers.reading())
        plans = {}
        for glacier in _choose(inventory, config).itertuples():
            found = known_scenes(glacier, catalogue, config).found
            if found:
                plans[glacier.id] = _plan_glacier(glacier, inventory, found, config)
    return plans


def _choose(inventory: GeoDataFrame, config: Config) -> GeoDataFrame:
    asked = config.glaciers
    chosen = select(
        inventory, min_area_km2=asked.min_area_km2, ids=asked.ids or None,
        regions=asked.regions or None, bbox=asked.bbox,
    )
    if not len(chosen):
        raise GlacierError(
            "glaciers", asked.inventory, expected="glaciers that fulfil [glaciers]",
            got=f"none of {len(inventory)}",
            hint="lower min_area_km2, or widen bbox or regions",
        )
    return chosen


def _area(chosen: GeoDataFrame) -> tuple[float, float, float, float]:
    """Return the box around all glaciers: west, south, east, north, degrees."""
    west, south, east, north = (float(edge) for edge in chosen.total_bounds)
    return west, south, east, north


def _plan_glacier(
    glacier: Any, inventory: GeoDataFrame, found: Found, config: Config
) -> GlacierPlan:
    """Lay out a glacier in the zone that most of its scenes are in, and choose its pairs."""
    accepted = [scene for scene, decision in found.values() if decision.accepted]
    zones = Counter(int(scene.grid.crs.to_epsg()) for scene in accepted)
    # Of two zones with equally many scenes, the smaller code: the same in every run.
    epsg = min(zones, key=lambda code: (-zones[code], code)) if zones else None
    site = _site(glacier, inventory, epsg, config)
    rows, scenes = [], []
    for scene, decision in sorted(found.values(), key=lambda item: (item[0].time, item[0].id)):
        row = _scene_row(glacier.id, scene, decision)
        if decision.accepted:
            scenes.append(scene)
        rows.append(row)
    pairs = select_pairs(scenes, **_pair_options(site, config))
    logger.info(
        "%s: %d scenes, %d accepted, %d pairs", glacier.id, len(rows), len(scenes), len(pairs)
    )
    return GlacierPlan(site, rows, scenes, pairs)


def _pair_options(site: Site, config: Config) -> dict[str, Any]:
    """Return the arguments of ``select_pairs``: baselines within reach, as far as is known."""
    options = config.pairs.choice()
    if config.pairs.prior_velocity is None:
        return options
    speed = expected_speed(config.pairs.prior_velocity, site, config.pairs.prior_share)
    if math.isnan(speed):
        logger.warning("%s: the prior velocity map does not show it", site.id)
        return options
    days = reach_days(speed, config.correlate.search * site.image.pixel)
    longest = max(min(days, config.pairs.max_days), config.pairs.min_days)
    if days < config.pairs.min_days:
        logger.warning(
            "%s: at %.0f m/yr even the shortest pairs leave the correlator's reach of %d px; "
            "enlarge correlate.coarse or correlate.reach",
            site.id, speed, config.correlate.search,
        )  # fmt: skip
    logger.info("%s: %.0f m/yr, pairs of at most %.0f days", site.id, speed, longest)
    return options | {"max_days": longest}


def _site(
    glacier: Any, inventory: GeoDataFrame, epsg: int | None, config: Config
) -> Site:
    return make_site(
        glacier, inventory, epsg=epsg, step=config.correlate.step,
        reach=config.correlate.margin, margin_m=config.glaciers.margin_m,
        ice_buffer_m=config.glaciers.ice_buffer_m,
    )


def _scene_row(glacier: str, scene: Scene, decision: Decision) -> Row:
    return {
        "glacier": glacier, "scene": scene.id, "time": str(scene.time),
        "accepted": decision.accepted, "reason": decision.reason, "valid": decision.valid,
        "cloud": decision.cloud, "shadow": decision.shadow, "snow": decision.snow,
        "saturated": decision.saturated, "bare": decision.bare_fraction,
        "source": decision.source, "path": shown(scene.path),
    }  # fmt: skip


def _rejected_row(item: Rejected) -> Row:
    return {
        "glacier": "", "scene": item.path.name, "accepted": False, "reason": item.reason,
        "path": shown(item.path),
    }  # fmt: skip


def _unusable(item: Rejected) -> Failure:
    return Failure(f"product {shown(item.path)}", item.reason, "SceneError")


def _no_scene(config: Config, rejected: Sequence[Rejected]) -> ConfigError:
    got = f"none usable, {len(rejected)} left out" if rejected else "none"
    first = f"; the first reason: {rejected[0].reason}" if rejected else ""
    found = config.scenes
    places = [*config.input.archive, *found.earth_engine, *found.csv, *found.stac]
    return ConfigError(
        "input", ", ".join(str(place) for place in places),
        expected="Landsat-8/9 scenes that fulfil [input]", got=got,
        hint=f"check archive, first, last and wrs, and [scenes]{first}",
    )


def _outside(chosen: GeoDataFrame, scenes: list[Scene]) -> GlacierError:
    return GlacierError(
        "glaciers", chosen["id"].iloc[0] if len(chosen) == 1 else f"all {len(chosen)}",
        expected=f"an outline that one of the {len(scenes)} scenes covers",
        got="outlines outside of every image",
        hint="check that archive and inventory are of one place",
    )
