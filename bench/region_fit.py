"""Cost as so much for every run, glacier and pair: slopes with their confidence."""

from __future__ import annotations

import numpy as np
from scipy import stats

NAMES = ("run", "glacier", "pair")


def linear(glaciers, pairs, cpu_s) -> dict:
    """Fit cpu = run + a * glaciers + b * pairs; weights for errors in parts of the value.

    Returns
    -------
    dict
        Each coefficient with its 95 % interval (Student's t; None without a degree of
        freedom to spare), and the largest misfit in parts of the value.
    """
    x = np.column_stack([np.ones(len(cpu_s)), glaciers, pairs]).astype(float)
    y = np.asarray(cpu_s, float)
    wx, wy = x / y[:, None], np.ones_like(y)
    beta, *_ = np.linalg.lstsq(wx, wy, rcond=None)
    left = wy - wx @ beta
    free = len(y) - x.shape[1]
    found: dict = {"cpu_s": dict(zip(NAMES, beta.tolist(), strict=True)), "runs": len(y)}
    found["largest_misfit"] = float(np.abs(left).max())
    if free > 0:
        covariance = np.linalg.inv(wx.T @ wx) * (left @ left) / free
        half = stats.t.ppf(0.975, free) * np.sqrt(np.diag(covariance))
        found["half_width_95"] = dict(zip(NAMES, half.tolist(), strict=True))
    else:
        found["half_width_95"] = None
    return found
