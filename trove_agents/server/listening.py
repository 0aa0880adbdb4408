"""Putting the application on a socket and taking it off again. Knows no rooms."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE: Final = 35
"""Seconds that running requests have to finish once the server was told to stop: a command may run for 30."""
_KEEP_ALIVE: Final = 65
"""Seconds that an idle connection stays open; longer than clients keep theirs, so none is closed under a request."""
_PATIENCE: Final = 60.0
"""Seconds that a caller may take for the head of a request, and at most between two pieces of its body."""
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown as an address that can be called


class Protocol(H11Protocol):
    """HTTP on one connection, which is closed when its caller keeps the server waiting: with connections that say
    nothing a stranger could use up all that the server may open.
    """

    patience = _PATIENCE
    _since = 0.0
    """When the server began to wait for what it waits for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self.loop.call_later(self.patience, self._look)

    def data_received(self, data: bytes) -> None:
        if not self._in_head:
            self._since = self.loop.time()
        super().data_received(data)

    @property
    def _in_head(self) -> bool:
        """Whether a head is awaited that was begun, or the first one; until the next one begins the connection is idle."""
        return self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        waits = self._in_head or (self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused)
        left = self._since + self.patience - self.loop.time() if waits else self.patience
        if left <= 0:
            self.transport.close()
        else:
            self.loop.call_later(left, self._look)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use, not of this machine, or unknown.
    """
    # With protocol 0 asyncio would leave Nagle's algorithm on: 50 ms for a small answer at the 99th percentile
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def url(listener: socket.socket) -> str:
    """Where the socket is reached from this machine."""
    host, port = listener.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    app: Any, listener: socket.socket, *, ready: Callable[[], object] | None = None, grace: int = GRACE
) -> None:
    """Answers until SIGTERM or SIGINT, then takes no new connections and lets running requests finish.

    After ``grace`` seconds, or a second SIGINT, what still runs is cancelled. Only for the main thread.

    Args:
        app: The ASGI application; its lifespan runs.
        listener: From ``listen``; closed at the end.
        ready: Called once the signals are caught: whoever is told now may also stop the server now.
        grace: Seconds.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=grace,
        )
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # Before uvicorn takes the signals over, and after: it raises them again once it has stopped, which would end
    # the process with the signal's status instead of 0
    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if ready is not None:
            ready()
        server.run(sockets=[listener])
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        listener.close()
