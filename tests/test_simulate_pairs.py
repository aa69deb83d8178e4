"""The shifted pairs: the shift is the stated one, the statistics are the recipe's."""

from __future__ import annotations

import numpy as np
import pytest
from phase import phase_shift
from scipy import fft

from hmavel import simulate


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("texture", ["k-1.2", "k-2", "pan"])
@pytest.mark.parametrize("shift", [(1.5, -0.25), (0.3, -0.7), (-5.37, 9.0)])
def test_shift_is_the_stated_one(
    seed: int, texture: str, shift: tuple[float, float]
) -> None:
    pair = simulate.shifted_pair(*shift, seed=seed, shape=(256, 320), texture=texture, noise=0)
    # what is left is float32 against 8000 DN, or the rounding of `pan`
    tolerance = 1e-3 if texture == "pan" else 5e-6
    assert phase_shift(pair.reference, pair.secondary) == pytest.approx(shift, abs=tolerance)


def test_sign_is_down_and_right() -> None:
    pair = simulate.shifted_pair(3, 5, seed=1, noise=0.0, shape=(64, 64))
    assert np.abs(pair.secondary[3:, 5:] - pair.reference[:-3, :-5]).max() < 0.01


def test_statistics_and_seed() -> None:
    a = simulate.shifted_pair(0.3, -0.7, seed=3, noise=0.1)
    b = simulate.shifted_pair(0.3, -0.7, seed=3, noise=0.1)
    c = simulate.shifted_pair(0.3, -0.7, seed=4, noise=0.1)
    assert np.array_equal(a.reference, b.reference)
    assert np.array_equal(a.secondary, b.secondary)
    assert not np.array_equal(a.reference, c.reference)
    assert a.reference.dtype == np.float32
    assert a.baseline_days == 16.0
    for image in (a.reference, a.secondary):
        assert image.mean() == pytest.approx(8000, abs=1)
        # texture and 10 % noise, independent: 800 * sqrt(1.01)
        assert image.std() == pytest.approx(804, abs=2)


def test_noise_is_in_both_images() -> None:
    clean = simulate.shifted_pair(0, 0, seed=5, noise=0.0)
    noisy = simulate.shifted_pair(0, 0, seed=5, noise=0.1)
    one = noisy.reference - clean.reference
    two = noisy.secondary - clean.secondary
    assert one.std() == pytest.approx(80, rel=0.01)
    assert two.std() == pytest.approx(80, rel=0.01)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.01


def test_pan_is_blurred_and_whole() -> None:
    sharp = simulate.shifted_pair(0, 0, seed=2, noise=0.0).reference - 8000
    pan = simulate.shifted_pair(0, 0, seed=2, noise=0.0, texture="pan").reference
    assert np.array_equal(pan, np.rint(pan))
    ratio = np.abs(fft.rfft2(pan - 8000)) / np.abs(fft.rfft2(sharp))
    # the same phases, so the ratio of two columns is the MTF's: 0.2 at Nyquist against 1
    assert np.median(ratio[1:20, -1] / ratio[1:20, 1]) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_glacier_moves_by_its_truth(seed: int) -> None:
    pair, drow, dcol = simulate.glacier_pair(seed, noise=0.0)
    assert drow.shape == pair.reference.shape
    assert not dcol.any()
    assert drow.max() == 6.0
    assert drow[:, 0].max() == 0.0
    plug = drow[0] == 6.0
    assert np.abs(pair.secondary[6:, plug] - pair.reference[:-6, plug]).max() < 0.01
    ground = drow[0] == 0.0
    assert np.abs(pair.secondary[:, ground] - pair.reference[:, ground]).max() < 0.01
    ramp = drow[0, (drow[0] > 0) & (drow[0] < 6)]
    assert len(ramp) == 16  # 8 px on either side
    assert np.ptp(np.diff(ramp[:8])) < 1e-12


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="texture: expected one of"):
        simulate.shifted_pair(0, 0, texture="wood")
    with pytest.raises(ValueError, match="shape: expected at least 16"):
        simulate.shifted_pair(0, 0, shape=(8, 64))
