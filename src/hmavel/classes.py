"""What a pixel shows, told from its reflectances, from QA_PIXEL, or from Band 8 alone.

Cloud is found by albedo and short-wave infrared, because the classes that come with the
product (CFMask, in QA_PIXEL) mistake bright ice for cloud and pass over thin cloud. Snow and
ice are bright in the visible and dark at 1.6 um (Band 6); water and ice clouds are bright in
both. So on bright ground Band 6 decides, in both directions, and elsewhere QA_PIXEL does.

Arrays in, arrays out; ``mask.py`` reads them from scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hmavel import qa as bits
from hmavel._types import BoolArray, ByteArray, FloatArray

#: The 30 m bands that the albedo route needs; B3 is for NDSI.
SPECTRAL_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7")

#: How far QA's neighbouring cloud is looked at, 30 m pixels.
REACH = 7
#: What a cloud's body holds everywhere: squares of so many pixels on a side.
_SOLID = 2
#: And a veil's, which is broad where stripes of debris are not.
_BROAD = 3
#: Pixels that are looked at at a time.
_STRIP = 32768
#: Pixels up to which masks are widened by shifts, which is faster for few.
_BY_SHIFTS = 12
#: Side of the window whose purest snow tells of a veil, 30 m pixels.
ENVELOPE = 7
#: Side of the texture window, and widening of Band 8's "cloud", 15 m pixels.
SIDE, WIDEN_B8 = 9, 4


@dataclass(frozen=True)
class Thresholds:
    """Every number of the masks; reflectances are top-of-atmosphere, 0 ... 1."""

    snow_ndsi: float = 0.40  #: snow and ice: NDSI above this
    snow_b5: float = 0.11  #: ... and Band 5 above this (water is darker); so is every cloud
    cloud_albedo: float = 0.40  #: cloud by albedo: broadband albedo above this
    cloud_b6: float = 0.20  #: ... and Band 6 above this: snow and ice are darker there
    cloud_ndsi: float = 0.60  #: ... and NDSI below this: holds on slopes that face the sun
    cloud_b5_b6: float = 1.10  #: ... and B5/B6 above this: bright rock and sand are below
    cloud_min_pixels: int = 16  #: smaller clumps of albedo cloud are mixed pixels, 30 m pixels
    clear_ndsi: float = 0.70  #: clearly snow or ice: NDSI above this, in any light
    clear_b6: float = 0.12  #: ... or Band 6 below this
    clear_b6_ndsi: float = 0.60  #: ... with NDSI above this
    trust: float = 0.50  #: least share of QA's cloud around a pixel that is not clearly ice
    veil_ndsi: float = 0.72  #: cirrus thins out on snow and ice: NDSI below this
    veil_m: float = 900.0  #: ... within this distance of QA's cirrus, metres
    far_veil_ndsi: float = 0.75  #: and farther on, where no pixel of snow around exceeds this
    far_veil_m: float = 3000.0  #: ... within this distance of QA's cirrus, metres
    cloud_buffer_m: float = 45.0  #: cloud is widened by this, metres
    shadow_albedo: float = 0.45  #: QA's shadow is overruled where snow is brighter than this
    shade_albedo: float = 0.30  #: QA's mistaken cloud is shadow where albedo is below this
    shade_m: float = 300.0  #: ... within this distance of its shadow, metres
    dark_b5: float = 0.08  #: terrain shadow or water: Band 5 below this
    dark_b6: float = 0.05  #: ... and Band 6 below this
    water_ndwi: float = 0.30  #: of the dark, water: (B3 - B5) / (B3 + B5) above this
    water_b3: float = 0.08  #: ... and Band 3 above this: shadows are darker
    smooth_bright: float = 0.40  #: Band 8 alone: cloud or blank snow is brighter than this
    smooth_texture: float = 0.03  #: ... and its local spread below this share of its mean
    smooth_dark: float = 0.05  #: Band 8 alone: water or shadow is darker than this


@dataclass(frozen=True)
class Classes:
    """The classes as bare arrays, shape (rows, cols); meanings as in ``SceneMask``."""

    valid: BoolArray
    cloud: BoolArray
    shadow: BoolArray
    snow: BoolArray
    water: BoolArray
    saturated: BoolArray
    core: BoolArray | None = None  #: cloud before it was widened, where it was


def broadband_albedo(
    b2: FloatArray, b4: FloatArray, b5: FloatArray, b6: FloatArray, b7: FloatArray
) -> FloatArray:
    """Return the broadband albedo, 0 ... 1, of reflectances of one shape; NaN stays NaN.

    References
    ----------
    Liang (2001), Remote Sensing of Environment 76, 213-238, for the bands of ETM+, which
    OLI's Bands 2, 4, 5, 6 and 7 follow.
    """
    albedo = 0.356 * b2 + 0.130 * b4 + 0.373 * b5 + 0.085 * b6 + 0.072 * b7 - 0.0018
    return np.asarray(albedo)


def ndsi(b3: FloatArray, b6: FloatArray) -> FloatArray:
    """Return the snow index (B3 - B6) / (B3 + B6); NaN where a band is, or the sum is <= 0."""
    return _contrast(b3, b6)


def spectral_classes(
    bands: Mapping[str, FloatArray],
    qa: NDArray[Any] | None,
    radsat: NDArray[Any] | None = None,
    *,
    pixel_m: float = 30.0,
    thresholds: Thresholds | None = None,
) -> Classes:
    """Classify pixels from reflectances and, where given, the product's own classes.

    Parameters
    ----------
    bands
        ``SPECTRAL_BANDS`` -> top-of-atmosphere reflectance, one shape, NaN = no data.
    qa, radsat
        QA_PIXEL and QA_RADSAT, or None.
    pixel_m
        Pixel side, metres.
    thresholds
        Default: ``Thresholds()``.

    Notes
    -----
    Snow, ice and rock in one pixel look like thin cloud over snow, in every band; only their
    pattern differs. So cloud is (1) what is bright, bright at 1.6 um, of a low NDSI, not as
    red as rock, and solid: ragged edges of snow and thin moraines are opened away; (2) what
    QA_PIXEL calls cloud or cirrus and is not clearly snow or ice, unless most of QA's cloud
    within 7 pixels is: then it errs there, and is not believed on the mixed pixels in between
    either; (3) broad thin edges, on snow and ice, of that cirrus, or without QA_PIXEL of all
    cloud, and farther from the cirrus wherever no snow nearby is as dark at 1.6 um as snow
    without a veil; (4) all of these widened, since QA_PIXEL's own widening (bit 1) was drawn
    around clouds that (2) may have removed.

    QA's shadows are dropped on ground too bright to be in shadow, and filled where QA calls
    shaded snow cloud; terrain shadow and water, which QA_PIXEL confuses on slopes, are what
    is dark in both infrared bands.

    On simulated scenes, whose QA_PIXEL errs as CFMask does, cloud and cirrus of 10 % opacity
    and more are found in 96 to 99 % of their pixels and 96 to 99 % of the clear ice is kept
    (QA_PIXEL alone: 77 to 95 % and 69 to 74 %); see docs/method.md. Over coarse-grained snow,
    which is darker at 1.6 um than the simulated one, cirrus of 10 to 20 % is not seen: that
    takes Band 9.
    """
    t = thresholds or Thresholds()
    own = _by_strips([np.asarray(bands[name]) for name in SPECTRAL_BANDS], t)
    valid, icy = own.valid, own.icy
    nothing = np.zeros(valid.shape, bool)
    if qa is not None:
        valid &= ~bits.has(qa, "fill")
    core = _clumps(_opened(own.core & valid, _SOLID), t.cloud_min_pixels)
    thinning = core  # what may have thin edges; where QA is at hand, it knows which: cirrus
    water, shadow = own.watery, own.dark & ~own.watery
    if qa is not None:
        seen_by_qa = _believed(bits.has(qa, "cloud", "cirrus"), own.no_cloud, t.trust)
        thinning = seen_by_qa & bits.has(qa, "cirrus")
        core = core | seen_by_qa
        shade = bits.has(qa, "shadow") & ~own.sunlit
        # Shaded snow that QA calls cloud is a hole in its shadow.
        hole = bits.has(qa, "cloud") & ~core & own.dim
        shadow |= shade | (hole & widened(shade, t.shade_m / pixel_m))
        # On snow and ice QA's water is slush or shade; the infrared rule has found lakes.
        water |= bits.has(qa, "water") & ~icy
    if radsat is not None:
        shadow |= bits.occluded(radsat)
    reach = [t.veil_m / pixel_m, t.far_veil_m / pixel_m][: 1 if qa is None else 2]
    near, *far = widened_by(thinning, reach)
    veil = near & own.veiled
    if qa is not None:
        veil |= _far_veil(far[0], own.bright_snow, own.snow_index, t)
    core = core | _opened(veil, _BROAD)
    cloud = widened(core, t.cloud_buffer_m / pixel_m) & valid
    return Classes(
        valid=valid,
        cloud=cloud,
        shadow=shadow & valid & ~cloud,
        snow=icy & valid & ~cloud,
        water=water & valid & ~cloud,
        saturated=bits.saturated(radsat) & valid if radsat is not None else nothing,
        core=core,
    )


@dataclass(frozen=True)
class _Own:
    """What the reflectances of a pixel say of it, whatever is around; (rows, cols)."""

    valid: BoolArray
    icy: BoolArray  #: snow or ice
    core: BoolArray  #: as bright as cloud, in both ranges
    veiled: BoolArray  #: snow or ice, perhaps under a thin cloud
    bright_snow: BoolArray
    no_cloud: BoolArray
    dark: BoolArray
    watery: BoolArray
    sunlit: BoolArray  #: snow too bright to be in shadow
    dim: BoolArray
    snow_index: FloatArray


def _by_strips(bands: Sequence[FloatArray], t: Thresholds) -> _Own:
    """Look at some rows at a time: what is computed of them stays in the processor's cache."""
    rows, cols = bands[0].shape
    kinds = {f.name: np.float32 if f.name == "snow_index" else bool for f in fields(_Own)}
    whole = _Own(**{name: np.empty((rows, cols), kind) for name, kind in kinds.items()})
    step = max(_STRIP // max(cols, 1), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        for first in range(0, rows, step):
            some = slice(first, first + step)
            part = _of_pixels([band[some] for band in bands], t)
            for name in kinds:
                getattr(whole, name)[some] = getattr(part, name)
    return whole


def _of_pixels(bands: Sequence[FloatArray], t: Thresholds) -> _Own:
    b2, b3, b4, b5, b6, b7 = bands
    albedo = broadband_albedo(b2, b4, b5, b6, b7)
    snow_index = ndsi(b3, b6)
    bright = albedo > t.cloud_albedo
    icy = (snow_index > t.snow_ndsi) & (b5 > t.snow_b5)
    high_b6 = (b6 > t.cloud_b6) & (snow_index < t.cloud_ndsi)
    unlit = (snow_index > t.clear_b6_ndsi) & (b6 < t.clear_b6)
    clearly_ice = icy & ((snow_index > t.clear_ndsi) | unlit)
    dark = (b5 < t.dark_b5) & (b6 < t.dark_b6)
    bright_snow = icy & bright
    return _Own(
        valid=np.isfinite(b2 + b3 + b4 + b5 + b6 + b7),
        icy=icy,
        core=bright & high_b6 & (b5 > t.cloud_b5_b6 * b6),
        veiled=bright_snow & (snow_index < t.veil_ndsi),
        bright_snow=bright_snow,
        # Shaded snow has no near infrared, which every cloud has.
        no_cloud=clearly_ice | (b5 < t.snow_b5),
        dark=dark,
        watery=dark & (b3 > t.water_b3) & (_contrast(b3, b5) > t.water_ndwi),
        sunlit=icy & (albedo > t.shadow_albedo),
        dim=albedo < t.shade_albedo,
        snow_index=snow_index,
    )


def qa_classes(qa: NDArray[Any], radsat: NDArray[Any] | None = None) -> Classes:
    """Take the product's own classes as they are: without reflectances, nothing overrules."""
    valid = ~bits.has(qa, "fill")
    cloud = bits.has(qa, "cloud", "cirrus", "dilated") & valid
    shadow = bits.has(qa, "shadow") & valid & ~cloud
    nothing = np.zeros(valid.shape, bool)
    return Classes(
        valid=valid,
        cloud=cloud,
        shadow=shadow | (bits.occluded(radsat) & valid) if radsat is not None else shadow,
        snow=bits.has(qa, "snow") & valid & ~cloud,
        water=bits.has(qa, "water") & valid & ~cloud,
        saturated=bits.saturated(radsat) & valid if radsat is not None else nothing,
    )


def texture_classes(b8: FloatArray, *, thresholds: Thresholds | None = None) -> Classes:
    """Classify from Band 8 alone: all that brightness and smoothness can tell.

    Parameters
    ----------
    b8
        Reflectance (0 ... 1) at 15 m, NaN = no data.

    Notes
    -----
    Bright and smooth is "cloud": blank snow looks the same and serves matching as little.
    Bright and textured is "snow" (snow or ice: no bare ground). Dark and smooth is "water",
    other dark is "shadow". Thin cloud and haze over rock are not seen.
    """
    t = thresholds or Thresholds()
    valid = np.isfinite(b8)
    mean = _local_mean(np.where(valid, b8, 0.0), valid)
    # Spread about the local mean over 9 x 9 pixels, each about its own neighbourhood: a slope
    # in brightness (hillside, vignetting) is not texture.
    detail = np.where(valid, b8 - mean, 0.0)
    spread = np.sqrt(_local_mean(detail * detail, valid))
    with np.errstate(invalid="ignore"):
        smooth = spread < t.smooth_texture * np.maximum(mean, t.smooth_dark)
        bright, dark = mean > t.smooth_bright, mean < t.smooth_dark
    cloud = widened(bright & smooth & valid, WIDEN_B8) & valid
    return Classes(
        valid=valid,
        cloud=cloud,
        shadow=dark & ~smooth & valid & ~cloud,
        snow=bright & valid & ~cloud,
        water=dark & smooth & valid & ~cloud,
        saturated=np.zeros(valid.shape, bool),
    )


def _contrast(a: FloatArray, b: FloatArray) -> FloatArray:
    total = np.asarray(a + b)
    with np.errstate(invalid="ignore", divide="ignore"):
        contrast = np.asarray((a - b) / total)
    contrast[~(total > 0)] = np.nan
    return contrast


def _believed(cloud: BoolArray, wrong: BoolArray, trust: float) -> BoolArray:
    """Keep QA's cloud where it is not wrong, nor most of it around wrong."""
    # Counts, not filtered floats: a window's answer must not depend on what is far away.
    kept = cloud & ~wrong
    if not kept.any():
        return kept
    around = [_count_around(mask, REACH) for mask in (kept, cloud)]
    return np.asarray(kept & (around[0] >= np.multiply(trust, around[1], dtype=np.float64)))


def _count_around(mask: BoolArray, reach: int) -> ByteArray:
    """Count the mask's pixels in the square of ``reach`` <= 7 around each, none beyond."""
    return _over_square(mask.view(np.uint8), reach, np.add, 0)


def _over_square(
    values: NDArray[Any], reach: int, together: Callable[..., NDArray[Any]], outside: float
) -> NDArray[Any]:
    """Take the sum, or the like, of the square of ``reach`` pixels around each.

    Of two rows, then four, and so on: a few passes, whatever the reach; then of columns.
    """
    rows, cols = values.shape
    shape, inside = (rows + 2 * reach, cols + 2 * reach), slice(reach, -reach)
    padded = np.full(shape, outside, values.dtype)
    padded[inside, inside] = values
    return _over_line(_over_line(padded, rows, reach, together, 0), cols, reach, together, 1)


def _over_line(
    padded: NDArray[Any], length: int, reach: int, together: Callable[..., NDArray[Any]],
    axis: int,
) -> NDArray[Any]:
    """Take the sum, or the like, of ``2 * reach + 1`` pixels in a line from each on."""
    side = 2 * reach + 1
    found, done, power = None, 0, 1

    def cut(first: int, last: int | None) -> NDArray[Any]:
        return padded[first:last] if axis == 0 else padded[:, first:last]

    while power <= side:  # ``padded`` holds what ``power`` pixels from each on make
        if side & power:
            part = cut(done, done + length)
            found = part.copy() if found is None else together(found, part, out=found)
            done += power
        padded = together(cut(0, -power), cut(power, None))
        power *= 2
    assert found is not None
    return found


def _far_veil(
    near: BoolArray, bright_snow: BoolArray, index: FloatArray, t: Thresholds
) -> BoolArray:
    """Find the veil that goes on over snow ``near`` QA's cirrus, where QA is blind to it.

    A veil lowers NDSI everywhere, a slope or a rock in the pixel here and there: so it is
    there where not even the best pixel around has the NDSI of snow.
    """
    if not near.any():
        return near
    best = np.where(bright_snow, index, np.float32(-1.0))
    best = _over_square(best, ENVELOPE // 2, np.maximum, -1.0)
    return np.asarray(near & bright_snow & (best < t.far_veil_ndsi))


def _clumps(mask: BoolArray, least: int) -> BoolArray:
    """Drop 8-connected clumps of fewer pixels than ``least``."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), int))
    if not count:
        return mask
    kept = mask.copy()
    inside = labels[mask]
    kept[mask] = (np.bincount(inside, minlength=count + 1) >= least)[inside]
    return kept


def widened(mask: BoolArray, pixels: float) -> BoolArray:
    """Add every pixel whose centre lies within ``pixels`` of one of the mask's centres."""
    return widened_by(mask, [pixels])[0]


def widened_by(mask: BoolArray, distances: Sequence[float]) -> list[BoolArray]:
    """Widen a mask by several distances, pixels: what they have in common is done once."""
    rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size or max(distances) <= 0:
        return [mask] * len(distances)
    far = int(max(distances))
    part = tuple(  # nothing farther out can be reached
        slice(max(found[0] - far, 0), found[-1] + far + 1) for found in (rows, cols)
    )
    nearest = _square_distance(mask[part]) if far > _BY_SHIFTS else None
    made = []
    for pixels in distances:
        wide = np.zeros_like(mask)
        if pixels <= 0:
            wide = mask
        elif int(pixels) <= _BY_SHIFTS:
            _spread(mask[part], pixels, wide[part])
        else:
            assert nearest is not None
            most = int(pixels**2) + 1
            while np.sqrt(most) > pixels:  # the largest square whose root is not farther
                most -= 1
            np.less_equal(nearest, most, out=wide[part])
        made.append(wide)
    return made


def _square_distance(mask: BoolArray) -> NDArray[np.int32]:
    """Return the square of the distance to the nearest of the mask's pixels."""
    nearest: NDArray[np.int32] = ndimage.distance_transform_edt(
        ~mask, return_distances=False, return_indices=True
    )
    rows, cols = (np.arange(count, dtype=nearest.dtype) for count in mask.shape)
    nearest[0] -= rows[:, None]
    nearest[1] -= cols
    nearest *= nearest
    return np.asarray(nearest[0] + nearest[1])


def _spread(mask: BoolArray, pixels: float, out: BoolArray) -> None:
    """Set ``out`` within ``pixels`` of the mask: row by row of the disk, shifted."""
    far = int(pixels)
    along = mask.copy()
    width = 0
    for down in range(far, -1, -1):  # from the disk's shortest row to its longest
        while (width + 1) ** 2 + down**2 <= pixels**2:
            width += 1
            along[:, width:] |= mask[:, :-width]
            along[:, :-width] |= mask[:, width:]
        out[down:] |= along[: max(len(along) - down, 0)]
        if down:
            out[:-down] |= along[down:]


def _opened(mask: BoolArray, side: int) -> BoolArray:
    """Keep what squares of ``side`` pixels fit in: SciPy's binary opening, by shifts."""
    if not mask.any():
        return mask
    rows, cols = mask.shape
    if min(rows, cols) < side:
        return np.zeros_like(mask)
    fits = np.logical_and.reduce(
        [mask[i : rows - side + 1 + i, j : cols - side + 1 + j]
         for i in range(side) for j in range(side)]
    )  # fmt: skip
    out = np.zeros_like(mask)
    for i in range(side):
        for j in range(side):
            out[i : rows - side + 1 + i, j : cols - side + 1 + j] |= fits
    return out


def _local_mean(values: FloatArray, valid: BoolArray, side: int = SIDE) -> FloatArray:
    share = ndimage.uniform_filter(valid.astype(np.float64), side, mode="nearest")
    total = ndimage.uniform_filter(
        np.where(valid, values, 0.0).astype(np.float64), side, mode="nearest"
    )
    return np.where(valid, total / np.maximum(share, 1e-9), np.nan)
