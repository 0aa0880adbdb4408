"""The end of history: rows that no state shows which somebody can still ask for.

Kept are all states of a namespace from its **horizon** on, its head, and those that snapshots, step references and
other timelines (as base or origin) refer to. A state is read by the newest row of each path up to its version, so a row is kept if it
is the newest one for a kept state. That includes the row that says a path is gone, unless no older row of it is left:
then nothing says so just as well, since such a row is only stored where the base shows nothing either.

Who makes a new reference to a state can only do so from one that is kept, so rows that are found dead stay dead.
Each transaction looks at the references itself. Before anything goes the horizon is raised, in the same transaction:
what was read below it must be checked with ``kept`` afterwards. The state of a snapshot or a step reference may go as
soon as that is deleted, if it is older than the horizon.

A timeline that nothing refers to is first disowned, which also keeps a flattening that was suspended from using it,
then emptied in batches, and its row goes last: until then no other timeline can get its key.
"""

import functools
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, tuple_, update

from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import (
    entries,
    heads,
    horizons,
    log,
    namespaces,
    references,
    snapshots,
    timelines,
)
from trove_agents.server.jobs import DAY, Turn
from trove_agents.server.timelines.chain import ONE
from trove_agents.server.timelines.values import At, Kind

_BATCH: Final = 2000
_FOREVER: Final = 2**63 - 1
DISOWNED: Final = 0
"""The namespace of a timeline that is being deleted."""

_e, _h, _l, _n, _t = entries.c, heads.c, log.c, namespaces.c, timelines.c
_r, _s = references.c, snapshots.c
HORIZON: Final = select(horizons.c.version).where(horizons.c.namespace == bindparam("ns"))
_KEPT = (
    select(_t.namespace, horizons.c.version)
    .select_from(timelines.outerjoin(horizons, horizons.c.namespace == _t.namespace))
    .where(_t.id == bindparam("t"))
)
_NAMESPACES = select(_n.id).where(_n.id > bindparam("after")).order_by(_n.id).limit(_BATCH)
_THEN = select(func.max(_h.since)).where(_h.namespace == bindparam("ns"), _h.since <= bindparam("horizon"))
_OLD_HEADS = delete(heads).where(_h.namespace == bindparam("ns"), _h.since < bindparam("then"))
_LOG = (
    select(_l.version, _l.timeline)
    .where(_l.namespace == bindparam("ns"), _l.version > bindparam("after"))
    .order_by(_l.version)
    .limit(_BATCH)
)
_DELETE_LOG = delete(log).where(_l.namespace == bindparam("ns"), _l.version == bindparam("v"))
_ORIGINS = (
    update(timelines)
    .where(_t.origin.is_distinct_from(_t.base), _t.origin_version < bindparam("horizon"))
    .values(origin=_t.base, origin_version=_t.base_version)
)
_TIMELINES = (
    select(_t.id, _t.namespace).where(_t.id < bindparam("before")).order_by(_t.id.desc()).limit(_BATCH)
)
_other = timelines.alias("other")
_REFERRED = or_(
    exists().where(_h.timeline == _t.id),
    exists().where(_s.timeline == _t.id),
    exists().where(_r.timeline == _t.id),
    exists().where(_other.c.base == _t.id),
    exists().where(_other.c.origin == _t.id),
    exists().where(_n.timeline == _t.id),
)
_DISOWN = (
    update(timelines)
    .where(_t.id == bindparam("key"), _t.namespace != DISOWNED, ~_REFERRED)
    .values(namespace=DISOWNED, base=None, base_version=None, origin=None, origin_version=None)
)
# The newest key stays: SQLite would give it to the next timeline
_DELETE_TIMELINE = delete(timelines).where(
    _t.id == bindparam("key"),
    _t.namespace == DISOWNED,
    _t.id < select(func.max(_other.c.id)).scalar_subquery(),
    ~exists().where(_e.timeline == _t.id),
)
_STRETCHES = select(_h.namespace, _h.since).where(_h.timeline == bindparam("t"))
_NEXT = select(func.min(_h.since)).where(_h.namespace == bindparam("ns"), _h.since > bindparam("since"))
POINTS: Final = (
    select(_s.version).where(_s.timeline == bindparam("t")),
    select(_r.version).where(_r.timeline == bindparam("t")).distinct(),
    select(_t.base_version).where(_t.base == bindparam("t")),
    select(_t.origin_version).where(_t.origin == bindparam("t")),
)
ROWS: Final = (
    select(_e.dir, _e.name, _e.since, _e.until, _e.kind)
    .where(
        _e.timeline == bindparam("t"),
        tuple_(_e.dir, _e.name, _e.since) >= tuple_(bindparam("d"), bindparam("n"), bindparam("s")),
    )
    .order_by(_e.dir, _e.name, _e.since)
    .limit(_BATCH)
)
_DELETE_ROW = delete(entries).where(
    and_(
        _e.timeline == bindparam("t"),
        _e.dir == bindparam("d"),
        _e.name == bindparam("n"),
        _e.since == bindparam("s"),
    )
)
_OLD_ROW = select(_e.since).where(_e.timeline == bindparam("t"), _e.since < bindparam("horizon")).limit(ONE)
_Place = tuple[bytes, bytes, int]


def horizon(db: Connection, namespace_id: int) -> int:
    """The version from which on a namespace can be read as it was at any time."""
    row = db.one(HORIZON, ns=namespace_id)
    return 0 if row is None else row[0]


def kept(db: Connection, at: At) -> bool:
    """Whether what was read of a state before this call was complete, and what differs from it too."""
    row = db.one(_KEPT, t=at.timeline)
    return row is not None and row[0] != DISOWNED and at.version >= (row[1] or 0)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The versions of a timeline that somebody can ask for: single ones, and stretches up to but not including."""

    points: list[int]
    stretches: list[tuple[int, int]]

    @classmethod
    def of(cls, db: Connection, timeline: int, horizon: int) -> "_Kept":
        points: set[int] = set()
        for statement in POINTS:
            points.update(version for (version,) in db.all(statement, t=timeline))
        stretches = []
        for namespace, since in db.all(_STRETCHES, t=timeline):
            following = db.one(_NEXT, ns=namespace, since=since)
            end = _FOREVER if following is None or following[0] is None else following[0]
            stretches.append((max(since, horizon), end))
        return cls(sorted(points), stretches)

    def any_in(self, start: int, stop: int) -> bool:
        """Whether one is in ``start <= version < stop``."""
        at = bisect_left(self.points, start)
        if at < len(self.points) and self.points[at] < stop:
            return True
        return any(max(start, low) < min(stop, high) for low, high in self.stretches)


class Retention:
    """One job over all namespaces."""

    def __init__(self, database: Database, *, days: int) -> None:
        self._database = database
        self._days = days

    def forget(self, turn: Turn) -> str | None:
        """Deletes what was replaced before the horizon and what nothing refers to.

        The place is ``n`` and the last namespace that was done, or ``t`` and the last timeline.
        """
        horizon = turn.now_ns - self._days * DAY * 10**9
        place = turn.place or "n0"
        if place[0] == "n":
            last = self._namespaces(turn, horizon, int(place[1:]))
            if last is not None:
                return f"n{last}"
            self._database.write(lambda tx: tx.run(_ORIGINS, horizon=horizon))
            place = f"t{_FOREVER}"
        last = self._timelines(turn, horizon, int(place[1:]))
        return None if last is None else f"t{last}"

    def _namespaces(self, turn: Turn, horizon: int, after: int) -> int | None:
        while True:
            with self._database.read() as db:
                found = [key for (key,) in db.all(_NAMESPACES, after=after)]
            if not found:
                return None
            for key in found:
                self._namespace(key, horizon)
                after = key
                if turn.over:
                    return after

    def _namespace(self, key: int, horizon: int) -> None:
        """The heads of a namespace before the horizon, and its log."""

        def heads_of(tx: Connection) -> None:
            then = tx.one(_THEN, ns=key, horizon=horizon)
            if then is not None and then[0] is not None and tx.run(_OLD_HEADS, ns=key, then=then[0]):
                _raise(tx, key, horizon)

        with self._database.read() as db:
            first = db.all(_LOG, ns=key, after=-1)[:2]
        if len(first) < 2 or first[1][0] >= horizon:
            return  # nothing happened before the horizon but what led to it
        self._database.write(heads_of)
        after = -1
        while True:
            last = self._database.write(functools.partial(_log, key=key, after=after, horizon=horizon))
            if last is None:
                return
            after = last

    def _timelines(self, turn: Turn, horizon: int, before: int) -> int | None:
        """Newest first: a timeline refers only to older ones."""
        while True:
            with self._database.read() as db:
                found = db.all(_TIMELINES, before=before)
            if not found:
                return None
            for key, owner in found:
                if owner == DISOWNED or self._database.write(lambda tx, key=key: tx.run(_DISOWN, key=key)):  # type: ignore[misc]
                    done = self._remove(turn, key)
                else:
                    done = self._prune(turn, key, owner, horizon)
                if not done:
                    return before
                before = key
                if turn.over:
                    return before

    def _remove(self, turn: Turn, key: int) -> bool:
        """Everything of a timeline that was disowned; False when time was up before."""
        while self._database.write(functools.partial(_empty, key=key)):
            if turn.over:
                return False
        self._database.write(lambda tx: tx.run(_DELETE_TIMELINE, key=key))
        return True

    def _prune(self, turn: Turn, key: int, owner: int, horizon: int) -> bool:
        """The rows of a timeline that no kept state shows; False when time was up before."""
        with self._database.read() as db:
            if db.one(_OLD_ROW, t=key, horizon=horizon) is None:
                return True
        place: _Place | None = (b"", b"", -1)
        older: _Place | None = None
        while place is not None:
            with self._database.read() as db:
                dead, following, left = _dead(db, key, horizon, place, older)
            if dead:
                act = functools.partial(
                    _bury, key=key, owner=owner, horizon=horizon, place=place, older=older
                )
                following, left = self._database.write(act)
            place, older = following, left
            if place is not None and turn.over:
                return False
        return True


def _raise(tx: Connection, namespace: int, horizon: int) -> None:
    row = tx.one(HORIZON, ns=namespace)
    if row is None or row[0] < horizon:
        tx.upsert(horizons, namespace=namespace, version=horizon)


def _log(tx: Connection, key: int, after: int, horizon: int) -> int | None:
    """Deletes of a page of log rows those that no kept state has its totals from; where the next page starts."""
    page = tx.all(_LOG, ns=key, after=after)
    known: dict[int, _Kept] = {}
    dead = []
    for (version, timeline), following in zip(page, [*page[1:], None], strict=True):
        if version >= horizon or (following is None and len(page) == _BATCH):
            break
        end = following[0] if following is not None and following[1] == timeline else _FOREVER
        if timeline not in known:
            known[timeline] = _Kept.of(tx, timeline, horizon)
        if not known[timeline].any_in(version, end):
            dead.append({"ns": key, "v": version})
    if dead:
        tx.many(_DELETE_LOG, dead)
        _raise(tx, key, horizon)
    more = len(page) == _BATCH and page[-1][0] < horizon
    return page[-2][0] if more else None


def _empty(tx: Connection, key: int) -> int:
    """Deletes some rows of a timeline; how many."""
    page = tx.all(ROWS, t=key, d=b"", n=b"", s=-1)
    tx.many(_DELETE_ROW, [{"t": key, "d": row[0], "n": row[1], "s": row[2]} for row in page])
    return len(page)


def _dead(
    db: Connection, key: int, horizon: int, place: _Place, older: _Place | None
) -> tuple[list[_Place], _Place | None, _Place | None]:
    """Of a page of rows those to delete, where the next page starts, and the last row that stays.

    ``older`` is the last row before the page that stays.
    """
    page = db.all(ROWS, t=key, d=place[0], n=place[1], s=place[2])
    keeping = _Kept.of(db, key, horizon)
    full = len(page) == _BATCH
    dead: list[_Place] = []
    for row, following in zip(page, [*page[1:], None], strict=True):
        if following is None and full:
            break  # what comes after it decides
        directory, name, since, until, kind = row
        end = following[2] if following is not None and following[:2] == row[:2] else _FOREVER
        # It says that there is nothing where nothing would be shown either
        needless = (
            kind == Kind.GONE
            and until == since < horizon
            and (older is None or older[:2] != (directory, name))
        )
        if needless or not keeping.any_in(since, end):
            dead.append((directory, name, since))
        else:
            older = (directory, name, since)
    following_page: Any = page[-1][:3] if full else None
    return dead, following_page, older


def _bury(
    tx: Connection, *, key: int, owner: int, horizon: int, place: _Place, older: _Place | None
) -> tuple[_Place | None, _Place | None]:
    dead, following, left = _dead(tx, key, horizon, place, older)
    tx.many(_DELETE_ROW, [{"t": key, "d": d, "n": n, "s": s} for d, n, s in dead])
    if dead:
        _raise(tx, owner, horizon)
    return following, left
