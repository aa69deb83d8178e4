"""Evidence and posterior of seams against dense Gaussian algebra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hmavel.bias_seams import (
    DEVIATIONS,
    STAGGER,
    Base,
    Pairs,
    Staggers,
    Sums,
    all_steps,
    comb_covariance,
    comb_prior,
    combs,
    eliminated,
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
        sums = Sums(beyond.T @ self.x, beyond.T @ self.y, beyond.sum(axis=0))
        self.base = Base(xw.T @ self.x, xw.T @ self.y, self.prior, sums, self.kappa)

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
        np.testing.assert_allclose(found.size[i].T, mean[:, 2:], atol=1e-6)
        for c in (0, 1):
            beta, spread = g.base.posterior(c, at[i], covariance)
            np.testing.assert_allclose(beta, mean[c], atol=1e-6)
            assert (np.linalg.eigvalsh(spread) > -1e-12).all()
            jumps = np.zeros(BINS)
            jumps[at[i]] = found.size[i, :, c]
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
            assert steps.covariance is prior.covariance


def test_elimination_has_gain_and_determinant_of_every_matrix() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(7, 4, 4)), rng.normal(size=(7, 4))
    a = a @ np.swapaxes(a, 1, 2) + np.eye(4)
    gain, log_det = eliminated(np.moveaxis(a, 0, -1).copy(), b.T)
    for i in range(7):
        assert gain[i] == pytest.approx(b[i] @ np.linalg.solve(a[i], b[i]), rel=1e-10)
        assert log_det[i] == pytest.approx(np.linalg.slogdet(a[i])[1], abs=1e-10)


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
