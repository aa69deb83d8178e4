"""Packages beyond the base install: what to say where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hmavel.errors import WriteError

if TYPE_CHECKING:
    from pathlib import Path


def need(package: str, extra: str, *, stage: str, path: Path, otherwise: str) -> None:
    """Load a package that a file cannot be written without.

    Parameters
    ----------
    package, extra
        Its name, and the extra of hmavel that brings it.
    stage, path
        What is being done, and the file.
    otherwise
        How to do without.

    Raises
    ------
    WriteError
        It is not installed.
    """
    try:
        import_module(package)
    except ImportError as error:
        raise WriteError(
            stage, path, expected=f"the package {package}", got="none installed",
            hint=f"pip install 'hmavel[{extra}]', or {otherwise}",
        ) from error  # fmt: skip
