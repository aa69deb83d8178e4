"""Which wave numbers a pair still shares, tile by tile, and the weights that follow from it.

Noise drowns high wave numbers first, a moved sun spoils low ones. One window says too vaguely
how much is left of which; windows of a tile say it together (docs/method.md, "Noise").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hmavel.hidden_shift import hidden_shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLES", "NoiseWeights", "band_count"]

#: Nodes of a tile whose windows are looked at, and the fewest that say something.
SAMPLES, _LEAST = 16, 4
#: Where noise matters, so many are looked at again, with weights: from this part on of the
#: sigma where the flatter taper begins.
MORE, _DOUBTFUL = 48, 0.5
#: The nodes' turn to be looked at, modulo 1, grows by this along rows and columns: the first of
#: them lie evenly, however many they are (the generalised golden ratio).
_TURN = 0.7548776662466927, 0.5698402909980532
#: The flatter taper is reached at so many times the sigma where it begins.
_WHOLLY = 1.5
#: Rings whose coherence is lower than this count as if it were this.
_FLOOR = 0.01
#: A tile where no ring is more coherent than this shows no match: it has no say.
_BLIND = 0.3
#: Where all are more coherent than this the weights would hardly change.
_CLEAR = 0.6
#: Where the power falls faster, k^-s, bins count by what the taper lets them show of a shift,
#: and the taper stays: what noise leaves of smooth snow are a few long waves, and a taper hides
#: much of their shift.
_STEEP = 3.2
#: Radii that the slope is taken from: below, a window shows its taper; above, noise.
_SLOPE_FROM, _SLOPE_TO = 2, 6
#: No texture falls less, or more.
_SLOPES = 1.0, 4.5
#: Rings are smoothed over so many bins (standard deviation): low ones hold few.
_SMOOTH = 0.8


def band_count(window: int) -> int:
    """Count the rings of bins of a window: radius 0 to the corner of its half plane."""
    return int(np.hypot(window // 2 - 2, window // 2 - 2) + 0.5) + 1


@dataclass(frozen=True)
class _Rings:
    """The rings of a window, from radius 1, and its bins in the kernel's order."""

    count: NDArray[np.float64]  #: bins of each ring
    smooth: NDArray[np.float64]  #: (rings, rings): neighbours by distance and number of bins
    low: NDArray[np.intp]  #: of each bin the ring below ...
    part: NDArray[np.float64]  #: ... and how far it lies above that
    square: NDArray[np.float64]  #: of each bin |k|²
    used: NDArray[np.float64]  #: 0 for the mean and for what the other half plane repeats
    fall: NDArray[np.float64]  #: (rings,): makes the slope of a line of ring values in ln k

    def slope(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return s of the spectrum k^-s nearest to sums of power over rings."""
        level = np.log(np.maximum(power / self.count, 1e-30))
        return np.asarray(-(level * self.fall).sum(axis=1))

    def least_sigma(self, c: NDArray[np.float64], window: int) -> NDArray[np.float64]:
        """Return the bound of Cramér and Rao, px, of one component of a flat window's shift."""
        turn = (2 * np.pi / window * np.arange(1, len(self.count) + 1)) ** 2
        return np.asarray((self.count * turn * c**2 / (1 - c**2)).sum(axis=1) ** -0.5)

    def smoothed(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Smooth (tiles, rings) along the rings."""
        return np.asarray((x[:, None, :] * self.smooth).sum(axis=2))

    def at_bins(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate (tiles, rings) to the bins."""
        return np.asarray((1 - self.part) * x[:, self.low] + self.part * x[:, self.low + 1])


@cache
def _rings(window: int) -> _Rings:
    top = window // 2 - 1
    k = np.arange(top)
    radius = np.repeat(np.hypot(k[:, None], k[None, :]).ravel(), 2)
    used = np.ones((top, top, 2))
    used[:, 0, 1] = used[0, :, 1] = used[0, 0, 0] = 0.0
    which = (radius + 0.5).astype(int)
    count = np.zeros(band_count(window))
    np.add.at(count, which, used.ravel())
    count = count[1:]
    rings = np.arange(1, len(count) + 1)
    near = np.exp(-0.5 * ((rings[:, None] - rings[None, :]) / _SMOOTH) ** 2) * count
    at = np.clip(radius, 1, len(count)) - 1
    low = np.minimum(at.astype(int), len(count) - 2)
    between = (rings >= _SLOPE_FROM) & (rings <= _SLOPE_TO)
    fall = np.where(between, np.log(rings) - np.log(rings[between]).mean(), 0.0)
    fall /= max(float((fall**2).sum()), 1e-30)
    near /= near.sum(axis=1, keepdims=True)
    return _Rings(count, near, low, at - low, radius**2, used.ravel(), fall)


class Tapers(NamedTuple):
    """Tapers of the last passes in a tile."""

    taper: float
    pinned: float  #: share of a shift that it hides, of a bin at |k| = 1 (see hmk_window)
    holed: float  #: of nodes that are not interpolated, since pixels miss
    holed_pinned: float


@dataclass(frozen=True)
class NoiseWeights:
    """Gains of the tiles of a lattice, learnt strip by strip.

    A tile's rows lie in one strip, so what is learnt does not depend on strips or threads.
    """

    rows: int  #: nodes of a tile along rows
    cols: int
    across: int  #: tiles side by side
    window: int
    likely: bool  #: weights of maximum likelihood, else half-whitening less what is drowned
    last_taper: float  #: of the last passes, where noise is not strong ...
    noisy_taper: float  #: ... and where it is
    noisy_from: float  #: px; it begins to be where the least possible sigma is above
    interpolated: bool = False  #: the windows of the last passes are
    #: of a tile, for each bin: factor of its weight, the inverse, what its cosine counts
    gains: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    tapers: dict[int, Tapers] = field(default_factory=dict)  #: of a tile
    known: set[int] = field(default_factory=set)  #: tiles that enough was seen of
    #: of a tile that is to be looked at again, the gains to do so with
    unsure: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def tile(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the tile of each node (i, j)."""
        return (i // self.rows) * self.across + j // self.cols

    def known_tile(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the tile of each node (i, j) where it has gains, elsewhere -1."""
        gains = list(self.gains)
        if not gains:
            return np.full(i.size, -1)
        tile = self.tile(i, j)
        return np.where(np.isin(tile, gains), tile, -1)

    def samples(
        self, i: NDArray[np.intp], j: NDArray[np.intp], count: int = SAMPLES
    ) -> NDArray[np.intp]:
        """Choose among nodes (i, j) up to ``count`` of each tile, evenly; sorted by tile.

        Every node has its turn, whichever others there are: a node that is missing gives its
        place to the next, and all others stay.
        """
        turn = np.mod(i * _TURN[0] + j * _TURN[1], 1.0)
        tile = self.tile(i, j)
        order = np.lexsort((turn, tile))
        first = np.flatnonzero(np.diff(tile[order], prepend=-1))
        rank = np.arange(i.size) - np.repeat(first, np.diff(np.append(first, i.size)))
        return order[rank < count]

    def learn(
        self,
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        sums: NDArray[np.float32],
        *,
        again: bool = False,
    ) -> None:
        """Learn the tiles of nodes (i, j), sorted by tile, from their sums over rings.

        ``sums`` is (3, nodes, bands): the coherent part of the cross-spectrum, the power of
        either window. A fit makes what it is made of coherent, noise as well; so tiles that
        come out as ``unsure`` are to be looked at ``again`` by fits in which noise has hardly a
        say: by the square of what the first look found.
        """
        scale = np.sqrt(sums[1].sum(axis=1) * sums[2].sum(axis=1))
        seen = scale > 0  # else no data, or no texture
        tiles, place = np.unique(self.tile(i, j)[seen], return_inverse=True)
        enough = np.bincount(place, minlength=len(tiles)) >= _LEAST
        if not enough.any():
            return
        self.known.update(tiles[enough].tolist())
        # Each window counts alike, however strong its contrast.
        first = np.flatnonzero(np.diff(place, prepend=-1))
        of_tile = np.add.reduceat(sums[:, seen, 1:] / scale[seen, None], first, axis=1)
        coherent = of_tile[0, enough].astype(np.float64)
        power = np.sqrt(of_tile[1, enough] * of_tile[2, enough]).astype(np.float64)
        rings = _rings(self.window)
        c = rings.smoothed(coherent / np.maximum(power, 1e-30))
        drowned = c.min(axis=1) <= _CLEAR
        says = (c.max(axis=1) >= _BLIND) & (self.likely | drowned | again)
        if not says.any():
            return
        c, coherent, power = np.clip(c[says], _FLOOR, 0.9999), coherent[says], power[says]
        gain = c
        if self.likely:
            level = rings.smoothed(np.log(np.maximum(power / rings.count, 1e-30)))
            level = np.exp(level - level[:, :1])
            gain = c / (level * (1 - c**2))
        sigma = rings.least_sigma(c, self.window) / self.noisy_from
        for m in np.flatnonzero(drowned[says] & (sigma > _DOUBTFUL) & (not again)):
            square = rings.at_bins(c[m : m + 1] ** 2)[0]
            table = np.stack([square, 1 / square, np.zeros_like(square)], axis=1)
            self.unsure[int(tiles[enough][says][m])] = table.astype(np.float32).ravel()
        slope = rings.slope(coherent)
        steep = slope > _STEEP
        flat = np.where(steep, 0.0, np.clip(np.log(sigma) / np.log(_WHOLLY), 0.0, 1.0))
        holed = self.last_taper + flat * (self.noisy_taper - self.last_taper)
        # Interpolated windows show the same ground: no taper is too flat for these weights.
        flattest = ~steep & (self.interpolated and self.likely)
        taper = np.where(flattest, self.noisy_taper, holed)
        gain = rings.at_bins(gain)
        hidden = self._hidden(taper, slope)
        gain[steep] *= 1 - hidden[steep]
        level = (power / rings.count) ** (1.0 if self.likely else 0.5)
        expected = gain * rings.at_bins(c * level) * rings.used
        expected *= rings.square / expected.sum(axis=1, keepdims=True)
        holed_pinned = pinned = (expected * hidden).sum(axis=1)
        if flattest.any():
            holed_pinned = (expected * self._hidden(holed, slope)).sum(axis=1)
        heard = rings.at_bins(c) * rings.used
        heard *= np.sqrt(2 / (heard**2).sum(axis=1, keepdims=True))
        tables = np.stack([gain, 1 / gain, heard], axis=2).astype(np.float32)
        for k, tile in enumerate(tiles[enough][says].tolist()):
            self.gains[tile] = tables[k].ravel()
            self.tapers[tile] = Tapers(
                float(taper[k]), float(pinned[k]), float(holed[k]), float(holed_pinned[k])
            )

    def _hidden(
        self, taper: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what each bin does not show of a shift, (tiles, bins)."""
        shares = [
            np.repeat(hidden_shares(self.window, round(b, 2), round(s, 1)).ravel(), 2)
            for b, s in zip(taper, np.clip(slope, *_SLOPES), strict=True)
        ]
        return np.clip(shares, 0.0, 0.95)
