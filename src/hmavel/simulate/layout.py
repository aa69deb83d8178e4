"""Where the simulated world is, and which glaciers it has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine

from hmavel._types import Grid
from hmavel.simulate.flow import Glacier, Rate

#: A world's centre, EPSG:32646, on WRS-2 path 135 row 39 (eastern Nyainqentanglha).
CENTRE = (759_990.0, 3_319_980.0)
EPSG = 32646
WRS = (135, 39)
#: Side of the square in which one set of glaciers lies, at the demo's size.
CELL_M = 18_000.0

#: kind, x, y of the middle (parts of the cell), azimuth, length and half width (same)
_SET = (
    ("season", 0.01, 0.290, 104.0, 0.80, 0.0375),
    ("surge", -0.02, -0.020, 262.0, 0.82, 0.0385),
    ("slow", 0.03, -0.310, 98.0, 0.78, 0.0370),
    ("small", 0.27, 0.415, 101.0, 0.24, 0.0180),
)
_NAMES = {"season": "Tides", "surge": "Leap", "slow": "Still", "small": "Little"}


@dataclass(frozen=True)
class World:
    """What a seed and a size decide before anything is computed."""

    seed: int
    size: int  #: pixels of Band 8 on a side, odd

    @property
    def grid(self) -> Grid:
        """Band 8: pixel centres on multiples of 15 m, the first on a multiple of 30 m."""
        return _grid(self.size, 15.0)

    @property
    def grid30(self) -> Grid:
        """The reflective bands: the same upper-left pixel *centre*, half as many and one."""
        return _grid((self.size + 1) // 2, 30.0, (self.size - 1) * 15.0)

    @property
    def tile(self) -> int:
        """Side of the periodic tiles, in pixels of whatever grid they are for."""
        return next((side for side in (512, 1024) if self.size + 32 <= side), 2048)

    @property
    def glaciers(self) -> tuple[Glacier, ...]:
        """The glaciers, four to a cell."""
        return _glaciers(self.seed, self.size)


def _grid(count: int, pixel: float, span: float | None = None) -> Grid:
    from rasterio.crs import CRS

    span = (count - 1) * pixel if span is None else span
    left = round((CENTRE[0] - span / 2) / 30.0) * 30.0
    top = round((CENTRE[1] + span / 2) / 30.0) * 30.0
    transform = Affine(pixel, 0.0, left - pixel / 2, 0.0, -pixel, top + pixel / 2)
    return Grid(CRS.from_epsg(EPSG), transform, (count, count))


@lru_cache(maxsize=4)
def _glaciers(seed: int, size: int) -> tuple[Glacier, ...]:
    side = size * 15.0
    count = max(1, round(side / CELL_M))
    cell = side / count
    found: list[Glacier] = []
    for i in range(count):
        for j in range(count):
            rng = np.random.default_rng([seed, 1, i, j])
            middle = (
                CENTRE[0] + (j - (count - 1) / 2) * cell,
                CENTRE[1] - (i - (count - 1) / 2) * cell,
            )
            found += _cell(rng, middle, cell, len(found))
    return tuple(found)


def _cell(
    rng: np.random.Generator, middle: tuple[float, float], cell: float, first: int
) -> list[Glacier]:
    turn = rng.uniform(-9.0, 9.0)
    s, c = np.sin(np.deg2rad(turn)), np.cos(np.deg2rad(turn))
    made = []
    for k, (kind, fx, fy, azimuth, length, half) in enumerate(_SET):
        x = middle[0] + cell * (fx * c + fy * s) * 0.97
        y = middle[1] + cell * (fy * c - fx * s) * 0.97
        a = azimuth + turn + rng.uniform(-4.0, 4.0)
        long = cell * length * rng.uniform(0.97, 1.03)
        meander = long * rng.uniform(0.018, 0.032)
        speed, rate = _motion(rng, kind)
        number = first + k + 1
        head = rng.uniform(5650.0, 5800.0) if kind != "small" else rng.uniform(5350.0, 5450.0)
        made.append(
            Glacier(
                id=f"RGI2000-v7.0-G-15-{90000 + number:05d}",
                name=_NAMES[kind] + (f" {first // len(_SET) + 1}" if first else ""),
                kind=kind,
                x=x - long / 2 * np.sin(np.deg2rad(a)),
                y=y - long / 2 * np.cos(np.deg2rad(a)),
                azimuth=a,
                length=long,
                half_width=cell * half,
                meander=meander,
                bends=rng.uniform(0.8, 1.2),
                phase=rng.uniform(0, 2 * np.pi),
                head_m=head,
                drop_m=long * rng.uniform(0.075, 0.088) + (100.0 if kind == "small" else 0.0),
                speed=speed,
                rate=rate,
                texture=int(rng.integers(1 << 20)),
            )
        )
    return made


def _motion(rng: np.random.Generator, kind: str) -> tuple[float, Rate]:
    if kind == "season":
        return rng.uniform(100.0, 130.0), Rate("season", 0.3, peak=rng.uniform(0.42, 0.55))
    if kind == "surge":
        onset = rng.uniform(0.75, 0.9)
        quiet, height = rng.uniform(38.0, 44.0), rng.uniform(410.0, 460.0)
        rate = Rate(
            "surge",
            height / quiet - 1.0,
            onset=onset,
            end=onset + rng.uniform(0.45, 0.55),
            ramp=0.07,
        )
        return quiet, rate
    if kind == "slow":
        return rng.uniform(6.0, 10.0), Rate("steady")
    return rng.uniform(14.0, 18.0), Rate("season", 0.2, peak=0.5)
