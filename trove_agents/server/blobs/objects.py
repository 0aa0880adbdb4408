"""Objects in a bucket of an object store, which obstore reaches. Durable by themselves once written.

An object's time is when it was written, and no store looks at that and deletes in one step: whoever wrote it anew in
between would lose it. So a deletion lays aside: it copies the object to a place of its own, then deletes the key. A
reader who misses the key reads there. A grace period later, when every writer who found the key has committed the row
that refers to it or never will, the caller knows which it was and puts it back or discards it.
"""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore, from_url

from trove_agents.server.blobs.disk import INCOMING
from trove_agents.server.blobs.store import Unreachable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

T = TypeVar("T")
_PART: Final = 5 * 1024 * 1024
"""The smallest part of a multipart upload that S3 takes. What is smaller is kept in memory and sent at once."""
_PARTS_AT_ONCE: Final = 4
_FRESH_SECONDS: Final = 3600.0
_ASIDE: Final = "aside"
"""No workspace can have that name, nor that of temporary keys: theirs start with ``ws-``."""
_RETRY: "Final[RetryConfig]" = {"max_retries": 5, "retry_timeout": timedelta(seconds=30)}
_CLIENT: "Final[ClientConfig]" = {"connect_timeout": "5s", "timeout": "120s"}
"""A store copies up to 5 GB in one request."""
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
_process: list[int] = []
"""The first process that used obstore. Its runtime's threads do not survive a fork (docs/decisions)."""


class ObjectBucket:
    """Keys of one bucket or prefix."""

    def __init__(self, store: ObjectStore, *, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self._clock = clock

    @classmethod
    def of(cls, url: str) -> Self:
        """The bucket or prefix behind ``s3://bucket/prefix``; ``AWS_*`` variables say where it is and who asks.

        Raises:
            Unreachable: it does not answer, or cannot be listed and written.
        """
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        client: ClientConfig = {**_CLIENT, "allow_http": endpoint.startswith("http://")}
        probe = f"{INCOMING}/{secrets.token_hex(16)}"
        with _asking(url):
            try:
                store = from_url(url, client_options=client, retry_config=_RETRY)
                obstore.put(store, probe, b"", mode="create", use_multipart=False)
                next(iter(obstore.list(store, prefix=INCOMING)), None)
                obstore.delete(store, probe)
            except FileNotFoundError:
                raise Unreachable(f"{url}: there is no such bucket") from None
        return cls(store)

    def now(self) -> float:
        return self._clock()

    def size(self, key: str) -> int:
        return self._wherever(key, lambda path: obstore.head(self.store, path)["size"])

    def read(self, key: str, start: int, stop: int) -> bytes:
        return self._wherever(
            key, lambda path: bytes(obstore.get_range(self.store, path, start=start, end=stop))
        )

    def create(self, key: str) -> "ObjectUpload":
        return ObjectUpload(self, key)

    def settle(self, key: str) -> None:
        """An object store answers when the object is durable."""

    def renew(self, key: str) -> bool:
        # The time of an object is set by writing it: one that is not quite new is written again
        written = self.written(key)
        return written is not None and self._clock() - written < _FRESH_SECONDS

    def delete(self, key: str, *, unused_since: float) -> bool:
        written = self.written(key)
        if written is None or written >= unused_since:
            return False
        with _asking(), contextlib.suppress(FileNotFoundError):
            obstore.copy(self.store, key, f"{_ASIDE}/{key}/{secrets.token_hex(8)}")
            obstore.delete(self.store, key)
        return True

    def aside(self, *, before: float) -> Iterator[tuple[str, str]]:
        for place, _ in self.list(_ASIDE):
            written = self.written(place)
            if written is not None and written < before:
                yield place, place.removeprefix(f"{_ASIDE}/").rpartition("/")[0]

    def put_back(self, place: str, key: str) -> None:
        with _asking(), contextlib.suppress(FileNotFoundError):
            obstore.copy(self.store, place, key)
            obstore.delete(self.store, place)

    def discard(self, place: str) -> None:
        with _asking(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self.store, place)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        with _asking():
            for page in obstore.list(self.store, prefix=prefix):
                for found in page:
                    yield found["path"], found["size"]

    def sweep(self, *, older_than_seconds: float) -> None:
        """Removes what a writer completed but did not name. Uploads that were never completed the bucket's own
        lifecycle rule ends.
        """
        oldest = self._clock() - older_than_seconds
        for key, _ in self.list(INCOMING):
            written = self.written(key)
            if written is not None and written < oldest:
                self.discard(key)

    def written(self, key: str) -> float | None:
        """When an object was written; None for nothing."""
        with _asking():
            try:
                return obstore.head(self.store, key)["last_modified"].timestamp()
            except FileNotFoundError:
                return None

    def _wherever(self, key: str, act: Callable[[str], T]) -> T:
        """The result for the object under a key, or where it was laid aside."""
        with _asking():
            try:
                return act(key)
            except FileNotFoundError:
                places = [place for place, _ in self.list(f"{_ASIDE}/{key}")]
                for path in (*places, key):  # it may have been put back meanwhile
                    with contextlib.suppress(FileNotFoundError):
                        return act(path)
                raise


class ObjectUpload:
    """One object on its way in: in memory, or from some size on as parts of a temporary key."""

    def __init__(self, bucket: ObjectBucket, temporary: str) -> None:
        self._bucket = bucket
        self._temporary = temporary
        self._start = bytearray()
        self._parts: Any = None

    def write(self, piece: memoryview) -> None:
        if self._parts is None and len(self._start) + len(piece) <= _PART:
            self._start += piece
            return
        with _asking():
            if self._parts is None:
                self._parts = obstore.open_writer(
                    self._bucket.store, self._temporary, buffer_size=_PART, max_concurrency=_PARTS_AT_ONCE
                )
                self._parts.write(bytes(self._start))
                self._start.clear()
            self._parts.write(piece)

    def publish(self, key: str) -> None:
        if self._parts is None:
            self._put(key)
        elif self._bucket.renew(key):
            self.drop()
        else:
            with _asking():
                self._parts.close()
                obstore.rename(self._bucket.store, self._temporary, key)

    def drop(self) -> None:
        if self._parts is None:
            self._start.clear()
            return
        # Closing would write the rest; leaving by an error drops it
        with contextlib.suppress(exceptions.BaseError, OSError):
            self._parts.__exit__(InterruptedError, InterruptedError(), None)
        self._bucket.discard(self._temporary)

    def _put(self, key: str) -> None:
        data = bytes(self._start)
        with _asking():
            try:
                obstore.put(self._bucket.store, key, data, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError:
                if not self._bucket.renew(key):
                    obstore.put(self._bucket.store, key, data, use_multipart=False)


@contextlib.contextmanager
def _asking(what: str = "the object store") -> Iterator[None]:
    """Turns what obstore raises into ``Unreachable``, without the texts that servers answer: they name keys."""
    if not _process:
        _process.append(os.getpid())
    if _process[0] != os.getpid():
        raise Unreachable("an object store cannot be used in a process that was forked from one that used it")
    try:
        yield
    except FileNotFoundError:
        raise
    except (exceptions.BaseError, OSError, ValueError) as error:
        raise Unreachable(f"{what}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if (code := _CODE.search(str(error))) is not None:
        return code[1]
    if isinstance(error, exceptions.PermissionDeniedError):
        return "it denies access"
    if isinstance(error, exceptions.UnauthenticatedError):
        return "it refuses the credentials"
    if "error sending request" in str(error):
        return "nothing answers there"
    return str(error).partition("\n")[0][:200]
