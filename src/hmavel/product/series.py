"""A glacier's months as a table: a row a month, over its ice and along its centre line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.atomic import atomic_path
from hmavel.extras import need
from hmavel.product.field import BLANK, MEASURED, REGULARISED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hmavel.product.month_files import MonthFiles

#: Columns with their units and meaning; "" = no unit.
COLUMNS = {
    "glacier": ("", "id in the inventory"),
    "month": ("", "YYYY-MM"),
    "start": ("", "first day of the month"),
    "end": ("", "first day of the next month: the month's end, not part of it"),
    "area_km2": ("km2", "area of the cells on the glacier"),
    "covered_km2": ("km2", "area of those that have a velocity"),
    "covered_share": ("1", "covered_km2 / area_km2"),
    "measured_share": ("1", "share of area_km2 that is measured (flag 0)"),
    "v_median": ("m/yr", "median speed of the covered cells"),
    "v_mean": ("m/yr", "their mean speed"),
    "v_p05": ("m/yr", "5th percentile of their speed"),
    "v_p25": ("m/yr", "25th percentile"),
    "v_p75": ("m/yr", "75th percentile"),
    "v_p95": ("m/yr", "95th percentile"),
    "sigma_v_median": ("m/yr", "median of the cells' 1 sigma of speed"),
    "count_median": ("1", "median effective number of image pairs"),
    "line_v_mean": ("m/yr", "mean speed along the centre line"),
    "line_sigma": ("m/yr", "its 1 sigma, the errors along the line taken as one error"),
    "line_share": ("1", "share of the centre line on ice that has a velocity"),
    "line_km": ("km", "length of the centre line on ice"),
    "flag": ("", "0: most of the area is measured; 1: some is covered; 2: nothing is"),
}
_PERCENTILES = {"v_p05": 5, "v_p25": 25, "v_p75": 75, "v_p95": 95}


def glacier_series(
    source: MonthFiles,
    line: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of one glacier, a month each, in order of time.

    Parameters
    ----------
    source
        Its monthly files; one month is in memory at a time.
    line
        Rows and columns of the cells along its centre line (``centre_line.cells_along``).

    Returns
    -------
    list of dict
        The keys are `COLUMNS`; NaN where there is nothing to tell.

    Raises
    ------
    ReadError
        A file is damaged.

    Notes
    -----
    Medians and percentiles are of the cells that were seen in that month: where the covered
    share changes, so does the sample. Speeds are biased high where ice is slow (`speed`).
    """
    cell_km2 = (source.grid.pixel / 1000) ** 2
    return [_row(source, text, cell_km2, line) for text in source.months]


def _row(
    source: MonthFiles,
    text: str,
    cell_km2: float,
    line: tuple[NDArray[np.intp], NDArray[np.intp]] | None,
) -> dict[str, Any]:
    month = np.datetime64(text, "M")
    bands = source.bands(month)
    assert bands is not None
    domain = np.isfinite(bands["flag"])
    seen = np.isfinite(bands["v"])
    area, covered = int(domain.sum()), int(seen.sum())
    measured = int((bands["flag"] == MEASURED).sum())
    v = bands["v"][seen]
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "glacier": source.name, "month": text, "start": f"{month}-01",
        "end": f"{month + 1}-01", "area_km2": area * cell_km2,
        "covered_km2": covered * cell_km2, "covered_share": covered / (area or 1),
        "measured_share": measured / (area or 1),
    }  # fmt: skip
    if covered:
        row |= {
            "v_median": float(np.median(v)),
            "v_mean": float(np.mean(v, dtype=float)),
            "sigma_v_median": float(np.median(bands["sigma_v"][seen])),
            "count_median": float(np.median(bands["count"][seen])),
        }
        found = np.percentile(v, list(_PERCENTILES.values()))
        row |= dict(zip(_PERCENTILES, found.tolist(), strict=True))
    row["flag"] = BLANK if not covered else MEASURED if 2 * measured >= area else REGULARISED
    if line is not None and len(line[0]):
        along, error = bands["v"][line], bands["sigma_v"][line]
        there = np.isfinite(along)
        row["line_km"] = len(along) * source.grid.pixel / 1000
        row["line_share"] = np.count_nonzero(there) / len(along)
        if there.any():
            row["line_v_mean"] = float(along[there].mean(dtype=float))
            row["line_sigma"] = float(error[there].mean(dtype=float))
    return row


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table as Parquet: numbers as doubles, dates as timestamps, units kept.

    Raises
    ------
    WriteError
        pyarrow is not installed, or the file cannot be written.
    """
    otherwise = "set output.parquet = false"
    need("pyarrow", "parquet", stage="write", path=path, otherwise=otherwise)
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    kinds = {"glacier": pa.string(), "month": pa.string(), "flag": pa.int8()}
    kinds |= dict.fromkeys(("start", "end"), pa.date32())
    fields, columns = [], []
    for name, (unit, meaning) in COLUMNS.items():
        values: list[Any] = [row[name] for row in rows]
        if name in ("start", "end"):
            values = [np.datetime64(value, "D").item() for value in values]
        kind = kinds.get(name, pa.float64())
        about = {"units": unit, "description": meaning}
        fields.append(pa.field(name, kind, metadata=about))
        columns.append(pa.array(values, type=kind, from_pandas=True))
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=pa.schema(fields)), temporary)
