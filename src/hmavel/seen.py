"""What screening saw of a scene, kept until the pairs of its glacier are matched.

Screening reads the 30 m bands of a scene around a glacier and tells its classes; matching asks
for the classes of the same ground, a little farther out. So they are told once, for the ground
of both, and two bits of each pixel are kept on disk. They are scratch: what is not there,
damaged, or of other files or options is told anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from hmavel import __version__, memory, state
from hmavel._types import BoolArray, Grid, Scene, SceneMask
from hmavel.atomic import write_text
from hmavel.errors import HmavelError
from hmavel.mask import clear_ground
from hmavel.site import image_window

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio.crs import CRS
    from shapely.geometry.base import BaseGeometry

    from hmavel.classes import Thresholds

log = logging.getLogger(__name__)

#: Folder of what is kept, in that of a run's output; removed at the end of the run.
FOLDER = ".seen"
#: Two bits a pixel that mostly agree with their neighbours: the fastest level packs them well.
_LEVEL = 1


@dataclass(frozen=True)
class Seen:
    """What matching asks for of a scene's classes, on the scene's own pixels around a site."""

    grid: Grid
    unusable: BoolArray  #: cloud, shadow or water
    clear: BoolArray  #: ground, and nothing on or over it
    source: str  #: as in ``SceneMask``

    @classmethod
    def of(cls, mask: SceneMask) -> Seen:
        """Take it from a scene's classes."""
        return cls(mask.grid, mask.unusable, clear_ground(mask), mask.source)


@dataclass(frozen=True)
class ImageWindow:
    """The pixels of Band 8 that a glacier's pairs will be matched on, in any zone."""

    step: int  #: of the nodes, px
    reach: int  #: of their windows, px
    margin_m: float  #: of ground around the glacier, m

    def of(self, outline: BaseGeometry, epsg: int) -> Grid:
        """Return them for an outline (WGS84), as ``Site.image`` has them."""
        return image_window(
            outline, epsg=epsg, step=self.step, reach=self.reach, margin_m=self.margin_m
        )


def key_of(scene: Scene, image: Grid, thresholds: Thresholds) -> str:
    """Return the fingerprint of all that a scene's classes over an image depend on.

    Raises
    ------
    OSError
        A file of the scene is not there.
    """
    return state.fingerprint(
        __version__, asdict(thresholds), state.scene_facts(scene), state.grid_facts(image)
    )


def write_seen(folder: Path, found: dict[str, Seen]) -> None:
    """Write some scenes' classes, by ``key_of``, to one file; if that fails, say so."""
    if not found:
        return
    text = json.dumps({key: _packed(seen) for key, seen in sorted(found.items())})
    name = hashlib.sha256("".join(sorted(found)).encode()).hexdigest()[:20]
    try:
        write_text(folder / f"{name}.json", f"{_sum(text)}\n{text}")
    except HmavelError as error:
        log.warning("what screening saw is not kept and will be told again: %s", error)


def read_seen(folder: Path) -> dict[str, Any]:
    """Read what was written below a folder, still packed; see ``unpacked``."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            check, _, text = path.read_text(encoding="utf-8").partition("\n")
        except (OSError, ValueError) as error:
            log.info("%s: %s; its scenes are classified again", path, error)
            continue
        try:
            content = json.loads(text) if check == _sum(text) else None
        except ValueError:  # not of this program, though its sum is right
            content = None
        if isinstance(content, dict):
            found |= content
        else:
            log.warning("%s is damaged; its scenes are classified again", path)
    return found


def unpacked(packed: Any, crs: CRS) -> Seen | None:
    """Return the classes of an entry of ``read_seen``, of a scene of that system.

    None where the entry is not one: nobody but this program should write them.
    """
    try:
        rows, cols = (int(side) for side in packed["shape"])
        memory.require(2 * rows * cols, "what screening saw")
        unusable, clear = (_mask(packed[name], rows, cols) for name in ("unusable", "clear"))
        grid = Grid(crs, Affine(*packed["transform"]), (rows, cols))
        return Seen(grid, unusable, clear, str(packed["source"]))
    except (KeyError, TypeError, ValueError, zlib.error, HmavelError) as error:
        log.warning("what screening saw cannot be read (%r); it is told again", error)
        return None


def _mask(text: str, rows: int, cols: int) -> BoolArray:
    size = -(-rows * cols // 8)
    bits = zlib.decompressobj().decompress(base64.b85decode(text), size + 1)
    if len(bits) != size:
        raise ValueError(f"expected {size} bytes, got {len(bits)}")
    mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=rows * cols)
    return mask.astype(bool).reshape(rows, cols)


def _packed(seen: Seen) -> dict[str, Any]:
    made: dict[str, Any] = {
        "transform": list(seen.grid.transform)[:6], "shape": list(seen.grid.shape),
        "source": seen.source,
    }  # fmt: skip
    for name in ("unusable", "clear"):
        bits = np.packbits(getattr(seen, name)).tobytes()
        made[name] = base64.b85encode(zlib.compress(bits, _LEVEL)).decode("ascii")
    return made


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
