"""What differs between two states, and what happened to a path."""

import operator
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from sqlalchemy import bindparam, select

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import entries, heads, timelines
from trove_agents.server.timelines.namespaces import head, log_row
from trove_agents.server.timelines.reads import LIST, NO_LIMIT, POINT, STAT, Row, entry, find, nearest, split
from trove_agents.server.timelines.retention import horizon
from trove_agents.server.timelines.values import At, Difference, Entry, Kind, LogRow
from trove_agents.wire import names

_e = entries.c
CHANGED: Final = select(_e.dir, _e.name).where(
    _e.timeline == bindparam("t"), _e.since > bindparam("lo"), _e.since <= bindparam("hi")
)
_MANY: Final = 8
"""Names of one directory from which on listing it may be cheaper; a listed row costs about an eighth of a lookup."""
_ORIGIN = select(timelines.c.base, timelines.c.origin, timelines.c.origin_version).where(
    timelines.c.id == bindparam("id")
)
HEADS: Final = (
    select(heads.c.since, heads.c.timeline)
    .where(heads.c.namespace == bindparam("ns"))
    .order_by(heads.c.since.desc())
)
ROWS: Final = (
    select(*STAT)
    .where(
        _e.timeline == bindparam("t"),
        _e.dir == bindparam("d"),
        _e.name == bindparam("n"),
        _e.since > bindparam("lo"),
        _e.since < bindparam("hi"),
    )
    .order_by(_e.since.desc())
    .limit(bindparam("most"))
)


def differences(db: Connection, a: At, b: At) -> list[Difference]:
    """What differs between two states, in byte order of their paths, so a directory stands before its content.

    The cost follows the number of paths that were changed on the way from the states' common ancestor, and not the
    size of the trees.
    """
    found = []
    for directory, changed in _changed(db, a, b).items():
        before, after = (_pick(db, at, directory, changed) for at in (a, b))
        for name in changed:
            was, now = before.get(name), after.get(name)
            if (was and was[:5]) != (now and now[:5]):
                raw = directory + b"/" + name if directory else name
                path = names.from_bytes(raw)
                difference = Difference(
                    path,
                    None if was is None else entry(path, was),
                    None if now is None else entry(path, now),
                )
                found.append((raw, difference))
    return [difference for _, difference in sorted(found, key=operator.itemgetter(0))]


def _changed(db: Connection, a: At, b: At) -> dict[bytes, set[bytes]]:
    """Directory to names: every path with a row between the common ancestor of two states and either of them."""
    left, right = ancestry(db, a), ancestry(db, b)
    meeting = {state.timeline: state.version for state in left}
    shared = next((state for state in right if state.timeline in meeting), None)
    low = -1 if shared is None else min(shared.version, meeting[shared.timeline])
    changed: dict[bytes, set[bytes]] = {}
    for side in (left, right):
        for state in side:
            meets = shared is not None and state.timeline == shared.timeline
            for directory, name in db.all(
                CHANGED, t=state.timeline, lo=low if meets else -1, hi=state.version
            ):
                changed.setdefault(directory, set()).add(name)
            if meets:
                break
    return changed


def some(db: Connection, at: At, path: str, wanted: Iterable[str]) -> dict[str, Entry]:
    """Of a directory's entries those of some names, by name."""
    below = f"{path}/" if path else ""
    rows = _pick(db, at, names.to_bytes(path), {names.to_bytes(name) for name in wanted})
    found = ((names.from_bytes(name), row) for name, row in rows.items())
    return {name: entry(below + name, row) for name, row in found}


def _pick(db: Connection, at: At, directory: bytes, wanted: set[bytes]) -> dict[bytes, Row]:
    """Of a directory's rows those of some names: by listing it where these are a good part of it, else one by one."""
    if len(wanted) >= _MANY:
        most = len(wanted) * _MANY
        rows = db.all(LIST, t=at.timeline, v=at.version, d=directory, most=most)
        if len(rows) < most:
            return {row[0]: row[1:] for row in nearest(rows) if row[0] in wanted}
    found = {name: db.one(POINT, t=at.timeline, v=at.version, d=directory, n=name) for name in wanted}
    return {name: row for name, row in found.items() if row is not None and row[0] != Kind.GONE}


def history(
    db: Connection, namespace_id: int, path: str, *, before: int | None = None, limit: int | None = None
) -> list[tuple[Entry | None, LogRow]]:
    """Each version that changed a path, newest first, with what was there from then on; restores count.

    As far back as history is kept. Of the versions below ``before`` the first ``limit``; with a limit only about
    that many rows are read.
    """
    most = NO_LIMIT if limit is None else limit
    return list(islice(_history(db, namespace_id, path, before, most), limit))


def _history(
    db: Connection, namespace_id: int, path: str, before: int | None, most: int
) -> Iterator[tuple[Entry | None, LogRow]]:
    directory, name = split(path)
    end = head(db, namespace_id).at.version + 1
    if before is not None:
        end = min(end, before)
    stretches = db.all(HEADS, ns=namespace_id)
    first = horizon(db, namespace_id)
    for index, (since, timeline) in enumerate(stretches):
        if since >= end:
            continue
        lowest = max(since, first)
        for row in db.all(ROWS, t=timeline, d=directory, n=name, lo=lowest, hi=end, most=most):
            yield (
                None if row[0] == Kind.GONE else entry(path, row),
                log_row(db, namespace_id, row[5]),
            )
        if since <= first:
            return
        now = find(db, At(timeline, since), path)
        earlier = stretches[index + 1 : index + 2]
        was = find(db, At(earlier[0][1], since - 1), path) if earlier else None
        if (now and (now.stat, now.since)) != (was and (was.stat, was.since)):
            yield now, log_row(db, namespace_id, since)
        end = since


def ancestry(db: Connection, at: At) -> list[At]:
    """A state's timeline and those it was cut from, nearest first, without the copies that flattening made."""
    found: list[At] = []
    state: At | None = at
    while state is not None:
        row = db.one(_ORIGIN, id=state.timeline)
        base, origin, version = row if row is not None else (None, None, None)
        if base is not None or origin is None:  # else a copy: no change of its own
            found.append(state)
        state = None if origin is None else At(origin, min(version, state.version))
    return found
