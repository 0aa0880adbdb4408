"""SQL of workspaces and keys."""

from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from trove_agents.server.db.connection import Connection
from trove_agents.server.db.tables import keys, workspaces

Row = tuple[Any, ...]
_COLUMNS = (keys.c.id, keys.c.name, keys.c.prefix, keys.c.scope, keys.c.namespace, keys.c.created_us)
_ACTIVE = (
    select(*_COLUMNS)
    .where(keys.c.workspace == bindparam("workspace"), keys.c.revoked_us.is_(None))
    .order_by(keys.c.created_us, keys.c.id)
)
_ONE = select(*_COLUMNS).where(
    keys.c.workspace == bindparam("workspace"), keys.c.id == bindparam("id"), keys.c.revoked_us.is_(None)
)
_NAME = select(keys.c.name).where(keys.c.id == bindparam("id"))
_LOCKED = (
    select(keys.c.id)
    .where(
        keys.c.workspace == bindparam("workspace"),
        keys.c.revoked_us.is_(None),
        keys.c.namespace == bindparam("namespace"),
    )
    .limit(1)
)
_DIGEST = select(keys.c.id).where(keys.c.digest == bindparam("digest"), keys.c.revoked_us.is_(None))
_ADMINS = (
    select(func.count())
    .select_from(keys)
    .where(keys.c.workspace == bindparam("workspace"), keys.c.revoked_us.is_(None), keys.c.scope == "admin")
)
_ADD = insert(keys)
_REVOKE = update(keys).where(keys.c.id == bindparam("key")).values(revoked_us=bindparam("at"))
_WORKSPACE = select(workspaces.c.id).where(workspaces.c.id == bindparam("id"))
_WORKSPACES = select(workspaces.c.id).order_by(workspaces.c.created_us, workspaces.c.id)
_ADD_WORKSPACE = insert(workspaces)


def active(db: Connection, workspace: str) -> list[Row]:
    """``(id, name, prefix, scope, namespace, created_us)`` of the keys that are not revoked, oldest first."""
    return db.all(_ACTIVE, workspace=workspace)


def one(db: Connection, workspace: str, key_id: str) -> Row | None:
    return db.one(_ONE, workspace=workspace, id=key_id)


def name(db: Connection, key_id: str) -> str | None:
    row = db.one(_NAME, id=key_id)
    return None if row is None else row[0]


def locked(db: Connection, workspace: str, namespace: str) -> bool:
    return db.one(_LOCKED, workspace=workspace, namespace=namespace) is not None


def by_digest(db: Connection, digest: bytes) -> Row | None:
    return db.one(_DIGEST, digest=digest)


def admins(db: Connection, workspace: str) -> int:
    row = db.one(_ADMINS, workspace=workspace)
    return row[0] if row else 0


def add(tx: Connection, **values: Any) -> None:
    tx.later(_ADD, revoked_us=None, **values)


def revoke(tx: Connection, key_id: str, *, at_us: int) -> None:
    tx.later(_REVOKE, key=key_id, at=at_us)


def workspace_exists(db: Connection, workspace: str) -> bool:
    return db.one(_WORKSPACE, id=workspace) is not None


def workspace_ids(db: Connection) -> list[str]:
    return [row[0] for row in db.all(_WORKSPACES)]


def add_workspace(tx: Connection, workspace: str, name: str, *, at_us: int) -> None:
    tx.later(_ADD_WORKSPACE, id=workspace, name=name, created_us=at_us)
