"""All glaciers of a run on one geographic lattice, a mosaic a month.

The lattice: EPSG:4326, cells of 4 arc-seconds (1/900 degree: 123 m from south to north, 92 to
108 m from west to east between 42.27 and 29.01 N), every whole degree a cell edge. It is the
same for every run, so that mosaics of different runs fit cell on cell.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from hmavel._types import FloatArray, Grid
from hmavel.errors import HmavelError
from hmavel.product.field import BAND_UNITS, MonthSource, speed
from hmavel.product.month_files import month_name, month_tags
from hmavel.product.placement import Placement, footprint
from hmavel.product.provenance import flat
from hmavel.raster_blocks import write_blocks
from hmavel.velocity import rotate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

logger = logging.getLogger(__name__)

#: Cells of the lattice in a degree.
CELLS_PER_DEGREE = 900
#: High Mountain Asia in the published data set: west, south, east, north in degrees. Whole
#: cells of the lattice, 21132 x 11934 of them.
HMA = (73.51, 29.01, 96.99, 42.27)
GEOGRAPHIC = CRS.from_epsg(4326)

_BANDS = list(BAND_UNITS)
_VECTOR = ("vx", "vy", "sigma_vx", "sigma_vy")
#: Errors below this weigh no more: a weight of 1/sigma^2 must stay finite (m/yr).
_LEAST_SIGMA = 1e-3
#: Glacier-months kept in memory while the blocks around them are made.
_KEPT = 8


@dataclass(frozen=True)
class Region:
    """What `write_region` made."""

    grid: Grid
    files: list[Path]  #: one per month, in order of time
    failures: list[tuple[str, str, HmavelError]]  #: (glacier, "YYYY-MM", what went wrong)


def region_grid(
    sources: Sequence[MonthSource], bounds: tuple[float, float, float, float] | None = None
) -> Grid:
    """Return the part of the lattice that covers some glaciers, or that is asked for.

    Parameters
    ----------
    sources
        Their grids are covered when no bounds are given.
    bounds
        West, south, east, north in degrees, grown to whole cells; `HMA` for all of it.

    Raises
    ------
    ValueError
        Neither glaciers nor bounds, or bounds that are empty or beyond the globe.
    """
    if bounds is None:
        if not sources:
            raise ValueError("region: expected glaciers or bounds, got none; give one of them")
        boxes = _boxes(sources)
        bounds = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
    west, south, east, north = bounds
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ValueError(
            f"region bounds: expected west < east and south < north in degrees, got {bounds}; "
            "give (west, south, east, north)"
        )
    # A bound that is a cell edge but for rounding stays one.
    left, top = math.floor(_edge(west) + 1e-6), math.ceil(_edge(north) - 1e-6)
    right, bottom = math.ceil(_edge(east) - 1e-6), math.floor(_edge(south) + 1e-6)
    side, n = 1 / CELLS_PER_DEGREE, CELLS_PER_DEGREE
    return Grid(
        GEOGRAPHIC,
        Affine(side, 0.0, left / n, 0.0, -side, top / n),
        (top - bottom, right - left),
    )


def _edge(degrees: float) -> float:
    return degrees * CELLS_PER_DEGREE


def write_region(
    folder: Path,
    sources: Sequence[MonthSource],
    *,
    months: Iterable[np.datetime64],
    bounds: tuple[float, float, float, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Region:
    """Write the mosaic of some glaciers: ``velocity_YYYY-MM.tif`` in EPSG:4326.

    Parameters
    ----------
    folder
        ``<out>/wgs84``; made when missing.
    sources
        Fields in memory (`MonthlyField`) or on disk (`open_months`), in any zones. With those
        on disk the memory does not grow with the number of glaciers.
    months
        Months to write; each is independent of the others.
    bounds
        West, south, east, north in degrees; None = the extent of the glaciers. Both grow to
        whole cells of the lattice. `HMA` makes files of one size whatever the glaciers are:
        blocks without ice take neither time nor space.
    provenance
        Goes into the tags.

    Returns
    -------
    Region
        A glacier-month that cannot be read is left out of its mosaic, logged, and listed in
        ``failures``.

    Raises
    ------
    WriteError
        A mosaic cannot be written.
    ValueError
        From `region_grid`.

    Notes
    -----
    ``vx`` and ``vy`` point to **true** east and north: the vectors are rotated by the meridian
    convergence of their zone before they are put on the lattice. They are metres of the UTM
    grid still, within 0.1 % of those on the ellipsoid. Components and their errors are
    interpolated bilinearly (the errors of neighbouring cells are nearly the same error, so no
    gain is claimed), count and flag come from the nearest cell, the speed is computed last. A
    cell has a value where the nearest cell of a glacier has.

    Where glaciers overlap, components are averaged with weights 1/sigma^2, and the error is
    that of errors in common, sum(w sigma) / sum(w): the glaciers are seen in the same scenes.
    Count and flag are those of the glacier with the larger weight.
    """
    grid = region_grid(sources, bounds)
    boxes = _boxes(sources)
    region = Region(grid, [], [])
    for month in months:
        mosaic = _Mosaic(sources, boxes, month.astype("datetime64[M]"))
        path = folder / month_name(month)
        tags = month_tags(month) | {
            "band_vx": "velocity towards true east",
            "band_vy": "velocity towards true north",
            "lattice": f"1/{CELLS_PER_DEGREE} degree, whole degrees are cell edges",
        }
        tags |= flat(provenance or {})
        write_blocks(
            path, _BANDS, grid, mosaic.block, units=BAND_UNITS, tags=tags, worst=("flag",)
        )
        region.files.append(path)
        region.failures.extend(mosaic.failures)
    return region


class _Mosaic:
    """One month of all glaciers, block by block."""

    def __init__(
        self,
        sources: Sequence[MonthSource],
        boxes: FloatArray,
        month: np.datetime64,
    ) -> None:
        self.sources, self.boxes, self.month = sources, boxes, month
        self.failures: list[tuple[str, str, HmavelError]] = []
        self._kept: OrderedDict[int, dict[str, FloatArray] | None] = OrderedDict()

    def block(self, grid: Grid) -> FloatArray | None:
        """Return float32 (bands, rows, cols) of a part of the lattice, None without ice."""
        pile: _Pile | None = None
        west, south, east, north = self.boxes.T
        left, bottom, right, top = grid.bounds
        near = (west < right) & (east > left) & (south < top) & (north > bottom)
        for index in np.flatnonzero(near).tolist():
            bands = self._bands(index)
            if bands is None:
                continue
            window = rows, cols = _window(grid, self.boxes[index])
            size = rows.stop - rows.start, cols.stop - cols.start
            place = Placement(
                self.sources[index].grid, grid.crop(rows.start, cols.start, *size)
            )
            pile = pile or _Pile(grid.shape)
            pile.add(window, place, bands)
        return pile.bands() if pile else None

    def _bands(self, index: int) -> dict[str, FloatArray] | None:
        """Return a glacier's month with its vectors on true east and north."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        source = self.sources[index]
        turned: dict[str, FloatArray] | None = None
        try:
            bands = source.bands(self.month)
            if bands is not None:
                turned = _true_axes(source.grid, bands)
        except HmavelError as error:
            logger.warning("region %s %s left out: %s", source.name, self.month, error)
            self.failures.append((source.name, str(self.month), error))
        self._kept[index] = turned
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return turned


class _Pile:
    """Glaciers laid over each other on one block."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.values = {name: np.zeros(shape, dtype=np.float32) for name in _VECTOR}
        self.weights = {axis: np.zeros(shape, dtype=np.float32) for axis in ("vx", "vy")}
        self.heaviest = np.zeros(shape, dtype=np.float32)
        self.count = np.full(shape, np.nan, dtype=np.float32)
        self.flag = np.full(shape, np.nan, dtype=np.float32)

    def add(
        self, window: tuple[slice, slice], place: Placement, bands: Mapping[str, FloatArray]
    ) -> None:
        """Lay one glacier on top."""
        parts = dict(
            zip(_VECTOR, place.bilinear([bands[name] for name in _VECTOR]), strict=True)
        )
        has = np.isfinite(parts["vx"])
        both = np.zeros(has.shape, dtype=np.float32)
        for axis in ("vx", "vy"):
            sigma = parts[f"sigma_{axis}"]
            weight = np.where(has, np.maximum(sigma, np.float32(_LEAST_SIGMA)) ** -2, 0)
            both += weight
            self.weights[axis][window] += weight
            for name in (axis, f"sigma_{axis}"):
                self.values[name][window] += weight * np.where(has, parts[name], 0)
        count, flag = (place.nearest(bands[name]) for name in ("count", "flag"))
        # A blank cell speaks only where nobody has spoken yet.
        first = np.isnan(self.flag[window]) & np.isfinite(flag)
        leads = (both > self.heaviest[window]) | first
        for total, part in ((self.count, count), (self.flag, flag), (self.heaviest, both)):
            total[window][leads] = part[leads]

    def bands(self) -> FloatArray:
        """Return the bands, in the order of the file."""
        out: dict[str, FloatArray] = {"count": self.count, "flag": self.flag}
        for axis in ("vx", "vy"):
            weight = self.weights[axis]
            for name in (axis, f"sigma_{axis}"):
                out[name] = self.values[name] / np.where(weight > 0, weight, np.float32(np.nan))
        out["v"], out["sigma_v"] = speed(*(out[name] for name in _VECTOR))
        return np.stack([out[name] for name in _BANDS])


def _true_axes(grid: Grid, bands: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    turned = rotate(
        bands["vx"],
        bands["vy"],
        grid,
        GEOGRAPHIC,
        sigma_vx=bands["sigma_vx"],
        sigma_vy=bands["sigma_vy"],
    )
    return {
        **{name: np.asarray(getattr(turned, name)) for name in _VECTOR},
        **{name: bands[name] for name in ("count", "flag")},
    }


def _boxes(sources: Sequence[MonthSource]) -> FloatArray:
    """Return (n, 4): west, south, east, north of each glacier's grid, degrees."""
    boxes = [footprint(source.grid, GEOGRAPHIC) for source in sources]
    return np.array(boxes, dtype=float).reshape(-1, 4)


def _window(grid: Grid, box: FloatArray) -> tuple[slice, slice]:
    """Return the rows and columns of ``grid`` whose centres a box may hold."""
    west, south, east, north = box.tolist()
    rows, cols = grid.shape
    top, bottom = max(math.floor(grid.row(north)), 0), min(math.ceil(grid.row(south)) + 1, rows)
    left, right = max(math.floor(grid.col(west)), 0), min(math.ceil(grid.col(east)) + 1, cols)
    return slice(min(top, rows - 1), bottom), slice(min(left, cols - 1), right)
