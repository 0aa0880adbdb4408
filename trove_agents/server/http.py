"""The edge: from ASGI messages to a route's function and back. Knows HTTP; knows no SQL and no rules.

Every route says how it runs:

- ``inline``: a bounded read, a plain function. In process it runs in the caller's thread, async callers included.
- ``hop``: a plain function that commits. Over the network and for async callers it runs on a worker thread.
- ``loop``: a coroutine that really waits (commands, locks, streamed bodies); it needs an event loop.

For the first two the only place where the application may wait is ``Request.hop``, which calls the function at once
when the driver put ``inline`` into ``scope["state"]``: one ``send(None)`` then finishes a whole request, even inside
a running event loop. Only code in this process can set it, since it is no part of the request.
"""

import asyncio
import contextvars
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from trove_agents.server import errors
from trove_agents.server.auth import Principal
from trove_agents.server.idempotency import keys
from trove_agents.server.replies import (
    JSON,
    Ambiguous,
    Disconnected,
    Headers,
    Receive,
    Reply,
    Scope,
    Send,
    failure,
    send_reply,
    start,
)
from trove_agents.server.routing import Route, Router
from trove_agents.wire import headers as header_names
from trove_agents.wire import names, steps
from trove_agents.wire.errors import ErrorBody

P = ParamSpec("P")
T = TypeVar("T")
_UNAUTHENTICATED_BYTES: Final = 64 * 1024
_DIGITS: Final = 19
_log = logging.getLogger("trove_agents.server")


class Request:
    """What an endpoint sees of a call."""

    __slots__ = ("_namespace", "_principal", "edge", "headers", "params", "receive", "route", "scope")

    def __init__(
        self,
        edge: "Edge",
        route: Route,
        scope: Scope,
        receive: Receive,
        *,
        headers: dict[str, str],
        params: dict[str, str],
    ) -> None:
        self.edge = edge
        self.route = route
        self.scope = scope
        self.receive = receive
        self.params = params
        self.headers = headers
        self._principal: Principal | None = None
        self._namespace: str | None = None

    @property
    def principal(self) -> Principal:
        assert self._principal is not None, "an open route has no principal"
        return self._principal

    @property
    def namespace(self) -> str:
        """The namespace of a ``runtime`` route."""
        assert self._namespace is not None, "only runtime routes have a namespace"
        return self._namespace

    def admit(self) -> None:
        """Finds out who is calling and whether this route is open to that one (runs off the loop: it reads SQL)."""
        access = self.route.access
        if access == "open" or self._principal is not None:
            return
        if access == "family":
            assert self.route.family is not None
            principal = self.route.family.authenticate(self.headers)
        else:
            principal = self.edge.authenticate(self.headers.get("authorization"))
        if access == "runtime":
            self._namespace = principal.runtime(self.headers.get(header_names.NAMESPACE.lower()))
        elif access == "workspace":
            principal.within(self.params["workspace_id"])
        elif access == "admin":
            principal.administers(self.params["workspace_id"])
        if (step := self.headers.get(_STEP)) is not None:
            principal = replace(principal, step=_step(step))
        if (wish := self.headers.get(_REFERENCE)) is not None:
            principal = replace(principal, refers=_wish(wish))
        if (lease := self.headers.get(_LEASE)) is not None:
            principal = replace(principal, lease=lease)
        self._principal = principal

    def known_by(self, body: bytes) -> None:
        """Takes up the call's ``Idempotency-Key``, if it has one, with the body as a part of what it is for.

        Raises:
            BadRequest: it is none, or this call takes none.
        """
        if (text := self.headers.get(_IDEMPOTENCY)) is None or self.route.method == "GET":
            return
        if not self.route.once:
            raise errors.BadRequest(f"this call takes no {header_names.IDEMPOTENCY_KEY}")
        try:
            key = keys.parse(text)
        except ValueError as error:
            raise errors.BadRequest(f"{header_names.IDEMPOTENCY_KEY}: {error}") from None
        place = (self.route.method, _path(self.scope), self._namespace or "")
        conditions = (self.headers.get(name, "") for name in ("if-match", "if-none-match"))
        texts = [text.encode("utf-8", "surrogateescape") for text in (*place, *conditions)]
        print_ = keys.fingerprint(*texts, self.scope["query_string"], body)
        self._principal = replace(self.principal, keyed=keys.Keyed(key, print_, self.route.status))

    @property
    def in_process(self) -> bool:
        """Whether the caller is this process: nothing that comes over a network can say so."""
        return "in_process" in self.scope.get("state", ())

    @property
    def inline(self) -> bool:
        """Whether the driver wants the whole call in one step."""
        return "inline" in self.scope.get("state", ())

    async def hop(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The one place where an ``inline`` or ``hop`` route may wait."""
        if self.inline:
            return function(*args, **kwargs)
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.edge.pool, lambda: context.run(function, *args, **kwargs))

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises:
            Disconnected: the caller went away before its end.
        """
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            if piece := message.get("body", b""):
                yield piece
            more = message.get("more_body", False)

    @property
    def content_length(self) -> int | None:
        """As announced; None for what is sent in chunks."""
        text = self.headers.get("content-length", "")
        if not (text.isascii() and text.isdigit()):
            return None
        return int(text) if len(text) < _DIGITS else sys.maxsize  # over every limit

    async def body(self, limit: int) -> bytes:
        """The whole body of a call with a small one; 413 as soon as it passes the limit."""
        announced = self.content_length
        if announced is not None and announced > limit:
            raise errors.TooLarge(f"the body is over the limit of {limit:,} bytes")
        pieces: list[bytes] = []
        size = 0
        async for piece in self.stream():
            size += len(piece)
            if size > limit:
                raise errors.TooLarge(f"the body is over the limit of {limit:,} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Waits(Exception):
    """An ``inline`` call cannot go on without a loop. It has done nothing so far."""


class Edge:
    """The ASGI application."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        authenticate: Callable[[str | None], Principal],
        workers: int = 40,
    ) -> None:
        self.routes = tuple(routes)
        self.authenticate = authenticate
        self.router = Router(routes)
        self._decoders = {id(route): route.decode for route in routes}
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()
        self._closed = False

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Worker threads, started by the first call that needs one. Writers wait on them for their group commit, so
        their number bounds how many share one.

        Raises:
            Unavailable: after ``close``.
        """
        if (pool := self._pool) is None:
            with self._pool_lock:  # calls come from several loops
                if self._closed:
                    raise errors.Unavailable("the server is shutting down; nothing was kept")
                if (pool := self._pool) is None:
                    pool = self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="trove-worker")
        return pool

    def close(self) -> None:
        """Lets running work finish and ends the worker threads; later calls that need one are refused."""
        with self._pool_lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def route_of(self, method: str, path: str) -> Route | None:
        """The route that would answer, for drivers that choose how to run a call."""
        found = self.router.match(path)
        return None if found is None else found[0].get(method)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Nothing to do: who made the server opened it and closes it."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        media_type = JSON

        async def first(message: dict[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            status, content, extra = await self._answer(scope, receive, first)
        except Disconnected:
            return
        except Waits:
            raise  # to the driver, which sends the call to the loop
        except Exception as error:
            if started:
                _log.exception("%s %r broke off", scope["method"], scope["path"])
                raise  # the head is out: only a broken connection can say that the rest is missing
            route = self.route_of(scope["method"], _path(scope))
            family = None if route is None else route.family
            status, content, extra = failure(error, scope, family)
            if family is not None and not isinstance(error, errors.Replayed):
                media_type = family.media_type
        if not started:
            await send(start(status, media_type, len(content), extra))
            await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> tuple[int, bytes, Headers]:
        """Status, JSON and extra headers, unless the route sent an answer of its own."""
        # First: what is ambiguous closes the connection, also where no such path is
        headers = _headers(scope["headers"])
        found = self.router.match(_path(scope))
        if found is None:
            raise errors.NotFound("no such endpoint")
        methods, values = found
        if scope["method"] not in methods:
            allowed = ", ".join(sorted(methods)).encode()
            content = msgspec.json.encode(ErrorBody("method not allowed", "method-not-allowed"))
            return 405, content, [(b"allow", allowed)]
        route = methods[scope["method"]]
        params = dict(zip(route.parameters, values, strict=True))
        request = Request(self, route, scope, receive, headers=headers, params=params)
        arguments: list[Any] = [request]
        if route.body is not None:
            length = request.content_length
            if length is None or length > _UNAUTHENTICATED_BYTES:
                await request.hop(request.admit)  # nothing large is taken from strangers
            arguments.append(await request.body(route.body_bytes))
        if route.run == "loop":
            result = await request.hop(self._attempt, request, arguments)
            if result is None:
                if request.inline:
                    raise Waits
                if route.attempt is None:
                    self._decode(request, arguments)
                result = await route.endpoint(*arguments)
        else:
            result = await request.hop(self._perform, request, arguments)
        if isinstance(result, Reply):
            await send_reply(scope, receive, send, result)
            return 0, b"", []
        return route.status, msgspec.json.encode(result), []

    def _attempt(self, request: Request, arguments: list[Any]) -> Any:
        """The part of a call that waits which does not wait."""
        request.admit()
        request.known_by(_raw(arguments))
        if request.route.attempt is None:
            return None
        self._decode(request, arguments)
        return request.route.attempt(*arguments)

    def _perform(self, request: Request, arguments: list[Any]) -> Any:
        """A whole plain call in one crossing: who, what, and the endpoint itself."""
        request.admit()
        request.known_by(_raw(arguments))
        self._decode(request, arguments)
        return request.route.endpoint(*arguments)

    def _decode(self, request: Request, arguments: list[Any]) -> None:
        """Replaces the raw body by its value and appends the query's."""
        route = request.route
        decode = self._decoders[id(route)]
        try:
            if decode is not None:
                raw = arguments[1]
                arguments[1] = decode(b"{}" if route.body_optional and not raw.strip() else raw)
            if route.query is not None:
                arguments.append(msgspec.convert(_query(request.scope), route.query, strict=False))
        except msgspec.ValidationError as error:
            raise errors.Unprocessable(str(error), errors=[_located(str(error))]) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise errors.Unprocessable(f"the body is not JSON: {error}") from None
        except RecursionError:
            raise errors.Unprocessable("the body is nested too deeply") from None


def _raw(arguments: list[Any]) -> bytes:
    """The body as it came; of one that is streamed nothing yet."""
    return arguments[1] if len(arguments) > 1 else b""


def _located(message: str) -> dict[str, str]:
    """What msgspec says, ``Expected `int`, got `str` - at `$.limit``` as a field and a message."""
    text, _, place = message.partition(" - at ")
    return {"field": place.strip("`").removeprefix("$").removeprefix(".") or "$", "message": text}


def _path(scope: Scope) -> str:
    """The path below the application's root, percent-decoded once; bytes that are not UTF-8 survive.

    A bare ``%`` stays as it is. ``raw_path`` is optional in ASGI.
    """
    raw = scope.get("raw_path")
    path: str = scope["path"] if raw is None else names.from_bytes(unquote_to_bytes(raw.partition(b"?")[0]))
    root = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _query(scope: Scope) -> dict[str, str]:
    """Parameters by name, decoded as UTF-8, which some callers send without escaping it.

    Raises:
        Unprocessable: it is not UTF-8.
    """
    try:
        text = scope["query_string"].decode()
        if "%" in text or "+" in text:
            return dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        raise errors.Unprocessable("the query is not UTF-8") from None
    return dict(pair.partition("=")[::2] for pair in text.split("&") if pair)


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name.

    Raises:
        Ambiguous: one that there is only once was repeated, or the body's end is told in two ways.
    """
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        if key in found and key in _SINGLE:
            raise Ambiguous(f"the {key} header was sent more than once")
        found[key] = value.decode("latin-1")
    if "transfer-encoding" in found and "content-length" in found:
        raise Ambiguous("a body has a content-length or a transfer-encoding, not both")
    return found


def _step(text: str) -> steps.Step | None:
    try:
        step = steps.from_header(text)
    except ValueError as error:
        raise errors.BadRequest(f"{header_names.STEP}: {error}") from None
    return None if step == steps.Step() else step


def _wish(text: str) -> bool:
    if text != "1":
        raise errors.BadRequest(f"{header_names.REFERENCE}: 1 is all that it can say")
    return True


_STEP: Final = header_names.STEP.lower()
_REFERENCE: Final = header_names.REFERENCE.lower()
_LEASE: Final = header_names.LEASE.lower()
_IDEMPOTENCY: Final = header_names.IDEMPOTENCY_KEY.lower()
_SINGLE: Final = frozenset(
    {"authorization", header_names.NAMESPACE.lower(), "content-length", _STEP, _LEASE, _IDEMPOTENCY}
)
