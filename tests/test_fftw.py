"""FFTW where it was not linked: found inside pyFFTW's wheel, however that spells its folder."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from hmavel import _fftw


@pytest.mark.parametrize("folder", ["pyfftw.libs", "pyFFTW.libs", "pyfftw/.dylibs"])
def test_the_library_inside_the_wheel_is_a_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True)
    names = ("libfftw3f-b4465a35.so.3.5.5", "libfftw3f_omp-736d7eda.so.3.5.5", "libfftw3-1.so")
    for name in names:
        (place / name).touch()
    spec = ModuleSpec("pyfftw", None, origin=str(tmp_path / "pyfftw" / "__init__.py"))
    monkeypatch.setattr(_fftw, "find_spec", lambda _: spec)
    monkeypatch.setattr(_fftw.ctypes.util, "find_library", lambda _: None)
    assert _fftw._candidates() == [str(place / names[0])]


def test_no_library_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fftw, "_origin", None)
    monkeypatch.setattr(_fftw, "_candidates", lambda: [str(tmp_path / "libfftw3f-1.so")])
    monkeypatch.setattr(_fftw._kernels, "fftw_linked", lambda: False)
    with pytest.raises(ImportError, match="libfftw3-single3"):
        _fftw.ready()
