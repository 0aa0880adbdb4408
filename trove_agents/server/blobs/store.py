"""Content-addressed bytes in an object store: ``<workspace>/<first two digits>/<blake3 in hex>``.

Bytes are written under a temporary key (few of them to memory) while they are hashed, and only what is complete gets
its name: a key that exists holds what its name says. Blobs are shared within a workspace, never across. Nothing here knows what refers to a blob;
callers write it before the row that does, so that a crash leaves an orphan and never a row without bytes.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from blake3 import blake3

from trove_agents.server.blobs.disk import INCOMING, Disk

MB: Final = 1024 * 1024
_STALE_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob that is durable."""

    digest: bytes
    """blake3, 32 bytes."""
    size: int
    new_at: float | None = field(default=None, compare=False)
    """When its object was made new, in seconds since 1970 by the store's clock; None for one that rows refer to."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A blob that ``BlobStore.delete`` could only lay aside."""

    workspace: str
    digest: bytes
    place: str
    """Where it lies now."""


class Expired(Exception):
    """A blob was stored so long before the row that was to refer to it that it may have been swept: the clock was set
    meanwhile, or the machine stood still. Nothing was kept; to send it again helps.
    """


class Unreachable(Exception):
    """The object store does not answer, or it refuses."""


class Sink(Protocol):
    """One object on its way in; ends with ``publish`` or ``drop``."""

    def write(self, piece: memoryview) -> None: ...
    def publish(self, key: str) -> None:
        """Makes the bytes durable under a key, or renews the object that is there, which holds the same."""
        ...

    def drop(self) -> None:
        """Leaves nothing behind."""
        ...


class Objects(Protocol):
    """Where bytes are kept, by key. What is not there raises FileNotFoundError, a store that fails Unreachable."""

    def now(self) -> float:
        """The clock by which objects are new or old, in seconds since 1970."""
        ...

    def size(self, key: str) -> int: ...
    def read(self, key: str, start: int, stop: int) -> bytes: ...
    def create(self, key: str) -> Sink:
        """Takes an object in pieces, under a temporary key if it must be somewhere before it is complete."""
        ...

    def settle(self, key: str) -> None:
        """Makes it durable that the object is found under its key."""
        ...

    def renew(self, key: str) -> bool:
        """Whether an object is there, which from now on counts as just written."""
        ...

    def delete(self, key: str, *, unused_since: float) -> bool:
        """Removes an object that was last written or renewed before a time; whether it did.

        Where the look and the removal are not one step it is laid aside, and can still be read.
        """
        ...

    def aside(self, *, before: float) -> Iterator[tuple[str, str]]:
        """Place and key of what was laid aside before a time."""
        ...

    def put_back(self, place: str, key: str) -> None:
        """Gives an object that was laid aside its key again."""
        ...

    def discard(self, place: str) -> None:
        """Removes what was laid aside for good."""
        ...

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of every object below a prefix, in no order."""
        ...

    def sweep(self, *, older_than_seconds: float) -> None:
        """Removes what writers that died left behind."""
        ...


class BlobStore:
    """All blobs of a server."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        objects.sweep(older_than_seconds=_STALE_SECONDS)

    @staticmethod
    def open(place: Path | str) -> "BlobStore":
        """Blobs in a folder of this machine, or behind an ``s3://`` URL.

        Raises:
            Unreachable: the bucket does not answer, or it refuses.
        """
        if isinstance(place, Path):
            return BlobStore.local(place)
        from trove_agents.server.blobs.objects import ObjectBucket

        return BlobStore(ObjectBucket.of(place))

    @classmethod
    def local(cls, folder: Path) -> "BlobStore":
        """Blobs in a folder of this machine, which only its owner may enter."""
        return cls(Disk(folder))

    def writer(self, workspace: str) -> "BlobWriter":
        """Takes one blob in pieces, holding a few MB of it at a time."""
        return BlobWriter(self._objects, workspace)

    def put(self, workspace: str, data: bytes) -> Stored:
        """Stores bytes that are at hand."""
        writer = self.writer(workspace)
        try:
            writer.write(data)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def stream(
        self, workspace: str, digest: bytes, *, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``, in pieces of at most 1 MB.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        key = _key(workspace, digest)
        size = self._objects.size(key)
        stop = size if stop is None else min(stop, size)
        while start < stop:
            end = min(start + MB, stop)
            yield self._objects.read(key, start, end)
            start = end

    def delete(self, workspace: str, digest: bytes, *, unused_since: float) -> bool:
        """Removes a blob that nothing refers to, unless somebody stored it again since a time (seconds since 1970).

        Whether it did; a missing one is fine. An object store can only lay it aside: it is still read, no longer
        listed, and somebody must look at it again by ``aside``.
        """
        return self._objects.delete(_key(workspace, digest), unused_since=unused_since)

    def aside(self, *, before: float) -> Iterator[Aside]:
        """What was laid aside before a time (seconds since 1970)."""
        for place, key in self._objects.aside(before=before):
            workspace, _, name = key.split("/")
            yield Aside(workspace, bytes.fromhex(name), place)

    def put_back(self, blob: Aside) -> None:
        """Undoes a deletion that laid aside; a second call does nothing."""
        self._objects.put_back(blob.place, _key(blob.workspace, blob.digest))

    def discard(self, blob: Aside) -> None:
        """Completes a deletion that laid aside; a second call does nothing."""
        self._objects.discard(blob.place)

    def list(self, workspace: str, part: str = "") -> Iterator[Stored]:
        """Every blob of a workspace, in no order; or those whose digests start with two given digits."""
        for key, size in self._objects.list(f"{workspace}/{part}" if part else workspace):
            yield Stored(bytes.fromhex(key.rpartition("/")[2]), size)


class BlobWriter:
    """One blob on its way in. ``finish`` or ``abort`` must be called."""

    def __init__(self, objects: Objects, workspace: str) -> None:
        self._objects = objects
        self._workspace = workspace
        self._hash = blake3()
        self._size = 0
        self._stored: Stored | None = None
        self._open = True
        self._new_at = objects.now()
        self._sink = objects.create(f"{INCOMING}/{secrets.token_hex(16)}")

    def write(self, chunk: bytes) -> None:
        """Adds bytes, any number."""
        view = memoryview(chunk)
        for at in range(0, len(view), MB):
            piece = view[at : at + MB]
            self._hash.update(piece)
            self._new_at = self._objects.now()
            self._sink.write(piece)
        self._size += len(view)

    def finish(self) -> Stored:
        """Makes the blob durable under its digest. A blob that is already there is not written again.

        From then on it is safe from collection for a day; in half of it a row that refers to it must be committed. A
        second call gives the same answer.
        """
        if self._stored is not None:
            return self._stored
        stored = Stored(self._hash.digest(), self._size, self._new_at)
        key = _key(self._workspace, stored.digest)
        self._sink.publish(key)
        self._open = False
        self._objects.settle(key)
        self._stored = stored
        return stored

    def abort(self) -> None:
        """Leaves nothing behind; after ``finish`` it does nothing."""
        if self._open:
            self._open = False
            self._sink.drop()


def _key(workspace: str, digest: bytes) -> str:
    name = digest.hex()
    return f"{workspace}/{name[:2]}/{name}"
