"""How the guard moves money: the seam, and the wallet with holds: kept before a tool runs, captured or given back after it."""

import hashlib
import json
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from trove_agents.client import approvals, holds, wallets
from trove_agents.client.approvals import WalletApproval
from trove_agents.errors import NotSupported, TroveAuthError, TroveError
from trove_agents.guard.driving import GuardFlow, ask
from trove_agents.guard.errors import ApprovalNeeded, PaymentConflict, PaymentDenied
from trove_agents.guard.prices import micros
from trove_agents.guard.states import Entry, as_usd
from trove_agents.wire.wallets import HoldState

_APPROVAL: Final = msgspec.json.Decoder(WalletApproval)
_CANONICAL: Final = json.JSONEncoder(sort_keys=True)
_ANOTHERS: Final = "idempotency-mismatch"
"""The code where the hold of a key was asked for otherwise: by another journal, or by ours with other ``seconds``."""
_ENDED: Final = frozenset({"captured", "written_off", "voided", "expired"})


class Money(Protocol):
    """The wallet's half of a payment. What a flow could not find out, or the wallet refuses, it raises as ``TroveError``."""

    def learn(self, has: frozenset[str]) -> None:
        """Hears which capabilities the server has."""
        ...

    def take(self, entry: Entry) -> GuardFlow[Entry]:
        """Takes what a payment that is intended can cost, so that it is running next."""
        ...

    def untaken(self, entry: Entry, error: BaseException) -> Entry:
        """Where a payment goes on from whose tool is not run, since ``take`` failed or what came after it."""
        ...

    def settle(self, entry: Entry) -> GuardFlow[Entry]:
        """Books what was charged, and gives the rest back; done again it changes nothing more.

        Raises:
            PaymentInDoubt: it is not known yet whether anything was taken.
        """
        ...

    def doubt(self, entry: Entry) -> GuardFlow[None]:
        """Tells the wallet that nobody knows what was charged."""
        ...

    def write_off(self, entry: Entry) -> GuardFlow[Entry]:
        """Takes it for spent."""
        ...

    def look(self, entry: Entry) -> GuardFlow[Entry | None]:
        """A payment in doubt as somebody else ended it in the wallet; None: nobody did."""
        ...

    def approved(self, entry: Entry, why: str) -> GuardFlow[Entry]:
        """The payment with a person's yes.

        Raises:
            PaymentDenied: the answer was no.
            ApprovalNeeded: nobody has answered yet, or the wallet has no approvals.
        """
        ...

    def reconcile(self) -> GuardFlow[None]:
        """Compares the journal with what the wallet has, beyond single payments."""
        ...


class Holds:
    """A wallet with holds. Every call is under an idempotency key of the payment's, so that each is done once.

    Args:
        seconds: How long a hold lasts. Then the wallet itself counts it as in doubt, and it can still be settled, so a
            tool may run longer.
        journal: Whose payments these are. Each hold says so: a journal that does not know of a payment, since another one
            has it or it was lost, is not answered with the hold of that one.
    """

    def __init__(self, seconds: int, journal: str) -> None:
        self._seconds = seconds
        self._journal = journal
        self._has: frozenset[str] = frozenset()

    def learn(self, has: frozenset[str]) -> None:
        """See :meth:`Money.learn`."""
        self._has = has

    def take(self, entry: Entry) -> GuardFlow[Entry]:
        """Holds what the payment can cost; asked again, also after a crash, it is the same hold.

        Raises:
            PaymentConflict: the key is of a payment of another journal.
            TroveError: nothing is held if the wallet refuses (see :func:`refuses`), else it may be.
        """
        try:
            return entry.to("running", hold_id=(yield from self._hold(entry)))
        except TroveError as error:
            if error.code != _ANOTHERS:
                raise
            message = f"the key {entry.key!r} is of a payment that is in another journal, or was in one that is lost"
            raise PaymentConflict(message) from error

    def untaken(self, entry: Entry, error: BaseException) -> Entry:
        """See :meth:`Money.untaken`. Whether something is held is known only where the wallet refused."""
        return entry.to("denied") if refuses(error) else entry.to("settling", settle_micros=0)

    def settle(self, entry: Entry) -> GuardFlow[Entry]:
        """Captures what was charged, or gives the hold back; asked again it changes nothing more.

        Raises:
            TroveError: the wallet refuses, or it may not have heard of it.
        """
        if entry.settle_micros == 0:
            return (yield from self._give_back(entry))
        assert entry.settle_micros is not None, "written with the state"
        if entry.hold_id is None:
            return (yield from self._buy(entry))
        step = holds.capture(entry.hold_id, as_usd(entry.settle_micros))
        try:
            booked = yield from ask(step, key=operation(entry, "capture"), step=entry.step)
        except TroveError as error:
            if not refuses(error):
                raise
            found = yield from self.look(entry)
            if found is None:
                raise
            # Somebody gave it back although it was charged
            return found if found.state != "voided" else (yield from self._buy(entry))
        return entry.to("captured", transaction_id=booked.id)

    def doubt(self, entry: Entry) -> GuardFlow[None]:
        """Tells the wallet that nobody knows. It may not hear of it: then it counts so itself when the hold runs out."""
        assert entry.hold_id is not None, "nothing runs without"
        with suppress(TroveError):
            yield from ask(holds.doubt(entry.hold_id), key=operation(entry, "doubt"), step=entry.step)

    def write_off(self, entry: Entry) -> GuardFlow[Entry]:
        """Takes it for spent. For the wallet's owner."""
        assert entry.hold_id is not None, "nothing is in doubt without"
        booked = yield from ask(
            holds.write_off(entry.hold_id), key=operation(entry, "write-off"), step=entry.step
        )
        return entry.to("written_off", settle_micros=entry.micros, transaction_id=booked.id)

    def look(self, entry: Entry) -> GuardFlow[Entry | None]:
        """The payment as somebody else ended it in the wallet; None: nobody did."""
        assert entry.hold_id is not None, "nothing is in doubt without"
        hold = yield from ask(holds.get_hold(entry.hold_id))
        if hold.state not in _ENDED:
            return None
        if hold.state in ("captured", "written_off"):
            spent = micros(hold.captured_usd) if hold.state == "captured" else entry.micros
            return entry.to(
                "captured" if hold.state == "captured" else "written_off", settle_micros=spent, note=None
            )
        return entry.to("voided", settle_micros=0, note=None)

    def approved(self, entry: Entry, why: str) -> GuardFlow[Entry]:
        """See :meth:`Money.approved`."""
        if "approvals" not in self._has:
            raise ApprovalNeeded(why, None)
        given = yield from self._answer(entry, operation(entry, "approval", attempt=1), why)
        if given.state == "used" and entry.attempt > 1:
            # By an attempt whose hold was given back
            given = yield from self._answer(entry, operation(entry, "approval"), why)
        if given.state == "denied":
            raise PaymentDenied(f"a person said no to it: {why}", "person")
        if given.state != "approved":
            raise ApprovalNeeded(why, given)
        return replace(entry, approval=msgspec.json.encode(given).decode())

    def reconcile(self) -> GuardFlow[None]:
        """Nothing: each hold is asked for by its payment."""
        yield from ()

    def _answer(self, entry: Entry, operation_key: str, why: str) -> GuardFlow[WalletApproval]:
        step = approvals.request_approval(
            entry.wallet_id,
            operation_key=operation_key,
            arguments_digest=entry.fingerprint,
            max_amount_usd=as_usd(entry.micros),
            description=why,
            vendor=entry.vendor,
            tool=entry.tool,
        )
        return (yield from ask(step))

    def _give_back(self, entry: Entry) -> GuardFlow[Entry]:
        if entry.hold_id is None:
            # Whether a hold was made is not known: asked for again by its key it is the same one, or is made now,
            # and a request that is still on its way finds it voided
            try:
                entry = replace(entry, hold_id=(yield from self._hold(entry)))
            except TroveError as error:
                if isinstance(error, TroveAuthError) or not refuses(error):
                    raise
                if error.code == _ANOTHERS:
                    entry = replace(entry, hold_id=(yield from self._open_hold(entry)))
        if entry.hold_id is None:
            # Not voided: the next try is the same one, which finds a request that was late, or another journal's
            return entry.to("denied")
        try:
            yield from ask(holds.void(entry.hold_id), step=entry.step)
        except TroveError as error:
            if not refuses(error):
                raise
            if (found := (yield from self.look(entry))) is None:
                raise
            return found
        return entry.to("voided")

    def _open_hold(self, entry: Entry) -> GuardFlow[int | None]:
        """The hold of a payment that was asked for with other ``seconds``, before the program was changed."""
        states: tuple[HoldState, ...] = ("held", "in_doubt")
        for state in states:
            cursor = None
            while True:
                page = yield from ask(holds.holds_page(entry.wallet_id, state, cursor))
                for each in page.holds:
                    if each.metadata == self._whose(entry):
                        return each.id
                if (cursor := page.next_cursor) is None:
                    break
        return None

    def _whose(self, entry: Entry) -> dict[str, str]:
        return {"payment": entry.key, "journal": self._journal}

    def _hold(self, entry: Entry) -> GuardFlow[int]:
        step = holds.hold(
            entry.wallet_id,
            as_usd(entry.micros),
            expires_in=self._seconds,
            on_expiry="doubt",
            vendor=entry.vendor,
            tool=entry.tool,
            metadata=self._whose(entry),
            approval=None if entry.approval is None else _APPROVAL.decode(entry.approval),
        )
        return (yield from ask(step, key=operation(entry, "hold"), step=entry.step)).id

    def _buy(self, entry: Entry) -> GuardFlow[Entry]:
        """Books what was charged without a hold."""
        assert entry.settle_micros, "something was charged"
        step = wallets.purchase(
            entry.wallet_id,
            as_usd(entry.settle_micros),
            description=f"payment {entry.key}",
            vendor=entry.vendor,
        )
        booked = yield from ask(step, key=operation(entry, "purchase"), step=entry.step)
        return entry.to("captured", transaction_id=booked.id)


def refuses(error: BaseException) -> bool:
    """Whether the wallet did not do what it was asked, for certain: else it may have, or may do it later."""
    if isinstance(error, NotSupported | PaymentConflict | PaymentDenied | ApprovalNeeded):
        return True
    if not isinstance(error, TroveError) or error.code == "idempotency-in-flight":
        return False
    status = error.status_code or 0
    return 400 <= status < 500 and status not in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def digest(*parts: object) -> str:
    """Of values of JSON, as hexadecimal digits.

    Raises:
        TypeError: one is no JSON.
    """
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()


def operation(entry: Entry, what: str, *, attempt: int | None = None) -> str:
    """The idempotency key of one operation of a payment."""
    said = f"{entry.wallet_id}/{attempt or entry.attempt}/{entry.key}"
    return f"guard-{what}-{hashlib.sha256(said.encode()).hexdigest()}"
