"""From an ``Authorization`` header to who is calling, and what that one may touch (wire 1.4 and 2)."""

import hashlib
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import bindparam, select

from trove_agents.server.db.connection import Connection
from trove_agents.server.db.tables import keys
from trove_agents.server.errors import BadRequest, Forbidden, Unauthorized
from trove_agents.server.idempotency.keys import Keyed
from trove_agents.wire import namespaces
from trove_agents.wire.events import Actor
from trove_agents.wire.keys import Scope
from trove_agents.wire.steps import Step

_SCHEME: Final = "bearer "
_BY_DIGEST = select(keys.c.workspace, keys.c.id, keys.c.name, keys.c.scope, keys.c.namespace).where(
    keys.c.digest == bindparam("digest"), keys.c.revoked_us.is_(None)
)


@dataclass(frozen=True, slots=True)
class Principal:
    """The key behind a call, and what the call is for."""

    workspace: str
    key_id: str
    key_name: str
    scope: Scope
    lock: str | None
    """The namespace the key is locked to."""
    step: Step | None = None
    """The step of an agent's, where the caller names one."""
    refers: bool = False
    """Whether a step reference is wanted to what the call leads to."""
    lease: str | None = None
    """The id of the lease that it is to be made under, as the caller sent it."""
    keyed: Keyed | None = None
    """What the call is known by, where it may be sent again."""

    @property
    def actor(self) -> Actor:
        return Actor(self.key_id, self.key_name)

    def runtime(self, header: str | None) -> str:
        """The namespace of a call about files, commands or snapshots.

        Raises:
            Forbidden: an admin key, or a locked key outside its namespace. Said before anything else is looked
                at, and naming only the key's own namespace.
            BadRequest: no namespace, or not the name of one.
        """
        if self.scope == "admin":
            raise Forbidden("admin keys manage keys and webhooks; use a workspace key for files and commands")
        if self.lock is not None:
            if header is not None and header != self.lock:
                raise Forbidden(f"this key is locked to namespace '{self.lock}'")
            return self.lock
        if header is None:
            raise BadRequest("this key is not locked to a namespace: name one in the X-Namespace header")
        if not namespaces.valid(header):
            raise BadRequest("a namespace is 1 to 128 characters of A-Z, a-z, 0-9, _ and -")
        return header

    def within(self, workspace: str) -> None:
        """Refuses another workspace's URL."""
        if workspace != self.workspace:
            raise Forbidden("this key belongs to another workspace")

    def administers(self, workspace: str) -> None:
        """Refuses all but admin keys of this workspace."""
        self.within(workspace)
        if self.scope != "admin":
            raise Forbidden("this call needs an admin key")


def digest(key: str) -> bytes:
    """What is stored of a key. Keys are 160 random bits, so one plain hash is enough, and finding a row by it
    compares nothing of the secret itself: its timing tells a guesser nothing.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def authenticate(db: Connection, header: str | None) -> Principal:
    """Who sent ``Authorization: Bearer <key>``.

    Raises:
        Unauthorized: missing, malformed, unknown or revoked.
    """
    if header is None or header[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthorized("send your API key as 'Authorization: Bearer trove-sk-...'")
    row = db.one(_BY_DIGEST, digest=digest(header[len(_SCHEME) :].strip()))
    if row is None:
        raise Unauthorized("unknown or revoked API key")
    workspace, key_id, name, scope, lock = row
    return Principal(workspace, key_id, name, cast("Scope", scope), lock)
