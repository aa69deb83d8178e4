"""A glacier's priors on disk: kept for the next run, or fixed by an earlier one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hmavel import state
from hmavel.errors import ConfigError, ReadError
from hmavel.month_kernel import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hmavel.config.products import Months as Options
    from hmavel.month import Months

#: The record of a glacier's priors, beside its months.
RECORD = "prior.json"
COMPONENTS = ("vx", "vy")
_PACES = ("season_pace", "event_pace")
#: May be zero; every other number of a prior is positive.
_FROM_ZERO = ("burst", "burst_at")
#: Digits of the numbers in the tags of a month's file.
_DIGITS = 4


@dataclass(frozen=True)
class Learnt:
    """What a component's months were learnt with."""

    scene_sigma: float | None  #: m; None = not part of it
    smoothness: float | None  #: of method "smooth"
    hyperparameters: tuple[Hyperparameters, ...] | None  #: of method "gp", for each class


def as_record(months: Mapping[str, Months]) -> dict[str, Any]:
    """Return the priors of the components as plain values, to the last bit.

    Parameters
    ----------
    months
        What ``compose_months`` returned, by component.
    """
    return {
        axis: {
            "scene_sigma_m": m.scene_sigma, "smoothness": m.smoothness,
            "classes": [_plain(h) for h in m.hyperparameters],
        }
        for axis, m in months.items()
    }  # fmt: skip


def in_short(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without the paces of the clocks and the last digits: for tags."""
    return {
        axis: [
            {name: float(f"{value:.{_DIGITS}g}") for name, value in kind.items()
             if name not in _PACES and isinstance(value, float)}
            for kind in of["classes"]
        ]
        for axis, of in record.items()
    }  # fmt: skip


def words(priors: Mapping[str, Learnt]) -> dict[str, Any]:
    """Return what `fixed` read as plain values, for a fingerprint."""
    return {axis: [_plain(h) for h in of.hyperparameters or ()] for axis, of in priors.items()}


def kept(folder: Path, expected: str) -> dict[str, Learnt]:
    """Return what an earlier run learnt from the same pairs; {} where there is nothing.

    Parameters
    ----------
    folder
        The glacier's.
    expected
        Fingerprint of the pairs and options that the priors depend on.
    """
    record = state.read_record(folder / RECORD)
    try:
        return _components(record) if record.get(state.KEY) == expected else {}
    except (KeyError, TypeError, ValueError):  # a damaged one is learnt again
        return {}


def fixed(path: Path, glacier: str) -> dict[str, Learnt]:
    """Read the priors that a configuration fixes: `months.prior`.

    Parameters
    ----------
    path
        A ``prior.json``, or the output folder of a run, in which each glacier finds its own.
    glacier
        Its id.

    Returns
    -------
    dict
        By component; the errors of scenes are not part of a prior.

    Raises
    ------
    ReadError
        There is no such file, or it holds no priors.
    """
    file = path / glacier / RECORD if path.is_dir() else path
    try:
        read = _components(state.read_record(file))
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(
            "months", file,
            expected="the priors of a run with months.method = \"gp\"",
            got=f"{error}" if file.is_file() else "no such file",
            hint=f"give a {RECORD} or the output folder of a run that has this glacier",
        ) from error
    if any(not of.hyperparameters for of in read.values()):
        raise ReadError(
            "months", file, expected="the priors of a run with months.method = \"gp\"",
            got="a record of another method", hint="make it with months.method = \"gp\"",
        )  # fmt: skip
    return {axis: Learnt(None, None, of.hyperparameters) for axis, of in read.items()}


def check(options: Options) -> None:
    """Refuse what [months] cannot do, before hours are spent on its pairs.

    Raises
    ------
    ConfigError
        An option of another method, or a `prior` that is not there.
    """
    for name, method in (("smoothness", "smooth"), ("prior", "gp")):
        if getattr(options, name) is not None and options.method != method:
            raise ConfigError(
                "config", f"months.{name}", expected=f"it with months.method = \"{method}\"",
                got=f"\"{options.method}\"", hint="leave it out or change the method",
            )  # fmt: skip
    if options.prior is not None and not options.prior.exists():
        raise ConfigError(
            "config", "months.prior", expected=f"a {RECORD} or the output folder of a run",
            got=f"{options.prior}, which is not there", hint="check the path",
        )  # fmt: skip


def _components(record: Mapping[str, Any]) -> dict[str, Learnt]:
    return {axis: _learnt(record[axis]) for axis in COMPONENTS}


def _learnt(of: Mapping[str, Any]) -> Learnt:
    classes = tuple(_prior(kind) for kind in of["classes"])
    scene, smoothness = of["scene_sigma_m"], of["smoothness"]
    for value in (scene, smoothness):
        if not (value is None or (isinstance(value, float | int) and 0 <= value < np.inf)):
            raise ValueError(f"{value!r} for a number")
    return Learnt(scene, smoothness, classes or None)


def _plain(prior: Hyperparameters) -> dict[str, Any]:
    values = asdict(prior)
    for name in _PACES:
        values[name] = [float(pace) for pace in values[name]]
    start = values["event_from"]
    return values | {"event_from": None if start is None else str(start)}


def _prior(values: Mapping[str, Any]) -> Hyperparameters:
    """Read one class back; ValueError, TypeError or KeyError where it is none."""
    given = {field.name: values[field.name] for field in fields(Hyperparameters)}
    for name in _PACES:
        given[name] = tuple(_positive(name, pace) for pace in given[name])
    start = given.pop("event_from")
    numbers = {name: x for name, x in given.items() if name not in _PACES}
    for name, value in numbers.items():
        _positive(name, value, zero=name in _FROM_ZERO)
    begins = None if start is None else np.datetime64(start, "M")
    return Hyperparameters(**given, event_from=begins)


def _positive(name: str, value: Any, *, zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise TypeError(f"{value!r} for {name}")
    if not (0 < value < np.inf or (zero and value == 0)):
        raise ValueError(f"{value!r} for {name}")
    return float(value)
