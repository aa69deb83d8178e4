"""Months of a stack of pairs: velocity, its error and how far the pairs decided it.

The one function of this stage. The methods are in ``month_gp`` (a Gaussian process over the
months, seen through the overlaps of the pairs), ``month_smooth`` and ``month_overlap``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmavel import parallel
from hmavel._types import ByteArray, FloatArray, TimeArray
from hmavel.errors import HmavelError
from hmavel.labelled import compose_labelled, is_labelled
from hmavel.month_block import (
    BlockMonths,
    Method,
    Shared,
    block_months,
    learn,
    shared_error,
)
from hmavel.month_gp import scene_errors
from hmavel.month_input import (
    BLOCK,
    check_options,
    far_apart,
    increasing_months,
    say_far_apart,
    sigma_like,
    unmasked,
    used_pairs,
)
from hmavel.month_kernel import Hyperparameters
from hmavel.network import pair_network

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Months:
    """One velocity component month by month; arrays (n_months,) or (n_months, rows, cols)."""

    months: TimeArray  #: (n_months,) datetime64[M]
    v: FloatArray  #: m/yr, mean over the month, NaN where ``flag`` is 2
    sigma: FloatArray  #: 1 sigma, m/yr
    count: FloatArray  #: effective number of pairs: weight x share of the month, summed
    shortest_days: FloatArray  #: shortest baseline among the pairs used, NaN without any
    flag: ByteArray  #: 0 measured, 1 regularised, 2 blank (no pair used touches the month)
    next_correlation: FloatArray  #: of the errors of this month and the next listed one
    overlap_mean: FloatArray  #: m/yr, weighted mean of the pairs that touch the month
    overlap_median: FloatArray  #: m/yr, the same as a weighted median
    method: str  #: "gp", "smooth" or "overlap"
    hyperparameters: tuple[Hyperparameters, ...]  #: of each class of cells (gp)
    cell_class: NDArray[np.int16]  #: () or (rows, cols): index of its class, -1 = none
    smoothness: float | None  #: what was used (smooth)
    scene_sigma: float  #: what was used, m
    covariance: FloatArray | None  #: (n_months, n_months[, rows, cols]), when asked for
    #: What the function ``summary`` made of the cells, (...[, rows, cols]) by name.
    summary: Mapping[str, NDArray[Any]] = field(default_factory=dict)


#: Made of some cells' months, with their covariance: arrays whose last axis is the cells.
Summary = Callable[[Months], Mapping[str, NDArray[Any]]]


@overload
def compose_months(
    v: xr.DataArray,
    sigma: Any,
    start: Any,
    end: Any,
    *,
    months: ArrayLike | None = ...,
    method: Method = ...,
    scene_sigma: float | Literal["learn"] | None = ...,
    smoothness: float | None = ...,
    hyperparameters: Hyperparameters | Sequence[Hyperparameters] | None = ...,
    covariance: bool = ...,
    jobs: int = ...,
) -> xr.Dataset: ...


@overload
def compose_months(
    v: ArrayLike,
    sigma: ArrayLike,
    start: ArrayLike,
    end: ArrayLike,
    *,
    months: ArrayLike | None = ...,
    method: Method = ...,
    scene_sigma: float | Literal["learn"] | None = ...,
    smoothness: float | None = ...,
    hyperparameters: Hyperparameters | Sequence[Hyperparameters] | None = ...,
    covariance: bool = ...,
    summary: Summary | None = ...,
    jobs: int = ...,
) -> Months: ...


def compose_months(
    v: Any,
    sigma: Any,
    start: Any,
    end: Any,
    *,
    months: ArrayLike | None = None,
    method: Method = "gp",
    scene_sigma: float | Literal["learn"] | None = None,
    smoothness: float | None = None,
    hyperparameters: Hyperparameters | Sequence[Hyperparameters] | None = None,
    covariance: bool = False,
    summary: Summary | None = None,
    jobs: int = 1,
) -> Months | xr.Dataset:
    """Turn the velocities of many overlapping pairs into one per month.

    Parameters
    ----------
    v
        One component, m/yr, (p,) or (p, rows, cols); NaN, infinite or masked = missing. A
        DataArray, also of a dask array, gives a Dataset (``labelled.compose_labelled``).
    sigma
        1 sigma of each velocity, m/yr, the error that it shares with no other pair; (p,), the
        shape of ``v``, or anything that broadcasts to it. NaN, infinite, masked = missing.
    start, end
        (p,) datetime64 of the two scenes; a scene is identified by its time. A pair that is
        given back to front counts as if turned round: velocity is the same either way.
    months
        Months wanted, datetime64[M], increasing; None = every month that a pair touches.
        Months before or after the data are blank.
    method
        ``"gp"``: Gaussian process; ``"smooth"``: small second differences; ``"overlap"``:
        weighted median of the pairs that touch the month.
    scene_sigma
        Error of a scene's position that all its pairs share, 1 sigma, metres; None = none,
        ``"learn"`` = by marginal likelihood from six of the cells.
    smoothness
        For ``"smooth"``: 1 / (typical second difference of months, m/yr); None = chosen by
        marginal likelihood.
    hyperparameters
        For ``"gp"``: the prior, or one for each class of cells; None = learnt from a sample of
        the cells by marginal likelihood.
    covariance
        Whether to return the full covariance of each cell's months: n_months^2 numbers a cell.
    summary
        A function of the months of some cells, with their covariance, that is applied to a
        block of them at a time: what needs the covariance without keeping it
        (``derived.summary``). Not with DataArrays.
    jobs
        Processes; 0 = one per core.

    Returns
    -------
    Months
        A month is ``measured`` when the pairs left at most half of the variance that the prior
        gives it about the long-term level, and a pair of at most 96 days touches it;
        ``regularised`` when they did not; ``blank`` when no pair that was used touches it.

    Raises
    ------
    ValueError
        Shapes that do not fit, dates that are no dates, a pair of a scene with itself, a finite
        sigma that is zero or negative, a negative ``scene_sigma``, unknown method, months that
        do not increase, no pair at all and no ``months``, velocities and sigmas too many
        orders of magnitude apart: some of them are no velocities, or no errors.

    Notes
    -----
    Measurements of the same two scenes are merged into their weighted mean, with the error of
    one and their disagreement, so that a pair listed twice changes nothing. Equations and
    limits: docs/method.md, "Months"; measured in bench/bench_month.py.

    Examples
    --------
    >>> import numpy as np
    >>> day = np.datetime64("2020-01-05") + 16 * np.arange(12)
    >>> m = compose_months(np.full(11, 50.0), 5.0, day[:-1], day[1:])
    >>> m.months[0], bool(np.allclose(m.v, 50, atol=1))
    (np.datetime64('2020-01'), True)
    """
    check_options(method, scene_sigma, smoothness, hyperparameters)
    wanted = None if months is None else increasing_months(months)
    if is_labelled(v):
        if summary is not None:
            raise ValueError(
                "month summary: expected None with DataArrays, got a function; pass arrays"
            )
        dates = [unmasked(v[t] if isinstance(t, str) else t) for t in (start, end)]
        return compose_labelled(
            compose_months, v, sigma, start, end,
            months=pair_network(*dates).months if wanted is None else wanted,
            method=method, scene_sigma=scene_sigma, smoothness=smoothness,
            hyperparameters=hyperparameters, covariance=covariance, jobs=jobs,
        )  # fmt: skip
    v_in = unmasked(v)
    if v_in.ndim not in (1, 3) or v_in.dtype.kind not in "fiu":
        raise ValueError(
            f"month v: expected numbers of shape (p,) or (p, rows, cols), got {v_in.dtype} of "
            f"shape {v_in.shape}; put the pairs on the first axis"
        )
    shape = v_in.shape[1:]
    v2 = v_in.reshape(len(v_in), math.prod(shape))
    sigma2 = sigma_like(sigma, v_in).reshape(v2.shape)
    start, end = unmasked(start), unmasked(end)
    if len(start) != len(v2) or len(end) != len(v2):
        raise ValueError(
            f"month dates: expected {len(v2)} starts and ends, one per pair, got {len(start)} "
            f"and {len(end)}; give both dates of every pair"
        )
    whole = pair_network(start, end) if len(v2) else None
    used = used_pairs(v2, sigma2)
    if whole is None or not used.any():
        if wanted is None:
            raise ValueError(
                "month pairs: expected at least one valid pair, got none; "
                "pass months= to get blank months"
            )
        blank = BlockMonths.blank(len(wanted), v2.shape[1], covariance)
        of_none = _Work(None, summary, wanted, np.arange(0), False)
        made = of_none.summed(BlockMonths.blank(0, v2.shape[1], True))
        return _shaped(blank, wanted, shape, method, summary=made)
    network = whole if used.all() else pair_network(start[used], end[used])
    if not used.all():
        v2, sigma2 = v2[used], sigma2[used]
    if far_apart(v2, sigma2, method):
        raise ValueError(say_far_apart(v2, sigma2))
    if wanted is None:
        wanted = network.months
    offset = (wanted - network.months[0]).astype(int)
    there = np.flatnonzero((offset >= 0) & (offset < len(network.months)))
    if isinstance(hyperparameters, Hyperparameters):
        hyperparameters = (hyperparameters,)
    fixed = None if hyperparameters is None else tuple(hyperparameters)
    try:
        if scene_sigma == "learn":
            scene_sigma = shared_error(network, v2, sigma2)
        shared = Shared(
            network,
            method,
            scene_errors(network, scene_sigma or 0.0),
            scene_errors(network, scene_sigma or 0.0, shared=False),
            smoothness=smoothness,
            keep=offset[there],
            covariance=covariance or summary is not None,
        )
        shared = learn(shared, v2, sigma2, fixed)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise ValueError(say_far_apart(v2, sigma2)) from error
    out = BlockMonths.blank(len(wanted), v2.shape[1], covariance)
    made = _fill(out, _Work(shared, summary, wanted, there, covariance), v2, sigma2, jobs)
    return _shaped(out, wanted, shape, method, shared, summary=made)


@dataclass(frozen=True)
class _Work:
    """What is done with a block of cells, in a worker."""

    shared: Shared | None
    summary: Summary | None
    wanted: TimeArray
    there: NDArray[np.intp]  #: which of the wanted months the network has
    covariance: bool  #: whether it is handed back

    def __call__(
        self, item: tuple[FloatArray, FloatArray]
    ) -> tuple[BlockMonths, Mapping[str, NDArray[Any]]]:
        assert self.shared is not None
        block = block_months(self.shared, *item)
        made = self.summed(block)
        return (block if self.covariance else replace(block, covariance=None)), made

    def summed(self, block: BlockMonths) -> Mapping[str, NDArray[Any]]:
        """Return what the summary makes of a block, whose other months are blank."""
        if self.summary is None:
            return {}
        cells = block.v.shape[1]
        whole = BlockMonths.blank(len(self.wanted), cells, True)
        whole.put(block, self.there, np.arange(cells))
        method = "" if self.shared is None else self.shared.method
        return self.summary(_shaped(whole, self.wanted, (cells,), method, self.shared))


def _fill(
    out: BlockMonths, work: _Work, v: FloatArray, sigma: FloatArray, jobs: int
) -> dict[str, NDArray[Any]]:
    """Work through the cells, a block at a time, write the months into ``out``, sum up."""
    cells = v.shape[1]
    parts = [np.arange(i, min(i + BLOCK, cells)) for i in range(0, cells, BLOCK)]
    sums: list[Mapping[str, NDArray[Any]]] = []
    # The input of a few blocks at a time is copied and sent out; the rest stays where it is.
    batch = max(1, 4 * (parallel.cores() if jobs <= 0 else jobs))
    for first in range(0, len(parts), batch):
        some = parts[first : first + batch]
        slices = [slice(part[0], part[-1] + 1) for part in some]
        results = parallel.map(
            work,
            [(v[:, s], sigma[:, s]) for s in slices],
            jobs=jobs,
            label="blocks of cells",
            name=_size,
            workers="processes",
        )
        for part, result in zip(some, results, strict=True):
            if isinstance(result, parallel.Failure):
                raise HmavelError(
                    "month",
                    f"cells {part[0]}-{part[-1]}",
                    expected="a solution for every cell",
                    got=result.reason,
                    hint="look for velocities or sigmas that are orders of magnitude apart",
                )
            out.put(result[0], work.there, part)
            sums.append(result[1])
    names = sums[0] if sums else ()
    return {name: np.concatenate([made[name] for made in sums], axis=-1) for name in names}


def _size(item: tuple[FloatArray, FloatArray]) -> str:
    """Name a block in a message."""
    return f"{item[0].shape[1]} cells"


def _shaped(
    out: BlockMonths,
    wanted: TimeArray,
    shape: tuple[int, ...],
    method: str,
    shared: Shared | None = None,
    summary: Mapping[str, NDArray[Any]] | None = None,
) -> Months:
    """Give the cells their rows and columns back."""

    def part(name: str) -> NDArray[Any]:
        values: NDArray[Any] = getattr(out, name)
        return values.reshape(values.shape[:-1] + shape)

    cov = out.covariance
    if cov is not None:
        # Only the view turns: a cell's own months stay together in memory.
        cov = np.moveaxis(cov, 0, -1).reshape(*cov.shape[1:], *shape)
    return Months(
        months=wanted,
        method=method,
        hyperparameters=() if shared is None else shared.hyperparameters,
        smoothness=None if shared is None else shared.smoothness,
        scene_sigma=0.0 if shared is None else shared.shared.sigma,
        covariance=cov,
        cell_class=part("cell_class"),
        v=part("v"),
        sigma=part("sigma"),
        count=part("count"),
        shortest_days=part("shortest_days"),
        flag=part("flag"),
        next_correlation=part("next_correlation"),
        overlap_mean=part("overlap_mean"),
        overlap_median=part("overlap_median"),
        summary={n: x.reshape(*x.shape[:-1], *shape) for n, x in (summary or {}).items()},
    )
