"""The rules of going back to any state: docs/wire.md, "Going back". It costs the same at any size."""

from typing import Any

from trove_agents.server import timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import NotFound
from trove_agents.server.events import service as events
from trove_agents.server.idempotency.answers import once
from trove_agents.server.namespaces import leases
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.namespaces.states import named, state
from trove_agents.server.references import service as references
from trove_agents.server.timelines import At, Namespace
from trove_agents.wire.restores import RestoredState


class Restores:
    """Restores of all namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def namespace_of(self, principal: Principal, namespace: str, to: str) -> int:
        """The id of the namespace that a restore will need the exec lock of. Errors as ``restore``."""
        with self._database.read() as db:
            return _find(db, principal, namespace, to)[0].id

    def restore(
        self, principal: Principal, namespace: str, to: str, locks: ExecLocks
    ) -> RestoredState | None:
        """Makes the namespace what it was in a state, in one transaction; None while a command runs in it.

        No version and no event where it is that state already.

        Raises:
            NotFound: the namespace was never used, or there is no such snapshot, reference or past.
            Unprocessable: ``to`` names no state.
        """

        def commit(tx: Connection) -> RestoredState | None:
            space, at = _find(tx, principal, namespace, to)
            now = self._database.now_ns()
            leases.check(tx, space, principal, now_ns=now)
            if not locks.free(tx, space.id):
                return None
            if timelines.unchanged(tx, space.at, at):
                reference = references.with_change(tx, principal, space, now_ns=now)
                return RestoredState(
                    at.version, space.at.version, space.files, changed=False, reference_id=reference
                )
            files, size = timelines.totals(tx, at)
            restored = timelines.restore(
                tx,
                space,
                at,
                files=files,
                bytes=size,
                now_ns=now,
                actor=principal.key_id,
                step=principal.step,
            )
            data: dict[str, Any] = {"to": at.version, **named(to), "files_restored": files}
            events.record(
                tx, principal=principal, namespace=namespace, kind="namespace.restored", data=data, now_ns=now
            )
            reference = references.with_change(tx, principal, restored, now_ns=now)
            return RestoredState(at.version, restored.at.version, files, changed=True, reference_id=reference)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))


def _find(db: Connection, principal: Principal, namespace: str, to: str) -> tuple[Namespace, At]:
    space = timelines.namespace(db, principal.workspace, namespace)
    if space is None:
        raise NotFound("this namespace was never used")
    return space, state(db, space, to, field="to")
