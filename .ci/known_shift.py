"""Correlate two images whose shift is known: shows that an installation computes."""

from __future__ import annotations

import numpy as np

import hmavel

DROW, DCOL = 3, -2

for window in (32, 24):  # the kernels' own transform, and FFTW's
    texture = np.random.default_rng(7).normal(8000.0, 800.0, (256, 256))
    moved = np.roll(texture, (DROW, DCOL), axis=(0, 1))
    found = hmavel.correlate(texture, moved, window=window, coarse=64)
    error = max(
        abs(float(np.nanmedian(found.drow)) - DROW), abs(float(np.nanmedian(found.dcol)) - DCOL)
    )
    print(f"window {window}: {found.good.mean():.0%} of the nodes, error {error:.1e} px")
    if not (error < 0.01 and found.good.mean() > 0.5):
        raise SystemExit(f"expected ({DROW}, {DCOL}) px, off by {error}")
