"""Minting and revoking keys; making workspaces (wire 1.6, 2, 3.12, 3.14)."""

import re
import secrets
from typing import Final

from trove_agents.server import texts
from trove_agents.server.auth import Principal, digest
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from trove_agents.server.events import service as events
from trove_agents.server.keys import store
from trove_agents.wire import namespaces, times
from trove_agents.wire.events import Actor
from trove_agents.wire.keys import KeyCreated, KeyMetadata, KeyRequest, KeyRevoked, Keys, Scope
from trove_agents.wire.namespaces import WorkspaceCreated

_WORKSPACE_ID: Final = re.compile(r"ws-[A-Za-z0-9_-]{1,64}")
_NAME_CHARACTERS: Final = 256
_PREFIX: Final = 12


class KeyService:
    """Keys of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, principal: Principal, request: KeyRequest) -> KeyCreated:
        """Mints a key of the caller's workspace.

        Raises:
            Unprocessable: an empty or overlong name, a namespace that is none, or an admin key with a namespace.
        """
        _check_name(request.name)
        if request.namespace is not None:
            if request.admin:
                raise _field("namespace", "an admin key is not about one namespace")
            if not namespaces.valid(request.namespace):
                raise _field("namespace", "a namespace is 1 to 128 characters of A-Z, a-z, 0-9, _ and -")
        scope: Scope = "admin" if request.admin else "workspace"

        def commit(tx: Connection) -> KeyCreated:
            now = self._database.now_ns()
            key = _mint(tx, principal.workspace, request.name, scope, namespace=request.namespace, now_ns=now)
            events.record(
                tx, principal=principal, namespace=None, kind="key.created", data=_created(key), now_ns=now
            )
            return key

        return self._database.write(commit)

    def active(self, principal: Principal) -> Keys:
        """The active keys, oldest first.

        Raises:
            Forbidden: a locked key, which would see other tenants there.
        """
        if principal.lock is not None:
            raise Forbidden("a key that is locked to a namespace cannot list keys")
        with self._database.read() as db:
            return Keys([_metadata(row) for row in store.active(db, principal.workspace)])

    def revoke(self, principal: Principal, key_id: str) -> KeyRevoked:
        """Ends a key at once.

        Raises:
            NotFound: unknown, or revoked before.
            Conflict: the last admin key: nobody could mint another.
        """

        def commit(tx: Connection) -> KeyRevoked:
            tx.alone(f"workspace {principal.workspace}")  # two must not revoke each other
            row = store.one(tx, principal.workspace, key_id) if texts.storable(key_id) else None
            if row is None:
                raise NotFound("no such key")
            if row[3] == "admin" and store.admins(tx, principal.workspace) == 1:
                raise Conflict("this is the last admin key of the workspace; create another one first")
            now = self._database.now_ns()
            store.revoke(tx, key_id, at_us=now // 1000)
            data = {"key_id": key_id, "name": row[1]}
            events.record(tx, principal=principal, namespace=None, kind="key.revoked", data=data, now_ns=now)
            return KeyRevoked(key_id)

        return self._database.write(commit)

    def create_workspace(self, name: str, *, workspace_id: str | None = None) -> WorkspaceCreated:
        """A new workspace with an unlocked workspace key and an admin key.

        Raises:
            Unprocessable: an id that does not begin with ``ws-``, or an empty or overlong name.
            Conflict: the id is taken.
        """
        _check_name(name)
        identity = workspace_id or f"ws-{secrets.token_hex(8)}"
        if not _WORKSPACE_ID.fullmatch(identity):
            raise _field(
                "workspace_id", "a workspace id is 'ws-' and 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
            )

        def commit(tx: Connection) -> WorkspaceCreated:
            if store.workspace_exists(tx, identity):
                raise Conflict(f"workspace {identity} exists")
            return self._create_workspace(tx, identity, name)

        return self._database.write(commit)

    def create_first_workspace(self, name: str) -> WorkspaceCreated | None:
        """``create_workspace`` for a server that has none; None when there is one, also if it came this moment."""
        if self.workspaces():
            return None
        _check_name(name)
        identity = f"ws-{secrets.token_hex(8)}"

        def commit(tx: Connection) -> WorkspaceCreated | None:
            tx.alone("first workspace")
            return None if store.workspace_ids(tx) else self._create_workspace(tx, identity, name)

        return self._database.write(commit)

    def workspaces(self) -> list[str]:
        """The ids of all workspaces, oldest first: for the server's own start."""
        with self._database.read() as db:
            return store.workspace_ids(db)

    def knows(self, key: str) -> bool:
        """Whether a key is active."""
        with self._database.read() as db:
            return store.by_digest(db, digest(key)) is not None

    def issue(self, workspace: str, name: str, scope: Scope) -> KeyCreated:
        """A key that the owner of the server's data gives out; nobody's request."""

        def commit(tx: Connection) -> KeyCreated:
            now = self._database.now_ns()
            key = _mint(tx, workspace, name, scope, now_ns=now)
            events.record_automatic(
                tx, workspace=workspace, namespace=None, kind="key.created", data=_created(key), now_ns=now
            )
            return key

        return self._database.write(commit)

    def _create_workspace(self, tx: Connection, identity: str, name: str) -> WorkspaceCreated:
        now = self._database.now_ns()
        store.add_workspace(tx, identity, name, at_us=now // 1000)
        key = _mint(tx, identity, "default", "workspace", now_ns=now)
        admin = _mint(tx, identity, "admin", "admin", now_ns=now)
        events.record_automatic(
            tx, workspace=identity, namespace=None, kind="workspace.created", data={"name": name}, now_ns=now
        )
        return WorkspaceCreated(identity, key.api_key, admin.api_key)


def mint_locked(
    tx: Connection, principal: Principal, name: str, namespace: str, *, now_ns: int
) -> KeyCreated:
    """A key for one namespace, made for ``principal`` as a part of another act in the same transaction."""
    key = _mint(tx, principal.workspace, name, "workspace", namespace=namespace, now_ns=now_ns)
    events.record(
        tx, principal=principal, namespace=None, kind="key.created", data=_created(key), now_ns=now_ns
    )
    return key


def spoken_for(db: Connection, workspace: str, namespace: str) -> bool:
    """Whether an active key is locked to a namespace, which need not exist yet."""
    return store.locked(db, workspace, namespace)


def actor(db: Connection, key_id: str) -> Actor:
    """A key as the one who did something, also after its end."""
    return Actor(key_id, store.name(db, key_id) or "")


def _mint(
    tx: Connection, workspace: str, name: str, scope: Scope, *, namespace: str | None = None, now_ns: int
) -> KeyCreated:
    secret = f"trove-sk-{secrets.token_hex(20)}"
    created = now_ns // 1000
    key = KeyCreated(
        key_id=f"key-{secrets.token_hex(6)}",
        name=name,
        prefix=secret[:_PREFIX],
        scope=scope,
        namespace=namespace,
        created_at=times.from_micros(created),
        api_key=secret,
    )
    store.add(
        tx,
        id=key.key_id,
        workspace=workspace,
        name=name,
        prefix=key.prefix,
        digest=digest(secret),
        scope=scope,
        namespace=namespace,
        created_us=created,
    )
    return key


def _created(key: KeyMetadata) -> dict[str, str | None]:
    return {"key_id": key.key_id, "name": key.name, "scope": key.scope, "namespace": key.namespace}


def _metadata(row: store.Row) -> KeyMetadata:
    key_id, name, prefix, scope, namespace, created_us = row
    return KeyMetadata(
        key_id=key_id,
        name=name,
        prefix=prefix,
        scope=scope,
        namespace=namespace,
        created_at=times.from_micros(created_us),
    )


def _check_name(name: str) -> None:
    texts.check("name", name)
    if not name.strip() or len(name) > _NAME_CHARACTERS:
        raise _field("name", f"a name is 1 to {_NAME_CHARACTERS} characters")


def _field(field: str, message: str) -> Unprocessable:
    return Unprocessable(message, errors=[{"field": field, "message": message}])
