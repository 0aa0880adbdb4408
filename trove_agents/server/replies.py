"""Answers: ready ones, streamed ones, and what is answered instead of a result."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from trove_agents.server import errors
from trove_agents.server.routing import Family
from trove_agents.wire import headers as header_names

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"
_log = logging.getLogger("trove_agents.server")


@dataclass(frozen=True, slots=True)
class Reply:
    """A ready answer: for the routes that do not answer with one JSON value."""

    body: bytes | AsyncGenerator[bytes, None] = b""
    """Pieces are taken as they are sent; whatever ends the answer closes the generator."""
    status: int = 200
    media_type: bytes = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    """Of a streamed body."""


class Ambiguous(errors.BadRequest):
    """Two readers of the same bytes (a proxy and this server) could take them for different requests. Nothing that
    follows on the connection can be trusted either, so it is closed (RFC 9112, 6.3).
    """


class Disconnected(Exception):
    """The caller closed the connection; there is nobody to answer."""


def failure(error: Exception, scope: Scope, family: Family | None = None) -> tuple[int, bytes, Headers]:
    """The answer instead of a result. What is nobody's refusal goes to the log, and only there in full."""
    if isinstance(error, errors.ServiceError):
        return _refusal(error, family)
    if isinstance(error, errors.Replayed):
        return error.status, error.body, [(header_names.REPLAYED.lower().encode(), b"true")]
    if (known := errors.of_storage(error)) is not None:
        _log.error("%s %r: %s (%r)", scope["method"], scope["path"], known, error)
        return _refusal(known, family)
    _log.error("%s %r failed", scope["method"], scope["path"], exc_info=error)
    return _refusal(errors.Internal("internal error"), family)


def _refusal(error: errors.ServiceError, family: Family | None) -> tuple[int, bytes, Headers]:
    extra: Headers = []
    if isinstance(error, errors.Busy | errors.WorkspaceLeased | errors.InFlight):
        extra.append((b"retry-after", str(error.retry_after).encode()))
    if isinstance(error, Ambiguous):
        extra.append((b"connection", b"close"))
    if isinstance(error, errors.RangeNotSatisfiable):
        extra.append((b"content-range", b"bytes */%d" % error.size))
    if family is not None:
        return (*family.refusal(error), extra)
    if isinstance(error, errors.Unauthorized):
        extra.append((b"www-authenticate", b"Bearer"))
    return errors.status(error), msgspec.json.encode(error.body), extra


def start(status: int, media_type: bytes, length: int | None, extra: Headers) -> dict[str, Any]:
    """The message that begins an answer."""
    headers = [(b"content-type", media_type), *extra]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": status, "headers": headers}


async def send_reply(scope: Scope, receive: Receive, send: Send, reply: Reply) -> None:
    """Sends an answer, and stops making one that nobody reads any more.

    Raises:
        Disconnected: the caller left before the end.
    """
    extra = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    body = reply.body
    length = len(body) if isinstance(body, bytes) else reply.length
    first = start(reply.status, reply.media_type, length, extra)
    if isinstance(body, bytes):
        await send(first)
        await send({"type": "http.response.body", "body": body})
        return
    gone: asyncio.Future[None] | None = None
    if scope.get("client") is not None:  # in process a caller who leaves closes the answer itself
        gone = asyncio.ensure_future(_departure(receive))
    try:
        async with contextlib.aclosing(body):  # also if the head cannot be sent
            await send(first)
            async for piece in body:
                if gone is not None and gone.done():
                    raise Disconnected  # a server takes what is sent after that, and drops it
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        if gone is not None:
            gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _departure(receive: Receive) -> None:
    """Returns when the caller has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
