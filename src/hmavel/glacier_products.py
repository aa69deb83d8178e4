"""What is made of finished pairs and months: table, Zarr, granules, STAC, the run's catalogue.

Kept apart from the months, so that switching one of them on does not make the months again.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import __version__, state
from hmavel._types import DAYS_PER_YEAR
from hmavel.centre_line import cells_along
from hmavel.errors import ConfigError
from hmavel.glacier_floor import FIGURE as FLOOR_FIGURE
from hmavel.glacier_floor import RECORD as FLOOR
from hmavel.joined import facts_of
from hmavel.kept_prior import RECORD as PRIOR
from hmavel.pair_stack import KEPT, read_pairs
from hmavel.polygons import read_lines
from hmavel.product.field import BAND_NOTES, BAND_UNITS
from hmavel.product.granule import write_granule
from hmavel.product.month_files import open_months
from hmavel.product.series import COLUMNS, glacier_series, write_parquet
from hmavel.product.stac_files import COLLECTION, write_catalog, write_stac
from hmavel.product.zarr_cube import write_zarr
from hmavel.raster import read_grid
from hmavel.site import PIXEL_M
from hmavel.tables import read_table

if TYPE_CHECKING:
    from hmavel.config import Config
    from hmavel.outcome import Clock, Row
    from hmavel.product.month_files import MonthFiles
    from hmavel.site import Site

SERIES, ZARR, GRANULES = "timeseries.csv", "velocity.zarr", "granules"
PARQUET = "timeseries.parquet"
#: What the record of these products is called.
RECORD = "products.json"
#: Files that cover all months: key and title of their asset.
_WHOLE = {
    "velocity.nc": ("cube", "all months as CF NetCDF"),
    "derived.nc": ("derived", "annual means, season, trend, anomalies"),
    "season_trend.tif": ("season_trend", "season and trend along the mean flow"),
    PRIOR: ("prior", "what the months' prior was, for each class of cells"),
    FLOOR: ("floor", "season and trend that bare ground shows, and what of the ice is below"),
    FLOOR_FIGURE: ("floor_figure", "the floor, and the ice that rises above it"),
    SERIES: ("timeseries", "a row a month: medians, percentiles, area, flags"),
    ZARR: ("cube_zarr", "all months as Zarr"),
}
#: Options that need a package beyond the base install, with its extra.
_EXTRAS = {"zarr": ("zarr", "zarr"), "parquet": ("pyarrow", "parquet")}


def check_packages(config: Config) -> None:
    """Refuse options whose package is missing before hours are spent.

    Raises
    ------
    ConfigError
        It names the extra to install.
    """
    for name, (package, extra) in _EXTRAS.items():
        if getattr(config.output, name) and find_spec(package) is None:
            raise ConfigError(
                "config", f"output.{name}", expected=f"the package {package}",
                got="none installed", hint=f"pip install 'hmavel[{extra}]', or set it to false",
            )  # fmt: skip


def finish_glacier(
    site: Site, folder: Path, used: list[Row], config: Config, months: str, clock: Clock
) -> None:
    """Make the table, and Zarr, granules and STAC where they are wanted.

    Parameters
    ----------
    site
        The glacier.
    folder
        Of its products, with its months.
    used
        Rows of its own pairs that the months rest on.
    config
        ``output`` says what is wanted.
    months
        Fingerprint of the months that are there.
    clock
        Counts the time.

    Raises
    ------
    HmavelError
        A monthly file is damaged, the centre lines cannot be read, a package is not
        installed, or a file cannot be written.
    """
    output, record = config.output, folder / RECORD
    lines = output.centre_lines
    expected = state.fingerprint(
        __version__, months, output.zarr, output.stac, output.granules,
        [str(lines), facts_of([lines])] if lines else [],
    )
    if state.is_done(record, expected):
        return
    record.unlink(missing_ok=True)
    with clock.stage("write"):
        source = open_months(folder)
        line = cells_along(read_lines(lines, site.grid), site.grid, site.ice) if lines else None
        rows = glacier_series(source, line)
        made = [folder / SERIES]
        state.write_csv(made[0], rows, tuple(COLUMNS))
        zarr, granules = folder / ZARR, folder / GRANULES
        for unwanted in (zarr, granules):
            if unwanted.exists():
                shutil.rmtree(unwanted)
        if output.zarr:
            write_zarr(folder / "velocity.nc", zarr)
            made += sorted(path for path in zarr.rglob("*") if path.is_file())
        if output.granules:
            made += [_granule(row, site, folder, config) for row in used]
        sums = _sums(made, folder)
        items = _stac(site, source, rows, sums) if output.stac else []
        for stale in {*folder.glob("velocity_*.json"), folder / COLLECTION} - set(items):
            stale.unlink(missing_ok=True)
        state.write_record(record, expected, **{state.SUMS: sums | _sums(items, folder)})


def _granule(row: Row, site: Site, folder: Path, config: Config) -> Path:
    """Write a pair as ITS_LIVE would have it."""
    everywhere = np.ones(site.grid.shape, bool)
    [bands] = read_pairs(folder / "pairs", [row], (everywhere, KEPT))
    years = row["days"] / DAYS_PER_YEAR
    shift = [np.nan if row[f"bias_{to}_m"] is None else row[f"bias_{to}_m"] / years
             for to in ("east", "north")]  # fmt: skip
    error = [np.nan if row[name] is None else row[name] for name in ("sigma_vx", "sigma_vy")]
    start, end = (np.datetime64(row[name], "ms") for name in ("start", "end"))
    return write_granule(
        folder / GRANULES,
        reference=row["reference"],
        secondary=row["secondary"],
        start=start,
        end=end,
        grid=site.grid,
        velocity={name: band.reshape(site.grid.shape) for name, band in bands.items()},
        error=(error[0], error[1]),
        shift=(shift[0], shift[1]),
        stable_count=int(row["stable"] or 0) if row["model"] != "none" else 0,
        region=site.ice,
        window_m=config.correlate.window * PIXEL_M,
    )


def _sums(files: list[Path], folder: Path) -> dict[str, list[Any]]:
    """Return the checksums of files in and below a folder, by their path in it."""
    return {
        path.relative_to(folder).as_posix(): state.sums([path])[path.name] for path in files
    }


def _stac(
    site: Site, source: MonthFiles, rows: list[Row], sums: dict[str, list[Any]]
) -> list[Path]:
    folder = source.folder
    known = state.read_record(folder / "months.json").get(state.SUMS, {}) | sums
    others = {
        key: (folder / name, title)
        for name, (key, title) in _WHOLE.items()
        if (folder / name).exists()
    }
    for path in sorted(folder.glob("annual_*.tif")):
        others[path.stem] = (path, f"mean of the calendar year {path.stem[-4:]}")
    title = f"Monthly velocity of {site.name or 'the glacier'} ({site.id})"
    return write_stac(
        folder,
        title=title,
        description=f"{title}, from the displacement of its surface texture between "
        "Landsat-8/9 Band 8 images; 1 sigma with every value. vx and vy follow the UTM grid.",
        grid=source.grid,
        months={month: folder / f"velocity_{month}.tif" for month in source.months},
        bands={name: (unit, BAND_NOTES[name]) for name, unit in BAND_UNITS.items()},
        others=others,
        sums=known,
        properties={
            row["month"]: {
                "hmavel:glacier": site.id,
                "hmavel:covered_share": round(row["covered_share"], 4),
                "hmavel:measured_share": round(row["measured_share"], 4),
            }
            for row in rows
        },
    )


def finish_run(folder: Path, glaciers: list[Path], config: Config) -> None:
    """Write the table and the catalogue of all glaciers of a run.

    Parameters
    ----------
    folder
        The output folder.
    glaciers
        Folders of the glaciers that have months.
    config
        ``output`` says what is wanted.

    Raises
    ------
    HmavelError
        A glacier's table cannot be read, or a file cannot be written.
    """
    rows: list[Row] = []
    for path in glaciers:
        if (path / SERIES).is_file():  # else its failure is on record
            rows += read_table(path / SERIES)
    state.write_csv(folder / SERIES, rows, tuple(COLUMNS))
    if config.output.parquet:
        write_parquet(folder / PARQUET, [_numbers(row) for row in rows])
    if config.output.stac:
        mosaics = folder / "wgs84"
        if (mosaics / "mosaic.json").is_file():
            _mosaic_stac(mosaics)
        known = [path for path in (*glaciers, mosaics) if (path / COLLECTION).is_file()]
        write_catalog(folder, known)


def _numbers(row: Row) -> Row:
    """Turn the words of a CSV row into numbers where the column has some."""
    words = ("glacier", "month", "start", "end")
    return {
        name: row[name] if name in words else float(row[name] or "nan") for name in COLUMNS
    } | {"flag": int(row["flag"])}


def _mosaic_stac(folder: Path) -> None:
    record = state.read_record(folder / "mosaic.json")
    files = sorted(folder / name for name in record.get("files", []))
    if not files:
        return
    true = {"vx": "velocity towards true east", "vy": "velocity towards true north"}
    notes = BAND_NOTES | true
    title = "Monthly velocity of all glaciers"
    written = write_stac(
        folder,
        title=title,
        description=f"{title} of the run in EPSG:4326, cells of 4 arc-seconds; empty where "
        "there is no ice.",
        grid=read_grid(files[0]),
        months={path.stem.removeprefix("velocity_"): path for path in files},
        bands={name: (unit, notes[name]) for name, unit in BAND_UNITS.items()},
        others={},
        sums=record.get(state.SUMS, {}),
    )
    for stale in set(folder.glob("velocity_*.json")) - set(written):
        stale.unlink()
