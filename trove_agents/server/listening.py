"""Putting the application on a socket and taking it off again. Knows no rooms."""

import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import uvicorn

GRACE: Final = 35
"""Seconds that running requests have to finish once the server was told to stop: a command may run for 30."""
_KEEP_ALIVE: Final = 65
"""Seconds that an idle connection stays open; longer than clients keep theirs, so none is closed under a request."""
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown as an address that can be called


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
            http="h11",
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
