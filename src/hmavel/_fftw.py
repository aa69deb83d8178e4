"""Where FFTW comes from when it was not linked: the library inside the pyFFTW wheel."""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
from importlib.util import find_spec
from pathlib import Path

from hmavel import _kernels

logger = logging.getLogger(__name__)

_FUNCTIONS = ("fftwf_plan_guru_split_dft", "fftwf_execute_split_dft")

_HELP = """\
fftw: expected the single-precision FFTW library (libfftw3f), got none: hmavel was built \
without it and the pyFFTW wheel brings none; install one of
  any system       pip install --force-reinstall pyfftw
  Debian, Ubuntu   apt-get install libfftw3-single3
  Fedora           dnf install fftw-libs-single
  conda            conda install -c conda-forge fftw
  macOS            brew install fftw"""

_origin: str | None = None


def _candidates() -> list[str]:
    """Files that may be the library: inside the wheel first, then the system's."""
    found: list[str] = []
    spec = find_spec("pyfftw")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        # Wheels of some versions spell it pyFFTW.libs.
        beside = [f for f in package.parent.glob("*.libs") if f.name.lower() == "pyfftw.libs"]
        for folder in (*beside, package / ".libs", package / ".dylibs"):
            # Beside it lie libfftw3f_omp or libfftw3f_threads, which lack the plain functions.
            found += sorted(str(file) for file in folder.glob("*fftw3f[-.]*"))
    system = ctypes.util.find_library("fftw3f")
    return [*found, system] if system else found


def ready() -> str:
    """Make FFTW's functions known to the kernels, once, and say where they come from.

    Returns
    -------
    str
        ``"linked"``, or ``"runtime:"`` and the file that was opened.

    Raises
    ------
    ImportError
        There is no FFTW; the message has the command to run on each system.
    """
    global _origin
    if _origin is not None:
        return _origin
    if _kernels.fftw_linked():
        _origin = "linked"
        return _origin
    for file in _candidates():
        try:
            # Stays open: ctypes never closes a library.
            library = ctypes.CDLL(file)
            addresses = [
                ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
                for name in _FUNCTIONS
            ]
        except (OSError, AttributeError) as error:
            logger.debug("fftw: %s does not serve: %s", file, error)
            continue
        if 0 in addresses or _kernels.bind_fftw(*addresses):
            continue
        _origin = f"runtime:{file}"
        logger.debug("fftw: %s", _origin)
        return _origin
    raise ImportError(_HELP)
