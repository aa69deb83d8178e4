"""A scene on pixels that are not its own: the resampling that a pair does when it must.

Interpolation kernels are not harmless to a correlator. On pixels that are off by a fraction f
they delay the high frequencies by another fraction, and phase correlation sees exactly that:
with 64 -> 32 windows on the noiseless texture of the tests, at its worst f (about 1/4),

========================  =============  ===========
kernel                    bias           scatter
========================  =============  ===========
cubic (GDAL)              0.067 px       0.006 px
Lanczos of 3 (GDAL)       0.023 px       0.003 px
windowed sinc of 8        0.0013 px      0.001 px
========================  =============  ===========

so a plain shift goes through the sinc, and GDAL's kernels are for what it cannot do: another
pixel size, another coordinate system.
"""

from __future__ import annotations

import numpy as np

from hmavel._types import BoolArray, FloatArray, Grid, Scene
from hmavel.lattice import LATTICE_TOLERANCE, covering_window, window_around
from hmavel.raster_resample import resample
from hmavel.scene_bands import SATURATED, read_b8

#: Method -> how many pixels its kernel reaches to each side.
REACH = {"sinc": 8, "lanczos": 3, "cubic": 2}
#: Kaiser window of the sinc. Larger values damp and delay more, smaller ones ring more; of
#: 4 ... 7 this biases the correlator least at every reach from 4 to 8 px.
_KAISER = 4.0


def is_shift(source: Grid, target: Grid) -> bool:
    """Say whether one shift brings all pixels of ``source`` onto those of ``target``."""
    s, t = source.transform, target.transform
    stretch = max(abs(s.a / t.a - 1) * target.shape[1], abs(s.e / t.e - 1) * target.shape[0])
    return source.crs == target.crs and stretch <= LATTICE_TOLERANCE


def subpixel(grid: Grid, source: Grid) -> tuple[float, float]:
    """Return by which part of a pixel ``source`` lies below / right of the grid's pixels."""
    drow, dcol = float(grid.row(source.y(0))), float(grid.col(source.x(0)))
    return drow - round(drow), dcol - round(dcol)


def read_onto(scene: Scene, grid: Grid, method: str) -> FloatArray:
    """Read Band 8 of a scene on the pixels of ``grid``.

    Parameters
    ----------
    scene
        Whose pixels lie elsewhere.
    grid
        In any coordinate system.
    method
        "sinc" (only where `is_shift`), "lanczos" or "cubic".

    Returns
    -------
    ndarray
        float32 DN, shape ``grid.shape``. NaN where the kernel would reach fill, 65535 where it
        would reach a saturated pixel: neither is a measurement.
    """
    source, reach = scene.grid, REACH[method]
    around = covering_window if source.crs == grid.crs else window_around
    needed = around(source, grid, margin=2 * reach + 1)
    array, _ = read_b8(scene, needed)
    saturated, missing = array >= SATURATED, np.isnan(array)
    if method == "sinc":
        out = _shifted(np.where(missing, np.float32(0), array), needed, grid)
    else:
        out = np.asarray(resample(array, needed, grid, method), dtype=np.float32)
    for bad, code in ((saturated, np.float32(SATURATED)), (missing, np.float32(np.nan))):
        if bad.any():
            out[_reached(bad, reach, needed, grid)] = code
    return out


def _reached(bad: BoolArray, reach: int, source: Grid, target: Grid) -> BoolArray:
    from scipy.ndimage import maximum_filter  # slow to load; most pairs share their pixels

    near = maximum_filter(bad, size=2 * reach + 1)
    return np.asarray(resample(near, source, target, "nearest"))


def _shifted(array: FloatArray, source: Grid, target: Grid) -> FloatArray:
    """Interpolate by one separable kernel: every pixel lies at the same fraction."""
    from scipy.ndimage import correlate1d

    row, col = float(source.row(target.y(0))), float(source.col(target.x(0)))
    top, left = round(row), round(col)
    rows, cols = target.shape
    down = correlate1d(array, _sinc(row - top), axis=0)[top : top + rows]
    out: FloatArray = correlate1d(down, _sinc(col - left), axis=1)[:, left : left + cols]
    return out


def _sinc(fraction: float) -> FloatArray:
    """Return the weights of the pixels -reach ... reach for the value at ``fraction``."""
    reach = REACH["sinc"]
    x = np.arange(-reach, reach + 1) - fraction
    window = np.i0(_KAISER * np.sqrt(np.clip(1 - (x / (reach + 0.5)) ** 2, 0, 1)))
    weights = np.sinc(x) * window
    return np.asarray(weights / weights.sum())
