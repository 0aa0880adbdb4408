"""Snapshots and restore: a row, and a new timeline over a state. Their cost does not depend on the size."""

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import namespaces as spaces
from trove_agents.server.db.tables import snapshots as rows
from trove_agents.server.timelines import namespaces, referring
from trove_agents.server.timelines.values import At, Namespace, SnapshotRow
from trove_agents.wire.steps import Step

_s = rows.c
_COLUMNS = (
    _s.id,
    _s.namespace,
    _s.timeline,
    _s.version,
    _s.label,
    _s.files,
    _s.bytes,
    _s.automatic,
    _s.created_us,
)
_ADD = insert(rows)
BY_ID: Final = select(*_COLUMNS).where(_s.id == bindparam("id"))
NEWEST: Final = (
    select(*_COLUMNS)
    .where(_s.namespace == bindparam("ns"))
    .order_by(_s.created_us.desc(), _s.version.desc())
    .limit(bindparam("most"))
)
_DELETE_ALL = delete(rows).where(_s.namespace == bindparam("ns"))
_RENAME = update(spaces).where(spaces.c.id == bindparam("key")).values(name=bindparam("to"))
FORGOTTEN: Final = ":"
"""How the names of forgotten namespaces begin."""
_LIVING = select(spaces.c.workspace, spaces.c.name, spaces.c.id).where(
    func.substr(spaces.c.name, 1, 1) != FORGOTTEN
)
_DELETE = delete(rows).where(_s.id == bindparam("key"))


def snapshot(
    db: Connection,
    namespace: Namespace,
    *,
    id: str,  # noqa: A002 - the word of the public API
    label: str | None,
    now_ns: int,
    automatic: bool = False,
    actor: str | None = None,
    step: Step | None = None,
) -> SnapshotRow:
    """Keeps the namespace's head, which was read in this transaction, under an id. It is a version of its own.

    Raises:
        Conflict: the head moved since the namespace was read.
    """
    at = At(namespace.at.timeline, namespaces.next_version(namespace, now_ns))
    row = SnapshotRow(
        id, namespace.id, at, label, namespace.files, namespace.bytes, automatic, now_ns // 1000
    )
    db.later(
        _ADD,
        id=id,
        namespace=namespace.id,
        timeline=at.timeline,
        version=at.version,
        label=label,
        files=row.files,
        bytes=row.bytes,
        automatic=automatic,
        created_us=row.created_us,
    )
    namespaces.move(
        db,
        namespace,
        at,
        files=row.files,
        bytes=row.bytes,
        kind="snapshot",
        now_ns=now_ns,
        actor=actor,
        step=step,
    )
    return row


def snapshots(db: Connection, namespace_id: int, limit: int = 200) -> list[SnapshotRow]:
    """A namespace's snapshots, newest first."""
    return [_from(row) for row in db.all(NEWEST, ns=namespace_id, most=limit)]


def snapshot_by_id(db: Connection, id: str) -> SnapshotRow | None:  # noqa: A002
    """Any namespace's snapshot."""
    row = db.one(BY_ID, id=id)
    return None if row is None else _from(row)


def delete_snapshot(db: Connection, id: str) -> bool:  # noqa: A002
    """Forgets a snapshot; whether there was one. What it held stays readable as history."""
    return db.run(_DELETE, key=id) == 1


def restore(
    db: Connection,
    namespace: Namespace,
    at: At,
    *,
    files: int,
    bytes: int,  # noqa: A002 - as above
    now_ns: int,
    actor: str | None = None,
    step: Step | None = None,
) -> Namespace:
    """Makes a namespace what another state is; ``files`` and ``bytes`` are that state's totals.

    A version like any other: the old timeline stays, so it can be undone by restoring what was before.

    Raises:
        Conflict: the head moved since the namespace was read.
    """
    version = namespaces.next_version(namespace, now_ns, above=at.version)
    timeline = namespaces.new_timeline(db, namespace.id, at)
    namespaces.switch_head(db, namespace.id, timeline, version)
    return namespaces.move(
        db,
        namespace,
        At(timeline, version),
        files=files,
        bytes=bytes,
        kind="restore",
        now_ns=now_ns,
        actor=actor,
        step=step,
    )


def forget(
    db: Connection,
    namespace: Namespace,
    *,
    now_ns: int,
    actor: str | None = None,
    step: Step | None = None,
) -> None:
    """Gives a namespace's name free and deletes its snapshots and step references.

    The row stays under a name that none can have, so that its key is not used again, and its head becomes empty:
    what was there is history, and goes as history does, but for what forks were cut from.

    Raises:
        Conflict: the head moved since the namespace was read.
    """
    version = namespaces.next_version(namespace, now_ns)
    timeline = namespaces.new_timeline(db, namespace.id, None)
    namespaces.switch_head(db, namespace.id, timeline, version)
    namespaces.move(
        db,
        namespace,
        At(timeline, version),
        files=0,
        bytes=0,
        kind="forget",
        now_ns=now_ns,
        actor=actor,
        step=step,
    )
    db.later(_DELETE_ALL, ns=namespace.id)
    referring.delete_all(db, namespace.id)
    db.later(_RENAME, key=namespace.id, to=f"{FORGOTTEN}{namespace.id}")


def living(db: Connection) -> list[tuple[str, str, int]]:
    """Every namespace that was not forgotten: its workspace, its name and its key."""
    return [(row[0], row[1], row[2]) for row in db.all(_LIVING)]


def _from(row: tuple[str, int, int, int, str | None, int, int, int, int]) -> SnapshotRow:
    key, namespace, timeline, version, label, files, size, automatic, created = row
    return SnapshotRow(key, namespace, At(timeline, version), label, files, size, bool(automatic), created)
