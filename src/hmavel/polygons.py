"""Polygons: read any vector file, measure and widen in metres, burn on a grid.

Whatever is read is valid, two-dimensional, polygonal and has a coordinate system, or it is
an error that names the file. Distances are metres, taken in a UTM zone, never in degrees.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyogrio  # type: ignore[import-untyped]
import shapely
from rasterio.crs import CRS
from rasterio.features import rasterize as burn
from rasterio.warp import transform_bounds
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from hmavel.errors import GlacierError

if TYPE_CHECKING:
    from hmavel._types import BoolArray, Grid

log = logging.getLogger(__name__)

_UTM_SOUTH, _UTM_NORTH = -80.0, 84.0  # UTM is defined between these latitudes
_WIDEST_DEG = 12.0  # beyond two zones, a UTM grid is no longer a fair map of an outline


def read_polygons(
    path: str | Path, *, crs: Any = None, layer: str | None = None
) -> gpd.GeoDataFrame:
    """Read polygons of any vector format, and GMT's multi-segment text.

    Parameters
    ----------
    path
        Anything that GDAL reads as vector, or a text file of rings: ``x y [z]`` per line,
        segments opened by ``>`` lines (GMT).
    crs
        Coordinate system of a file that does not carry one; ignored, with a log line, when
        the file does. GMT text never says: a caller that has only an image beside the
        polygons passes the image's, and that choice is logged.
    layer
        Which layer, when the file has several.

    Returns
    -------
    GeoDataFrame
        The file's columns and valid 2-D polygons in the file's CRS; rows without a polygon
        are dropped (and logged).

    Raises
    ------
    GlacierError
        No such file, unreadable, no polygon inside, no CRS known, several layers.
    """
    path = Path(path)
    if not path.exists():
        raise unusable(path, "a vector file", "no such file", "check the path")
    if _is_gmt_text(path):
        frame = gpd.GeoDataFrame(geometry=_gmt_rings(path))
    else:
        frame = _read_layer(path, layer)
    if not len(frame):
        raise unusable(path, "polygons", "an empty file", "check the export")
    if frame.crs is None:
        if crs is None:
            raise unusable(
                path,
                "a coordinate system",
                "none in the file",
                "write its .prj, or state the CRS that its coordinates are in",
            )
        frame = frame.set_crs(crs)
        log.info(
            "polygons %s: no CRS in the file; taken to be %s", path.name, _label(frame.crs)
        )
    elif crs is not None and frame.crs != crs:
        log.info(
            "polygons %s: the file's own CRS %s is kept, not %s",
            path.name,
            _label(frame.crs),
            _label(crs),
        )
    kinds = ", ".join(sorted({str(k) for k in frame.geom_type.dropna()})) or "nothing"
    frame = frame.set_geometry(polygonal(frame.geometry))
    kept = frame[~frame.geometry.is_empty].reset_index(drop=True)
    if not len(kept):
        raise unusable(
            path, "polygons", f"{len(frame)} rows without one ({kinds})", "check the layer"
        )
    if len(kept) < len(frame):
        log.warning("polygons %s: %d rows without a polygon", path.name, len(frame) - len(kept))
    return kept


def read_lines(path: str | Path, grid: Grid) -> list[BaseGeometry]:
    """Read the lines of a vector file that come near a grid, in the grid's CRS.

    Returns
    -------
    list of LineString
        Two-dimensional, whole; those of multi-part features one by one; those without
        length are left out.

    Raises
    ------
    GlacierError
        No such file, unreadable, several layers, no CRS, no line in it.
    """
    path = Path(path)
    if not path.exists():
        raise unusable(path, "a vector file", "no such file", "check the path")
    left, bottom, right, top = grid.bounds
    around = gpd.GeoSeries([box(left, bottom, right, top)], crs=grid.crs)
    frame = _read_layer(path, None, bbox=around)
    if frame.crs is None:
        hint = "write its .prj"
        raise unusable(path, "a coordinate system", "none in the file", hint)
    shapes = frame.geometry[~frame.geometry.isna()]
    if len(shapes) and not shapes.geom_type.str.endswith("LineString").any():
        got = ", ".join(sorted(set(shapes.geom_type)))
        raise unusable(path, "lines", got, "give a file of centre lines")
    parts = shapely.get_parts(shapely.force_2d(shapes.to_crs(grid.crs).to_numpy()))
    return [part for part in parts if part.geom_type == "LineString" and part.length > 0]


def rasterize(
    polygons: gpd.GeoDataFrame | gpd.GeoSeries | BaseGeometry,
    grid: Grid,
    *,
    all_touched: bool = False,
    crs: Any = None,
) -> BoolArray:
    """Return where the polygons lie on a grid.

    Parameters
    ----------
    polygons
        Frame or series with a CRS, or one geometry whose ``crs`` is given.
    grid
        Of the answer; polygons beyond it are cut off.
    all_touched
        True: every pixel that a polygon touches. False: pixels whose centre it covers.
    crs
        Of a bare geometry, or of a frame that has none.

    Returns
    -------
    bool array, shape ``grid.shape``
    """
    shapes = (
        gpd.GeoSeries([polygons]) if isinstance(polygons, BaseGeometry) else polygons.geometry
    )
    if shapes.crs is None:
        if crs is None:
            raise ValueError(
                "rasterize polygons: expected a coordinate system, got none; pass crs="
            )
        shapes = shapes.set_crs(crs)
    nothing = np.zeros(grid.shape, bool)
    if not len(shapes) or 0 in grid.shape:
        return nothing
    if shapes.crs != grid.crs:
        # An inventory is large and a window small: only what can reach it is projected.
        reach = box(*transform_bounds(grid.crs, CRS.from_user_input(shapes.crs), *grid.bounds))
        shapes = shapes[shapes.intersects(reach.buffer(0.01 * math.sqrt(reach.area)))]
        shapes = shapes.to_crs(grid.crs)
    drawn = [g for g in shapes if g is not None and not g.is_empty]
    if not drawn:
        return nothing
    burnt = burn(
        drawn,
        out_shape=grid.shape,
        transform=grid.transform,
        all_touched=all_touched,
        dtype="uint8",
    )
    return np.asarray(burnt, dtype=bool)


def why_refused(outline: BaseGeometry) -> str:
    """Return why no UTM grid can hold an outline (WGS84), or "" when one can."""
    if outline.is_empty:
        return "an empty outline"
    west, south, east, north = outline.bounds
    if not all(map(math.isfinite, (west, south, east, north))):
        return "coordinates that are no longitude and latitude"
    if east - west > 180.0 or west < -180.0 or east > 180.0:
        return f"crosses the antimeridian (longitudes {west:.2f} to {east:.2f})"
    if south < _UTM_SOUTH or north > _UTM_NORTH:
        return f"polar (latitudes {south:.2f} to {north:.2f}): no UTM zone"
    if east - west > _WIDEST_DEG:
        return f"{east - west:.1f} degrees wide: too wide for one UTM zone"
    return ""


def utm_epsg(outline: BaseGeometry) -> int:
    """Return the EPSG code of the UTM zone in which the centre of an outline (WGS84) lies."""
    why = why_refused(outline)
    if why:
        raise GlacierError(
            "outlines",
            "outline",
            expected="an outline that one UTM zone can hold",
            got=why,
            hint="split it, or leave it out",
        )
    centre = outline.centroid
    zone = min(int((centre.x + 180.0) // 6.0) + 1, 60)
    return (32600 if centre.y >= 0 else 32700) + zone


def buffer(outline: BaseGeometry, metres: float, *, epsg: int | None = None) -> BaseGeometry:
    """Widen (or, with negative ``metres``, narrow) an outline given in WGS84.

    The buffer is drawn in the outline's UTM zone (``epsg`` to choose another) and returned
    in WGS84; its length is true to UTM's scale, better than 0.1 %.
    """
    epsg = epsg or utm_epsg(outline)
    return moved(moved(outline, 4326, epsg).buffer(metres), epsg, 4326)


def unusable(path: str | Path, expected: str, got: str, hint: str) -> GlacierError:
    """Return the error of a file of outlines, in the one form."""
    name = path.name if isinstance(path, Path) else path
    return GlacierError("outlines", name, expected=expected, got=got, hint=hint)


def _label(crs: Any) -> str:
    epsg = crs.to_epsg() if hasattr(crs, "to_epsg") else None
    return f"EPSG:{epsg}" if epsg else str(crs)


#: The last of a geometry that is none, such as a ring that is not closed.
_UNREADABLE = (
    pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError,
    shapely.errors.GEOSException,
)  # fmt: skip


def _read_layer(path: Path, layer: str | None, **options: Any) -> gpd.GeoDataFrame:
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer is None and len(layers) > 1:
            raise unusable(path, "one layer", ", ".join(layers), "name the layer")
        if layer is not None and layer not in layers:
            have = ", ".join(layers) or "none"
            raise unusable(path, f"a layer {layer!r}", have, "name one of these")
        if not layers:
            raise unusable(path, "polygons", "a file without geometry", "check the file")
        frame = gpd.read_file(path, layer=layer or layers[0], **options)
    except _UNREADABLE as error:
        got = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unusable(
            path, "a readable vector file", got, "fetch it again, all its parts"
        ) from error
    return frame


def _is_gmt_text(path: Path) -> bool:
    """Tell GMT's plain multi-segment text from OGR's own .gmt, which GDAL reads itself."""
    if path.is_dir() or path.suffix.lower() not in {".gmt", ".txt", ".xy", ".dat"}:
        return False
    with path.open("rb") as file:
        return b"@VGMT" not in file.readline(200)


def _gmt_rings(path: Path) -> list[BaseGeometry]:
    rings: list[list[tuple[float, float]]] = [[]]
    with path.open(encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if text.startswith(">"):
                rings.append([])
                continue
            try:
                x, y = (float(word) for word in text.replace(",", " ").split()[:2])
            except ValueError as error:
                raise unusable(
                    path,
                    "'x y' on each line",
                    f"{text[:40]!r} on line {number}",
                    "mend the line",
                ) from error
            rings[-1].append((x, y))
    whole = [ring for ring in rings if len(set(ring)) >= 3]
    scraps = sum(len(ring) > 0 for ring in rings) - len(whole)
    if scraps:
        log.warning("polygons %s: %d rings of fewer than 3 points", path.name, scraps)
    return [shapely.Polygon(ring) for ring in whole]


def polygonal(series: gpd.GeoSeries) -> gpd.GeoSeries:
    """Return valid 2-D polygons or multi-polygons; empty where there is none."""
    shapes = shapely.force_2d(series.to_numpy())
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    if broken.any():
        log.info(
            "polygons: %d outlines repaired (self-crossings and the like)", int(broken.sum())
        )
        # "structure" keeps the outside out where "linework" fills by the even-odd rule:
        # a ring that doubles back must not lose the area that it covers twice.
        shapes[broken] = shapely.make_valid(
            shapes[broken], method="structure", keep_collapsed=False
        )
    shapes = np.asarray([_only_areas(shape) for shape in shapes], dtype=object)
    return gpd.GeoSeries(shapes, index=series.index, crs=series.crs)


def _only_areas(shape: BaseGeometry | None) -> BaseGeometry:
    if shape is None:
        return shapely.Polygon()
    if shape.geom_type in {"Polygon", "MultiPolygon"}:
        return shape
    parts = [p for p in shapely.get_parts(shape) if p.geom_type in {"Polygon", "MultiPolygon"}]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def moved(shape: BaseGeometry, source: int, target: int) -> BaseGeometry:
    """Project one geometry from EPSG code to EPSG code."""
    there: BaseGeometry = gpd.GeoSeries([shape], crs=source).to_crs(target).iloc[0]
    return there
