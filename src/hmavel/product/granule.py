"""A pair's velocity in the form of ITS_LIVE's granules, for programs that read those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import hmavel
from hmavel._types import days_between
from hmavel.product.cf import add_grid, add_variable, new_file
from hmavel.product.field import speed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hmavel._types import BoolArray, FloatArray, Grid, TimeArray

_FILL = -32767
_LARGEST = 32766
_NO_SHIFT, _STABLE_GROUND = 0, 1
_VELOCITIES = {
    "vx": ("land_ice_surface_x_velocity", "velocity component in x direction"),
    "vy": ("land_ice_surface_y_velocity", "velocity component in y direction"),
    "v": ("", "velocity magnitude"),
    "v_error": ("", "velocity magnitude error"),
}


def granule_name(reference: str, secondary: str, valid: float, cell_m: float = 120.0) -> str:
    """Return the name of a granule; ``valid`` is the share of the region with a velocity."""
    percent = round(100 * valid)
    return f"{reference}_X_{secondary}_G{round(cell_m):04}V02_P{percent:03}.nc"


def write_granule(
    folder: Path,
    *,
    reference: str,
    secondary: str,
    start: np.datetime64,
    end: np.datetime64,
    grid: Grid,
    velocity: Mapping[str, FloatArray],
    error: tuple[float, float],
    shift: tuple[float, float],
    stable_count: int,
    region: BoolArray,
    window_m: float,
) -> Path:
    """Write one pair as an ITS_LIVE granule.

    Parameters
    ----------
    folder
        Where to; made when missing.
    reference, secondary
        Ids of the scenes, the earlier one first.
    start, end
        Their times, UTC.
    grid
        Of the arrays: cells on the UTM grid.
    velocity
        ``vx``, ``vy``, ``sigma_vx``, ``sigma_vy``, m/yr, (rows, cols), NaN = missing.
    error
        1 sigma of vx and of vy on stable ground, m/yr; not finite = not known.
    shift
        What was subtracted from vx and vy on the evidence of stable ground, m/yr.
    stable_count
        Cells of stable ground it rests on; 0 = nothing was subtracted.
    region
        (rows, cols): the cells that ``roi_valid_percentage`` is about.
    window_m
        Side of the matching window, m.

    Returns
    -------
    Path
        ``{reference}_X_{secondary}_G0120V02_P{percent}.nc``.

    Raises
    ------
    WriteError
        The file cannot be written.

    Notes
    -----
    As in ITS_LIVE, velocities are whole m/yr in 16 bits (-32767 = missing), so that a rounding
    error of up to 0.5 m/yr comes on top; what the months are made of is not rounded.
    """
    v, sigma_v = speed(*(velocity[name] for name in ("vx", "vy", "sigma_vx", "sigma_vy")))
    values = {"vx": velocity["vx"], "vy": velocity["vy"], "v": v, "v_error": sigma_v}
    seen = np.isfinite(v)
    share = int((seen & region).sum()) / (int(region.sum()) or 1)
    path = folder / granule_name(reference, secondary, share, grid.pixel)
    shape = grid.shape
    known = stable_count > 0 and bool(np.isfinite(error).all()) and min(error) > 0
    with new_file(path) as file:
        add_grid(file, grid)
        for name, array in values.items():
            standard, about = _VELOCITIES[name]
            attributes: dict[str, Any] = {
                "description": about,
                "long_name": about,
                "units": "meter/year",
                **({"standard_name": standard} if standard else {}),
            }
            if name in ("vx", "vy"):
                k = "xy".index(name[1])
                attributes |= {
                    "error": float(error[k]) if known else float("nan"),
                    "error_description": "1 sigma over stable ground",
                    "stable_shift": float(shift[k]) if known else 0.0,
                    "stable_shift_flag": _STABLE_GROUND if known else _NO_SHIFT,
                    "stable_count_stationary": int(stable_count),
                }
            variable = add_variable(
                file, name, ("y", "x"), attributes, kind="i2", fill=_FILL, chunks=shape
            )
            variable.set_auto_maskandscale(False)
            variable[:] = _whole(array)
        mask = add_variable(
            file, "interp_mask", ("y", "x"),
            {
                "description": "true where a value is interpolated: nowhere",
                "long_name": "interpolated values",
                "flag_values": np.array([0, 1], "u1"),
                "flag_meanings": "measured interpolated",
            },
            kind="u1", fill=None, chunks=shape,
        )  # fmt: skip
        mask.set_auto_maskandscale(False)
        mask[:] = 0
        for side in ("width", "height"):
            chip = add_variable(
                file, f"chip_size_{side}", ("y", "x"),
                {
                    "description": f"{side} of the matching window",
                    "long_name": f"{side} of the matching window",
                    "units": "m",
                },
                kind="u2", fill=0, chunks=shape,
            )  # fmt: skip
            chip.set_auto_maskandscale(False)
            chip[:] = np.where(seen, round(window_m), 0)
        info = file.createVariable("img_pair_info", "S1")
        info.setncatts(_info(reference, secondary, start, end, share))
        file.setncatts(
            {
                "Conventions": "CF-1.9",  # the first with ITS_LIVE's unsigned types
                "title": "Velocity of a pair of Landsat scenes, in the form of ITS_LIVE",
                "source": f"hmavel {hmavel.__version__}",
                "history": f"made by hmavel {hmavel.__version__}",
                "GDAL_AREA_OR_POINT": "Area",
            }
        )
    return path


def _whole(values: FloatArray) -> Any:
    """Return whole m/yr; what 16 bits cannot hold is missing."""
    with np.errstate(invalid="ignore"):
        held = np.abs(values) <= _LARGEST
        return np.where(held, np.round(np.where(held, values, 0)), _FILL).astype(np.int16)


def _info(
    reference: str, secondary: str, start: np.datetime64, end: np.datetime64, share: float
) -> dict[str, Any]:
    middle = start.astype("datetime64[ms]") + (end - start).astype("timedelta64[ms]") / 2
    out: dict[str, Any] = {}
    for number, name, time in ((1, reference, start), (2, secondary, end)):
        out |= {
            f"id_img{number}": name,
            f"acquisition_date_img{number}": _stamp(time),
            f"satellite_img{number}": str(int(name[2:4])) if name[2:4].isdigit() else "",
            f"mission_img{number}": name[:1],
            f"sensor_img{number}": name[1:2],
        }
    return out | {
        "long_name": "the two scenes, their times, and how much of the region was measured",
        "date_center": _stamp(middle),
        "date_dt": days_between(start, end),
        "roi_valid_percentage": round(100 * share, 1),
    }  # fmt: skip


def _stamp(time: TimeArray | np.datetime64) -> str:
    """Return a time as ITS_LIVE writes it: 20200131T04:12:13.576000."""
    date, clock = str(np.asarray(time).astype("datetime64[us]")).split("T")
    return f"{date.replace('-', '')}T{clock}"
