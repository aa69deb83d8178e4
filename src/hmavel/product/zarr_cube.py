"""A glacier's cube as Zarr: the same variables, attributes and values as the NetCDF."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Literal

from hmavel.atomic import temporary_folder
from hmavel.errors import WriteError
from hmavel.extras import need

if TYPE_CHECKING:
    from pathlib import Path

#: Of the format. GDAL, xarray and the readers of ITS_LIVE's cubes know 2; not all know 3.
_FORMAT: Literal[2] = 2


def write_zarr(cube: Path, path: Path) -> None:
    """Copy ``velocity.nc`` to a Zarr folder with consolidated metadata.

    Parameters
    ----------
    cube
        What `write_cube` wrote.
    path
        The folder to make or to replace. It gets its name when it is complete.

    Raises
    ------
    WriteError
        The package zarr is not installed, or the folder cannot be written.

    Notes
    -----
    A variable is in memory at a time. Stored numbers, fill values and chunks are those of
    the NetCDF.
    """
    import xarray as xr

    need("zarr", "zarr", stage="write", path=path, otherwise="set output.zarr = false")
    try:
        with temporary_folder(path) as folder, xr.open_dataset(cube, decode_cf=False) as data:
            made = folder / path.name
            for number, name in enumerate(data.variables):
                variable = data.variables[name]
                chunks = variable.encoding.get("chunksizes") or variable.shape
                one = xr.Dataset({name: (variable.dims, variable.values, variable.attrs)})
                one.to_zarr(
                    made, mode="a" if number else "w", zarr_format=_FORMAT,
                    consolidated=False, encoding={name: {"chunks": chunks} if chunks else {}},
                )  # fmt: skip
            _finish(made, data.attrs)
            if path.exists():
                shutil.rmtree(path)
            made.rename(path)
    except OSError as error:
        raise WriteError(
            "write", path, expected="a folder that can be written", got=str(error),
            hint="check permissions and free space",
        ) from error  # fmt: skip


def _finish(folder: Path, attributes: dict[str, Any]) -> None:
    """Put the file's attributes on the group, and all metadata into one object."""
    import zarr  # type: ignore[import-not-found,import-untyped,unused-ignore]

    group = zarr.open_group(folder, mode="a", zarr_format=_FORMAT)
    group.attrs.put(attributes)
    zarr.consolidate_metadata(folder, zarr_format=_FORMAT)
