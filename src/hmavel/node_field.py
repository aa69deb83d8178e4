"""A lattice of nodes on one pair of images: seeds, followers, outliers.

Between ``correlator.py``, which settles the arguments, and the kernel, which measures one node
after the other: which nodes search, which follow their neighbours, and which the field as a
whole does not believe.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import _kernels
from hmavel._types import Displacement, Quality

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hmavel._types import BoolArray

#: Digital number at which Landsat's bands saturate.
SATURATED = 65535

STATUS = (
    "",
    "expected memory for the windows, got none; use fewer threads or smaller windows",
    "expected windows that are even and 8 to 256 px, got another",
    "expected options within their ranges, got one outside",
    "expected FFTW, got none; reinstall pyfftw",
    "expected FFTW to plan this window, got a refusal; use a window of 16, 32 or 64 px",
    "expected every window inside the padded images, got one outside; this is a defect",
)

WEIGHTS = {"white": 0, "half": 1, "cross": 2}


@dataclass(frozen=True)
class Settings:
    """What the kernel can be told beyond the windows. The defaults are those of the method.

    ``sigma_scale`` and ``min_evidence`` are calibrated on simulated pairs (docs/method.md);
    they hold for these tapers and weights.
    """

    coarse_taper: float = 0.35  #: share of the coarse window that falls off at each end
    fine_taper: float = 0.5  #: the same for the fine window; 0.5 = Hann
    last_taper: float = 0.25  #: the same for the re-windowed passes
    weight: str = "half"  #: frequency weights: "white", "half" or "cross"
    robust: int = 2  #: rounds of robust reweighting
    rewindow: int = 4  #: passes with the sub-pixel shifted window, at most
    settled: float = 0.005  #: px; re-windowing ends when a fit moves the window less
    min_valid: float = 0.6  #: share of each fine window that must be valid
    min_evidence: float = 5.5  #: accept a match above this; see docs/method.md
    known_evidence: float = 4.0  #: or this, where neighbours or the coarse window vouch for it
    guess_evidence: float = 6.5  #: keep what neighbours led to above this, else search
    unpin: float = 1.025  #: a fit moves too little by what the taper pins; stretch its moves
    max_second: float = 0.85  #: refuse a match whose rival reaches this share of its height
    sigma_scale: float = 0.9  #: calibration of the predicted sigma
    sigma_floor: float = 0.001  #: px; what interpolation and rounding leave
    max_median: float = 4.0  #: normalised median test: refuse above
    max_step: float = 2.0  #: px; neighbours that differ by more do not hang together
    min_clump: float = 1.25  #: refuse clumps of good nodes smaller than this many fine windows
    fftw_only: bool = False  #: leave the kernels' own transforms aside
    instruction_set: str | None = None  #: None = the widest this processor runs


DEFAULT = Settings()


# ---- images for the kernel -----------------------------------------------------------------


def extent(row: Any, col: Any, pad: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel and shape of the padded images that hold every window of every node."""
    first = tuple(int(np.floor(x.min() + 0.5)) - pad for x in (row, col))
    size = tuple(
        int(np.floor(x.max() + 0.5)) + pad - start
        for x, start in zip((row, col), first, strict=True)
    )
    return (first[0], first[1]), (size[0], size[1])


def _overlap(
    shape: tuple[int, ...], first: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the part that image and padded image share, in each of them."""
    inner, outer = [], []
    for n, start, length in zip(shape, first, size, strict=True):
        low, high = max(start, 0), min(start + length, n)
        high = max(high, low)
        inner.append(slice(low, high))
        outer.append(slice(low - start, high - start))
    return (inner[0], inner[1]), (outer[0], outer[1])


def standardise(
    image: NDArray[Any], valid: BoolArray | None, first: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Copy to padded float32 with zero mean and unit standard deviation.

    NaN marks invalid pixels, inf saturated ones. The scale keeps the two windows that share a
    transform at one order of magnitude.
    """
    out = np.full(size, np.nan, np.float32)
    inner, outer = _overlap(image.shape, first, size)
    part = image[inner]
    if not part.size:
        return out
    mask = None if valid is None else valid[inner].view(np.uint8)
    mean, spread = _scale(part, mask)
    if part.dtype.name not in _PIXELS or not part.dtype.isnative:
        part = part.astype(np.float64)
    _kernels.standardise(
        part, mask, mean, spread, SATURATED, out, outer[0].start, outer[1].start
    )
    return out


#: Pixel types that the kernel takes as they are.
_PIXELS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"}


def _scale(part: NDArray[Any], mask: NDArray[np.uint8] | None) -> tuple[float, float]:
    """Return mean and standard deviation of usable pixels, of every 4th row and column."""
    for every in (4, 1):
        sample = part[::every, ::every].astype(np.float64)
        usable = np.isfinite(sample) & (sample != SATURATED)
        if mask is not None:
            usable &= mask[::every, ::every] != 0
        sample = sample[usable]
        if sample.size > 1000 and sample.std() > 0:
            break
    spread = float(sample.std()) if sample.size else 0.0
    return (float(sample.mean()) if sample.size else 0.0), (spread if spread > 0 else 1.0)


# ---- work ----------------------------------------------------------------------------------


def _strips(count: int, threads: int, least: int = 256) -> list[tuple[int, int]]:
    """Cut ``count`` nodes into ranges: a few per thread, so that the last ones even out."""
    pieces = max(1, min(threads * 4 if threads > 1 else 1, count // least or 1))
    edges = np.linspace(0, count, pieces + 1).astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _in_threads(work: Callable[[int, int], int], count: int, threads: int) -> None:
    """Run ``work`` over ranges of nodes; the kernel releases the GIL."""
    strips = _strips(count, threads)
    if threads == 1:
        statuses = [work(*strip) for strip in strips]
    else:
        with ThreadPoolExecutor(threads) as pool:
            statuses = list(pool.map(lambda strip: work(*strip), strips))
    for status in statuses:
        _check(status)


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"correlate kernel: {STATUS[status]}")


@dataclass(frozen=True)
class NodeField:
    """A pair ready for the kernel, and the lattice of nodes to measure on it."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    #: pixel c of each row of nodes: its window covers c - N/2 ... c + N/2 - 1
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    options: dict[str, Any]
    instruction_set: str | None
    threads: int

    @property
    def apart(self) -> int:
        """Nodes from one seed to the next: half a coarse window."""
        steps = [int(x[1] - x[0]) for x in (self.row, self.col) if len(x) > 1]
        return max(1, int(self.options["coarse"]) // 2 // max(steps, default=1))

    def measure(
        self,
        where: BoolArray,
        guess: NDArray[np.float32],
        out: NDArray[np.float32],
        quality: NDArray[np.uint8],
    ) -> None:
        """Measure the nodes of ``where`` from their guesses (NaN = search); fill the rest."""
        i, j = np.nonzero(where)
        if not i.size:
            return
        row, col = self.row[i], self.col[j]
        start = np.ascontiguousarray(guess[:, i, j])
        part = np.full((7, i.size), np.nan, np.float32)
        why = np.full(i.size, Quality.OUTSIDE, np.uint8)
        words = (self.a, self.b, row, col, start[0], start[1], self.options, part, why)
        _in_threads(
            lambda first, last: _kernels.correlate(*words, first, last, self.instruction_set),
            i.size,
            self.threads,
        )
        out[:, i, j] = part
        quality[i, j] = why

    def measure_all(
        self, labels: NDArray[Any] | None, first: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Measure every node; with labels, each on images of its own label's pixels only.

        ``labels`` stands on the unpadded images, whose pixel ``first`` is the padded origin.
        """
        shape = len(self.row), len(self.col)
        if labels is None:
            return self.field(np.ones(shape, bool))
        padded = np.zeros(self.a.shape, labels.dtype)
        inner, outer = _overlap(labels.shape, first, self.a.shape)
        padded[outer] = labels[inner]
        of_node = padded[self.row[:, None], self.col[None, :]]
        out = np.full((7, *shape), np.nan, np.float32)
        quality = np.full(shape, Quality.OUTSIDE, np.uint8)
        for label in np.unique(of_node):
            mine, inside = of_node == label, padded == label
            a, b = (np.where(inside, x, np.float32(np.nan)) for x in (self.a, self.b))
            part, why = replace(self, a=a, b=b).field(mine)
            out[:, mine] = part[:, mine]
            quality[mine] = why[mine]
        return out, quality

    def field(self, where: BoolArray) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Measure the nodes of ``where``: seeds by search, the others from their seeds.

        The coarse windows of neighbouring nodes overlap almost wholly. So only every
        ``apart``-th node searches, and a node between seeds that agree starts from them; the
        kernel searches after all where that start does not hold.
        """
        out = np.full((7, *where.shape), np.nan, np.float32)
        quality = np.full(where.shape, Quality.OUTSIDE, np.uint8)
        no_guess = np.full((2, *where.shape), np.nan, np.float32)
        if not self.options["coarse"]:
            self.measure(where, no_guess, out, quality)
            return out, quality
        apart = self.apart
        seeds = np.zeros_like(where)
        seeds[_every(apart), _every(apart)] = True
        self.measure(where & seeds, no_guess, out, quality)
        self.measure(where & ~seeds, _between_seeds(out[:2], apart), out, quality)
        self.grow(where, out, quality)
        return out, quality

    def grow(
        self, where: BoolArray, out: NDArray[np.float32], quality: NDArray[np.uint8]
    ) -> None:
        """Try nodes that failed once more, from the median of good neighbours that agree.

        A search alone finds a far match only where enough of it is still in the window; its
        neighbours know the way. Each round reaches two nodes further.
        """
        known = replace(self, options=self.options | {"coarse": 0})
        tried = np.zeros_like(where)
        for _ in range(max(where.shape)):
            wanted = where & ~tried & np.isin(quality, _RETRY)
            if not wanted.any():
                return
            guess = np.empty((2, *where.shape), np.float32)
            u, v = (np.where(quality == Quality.GOOD, x, np.float32(np.nan)) for x in out[:2])
            _in_threads(
                lambda i, j, g=guess, u=u, v=v, w=wanted: _kernels.neighbour_median(  # type: ignore[misc]
                    u, v, w.view(np.uint8), _FOLLOW, _AGREE / 2, g[0], g[1], i, j
                ),
                where.shape[0],
                self.threads,
            )
            again = wanted & np.isfinite(guess[0])
            if not again.any():
                return
            found = np.full_like(out, np.nan)
            why = np.full_like(quality, Quality.OUTSIDE)
            known.measure(again, guess, found, why)
            better = again & (why == Quality.GOOD)
            out[:, better] = found[:, better]
            quality[better] = Quality.GOOD
            tried |= again


#: Failures that a better start may mend.
_RETRY = (
    Quality.OUT_OF_REACH,
    Quality.UNSETTLED,
    Quality.INCOHERENT,
)

#: A node follows its neighbours when so many of them agree.
_FOLLOW = 5


def _every(apart: int) -> slice:
    return slice(apart // 2, None, apart)


#: Seeds that differ by more than this do not lead the nodes between them, px.
_AGREE = 2.0


def _between_seeds(d: NDArray[np.float32], apart: int) -> NDArray[np.float32]:
    """Interpolate the seeds' displacement (2, rows, cols); NaN where they disagree."""
    seeds = d[:, _every(apart), _every(apart)]
    if not seeds.size:
        return np.full_like(d, np.nan)
    near: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]] = []
    for nodes, count in zip(d.shape[1:], seeds.shape[1:], strict=True):
        at = (np.arange(nodes) - apart // 2) / apart
        low = np.clip(np.floor(at).astype(int), 0, count - 1)
        high = np.minimum(low + 1, count - 1)
        near.append((low, high, np.clip(at - low, 0, 1).astype(np.float32)))
    (r0, r1, fr), (c0, c1, fc) = near
    rows = seeds[:, r0], seeds[:, r1]
    corner = [x[:, :, c] for x in rows for c in (c0, c1)]
    low, high = np.minimum.reduce(corner), np.maximum.reduce(corner)
    fr, fc = fr[:, None], fc[None, :]
    top, bottom = ((1 - fc) * corner[2 * k] + fc * corner[2 * k + 1] for k in range(2))
    guess: NDArray[np.float32] = (1 - fr) * top + fr * bottom
    guess[:, np.any(~(high - low <= _AGREE), axis=0)] = np.nan
    return guess


def without_outliers(
    d: Displacement, settings: Settings, *, window: int, step: float, threads: int
) -> Displacement:
    """Reject what its neighbours contradict, then the small clumps that are left."""
    rows = d.drow.shape[0]
    outlier = np.zeros(d.drow.shape, np.uint8)
    # 0.1 px is the floor of Westerweel and Scarano; the node's own sigma widens it on noise.
    noise = [
        np.float32(0.1) + np.nan_to_num(s).astype(np.float32)
        for s in (d.sigma_row, d.sigma_col)
    ]
    u, v = (np.ascontiguousarray(x, np.float32) for x in (d.drow, d.dcol))
    _in_threads(
        lambda i, j: _kernels.median_test(
            u, v, noise[0], noise[1], _FOLLOW, settings.max_median, outlier, i, j
        ),
        rows,
        threads,
    )
    kept = d.rejected(outlier.view(bool), Quality.OUTLIER)
    # Windows that overlap repeat one chance match at all their nodes.
    least = settings.min_clump * (window / step) ** 2
    good = kept.good
    if good.size <= least or least <= 1:
        return kept
    u, v = (np.ascontiguousarray(x, np.float32) for x in (kept.drow, kept.dcol))
    parent, size = np.empty(u.shape, np.int32), np.empty(u.shape, np.int32)
    _check(_kernels.clump_sizes(u, v, settings.max_step, parent, size))
    return kept.rejected(good & (size < least), Quality.ISOLATED)
