"""Files that kill the NetCDF library, or never let go of it."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest

from hmavel import netcdf_trial
from hmavel.errors import ReadError
from hmavel.netcdf_trial import try_open
from hmavel.raster_netcdf import read_variables


@pytest.fixture
def opener(monkeypatch):
    """Set the program of the other process; it is a new one for every test."""
    made = netcdf_trial._Opener()
    monkeypatch.setattr(netcdf_trial, "_opener", made)
    netcdf_trial._verdict.cache_clear()
    yield lambda program: monkeypatch.setattr(netcdf_trial, "_PROGRAM", program)
    made.end()


def write(path: Path, kind: str) -> Path:
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.epsg = 32645
        for name, values in (("y", -60.0 * np.arange(3)), ("x", 60.0 * np.arange(4))):
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,))[:] = values
        file.createVariable("vx", "f4", ("y", "x"))[:] = np.arange(12.0).reshape(3, 4)
    return path


@pytest.mark.usefixtures("opener")
@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF4"])
def test_a_sound_file_is_opened_once(tmp_path, kind):
    path = write(tmp_path / "a \n b.nc", kind)
    for _ in range(2):
        (vx,), _, _ = read_variables(path, ("vx",))
        assert np.array_equal(vx[0], np.arange(12.0).reshape(3, 4))
    assert netcdf_trial._verdict.cache_info().misses == 1


@pytest.mark.usefixtures("opener")
def test_what_is_refused_in_good_order_is_left_to_its_reader(tmp_path):
    path = tmp_path / "text.nc"
    path.write_text("no map")
    try_open("read", path)
    try_open("read", tmp_path / "none.nc")
    with pytest.raises(ReadError, match="download it again"):
        read_variables(path, ("vx",))


@pytest.mark.usefixtures("opener")
@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF4"])
def test_a_damaged_file_is_refused_without_being_opened_here(tmp_path, monkeypatch, kind):
    path = write(tmp_path / "a.nc", kind)
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\xff" * 40 + content[48:])
    monkeypatch.setattr(netCDF4, "Dataset", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(ReadError, match=r"a\.nc: expected a NetCDF file .*download it again"):
        read_variables(path, ("vx",))


@pytest.mark.parametrize(
    ("program", "said"),
    [("import os; input(); os.kill(os.getpid(), 11)", r"kills .*status -11"),
     ("while True: pass", r"busy for more than 0\.5 s")],
)  # fmt: skip
def test_a_file_that_ends_or_holds_the_library(tmp_path, opener, monkeypatch, program, said):
    bad, good = (write(tmp_path / name, "NETCDF4") for name in ("bad.nc", "good.nc"))
    whole = netcdf_trial._PROGRAM
    opener(program)
    monkeypatch.setattr(netcdf_trial, "PATIENCE_S", 0.5)
    with pytest.raises(ReadError, match=f"bad.nc: expected a NetCDF file .*{said}"):
        read_variables(bad, ("vx",))
    opener(whole)
    monkeypatch.setattr(netcdf_trial, "PATIENCE_S", 60.0)
    read_variables(good, ("vx",))
