"""How fast a glacier is known to be, from a velocity map made before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.errors import ReadError
from hmavel.lattice import covering_window
from hmavel.raster import open_raster
from hmavel.raster_resample import resample

if TYPE_CHECKING:
    from hmavel._types import FloatArray
    from hmavel.raster import RasterReader
    from hmavel.site import Site

#: Names of a band of speed, and of the components, without regard to case.
_SPEED, _X, _Y = ("v", "speed", "velocity"), ("vx",), ("vy",)


def expected_speed(path: Path, site: Site, share: float) -> float:
    """Return the speed that a share of a glacier's ice does not exceed, m/yr.

    Parameters
    ----------
    path
        A raster in m/yr: one band of speed, or bands described as ``v``, or as ``vx`` and
        ``vy``. In any coordinate system; its no-data value counts as unknown.
    site
        The glacier.
    share
        0 ... 1.

    Returns
    -------
    float
        NaN where the map does not show the glacier.

    Raises
    ------
    ReadError
        The map is missing or damaged, or has several bands and none of these names.
    """
    with open_raster(path) as reader:
        grid = _around(reader, site)
        if grid is None:
            return float("nan")
        components = [
            np.abs(resample(_read(reader, band, grid), grid, site.grid, "bilinear"))
            for band in _bands(path, reader)
        ]
    speed = components[0] if len(components) == 1 else np.hypot(*components)
    known = speed[site.ice & np.isfinite(speed)]
    return float(np.quantile(known, share)) if known.size else float("nan")


def _bands(path: Path, reader: RasterReader) -> list[int]:
    names = [name.casefold() for name in reader.descriptions]

    def number(wanted: tuple[str, ...]) -> int | None:
        return next((names.index(name) + 1 for name in wanted if name in names), None)

    speed, x, y = number(_SPEED), number(_X), number(_Y)
    if speed is not None:
        return [speed]
    if x is not None and y is not None:
        return [x, y]
    if reader.count == 1:
        return [1]
    raise ReadError(
        "read", path, expected='one band, one named "v", or "vx" and "vy"',
        got=", ".join(name or "unnamed" for name in reader.descriptions),
        hint="name its bands, or extract the speed",
    )  # fmt: skip


def _around(reader: RasterReader, site: Site) -> Any:
    """Return the part of the map that covers the site, None where they do not meet."""
    from rasterio.warp import transform_bounds

    from hmavel._types import Grid

    left, bottom, right, top = transform_bounds(
        site.grid.crs, reader.grid.crs, *site.grid.bounds, densify_pts=21
    )
    whole, pixel = reader.grid, reader.grid.pixel
    west, south, east, north = whole.bounds
    if right <= west or left >= east or top <= south or bottom >= north:
        return None
    rows, cols = (max(int(np.ceil(side / pixel)), 1) for side in (top - bottom, right - left))
    transform = whole.transform.__class__(pixel, 0, left, 0, -pixel, top)
    return covering_window(whole, Grid(whole.crs, transform, (rows, cols)), margin=2)


def _read(reader: RasterReader, band: int, grid: Any) -> FloatArray:
    nodata = reader.nodata
    outside = float("nan") if np.issubdtype(reader.dtype, np.floating) else (nodata or 0)
    raw, _ = reader.read(band, window=grid, fill=outside)
    values = raw.astype(np.float32)
    if nodata is not None:
        values[raw == nodata] = np.nan
    return values
