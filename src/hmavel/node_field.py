"""A lattice of nodes on one pair of images, measured strip by strip: seeds, then followers.

Between ``correlator.py``, which settles the arguments, and the kernel, which measures one node
after the other.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import _kernels
from hmavel._types import Quality
from hmavel.correlator_settings import WEIGHTS
from hmavel.frame import Frame, Part, PartMemory, overlap
from hmavel.neighbours import FOLLOW
from hmavel.noise_weights import MORE, NoiseWeights, band_count
from hmavel.seeds import AGREE, between_seeds, every, levels
from hmavel.shared_windows import refuse_shared
from hmavel.strip_threads import check, in_threads, pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hmavel._types import BoolArray

#: Pixels of a strip of a large frame, which is standardised and matched at a time.
_STRIP_PIXELS = 4 << 20
#: Fewest rows of nodes in a strip: below, it is mostly margin.
_STRIP_ROWS = 16
#: Nodes on a side of the blocks in which failed nodes are tried again.
_BLOCK = 32


@dataclass(frozen=True)
class NodeField:
    """A pair ready for the kernel, and the lattice of nodes to measure on it.

    The nodes are measured in strips of rows, which need nothing of each other but the seeds
    next to them; what is left to do goes round by round over all nodes. So the answer does
    not depend on strips or threads.
    """

    frame: Frame
    #: pixel c of each row of nodes in the frame: its window covers c - N/2 ... c + N/2 - 1
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    options: dict[str, Any]
    pad: int  #: pixels around a node that the kernel may look at
    instruction_set: str | None
    threads: int
    noise: NoiseWeights | None = None  #: what has been learnt of the pair's noise

    @property
    def apart(self) -> int:
        """Nodes from one seed to the next: half a coarse window."""
        steps = [int(x[1] - x[0]) for x in (self.row, self.col) if len(x) > 1]
        return max(1, int(self.options["coarse"]) // 2 // max(steps, default=1))

    def measure_all(
        self,
        labels: NDArray[Any] | None,
        start: NDArray[np.float32] | None = None,
        where: BoolArray | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Measure the nodes; with labels, each on images of its own label's pixels only.

        ``labels`` stands on the images, of which the frame may be a part. ``start`` as for
        ``field``; ``where`` is every node if it is None.
        """
        shape = len(self.row), len(self.col)
        wanted = np.ones(shape, bool) if where is None else where
        if labels is None:
            return self.field(wanted, start)
        of_node = np.zeros(shape, labels.dtype)
        (rows, cols), _ = overlap(labels.shape, self.frame.first, self.frame.size)
        at_row, at_col = self.row + self.frame.first[0], self.col + self.frame.first[1]
        in_row = np.flatnonzero((at_row >= rows.start) & (at_row < rows.stop))
        in_col = np.flatnonzero((at_col >= cols.start) & (at_col < cols.stop))
        of_node[np.ix_(in_row, in_col)] = labels[np.ix_(at_row[in_row], at_col[in_col])]
        out = np.full((7, *shape), np.nan, np.float32)
        quality = np.full(shape, Quality.OUTSIDE, np.uint8)
        for label in np.unique(of_node):
            mine = (of_node == label) & wanted
            part, why = replace(self, frame=self.frame.only(labels, label)).field(mine, start)
            out[:, mine] = part[:, mine]
            quality[mine] = why[mine]
        return out, quality

    def field(
        self, where: BoolArray, start: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Measure the nodes of ``where``: few by search, the others from those.

        The coarse windows of neighbouring nodes overlap almost wholly. So only scouts search,
        between the seeds and four times as far apart. A seed between scouts that agree
        starts from them, and so does any other node between seeds; the kernel searches after
        all where that start does not hold. Without a coarse window nobody searches: with
        ``start``, (2, rows, cols), nodes are measured from there, and where it is NaN not at
        all.
        """
        out = np.full((7, *where.shape), np.nan, np.float32)
        quality = np.full(where.shape, Quality.OUTSIDE, np.uint8)
        if start is None:
            start = np.full((2, *where.shape), np.nan, np.float32)
        else:
            where = where & np.isfinite(start).all(axis=0)
        coarse = bool(self.options["coarse"])
        leading = [_SCOUTS * self.apart, self.apart] if coarse else []
        order = levels(where, leading)
        noise = self._noise_weights(max(leading, default=0))
        apart = max([*leading, noise.rows if noise else 1])
        strips = self._strips(apart)
        told = replace(self, noise=noise)
        scout = replace(self, options=self.options | {"settled_sigmas": _SCOUTS_SETTLED})
        cols = self._span(self.col, 0, len(self.col))
        parts: dict[int, Part] = {}
        memory = PartMemory()

        lock = threading.Lock()

        def begin(k: int) -> None:
            parts[k] = self.frame.part(self._span(self.row, *strips[k]), cols, memory)
            if len(order) > 1:
                measure(0, parts[k], *strips[k])

        def measure(level: int, part: Part, first: int, last: int) -> None:
            i, j = np.nonzero(order[level][first:last])
            if level == 0:
                guess = start[:, first:last][:, i, j]
            else:  # seeds lie on a lattice themselves: only there are guesses wanted
                gap = leading[level] if level < len(leading) else 1
                rows_at, cols_at = (
                    np.arange(*of)[every(gap)] for of in ((first, last), (0, len(self.col)))
                )
                guess = between_seeds(out[:2], leading[level - 1], rows_at, cols_at)
                guess = guess[:, i // gap, j // gap]
            i += first
            if noise and level == min(1, len(leading)):
                told._learn_noise(part, i, j, guess)
            elif noise and level == 2:
                # Where too few scouts agreed, seeds have found something by now.
                m, n = np.nonzero(order[1][first:last] & np.isfinite(out[0, first:last]))
                m += first
                new = ~np.isin(noise.tile(m, n), list(noise.known))
                told._learn_noise(part, m[new], n[new], out[:2, m[new], n[new]])
            (scout if coarse and level == 0 else told)._measure(part, i, j, guess, out, quality)
            if noise and coarse and level == len(leading):
                # Scouts went before anything was known. Nothing follows them any more: seeds
                # lie between them, and no other piece looks at what is written here.
                i, j = np.nonzero(order[0][first:last] & np.isfinite(out[0, first:last]))
                i += first
                known = noise.known_tile(i, j) >= 0
                i, j = i[known], j[known]
                told._measure(part, i, j, out[:2, i, j], out, quality)

        def end(k: int) -> list[Callable[[], None]]:
            left = set(self._pieces(strips[k], apart))

            def piece(first: int, last: int) -> None:
                measure(len(order) - 1, parts[k], first, last)
                with lock:
                    left.remove((first, last))
                    if not left and not self.frame.small:
                        memory.give(parts.pop(k))

            return [partial(piece, *rows) for rows in sorted(left)]

        def between(level: int, k: int) -> None:
            measure(level, parts[k], *strips[k])

        stages: list[Callable[[int], None]] = [begin]
        stages += [partial(between, level) for level in range(1, len(order) - 1)]
        pipeline(stages, end, len(strips), self.threads)
        if coarse:
            told._grow(where, out, quality)
        refuse_shared(out, quality, self.options, told._look, self.threads)
        return out, quality

    def _noise_weights(self, rows: int) -> NoiseWeights | None:
        """Return tiles of as many rows of nodes, by default of four windows, or None."""
        window = int(self.options["fine"])
        if not self.options["drowned"] or window < _LEAST_TOLD:
            return None
        if not rows:
            step = int(self.row[1] - self.row[0]) if len(self.row) > 1 else window
            rows = max(1, 4 * window // step)
        cols = _TILE * rows
        across = -(-len(self.col) // cols)
        return NoiseWeights(
            rows, cols, across, window, self.options["likely"], self.options["last_beta"],
            self.options["noisy_beta"], self.options["noisy_from"], bool(self.options["moved"]),
        )

    def _learn_noise(
        self, part: Part, i: NDArray[np.intp], j: NDArray[np.intp], guess: NDArray[np.float32]
    ) -> None:
        """Look at some nodes of each tile of a strip, near their guesses (2, n)."""
        known = np.flatnonzero(np.isfinite(guess).all(axis=0))
        if not known.size or self.noise is None:
            return
        i, j, guess = i[known], j[known], guess[:, known]
        few = self.noise.samples(i, j)
        self.noise.learn(i[few], j[few], self._rings(part, i[few], j[few], guess[:, few]))
        tile = self.noise.tile(i, j)
        looks = {int(t): self.noise.unsure.pop(int(t), None) for t in np.unique(tile)}
        again, sums = [], []
        for one, gain in looks.items():
            if gain is not None:
                mine = np.flatnonzero(tile == one)
                again.append(mine[self.noise.samples(i[mine], j[mine], MORE)])
                at = again[-1]
                sums.append(self._rings(part, i[at], j[at], guess[:, at], gain))
        if again:
            all_ = np.concatenate(again)
            self.noise.learn(i[all_], j[all_], np.concatenate(sums, axis=1), again=True)

    def _rings(
        self,
        part: Part,
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        guess: NDArray[np.float32],
        gain: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Sum the spectra of nodes near their guesses over rings: (3, nodes, bands)."""
        sums = np.empty((3, i.size, band_count(int(self.options["fine"]))), np.float32)
        status = _kernels.coherence(
            part.a, part.b, *self._places(part, i, j),
            np.ascontiguousarray(guess[0]), np.ascontiguousarray(guess[1]),
            self.options, sums, self.instruction_set, gain,
        )  # fmt: skip
        check(status)
        return sums

    def _told(self, tile: int) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
        """Return the kernel's options and gains for a tile; -1 = one without gains."""
        options = self.options
        if self.noise is None or tile < 0:
            return options, None
        weight = WEIGHTS["cross"] if options["likely"] else options["weight"]
        last, pinned, holed, holed_pinned = self.noise.tapers[tile]
        told = {"last_beta": last, "pinned": pinned, "weight": weight}
        told |= {"holed_beta": holed, "holed_pinned": holed_pinned}
        return options | told, self.noise.gains[tile]

    def _places(
        self, part: Part, i: NDArray[np.intp], j: NDArray[np.intp]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        row, col = self.row[i] - part.row, self.col[j] - part.col
        return row.astype(np.int32), col.astype(np.int32)

    def _strips(self, apart: int) -> list[tuple[int, int]]:
        """Cut the rows of nodes where a row of seeds begins; return first and end of each."""
        count = len(self.row)
        if self.frame.small:
            least = -(-count // (2 * self.threads)) if self.threads > 1 else count
        else:
            span = (int(self.row[-1]) - int(self.row[0])) / max(count - 1, 1)
            pixels = _STRIP_PIXELS / self.frame.size[1] - 2 * self.pad
            least = max(_STRIP_ROWS, int(pixels / max(span, 1)))
        least = -(-least // apart) * apart
        return [(i, min(i + least, count)) for i in range(0, count, least)]

    def _pieces(self, strip: tuple[int, int], apart: int) -> list[tuple[int, int]]:
        """Cut a strip as ``_strips`` may, so that several threads can end together."""
        if self.frame.small or self.threads == 1:
            return [strip]
        first, end = strip
        rows = -(-_STRIP_ROWS // apart) * apart
        return [(i, min(i + rows, end)) for i in range(first, end, rows)]

    def _span(self, axis: NDArray[np.int32], first: int, last: int) -> tuple[int, int]:
        """Pixels of the frame that the windows of nodes ``first`` to ``last - 1`` may see."""
        return int(axis[first]) - self.pad, int(axis[last - 1]) + self.pad

    def _measure(
        self,
        part: Part,
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        guess: NDArray[np.float32],
        out: NDArray[np.float32],
        quality: NDArray[np.uint8],
        *,
        better: bool = False,
    ) -> None:
        """Measure nodes (i, j) from their guesses (2, n), NaN = search, and fill them in.

        With ``better`` only those that come out good.
        """
        if not i.size:
            return
        found = np.empty((7, i.size), np.float32)
        why = np.empty(i.size, np.uint8)
        edges = [0, i.size]
        tile = np.full(i.size, -1) if self.noise is None else self.noise.known_tile(i, j)
        if (tile >= 0).any():
            order = np.argsort(tile, kind="stable")
            i, j, guess, tile = i[order], j[order], guess[:, order], tile[order]
            edges[1:1] = (np.flatnonzero(np.diff(tile)) + 1).tolist()
        row, col = self._places(part, i, j)
        guess = np.ascontiguousarray(guess)
        for first, last in itertools.pairwise(edges):
            options, gain = self._told(int(tile[first]))
            status = _kernels.correlate(
                part.a, part.b, row, col, guess[0], guess[1], options, found, why, first, last,
                self.instruction_set, gain,
            )  # fmt: skip
            check(status)
        if better:
            good = why == Quality.GOOD
            i, j, found, why = i[good], j[good], found[:, good], why[good]
        out[:, i, j] = found
        quality[i, j] = why

    def _grow(
        self, where: BoolArray, out: NDArray[np.float32], quality: NDArray[np.uint8]
    ) -> None:
        """Try nodes that failed once more, from the median of good neighbours that agree.

        A search alone finds a far match only where enough of it is still in the window; its
        neighbours know the way. Each round reaches two nodes further.
        """
        known = replace(self, options=self.options | {"coarse": 0})
        open_ = where & np.isin(quality, _RETRY)
        guess = np.empty((2, *where.shape), np.float32)
        for _ in range(max(where.shape)):
            if not open_.any():
                return
            in_threads(
                lambda i, j: _kernels.neighbour_median(
                    out[0], out[1], open_.view(np.uint8), FOLLOW, AGREE / 2,
                    guess[0], guess[1], i, j,
                ),
                where.shape[0],
                self.threads,
            )
            i, j = np.nonzero(open_ & np.isfinite(guess[0]))
            if not i.size:
                return
            open_[i, j] = False
            known._measure_blocks(i, j, guess[:, i, j], out, quality)

    def _look(
        self,
        changes: dict[str, Any],
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        guess: NDArray[np.float32],
        *,
        told: bool = True,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Measure nodes (i, j) with other options, told of the noise or not; keep nothing."""
        shape = len(self.row), len(self.col)
        found = np.full((7, *shape), np.nan, np.float32)
        why = np.full(shape, Quality.OUTSIDE, np.uint8)
        noise = self.noise if told else None
        other = replace(self, options=self.options | changes, noise=noise)
        other._measure_blocks(i, j, guess, found, why)
        return found, why

    def _measure_blocks(
        self,
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        guess: NDArray[np.float32],
        out: NDArray[np.float32],
        quality: NDArray[np.uint8],
    ) -> None:
        """Measure scattered nodes, block by block of a large frame; keep what is good."""
        pieces: list[NDArray[np.intp]]
        if self.frame.small:
            count = max(1, min(4 * self.threads, i.size // 64))
            pieces = np.array_split(np.arange(i.size), count)
        else:
            which = (i // _BLOCK) * (len(self.col) // _BLOCK + 1) + j // _BLOCK
            order = np.argsort(which, kind="stable")
            pieces = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)

        def work(piece: NDArray[np.intp]) -> None:
            rows, cols = (
                self._span(axis, at * _BLOCK, min((at + 1) * _BLOCK, len(axis)))
                for axis, at in (
                    (self.row, int(i[piece[0]]) // _BLOCK),
                    (self.col, int(j[piece[0]]) // _BLOCK),
                )
            )
            part = self.frame.block(rows, cols)
            self._measure(part, i[piece], j[piece], guess[:, piece], out, quality, better=True)

        if self.threads == 1 or len(pieces) == 1:
            for piece in pieces:
                work(piece)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(work, pieces))


#: Failures that a better start may mend.
_RETRY = (
    Quality.OUT_OF_REACH,
    Quality.UNSETTLED,
    Quality.INCOHERENT,
)

#: Smaller windows have too few rings to tell noise from texture.
_LEAST_TOLD = 16

#: Tiles, in which the noise is learnt, are so many times as wide as high.
_TILE = 4

#: Scouts, which search before all others, are so many times as far apart as seeds.
_SCOUTS = 4

#: They settle to so many of their sigmas: what a tile learns begins where they lead to.
_SCOUTS_SETTLED = 0.5
