"""The correlator on whatever comes: shapes, masks, extreme values, and what must not matter.

Examples are drawn by hypothesis from a fixed seed; under the sanitizers the same file fuzzes
the C (``.ci/run``).
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmavel import Quality, _kernels
from hmavel.correlator import Settings, correlate
from hmavel.simulate import shifted_pair

FEW = settings(derandomize=True, deadline=None, max_examples=40, database=None)

SIDES = st.sampled_from([8, 10, 14, 16, 20, 32, 34, 48, 64])
EXTREMES = st.sampled_from(
    [0.0, -0.0, 1e-45, 1e-38, 1e38, -1e38, np.inf, -np.inf, np.nan, 65535.0]
)


@st.composite
def images(draw: st.DrawFn):
    """Two images of noise with holes, constant patches and extreme values."""
    shape = draw(st.tuples(st.integers(1, 150), st.integers(1, 150)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.uint8, np.int16, np.uint16]))
    pair = []
    for _ in range(2):
        image = rng.integers(0, 250, shape).astype(dtype)
        if np.issubdtype(dtype, np.floating):
            hurt = draw(st.lists(EXTREMES, max_size=4))
            for value in hurt:
                image[rng.random(shape) < rng.choice([0.001, 0.05, 0.6])] = value
        row, col = (int(rng.integers(0, n)) for n in shape)
        if draw(st.booleans()):
            image[row:, col:] = image[row, col]
        if draw(st.booleans()):
            image = np.asfortranarray(image)
        pair.append(image)
    return pair[0], pair[1], rng


@FEW
@given(
    images(), SIDES, st.sampled_from([0, 1, 2]), st.integers(1, 40),
    st.sampled_from([None, 0, 1, 7, 40]), st.sampled_from(["white", "half", "cross", "noise"]),
    st.booleans(), st.integers(0, 5), st.integers(0, 3), st.booleans(),
)  # fmt: skip
def test_anything_gives_numbers_that_are_good_or_none(
    drawn, window, coarse, step, reach, weight, masked, rewindow, robust, interpolate
):
    a, b, rng = drawn
    step = min(step, *a.shape)
    masks = {}
    if masked:
        masks = {
            "valid_reference": rng.random(a.shape) < 0.9,
            "valid_secondary": rng.random(a.shape) < 0.7,
            "domain": rng.integers(0, 3, a.shape),
        }
    with np.errstate(all="ignore"):
        d = correlate(
            a, b, window=window, coarse=window * coarse, step=step, reach=reach,
            settings=Settings(
                weight=weight, rewindow=rewindow, robust=robust, min_evidence=0,
                known_evidence=0, min_clump=0, interpolate=interpolate,
            ),
            **masks,
        )  # fmt: skip
    assert d.drow.shape == (a.shape[0] // step, a.shape[1] // step)
    assert set(np.unique(d.quality)) <= {q.value for q in Quality}
    limit = (window * coarse // 2 if coarse else 2) if reach is None else reach
    for moved, sigma in ((d.drow, d.sigma_row), (d.dcol, d.sigma_col)):
        assert np.array_equal(np.isfinite(moved), d.good)
        assert (np.abs(moved[d.good]) <= limit + 1.5).all()
        assert np.isfinite(sigma[d.good]).all()
        assert (sigma[d.good] > 0).all()
    assert (d.coherence[d.good] <= 1 + 1e-5).all()


def textured(seed: int, drow: float = 0.0, dcol: float = 0.0):
    p = shifted_pair(drow, dcol, seed=seed, shape=(160, 168), noise=0.05)
    return p.reference, p.secondary


SHIFT = st.floats(-6, 6, allow_nan=False)
INNER = np.s_[6:-6, 6:-6]


@settings(FEW, max_examples=8)
@given(st.integers(0, 1000), SHIFT, SHIFT)
def test_swapping_flips_and_turning_turns(seed, drow, dcol):
    a, b = textured(seed, drow, dcol)
    d, back = correlate(a, b), correlate(b, a)
    both = (d.good & back.good)[INNER]
    assert both.mean() > 0.9
    # Another image is the reference: the windows stand on other pixels.
    assert np.abs(d.drow + back.drow)[INNER][both].max() < 0.06
    turned = correlate(np.rot90(a, 2), np.rot90(b, 2))
    same = (d.good & turned.good[::-1, ::-1])[INNER]
    assert same.mean() > 0.9
    assert np.abs(d.drow + turned.drow[::-1, ::-1])[INNER][same].max() < 0.01


@settings(FEW, max_examples=8)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_gain_and_offset_do_not_matter(seed, gain, offset):
    a, b = textured(seed, 1.3, -0.7)
    d, other = correlate(a, b), correlate(gain * a + offset, b)
    both = (d.good & other.good)[INNER]
    assert both.mean() > 0.95
    assert np.abs(d.drow - other.drow)[INNER][both].max() < 1e-3


@settings(FEW, max_examples=8)
@given(st.integers(0, 1000), st.integers(40, 120), st.integers(40, 120), st.integers(1, 12))
def test_a_hole_disturbs_only_windows_that_hold_it(seed, row, col, size):
    a, b = textured(seed, 0.4, 0.3)
    hurt = a.copy()
    hurt[row : row + size, col : col + size] = np.nan
    options = {"coarse": 0, "settings": Settings(min_clump=0, max_median=1e9)}
    d, e = correlate(a, b, **options), correlate(hurt, b, **options)
    far = (np.abs(d.row - row - size / 2)[:, None] > 18 + size / 2) | (
        np.abs(d.col - col - size / 2)[None, :] > 18 + size / 2
    )
    both = far & d.good & e.good
    assert both[INNER].any()
    assert np.abs(d.drow - e.drow)[both].max() < 1e-3  # the image's mean and spread change


@pytest.mark.parametrize("seed", [1, 2])
def test_threads_and_instruction_sets_agree_on_holes(seed):
    a, b = textured(seed, 2.2, -1.6)
    rng = np.random.default_rng(seed)
    a, b = (np.where(rng.random(x.shape) < 0.04, np.nan, x) for x in (a, b))
    a[60:75, 70:90] = np.nan
    first = correlate(a, b)
    for threads in (2, 3):
        other = correlate(a, b, threads=threads)
        for f in fields(first):
            assert np.array_equal(
                getattr(first, f.name), getattr(other, f.name), equal_nan=True
            )
    for name in _kernels.instruction_sets():
        other = correlate(a, b, settings=Settings(instruction_set=name))
        both = first.good & other.good
        assert (first.good != other.good).mean() < 0.01
        assert np.abs(first.drow - other.drow)[both].max() < 1e-3
