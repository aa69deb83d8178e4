"""What all pairs of a glacier say about each other, together: in bounded memory, to the bit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from ground_networks import network

from hmavel._types import years_between
from hmavel.closure import close_triplets
from hmavel.network_check import check_network
from hmavel.shared_error import match_part, separate_errors

Stack = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def stack() -> tuple[Stack, np.ndarray, np.ndarray]:
    """Velocities over ground with their sigmas, float32, and the dates of the pairs."""
    g = network(1, scenes=40, side=50)
    years = years_between(g.start, g.end)[:, None]
    sigma = np.random.default_rng(1).uniform(1.0, 3.0, (2, *g.x.shape))
    bands = {"vx": g.x, "vy": g.y, "sigma_vx": sigma[0], "sigma_vy": sigma[1]}
    return {k: (v / years).astype(np.float32) for k, v in bands.items()}, g.start, g.end


def test_it_is_what_its_parts_say_of_whole_arrays(
    stack: tuple[Stack, np.ndarray, np.ndarray],
) -> None:
    bands, start, end = stack
    years = years_between(start, end)
    check = check_network(bands, bands, start, end, redundancy=2.0)
    x, y = (bands[axis] * years[:, None] for axis in ("vx", "vy"))
    errors = separate_errors(x, y, start, end, redundancy=2.0)
    sigma_x, sigma_y = (
        match_part(bands[f"sigma_{axis}"], s, years) * years[:, None]
        for axis, s in zip(("vx", "vy"), errors.scene_sigma, strict=True)
    )
    whole = close_triplets(x, y, sigma_x, sigma_y, start, end)
    assert check.errors is not None
    for found, expected in ((check.errors, errors), (check.ground, whole), (check.ice, whole)):
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def test_no_more_than_six_copies_of_the_velocities_are_made(
    stack: tuple[Stack, np.ndarray, np.ndarray],
) -> None:
    """Beside the pairs of a glacier; as float64, with temporaries, it once took nine."""
    bands, start, end = stack
    given = 2 * bands["vx"].nbytes  # both components
    tracemalloc.start()
    try:
        check_network(bands, bands, start, end)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6.5 * given
