"""The exceptions of hmavel.

One sentence each, in one form, so that a log of a thousand pairs can be read and grepped::

    <stage> <item>: expected <requirement>, got <value>; <what to try>
"""

from __future__ import annotations

from collections.abc import Mapping


class HmavelError(Exception):
    """An item that could not be processed: what was wrong with it and what to try.

    Parameters
    ----------
    stage
        The step that failed: ``read``, ``pair``, ``correlate``, ``bias``, ...
    item
        The file, scene, pair or glacier.
    expected, got
        What the step needs, and what it found.
    hint
        What the user can try.
    """

    def __init__(self, stage: str, item: object, *, expected: str, got: str, hint: str) -> None:
        self.stage, self.item = stage, str(item)
        self.expected, self.got, self.hint = expected, got, hint
        super().__init__(f"{stage} {item}: expected {expected}, got {got}; {hint}")

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip back from a worker process: keyword-only arguments do not, alone."""
        words = {"expected": self.expected, "got": self.got, "hint": self.hint}
        return _rebuild, (type(self), self.stage, self.item, words)


def cause(reason: str, error: str) -> str:
    """Return what many failures may have in common: the requirement that was not met.

    Parameters
    ----------
    reason
        The message of an exception: of this module's form, or any other.
    error
        The exception's class name.
    """
    head, expected, rest = reason.partition(": expected ")
    requirement, got, _ = rest.partition(", got ")
    stage = head.split(" ", 1)[0]
    # Numbers are those of the item; a scene's name within would make each cause its own.
    return f"{stage}: expected {requirement}" if expected and got else error or "Error"


def most_frequent(causes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return causes and how many failed of them, the most frequent first, then by name."""
    return sorted(causes.items(), key=lambda one: (-one[1], one[0]))


def _rebuild(
    kind: type[HmavelError], stage: str, item: str, words: dict[str, str]
) -> HmavelError:
    return kind(stage, item, **words)


class ReadError(HmavelError):
    """A file is missing, truncated, or is not what its name says."""


class WriteError(HmavelError):
    """An output could not be written."""


class GridMismatchError(HmavelError):
    """Two rasters cannot be brought together: another CRS, no overlap, another shape."""


class SceneError(HmavelError):
    """A scene cannot be used: no time, all fill, metadata of another scene."""


class PairError(HmavelError):
    """Two scenes do not make a pair: identical, swapped, without common ground."""


class GlacierError(HmavelError):
    """An inventory or an outline cannot be used."""


class StableGroundError(HmavelError):
    """There is too little bare ground for what was asked."""


class CatalogueError(HmavelError):
    """The catalogue of a run cannot be used: damaged, of another version, in use elsewhere."""


class RunError(HmavelError):
    """A run cannot begin or go on: another one is in its folder, workers do not fit it."""


class ConfigError(HmavelError):
    """The configuration is wrong: unknown key, value out of range, missing path."""
