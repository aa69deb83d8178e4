"""What tiles learn of a pair's noise: against sums made slowly, and for what it is good."""

from __future__ import annotations

import numpy as np
import pytest
import reference as twin

from hmavel import _fftw, _kernels
from hmavel.correlator import Settings, _options, correlate
from hmavel.frame import Frame, Image
from hmavel.hidden_shift import hidden_shares
from hmavel.noise_weights import NoiseWeights, band_count
from hmavel.simulate import shifted_pair

INNER = np.s_[6:-6, 6:-6]
NOISE = Settings(weight="noise", robust=0, last_taper=0.1)


def errors(d, drow, dcol):
    return np.stack([d.drow[INNER] - drow, d.dcol[INNER] - dcol])


def slow_sums(a, b, row, col, shift, n=32, beta=0.25):
    """Coherent part and power of both windows over rings, one node, in float64."""
    first = int(row - n // 2), int(col - n // 2)
    valid = np.ones((n, n), bool)
    windows = [
        twin.tapered(x, valid, first, n, (n / 2, n / 2), s, beta)
        for x, s in ((a, (0.0, 0.0)), (b, shift))
    ]
    s = twin.spectrum(*windows, "half")
    d, _, _ = twin.fit(s, shift, 0)
    kr, kc, use = twin.bins(n)
    fa, fb = (np.fft.fft2(w)[use] for w in windows)
    turned = fa * np.conj(fb) * np.exp(-2j * np.pi / n * (kr[use] * d[0] + kc[use] * d[1]))
    ring = (np.hypot(kr, kc)[use] + 0.5).astype(int)
    parts = turned.real, np.abs(fa) ** 2, np.abs(fb) ** 2
    return np.stack([np.bincount(ring, x, band_count(n)) for x in parts])


@pytest.mark.parametrize("fftw_only", [False, True])
@pytest.mark.parametrize("isa", [None, *list(_kernels.instruction_sets())[1:]])
def test_sums_over_rings_equal_slow_ones(isa, fftw_only):
    _fftw.ready()
    p = shifted_pair(0.3, -0.2, seed=3, shape=(128, 128), noise=0.3)
    frame = Frame(Image(p.reference), Image(p.secondary), (0, 0), (128, 128))
    part = frame.part((0, 128), (0, 128))
    places = [np.array([x, y], np.int32) for x, y in ((60, 64), (58, 70))]
    guess = [np.full(2, x, np.float32) for x in (0.3, -0.2)]
    options = _options(Settings(fftw_only=fftw_only), 32, 64, np.arange(2), np.arange(2), 32)
    sums = np.empty((3, 2, band_count(32)), np.float32)
    assert _kernels.coherence(part.a, part.b, *places, *guess, options, sums, isa) == 0
    for node in range(2):
        slow = slow_sums(
            part.a.astype(float), part.b.astype(float),
            places[0][node], places[1][node], (0.3, -0.2),
        )  # fmt: skip
        # Single precision, and three Newton steps where the twin takes all.
        np.testing.assert_allclose(sums[:, node], slow, rtol=2e-4, atol=2e-5 * slow.max())


def test_coherence_of_known_noise_comes_back():
    """White noise in white texture: every ring has the coherence S / (S + n)."""
    rng = np.random.default_rng(0)
    bands, nodes = band_count(32), 16
    count = np.arange(bands)
    a, b = np.ones((2, nodes, bands)) * count
    coherent = 0.5 * count * np.ones((nodes, 1)) + 0.01 * rng.standard_normal((nodes, bands))
    w = NoiseWeights(
        16, 128, 1, 32, likely=False, last_taper=0.25, noisy_taper=0.1, noisy_from=0.07
    )
    i = np.zeros(nodes, int)
    w.learn(i, i, np.stack([coherent, a, b]).astype(np.float32))
    gain, inverse, heard = w.gains[0].reshape(-1, 3).T
    assert gain == pytest.approx(0.5, abs=0.01)
    assert gain * inverse == pytest.approx(1, abs=1e-5)
    assert (heard**2).sum() == pytest.approx(2, rel=1e-4)
    # The half plane without its mean: what the kernel leaves out counts as nothing.
    assert (heard == 0).sum() == 15 + 15 - 1 + 1


@pytest.mark.parametrize("seed", [81, 82])
def test_what_noise_has_drowned_does_not_disturb(seed):
    p = shifted_pair(1.3, -0.6, seed=seed, texture="pan", noise=0.3)
    found = {}
    for name, s in (("all", Settings(drowned=False)), ("less", Settings()), ("most", NOISE)):
        d = correlate(p.reference, p.secondary, settings=s)
        e = errors(d, 1.3, -0.6)
        assert d.good[INNER].mean() > 0.99
        found[name] = np.sqrt(np.nanmean(e**2))
    # 2.9, 1.5 and 1.2 bounds of Cramér and Rao on other seeds.
    assert found["less"] < 0.7 * found["all"]
    assert found["most"] < 0.55 * found["all"]


def test_strong_noise_makes_no_gross_errors_and_sigma_knows_it():
    """50 % on a sharp sensor's images: at most one reported node in 1000 is off by 1 px."""
    e, z, nodes = [], [], 0
    for seed in (94, 95, 96, 97):
        p = shifted_pair(1.3, -0.6, seed=seed, texture="pan", noise=0.5)
        d = correlate(p.reference, p.secondary)
        found = errors(d, 1.3, -0.6)
        e.append(found[:, d.good[INNER]])
        z.append(found / np.stack([d.sigma_row[INNER], d.sigma_col[INNER]]))
        nodes += found[0].size
    e = np.concatenate(e, axis=1)
    assert e.shape[1] >= 0.99 * nodes
    assert (np.abs(e) > 1).any(axis=0).mean() <= 0.001
    # Some 700 free windows: the spread is known to 3 %.
    assert 0.85 < 1.4826 * np.nanmedian(np.abs(np.stack(z))) < 1.15


@pytest.mark.parametrize("seed", [98, 99])
def test_noise_is_not_taken_for_coherence(monkeypatch, seed):
    """What a fit makes coherent of pure noise is left out: where nothing else is, too."""
    p = shifted_pair(0.3, 0.4, seed=seed, shape=(384, 512), texture="pan", noise=0.5)
    learnt = []
    plain = NoiseWeights.learn

    def learn(self, i, j, sums, *, again=False):
        high = sums[:, :, 12:].sum(axis=(1, 2))
        learnt.append((again, high[0] / np.sqrt(high[1] * high[2])))
        plain(self, i, j, sums, again=again)

    monkeypatch.setattr(NoiseWeights, "learn", learn)
    correlate(p.reference, p.secondary)
    first, second = (np.mean([x for again, x in learnt if again == a]) for a in (False, True))
    # The truth is 0.01; three tiles' 144 windows tell it to 0.006.
    assert first > 0.06
    assert second < 0.5 * first
    assert second < 0.04


def test_samples_stay_where_others_miss():
    """A node without a guess gives its place to the next; all others stay."""
    w = NoiseWeights(
        16, 128, 1, 32, likely=False, last_taper=0.25, noisy_taper=0.1, noisy_from=0.07
    )
    i, j = (x.ravel() for x in np.meshgrid(*2 * [np.arange(0, 64, 4)], indexing="ij"))
    chosen = w.samples(i, j)
    assert np.bincount(w.tile(i[chosen], j[chosen])).tolist() == [16] * 4
    there = np.ones(i.size, bool)
    there[chosen[3]] = False
    fewer = np.flatnonzero(there)[w.samples(i[there], j[there])]
    assert len(set(chosen) - set(fewer)) == 1
    # Evenly: no quarter of a tile's columns without one, none with half of them.
    counts = np.bincount(j[chosen] // 16, minlength=4)
    assert counts.min() >= 8
    assert counts.max() <= 24


def test_clear_pairs_stay_as_they_are():
    p = shifted_pair(1.3, -0.6, seed=83, noise=0.02)
    one, other = (
        correlate(p.reference, p.secondary, settings=Settings(drowned=x)) for x in (True, False)
    )
    np.testing.assert_array_equal(one.drow, other.drow)


def test_unrelated_images_are_refused_with_weights_of_noise_too():
    a = shifted_pair(0, 0, seed=84, shape=(384, 384), texture="pan").reference
    b = shifted_pair(0, 0, seed=85, shape=(384, 384), texture="pan").reference
    assert correlate(a, b, settings=NOISE).good.mean() <= 0.001


def test_few_nodes_teach_nothing():
    p = shifted_pair(0.4, 0.2, seed=86, shape=(128, 128), noise=0.5)
    centres = np.array([60.0, 68.0])
    one, other = (
        correlate(p.reference, p.secondary, nodes=(centres, centres), settings=s)
        for s in (Settings(), Settings(drowned=False))
    )
    np.testing.assert_array_equal(one.drow, other.drow)


@pytest.mark.parametrize("threads", [1, 3])
def test_strips_and_threads_do_not_change_a_bit(monkeypatch, threads):
    p = shifted_pair(2.3, -1.6, seed=87, shape=(384, 300), texture="pan", noise=0.3)
    whole = correlate(p.reference, p.secondary)
    monkeypatch.setattr(Frame.__init__, "__kwdefaults__", {"arrived": None, "whole": 0})
    monkeypatch.setattr("hmavel.node_field._STRIP_PIXELS", 1)
    monkeypatch.setattr("hmavel.node_field._STRIP_ROWS", 16)
    cut = correlate(p.reference, p.secondary, threads=threads)
    for name in ("drow", "dcol", "sigma_row", "sigma_col", "quality"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(cut, name))


def test_sigma_grows_with_the_strain():
    """A window knows its own middle to 0.32 px; a strain makes an error of that."""
    rng = np.random.default_rng(88)
    waves = rng.uniform(-2.6, 2.6, (400, 2)), rng.uniform(0, 2 * np.pi, 400)
    row, col = np.mgrid[:256, :256].astype(float)

    def scene(row, col):
        (k, phase) = waves
        return sum(np.cos(a * row + b * col + p) for (a, b), p in zip(k, phase, strict=True))

    a, b = scene(row, col), scene(128 + (row - 128) / 1.02, col)
    with_, without = (
        correlate(a, b, settings=Settings(sigma_centre=x)) for x in (0.32, 0.0)
    )
    more = [
        np.nanmedian(np.sqrt(a[INNER] ** 2 - b[INNER] ** 2))
        for a, b in (
            (with_.sigma_row, without.sigma_row), (with_.sigma_col, without.sigma_col)
        )
    ]  # fmt: skip
    assert more[0] == pytest.approx(0.32 * 0.02, rel=0.05)
    assert more[1] == pytest.approx(0.16 * 0.02, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.01, 0.05])
@pytest.mark.parametrize("kind", ["shear", "dilation", "rotation"])
def test_sigma_holds_under_strain(kind, noise):
    """Nine seeds that nothing was decided on; 500 nodes of each have 30 windows."""
    rates = 3 * (0.01, 0.02, 0.05)
    z = [strained(kind, rate, noise, seed) for seed, rate in enumerate(rates, 711)]
    spread = [1.4826 * np.median(np.abs(np.concatenate(one))) for one in zip(*z, strict=True)]
    assert spread == pytest.approx([1, 1], abs=0.15)
    assert np.mean(spread) == pytest.approx(1, abs=0.1)


def strained(kind, rate, noise, seed, n=256):
    """Return standardised errors of rows and columns in the middle of an evenly strained pair.

    Waves of k^-1.2, evenly spread over ln k, are evaluated where the ground is: nothing is
    interpolated.
    """
    rng = np.random.default_rng(seed)
    k = np.exp(rng.uniform(np.log(2 * np.pi / n), np.log(2.9), 1500))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, k.size))
    size = k**-0.2  # amplitude k^-1.2, and k² d(ln k) waves to each k
    middle = (n - 1) / 2
    y, x = np.mgrid[:n, :n] - middle
    strain = {
        "shear": [[0, rate], [0, 0]],
        "dilation": [[rate, 0], [0, 0]],
        "rotation": [[0, rate], [-rate, 0]],
    }[kind]

    def scene(y, x):
        out = np.zeros(y.shape)
        for a, k_, t, p in zip(size, k, angle, phase, strict=True):
            out += a * np.cos(k_ * (np.sin(t) * y + np.cos(t) * x) + p)
        return out / np.sqrt(0.5 * (size**2).sum())

    back = np.linalg.inv(np.eye(2) + strain)
    (rr, rc), (cr, cc) = back
    a, b = (
        (8000 + 800 * (image + noise * rng.standard_normal(image.shape))).astype(np.float32)
        for image in (scene(y, x), scene(rr * y + rc * x, cr * y + cc * x))
    )
    d = correlate(a, b)
    y, x = np.meshgrid(d.row - middle, d.col - middle, indexing="ij")
    inner = (np.abs(y) < middle - 40) & (np.abs(x) < middle - 40) & d.good
    (rr, rc), (cr, cc) = strain
    return (
        ((d.drow - rr * y - rc * x) / d.sigma_row)[inner],
        ((d.dcol - cr * y - cc * x) / d.sigma_col)[inner],
    )


@pytest.mark.parametrize(("weight", "power"), [("half", 0.5), ("cross", 1.0)])
@pytest.mark.parametrize("taper", [0.1, 0.25])
def test_a_pass_leaves_what_its_taper_hides(taper, weight, power):
    """One fit from 0.2 px beside the truth, either way, against the sum over what bins hide."""
    k = np.arange(15)
    square = np.add.outer(k**2, k**2).astype(float)
    w = np.where(square > 0, np.maximum(square, 1) ** (-1.2 * power), 0.0)
    w[1:, 1:] *= 2  # the half plane holds either sign of these
    share = (w * square * hidden_shares(32, taper, 2.4)).sum() / (w * square).sum()
    once = Settings(
        weight=weight, drowned=False, robust=0, rewindow=1, unpin=1.0, last_taper=taper,
        known_evidence=-99, min_evidence=-99,
    )  # fmt: skip
    left = []
    for seed in (101, 102):
        p = shifted_pair(1.3, -0.6, seed=seed, noise=0.001)
        at = np.full((64, 64), 1.3), np.full((64, 64), -0.6)
        ends = [
            correlate(p.reference, p.secondary, start=(at[0] + r, at[1]), settings=once).drow
            for r in (0.2, -0.2)
        ]
        left.append(np.nanmedian((ends[0] - ends[1])[INNER]) / 0.4)
    # The sum is over the mean texture's spectrum; 0.012 to 0.07, known to a fifth and 0.005.
    assert np.mean(left) == pytest.approx(share, rel=0.2, abs=0.005)


@pytest.mark.parametrize("noise", [0.005, 0.02])
def test_sigma_of_smooth_snow(noise):
    """k^-2: of what is left of it a taper hides a good part, which sigma has to know."""
    z = []
    for seed in (103, 104, 105):
        p = shifted_pair(1.3, -0.6, seed=seed, texture="k-2", noise=noise)
        d = correlate(p.reference, p.secondary)
        sigma = np.stack([d.sigma_row[INNER], d.sigma_col[INNER]])
        z.append(errors(d, 1.3, -0.6) / sigma)
    # Some 500 free windows: known to 4 %.
    assert 0.85 < 1.4826 * np.nanmedian(np.abs(np.stack(z))) < 1.15
