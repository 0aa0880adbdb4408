"""Snapshots: a namespace as it was at one version."""

import re
from typing import Final

import msgspec

SNAPSHOT: Final = re.compile(r"(snap|auto)-[0-9a-f]{16}")
"""An id, for ``fullmatch``."""


class SnapshotRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/snapshots``."""

    label: str | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """Everything under the root at one moment: hidden files, modes, links, empty directories, times."""

    snapshot_id: str
    """``snap-`` for manual ones, ``auto-`` for the daily ones."""
    namespace: str
    size_bytes: int
    """Sum of the file sizes."""
    created_at: str
    label: str | None = None
    expires_at: str | None = None


class Snapshots(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/snapshots``: newest first."""

    snapshots: list[Snapshot] = []


class Restored(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer of a restore."""

    snapshot_id: str
    files_restored: int
    """Regular files and links in the namespace afterwards."""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""


class SnapshotDeleted(msgspec.Struct, frozen=True):
    """Answer of ``DELETE /v1/snapshots/{id}``."""

    snapshot_id: str
    deleted: bool = True
