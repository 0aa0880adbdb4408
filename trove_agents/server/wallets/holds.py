"""The rules of holds: money is kept for a payment first, and taken or given back when its outcome is known.

``held`` becomes ``captured``, ``voided``, ``expired`` or ``in_doubt``; ``in_doubt`` becomes ``captured``, ``voided`` or
``written_off``. Each of these happens at most once, in one transaction with the ledger's rows.
"""

from typing import Final

import msgspec
from msgspec import UNSET

from trove_agents.server import texts
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import NotFound
from trove_agents.server.jobs import Turn
from trove_agents.server.wallets import announcements, holding, shapes, store
from trove_agents.server.wallets.answers import once
from trove_agents.server.wallets.approvals import use
from trove_agents.server.wallets.holding import HoldRow
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.ledger import Counters, Movement, note
from trove_agents.server.wallets.refusals import HoldClosed, HoldExpired, OverCapture, positive
from trove_agents.server.wallets.settling import settle, shift, to_doubt
from trove_agents.server.wallets.spending import counters_now, find, spend, take
from trove_agents.server.wallets.store import WalletRow
from trove_agents.server.wallets.tallies import About
from trove_agents.wire.steps import Step
from trove_agents.wire.wallets import (
    LARGEST_ID,
    ExtendRequest,
    HoldAnswer,
    HoldRequest,
    HoldsAnswer,
    HoldsQuery,
    HoldState,
    PartRequest,
    TransactionAnswer,
    TransactionKind,
)

_CLOSED: Final = {
    "captured": "already-captured",
    "voided": "already-voided",
    "written_off": "already-written-off",
    "in_doubt": "hold-in-doubt",
    "held": "hold-not-in-doubt",
}
_MICROS: Final = 1_000_000


class Holds:
    """Holds on all wallets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, principal: WalletPrincipal, wallet_id: int, request: HoldRequest) -> HoldAnswer:
        """Keeps money for a payment.

        Raises:
            InsufficientFunds: the wallet or an ancestor has not that much left; nothing was changed.
            ApprovalUnfit: the approval that it names is not for this payment, or not given.
            NotFound: no such wallet of this key.
            Unprocessable: the amount is none, or a text cannot be stored.
        """
        for field in ("description", "vendor", "tool"):
            texts.check(field, getattr(request, field))
        asked = positive("amount_usd", request.amount_usd)
        metadata = None if request.metadata is None else msgspec.json.encode(request.metadata).decode()
        texts.check("metadata", metadata)

        def commit(tx: Connection) -> HoldAnswer:
            now_ns = self._database.now_ns()
            now_us = now_ns // 1000
            wallet = find(tx, principal, wallet_id)
            step = principal.step or Step()
            approved = use(tx, principal, wallet.id, request.approval, asked=asked, now_us=now_us)
            about = About(request.vendor, request.tool, step.run, step.thread, now_us, approved)
            # Before the wallet is changed: from then on others wait for this transaction
            row = holding.add(
                tx,
                root=wallet.root,
                wallet=wallet.id,
                amount=asked,
                on_expiry=request.on_expiry,
                expires_us=now_us + request.expires_in * _MICROS,
                description=request.description,
                vendor=request.vendor,
                tool=request.tool,
                metadata=metadata,
                run=step.run,
                thread=step.thread,
                created_us=now_us,
            )
            movement = Movement("hold", held=asked, hold=row.id, about=about)
            moved = take(tx, wallet, movement)
            note(tx, moved, movement, principal=principal, now_us=now_us)
            after = moved[wallet.id].after
            answer = self._answer(tx, wallet, row, after, now_us)
            # Last: from then on the payments of the whole workspace wait for this transaction
            announcements.held(tx, principal, wallet, row, after, now_ns=now_ns)
            return answer

        return spend(self._database, principal, wallet_id, once(principal, commit))

    def one(self, principal: WalletPrincipal, hold_id: int) -> HoldAnswer:
        """A hold.

        Raises:
            NotFound: no such hold of this key's.
        """
        now_us = self._database.now_ns() // 1000
        with self._database.read() as db:
            row, wallet = _find(db, principal, hold_id)
            return self._answer(db, wallet, row, wallet.counters, now_us)

    def listing(self, principal: WalletPrincipal, wallet_id: int, query: HoldsQuery) -> HoldsAnswer:
        """A page of a wallet's holds, newest first.

        Raises:
            NotFound: no such wallet of this key.
        """
        now_us = self._database.now_ns() // 1000
        with self._database.read() as db:
            wallet = find(db, principal, wallet_id)
            rows, place = holding.of(db, wallet.id, query, now_us=now_us)
        return HoldsAnswer(holds=[shapes.hold(row, now_us) for row in rows], pagination=place)

    def capture(self, principal: WalletPrincipal, hold_id: int, request: PartRequest) -> TransactionAnswer:
        """Spends what is held, or a part of it and gives back the rest.

        Raises:
            OverCapture: more than is held.
            HoldExpired: it ran out, and what it held was given back.
            HoldClosed: it has ended otherwise.
            NotFound: no such hold of this key's.
            Unprocessable: the amount is none.
        """
        asked = None if request.amount_usd is UNSET else positive("amount_usd", request.amount_usd)

        def commit(tx: Connection) -> TransactionAnswer:
            row, wallet = _find(tx, principal, hold_id)
            self._open(row, "held", "in_doubt")
            amount = row.amount if asked is None else asked
            if amount > row.amount:
                raise OverCapture(amount, row.amount)
            return self._spend(tx, principal, wallet, row, amount, state="captured", kind="debit")

        return self._database.write(once(principal, commit))

    def void(self, principal: WalletPrincipal, hold_id: int) -> HoldAnswer:
        """Gives back what is held. Once more is the same answer, also after the hold ran out.

        Raises:
            HoldClosed: it was captured or written off.
            NotFound: no such hold of this key's.
        """

        def commit(tx: Connection) -> HoldAnswer:
            now_ns = self._database.now_ns()
            row, wallet = _find(tx, principal, hold_id)
            if row.state_at(now_ns // 1000) in {"voided", "expired"}:
                return self._answer(tx, wallet, row, wallet.counters, now_ns // 1000)
            self._open(row, "held", "in_doubt")
            after = self._release(tx, principal, wallet, row, "voided", now_us=now_ns // 1000)
            answer = self._answer(tx, wallet, _reread(tx, row), after, now_ns // 1000)
            announcements.voided(tx, principal, wallet, row, after, now_ns=now_ns)
            return answer

        return self._database.write(once(principal, commit))

    def extend(self, principal: WalletPrincipal, hold_id: int, request: ExtendRequest) -> HoldAnswer:
        """Lets a hold last for some time from now.

        Raises:
            HoldExpired: it ran out, and what it held was given back.
            HoldClosed: it is not held any more.
            NotFound: no such hold of this key's.
        """

        def commit(tx: Connection) -> HoldAnswer:
            now_us = self._database.now_ns() // 1000
            row, wallet = _find(tx, principal, hold_id)
            self._open(row, "held")
            holding.extend(tx, row, now_us + request.expires_in * _MICROS)
            return self._answer(tx, wallet, _reread(tx, row), wallet.counters, now_us)

        return self._database.write(once(principal, commit))

    def doubt(self, principal: WalletPrincipal, hold_id: int) -> HoldAnswer:
        """Nobody knows whether it was paid: it counts against the budget until somebody does. Twice is the same answer.

        Raises:
            HoldExpired: it ran out, and what it held was given back.
            HoldClosed: it has ended.
            NotFound: no such hold of this key's.
        """

        def commit(tx: Connection) -> HoldAnswer:
            now_us = self._database.now_ns() // 1000
            row, wallet = _find(tx, principal, hold_id)
            self._open(row, "held", "in_doubt")
            after = wallet.counters
            if row.state == "held":
                after = to_doubt(tx, principal, wallet, row, now_us=now_us)
            return self._answer(tx, wallet, _reread(tx, row), after, now_us)

        return self._database.write(once(principal, commit))

    def write_off(self, principal: WalletPrincipal, hold_id: int) -> TransactionAnswer:
        """Takes what is in doubt for spent.

        Raises:
            Forbidden: a key that only spends.
            HoldClosed: it is not in doubt.
            NotFound: no such hold of this key's.
        """
        principal.owns()

        def commit(tx: Connection) -> TransactionAnswer:
            row, wallet = _find(tx, principal, hold_id)
            self._open(row, "in_doubt")
            return self._spend(tx, principal, wallet, row, row.amount, state="written_off", kind="write_off")

        return self._database.write(once(principal, commit))

    def sweep(self, turn: Turn) -> str | None:
        """A job: gives back, or takes for doubtful, what holds kept that have run out."""
        while True:
            with self._database.read() as db:
                found = holding.over(db, now_us=turn.now_us)
            if not found:
                return None
            for hold_id in found:
                settle(self._database, hold_id)
            if turn.over:
                return "more"

    def _open(self, row: HoldRow, *states: HoldState) -> None:
        state = row.state_at(self._database.now_ns() // 1000)
        if state == "expired":
            raise HoldExpired("the hold ran out, and what it held was given back: ask for a new one")
        if state not in states:
            raise HoldClosed(f"the hold is {state.replace('_', ' ')}", _CLOSED[state])

    def _spend(
        self,
        tx: Connection,
        principal: WalletPrincipal,
        wallet: WalletRow,
        row: HoldRow,
        amount: int,
        *,
        state: HoldState,
        kind: TransactionKind,
    ) -> TransactionAnswer:
        now_ns = self._database.now_ns()
        now_us = now_ns // 1000
        holding.end(tx, row, state, captured=amount)
        spent = store.add_transaction(
            tx,
            wallet=wallet.id,
            kind=kind,
            amount=amount,
            description=row.description,
            vendor=row.vendor,
            created_us=now_us,
            hold=row.id,
        )
        name = "held" if row.state == "held" else "in_doubt"
        movement = Movement(
            state, spent=amount, transaction=spent.id, hold=row.id, about=row.about, **{name: -row.amount}
        )
        after = shift(tx, principal, wallet, movement, now_us=now_us)
        announcements.captured(tx, principal, wallet, spent, after, now_ns=now_ns)
        return TransactionAnswer(transaction=shapes.transaction(spent), wallet=shapes.spent(wallet.id, after))

    def _release(
        self,
        tx: Connection,
        principal: WalletPrincipal,
        wallet: WalletRow,
        row: HoldRow,
        state: HoldState,
        *,
        now_us: int,
    ) -> Counters:
        holding.end(tx, row, state)
        name = "held" if row.state == "held" else "in_doubt"
        return shift(
            tx,
            principal,
            wallet,
            Movement(state, hold=row.id, about=row.about, **{name: -row.amount}),
            now_us=now_us,
        )

    def _answer(
        self, db: Connection, wallet: WalletRow, row: HoldRow, counters: Counters, now_us: int
    ) -> HoldAnswer:
        now = counters_now(db, wallet, counters, now_us=now_us)
        return HoldAnswer(hold=shapes.hold(row, now_us), balance=shapes.balance(now, wallet.transactions))


def _find(db: Connection, principal: WalletPrincipal, hold_id: int) -> tuple[HoldRow, WalletRow]:
    row = holding.hold(db, hold_id) if hold_id <= LARGEST_ID else None
    try:
        if row is not None:
            return row, find(db, principal, row.wallet)
    except NotFound:
        pass
    raise NotFound("hold not found")


def _reread(tx: Connection, row: HoldRow) -> HoldRow:
    found = holding.hold(tx, row.id)
    assert found is not None, "holds are never deleted"
    return found
