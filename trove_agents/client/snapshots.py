"""Snapshots of one namespace: make, list, restore, delete."""

import msgspec

from trove_agents.client.call import Call, delete, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.transport import Reply
from trove_agents.wire.snapshots import Snapshot, SnapshotRequest, Snapshots

_PATH = ("v1", "snapshots")


def create_snapshot(label: str | None = None) -> Call[Snapshot]:
    """Takes a snapshot. Not repeated: it would take two."""
    return post(_PATH, _SNAPSHOT, SnapshotRequest(label), once=True)


def list_snapshots() -> Call[list[Snapshot]]:
    """Lists the snapshots."""
    return get(_PATH, _snapshots)


def restore_snapshot(snapshot_id: str) -> Call[int]:
    """Goes back. Not repeated: it would undo what others wrote in between."""
    return post((*_PATH, snapshot_id, "restore"), _files_restored, once=True)


def delete_snapshot(snapshot_id: str) -> Call[None]:
    """Deletes a snapshot."""
    return delete((*_PATH, snapshot_id), once=True)


class SnapshotsMethods(Driver):
    """Snapshots of one namespace. An unknown id raises ``TroveNotFoundError``."""

    def create_snapshot(self, label: str | None = None) -> Snapshot:
        """Keeps the namespace as it is now: every file, hidden ones, modes, links, empty directories and times.

        Args:
            label: At most 128 characters, for people.
        """
        return self.send(create_snapshot(label))

    def list_snapshots(self) -> list[Snapshot]:
        """The newest 200 snapshots of the namespace, newest first; those taken automatically as well."""
        return self.send(list_snapshots())

    def restore_snapshot(self, snapshot_id: str) -> int:
        """Makes the namespace what it was, and returns how many files and links it then holds.

        Files made since are gone. All at once: a failure leaves everything as it is.
        """
        return self.send(restore_snapshot(snapshot_id))

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Deletes a snapshot. The files of the namespace stay."""
        self.send(delete_snapshot(snapshot_id))


class AsyncSnapshotsMethods(AsyncDriver):
    """As ``SnapshotsMethods``."""

    async def create_snapshot(self, label: str | None = None) -> Snapshot:
        """See :meth:`TroveClient.create_snapshot`."""
        return await self.send(create_snapshot(label))

    async def list_snapshots(self) -> list[Snapshot]:
        """See :meth:`TroveClient.list_snapshots`."""
        return await self.send(list_snapshots())

    async def restore_snapshot(self, snapshot_id: str) -> int:
        """See :meth:`TroveClient.restore_snapshot`."""
        return await self.send(restore_snapshot(snapshot_id))

    async def delete_snapshot(self, snapshot_id: str) -> None:
        """See :meth:`TroveClient.delete_snapshot`."""
        await self.send(delete_snapshot(snapshot_id))


class _Restored(msgspec.Struct, frozen=True):
    """What is read of ``Restored``; other servers may leave it out."""

    files_restored: int = 0


_SNAPSHOT = value(Snapshot)
_SNAPSHOTS = value(Snapshots)
_RESTORED = value(_Restored)


def _snapshots(reply: Reply) -> list[Snapshot]:
    return _SNAPSHOTS(reply).snapshots


def _files_restored(reply: Reply) -> int:
    return _RESTORED(reply).files_restored
