"""What is accepted that should not be, and whether the predicted sigma is true."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from peers import Engine, Field

import hmavel
from correlator_cases import scenes
from correlator_cases.common import DEFAULT, EDGE, Scale, by_hmavel, errors, nmad, score
from hmavel import Quality
from hmavel.correlator import Settings
from hmavel.simulate import shifted_pair
from hmavel.simulate.pairs import STD_DN

SHAPE = (512, 512)
TEXTURES = ("k-1.2", "k-2", "pan")
THRESHOLDS = (3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0)
#: Everything that settles is kept: for the curves of ``snr`` and ``coherence``.
OPEN = Settings(
    min_evidence=-99, known_evidence=-99, max_second=99, max_median=1e9, min_clump=0
)
#: A node's own evidence only: neighbours neither reject it nor ask for its company.
ALONE = Settings(max_median=1e9, min_clump=0)
#: Inner nodes, in units of the default lattice.
INNER = np.s_[6:-6, 6:-6]


def unrelated(seed: int, name: str = "k-1.2", shape: tuple[int, int] = SHAPE) -> Any:
    """Two images that have nothing in common but their spectrum."""
    return (shifted_pair(0, 0, s, shape, name).reference for s in (seed, seed + 5000))


def _cases(scale: Scale) -> dict[str, list[Any]]:
    seeds = range(600, 600 + scale.seeds)
    cases: dict[str, list[Any]] = {"unrelated": [tuple(unrelated(s)) for s in seeds]}
    for noise in (0.1, 0.5, 1.0):
        pairs = [shifted_pair(2.3, -1.6, s, SHAPE, noise=noise) for s in seeds]
        cases[f"noise {noise:.0%}"] = [(p.reference, p.secondary) for p in pairs]
    return cases


def acceptance(scale: Scale, engines: list[Engine]) -> dict[str, Any]:  # noqa: ARG001
    """Shares of nodes accepted, against the thresholds of evidence, snr and coherence."""
    evidence: dict[str, list[float]] = {}
    alone: dict[str, list[float]] = {}
    ratio: dict[str, dict[str, list[float]]] = {"snr": {}, "coherence": {}}
    levels = np.linspace(0.5, 1.0, 51)
    cases = _cases(scale)
    for case, pairs in cases.items():
        kept = [by_open(a, b) for a, b in pairs]
        for name in ratio:
            x = np.concatenate([getattr(d, name)[INNER][d.good[INNER]] for d in kept])
            total = sum(d.good[INNER].size for d in kept)
            ratio[name][case] = [float((x > t).sum() / total) for t in levels]
        for curve, field in ((evidence, DEFAULT), (alone, ALONE)):
            curve[case] = []
            for t in THRESHOLDS:
                known = min(t, DEFAULT.known_evidence)
                s = replace(field, min_evidence=t, known_evidence=known)
                good = [hmavel.correlate(a, b, settings=s).good[INNER] for a, b in pairs[:1]]
                curve[case].append(float(np.mean(good)))
    return {
        "thresholds": list(THRESHOLDS),
        "evidence": evidence,
        "alone": alone,
        "levels": levels.round(3).tolist(),
        "ratio": ratio,
        "default": _by_default(scale),
    }


def by_open(a: np.ndarray, b: np.ndarray) -> Any:
    return hmavel.correlate(a, b, settings=OPEN)


def _by_default(scale: Scale) -> dict[str, Any]:
    """Share that the defaults accept of unrelated images, per texture, and of 10 % noise."""
    rows: dict[str, Any] = {}
    many = 2 if scale.quick else 8
    for name in TEXTURES:
        accepted, total, why = 0, 0, np.zeros(len(Quality), int)
        for seed in range(700, 700 + many):
            d = hmavel.correlate(*unrelated(seed, name))
            accepted += int(d.good[INNER].sum())
            total += d.good[INNER].size
            why += np.bincount(d.quality[INNER].ravel(), minlength=len(Quality))
        rows[f"unrelated {name}"] = {
            "accepted": accepted / total,
            "nodes": total,
            "independent": total // 16,
            "why": {Quality(i).name: int(n) for i, n in enumerate(why) if n},
        }
    for name in TEXTURES:
        p = shifted_pair(-3.4, 5.2, 800, SHAPE, name, 0.1)
        d = hmavel.correlate(p.reference, p.secondary)
        good = d.good[INNER]
        rows[f"noise 10% {name}"] = {"accepted": float(good.mean()), "nodes": good.size}
    return rows


def _fields() -> dict[str, Any]:
    """Images that are not Gaussian: what sparse bright things do to the evidence."""

    def noise(seed: int) -> np.ndarray:
        return np.random.default_rng([seed, 3]).standard_normal(SHAPE)

    def grain(seed: int) -> np.ndarray:
        return scenes.texture(seed, SHAPE) / STD_DN

    def dots(seed: int, part: float) -> np.ndarray:
        return 20.0 * (np.random.default_rng([seed, 4]).random(SHAPE) < part)

    return {
        "lognormal, exp(g)": lambda s: np.exp(grain(s)),
        "lognormal, exp(2 g)": lambda s: np.exp(2 * grain(s)),
        "patches, g > 1, 5 % noise": lambda s: (grain(s) > 1) + 0.05 * noise(s),
        "patches, g > 2, 5 % noise": lambda s: (grain(s) > 2) + 0.05 * noise(s),
        "dots of 20 std on 0.1 % of the pixels": lambda s: grain(s) + dots(s, 0.001),
        "dots of 20 std on 1 % of the pixels": lambda s: grain(s) + dots(s, 0.01),
        "terrain under one sun": lambda s: scenes.moved_sun(s, SHAPE)[0],
    }


def textures(scale: Scale, engines: list[Engine]) -> dict[str, Any]:  # noqa: ARG001
    """What the defaults accept of unrelated images whose brightness is not Gaussian."""
    rows: dict[str, Any] = {}
    for name, field in _fields().items():
        good, unknown, alone = [], 0, []
        for seed in range(1100, 1100 + scale.seeds):
            a, b = field(seed), field(seed + 5000)
            alone.append(hmavel.correlate(a, b, settings=ALONE).good[INNER])
            d = hmavel.correlate(a, b)
            good.append(d.good[INNER])
            unknown += int((d.good & ~np.isfinite(d.sigma_row + d.sigma_col)).sum())
        rows[name] = {
            "accepted": float(np.mean(good)),
            "alone": float(np.mean(alone)),
            "nodes": int(np.size(good)),
            "good_without_sigma": unknown,
        }
    return rows


def holes(scale: Scale, engines: list[Engine]) -> dict[str, Any]:  # noqa: ARG001
    """Masked pixels: what they do to a shift of (2.3, -1.6) px at 5 % noise."""
    moved = 2.3, -1.6
    rows: dict[str, Any] = {}
    for part, side in ((0.01, 1), (0.05, 1), (0.2, 1), (0.1, 4), (0.2, 8), (0.2, 32)):
        for kind in ("own in each image", "common"):
            e, z = [], []
            for seed in range(1200, 1200 + scale.seeds):
                p = shifted_pair(*moved, seed, SHAPE, noise=0.05)
                rng = np.random.default_rng([seed, 5])
                small = (SHAPE[0] // side, SHAPE[1] // side)
                masks = [
                    np.kron(rng.random(small) >= part, np.ones((side, side))) > 0
                    for _ in range(2)
                ]
                if kind == "common":
                    masks[1] = masks[0]
                images = [
                    np.where(m, x, np.nan)
                    for m, x in zip(masks, (p.reference, p.secondary), strict=True)
                ]
                e.append(errors(by_hmavel(*images), SHAPE, *moved))
                z.append(_standardised(*images, *moved)[0])
            one = np.concatenate(z)
            spread = nmad(one[np.isfinite(one)])
            key = f"{part:.0%} of the pixels, {side} px blocks, {kind}"
            rows[key] = score(np.concatenate(e, axis=1)) | {"spread": spread}
    return rows


def sigma(scale: Scale, engines: list[Engine]) -> dict[str, Any]:  # noqa: ARG001
    """Robust spread of error / predicted sigma; 1 is right, below 1 sigma is too large."""
    rows: dict[str, Any] = {}

    def add(key: str, standardised: list[np.ndarray], sig: list[np.ndarray]) -> None:
        z, s = np.concatenate(standardised), np.concatenate(sig)
        ok = np.isfinite(z)
        rows[key] = {
            "spread": nmad(z[ok]) if ok.sum() > 50 else None,
            "beyond_3": float((np.abs(z[ok]) > 3).mean()) if ok.any() else None,
            "reported": float(ok.mean()),
            "sigma_px": float(np.median(s[ok])) if ok.any() else None,
        }

    seeds = range(900, 900 + scale.seeds)
    noises = (0.01, 0.1, 0.5) if scale.quick else (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    for name in TEXTURES:
        for noise in noises:
            z, s = [], []
            for seed in seeds:
                moved = 0.4 + 0.37 * (seed % 7), -1.3
                p = shifted_pair(*moved, seed, SHAPE, name, noise)
                one, sig = _standardised(p.reference, p.secondary, *moved)
                z.append(one), s.append(sig)
            add(f"{name} {noise:.0%}", z, s)
    for rate in (0.005, 0.01, 0.02, 0.05):
        profile = partial(_linear, rate=rate)
        z, s = [], []
        for seed in seeds:
            a, b = scenes.sheared(profile, seed, SHAPE, 0.05)
            one, sig = _standardised(a, b, profile, 0.0)
            z.append(one), s.append(sig)
        add(f"shear {rate:g} px/px, 5%", z, s)
    return rows


def _linear(col: np.ndarray, rate: float) -> np.ndarray:
    return rate * (col - SHAPE[1] / 2)


def _standardised(
    a: np.ndarray, b: np.ndarray, drow: Any, dcol: Any
) -> tuple[np.ndarray, np.ndarray]:
    d = hmavel.correlate(a, b)
    e = errors(Field(d.row, d.col, d.drow, d.dcol), a.shape, drow, dcol, EDGE)
    keep = (d.row >= EDGE) & (d.row <= a.shape[0] - 1 - EDGE)
    cols = (d.col >= EDGE) & (d.col <= a.shape[1] - 1 - EDGE)
    sig = np.stack([x[np.ix_(keep, cols)].ravel() for x in (d.sigma_row, d.sigma_col)])
    return (e / sig).ravel(), sig.ravel()

