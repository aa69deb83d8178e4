"""What is true of a simulated archive: flow, shifts, masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hmavel._types import BoolArray, FloatArray, Grid, SceneMask, TimeArray
from hmavel.simulate import render
from hmavel.simulate.flow import Glacier
from hmavel.simulate.layout import World
from hmavel.simulate.render import year_of
from hmavel.simulate.sensor import Geolocation


@dataclass(frozen=True)
class TrueScene:
    """What is true of one scene."""

    id: str  #: product id
    time: np.datetime64  #: scene centre, UTC
    path: Path  #: product folder
    mask_path: Path  #: true classes, 30 m GeoTIFF, bits as in ``hmavel.simulate.render``
    sun_azimuth: float
    sun_elevation: float
    geolocation: Geolocation  #: where the product puts the ground
    fractions: dict[str, float]  #: valid, cloud, shadow, snow (of the scene), ice_clear
    broken: str  #: how the product was damaged: "" or "truncated", "missing", ...

    @property
    def shift(self) -> tuple[float, float]:
        """(east, north) in metres by which the scene's content lies off, without the ramp."""
        return self.geolocation.east, self.geolocation.north

    @property
    def usable(self) -> bool:
        """Whether the product can be read and shows at least 40 % of the ice."""
        return not self.broken and self.fractions["ice_clear"] >= 0.4


@dataclass(frozen=True)
class Archive:
    """A Landsat archive on disk, and the truth about it.

    Speeds are Eulerian: at a fixed place, the mean over time of the velocity of whatever ice
    is there. Displacements are Lagrangian: how far the ice goes that is there at the start.
    """

    path: Path
    scenes_dir: Path  #: holds the product folders
    inventory: Path  #: RGI7 GeoPackage
    dem: Path  #: 30 m GeoTIFF
    seed: int
    size: int
    start: np.datetime64
    years: float
    scenes: tuple[TrueScene, ...]  #: in order of time
    areas_km2: dict[str, float]  #: glacier id -> area

    @property
    def world(self) -> World:
        """The seed and size, from which everything else follows."""
        return World(self.seed, self.size)

    @property
    def grid(self) -> Grid:
        """Band 8's grid."""
        return self.world.grid

    @property
    def glaciers(self) -> tuple[Glacier, ...]:
        """The glaciers, with their flow."""
        return self.world.glaciers

    @cached_property
    def epoch(self) -> np.datetime64:
        """Zero of the flow's time: the start of the calendar year of ``start``."""
        return epoch_of(self.start)

    def scene(self, id: str) -> TrueScene:  # noqa: A002 - the word of Scene.id
        """Return the truth of the scene with that product id."""
        for scene in self.scenes:
            if scene.id == id:
                return scene
        raise KeyError(f"simulate {id}: not in {self.path}")

    def glacier(self, kind_or_id: str) -> Glacier:
        """Return the first glacier with that id or kind."""
        for g in self.glaciers:
            if kind_or_id in (g.id, g.kind):
                return g
        raise KeyError(f"simulate {kind_or_id}: no such glacier in {self.path}")

    def true_velocity(
        self, start: np.datetime64, end: np.datetime64, grid: Grid | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the mean velocity at each cell centre between two times.

        Parameters
        ----------
        start, end
            The interval.
        grid
            Any grid in the archive's UTM zone; Band 8's by default.

        Returns
        -------
        vx, vy
            m/yr (year of 365.25 days), positive east / north, float64, of the grid's shape;
            0 off the glaciers. Exact: u(x) times the mean of a(t).
        """
        return self._on_ice(
            self.grid if grid is None else grid,
            lambda g, x, y: _scaled(g, x, y, self._pseudo(g, start, end), start, end),
        )

    def true_months(
        self, months: TimeArray, grid: Grid | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the mean velocity over each calendar month: (n_months, rows, cols), m/yr.

        ``months`` is an array of datetime64[M]; otherwise as :meth:`true_velocity`.
        """
        fields = [
            self.true_velocity(milliseconds(m), milliseconds(m + 1), grid)
            for m in np.asarray(months, dtype="datetime64[M]")
        ]
        return np.stack([f[0] for f in fields]), np.stack([f[1] for f in fields])

    def true_displacement(
        self, start: np.datetime64, end: np.datetime64, grid: Grid | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return how far the ice that is at each cell centre at ``start`` has gone by ``end``.

        Metres, positive east / north, float64; 0 off the glaciers; exact. Swapped times
        give the way back. Matching error is not in it: see :meth:`true_mismatch`.
        """
        return self._on_ice(
            self.grid if grid is None else grid,
            lambda g, x, y: g.displacement(x, y, self._pseudo(g, start, end)),
        )

    def true_mismatch(
        self, reference: TrueScene, secondary: TrueScene, grid: Grid | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return what a perfect match on bare ground measures between two scenes, metres.

        East / north, of the grid's shape: the difference of the scenes' geolocation errors
        (registration, ramp, detector modules).
        """
        grid = self.grid if grid is None else grid
        x, y = _axes(grid)
        one, two = reference.geolocation.error(x, y), secondary.geolocation.error(x, y)
        shape = grid.shape
        return (
            np.broadcast_to(two[0] - one[0], shape).copy(),
            np.broadcast_to(two[1] - one[1], shape).copy(),
        )

    def glacier_mask(self, grid: Grid | None = None) -> BoolArray:
        """Return where the centre of a cell lies on any glacier."""
        grid = self.grid if grid is None else grid
        x, y = _axes(grid)
        out = np.zeros(grid.shape, dtype=bool)
        for g in self.glaciers:
            out |= g.inside(x, y)
        return out

    def true_mask(self, scene: TrueScene) -> SceneMask:
        """Return what each 30 m pixel of a scene really shows.

        Cloud is every pixel whose cloud or whose cirrus hides 10 % of the ground;
        shadow is cloud shadow of 30 %, or ground turned away from the sun; snow is half a
        pixel of it (bare ice is not snow).
        """
        import rasterio

        with rasterio.open(scene.mask_path) as file:
            bits = file.read(1)
        none = np.zeros(bits.shape, dtype=bool)
        return SceneMask(
            grid=self.world.grid30,
            valid=bits & render.VALID > 0,
            cloud=bits & (render.CLOUD | render.CIRRUS) > 0,
            shadow=bits & (render.SHADOW | render.SHADED) > 0,
            snow=bits & render.SNOW > 0,
            water=none,
            saturated=none,
            source="truth",
        )

    def _pseudo(self, g: Glacier, start: np.datetime64, end: np.datetime64) -> float:
        a, b = year_of(start, self.epoch), year_of(end, self.epoch)
        return float(g.rate.integral(b) - g.rate.integral(a))

    def _on_ice(self, grid: Grid, field: Any) -> tuple[FloatArray, FloatArray]:
        east, north = np.zeros(grid.shape), np.zeros(grid.shape)
        x, y = _axes(grid)
        for g in self.glaciers:
            gx, gy = g.outline(60)
            cols = np.flatnonzero((x[0] >= gx.min() - 50) & (x[0] <= gx.max() + 50))
            rows = np.flatnonzero((y[:, 0] >= gy.min() - 50) & (y[:, 0] <= gy.max() + 50))
            if not (len(rows) and len(cols)):
                continue
            part = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
            de, dn = field(g, x[:, part[1]], y[part[0]])
            east[part] += de
            north[part] += dn
        return east, north


def _scaled(
    g: Glacier, x: Any, y: Any, pseudo: float, start: np.datetime64, end: np.datetime64
) -> tuple[FloatArray, FloatArray]:
    u, v = g.steady_velocity(x, y)
    mean = pseudo / year_of(end, start)
    return u * mean, v * mean


def _axes(grid: Grid) -> tuple[FloatArray, FloatArray]:
    rows, cols = grid.shape
    return grid.x(np.arange(cols))[None, :], grid.y(np.arange(rows))[:, None]


def epoch_of(start: np.datetime64) -> np.datetime64:
    """Return the start of the calendar year that ``start`` lies in."""
    return milliseconds(start.astype("datetime64[Y]"))


def milliseconds(time: str | np.datetime64) -> np.datetime64:
    """Return a moment with the resolution of the scenes' times."""
    moment: np.datetime64 = np.array([time], dtype="datetime64[ms]")[0]
    return moment
