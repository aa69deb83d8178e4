"""Windows that are interpolated to where their fit stands, instead of having their taper moved.

That the kernel does what the slow twin does is held by ``test_correlator.py``.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import reference as twin

from hmavel import _kernels, correlator_settings
from hmavel.correlator import LIKELIEST, Settings, correlate
from hmavel.simulate import shifted_pair

INNER = np.s_[5:-5, 5:-5]
NOISE = Settings(weight="noise", robust=0, last_taper=0.1, noisy_taper=0.04, sigma_scale=0.93)


def test_interpolation_is_the_twins_filter():
    assert _kernels.taps() == correlator_settings.TAPS == len(twin.taps(0.3)[1])


def test_interpolated_windows_are_surer_and_know_it():
    """Against the taper that moves: less error at low noise, sigma as true, no bias."""
    rms, spread, bias = {}, {}, {}
    for name, s in (("moved", NOISE), ("interpolated", LIKELIEST)):
        e, sigma = [], []
        for seed, shift in ((61, (0.3, -0.7)), (62, (1.45, 2.25)), (63, (-3.1, 0.6))):
            p = shifted_pair(*shift, seed=seed, shape=(320, 320), noise=0.01)
            d = correlate(p.reference, p.secondary, settings=s)
            assert d.good[INNER].all()
            e.append(np.stack([d.drow[INNER] - shift[0], d.dcol[INNER] - shift[1]]))
            sigma.append(np.stack([d.sigma_row[INNER], d.sigma_col[INNER]]))
        rms[name] = np.sqrt(np.mean(np.square(e)))
        spread[name] = 1.4826 * np.median(np.abs(np.divide(e, sigma)))
        bias[name] = np.abs(np.mean(e, axis=(2, 3))).max()
    assert rms["interpolated"] < 0.87 * rms["moved"]
    assert spread["interpolated"] == pytest.approx(1, abs=0.12)
    assert bias["interpolated"] < 0.0008


def test_where_a_pixel_misses_the_taper_moves_as_ever():
    """Interpolation hears 6 px more to every side; beside a hole the taper moves instead."""
    p = shifted_pair(0.4, -0.6, seed=33, shape=(192, 192), noise=0.02)
    a, b = p.reference, p.secondary
    hurt = b.copy()
    hurt[100:112, 90:101] = np.nan
    by_taper = replace(LIKELIEST, interpolate=False, noisy_taper=LIKELIEST.last_taper)
    whole, holed, moved = (
        correlate(a, x, nodes=(np.arange(60.5, 150, 8), np.arange(60.5, 140, 8)), settings=s)
        for x, s in ((b, LIKELIEST), (hurt, LIKELIEST), (hurt, by_taper))
    )
    away = np.abs(whole.row - 105.5)[:, None] - 6, np.abs(whole.col - 95)[None] - 5.5
    distance = np.maximum(*away)
    far, near = distance > 16 + 6 + 3, distance < 16
    assert far.any()
    assert near.any()
    # the image's mean and spread change
    assert np.abs(holed.drow - whole.drow)[far].max() < 1e-3
    good = near & holed.good & moved.good
    assert good.sum() > 10
    assert np.abs(holed.drow - moved.drow)[good].max() < 2e-3


@pytest.mark.parametrize("window", [16, 20, 64])
def test_other_windows_and_no_search(window):
    """Transforms of every kind; without a coarse window nothing else looks so far."""
    p = shifted_pair(0.3, -0.2, seed=64, shape=(224, 224), noise=0.02)
    s = replace(LIKELIEST, weight="half")
    d = correlate(p.reference, p.secondary, window=window, coarse=0, step=8, settings=s)
    inner = np.s_[9:-9, 9:-9]
    assert d.good[inner].all()
    e = np.stack([d.drow[inner] - 0.3, d.dcol[inner] + 0.2])
    assert np.sqrt(np.mean(e**2)) < 0.4 / window


def test_threads_do_not_change_a_bit_and_instruction_sets_hardly():
    p = shifted_pair(1.3, -2.6, seed=65, shape=(256, 256), noise=0.05)
    b = p.secondary.copy()
    b[50:60, 80:120] = np.nan
    one = correlate(p.reference, b, settings=LIKELIEST)
    three = correlate(p.reference, b, settings=LIKELIEST, threads=3)
    for f in fields(one):
        assert np.array_equal(getattr(one, f.name), getattr(three, f.name), equal_nan=True)
    for name in _kernels.instruction_sets():
        d = correlate(p.reference, b, settings=replace(LIKELIEST, instruction_set=name))
        both = d.good & one.good
        assert both.sum() > 0.99 * one.good.sum()
        # A node rests when its next move is small: on either side of that they may differ.
        assert np.abs(d.drow - one.drow)[both].max() < Settings().settled
        assert np.quantile(np.abs(d.drow - one.drow)[both], 0.98) < 1e-5


def test_large_windows_are_not_biased_by_what_the_filter_takes():
    """Next to Nyquist it leaves so little that only the taper's leak is there; 64 px see it."""
    e = []
    for seed, shift in ((71, (0.25, 0.75)), (72, (-0.2, 0.3)), (73, (1.3, -0.25))):
        p = shifted_pair(*shift, seed=seed, shape=(320, 320), texture="pan", noise=0.01)
        d = correlate(p.reference, p.secondary, window=64, coarse=128, settings=LIKELIEST)
        inner = np.s_[9:-9, 9:-9]
        assert d.good[inner].all()
        e.append(np.stack([d.drow[inner] - shift[0], d.dcol[inner] - shift[1]]))
    assert np.abs(np.mean(e, axis=(2, 3))).max() < 0.001  # .0035 with all bins restored
    assert np.sqrt(np.mean(np.square(e))) < 0.0015


def test_a_constant_window_stays_without_a_number():
    """The taps would bring it the texture from beyond."""
    p = shifted_pair(0.4, -0.6, seed=74, shape=(192, 192), noise=0.02)
    a, b = p.reference.copy(), p.secondary.copy()
    a[70:130, 70:130] = b[70:130, 70:130] = 8000
    for s in (LIKELIEST, Settings(interpolate=True)):
        d = correlate(a, b, step=4, settings=s)
        whole = [(x > 70 + 16) & (x < 130 - 16) for x in (d.row, d.col)]
        assert np.outer(*whole).sum() == 49
        assert not d.good[np.outer(*whole)].any()


def test_a_hole_in_the_coarse_window_alone_changes_nothing():
    """Only what the fine window and its taps see matters to them."""
    p = shifted_pair(0.35, -0.7, seed=75, shape=(192, 192), noise=0.01)
    b = p.secondary.copy()
    b[63:66, 63:66] = np.nan  # where one of a few looks at the coarse window falls
    at = np.array([96.0, 104.0, 112.0])
    whole, holed = (
        correlate(p.reference, x, nodes=(at, at), settings=replace(LIKELIEST, min_clump=0))
        for x in (p.secondary, b)
    )
    assert np.abs(holed.drow - whole.drow).max() < 1e-4
    assert np.abs(holed.dcol - whole.dcol).max() < 1e-4
