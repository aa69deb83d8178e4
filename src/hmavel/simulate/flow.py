"""A glacier whose flow is known in closed form.

The flow is separable, v(x, t) = a(t) u(x): the shape u is fixed and a(t) says how fast it runs.
Then the path of a particle between two times is its path in the steady flow u over the time
A(t2) - A(t1), where A is the integral of a. In glacier coordinates z (0 at the head, 1 at
the terminus) and q (-1 and 1 at the margins) a particle keeps its q, and z obeys the logistic
equation, whose solution is elementary. So velocity, displacement and the back-advection of the
surface's texture all come from the same three formulas, without integration in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hmavel.simulate.noise import F64, smoothstep

#: exponent and slope of the width along the glacier: broad above, narrow below
_BLUNT, _WIDE, _NARROWING = 0.4, 1.3, 0.65


@dataclass(frozen=True)
class Rate:
    """How fast the flow runs with time: a(t) and its integral A(t), t in years.

    ``a`` has no unit and its quiet, or mean, level is 1. Time counts from the start of
    the archive's first calendar year, so that a season keeps its month.
    """

    kind: str  #: "steady", "season" or "surge"
    amplitude: float = 0.0  #: season: half the swing; surge: the rise above 1 at its height
    peak: float = 0.5  #: season: when it is fastest (fraction of the year)
    onset: float = 0.0  #: surge: middle of the rise, years
    end: float = 0.0  #: surge: middle of the fall, years
    ramp: float = 0.08  #: surge: time scale of rise and fall, years

    def value(self, t: Any) -> Any:
        """Return a(t)."""
        t = np.asarray(t, dtype=np.float64)
        if self.kind == "season":
            return 1.0 + self.amplitude * np.cos(2 * np.pi * (t - self.peak))
        if self.kind == "surge":
            rise = np.tanh((t - self.onset) / self.ramp) - np.tanh((t - self.end) / self.ramp)
            return 1.0 + self.amplitude * 0.5 * rise
        return np.ones_like(t)

    def integral(self, t: Any) -> Any:
        """Return A(t), in years."""
        t = np.asarray(t, dtype=np.float64)
        if self.kind == "season":
            return t + self.amplitude / (2 * np.pi) * np.sin(2 * np.pi * (t - self.peak))
        if self.kind == "surge":
            up = _log_cosh((t - self.onset) / self.ramp)
            down = _log_cosh((t - self.end) / self.ramp)
            return t + self.amplitude * 0.5 * self.ramp * (up - down)
        return t.copy()


def _log_cosh(x: Any) -> Any:
    return np.logaddexp(x, -x) - np.log(2.0)


@dataclass(frozen=True)
class Glacier:
    """A simulated glacier: outline, surface and flow, all of them formulas.

    In its own frame, X metres down the axis from the head and Y metres to the right of it,
    the streamlines are Y = f(X) + w(X) q with constant q.
    """

    id: str
    name: str
    kind: str  #: "surge", "season", "slow" or "small"
    x: float  #: map x of the axis' start (the head)
    y: float  #: map y of the same
    azimuth: float  #: degrees clockwise from north, of the axis, down the glacier
    length: float  #: metres along the axis
    half_width: float  #: metres, scale of w
    meander: float  #: metres, amplitude of f
    bends: float  #: how many whole waves the meander has
    phase: float  #: radians
    head_m: float  #: elevation of the ice at the head
    drop_m: float  #: fall from head to terminus
    speed: float  #: m/yr on the centre line half way down, where a(t) = 1
    rate: Rate
    texture: int  #: which part of the texture tiles its surface shows

    def axes(self) -> tuple[float, float]:
        """Return (sin, cos) of the azimuth: the axis in (east, north)."""
        a = np.deg2rad(self.azimuth)
        return float(np.sin(a)), float(np.cos(a))

    def to_axis(self, x: Any, y: Any) -> tuple[F64, F64]:
        """Turn map coordinates into (X, Y) of the glacier's own frame, metres."""
        s, c = self.axes()
        dx = np.asarray(x, dtype=np.float64) - self.x
        dy = np.asarray(y, dtype=np.float64) - self.y
        return dx * s + dy * c, dx * c - dy * s

    def from_axis(self, along: Any, across: Any) -> tuple[F64, F64]:
        """Turn (X, Y) of the glacier's own frame into map coordinates."""
        s, c = self.axes()
        return self.x + along * s + across * c, self.y + along * c - across * s

    def centre(self, z: Any) -> Any:
        """Return f: metres to the right of the axis, of the centre line."""
        return self.meander * np.sin(2 * np.pi * self.bends * z + self.phase)

    def _centre_slope(self, z: Any) -> Any:
        k = 2 * np.pi * self.bends
        return self.meander * k / self.length * np.cos(k * z + self.phase)

    def width(self, z: Any) -> Any:
        """Return w: half the glacier's width, metres; 0 beyond head and terminus."""
        z = np.clip(z, 0.0, 1.0)
        return self.half_width * (4 * z * (1 - z)) ** _BLUNT * (_WIDE - _NARROWING * z)

    def to_flow(self, x: Any, y: Any) -> tuple[F64, F64]:
        """Turn map coordinates into (z, q). On the ice 0 < z < 1 and |q| < 1."""
        along, across = self.to_axis(x, y)
        z = along / self.length
        with np.errstate(divide="ignore", invalid="ignore"):
            q = (across - self.centre(z)) / self.width(z)
        return z, np.where(np.isnan(q), np.inf, q)

    def from_flow(self, z: Any, q: Any) -> tuple[F64, F64]:
        """Turn (z, q) into map coordinates."""
        return self.from_axis(z * self.length, self.centre(z) + self.width(z) * q)

    def inside(self, x: Any, y: Any) -> Any:
        """Whether a point lies on the glacier."""
        z, q = self.to_flow(x, y)
        return (z > 0) & (z < 1) & (np.abs(q) < 1)

    def profile(self, q: Any) -> Any:
        """Speed across the glacier as a part of the centre line's: 1 - q^4, 0 outside."""
        square = np.square(q)
        return np.clip(1.0 - square * square, 0.0, 1.0)

    def advance(self, z: Any, q: Any, pseudo_years: Any) -> Any:
        """Return z of the particle that was at (z, q), after A(t2) - A(t1) years.

        dX/dt = 4 speed z (1 - z) P(q) is the logistic equation in z.
        """
        r = 4.0 * self.speed / self.length * self.profile(q)
        with np.errstate(over="ignore"):
            return z / (z + (1.0 - z) * np.exp(-r * pseudo_years))

    def steady_velocity(self, x: Any, y: Any) -> tuple[F64, F64]:
        """Return u (east, north), m/yr: the velocity where a(t) = 1; 0 outside."""
        z, q = self.to_flow(x, y)
        on = (z > 0) & (z < 1) & (np.abs(q) < 1)
        z, q = np.where(on, z, 0.5), np.where(on, q, 1.0)
        along = 4.0 * self.speed * z * (1 - z) * self.profile(q)
        w = self.width(z)
        taper = _BLUNT * (1 - 2 * z) / (z * (1 - z)) - _NARROWING / (_WIDE - _NARROWING * z)
        across = along * (self._centre_slope(z) + w * taper / self.length * q)
        s, c = self.axes()
        return along * s + across * c, along * c - across * s

    def displacement(self, x: Any, y: Any, pseudo_years: float) -> tuple[F64, F64]:
        """Return how far (east, north) the particle at (x, y) moves, metres; 0 outside."""
        z, q = self.to_flow(x, y)
        on = (z > 0) & (z < 1) & (np.abs(q) < 1)
        z, q = np.where(on, z, 0.5), np.where(on, q, 1.0)
        z2 = self.advance(z, q, pseudo_years)
        along = (z2 - z) * self.length
        across = self.centre(z2) - self.centre(z) + (self.width(z2) - self.width(z)) * q
        s, c = self.axes()
        return along * s + across * c, along * c - across * s

    def surface(self, z: Any, q: Any) -> Any:
        """Elevation of the ice, metres: a slope with an icefall, higher in the middle."""
        fall = z + 0.035 * np.tanh((z - 0.36) / 0.04)
        arch = 35.0 * self.width(z) / self.half_width
        return self.head_m - self.drop_m * fall + arch * (1.0 - np.minimum(q * q, 1.0))

    def distance(self, x: Any, y: Any) -> Any:
        """Metres to the margin, to first order and only near it: negative on the ice.

        The outline is the level rho = 1 of a smooth function; the distance is what is missing
        to it over the length of the gradient.
        """
        along, across = self.to_axis(x, y)
        z = along / self.length
        g = self.half_width * (_WIDE - _NARROWING * np.clip(z, -0.2, 1.2))
        side = np.abs(across - self.centre(z)) / g
        power = 1.0 / _BLUNT
        rho = np.maximum(side**power + (1.0 - 2.0 * z) ** 2, 1e-9) ** _BLUNT
        slope = rho ** (1.0 - power)
        down = side ** (power - 1.0) / g
        end = 4.0 * _BLUNT * (1.0 - 2.0 * z) / self.length
        return (rho - 1.0) / (slope * np.hypot(down, end) + 1e-6)

    def outline(self, points: int = 240) -> tuple[F64, F64]:
        """Vertices (x, y) of the outline, closed, head first; dense where it turns."""
        z = 0.5 * (1 - np.cos(np.linspace(0.0, np.pi, points)))
        right = self.from_flow(z, 1.0)
        left = self.from_flow(z[::-1], -1.0)
        return np.concatenate([right[0], left[0]]), np.concatenate([right[1], left[1]])

    def crevassed(self, z: Any, q: Any) -> Any:
        """How crevassed the ice is, 0 ... 1: the icefall and the shear margins."""
        fall = np.exp(-(((z - 0.37) / 0.10) ** 2))
        lower = 0.5 * np.exp(-(((z - 0.72) / 0.09) ** 2))
        margin = 0.8 * smoothstep(np.abs(q), 0.55, 0.9)
        return np.clip(0.15 + fall + lower + margin, 0.0, 1.0)

    def debris(self, z: Any, q: Any) -> Any:
        """Part of the surface under stones, 0 ... 1: moraines along the flow, the tongue."""
        stripes = sum(
            np.exp(-(((q - q0) / width) ** 2))
            for q0, width in ((-0.33, 0.05), (0.42, 0.035), (0.97, 0.07), (-0.97, 0.07))
        )
        ridges = stripes * smoothstep(z, 0.15, 0.45)
        tongue = smoothstep(z + 0.04 * np.sin(9 * q), 0.82, 0.93)
        return np.clip(0.8 * ridges + tongue, 0.0, 0.95)
