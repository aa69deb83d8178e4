"""The months of a glacier, from its pairs and those of ITS_LIVE."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import __version__, derived, kept_prior, state
from hmavel._types import days_between, years_between
from hmavel.config import as_json, product_options
from hmavel.coupling import couple, missing_of_level
from hmavel.figures_floor import floor_figure
from hmavel.glacier_floor import FIGURE as FLOOR_FIGURE
from hmavel.glacier_floor import GROUND, FloorResult, glacier_floor, ground_cells
from hmavel.glacier_floor import RECORD as FLOOR
from hmavel.inputs import INPUTS, digest, shortened, together
from hmavel.joined import facts_of, join, source_of
from hmavel.month import Months, compose_months
from hmavel.pair_stack import KEPT, MORE, believed, read_pairs, shared_sigma
from hmavel.product.derived_field import combine_derived
from hmavel.product.derived_files import FILES as DERIVED_FILES
from hmavel.product.derived_files import write_derived
from hmavel.product.field import BLANK, combine
from hmavel.product.month_files import write_months
from hmavel.resolution import Gain, cells_alike, edge_zones, fit_gain, stretch, taper_variance
from hmavel.shared_error import match_part

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hmavel._types import BoolArray, FloatArray, TimeArray
    from hmavel.config import Config
    from hmavel.itslive import PairStack
    from hmavel.outcome import Clock, GlacierPlan, Row
    from hmavel.site import Site
    from hmavel.spread import Span


_NOTHING = kept_prior.Learnt(None, None, None)


def compose_glacier(
    glacier: GlacierPlan,
    *,
    used: list[Row],
    folder: Path,
    config: Config,
    span: Span | None,
    jobs: int,
    clock: Clock,
    other: PairStack | None = None,
) -> tuple[str, int]:
    """Turn a glacier's pairs into its monthly files; return their fingerprint and number.

    ``other`` are pairs of ITS_LIVE, on the glacier's grid. Only cells on the glacier are
    composed. The record that the months are done is removed before the first file is written
    and comes back after the last. What the months were learnt with stays in ``prior.json``: as
    long as the pairs are the same, it is not learnt again.
    """
    site = glacier.site
    start = np.array([row["start"] for row in used], "datetime64[ms]")
    end = np.array([row["end"] for row in used], "datetime64[ms]")
    starts, ends = ([span[0]], [span[1]]) if span else ([], [])
    if other is not None:
        starts, ends = [*starts, *other.start], [*ends, *other.end]
    months = config.months.covered(starts, ends)
    shared: tuple[Any, Any] = shared_sigma(config, folder, used)
    of_pairs = state.fingerprint(
        __version__, as_json(config.months) | {"first": None, "last": None, "prior": None},
        config.pairs.short_days, sorted(row[state.KEY] for row in used), shared,
        [as_json(config.itslive), facts_of(config.itslive.sources)] if other else [],
    )
    known: dict[str, kept_prior.Learnt] = {}
    if config.months.prior is not None:
        known = kept_prior.fixed(config.months.prior, site.id)
        of_pairs = state.fingerprint(of_pairs, "fixed", kept_prior.words(known))
    expected = state.fingerprint(of_pairs, [str(months[0]), len(months)])
    # The overlap's months have no prior, and no covariance to derive anything with.
    learns = config.months.method != "overlap"
    wants_derived = config.output.derived and learns
    rules = ["floor", derived.LEAST_FOR_TREND, str(config.input.dem)]
    expected = state.fingerprint(expected, rules if wants_derived else "no derived files")
    record = folder / "months.json"
    before = state.read_record(record)
    if state.is_done(record, expected, [folder / name for name in before.get("files", [])]):
        return expected, len(months)
    record.unlink(missing_ok=True)
    known = known or kept_prior.kept(folder, of_pairs)
    with clock.stage("months"):
        gain = None
        twice = bool(used) and config.correlate.second_taper > 0
        wanted = [(site.ice, KEPT + MORE * twice)]
        if wants_derived:
            wanted.append((ground_cells(site, config), GROUND))
        stack, *ground = read_pairs(folder / "pairs", used, *wanted)
        if twice:
            stack, gain = _sharpened(stack, start, end, site, config)
        if other is not None:
            stack, start, end = join(stack, start, end, other, site.ice)
            learnt = config.itslive.scene_sigma_m
            shared = ("learn" if learnt is None else learnt,) * 2
        years = years_between(start, end)
        stack = believed(stack, start, end, config)
        composed = {}
        for axis, scene_sigma in zip(("vx", "vy"), shared, strict=True):
            alone = stack[f"sigma_{axis}"]
            if other is None:  # theirs state the match's error, so far as is known
                alone = match_part(alone, scene_sigma, years)
            velocity, error = _coupled(stack[axis], alone, site, config)
            prior = known.get(axis, _NOTHING)
            on_ice = compose_months(
                velocity, error, start, end, months=months, method=config.months.method,
                scene_sigma=_shared(scene_sigma, prior),
                smoothness=prior.smoothness or config.months.smoothness,
                hyperparameters=prior.hyperparameters, jobs=jobs,
                summary=derived.summary if wants_derived else None,
            )
            if config.months.coupling_m:
                on_ice = _with_level(on_ice, missing_of_level(alone, error))
            composed[axis] = _spread(on_ice, site.ice)
        priors = kept_prior.as_record(composed) if learns else {}
        if learns:
            state.write_record(folder / kept_prior.RECORD, of_pairs, **priors)
        else:
            (folder / kept_prior.RECORD).unlink(missing_ok=True)
        floor: FloorResult | None = None
        if wants_derived:
            seen = np.isfinite(stack["vx"]).sum(axis=0)
            floor = glacier_floor(
                glacier, composed, ground[0], used=used, config=config, jobs=jobs,
                typical_pairs=float(np.median(seen)), other=other,
            )  # fmt: skip
        common = None
        if gain is not None:
            cells = config.correlate.window // config.correlate.step
            on_grid = gain.on_grid(site.ice)
            common = on_grid.relative_error(cells)
            composed["vx"], composed["vy"] = on_grid.widen(
                composed["vx"], composed["vy"], window=cells
            )
    with clock.stage("products"):
        field = combine(
            composed["vx"], composed["vy"], site.grid, domain=site.ice, name=site.id
        )
        inputs = {
            "configuration": product_options(config), "pairs": len(start), state.KEY: expected,
            "scene_sigma_m": list(shared), "prior": kept_prior.in_short(priors),
        }  # fmt: skip
        if other is not None:
            inputs |= source_of(other, len(used))
            inputs["scene_sigma_m"] = [m.scene_sigma for m in composed.values()]
        made_from = together(used)
        if other is not None:
            theirs = (other.start, other.end, other.vx, other.vy)
            made_from["itslive"] = digest(*(np.asarray(array) for array in theirs))
        files = write_months(folder, field, inputs, made_from)
        files += [folder / kept_prior.RECORD] if learns else []
        if floor is not None:
            more = combine_derived(
                composed["vx"], composed["vy"], site.grid, domain=site.ice,
                relative_error=common, floor=floor.floor, name=site.id,
            )
            about = floor.record(more.season)
            state.write_record(folder / FLOOR, expected, **about)
            files.append(folder / FLOOR)
            if floor.floor is not None:
                floor_figure(
                    folder / FLOOR_FIGURE, season=more.season, record=about,
                    title=f"{site.name or site.id}: the season that bare ground shows",
                )  # fmt: skip
                files.append(folder / FLOOR_FIGURE)
            files += write_derived(folder, more, inputs | {INPUTS: shortened(made_from)})
        for pattern in ("velocity_*.tif", FLOOR, FLOOR_FIGURE, *DERIVED_FILES):
            for stale in set(folder.glob(pattern)) - set(files):
                stale.unlink()  # what a former configuration asked for
        state.write_record(
            record, expected, files=[file.name for file in files],
            **{state.SUMS: state.sums(files), INPUTS: made_from},
        )
    return expected, len(months)


def _shared(scene_sigma: Any, prior: kept_prior.Learnt) -> Any:
    """Return the scenes' error: what was learnt before, where it is to be learnt."""
    known = scene_sigma == "learn" and prior.scene_sigma is not None
    return prior.scene_sigma if known else scene_sigma


def _sharpened(
    stack: dict[str, FloatArray], start: TimeArray, end: TimeArray, site: Site, config: Config
) -> tuple[dict[str, FloatArray], Gain]:
    """Bring pairs from the window's mean to the point; return how far, too."""
    cells = config.correlate.window / config.correlate.step
    zone = edge_zones(site.all_ice, cells)
    kept = {name: stack[name] for name in KEPT}
    seen = believed(kept, start, end, config)
    gain = fit_gain(
        seen["vx"], seen["vy"], stack["more_vx"], stack["more_vy"],
        np.hypot(kept["sigma_vx"], kept["sigma_vy"]) / np.sqrt(2.0),
        days_between(start, end),
        factor=stretch(config.correlate.last_taper, config.correlate.second_taper),
        zone=zone[site.ice][None], repeats=cells_alike(config.correlate.last_taper, cells),
    )  # fmt: skip
    vx, vy = gain.sharpen(kept["vx"], kept["vy"])
    return kept | {"vx": vx, "vy": vy}, gain


def _coupled(
    velocity: FloatArray, sigma: FloatArray, site: Site, config: Config
) -> tuple[FloatArray, FloatArray]:
    """Let the cells on ice, (pairs, 1, cells), hear their neighbours, if that is asked for."""
    if not config.months.coupling_m:
        return velocity, sigma
    window = config.correlate.window / config.correlate.step
    maps = [np.full((len(velocity), *site.ice.shape), np.nan, np.float32) for _ in range(2)]
    for on_grid, values in zip(maps, (velocity, sigma), strict=True):
        on_grid[:, site.ice] = values[:, 0]
    coupled = couple(
        *maps, radius=config.months.coupling_m / site.grid.transform.a,
        correlation_variance=taper_variance(config.correlate.last_taper) * window**2,
    )  # fmt: skip
    found, error = (on_grid[:, site.ice][:, None] for on_grid in coupled)
    return found, error


def _with_level(months: Months, level: FloatArray) -> Months:
    """Add an error that all months of a cell have in common, ``level`` (1, cells), m/yr."""
    sigma = np.hypot(months.sigma, level)
    following = np.full_like(sigma, np.nan)
    both = months.next_correlation[:-1] * months.sigma[:-1] * months.sigma[1:] + level**2
    following[:-1] = both / (sigma[:-1] * sigma[1:])
    summary = dict(months.summary)
    for name in ("annual_sigma", "climatology_sigma"):
        if name in summary:
            summary[name] = np.hypot(summary[name], level)
    if "wave_covariance" in summary:
        spread = summary["wave_covariance"].copy()
        spread[0, 0] += level**2
        summary["wave_covariance"] = spread
    return replace(months, sigma=sigma, next_correlation=following, summary=summary)


def _spread(months: Months, ice: BoolArray) -> Months:
    """Put the months of the cells on ice, (..., 1, cells), back on their grid."""
    elsewhere = {"count": 0, "flag": BLANK, "cell_class": -1}
    cells = (1, int(ice.sum()))

    def on_grid(name: str, values: NDArray[Any]) -> NDArray[Any]:
        shape = (*values.shape[:-2], *ice.shape)
        otherwise = elsewhere.get(name, 0 if values.dtype.kind == "i" else np.nan)
        out = np.full(shape, otherwise, values.dtype)
        out[..., ice] = values[..., 0, :]
        return out

    spread: dict[str, Any] = {}
    for field in fields(months):
        values = getattr(months, field.name)
        if isinstance(values, np.ndarray) and values.shape[-2:] == cells:
            spread[field.name] = on_grid(field.name, values)
    spread["summary"] = {name: on_grid(name, a) for name, a in months.summary.items()}
    return replace(months, **spread)
