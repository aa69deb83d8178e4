"""What each pixel of a scene shows: cloud, shadow, snow, water; and where bare ground is.

Reads the needed part of the needed bands, by the best route that the scene's files allow, and
says which one that was. The rules themselves are in ``classes.py``, changes of grid in
``overlap.py``.
"""

from __future__ import annotations

import logging
import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hmavel import qa as bits
from hmavel._types import BoolArray, Grid, Scene, SceneMask
from hmavel.classes import (
    ENVELOPE,
    REACH,
    SIDE,
    SPECTRAL_BANDS,
    WIDEN_B8,
    Classes,
    Thresholds,
    broadband_albedo,
    ndsi,
    qa_classes,
    spectral_classes,
    texture_classes,
    widened,
)
from hmavel.lattice import covering_window, lattice_offset
from hmavel.overlap import covered, to_grid
from hmavel.scene_bands import (
    SATURATED,
    read_b8,
    read_dn,
    read_qa,
    read_radsat,
    reflectance,
    scene_grid,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Thresholds",
    "bare_ground",
    "broadband_albedo",
    "classify",
    "classify_twice",
    "clear_ground",
    "covered",
    "ndsi",
    "part_of",
    "to_grid",
]

log = logging.getLogger(__name__)

#: Pixels of all bands but Band 8, metres.
_PIXEL_M = 30.0
#: Landsat-8/9's usual coefficients with the sun at 45 degrees, for a Band 8 without MTL.
_NOMINAL = (2.0e-5 / math.sin(math.pi / 4), -0.1 / math.sin(math.pi / 4))


def classify(
    scene: Scene, window: Grid | None = None, thresholds: Thresholds | None = None
) -> SceneMask:
    """Classify the pixels of a scene, or of the part of it that a window covers.

    Parameters
    ----------
    scene
        As ``open_scene`` returns it.
    window
        Any grid in the scene's CRS; the 30 m pixels that it touches are classified. It may
        reach outside the scene. None for the whole scene.
    thresholds
        Default: ``Thresholds()``.

    Returns
    -------
    SceneMask
        On the scene's own 30 m pixels; the same whether read whole or by windows. ``source``
        says what was there to classify by: ``"albedo+qa"``; ``"albedo"`` without QA_PIXEL;
        ``"qa"`` without all of the 30 m bands or their reflectance coefficients;
        ``"texture"`` with neither, on the 15 m pixels of Band 8; ``"none"`` where Band 8 has
        no known radiometry either, and nothing but validity is told.

    Raises
    ------
    ReadError
        A band that should be there is damaged. It is not replaced by a weaker route.
    GridMismatchError
        ``window`` is in another CRS, or the 30 m bands differ in their pixels.
    """
    t = thresholds or Thresholds()
    return _classify(scene, window, t, t.cloud_buffer_m)[0]


def classify_twice(
    scene: Scene, window: Grid, thresholds: Thresholds, narrow_m: float
) -> tuple[SceneMask, SceneMask]:
    """Classify with cloud widened by ``narrow_m``, and as ``thresholds`` say, in one reading.

    Parameters and errors as for `classify`; ``narrow_m``, metres, is at most
    ``thresholds.cloud_buffer_m``. Both masks are those that `classify` returns.
    """
    wide_m = thresholds.cloud_buffer_m
    if not narrow_m <= wide_m:
        raise ValueError(
            f"classify_twice narrow_m: expected at most cloud_buffer_m, {wide_m:g} m, "
            f"got {narrow_m:g}; classify twice"
        )
    narrow = replace(thresholds, cloud_buffer_m=narrow_m)
    mask, cloud = _classify(scene, window, narrow, wide_m)
    wide = replace(
        mask, cloud=cloud, shadow=mask.shadow & ~cloud, snow=mask.snow & ~cloud,
        water=mask.water & ~cloud,
    )  # fmt: skip
    return mask, wide


def part_of(mask: SceneMask, area: Grid) -> SceneMask:
    """Return the pixels of a mask that an area within it touches."""
    grid = covering_window(mask.grid, area)
    row, col, _ = lattice_offset(mask.grid, grid)
    rows, cols = grid.shape
    if row < 0 or col < 0 or row + rows > mask.grid.shape[0] or col + cols > mask.grid.shape[1]:
        raise ValueError(
            f"part_of area: expected one within the mask's {mask.grid.shape} pixels, got "
            f"({rows}, {cols}) from pixel ({row}, {col}) on; classify a larger window"
        )
    some = slice(row, row + rows), slice(col, col + cols)
    cut: dict[str, Any] = {
        field.name: value[some] for field in fields(mask)
        if isinstance(value := getattr(mask, field.name), np.ndarray)
    }  # fmt: skip
    return replace(mask, grid=grid, **cut)


def _classify(
    scene: Scene, window: Grid | None, t: Thresholds, wide_m: float
) -> tuple[SceneMask, BoolArray]:
    """Classify; the second is cloud widened by ``wide_m``, where it is widened at all."""
    spectral = _has_spectrum(scene)
    if not spectral and "QA_PIXEL" not in scene.bands:
        mask = _classify_b8(scene, window, t)
        return mask, mask.cloud
    lattice = scene_grid(scene, "B6" if spectral else "QA_PIXEL")
    reach = replace(t, cloud_buffer_m=wide_m)
    area, qa = _qa_area(scene, lattice, window, reach, spectral)
    radsat = read_radsat(scene, area.read)[0] if "QA_RADSAT" in scene.bands else None
    if spectral:
        bands = {name: reflectance(scene, name, area.read)[0] for name in SPECTRAL_BANDS}
        classes = spectral_classes(bands, qa, radsat, pixel_m=lattice.pixel, thresholds=t)
        source = "albedo" if qa is None else "albedo+qa"
    else:
        assert qa is not None
        classes, source = qa_classes(qa, radsat), "qa"
    found = _scene_mask(area, classes, source)
    cloud = found.cloud
    if classes.core is not None and wide_m != t.cloud_buffer_m:
        cloud = area.of(widened(classes.core, wide_m / lattice.pixel)) & found.valid
    if qa is None:
        return found, cloud
    alone = bits.has(qa, "cloud", "cirrus", "dilated") & ~bits.has(qa, "fill")
    return replace(found, qa_cloud=area.of(alone)), cloud


def bare_ground(
    reference: SceneMask,
    secondary: SceneMask,
    ice: BoolArray,
    grid: Grid,
    *,
    buffer_m: float = 120.0,
) -> BoolArray:
    """Return the cells of bare, unmoving ground that both scenes see: a pair's stable mask.

    Parameters
    ----------
    reference, secondary
        Masks of the two scenes; they may have different pixels and extents.
    ice
        Where any glacier is, shape ``grid.shape``. Glaciers beyond the grid are not known
        here: rasterise them on a grid that is larger by the buffer, if they matter.
    grid
        Cells of the answer, in the CRS of the scenes.
    buffer_m
        Distance that bare ground keeps from ice, centre to centre, metres. A correlation
        window sees half its side (240 m at 32 pixels) around a cell.

    Returns
    -------
    bool array, shape ``grid.shape``
        Not glacier and, in both scenes, all of the cell's area has data and none of it is
        touched by cloud, shadow, snow, water or saturation.
    """
    ice = np.asarray(ice, dtype=bool)
    if ice.shape != grid.shape:
        raise ValueError(
            f"bare_ground ice: expected the grid's shape {grid.shape}, got {ice.shape}; "
            "rasterise the glaciers on this grid"
        )
    bare = ~widened(ice, buffer_m / grid.pixel)
    for mask in (reference, secondary):
        bare &= to_grid(clear_ground(mask), mask.grid, grid, "all")
    return bare


def clear_ground(mask: SceneMask) -> BoolArray:
    """Return the mask's pixels that show ground: data, and nothing on or over it."""
    hidden = mask.cloud | mask.shadow | mask.snow | mask.water | mask.saturated
    return np.asarray(mask.valid & ~hidden)


def _has_spectrum(scene: Scene) -> bool:
    known = scene.reflectance or {}
    # Level 1 alone is still to be divided by the sine of the sun's elevation.
    lit = scene.level_of("B6").startswith(("L2", "TOA")) or scene.sun_elevation > 0
    return lit and all(name in scene.bands and name in known for name in SPECTRAL_BANDS)


class _Area(NamedTuple):
    """What is read, and where what was asked for begins in it (it may lie partly outside)."""

    read: Grid
    row: int
    col: int
    wanted: Grid

    @classmethod
    def around(cls, lattice: Grid, window: Grid | None, margin: int) -> _Area:
        """Return the pixels of a window and so many more on every side; None: all there are."""
        if window is None:
            return cls(lattice, 0, 0, lattice)
        read = covering_window(lattice, window, margin=margin)
        rows, cols = read.shape
        inside = read.crop(margin, margin, rows - 2 * margin, cols - 2 * margin)
        return cls(read, margin, margin, inside)

    def cut(self, rows: slice, cols: slice) -> _Area:
        """Read less of it."""
        shape = rows.stop - rows.start, cols.stop - cols.start
        read = self.read.crop(rows.start, cols.start, *shape)
        return _Area(read, self.row - rows.start, self.col - cols.start, self.wanted)

    def of(self, mask: BoolArray) -> BoolArray:
        """Return what was asked for of a mask of what was read, False where nothing was."""
        rows, cols = self.wanted.shape
        some = (slice(max(self.row, 0), max(self.row + rows, 0)),
                slice(max(self.col, 0), max(self.col + cols, 0)))  # fmt: skip
        part = mask[some]
        if part.shape == (rows, cols):
            return part
        whole = np.zeros((rows, cols), bool)
        top, left = max(-self.row, 0), max(-self.col, 0)
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        return whole


def _qa_area(
    scene: Scene, lattice: Grid, window: Grid | None, t: Thresholds, spectral: bool
) -> tuple[_Area, NDArray[Any] | None]:
    """Return what to read, and QA_PIXEL over it.

    What clumps and widening can see beyond the window is read too, and cut off at the end.
    Veils reach far, but where there is QA_PIXEL they begin at its cirrus: without any in
    reach, half as many pixels of the other bands do. Nor is anything but fill to be read.
    """
    if "QA_PIXEL" not in scene.bands:
        return _Area.around(lattice, window, _margin(lattice.pixel, t, t.veil_m)), None
    far = max(t.veil_m, t.far_veil_m, t.shade_m)
    margin = _margin(lattice.pixel, t, far) if spectral else 0
    area = _Area.around(lattice, window, margin)
    qa = read_qa(scene, area.read)[0]
    less = _margin(lattice.pixel, t, t.shade_m)
    if window is not None and less < margin and not bits.has(qa, "cirrus").any():
        rows, cols = (slice(margin - less, side - margin + less) for side in qa.shape)
        area, qa = area.cut(rows, cols), qa[rows, cols]
    rows, cols = _extent(~bits.has(qa, "fill"))
    return area.cut(rows, cols), qa[rows, cols]


def _extent(mask: BoolArray) -> tuple[slice, slice]:
    """Return the rows and columns from the mask's first to its last; the first if empty."""
    found = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, cols = (slice(at[0], at[-1] + 1) if len(at) else slice(0, 1) for at in found)
    return rows, cols


def _margin(pixel_m: float, t: Thresholds, far_m: float) -> int:
    """Pixels beyond a window that have a say in it, where widening goes ``far_m`` metres."""
    far = (t.cloud_buffer_m + far_m) / pixel_m + REACH + ENVELOPE
    return math.ceil(far) + t.cloud_min_pixels + 4


def farthest_m(thresholds: Thresholds) -> float:
    """Return the distance, metres, from which pixels may have a say in a 30 m pixel."""
    t = thresholds
    return _PIXEL_M * _margin(_PIXEL_M, t, max(t.veil_m, t.far_veil_m, t.shade_m))


def _classify_b8(scene: Scene, window: Grid | None, t: Thresholds) -> SceneMask:
    log.info("mask %s: no 30 m bands and no QA_PIXEL; Band 8 alone decides", scene.id)
    area = _Area.around(scene.grid, window, SIDE // 2 * 2 + WIDEN_B8)
    b8, _ = read_b8(scene, area.read)
    if "B8" in (scene.reflectance or {}):
        rho = reflectance(scene, "B8", area.read)[0]
    elif read_dn(scene, "B8", area.read.crop(0, 0, 1, 1))[0].dtype == np.uint16:
        rho = (b8 * _NOMINAL[0] + _NOMINAL[1]).astype(np.float32)
    else:
        valid = np.isfinite(b8)
        nothing = np.zeros(valid.shape, bool)
        classes = Classes(valid, nothing, nothing, nothing, nothing, nothing)
        return _scene_mask(area, classes, "none")
    classes = texture_classes(rho, thresholds=t)
    classes = replace(classes, saturated=np.asarray(b8 == SATURATED))
    return _scene_mask(area, classes, "texture")


def _scene_mask(area: _Area, classes: Classes, source: str) -> SceneMask:
    return SceneMask(
        grid=area.wanted,
        valid=area.of(classes.valid),
        cloud=area.of(classes.cloud),
        shadow=area.of(classes.shadow),
        snow=area.of(classes.snow),
        water=area.of(classes.water),
        saturated=area.of(classes.saturated),
        source=source,
    )
