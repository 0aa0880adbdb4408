"""The two seams of the guard, with faults: its journal, and the transport of its wallet client. Both are what anybody
may give it; nothing inside is touched.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from http import HTTPStatus
from typing import Final

from trove_agents.client.transport import (
    AsyncStreamedReply,
    AsyncTransport,
    Outgoing,
    Reply,
    StreamedReply,
    Transport,
)
from trove_agents.errors import TroveConnectionError, TroveConnectionTimeoutError
from trove_agents.guard.faults.moments import Moments, OfMessage
from trove_agents.guard.journal import Journal
from trove_agents.guard.states import Entry, Pool, Purchase, State

_HTML: Final = {"content-type": "text/html"}


class FaultyJournal:
    """A journal with a moment before and after each of its calls. What it was told not to sync, a failure of the power
    takes away.
    """

    def __init__(self, inner: Journal, moments: Moments) -> None:
        self._inner = inner
        self._moments = moments
        self.id = inner.id

    def add(self, entry: Entry) -> bool:
        """See :meth:`Journal.add`."""
        self._moments.reached("before journal.add")
        added = self._inner.add(entry)
        self._moments.unsynced.clear()
        self._moments.reached("after journal.add")
        return added

    def find(self, wallet_id: int, key: str) -> Entry | None:
        """See :meth:`Journal.find`."""
        self._moments.reached("before journal.find")
        found = self._inner.find(wallet_id, key)
        self._moments.reached("after journal.find")
        return found

    def replace(self, before: Entry, after: Entry, *, durable: bool = True) -> bool:
        """See :meth:`Journal.replace`."""
        name = f"journal.replace {before.state} by {after.state}"
        self._moments.reached(f"before {name}")
        replaced = self._inner.replace(before, after, durable=durable)
        if durable:
            self._moments.unsynced.clear()
        elif replaced:
            self._moments.unsynced.append(lambda: self._inner.replace(after, before))
        self._moments.reached(f"after {name}")
        return replaced

    def those(self, wallet_id: int, states: Iterable[State], *, intent: str | None = None) -> list[Entry]:
        """See :meth:`Journal.those`."""
        self._moments.reached("before journal.those")
        found = self._inner.those(wallet_id, states, intent=intent)
        self._moments.reached("after journal.those")
        return found

    def of_thread(self, wallet_id: int, thread: str) -> list[Entry]:
        """See :meth:`Journal.of_thread`."""
        self._moments.reached("before journal.of_thread")
        found = self._inner.of_thread(wallet_id, thread)
        self._moments.reached("after journal.of_thread")
        return found

    def book(self, wallet_id: int, purchases: Iterable[Purchase]) -> None:
        """See :meth:`Journal.book`."""
        self._moments.reached("before journal.book")
        self._inner.book(wallet_id, purchases)
        self._moments.reached("after journal.book")

    def draw(self, entry: Entry, purchases: Iterable[Purchase] = ()) -> bool:
        """See :meth:`Journal.draw`."""
        self._moments.reached("before journal.draw")
        drawn = self._inner.draw(entry, purchases)
        self._moments.reached("after journal.draw")
        return drawn

    def pool(self, wallet_id: int) -> Pool:
        """See :meth:`Journal.pool`."""
        self._moments.reached("before journal.pool")
        found = self._inner.pool(wallet_id)
        self._moments.reached("after journal.pool")
        return found

    def purchases(self, wallet_id: int, tag: str) -> list[Purchase]:
        """See :meth:`Journal.purchases`."""
        self._moments.reached("before journal.purchases")
        found = self._inner.purchases(wallet_id, tag)
        self._moments.reached("after journal.purchases")
        return found

    def attempts(self, wallet_id: int) -> list[tuple[str, int]]:
        """See :meth:`Journal.attempts`."""
        self._moments.reached("before journal.attempts")
        found = self._inner.attempts(wallet_id)
        self._moments.reached("after journal.attempts")
        return found


class Late:
    """Requests that are on their way for long: they outlive the process that sent them."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def add(self, deliver: Callable[[], object]) -> None:
        """Keeps one."""
        self._waiting.append(deliver)

    def arrive(self) -> None:
        """All of them reach the server now. Nobody waits for their answers."""
        waiting, self._waiting = self._waiting, []
        for deliver in waiting:
            deliver()


class FaultyTransport:
    """A transport with a moment before and after each request, which may get lost on the way there or back.

    Args:
        inner: Gives what sends: another one after the server was started anew.
        moments: When something goes wrong.
        late: Where what is late waits.
        retries: Whether the client may send again what got lost, as over a network.
    """

    def __init__(
        self, inner: Callable[[], Transport], moments: Moments, late: Late, *, retries: bool
    ) -> None:
        self._inner = inner
        self._moments = moments
        self._late = late
        self._retries = retries

    @property
    def retries(self) -> bool:
        """See :attr:`Transport.retries`."""
        return self._retries

    def send(self, request: Outgoing) -> Reply:
        """See :meth:`Transport.send`."""
        name = _name(request)
        self._moments.reached(f"before {name}")
        fault = self._moments.message(name)
        if fault == "late":
            self._late.add(lambda: self._inner().send(request))
        if (reply := _instead(fault, request)) is None:
            reply = self._inner().send(request)
            if fault == "twice":
                reply = self._inner().send(request)
            reply = _on_the_way_back(fault, request, reply)
        self._moments.reached(f"after {name}")
        return reply

    def stream(self, request: Outgoing) -> AbstractContextManager[StreamedReply]:
        """See :meth:`Transport.stream`: wallets stream nothing, and nothing goes wrong."""
        return self._inner().stream(request)

    def close(self) -> None:
        """See :meth:`Transport.close`: what sends is closed by who gave it."""


class AsyncFaultyTransport:
    """As ``FaultyTransport``.

    Args:
        inner: As there.
        moments: As there.
        late: As there.
        later: Gives what sends what is late, when no event loop runs any more.
        retries: As there.
    """

    def __init__(
        self,
        inner: Callable[[], AsyncTransport],
        moments: Moments,
        late: Late,
        *,
        later: Callable[[], Transport],
        retries: bool,
    ) -> None:
        self._inner = inner
        self._moments = moments
        self._late = late
        self._later = later
        self._retries = retries

    @property
    def retries(self) -> bool:
        """See :attr:`Transport.retries`."""
        return self._retries

    async def send(self, request: Outgoing) -> Reply:
        """See :meth:`Transport.send`."""
        name = _name(request)
        self._moments.reached(f"before {name}")
        fault = self._moments.message(name)
        if fault == "late":
            self._late.add(lambda: self._later().send(request))
        if (reply := _instead(fault, request)) is None:
            reply = await self._inner().send(request)
            if fault == "twice":
                reply = await self._inner().send(request)
            reply = _on_the_way_back(fault, request, reply)
        self._moments.reached(f"after {name}")
        return reply

    def stream(self, request: Outgoing) -> AbstractAsyncContextManager[AsyncStreamedReply]:
        """See :meth:`FaultyTransport.stream`."""
        return self._inner().stream(request)

    async def aclose(self) -> None:
        """See :meth:`FaultyTransport.close`."""


def _name(request: Outgoing) -> str:
    """Without ids, so that the same moment has the same name in every run."""
    path = "/".join("*" if part.isdigit() else part for part in request.path.split("/"))
    return f"{request.method} {path}"


def _instead(fault: OfMessage | None, request: Outgoing) -> Reply | None:
    """What the sender gets of a request that does not reach the server now; None: it does."""
    if fault == "unsent":
        raise TroveConnectionError("the server cannot be reached", may_have_committed=False)
    if fault == "late":
        raise TroveConnectionTimeoutError("no answer came", may_have_committed=request.method != "GET")
    if fault == "busy":
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, _HTML, b"<h1>try again</h1>")
    return None


def _on_the_way_back(fault: OfMessage | None, request: Outgoing, reply: Reply) -> Reply:
    if fault == "lost":
        raise TroveConnectionError("the answer was lost", may_have_committed=request.method != "GET")
    if fault == "garbled":
        return Reply(HTTPStatus.BAD_GATEWAY, _HTML, b"<h1>bad gateway</h1>")
    return reply
