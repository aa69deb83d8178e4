"""A scene on disk, as the archive's users get it: a Collection-2 Level-1 product folder.

Plain tiled GeoTIFFs with ``AREA_OR_POINT=Point``, MTL as .txt and .json with the fields of
the real ones. Only the bands that velocities and masks need are written.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.warp import transform as to_lonlat
from rasterio.windows import Window

from hmavel._types import Grid
from hmavel.simulate.layout import WRS, World
from hmavel.simulate.render import (
    BANDS30,
    CIRRUS,
    CLOUD,
    ICE,
    SHADOW,
    SNOW,
    VALID,
    Strip,
    render,
    strips,
)
from hmavel.simulate.sensor import earth_sun_distance
from hmavel.simulate.weather import Acquisition, cloud_threshold

#: Bands in the order of the files.
BANDS = (*BANDS30, "B8", "QA_PIXEL", "QA_RADSAT")
_UTM_ZONE = 46


def product_id(shot: Acquisition) -> str:
    """Name of the product; it was processed twelve days after the overpass."""
    day = shot.time.astype("datetime64[D]")
    made = day + np.timedelta64(12, "D")
    return (
        f"{shot.sensor}_L1TP_{WRS[0]:03d}{WRS[1]:03d}_{_compact(day)}_{_compact(made)}_02_T1"
    )


def _compact(day: np.datetime64) -> str:
    return str(day).replace("-", "")


def _create(path: Path, grid: Grid, dtype: str, block: int, **more: Any) -> Any:
    rows, cols = grid.shape
    side = min(block, max(16, -(-min(rows, cols) // 16) * 16))
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=cols,
        height=rows,
        count=1,
        dtype=dtype,
        crs=grid.crs,
        transform=grid.transform,
        tiled=True,
        blockxsize=side,
        blockysize=side,
        compress="deflate",
        zlevel=1,
        **more,
    )


def write_scene(
    world: World, shot: Acquisition, epoch: np.datetime64, scenes: Path, truth: Path
) -> dict[str, float]:
    """Render a scene and write its folder under ``scenes`` and its true mask under ``truth``.

    The folder carries a temporary name until it is complete.

    Returns
    -------
    dict
        Shares of the scene's valid pixels: ``cloud`` (with cirrus), ``shadow``, ``snow``,
        ``valid`` (of all pixels), and ``ice_clear`` (of the glaciers).
    """
    name = product_id(shot)
    final, temporary = scenes / name, scenes / f".{name}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    threshold = cloud_threshold(world, shot)
    counts = np.zeros(7)
    with ExitStack() as stack:
        files = {}
        for band in BANDS:
            grid, block = (world.grid, 256) if band == "B8" else (world.grid30, 128)
            files[band] = stack.enter_context(
                _create(temporary / f"{name}_{band}.TIF", grid, "uint16", block, predictor=2)
            )
            files[band].update_tags(AREA_OR_POINT="Point")
        mask = stack.enter_context(
            _create(truth / f"{name}_TRUTH.TIF", world.grid30, "uint8", 128)
        )
        for a, b in strips(world):
            strip = render(world, shot, epoch, threshold, a, b)
            _write_strip(files, mask, strip)
            counts += _count(strip.truth)
    fractions = _fractions(counts)
    document = metadata(world, shot, name, fractions["cloud"])
    (temporary / f"{name}_MTL.txt").write_text(to_odl(document))
    (temporary / f"{name}_MTL.json").write_text(json.dumps(_as_text(document), indent=1))
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    return fractions


def _write_strip(files: dict[str, Any], mask: Any, strip: Strip) -> None:
    layers = {**strip.b30, "QA_PIXEL": strip.qa, "QA_RADSAT": strip.radsat}
    for band, values in layers.items():
        rows, cols = values.shape
        files[band].write(values, 1, window=Window(0, strip.row, cols, rows))
    rows, cols = strip.b8.shape
    files["B8"].write(strip.b8, 1, window=Window(0, 2 * strip.row, cols, rows))
    rows, cols = strip.truth.shape
    mask.write(strip.truth, 1, window=Window(0, strip.row, cols, rows))


def _count(truth: Any) -> Any:
    valid = truth & VALID > 0
    cloud = truth & (CLOUD | CIRRUS) > 0
    shadow = truth & SHADOW > 0
    ice = truth & ICE > 0
    parts = (
        np.ones_like(valid), valid, cloud, shadow, truth & SNOW > 0, ice,
        ice & ~cloud & ~shadow,
    )  # fmt: skip
    return np.array([np.count_nonzero(p) for p in parts], dtype=np.float64)


def _fractions(counts: Any) -> dict[str, float]:
    total, valid, cloud, shadow, snow, ice, clear = (float(c) for c in counts)
    some = max(valid, 1.0)
    return {
        "valid": valid / total,
        "cloud": cloud / some,
        "shadow": shadow / some,
        "snow": snow / some,
        "ice_clear": clear / max(ice, 1.0),
    }


def metadata(world: World, shot: Acquisition, name: str, cloud: float) -> dict[str, Any]:
    """Return the MTL of a scene as nested groups, with the types of the .txt form."""
    grid, grid30 = world.grid, world.grid30
    moment = str(shot.time.astype("datetime64[ms]"))
    day, clock = moment.split("T")
    year_start = shot.time.astype("datetime64[Y]").astype("datetime64[ms]")
    year_day = int((shot.time - year_start) / np.timedelta64(1, "D")) + 1
    files: dict[str, Any] = {
        f"FILE_NAME_BAND_{b[1:]}": f"{name}_{b}.TIF" for b in (*BANDS30, "B8")
    }
    files["FILE_NAME_QUALITY_L1_PIXEL"] = f"{name}_QA_PIXEL.TIF"
    files["FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION"] = f"{name}_QA_RADSAT.TIF"
    files["FILE_NAME_METADATA_ODL"] = f"{name}_MTL.txt"
    numbers = [int(b[1:]) for b in (*BANDS30, "B8")]
    common = {
        "LANDSAT_PRODUCT_ID": name,
        "PROCESSING_LEVEL": "L1TP",
        "COLLECTION_CATEGORY": "T1",
        "OUTPUT_FORMAT": "GEOTIFF",
    }
    made = shot.time.astype("datetime64[D]") + np.timedelta64(12, "D")
    return {
        "LANDSAT_METADATA_FILE": {
            "PRODUCT_CONTENTS": {
                "ORIGIN": "Simulated by hmavel",
                **common,
                "COLLECTION_NUMBER": _Bare("02"),
                **files,
                **{f"DATA_TYPE_BAND_{n}": "UINT16" for n in numbers},
            },
            "IMAGE_ATTRIBUTES": {
                "SPACECRAFT_ID": f"LANDSAT_{int(shot.sensor[2:])}",
                "SENSOR_ID": "OLI_TIRS",
                "WRS_TYPE": 2,
                "WRS_PATH": WRS[0],
                "WRS_ROW": WRS[1],
                "NADIR_OFFNADIR": "NADIR",
                "TARGET_WRS_PATH": WRS[0],
                "TARGET_WRS_ROW": WRS[1],
                "DATE_ACQUIRED": _Bare(day),
                "SCENE_CENTER_TIME": f"{clock}0000Z",
                "STATION_ID": "LGN",
                "CLOUD_COVER": round(100 * cloud, 2),
                "CLOUD_COVER_LAND": round(100 * cloud, 2),
                "IMAGE_QUALITY_OLI": 9,
                **{f"SATURATION_BAND_{n}": "N" for n in numbers},
                "ROLL_ANGLE": 0.0,
                "SUN_AZIMUTH": round(shot.sun_azimuth, 8),
                "SUN_ELEVATION": round(shot.sun_elevation, 8),
                "EARTH_SUN_DISTANCE": round(earth_sun_distance(shot.time), 7),
            },
            "PROJECTION_ATTRIBUTES": {
                "MAP_PROJECTION": "UTM",
                "DATUM": "WGS84",
                "ELLIPSOID": "WGS84",
                "UTM_ZONE": _UTM_ZONE,
                "GRID_CELL_SIZE_PANCHROMATIC": _Bare("15.00"),
                "GRID_CELL_SIZE_REFLECTIVE": _Bare("30.00"),
                "PANCHROMATIC_LINES": grid.shape[0],
                "PANCHROMATIC_SAMPLES": grid.shape[1],
                "REFLECTIVE_LINES": grid30.shape[0],
                "REFLECTIVE_SAMPLES": grid30.shape[1],
                "ORIENTATION": "NORTH_UP",
                **_corners(grid),
            },
            "LEVEL1_PROCESSING_RECORD": {
                "ORIGIN": "Simulated by hmavel",
                "REQUEST_ID": "L2",
                "LANDSAT_SCENE_ID": f"LC{shot.sensor[3]}{WRS[0]:03d}{WRS[1]:03d}"
                f"{day[:4]}{year_day:03d}LGN00",
                **common,
                "DATE_PRODUCT_GENERATED": _Bare(f"{made}T00:00:00Z"),
                "PROCESSING_SOFTWARE_VERSION": "hmavel.simulate",
                **files,
                "DATA_SOURCE_ELEVATION": "GLS2000",
            },
            "LEVEL1_MIN_MAX_PIXEL_VALUE": {
                **{f"QUANTIZE_CAL_MAX_BAND_{n}": 65535 for n in numbers},
                **{f"QUANTIZE_CAL_MIN_BAND_{n}": 1 for n in numbers},
            },
            "LEVEL1_RADIOMETRIC_RESCALING": {
                **{f"REFLECTANCE_MULT_BAND_{n}": _Bare("2.0000E-05") for n in numbers},
                **{f"REFLECTANCE_ADD_BAND_{n}": _Bare("-0.100000") for n in numbers},
            },
            "LEVEL1_PROJECTION_PARAMETERS": {
                "MAP_PROJECTION": "UTM",
                "DATUM": "WGS84",
                "ELLIPSOID": "WGS84",
                "UTM_ZONE": _UTM_ZONE,
                "GRID_CELL_SIZE_PANCHROMATIC": _Bare("15.00"),
                "GRID_CELL_SIZE_REFLECTIVE": _Bare("30.00"),
                "ORIENTATION": "NORTH_UP",
                "RESAMPLING_OPTION": "CUBIC_CONVOLUTION",
            },
        }
    }


class _Bare(str):
    """A value that stands without quotes in the .txt form."""

    __slots__ = ()


def _corners(grid: Grid) -> dict[str, Any]:
    """Pixel *centres* of the corners, as the real files have them."""
    rows, cols = grid.shape
    places = {
        "UL": (grid.x(0), grid.y(0)),
        "UR": (grid.x(cols - 1), grid.y(0)),
        "LL": (grid.x(0), grid.y(rows - 1)),
        "LR": (grid.x(cols - 1), grid.y(rows - 1)),
    }
    xs, ys = zip(*places.values(), strict=True)
    lons, lats = to_lonlat(grid.crs, "EPSG:4326", list(xs), list(ys))
    out: dict[str, Any] = {}
    for key, lon, lat in zip(places, lons, lats, strict=True):
        out[f"CORNER_{key}_LAT_PRODUCT"] = _Bare(f"{lat:.5f}")
        out[f"CORNER_{key}_LON_PRODUCT"] = _Bare(f"{lon:.5f}")
    for key, (x, y) in places.items():
        out[f"CORNER_{key}_PROJECTION_X_PRODUCT"] = _Bare(f"{x:.3f}")
        out[f"CORNER_{key}_PROJECTION_Y_PRODUCT"] = _Bare(f"{y:.3f}")
    return out


def to_odl(document: dict[str, Any]) -> str:
    """Write nested groups in the form of the .txt metadata."""
    lines: list[str] = []

    def group(content: dict[str, Any], depth: int) -> None:
        pad = "  " * depth
        for key, value in content.items():
            if isinstance(value, dict):
                lines.append(f"{pad}GROUP = {key}")
                group(value, depth + 1)
                lines.append(f"{pad}END_GROUP = {key}")
            elif isinstance(value, str) and not isinstance(value, _Bare):
                lines.append(f'{pad}{key} = "{value}"')
            else:
                lines.append(f"{pad}{key} = {value}")

    group(document, 0)
    return "\n".join([*lines, "END", ""])


def _as_text(content: Any) -> Any:
    """Turn every leaf into a string, as the .json form has them."""
    if isinstance(content, dict):
        return {key: _as_text(value) for key, value in content.items()}
    return str(content)
