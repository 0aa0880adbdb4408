"""The rules of comparisons and history: docs/wire.md, "Reading the past"."""

from typing import Final

from trove_agents.server import cursors, paths, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import NotFound, Unprocessable
from trove_agents.server.keys import service as keys
from trove_agents.server.namespaces.states import recheck, state
from trove_agents.server.timelines import Entry, LogRow, Namespace
from trove_agents.wire import limits, names, times
from trove_agents.wire.events import Actor
from trove_agents.wire.history import Change, Difference, Differences, HistoryEntry, HistoryPage, Side

_LAST: Final = 2**63 - 1


class History:
    """The past of all namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def differences(
        self,
        principal: Principal,
        namespace: str,
        start: str,
        to: str | None,
        *,
        limit: int,
        cursor: str | None,
    ) -> Differences:
        """The paths that two states hold differently. A cursor goes on between the versions it began with.

        Raises:
            BadRequest: a cursor that this server did not give.
            NotFound: no such namespace, snapshot or past.
            Unprocessable: a limit below 1, or what names no state.
        """
        most = _most(limit, limits.DIFF_PAGE)
        after = b""
        if cursor is not None:
            first, second, path = cursors.decode(cursor, tuple[int, int, str])
            start, to, after = str(max(first, 0)), str(max(second, 0)), _bytes(path)
        with self._database.read() as db:
            space = self._space(db, principal, namespace)
            a, b = state(db, space, start, field="from"), state(db, space, to, field="to")
            found = timelines.differences(db, a, b)
            recheck(db, space, start, field="from")
            recheck(db, space, to, field="to")
        left = [each for each in found if names.to_bytes(each.path) > after] if after else found
        entries = [
            Difference(paths.shown(each.path), each.change, _side(each.before), _side(each.after))
            for each in left[:most]
        ]
        more = len(left) > most
        place = (a.version, b.version, names.to_wire(left[most - 1].path)) if more else None
        return Differences(a.version, b.version, entries, None if place is None else cursors.encode(place))

    def page(
        self, principal: Principal, namespace: str, path: str, *, limit: int, cursor: str | None
    ) -> HistoryPage:
        """The versions that changed a path, newest first; those of the namespace for its root. Links are not followed.

        Raises:
            BadRequest: a bad path, or a cursor that this server did not give.
            NotFound: no such namespace.
            Unprocessable: a limit below 1.
        """
        most = _most(limit, limits.HISTORY_PAGE)
        target = paths.canonical(path)
        before = _LAST if cursor is None else min(max(cursors.decode(cursor, int), 0), _LAST)
        with self._database.read() as db:
            space = self._space(db, principal, namespace)
            actors: dict[str | None, Actor | None] = {None: None}
            found: list[tuple[LogRow, HistoryEntry]] = []
            rows = _of_path if target else _of_namespace
            for row, change, size, files in rows(db, space, target, before, most + 1):
                if row.actor is not None and row.actor not in actors:
                    actors[row.actor] = keys.actor(db, row.actor)
                created = times.from_micros(row.at_us)
                who = actors[row.actor]
                entry = HistoryEntry(row.version, created, row.kind, who, row.step, change, size, files)
                found.append((row, entry))
        cut = found[:most]
        more = len(found) > most
        return HistoryPage([entry for _, entry in cut], cursors.encode(cut[-1][0].version) if more else None)

    def _space(self, db: Connection, principal: Principal, namespace: str) -> Namespace:
        space = timelines.namespace(db, principal.workspace, namespace)
        if space is None:
            raise NotFound("this namespace was never used")
        return space


_Row = tuple[LogRow, Change | None, int | None, int | None]


def _of_namespace(db: Connection, space: Namespace, _: str, before: int, limit: int) -> list[_Row]:
    return [
        (row, None, row.bytes, row.files)
        for row in timelines.log_rows(db, space.id, before=before, limit=limit)
    ]


def _of_path(db: Connection, space: Namespace, path: str, before: int, limit: int) -> list[_Row]:
    # One more, which says whether the last one added or changed
    found = timelines.history(db, space.id, path, before=before, limit=limit + 1)
    rows: list[_Row] = []
    for index, (entry, row) in enumerate(found[:limit]):
        more = index + 1 < len(found)
        earlier = found[index + 1][0] if more else _before(db, space, path, row.version)
        change: Change = "removed" if entry is None else "added" if earlier is None else "changed"
        rows.append((row, change, None if entry is None or entry.is_dir else entry.size, None))
    return rows


def _before(db: Connection, space: Namespace, path: str, version: int) -> Entry | None:
    """What was at a path before the oldest version that is known to have changed it."""
    try:
        return timelines.find(db, timelines.at_version(db, space.id, version - 1), path)
    except timelines.NotFound:
        return None


def _side(entry: Entry | None) -> Side | None:
    if entry is None:
        return None
    size = None if entry.is_dir else entry.size
    return Side(size, entry.mode, times.from_micros(entry.mtime_ns // 1000), entry.is_dir)


def _bytes(path: str) -> bytes:
    try:
        return names.to_bytes(names.from_wire(path))
    except UnicodeEncodeError:
        return b""


def _most(limit: int, page: int) -> int:
    if limit < 1:
        raise Unprocessable("limit is at least 1", errors=[{"field": "limit", "message": "at least 1"}])
    return min(limit, page)
