"""Pairs in as DataArrays, months out as a Dataset: coordinates stay, dask works by blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hmavel.month_input import unmasked

if TYPE_CHECKING:
    import xarray as xr

#: Variables of the Dataset: attributes of ``Months``, with units and meaning.
VARIABLES = {
    "v": ("m year-1", "velocity, monthly mean"),
    "sigma": ("m year-1", "standard error of v"),
    "count": ("1", "effective number of pairs"),
    "shortest_days": ("day", "shortest baseline among the pairs used"),
    "flag": ("1", "0 measured, 1 regularised, 2 blank"),
    "next_correlation": ("1", "correlation of the errors of this month and the next"),
    "overlap_mean": ("m year-1", "weighted mean of the pairs that touch the month"),
    "overlap_median": ("m year-1", "weighted median of the pairs that touch the month"),
}
#: Cells that the prior is learnt from, where the data are read by blocks.
_SAMPLE = 256
#: With fewer cells that have pairs among these, others are looked for.
_FEW = 32


def is_labelled(values: Any) -> bool:
    """Tell a DataArray without importing xarray."""
    return type(values).__name__ == "DataArray" and hasattr(values, "dims")


def compose_labelled(
    compose: Callable[..., Any],
    v: xr.DataArray,
    sigma: Any,
    start: Any,
    end: Any,
    *,
    months: NDArray[np.datetime64],
    **options: Any,
) -> xr.Dataset:
    """Compose months of a DataArray.

    Parameters
    ----------
    compose
        ``compose_months`` for plain arrays.
    v
        m/yr, one dimension of pairs (that of ``start``, else the first) and any others.
    sigma
        Number, array or DataArray that broadcasts to ``v`` by the names of its dimensions; an
        array of one dimension is per pair.
    start, end
        Dates of the pairs: arrays, DataArrays, or names of coordinates of ``v``.
    months
        The months wanted.
    options
        Further arguments of ``compose_months``.

    Returns
    -------
    Dataset
        ``VARIABLES`` with the dimension ``month`` first, then those of ``v``; coordinates of
        ``v`` that are not of pairs are kept. Lazy where ``v`` is a dask array: only what the
        prior is learnt from is read at once.
    """
    import xarray as xr

    start, end = (v[t] if isinstance(t, str) else t for t in (start, end))
    pairs = start.dims[0] if is_labelled(start) and start.ndim == 1 else v.dims[0]
    dates = [unmasked(t) for t in (start, end)]
    if pairs not in v.dims:
        raise ValueError(
            f"month dates: expected a dimension of v, {v.dims}, got {pairs!r}; name the "
            "dimension of the pairs alike"
        )
    if options.get("covariance"):
        raise ValueError(
            "month covariance: expected False with DataArrays, got True; pass plain arrays, "
            "for part of the cells at a time"
        )
    v = v.drop_vars([name for name, c in v.coords.items() if pairs in c.dims])
    if not is_labelled(sigma):
        values = unmasked(sigma)
        dims = (pairs,) if values.ndim == 1 else v.dims[v.ndim - values.ndim :]
        sigma = xr.DataArray(values, dims=dims)
    sigma = sigma.drop_vars([name for name in sigma.coords if name not in v.coords])
    sigma = sigma.broadcast_like(v) if sigma.dims != v.dims else sigma
    if v.size == 0:  # nothing to read, and dask divides by the size of a block
        v, sigma = v.compute(), sigma.compute()
    if v.chunks is not None:
        v = v.chunk({pairs: -1})
        sigma = sigma.transpose(*v.dims).chunk(v.chunksizes)
        options = options | _learnt(compose, v, sigma, pairs, dates, options)
    work = partial(_block, compose=compose, dates=dates, months=months, options=options)
    made = xr.apply_ufunc(
        work,
        v,
        sigma,
        input_core_dims=[[pairs], [pairs]],
        output_core_dims=[["month"]] * len(VARIABLES),
        dask="parallelized",
        output_dtypes=[np.uint8 if name == "flag" else np.float64 for name in VARIABLES],
        dask_gufunc_kwargs={"output_sizes": {"month": len(months)}},
        keep_attrs=False,
    )
    rest = [d for d in v.dims if d != pairs]
    out = xr.Dataset(
        {name: a.transpose("month", *rest) for name, a in zip(VARIABLES, made, strict=True)},
        coords={"month": months.astype("datetime64[ns]")},
        attrs={"method": options.get("method", "gp")},
    )
    for name, (units, meaning) in VARIABLES.items():
        out[name].attrs = {"units": units, "long_name": meaning}
    return out


def _block(
    v: NDArray[Any],
    sigma: NDArray[Any],
    *,
    compose: Callable[..., Any],
    dates: list[NDArray[Any]],
    months: NDArray[np.datetime64],
    options: dict[str, Any],
) -> tuple[NDArray[Any], ...]:
    """Compose the cells of a block, (..., pairs) to (..., months)."""
    cells = v.shape[:-1]
    flat = [np.moveaxis(x, -1, 0).reshape(x.shape[-1], 1, math.prod(cells)) for x in (v, sigma)]
    m = compose(*flat, *dates, months=months, **options)
    out = []
    for name in VARIABLES:
        values = getattr(m, name)[:, 0]
        out.append(np.moveaxis(values.reshape(len(months), *cells), 0, -1))
    return tuple(out)


def _learnt(
    compose: Callable[..., Any],
    v: xr.DataArray,
    sigma: xr.DataArray,
    pairs: Any,
    dates: list[NDArray[Any]],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Learn from evenly spread cells what every block must share."""
    method = options.get("method", "gp")
    known = options.get("hyperparameters" if method == "gp" else "smoothness") is not None
    if (method == "overlap" or known) and options.get("scene_sigma") != "learn":
        return {}
    some = _some_cells(v, sigma, pairs)
    if not (np.isfinite(some[0]) & np.isfinite(some[1])).any():
        return {}  # nor will a block have anything to learn
    m = compose(*some, *dates, **{**options, "jobs": 1})
    found: dict[str, Any] = {"scene_sigma": m.scene_sigma}
    if method == "gp":
        found["hyperparameters"] = m.hyperparameters
    if method == "smooth":
        found["smoothness"] = m.smoothness
    return found


def _some_cells(v: xr.DataArray, sigma: xr.DataArray, pairs: Any) -> list[NDArray[Any]]:
    """Read evenly spread cells, (pairs, 1, cells): every so many, or where those are few, all.

    A glacier covers a part of its array, which the cells on a regular lattice may miss. Then
    all is read once, a block at a time, to see which cells have pairs.
    """
    import xarray as xr

    sizes = {d: n for d, n in v.sizes.items() if d != pairs}
    step = max(1.0, math.prod(sizes.values()) / _SAMPLE) ** (1 / max(len(sizes), 1))
    thin = {d: slice(None, None, math.ceil(step)) for d in sizes}
    some = [np.asarray(x.isel(thin).transpose(pairs, ...)) for x in (v, sigma)]
    some = [x.reshape(len(x), 1, -1 if x.size else 0) for x in some]
    found = (np.isfinite(some[0]) & np.isfinite(some[1])).any(axis=(0, 1)).sum()
    if step == 1.0 or found >= _FEW:
        return some
    given = xr.apply_ufunc(np.isfinite, v, dask="allowed")
    given &= xr.apply_ufunc(np.isfinite, sigma, dask="allowed")
    seen = np.asarray(given.any(dim=pairs).transpose(*sizes))
    where = np.argwhere(seen)
    where = where[np.linspace(0, len(where) - 1, min(len(where), _SAMPLE)).astype(int)]
    at = {d: xr.DataArray(where[:, k], dims="_cell") for k, d in enumerate(sizes)}
    some = [np.asarray(x.isel(at).transpose(pairs, "_cell")) for x in (v, sigma)]
    return [x[:, None] for x in some]
