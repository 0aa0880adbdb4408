"""The rules of snapshots (wire 3.8). Making one and going back to one cost the same at any size."""

import secrets

from trove_agents.server import texts, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import NotFound, Unprocessable
from trove_agents.server.events import service as events
from trove_agents.server.idempotency.answers import once
from trove_agents.server.namespaces import leases, states
from trove_agents.server.namespaces import service as namespaces
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.references import service as references
from trove_agents.server.snapshots.upkeep import AUTOMATIC_DAYS, expiry_us
from trove_agents.server.timelines import Namespace, SnapshotRow
from trove_agents.wire import limits, times
from trove_agents.wire.snapshots import Restored, Snapshot, SnapshotDeleted, Snapshots


class SnapshotService:
    """Snapshots of all namespaces."""

    def __init__(self, database: Database, *, manual_days: int | None = None) -> None:
        self._database = database
        self._manual_days = manual_days

    def create(self, principal: Principal, namespace: str, label: str | None) -> Snapshot:
        """The namespace as it is now; one that was never used is an empty snapshot.

        Raises:
            Unprocessable: a label over 128 characters, or one that holds a NUL or a lone surrogate.
        """
        texts.check("label", label)
        if label is not None and len(label) > limits.SNAPSHOT_LABEL_CHARACTERS:
            message = f"a label is at most {limits.SNAPSHOT_LABEL_CHARACTERS} characters"
            raise Unprocessable(message, errors=[{"field": "label", "message": message}])

        def commit(tx: Connection) -> Snapshot:
            now = self._database.now_ns()
            space = namespaces.ensure(tx, principal.workspace, namespace, now_ns=now)
            identity = f"snap-{secrets.token_hex(8)}"
            row = timelines.snapshot(
                tx, space, id=identity, label=label, now_ns=now, actor=principal.key_id, step=principal.step
            )
            data = {"snapshot_id": identity, "label": label, "size_bytes": row.bytes}
            events.record(
                tx, principal=principal, namespace=namespace, kind="snapshot.created", data=data, now_ns=now
            )
            return self._shown(row, namespace)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def newest(self, principal: Principal, namespace: str) -> Snapshots:
        """At most 200, newest first, automatic ones included."""
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            rows = timelines.snapshots(db, space.id, limit=limits.SNAPSHOTS_LISTED) if space else []
        return Snapshots([self._shown(row, namespace) for row in rows])

    def delete(self, principal: Principal, namespace: str, snapshot_id: str) -> SnapshotDeleted:
        """Forgets a snapshot; the namespace stays as it is.

        Raises:
            NotFound: unknown, or another namespace's.
        """

        def commit(tx: Connection) -> SnapshotDeleted:
            self._find(tx, principal, namespace, snapshot_id)
            timelines.delete_snapshot(tx, snapshot_id)
            now = self._database.now_ns()
            events.record(
                tx,
                principal=principal,
                namespace=namespace,
                kind="snapshot.deleted",
                data={"snapshot_id": snapshot_id},
                now_ns=now,
            )
            return SnapshotDeleted(snapshot_id)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def namespace_of(self, principal: Principal, namespace: str, snapshot_id: str) -> int:
        """The id of the namespace that a restore will need the exec lock of. Errors as ``delete``."""
        with self._database.read() as db:
            return self._find(db, principal, namespace, snapshot_id)[0].id

    def restore(
        self, principal: Principal, namespace: str, snapshot_id: str, locks: ExecLocks
    ) -> Restored | None:
        """Makes the namespace what the snapshot holds, in one transaction; None while a command runs in it.

        Files made since are gone from the head; the history keeps them.

        Raises:
            NotFound: unknown, or another namespace's.
        """

        def commit(tx: Connection) -> Restored | None:
            space, row = self._find(tx, principal, namespace, snapshot_id)
            now = self._database.now_ns()
            leases.check(tx, space, principal, now_ns=now)
            if not locks.free(tx, space.id):
                return None
            restored = timelines.restore(
                tx,
                space,
                row.at,
                files=row.files,
                bytes=row.bytes,
                now_ns=now,
                actor=principal.key_id,
                step=principal.step,
            )
            data = {"snapshot_id": snapshot_id, "files_restored": row.files}
            events.record(
                tx, principal=principal, namespace=namespace, kind="snapshot.restored", data=data, now_ns=now
            )
            reference = references.with_change(tx, principal, restored, now_ns=now)
            return Restored(snapshot_id, row.files, reference)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def _find(
        self, db: Connection, principal: Principal, namespace: str, snapshot_id: str
    ) -> tuple[Namespace, SnapshotRow]:
        space = timelines.namespace(db, principal.workspace, namespace)
        if space is None:
            raise NotFound("no such snapshot in this namespace")
        return space, states.snapshot(db, space, snapshot_id)

    def _shown(self, row: SnapshotRow, namespace: str) -> Snapshot:
        expires = expiry_us(row.created_us, AUTOMATIC_DAYS if row.automatic else self._manual_days)
        return Snapshot(
            snapshot_id=row.id,
            namespace=namespace,
            size_bytes=row.bytes,
            created_at=times.from_micros(row.created_us),
            label=row.label,
            expires_at=None if expires is None else times.from_micros(expires),
        )
