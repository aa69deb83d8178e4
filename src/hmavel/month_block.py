"""Cells to months, a block of cells at a time: what all cells share, and the work on each."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from hmavel._types import DAYS_PER_YEAR, ByteArray, FloatArray
from hmavel.medians import median_of_known
from hmavel.month_doubt import contradictory, judged_loosely, with_noise
from hmavel.month_fit import learn_classes, learn_scene_sigma
from hmavel.month_gp import (
    Cell,
    Design,
    SceneErrors,
    Workspace,
    log_evidence,
    scene_errors,
    solve,
)
from hmavel.month_kernel import Hyperparameters, MonthPrior, month_prior
from hmavel.month_overlap import overlap_months
from hmavel.month_screen import (
    USED,
    Batch,
    agree,
    first_weights,
    first_weights_by_speed,
    loose_prior,
    loose_priors,
    make_batch,
    reweigh,
    typical_speeds,
)
from hmavel.month_smooth import choose_smoothness, robust_smooth, solve_smooth
from hmavel.network import PairNetwork

Method = Literal["gp", "smooth", "overlap"]
MEASURED, REGULARISED, BLANK = 0, 1, 2

#: A month is measured when the pairs left at most this share of its prior variance ...
MEASURED_SHARE = 0.5
#: ... and a pair of at most this many days (six Landsat cycles) touches it.
MEASURED_DAYS = 96.0
#: Cells that the prior is learnt from.
SAMPLE = 16
#: Cells that the scenes' shared error is learnt from, when it is not given.
_SCENE_SAMPLE = 6
#: The level's standard deviation: this many times the sample's own, and at least so many m/yr.
_LEVEL_FACTOR = 10.0
_LEVEL_LEAST = 100.0
#: Prior variance that may be left unsolved, as a share of the smallest posterior variance.
_CUT_SOLVE, _CUT_SCREEN, _CUT_COARSE = 1e-3, 0.1, 0.3
#: Log evidence within which classes are compared once more, exactly.
_CLOSE_CALL = 15.0


@cache
def _libraries() -> Any:
    """Return the libraries of linear algebra: to look for them takes 5 ms each time."""
    return ThreadpoolController()


def _one_thread() -> Any:
    """Return the context within which they use one thread."""
    return _libraries().limit(limits=1)


@dataclass(frozen=True)
class _Class:
    """A class of cells: its prior, for the solve and, coarser, for the false matches."""

    prior: MonthPrior
    solve: Design
    choose: Design
    coarse: MonthPrior


@dataclass(frozen=True)
class Shared:
    """All that does not depend on the cell."""

    network: PairNetwork
    method: Method
    shared: SceneErrors  #: scene errors as they are
    alone: SceneErrors  #: the same, taken as each pair's own: what screening makes do with
    classes: tuple[_Class, ...] = ()
    loose: tuple[MonthPrior, ...] = ()  #: for cells of rising speed
    smoothness: float | None = None
    keep: NDArray[np.intp] | None = None  #: which of the network's months are wanted
    covariance: bool = False

    @property
    def noise(self) -> tuple[float, ...]:
        """What the errors of each class are multiplied by."""
        return tuple(h.noise for h in self.hyperparameters)

    @property
    def hyperparameters(self) -> tuple[Hyperparameters, ...]:
        """The numbers of each class's prior."""
        return tuple(kind.prior.parameters for kind in self.classes)


@dataclass(frozen=True)
class BlockMonths:
    """The months of a block; arrays (n, cells) unless said. Names as in ``month.Months``."""

    v: FloatArray
    sigma: FloatArray
    count: FloatArray
    shortest_days: FloatArray
    flag: ByteArray
    next_correlation: FloatArray
    overlap_mean: FloatArray
    overlap_median: FloatArray
    cell_class: NDArray[np.int16]  #: (cells,)
    covariance: FloatArray | None  #: (cells, n, n): each cell's in one piece

    @classmethod
    def blank(cls, n: int, cells: int, covariance: bool) -> BlockMonths:
        """Make months that nothing is known of."""
        nan = [np.full((n, cells), np.nan) for _ in range(6)]
        return cls(
            v=nan[0],
            sigma=nan[1],
            count=np.zeros((n, cells)),
            shortest_days=nan[2],
            flag=np.full((n, cells), BLANK, np.uint8),
            next_correlation=nan[3],
            overlap_mean=nan[4],
            overlap_median=nan[5],
            cell_class=np.full(cells, -1, np.int16),
            covariance=np.full((cells, n, n), np.nan) if covariance else None,
        )

    def put(
        self, part: BlockMonths, months: NDArray[np.intp], cells: NDArray[np.intp]
    ) -> None:
        """Write ``part`` into these rows and columns; ``cells`` without gaps."""
        at = np.ix_(months, cells)
        for f in fields(self):
            if f.name not in ("cell_class", "covariance"):
                getattr(self, f.name)[at] = getattr(part, f.name)
        self.cell_class[cells] = part.cell_class
        if self.covariance is not None and part.covariance is not None:
            if len(months) == self.covariance.shape[1]:
                self.covariance[cells[0] : cells[-1] + 1] = part.covariance
            else:
                self.covariance[np.ix_(cells, months, months)] = part.covariance


def learn(
    shared: Shared,
    v: FloatArray,
    sigma: FloatArray,
    hyperparameters: tuple[Hyperparameters, ...] | None,
) -> Shared:
    """Learn from a sample of the cells what the method needs; ``v``, ``sigma`` (p, cells)."""
    with _one_thread():
        some = sample_cells(v, sigma)
        v, sigma = shared.network.merged(v[:, some], sigma[:, some])
        batch = make_batch(shared.network, v, sigma)
        level = _level(typical_speeds(shared.network, batch))
        loose = loose_priors(shared.network, level, batch)
        if shared.method != "gp":  # which else learns the noise with its classes
            loose = with_noise(shared.network, loose, shared.alone, batch)
        shared = replace(shared, loose=loose)
        if shared.method == "overlap":
            return shared
        sample = [batch.cell(c) for c in range(len(some))]
        if shared.method == "smooth":
            if shared.smoothness is None:
                sample = [robust_smooth(shared.network, c, shared.shared, 0.3) for c in sample]
                choice = choose_smoothness(shared.network, sample, shared.shared)
                shared = replace(shared, smoothness=choice)
            return shared
        if hyperparameters is None:
            batch = first_weights_by_speed(shared.network, loose, shared.alone, batch)
            sample = [batch.cell(c) for c in range(len(some))]
            hyperparameters = tuple(
                learn_classes(shared.network, sample, shared.shared, level)
            )
        typical = float(np.median(np.concatenate([cell.variance for cell in sample])))
        classes = tuple(_class(shared, h, typical) for h in hyperparameters)
        return replace(shared, classes=classes)


def shared_error(network: PairNetwork, v: FloatArray, sigma: FloatArray) -> float:
    """Learn the scenes' shared error, m, from a few cells of ``v``, ``sigma`` (p, cells)."""
    with _one_thread():
        some = sample_cells(v, sigma, _SCENE_SAMPLE)
        batch = make_batch(network, *network.merged(v[:, some], sigma[:, some]))
        speeds = typical_speeds(network, batch)
        level = _level(speeds)
        typical = float(np.sqrt(np.median(batch.variance[batch.valid])))
        # Until it is known, half of a match's error stands for it where pairs are judged.
        half = scene_errors(network, 0.5 * typical, shared=False)
        loose = loose_prior(network, level, float(speeds.max()))
        batch = first_weights(loose, half, batch)
        cells = [batch.cell(c) for c in range(len(some))]
        return learn_scene_sigma(network, cells, level, typical)


def _level(speeds: FloatArray) -> float:
    """Return the level's standard deviation, m/yr: so wide that it hardly matters."""
    return max(_LEVEL_FACTOR * float(np.sqrt(np.mean(speeds**2))), _LEVEL_LEAST)


def sample_cells(v: FloatArray, sigma: FloatArray, size: int = SAMPLE) -> NDArray[np.intp]:
    """Choose cells that stand for all: the best seen ones, evenly spaced by their velocity."""
    seen = (np.isfinite(v) & np.isfinite(sigma)).sum(axis=0)
    good = np.flatnonzero(seen >= max(1, np.quantile(seen[seen > 0], 0.5)))
    # A thousand candidates are as good as all, and keep this cheap for any number of cells.
    good = good[np.linspace(0, len(good) - 1, min(len(good), 1024)).astype(int)]
    speed = np.abs(median_of_known(v[:, good]))
    order = good[np.argsort(speed, kind="stable")]
    at = np.linspace(0, len(order) - 1, min(size, len(order)))
    return np.asarray(order[np.round(at).astype(int)])


def block_months(shared: Shared, v: FloatArray, sigma: FloatArray) -> BlockMonths:
    """Compose the months of some cells; ``v`` and ``sigma`` (p, cells), m/yr, NaN = missing."""
    network = shared.network
    n, cells = len(network.months), v.shape[1]
    v, sigma, torn = network.merged_and_torn(v, sigma)
    keep = np.arange(n) if shared.keep is None else shared.keep
    out = BlockMonths.blank(len(keep), cells, shared.covariance)
    with _one_thread():
        overlap = overlap_months(network, v, sigma**2, shared.shared.sigma)
        out.overlap_mean[:], out.overlap_median[:] = overlap.mean[keep], overlap.median[keep]
        if shared.method == "overlap":
            out.v[:], out.sigma[:] = overlap.median[keep], overlap.sigma[keep]
        batch = make_batch(network, v, sigma)
        seen = np.flatnonzero(batch.valid.any(axis=1))
        weighted = batch.take(seen)
        if shared.method == "gp":
            weighted, out.cell_class[seen] = _screened(shared, weighted)
        share, work = np.zeros((len(keep), cells)), Workspace()
        weight = np.zeros((cells, len(network.first)))
        for i, c in enumerate(seen):
            cell = weighted.cell(i)
            if shared.method != "overlap":
                cell = _compose_cell(shared, cell, work, keep, out, share, int(c))
            weight[c, cell.pairs] = cell.weight
        _judge(network, weight, share, keep, out)
        if shared.method == "gp":
            noise = np.array(shared.noise)[out.cell_class[seen]]
        else:
            weighted, noise = judged_loosely(
                network, shared.loose, shared.alone, batch.take(seen)
            )
        refused = (weighted.weight < USED) | torn.T[seen]
        doubtful = seen[contradictory(weighted.valid, refused, noise)]
        out.flag[:, doubtful] = np.maximum(out.flag[:, doubtful], REGULARISED)
    blank = out.flag == BLANK
    out.v[blank] = out.sigma[blank] = np.nan
    out.next_correlation[blank] = np.nan
    return out


def _screened(shared: Shared, batch: Batch) -> tuple[Batch, NDArray[np.int16]]:
    """Weigh the pairs of all cells and choose each cell's class."""
    batch = first_weights_by_speed(shared.network, shared.loose, shared.alone, batch)
    classes = shared.classes
    chosen = np.zeros(len(batch.d), np.int16)
    if len(classes) > 1:
        scores = np.array(
            [agree(kind.coarse, shared.alone, batch).log_evidence for kind in classes]
        )
        chosen[:] = np.argmax(scores, axis=0)
        # Scene errors taken as the pairs' own blur the evidence: decide close calls properly.
        work = Workspace()
        close = scores > scores.max(axis=0) - _CLOSE_CALL
        for c in np.flatnonzero(close.sum(axis=0) > 1):
            rivals = np.flatnonzero(close[:, c])
            cell = batch.cell(int(c))
            better = [log_evidence(classes[k].choose, cell, work) for k in rivals]
            chosen[c] = rivals[np.argmax(better)]
    weight = batch.weight.copy()
    for k in np.unique(chosen):
        some = np.flatnonzero(chosen == k)
        weight[some] = reweigh(classes[k].coarse, shared.alone, batch.take(some)).weight
    return replace(batch, weight=weight), chosen


def _compose_cell(
    shared: Shared,
    cell: Cell,
    work: Workspace,
    keep: NDArray[np.intp],
    out: BlockMonths,
    share: FloatArray,
    c: int,
) -> Cell:
    """Fill column ``c`` of ``out`` and of the share of variance left; return the cell used."""
    if shared.method == "gp":
        kind = shared.classes[out.cell_class[c]]
        posterior = solve(kind.solve, cell, work)
        lost = kind.solve.prior.lost[keep]
        prior_variance = kind.prior.variance[keep]
    else:
        smoothness = shared.smoothness or 0.0
        cell = robust_smooth(shared.network, cell, shared.shared, smoothness)
        posterior = solve_smooth(shared.network, cell, shared.shared, smoothness)
        lost, prior_variance = np.zeros(len(keep)), np.full(len(keep), np.inf)
    root = posterior.root[keep]
    variance = np.einsum("ij,ij->i", root, root) + lost
    share[:, c] = variance / prior_variance
    out.v[:, c], out.sigma[:, c] = posterior.mean[keep], np.sqrt(variance)
    following = np.einsum("ij,ij->i", root[:-1], root[1:])
    out.next_correlation[:-1, c] = following / np.sqrt(variance[:-1] * variance[1:])
    if out.covariance is not None:
        own = np.matmul(root, root.T, out=out.covariance[c])
        own[np.diag_indices(len(own))] += lost
    return cell


def _judge(
    network: PairNetwork,
    weight: FloatArray,
    share: FloatArray,
    keep: NDArray[np.intp],
    out: BlockMonths,
) -> None:
    """Count the pairs of every month, find the shortest, and set the flags.

    ``weight`` (cells, p), 0 where a pair was not seen; ``share`` (n, cells) of the prior's
    variance that the pairs left.
    """
    overlap = network.overlap_years()
    effective = (overlap.T @ weight.T) * DAYS_PER_YEAR / network.month_days[:, None]
    used, baseline = weight.T >= USED, network.baseline_days
    months = overlap.tocsc()
    shortest = np.full(share.shape, np.inf)
    for at, k in enumerate(keep):
        some = slice(months.indptr[k], months.indptr[k + 1])
        i = months.indices[some][months.data[some] > 0]
        if len(i):
            days = np.where(used[i], baseline[i, None], np.inf)
            shortest[at] = days.min(axis=0)
    out.count[:] = effective[keep]
    measured = (share <= MEASURED_SHARE) & (shortest <= MEASURED_DAYS)
    out.flag[:] = np.where(measured, MEASURED, REGULARISED)
    out.flag[np.isinf(shortest)] = BLANK
    out.shortest_days[:] = np.where(np.isinf(shortest), np.nan, shortest)


def _class(shared: Shared, h: Hyperparameters, typical: float) -> _Class:
    """Bring a prior to the network and cut it to the modes that its pairs can see."""
    prior = month_prior(shared.network, h)
    p = len(shared.network.first)
    full = Cell(np.arange(p), np.zeros(p), np.full(p, typical), np.ones(p))
    design = Design(prior, shared.shared)
    smallest = float((solve(design, full).root ** 2).sum(axis=1).min())
    return _Class(
        prior,
        Design(prior.cut(_CUT_SOLVE * smallest), shared.shared),
        Design(prior.cut(_CUT_SCREEN * smallest), shared.shared),
        prior.cut(_CUT_COARSE * smallest),
    )
