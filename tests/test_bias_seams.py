"""Evidence and posterior of seams against dense Gaussian algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hmavel import _kernels
from hmavel.bias_seams import (
    DEVIATIONS,
    STAGGER,
    Base,
    Pairs,
    Staggers,
    StepPrior,
    Sums,
    Terms,
    all_steps,
    comb_covariance,
    comb_prior,
    combs,
)

BINS, NODES = 60, 90


class Ground:
    """Nodes in bins with two terms, a shift and a slope, and what was measured."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.bin = rng.integers(0, BINS, NODES)
        self.weight = rng.uniform(0.2, 1.0, NODES)
        self.x = np.stack([np.ones(NODES), rng.normal(size=NODES)], axis=1)
        self.y = 0.1 * rng.normal(size=(NODES, 2)) + 0.2 * (self.bin >= 25)[:, None]
        self.kappa = np.array([80.0, 120.0])
        self.prior = np.array([1e-4, 25.0])
        xw = self.x * self.weight[:, None]
        beyond = (self.bin[:, None] >= np.arange(BINS)) * self.weight[:, None]
        sums = Sums(beyond.T @ self.x, self.y.T @ beyond, beyond.sum(axis=0))
        terms = Terms.of(np.arange(2), self.prior)
        self.base = Base(xw.T @ self.x, xw.T @ self.y, terms, sums, self.kappa)

    def dense(self, at: np.ndarray, covariance: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density of what was measured, and the posterior mean of terms and steps."""
        steps = (self.bin[:, None] >= at).astype(float)
        x = np.concatenate([self.x, steps], axis=1)
        prior = np.zeros((2 + len(at), 2 + len(at)))
        prior[:2, :2] = np.diag(1.0 / self.prior)
        prior[2:, 2:] = covariance
        log, mean = 0.0, []
        for c in (0, 1):
            noise = np.diag(1.0 / (self.kappa[c] * self.weight))
            whole = x @ prior @ x.T + noise
            log += stats.multivariate_normal(cov=whole).logpdf(self.y[:, c])
            mean.append(prior @ x.T @ np.linalg.solve(whole, self.y[:, c]))
        return log, np.array(mean)


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_steps_have_the_evidence_of_dense_algebra(deviation: float) -> None:
    g = Ground(0)
    covariance = comb_covariance(3, deviation)
    at = np.array([[5, 25, 45], [10, 30, 50], [2, 22, 42]])
    (found,), = all_steps([g.base], at, [comb_prior(3, deviation)], [-1.5])
    nothing = g.dense(np.zeros(0, int), np.zeros((0, 0)))[0]
    for i in range(3):
        log, mean = g.dense(at[i], covariance)
        # the dense inverse of a shift that is free to 100 px costs half of the digits
        assert found.log[i] - g.base.log + 1.5 == pytest.approx(log - nothing, abs=1e-4)
        size = found.jumps(np.eye(3)[i])[at[i]]
        np.testing.assert_allclose(size.T, mean[:, 2:], atol=1e-6)
        for c in (0, 1):
            beta, spread = g.base.posterior(c, at[i], covariance)
            np.testing.assert_allclose(beta, mean[c], atol=1e-6)
            assert (np.linalg.eigvalsh(spread) > -1e-12).all()
            jumps = np.zeros(BINS)
            jumps[at[i]] = size[:, c]
            np.testing.assert_allclose(g.base.terms(c, jumps), mean[c, :2], atol=1e-6)


def test_pairs_of_combs_have_the_evidence_of_dense_algebra() -> None:
    g = Ground(1)
    rows = [np.array([5, 25, 45]), np.array([11, 31, 51]), np.array([18, 38])]
    found = Pairs(g.base, Staggers(rows, g.base.sums.mass), 0.0)
    nothing = g.dense(np.zeros(0, int), np.zeros((0, 0)))[0]
    assert found.log.shape == (3,)  # each pair once
    for i, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        at = np.concatenate([rows[a], rows[b]])
        covariance = np.zeros((len(at), len(at)))
        first = len(rows[a])
        for part, row in ((slice(0, first), rows[a]), (slice(first, None), rows[b])):
            sign = (-1.0) ** np.arange(len(row))
            covariance[part, part] = STAGGER**2 * np.outer(sign, sign)
        dense, mean = g.dense(at, covariance)
        assert found.log[i] - g.base.log == pytest.approx(dense - nothing, abs=1e-4)
        jumps = found.jumps(np.eye(3)[i])
        np.testing.assert_allclose(jumps[at], mean[:, 2:].T, atol=1e-6)
        assert found.one(i)[0] == pytest.approx(at)


def test_steps_are_weighed_beside_every_base_by_every_prior() -> None:
    grounds = [Ground(2), Ground(3)]
    at = np.array([[5, 25, 45], [10, 30, 50]])
    priors = [comb_prior(3, d) for d in DEVIATIONS]
    found = all_steps([g.base for g in grounds], at, priors, [0.25, -2.0])
    for g, kinds, log_prior in zip(grounds, found, (0.25, -2.0), strict=True):
        for prior, steps in zip(priors, kinds, strict=True):
            alone = all_steps([g.base], at, [prior], [log_prior])[0][0]
            np.testing.assert_allclose(steps.log, alone.log, rtol=1e-12)
            assert steps.prior is prior


class Many:
    """A base of many terms, of which it has some, and the same with plain linear algebra."""

    def __init__(self, seed: int, bins: int = 40, nodes: int = 300) -> None:
        rng = np.random.default_rng(seed)
        x = np.concatenate([np.ones((nodes, 1)), rng.normal(size=(nodes, 8))], axis=1)
        y, self.weight = rng.normal(size=(nodes, 2)), rng.uniform(0, 1, nodes)
        self.bin = rng.integers(0, bins, nodes)
        self.kappa, column = np.array([30.0, 70.0]), np.array([0, 1, 2, 6, 7, 8])
        self.prior = np.r_[1e-9, rng.uniform(20, 110, 5)]
        xw = x * self.weight[:, None]
        gram, moment = xw.T @ x, xw.T @ y
        at_or_beyond = (self.bin[:, None] >= np.arange(bins)) * self.weight[:, None]
        self.x = (at_or_beyond.T @ x)[:, column].copy()
        sums = Sums(self.x, y.T @ at_or_beyond, at_or_beyond.sum(axis=0))
        self.base = Base(gram, moment, Terms.of(column, self.prior), sums, self.kappa)
        part = gram[np.ix_(column, column)]
        self.precision = [k * part + np.diag(self.prior) for k in self.kappa]
        self.pulls = [k * moment[column, c] for c, k in enumerate(self.kappa)]

    def information(self, at: np.ndarray, c: int) -> np.ndarray:
        """What ground says of steps (n, n) beside the terms."""
        x, mass = self.x[at], self.base.sums.mass[np.maximum.outer(at, at)]
        shared = x @ np.linalg.solve(self.precision[c], x.T)
        return self.kappa[c] * (mass - self.kappa[c] * shared)

    def pull(self, at: np.ndarray, c: int) -> np.ndarray:
        """What the displacement says of them."""
        beta = np.linalg.solve(self.precision[c], self.pulls[c])
        return self.kappa[c] * (self.base.sums.y[c, at] - self.x[at] @ beta)

    def posterior(self, at: np.ndarray, covariance: np.ndarray) -> tuple[float, np.ndarray]:
        """Log evidence that steps add, and their mean sizes (2, n)."""
        log, mean = 0.0, []
        for c in (0, 1):
            info, pull = self.information(at, c), self.pull(at, c)
            m = np.eye(len(at)) + info @ covariance
            mean.append(covariance @ np.linalg.solve(m, pull))
            log += 0.5 * (pull @ mean[-1] - np.linalg.slogdet(m)[1])
        return log, np.array(mean)


@pytest.mark.parametrize("seed", range(4))
def test_a_base_is_solved_as_by_numpy(seed: int) -> None:
    many = Many(seed)
    base = many.base
    log = float(np.log(many.prior[1:]).sum())
    for c in (0, 1):
        beta = np.linalg.solve(many.precision[c], many.pulls[c])
        inverse = np.linalg.inv(many.precision[c])
        np.testing.assert_allclose(base.inverse[c], inverse, atol=1e-14)
        np.testing.assert_allclose(base.beta[c], beta, rtol=1e-10, atol=1e-14)
        log += 0.5 * (beta @ many.pulls[c] - np.linalg.slogdet(many.precision[c])[1])
        at = np.array([3, 17, 30])
        info = base.information(at[None])[c, 0]
        np.testing.assert_allclose(info, many.information(at, c), rtol=1e-10)
        np.testing.assert_allclose(base.pull[c, at], many.pull(at, c), rtol=1e-9)
    assert base.log == pytest.approx(log, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_steps_are_weighed_and_sized_as_by_numpy(n: int) -> None:
    many = Many(n)
    rng = np.random.default_rng(n)
    at = np.sort(np.array([rng.choice(np.arange(1, 40), n, replace=False) for _ in range(6)]))
    priors = [*(comb_prior(n, d) for d in DEVIATIONS), StepPrior.of(0.01 * np.eye(n))]
    (found,) = all_steps([many.base], at, priors, [0.5])
    for steps, prior in zip(found, priors, strict=True):
        share = rng.uniform(0, 1, len(at))
        jumps = np.zeros((40, 2))
        for i, row in enumerate(at):
            log, mean = many.posterior(row, prior.covariance)
            assert steps.log[i] - many.base.log == pytest.approx(log + 0.5, abs=1e-9)
            jumps[row] += share[i] * mean.T
        np.testing.assert_allclose(steps.jumps(share), jumps, atol=1e-12)


@pytest.mark.parametrize("combs_of", [1, 2, 9])
def test_pairs_are_weighed_and_sized_as_by_numpy(combs_of: int) -> None:
    many = Many(10 + combs_of)
    rows = [np.array([k, k + 12, k + 24]) for k in range(1, combs_of)] + [np.array([12, 24])]
    pairs = Pairs(many.base, Staggers(rows, many.base.sums.mass), 0.25)
    share = np.random.default_rng(combs_of).uniform(0, 1, len(pairs.log))
    jumps, k = np.zeros((40, 2)), 0
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            at = np.concatenate([rows[i], rows[j]])
            sign = np.zeros((2, len(at)))
            sign[0, : len(rows[i])] = (-1.0) ** np.arange(len(rows[i]))
            sign[1, len(rows[i]) :] = (-1.0) ** np.arange(len(rows[j]))
            log, mean = many.posterior(at, STAGGER**2 * sign.T @ sign)
            assert pairs.log[k] - many.base.log == pytest.approx(log + 0.25, abs=1e-9)
            np.add.at(jumps, at, share[k] * mean.T)
            k += 1
    np.testing.assert_allclose(pairs.jumps(share), jumps, atol=1e-12)


def test_sums_beyond_bins_are_those_of_the_nodes_there() -> None:
    many = Many(3)
    value = np.random.default_rng(3).normal(size=(300, 4))
    out = np.full((40, 4), np.nan)
    _kernels.beyond(value, many.weight, many.bin, out)
    at_or_beyond = (many.bin[:, None] >= np.arange(40)) * many.weight[:, None]
    np.testing.assert_allclose(out, at_or_beyond.T @ value, atol=1e-12)


def test_combs_are_a_module_apart_and_all_of_them() -> None:
    groups = combs(BINS, 21.5)
    firsts = sorted(int(row[0]) for group in groups for row in group)
    assert firsts == list(range(1, 23))  # the seam at bin 0 is none: its comb begins at 21.5
    for group in groups:
        assert set(np.diff(group, axis=1).ravel()) <= {21, 22}
        assert (group > 0).all()
        assert (group < BINS).all()


def test_levels_alternate_as_modules_do() -> None:
    draw = np.linalg.cholesky(comb_covariance(4, 0.003))
    steps = draw @ np.random.default_rng(0).normal(size=(4, 20_000))
    assert np.corrcoef(steps)[0] == pytest.approx([1, -1, 1, -1], abs=0.01)
    assert steps.std(axis=1) == pytest.approx([STAGGER] * 4, rel=0.03)
