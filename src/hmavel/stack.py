"""The scenes of a site, cut to its window: each is read once, however many pairs it is in."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hmavel._types import BoolArray, FloatArray, Scene, SceneMask
from hmavel.classes import widened
from hmavel.cogrid import is_shift, read_onto
from hmavel.errors import SceneError
from hmavel.inputs import digest
from hmavel.lattice import LATTICE_TOLERANCE, lattice_offset
from hmavel.mask import to_grid
from hmavel.raster import tally
from hmavel.scene_bands import read_b8
from hmavel.seen import Seen, key_of, read_seen, unpacked
from hmavel.shade import read_relief, terrain_shadow
from hmavel.spill import Store
from hmavel.zones import classify_in

if TYPE_CHECKING:
    from pathlib import Path

    from hmavel._types import Grid
    from hmavel.mask import Thresholds
    from hmavel.site import Site


@dataclass(frozen=True)
class Cut:
    """A scene over a site: what matching and bare ground need of it, and nothing else."""

    scene: Scene
    image: FloatArray  #: Band 8 on ``site.image``, float32 DN, NaN = not to be matched
    hidden: BoolArray  #: (site.grid) mostly cloud, shadow or water
    clear: BoolArray  #: (site.grid) wholly seen, without cloud, shadow, snow or water
    source: str  #: what the classes were made from, see ``SceneMask``
    sha256: str = ""  #: of the three arrays

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.image.nbytes + self.hidden.nbytes + self.clear.nbytes


class Stack:
    """The cuts of one site's scenes: packed in memory within a budget, spilled beyond it.

    Safe to use from several threads: two that want one scene read it once. Close it, or use
    it as a context manager, to remove its scratch files.

    Parameters
    ----------
    site, thresholds
        As for ``cut_scene``.
    budget_bytes
        Of memory for cuts that wait to be used again.
    scratch
        Folder for what does not fit; None to read it from the archive again.
    dem, shade_buffer_m
        Heights to find the mountains' shade by, and how far ground keeps from it, metres.
    domains
        Windows are to see only the glacier, or only what is beside it.
    seen
        Folder of what screening saw of the scenes, see ``seen.py``.
    """

    def __init__(
        self, site: Site, thresholds: Thresholds, *, budget_bytes: float,
        scratch: Path | None = None, dem: Path | None = None, shade_buffer_m: float = 0.0,
        domains: bool = False, seen: Path | None = None,
    ) -> None:  # fmt: skip
        self.site, self.thresholds = site, thresholds
        self.relief = None if dem is None else read_relief(dem, site.grid)
        self.shade_buffer_m = shade_buffer_m
        #: 1 on the glacier, 2 beside it, on the pixels of ``site.image``, where asked for.
        self.domain = np.where(site.image_ice(), 1, 2).astype(np.uint8) if domains else None
        self.reads = 0  #: scenes read from the archive so far, repeats included
        self.read_bytes = 0  #: of their pixels, decoded
        self.store = Store(budget_bytes, scratch)
        self._facts: dict[str, tuple[str, str]] = {}  #: source and checksum of the cuts
        self._seen = {} if seen is None else read_seen(seen)
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}

    def __enter__(self) -> Stack:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the scratch files."""
        self.close()

    def close(self) -> None:
        """Forget the cuts and remove the scratch files."""
        self.store.close()

    def get(self, scene: Scene) -> Cut:
        """Return the cut of a scene, from memory, a scratch file or the archive.

        Raises
        ------
        ReadError, GridMismatchError
            A file is damaged; there is no way between the coordinate systems.
        SceneError
            Nothing of the scene's image lies in the window.
        """
        with self._lock:
            reading = self._reading.setdefault(scene.id, threading.Lock())
        with reading:
            kept = self.store.get(scene.id)
            if kept is not None:
                return Cut(scene, kept["image"], kept["hidden"], kept["clear"],
                           *self._facts[scene.id])  # fmt: skip
            with tally() as count:
                cut = cut_scene(scene, self.site, self.thresholds, self._as_seen(scene))
            if self.relief is not None:
                shade = shaded_cells(scene, self.relief, self.site.grid, self.shade_buffer_m)
                cut = replace(cut, clear=cut.clear & ~shade)
            cut = replace(cut, sha256=digest(cut.image, cut.hidden, cut.clear))
            with self._lock:
                self.reads += 1
                self.read_bytes += count.bytes
                self._facts[scene.id] = cut.source, cut.sha256
            self.store.put(
                scene.id, {"image": cut.image, "hidden": cut.hidden, "clear": cut.clear}
            )
            return cut

    def _as_seen(self, scene: Scene) -> Seen | None:
        """Return a scene's classes as screening saw them, if that was kept."""
        if not self._seen:
            return None
        packed = self._seen.get(key_of(scene, self.site.image, self.thresholds))
        return None if packed is None else unpacked(packed, scene.grid.crs)


def cut_scene(
    scene: Scene, site: Site, thresholds: Thresholds, seen: Seen | None = None
) -> Cut:
    """Read what a site needs of a scene; errors as in ``Stack.get``.

    ``seen`` are its classes, where they have been told already by these thresholds.
    """
    image = _image(scene, site.image)
    seen = seen or Seen.of(classify_in(scene, site.image, thresholds))
    image[to_grid(seen.unusable, seen.grid, site.image)] = np.nan
    if not np.isfinite(image).any():
        raise SceneError(
            "scene", scene.id, expected=f"an image of {site.id}",
            got="nothing but fill, cloud or shadow there",
            hint="no mend is needed: the other scenes are used",
        )
    return Cut(
        scene=scene,
        image=image,
        hidden=hidden_cells(seen, site.grid),
        clear=to_grid(seen.clear, seen.grid, site.grid, "all"),
        source=seen.source,
    )


def shaded_cells(
    scene: Scene, relief: tuple[FloatArray, Grid], grid: Grid, buffer_m: float
) -> BoolArray:
    """Return the cells that mountains shade, or whose window sees the edge of a shadow.

    Without the sun's place in the scene's metadata, none.
    """
    if not scene.sun_elevation >= 2.0:
        return np.zeros(grid.shape, bool)
    height, where = relief
    shade = terrain_shadow(height, where.pixel, scene.sun_azimuth, scene.sun_elevation)
    return to_grid(widened(shade, buffer_m / where.pixel), where, grid, 0.5)


def hidden_cells(mask: SceneMask | Seen, grid: Grid) -> BoolArray:
    """Return the cells of which at least half is cloud, shadow or water."""
    return to_grid(mask.unusable, mask.grid, grid, 0.5)


def _image(scene: Scene, window: Grid) -> FloatArray:
    """Read Band 8 on the pixels of ``window``, as stored when the two lattices are one.

    Archives with another pixel origin are interpolated; see ``cogrid`` for what that costs.
    """
    if scene.grid.crs == window.crs:
        _, _, apart = lattice_offset(scene.grid, window, item=scene.path)
        if apart <= LATTICE_TOLERANCE:
            return read_b8(scene, window)[0]
    return read_onto(scene, window, "sinc" if is_shift(scene.grid, window) else "lanczos")
