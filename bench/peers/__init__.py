"""Other correlators behind one face: a pair of images in, a field of displacements out.

One small adapter per program. Each is given the settings that its own documentation or a short
trial recommends for 32 px windows every 8 px, and says which in ``Engine.settings``. Programs
that only look around a start (template matchers) are told the whole-pixel displacement of the
pair: a favour that hmavel does not get.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np


@dataclass(frozen=True)
class Field:
    """Displacements in px at effective centres (1-D pixel indices); NaN = not reported."""

    row: np.ndarray
    col: np.ndarray
    drow: np.ndarray
    dcol: np.ndarray


@dataclass(frozen=True)
class Engine:
    """A correlator. ``run(reference, secondary, guess, reach)`` returns a Field."""

    name: str
    package: str
    settings: str
    run: Callable[[np.ndarray, np.ndarray, tuple[int, int], int], Field]

    @property
    def version(self) -> str:
        """Of the installed package."""
        return version(self.package)


MODULES = ("plain", "opencv", "openpiv", "skimage", "pandora2d")


def installed() -> tuple[list[Engine], list[str]]:
    """Return the peers that can be imported, and the names of the modules that cannot."""
    engines: list[Engine] = []
    missing = []
    for name in MODULES:
        try:
            module = importlib.import_module(f"peers.with_{name}")
        except (ImportError, PackageNotFoundError):
            missing.append(name)
        else:
            engines += module.ENGINES
    return engines, missing


def lattice(n: int, window: int = 32, step: int = 8) -> np.ndarray:
    """First pixels of the windows that fit into ``n`` pixels."""
    return np.arange(0, n - window + 1, step)
