"""Objects in a store that obstore reaches: S3, GCS, Azure, or memory in tests. Durable by themselves once written."""

import contextlib
from collections.abc import Iterator
from typing import Final

import obstore
from obstore.store import ObjectStore

_BUFFER: Final = 5 * 1024 * 1024
"""The smallest part of a multipart upload that S3 takes."""
_PARTS_AT_ONCE: Final = 4


class ObjectBucket:
    """Keys of one bucket or prefix."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def size(self, key: str) -> int:
        return obstore.head(self._store, key)["size"]

    def read(self, key: str, start: int, stop: int) -> bytes:
        return bytes(obstore.get_range(self._store, key, start=start, end=stop))

    def create(self, key: str) -> "ObjectUpload":
        return ObjectUpload(self._store, key)

    def publish(self, temporary: str, key: str) -> None:
        obstore.rename(self._store, temporary, key)

    def settle(self, key: str) -> None:
        """An object store answers when the object is durable."""

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for page in obstore.list(self._store, prefix=prefix):
            for found in page:
                yield found["path"], found["size"]

    def sweep(self, *, older_than_seconds: float) -> None:
        """Uploads that were never completed are the bucket's own lifecycle rule's."""


class ObjectUpload:
    """One object on its way in."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._file = obstore.open_writer(store, key, buffer_size=_BUFFER, max_concurrency=_PARTS_AT_ONCE)

    def write(self, piece: memoryview) -> None:
        self._file.write(piece)

    def close(self) -> None:
        self._file.close()

    def drop(self) -> None:
        # Closing would write the rest; leaving by an error drops it
        self._file.__exit__(InterruptedError, InterruptedError(), None)
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, self._key)
