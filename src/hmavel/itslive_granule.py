"""ITS_LIVE's pair granules: one pair in a file."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmavel._types import Grid
from hmavel.errors import HmavelError, ReadError
from hmavel.itslive_file import NO_SHIFT, cut, grid_of, opened, sensor_of, unlike, values_of
from hmavel.itslive_stack import PairStack, joined, require_same_lattice
from hmavel.parallel import Failure

logger = logging.getLogger(__name__)


def read_granules(
    paths: Sequence[str | Path], *, window: Grid | None = None
) -> tuple[PairStack, list[Failure]]:
    """Read pair granules of one lattice into a stack.

    Parameters
    ----------
    paths
        NetCDF granules. Their grids must have one CRS and one lattice; extents may differ.
    window
        The cells wanted; None = the extent of all.

    Returns
    -------
    PairStack, list of Failure
        Pairs in the order of ``paths``. A granule that cannot be read, has another lattice,
        or has no stable-shift error (``stable_shift_flag`` 0) is among the failures.

    Raises
    ------
    ReadError
        No granule could be read.
    """
    read: list[PairStack] = []
    failures: list[Failure] = []
    for path in paths:
        try:
            one = _granule(Path(path), window)
            if read:
                require_same_lattice(path, read[0].grid, one.grid)
        except HmavelError as error:
            logger.warning("%s", error)
            failures.append(Failure.of(f"granule {path}", error))
        else:
            read.append(one)
    if not read:
        raise ReadError(
            "itslive", f"{len(failures)} granules", expected="at least one readable granule",
            got=failures[0].reason if failures else "none", hint="see the other messages",
        )
    return joined(read), failures


def is_granule(path: Path) -> bool:
    """Whether a NetCDF file is a pair granule."""
    try:
        with opened(path) as data:
            return "img_pair_info" in data
    except ReadError:
        return False


def _granule(path: Path, window: Grid | None) -> PairStack:
    """Read one granule as a stack of one pair."""
    with opened(path) as data:
        if "img_pair_info" not in data or "vx" not in data or "vy" not in data:
            raise unlike(path, f"variables {', '.join(map(str, list(data)[:6]))}")
        grid = grid_of(path, data)
        rows, cols = slice(None), slice(None)
        if window is not None:
            grid, rows, cols = cut(path, grid, window)
        info = data["img_pair_info"].attrs
        times = [_time(path, info, i) for i in (1, 2)]
        sigma, fields = {}, {}
        for axis in ("vx", "vy"):
            attributes = data[axis].attrs
            error = float(attributes.get("error", attributes.get(f"{axis}_error", np.nan)))
            if int(attributes.get("stable_shift_flag", NO_SHIFT)) == NO_SHIFT:
                error = np.nan
            if not error > 0:
                raise ReadError(
                    "itslive", path, expected=f"a stable-shift error of {axis}",
                    got=f"flag {attributes.get('stable_shift_flag')}, error {error:g}",
                    hint="leave the granule out: nothing says how good it is",
                )
            sigma[f"sigma_{axis}"] = np.array([error])
            part = data[axis].transpose("y", "x")[rows, cols]
            fields[axis] = values_of(part, data[axis])[None]
    if times[0] == times[1]:
        raise unlike(path, "two scenes of one time")
    first, last = sorted(times)
    return PairStack(
        grid=grid, start=np.array([first]), end=np.array([last]), **fields, **sigma,
        id=np.array([path.name]), sensor=np.array([sensor_of(path.name)]),
    )


def _time(path: object, info: dict[str, Any], i: int) -> np.datetime64:
    text = str(info.get(f"acquisition_date_img{i}", ""))
    match = re.match(r"(\d{4})-?(\d\d)-?(\d\d)T?(\d\d:\d\d:\d\d(?:\.\d+)?)?", text)
    if match is None:
        raise unlike(path, f"acquisition_date_img{i} {text!r}")
    year, month, day, clock = match.groups()
    return np.datetime64(f"{year}-{month}-{day}T{clock or '12:00:00'}", "ms")
