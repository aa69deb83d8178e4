"""The core of a scatter by the contour of its density: its width and peak, and their errors.

``Contour`` is what the robust method of ``static_terrain`` rests on; equations in
docs/method.md, section Uncertainty.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from hmavel.errors import StableGroundError
from hmavel.kde import Array, Frame, Smoother


class Contour:
    """The density's peak and its contour at ``t`` sigma, in the scales of a frame.

    ``sigma`` (per axis), ``centre`` (of the enclosed area), ``peak``, ``contamination``;
    ``errors()`` gives the standard errors of log sigma and of the peak.
    """

    #: The peak is that of a paraboloid through log f where f exceeds this share of its maximum.
    PEAK_LEVEL = math.exp(-0.5)

    def __init__(self, counts: Array, total: int, frame: Frame, h: float, t: float) -> None:
        self.counts, self.total, self.t = counts, total, t
        self.smoother = Smoother(frame, h)
        self.g, step = frame.centres, frame.step
        self.cell = step * step
        r2 = self.g[:, None] ** 2 + self.g**2
        far = (r2 > (frame.half - 1.0) ** 2) & (r2 < frame.half**2)
        # evenly spread false matches lift the core as well; the far ring says by how much
        floor = counts[far].sum() / (total * self.cell * far.sum())
        f = self.smoother(counts) / (total * self.cell) - floor
        # the mode nearest to the centre so far: a clump of false matches is not followed
        row, col = np.unravel_index(int(np.argmax(np.where(r2 < 4.0, f, 0.0))), f.shape)
        top = float(f[row, col])
        if not top > 0:
            raise unclear("no density near the median")
        self._fit_peak(f, int(row), int(col), top)

        level = self.height * math.exp(-t * t / 2)
        inside, _ = ndimage.label(f >= level)
        island = ndimage.binary_dilation(inside == inside[row, col], iterations=2)
        if island[0].any() or island[-1].any() or island[:, 0].any() or island[:, -1].any():
            raise unclear("a scatter as wide as its own tails")
        slope_row, slope_col = np.gradient(f)
        width = np.maximum(np.abs(slope_row) + np.abs(slope_col), 1e-12 * self.height)
        part = np.clip(0.5 + (f - level) / width, 0.0, 1.0) * island
        self._cut = np.where((part > 0) & (part < 1), 1.0 / width, 0.0)
        self._level = level
        self._area = float(part.sum())
        across, along = part.sum(axis=0), part.sum(axis=1)
        self.centre = (
            float(across @ self.g) / self._area,
            float(along @ self.g) / self._area,
        )
        self._moment = (
            float(across @ (self.g - self.centre[0]) ** 2) / self._area,
            float(along @ (self.g - self.centre[1]) ** 2) / self._area,
        )
        # a filled ellipse of half-axis a has the variance a^2 / 4; a = t sqrt(sigma^2 + kernel)
        variances = [4.0 * m / t**2 - self.smoother.variance for m in self._moment]
        if min(variances) <= 0:
            raise unclear("a scatter narrower than the kernel")
        self.sigma = (math.sqrt(variances[0]), math.sqrt(variances[1]))
        x = (self.g - self.centre[0]) / self.sigma[0]
        y = (self.g - self.centre[1]) / self.sigma[1]
        ellipse = y[:, None] ** 2 + x**2 <= t * t
        taken = float(counts[ellipse].sum()) / total / (1.0 - math.exp(-t * t / 2))
        self.contamination = min(max(1.0 - taken, 0.0), 1.0)

    def _fit_peak(self, f: Array, row: int, col: int, top: float) -> None:
        """Fit log f = c0 + c1 u + c2 v + c3 u^2/2 + c4 uv + c5 v^2/2 around the top node."""
        inside, _ = ndimage.label(f >= top * self.PEAK_LEVEL)
        self._peak_nodes = rows, cols = np.nonzero(inside == inside[row, col])
        u, v = self.g[cols] - self.g[col], self.g[rows] - self.g[row]
        terms = np.stack([np.ones_like(u), u, v, u * u / 2, u * v, v * v / 2])
        weight = f[rows, cols]
        weighted = terms * weight
        normal = weighted @ terms.T
        if rows.size < 12 or np.linalg.cond(normal) > 1e12:
            raise unclear("a peak narrower than the mesh")
        solve = np.linalg.solve(normal, weighted)
        c = solve @ np.log(weight)
        curvature = np.array([[c[3], c[4]], [c[4], c[5]]])
        if not (c[3] < 0 and np.linalg.det(curvature) > 0):
            raise unclear("a density without a summit")
        p, q = apex = -np.linalg.solve(curvature, c[1:3])
        self.peak = (float(self.g[col] + p), float(self.g[row] + q))
        self.height = float(math.exp(c[0] + 0.5 * c[1:3] @ apex))
        # derivatives of log height and of the apex with respect to f at these nodes
        at_apex = np.array([1.0, p, q, p * p / 2, p * q, q * q / 2])
        self._d_height = (at_apex @ solve) / weight
        along_u = solve[1] + p * solve[3] + q * solve[4]
        along_v = solve[2] + p * solve[4] + q * solve[5]
        slopes = np.stack([along_u, along_v])
        self._d_apex = -np.linalg.solve(curvature, slopes) / weight

    def errors(self) -> tuple[float, float, float, float]:
        """Return standard errors: log sigma along x and y, peak along x and y.

        The answer depends on the counts through f alone. With its derivative by f (boundary
        cells, and the peak that sets the level) smoothed by the kernel, each bin has an
        influence; the variance of a mean of influences is that of the answer.
        """
        found = []
        for axis in (0, 1):
            offset = (self.g - self.centre[axis]) ** 2 - self._moment[axis]
            pull = self._cut * (offset if axis == 0 else offset[:, None]) / self._area
            by_f = pull.copy()
            by_f[self._peak_nodes] -= pull.sum() * self._level * self._d_height
            of_moment = self._spread_of_mean(by_f)
            found.append(4.0 * of_moment / self.t**2 / (2.0 * self.sigma[axis] ** 2))
        for axis in (0, 1):
            by_f = np.zeros_like(self.counts)
            by_f[self._peak_nodes] = self._d_apex[axis]
            found.append(self._spread_of_mean(by_f))
        return found[0], found[1], found[2], found[3]

    def _spread_of_mean(self, by_f: Array) -> float:
        influence = self.smoother(by_f) / self.cell
        mean = float((self.counts * influence).sum()) / self.total
        square = float((self.counts * influence**2).sum()) / self.total
        return math.sqrt(max(square - mean * mean, 0.0) / self.total)


def unclear(got: str) -> StableGroundError:
    """Return the error of a scatter that has no core."""
    return StableGroundError(
        "uncertainty",
        "static_terrain",
        expected="a scatter with one clear core",
        got=got,
        hint="check the stable mask, or add bare ground",
    )
