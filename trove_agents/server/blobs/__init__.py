"""Content-addressed bytes: on this machine's disk, or in an object store."""

from trove_agents.server.blobs.disk import Disk
from trove_agents.server.blobs.store import MB, BlobStore, BlobWriter, Objects, Sink, Stored

__all__ = ["MB", "BlobStore", "BlobWriter", "Disk", "Objects", "Sink", "Stored"]
