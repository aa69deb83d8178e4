"""What a taper hides of a shift, bin by bin (docs/method.md, "Sigma").

Where the tapers of two windows stand still while the texture moves by a little, r, a bin k
turns by less than k r: a taper mixes into it what its neighbours hold, of which the stronger,
nearer to the middle of the spectrum, turn less.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["hidden_shares"]

#: Spacing of the wave numbers that are summed over, in bins of the window.
_APART = 0.125
#: Below this, in bins, no texture grows any further: images end.
_LEAST = 1 / 16


def _taper_spectrum(q: NDArray[np.floating], n: int, beta: float) -> NDArray[np.float64]:
    """Transform of the taper, which is even, at wave numbers ``q`` in bins; 1 at 0."""
    x = np.arange(n) + 0.5 - n / 2
    outer = np.clip((np.abs(x) - n * (0.5 - beta)) / (beta * n), 0.0, 1.0)
    w = np.cos(np.pi * outer / 2) ** 2
    return np.asarray(np.cos(2 * np.pi / n * q[..., None] * x) @ w / w.sum())


@lru_cache(maxsize=256)
def hidden_shares(n: int, beta: float, slope: float) -> NDArray[np.float64]:
    """Return the share of a small shift that each bin of a window does not show.

    Parameters
    ----------
    n, beta
        Side of the window, px, and its taper.
    slope
        The texture's power falls like k^-slope.

    Returns
    -------
    NDArray
        Shape (n/2 - 1, n/2 - 1), for wave numbers 0 to n/2 - 2 along either axis: 0 where a bin
        turns as the shift says, 1 where it does not turn at all. The mean, [0, 0], is 0.

    Notes
    -----
    With the tapered mean removed a bin hears the wave number q by
    g = w(k - q) - w(k) w(q) / w(0), w the taper's transform, so that the cross-spectrum of a
    pair that is r apart is the sum of S(q) g² exp(i q r), and its phase begins as
    r sum S g² q / sum S g². g² is a sum of products of rows and columns.
    """
    k = np.arange(n // 2 - 1, dtype=np.float64)
    m = int(n / 2 / _APART)  # to Nyquist: what is heard beyond it is heard from the other side
    q = (np.arange(-m, m) + 0.5) * _APART
    power = (q[:, None] ** 2 + q**2 + _LEAST**2) ** (-slope / 2)
    near = _taper_spectrum(k[:, None] - q, n, beta)
    mean = np.broadcast_to(_taper_spectrum(q, n, beta), near.shape)
    of_mean = np.multiply.outer(*2 * [_taper_spectrum(k, n, beta)])

    def heard(s: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = [(a @ s) @ a.T for a in (near * near, near * mean, mean * mean)]
        return np.asarray(parts[0] - 2 * of_mean * parts[1] + of_mean**2 * parts[2])

    along = k[:, None] * heard(power * q[:, None]) + k * heard(power * q)
    square = k[:, None] ** 2 + k**2
    square[0, 0] = 1.0
    whole = square * heard(power)
    whole[0, 0] = 1.0
    share = 1 - along / whole
    share[0, 0] = 0.0
    share.flags.writeable = False
    return share
