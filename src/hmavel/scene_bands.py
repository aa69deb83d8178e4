"""The bands of a scene, read by windows: numbers, Band 8, reflectance, QA bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmavel._types import BoolArray, FloatArray, Grid, Scene
from hmavel.raster import RasterReader, open_raster, read_grid
from hmavel.scene_files import scene_error

#: DN where a Level-1 scene has no image.
FILL = 0
#: DN at the sensor's ceiling. QA_RADSAT has no bit for Band 8, so the number itself is kept.
SATURATED = 65535


def scene_grid(scene: Scene, band: str = "B8") -> Grid:
    """Return the grid of a band without reading it: 30 m for most, 15 m for ``"B8"``.

    Raises
    ------
    SceneError, ReadError
        The scene has no such band; its file is damaged.
    """
    return read_grid(_band_path(scene, band), crs=scene.grid.crs)


def read_dn(
    scene: Scene, band: str, window: Grid | None = None, *, fill: float = FILL
) -> tuple[NDArray[Any], Grid]:
    """Read a band's numbers as they are stored.

    Parameters
    ----------
    scene
        As `open_scene` returns it.
    band
        "B1" ... "B11", "QA_PIXEL", "QA_RADSAT".
    window
        A grid on the pixels of this band (see ``lattice.covering_window``); it may reach
        outside the scene. None for the whole band.
    fill
        What lies outside.

    Returns
    -------
    (array, grid)
        In the file's data type, and where it lies.

    Raises
    ------
    SceneError
        The scene has no such band.
    ReadError
        The file is damaged.
    GridMismatchError
        ``window`` lies between the pixels of the band, or has another coordinate system.
    """
    with open_raster(_band_path(scene, band), crs=scene.grid.crs) as reader:
        return reader.read(_index(reader, band), window=window, fill=fill)


def read_b8(scene: Scene, window: Grid | None = None) -> tuple[FloatArray, Grid]:
    """Read Band 8 for correlation; arguments and errors of `read_dn`.

    Returns
    -------
    (array, grid)
        float32 DN, NaN where the scene has no image (DN 0, the file's no-data value, outside
        the file). Saturated pixels keep their number, 65535.0: the correlator tells them
        from fill. A file of floats (a reflectance, a filtered image) has NaN only where it is
        not finite or no-data: there 0 is a value.
    """
    return _read_float(scene, "B8", window)


@contextmanager
def open_b8(scene: Scene) -> Iterator[Callable[[Grid, NDArray[Any] | None], NDArray[Any]]]:
    """Open Band 8 once for many windows, in its own type; arguments and errors of `read_dn`.

    Yields
    ------
    function
        (Grid, out or None) -> array. Integers as stored, 0 where there is no image; floats as
        `read_b8` has them. ``out``, of that type and shape, may come back as the array. To be
        called from one thread.
    """
    with open_raster(_band_path(scene, "B8"), crs=scene.grid.crs) as reader:
        band = _index(reader, "B8")
        floating = np.issubdtype(reader.dtype, np.floating)

        def read(window: Grid, out: NDArray[Any] | None) -> NDArray[Any]:
            outside = float("nan") if floating else FILL
            out = out if out is None or out.dtype == reader.dtype else None
            raw, _ = reader.read(band, window=window, fill=outside, out=out)
            if floating:
                missing = _missing(raw, reader.nodata)
                raw = raw.astype(np.float32, copy=False)
                raw[missing] = np.nan
            elif reader.nodata not in (None, FILL):
                raw[_missing(raw, reader.nodata)] = FILL
            return raw

        yield read


def reflectance(scene: Scene, band: str, window: Grid | None = None) -> tuple[FloatArray, Grid]:
    """Read a band as reflectance; arguments and errors of `read_dn`.

    Returns
    -------
    (array, grid)
        float32. Level 1: top of atmosphere, (M DN + A) / sin(sun elevation) with the M and A
        of the MTL and the sun at the scene's centre. Level 2: surface, M DN + A; so are the
        reflectances of Earth Engine ("TOA"), with 1 and 0. NaN at fill.
        A saturated pixel has the reflectance of DN 65535: a lower bound.

    Raises
    ------
    SceneError
        Also when the scene has no MTL, its MTL no coefficients for the band, or the sun is
        not above the horizon.
    """
    pair = (scene.reflectance or {}).get(band)
    if pair is None:
        raise scene_error(
            scene.path,
            f"reflectance coefficients of {band}",
            "none" if scene.reflectance else "a scene without MTL",
            "fetch the complete product",
        )
    scale, offset = pair
    if not scene.level_of(band).startswith(("L2", "TOA")):
        if not scene.sun_elevation > 0:
            raise scene_error(
                scene.path,
                "a sun above the horizon",
                f"an elevation of {scene.sun_elevation} degrees",
                "leave night scenes out",
            )
        sine = math.sin(math.radians(scene.sun_elevation))
        scale, offset = scale / sine, offset / sine
    array, grid = _read_float(scene, band, window)
    array *= np.float32(scale)
    array += np.float32(offset)
    return array, grid


def read_qa(scene: Scene, window: Grid | None = None) -> tuple[NDArray[Any], Grid]:
    """Read QA_PIXEL, uint16 bits; outside the scene bit 0 (fill). Errors of `read_dn`."""
    return _bits(*read_dn(scene, "QA_PIXEL", window, fill=1), fill=1)


def read_radsat(scene: Scene, window: Grid | None = None) -> tuple[NDArray[Any], Grid]:
    """Read QA_RADSAT, uint16 bits; outside the scene 0. Errors of `read_dn`."""
    return _bits(*read_dn(scene, "QA_RADSAT", window, fill=0), fill=0)


def _bits(array: NDArray[Any], grid: Grid, *, fill: int) -> tuple[NDArray[Any], Grid]:
    """Return bits as integers: beside reflectances in one file they are stored as floats."""
    if np.issubdtype(array.dtype, np.floating):
        array = np.where(np.isfinite(array), array, fill).astype(np.uint16)
    return array, grid


def _read_float(scene: Scene, band: str, window: Grid | None) -> tuple[FloatArray, Grid]:
    with open_raster(_band_path(scene, band), crs=scene.grid.crs) as reader:
        floating = np.issubdtype(reader.dtype, np.floating)
        outside = float("nan") if floating else FILL
        raw, grid = reader.read(_index(reader, band), window=window, fill=outside)
        nodata = reader.nodata
    array = raw.astype(np.float32)
    np.copyto(array, np.nan, where=_missing(raw, nodata))
    return array, grid


def _missing(raw: NDArray[Any], nodata: float | None) -> BoolArray:
    floating = np.issubdtype(raw.dtype, np.floating)
    missing: BoolArray = ~np.isfinite(raw) if floating else raw == FILL
    if nodata is not None and not math.isnan(nodata) and (floating or nodata != FILL):
        missing |= raw == nodata
    return missing


def _band_path(scene: Scene, band: str) -> Path:
    if band not in scene.bands:
        raise scene_error(
            scene.path,
            f"band {band}, {scene.id}_{band}.TIF",
            f"only {', '.join(scene.bands)}",
            "fetch the complete product",
        )
    return scene.bands[band]


def _index(reader: RasterReader, band: str) -> int:
    if reader.count == 1:
        return 1
    names = [text.upper().removeprefix("SR_") for text in reader.descriptions]
    if band in names:
        return names.index(band) + 1
    raise scene_error(
        reader.path,
        f"one band, or one that is described as {band}",
        f"{reader.count} bands: {', '.join(text or 'unnamed' for text in reader.descriptions)}",
        f"extract {band} to a file of its own",
    )
