"""scikit-image: ``phase_cross_correlation`` per window, upsampled by a matrix transform."""

from __future__ import annotations

import numpy as np
from skimage.registration import phase_cross_correlation

from peers import Engine, Field, lattice
from peers.with_plain import HANN, N


def run(
    reference: np.ndarray,
    secondary: np.ndarray,
    guess: tuple[int, int],
    reach: int,  # noqa: ARG001
) -> Field:
    a, b = reference.astype(np.float32), secondary.astype(np.float32)
    gr, gc = guess
    pad = max(abs(gr), abs(gc))
    rows, cols = (
        [int(x) for x in lattice(n) if x >= pad and x + N + pad <= n] for n in a.shape
    )
    d = np.empty((2, len(rows), len(cols)))
    for i, r in enumerate(rows):
        for j, c in enumerate(cols):
            p, q = a[r : r + N, c : c + N], b[r + gr : r + gr + N, c + gc : c + gc + N]
            shift, _, _ = phase_cross_correlation(
                (q - q.mean()) * HANN,
                (p - p.mean()) * HANN,
                upsample_factor=100,
                normalization=None,
            )
            d[:, i, j] = gr + shift[0], gc + shift[1]
    centres = (np.array(x) + (N - 1) / 2 for x in (rows, cols))
    return Field(*centres, *d)


ENGINES = [
    Engine(
        "scikit-image phase_cross_correlation",
        "scikit-image",
        "32 px, Hann, mean removed, no normalisation, upsampled 100x, windows placed at the "
        "whole-pixel truth",
        run,
    )
]
