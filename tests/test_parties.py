"""Glaciers screened together: all of them, once, and never more ground than one by one."""

from __future__ import annotations

import numpy as np
import pytest

from hmavel.parties import close_together

KM = 1 / 111.32  # of latitude, degrees


def places(seed: int, count: int, extent_km: float):
    """Return outlines of 2 to 12 km at 35 degrees north."""
    rng = np.random.default_rng(seed)
    south = 35 + rng.uniform(0, extent_km * KM, count)
    west = 76 + rng.uniform(0, extent_km * KM, count)
    tall, wide = rng.uniform(2 * KM, 12 * KM, (2, count))
    return [tuple(x) for x in np.stack([west, south, west + wide, south + tall], axis=1)]


def ground(bounds, margin_km: float) -> float:
    """Return the ground, km^2, of a rectangle around some outlines."""
    west, south, east, north = np.array(bounds).T
    wide = (east.max() - west.min()) / KM * np.cos(np.radians(35))
    return (wide + 2 * margin_km) * ((north.max() - south.min()) / KM + 2 * margin_km)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_everyone_is_in_one_party_of_bearable_size(seed):
    given = places(seed, 200, 150)
    parties = close_together(given, 5000)
    assert sorted(i for party in parties for i in party) == list(range(200))
    assert len(parties) < 150
    assert max(map(len, parties)) > 2
    for party in parties:
        whole = ground([given[i] for i in party], 8.84)
        apart = sum(ground([given[i]], 8.84) for i in party)
        assert whole <= 1.02 * apart  # the cosine is that of each place
        assert len(party) == 1 or whole < 1850


def test_far_apart_stay_alone_and_neighbours_join():
    near = [(76.0, 35.0, 76.1, 35.1), (76.12, 35.0, 76.2, 35.1)]
    assert close_together([*near, (78.0, 36.0, 78.1, 36.1)], 5000) == [[0, 1], [2]]
    assert close_together([], 5000) == []


def test_one_that_is_larger_than_any_party_is_its_own():
    huge = (75.0, 35.0, 76.5, 36.0)
    assert close_together([huge, huge, (75.1, 35.1, 75.2, 35.2)], 5000) == [[0], [1], [2]]
