"""The monthly field of a glacier: both components, their speed, and what stands behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hmavel._types import BoolArray, ByteArray, FloatArray, Grid, TimeArray

if TYPE_CHECKING:
    from hmavel.month import Months

#: Codes of ``flag``, in order of trust; a worse code is a larger one.
MEASURED, REGULARISED, BLANK = 0, 1, 2
FLAG_MEANINGS = {MEASURED: "measured", REGULARISED: "regularised", BLANK: "blank"}

#: The bands of a monthly file, in its order, with their units ("1" = a pure number).
BAND_UNITS = {
    "vx": "m/yr",
    "vy": "m/yr",
    "v": "m/yr",
    "sigma_vx": "m/yr",
    "sigma_vy": "m/yr",
    "sigma_v": "m/yr",
    "count": "1",
    "flag": "1",
}
#: What a band means, for the files' metadata.
BAND_NOTES = {
    "vx": "velocity along +x of the grid",
    "vy": "velocity along +y of the grid",
    "v": "magnitude of the velocity vector",
    "sigma_vx": "1 sigma of vx",
    "sigma_vy": "1 sigma of vy",
    "sigma_v": "1 sigma of v",
    "count": "effective number of image pairs, the smaller of the two components",
    "flag": "0 measured, 1 regularised by the prior, 2 blank, the worse of the two components",
}
#: What the cube keeps of each component beside its velocity: attributes of ``Months``.
EXTRAS = ("next_correlation", "overlap_mean", "overlap_median")


class MonthSource(Protocol):
    """What a mosaic needs of a glacier: a field in memory, or its files on disk."""

    @property
    def grid(self) -> Grid:
        """The grid of every month."""

    @property
    def name(self) -> str:
        """The glacier's id, for messages."""

    def bands(self, month: np.datetime64) -> Mapping[str, FloatArray] | None:
        """Return the bands of one month, or None when the source does not have it."""


@dataclass(frozen=True)
class MonthlyField:
    """Velocity of one glacier, month by month, on one grid.

    Arrays are (n_months, rows, cols). A cell and month is blank (NaN, flag 2, count 0) unless
    both components and their errors are there. Speed is derived on request, since it is the
    only thing here that no measurement stands behind on its own.
    """

    grid: Grid
    months: TimeArray  #: (n_months,) datetime64[M], ascending
    vx: FloatArray  #: float32, m/yr, positive along +x of the grid (UTM: grid east)
    vy: FloatArray  #: float32, m/yr, positive along +y
    sigma_vx: FloatArray  #: 1 sigma, m/yr
    sigma_vy: FloatArray
    count: FloatArray  #: effective pairs, the smaller of the two components
    flag: ByteArray  #: 0 measured, 1 regularised, 2 blank: the worse of the two components
    shortest_days: FloatArray  #: shortest baseline that saw the month, days, NaN = none
    #: (rows, cols): the cells that the field is about, None = all. Outside of it the files
    #: have no flag and no count either, inside it a blank month is flagged as such.
    domain: BoolArray | None = None
    name: str = ""  #: the glacier's id
    #: What else the cube keeps of a component, by variable name ("vx_next_correlation"), each
    #: (n_months, rows, cols).
    extras: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def v(self) -> FloatArray:
        """Speed, m/yr, (n_months, rows, cols); see `speed` about its bias near zero."""
        return np.hypot(self.vx, self.vy)

    @property
    def sigma_v(self) -> FloatArray:
        """1 sigma of the speed, m/yr, (n_months, rows, cols); see `speed`."""
        return speed(self.vx, self.vy, self.sigma_vx, self.sigma_vy)[1]

    def bands(self, month: np.datetime64) -> dict[str, FloatArray] | None:
        """Return the eight bands of one month, float32 (rows, cols), None when not covered."""
        (found,) = np.nonzero(self.months == month.astype("datetime64[M]"))
        return self.bands_at(int(found[0])) if found.size else None

    def bands_at(self, index: int) -> dict[str, FloatArray]:
        """Return the eight bands of the month number ``index``, float32 (rows, cols)."""
        vx, vy = self.vx[index], self.vy[index]
        sigma_vx, sigma_vy = self.sigma_vx[index], self.sigma_vy[index]
        v, sigma_v = speed(vx, vy, sigma_vx, sigma_vy)
        count, flag = self.count[index], self.flag[index].astype(np.float32)
        if self.domain is not None:
            count, flag = (np.where(self.domain, a, np.float32(np.nan)) for a in (count, flag))
        values = (vx, vy, v, sigma_vx, sigma_vy, sigma_v, count, flag)
        return dict(zip(BAND_UNITS, values, strict=True))


def combine(
    vx_months: Months,
    vy_months: Months,
    grid: Grid,
    *,
    domain: BoolArray | None = None,
    name: str = "",
) -> MonthlyField:
    """Join the months of the two components into the field of a glacier.

    Parameters
    ----------
    vx_months, vy_months
        The same months of the same cells, arrays (n_months, rows, cols), m/yr.
    grid
        Where the cells lie.
    domain
        Bool (rows, cols): the cells that the field is about, such as the glacier's outline
        with a margin. Values outside of it are dropped. None = every cell.
    name
        The glacier's id.

    Returns
    -------
    MonthlyField
        ``count`` is the smaller and ``flag`` the worse of the two components',
        ``shortest_days`` the longer. A vector needs both: where a component is NaN or flagged
        blank, or has no positive finite error, both are NaN with flag 2 and count 0.

    Raises
    ------
    ValueError
        Other months or another shape than the grid's.
    """
    shape = (len(vx_months.months), *grid.shape)
    for axis, component in (("vx", vx_months), ("vy", vy_months)):
        if np.shape(component.v) != shape:
            raise ValueError(
                f"months {axis}: expected an array of shape {shape}, got "
                f"{np.shape(component.v)}; give the grid that the pairs were composed on"
            )
    months = np.asarray(vx_months.months, dtype="datetime64[M]")
    if not np.array_equal(months, np.asarray(vy_months.months, dtype="datetime64[M]")):
        raise ValueError(
            "months vy: expected the months of vx, got others; "
            "compose both with the same months="
        )
    if len(months) > 1 and not (np.diff(months).astype(int) > 0).all():
        raise ValueError(
            "months: expected ascending months, got some twice or out of order; sort them"
        )
    if domain is not None and domain.shape != grid.shape:
        raise ValueError(
            f"months domain: expected shape {grid.shape}, got {domain.shape}; "
            "rasterise the outline on the same grid"
        )
    flag = np.maximum(vx_months.flag, vy_months.flag).astype(np.uint8)
    seen = flag < BLANK
    for component in (vx_months, vy_months):
        seen &= np.isfinite(component.v) & np.isfinite(component.sigma) & (component.sigma > 0)
    if domain is not None:
        seen &= domain

    def kept(values: NDArray[Any], otherwise: float = np.nan) -> FloatArray:
        return np.where(seen, np.asarray(values, np.float32), np.float32(otherwise))

    flag[~seen] = BLANK
    return MonthlyField(
        grid=grid,
        months=months,
        vx=kept(vx_months.v),
        vy=kept(vy_months.v),
        sigma_vx=kept(vx_months.sigma),
        sigma_vy=kept(vy_months.sigma),
        count=kept(np.minimum(vx_months.count, vy_months.count), 0),
        flag=flag,
        shortest_days=kept(np.maximum(vx_months.shortest_days, vy_months.shortest_days)),
        domain=domain,
        name=name,
        extras={
            f"{axis}_{what}": getattr(component, what)
            for axis, component in (("vx", vx_months), ("vy", vy_months))
            for what in EXTRAS
        },
    )


def speed(
    vx: FloatArray, vy: FloatArray, sigma_vx: FloatArray, sigma_vy: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the magnitude of a vector and its 1 sigma, same shape and unit, NaN in NaN out.

    Notes
    -----
    With the errors split along (a) and across (c) the vector, independent in x and y,

        sigma_a^2 = (vx^2 sigma_vx^2 + vy^2 sigma_vy^2) / v^2
        sigma_c^2 = sigma_vx^2 + sigma_vy^2 - sigma_a^2
        sigma_v^2 = sigma_a^2 + sigma_c^2 . sigma_c^2 / (v^2 + sigma_c^2)

    The first term is the usual first-order one, and all that is left of fast ice. It fails
    near zero, where the direction is noise and an error *across* the vector makes it longer:
    the second term grows to the whole of sigma_c^2 there. At v = 0 the sum is
    sigma_vx^2 + sigma_vy^2, which no error of a speed can exceed (the speed is off by at most
    the length of the vector's error).

    The speed itself is not corrected, so that v = hypot(vx, vy) holds in every file. It is
    biased high by about sigma_c^2 / (2 v), and by 1.25 sigma on ice that stands still: where v
    is below two or three sigma_v, read the components.
    """
    v = np.hypot(vx, vy)
    still = v == 0
    # Where v = 0 the split is arbitrary: both parts count in full, whatever the direction.
    cosine2 = np.where(still, 0.5, (vx / np.where(still, 1, v)) ** 2)
    along = cosine2 * sigma_vx**2 + (1 - cosine2) * sigma_vy**2
    across = (1 - cosine2) * sigma_vx**2 + cosine2 * sigma_vy**2
    total = v**2 + across
    share = np.divide(across, total, out=np.zeros_like(total), where=total > 0)
    return v, np.sqrt(along + across * share)
