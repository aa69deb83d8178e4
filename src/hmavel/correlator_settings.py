"""What the correlator's kernel can be told beyond the windows."""

from __future__ import annotations

from dataclasses import dataclass

#: What the kernel is told; "noise" is what tiles make of "cross", see noise_weights.
WEIGHTS = {"white": 0, "half": 1, "cross": 2, "noise": 1}


#: Pixels along either axis that interpolation makes a value of: the kernel's HMK_TAPS, to which
#: a test holds it, for configurations are read without the kernel.
TAPS = 12


def usual_pinned(taper: float) -> float:
    """Return the share of a shift that a taper hides of a bin at |k| = 1, for power k^-2.4.

    The first order of `hidden_shift`; tiles that noise has touched know better.
    """
    return 2.4 / (16 * taper * (1 - 1.25 * taper))


def seen_around(window: int, coarse: int, reach: int, *, interpolate: bool) -> int:
    """Return the pixels around a node that the kernel may look at."""
    return max(window + interpolate * TAPS, coarse) // 2 + reach + 2


@dataclass(frozen=True)
class Settings:
    """What the kernel can be told beyond the windows. The defaults are those of the method.

    ``sigma_scale`` and ``min_evidence`` are calibrated on simulated pairs (docs/method.md);
    they hold for these tapers and weights.
    """

    coarse_taper: float = 0.35  #: share of the coarse window that falls off at each end
    fine_taper: float = 0.5  #: the same for the fine window; 0.5 = Hann
    last_taper: float = 0.25  #: the same for the re-windowed passes
    noisy_taper: float = 0.1  #: the same in tiles of strong noise; see noise_weights
    noisy_from: float = 0.07  #: px; noise is strong where no match could be surer than this
    #: The re-windowed passes interpolate the secondary to where the fit stands, instead of
    #: moving its taper, and see 6 px more to every side; where one of those misses the taper
    #: moves after all. With weight "noise" their taper is ``noisy_taper``, but on smooth snow.
    interpolate: bool = False
    weight: str = "half"  #: frequency weights: "white", "half", "cross" or "noise"
    drowned: bool = True  #: with "half": less weight to wave numbers that noise has drowned
    robust: int = 1  #: rounds of robust reweighting
    rewindow: int = 4  #: passes with the sub-pixel shifted window, at most; 0 = one pass in all
    settled: float = 0.005  #: px; re-windowing ends when a fit moves the window less
    settled_sigmas: float = 2.0  #: or by less than so many of its own standard deviations
    min_valid: float = 0.6  #: share of each fine window that must be valid
    min_evidence: float = 5.5  #: accept a match above this; see docs/method.md
    known_evidence: float = 4.0  #: or this, where neighbours or the coarse window vouch for it
    guess_evidence: float = 6.5  #: keep what neighbours led to above this, else search
    unpin: float = 1.025  #: a fit moves too little by what the taper pins; stretch its moves
    max_second: float = 0.85  #: refuse a match whose rival reaches this share of its height
    max_shared: float = 0.4  #: refuse a match whose window shows a neighbour's as well as this
    min_share: float = 0.6  #: ... or, beside one, whose cosine falls below this of the others'
    sigma_scale: float = 0.9  #: calibration of the predicted sigma
    sigma_floor: float = 0.0005  #: px; what interpolation and rounding leave
    sigma_centre: float = 0.32  #: px; how well a window's own centre of texture is known
    max_median: float = 4.0  #: normalised median test: refuse above
    max_step: float = 2.0  #: px; neighbours that differ by more do not hang together
    min_clump: float = 1.25  #: refuse clumps of good nodes smaller than this many fine windows
    fftw_only: bool = False  #: leave the kernels' own transforms aside
    instruction_set: str | None = None  #: None = the widest this processor runs


DEFAULT = Settings()
#: For ground that moves as one, with noise like that of a sensor: the least error of all, 1.2
#: times what is possible, less detail, and more wrong nodes at margins (docs/benchmarks.md).
LIKELIEST = Settings(
    weight="noise", robust=0, interpolate=True, last_taper=0.1, noisy_taper=0.03,
    noisy_from=0.025, sigma_scale=0.93, sigma_centre=0.4,
)  # fmt: skip
