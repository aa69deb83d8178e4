"""TICOI: inversion for the displacements between all dates, then a spline through their sum.

One pixel of its core with the smoothing of the first difference, Tukey's weights in the
iterations and all pairs from the first one on. Its other smoothing (``1accelnotnull``) is drawn
to a running mean that its cube reader makes; called from here it did worse by two to three
times, false matches being part of that mean.
"""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np

NAME = "TICOI"
SETTINGS = {
    "solver": "LSMR", "regu": "1", "coef": 100, "apriori_weight": True,
    "detect_temporal_decorrelation": False,
}  # fmt: skip


def available() -> bool:
    try:
        import ticoi.core  # noqa: F401
    except ImportError:
        return False
    return True


def months(start, end, v, sigma, edges, **options):
    """Velocity (m/yr) of the months between ``edges`` from one component of one cell."""
    from scipy.interpolate import UnivariateSpline
    from ticoi import core

    ok = np.isfinite(v)
    dates = np.stack([start[ok], end[ok]], axis=1).astype("datetime64[D]")
    days = (dates[:, 1] - dates[:, 0]).astype(float)
    # Both components are asked for; the same one twice keeps the weights equal.
    values = np.stack([v[ok], v[ok], sigma[ok], sigma[ok], days], axis=1)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, result, _ = core.inversion_core(
            [dates, values], 0, 0, **{**SETTINGS, **options}
        )
    first = result["date1"].to_numpy().astype("datetime64[ms]")
    last = result["date2"].to_numpy().astype("datetime64[ms]")
    t = np.append(first, last[-1]).astype(float)
    moved = np.concatenate([[0.0], np.cumsum(result["result_dx"].to_numpy())])
    spline = UnivariateSpline(t, moved, s=0, k=3)
    at = np.clip(edges.astype("datetime64[ms]").astype(float), t[0], t[-1])
    years = np.diff(at) / 86_400_000.0 / 365.0  # TICOI's year
    return np.diff(spline(at)) / np.where(years > 0, years, np.nan)
