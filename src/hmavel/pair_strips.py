"""A pair that arrives strip by strip, read by a thread of its own while it is being matched."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel.cogrid import read_onto
from hmavel.errors import PairError
from hmavel.frame import Image
from hmavel.lattice import lattice_offset
from hmavel.scene_bands import FILL, open_b8

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from hmavel._types import BoolArray, Grid, Scene
    from hmavel.pair import PairPlan

    #: A part of the image, and where it may be put -> its pixels.
    _Read = Callable[[Grid, NDArray[Any] | None], NDArray[Any]]

#: Rows that are read at a time: whole blocks of most files.
ROWS = 512


class Arriving:
    """Both images of a planned pair, kept as they are stored: two bytes a pixel for Landsat.

    A context: reading begins on entry, and on exit it has ended, in whatever way.

    Parameters
    ----------
    plan
        Of ``plan_pair``.
    rows
        Read at a time.

    Notes
    -----
    Holds exactly what ``make_pair`` would read, and refuses what it refuses: a scene that
    holds no image or one value only, two copies of one image, scenes of which no pixel is
    valid in both. The last rows are not said to be there before that is known.
    """

    def __init__(self, plan: PairPlan, *, rows: int = ROWS) -> None:
        self.plan, self._rows = plan, rows
        self._images: tuple[Image, Image] = (Image(np.empty((0, 0))),) * 2
        self.seconds = 0.0  #: of reading, on the clock
        self._there = 0
        self._error: BaseException | None = None
        self._stop = False
        self._more = threading.Condition()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="reader", daemon=True)

    def __enter__(self) -> Arriving:
        """Begin to read, from the opening of both files on, and wait for nothing."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the reading."""
        self._stop = True
        self._thread.join()

    @property
    def images(self) -> tuple[Image, Image]:
        """Both images, once the first rows are there.

        Raises
        ------
        HmavelError
            They never will be: what the opening or the first reading failed for.
        """
        self._begun.wait()
        if self._error is not None:
            raise self._error
        return self._images

    def arrived(self, rows: int) -> None:
        """Wait until the first ``rows`` rows are in the arrays.

        Raises
        ------
        HmavelError
            They never will be: what the reading failed for.
        """
        rows = min(rows, self.plan.grid.shape[0])
        with self._more:
            self._more.wait_for(lambda: self._there >= rows or self._error is not None)
            if self._error is not None:
                raise self._error

    def every(self, step: int) -> NDArray[np.float32]:
        """Return every ``step``-th pixel of the reference, NaN where there is no image."""
        self.arrived(self.plan.grid.shape[0])
        image = self.images[0]
        part = image.pixels[::step, ::step]
        out = part.astype(np.float32)
        if image.fill is not None:
            out[part == image.fill] = np.nan
        return out

    def _read_all(self) -> None:
        try:
            with ExitStack() as files:
                readers = [
                    files.enter_context(open_b8(self.plan.reference)), self._secondary(files)
                ]
                self._read_strips(readers)
        except BaseException as error:
            with self._more:
                self._error = error
                self._more.notify_all()
        finally:
            self._begun.set()

    def _secondary(self, files: ExitStack) -> _Read:
        scene, method = self.plan.secondary, self.plan.method
        if method:
            return lambda grid, _: read_onto(scene, grid, method)
        read = files.enter_context(open_b8(scene))
        return lambda grid, out: read(_named_by(scene, grid, self.plan.id), out)

    def _read_strips(self, readers: list[_Read]) -> None:
        grid = self.plan.grid
        height, width = grid.shape
        content = _Content()
        arrays: list[NDArray[Any]] = []
        for row in range(0, height, self._rows):
            if self._stop:
                return
            begin = time.perf_counter()
            rows = min(self._rows, height - row)
            part = grid.crop(row, 0, rows, width)
            strips = [
                read(part, arrays[k][row : row + rows] if arrays else None)
                for k, read in enumerate(readers)
            ]
            if not row:
                kinds = [strip.dtype for strip in strips]
                fills = [FILL if kind.kind in "iu" else None for kind in kinds]
                arrays = [np.empty(grid.shape, kind) for kind in kinds]
                first, second = (
                    Image(array, fill=fill) for array, fill in zip(arrays, fills, strict=True)
                )
                self._images = first, second
                self._begun.set()
            for array, strip in zip(arrays, strips, strict=True):
                if not np.may_share_memory(array, strip):  # else it was read into its place
                    array[row : row + rows] = strip
            content.see(strips, fills)
            if row + rows == height:
                content.check(self.plan)
            with self._more:
                self._there = row + rows
                self._more.notify_all()
            self.seconds += time.perf_counter() - begin


def _named_by(scene: Scene, grid: Grid, item: str) -> Grid:
    """Return the scene's own name for these pixels: a rounding of the origin is no offset."""
    row, col, _ = lattice_offset(scene.grid, grid, item=item)
    return scene.grid.crop(row, col, *grid.shape)


class _Content:
    """What is known of the images so far; strips are looked at only until all is."""

    def __init__(self) -> None:
        self.values: list[float | None] = [None, None]
        self.varied = [False, False]
        self.common = self.differ = False

    def see(self, strips: list[NDArray[Any]], fills: list[int | None]) -> None:
        if all(self.varied) and self.common and self.differ:
            return
        valid = [_valid(strip, fill) for strip, fill in zip(strips, fills, strict=True)]
        for k, (strip, seen) in enumerate(zip(strips, valid, strict=True)):
            values = strip[seen]
            if values.size:
                one = self.values[k] = values[0] if self.values[k] is None else self.values[k]
                self.varied[k] |= bool((values != one).any())
        both = valid[0] & valid[1]
        self.common |= bool(both.any())
        self.differ |= bool((valid[0] != valid[1]).any())
        self.differ |= bool((strips[0][both] != strips[1][both]).any())

    def check(self, plan: PairPlan) -> None:
        for name, value, varied in zip(
            (plan.reference_id, plan.secondary_id), self.values, self.varied, strict=True
        ):
            if value is None:
                hint = "check the file and the window"
                got = "no valid pixel on the common ground"
                raise _pair_error(plan, f"an image in {name}", got, hint)
            if not varied:
                got = f"the one value {value:g}"
                raise _pair_error(plan, f"an image in {name}", got, "check the file")
        if not self.differ:
            got = "the same pixels in both"
            raise _pair_error(plan, "two scenes", got, "check for a copy of one file")
        if not self.common:
            hint = "choose scenes that overlap, or another window"
            raise _pair_error(plan, "ground that is valid in both scenes", "none", hint)


def _valid(strip: NDArray[Any], fill: int | None) -> BoolArray:
    return np.asarray(np.isfinite(strip) if fill is None else strip != fill)


def _pair_error(plan: PairPlan, expected: str, got: str, hint: str) -> PairError:
    return PairError("pair", plan.id, expected=expected, got=got, hint=hint)
