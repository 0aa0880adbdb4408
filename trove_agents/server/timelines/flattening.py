"""Flattening: the base of a timeline, which no longer changes, copied into one timeline.

Reads through many timelines cost more, so a job folds chains that have become deep. It works beside writers: the
copy is made in batches that nothing refers to, and one update at the end puts it in place of the base.
"""

import functools
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import LIVE, entries, namespaces, timelines
from trove_agents.server.jobs import Turn
from trove_agents.server.timelines.chain import CHAIN, base, lineage, visible
from trove_agents.server.timelines.reads import Row, nearest
from trove_agents.server.timelines.values import At, Kind

DEEP: Final = 32
"""Timelines that a head may read through; deeper ones are folded."""
_PAGE: Final = 500

_e, _n, _t = entries.c, namespaces.c, timelines.c
_FULL = (
    _e.name,
    _e.kind,
    _e.mode,
    _e.size,
    _e.mtime_ns,
    _e.content,
    _e.since,
    _e.media_type,
    _e.etag,
    _e.attributes,
)
_LIST: Final = select(CHAIN.c.depth, *_FULL).where(visible(CHAIN), _e.dir == bindparam("d"))
_TIMELINE = select(_t.namespace, _t.base, _t.base_version).where(_t.id == bindparam("id"))
_DEEP = (
    select(_n.id, _n.timeline, _n.version)
    .join(timelines, _t.id == _n.timeline)
    .where(_n.id > bindparam("after"), _t.base.is_not(None))
    .order_by(_n.id)
    .limit(bindparam("most"))
)
_NEW = insert(timelines)
_ADD = insert(entries)
_SWITCH = (
    update(timelines)
    .where(_t.base == bindparam("was"), _t.base_version == bindparam("cut"))
    .values(base=bindparam("flat"))
)


def depth(db: Connection, at: At) -> int:
    """Through how many timelines reads of a state pass, its own included."""
    return len(lineage(db, at))


def flatten(database: Database, timeline_id: int, batch: int = 2000) -> int:
    """Folds what is under a timeline, and under others cut at the same state; how many rows that took.

    0 where there is nothing to fold: no base, or a base without one. Interrupted, it leaves rows that nothing
    refers to and no other trace.
    """
    with database.read() as db:
        row = db.one(_TIMELINE, id=timeline_id)
        if row is None or row[1] is None:
            return 0
        owner, under, version = row
        state = At(under, version)
        if base(db, state) is None:
            return 0
    flat = database.write(
        lambda tx: tx.insert(
            _NEW, namespace=owner, base=None, base_version=None, origin=under, origin_version=version
        )
    )
    rows = _copy(database, state, flat, batch)

    def switch(tx: Connection) -> None:
        left = tx.one(_TIMELINE, id=flat)
        # Nothing refers to a copy in the making: one that took too long may have been taken for a left one
        if left is not None and left[0] == owner:
            tx.run(_SWITCH, was=under, cut=version, flat=flat)

    database.write(switch)
    return rows


class Flattening:
    """One job over all namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fold(self, turn: Turn) -> str | None:
        """Folds what heads read through too many timelines for. What they hold themselves stays where it is."""
        after = int(turn.place or 0)
        while True:
            with self._database.read() as db:
                found = db.all(_DEEP, after=after, most=_PAGE)
                deep = [(key, t) for key, t, v in found if depth(db, At(t, v)) > DEEP]
            if not found:
                return None
            for key, timeline in deep:
                flatten(self._database, timeline)
                after = key
                if turn.over:
                    return str(after)
            after = found[-1][0]


def _copy(database: Database, state: At, flat: int, batch: int) -> int:
    count = 0
    waiting: list[dict[str, Any]] = []
    directories = [b""]
    while directories:
        directory = directories.pop()
        with database.read() as db:
            found = nearest(db.all(_LIST, t=state.timeline, v=state.version, d=directory))
        for row in found:
            if row[1] == Kind.DIRECTORY:
                directories.append(directory + b"/" + row[0] if directory else row[0])
            waiting.append(_values(flat, directory, row))
        while len(waiting) >= batch or (waiting and not directories):
            rows, waiting = waiting[:batch], waiting[batch:]
            database.write(functools.partial(_add, rows=rows))
            count += len(rows)
    return count


def _add(tx: Connection, rows: list[dict[str, Any]]) -> None:
    tx.many(_ADD, rows)


def _values(flat: int, directory: bytes, row: Row) -> dict[str, Any]:
    columns = [column.name for column in _FULL]
    return {"timeline": flat, "dir": directory, "until": LIVE, **dict(zip(columns, row, strict=True))}
