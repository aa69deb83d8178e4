"""The correlator: truth, twin, properties, edges.

Accuracy is tested on the recipe of the published comparisons (``simulate.shifted_pair``); the
tolerances are the targets of the method, not what the code happens to reach.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import reference as twin
from scipy.ndimage import gaussian_filter, map_coordinates

import hmavel
from hmavel import Quality, _kernels, correlator, frame, neighbours, node_field, strip_threads
from hmavel.correlator import Settings, correlate
from hmavel.errors import ReadError
from hmavel.simulate import glacier_pair, shifted_pair

INNER = np.s_[5:-5, 5:-5]  # nodes whose windows, moved, lie inside the image


def errors(d: hmavel.Displacement, drow: float, dcol: float, part=INNER):
    return np.stack([d.drow[part] - drow, d.dcol[part] - dcol])


# ---- truth ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "drow", "dcol"), [(1, 0.3, -0.7), (2, -3.5, 2.5), (3, 7.91, -6.08)]
)
@pytest.mark.parametrize(
    # Bias at 10 %: three standard errors of the 1444 overlapping windows (some 180 free ones).
    ("noise", "rmse", "bias"),
    [(0.01, 0.004, 0.001), (0.10, 0.030, 0.006)],
)
@pytest.mark.parametrize("last_taper", [0.25, 0.5])
def test_known_shift_comes_back(seed, drow, dcol, noise, rmse, bias, last_taper):
    p = shifted_pair(drow, dcol, seed=seed, shape=(384, 384), noise=noise)
    d = correlate(p.reference, p.secondary, settings=Settings(last_taper=last_taper))
    e = errors(d, drow, dcol)
    assert np.isfinite(e).all()
    assert np.abs(e.mean(axis=(1, 2))).max() < bias
    assert np.sqrt((e**2).mean(axis=(1, 2))).max() < rmse
    assert np.abs(e).max() < 0.5  # no gross error


def test_no_peak_locking():
    """Bias at every fraction of a pixel, halves included, against its own standard error."""
    biases = []
    for i, fraction in enumerate(np.linspace(-0.5, 0.5, 9)):
        p = shifted_pair(fraction, 1 - fraction, seed=20 + i, shape=(256, 256), texture="pan")
        e = errors(correlate(p.reference, p.secondary), fraction, 1 - fraction)
        biases.append(e.mean(axis=(1, 2)))
    assert np.abs(biases).max() < 0.001


@pytest.mark.parametrize("shift", [(31.0, 0.0), (-30.4, 29.6), (31.4, 31.4)])
def test_relocation_reaches_half_the_coarse_window(shift):
    p = shifted_pair(*shift, seed=5, shape=(320, 320))
    e = errors(correlate(p.reference, p.secondary), *shift, part=np.s_[9:-9, 9:-9])
    assert np.isfinite(e).all()
    assert np.abs(e).max() < 0.05


def test_beyond_the_reach_is_no_number():
    p = shifted_pair(12.0, 0.0, seed=6, shape=(256, 256))
    d = correlate(p.reference, p.secondary, reach=8)
    assert not d.good[INNER].any()
    assert (d.quality[INNER] == Quality.OUT_OF_REACH).mean() > 0.9


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("texture", ["k-1.2", "pan"])
def test_sigma_means_what_it_says(noise, texture):
    z = []
    for seed in (31, 32):
        p = shifted_pair(0.4, -1.3, seed=seed, shape=(320, 320), texture=texture, noise=noise)
        d = correlate(p.reference, p.secondary)
        sigma = np.stack([d.sigma_row[INNER], d.sigma_col[INNER]])
        z.append(errors(d, 0.4, -1.3) / sigma)
    z = np.concatenate([x[np.isfinite(x)] for x in z])
    # About 4500 standardised errors of overlapping windows: known to some 3 %.
    assert 0.85 < 1.4826 * np.median(np.abs(z)) < 1.2


def test_effective_centre_is_where_row_and_col_say():
    """On a strain field the displacement of a node is the truth at its effective centre."""
    rng = np.random.default_rng(8)
    waves = rng.uniform(-2.6, 2.6, (400, 2)), rng.uniform(0, 2 * np.pi, 400)
    size, strain = 256, 0.01

    def scene(row, col):
        (k, phase) = waves
        return sum(np.cos(a * row + b * col + p) for (a, b), p in zip(k, phase, strict=True))

    row, col = np.mgrid[:size, :size].astype(float)
    reference = scene(row, col)
    # Material at x moves to x + strain (x - 128): invert for the secondary's pixels.
    secondary = scene((row + 128 * strain) / (1 + strain), col)
    for nodes in (None, (np.arange(40.0, 216, 8), np.arange(40.0, 216, 8))):
        d = correlate(reference, secondary, nodes=nodes)
        inside = (d.row > 40) & (d.row < 215)
        cols = slice(5, -5) if nodes is None else slice(None)
        found = np.median(d.drow[inside][:, cols], axis=1)
        wrong_by = np.median(found - strain * (d.row[inside] - 128)) / strain
        assert abs(wrong_by) < 0.15  # px; a taper off by half a pixel would show as 0.5


# ---- twin ----------------------------------------------------------------------------------

#: Re-windowing until nothing moves: the twin's fixed point.
FURTHER = {"settled": 1e-5, "settled_sigmas": 0.0, "rewindow": 20}


@pytest.mark.parametrize(
    ("drow", "dcol", "noise", "texture"),
    # No exact halves: there a node may stand on either pixel, and the two differ by 1e-4 px.
    [(0.3, -0.7, 0.01, "k-1.2"), (0.36, -0.61, 0.1, "k-1.2"), (5.25, -17.4, 0.05, "pan")],
)
@pytest.mark.parametrize("nodes", ["half", "whole"])
def test_kernel_equals_twin(drow, dcol, noise, texture, nodes):
    p = shifted_pair(drow, dcol, seed=3, shape=(192, 192), texture=texture, noise=noise)
    centres = np.arange(83.0, 110.0, 8.0) + (0.5 if nodes == "half" else 0.0)
    a, b = p.reference.astype(float), p.secondary.astype(float)
    slow = np.array([[twin.correlate_node(a, b, r, c) for c in centres] for r in centres])
    for settings, tolerance, sigmas in (
        # By default a node whose window moves by less than 0.005 px or two of its standard
        # deviations stands: some 2 % of that is left. Settled further, what is left is float32.
        (Settings(min_evidence=0), 1e-4, 0.05),
        (Settings(min_evidence=0, **FURTHER), 5e-6, 0.0),
    ):
        d = correlate(a, b, nodes=(centres, centres), settings=settings)
        assert (np.abs(d.drow - slow[..., 0]) < tolerance + sigmas * d.sigma_row).all()
        assert (np.abs(d.dcol - slow[..., 1]) < tolerance + sigmas * d.sigma_col).all()
        assert np.abs(d.coherence - slow[..., 2]).max() < 1e-4
        assert np.abs(d.snr - slow[..., 3]).max() < 1e-4


@pytest.mark.parametrize(
    ("weight", "interpolate", "texture"),
    [("white", False, "k-1.2"), ("cross", False, "k-1.2"), ("cross", True, "k-1.2"),
     ("half", True, "k-1.2"), ("cross", True, "pan")],
)  # fmt: skip
def test_other_weights_and_windows_equal_twin(weight, interpolate, texture):
    p = shifted_pair(1.3, -2.4, seed=4, shape=(160, 160), texture=texture, noise=0.05)
    centres = np.arange(76.5, 90.0, 8.0)
    a, b = p.reference.astype(float), p.secondary.astype(float)
    settings = Settings(
        weight=weight, interpolate=interpolate, min_evidence=-99, known_evidence=-99, **FURTHER
    )
    d = correlate(a, b, nodes=(centres, centres), settings=settings)
    for i, r in enumerate(centres):
        for j, c in enumerate(centres):
            slow = twin.correlate_node(a, b, r, c, weight=weight, interpolate=interpolate)
            assert (d.drow[i, j], d.dcol[i, j]) == pytest.approx(slow[:2], abs=2e-5)


@pytest.mark.parametrize("window", [8, 16, 24, 32, 64])
@pytest.mark.parametrize("name", _kernels.instruction_sets())
def test_nodes_side_by_side_are_read_as_they_are_alone(window, name):
    """At step 8 the rows of neighbours are read at once; at 8 and 16 px they did not fit."""
    p = shifted_pair(1.3, -2.2, seed=3, shape=(256, 256), noise=0.05)
    settings = Settings(instruction_set=name, min_evidence=0, known_evidence=0, drowned=False)
    nodes = np.array([128.0, 136.0]), np.arange(72.0, 208.0, 8.0)
    start = np.full((2, 17), 1.25), np.full((2, 17), -2.15)
    options = {"window": window, "coarse": 0, "settings": settings}
    together = correlate(p.reference, p.secondary, nodes=nodes, start=start, **options)
    assert together.good.mean() > 0.5
    compared = 0
    for j in range(17):
        here = np.arange(17)[None] == np.full((2, 1), j)
        alone = correlate(
            p.reference, p.secondary, nodes=nodes, start=start, where=here, **options
        )
        both = together.good & alone.good  # beside wild neighbours some are refused
        np.testing.assert_array_equal(together.drow[both], alone.drow[both])
        np.testing.assert_array_equal(together.dcol[both], alone.dcol[both])
        compared += both.sum()
    assert compared > 15


def test_masked_windows_equal_twin():
    p = shifted_pair(0.4, 0.2, seed=12, shape=(192, 192), noise=0.02)
    a, b = p.reference.astype(float), p.secondary.astype(float)
    a[90:98, 80:110] = np.nan
    b[100:104, 70:100] = np.nan
    centres = np.arange(83.5, 110.0, 8.0)
    d = correlate(a, b, nodes=(centres, centres), settings=Settings(**FURTHER))
    assert d.good.all()
    for i, r in enumerate(centres):
        slow = twin.correlate_node(a, b, r, centres[1])
        # float32: the masks' splines add as much rounding as there was (1e-5)
        assert (d.drow[i, 1], d.dcol[i, 1]) == pytest.approx(slow[:2], abs=2e-5)


def test_single_invalid_pixels_equal_twin():
    p = shifted_pair(-0.3, 0.6, seed=13, shape=(160, 160), noise=0.02)
    a, b = p.reference.astype(float), p.secondary.astype(float)
    rng = np.random.default_rng(1)
    a[rng.random(a.shape) < 0.02] = np.nan
    b[rng.random(b.shape) < 0.02] = np.nan
    centres = np.array([71.5, 79.5])
    d = correlate(a, b, nodes=(centres, centres), settings=Settings(**FURTHER))
    for i, r in enumerate(centres):
        slow = twin.correlate_node(a, b, r, centres[1])
        assert (d.drow[i, 1], d.dcol[i, 1]) == pytest.approx(slow[:2], abs=2e-5)


@pytest.mark.parametrize("shift", [(0.3, -0.45), (1.6, -0.8)])
def test_one_pass_alone_pins_a_little(shift):
    """Without re-windowing the taper stays: a few per cent of the sub-pixel part are lost."""
    p = shifted_pair(*shift, seed=16, shape=(256, 256), noise=0.02)
    d = correlate(p.reference, p.secondary, coarse=0, settings=Settings(rewindow=0, robust=0))
    assert d.good[INNER].mean() > 0.99
    e = np.nanmedian(errors(d, *shift), axis=(1, 2))
    assert np.abs(e).max() < 0.05 * 0.5


# ---- sameness ------------------------------------------------------------------------------


def test_instruction_sets_and_fftw_agree():
    p = shifted_pair(3.3, -2.6, seed=7, shape=(224, 224), noise=0.05)
    wide = correlate(p.reference, p.secondary)
    others = [Settings(fftw_only=True)]
    others += [Settings(instruction_set=name) for name in _kernels.instruction_sets()]
    for settings in others:
        d = correlate(p.reference, p.secondary, settings=settings)
        assert (d.quality == wide.quality).mean() > 0.999
        both = d.good & wide.good
        assert np.abs(d.drow - wide.drow)[both].max() < 1e-5
        assert np.abs(d.dcol - wide.dcol)[both].max() < 1e-5
        assert np.allclose(d.sigma_row[both], wide.sigma_row[both], rtol=1e-3)


@pytest.mark.parametrize("window", [8, 16, 20, 48, 64])
def test_any_even_window(window):
    # Four seeds: windows of 8 px leave the median of one of them 0.01 px of its own.
    seeds = (9, 10, 11, 12) if window == 8 else (9,)
    each = []
    for seed in seeds:
        p = shifted_pair(2.25, -1.5, seed=seed, shape=(256, 256), noise=0.01)
        d = correlate(p.reference, p.secondary, window=window, step=16)
        each.append(errors(d, 2.25, -1.5, part=np.s_[3:-3, 3:-3]))
    e = np.concatenate(each, axis=1)
    assert np.nanmax(np.abs(np.nanmedian(e, axis=(1, 2)))) < 0.01
    assert np.sqrt(np.nanmean(e**2)) < 0.15 * 8 / window


def test_threads_do_not_change_a_bit():
    p = shifted_pair(1.2, 0.6, seed=10, shape=(384, 384), noise=0.3)
    one = correlate(p.reference, p.secondary)
    for threads in (2, 3):
        many = correlate(p.reference, p.secondary, threads=threads)
        for name in ("drow", "dcol", "sigma_row", "sigma_col", "snr", "coherence", "quality"):
            assert np.array_equal(getattr(one, name), getattr(many, name), equal_nan=True)


# ---- properties ----------------------------------------------------------------------------


def test_swapping_the_pair_flips_the_sign():
    p = shifted_pair(2.3, -4.6, seed=11, shape=(256, 256), noise=0.05)
    d = correlate(p.reference, p.secondary)
    back = correlate(p.secondary, p.reference)
    sum_row = (d.drow + back.drow)[INNER]
    # The two look at texture 5 px apart, so the noise differs; the bias may not.
    assert abs(np.mean(sum_row)) < 0.002
    assert np.std(sum_row) < 0.03


def test_gain_and_offset_change_nothing():
    p = shifted_pair(0.6, 1.7, seed=12, shape=(192, 192), noise=0.05)
    d = correlate(p.reference, p.secondary)
    for gain, offset in ((1e-4, -3.0), (4.0, 1e4)):
        other = correlate(p.reference, p.secondary * np.float64(gain) + offset)
        assert np.array_equal(other.quality, d.quality)
        assert np.nanmax(np.abs(other.drow - d.drow)) < 2e-4
        assert np.nanmax(np.abs(other.dcol - d.dcol)) < 2e-4


def test_turning_the_images_turns_the_vectors():
    p = shifted_pair(1.4, -2.3, seed=13, shape=(256, 256), noise=0.02)
    d = correlate(p.reference, p.secondary)
    turned = correlate(np.rot90(p.reference), np.rot90(p.secondary))
    # rot90 turns columns into rows from the bottom up: right becomes up. Other nodes search,
    # so that the others settle from another side, on other whole pixels at the halves.
    assert np.allclose(np.rot90(d.dcol)[INNER], -turned.drow[INNER], atol=1e-3)
    assert np.allclose(np.rot90(d.drow)[INNER], turned.dcol[INNER], atol=1e-3)


def test_nan_disturbs_only_windows_that_hold_it():
    p = shifted_pair(0.5, 0.5, seed=14, shape=(256, 256), noise=0.02)
    d = correlate(p.reference, p.secondary)
    hurt = p.reference.copy()
    hurt[120:124, 130:133] = np.nan
    e = correlate(hurt, p.secondary)
    far = (np.abs(d.row - 122)[:, None] > 34) | (np.abs(d.col - 131)[None, :] > 34)
    # Standardising the image sees the missing pixels: 1e-5 px.
    assert np.nanmax(np.abs(e.drow - d.drow)[far]) < 1e-4
    near = ~far & e.good
    assert np.abs(e.drow[near] - 0.5).max() < 0.05


def invalid_pixels(kind, shape, seed):
    """Return a mask of a kind that users have, True where a pixel is missing."""
    rng = np.random.default_rng(seed)
    if kind == "single":
        return rng.random(shape) < 0.02
    if kind == "clouds":  # a fifth of the image, in patches some 10 px wide
        cloud = gaussian_filter(rng.standard_normal(shape), 4)
        return cloud > np.quantile(cloud, 0.8)
    return np.broadcast_to(np.arange(shape[1]) % 32 < 10, shape)  # the same in both images


@pytest.mark.parametrize("seed", [71, 72])
@pytest.mark.parametrize("kind", ["single", "clouds", "stripes"])
@pytest.mark.parametrize("texture", ["pan", "k-1.2"])
def test_missing_pixels_do_not_pin_the_match(texture, kind, seed):
    shift = np.array([2.25, -1.4])
    p = shifted_pair(*shift, seed=seed, shape=(320, 320), texture=texture, noise=0.01)
    first = invalid_pixels(kind, p.reference.shape, seed)
    second = invalid_pixels(kind, p.reference.shape, seed + 10)
    d = correlate(p.reference, p.secondary, valid_reference=~first, valid_secondary=~second)
    e = np.stack([d.drow - shift[0], d.dcol - shift[1]])[:, d.good]
    assert d.good.mean() > 0.45  # clouds that differ leave two thirds of the pixels
    assert np.abs(e).max() < 0.1
    assert np.abs(np.median(e, axis=1)).max() < 0.004
    assert np.sqrt(np.mean(e**2)) < 0.01
    spread = 1.4826 * np.median(np.abs(e / np.stack([d.sigma_row, d.sigma_col])[:, d.good]))
    assert 0.6 < spread < 1.3


def test_integers_are_welcome():
    p = shifted_pair(1.0, 2.0, seed=15, shape=(128, 128), texture="pan")
    d = correlate(p.reference.astype(np.uint16), p.secondary.astype(np.uint16))
    same = correlate(p.reference, p.secondary)
    assert np.array_equal(d.drow, same.drow, equal_nan=True)


# ---- honesty -------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [32, 64])
@pytest.mark.parametrize("texture", ["k-1.2", "k-2", "pan"])
def test_unrelated_images_are_refused(window, texture):
    accepted = nodes = 0
    for seed in (41, 43):
        a = shifted_pair(0, 0, seed=seed, shape=(384, 384), texture=texture).reference
        b = shifted_pair(0, 0, seed=seed + 1, shape=(384, 384), texture=texture).secondary
        d = correlate(a, b, window=window)
        accepted += int(d.good.sum())
        nodes += d.good.size
    assert accepted <= 0.001 * nodes


def test_noise_of_a_tenth_is_accepted():
    p = shifted_pair(3.3, -1.2, seed=45, shape=(512, 512), noise=0.1)
    assert correlate(p.reference, p.secondary).good[INNER].mean() >= 0.999


def scene(seed=50, shape=(192, 192)):
    p = shifted_pair(0.4, -0.6, seed=seed, shape=shape, noise=0.02)
    return p.reference.copy(), p.secondary.copy()


def test_constant_patch_has_no_texture():
    a, b = scene()
    a[60:140, 60:140] = 9000
    b[60:140, 60:140] = 9000
    d = correlate(a, b)
    assert d.quality[12, 12] == Quality.NO_TEXTURE
    assert np.isnan(d.drow[12, 12])


def test_constant_image_and_nan_image():
    a, b = scene()
    for fill, why in ((1234.0, Quality.NO_TEXTURE), (np.nan, Quality.NO_DATA)):
        for pair in ((a, np.full_like(b, fill)), (np.full_like(a, fill), b)):
            d = correlate(*pair)
            assert not d.good.any()
            assert d.quality[12, 12] == why


def test_saturation_is_named():
    a, b = scene()
    a[60:140, 60:140] = 65535
    d = correlate(a, b)
    assert d.quality[12, 12] == Quality.SATURATED
    assert d.good[3, 3]


def test_masks_are_honoured():
    a, b = scene()
    valid = np.ones(a.shape, bool)
    valid[60:140, 60:140] = False
    for masks in ({"valid_reference": valid}, {"valid_secondary": valid}):
        d = correlate(a, b, **masks)
        assert d.quality[12, 12] == Quality.NO_DATA
        assert d.good[3, 3]


def test_repeated_pattern_is_ambiguous():
    rng = np.random.default_rng(51)
    tile = rng.standard_normal((16, 16))
    a = 8000 + 800 * np.tile(tile, (16, 16))
    d = correlate(a, np.roll(a, (2, 3), (0, 1)))
    assert not d.good.any()
    assert (d.quality[INNER] == Quality.AMBIGUOUS).mean() > 0.9


def test_false_match_is_an_outlier_and_a_small_clump_goes():
    a, b = scene(shape=(256, 256))
    d = correlate(a, b)
    drow = d.drow.copy()
    drow[10, 10] += 3.0
    quality = d.quality.copy()
    quality[20:27, 20:27] = Quality.MASKED  # all but two nodes in a hole of its own
    quality[23, 23:25] = Quality.GOOD
    spoilt = replace(d, drow=np.where(quality == 0, drow, np.nan), quality=quality)
    kept = neighbours.without_outliers(spoilt, Settings(), window=32, step=8, threads=1)
    assert kept.quality[10, 10] == Quality.OUTLIER
    assert np.isnan(kept.drow[10, 10])
    assert (kept.quality[23, 23:25] == Quality.ISOLATED).all()
    assert (kept.quality == Quality.OUTLIER).sum() == 1


def test_domain_keeps_ice_and_rock_apart():
    size, margin = 256, 128
    still = shifted_pair(0.0, 0.0, seed=60, shape=(size, size), noise=0.01)
    moving = shifted_pair(5.3, 0.0, seed=61, shape=(size, size), noise=0.01)
    ice = np.broadcast_to(np.arange(size) >= margin, (size, size))
    a = np.where(ice, moving.reference, still.reference)
    b = np.where(ice, moving.secondary, still.secondary)
    domain = np.where(ice, 2, 1).astype(np.uint8)
    d = correlate(a, b, domain=domain)
    near_ice = (d.col > margin + 6) & (d.col < margin + 20)
    near_rock = (d.col < margin - 6) & (d.col > margin - 20)
    assert d.good[5:-5][:, near_ice | near_rock].mean() > 0.95
    assert abs(np.nanmean(d.drow[5:-5][:, near_ice]) - 5.3) < 0.03 * 5.3
    assert abs(np.nanmean(d.drow[5:-5][:, near_rock])) < 0.02


@pytest.mark.parametrize(("seed", "half"), [(62, 92.0), (63, 95.0)])
def test_a_window_in_two_motions_gives_no_number(seed, half):
    """Margins of 8 px between 0 and 6 px: a window in their middle matches one side."""
    p, truth, _ = glacier_pair(seed=seed, shape=(384, 384), half_width=half)
    d = correlate(p.reference, p.secondary)
    expected = np.interp(d.col, np.arange(384), truth[0])
    e = (d.drow - expected)[INNER]
    margin = np.abs(np.abs(d.col - 191.5) - (half - 4))[5:-5] <= 16
    assert np.mean(np.abs(e[np.isfinite(e)]) > 1) < 0.002
    assert np.sqrt(np.nanmean(e[:, margin] ** 2)) < 0.46
    assert np.isfinite(e[:, margin]).mean() > 0.6
    assert np.isfinite(e[:, ~margin]).mean() > 0.999
    assert (d.quality[5:-5][:, 5:-5][:, margin] == Quality.AMBIGUOUS).mean() > 0.05


def test_steady_strain_is_not_two_motions():
    """5 %: neighbours differ by 1.6 px over 5 x 5 nodes, and every window is right."""
    row = np.arange(448.0)
    stretch = 0.05 * (row - 224)
    p = shifted_pair(0.0, 0.0, seed=64, shape=(448, 448), noise=0.02)
    moved = map_coordinates(
        p.reference,
        np.stack(np.broadcast_arrays((row / 1.05 + 224 * 0.05 / 1.05)[:, None], row)),
        order=5, mode="nearest",
    )  # fmt: skip
    d = correlate(p.reference, moved)
    inner = np.s_[8:-8, 8:-8]
    assert d.good[inner].mean() > 0.98
    e = d.drow - np.interp(d.row, row, stretch)[:, None]
    assert np.abs(e[inner][d.good[inner]]).max() < 0.5


# ---- edges and arguments -------------------------------------------------------------------


def test_layout_of_the_answer():
    a, b = scene(shape=(131, 90))
    d = correlate(a, b)
    assert d.drow.shape == (16, 11)
    assert d.row[:2].tolist() == [3.5, 11.5]
    assert d.quality.dtype == np.uint8
    assert np.array_equal(np.isnan(d.drow), d.quality != 0)
    assert np.array_equal(np.isnan(d.dcol), d.quality != 0)
    odd = correlate(a, b, step=5)
    assert odd.row[:2].tolist() == [2.0, 7.0]


def test_window_larger_than_the_image_is_no_data():
    a, b = scene(shape=(24, 24))
    d = correlate(a, b, step=8)
    assert d.drow.shape == (3, 3)
    assert not d.good.any()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"window": 31}, "window"),
        ({"window": 6}, "window"),
        ({"window": 64, "coarse": 32}, "coarse"),
        ({"coarse": 512}, "coarse"),
        ({"step": 0}, "step"),
        ({"step": 500}, "step"),
        ({"threads": 0}, "threads"),
        ({"reach": -1}, "reach"),
        ({"valid_reference": np.ones((3, 3), bool)}, "valid_reference"),
        ({"domain": np.ones((192, 192))}, "domain"),
        ({"nodes": (np.array([3.2]), np.array([4.0]))}, "nodes"),
        ({"settings": Settings(weight="best")}, "weight"),
        ({"settings": Settings(instruction_set="abacus")}, "instruction set"),
    ],
)
def test_wrong_arguments_are_named(arguments, word):
    a, b = scene()
    with pytest.raises(ValueError, match=word):
        correlate(a, b, **arguments)


def test_wrong_images_are_named():
    a, b = scene()
    for pair, word in (((a[0], b), "reference"), ((a, b[:-1]), "shape"), ((a + 1j, b), "real")):
        with pytest.raises(ValueError, match=word):
            correlate(*pair)


def test_every_kernel_status_has_its_message():
    assert len(strip_threads.STATUS) == _kernels.status_count()
    assert all(strip_threads.STATUS[1:])


def test_kernel_qualities_are_named():
    assert [q.value for q in Quality][: _kernels.quality_count()] == list(
        range(_kernels.quality_count())
    )
    assert Quality(_kernels.quality_count() - 1) == Quality.AMBIGUOUS


def test_kernel_refuses_what_python_would_not_send():
    """The statuses that callers in C can meet, provoked past the checks in Python."""
    a = np.zeros((200, 200), np.float32)
    i = np.full(1, 100, np.int32)
    none = np.full(1, np.nan, np.float32)
    out, why = np.zeros((7, 1), np.float32), np.zeros(1, np.uint8)
    good = correlator._options(Settings(), 32, 64, np.array([99.5]), np.array([99.5]), 8)

    def status(**change):
        return _kernels.correlate(a, a, i, i, none, none, good | change, out, why, 0, 1)

    assert correlator._fftw.ready()
    assert status() == 0
    assert "windows" in strip_threads.STATUS[status(fine=31)]
    assert "options" in strip_threads.STATUS[status(weight=7)]
    assert "options" in strip_threads.STATUS[status(reach=-1)]
    assert "inside" in strip_threads.STATUS[status(reach=90)]


# ---- strips --------------------------------------------------------------------------------


def in_strips(monkeypatch, least=4):
    """Make every frame a large one, cut into strips of few rows and small blocks."""
    monkeypatch.setattr(frame.Frame.__init__, "__kwdefaults__", {"arrived": None, "whole": 0})
    monkeypatch.setattr(node_field, "_STRIP_PIXELS", 1)
    monkeypatch.setattr(node_field, "_STRIP_ROWS", least)
    monkeypatch.setattr(node_field, "_BLOCK", 7)


def same(one, other):
    return all(
        np.array_equal(getattr(one, f.name), getattr(other, f.name), equal_nan=True)
        for f in fields(one)
    )


@pytest.mark.parametrize(("threads", "least"), [(1, 4), (3, 4), (3, 20)])
@pytest.mark.parametrize(("seed", "shift"), [(4, (29.0, -3.5)), (5, (1.3, 12.2))])
def test_strips_are_the_whole_to_the_bit(monkeypatch, threads, least, seed, shift):
    """Seeds, followers and growth: far shifts at 30 % noise leave nodes to every stage.

    Strips of 20 rows and more end in two pieces, for several threads.
    """
    p = shifted_pair(*shift, seed=seed, shape=(416, 392), noise=0.3)
    a, b = (np.rint(x).astype(np.uint16) for x in (p.reference, p.secondary))
    a[100:230, 60:200] = 0
    b[:, 300:] = b[::-1, 300:].copy()
    a[np.random.default_rng(seed).random(a.shape) < 0.01] = 0  # single ones are interpolated
    labels = (np.add.outer(np.arange(416), np.arange(392)) > 500).astype(np.uint8)
    images = frame.Image(a, fill=0), frame.Image(b, valid=labels >= 0, fill=0)
    whole = correlator.correlate_images(*images)
    apart = correlator.correlate_images(*images, domain=labels)
    by_mask = correlate(a, b, valid_reference=a != 0, valid_secondary=b != 0)
    assert same(whole, by_mask)
    assert len(set(np.unique(whole.quality))) > 2
    in_strips(monkeypatch, least)
    grown = []
    blocks = node_field.NodeField._measure_blocks
    monkeypatch.setattr(
        node_field.NodeField, "_measure_blocks",
        lambda self, i, *rest: (grown.append(i.size), blocks(self, i, *rest)),
    )  # fmt: skip
    assert same(whole, correlator.correlate_images(*images, threads=threads))
    assert sum(grown) > 50  # nodes that were tried again
    assert same(apart, correlator.correlate_images(*images, domain=labels, threads=threads))


def test_matching_begins_before_the_last_row_is_there(monkeypatch):
    in_strips(monkeypatch)
    p = shifted_pair(2.25, -1.5, seed=6, shape=(1600, 160))
    whole = correlate(p.reference, p.secondary)
    images = tuple(np.full(p.reference.shape, np.nan, np.float32) for _ in range(2))
    asked = []

    def arrived(rows):
        asked.append(rows)
        for late, full in zip(images, (p.reference, p.secondary), strict=True):
            late[:rows] = full[:rows]

    d = correlator.correlate_images(*map(frame.Image, images), arrived=arrived)
    assert same(d, whole)
    assert len(set(asked)) > 10
    assert min(asked) <= 512

    def never(rows):
        raise ReadError("read", "x", expected=f"{rows} rows", got="none", hint="none")

    with pytest.raises(ReadError):
        correlator.correlate_images(*map(frame.Image, images), arrived=never, threads=2)


@pytest.mark.parametrize("seed", [3, 4])
def test_nodes_that_are_not_wanted_are_left_out_and_change_nothing(seed):
    """Two nodes inside of what is wanted, neighbours' tests see what they see of the whole."""
    pair = shifted_pair(drow=1.3, dcol=-0.6, seed=seed, shape=(384, 384), noise=0.1)
    whole = correlate(pair.reference, pair.secondary)
    where = np.zeros(whole.drow.shape, bool)
    where[5:19, 22:38] = where[30:44, 3:20] = True
    some = correlate(pair.reference, pair.secondary, where=where)
    assert not some.good[~where].any()
    assert np.isnan(some.drow[~where]).all()
    assert (some.quality[~where] == Quality.OUTSIDE).mean() > 0.95
    inner = np.zeros_like(where)
    inner[7:17, 24:36] = inner[32:42, 5:18] = True
    assert some.good[inner].all()
    for name in ("drow", "dcol", "sigma_row", "sigma_col"):
        apart = getattr(some, name)[inner] - getattr(whole, name)[inner]
        # A node may start from another seed; it settles within `settled`.
        assert np.abs(apart).max() < Settings().settled, name


def test_where_has_the_shape_of_the_nodes():
    image = np.random.default_rng(0).normal(size=(96, 96))
    with pytest.raises(ValueError, match="correlate where: expected the nodes' shape"):
        correlate(image, image, where=np.ones((3, 3), bool))


def test_nodes_without_data_are_named_without_a_search():
    """The reference's window stays where it is: what misses there misses wherever one looks."""
    a, b = scene(seed=51)
    a[:100] = np.nan
    a[100:, :60] = 65535
    d = correlate(a, b, coarse=64)
    missing = d.row < 100 - 16
    assert (d.quality[missing] == Quality.NO_DATA).all()
    full = ((d.row > 116) & (d.row < 176))[:, None] & ((d.col > 16) & (d.col < 44))[None, :]
    assert (d.quality[full] == Quality.SATURATED).all()
