"""The guard. Order: journal, hold, journal, tool, journal, capture or void, journal.

A hold is given back only on positive evidence that nothing was charged. Anything else is in doubt and keeps it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from trove_agents.client.clients import WalletClient
from trove_agents.client.money import Amount, usd
from trove_agents.errors import (
    BudgetExceededError,
    NotSupported,
    TroveError,
)
from trove_agents.guard.failures import AlreadyPaid, NotCharged, PaymentConflict, PaymentInDoubt
from trove_agents.guard.journal import Journal
from trove_agents.guard.states import Entry
from trove_agents.wire.money import from_micros, to_micros

T = TypeVar("T")

RESULT_BYTES: Final = 1_000_000
"""The largest result that is kept, as JSON. Of a larger one only the receipt is."""
KEY_CHARACTERS: Final = 255
_UNDER_WAY: Final = "it is under way elsewhere, or was interrupted; after a crash `recover()` sorts it out"
_MOVED: Final = "it was settled elsewhere meanwhile"


@dataclass(frozen=True, slots=True)
class Paid(Generic[T]):
    """A tool's result, and what it cost."""

    result: T | None
    """None too where it was paid before and the result was not kept."""
    entry: Entry
    repeated: bool
    """It was paid before, and the tool not run now."""


class Payment:
    """A payment whose tool may run now."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._charged = entry.micros
        self._result: bytes | None = None

    def capture(self, actual: Amount) -> None:
        """Says what it did cost, for tools whose price is known afterwards; 0: nothing.

        Raises:
            TypeError: the amount is a float, or none.
            ValueError: it is no amount, or more than was authorized.
        """
        charged = _micros(actual)
        if charged > self.entry.micros:
            raise ValueError(f"{actual} is more than was authorized")
        self._charged = charged

    def keep(self, result: object) -> None:
        """Keeps the tool's result for a repetition, if it is JSON of at most ``RESULT_BYTES``."""
        self._result = None
        # The tool has run: what its result looks like must not put the payment in doubt
        with suppress(Exception):
            encoded = msgspec.json.encode(result)
            self._result = encoded if len(encoded) <= RESULT_BYTES else None


class Guard:
    """Makes the payments of one wallet.

    Args:
        wallets: A client of a server with holds and idempotency keys; others raise ``NotSupported``.
        wallet_id: The wallet.
        journal: Where payments are written down.
    """

    def __init__(self, wallets: WalletClient, wallet_id: int, *, journal: Journal) -> None:
        self._wallets = wallets
        self._wallet_id = wallet_id
        self._journal = journal

    @contextmanager
    def authorize(
        self,
        price: Amount,
        *,
        key: str,
        tool: str | None = None,
        vendor: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        not_charged: Callable[[BaseException], bool] | None = None,
    ) -> Iterator[Payment]:
        """Holds the price while the tool runs in the block, and captures it at its end.

        Args:
            price: USD, more than 0: the most that it can cost.
            key: What is stable over retries and restarts, and another for each payment.
            tool: What is paid for.
            vendor: Who is paid.
            arguments: Of the tool, as JSON: a repetition must have the same.
            not_charged: Whether an exception proves that nothing was charged, as ``NotCharged`` does. All others
                leave the payment in doubt.

        Raises:
            AlreadyPaid: it was paid before; the block is not run.
            PaymentInDoubt: it is under way, or nobody knows how it ended; the block is not run.
            PaymentConflict: the key belongs to another payment; the block is not run.
            BudgetExceededError: it is more than what remains; nothing is held, the block is not run.
            TypeError: the price is a float, or none; nothing is held.
            ValueError: the price is 0 or no amount, or the key is empty or too long; nothing is held.
        """
        if not 1 <= len(key) <= KEY_CHARACTERS:
            raise ValueError(f"a key has 1 to {KEY_CHARACTERS} characters")
        if (micros := _micros(price)) == 0:
            raise ValueError("a price is more than 0")
        wanted = Entry(
            wallet_id=self._wallet_id,
            key=key,
            fingerprint=_digest(micros, tool, vendor, arguments),
            micros=micros,
            tool=tool,
            vendor=vendor,
        )
        payment = Payment(self._start(self._intend(wanted)))
        try:
            yield payment
        except BaseException as error:
            if _proves_no_charge(error, not_charged):
                self._settle(payment.entry, 0, None)
            else:
                self._doubt(payment.entry)
            raise
        self._settle(payment.entry, payment._charged, payment._result)  # noqa: SLF001 - of this module

    def pay(self, tool_call: Callable[[], T], price: Amount, *, key: str, **named: Any) -> Paid[T]:
        """Runs a tool under :meth:`authorize`; what was paid before is answered from the journal.

        Raises:
            BaseException: what the tool raises, and what ``authorize`` raises but ``AlreadyPaid``.
        """
        try:
            with self.authorize(price, key=key, **named) as payment:
                result = tool_call()
                payment.keep(result)
        except AlreadyPaid as paid:
            if paid.entry.wallet_id != self._wallet_id or paid.entry.key != key:
                raise  # of a payment within the tool
            kept = None if paid.entry.result is None else msgspec.json.decode(paid.entry.result)
            return Paid(kept, paid.entry, repeated=True)
        return Paid(result, self._now(payment.entry), repeated=False)

    def doubts(self) -> list[Entry]:
        """Payments of which nobody knows how they ended: each waits for :meth:`resolve`."""
        return self._journal.those(self._wallet_id, ("in_doubt",))

    def in_doubt_usd(self) -> Decimal:
        """What they are about, together."""
        return Decimal(_amount(sum(entry.micros for entry in self.doubts())))

    def resolve(self, key: str, outcome: Literal["charged", "not-charged"]) -> Entry:
        """Says how a payment in doubt ended: its hold is captured, or given back.

        Raises:
            ValueError: no payment of this key is in doubt, or the outcome is neither.
        """
        entry = self._journal.find(self._wallet_id, key)
        if entry is None or entry.state != "in_doubt":
            raise ValueError(f"no payment {key!r} is in doubt")
        if outcome not in ("charged", "not-charged"):
            raise ValueError("a payment was 'charged' or 'not-charged'")
        return self._settle(entry, entry.micros if outcome == "charged" else 0, entry.result)

    def recover(self) -> list[Entry]:
        """Sorts out what a crash left, and returns what it changed. Call it when a program starts.

        What never ran is given back, what ran is in doubt, what was being settled is settled. A payment that another
        process is still making loses nothing: one that has not run yet is refused there, one that runs is in doubt until
        it ends there.

        Raises:
            TroveError: the wallet cannot be reached. What was not sorted out stays for the next time.
        """
        for entry in self.doubts():
            self._tell_of_doubt(entry)  # it may not have heard of it
        done = []
        for entry in self._journal.those(self._wallet_id, ("intended", "authorized", "running", "settling")):
            if entry.state == "running":
                if (doubted := self._doubt(entry)) is not None:
                    done.append(doubted)
                continue
            ending = entry if entry.state == "settling" else entry.to("settling", settle_micros=0)
            if ending is entry or self._journal.replace(entry, ending):
                done.append(self._finish(ending))
        return done

    def _intend(self, wanted: Entry) -> Entry:
        """Writes the intent down, or says why the payment is not made."""
        if self._journal.add(wanted):
            return wanted
        there = self._now(wanted)
        if there.fingerprint != wanted.fingerprint:
            raise PaymentConflict(
                f"the key {wanted.key!r} belongs to a payment of another price, tool, vendor or other arguments"
            )
        if there.state == "settling":
            if there.settle_micros:
                raise AlreadyPaid(self._finish_if_reached(there))
            there = self._finish(there)
        if there.state == "captured":
            raise AlreadyPaid(there)
        if there.state in ("voided", "denied"):
            anew = replace(wanted, attempt=there.attempt + 1, created_at=there.created_at)
            there.to("intended")
            if self._journal.replace(there, anew):
                return anew
        why = "nobody knows whether it was made; `resolve()` it" if there.state == "in_doubt" else _UNDER_WAY
        raise PaymentInDoubt(wanted.key, why)

    def _start(self, entry: Entry) -> Entry:
        """Holds the money, and writes down that the tool runs now."""
        try:
            hold_id = self._hold(entry)
        except BaseException as error:
            after = entry.to("denied") if _refuses(error) else entry.to("settling", settle_micros=0)
            self._journal.replace(entry, after)
            raise
        authorized = entry.to("authorized", hold_id=hold_id)
        running = authorized.to("running")
        if self._journal.replace(entry, authorized) and self._journal.replace(authorized, running):
            return running
        self._wallets.void(hold_id)  # the tool has not run
        raise PaymentInDoubt(entry.key, _MOVED)

    def _settle(self, entry: Entry, micros: int, result: bytes | None) -> Entry:
        """Writes down how it ended, and tells the wallet; where that cannot be reached, ``recover`` does later."""
        settling = replace(entry, settle_micros=micros, result=result).to("settling")
        if not self._journal.replace(entry, settling):
            # `recover` of another process took this one for left behind
            doubted = replace(entry, state="in_doubt")
            if not self._journal.replace(doubted, settling):
                raise PaymentInDoubt(entry.key, _MOVED)
        return self._finish_if_reached(settling)

    def _finish_if_reached(self, entry: Entry) -> Entry:
        try:
            return self._finish(entry)
        except TroveError as error:
            if _refuses(error):
                raise
            return entry

    def _finish(self, entry: Entry) -> Entry:
        """Captures or gives back the hold, as often as needed: the wallet does it once."""
        assert entry.settle_micros is not None, "written with the state"
        try:
            if entry.settle_micros:
                assert entry.hold_id is not None, "nothing runs without"
                capturing = self._wallets.with_idempotency_key(_operation(entry, "capture"))
                capturing.capture(entry.hold_id, _amount(entry.settle_micros))
                ended = entry.to("captured")
            else:
                ended = self._give_back(entry)
        except TroveError as error:
            if _refuses(error) and entry.hold_id is not None:
                # The hold has ended otherwise, or may not be touched: a person has to look
                self._journal.replace(entry, entry.to("in_doubt"))
            raise
        if not self._journal.replace(entry, ended):
            return self._now(entry)
        return ended

    def _give_back(self, entry: Entry) -> Entry:
        hold_id = entry.hold_id
        if hold_id is None:
            # Whether a hold was made is not known: asked for again by its key it is the same one, or is made now,
            # and a request that is still on its way finds it voided
            try:
                hold_id = self._hold(entry)
            except BudgetExceededError:
                return entry.to("voided")
        self._wallets.void(hold_id)
        return entry.to("voided", hold_id=hold_id)

    def _hold(self, entry: Entry) -> int:
        holding = self._wallets.with_idempotency_key(_operation(entry, "hold"))
        held = holding.hold(
            self._wallet_id,
            _amount(entry.micros),
            on_expiry="doubt",
            vendor=entry.vendor,
            tool=entry.tool,
            metadata={"payment": entry.key},
        )
        return held.id

    def _doubt(self, entry: Entry) -> Entry | None:
        """Nobody knows: the journal says so, and the wallet if it can be told; the hold stays in any case."""
        doubted = entry.to("in_doubt")
        if not self._journal.replace(entry, doubted):
            return None
        self._tell_of_doubt(doubted)
        return doubted

    def _tell_of_doubt(self, entry: Entry) -> None:
        assert entry.hold_id is not None, "nothing runs without"
        # Not reached, it is told by `recover`, or counts it so itself when the hold runs out. Told again, it refuses
        with suppress(TroveError):
            self._wallets.with_idempotency_key(_operation(entry, "doubt")).doubt(entry.hold_id)

    def _now(self, entry: Entry) -> Entry:
        found = self._journal.find(entry.wallet_id, entry.key)
        assert found is not None, "nothing is ever deleted"
        return found


def _refuses(error: BaseException) -> bool:
    """Whether the wallet did not do what it was asked, for certain: else it may have, or may do it later."""
    if isinstance(error, NotSupported):
        return True
    if not isinstance(error, TroveError) or error.code == "idempotency-in-flight":
        return False
    status = error.status_code or 0
    return 400 <= status < 500 and status not in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def _micros(price: Amount) -> int:
    return to_micros(usd(price))


def _amount(micros: int) -> str:
    return bytes(from_micros(micros)).decode()


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _operation(entry: Entry, what: str) -> str:
    """The idempotency key of one operation of a payment."""
    return f"guard-{what}-{_digest('v1', entry.wallet_id, entry.key, entry.attempt)}"


def _proves_no_charge(error: BaseException, not_charged: Callable[[BaseException], bool] | None) -> bool:
    if isinstance(error, NotCharged):
        return True
    if not_charged is None:
        return False
    with suppress(Exception):  # a classifier that fails proves nothing
        return not_charged(error) is True
    return False
