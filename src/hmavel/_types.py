"""The records that pass along the chain, and the grid that they live on.

scene -> pair -> displacement -> corrected -> velocity -> month

Every record is frozen: a stage takes one and returns a new one. Arrays are (row, col)
with row down; maps are (x, y) with y up. The flip between them lives in ``velocity.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from affine import Affine
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rasterio.crs import CRS

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
TimeArray = NDArray[np.datetime64]

#: Days in the year that every m/yr of this program means.
DAYS_PER_YEAR = 365.25
_DAY = np.timedelta64(86_400_000, "ms")
_YEAR = np.timedelta64(round(DAYS_PER_YEAR * 86_400_000), "ms")


@overload
def days_between(start: np.datetime64, end: np.datetime64) -> float: ...
@overload
def days_between(
    start: TimeArray | np.datetime64, end: TimeArray
) -> NDArray[np.float64]: ...
def days_between(
    start: TimeArray | np.datetime64, end: TimeArray | np.datetime64
) -> float | NDArray[np.float64]:
    """Return the days from one time to another, with their fraction; negative backwards."""
    days = (end - start) / _DAY
    return days if isinstance(days, np.ndarray) else float(days)


def years_between(start: TimeArray, end: TimeArray) -> NDArray[np.float64]:
    """Return the same in years of ``DAYS_PER_YEAR``."""
    return np.asarray((end - start) / _YEAR)


class Quality(IntEnum):
    """Why a node has a displacement (0) or none (every other value).

    Up to ``AMBIGUOUS`` they are set by the kernel and equal ``hmk_quality`` in
    ``src/ext/hmk_status.h``; the others are set by later stages.
    """

    GOOD = 0
    NO_DATA = 1  #: too few valid pixels in one of the two windows
    NO_TEXTURE = 2  #: a constant or textureless window
    SATURATED = 3  #: too many pixels of a window at the sensor's ceiling
    OUT_OF_REACH = 4  #: the match lies beyond the search limit
    UNSETTLED = 5  #: relocation did not come to rest within half a pixel
    INCOHERENT = 6  #: the match statistic is what unrelated images reach
    AMBIGUOUS = 7  #: a second match is about as good: repeated pattern
    OUTLIER = 8  #: disagrees with its neighbours (normalised median test)
    ISOLATED = 9  #: a small clump that the other tests left alone
    OUTSIDE = 10  #: no image here, or a cell that no node covers
    MASKED = 11  #: cloud, shadow or water in either scene


@dataclass(frozen=True)
class Grid:
    """A north-up raster grid: coordinate system, transform, shape (rows, cols).

    ``transform`` maps pixel *edges* (col, row) to map coordinates, as rasterio has it; the
    index methods below speak of pixel *centres*: index 0 is the centre of the first pixel.
    """

    crs: CRS
    transform: Affine
    shape: tuple[int, int]

    @property
    def pixel(self) -> float:
        """Side of a pixel in map units (metres on a UTM grid)."""
        return float(abs(self.transform.a))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top): the outer edges of the outer pixels."""
        t, (rows, cols) = self.transform, self.shape
        return (float(t.c), float(t.f + t.e * rows), float(t.c + t.a * cols), float(t.f))

    def x(self, col: Any) -> Any:
        """Map x of the pixel index ``col`` (0 = centre of the first column)."""
        return self.transform.c + self.transform.a * (col + 0.5)

    def y(self, row: Any) -> Any:
        """Map y of the pixel index ``row`` (0 = centre of the first row)."""
        return self.transform.f + self.transform.e * (row + 0.5)

    def col(self, x: Any) -> Any:
        """Fractional column index of map ``x`` (0 = centre of the first column)."""
        return (x - self.transform.c) / self.transform.a - 0.5

    def row(self, y: Any) -> Any:
        """Fractional row index of map ``y`` (0 = centre of the first row)."""
        return (y - self.transform.f) / self.transform.e - 0.5

    def crop(self, row: int, col: int, rows: int, cols: int) -> Grid:
        """Return the part that starts at pixel (row, col) and is (rows, cols) large.

        The part may reach outside: negative starts are allowed.
        """
        t = self.transform
        moved = Affine(t.a, t.b, t.c + t.a * col, t.d, t.e, t.f + t.e * row)
        return Grid(self.crs, moved, (rows, cols))

    def nodes(self, row: FloatArray, col: FloatArray) -> Grid:
        """Return the grid whose cell centres lie on the nodes (evenly spaced indices)."""
        step_row = float(row[1] - row[0]) if len(row) > 1 else float(col[1] - col[0])
        step_col = float(col[1] - col[0]) if len(col) > 1 else step_row
        t = self.transform
        a, e = t.a * step_col, t.e * step_row
        left, top = self.x(float(col[0])) - a / 2, self.y(float(row[0])) - e / 2
        moved = Affine(a, t.b, left, t.d, e, top)
        return Grid(self.crs, moved, (len(row), len(col)))


@dataclass(frozen=True)
class Scene:
    """One Landsat acquisition: what it is, when, and where its bands are."""

    id: str  #: product id, or the file's stem for a bare B8 GeoTIFF
    time: np.datetime64  #: scene centre, UTC, millisecond resolution
    path: Path  #: product folder or tar, or the B8 file itself
    #: "B2" ... "B8", "QA_PIXEL", "QA_RADSAT" -> file, or a name for GDAL (``vsi.py``)
    bands: Mapping[str, Path]
    grid: Grid  #: of Band 8
    sensor: str = ""  #: "LC08", "LO09", ...
    wrs: tuple[int, int] | None = None  #: WRS-2 (path, row)
    level: str = ""  #: "L1TP", "L1GT", "L2SP", ...; "TOA" for Earth Engine's reflectances
    tier: str = ""  #: "T1", "T2", "RT"
    processed: str = ""  #: processing date, YYYYMMDD
    sun_azimuth: float = float("nan")  #: degrees clockwise from north
    sun_elevation: float = float("nan")  #: degrees above the horizon
    #: band -> (multiplicative, additive) reflectance coefficients of the MTL
    reflectance: Mapping[str, tuple[float, float]] | None = None
    #: level of the 30 m bands where it is not ``level``: another product lends them
    level_30m: str = ""
    version: str = ""  #: what changes when the files do, for files that have no time of change
    #: percent of the scene's land under cloud, as its provider says; None = not said
    cloud_cover: float | None = None

    def level_of(self, band: str) -> str:
        """Return the level of the product that a band is from."""
        return self.level_30m if self.level_30m and band != "B8" else self.level


@dataclass(frozen=True)
class SceneMask:
    """What each pixel of a scene shows; True means that the word applies."""

    grid: Grid
    valid: BoolArray  #: the scene has data here (not fill)
    cloud: BoolArray  #: cloud, its dilation or cirrus
    shadow: BoolArray  #: cloud shadow or terrain occlusion
    snow: BoolArray  #: snow (also snow-covered ice)
    water: BoolArray
    saturated: BoolArray
    source: str  #: "albedo+qa", "qa" or "texture": what the classes were made from
    qa_cloud: BoolArray | None = None  #: what QA_PIXEL alone takes for cloud; None without it

    @property
    def unusable(self) -> BoolArray:
        """Cloud, shadow or water: nothing there is matched."""
        return self.cloud | self.shadow | self.water


def pair_id(reference_id: str, secondary_id: str) -> str:
    """Return the name of a pair, as its files have it."""
    return f"{reference_id}_X_{secondary_id}"


@dataclass(frozen=True)
class Pair:
    """Two scenes on one grid. ``secondary`` is the later one unless the user swapped them."""

    reference_id: str
    secondary_id: str
    start: np.datetime64  #: time of the reference scene
    end: np.datetime64  #: time of the secondary scene
    reference: FloatArray  #: float32 (rows, cols), DN or reflectance, NaN = invalid
    secondary: FloatArray  #: the same shape
    grid: Grid
    resampling: str = "none"  #: how the secondary was brought to the reference's grid

    @property
    def id(self) -> str:
        """Both ids, joined as in the file names."""
        return pair_id(self.reference_id, self.secondary_id)

    @property
    def baseline_days(self) -> float:
        """Days from reference to secondary, with their fraction; negative when swapped."""
        return days_between(self.start, self.end)


@dataclass(frozen=True)
class Displacement:
    """How far the texture of each node moved, in pixels: ``correlate``'s answer.

    Arrays are (n_rows, n_cols) unless said. Positive: moved down / right.
    """

    drow: FloatArray  #: px, NaN where ``quality`` != 0
    dcol: FloatArray  #: px, NaN where ``quality`` != 0
    sigma_row: FloatArray  #: predicted 1 sigma, px
    sigma_col: FloatArray  #: predicted 1 sigma, px
    snr: FloatArray  #: COSI-Corr's definition, 0 ... 1
    coherence: FloatArray  #: the same without the robust reweighting, 0 ... 1
    quality: ByteArray  #: a ``Quality`` value
    row: FloatArray  #: (n_rows,) effective centres, pixel indices (0 = first pixel's centre)
    col: FloatArray  #: (n_cols,) the same for columns

    @property
    def good(self) -> BoolArray:
        """True where the node carries a displacement."""
        return np.asarray(self.quality == Quality.GOOD.value)

    def rejected(self, where: BoolArray, why: Quality) -> Displacement:
        """Return a copy in which the good nodes of ``where`` are NaN, because of ``why``."""
        hit = where & self.good
        quality = self.quality.copy()
        quality[hit] = why
        nan = np.float32(np.nan)
        return replace(
            self,
            drow=np.where(hit, nan, self.drow),
            dcol=np.where(hit, nan, self.dcol),
            quality=quality,
        )


@dataclass(frozen=True)
class Velocity:
    """A pair's velocity on map axes: x east, y north, m/yr; arrays (rows, cols)."""

    grid: Grid
    reference_id: str
    secondary_id: str
    start: np.datetime64
    end: np.datetime64
    vx: FloatArray  #: m/yr, positive east, NaN = not measured
    vy: FloatArray  #: m/yr, positive north
    sigma_vx: FloatArray  #: 1 sigma, m/yr
    sigma_vy: FloatArray
    quality: ByteArray  #: a ``Quality`` value

    @property
    def v(self) -> FloatArray:
        """Speed, m/yr. For looking at: composites are made from the components."""
        return np.hypot(self.vx, self.vy)
