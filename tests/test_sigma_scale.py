"""Scaled sigmas: true on the ground they were read from, class by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hmavel import Displacement, correlate, fit_bias
from hmavel.core import core_scatter
from hmavel.errors import StableGroundError
from hmavel.simulate.noise import mtf
from hmavel.uncertainty import fit_sigma_scale, scale_sigma

NMAD = 1.4826


def pair(seed: int, *, outliers: float = 0.1) -> tuple[Displacement, np.ndarray, np.ndarray]:
    """Nodes whose true error is a floor of 0.06 px and 1.5 times (rows) the prediction."""
    rng = np.random.default_rng(seed)
    shape = (150, 160)
    predicted = np.exp(rng.normal(np.log(0.05), 0.6, shape))
    true = np.stack([np.hypot(0.06, 1.5 * predicted), np.hypot(0.03, predicted)], axis=-1)
    y = true * rng.normal(size=(*shape, 2)) + np.array([0.004, -0.003])
    false = rng.random(shape) < outliers
    y[false] = rng.uniform(-4, 4, (false.sum(), 2))
    stable = np.zeros(shape, bool)
    stable[:, :80] = True
    one = np.ones(shape, np.float32)
    p = predicted.astype(np.float32)
    d = Displacement(
        y[..., 0].astype(np.float32), y[..., 1].astype(np.float32), p, p.copy(), one, one,
        np.zeros(shape, np.uint8), 8.0 * np.arange(150), 8.0 * np.arange(160),
    )  # fmt: skip
    return d, stable, true


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_scaled_sigmas_are_the_true_errors_elsewhere(seed: int, outliers: float) -> None:
    d, stable, true = pair(seed, outliers=outliers)
    scaled = scale_sigma(d, stable)
    ratio = np.stack([scaled.sigma_row, scaled.sigma_col], axis=-1) / true
    elsewhere = ratio[~stable]
    # deciles of the prediction, on nodes that the fit has not seen
    order = np.argsort(d.sigma_row[~stable])
    for part in np.array_split(order, 10):
        assert np.median(elsewhere[part], axis=0) == pytest.approx([1, 1], abs=0.12)


def test_standardised_residuals_have_unit_spread() -> None:
    d, stable, _ = pair(2, outliers=0.0)
    scaled = scale_sigma(d, stable)
    for value, sigma in ((d.drow, scaled.sigma_row), (d.dcol, scaled.sigma_col)):
        z = ((value - np.median(value)) / sigma)[~stable]
        assert NMAD * np.median(np.abs(z)) == pytest.approx(1.0, abs=0.05)


def test_nothing_else_changes() -> None:
    d, stable, _ = pair(3)
    holed = replace(d, sigma_row=np.where(d.sigma_row > 0.1, np.nan, d.sigma_row))
    scaled = scale_sigma(holed, stable)
    assert scaled.drow is holed.drow
    np.testing.assert_array_equal(np.isnan(scaled.sigma_row), np.isnan(holed.sigma_row))
    assert scaled.sigma_row.dtype == holed.sigma_row.dtype


def test_little_ground_has_one_class_and_too_little_is_said() -> None:
    d, stable, _ = pair(4)
    few = np.zeros_like(stable)
    few[:15, :15] = True
    assert fit_sigma_scale(d, few).factor_row.size == 1
    few[:] = False
    few[:5, :5] = True
    with pytest.raises(StableGroundError, match=r"expected 100 stable nodes .* got 25"):
        scale_sigma(d, few)
    with pytest.raises(ValueError, match="expected a bool array"):
        scale_sigma(d, stable[1:])


def test_nodes_of_one_value_say_nothing_of_errors() -> None:
    d, stable, _ = pair(5)
    frozen = np.full_like(d.drow, 0.25)
    with pytest.raises(StableGroundError, match=r"differ by .* got such in 0 classes"):
        scale_sigma(replace(d, drow=frozen), stable)
    # An image with itself: not one value, but nearly.
    nearly = 1e-8 * d.drow
    with pytest.raises(StableGroundError, match="matched with itself"):
        scale_sigma(replace(d, drow=nearly, dcol=nearly), stable)
    # Of the least sigmas alone: their class is left out, the others are as they were.
    least = d.sigma_row < np.quantile(d.sigma_row[stable], 0.06)
    scaled = scale_sigma(replace(d, drow=np.where(least, 0.25, d.drow)), stable)
    assert (scaled.sigma_row > 0).all()
    assert (scaled.sigma_col > 0).all()
    away = d.sigma_row > np.quantile(d.sigma_row[stable], 0.3)
    same = scaled.sigma_row[away] / scale_sigma(d, stable).sigma_row[away]
    assert same == pytest.approx(1.0, abs=0.05)


def glacier_of_many_textures(
    seed: int, noise: float, shading: float, side: int, *, sharp: bool = False
) -> tuple[Displacement, np.ndarray, np.ndarray, np.ndarray]:
    """Match images whose contrast varies tenfold; return nodes, truth (row), ground, ice.

    A plug of ice moves 4 px down between bare ground, on both of which every contrast occurs;
    ``shading`` is a smooth texture that stands still and turns its sign, as a moved sun does;
    ``sharp`` images are seen through the sensor's transfer function, of 0.2 at Nyquist.
    """
    rng = np.random.default_rng(seed)
    fr, fc = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    k = np.hypot(fr, fc)
    k[0, 0] = np.inf

    def texture(power: float) -> np.ndarray:
        t = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) * k**-power)
        return np.asarray(t / t.std())

    rank = texture(3.0).ravel().argsort().argsort().reshape(side, side) / side**2
    image = texture(1.2) * 0.15 * 10**rank
    if sharp:
        image = np.fft.irfft2(np.fft.rfft2(image) * mtf(fr) * mtf(fc))
    col = np.arange(side)
    moves = (col > 0.3 * side) & (col < 0.7 * side)
    down = np.where(moves, 4.3, 0.3)
    turned = np.exp(-2j * np.pi * np.fft.rfftfreq(side)[:, None] * down)
    second = np.fft.irfft(np.fft.rfft(image, axis=0) * turned, n=side, axis=0)
    light = shading * texture(2.0)
    a, b = (
        (8000 + 800 * (m + noise * rng.normal(size=m.shape))).astype(np.float32)
        for m in (image + light, second - light)
    )
    d = correlate(a, b)
    at = np.rint(d.col).astype(int)
    margin = np.flatnonzero(np.diff(moves))
    clear = np.abs(at[:, None] - margin).min(axis=1) > 20  # no window across the margin
    inside = [(axis > 48) & (axis < side - 48) for axis in (d.row, d.col)]
    whole = np.outer(*inside)  # windows at the border are cut
    truth = down[at] * np.ones(whole.shape)
    return d, truth, whole & (~moves[at] & clear), whole & (moves[at] & clear)


def decile_widths(
    seeds: range, noise: float, shading: float, side: int, *, sharp: bool = False
) -> dict[str, np.ndarray]:
    """Width (10, 2) of the standardised errors of each decile of sigma, all seeds together.

    The classes are made on every other strip of the ground, "ground" is the rest.
    """
    z: dict[str, list[np.ndarray]] = {"ground": [], "ice": []}
    for seed in seeds:
        d, truth, ground, ice = glacier_of_many_textures(
            seed, noise, shading, side, sharp=sharp
        )
        other = np.arange(len(d.row))[:, None] // 12 % 2 == 0
        bias = fit_bias(d, ground & other, model="constant")
        scaled = scale_sigma(bias.corrected, ground & other)
        row = (scaled.drow + bias.drow - truth) / scaled.sigma_row
        col = scaled.dcol / scaled.sigma_col
        size = scaled.sigma_row * scaled.sigma_col
        for name, where in (("ground", ground & ~other), ("ice", ice)):
            on = where & d.good
            z[name].append(np.stack([row[on], col[on], size[on]]))
    out = {}
    for name, parts in z.items():
        rows, cols, size = np.concatenate(parts, axis=1)
        deciles = np.array_split(np.argsort(size), 10)
        out[name] = np.array([core_scatter(rows[i], cols[i]).sigma for i in deciles])
    return out


def test_real_matches_have_unit_spread_on_ice_and_on_ground() -> None:
    for name, widths in decile_widths(range(2), 0.1, 0.05, 640).items():
        assert widths.mean(axis=0) == pytest.approx([1, 1], abs=0.1), name


@pytest.fixture(scope="module", params=[(0.1, 0.0), (0.1, 0.05), (0.03, 0.0)], ids=str)
def many(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """Return the deciles of twelve pairs; a decile's width is known to about 0.03."""
    return decile_widths(range(10, 22), *request.param, 1024)


@pytest.mark.slow
def test_every_decile_has_unit_spread_on_ground(many: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(many["ground"], 1.0, atol=0.1)


@pytest.mark.slow
def test_ice_has_unit_spread(many: dict[str, np.ndarray]) -> None:
    assert many["ice"].mean(axis=0) == pytest.approx([1, 1], abs=0.1)


@pytest.mark.slow
def test_every_decile_has_unit_spread_on_ice(many: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(many["ice"], 1.0, atol=0.1)


@pytest.mark.slow
def test_the_largest_sigmas_of_noisy_sharp_images_are_not_far_too_large() -> None:
    """Where noise is strong the largest predictions err least beyond their neighbours."""
    for name, widths in decile_widths(range(10, 22), 0.3, 0.0, 1024, sharp=True).items():
        # known to about 0.05; with classes three times as wide the last decile had 0.82
        np.testing.assert_allclose(widths, 1.0, atol=0.15, err_msg=name)
