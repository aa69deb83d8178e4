"""The correlator once more, slow and obvious: NumPy, float64, one node at a time.

Written from docs/method.md, not from the C: no lanes, no packing of two windows into one
transform, no first guesses, and every minimisation runs until it stands still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def taper(x: Array, n: int, beta: float) -> Array:
    """1 in the middle of a window of side n, cos² over its outer share beta, 0 outside."""
    t = np.clip((np.abs(x) - n * (0.5 - beta)) / (beta * n), 0.0, 1.0)
    return np.cos(np.pi * t / 2) ** 2


def spline(x: Array) -> Array:
    """Cubic B-spline, 1.5 px from knot to knot."""
    u = np.abs(x) / 1.5
    return np.where(u < 1, 4 - 6 * u**2 + 3 * u**3, np.clip(2 - u, 0, None) ** 3) / 9


def softened(valid: NDArray[np.bool_], shift: tuple[float, float]) -> Array:
    """Draw a mask back by 2 px, spread it by splines and move it; edges are repeated."""
    n = len(valid)
    wide = np.pad(valid, 2, mode="edge")
    hard = np.ones((n, n))
    for i in range(5):
        for j in range(5):
            hard = hard * wide[i : i + n, j : j + n]
    out, i = np.pad(hard, 3, mode="edge"), np.arange(n)[:, None]
    across = []
    for d in shift:
        tap = spline(np.arange(-3, n + 3) - i + d)
        tap[np.abs(np.arange(-3, n + 3) - i) > 3] = 0
        across.append(tap / tap.sum(axis=1, keepdims=True))
    return across[0] @ out @ across[1].T


def without_isolated(image: Array) -> Array:
    """Interpolate single invalid pixels from their neighbours."""
    wide = np.pad(image, 1, constant_values=np.nan)
    n, m = image.shape
    near = {(i, j): wide[1 + i : 1 + i + n, 1 + j : 1 + j + m]
            for i in (-1, 0, 1) for j in (-1, 0, 1)}  # fmt: skip
    side = np.stack([near[k] for k in near if abs(k[0]) + abs(k[1]) == 1])
    corner = np.stack([near[k] for k in near if abs(k[0]) + abs(k[1]) == 2])
    sides, corners = (np.isfinite(x).sum(axis=0) for x in (side, corner))
    plain = np.nansum(side, axis=0) / np.maximum(sides, 1)
    better = side.sum(axis=0) / 2 - corner.sum(axis=0) / 4
    isolated = ~np.isfinite(image) & (sides >= 3) & (sides + corners >= 6)
    return np.where(isolated, np.where(np.isfinite(better), better, plain), image)


def tapered(
    image: Array, valid: NDArray[np.bool_], first: tuple[int, int], n: int,
    centre: tuple[float, float], shift: tuple[float, float], beta: float,
) -> Array:  # fmt: skip
    """Cut a window, subtract its tapered mean, taper it around centre + shift.

    So does the mask: what is invalid loses its weight around its place + shift.
    """
    part = np.s_[first[0] : first[0] + n, first[1] : first[1] + n]
    i = np.arange(n, dtype=float)
    w = np.outer(
        taper(i - centre[0] - shift[0], n, beta), taper(i - centre[1] - shift[1], n, beta)
    )
    w = w * softened(valid, shift)
    f = np.where(np.isfinite(image[part]), image[part], 0.0)
    return w * (f - np.sum(w * f) / np.sum(w))


def taps(part: float) -> tuple[NDArray[np.int_], Array]:
    """Places (pixels) and weights of what a value ``part`` of a pixel on is made of."""
    place = np.arange(-5, 7) + int(np.floor(part))
    x = part - place
    inside = np.clip(1 - (x / 6) ** 2, 0, None)
    h = np.where(inside > 0, np.sinc(0.85 * x) * np.i0(4.5 * np.sqrt(inside)), 0.0)
    return place, h / h.sum()


def interpolated(
    image: Array, first: tuple[int, int], n: int, shift: tuple[float, float]
) -> tuple[Array, NDArray[np.complex128]]:
    """The window of an image that begins at first + shift, and what its spectrum has become."""
    out, response = np.asarray(image, float), []
    k = np.fft.fftfreq(n)
    for axis, d in enumerate(shift):
        place, h = taps(d)
        rows = np.arange(first[axis], first[axis] + n)
        out = sum(w * np.take(out, rows + p, axis) for w, p in zip(h, place, strict=True))
        response.append(np.exp(2j * np.pi * np.outer(k, place)) @ h)
    return out, np.outer(*response)


def bins(n: int) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Integer wave numbers (row, col) and the half plane of bins that a fit uses."""
    k = np.fft.fftfreq(n, 1 / n)
    kr, kc = np.meshgrid(k, k, indexing="ij")
    top = n // 2 - 2  # the bins next to Nyquist mix with what lies beyond it
    half = (kc > 0) | ((kc == 0) & (kr > 0))
    return kr, kc, half & (np.abs(kr) <= top) & (np.abs(kc) <= top)


@dataclass
class Spectrum:
    q: NDArray[np.complex128]
    w: Array
    kr: Array
    kc: Array
    n: int

    def psi(self, d: tuple[float, float]) -> NDArray[np.complex128]:
        """Residual phasor exp(i psi): the phasor of each bin turned back by the shift d."""
        turn = 2 * np.pi / self.n * (self.kr * d[0] + self.kc * d[1])
        return self.q * np.exp(-1j * turn)


def spectrum(
    a: Array, b: Array, weight: str, responses: tuple[Any, Any] = (1.0, 1.0)
) -> Spectrum:
    """Cross-spectrum of two windows, less what filters have done to either."""
    n = a.shape[0]
    kr, kc, use = bins(n)
    with np.errstate(divide="ignore", invalid="ignore"):  # beyond the bins in use
        of_a, of_b = (np.fft.fft2(x) / r for x, r in zip((a, b), responses, strict=True))
    cross = (of_a * np.conj(of_b))[use]
    size = np.abs(cross)
    w = {"white": np.ones_like(size), "half": np.sqrt(size), "cross": size}[weight]
    return Spectrum(cross / size, w, kr[use], kc[use], n)


def maximise(s: Spectrum, w: Array, d: Array) -> Array:
    """Newton's climb to the maximum of sum w cos psi."""
    k = np.stack([s.kr, s.kc]) * 2 * np.pi / s.n
    for _ in range(50):
        p = s.psi((d[0], d[1]))
        slope = k @ (w * p.imag)
        bend = (k * (w * p.real)) @ k.T
        bowl = np.all(np.linalg.eigvalsh(bend) > 0)
        step = np.linalg.solve(bend, slope) if bowl else slope / np.trace(np.abs(bend))
        d = d + np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < 1e-10:
            break
    return d


def fit(s: Spectrum, start: tuple[float, float], robust: int) -> tuple[Array, float, float]:
    """Shift, coherence (first weights) and SNR (final weights)."""
    d = maximise(s, s.w, np.array(start, float))
    factor = np.ones_like(s.w)
    for round_ in range(1, robust + 1):
        phi = np.abs(s.psi((d[0], d[1])) - 1.0) ** 2
        factor = (1 - phi / 4) ** (6 * round_)
        d = maximise(s, s.w * factor, d)
    phi = np.abs(s.psi((d[0], d[1])) - 1.0) ** 2
    coherence = 1 - np.sum(s.w * phi) / (4 * np.sum(s.w))
    w = s.w * factor
    return d, float(coherence), float(1 - np.sum(w * phi) / (4 * np.sum(w)))


def coarse_shift(s: Spectrum) -> tuple[int, int]:
    """Whole-pixel shift at which the correlation surface is highest."""
    full = np.zeros((s.n, s.n), complex)
    full[s.kr.astype(int), s.kc.astype(int)] = s.w * s.q
    surface = np.real(np.fft.fft2(full))
    r, c = np.unravel_index(np.argmax(surface), surface.shape)
    half = s.n // 2
    return int((r + half) % s.n - half), int((c + half) % s.n - half)


def correlate_node(
    reference: Array, secondary: Array, row: float, col: float, *,
    window: int = 32, coarse: int = 64, last_taper: float = 0.25, fine_taper: float = 0.5,
    coarse_taper: float = 0.35, weight: str = "half", robust: int = 1, rewindow: int = 50,
    settled: float = 1e-6, interpolate: bool = False,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Return (drow, dcol, coherence, snr) of the node with effective centre (row, col)."""
    images = [
        without_isolated(np.where(np.isfinite(x), x, np.nan).astype(float))
        for x in (reference, secondary)
    ]

    def look(
        n: int, offset: tuple[int, int], shift: tuple[float, float], beta: float, weight: str,
        interpolate: bool = False,
    ) -> Spectrum:
        first = [int(np.floor(x + 0.5)) - n // 2 for x in (row, col)]
        centre = (row - first[0], col - first[1])
        corners = [(first[0], first[1]), (first[0] + offset[0], first[1] + offset[1])]
        both = np.ones((n, n), bool)
        if interpolate:
            parts = zip(images, corners, ((0.0, 0.0), shift), strict=True)
            (a, of_a), (b, of_b) = (interpolated(x, c, n, s) for x, c, s in parts)
            a, b = (tapered(x, both, (0, 0), n, centre, (0.0, 0.0), beta) for x in (a, b))
            return spectrum(a, b, weight, (of_a, of_b))
        for image, (r, c) in zip(images, corners, strict=True):
            both &= np.isfinite(image[r : r + n, c : c + n])
        a = tapered(images[0], both, corners[0], n, centre, (0.0, 0.0), beta)
        b = tapered(images[1], both, corners[1], n, centre, shift, beta)
        return spectrum(a, b, weight)

    p = (0, 0)
    for _ in range(8):
        move = coarse_shift(look(coarse, p, (0, 0), coarse_taper, "half"))
        p = (p[0] + move[0], p[1] + move[1])
        if move == (0, 0):
            break
    for _ in range(8):
        d, _, _ = fit(look(window, p, (0, 0), fine_taper, weight), (0, 0), 0)
        move = int(np.rint(d[0])), int(np.rint(d[1]))
        p = (p[0] + move[0], p[1] + move[1])
        if move == (0, 0):
            break
    for _ in range(rewindow):
        before = d
        d, coherence, snr = fit(
            look(window, p, (d[0], d[1]), last_taper, weight, interpolate), (d[0], d[1]), robust
        )
        if np.abs(d - before).max() < settled:
            break
    return p[0] + d[0], p[1] + d[1], coherence, snr
