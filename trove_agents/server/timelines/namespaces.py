"""Namespaces and their heads. A version is the namespace's clock: it ticks with each mutation, snapshot and restore."""

from dataclasses import replace
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, insert, select, update

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import heads, log, namespaces, timelines
from trove_agents.server.timelines.chain import ONE, cut
from trove_agents.server.timelines.errors import AlreadyExists, Conflict, NotFound
from trove_agents.server.timelines.retention import horizon
from trove_agents.server.timelines.values import At, LogRow, Namespace
from trove_agents.wire.steps import Step

_n, _l, _h = namespaces.c, log.c, heads.c
HEAD: Final = (
    *(_n.id, _n.workspace, _n.name, _n.timeline, _n.version, _n.files, _n.bytes),
    *(_n.leased_until_us, _n.quota_files, _n.quota_bytes),
)
NAMED: Final = select(*HEAD).where(_n.workspace == bindparam("workspace"), _n.name == bindparam("name"))
_BY_ID = select(*HEAD).where(_n.id == bindparam("id"))
_NEW_NAMESPACE = insert(namespaces)
_NEW_TIMELINE = insert(timelines)
_OWN = update(timelines).where(timelines.c.id == bindparam("key")).values(namespace=bindparam("owner"))
_NEW_HEAD = insert(heads)
_ADD_LOG = insert(log)
_MOVE = (
    update(namespaces)
    .where(_n.id == bindparam("key"), _n.timeline == bindparam("was"), _n.version == bindparam("was_version"))
    .values(
        timeline=bindparam("to_timeline"),
        version=bindparam("to_version"),
        files=bindparam("to_files"),
        bytes=bindparam("to_bytes"),
    )
)
THEN: Final = (
    select(_h.timeline)
    .where(_h.namespace == bindparam("ns"), _h.since <= bindparam("v"))
    .order_by(_h.since.desc())
    .limit(ONE)
)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Step).decode
LOG: Final = (_l.version, _l.timeline, _l.kind, _l.actor, _l.step, _l.files, _l.bytes, _l.at_us)
ONE_LOG: Final = select(*LOG).where(_l.namespace == bindparam("ns"), _l.version == bindparam("version"))
LOGGED: Final = (
    select(*LOG)
    .where(_l.namespace == bindparam("ns"), _l.version < bindparam("before"))
    .order_by(_l.version.desc())
    .limit(bindparam("most"))
)
# A timeline is its namespace's head for one stretch of versions, so the first row below is at hand
TOTALS: Final = (
    select(_l.files, _l.bytes)
    .where(
        _l.namespace
        == select(timelines.c.namespace).where(timelines.c.id == bindparam("t")).scalar_subquery(),
        _l.timeline == bindparam("t"),
        _l.version <= bindparam("v"),
    )
    .order_by(_l.version.desc())
    .limit(ONE)
)


def namespace(db: Connection, workspace: str, name: str) -> Namespace | None:
    """A workspace's namespace of that name, at its head, which stays there for the time of a transaction that writes."""
    row = db.locked(NAMED, workspace=workspace, name=name)
    return None if row is None else from_row(row)


def head(db: Connection, namespace_id: int) -> Namespace:
    """A namespace at its head, as ``namespace``.

    Raises:
        NotFound: there is none of that key.
    """
    row = db.locked(_BY_ID, id=namespace_id)
    if row is None:
        raise NotFound(f"namespace {namespace_id}")
    return from_row(row)


def from_row(row: tuple[Any, ...]) -> Namespace:
    """A namespace from ``HEAD`` columns."""
    key, workspace, name, timeline, version, files, size, leased, *quotas = row
    return Namespace(key, workspace, name, At(timeline, version), files, size, leased or 0, *quotas)


def create_namespace(
    db: Connection,
    workspace: str,
    name: str,
    *,
    now_ns: int,
    at: At | None = None,
    actor: str | None = None,
    step: Step | None = None,
    like: Namespace | None = None,
) -> Namespace:
    """A new namespace: empty, or a fork that starts as another state, in the same time whatever its size.

    A fork's versions start above those it was cut from. It gets the quotas of the one that it is to be ``like``.

    Raises:
        AlreadyExists: the name is taken.
    """
    if namespace(db, workspace, name) is not None:
        raise AlreadyExists(name)
    version = now_ns if at is None else max(now_ns, at.version + 1)
    files, size = (0, 0) if at is None else totals(db, at)
    timeline = new_timeline(db, 0, at)
    quotas = (None, None) if like is None else (like.quota_files, like.quota_bytes)
    key = db.insert(
        _NEW_NAMESPACE,
        workspace=workspace,
        name=name,
        timeline=timeline,
        version=version,
        files=files,
        bytes=size,
        created_us=now_ns // 1000,
        quota_files=quotas[0],
        quota_bytes=quotas[1],
    )
    db.later(_OWN, key=timeline, owner=key)
    made = Namespace(key, workspace, name, At(timeline, version), files, size, 0, *quotas)
    db.later(_NEW_HEAD, namespace=key, since=version, timeline=timeline)
    add_log(db, made, kind="create" if at is None else "fork", now_ns=now_ns, actor=actor, step=step)
    return made


def at_version(db: Connection, namespace_id: int, version: int) -> At:
    """The namespace as it was at a version, or at a time in nanoseconds, which is the same clock.

    Raises:
        NotFound: it did not exist yet, or that is longer ago than history is kept.
    """
    now = head(db, namespace_id).at
    if version >= now.version:
        return now
    if version < horizon(db, namespace_id):
        raise NotFound(f"the history of namespace {namespace_id} does not go back to {version}")
    row = db.one(THEN, ns=namespace_id, v=version)
    if row is None:
        raise NotFound(f"namespace {namespace_id} is younger than {version}")
    return At(row[0], version)


def totals(db: Connection, at: At) -> tuple[int, int]:
    """How many files and links a state has, and the bytes of its files."""
    row = db.one(TOTALS, t=at.timeline, v=at.version)
    return (0, 0) if row is None else (row[0], row[1])


def next_version(namespace: Namespace, now_ns: int, *, above: int = 0) -> int:
    """The clock's next tick."""
    return max(namespace.at.version + 1, now_ns, above + 1)


def new_timeline(db: Connection, namespace_id: int, at: At | None) -> int:
    """The key of a timeline that starts as a state; an empty one without."""
    start = None if at is None else cut(db, at)
    base, version = (None, None) if start is None else (start.timeline, start.version)
    return db.insert(
        _NEW_TIMELINE,
        namespace=namespace_id,
        base=base,
        base_version=version,
        origin=base,
        origin_version=version,
    )


def switch_head(db: Connection, namespace_id: int, timeline: int, since: int) -> None:
    """Remembers from which version on a timeline is the head."""
    db.later(_NEW_HEAD, namespace=namespace_id, since=since, timeline=timeline)


def move(
    db: Connection,
    was: Namespace,
    at: At,
    *,
    files: int,
    bytes: int,  # noqa: A002 - the word of the public API
    kind: str,
    now_ns: int,
    actor: str | None,
    step: Step | None,
) -> Namespace:
    """Moves a head by compare-and-swap, and writes the log row.

    Raises:
        Conflict: the head is no longer where it was read.
    """
    moved = replace(was, at=at, files=files, bytes=bytes)
    db.exactly(
        _MOVE,
        Conflict(f"the head of {was.name} moved"),
        key=was.id,
        was=was.at.timeline,
        was_version=was.at.version,
        to_timeline=at.timeline,
        to_version=at.version,
        to_files=files,
        to_bytes=bytes,
    )
    add_log(db, moved, kind=kind, now_ns=now_ns, actor=actor, step=step)
    return moved


def add_log(
    db: Connection, state: Namespace, *, kind: str, now_ns: int, actor: str | None, step: Step | None
) -> None:
    """Writes down what made a version."""
    db.later(
        _ADD_LOG,
        namespace=state.id,
        version=state.at.version,
        timeline=state.at.timeline,
        kind=kind,
        actor=actor,
        step=None if step is None else _encode(step).decode(),
        files=state.files,
        bytes=state.bytes,
        at_us=now_ns // 1000,
    )


def from_log(row: tuple[Any, ...]) -> LogRow:
    """A log row from ``LOG`` columns."""
    version, timeline, kind, actor, step, *rest = row
    return LogRow(version, timeline, kind, actor, None if step is None else _decode(step), *rest)


def log_row(db: Connection, namespace_id: int, version: int) -> LogRow:
    """What made a version.

    Raises:
        NotFound: nothing did.
    """
    row = db.one(ONE_LOG, ns=namespace_id, version=version)
    if row is None:
        raise NotFound(f"version {version} of namespace {namespace_id}")
    return from_log(row)


def log_rows(db: Connection, namespace_id: int, *, before: int, limit: int) -> list[LogRow]:
    """What made the versions below ``before``, newest first."""
    return [from_log(row) for row in db.all(LOGGED, ns=namespace_id, before=before, most=limit)]
