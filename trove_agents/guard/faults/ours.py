"""The guards of this package, on the server of this package: the first subjects of the kit, and an example of some."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

from trove_agents.client.clients import AsyncWalletClient, WalletClient
from trove_agents.client.retry import Retries
from trove_agents.client.transport import Outgoing, Reply, StreamedReply, Transport
from trove_agents.client.wallets import AsyncWallet, Wallet
from trove_agents.embedded import (
    Trove,
)  # these are programs that use a guard and a server, and only live here
from trove_agents.guard.faults.moments import ALL, Moments, Outside
from trove_agents.guard.faults.scenario import PRICES
from trove_agents.guard.faults.seams import AsyncFaultyTransport, FaultyJournal, FaultyTransport, Late
from trove_agents.guard.faults.subject import Books, Declined, Place
from trove_agents.guard.guard import AsyncGuard, Guard
from trove_agents.guard.journal import Journal, SqliteJournal
from trove_agents.guard.states import Receipt

T = TypeVar("T")

_JOURNAL: Final = "payments.db"
_KEY: Final = "key-of-the-cases"
_AT_ONCE: Final = Retries(attempts=3, first_wait=0.0)
_NOT_THERE: Final = b'{"success":false,"message":"not found"}'
_JUMP_NS: Final = 2 * 3600 * 10**9
"""Longer than any hold of the guard's lasts."""


class _Served:
    """A server in a folder, and the wallet of the case that is played on it; one case at a time."""

    faults = ALL
    knows_keys = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trove = _serve(folder)
        self._key = _wallet_key(folder, self._trove)
        undisturbed = FaultyTransport(self._transport, Moments(), Late(), retries=False)
        self._plain = WalletClient(self._key, transport=undisturbed)
        self._at: str | None = None
        self._wallet = Wallet(self._plain, 0, "")
        self._late = Late()
        self._ahead_ns = 0

    def happens(self, what: Outside, place: Place) -> None:  # noqa: ARG002 - one case at a time
        """See :meth:`Bench.happens`."""
        match what:
            case "arrives":
                self._late.arrive()
            case "restart":
                self._trove.close()
                self._trove = _serve(self._folder)
                self._set_clock(self._ahead_ns)
            case "ahead":
                self._set_clock(self._ahead_ns + _JUMP_NS)
            case "back":
                self._set_clock(self._ahead_ns - _JUMP_NS)

    def close(self) -> None:
        """See :meth:`Bench.close`."""
        self._trove.close()

    def books(self) -> Books:
        """See :meth:`Subject.books`: what the wallet says."""
        found = self._wallet.balance()
        return Books(found.total_spent, found.held_usd, found.in_doubt_usd)

    def _transport(self) -> Transport:
        return self._trove.transport()

    def _begin(self, place: Place) -> None:
        """Makes the wallet of a case at its first process."""
        if place.name == self._at:
            return
        self._at, self._late = place.name, Late()
        self._set_clock(0)
        self._wallet = self._plain.wallet(place.name, budget_usd=place.budget_usd)

    def _set_clock(self, ahead_ns: int) -> None:
        self._ahead_ns = ahead_ns
        self._trove.server.database.now_ns = lambda: time.time_ns() + ahead_ns


class GuardBench(_Served):
    """``Guard`` and ``WalletClient``, with a server of their own. One case at a time.

    Args:
        folder: The server's; made if it is not there. In memory (tmpfs) it is quick and as good: a process that
            ends takes nothing with it of what it wrote.
    """

    name = "trove-agents Guard"

    def open(self, place: Place, moments: Moments) -> "GuardSubject":
        """See :meth:`Bench.open`."""
        self._begin(place)
        transport = FaultyTransport(self._transport, moments, self._late, retries=place.resends)
        client = WalletClient(self._key, transport=transport, retries=_AT_ONCE)
        journal = SqliteJournal(place.folder / _JOURNAL)
        guard = Guard(Wallet(client, self._wallet.id, place.name), journal=FaultyJournal(journal, moments))
        return GuardSubject(guard, journal, self.books)


class PrepaidGuardBench(GuardBench):
    """``Guard`` on a server with the public wallet service's calls alone, where it buys in advance.

    What it does not promise there is left out: requests that are late for longer than ``quiet_seconds``, another
    journal. Nor is the power cut, since what is drawn from credit cannot be undone at the seam.
    """

    name = "trove-agents Guard, in advance"
    faults = ALL - {"late", "arrives", "stranger-pays", "power-fails"}

    def open(self, place: Place, moments: Moments) -> "GuardSubject":
        """See :meth:`Bench.open`."""
        self._begin(place)
        journal = SqliteJournal(place.folder / _JOURNAL)
        looking = self._guard(place, Moments(), journal)

        def books() -> Books:
            bought, in_doubt = self._wallet.balance().total_spent, looking.in_doubt_usd()
            return Books(bought - looking.credit_usd() - in_doubt, in_doubt=in_doubt)

        return GuardSubject(self._guard(place, moments, FaultyJournal(journal, moments)), journal, books)

    def _guard(self, place: Place, moments: Moments, journal: Journal) -> Guard:
        transport = FaultyTransport(
            lambda: _Plain(self._transport()), moments, self._late, retries=place.resends
        )
        client = WalletClient(self._key, transport=transport, retries=_AT_ONCE)
        return Guard(Wallet(client, self._wallet.id, place.name), journal=journal, quiet_seconds=0)


class GuardSubject:
    """One process with a ``Guard``."""

    def __init__(self, guard: Guard, journal: SqliteJournal, books: Callable[[], Books]) -> None:
        self._guard = guard
        self._journal = journal
        self.books = books

    def pay(self, tool: Callable[[], object], price_usd: Decimal, key: str) -> object:
        """See :meth:`Subject.pay`."""
        return self._guard.pay(tool, price_usd, key=key, not_charged=_declined)

    def recover(self) -> None:
        """See :meth:`Subject.recover`."""
        self._guard.recover()

    def audit(self, charged: Mapping[str, int]) -> list[str]:
        """See :meth:`Subject.audit`: the journal and the wallet agree, and once somebody has looked at the vendor's
        statement nothing is open.
        """
        wrong = _compared(self.books(), self._guard.in_doubt_usd(), self._guard.recover())
        for receipt in self._guard.doubts():
            self._guard.resolve(receipt.key, "charged" if charged.get(receipt.key) else "not-charged")
        return wrong + _settled(self.books(), charged)

    def close(self) -> None:
        """See :meth:`Subject.close`."""
        self._journal.close()


class AsyncGuardBench(_Served):
    """As ``GuardBench``, with ``AsyncGuard`` and ``AsyncWalletClient``."""

    name = "trove-agents AsyncGuard"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._runner = asyncio.Runner()
        self._runs = False

    def open(self, place: Place, moments: Moments) -> "AsyncGuardSubject":
        """See :meth:`Bench.open`."""
        self._begin(place)
        transport = AsyncFaultyTransport(
            lambda: self._trove.async_transport(),  # noqa: PLW0108 - of the server that runs then
            moments,
            self._late,
            later=self._transport,
            retries=place.resends,
        )
        client = AsyncWalletClient(self._key, transport=transport, retries=_AT_ONCE)
        journal = SqliteJournal(place.folder / _JOURNAL)
        guard = AsyncGuard(
            AsyncWallet(client, self._wallet.id, place.name), journal=FaultyJournal(journal, moments)
        )
        return AsyncGuardSubject(guard, journal, self.books, self.run)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine; of one that comes while another runs, in a loop of its own."""
        if self._runs:
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(asyncio.run, work).result()
        self._runs = True
        try:
            return self._runner.run(work)
        finally:
            self._runs = False

    def close(self) -> None:
        """See :meth:`Bench.close`."""
        self._runner.close()
        super().close()


class AsyncGuardSubject:
    """One process with an ``AsyncGuard``."""

    def __init__(
        self,
        guard: AsyncGuard,
        journal: SqliteJournal,
        books: Callable[[], Books],
        run: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        self._guard = guard
        self._journal = journal
        self._run = run
        self.books = books

    def pay(self, tool: Callable[[], object], price_usd: Decimal, key: str) -> object:
        """See :meth:`Subject.pay`."""

        async def call() -> object:
            return tool()

        paid: object = self._run(self._guard.pay(call, price_usd, key=key, not_charged=_declined))
        return paid

    def recover(self) -> None:
        """See :meth:`Subject.recover`."""
        self._run(self._guard.recover())

    def audit(self, charged: Mapping[str, int]) -> list[str]:
        """See :meth:`GuardSubject.audit`."""

        async def ended() -> list[str]:
            wrong = _compared(self.books(), await self._guard.in_doubt_usd(), await self._guard.recover())
            for receipt in await self._guard.doubts():
                await self._guard.resolve(
                    receipt.key, "charged" if charged.get(receipt.key) else "not-charged"
                )
            return wrong

        wrong: list[str] = self._run(ended())
        return wrong + _settled(self.books(), charged)

    def close(self) -> None:
        """See :meth:`Subject.close`."""
        self._journal.close()


class _Plain:
    """The server as if it had the public calls alone: it says nothing of itself, and knows no key of a call."""

    retries = False

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def send(self, request: Outgoing) -> Reply:
        if request.path == "/api/capabilities":
            return Reply(HTTPStatus.NOT_FOUND, {"content-type": "application/json"}, _NOT_THERE)
        kept = tuple(pair for pair in request.headers if pair[0].lower() != "idempotency-key")
        return self._inner.send(replace(request, headers=kept))

    def stream(self, request: Outgoing) -> AbstractContextManager[StreamedReply]:
        return self._inner.stream(request)

    def close(self) -> None:
        self._inner.close()


def _serve(folder: Path) -> Trove:
    return Trove.local(folder, sandbox="none")


def _wallet_key(folder: Path, trove: Trove) -> str:
    """One for all processes of the folder."""
    path = folder / _KEY
    if not path.exists():
        path.write_text(trove.wallets().create_key("faults").api_key, "ascii")
    return path.read_text("ascii")


def _declined(error: BaseException) -> bool:
    return isinstance(error, Declined)


def _compared(books: Books, doubted: Decimal, again: list[Receipt]) -> list[str]:
    """What is wrong after a recovery, by the wallet, the journal, and a second recovery."""
    wrong = []
    if books.held:
        wrong.append(f"{books.held} USD are held for nobody")
    if books.in_doubt != doubted:
        wrong.append(f"the wallet has {books.in_doubt} USD in doubt, the journal {doubted}")
    if again:
        wrong.append(f"a second recovery changes {[(each.key, each.state) for each in again]}")
    return wrong


def _settled(books: Books, charged: Mapping[str, int]) -> list[str]:
    """What is wrong when all doubts were resolved by the vendor's statement."""
    took = sum((PRICES[key] * times for key, times in charged.items()), Decimal(0))
    return (
        []
        if books == Books(spent=took)
        else [f"by the vendor's statement of {took} USD the books are {books}"]
    )
