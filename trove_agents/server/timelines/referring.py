"""Step references: states of a namespace that are kept for a step of somebody's program. One is a row, and no version.

Its version is the head's. That names the state for good, since whatever comes after it has a later one.
"""

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select

from trove_agents.server.db import Connection
from trove_agents.server.db.lists import Among, texts
from trove_agents.server.db.tables import references as rows
from trove_agents.server.timelines.chain import ZERO
from trove_agents.server.timelines.values import At, Namespace, ReferenceRow

_FOREVER: Final = 2**63 - 1
_r = rows.c
_COLUMNS = (
    _r.id,
    _r.namespace,
    _r.timeline,
    _r.version,
    _r.thread,
    _r.step,
    _r.files,
    _r.bytes,
    _r.created_us,
)
_ADD = insert(rows)
BY_ID: Final = select(*_COLUMNS).where(_r.id == bindparam("id"))
_STATE = (
    _r.timeline == bindparam("t"),
    _r.version == bindparam("v"),
    _r.thread == bindparam("thread"),
    _r.step == bindparam("step"),
)
BEFORE: Final = select(
    select(_r.id).where(*_STATE).scalar_subquery(),
    select(func.max(_r.created_us)).where(_r.namespace == bindparam("ns")).scalar_subquery(),
)
"""The reference that there is, and when the namespace's last one was made."""
_MADE_BEFORE = (_r.namespace == bindparam("ns"), _r.created_us < bindparam("before"))
NEWEST: Final = select(*_COLUMNS).where(*_MADE_BEFORE).order_by(_r.created_us.desc()).limit(bindparam("most"))
NEWEST_OF_THREAD: Final = (
    select(*_COLUMNS)
    .where(*_MADE_BEFORE, _r.thread == bindparam("thread"))
    .order_by(_r.created_us.desc())
    .limit(bindparam("most"))
)
# ``+ 0``: by their ids, not through all that the namespace has
_DELETE = delete(rows).where(_r.namespace + ZERO == bindparam("ns"), Among(_r.id, "ids"))
_DELETE_ALL = delete(rows).where(_r.namespace == bindparam("ns"))


def refer(
    db: Connection,
    namespace: Namespace,
    *,
    id: str,  # noqa: A002 - the word of the public API, as for snapshots
    thread: str | None,
    step: str | None,
    now_ns: int,
) -> ReferenceRow:
    """Keeps the namespace's head, which was read in this transaction. If the same step of the same thread has
    referred to it already, that reference is the result, with an id of its own.

    Times strictly increase within a namespace, so one number is a bookmark.
    """
    at = namespace.at
    before = db.one(
        BEFORE, t=at.timeline, v=at.version, thread=thread or "", step=step or "", ns=namespace.id
    )
    known, last = (None, None) if before is None else before
    if known is not None and (found := reference(db, known)) is not None:
        return found
    now_us = now_ns // 1000
    created_us = now_us if last is None else max(now_us, last + 1)
    row = ReferenceRow(
        id, namespace.id, at, thread or None, step or None, namespace.files, namespace.bytes, created_us
    )
    db.later(
        _ADD,
        id=id,
        namespace=namespace.id,
        timeline=at.timeline,
        version=at.version,
        thread=thread or "",
        step=step or "",
        files=row.files,
        bytes=row.bytes,
        created_us=created_us,
    )
    return row


def reference(db: Connection, id: str) -> ReferenceRow | None:  # noqa: A002 - as above
    """Any namespace's reference."""
    row = db.one(BY_ID, id=id)
    return None if row is None else _from(row)


def references(
    db: Connection,
    namespace_id: int,
    *,
    limit: int,
    thread: str | None = None,
    before_us: int | None = None,
) -> list[ReferenceRow]:
    """A namespace's references, or those of one thread, newest first: of those made before a time the first."""
    before = _FOREVER if before_us is None else before_us
    if thread is None:
        found = db.all(NEWEST, ns=namespace_id, before=before, most=limit)
    else:
        found = db.all(NEWEST_OF_THREAD, ns=namespace_id, before=before, most=limit, thread=thread)
    return [_from(row) for row in found]


def delete_references(db: Connection, namespace_id: int, ids: list[str]) -> int:
    """Forgets those that are the namespace's; how many they were. What they held stays readable as history."""
    return db.run(_DELETE, ns=namespace_id, ids=texts(ids))


def delete_all(db: Connection, namespace_id: int) -> None:
    """Forgets all of a namespace."""
    db.later(_DELETE_ALL, ns=namespace_id)


def _from(row: tuple[str, int, int, int, str, str, int, int, int]) -> ReferenceRow:
    key, namespace, timeline, version, thread, step, files, size, created = row
    return ReferenceRow(
        key, namespace, At(timeline, version), thread or None, step or None, files, size, created
    )
