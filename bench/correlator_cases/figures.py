"""Figures for the docs: acceptance, resolution, bias against the fraction of a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=80, bbox_inches="tight")
    plt.close(figure)


def acceptance(result: dict[str, Any], folder: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for case, values in result["evidence"].items():
        (line,) = left.plot(
            result["thresholds"], [max(100 * x, 0.01) for x in values], "o-", label=case
        )
        y = [max(100 * x, 0.01) for x in result["alone"][case]]
        left.plot(result["thresholds"], y, "x--", color=line.get_color(), lw=1)
        for name, style in (("snr", "-"), ("coherence", ":")):
            y = [max(100 * x, 0.01) for x in result["ratio"][name][case]]
            right.plot(result["levels"], y, style, color=line.get_color())
    left.axvline(5.5, color="0.7", lw=1)
    left.annotate("default", (5.5, 0.013), color="0.4", fontsize=8)
    left.set(ylabel="nodes accepted, %")
    left.set_xlabel("evidence asked for (dashed: node alone)")
    left.set_yscale("log")
    left.set_ylim(0.01, 130)
    left.legend(fontsize=8, loc="center right")
    right.set(xlabel="snr (lines), coherence (dots): accepted above")
    right.annotate("0.01 % stands for none", (0.52, 0.011), color="0.4", fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    _save(figure, folder / "correlator_acceptance.png")


def resolution(result: dict[str, Any], folder: Path) -> None:
    figure, axes = plt.subplots(figsize=(8.5, 4))
    for i, (who, r) in enumerate(result.items()):
        waves = [int(w) for w in r["ratio"]]
        ours = who.startswith("hmavel")
        axes.plot(
            waves, list(r["ratio"].values()), "o-" if ours else "--", ms=7 - i if ours else 4,
            lw=3 - 0.6 * i if ours else 1, label=who,
        )
    axes.axhline(1, color="0.7", lw=1)
    axes.set_xscale("log")
    axes.set_xticks(waves, [str(w) for w in waves])
    axes.minorticks_off()
    axes.set(xlabel="wavelength of the displacement, px", ylabel="measured / true amplitude")
    axes.set_ylim(-0.2, 1.3)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _save(figure, folder / "correlator_resolution.png")


def fractions(result: dict[str, Any], folder: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6))
    for who, points in result.items():
        points = sorted(points)
        x, y, se = zip(*points, strict=True)
        if who in ("k-1.2", "pan"):
            left.errorbar(x, y, se, fmt="o", ms=3, lw=1, label=f"hmavel, {who}")
        if who == "pan" or who not in ("k-1.2", "k-2"):
            ours = who == "pan"
            right.plot(
                x, y, "o" if ours else ".", ms=4, color="k" if ours else None,
                label="hmavel" if ours else who, zorder=9 if ours else 1,
            )
    left.axhspan(-0.001, 0.001, color="0.9")
    left.set(xlabel="fraction of the shift, px", ylabel="bias, px (1 % noise)")
    left.legend(fontsize=8)
    right.set_yscale("symlog", linthresh=0.01)
    right.set_ylim(-3, 3)
    right.set(xlabel="fraction of the shift, px (pan texture)")
    right.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    _save(figure, folder / "correlator_bias.png")
