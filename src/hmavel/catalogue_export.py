"""The catalogue's tables for other programs: GeoPackage, Parquet, CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hmavel.archive import write_csv
from hmavel.atomic import atomic_path
from hmavel.errors import WriteError
from hmavel.extras import need

if TYPE_CHECKING:
    from hmavel.catalogue import Catalogue

#: Tables that are written, with the column of their geometry.
TABLES = {"scenes": "footprint", "glaciers": "outline", "decisions": "", "pairs": ""}
_SUFFIXES = (".gpkg", ".parquet", ".csv")


def export(catalogue: Catalogue, path: Path) -> list[Path]:
    """Write scenes, glaciers, decisions and pairs.

    Parameters
    ----------
    catalogue
        Open.
    path
        ``x.gpkg``: one GeoPackage with a layer for each table. ``x.parquet`` or ``x.csv``: a
        file for each, ``x_scenes.parquet`` and so on; geometries are GeoParquet's or WKT.

    Returns
    -------
    list of Path
        The files written; each is complete or not there.

    Raises
    ------
    WriteError
        A file cannot be written, or Parquet without pyarrow.
    ValueError
        Another kind of file.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"export {path}: expected one of {', '.join(_SUFFIXES)}, got {suffix or 'none'}; "
            "name the file so"
        )
    if suffix == ".parquet":
        otherwise = "export to .gpkg or .csv"
        need("pyarrow", "parquet", stage="export", path=path, otherwise=otherwise)
    frames = {name: _frame(catalogue, name) for name in TABLES}
    if suffix == ".gpkg":
        with atomic_path(path) as temporary:
            for name, frame in frames.items():
                _add_layer(frame, temporary, name)
        return [path]
    written = []
    for name, frame in frames.items():
        file = path.with_name(f"{path.stem}_{name}{suffix}")
        if suffix == ".csv":
            write_csv(frame, file)
        else:
            with atomic_path(file) as temporary:
                frame.to_parquet(temporary, index=False)
        written.append(file)
    return written


def _frame(catalogue: Catalogue, name: str) -> Any:
    import geopandas as gpd
    import shapely

    columns, rows = catalogue.table(name)
    frame = pd.DataFrame(rows, columns=columns).drop(columns="key", errors="ignore")
    geometry = TABLES[name]
    if not geometry:
        return frame
    shapes = shapely.from_wkb(frame.pop(geometry).to_numpy(object))
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=4326)


def _add_layer(frame: Any, path: Path, name: str) -> None:
    import pyogrio  # type: ignore[import-untyped]

    try:
        pyogrio.write_dataframe(
            frame, path, layer=name, driver="GPKG", append=path.exists(),
            geometry_type="Unknown" if "geometry" in frame else None,
        )  # fmt: skip
    except pyogrio.errors.DataSourceError as error:
        raise WriteError(
            "export", path, expected="a GeoPackage that can be written", got=str(error),
            hint="check permissions and free space",
        ) from error  # fmt: skip
