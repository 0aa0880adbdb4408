"""The seam under the clients: one HTTP request out, one answer back. Values and protocols only, no I/O.

``network.py`` implements it over the network; the embedded server implements it in process.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One HTTP request, ready to be sent."""

    method: str
    path: str
    """Percent-encoded, from the first ``/``; a transport puts its base URL before it."""
    query: str
    """Encoded, without ``?``; may be empty."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """Hidden from ``repr``: they hold the key."""
    body: bytes | Iterable[bytes] | AsyncIterable[bytes] | None = field(repr=False)
    """A synchronous transport gets no AsyncIterable, an asynchronous one no Iterable."""
    length: int | None
    """Bytes in the body, also when it is streamed; None when unknown, or when there is no body."""
    timeout: float
    """Seconds to wait for a connection, and for each piece sent or received."""
    work: float = 0.0
    """Seconds more to wait for what is received: the server was asked for something that may take that long."""

    @property
    def patience(self) -> float:
        """Seconds to wait for each piece received."""
        return self.timeout + self.work


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamedReply:
    """An answer whose body is still to come; read it inside the context that gave it."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class AsyncStreamedReply:
    """As ``StreamedReply``."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """Sends requests. Whatever keeps an answer from coming is raised as ``TroveConnectionError``."""

    @property
    def retries(self) -> bool:
        """Whether repeating can help; False in process."""
        ...

    def send(self, request: Outgoing) -> Reply:
        """The whole answer, whatever its status."""
        ...

    def stream(self, request: Outgoing) -> AbstractContextManager[StreamedReply]:
        """The answer as soon as its head is there."""
        ...

    def close(self) -> None:
        """Frees what the transport holds."""
        ...


class AsyncTransport(Protocol):
    """As ``Transport``."""

    @property
    def retries(self) -> bool:
        """As ``Transport.retries``."""
        ...

    async def send(self, request: Outgoing) -> Reply:
        """As ``Transport.send``."""
        ...

    def stream(self, request: Outgoing) -> AbstractAsyncContextManager[AsyncStreamedReply]:
        """As ``Transport.stream``."""
        ...

    async def aclose(self) -> None:
        """As ``Transport.close``."""
        ...
