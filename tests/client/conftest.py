"""Transports without a network, and one way to call either colour of client."""

import asyncio
from collections.abc import AsyncIterable, Callable
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest

from trove_agents import (
    AsyncHttpTransport,
    AsyncTroveAdminClient,
    AsyncTroveClient,
    AsyncWalletClient,
    HttpTransport,
    Retries,
    TroveAdminClient,
    TroveClient,
    WalletClient,
)
from trove_agents.client.drive import AsyncStreamedReply, Outgoing, Reply, StreamedReply

Answer = Callable[[Outgoing], Reply]

SWIFT = Retries(attempts=4, seconds=20.0, first_wait=0.0, longest_wait=0.0)
"""Retries that do not wait unless the server says so."""


def reply(status: int = 200, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


class Recorder:
    """A transport that answers by a function and keeps what it was asked."""

    def __init__(self, answer: Answer, *, retries: bool = True) -> None:
        self.answer = answer
        self.retries = retries
        self.requests: list[Outgoing] = []
        self.bodies: list[bytes] = []
        self.closed = 0

    def send(self, request: Outgoing) -> Reply:
        self.requests.append(request)
        body = request.body
        self.bodies.append(
            b"".join(body) if body is not None and not isinstance(body, bytes) else body or b""
        )
        return self.answer(request)

    @contextmanager
    def stream(self, request: Outgoing):
        whole = self.send(request)
        pieces = (whole.body[at : at + 4] for at in range(0, len(whole.body), 4))
        yield StreamedReply(whole.status, whole.headers, pieces)

    def close(self) -> None:
        self.closed += 1


class AsyncRecorder:
    """As ``Recorder``."""

    def __init__(self, answer: Answer, *, retries: bool = True) -> None:
        self.answer = answer
        self.retries = retries
        self.requests: list[Outgoing] = []
        self.bodies: list[bytes] = []
        self.closed = 0

    async def send(self, request: Outgoing) -> Reply:
        await asyncio.sleep(0)
        self.requests.append(request)
        body = request.body
        if isinstance(body, AsyncIterable):
            body = b"".join([piece async for piece in body])
        self.bodies.append(body or b"")
        return self.answer(request)

    @asynccontextmanager
    async def stream(self, request: Outgoing):
        whole = await self.send(request)

        async def pieces():
            for at in range(0, len(whole.body), 4):
                yield whole.body[at : at + 4]

        yield AsyncStreamedReply(whole.status, whole.headers, pieces())

    async def aclose(self) -> None:
        self.closed += 1


class Colour:
    """Either client, called the same way."""

    def __init__(self, name: str) -> None:
        self.name = name

    def transport(self, answer: Answer, *, retries: bool = True):
        return (Recorder if self.name == "sync" else AsyncRecorder)(answer, retries=retries)

    def http(self, base_url: str, mock: httpx.MockTransport | None = None):
        return (HttpTransport if self.name == "sync" else AsyncHttpTransport)(base_url, transport=mock)

    def client(self, transport, *, namespace="ns", retries=SWIFT, timeout=60.0):
        kind = TroveClient if self.name == "sync" else AsyncTroveClient
        return kind("key", namespace, transport=transport, retries=retries, timeout=timeout)

    def admin(self, transport, *, retries=SWIFT):
        kind = TroveAdminClient if self.name == "sync" else AsyncTroveAdminClient
        return kind("key", "ws-1", transport=transport, retries=retries)

    def wallets(self, transport, key="tvpk_1", **named):
        return (WalletClient if self.name == "sync" else AsyncWalletClient)(key, transport=transport, **named)

    def embedded_wallets(self, trove):
        return trove.wallets() if self.name == "sync" else trove.async_wallets()

    def call(self, client, method: str, *arguments, **named):
        """The result of one method, or all that it yields."""
        result = getattr(client, method)(*arguments, **named)
        if self.name == "sync":
            return list(result) if hasattr(result, "__next__") else result
        if hasattr(result, "__anext__"):

            async def everything():
                return [each async for each in result]

            return asyncio.run(everything())
        return asyncio.run(result)


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)
