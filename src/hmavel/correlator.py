"""Displacement of a pair by phase correlation: shapes, defaults and ranges for the kernel.

The mathematics is in docs/method.md ("Correlator"), the arithmetic in ``src/ext``.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import _fftw
from hmavel._types import Displacement, Quality
from hmavel.correlator_settings import (
    DEFAULT,
    LIKELIEST,
    WEIGHTS,
    Settings,
    seen_around,
    usual_pinned,
)
from hmavel.frame import Frame, Image, extent
from hmavel.neighbours import with_strain, without_outliers
from hmavel.node_field import NodeField

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from hmavel._types import BoolArray, Pair

__all__ = [
    "DEFAULT", "LIKELIEST", "Settings", "correlate", "correlate_images", "correlate_pair",
    "fftw_origin",
]  # fmt: skip


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
    start: tuple[ArrayLike, ArrayLike] | None = None,
    where: ArrayLike | None = None,
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
    start
        (drow, dcol) in px at the nodes, NaN = leave the node out: each node is measured from
        there, without a search and without the tests against its neighbours. For a second
        look, with other settings, at what a first one has found.
    where
        True at the nodes that are wanted, shape (len(row), len(col)); None = all. The others
        get no displacement (``Quality.OUTSIDE``, or why a search that was to lead to wanted
        ones failed). Fewer neighbours vouch for a node at the edge: want two more around
        what matters.
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
    shape = images[0].shape
    return correlate_images(
        Image(images[0], _check_mask(valid_reference, shape, "valid_reference")),
        Image(images[1], _check_mask(valid_secondary, shape, "valid_secondary")),
        window=window, coarse=coarse, step=step, domain=domain, threads=threads, nodes=nodes,
        start=start, where=where, reach=reach, settings=settings,
    )  # fmt: skip


def correlate_images(
    reference: Image,
    secondary: Image,
    *,
    window: int = 32,
    coarse: int = 64,
    step: int = 8,
    domain: ArrayLike | None = None,
    threads: int = 1,
    nodes: tuple[ArrayLike, ArrayLike] | None = None,
    start: tuple[ArrayLike, ArrayLike] | None = None,
    where: ArrayLike | None = None,
    reach: int | None = None,
    settings: Settings = DEFAULT,
    arrived: Callable[[int], None] | None = None,
) -> Displacement:
    """Do what `correlate` does, on images that may still be arriving.

    Parameters
    ----------
    reference, secondary
        Pixels as they were read, with the value that means no image.
    arrived
        Called with a number of rows before these are looked at, from any thread; to return
        when they are in the arrays, and to raise when they never will be.
    window, coarse, step, domain, threads, nodes, start, where, reach, settings
        As for `correlate`.
    """
    _check_windows(window, coarse, step, threads)
    reach = (coarse // 2 if coarse else 2) if reach is None else reach
    if not 0 <= reach <= 4096:
        raise ValueError(f"correlate reach: expected 0 to 4096 px, got {reach}; lower it")
    shape = reference.pixels.shape
    row, col = _node_centres(nodes, shape, step)
    labels = None if domain is None else _check_labels(domain, shape)
    begin = None if start is None else _check_start(start, (len(row), len(col)))
    wanted = None
    if where is not None:
        hint = "pass one truth value per node"
        wanted = _check_truth(where, "where", "nodes", (len(row), len(col)), hint)

    _fftw.ready()
    pad = seen_around(window, coarse, reach, interpolate=settings.interpolate)
    first, size = extent(row, col, pad)
    field = NodeField(
        Frame(reference, secondary, first, size, arrived=arrived),
        (np.floor(row + 0.5) - first[0]).astype(np.int32),
        (np.floor(col + 0.5) - first[1]).astype(np.int32),
        _options(settings, window, coarse if begin is None else 0, row, col, reach),
        pad,
        settings.instruction_set,
        threads,
    )
    out, quality = field.measure_all(labels, begin, wanted)
    drow, dcol, sigma_row, sigma_col, snr, coherence, _ = out
    found = Displacement(drow, dcol, sigma_row, sigma_col, snr, coherence, quality, row, col)
    if begin is not None:
        return found
    spacing = float(row[1] - row[0]) if len(row) > 1 else float(step)
    kept = without_outliers(found, settings, window=window, step=spacing, threads=threads)
    kept = with_strain(kept, settings.sigma_centre, step=spacing, threads=threads)
    return kept if wanted is None else kept.rejected(~wanted, Quality.OUTSIDE)


def correlate_pair(pair: Pair, **options: Any) -> Displacement:
    """Measure the displacement between the scenes of a pair; see :func:`correlate`."""
    return correlate(pair.reference, pair.secondary, **options)


def fftw_origin() -> str:
    """Where FFTW comes from: ``linked``, or ``runtime:`` and the file that was opened."""
    return _fftw.ready()


# ---- arguments -----------------------------------------------------------------------------


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
    hint = "bring the mask to the images' grid (hmavel.mask.to_grid)"
    return _check_truth(mask, name, "images", shape, hint)


def _check_truth(
    values: ArrayLike, name: str, of: str, shape: tuple[int, ...], hint: str
) -> BoolArray:
    array = np.asarray(values)
    if array.shape != shape:
        raise ValueError(
            f"correlate {name}: expected the {of}' shape {shape}, got {array.shape}; {hint}"
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


def _check_start(
    start: tuple[ArrayLike, ArrayLike], shape: tuple[int, int]
) -> NDArray[np.float32]:
    parts = [np.asarray(part, np.float32) for part in start]
    if len(parts) != 2 or any(part.shape != shape for part in parts):
        raise ValueError(
            f"correlate start: expected (drow, dcol) of the nodes' shape {shape}, got "
            f"{[part.shape for part in parts]}; pass one displacement per node"
        )
    return np.stack(parts)


def _node_centres(
    nodes: tuple[ArrayLike, ArrayLike] | None, shape: tuple[int, ...], step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Effective centres along rows and columns, pixel indices."""
    row: NDArray[np.float64]
    col: NDArray[np.float64]
    if nodes is None:
        row, col = (
            np.arange(n // step, dtype=np.float64) * step + (step - 1) / 2 for n in shape[:2]
        )
        if not row.size or not col.size:
            raise ValueError(
                f"correlate step: expected at most the image's side {min(shape)}, got {step}; "
                "lower it"
            )
        return row, col
    row, col = np.asarray(nodes[0], np.float64), np.asarray(nodes[1], np.float64)
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
    """Gather the kernel's options: settings, windows, and where the taper's centre lies."""
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
        "likely": settings.weight == "noise",
        "drowned": settings.weight == "noise"
        or (settings.weight == "half" and settings.drowned),
        "coarse_beta": settings.coarse_taper,
        "fine_beta": settings.fine_taper,
        "last_beta": settings.last_taper,
        "pinned": usual_pinned(settings.last_taper),
        "noisy_beta": min(settings.noisy_taper, settings.last_taper),
        "moved": settings.interpolate,
        "holed_beta": settings.last_taper,
        "holed_pinned": usual_pinned(settings.last_taper),
        "half_row": int(row[0] % 1 == 0.5),
        "half_col": int(col[0] % 1 == 0.5),
    }
