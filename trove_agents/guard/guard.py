"""The guard: around a tool that costs money, for threads and for asyncio."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final, Generic, Self, TypeVar, cast

import msgspec

from trove_agents.client.clients import AsyncWalletClient, WalletClient
from trove_agents.client.money import Amount
from trove_agents.client.wallets import AsyncWallet, Wallet, WalletBalance
from trove_agents.guard import driving, telemetry
from trove_agents.guard.driving import GuardFlow
from trove_agents.guard.errors import AlreadyPaid, NotCharged
from trove_agents.guard.evidence import Evidence
from trove_agents.guard.guarantees import Guarantees
from trove_agents.guard.journal import Journal, SqliteJournal
from trove_agents.guard.money import Holds, digest
from trove_agents.guard.payments import Outcome, Payments, Resolver
from trove_agents.guard.policies import Policy
from trove_agents.guard.prepay import Prepay
from trove_agents.guard.prices import Metered, Price, highest, micros
from trove_agents.guard.states import STATES, Entry, Receipt, as_usd
from trove_agents.guard.threads import JOURNALS, whole
from trove_agents.wire.steps import Step, to_header

T = TypeVar("T")

RESULT_BYTES: Final = 1_000_000
"""The largest result that is kept, as JSON. Of a larger one only the receipt is."""
KEY_CHARACTERS: Final = 255
HOLD_SECONDS: Final = 900
QUIET_SECONDS: Final = 600
_WAITS: Final = "its tool waits for somebody"


@dataclass(frozen=True, slots=True)
class Paid(Generic[T]):
    """A tool's result, and what it cost."""

    result: T | None
    """Of a repetition what the first call returned, as JSON has it; None where that was not kept."""
    receipt: Receipt | None
    """None: the call was free."""
    repeated: bool = False
    """It was paid before, and the tool not run now."""
    kept: bool = True
    """Of a repetition: whether ``result`` is what the first call returned."""


class Payment:
    """A payment whose tool may run now."""

    def __init__(self, entry: Entry | None, told: telemetry.Told | None = None) -> None:
        self._entry = entry
        self._told = told
        self._charged = None if entry is None else entry.micros
        self._result: bytes | None = None
        self._doubt: str | None = None
        self._waits: str | None = None

    @property
    def receipt(self) -> Receipt | None:
        """As it stands: after the block how it ended. None: the call is free."""
        return None if self._entry is None else Receipt.of(self._entry)

    def capture(self, actual: Amount) -> None:
        """Says what it did cost, for tools whose price is known afterwards; 0: nothing.

        Raises:
            TypeError: the amount is a float, or none.
            ValueError: it is no amount, or more than was authorized.
        """
        charged = micros(actual)
        if charged > (0 if self._entry is None else self._entry.micros):
            raise ValueError(f"{actual} is more than was authorized")
        self._charged = charged

    def meter(self, price: Price, result: object) -> None:
        """Captures what a ``Metered`` price says from the tool's result; where it cannot, the payment is in doubt."""
        if isinstance(price, Metered) and self._entry is not None:
            try:
                self.capture(price.cost(result))
            except Exception as error:  # noqa: BLE001 (the result is paid for, and the caller's)
                self.doubt(f"its cost cannot be told: {_said(error)}")

    @property
    def approved(self) -> bool:
        """Whether it makes use of a person's yes in the wallet."""
        return self._entry is not None and self._entry.approval is not None

    @property
    def waited(self) -> str | None:
        """Why the tool stopped before, if it runs again after a wait."""
        return None if self._entry is None or self._entry.state != "running" else self._entry.note

    def wait(self, why: str = _WAITS) -> None:
        """Says that the tool stopped to wait for somebody, and will run again under the same key; as ``signals`` do."""
        self._waits = why

    def void(self) -> None:
        """Says that nothing was charged, though the tool raises nothing: it reported it."""
        self._charged = 0

    def doubt(self, why: str) -> None:
        """Says that nobody knows what was charged, though the tool raises nothing: it reported an error."""
        self._doubt = why

    def keep(self, result: object) -> None:
        """Keeps the tool's result for a repetition, if it is JSON of at most ``RESULT_BYTES``."""
        self._result = None
        # The tool has run: what its result looks like must not put the payment in doubt
        with suppress(Exception):
            encoded = msgspec.json.encode(result)
            self._result = encoded if len(encoded) <= RESULT_BYTES else None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What ``authorize`` is told of a payment beside its price."""

    key: str
    tool: str | None
    vendor: str | None
    arguments: Mapping[str, Any] | None
    step: Step | None
    approved: bool


class _Guarding:
    """What both guards share: everything but who runs the flows."""

    def __init__(
        self,
        wallet_id: int,
        journal: Journal | str | os.PathLike[str],
        *,
        policy: Policy | None,
        signals: tuple[type[BaseException], ...],
        resolvers: Mapping[str, Resolver] | None,
        hold_seconds: int,
        quiet_seconds: float,
    ) -> None:
        self.wallet_id = wallet_id
        self._own = SqliteJournal(journal) if isinstance(journal, str | os.PathLike) else None
        self._signals = signals
        self._journal = self._own or cast("Journal", journal)
        self._payments = Payments(
            wallet_id,
            self._journal,
            Holds(hold_seconds, self._journal.id),
            Prepay(wallet_id, self._journal, quiet_seconds),
            policy=policy,
            resolvers=dict(resolvers or {}),
        )

    def _begin(self, price: Price, wanted: "_Wanted") -> GuardFlow[Payment]:
        if not 1 <= len(wanted.key) <= KEY_CHARACTERS:
            raise ValueError(f"a key has 1 to {KEY_CHARACTERS} characters")
        most = highest(price, wanted.arguments)
        if most == 0:
            return Payment(None)
        tool, vendor, arguments = wanted.tool, wanted.vendor, wanted.arguments
        intent = digest(tool, vendor, arguments)
        entry = Entry(
            wallet_id=self.wallet_id,
            key=wanted.key,
            fingerprint=digest(intent, most),
            micros=most,
            tool=tool,
            vendor=vendor,
            intent=None if tool is None else intent,
            step=None if wanted.step is None else to_header(wanted.step),
        )
        yield from self._payments.ready()
        beginning = self._payments.begin(entry, arguments, approved=wanted.approved)
        return Payment(*(yield from telemetry.authorizing(entry, beginning)))

    def _end(
        self, payment: Payment, error: BaseException | None, not_charged: Evidence | None
    ) -> GuardFlow[None]:
        entry = payment._entry  # noqa: SLF001 - of this module
        if entry is None:
            return
        charged, result, doubt = payment._charged, payment._result, payment._doubt  # noqa: SLF001
        waits = payment._waits or (_WAITS if isinstance(error, self._signals) else None)  # noqa: SLF001
        if waits is not None:
            ending = self._payments.wait(entry, waits)
        elif error is not None and not _proves_no_charge(error, not_charged):
            ending = self._payments.doubt(entry, _said(error))
        elif error is None and doubt is not None:
            ending = self._payments.doubt(entry, doubt, result)
        else:
            assert charged is not None, "it is not free"
            ending = self._payments.settle(entry, 0 if error is not None else charged, result)
        payment._entry = yield from telemetry.ending(payment._told, ending, error)  # noqa: SLF001

    def _doubts(self) -> GuardFlow[list[Receipt]]:
        return [Receipt.of(each) for each in (yield from self._payments.those("in_doubt", "waiting"))]

    def _receipts(self, thread: str) -> GuardFlow[list[Receipt]]:
        there = yield from driving.do(lambda: self._journal.of_thread(self.wallet_id, thread))
        return [Receipt.of(each) for each in there]

    def _alike(
        self, tool: str, vendor: str | None, arguments: Mapping[str, Any] | None
    ) -> GuardFlow[list[Receipt]]:
        intent = digest(tool, vendor, arguments)
        found = driving.do(lambda: self._journal.those(self.wallet_id, STATES, intent=intent))
        return [Receipt.of(each) for each in (yield from found)]

    def _in_doubt_usd(self) -> GuardFlow[Decimal]:
        return as_usd(sum(entry.micros for entry in (yield from self._payments.those("in_doubt"))))

    def _credit_usd(self) -> GuardFlow[Decimal]:
        return as_usd((yield from driving.do(lambda: self._journal.pool(self.wallet_id))).credit)

    def _resolve(self, key: str, outcome: Outcome, charged_usd: Amount | None) -> GuardFlow[Receipt]:
        if outcome not in ("charged", "not-charged", "write-off"):
            raise ValueError("a payment was 'charged' or 'not-charged', or is a 'write-off'")
        if charged_usd is not None and outcome != "charged":
            raise ValueError(f"a payment that is {outcome!r} has no amount that was charged")
        charged = None if charged_usd is None else micros(charged_usd)
        yield from self._payments.ready()
        return Receipt.of((yield from self._payments.resolve(key, outcome, charged)))

    def _recover(self, older_than: float) -> GuardFlow[list[Receipt]]:
        yield from self._payments.ready()
        return [Receipt.of(each) for each in (yield from self._payments.recover(older_than))]

    def _repeated(self, paid: AlreadyPaid, key: str) -> Paid[Any]:
        if paid.receipt.wallet_id != self.wallet_id or paid.receipt.key != key:
            raise paid  # of a payment within the tool
        kept = paid.result is not None
        result = msgspec.json.decode(paid.result) if paid.result is not None else None
        return Paid(result, paid.receipt, repeated=True, kept=kept)

    def _close(self) -> None:
        if self._own is not None:
            self._own.close()


class Guard(_Guarding):
    """Makes the payments of one wallet.

    Args:
        wallet: Of any server of the public wallet API. What holds on one without holds says :meth:`guarantees`.
        journal: Where payments are written down: the path of a file, or a journal of your own, which stays open.
        policy: Asked before each payment; None: the wallet's budget and limits alone decide.
        signals: Exceptions by which a framework stops a tool that waits for somebody and runs it again later. The hold
            stays, and the same key goes on with it.
        resolvers: By vendor, who asks it how a payment in doubt ended: when the same key is paid again, and by ``recover``.
        hold_seconds: How long the wallet keeps the money. Then it counts it as in doubt by itself, and it can still
            be settled: so a tool may take longer.
        quiet_seconds: On a server without holds: how long a purchase without an answer may still be under way before it is
            made again. Longer than the client's own timeout, and than that of every proxy on the way.
    """

    def __init__(
        self,
        wallet: Wallet,
        *,
        journal: Journal | str | os.PathLike[str],
        policy: Policy | None = None,
        signals: tuple[type[BaseException], ...] = (),
        resolvers: Mapping[str, Resolver] | None = None,
        hold_seconds: int = HOLD_SECONDS,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        super().__init__(
            wallet.id,
            journal,
            policy=policy,
            signals=signals,
            resolvers=resolvers,
            hold_seconds=hold_seconds,
            quiet_seconds=quiet_seconds,
        )
        self.wallet = wallet
        self._client = cast("WalletClient", wallet.client)

    @contextmanager
    def authorize(
        self,
        price: Price,
        *,
        key: str,
        tool: str | None = None,
        vendor: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        step: Step | None = None,
        not_charged: Evidence | None = None,
        approved: bool = False,
    ) -> Iterator[Payment]:
        """Holds the price while the tool runs in the block, and captures it at its end.

        Args:
            price: USD, the most that it can cost: an amount, or a function of the arguments. 0: the tool is free, and
                nothing is written down. Of a ``Metered`` one say the cost with ``payment.capture``.
            key: What is stable over retries and restarts, and another for each payment.
            tool: What is paid for.
            vendor: Who is paid.
            arguments: Of the tool, as JSON: a repetition must have the same.
            step: The step of an agent's that it is for.
            not_charged: Whether an exception proves that nothing was charged, as ``NotCharged`` does: see ``evidence``.
                All others leave the payment in doubt.
            approved: A person said yes to this payment, so the policy's question is answered.

        Raises:
            AlreadyPaid: it was paid before; the block is not run.
            PaymentInDoubt: it is under way, or nobody knows how it ended; the block is not run.
            PaymentConflict: the key belongs to another payment; the block is not run.
            PaymentDenied: a policy or a person refused it, or its price cannot be told.
            ApprovalNeeded: a person has to say yes first; also where one of the same tool, vendor and arguments is in
                doubt under another key.
            BudgetExceededError: it is more than what remains; nothing is held, the block is not run.
            TypeError: the price is a float, or none; nothing is held.
            ValueError: the price is no amount, or the key is empty or too long; nothing is held.
        """
        payment = self._run(self._begin(price, _Wanted(key, tool, vendor, arguments, step, approved)))
        try:
            yield payment
        except BaseException as error:
            self._run(self._end(payment, error, not_charged))
            raise
        self._run(self._end(payment, None, not_charged))

    @asynccontextmanager
    async def aauthorize(self, price: Price, *, key: str, **named: Any) -> AsyncIterator[Payment]:
        """As :meth:`authorize`, around coroutines: its waits are in threads, and are not cut short by a cancellation."""
        block = self.authorize(price, key=key, **named)
        payment, cancelled = await whole(block.__enter__)
        if cancelled:  # the tool has not run
            if payment.waited is None:
                payment.void()
            else:
                payment.wait(payment.waited)
            await whole(lambda: block.__exit__(None, None, None))
            raise asyncio.CancelledError
        try:
            yield payment
        except BaseException as error:
            await whole(partial(block.__exit__, type(error), error, error.__traceback__))
            raise
        _, cancelled = await whole(lambda: block.__exit__(None, None, None))
        if cancelled:
            raise asyncio.CancelledError

    async def abalance(self) -> WalletBalance:
        """What the wallet has left, asked in a thread."""
        return await asyncio.to_thread(self.wallet.balance)

    def alike(
        self, *, tool: str, vendor: str | None = None, arguments: Mapping[str, Any] | None = None
    ) -> list[Receipt]:
        """The payments of the same tool, vendor and arguments that the journal has, however they ended; oldest first.

        Reads through all payments of the wallet.
        """
        return self._run(self._alike(tool, vendor, arguments))

    async def aalike(self, **named: Any) -> list[Receipt]:
        """As :meth:`alike`, in a thread."""
        return await asyncio.to_thread(partial(self.alike, **named))

    def pay(self, tool_call: Callable[[], T], price: Price, *, key: str, **named: Any) -> Paid[T]:
        """Runs a tool under :meth:`authorize`; what was paid before is answered from the journal.

        Raises:
            BaseException: what the tool raises, and what ``authorize`` raises but ``AlreadyPaid``.
        """
        try:
            with self.authorize(price, key=key, **named) as payment:
                result = tool_call()
                payment.keep(result)
                payment.meter(price, result)
        except AlreadyPaid as paid:
            return self._repeated(paid, key)
        return Paid(result, payment.receipt)

    def doubts(self) -> list[Receipt]:
        """Payments of which nobody knows how they ended, or whose tools wait to be run again: :meth:`resolve` ends them."""
        return self._run(self._doubts())

    def receipts(self, *, thread: str) -> list[Receipt]:
        """The payments that were made or tried for steps of a thread, oldest first, each as it stands now."""
        return self._run(self._receipts(thread))

    async def areceipts(self, *, thread: str) -> list[Receipt]:
        """As :meth:`receipts`, in a thread."""
        return await asyncio.to_thread(self.receipts, thread=thread)

    def in_doubt_usd(self) -> Decimal:
        """What those in doubt are about, together."""
        return self._run(self._in_doubt_usd())

    def credit_usd(self) -> Decimal:
        """What was bought in a wallet without holds and no payment uses: the next ones do. Negative: tools have charged more."""
        return self._run(self._credit_usd())

    def guarantees(self) -> Guarantees:
        """What holds for the payments of this wallet, by what its server has. Asks it the first time.

        Raises:
            TroveError: the wallet cannot be reached.
        """
        return self._run(self._payments.ready())

    def resolve(self, key: str, outcome: Outcome, *, charged_usd: Amount | None = None) -> Receipt:
        """Says how a payment in doubt ended.

        Args:
            key: Of the payment.
            outcome: ``charged`` captures its hold, ``not-charged`` gives it back, ``write-off`` takes it for spent since
                nobody will find out (for the key of the wallet's owner).
            charged_usd: What was charged, at most what was held, if that is known; None: all of it.

        Raises:
            ValueError: no payment of this key is in doubt, the outcome is none of these, or the amount is too large.
            TroveError: the wallet refuses, or cannot be reached.
        """
        return self._run(self._resolve(key, outcome, charged_usd))

    def recover(self, *, older_than: float = 0.0) -> list[Receipt]:
        """Sorts out what a crash left, and returns what it changed. Call it when a program starts, and now and then.

        What never ran is given back, what ran is in doubt, what was being settled is settled, and what somebody settled
        in the wallet is settled here. Of a purchase without an answer it is found out whether it was made, once that can
        be known. A payment that another process is still making loses nothing: one that has not
        run yet is refused there, one that runs is in doubt until it ends there.

        Args:
            older_than: Seconds for which nothing may have happened to a payment under way, else it is left alone: where
                other processes use the journal, and may be making it, longer than their slowest tool takes.

        Raises:
            TroveError: the wallet cannot be reached. What was not sorted out stays for the next time.
        """
        return self._run(self._recover(older_than))

    def close(self) -> None:
        """Closes the journal, if the guard opened it; the wallet's client is its owner's."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, flow: GuardFlow[T]) -> T:
        return driving.run(self._client, flow)


class AsyncGuard(_Guarding):
    """As :class:`Guard`, for asyncio."""

    def __init__(
        self,
        wallet: AsyncWallet,
        *,
        journal: Journal | str | os.PathLike[str],
        policy: Policy | None = None,
        signals: tuple[type[BaseException], ...] = (),
        resolvers: Mapping[str, Resolver] | None = None,
        hold_seconds: int = HOLD_SECONDS,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        super().__init__(
            wallet.id,
            journal,
            policy=policy,
            signals=signals,
            resolvers=resolvers,
            hold_seconds=hold_seconds,
            quiet_seconds=quiet_seconds,
        )
        self.wallet = wallet
        self._client = cast("AsyncWalletClient", wallet.client)

    @asynccontextmanager
    async def authorize(
        self,
        price: Price,
        *,
        key: str,
        tool: str | None = None,
        vendor: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        step: Step | None = None,
        not_charged: Evidence | None = None,
        approved: bool = False,
    ) -> AsyncIterator[Payment]:
        """See :meth:`Guard.authorize`. A cancellation of the block leaves the payment in doubt."""
        payment = await self._run(self._begin(price, _Wanted(key, tool, vendor, arguments, step, approved)))
        try:
            yield payment
        except BaseException as error:
            await self._run(self._end(payment, error, not_charged))
            raise
        await self._run(self._end(payment, None, not_charged))

    aauthorize = authorize
    """Under the name that :class:`Guard` has it by too, for whoever is given either."""

    async def abalance(self) -> WalletBalance:
        """See :meth:`Guard.abalance`."""
        return await self.wallet.balance()

    async def alike(
        self, *, tool: str, vendor: str | None = None, arguments: Mapping[str, Any] | None = None
    ) -> list[Receipt]:
        """See :meth:`Guard.alike`."""
        return await self._run(self._alike(tool, vendor, arguments))

    aalike = alike
    """As ``aauthorize``."""

    async def pay(
        self, tool_call: Callable[[], Awaitable[T]], price: Price, *, key: str, **named: Any
    ) -> Paid[T]:
        """See :meth:`Guard.pay`."""
        try:
            async with self.authorize(price, key=key, **named) as payment:
                result = await tool_call()
                payment.keep(result)
                payment.meter(price, result)
        except AlreadyPaid as paid:
            return self._repeated(paid, key)
        return Paid(result, payment.receipt)

    async def doubts(self) -> list[Receipt]:
        """See :meth:`Guard.doubts`."""
        return await self._run(self._doubts())

    async def receipts(self, *, thread: str) -> list[Receipt]:
        """See :meth:`Guard.receipts`."""
        return await self._run(self._receipts(thread))

    areceipts = receipts
    """As ``aauthorize``."""

    async def in_doubt_usd(self) -> Decimal:
        """See :meth:`Guard.in_doubt_usd`."""
        return await self._run(self._in_doubt_usd())

    async def credit_usd(self) -> Decimal:
        """See :meth:`Guard.credit_usd`."""
        return await self._run(self._credit_usd())

    async def guarantees(self) -> Guarantees:
        """See :meth:`Guard.guarantees`."""
        return await self._run(self._payments.ready())

    async def resolve(self, key: str, outcome: Outcome, *, charged_usd: Amount | None = None) -> Receipt:
        """See :meth:`Guard.resolve`."""
        return await self._run(self._resolve(key, outcome, charged_usd))

    async def recover(self, *, older_than: float = 0.0) -> list[Receipt]:
        """See :meth:`Guard.recover`."""
        return await self._run(self._recover(older_than))

    async def aclose(self) -> None:
        """See :meth:`Guard.close`."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, flow: GuardFlow[T]) -> T:
        return await driving.arun(self._client, flow, JOURNALS.hand)


def _proves_no_charge(error: BaseException, not_charged: Evidence | None) -> bool:
    if isinstance(error, NotCharged):
        return True
    if not_charged is None:
        return False
    with suppress(Exception):  # a classifier that fails proves nothing
        return not_charged(error) is True
    return False


def _said(error: BaseException) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {error}"[:500]
