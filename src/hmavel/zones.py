"""Scenes of a neighbouring UTM zone: their masks on the axes of the glacier's zone.

A glacier near a zone's edge is seen from paths whose scenes are in two zones. Its pairs are
made of scenes of one path and row, hence of one zone: both go through the same interpolation
onto the glacier's own pixels (``cogrid``), whose effect on the phase is the same in both and
cancels in the match. So displacements come out on the glacier's axes, and need no rotation.
"""

from __future__ import annotations

import numpy as np
from affine import Affine
from scipy.ndimage import binary_dilation, binary_erosion

from hmavel._types import BoolArray, Grid, Scene, SceneMask
from hmavel.classes import Thresholds
from hmavel.lattice import window_around
from hmavel.mask import classify
from hmavel.raster_resample import resample

_AROUND = np.ones((3, 3), dtype=bool)


def classify_in(scene: Scene, window: Grid, thresholds: Thresholds) -> SceneMask:
    """Classify the part of a scene that a window covers, on the axes of the window.

    Parameters
    ----------
    scene, thresholds
        As for ``mask.classify``.
    window
        Pixels of any zone.

    Returns
    -------
    SceneMask
        In the window's coordinate system. On the scene's own pixels, where that is the
        scene's too; else on pixels of the same size, every class widened by one of them and
        validity narrowed, since a pixel of one zone lies across up to six of another.
    """
    if scene.grid.crs == window.crs:
        return classify(scene, window, thresholds)
    mask = classify(scene, window_around(scene.grid, window), thresholds)
    target = _pixels(window, mask.grid.pixel)

    def wide(pixels: BoolArray) -> BoolArray:
        grown = binary_dilation(pixels, _AROUND)
        return np.asarray(resample(grown, mask.grid, target, "nearest"))

    sure = binary_erosion(mask.valid, _AROUND)
    return SceneMask(
        grid=target,
        valid=np.asarray(resample(sure, mask.grid, target, "nearest")),
        cloud=wide(mask.cloud),
        shadow=wide(mask.shadow),
        snow=wide(mask.snow),
        water=wide(mask.water),
        saturated=wide(mask.saturated),
        source=mask.source,
    )


def _pixels(window: Grid, pixel: float) -> Grid:
    """Return pixels of another size that cover a window."""
    left, bottom, right, top = window.bounds
    rows, cols = (int(np.ceil(side / pixel)) for side in (top - bottom, right - left))
    return Grid(window.crs, Affine(pixel, 0.0, left, 0.0, -pixel, top), (rows, cols))
