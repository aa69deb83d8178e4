"""How well matches can be trusted, from ground that does not move.

``static_terrain`` describes the scatter of velocities over bare ground: its centre (bias),
its half-width (uncertainty) and the share of points that do not belong to it. Equations
and measurements: docs/method.md, section Uncertainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from hmavel.core import NMAD
from hmavel.errors import StableGroundError
from hmavel.kde import (
    Array,
    Frame,
    bin_points,
    density_on_mesh,
    epanechnikov_bandwidth,
    finite_chunks,
)
from hmavel.terrain_contour import Contour, unclear

NAN = float("nan")
#: Fewer points than this do not make a two-dimensional density.
MIN_POINTS = 30
#: Points that settle centre and scale before all of them are binned.
PILOT = 1 << 15
#: Two-sided 95 % quantile of the Gaussian.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class StaticTerrain:
    """The scatter of velocities over ground that does not move; units of the input.

    ``delta`` is the half-width at ``thres_sigma`` (2 by default), ``sigma`` the 1-sigma
    value ``delta / thres_sigma``. Robust only (NaN in ``glaft`` mode): ``sigma_*``, ``*_ci``,
    ``bias_*_se``, ``contamination``.
    """

    method: str
    thres_sigma: float
    count: int  #: points with both components finite
    bias_x: float  #: position of the density's peak
    bias_y: float
    delta_x: float  #: half-width of the scatter at ``thres_sigma``
    delta_y: float
    outlier_fraction: float  #: share of points outside the box bias +- delta
    bandwidth: float  #: of the kernel (robust: geometric mean of the two axes')
    sigma_x: float = NAN  #: 1 sigma
    sigma_y: float = NAN
    delta_x_ci: tuple[float, float] = (NAN, NAN)  #: 95 % interval of ``delta_x``
    delta_y_ci: tuple[float, float] = (NAN, NAN)
    bias_x_se: float = NAN  #: standard error of ``bias_x``
    bias_y_se: float = NAN
    contamination: float = NAN  #: share of points in excess of a Gaussian core


def static_terrain(
    vx: ArrayLike,
    vy: ArrayLike,
    *,
    method: str = "robust",
    thres_sigma: float = 2.0,
    gridsize: int = 60,
    redundancy: float = 1.0,
) -> StaticTerrain:
    """Measure centre, width and outliers of the velocity scatter over bare ground.

    Parameters
    ----------
    vx, vy
        Samples over bare ground in any one unit, the same number of each; NaN = missing.
    method
        ``"robust"``, or ``"glaft"`` for the numbers of GLAFT 1.0.0.
    thres_sigma
        The half-width ``delta`` is that of the contour on which a Gaussian is this many
        standard deviations from its centre.
    gridsize
        Nodes per side of GLAFT's mesh; the robust method bins 4 * gridsize + 16 per side.
    redundancy
        How many samples repeat one independent measurement: 1 for independent samples;
        about (window / step)^2 for nodes whose windows overlap. Robust only: it widens the
        intervals and the bandwidth.

    Returns
    -------
    StaticTerrain
        Bias, half-widths, outlier share; robust also intervals.

    Raises
    ------
    ValueError
        Unequal lengths, an unknown method, a parameter out of range.
    StableGroundError
        Too few points, or points without spread or without one clear peak.

    Notes
    -----
    GLAFT [1]_ takes its bandwidth from the variance, so that outliers widen its answer.
    The robust method standardises by median and NMAD, then by its own answer, subtracts the
    kernel's own variance and the level of the far field, and measures the contour by the
    second moments of what it encloses, cells cut by the contour counted in part. The
    intervals come from the influence of each bin on the answer (no resampling). Its bias
    and coverage are measured in ``tests/test_uncertainty.py``; both assume that the core of
    the scatter has one peak.

    References
    ----------
    .. [1] Zheng et al. (2023), The Cryosphere 17, 4063-4078.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> t = static_terrain(rng.normal(0.3, 0.1, 50_000), rng.normal(0.0, 0.1, 50_000))
    >>> round(t.bias_x, 2), round(t.delta_x, 2)
    (0.3, 0.2)
    """
    x, y = np.ravel(np.asarray(vx)), np.ravel(np.asarray(vy))
    if x.size != y.size:
        raise ValueError(
            f"uncertainty static_terrain: expected vx and vy of one length, got {x.size} and "
            f"{y.size}; pass the two components of the same nodes"
        )
    if method not in ("robust", "glaft"):
        raise ValueError(
            f"uncertainty static_terrain: expected method 'robust' or 'glaft', got {method!r}; "
            "choose one of them"
        )
    if not 0.5 <= thres_sigma <= 4.0:
        raise ValueError(
            "uncertainty static_terrain: expected thres_sigma in 0.5 ... 4, got "
            f"{thres_sigma}; 2 is the published choice"
        )
    if not 10 <= gridsize <= 1000:
        raise ValueError(
            f"uncertainty static_terrain: expected gridsize in 10 ... 1000, got {gridsize}; "
            "60 is the published choice"
        )
    if not redundancy >= 1.0:
        raise ValueError(
            f"uncertainty static_terrain: expected redundancy >= 1, got {redundancy}; "
            "1 means independent samples"
        )
    if method == "glaft":
        return _glaft(x, y, float(thres_sigma), int(gridsize))
    return _robust(x, y, float(thres_sigma), int(gridsize), float(redundancy))


def _glaft(vx: NDArray[Any], vy: NDArray[Any], t: float, gridsize: int) -> StaticTerrain:
    """Zheng et al. (2023), section 2.1, with the package's choices of mesh."""
    parts = list(finite_chunks(vx, vy))
    x = np.concatenate([a for a, _ in parts]) if parts else np.empty(0)
    y = np.concatenate([b for _, b in parts]) if parts else np.empty(0)
    _require_points(x.size)
    spread = float((np.var(x, ddof=1) * np.var(y, ddof=1)) ** 0.25)
    _require_spread(spread)
    h = epanechnikov_bandwidth(spread, x.size)
    middle = float(np.median(x)), float(np.median(y))

    def evaluate(half: float) -> tuple[Array, Array, Array]:
        xs, ys = (np.linspace(m - half, m + half, gridsize) for m in middle)
        return xs, ys, density_on_mesh(x, y, xs, ys, h)

    def extent(xs: Array, ys: Array, z: Array) -> tuple[float, float, float, float]:
        core = z >= z.max() / math.exp(t * t / 2)
        across, along = xs[core.any(axis=0)], ys[core.any(axis=1)]
        return float(across[0]), float(across[-1]), float(along[0]), float(along[-1])

    left, right, low, high = extent(*evaluate((t + 1) * spread))
    # the mean of the two full extents serves as a half-width: twice as wide as needed
    xs, ys, z = evaluate(((right - left) + (high - low)) / 2)
    left, right, low, high = extent(xs, ys, z)
    peak_row, peak_col = np.unravel_index(int(np.argmax(z)), z.shape)
    outside = (x < left) | (x > right) | (y < low) | (y > high)
    return StaticTerrain(
        method="glaft",
        thres_sigma=t,
        count=x.size,
        bias_x=float(xs[peak_col]),
        bias_y=float(ys[peak_row]),
        delta_x=(right - left) / 2,
        delta_y=(high - low) / 2,
        outlier_fraction=float(outside.mean()),
        bandwidth=h,
    )


def _robust(
    vx: NDArray[Any], vy: NDArray[Any], t: float, gridsize: int, redundancy: float
) -> StaticTerrain:
    pilot_x, pilot_y = _pilot(vx, vy)
    _require_points(pilot_x.size)
    half, bins = t + 3.0, int(scipy.fft.next_fast_len(4 * gridsize + 16, real=True))
    x, y = float(np.median(pilot_x)), float(np.median(pilot_y))
    scale_x = NMAD * float(np.median(np.abs(pilot_x - x)))
    scale_y = NMAD * float(np.median(np.abs(pilot_y - y)))
    core_share = 1.0
    for _ in range(4):  # scale and centre settle to a few per cent in two or three
        _require_spread(min(scale_x, scale_y))
        frame = Frame(x, y, scale_x, scale_y, half, max(bins // 2, 64))
        counts, total = bin_points(pilot_x, pilot_y, frame)
        h = epanechnikov_bandwidth(1.0, max(core_share * total / redundancy, 1.0))
        core = Contour(counts, total, frame, h, t)
        x += core.centre[0] * scale_x
        y += core.centre[1] * scale_y
        scale_x *= min(max(core.sigma[0], 0.3), 3.0)
        scale_y *= min(max(core.sigma[1], 0.3), 3.0)
        core_share = 1.0 - core.contamination
    frame = Frame(x, y, scale_x, scale_y, half, bins)
    counts, total = bin_points(vx, vy, frame)
    h = epanechnikov_bandwidth(1.0, max(core_share * total / redundancy, 1.0))
    core = Contour(counts, total, frame, h, t)
    if not (min(core.sigma) > 0.5 and max(core.sigma) < 2.0):
        raise unclear("a core whose width does not settle; are the values rounded?")

    bias = x + core.peak[0] * scale_x, y + core.peak[1] * scale_y
    sigma = core.sigma[0] * scale_x, core.sigma[1] * scale_y
    delta = t * sigma[0], t * sigma[1]
    # few points judge their own spread a little too well: measured, 3 % at 200
    wider = math.sqrt(redundancy * (1.0 + 12.0 * redundancy / total))
    error_x, error_y, peak_x, peak_y = (e * wider for e in core.errors())
    inside = 0
    for a, b in finite_chunks(vx, vy):
        in_box = np.abs(a - bias[0]) <= delta[0]
        in_box &= np.abs(b - bias[1]) <= delta[1]
        inside += int(np.count_nonzero(in_box))
    return StaticTerrain(
        method="robust",
        thres_sigma=t,
        count=total,
        bias_x=bias[0],
        bias_y=bias[1],
        delta_x=delta[0],
        delta_y=delta[1],
        outlier_fraction=1.0 - inside / total,
        bandwidth=core.smoother.h * math.sqrt(scale_x * scale_y),
        sigma_x=sigma[0],
        sigma_y=sigma[1],
        delta_x_ci=(delta[0] * math.exp(-Z95 * error_x), delta[0] * math.exp(Z95 * error_x)),
        delta_y_ci=(delta[1] * math.exp(-Z95 * error_y), delta[1] * math.exp(Z95 * error_y)),
        bias_x_se=peak_x * scale_x,
        bias_y_se=peak_y * scale_y,
        contamination=core.contamination,
    )


def _pilot(x: NDArray[Any], y: NDArray[Any]) -> tuple[Array, Array]:
    """Draw the points that settle the frame: all of few, a fixed sample of many."""
    if x.size > PILOT:
        # more than needed, as some may miss a component
        take = np.random.default_rng(0).integers(0, x.size, PILOT)
        a, b = x[take].astype(np.float64), y[take].astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        if finite.sum() >= PILOT // 4:
            return a[finite], b[finite]
        finite = np.isfinite(x) & np.isfinite(y)
        return x[finite][:PILOT].astype(np.float64), y[finite][:PILOT].astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite].astype(np.float64), y[finite].astype(np.float64)


def _require_points(count: int) -> None:
    if count < MIN_POINTS:
        raise StableGroundError(
            "uncertainty",
            "static_terrain",
            expected=f"{MIN_POINTS} points on stable ground",
            got=str(count),
            hint="widen the stable mask or drop the pair",
        )


def _require_spread(spread: float) -> None:
    if not spread > 0:
        raise StableGroundError(
            "uncertainty",
            "static_terrain",
            expected="points that scatter in both components",
            got="half of them or more with one and the same value",
            hint="look for a fill value or for displacements rounded to whole pixels",
        )
