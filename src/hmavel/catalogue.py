"""The memory of an archive and of a run: scenes, glaciers, which touch, decisions, pairs.

One SQLite file in the output folder. Everything in it can be made again from the archive; it
is there so that a second run looks only at what is new, and so that others can ask it:
``docs/catalogue.md`` lists the tables. ``catalogue_export.py`` writes them for other programs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import shapely

from hmavel import catalogue_schema as tables
from hmavel.catalogue_schema import DECIDED, GONE, LEFT_OUT, PLANNED, SCENE_COLUMNS, USED
from hmavel.database import Database
from hmavel.footprints import footprints, intersecting

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from hmavel._types import Scene
    from hmavel.pairing import PairChoice
    from hmavel.screening import Decision

#: Name of the file in a run's output folder.
FILE = "catalogue.sqlite"


class Entry(NamedTuple):
    """An item of an archive (a folder, a file, a STAC item), as a scan has found it."""

    item: str  #: names it in every scan: its path or address
    facts: str  #: changes when its content does, see ``state.fingerprint``
    scene: Scene | None  #: what it is, when it could be opened
    reason: str = ""  #: why it is not used; "" when it is
    own: Scene | None = None  #: as it was opened, where another product lends it bands


class Changes(NamedTuple):
    """What a scan changed: items."""

    new: int
    changed: int
    gone: int
    same: int


class Catalogue:
    """The catalogue of one output folder; also a context manager that closes it.

    Parameters
    ----------
    path
        The file, usually ``<out>/catalogue.sqlite``; made when it is not there.
    read_only
        To look while a run is writing.

    Raises
    ------
    CatalogueError
        The file is damaged, of another version or another program, or locked.
    WriteError
        It cannot be written.

    Notes
    -----
    Every method that changes something is one transaction: a process killed in it leaves the
    state before or after. Threads may share a catalogue. Several processes may, where the disk
    is local; workers on other machines hand their results to the one process that writes.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self._base = Database(
            Path(path), tables.SCHEMA, application=tables.APPLICATION, version=tables.VERSION,
            read_only=read_only,
        )  # fmt: skip
        self.path = self._base.path

    def __enter__(self) -> Catalogue:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file. Calling it twice is no error."""
        self._base.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make several changes one: all of the block's are kept, or none."""
        return self._base.transaction()

    # ------------------------------------------------------------ the archive

    def recall(self, item: str, facts: str) -> Scene | str | None:
        """Return what an item was when it had these facts, without opening it.

        Its scene, or the reason why it could not be used. None for what is new or has changed.
        """
        names = ", ".join(SCENE_COLUMNS)
        row = self._base.one(
            f"SELECT reason, own, {names} FROM scenes WHERE item = ? AND facts = ?",
            (item, facts),
        )
        if row is None:
            return None
        reason, own, *columns = row
        if columns[0] is None:
            return str(reason)
        with self._base.believed():
            scene = tables.row_scene(columns)
            return scene if own is None else tables.own_scene(scene, own)

    def sync(self, entries: Iterable[Entry]) -> Changes:
        """Take over the result of a scan of the whole archive.

        Items that are as they were cost a comparison. Decisions on items that have changed are
        forgotten. Items that are no longer there are marked as gone and keep theirs: a
        disk that was not mounted comes back.
        """
        known = {
            row[1]: row
            for row in self._base.all(
                "SELECT key, item, facts, state, reason, bands, level_30m, own IS NULL "
                "FROM scenes"
            )
        }
        fresh: list[Entry] = []
        stale: list[tuple[int]] = []
        marks: list[tuple[str, str, int]] = []
        seen: set[str] = set()
        same = 0
        for entry in entries:
            if entry.item in seen:
                continue
            seen.add(entry.item)
            state = LEFT_OUT if entry.reason or entry.scene is None else USED
            before = known.get(entry.item)
            if before is None:
                fresh.append(entry)
            elif before[2] != entry.facts or _lent_other(entry, before[5:]):
                fresh.append(entry)
                stale.append((before[0],))
            else:
                same += 1
                if (before[3], before[4]) != (state, entry.reason):
                    marks.append((state, entry.reason, before[0]))
        gone = [row[0] for row in known.values() if row[1] not in seen and row[3] != GONE]
        marks += [(GONE, "no longer in the archive", key) for key in gone]
        if fresh or stale or marks:
            with self.transaction():
                self._base.run_many("DELETE FROM scenes WHERE key = ?", stale)
                self._base.run_many(
                    "UPDATE scenes SET state = ?, reason = ? WHERE key = ?", marks
                )
                self._insert(fresh)
        return Changes(len(fresh) - len(stale), len(stale), len(gone), same)

    def _insert(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        opened = [e for e in entries if e.scene is not None]
        frames = footprints([e.scene.grid for e in opened if e.scene is not None])
        blobs = shapely.to_wkb(frames).tolist()
        names = ("item", "facts", "state", "reason", "own", *SCENE_COLUMNS)
        marks = ", ".join("?" * len(names))
        empty = (None,) * len(SCENE_COLUMNS)
        self._base.run_many(
            f"INSERT INTO scenes ({', '.join(names)}) VALUES ({marks})",
            (
                (
                    e.item, e.facts, LEFT_OUT if e.reason or e.scene is None else USED,
                    e.reason,
                    None if e.own is None else tables.own_text(e.own),
                    *(empty if e.scene is None else tables.scene_row(e.scene)),
                )
                for e in entries
            ),
        )  # fmt: skip
        self._base.run_many(
            "INSERT INTO frames SELECT key, ? FROM scenes WHERE item = ?",
            zip(blobs, (e.item for e in opened), strict=True),
        )
        self._touch(
            "SELECT f.scene, f.footprint FROM frames f JOIN scenes s ON s.key = f.scene "
            "WHERE s.item IN (SELECT value FROM json_each(?))",
            [json.dumps([e.item for e in opened])],
            "SELECT key, outline FROM glaciers", [],
        )  # fmt: skip

    def scenes(self, glacier: str | None = None) -> list[Scene]:
        """Return the used scenes by time, all or those whose frame touches a glacier."""
        names = ", ".join(f"s.{name}" for name in SCENE_COLUMNS)
        if glacier is None:
            rows = self._base.all(
                f"SELECT {names} FROM scenes s WHERE s.state = ? ORDER BY s.time, s.id", (USED,)
            )
        else:
            rows = self._base.all(
                f"SELECT {names} FROM glaciers g JOIN touches t ON t.glacier = g.key "
                "JOIN scenes s ON s.key = t.scene WHERE g.id = ? AND s.state = ? "
                "ORDER BY s.time, s.id",
                (glacier, USED),
            )
        with self._base.believed():
            return [tables.row_scene(row) for row in rows]

    def listing(self, glacier: str) -> list[dict[str, Any]]:
        """Return a glacier's used scenes by time as plain rows, with what was decided.

        Keys: ``scene``, ``time``, ``sensor``, ``wrs_path``, ``wrs_row``, ``cloud_cover`` (%, of
        the whole scene, as its provider says), ``path`` and those of a decision, None where
        none was made. A third of the time that ``scenes`` takes.
        """
        mine = ("scene", "time", "sensor", "wrs_path", "wrs_row", "cloud_cover", "path")
        rows = self._base.all(
            "SELECT s.id, s.time, s.sensor, s.wrs_path, s.wrs_row, s.cloud_cover, "
            "s.path, " + ", ".join(f"d.{name}" for name in DECIDED)
            + " FROM glaciers g JOIN touches t ON t.glacier = g.key "
            "JOIN scenes s ON s.key = t.scene "
            "LEFT JOIN decisions d ON d.glacier = g.key AND d.scene = s.key "
            "WHERE g.id = ? AND s.state = ? ORDER BY s.time, s.id",
            (glacier, USED),
        )
        names = (*mine, *DECIDED)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def left_out(self) -> list[tuple[str, str]]:
        """Return (item, reason) of what the archive has and is not used, by item."""
        return [
            (item, reason)
            for item, reason in self._base.all(
                "SELECT item, reason FROM scenes WHERE state = ? ORDER BY item", (LEFT_OUT,)
            )
        ]

    # ------------------------------------------------------------ the glaciers

    def sync_glaciers(self, glaciers: GeoDataFrame) -> Changes:
        """Take over the glaciers to work on, rows of ``glaciers.read_glaciers``.

        Which scenes touch them is worked out for new and changed outlines only; glaciers that
        are not among them any more are removed, with their decisions and pairs.
        """
        known = {
            row[0]: row
            for row in self._base.all(
                "SELECT id, key, name, area_km2, o1region, utm_epsg, outline FROM glaciers"
            )
        }
        blobs = shapely.to_wkb(glaciers.geometry.to_numpy())
        add: list[tuple[Any, ...]] = []
        names: list[tuple[Any, ...]] = []
        drop: list[tuple[int]] = []
        changed = same = 0
        for glacier, outline in zip(glaciers.itertuples(), blobs, strict=True):
            values = (
                str(glacier.name or ""), float(glacier.area_km2), str(glacier.o1region or ""),
                int(glacier.utm_epsg),
            )  # fmt: skip
            before = known.pop(glacier.id, None)
            if before is not None and before[6] == outline:
                same += 1
                if tuple(before[2:6]) != values:
                    names.append((*values, before[1]))
                continue
            if before is not None:
                changed += 1
                drop.append((before[1],))
            add.append((glacier.id, *values, outline))
        gone = [(row[1],) for row in known.values()]
        if add or drop or gone or names:
            with self.transaction():
                self._base.run_many("DELETE FROM glaciers WHERE key = ?", drop + gone)
                self._base.run_many(
                    "UPDATE glaciers SET name = ?, area_km2 = ?, o1region = ?, utm_epsg = ? "
                    "WHERE key = ?",
                    names,
                )
                self._base.run_many(
                    "INSERT INTO glaciers (id, name, area_km2, o1region, utm_epsg, outline) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    add,
                )
                self._touch(
                    "SELECT scene, footprint FROM frames", [],
                    "SELECT key, outline FROM glaciers WHERE id IN "
                    "(SELECT value FROM json_each(?))",
                    [json.dumps([row[0] for row in add])],
                )  # fmt: skip
        return Changes(len(add) - changed, changed, len(gone), same)

    def _touch(
        self, scenes: str, scene_values: list[Any], glaciers: str, glacier_values: list[Any]
    ) -> None:
        """Work out which of some outlines and frames touch; all of both, however many."""
        frames = self._base.all(scenes, scene_values)
        outlines = self._base.all(glaciers, glacier_values)
        if not frames or not outlines:
            return
        found = intersecting(_shapes(outlines), _shapes(frames))
        glacier_keys = np.array([row[0] for row in outlines], np.int64)
        scene_keys = np.array([row[0] for row in frames], np.int64)
        keys = np.column_stack([glacier_keys[found[:, 0]], scene_keys[found[:, 1]]])
        keys = keys[np.lexsort((keys[:, 1], keys[:, 0]))]  # in the order of the table
        for start in range(0, len(keys), 100_000):
            self._base.run_many(
                "INSERT OR IGNORE INTO touches VALUES (?, ?)",
                keys[start : start + 100_000].tolist(),
            )

    def glaciers(self) -> list[str]:
        """Return the ids of the glaciers, sorted."""
        return [row[0] for row in self._base.all("SELECT id FROM glaciers ORDER BY id")]

    # ------------------------------------------------------------ decisions

    def decisions(self, glacier: str, made_with: str | None = None) -> list[Decision]:
        """Return what was decided about the used scenes of a glacier, by time.

        ``made_with``: the fingerprint of the options; decisions that were made with others
        are not returned. None for whatever there is.
        """
        names = ", ".join(f"d.{name}" for name in DECIDED)
        rows = self._base.all(
            f"SELECT s.id, g.id, {names} FROM glaciers g "
            "JOIN decisions d ON d.glacier = g.key JOIN scenes s ON s.key = d.scene "
            "WHERE g.id = ? AND s.state = ? AND (? IS NULL OR g.screened_with = ?) "
            "ORDER BY s.time, s.id",
            (glacier, USED, made_with, made_with),
        )
        with self._base.believed():
            return [tables.row_decision(row) for row in rows]

    def decide(self, glacier: str, made_with: str, decisions: Iterable[Decision]) -> None:
        """Keep decisions on a glacier's scenes; those made with other options are dropped.

        Scenes that could not be read (``failed``) are not kept: they are tried again.
        """
        kept = [decision for decision in decisions if not decision.failed]
        with self.transaction():
            key = self._key(glacier)
            self._base.run(
                "DELETE FROM decisions WHERE glacier = ? AND EXISTS "
                "(SELECT 1 FROM glaciers WHERE key = ? AND screened_with IS NOT ?)",
                (key, key, made_with),
            )
            self._base.run(
                "UPDATE glaciers SET screened_with = ? WHERE key = ?", (made_with, key)
            )
            here = dict(
                self._base.all(
                    "SELECT s.id, s.key FROM touches t JOIN scenes s ON s.key = t.scene "
                    "WHERE t.glacier = ? AND s.state = ?",
                    (key, USED),
                )
            )
            marks = ", ".join("?" * (2 + len(DECIDED)))
            self._base.run_many(
                f"INSERT OR REPLACE INTO decisions (glacier, scene, {', '.join(DECIDED)}) "
                f"VALUES ({marks})",
                (
                    (key, here[d.scene_id], *tables.decision_row(d))
                    for d in kept
                    if d.scene_id in here
                ),
            )

    # ------------------------------------------------------------ pairs

    def plan_pairs(self, glacier: str, choices: Iterable[PairChoice]) -> None:
        """Set which pairs a glacier is to have; those that are no longer wanted are removed.

        Pairs that were planned before keep their state.
        """
        choices = list(choices)
        rows = [
            (c.reference.id, c.secondary.id, round(c.baseline_days, 6), c.reason)
            for c in choices
        ]
        with self.transaction():
            key = self._key(glacier)
            self._base.run(
                "DELETE FROM pairs WHERE glacier = ? AND reference || '_X_' || secondary "
                "NOT IN (SELECT value FROM json_each(?))",
                (key, json.dumps([choice.id for choice in choices])),
            )
            self._base.run_many(
                "INSERT INTO pairs (glacier, reference, secondary, days, chosen_for, state, "
                f"reason, fingerprint, figures) VALUES (?, ?, ?, ?, ?, '{PLANNED}', '', '', "
                "'{}') ON CONFLICT DO UPDATE SET days = excluded.days, "
                "chosen_for = excluded.chosen_for",
                ((key, *row) for row in rows),
            )

    def mark_pairs(
        self, glacier: str, rows: Iterable[Mapping[str, Any]], *, key: str = "fingerprint"
    ) -> None:
        """Keep what became of planned pairs.

        Parameters
        ----------
        glacier
            Its id.
        rows
            With ``reference``, ``secondary``, ``state``, and optionally ``reason``, the
            fingerprint of the work under ``key``, and figures: all else, plain values.
        """
        own = {"reference", "secondary", "state", "reason", key}
        with self.transaction():
            number = self._key(glacier)
            self._base.run_many(
                "UPDATE pairs SET state = ?, reason = ?, fingerprint = ?, figures = ? "
                "WHERE glacier = ? AND reference = ? AND secondary = ?",
                (
                    (
                        row["state"], row.get("reason") or "", row.get(key) or "",
                        tables.json_text({k: v for k, v in row.items() if k not in own}),
                        number, row["reference"], row["secondary"],
                    )
                    for row in rows
                ),
            )  # fmt: skip

    def pairs(self, glacier: str, state: str | None = None) -> list[dict[str, Any]]:
        """Return a glacier's pairs by dates: the columns of the table, ``figures`` spread."""
        names = ("reference", "secondary", "days", "chosen_for", "state", "reason")
        rows = self._base.all(
            f"SELECT {', '.join(f'p.{n}' for n in names)}, p.fingerprint, p.figures "
            "FROM glaciers g JOIN pairs p ON p.glacier = g.key "
            "LEFT JOIN scenes a ON a.id = p.reference AND a.state = 'used' "
            "LEFT JOIN scenes b ON b.id = p.secondary AND b.state = 'used' "
            "WHERE g.id = ? AND (? IS NULL OR p.state = ?) "
            "ORDER BY a.time, b.time, p.reference, p.secondary",
            (glacier, state, state),
        )
        return [
            json.loads(row[7])
            | dict(zip(names, row[:6], strict=True))
            | {"fingerprint": row[6]}
            for row in rows
        ]

    # ------------------------------------------------------------ any other work

    def record(
        self, stage: str, item: str, state: str, fingerprint: str = "", **content: Any
    ) -> None:
        """Keep the state of an item of work of any stage; plain values beside it."""
        self._base.run(
            "INSERT OR REPLACE INTO records (stage, item, state, fingerprint, content) "
            "VALUES (?, ?, ?, ?, ?)",
            (stage, item, state, fingerprint, tables.json_text(content)),
        )

    def look_up(self, stage: str, item: str) -> dict[str, Any] | None:
        """Return the record of an item: ``state``, ``fingerprint``, ``changed``, content."""
        row = self._base.one(
            "SELECT state, fingerprint, changed, content FROM records "
            "WHERE stage = ? AND item = ?",
            (stage, item),
        )
        if row is None:
            return None
        found: dict[str, Any] = json.loads(row[3])
        return found | dict(zip(("state", "fingerprint", "changed"), row[:3], strict=True))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what -> state -> number: scenes, decisions, pairs, each stage's records."""
        rows = self._base.all(
            "SELECT 'scenes', state, count(*) FROM scenes GROUP BY 2 UNION ALL "
            "SELECT 'glaciers', CASE WHEN screened_with IS NULL THEN 'new' ELSE 'screened' END,"
            " count(*) FROM glaciers GROUP BY 2 UNION ALL "
            "SELECT 'decisions', CASE accepted WHEN 1 THEN 'accepted' ELSE 'rejected' END, "
            "count(*) FROM decisions GROUP BY 2 UNION ALL "
            "SELECT 'pairs', state, count(*) FROM pairs GROUP BY 2 UNION ALL "
            "SELECT stage, state, count(*) FROM records GROUP BY 1, 2"
        )
        found: dict[str, dict[str, int]] = {}
        for what, state, number in rows:
            found.setdefault(what, {})[state] = number
        return found

    def table(self, name: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return (columns, rows) of a table or view, keys spelt out as ids."""
        queries = {
            "scenes": "SELECT s.*, f.footprint FROM scenes s "
            "LEFT JOIN frames f ON f.scene = s.key ORDER BY s.time, s.id, s.item",
            "glaciers": "SELECT * FROM glaciers ORDER BY id",
            "decisions": "SELECT g.id AS glacier, s.id AS scene, s.time, "
            + ", ".join(f"d.{column}" for column in DECIDED)
            + " FROM decisions d JOIN glaciers g ON g.key = d.glacier "
            "JOIN scenes s ON s.key = d.scene ORDER BY g.id, s.time, s.id",
            "pairs": "SELECT g.id AS glacier, p.reference, p.secondary, p.days, p.chosen_for, "
            "p.state, p.reason, p.fingerprint, p.figures FROM pairs p "
            "JOIN glaciers g ON g.key = p.glacier ORDER BY g.id, p.reference, p.secondary",
            "records": "SELECT * FROM records ORDER BY stage, item",
            "glacier_summary": "SELECT * FROM glacier_summary ORDER BY glacier",
            "scene_summary": "SELECT * FROM scene_summary ORDER BY time, scene",
        }
        if name not in queries:
            raise ValueError(
                f"catalogue table: expected one of {', '.join(queries)}, got {name!r}; "
                "choose one of them"
            )
        return self._base.query(queries[name])

    def _key(self, glacier: str) -> int:
        row = self._base.one("SELECT key FROM glaciers WHERE id = ?", (glacier,))
        if row is None:
            raise ValueError(
                f"catalogue {glacier}: expected a glacier of this catalogue, got none of that "
                "id; call sync_glaciers first"
            )
        return int(row[0])


def _shapes(rows: Sequence[tuple[int, bytes]]) -> Any:
    return shapely.from_wkb(np.array([row[1] for row in rows], object))


def _lent_other(entry: Entry, before: tuple[str | None, str | None, int]) -> bool:
    """Tell whether a scene now has other bands from another product than it had."""
    if entry.own is None:
        return not before[2]
    assert entry.scene is not None
    row = dict(zip(SCENE_COLUMNS, tables.scene_row(entry.scene), strict=True))
    return (row["bands"], row["level_30m"]) != before[:2]
