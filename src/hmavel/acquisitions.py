"""One scene for each acquisition: which of its products is used, and why the others are not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hmavel._types import Scene
from hmavel.errors import HmavelError
from hmavel.samples import difference
from hmavel.scene_files import no_b8
from hmavel.vsi import is_remote, is_virtual, shown

#: Preferred last: of two processings on one day, and of two copies of one product.
_TIERS = ("RT", "T2", "", "T1")
_LEVELS = ("L1GS", "L1GT", "", "L1TP")
#: What the classes of cloud and snow are made from.
_SPECTRAL = ("B2", "B3", "B4", "B5", "B6", "B7")
#: How reasons begin that tell of a choice and not of a fault.
_CHOICES = ("superseded by ", "a copy of ", "lends ", "not needed: ", "not followed: ",
            "not asked for: ")  # fmt: skip


class Rejected(NamedTuple):
    """A product that is not used, and why."""

    path: Path
    reason: str

    @property
    def fault(self) -> bool:
        """Say whether something is wrong with it, or another is merely preferred."""
        return not self.reason.startswith(_CHOICES)


class Unusable(Rejected):
    """A product that no second look will make usable, as long as its files do not change."""


class Found(NamedTuple):
    """What was found: usable scenes by time, and everything else that looks like a product."""

    scenes: list[Scene]
    rejected: list[Rejected]


def settle(found: Iterable[Scene], rejected: Iterable[Rejected] = ()) -> Found:
    """Choose one product for each acquisition, whichever sources they come from.

    Parameters
    ----------
    found
        Scenes as ``open_scene`` returns them; Level-2 products (which have no Band 8) among
        them lend their bands to a scene of the same acquisition that has Band 8 alone.
    rejected
        What is known to be unusable already.

    Returns
    -------
    Found
        ``scenes`` sorted by time, path/row and id: of each acquisition (sensor, path/row, date)
        the newest processing. Two products of one id and other content are both named.
    """
    groups: dict[tuple[Any, ...], list[Scene]] = defaultdict(list)
    lenders: dict[tuple[Any, ...], list[Scene]] = defaultdict(list)
    for scene in found:
        (groups if "B8" in scene.bands else lenders)[_acquisition(scene)].append(scene)
    kept: list[Scene] = []
    left_out = list(rejected)
    for key, group in groups.items():
        *older, best = sorted(group, key=_preference)
        left_out += [Rejected(scene.path, _why_not(scene, best)) for scene in older]
        if level2 := sorted(lenders.pop(key, []), key=_preference):
            *older, lender = level2
            best, reason = _lend(best, lender)
            left_out.append(Rejected(lender.path, reason))
            left_out += [Rejected(scene.path, _why_not(scene, lender)) for scene in older]
        kept.append(best)
    for group in lenders.values():
        left_out += [
            Rejected(scene.path, str(no_b8(scene.path, scene.level))) for scene in group
        ]
    kept.sort(key=lambda scene: (scene.time, scene.wrs or (0, 0), scene.id))
    return Found(kept, sorted(set(left_out)))


def _acquisition(scene: Scene) -> tuple[Any, ...]:
    day = str(scene.time.astype("datetime64[D]"))
    if scene.sensor and scene.wrs is not None:
        return scene.sensor, scene.wrs, day
    return scene.id, day


def _preference(scene: Scene) -> tuple[Any, ...]:
    """Sort key: the scene to keep comes last."""
    tier = _TIERS.index(scene.tier) if scene.tier in _TIERS else 0
    level = _LEVELS.index(scene.level) if scene.level in _LEVELS else 0
    b8 = scene.bands.get("B8", scene.path)
    near = 2 - is_virtual(b8) - is_remote(b8)  # a folder before a tar before a server
    # Of equal copies the one with the smallest path stays, whatever the order of the disk.
    backwards = tuple(-ord(letter) for letter in str(scene.path))
    return (scene.processed, tier, level, len(scene.bands), near, backwards)


def _why_not(scene: Scene, best: Scene) -> str:
    if scene.id != best.id:
        return f"superseded by {best.id}"
    try:
        other = difference(scene, best)
    except (HmavelError, OSError) as error:
        return f"the id of {shown(best.path)}, and it cannot be compared: {error}"
    if other:
        return (
            f"the id of {shown(best.path)} and other content ({other}); that one is used: "
            "remove the wrong one"
        )
    return f"a copy of {shown(best.path)}"


def _lend(scene: Scene, lender: Scene) -> tuple[Scene, str]:
    """Complete a scene by a Level-2 product's bands; say what became of that product."""
    name = scene.id
    coefficients, lent = dict(scene.reflectance or {}), lender.reflectance or {}
    own = all(band in scene.bands and band in coefficients for band in _SPECTRAL)
    extra = {
        band: path
        for band, path in lender.bands.items()
        if band.startswith("QA") and band not in scene.bands
    }
    whole = all(band in lender.bands and band in lent for band in _SPECTRAL)
    if not own and whole:
        extra |= {band: lender.bands[band] for band in _SPECTRAL}
    if not extra:
        return scene, f"not needed: {name} has its own 30 m bands"
    if lender.grid.crs != scene.grid.crs:
        return scene, (
            f"in {lender.grid.crs.to_string()}, and {name} in {scene.grid.crs.to_string()}: "
            "its bands cannot be lent; fetch both in one zone"
        )
    if not own and whole:
        coefficients |= {band: lent[band] for band in _SPECTRAL}
        scene = replace(scene, level_30m=lender.level, reflectance=coefficients)
    bands = {**scene.bands, **extra}
    return replace(scene, bands=bands), f"lends {', '.join(sorted(extra))} to {name}"
