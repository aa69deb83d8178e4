"""How fast a glacier is known to be, from a velocity map made before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hmavel.errors import ReadError
from hmavel.lattice import window_around
from hmavel.raster import open_raster
from hmavel.raster_resample import resample

if TYPE_CHECKING:
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
        around = window_around(reader.grid, site.grid, margin=2)
        components = [
            np.abs(resample(*reader.read_known(band, window=around), site.grid, "bilinear"))
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
