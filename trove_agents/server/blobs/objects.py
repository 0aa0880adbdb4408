"""Objects in a store that obstore reaches: S3, GCS, Azure, or memory in tests. Durable by themselves once written."""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

import obstore
from obstore.store import ObjectStore

_BUFFER: Final = 5 * 1024 * 1024
"""The smallest part of a multipart upload that S3 takes."""
_PARTS_AT_ONCE: Final = 4
_FRESH_SECONDS: Final = 3600.0


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

    def renew(self, key: str) -> bool:
        # The time of an object is set by writing it: one that is not quite new is written again
        age = self._age(key)
        return age is not None and age < _FRESH_SECONDS

    def delete(self, key: str, *, unused_since: float) -> bool:
        # Not in one step with the look at its time, as no store offers that: who writes it anew in between loses
        age = self._age(key)
        if age is None or time.time() - age >= unused_since:
            return False
        obstore.delete(self._store, key)
        return True

    def _age(self, key: str) -> float | None:
        """Seconds since it was written; None for nothing."""
        try:
            return time.time() - obstore.head(self._store, key)["last_modified"].timestamp()
        except FileNotFoundError:
            return None

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
