"""OpenCV: ``phaseCorrelate`` and normalised cross-correlation by ``matchTemplate``."""

from __future__ import annotations

import cv2
import numpy as np

from peers import Engine, Field, lattice
from peers.with_plain import vertex

N, NEAR = 32, 4
PACKAGE = "opencv-python-headless"
cv2.setNumThreads(1)


def _field(reference: np.ndarray, first: int, last: int) -> tuple[list[int], list[int]]:
    """Window starts that keep ``first`` px before and ``last`` px after the window."""
    return tuple(  # type: ignore[return-value]
        [int(x) for x in lattice(n) if x >= first and x + N + last <= n]
        for n in reference.shape
    )


def _centres(starts: list[int]) -> np.ndarray:
    return np.array(starts) + (N - 1) / 2


def phase(
    reference: np.ndarray,
    secondary: np.ndarray,
    guess: tuple[int, int],
    reach: int,  # noqa: ARG001
) -> Field:
    a, b = reference.astype(np.float32), secondary.astype(np.float32)
    hann = cv2.createHanningWindow((N, N), cv2.CV_32F)
    gr, gc = guess
    pad = max(abs(gr), abs(gc))
    rows, cols = _field(a, pad, pad)
    d = np.empty((2, len(rows), len(cols)))
    for i, r in enumerate(rows):
        for j, c in enumerate(cols):
            p, q = a[r : r + N, c : c + N], b[r + gr : r + gr + N, c + gc : c + gc + N]
            (x, y), _ = cv2.phaseCorrelate(p - cv2.mean(p)[0], q - cv2.mean(q)[0], hann)
            d[:, i, j] = gr + y, gc + x
    return Field(_centres(rows), _centres(cols), *d)


def ncc(
    reference: np.ndarray, secondary: np.ndarray, guess: tuple[int, int], reach: int
) -> Field:
    a, b = reference.astype(np.float32), secondary.astype(np.float32)
    near = max(NEAR, reach)
    gr, gc = guess
    pad = max(abs(gr), abs(gc)) + near
    rows, cols = _field(a, pad, pad)
    d = np.empty((2, len(rows), len(cols)))
    last = 2 * near
    for i, r in enumerate(rows):
        for j, c in enumerate(cols):
            r0, c0 = r + gr - near, c + gc - near
            found = cv2.matchTemplate(
                b[r0 : r0 + N + last, c0 : c0 + N + last],
                a[r : r + N, c : c + N],
                cv2.TM_CCOEFF_NORMED,
            )
            _, top, _, (x, y) = cv2.minMaxLoc(found)
            if not (0 < x < last and 0 < y < last):
                d[:, i, j] = np.nan
                continue
            d[0, i, j] = gr + y - near + vertex(found[y - 1, x], top, found[y + 1, x])
            d[1, i, j] = gc + x - near + vertex(found[y, x - 1], top, found[y, x + 1])
    return Field(_centres(rows), _centres(cols), *d)


ENGINES = [
    Engine(
        "OpenCV phaseCorrelate",
        PACKAGE,
        "32 px, its Hann window, mean removed, windows placed at the whole-pixel truth",
        phase,
    ),
    Engine(
        "OpenCV NCC",
        PACKAGE,
        "32 px, TM_CCOEFF_NORMED within ±4 px of the whole-pixel truth, 3-point parabola",
        ncc,
    ),
]
