"""From velocities to what is on disk: [months], [itslive], [output], [run]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from hmavel.config.option import Month, Size, Stage, UserPath, option

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from hmavel._types import TimeArray


class Months(Stage):
    """The monthly inversion (docs/method.md, "Months")."""

    method: Literal["gp", "smooth", "overlap"] = option(
        "gp", "Gaussian process, second differences, or overlap-weighted mean."
    )
    first: Month | None = option(
        None, "First month of the products; not set = the first that a pair covers.",
        example="2013-04",
    )
    last: Month | None = option(
        None, "Last month of the products; not set = the last that a pair covers.",
        example="2024-12",
    )
    max_disagreement: float = option(
        3.0, "A long pair that disagrees more with the short ones of its time is left out.",
        "sigma", gt=0,
    )
    far_m: float = option(
        60.0, "... and one over which, by the short ones, the ice has moved farther.", "m", gt=0
    )
    scene_sigma_m: float | None = option(
        None, "Error that the pairs of one scene share, 1 sigma; not set = estimated from "
        "bare ground; 0 = none.", "m", example=1.0, ge=0,
    )
    coupling_m: float = option(
        0.0, "Cells within about this distance are heard with each cell, where they change "
        "alike; 0 = each cell by itself.", "m", example=240.0, ge=0,
    )
    smoothness: float | None = option(
        None, "Weight of method \"smooth\"; not set = chosen from the data.", example=10.0, gt=0
    )
    prior: UserPath | None = option(
        None, "For method \"gp\": a prior.json, or the output folder of a run in which each "
        "glacier finds its own, to take the prior's numbers from; not set = learnt from the "
        "glacier's pairs.", example="out-2023",
    )

    def covered(
        self, starts: Iterable[np.datetime64], ends: Iterable[np.datetime64]
    ) -> TimeArray:
        """Return the months of all products: as set, else those that any pair touches."""
        import numpy as np

        first = self.first or str(min(starts))
        last = self.last or str(max(ends))
        return np.arange(first[:7], np.datetime64(last[:7], "M") + 1, dtype="datetime64[M]")


class ItsLive(Stage):
    """Pair velocities of ITS_LIVE as another source of pairs."""

    sources: list[UserPath] = option(
        [], "Datacubes (NetCDF, Zarr), pair granules or folders of granules."
    )
    alone: bool = option(
        False, "Make the months from these only; no Landsat archive is looked at."
    )
    scene_sigma_m: float | None = option(
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

    folder: UserPath = option(Path("hmavel-out"), "Folder of the products.")
    wgs84: bool = option(True, "Also make the region's monthly mosaic in EPSG:4326.")
    derived: bool = option(
        True, "Also make annual means, season, trend and anomalies of each glacier, with their "
        "errors."
    )
    stac: bool = option(True, "Also write STAC items and collections beside the products.")
    parquet: bool = option(
        False, "Also write the table of all time series as Parquet (hmavel[parquet])."
    )
    zarr: bool = option(False, "Also write each glacier's cube as Zarr (hmavel[zarr]).")
    granules: bool = option(
        False, "Also write every pair that is used in the form of ITS_LIVE's granules."
    )
    centre_lines: UserPath | None = option(
        None, "Vector file of centre lines; the table then has the mean along the line of each "
        "glacier that has most of its way on its ice.", example="centre_lines.gpkg",
    )


class Run(Stage):
    """How the work is spread."""

    jobs: int = option(0, "Cores to work on; 0 = all that there are.", ge=0)
    memory: Size = option(
        "70%", "Memory for all workers together: a size, or a share of the machine's or its "
        "cgroup's.", example="16G",
    )
    patience_minutes: float = option(
        60.0, "A worker of a cluster that has finished no task for so long hangs.", "minutes",
        gt=0,
    )
    scene_memory_gb: float = option(
        1.0, "Memory for the images of a glacier's scenes; beyond it they go to scratch files.",
        "GB", gt=0,
    )
