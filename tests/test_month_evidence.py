"""The evidence against dense algebra over the pairs, its slopes by complex steps."""

from __future__ import annotations

from dataclasses import replace

import networks as nw
import numpy as np
import pytest

from hmavel.month_evidence import evidence, information, misfits
from hmavel.month_gp import Cell, scene_errors
from hmavel.month_kernel import PARTS, SEASON_STEPS, Hyperparameters
from hmavel.month_path import overlap_rows
from hmavel.network import pair_network

PLAIN = Hyperparameters(
    level=200.0, season=20.0, shape=0.7, memory=6.0, event=9.0, duration=0.3, noise=1.2
)
SIGMA = 1.05


class Twin:
    """Minus the log evidence of cells: slow, obvious, and smooth for complex numbers, too."""

    def __init__(self, network, cells, unresolved):
        self.first, self.n = int(network.months[0].astype(int)), len(network.months)
        self.design = network.overlap_years().toarray()
        scenes = scene_errors(network, SIGMA)
        self.cells = []
        for cell in cells:
            stated = cell.variance + scenes.variance[cell.pairs] + unresolved[cell.pairs]
            shared = scenes.matrix(cell.pairs).toarray()
            errors = np.diag(stated / cell.weight) + shared @ shared.T
            self.cells.append((self.design[cell.pairs], errors, cell.d))

    def covariance(self, level, number, season_pace, event_pace, burst):
        ap, lp, tau, ar, lr, _ = np.exp(number)
        each = np.repeat(np.exp(season_pace), 12 * PARTS // SEASON_STEPS)
        phase = (np.cumsum(each) - each / 2) / each.sum()
        size, at, width = burst if burst is not None else (-np.inf, 0.0, 0.0)
        turn = 2 * np.pi * ((np.arange(12 * PARTS) + 0.5) / (12 * PARTS) - at)
        bump = np.exp(size - (1 - np.cos(turn)) / (2 * np.pi * np.exp(width)) ** 2)
        gain = 1 + bump
        turns = 2 * np.sin(np.pi * (phase[:, None] - phase)) ** 2
        year = np.outer(gain, gain) * np.exp(-turns / lp**2)
        season = ap**2 * year.reshape(12, PARTS, 12, PARTS).mean(axis=(1, 3))
        month = np.arange(self.n)
        calendar = (month + self.first) % 12
        later = np.sign(month[:, None] - month)  # |lag| of a clock that never goes back
        kept = self.matern(later * (month[:, None] - month) / 12, tau)
        pace = np.exp(event_pace) / 12
        clock = np.cumsum(pace) - pace / 2
        event = ar**2 * self.matern(later * (clock[:, None] - clock), lr)
        # What keeps the matrix positive is no part of the prior: slopes do not follow it.
        nugget = 1e-6 * (gain.real.max() ** 2 * ap.real**2 + ar.real**2) + 1e-12 * level**2
        return level**2 + season[calendar][:, calendar] * kept + event + nugget * np.eye(self.n)

    @staticmethod
    def matern(lag, duration):
        x = np.sqrt(3) * lag / duration
        return (1 + x) * np.exp(-x)

    def misfits(self, level, number, season_pace, event_pace, burst):
        k = self.covariance(level, number, season_pace, event_pace, burst)
        out = []
        for design, errors, d in self.cells:
            total = design @ k @ design.T + np.exp(number[5]) ** 2 * errors
            sign, size = np.linalg.slogdet(total)
            out.append((d @ np.linalg.solve(total, d) + size + np.log(sign)) / 2)
        return np.array(out)

    def slopes(self, level, *parts):
        """Slopes along all numbers of all parts that are not None."""
        out = []
        for i, part in enumerate(parts):
            for k in range(0 if part is None else len(part)):
                moved = [p if p is None else p.astype(complex) for p in parts]
                moved[i][k] += 1e-30j
                out.append(self.misfits(level, *moved).sum().imag / 1e-30)
        return np.array(out)


def sample(seed, cells, last="2016-03-01", pairs=70):
    sim = nw.simulate(["season"], seed, cells=cells, pairs=pairs, last=last)
    network = pair_network(sim.start, sim.end)
    v, sigma = network.merged(sim.v, sim.sigma)
    years, rng = network.baseline_years, np.random.default_rng(seed)
    found = []
    for c in range(cells):
        i = np.flatnonzero(np.isfinite(v[:, c]) & (rng.random(len(v)) < 0.9))
        weight = rng.uniform(0.05, 1.0, len(i))
        found.append(Cell(i, v[i, c] * years[i], (sigma[i, c] * years[i]) ** 2, weight))
    unresolved = rng.uniform(0.0, 2.0, len(years))
    known = information(found, scene_errors(network, SIGMA), overlap_rows(network), unresolved)
    return network.months, known, Twin(network, found, unresolved)


@pytest.mark.parametrize(("seed", "cells"), [(0, 1), (1, 3), (2, 5)])
@pytest.mark.parametrize("clocks", [False, True], ids=["even", "clocks"])
@pytest.mark.parametrize("burst", [False, True], ids=["", "burst"])
def test_evidence_and_slopes_equal_the_twins(seed, cells, clocks, burst):
    months, known, twin = sample(seed, cells)
    rng = np.random.default_rng(100 + seed)
    h = PLAIN.with_log(PLAIN.log + 0.4 * rng.standard_normal(6))
    if clocks:
        season = tuple(np.exp(0.5 * rng.standard_normal(SEASON_STEPS)))
        event = tuple(np.exp(0.5 * rng.standard_normal(len(months) - 4)))
        h = replace(h, season_pace=season, event_pace=event, event_from=months[2])
    if burst:
        h = h.with_burst(np.array([0.4, rng.random(), -2.7]))
    at = (h.log, h.season_log_pace(), h.event_log_pace(months), h.log_burst if burst else None)
    expected, slopes = twin.misfits(h.level, *at), twin.slopes(h.level, *at)

    found = evidence(known, h, months)
    assert found.value == pytest.approx(expected.sum(), rel=1e-10)
    np.testing.assert_allclose(misfits(known, h, months), expected, rtol=1e-10)
    ends = np.cumsum([6, SEASON_STEPS, len(months)])
    by_number, by_season, by_event, by_burst = np.split(slopes, ends)
    for along, truth in (
        (found.by_number, by_number), (found.by_season, by_season), (found.by_event, by_event),
        (found.by_burst, by_burst if burst else np.zeros(3)),
    ):  # fmt: skip
        np.testing.assert_allclose(along, truth, rtol=1e-7, atol=1e-9 * np.abs(truth).max())
    plain = evidence(known, h, months, paces=False)
    assert plain.value == found.value
    np.testing.assert_array_equal(plain.by_number, found.by_number)
    assert plain.by_season.size == plain.by_event.size == plain.by_burst.size == 0


def test_what_is_not_positive_is_said_to_be_so():
    months, known, _ = sample(3, 2)
    nothing = replace(PLAIN, level=0.0, season=0.0, event=0.0)
    with pytest.raises(np.linalg.LinAlgError, match="row 1 of the months' prior"):
        evidence(known, nothing, months)
    against = replace(known, normal=np.stack([known.normal[0], -known.normal[1]]))
    with pytest.raises(np.linalg.LinAlgError, match="row 1 of what the pairs say"):
        misfits(against, PLAIN, months)
    assert misfits(against.take([0]), PLAIN, months) == misfits(known, PLAIN, months)[0]
