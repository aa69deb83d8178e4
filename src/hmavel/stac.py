"""Scenes from STAC: searched on a server, or read from catalogues and items, on disk or not.

Only metadata are fetched here. The bands stay where they are, and are read by windows when a
glacier needs them.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hmavel._types import Scene
from hmavel.acquisitions import Rejected
from hmavel.errors import ConfigError, HmavelError, ReadError
from hmavel.lattice import LATTICE_TOLERANCE, lattice_offset
from hmavel.raster import read_grid
from hmavel.stac_item import ItemOptions, item_scene
from hmavel.vsi import pauses, remote, shown

if TYPE_CHECKING:
    import pystac
    from pystac_client.stac_api_io import StacApiIO

log = logging.getLogger(__name__)

#: Items that a server is asked for at a time.
_PAGE = 100
#: Answers after which a server is asked again.
_AGAIN = (None, 404, 408, 429, 500, 502, 503, 504)
_TIMEOUT_S = 60.0

#: West, south, east, north; degrees.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Search:
    """What to ask for; items outside of it are left aside without a word."""

    area: Box | None = None
    first: date | None = None
    last: date | None = None
    collections: tuple[str, ...] = ()  #: ids; none for all
    max_cloud: float | None = None  #: percent of the scene, by its metadata


def open_stac(
    where: str, search: Search, options: ItemOptions
) -> tuple[list[Scene], list[Rejected]]:
    """Find the scenes of one STAC source.

    Parameters
    ----------
    where
        Address or path of an API, a catalogue, a collection, an item, or a file of items (a
        saved search).
    search
        What to ask for; static catalogues are walked and their items compared with it.
    options
        How items become scenes, and how long to be patient.

    Returns
    -------
    (scenes, rejected)
        What is wrong with one item is a rejection of that item. A server that does not answer,
        or stops in the middle of its pages, is one of the source; what it gave is kept.

    Raises
    ------
    ConfigError
        pystac-client is not installed.
    """
    io = _io(options)
    scenes: list[Scene] = []
    rejected: list[Rejected] = []
    try:
        for content, href in _items(where, io, search, rejected):
            name = place(href or f"{where}#{content.get('id', '?')}")
            try:
                item = _parsed(content, href)
                if _asked_for(item, search):
                    if reason := _too_cloudy(item, search):
                        rejected.append(Rejected(name, reason))
                    else:
                        scene = item_scene(item, options, read_text=io.read_text)
                        if not (options.headers or scenes or _true(scene)):
                            options = replace(options, headers=True)
                            scene = item_scene(item, options, read_text=io.read_text)
                        scenes.append(scene)
            except (HmavelError, ValueError) as error:
                rejected.append(Rejected(name, str(error)))
                log.info("scenes: %s", error)
    except _faults() as error:
        problem = ReadError(
            "stac", shown(place(where)), expected="a STAC catalogue, API, collection or item",
            got=f"{_brief(error)}, after {len(scenes)} scenes",
            hint="check the address and the network, and run again later",
        )  # fmt: skip
        log.warning("%s", problem)
        rejected.append(Rejected(place(where), str(problem)))
    return scenes, rejected


def _io(options: ItemOptions) -> StacApiIO:
    try:
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO
    except ImportError as error:
        raise ConfigError(
            "scenes", "scenes.stac", expected="the package pystac-client",
            got="no such package", hint="install it with: pip install 'hmavel[stac]'",
        ) from error  # fmt: skip

    class Patient(StacApiIO):
        """Asks again when a server fails, also when it stops in the middle of an answer."""

        def request(self, *arguments: Any, **options_: Any) -> str:
            waits = pauses(options.retries, options.delay_s)
            while True:
                try:
                    return super().request(*arguments, **options_)
                except APIError as error:
                    pause = next(waits, None)
                    # None: no answer, or half of one.
                    if pause is None or getattr(error, "status_code", None) not in _AGAIN:
                        raise
                    log.info("stac: %s; again in %g s", _brief(error), pause)
                    time.sleep(pause)

    # The pauses are here: requests' own tries do not see an answer that is cut off.
    return Patient(max_retries=0, timeout=_TIMEOUT_S)


def _faults() -> tuple[type[Exception], ...]:
    import pystac
    import requests
    from pystac_client.exceptions import APIError

    return (
        APIError, pystac.STACError, pystac.STACTypeError, requests.RequestException, OSError,
        ValueError, KeyError, TypeError, AttributeError, RecursionError,
    )  # fmt: skip


Found = tuple[dict[str, Any], str | None]


def _items(
    where: str, io: StacApiIO, search: Search, rejected: list[Rejected]
) -> Iterator[Found]:
    """Yield the items of whatever lies at an address, each with its own address."""
    content = json.loads(io.read_text(where))
    kind = content.get("type")
    if kind == "Feature":
        yield content, where
    elif kind == "FeatureCollection":
        yield from ((item, _own_address(item)) for item in content["features"])
    elif _link(content, "search"):
        yield from _asked(where, io, search)
    elif kind == "Collection" and _link(content, "items") and _link(content, "root"):
        root = _absolute(_link(content, "root"), where)
        yield from _asked(root, io, replace(search, collections=(content["id"],)))
    elif kind in ("Catalog", "Collection") or "links" in content:
        yield from _walk(where, content, io, rejected)
    else:
        raise ValueError(f"JSON that is no STAC (type {kind!r})")


def _asked(where: str, io: StacApiIO, search: Search) -> Iterator[Found]:
    """Search an API, page after page."""
    from pystac_client import Client

    client = Client.open(where, stac_io=io)
    days = [str(day) if day else ".." for day in (search.first, search.last)]
    found = client.search(
        collections=list(search.collections) or None,
        bbox=search.area,
        datetime=None if days == ["..", ".."] else "/".join(days),
        limit=_PAGE,
    )
    yield from ((item, _own_address(item)) for item in found.items_as_dicts())


def _walk(
    where: str, content: dict[str, Any], io: StacApiIO, rejected: list[Rejected]
) -> Iterator[Found]:
    """Walk a static catalogue; a branch that is broken is listed, and the others go on."""
    seen = {where}
    todo = [(where, content)]
    while todo:
        here, catalogue = todo.pop()
        for link in catalogue.get("links", []):
            if link.get("rel") not in ("child", "item"):
                continue
            href = _absolute(str(link.get("href", "")), here)
            if href in seen:
                continue
            seen.add(href)
            try:
                below = json.loads(io.read_text(href))
                if not isinstance(below, dict):
                    raise ValueError("JSON that is no STAC")
            except _faults() as error:
                rejected.append(
                    Rejected(
                        place(href),
                        f"stac {shown(place(href))}: expected a STAC {link['rel']}, got "
                        f"{_brief(error)}; mend the catalogue",
                    )
                )
                continue
            if link["rel"] == "child":
                todo.append((href, below))
            else:
                yield below, href


def _parsed(content: dict[str, Any], href: str | None) -> pystac.Item:
    """Return an item of any version as one of today's; ``ValueError`` when it is none."""
    import pystac

    try:
        item = pystac.Item.from_dict(content, href=href, migrate=True)
    except Exception as error:  # whatever a malformed item makes of pystac
        name = content.get("id", "?")
        raise ValueError(
            f"stac {name}: expected a STAC item, got one that is malformed "
            f"({type(error).__name__}: {error}); leave it out"
        ) from error
    if href is None and (own := _own_address(content)):
        item.set_self_href(own)
    return item


def _true(scene: Scene) -> bool:
    """Say whether a scene's first band lies where its item states.

    Asked of one item of a source: a catalogue that is half a pixel off, as some are that
    take centres for corners, is so in all of its items.
    """
    try:
        found = read_grid(scene.path)
    except HmavelError as error:
        log.info("stac %s: its grid cannot be checked: %s", scene.id, error)
        return True
    if found.crs == scene.grid.crs and found.shape == scene.grid.shape:
        *_, apart = lattice_offset(found, scene.grid, item=scene.id)
        row, col = found.row(scene.grid.y(0)), found.col(scene.grid.x(0))
        if apart <= LATTICE_TOLERANCE and max(abs(row), abs(col)) < 0.5:
            return True
    log.warning(
        "stac %s: its item states another grid than its file has; all headers are read",
        scene.id,
    )
    return False


def _asked_for(item: pystac.Item, search: Search) -> bool:
    if item.datetime is not None:
        day = item.datetime.date()
        if (search.first and day < search.first) or (search.last and day > search.last):
            return False
    if search.collections and item.collection_id not in (None, *search.collections):
        return False
    if search.area is None or item.bbox is None or len(item.bbox) != 4:
        return True
    west, south, east, north = search.area
    left, bottom, right, top = item.bbox
    return left <= east and right >= west and bottom <= north and top >= south


def _too_cloudy(item: pystac.Item, search: Search) -> str:
    cloud = item.properties.get("eo:cloud_cover")
    if search.max_cloud is None or cloud is None or float(cloud) <= search.max_cloud:
        return ""
    return f"not asked for: cloud cover of {float(cloud):g} % > {search.max_cloud:g} %"


def _link(content: dict[str, Any], rel: str) -> str:
    links = content.get("links", [])
    return next((str(link.get("href", "")) for link in links if link.get("rel") == rel), "")


def _own_address(item: dict[str, Any]) -> str | None:
    return _link(item, "self") or None


def _absolute(href: str, start: str) -> str:
    from pystac.utils import make_absolute_href

    return str(make_absolute_href(href, start))


def place(where: str) -> Path:
    """Return what a source or an item is listed as: a name for GDAL, or its path."""
    if urlsplit(where).scheme in ("http", "https", "s3"):
        return remote(where)
    return Path(where)


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
