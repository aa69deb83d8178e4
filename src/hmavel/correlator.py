"""Displacement of a pair by phase correlation: shapes, defaults and ranges for the kernel.

The mathematics is in docs/method.md ("Correlator"), the arithmetic in ``src/ext``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from hmavel import _fftw, _kernels
from hmavel._types import Displacement, Quality

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from hmavel._types import BoolArray, Pair

#: Digital number at which Landsat's bands saturate.
SATURATED = 65535

_STATUS = (
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
    rewindow: int = 3  #: passes with the sub-pixel shifted window, at most
    settled: float = 0.003  #: px; re-windowing ends when the estimate moves less
    min_valid: float = 0.6  #: share of each fine window that must be valid
    min_evidence: float = 5.0  #: accept a match above this; see docs/method.md
    guess_evidence: float = 6.5  #: keep what neighbours led to above this, else search
    unpin: float = 1.025  #: correction of the first look, whose tapers do not move
    max_second: float = 0.9  #: refuse a match whose rival reaches this share of its height
    sigma_scale: float = 0.9  #: calibration of the predicted sigma
    sigma_floor: float = 0.001  #: px; what interpolation and rounding leave
    max_median: float = 4.0  #: normalised median test: refuse above
    min_clump: int = 5  #: refuse clumps of fewer good nodes
    fftw_only: bool = False  #: leave the kernels' own transforms aside
    instruction_set: str | None = None  #: None = the widest this processor runs


DEFAULT = Settings()


def correlate(
    reference: ArrayLike,
    secondary: ArrayLike,
    *,
    window: int = 32,
    coarse: int = 64,
    step: int = 8,
    valid_reference: ArrayLike | None = None,
    valid_secondary: ArrayLike | None = None,
    domain: ArrayLike | None = None,
    threads: int = 1,
    nodes: tuple[ArrayLike, ArrayLike] | None = None,
    reach: int | None = None,
    settings: Settings = DEFAULT,
) -> Displacement:
    """Measure how far the texture of each node moved from ``reference`` to ``secondary``.

    Parameters
    ----------
    reference, secondary
        Images of one shape (rows, cols), any real dtype. NaN is invalid, 65535 saturated.
    window, coarse
        Side of the fine and of the coarse window, px: even, 8 to 256. ``coarse=0`` leaves
        the coarse search out: displacements beyond half a pixel or so are then lost.
    step
        Spacing of the nodes, px.
    valid_reference, valid_secondary
        True where a pixel may be used, shape (rows, cols).
    domain
        Integer labels (rows, cols), 0 = none: a node uses only pixels of its own label, so
        that ice at a margin is not dragged down by the rock beside it.
    threads
        Strips of nodes that are worked on side by side.
    nodes
        (row, col), 1-D, evenly spaced: effective centres in pixel indices, multiples of ½.
        Default: the centres of the step x step cells, i * step + (step - 1) / 2.
    reach
        Search limit per axis, px; default half the coarse window.
    settings
        The kernel's further options.

    Returns
    -------
    Displacement
        ``drow``, ``dcol`` in px, shape (len(row), len(col)). Positive: the feature moved
        down or right. NaN wherever ``quality`` is not 0; ``quality`` says why.

    Raises
    ------
    ValueError
        An argument is out of its range, or shapes differ.

    Notes
    -----
    Phase correlation after Leprince et al. (2007) with the departures that docs/method.md
    gives reasons for: the mean removed, relocation to half a pixel, re-windowing with a
    sub-pixel shifted taper. Bias and noise are measured in ``tests/test_correlator.py``.

    References
    ----------
    Leprince et al. (2007), IEEE TGRS 45(6), 1529-1558.

    Examples
    --------
    >>> import hmavel
    >>> pair = hmavel.simulate.shifted_pair(drow=1.5, dcol=-0.25, seed=0, shape=(128, 128))
    >>> d = hmavel.correlate(pair.reference, pair.secondary)
    >>> round(float(np.nanmedian(d.drow)), 2), round(float(np.nanmedian(d.dcol)), 2)
    (1.5, -0.25)
    """
    images = np.asarray(reference), np.asarray(secondary)
    _check_images(*images)
    _check_windows(window, coarse, step, threads)
    reach = (coarse // 2 if coarse else 2) if reach is None else reach
    if not 0 <= reach <= 4096:
        raise ValueError(f"correlate reach: expected 0 to 4096 px, got {reach}; lower it")
    shape = images[0].shape
    row, col = _node_centres(nodes, shape, step)
    valid = [
        _check_mask(mask, shape, name)
        for mask, name in ((valid_reference, "valid_reference"), (valid_secondary, "valid_secondary"))
    ]
    labels = None if domain is None else _check_labels(domain, shape)

    pad = max(window, coarse) // 2 + reach + 2
    first, size = _extent(row, col, pad)
    a, b = (
        _standardise(image, mask, first, size) for image, mask in zip(images, valid, strict=True)
    )
    job = _Job(
        a,
        b,
        (np.floor(row + 0.5) - first[0]).astype(np.int32),
        (np.floor(col + 0.5) - first[1]).astype(np.int32),
        _options(settings, window, coarse, row, col, reach),
        settings.instruction_set,
        threads,
    )
    apart = max(1, coarse // 2 // step) if nodes is None else _seeds_apart(row, col, coarse)
    if labels is None:
        everywhere = np.ones((len(row), len(col)), bool)
        out, quality = job.field(everywhere, apart)
    else:
        out, quality = _by_label(job, labels, first, apart)
    drow, dcol, sigma_row, sigma_col, snr, coherence, _ = out
    found = Displacement(
        drow, dcol, sigma_row, sigma_col, snr, coherence, quality, row, col
    )  # fmt: skip
    return _without_outliers(found, settings, threads)


def correlate_pair(pair: Pair, **options: Any) -> Displacement:
    """Measure the displacement between the scenes of a pair; see :func:`correlate`."""
    return correlate(pair.reference, pair.secondary, **options)


def fftw_origin() -> str:
    """Where FFTW comes from: ``linked``, or ``runtime:`` and the file that was opened."""
    return _fftw.ready()


# ---- arguments ------------------------------------------------------------------------------


def _check_images(reference: NDArray[Any], secondary: NDArray[Any]) -> None:
    for image, name in ((reference, "reference"), (secondary, "secondary")):
        if image.ndim != 2 or image.size == 0:
            raise ValueError(
                f"correlate {name}: expected a 2-D image, got shape {image.shape}; "
                "pass one band at a time"
            )
        if image.dtype.kind not in "buif":
            raise ValueError(
                f"correlate {name}: expected real numbers, got {image.dtype}; convert it first"
            )
    if reference.shape != secondary.shape:
        raise ValueError(
            f"correlate images: expected one shape, got {reference.shape} and "
            f"{secondary.shape}; co-grid the pair first (hmavel.pair.make_pair)"
        )


def _check_windows(window: int, coarse: int, step: int, threads: int) -> None:
    for value, name in ((window, "window"), (coarse, "coarse")):
        if name == "coarse" and value == 0:
            continue
        if value != int(value) or value % 2 or not 8 <= value <= 256:
            raise ValueError(
                f"correlate {name}: expected an even number of 8 to 256 px, got {value}; "
                "16, 32 and 64 are the fast ones"
            )
    if coarse and coarse < window:
        raise ValueError(
            f"correlate coarse: expected at least the fine window ({window} px), got {coarse}; "
            "enlarge it, or pass coarse=0 for no coarse search"
        )
    for value, name in ((step, "step"), (threads, "threads")):
        if value != int(value) or value < 1:
            raise ValueError(
                f"correlate {name}: expected a whole number from 1, got {value}; use 1 or more"
            )


def _check_mask(mask: ArrayLike | None, shape: tuple[int, ...], name: str) -> BoolArray | None:
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.shape != shape:
        raise ValueError(
            f"correlate {name}: expected the images' shape {shape}, got {array.shape}; "
            "bring the mask to the images' grid (hmavel.mask.to_grid)"
        )
    return array.astype(bool)


def _check_labels(domain: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    labels = np.asarray(domain)
    if labels.shape != shape or labels.dtype.kind not in "bui":
        raise ValueError(
            f"correlate domain: expected integers of the images' shape {shape}, got "
            f"{labels.dtype} {labels.shape}; rasterise the outlines on the images' grid"
        )
    return labels


def _node_centres(
    nodes: tuple[ArrayLike, ArrayLike] | None, shape: tuple[int, ...], step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Effective centres along rows and columns, pixel indices."""
    if nodes is None:
        row, col = (np.arange(size // step) * step + (step - 1) / 2 for size in shape)
        if not row.size or not col.size:
            raise ValueError(
                f"correlate step: expected at most the image's side {min(shape)}, got {step}; "
                "lower it"
            )
        return row, col
    row, col = (np.asarray(x, np.float64) for x in nodes)
    for x, name in ((row, "row"), (col, "col")):
        if x.ndim != 1 or not x.size or not np.all(np.isfinite(x)):
            raise ValueError(
                f"correlate nodes: expected 1-D finite {name} indices, got shape {x.shape}; "
                "pass the effective centres as (row, col)"
            )
        parts = np.unique(np.mod(x, 1.0))
        if parts.size != 1 or parts[0] not in (0.0, 0.5):
            raise ValueError(
                f"correlate nodes: expected {name} centres that are all whole or all half "
                f"pixels, got fractions {parts[:4]}; snap the grid to half pixels"
            )
    return row, col


def _options(
    settings: Settings, window: int, coarse: int, row: Any, col: Any, reach: int
) -> dict[str, Any]:
    """The kernel's options: the settings, the windows, and where the taper's centre lies."""
    options = {f.name: getattr(settings, f.name) for f in fields(settings)}
    if settings.weight not in WEIGHTS:
        raise ValueError(
            f"correlate weight: expected one of {sorted(WEIGHTS)}, got {settings.weight!r}; "
            "'half' is the default"
        )
    return options | {
        "fine": window,
        "coarse": coarse,
        "reach": reach,
        "weight": WEIGHTS[settings.weight],
        "coarse_beta": settings.coarse_taper,
        "fine_beta": settings.fine_taper,
        "last_beta": settings.last_taper,
        "half_row": int(row[0] % 1 == 0.5),
        "half_col": int(col[0] % 1 == 0.5),
    }


# ---- images for the kernel ------------------------------------------------------------------


def _extent(row: Any, col: Any, pad: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First pixel and shape of the padded images that hold every window of every node."""
    first = tuple(int(np.floor(x.min() + 0.5)) - pad for x in (row, col))
    size = tuple(
        int(np.floor(x.max() + 0.5)) + pad - start for x, start in zip((row, col), first, strict=True)
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


def _standardise(
    image: NDArray[Any], valid: BoolArray | None, first: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Padded float32 copy with zero mean and unit standard deviation; NaN = invalid, inf = saturated.

    The scale keeps the two windows that share a transform at one order of magnitude.
    """
    out = np.full(size, np.nan, np.float32)
    inner, outer = _overlap(image.shape, first, size)
    part = out[outer]
    source = image[inner]
    part[...] = source
    saturated = source == SATURATED
    bad = ~np.isfinite(part)
    if valid is not None:
        bad |= ~valid[inner]
    usable = ~(bad | saturated)
    if usable.any():
        # Statistics of a thinned copy would do; these are exact and in float64, so that they
        # do not depend on the order of summation.
        mean = float(np.mean(part, where=usable, dtype=np.float64))
        spread = float(np.std(part, where=usable, dtype=np.float64))
        part -= np.float32(mean)
        if spread > 0:
            part /= np.float32(spread)
    part[saturated] = np.inf
    part[bad] = np.nan
    return out


# ---- work ------------------------------------------------------------------------------------


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
        if status:
            raise RuntimeError(f"correlate kernel: {_STATUS[status]}")


@dataclass(frozen=True)
class _Job:
    """A pair ready for the kernel, and the lattice of nodes to measure on it."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    row: NDArray[np.int32]  # pixel c of each node row: its window covers c - N/2 ... c + N/2 - 1
    col: NDArray[np.int32]
    options: dict[str, Any]
    instruction_set: str | None
    threads: int

    def measure(
        self, where: BoolArray, guess: NDArray[np.float32], out: NDArray[np.float32],
        quality: NDArray[np.uint8],
    ) -> None:  # fmt: skip
        """Measure the nodes of ``where`` from their guesses (NaN = search); fill the rest."""
        i, j = np.nonzero(where)
        if not i.size:
            return
        _fftw.ready()
        row, col = self.row[i], self.col[j]
        start = np.ascontiguousarray(guess[:, i, j])
        part = np.full((7, i.size), np.nan, np.float32)
        why = np.full(i.size, Quality.OUTSIDE, np.uint8)
        _in_threads(
            lambda first, last: _kernels.correlate(
                self.a, self.b, row, col, start[0], start[1], self.options, part, why,
                first, last, self.instruction_set,
            ),  # fmt: skip
            i.size,
            self.threads,
        )
        out[:, i, j] = part
        quality[i, j] = why

    def field(
        self, where: BoolArray, apart: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Measure the nodes of ``where``: seeds by search, the others from their seeds.

        The coarse windows of neighbouring nodes overlap almost wholly. So only every
        ``apart``-th node searches, and a node between seeds that agree starts from them; the
        kernel searches after all where that start does not hold.
        """
        out = np.full((7, *where.shape), np.nan, np.float32)
        quality = np.full(where.shape, Quality.OUTSIDE, np.uint8)
        no_guess = np.full((2, *where.shape), np.nan, np.float32)
        if not self.options["coarse"]:
            self.measure(where, 0 * no_guess, out, quality)
            return out, quality
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
            u, v = (
                np.where(quality == Quality.GOOD, x, np.float32(np.nan)) for x in out[:2]
            )
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
    Quality.AMBIGUOUS,
)

#: A node follows its neighbours when so many of them agree.
_FOLLOW = 5


def _every(apart: int) -> slice:
    return slice(apart // 2, None, apart)


def _seeds_apart(row: Any, col: Any, coarse: int) -> int:
    """Nodes between seeds for free node lists: seeds half a coarse window apart."""
    steps = [float(x[1] - x[0]) for x in (row, col) if len(x) > 1]
    return max(1, int(coarse / 2 / max(steps))) if steps else 1


#: Seeds that differ by more than this do not lead the nodes between them, px.
_AGREE = 2.0


def _between_seeds(d: NDArray[np.float32], apart: int) -> NDArray[np.float32]:
    """Interpolate the seeds' displacement (2, rows, cols) to all nodes; NaN where they disagree."""
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
    top, bottom = (
        (1 - fc) * corner[2 * k] + fc * corner[2 * k + 1] for k in range(2)
    )
    guess: NDArray[np.float32] = (1 - fr) * top + fr * bottom
    guess[:, np.any(~(high - low <= _AGREE), axis=0)] = np.nan
    return guess


def _by_label(
    job: _Job, labels: NDArray[Any], first: tuple[int, int], apart: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Measure each label's nodes on images in which the other labels' pixels are invalid."""
    padded = np.zeros(job.a.shape, labels.dtype)
    inner, outer = _overlap(labels.shape, first, job.a.shape)
    padded[outer] = labels[inner]
    of_node = padded[job.row[:, None], job.col[None, :]]
    out = np.full((7, *of_node.shape), np.nan, np.float32)
    quality = np.full(of_node.shape, Quality.OUTSIDE, np.uint8)
    for label in np.unique(of_node):
        mine, inside = of_node == label, padded == label
        a, b = (np.where(inside, x, np.float32(np.nan)) for x in (job.a, job.b))
        part, why = replace(job, a=a, b=b).field(mine, apart)
        out[:, mine] = part[:, mine]
        quality[mine] = why[mine]
    return out, quality


def _without_outliers(d: Displacement, settings: Settings, threads: int) -> Displacement:
    """Reject what its neighbours contradict, then the small clumps that are left."""
    rows = d.drow.shape[0]
    score = np.full(d.drow.shape, np.nan, np.float32)
    # 0.1 px is the floor of Westerweel and Scarano; the node's own sigma widens it on noise.
    noise = [np.float32(0.1) + np.nan_to_num(s).astype(np.float32) for s in (d.sigma_row, d.sigma_col)]
    u, v = (np.ascontiguousarray(x, np.float32) for x in (d.drow, d.dcol))
    _in_threads(
        lambda i, j: _kernels.median_test(u, v, noise[0], noise[1], 5, score, i, j),
        rows,
        threads,
    )
    kept = d.rejected(score > settings.max_median, Quality.OUTLIER)
    good = kept.good
    clumps, count = ndimage.label(good, structure=np.ones((3, 3), int))
    sizes = np.bincount(clumps.ravel(), minlength=count + 1)
    # A field smaller than a clump has no clumps to speak of.
    if good.size <= settings.min_clump:
        return kept
    return kept.rejected(good & (sizes[clumps] < settings.min_clump), Quality.ISOLATED)
