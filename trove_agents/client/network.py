"""The transports over a network. The only module that imports the HTTP library, and the clients import it only
when they need it: with the embedded server it is never loaded.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import httpx

from trove_agents.client.transport import AsyncStreamedReply, Outgoing, Reply, StreamedReply
from trove_agents.errors import TroveConnectionError, TroveConnectionTimeoutError

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_HEADERS: Final = {"user-agent": "trove-agents"}
_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4.0)
"""Idle connections are dropped before servers do so, commonly after 5 s: a command that meets a connection which is
just being closed cannot be repeated."""


class HttpTransport:
    """Sends requests to a server at a base URL.

    Args:
        base_url: With or without a path prefix.
        transport: An httpx transport to send through: own certificates, proxies, limits, or a mock.

    Raises:
        ValueError: ``base_url`` is no absolute http or https URL.
    """

    retries: Final = True

    def __init__(self, base_url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._base = _base(base_url)
        self._http = httpx.Client(transport=transport, headers=_HEADERS, limits=_LIMITS)

    def send(self, request: Outgoing) -> Reply:
        """As the protocol says."""
        with _own_errors(self._base, request):
            response = self._http.request(**_arguments(self._base, request))
        return Reply(response.status_code, _headers(response), response.content)

    @contextmanager
    def stream(self, request: Outgoing) -> Iterator[StreamedReply]:
        """As the protocol says."""
        with _own_errors(self._base, request):
            built = self._http.build_request(**_arguments(self._base, request))
            response = self._http.send(built, stream=True)

        def chunks() -> Iterator[bytes]:
            with _own_errors(self._base, request):
                yield from response.iter_bytes()

        try:
            yield StreamedReply(response.status_code, _headers(response), chunks())
        finally:
            response.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


class AsyncHttpTransport:
    """As ``HttpTransport``."""

    retries: Final = True

    def __init__(self, base_url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._base = _base(base_url)
        self._http = httpx.AsyncClient(transport=transport, headers=_HEADERS, limits=_LIMITS)

    async def send(self, request: Outgoing) -> Reply:
        """As the protocol says."""
        with _own_errors(self._base, request):
            response = await self._http.request(**_arguments(self._base, request))
        return Reply(response.status_code, _headers(response), response.content)

    @asynccontextmanager
    async def stream(self, request: Outgoing) -> AsyncIterator[AsyncStreamedReply]:
        """As the protocol says."""
        with _own_errors(self._base, request):
            built = self._http.build_request(**_arguments(self._base, request))
            response = await self._http.send(built, stream=True)

        async def chunks() -> AsyncIterator[bytes]:
            with _own_errors(self._base, request):
                async for chunk in response.aiter_bytes():
                    yield chunk

        try:
            yield AsyncStreamedReply(response.status_code, _headers(response), chunks())
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


def _base(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url {url!r} is no URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(f"base_url {url!r} is not an absolute http or https URL")
    return url.rstrip("/")


def _arguments(base: str, request: Outgoing) -> dict[str, Any]:
    headers = dict(request.headers)
    if request.length is not None:
        headers["content-length"] = str(request.length)
    return {
        "method": request.method,
        "url": f"{base}{request.path}?{request.query}" if request.query else base + request.path,
        "headers": headers,
        "content": request.body,
        "timeout": httpx.Timeout(request.timeout, read=request.patience),
    }


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): text for name, text in response.headers.items()}


@contextmanager
def _own_errors(base: str, request: Outgoing) -> Iterator[None]:
    """Turns what the HTTP library raises into what callers of this package catch."""
    try:
        yield
    except httpx.RequestError as error:
        raise _own(error, base, request) from error


def _own(error: httpx.RequestError, base: str, request: Outgoing) -> TroveConnectionError:
    may_have_committed = request.method != "GET" and not isinstance(error, _NEVER_SENT)
    kind = TroveConnectionTimeoutError if isinstance(error, httpx.TimeoutException) else TroveConnectionError
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        what = f"could not connect to {base} within {request.timeout:g} s: is the server running, and base_url right?"
    elif isinstance(error, _NEVER_SENT):
        what = f"could not connect to {base} ({error}): is the server running, and base_url right?"
    elif isinstance(error, httpx.TimeoutException):
        what = f"no answer from {base} within {request.patience:g} s: raise timeout if this call takes longer"
    else:
        reason = str(error) or type(error).__name__
        what = f"the connection to {base} broke before the answer was complete ({reason})"
    if may_have_committed:
        what += "; the change may have been committed: look before repeating it"
    return kind(what, may_have_committed=may_have_committed)
