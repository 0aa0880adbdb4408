"""Content-addressed bytes: on this machine's disk, or in an object store."""

from trove_agents.server.blobs.disk import Disk
from trove_agents.server.blobs.store import (
    MB,
    Aside,
    BlobStore,
    BlobWriter,
    Expired,
    Objects,
    Sink,
    Stored,
    Unreachable,
)

__all__ = [
    "MB",
    "Aside",
    "BlobStore",
    "BlobWriter",
    "Disk",
    "Expired",
    "Objects",
    "Sink",
    "Stored",
    "Unreachable",
]
