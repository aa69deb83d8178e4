"""The quality of velocity maps that any software made, by bare ground and by ice.

A drop-in for GLAFT: the same figures for arrays, for files and for many files at once, where
one that cannot be read costs only itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hmavel import parallel, state
from hmavel._types import DAYS_PER_YEAR, BoolArray, FloatArray, Grid
from hmavel.atomic import write_json
from hmavel.errors import HmavelError, ReadError, StableGroundError
from hmavel.flow_metric import flow_metric
from hmavel.gates import Figure, Gate, Limits, judge, spread_of_places
from hmavel.parallel import Failure
from hmavel.polygons import rasterize, read_polygons
from hmavel.raster import open_raster
from hmavel.raster_netcdf import read_variables
from hmavel.terrain import StaticTerrain, static_terrain

if TYPE_CHECKING:
    from rasterio.crs import CRS

logger = logging.getLogger(__name__)

#: unit of velocity -> days
UNITS = {"m/day": 1.0, "m/yr": DAYS_PER_YEAR}
_NETCDF = (".nc", ".nc4", ".cdf", ".h5")
#: Columns of ``quality.csv``.
COLUMNS = (
    "name", "gate", "gate_reasons", "count", "bias_x", "bias_y", "delta_x", "delta_y",
    "sigma_x", "sigma_y", "delta_x_low", "delta_x_high", "delta_y_low", "delta_y_high",
    "outlier_fraction", "contamination", "bandwidth", "delta_normal", "delta_shear",
    "invalid_fraction", "ground_matched", "ice_matched", "static_spread_m", "bias_m",
    "delta_m", "unit", "reason",
)  # fmt: skip

Source = Path | tuple[Path, Path]


@dataclass(frozen=True)
class VelocityMap:
    """A velocity map as it was read: components along the axes of its grid, NaN = missing."""

    name: str
    vx: FloatArray  #: (rows, cols), positive east
    vy: FloatArray  #: (rows, cols), positive north
    grid: Grid


@dataclass(frozen=True)
class MapQuality:
    """What bare ground and ice say about a velocity map; units of the map unless said."""

    name: str
    unit: str
    static: StaticTerrain | None  #: None = too little bare ground
    delta_normal: float  #: half-width of the along-flow normal strain rate; NaN = not asked
    delta_shear: float  #: of the along-flow shear strain rate
    invalid_fraction: float  #: share of the map without a value
    gate: Gate
    reason: str  #: why a figure is missing

    def row(self) -> dict[str, Any]:
        """Return the figures as one flat row, ``COLUMNS``."""
        out: dict[str, Any] = {
            "name": self.name, "unit": self.unit, "reason": self.reason,
            "gate": self.gate.level, "gate_reasons": self.gate.text,
            "delta_normal": self.delta_normal, "delta_shear": self.delta_shear,
            "invalid_fraction": self.invalid_fraction,
        }  # fmt: skip
        if self.static is not None:
            figures = asdict(self.static)
            for axis in ("x", "y"):
                low, high = figures.pop(f"delta_{axis}_ci")
                figures |= {f"delta_{axis}_low": low, f"delta_{axis}_high": high}
            out |= {key: value for key, value in figures.items() if key in COLUMNS}
        return out | {k: v for k, v in self.gate.figures.items() if k in COLUMNS}


def assess_map(
    vx: ArrayLike,
    vy: ArrayLike,
    stable: ArrayLike,
    *,
    ice: ArrayLike | None = None,
    pixel: float | None = None,
    days: float | None = None,
    unit: str = "m/day",
    method: str = "robust",
    thres_sigma: float = 2.0,
    gridsize: int = 60,
    limits: Limits | None = None,
    name: str = "map",
) -> MapQuality:
    """Judge a velocity map by its bare ground and, where an outline is given, by its ice.

    Parameters
    ----------
    vx, vy
        Velocity, (rows, cols), first row northernmost; NaN = missing.
    stable
        True on ground that does not move, (rows, cols).
    ice
        True well inside the ice, for the scatter of strain rates; None leaves that out.
    pixel
        Side of a pixel in metres; needed with ``ice``.
    days
        Baseline of the map's pair; with it bias and half-width are also judged in metres.
    unit
        ``"m/day"`` or ``"m/yr"``.
    method, thres_sigma, gridsize
        As for ``static_terrain``; ``"glaft"`` gives the numbers of GLAFT 1.0.0.
    limits
        When to warn and fail; default ``Limits()``.
    name
        For tables and messages.

    Returns
    -------
    MapQuality

    Raises
    ------
    ValueError
        Shapes differ, an unknown unit, or an argument of ``static_terrain``.
    """
    x, y, ground = np.asarray(vx), np.asarray(vy), np.asarray(stable)
    on = None if ice is None else np.asarray(ice)
    masks = [ground] if on is None else [ground, on]
    if x.ndim != 2 or x.shape != y.shape or any(
        m.shape != x.shape or m.dtype != np.bool_ for m in masks
    ):
        raise ValueError(
            f"assess {name}: expected maps and bool masks of one shape, got {x.shape}, "
            f"{y.shape} and {[m.shape for m in masks]}; put all on the map's grid"
        )
    if unit not in UNITS:
        raise ValueError(
            f"assess {name}: expected a unit of {', '.join(UNITS)}, got {unit!r}; convert it"
        )
    if on is not None and pixel is None:
        raise ValueError(f"assess {name}: expected pixel= with ice=, got none; in metres")
    known = np.isfinite(x) & np.isfinite(y)
    options: dict[str, Any] = {
        "method": method, "thres_sigma": thres_sigma, "gridsize": gridsize
    }  # fmt: skip
    row, col = np.nonzero(ground & known)
    reasons: list[str] = []

    def attempt(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except StableGroundError as error:
            reasons.append(str(error))
            return None

    static = attempt(lambda: static_terrain(x[row, col], y[row, col], **options))
    flow = None
    if on is not None:
        flow = attempt(lambda: flow_metric(x, y, on, pixel=pixel or 1.0, **options))
    figures: dict[str, Figure] = {
        "static_count": float(len(row)),
        "static_spread_m": spread_of_places(row, col) * pixel if pixel else None,
        "ground_matched": len(row) / int(ground.sum()) if ground.any() else None,
        "ice_matched": _share(known, on),
    }
    if static is not None:
        figures["outliers"] = None if method == "glaft" else static.contamination
        if days is not None:
            metres = abs(days) / UNITS[unit]
            figures["bias_m"] = float(np.hypot(static.bias_x, static.bias_y)) * metres
            figures["delta_m"] = max(static.delta_x, static.delta_y) * metres
    return MapQuality(
        name=name,
        unit=unit,
        static=static,
        delta_normal=flow.delta_normal if flow else float("nan"),
        delta_shear=flow.delta_shear if flow else float("nan"),
        invalid_fraction=1.0 - float(np.isfinite(x).mean()),
        gate=judge(figures, limits),
        reason="; ".join(reasons),
    )


def assess_files(
    sources: Sequence[Source],
    out: Path,
    *,
    stable: Path,
    ice: Path | None = None,
    names: tuple[str, str] = ("vx", "vy"),
    nodata: float | None = None,
    crs: CRS | None = None,
    figures: bool = True,
    jobs: int = 1,
    **options: Any,
) -> list[MapQuality | Failure]:
    """Judge velocity maps on disk; write ``quality.csv``, ``quality.json`` and a figure each.

    Parameters
    ----------
    sources
        A NetCDF file or a GeoTIFF with both components, or two GeoTIFFs (vx, vy). A NetCDF
        variable over (time, y, x) gives a map for each time.
    out
        Folder; made when missing.
    stable, ice
        Vector files: ground that does not move; the inside of the ice.
    names
        Of the variables or bands.
    nodata
        Value that means missing, where the files do not say so themselves.
    crs
        Of files that name none.
    figures
        Whether to draw each map's scatter over bare ground.
    jobs
        Maps worked on at a time; 0 = one per core.
    options
        As for ``assess_map``: ``days``, ``unit``, ``method``, ``thres_sigma``, ``gridsize``,
        ``limits``.

    Returns
    -------
    list
        A ``MapQuality`` for each map, and a ``Failure`` for each source that could not be
        read, in the order given.

    Raises
    ------
    GlacierError
        A vector file cannot be used.
    """
    ground, inside = read_polygons(stable), None if ice is None else read_polygons(ice)

    def work(source: Source) -> list[MapQuality]:
        found = []
        masks: tuple[BoolArray, BoolArray | None] | None = None
        for m in read_maps(source, names=names, nodata=nodata, crs=crs):
            if masks is None:
                on = None if inside is None else rasterize(inside, m.grid)
                masks = rasterize(ground, m.grid), on
            quality = assess_map(
                m.vx, m.vy, masks[0], ice=masks[1], pixel=m.grid.pixel, name=m.name, **options
            )
            found.append(quality)
            if figures and quality.static is not None:
                from hmavel.figures_ground import scatter_figure

                known = masks[0] & np.isfinite(m.vx) & np.isfinite(m.vy)
                scatter_figure(
                    out / f"{m.name}.png", m.vx[known], m.vy[known], quality.static,
                    title=m.name, unit=quality.unit,
                )
        return found

    results = parallel.map(
        work, sources, jobs=jobs, label="velocity maps", name=lambda s: f"map {_label(s)}"
    )
    flat: list[MapQuality | Failure] = []
    for result in results:
        flat += [result] if isinstance(result, Failure) else result
    done = [item for item in flat if isinstance(item, MapQuality)]
    state.write_csv(out / "quality.csv", [item.row() for item in done], COLUMNS)
    plain = [
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
        for row in (item.row() for item in done)
    ]
    failed = [asdict(item) for item in flat if isinstance(item, Failure)]
    write_json(out / "quality.json", {"maps": plain, "failures": failed})
    return flat


def read_maps(
    source: Source,
    *,
    names: tuple[str, str] = ("vx", "vy"),
    nodata: float | None = None,
    crs: CRS | None = None,
) -> list[VelocityMap]:
    """Read the velocity maps of a source; arguments as for ``assess_files``.

    Raises
    ------
    ReadError
        A file cannot be read, or does not hold both components.
    """
    if isinstance(source, tuple):
        (vx, grid), (vy, other) = (_band(path, 1, crs) for path in source)
        if grid != other:
            raise ReadError(
                "read", source[1], expected=f"the grid of {source[0].name}", got="another one",
                hint="give the two components of one map",
            )
        layers, labels = [[vx], [vy]], [""]
    elif source.suffix.lower() in _NETCDF:
        arrays, grid, labels = read_variables(source, names, crs=crs)
        layers = [list(a) for a in arrays]
    else:
        with open_raster(source, crs=crs) as reader:
            have = reader.descriptions
        missing = [name for name in names if name not in have]
        if missing:
            raise ReadError(
                "read", source, expected=f"bands named {' and '.join(names)}",
                got=", ".join(have) or "none",
                hint="give vx and vy as two files, or name the bands",
            )
        (vx, grid), (vy, _) = (_band(source, have.index(name) + 1, crs) for name in names)
        layers, labels = [[vx], [vy]], [""]
    maps = []
    for label, x, y in zip(labels, *layers, strict=True):
        if nodata is not None:
            x, y = (np.where(v == nodata, np.nan, v) for v in (x, y))
        time = label.replace(":", "").replace(" ", "T")
        maps.append(VelocityMap("_".join(filter(None, (_label(source), time))), x, y, grid))
    return maps


def _band(path: Path, band: int, crs: CRS | None) -> tuple[FloatArray, Grid]:
    with open_raster(path, crs=crs) as reader:
        return reader.read_known(band)


def _label(source: Source) -> str:
    if not isinstance(source, tuple):
        return source.stem
    one, two = (path.stem for path in source)
    same = [a == b for a, b in zip(one, two, strict=False)]
    start = same.index(False) if False in same else len(same)
    return one[:start].rstrip("_-.v") or one


def _share(known: BoolArray, where: BoolArray | None) -> Figure:
    if where is None or not where.any():
        return None
    return float(known[where].mean())


def paired(paths: Sequence[Path], names: tuple[str, str] = ("vx", "vy")) -> list[Source]:
    """Sort files given one after the other into sources: GeoTIFFs of one band by twos.

    Raises
    ------
    HmavelError
        A GeoTIFF of one component is left without the other.
    """
    out: list[Source] = []
    waiting: Path | None = None
    for path in paths:
        if path.suffix.lower() in _NETCDF or _has_both(path, names):
            out.append(path)
        elif waiting is None:
            waiting = path
        else:
            out.append((waiting, path))
            waiting = None
    if waiting is not None:
        raise HmavelError(
            "assess", waiting, expected="the other component after it", got="nothing",
            hint="give GeoTIFFs of one band as VX VY VX VY ...",
        )
    return out


def _has_both(path: Path, names: tuple[str, str]) -> bool:
    try:
        with open_raster(path) as reader:
            return set(names) <= set(reader.descriptions)
    except HmavelError:
        return False  # said again, with its reason, when it is read


