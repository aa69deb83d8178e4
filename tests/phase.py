"""A plain estimate of the shift between two images, for tests of what makes the images."""

from __future__ import annotations

import numpy as np
from scipy import fft


def phase_shift(reference: np.ndarray, secondary: np.ndarray, cut: float = 0.25) -> np.ndarray:
    """Weighted least-squares slope of the cross-spectrum's phase: (drow, dcol), periodic."""
    a, b = (fft.rfft2(i - i.mean()) for i in (reference, secondary))
    fr = fft.fftfreq(reference.shape[0])[:, None] + 0 * fft.rfftfreq(reference.shape[1])
    fc = 0 * fr + fft.rfftfreq(reference.shape[1])[None, :]
    q = a * np.conj(b)
    d = np.zeros(2)
    keep = (np.hypot(fr, fc) < cut) & (np.hypot(fr, fc) > 0)
    for k in (0.02, 0.05, 0.1, cut):  # widen, so that no phase wraps
        use = keep & (np.hypot(fr, fc) < k)
        rest = np.angle(q[use] * np.exp(-2j * np.pi * (fr[use] * d[0] + fc[use] * d[1])))
        w = np.sqrt(np.abs(q[use]))  # squared below: the best weight in white noise
        matrix = 2 * np.pi * np.stack([fr[use], fc[use]], axis=1)
        d += np.linalg.lstsq(matrix * w[:, None], rest * w, rcond=None)[0]
    return d
