"""The matching error of a pair, read off ground that does not move, and its removal.

displacement -> corrected. The search is in ``bias_search``, the shapes in ``bias_average`` and
``bias_models``; equations and measurements in docs/method.md, section Bias.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import ArrayLike

from hmavel._types import Displacement
from hmavel.bias_record import Bias, Spread, spread_of, untouched
from hmavel.bias_search import Search
from hmavel.errors import StableGroundError
from hmavel.gates import spread_of_places

__all__ = ["MODELS", "Bias", "Spread", "fit_bias", "spread_of"]

log = logging.getLogger(__name__)

MODELS = ("constant", "plane", "quadratic", "stripes", "auto", "none")


def fit_bias(
    d: Displacement,
    stable: ArrayLike,
    *,
    model: str = "auto",
    column_angle: float | None = None,
    min_count: int = 100,
    min_spread: float = 40.0,
    reach: float = 333.0,
    module: float = 880.0,
) -> Bias:
    """Fit the matching error on stable ground and take it off every node.

    Parameters
    ----------
    d
        Displacement, px; its good nodes on stable ground are used.
    stable
        True on ground that does not move, shape of ``d.drow``. Must not hold ice.
    model
        ``"constant"`` (a shift), ``"plane"``, ``"quadratic"``, ``"stripes"`` (a polynomial,
        steps between detector modules and smooth profiles across and along the track),
        ``"none"``, or ``"auto"``: the one of them that the ground supports best.
    column_angle
        Direction of the scene's own columns: degrees clockwise from the image's columns
        (about 13 for Landsat's descending track over High Mountain Asia; see ``track.py``).
        None = not turned.
    min_count
        Stable nodes below which nothing is fitted.
    min_spread
        Root mean square distance of the stable nodes from their middle, px, below which
        nothing is fitted: one patch may be a landslide, or a match of its own. A square of
        12 by 12 nodes, 96 px wide, has 40.
    reach
        Distance from the ground's outline, px, up to which a shape is continued; farther
        out it goes over to the constant. 333 px of 15 m are 5 km.
    module
        Width of a detector module of the sensor, px. 880 px of 15 m are the 13.2 km of
        Landsat-8's and -9's: 14 of them cover the swath of 185 km.

    Returns
    -------
    Bias
        ``corrected`` has NaN and quality as ``d``. With too little ground ``model`` is
        ``"none"``, ``flag`` is set, ``reason`` says what is missing, and ``corrected`` is
        ``d`` itself.

    Raises
    ------
    ValueError
        ``stable`` has another shape, or an argument is out of range.

    Notes
    -----
    Robust to 40 % false matches: the fit starts from the mode, and its cutoff follows the
    core of the residuals. ``auto`` and ``stripes`` take the mean of all shapes off, each as
    probable as the ground makes it (``bias_average``); ``auto`` only where the constant's
    probability is below 0.001, blocks of ground that were left out say so as clearly, and as
    far as the correction is an improvement by its own standard error, ring by ring around the
    ground. ``criterion`` is -2 log probability of each model.

    ``coefficients``, each (row, col): ``constant`` px; ``across``, ``along`` px per 1000 px;
    ``across2``, ``across_along``, ``along2`` px per (1000 px)^2, about ``origin`` (row, col);
    ``step_places`` px across the track from there, ``step_row``, ``step_col`` px.

    Examples
    --------
    >>> import numpy as np
    >>> from hmavel import Displacement
    >>> drow, dcol = np.random.default_rng(0).normal(0.2, 0.1, (2, 60, 60))
    >>> one, axis = np.ones((60, 60)), 8.0 * np.arange(60)
    >>> d = Displacement(drow, dcol, one, one, one, one, np.zeros((60, 60), "u1"), axis, axis)
    >>> b = fit_bias(d, np.ones((60, 60), bool))
    >>> b.model, round(b.coefficients["constant"][0], 1)
    ('constant', 0.2)
    """
    ground = np.asarray(stable)
    if ground.shape != d.drow.shape or ground.dtype != np.bool_:
        raise ValueError(
            f"bias stable: expected a bool array of shape {d.drow.shape}, got {ground.dtype} "
            f"{ground.shape}; put the mask on the nodes' grid"
        )
    if model not in MODELS:
        raise ValueError(
            f"bias model: expected one of {', '.join(MODELS)}, got {model!r}; 'auto' chooses"
        )
    column_angle = 0.0 if column_angle is None else column_angle
    wrong = not min(reach, min_spread) >= 0 or not abs(column_angle) <= 90 or not module > 0
    if min_count < 3 or wrong:
        raise ValueError(
            "bias: expected min_count >= 3, reach and min_spread >= 0, module > 0 and "
            f"column_angle in -90 ... 90, got {min_count}, {reach}, {min_spread}, {module}, "
            f"{column_angle}; leave them out for the defaults"
        )
    used = ground & d.good & np.isfinite(d.drow) & np.isfinite(d.dcol)
    count = int(used.sum())
    if model == "none":
        return untouched(d, used, model, reason="")
    row, col = np.nonzero(used)
    spread = spread_of_places(d.row[row], d.col[col])
    reason = ""
    if count < min_count:
        reason = f"expected {min_count} stable nodes, got {count}"
    elif spread < min_spread:
        reason = f"expected stable nodes spread over {min_spread:g} px, got {spread:.0f} px"
    if reason:
        log.warning("bias: %s; widen the stable mask or drop the pair", reason)
        return untouched(d, used, model, reason=reason)
    try:
        return Search(d, used, column_angle, reach, module).run(model)
    except StableGroundError as error:
        log.warning("%s", error)
        return untouched(d, used, model, reason=f"expected {error.expected}, got {error.got}")
