"""What `month.compose_months` is given: brought into form, or refused in words."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmavel._types import FloatArray, TimeArray

METHODS = ("gp", "smooth", "overlap")
#: Cells that are worked on at a time: what the memory beyond input and output depends on.
BLOCK = 256
#: Largest ratio of a cell's errors for the others; squares of larger ones leave a double's
#: range. Fill values that were not masked lie beyond it, too.
_MOST_RATIO = 1e30
#: Weights go with 1 / sigma^2: a velocity this many sigma large takes all of a double's digits.
_MOST_SIGMA = 1e8
#: Largest ratio of a cell's errors for ``"smooth"``, which holds no velocity to be improbable:
#: beyond it, the pairs of the smallest ones are fitted to the last digit, however wild.
_MOST_RATIO_SMOOTH = 1e6


def check_options(
    method: str, scene_sigma: object, smoothness: float | None, hyperparameters: object
) -> None:
    """Refuse a method that there is not, and numbers that do not go with it."""
    if method not in METHODS:
        raise ValueError(f"month method: expected one of {METHODS}, got {method!r}; choose one")
    known = isinstance(scene_sigma, Real) and 0 <= float(scene_sigma) < np.inf
    if not (scene_sigma is None or scene_sigma == "learn" or known):
        raise ValueError(
            f"month scene_sigma: expected metres >= 0 or 'learn', got {scene_sigma!r}; "
            "None means no shared error"
        )
    if smoothness is not None and (method != "smooth" or not (0 < smoothness < np.inf)):
        raise ValueError(
            f"month smoothness: expected a positive number with method='smooth', got "
            f"{smoothness} with {method!r}; leave it out or change the method"
        )
    if hyperparameters is not None and method != "gp":
        raise ValueError(
            f"month hyperparameters: expected them with method='gp', got {method!r}; "
            "leave them out or change the method"
        )


def unmasked(values: ArrayLike) -> NDArray[Any]:
    """Return an array; what is masked in a masked one is NaN or NaT, not the number below."""
    plain = np.array(values) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    if isinstance(values, np.ma.MaskedArray):
        if plain.dtype.kind in "iu":
            plain = plain.astype(np.float64)
        plain[np.ma.getmaskarray(values)] = "NaT" if plain.dtype.kind == "M" else np.nan
    return plain


def sigma_like(sigma: ArrayLike, v: FloatArray) -> FloatArray:
    """Broadcast sigma to the shape of v; a finite one must be positive where v is finite."""
    given = unmasked(sigma).astype(np.float64, copy=False)
    if given.ndim == 1 and v.ndim == 3 and len(given) == len(v):
        given = given[:, None, None]
    try:
        full = np.broadcast_to(given, v.shape)
    except ValueError:
        raise ValueError(
            f"month sigma: expected a shape that broadcasts to that of v, {v.shape}, got "
            f"{given.shape}; give one sigma per pair or one per value"
        ) from None
    if np.any((given <= 0) & np.isfinite(given)):
        bad = np.isfinite(v) & (full <= 0)
        if bad.any():
            first = tuple(int(i[0]) for i in np.nonzero(bad))
            raise ValueError(
                f"month sigma {first}: expected more than 0 m/yr, got {full[first]}; "
                "set it to NaN to leave the pair out"
            )
    return full


def used_pairs(v: FloatArray, sigma: FloatArray) -> NDArray[np.bool_]:
    """Pairs with a value and a sigma in some cell; in steps, so as to stay small."""
    used = np.zeros(len(v), bool)
    for i in range(0, v.shape[1], BLOCK):
        cells = slice(i, i + BLOCK)
        used |= (np.isfinite(v[:, cells]) & np.isfinite(sigma[:, cells])).any(axis=1)
    return used


def increasing_months(months: ArrayLike) -> TimeArray:
    """Return the months wanted as datetime64[M]; they must increase."""
    wanted = np.asarray(months)
    if wanted.dtype.kind != "M" or wanted.ndim != 1 or np.isnat(wanted).any():
        raise ValueError(
            f"month months: expected a 1-D array of datetime64 months, got {wanted.dtype} "
            f"of shape {wanted.shape}; use numpy.arange('2013-04', '2025-01', dtype='M8[M]')"
        )
    wanted = wanted.astype("datetime64[M]")
    if len(wanted) == 0 or np.any(np.diff(wanted).astype(int) <= 0):
        raise ValueError(
            "month months: expected at least one month and each later than the one before, got "
            f"{wanted[:3]} ...; sort them and drop the repeated ones"
        )
    return wanted


def far_apart(v: FloatArray, sigma: FloatArray, method: str) -> bool:
    """Whether some cell's numbers lie too far apart, though a solve may well give an answer."""
    for i in range(0, v.shape[1], BLOCK):
        v_i, sigma_i = v[:, i : i + BLOCK], sigma[:, i : i + BLOCK]
        seen = np.isfinite(v_i) & np.isfinite(sigma_i)
        fastest = np.where(seen, np.abs(v_i), 0.0).max(axis=0)
        least = np.where(seen, sigma_i, np.inf).min(axis=0)
        if (fastest > _MOST_SIGMA * least).any():
            return True
        most = np.where(seen, sigma_i, 0.0).max(axis=0)
        limit = _MOST_RATIO_SMOOTH if method == "smooth" else _MOST_RATIO
        if (most > limit * least).any():
            return True
    return False


def say_far_apart(v: FloatArray, sigma: FloatArray) -> str:
    """Say that numbers lie too far apart for the solve, and which."""
    seen = np.isfinite(v) & np.isfinite(sigma)
    return (
        "month sigma: expected errors within some six orders of magnitude of each other and of "
        f"the velocities, got {sigma[seen].min():.3g} to {sigma[seen].max():.3g} m/yr for "
        f"velocities up to {np.abs(v[seen]).max():.3g} m/yr; look at the units, or set the "
        "odd ones to NaN"
    )
