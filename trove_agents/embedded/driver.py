"""The in-process transports: the same ASGI application, without a socket and without an HTTP library.

A plain call is stepped in the caller's thread: the application was asked to stay ``inline``, so one ``send(None)``
runs it to its end, also when the caller sits inside a running event loop. Calls that really wait (commands, restores,
streamed bodies) run on the server's loop thread; the route says which is which, so no call is ever started twice.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Protocol

from trove_agents.client.transport import AsyncStreamedReply, Outgoing, Reply, StreamedReply
from trove_agents.embedded.loop import LoopThread
from trove_agents.errors import TroveConnectionError, TroveConnectionTimeoutError
from trove_agents.server.http import Edge, Waits
from trove_agents.server.routing import Route

_MAY_BE_COMMITTED: Final = "the call was interrupted: what it asked for may have been committed"
_QUEUED_PIECES: Final = 4


class Runtime(Protocol):
    """What a driver drives."""

    @property
    def app(self) -> Edge: ...
    @property
    def thread(self) -> LoopThread: ...


def _scope(request: Outgoing, *, inline: bool) -> dict[str, Any]:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    if isinstance(request.body, bytes):
        headers.append((b"content-length", str(len(request.body)).encode()))
    elif request.length is not None:
        headers.append((b"content-length", str(request.length).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "path": request.path,
        "raw_path": request.path.encode("ascii"),
        "query_string": request.query.encode("ascii"),
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "client": None,
        "server": None,
        "state": {"in_process": True, **({"inline": True} if inline else {})},
    }


class _Exchange:
    """One call with a whole body in and a whole answer out; nothing here ever waits."""

    __slots__ = ("_body", "_headers", "_parts", "_sent", "_status")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._sent = False
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        if self._sent:
            return {"type": "http.disconnect"}
        self._sent = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
        else:
            self._parts.append(message["body"])

    def reply(self) -> Reply:
        return Reply(self._status, _decoded(self._headers), b"".join(self._parts))


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def step(app: Edge, request: Outgoing) -> Reply:
    """A whole call in one step of the caller's thread."""
    exchange = _Exchange(_plain(request))
    call: Coroutine[Any, Any, None] = app(_scope(request, inline=True), exchange.receive, exchange.send)
    try:
        # In a copy of the context: what the application sets must not leak into the caller's
        contextvars.copy_context().run(call.send, None)
    except StopIteration:
        return exchange.reply()
    call.close()
    raise RuntimeError(f"{request.method} {request.path} waited: its route must run on the loop")


def _plain(request: Outgoing) -> bytes:
    body = request.body
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    raise TypeError("this call takes its body whole")


Pull = Callable[[], Awaitable[bytes | None]]
"""The next piece of a body; None at its end."""


class _Flight:
    """One call on the loop thread whose bodies move in pieces, no faster than their reader takes them.

    Made by the caller, before anything runs, so that whatever interrupts the caller there is something to ``end``.
    """

    def __init__(self, runtime: Runtime, request: Outgoing, pull: Pull) -> None:
        self._app = runtime.app
        self._thread = runtime.thread
        self._request = request
        self._pull = pull
        self._pulling = False
        self._moved = 0
        """Pieces of the body that were taken, to tell a long upload from a server that does nothing."""
        self._ended = False
        self._complete = False
        self._failure: Exception | None = None
        self._error: BaseException | None = None
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(_QUEUED_PIECES)
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer."""
        self._task = self._thread.spawn(self._run())
        start = await self._message()
        if start is None:
            raise self._failure or self._broken("the server gave no answer")
        return start["status"], _decoded(start["headers"])

    async def piece(self) -> bytes | None:
        """The next piece of the answer's body; None at its end."""
        while (message := await self._message()) is not None:
            self._complete = not message.get("more_body", False)
            body: bytes = message["body"]
            if body:
                return body
        if not self._complete:
            raise self._broken("the answer broke off before its end")
        return None

    async def whole(self) -> Reply:
        """The whole answer; an interrupted call is ended first."""
        try:
            status, headers = await self.begin()
            parts: list[bytes] = []
            while (piece := await self.piece()) is not None:
                parts.append(piece)
        finally:
            await self.end()
        return Reply(status, headers, b"".join(parts))

    async def end(self) -> None:
        """Ends a call that nobody waits for any more, and waits until it has ended."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            await self._app(_scope(self._request, inline=False), self._receive, self._messages.put)
        except Exception as error:  # noqa: BLE001 - the server has logged it; the reader is told by a missing end
            self._error = error
        await self._messages.put(None)

    async def _message(self) -> dict[str, Any] | None:
        """What the server says next; None when it says nothing more.

        Raises:
            TroveConnectionTimeoutError: nothing moved for the request's time limit.
        """
        while True:
            moved = self._moved
            try:
                async with asyncio.timeout(self._request.patience):
                    return await self._messages.get()
            except TimeoutError:
                if self._pulling or moved != self._moved:
                    continue
                raise self._broken(
                    f"no answer within {self._request.patience:g} s: raise timeout if this call takes longer",
                    TroveConnectionTimeoutError,
                ) from None

    def _broken(
        self, what: str, kind: type[TroveConnectionError] = TroveConnectionError
    ) -> TroveConnectionError:
        may_have_committed = self._request.method != "GET"
        if may_have_committed:
            what += "; the change may have been committed: look before repeating it"
        error = kind(what, may_have_committed=may_have_committed)
        error.__cause__ = self._error
        return error

    async def _receive(self) -> dict[str, Any]:
        if self._ended:
            return {"type": "http.disconnect"}
        self._pulling = True
        try:
            piece = await self._pull()
            if piece is not None and not isinstance(piece, bytes):
                raise TypeError(f"a body is bytes or pieces of bytes, not {type(piece).__name__}")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - the caller's own, raised there; the server sees a caller go away
            self._failure = error
            self._ended = True
            return {"type": "http.disconnect"}
        finally:
            self._pulling = False
        self._moved += 1
        self._ended = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}


def _pull_from(body: object) -> Pull:
    """Pieces of a plain or an iterable body, taken off the loop since a caller's iterator may block."""
    pieces: Iterator[bytes]
    if body is None or isinstance(body, bytes):
        pieces = iter([body] if body else [])

        async def next_ready() -> bytes | None:
            return next(pieces, None)

        return next_ready
    if not isinstance(body, Iterable):
        raise TypeError(f"a body is bytes or pieces of bytes, not {type(body).__name__}")
    pieces = iter(body)

    async def next_piece() -> bytes | None:
        return await asyncio.get_running_loop().run_in_executor(None, next, pieces, None)

    return next_piece


def _pull_across(body: AsyncIterable[bytes], caller: asyncio.AbstractEventLoop) -> Pull:
    """Pieces of an async body, which lives on its caller's loop."""
    pieces = aiter(body)

    async def next_piece() -> bytes | None:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_next(pieces), caller))

    return next_piece


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


class InProcess:
    """The transport of the sync clients."""

    retries = False

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime

    def send(self, request: Outgoing) -> Reply:
        runtime = self._runtime()
        app = runtime.app
        route = app.route_of(request.method, request.path)
        if route is None or route.run != "loop":
            return step(app, request)
        if route.attempt is not None:
            with contextlib.suppress(Waits):
                return step(app, request)
        return runtime.thread.wait(_Flight(runtime, request, _pull_from(request.body)).whole)

    @contextlib.contextmanager
    def stream(self, request: Outgoing) -> Iterator[StreamedReply]:
        runtime = self._runtime()
        if not _waits(runtime.app, request):
            reply = step(runtime.app, request)
            yield StreamedReply(reply.status, reply.headers, iter([reply.body]))
            return
        thread = runtime.thread
        flight = _Flight(runtime, request, _pull_from(request.body))

        def pieces() -> Iterator[bytes]:
            while (piece := thread.wait(flight.piece)) is not None:
                yield piece

        try:
            status, headers = thread.wait(flight.begin)
            yield StreamedReply(status, headers, pieces())
        finally:
            # Not by ``wait``: an interrupt ends the waiting and not the ending. A closed server has ended it
            with contextlib.suppress(TroveConnectionError):
                thread.start(flight.end).result()

    def close(self) -> None:
        """Nothing is held per client; the server is closed by who opened it."""


class AsyncInProcess:
    """The transport of the async clients, usable from any event loop."""

    retries = False

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime

    async def send(self, request: Outgoing) -> Reply:
        runtime = self._runtime()
        route = runtime.app.route_of(request.method, request.path)
        if route is None or route.run == "inline":
            return step(runtime.app, request)
        try:
            if route.run == "hop":
                exchange = _Exchange(_plain(request))
                await runtime.app(_scope(request, inline=False), exchange.receive, exchange.send)
                return exchange.reply()
            flight = _Flight(runtime, request, _pull(request.body))
            return await asyncio.wrap_future(runtime.thread.start(flight.whole))
        except asyncio.CancelledError as error:
            error.add_note(_MAY_BE_COMMITTED)
            raise

    @contextlib.asynccontextmanager
    async def stream(self, request: Outgoing) -> AsyncIterator[AsyncStreamedReply]:
        runtime = self._runtime()
        thread = runtime.thread
        flight = _Flight(runtime, request, _pull(request.body))

        async def pieces() -> AsyncIterator[bytes]:
            while (piece := await asyncio.wrap_future(thread.start(flight.piece))) is not None:
                yield piece

        try:
            status, headers = await asyncio.wrap_future(thread.start(flight.begin))
            yield AsyncStreamedReply(status, headers, pieces())
        finally:
            # Shielded: a second cancellation ends the waiting and not the ending
            with contextlib.suppress(TroveConnectionError):
                await asyncio.shield(asyncio.wrap_future(thread.start(flight.end)))

    async def aclose(self) -> None:
        """As ``InProcess.close``."""


def _pull(body: object) -> Pull:
    if isinstance(body, AsyncIterable):
        return _pull_across(body, asyncio.get_running_loop())
    return _pull_from(body)


def _waits(app: Edge, request: Outgoing) -> bool:
    route: Route | None = app.route_of(request.method, request.path)
    return route is not None and route.run == "loop"
