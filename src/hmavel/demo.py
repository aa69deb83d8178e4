"""The whole chain on a small archive whose flow is known, and how far the months are off."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import config, parallel, simulate, state, workflow
from hmavel.atomic import write_text
from hmavel.core import NMAD
from hmavel.figures import Series, glacier_figure
from hmavel.outcome import Clock
from hmavel.product.month_files import open_months
from hmavel.raster import read_band
from hmavel.raster_resample import resample
from hmavel.simulate.build import DEMO

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel._types import BoolArray, FloatArray, Grid
    from hmavel.outcome import GlacierPlan, GlacierResult, RunResult
    from hmavel.simulate.truth import Archive

logger = logging.getLogger(__name__)

#: A value further off than both of these is a gross error: m/yr, and its own sigmas.
GROSS_M_YR, GROSS_SIGMAS = 50.0, 4.0
#: Columns of ``demo.csv``.
SCORE_COLUMNS = (
    "glacier", "name", "quantity", "values", "blank", "bias", "rmse", "nmad", "gross",
    "within_1_sigma", "within_2_sigma",
)  # fmt: skip


@dataclass(frozen=True)
class Score:
    """How far one quantity of one glacier is from the truth, over its ice and all months."""

    glacier: str
    name: str
    quantity: str  #: "vx", "vy" or "v"
    values: int  #: cells times months that have one
    blank: float  #: share of cells times months without
    bias: float  #: m/yr, mean of measured - true
    rmse: float  #: m/yr
    nmad: float  #: m/yr
    gross: float  #: share that is off by more than GROSS_M_YR and GROSS_SIGMAS
    within_1_sigma: float  #: share of values whose error is below the stated sigma
    within_2_sigma: float


@dataclass(frozen=True)
class DemoResult:
    """What ``hmavel demo`` came to."""

    folder: Path
    run: RunResult
    scores: list[Score]
    pictures: list[Path]
    seconds: dict[str, float]  #: stage -> seconds, the run's stages among them
    elapsed: float


def demo(
    folder: Path, *, jobs: int | None = None, seed: int = 1, size: int | None = None,
    years: float = 2.0,
) -> DemoResult:  # fmt: skip
    """Simulate an archive, run the chain on it, compare the months with the truth.

    Parameters
    ----------
    folder
        Gets ``archive/``, ``demo.toml``, ``out/``, ``demo.csv`` and one PNG per glacier. An
        archive of the same seed and size that is there is used again.
    jobs
        Items worked on at a time, None or 0 = one per core.
    seed, size, years
        Of the simulation; see ``simulate.archive``.

    Returns
    -------
    DemoResult

    Raises
    ------
    HmavelError
        The folder cannot be written, or nothing could be made of the archive.
    """
    jobs = jobs or 0
    clock = Clock()
    with clock.stage("simulate"):
        archive = _archive(folder / "archive", seed, size, years, jobs)
    settings = _settings(archive, folder)
    run = workflow.run(settings, jobs=jobs)
    scores: list[Score] = []
    pictures: list[Path] = []
    with clock.stage("compare"):
        for plan, result in _made(run):
            measured = _months(result)
            truth = archive.true_months(measured["months"], plan.site.grid)
            scores += compare(plan, measured, truth)
            picture = folder / f"{plan.site.id}.png"
            _draw(picture, plan, measured, truth, archive)
            pictures.append(picture)
    state.write_csv(folder / "demo.csv", [vars(score) for score in scores], SCORE_COLUMNS)
    seconds = {**clock.seconds, **run.seconds}
    return DemoResult(folder, run, scores, pictures, seconds, clock.elapsed)


def compare(
    plan: GlacierPlan, measured: dict[str, Any], truth: tuple[FloatArray, FloatArray]
) -> list[Score]:
    """Score the components and the speed over the glacier's ice."""
    ice = plan.site.ice
    true = {"vx": truth[0], "vy": truth[1], "v": np.hypot(*truth)}
    return [
        score(
            measured[name][:, ice] - true[name][:, ice], measured[f"sigma_{name}"][:, ice],
            plan.site.id, plan.site.name, name,
        )
        for name in ("vx", "vy", "v")
    ]


def score(error: FloatArray, sigma: FloatArray, glacier: str, name: str, what: str) -> Score:
    """Return the figures of errors (m/yr, NaN = blank) and their stated sigmas."""
    seen = np.isfinite(error)
    error, sigma = error[seen].astype(float), sigma[seen].astype(float)
    nothing = error.size == 0
    size = np.abs(error)
    centre = np.nan if nothing else np.median(error)
    gross = (size > GROSS_M_YR) & (size > GROSS_SIGMAS * sigma)

    def mean(values: Any) -> float:
        return float("nan") if nothing else float(np.mean(values))

    return Score(
        glacier=glacier, name=name, quantity=what, values=int(error.size),
        blank=float(1 - seen.mean()) if seen.size else float("nan"),
        bias=mean(error), rmse=float(np.sqrt(mean(error**2))),
        nmad=float("nan") if nothing else float(NMAD * np.median(np.abs(error - centre))),
        gross=mean(gross), within_1_sigma=mean(size <= sigma),
        within_2_sigma=mean(size <= 2 * sigma),
    )  # fmt: skip


def _archive(path: Path, seed: int, size: int | None, years: float, jobs: int) -> Archive:
    size = DEMO if size is None else size
    if (path / "truth").is_dir():
        found = simulate.load(path)
        if (found.seed, found.size, found.years) == (seed, size | 1, years):
            logger.info("the archive in %s is used again", path)
            return found
    return simulate.archive(
        path, seed=seed, size=size, years=years, jobs=parallel.cores() if jobs <= 0 else jobs
    )


def _settings(archive: Archive, folder: Path) -> config.Config:
    """Write ``demo.toml``, which the user may run again, and load it."""
    text = "\n".join(
        [
            "# What `hmavel demo` ran; `hmavel run demo.toml` does it again.",
            "[input]", 'archive = ["archive/scenes"]',
            "[glaciers]", 'inventory = "archive/glaciers.gpkg"',
            f"min_area_km2 = {min(10.0, 0.5 * max(archive.areas_km2.values())):.3f}",
            # Less ground and fewer year-long pairs than by default, for the sake of minutes.
            "margin_m = 1500.0", "[pairs]", "per_year = 1", "[output]", 'folder = "out"', "",
        ]
    )  # fmt: skip
    write_text(folder / "demo.toml", text)
    return config.load(folder / "demo.toml")


def _made(run: RunResult) -> list[tuple[GlacierPlan, GlacierResult]]:
    results = {result.id: result for result in run.glaciers if result.months}
    return [
        (plan, results[plan.site.id])
        for plan in run.plan.glaciers
        if plan.site.id in results
    ]


def _months(result: GlacierResult) -> dict[str, Any]:
    """Read a glacier's monthly files: band -> (n_months, rows, cols), and the months."""
    files = open_months(result.folder)
    months = np.array(files.months, "datetime64[M]")
    bands = [files.bands(month) or {} for month in months]
    return {"months": months} | {
        name: np.stack([band[name] for band in bands]) for name in bands[0]
    }


def _draw(
    path: Path, plan: GlacierPlan, measured: dict[str, Any],
    truth: tuple[FloatArray, FloatArray], archive: Archive,
) -> None:  # fmt: skip
    site = plan.site
    fine = _finer(site.grid)
    relief = resample(*read_band(archive.dem), fine, "bilinear"), fine
    series = [
        Series(
            label, row, col, measured["months"], measured["v"][:, row, col],
            measured["sigma_v"][:, row, col],
            measured["months"].astype("datetime64[D]") + np.timedelta64(14, "D"),
            np.hypot(truth[0][:, row, col], truth[1][:, row, col]),
        )
        for label, (row, col) in zip("AB", _places(site.ice, truth), strict=False)
    ]  # fmt: skip
    vx, vy = (np.full(site.grid.shape, np.nan, np.float32) for _ in range(2))
    for out, name in ((vx, "vx"), (vy, "vy")):
        months = measured[name][:, site.ice]
        seen = np.isfinite(months).any(axis=0)
        values = np.full(seen.shape, np.nan, np.float32)
        values[seen] = np.nanmean(months[:, seen], axis=0)
        out[site.ice] = values
    glacier_figure(
        path, title=f"{site.name or site.id} (simulated), {site.area_km2:.1f} km\u00b2",
        grid=site.grid, ice=site.ice, vx=vx, vy=vy, series=series, relief=relief,
    )  # fmt: skip


def _finer(grid: Grid) -> Grid:
    """Return the same ground in cells of a quarter the side."""
    inner = np.arange(-3, 5) / 8  # the centres of quarters, about those of the first two cells
    quarters = grid.nodes(inner[::2], inner[::2])
    return quarters.crop(0, 0, 4 * grid.shape[0], 4 * grid.shape[1])


def _places(ice: BoolArray, truth: tuple[FloatArray, FloatArray]) -> list[tuple[int, int]]:
    """Return two places to look at: where the ice is fastest, and where it is half as fast."""
    speed = np.where(ice, np.hypot(*truth).mean(axis=0), np.nan)
    fastest = np.unravel_index(int(np.nanargmax(speed)), speed.shape)
    half = np.unravel_index(int(np.nanargmin(np.abs(speed - speed[fastest] / 2))), speed.shape)
    return [(int(fastest[0]), int(fastest[1])), (int(half[0]), int(half[1]))]
