"""Scenes from wherever a user has them: folders, tars, lists, Earth Engine, tables, STAC."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hmavel._types import Scene
from hmavel.acquisitions import Found, Rejected, settle
from hmavel.archive import open_all
from hmavel.dated import open_dated
from hmavel.earth_engine import open_exports
from hmavel.stac import Box, Search, open_stac, place
from hmavel.stac_item import ItemOptions
from hmavel.vsi import DELAY_S, RETRIES, is_remote

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Where to look; the sections [input] and [scenes] of a configuration."""

    archive: tuple[Path, ...] = ()  #: folders, tars, Band-8 files, lists of such paths
    earth_engine: tuple[Path, ...] = ()  #: folders of exports
    csv: tuple[Path, ...] = ()  #: tables of plain GeoTIFFs and their dates
    stac: tuple[str, ...] = ()  #: addresses or paths of APIs, catalogues, items
    stac_collections: tuple[str, ...] = ()  #: ids; none for all
    stac_max_cloud: float | None = None  #: percent
    stac_alternate: str = ""  #: which of the assets' other addresses to use
    retries: int = RETRIES  #: how often a remote read is tried again
    retry_delay_s: float = DELAY_S  #: pause before the first time, doubled each time


def find_all(
    sources: Sources,
    *,
    work: Path,
    area: Box | None = None,
    first: date | None = None,
    last: date | None = None,
) -> Found:
    """Find the scenes of all sources, one product for each acquisition.

    Arguments and errors are those of `find_other`, and those of ``archive.open_all``.

    Returns
    -------
    Found
        See ``acquisitions.settle``. What is wrong with one item, or with a server that does
        not answer, is a rejection with its reason.
    """
    found, rejected = find_other(sources, work=work, area=area, first=first, last=last)
    opened, unusable = open_all(sources.archive)
    return settle([*opened, *found], [*unusable, *rejected])


def with_silent(
    sources: Sources,
    answer: tuple[list[Scene], list[Rejected]],
    known: Iterable[Scene],
) -> tuple[list[Scene], list[Rejected]]:
    """Add the scenes that a server gave before, when it does not answer now.

    Parameters
    ----------
    sources, answer
        Where was looked, and what `find_other` found.
    known
        The scenes of an earlier look.

    Returns
    -------
    (scenes, rejected)
        With the remote ones among ``known`` where a STAC source has failed: a server that is
        down for an hour must not take months out of finished products.
    """
    scenes, rejected = answer
    servers = {place(where) for where in sources.stac}
    if not any(item.path in servers for item in rejected):
        return answer
    new = {scene.path for scene in scenes}
    old = [s for s in known if is_remote(s.path) and s.path not in new]
    log.warning("scenes: a server is silent; %d scenes are taken as they were", len(old))
    return [*scenes, *old], rejected


def find_other(
    sources: Sources,
    *,
    work: Path,
    area: Box | None = None,
    first: date | None = None,
    last: date | None = None,
) -> tuple[list[Scene], list[Rejected]]:
    """Open the scenes of all sources but the archive's folders.

    Parameters
    ----------
    sources
        Where to look.
    work
        Folder for what has to be written for that: the mosaics of sharded exports.
    area, first, last
        What to ask servers for; other sources are read whole.

    Returns
    -------
    (scenes, rejected)
        For ``acquisitions.settle``. The ``version`` of a scene changes when its files do.

    Raises
    ------
    ReadError
        A folder or table that does not exist, or a table without the columns it needs.
    """
    found: list[Scene] = []
    rejected: list[Rejected] = []

    def add(what: str, answer: tuple[list[Scene], list[Rejected]]) -> None:
        log.info(
            "scenes: %d opened, %d left out from %s", len(answer[0]), len(answer[1]), what
        )
        found.extend(answer[0])
        rejected.extend(answer[1])

    for folder in sources.earth_engine:
        add(str(folder), open_exports(folder, work))
    for table in sources.csv:
        add(str(table), open_dated(table))
    search = Search(area, first, last, sources.stac_collections, sources.stac_max_cloud)
    options = ItemOptions(sources.stac_alternate, sources.retries, sources.retry_delay_s)
    for where in sources.stac:
        add(where, open_stac(where, search, options))
    return found, rejected
