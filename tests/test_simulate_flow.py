"""The closed-form flow against plain integration, and the truth against itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import integrate
from shapely.geometry import Polygon, box

from hmavel.simulate.flow import Glacier, Rate
from hmavel.simulate.layout import World
from hmavel.simulate.render import RENEWAL, _texture_place, ice_texture
from hmavel.simulate.terrain import Ice

RATES = [
    Rate("steady"),
    Rate("season", 0.3, peak=0.45),
    Rate("surge", 9.5, onset=0.8, end=1.3, ramp=0.07),
]


def places(glacier: Glacier, seed: int, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return glacier.from_flow(rng.uniform(0.03, 0.9, count), rng.uniform(-0.97, 0.97, count))


@pytest.mark.parametrize("rate", RATES, ids=lambda r: r.kind)
def test_integral_of_the_rate(rate: Rate) -> None:
    for a, b in ((0.0, 0.3), (0.7, 1.4), (0.2, 2.0)):
        number, _ = integrate.quad(rate.value, a, b, points=[0.8, 1.3], epsabs=1e-10, limit=200)
        assert rate.integral(b) - rate.integral(a) == pytest.approx(number, abs=1e-8)


@pytest.mark.parametrize("seed", [0, 3])
def test_flow_coordinates_go_there_and_back(seed: int) -> None:
    for glacier in World(seed, 1201).glaciers:
        rng = np.random.default_rng(seed)
        z, q = rng.uniform(0.001, 0.999, 200), rng.uniform(-1, 1, 200)
        z2, q2 = glacier.to_flow(*glacier.from_flow(z, q))
        assert z2 == pytest.approx(z, abs=1e-9)
        assert q2 == pytest.approx(q, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_displacement_is_the_integral_of_the_velocity(seed: int) -> None:
    """Advection is exact to 0.01 px (0.15 m); it is in fact to a tenth of a millimetre."""
    for glacier in World(seed, 1201).glaciers:
        x0, y0 = places(glacier, seed)
        t1, t2 = 0.1, 1.9

        def rate(t: float, p: np.ndarray, g: Glacier = glacier) -> np.ndarray:
            u, v = g.steady_velocity(*p.reshape(2, -1))
            return np.concatenate([u, v]) * g.rate.value(t)

        way = integrate.solve_ivp(
            rate, (t1, t2), np.concatenate([x0, y0]), method="DOP853", rtol=1e-11, atol=1e-6,
            max_step=0.02,
        )  # fmt: skip
        x1, y1 = way.y[:, -1].reshape(2, -1)
        pseudo = float(glacier.rate.integral(t2) - glacier.rate.integral(t1))
        east, north = glacier.displacement(x0, y0, pseudo)
        assert np.hypot(east, north).max() > (5.0 if glacier.kind == "slow" else 15.0)
        assert x0 + east == pytest.approx(x1, abs=1e-4)
        assert y0 + north == pytest.approx(y1, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 5])
def test_texture_stays_on_its_particle(seed: int) -> None:
    """A particle shows the same place of the same generation wherever it has gone."""
    for number in range(4):
        glacier = World(seed, 1201).glaciers[number]
        z, q = np.linspace(0.1, 0.85, 40), np.linspace(-0.9, 0.9, 40)
        ice = Ice(glacier, np.arange(40), z, q, np.ones(40), np.zeros(40))
        found = []
        for t in (0.2, 1.45):
            from_birth = float(glacier.rate.integral(t) - glacier.rate.integral(RENEWAL))
            here = glacier.advance(z, q, from_birth)
            back = -from_birth
            found.append(_texture_place(ice, glacier.advance(here, q, back), 1))
        assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
        assert found[0][1] == pytest.approx(found[1][1], abs=1e-6)


def test_generations_fade_as_stated() -> None:
    """Two times share cos(pi dt / 2 RENEWAL) of the texture, on average over many pixels."""
    world = World(2, 401)
    slow = next(g for g in world.glaciers if g.kind == "slow")
    glacier = replace(slow, length=14_000.0, half_width=700.0)  # room for many cracks
    rng = np.random.default_rng(0)
    z, q = rng.uniform(0.1, 0.9, 40_000), rng.uniform(-0.8, 0.8, 40_000)

    def texture(t: float) -> np.ndarray:
        pseudo = float(glacier.rate.integral(t))
        ice = Ice(glacier, np.arange(len(z)), glacier.advance(z, q, pseudo), q,
                  np.full(len(z), 0.3), np.zeros(len(z)))  # fmt: skip
        return ice_texture(ice, world, t)

    first = texture(0.2)
    for dt in (16 / 365.25, 0.5, 1.0):
        expected = np.cos(np.pi / 2 * dt / RENEWAL)
        # the generations' chance correlation over a finite surface is about 0.02
        assert np.corrcoef(first, texture(0.2 + dt))[0, 1] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("size", "seeds"), [(401, 12), (1201, 12), (2401, 2)])
def test_glaciers_lie_inside_and_apart(size: int, seeds: int) -> None:
    for seed in range(seeds):
        world = World(seed, size)
        shapes = [Polygon(np.column_stack(g.outline())) for g in world.glaciers]
        cell = size * 15 / max(1, round(size * 15 / 18_000))
        whole = box(*world.grid.bounds).buffer(-0.01 * cell)
        assert all(s.is_valid for s in shapes)
        assert all(whole.contains(s) for s in shapes), seed
        for a, b in combinations(shapes, 2):
            assert a.distance(b) > 0.012 * cell, seed


def test_kinds_and_speeds() -> None:
    for seed in range(6):
        glaciers = {g.kind: g for g in World(seed, 1201).glaciers}
        t = np.linspace(0, 2, 2001)
        speed = {k: g.speed * g.rate.value(t) for k, g in glaciers.items()}
        assert 60 < speed["season"].min() < speed["season"].max() < 180
        assert np.ptp(speed["season"]) / speed["season"].mean() == pytest.approx(0.6, abs=0.01)
        assert speed["surge"].min() < 50
        assert speed["surge"].max() > 400
        assert np.mean(speed["surge"] > 200) * 24 > 4  # months
        assert speed["slow"].max() <= 10


def test_no_flow_outside() -> None:
    glacier = World(0, 1201).glaciers[0]
    x, y = glacier.from_flow(np.full(5, 0.5), np.array([-1.5, -1.0001, 1.0001, 3, 9]))
    assert not np.any(glacier.steady_velocity(x, y))
    assert not np.any(glacier.displacement(x, y, 1.0))
    edge = glacier.steady_velocity(*glacier.from_flow(0.5, 0.9999))
    assert np.hypot(*edge) < 0.001 * glacier.speed  # the profile is continuous
