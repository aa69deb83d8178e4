"""The two images of a pair as the kernel wants them: padded, standardised, whole or in parts.

Small images are made ready once. Of large ones only the part that is being matched is, from
the pixels as they were read, so that a Landsat scene costs two bytes a pixel and image, and
matching may begin before the last row has arrived.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import _kernels
from hmavel.strip_threads import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hmavel._types import BoolArray

#: Digital number at which Landsat's bands saturate.
SATURATED = 65535

#: Frames of up to so many pixels are standardised whole (128 MiB for both images).
WHOLE = 1 << 24
#: Bytes of standardised blocks that are kept for the next round of growing.
KEPT_BYTES = 192 << 20

#: Rows that the scale is taken from: the first such band that holds an image.
_SCALE_ROWS = 512
#: Pixel types that the kernel takes as they are.
_PIXELS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"}

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Image:
    """One image as it lies in memory."""

    pixels: NDArray[Any]  #: (rows, cols), real; NaN is invalid, 65535 saturated
    valid: BoolArray | None = None  #: True where a pixel may be used; None: all
    fill: int | None = None  #: the value of integer pixels that hold no image


@dataclass(frozen=True)
class Part:
    """Both images, float32, NaN where invalid, infinite where saturated; a part of a frame.

    Single such pixels are interpolated.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    row: int  #: of the frame, where the part begins
    col: int


class PartMemory:
    """Arrays of parts that nothing looks at any more, for the parts that follow.

    A fresh array's pages are cleared one by one, which takes longer than to fill them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: list[NDArray[np.float32]] = []

    def give(self, part: Part) -> None:
        """Take the arrays of a part, which nothing may look at any more."""
        with self._lock:
            self._spare += [part.a.reshape(-1), part.b.reshape(-1)]

    def take(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return an array of single precision, filled with anything."""
        count = size[0] * size[1]
        with self._lock:
            for k, old in enumerate(self._spare):
                if old.size >= count:
                    return self._spare.pop(k)[:count].reshape(size)
        return np.empty(size, np.float32)


class _Scales:
    """Mean and spread of the images of a frame, found once, when they are first asked for."""

    def __init__(
        self, images: tuple[Image, Image], inner: Slices, arrived: Callable[[int], None] | None
    ) -> None:
        self._images, self._inner, self._arrived = images, inner, arrived
        self._lock = threading.Lock()
        self._known: list[tuple[float, float]] = []

    def known(self) -> list[tuple[float, float]]:
        """Return (mean, spread) of either image."""
        with self._lock:
            if not self._known:
                self._known = [
                    _scale(image, self._inner, self._arrived) for image in self._images
                ]
            return self._known


class Frame:
    """The pixels that the windows of a lattice of nodes may look at, beyond the image too.

    Parameters
    ----------
    reference, secondary
        Of one shape.
    first, size
        The frame's first pixel in the images, and its shape; see `extent`.
    arrived
        Called with a number of rows before that many are used; returns when they are there.
    whole
        Frames of up to so many pixels are made ready as a whole.

    Notes
    -----
    Every pixel becomes (value - mean) / spread with one mean and spread per image, so that
    parts hold exactly what the whole would. The scale only keeps the two windows that share a
    transform at one order of magnitude; it is that of the first 512 rows that hold an image.
    """

    def __init__(
        self,
        reference: Image,
        secondary: Image,
        first: tuple[int, int],
        size: tuple[int, int],
        *,
        arrived: Callable[[int], None] | None = None,
        whole: int = WHOLE,
    ) -> None:
        self.images = reference, secondary
        self.first, self.size = first, size
        self.small = size[0] * size[1] <= whole
        self._arrived = arrived
        self._lock = threading.Lock()
        inner, _ = overlap(reference.pixels.shape, first, size)
        self._scales = _Scales(self.images, inner, arrived)
        self._whole: Part | None = None
        self._blocks: OrderedDict[tuple[int, int, int, int], Part] = OrderedDict()
        self._held = 0
        self._labels: NDArray[Any] | None = None
        self._label: Any = None

    def only(self, labels: NDArray[Any], label: Any) -> Frame:
        """Return the frame with NaN wherever ``labels``, on the images' pixels, differ."""
        reference, secondary = self.images
        other = Frame(reference, secondary, self.first, self.size, arrived=self._arrived)
        other.small, other._scales = self.small, self._scales
        other._labels, other._label = labels, label
        return other

    def part(
        self, rows: tuple[int, int], cols: tuple[int, int], memory: PartMemory | None = None
    ) -> Part:
        """Return the frame's pixels in those ranges, or a larger part that holds them."""
        if not self.small:
            return self._make(rows, cols, memory)
        with self._lock:
            if self._whole is None:
                self._whole = self._make((0, self.size[0]), (0, self.size[1]))
            return self._whole

    def block(self, rows: tuple[int, int], cols: tuple[int, int]) -> Part:
        """Return a part that is likely to be asked for again soon."""
        if self.small:
            return self.part(rows, cols)
        key = (*rows, *cols)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        part = self._make(rows, cols)
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = part
                self._held += part.a.nbytes + part.b.nbytes
            while self._held > KEPT_BYTES and len(self._blocks) > 1:
                _, old = self._blocks.popitem(last=False)
                self._held -= old.a.nbytes + old.b.nbytes
        return part

    def _make(
        self, rows: tuple[int, int], cols: tuple[int, int], memory: PartMemory | None = None
    ) -> Part:
        first = self.first[0] + rows[0], self.first[1] + cols[0]
        size = rows[1] - rows[0], cols[1] - cols[0]
        if self._arrived is not None:
            self._arrived(first[0] + size[0])
        memory = memory or PartMemory()
        made = [
            _standardised(image, scale, first, memory.take(size))
            for image, scale in zip(self.images, self._scales.known(), strict=True)
        ]
        if self._labels is not None:
            mine = np.full(size, self._label == 0)
            inner, outer = overlap(self._labels.shape, first, size)
            mine[outer] = self._labels[inner] == self._label
            for array in made:
                array[~mine] = np.nan
        return Part(made[0], made[1], rows[0], cols[0])


def extent(row: Any, col: Any, pad: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel and shape of the frame that holds every window of every node."""
    first = tuple(int(np.floor(x.min() + 0.5)) - pad for x in (row, col))
    size = tuple(
        int(np.floor(x.max() + 0.5)) + pad - start
        for x, start in zip((row, col), first, strict=True)
    )
    return (first[0], first[1]), (size[0], size[1])


def overlap(
    shape: tuple[int, ...], first: tuple[int, int], size: tuple[int, ...]
) -> tuple[Slices, Slices]:
    """Slices of what an image and a part of its frame share, in each of them."""
    inner, outer = [], []
    for n, start, length in zip(shape, first, size, strict=True):
        low, high = max(start, 0), min(start + length, n)
        high = max(high, low)
        inner.append(slice(low, high))
        outer.append(slice(low - start, high - start))
    return (inner[0], inner[1]), (outer[0], outer[1])


def _standardised(
    image: Image, scale: tuple[float, float], first: tuple[int, int], out: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Fill ``out`` with the frame's pixels from ``first`` on."""
    inner, outer = overlap(image.pixels.shape, first, out.shape)
    pixels, mask = _usable(image, inner)
    rows, cols = outer
    for beyond in (np.s_[: rows.start], np.s_[rows.stop :], np.s_[:, : cols.start],
                   np.s_[:, cols.stop :]):  # fmt: skip
        out[beyond] = np.nan
    if pixels.size:
        holes = _kernels.standardise(
            pixels, mask, *scale, SATURATED, out, outer[0].start, outer[1].start
        )
        if holes:
            # At the edge of a part neighbours are missing; no window reaches so far.
            check(_kernels.fill_isolated(out))
    return out


def _usable(image: Image, inner: Slices) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return pixels of a type that the kernel takes, and where they may be used."""
    pixels = image.pixels[inner]
    mask = None if image.valid is None else image.valid[inner]
    if image.fill is not None:
        seen = pixels != image.fill
        mask = seen if mask is None else mask & seen
    if pixels.dtype.name not in _PIXELS or not pixels.dtype.isnative:
        pixels = pixels.astype(np.float64)
    usable = None if mask is None else _rows_in_one_piece(mask).view(np.uint8)
    return _rows_in_one_piece(pixels), usable


def _rows_in_one_piece(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.strides[1] == array.itemsize else np.ascontiguousarray(array)


def _scale(
    image: Image, inner: Slices, arrived: Callable[[int], None] | None
) -> tuple[float, float]:
    """Return mean and standard deviation of usable pixels, of every 16th row."""
    rows, cols = inner
    bands = range(rows.start, rows.stop, _SCALE_ROWS)
    tries = [(slice(at, min(at + _SCALE_ROWS, rows.stop)), 16) for at in bands]
    sample, spread = np.zeros(0), 0.0
    for band, every in [*tries, (rows, 1)]:
        if arrived is not None:
            arrived(band.stop)
        pixels, mask = _usable(image, (band, cols))
        part = pixels[::every].astype(np.float64)
        usable = np.isfinite(part) & (part != SATURATED)
        if mask is not None:
            usable &= mask[::every] != 0
        sample = part[usable]
        spread = float(sample.std()) if sample.size else 0.0
        if sample.size > 1000 and spread > 0:
            break
    return (float(sample.mean()) if sample.size else 0.0), (spread if spread > 0 else 1.0)
