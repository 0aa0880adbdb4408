"""Content-addressed bytes in an object store: ``<workspace>/<first two digits>/<blake3 in hex>``.

Bytes are written under a temporary key while they are hashed, made durable, and only then renamed: a key that exists
holds what its name says. Blobs are shared within a workspace, never across. Nothing here knows what refers to a blob;
callers write it before the row that does, so that a crash leaves an orphan and never a row without bytes.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import obstore
from blake3 import blake3
from obstore.store import LocalStore, ObjectStore

MB: Final = 1024 * 1024
_INCOMING: Final = "incoming"
"""Temporary keys; no workspace can have that name, theirs start with ``ws-``."""
_STALE_SECONDS: Final = 3600.0
_PARTS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob that is durable."""

    digest: bytes
    """blake3, 32 bytes."""
    size: int


class Durability(Protocol):
    """What an object store does not do by itself for a key to survive a power cut."""

    def file(self, key: str) -> None:
        """The bytes of an object."""
        ...

    def name(self, key: str) -> None:
        """That the object is found under its name."""
        ...

    def sweep(self, *, older_than_seconds: float) -> None:
        """Removes what writers that died left behind."""
        ...


class BlobStore:
    """All blobs of a server."""

    def __init__(self, store: ObjectStore, durability: Durability) -> None:
        self._store = store
        self._durability = durability
        durability.sweep(older_than_seconds=_STALE_SECONDS)

    @classmethod
    def local(cls, folder: Path) -> "BlobStore":
        """Blobs in a folder of this machine, which only its owner may enter."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(LocalStore(folder), LocalDisk(folder))

    def writer(self, workspace: str) -> "BlobWriter":
        """Takes one blob in pieces, holding a few MB of it at a time."""
        return BlobWriter(self._store, self._durability, workspace)

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
        size: int = obstore.head(self._store, key)["size"]
        stop = size if stop is None else min(stop, size)
        # Ranges, not a streamed get: object_store reads local files in pieces of 8 KB, ten times slower
        while start < stop:
            end = min(start + MB, stop)
            yield bytes(obstore.get_range(self._store, key, start=start, end=end))
            start = end

    def exists(self, workspace: str, digest: bytes) -> bool:
        """Whether the workspace has that blob."""
        return _exists(self._store, _key(workspace, digest))

    def delete(self, workspace: str, digest: bytes) -> None:
        """Removes a blob that nothing refers to; a missing one is fine."""
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, _key(workspace, digest))

    def list(self, workspace: str) -> Iterator[Stored]:
        """Every blob of a workspace, in no order."""
        for page in obstore.list(self._store, prefix=workspace):
            for found in page:
                yield Stored(bytes.fromhex(found["path"].rpartition("/")[2]), found["size"])


class BlobWriter:
    """One blob on its way in. ``finish`` or ``abort`` must be called."""

    def __init__(self, store: ObjectStore, durability: Durability, workspace: str) -> None:
        self._store = store
        self._durability = durability
        self._workspace = workspace
        self._temporary = f"{_INCOMING}/{secrets.token_hex(16)}"
        self._hash = blake3()
        self._size = 0
        self._stored: Stored | None = None
        self._open = True
        self._file = obstore.open_writer(
            store, self._temporary, buffer_size=MB, max_concurrency=_PARTS_AT_ONCE
        )

    def write(self, chunk: bytes) -> None:
        """Adds bytes, any number."""
        view = memoryview(chunk)
        for at in range(0, len(view), MB):
            piece = view[at : at + MB]
            self._hash.update(piece)
            self._file.write(piece)
        self._size += len(view)

    def finish(self) -> Stored:
        """Makes the blob durable under its digest. A blob that is already there is not written again.

        A second call gives the same answer.
        """
        if self._stored is not None:
            return self._stored
        stored = Stored(self._hash.digest(), self._size)
        key = _key(self._workspace, stored.digest)
        if _exists(self._store, key):
            self.abort()
        else:
            self._file.close()
            self._durability.file(self._temporary)
            obstore.rename(self._store, self._temporary, key)
            self._open = False
        self._durability.name(key)
        self._stored = stored
        return stored

    def abort(self) -> None:
        """Leaves nothing behind; after ``finish`` it does nothing."""
        if not self._open:
            return
        self._open = False
        # Closing would write the rest; leaving by an error drops it
        self._file.__exit__(InterruptedError, InterruptedError(), None)
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, self._temporary)


class LocalDisk:
    """Durability of a local folder: obstore does not sync, so files and directories are synced by their paths."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[Path] = set()

    def file(self, key: str) -> None:
        _sync(self._folder / key)

    def name(self, key: str) -> None:
        directory = (self._folder / key).parent
        _sync(directory)
        while directory not in self._known and directory != self._folder:
            self._known.add(directory)
            directory = directory.parent
            _sync(directory)

    def sweep(self, *, older_than_seconds: float) -> None:
        oldest = time.time() - older_than_seconds
        with contextlib.suppress(FileNotFoundError):
            for found in os.scandir(self._folder / _INCOMING):
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    if found.stat().st_mtime < oldest:
                        Path(found.path).unlink()


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _exists(store: ObjectStore, key: str) -> bool:
    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def _key(workspace: str, digest: bytes) -> str:
    name = digest.hex()
    return f"{workspace}/{name[:2]}/{name}"
