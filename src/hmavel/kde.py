"""Two-dimensional densities of point clouds, exactly on a mesh or by binning and FFT.

Both use the radial Epanechnikov kernel ``2 / (pi h^2 n) sum max(0, 1 - |p - p_i|^2 / h^2)``.
Work is done in chunks of points, so memory does not grow with their number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Points per chunk: the temporaries of one chunk stay in a core's second-level cache.
CHUNK = 1 << 15


def epanechnikov_bandwidth(spread: float, count: float) -> float:
    """Return the rule-of-thumb bandwidth of the radial kernel in two dimensions."""
    return float(2.1991 * spread * count ** (-1.0 / 6.0))


def finite_chunks(x: NDArray[Any], y: NDArray[Any]) -> Iterator[tuple[Array, Array]]:
    """Yield the points chunk by chunk as float64, without those that miss a component."""
    for start in range(0, x.size, CHUNK):
        a = x[start : start + CHUNK].astype(np.float64, copy=False)
        b = y[start : start + CHUNK].astype(np.float64, copy=False)
        finite = np.isfinite(a)
        finite &= np.isfinite(b)
        if finite.all():
            yield a, b
        else:
            yield a[finite], b[finite]


def density_on_mesh(x: Array, y: Array, xs: Array, ys: Array, h: float) -> Array:
    """Sum the kernel of every point exactly on the nodes of an evenly spaced mesh.

    Parameters
    ----------
    x, y
        Finite points, 1-D.
    xs, ys
        Evenly spaced, increasing mesh coordinates.
    h
        Bandwidth, the radius of the kernel's support.

    Returns
    -------
    ndarray
        Density, shape (len(ys), len(xs)).

    Notes
    -----
    Only the nodes within ``h`` of a point are visited, one offset of the stencil at a time
    for all points of a chunk: the cost is points x stencil, not points x mesh.
    """
    total = np.zeros(ys.size * xs.size)
    step_x, step_y = (xs[-1] - xs[0]) / (xs.size - 1), (ys[-1] - ys[0]) / (ys.size - 1)
    for a, b in finite_chunks(x, y):
        near = (a > xs[0] - h) & (a < xs[-1] + h) & (b > ys[0] - h) & (b < ys[-1] + h)
        across = _stencil(a[near], xs, step_x, h)
        along = _stencil(b[near], ys, step_y, h)
        for row, d2_row in along:
            for col, d2_col in across:
                weight = 1.0 - d2_row - d2_col
                hit = weight > 0
                node = row[hit] * xs.size + col[hit]
                total += np.bincount(node, weight[hit], minlength=total.size)
    return total.reshape(ys.size, xs.size) * (2.0 / (math.pi * h * h * x.size))


def _stencil(p: Array, nodes: Array, step: float, h: float) -> list[tuple[NDArray[Any], Array]]:
    """For each offset: the node's index, its squared distance in units of h (2 = outside)."""
    below = np.floor((p - nodes[0]) / step).astype(np.int64)
    reach = math.ceil(h / step)
    offsets = []
    for k in range(-reach, reach + 2):
        index = below + k
        inside = (index >= 0) & (index < nodes.size)
        index = np.clip(index, 0, nodes.size - 1)
        d2 = np.where(inside, ((p - nodes[index]) / h) ** 2, 2.0)
        if (d2 < 1.0).any():
            offsets.append((index, d2))
    return offsets


@dataclass(frozen=True)
class Frame:
    """Where a square mesh of bins lies: centre and scale per axis, half-width in scales."""

    x: float
    y: float
    scale_x: float
    scale_y: float
    half: float
    bins: int

    @property
    def step(self) -> float:
        """Side of a bin, in scales."""
        return 2.0 * self.half / self.bins

    @property
    def centres(self) -> Array:
        """Bin centres along either axis, in scales."""
        return np.asarray((np.arange(self.bins) + 0.5) * self.step - self.half)


def bin_points(x: NDArray[Any], y: NDArray[Any], frame: Frame) -> tuple[Array, int]:
    """Count points in the bins of a frame.

    Returns
    -------
    counts
        Shape (bins, bins), rows along y; points outside the frame are left out.
    total
        All points with both components finite, those outside the frame included.
    """
    bins = frame.bins
    edge = bins + 2  # a guard bin on each side takes what lies outside
    counts = np.zeros(edge * edge, dtype=np.int64)
    per_x, per_y = 1.0 / (frame.step * frame.scale_x), 1.0 / (frame.step * frame.scale_y)
    total = 0
    for a, b in finite_chunks(x, y):
        total += a.size
        u = a - frame.x
        u *= per_x
        u += bins / 2 + 1
        v = b - frame.y
        v *= per_y
        v += bins / 2 + 1
        np.clip(u, 0.0, bins + 1.5, out=u)
        np.clip(v, 0.0, bins + 1.5, out=v)
        index = v.astype(np.int32)
        index *= edge
        index += u.astype(np.int32)
        counts += np.bincount(index, minlength=counts.size)
    square = counts.reshape(edge, edge)[1:-1, 1:-1]
    return square.astype(np.float64), total


class Smoother:
    """Convolution of a frame's bins with the kernel, by FFT.

    The kernel is sampled on the bins and normalised there, and ``variance`` is that of what
    is really applied (sampled kernel and bin width), so no approximation is left to correct.
    The ends of the frame wrap: keep the bins of interest a bandwidth away from them.
    """

    def __init__(self, frame: Frame, h: float) -> None:
        n = frame.bins
        self.h = max(h, 2.0 * frame.step)  # a narrower kernel is no kernel on these bins
        offset = np.fft.fftfreq(n, 1.0 / n) * frame.step
        kernel = np.maximum(0.0, 1.0 - (offset[:, None] ** 2 + offset**2) / self.h**2)
        kernel /= kernel.sum()
        self.variance = float((kernel.sum(axis=0) * offset**2).sum() + frame.step**2 / 12.0)
        self._transfer = scipy.fft.rfft2(kernel)
        self._shape = (n, n)

    def __call__(self, bins: Array) -> Array:
        """Smooth an array of bins; its sum is kept."""
        spectrum = scipy.fft.rfft2(bins)
        spectrum *= self._transfer
        return np.asarray(scipy.fft.irfft2(spectrum, self._shape, overwrite_x=True))
