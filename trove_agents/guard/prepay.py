"""How the guard moves money in a wallet that can only be bought from: before a tool runs, and never back.

What a tool can cost is bought under a description with a tag of the payment's own, by which a purchase whose answer was
lost is found again. What was bought and is not used is credit in the journal; the next payment that it covers uses it.
"""

import logging
import re
import time
import warnings
from collections.abc import Iterable
from dataclasses import replace as with_changes
from typing import Final

from msgspec.structs import replace

from trove_agents.client import wallets
from trove_agents.client.money import dollars, total
from trove_agents.client.wallets import WalletTransaction
from trove_agents.errors import TroveConnectionError, TroveError
from trove_agents.guard.driving import GuardFlow, ask, do
from trove_agents.guard.errors import (
    ApprovalNeeded,
    DoubleChargeWarning,
    EchoWarning,
    PaymentDenied,
    PaymentInDoubt,
    UnsettledWarning,
)
from trove_agents.guard.journal import Journal
from trove_agents.guard.money import digest, operation, refuses
from trove_agents.guard.prices import micros
from trove_agents.guard.states import Entry, Purchase, as_usd

_LOG: Final = logging.getLogger("trove_agents.guard")
_TAG: Final = re.compile(r"\[trove ([0-9a-f]{16})-[0-9a-f]{16}\]")
_NAME: Final = 60
"""Characters of a tool's name in a description: a server may cut off what is long, and the tag is at the end."""


class Prepay:
    """A wallet of a server that has the public wallet service's calls alone.

    Args:
        wallet_id: The wallet.
        journal: Keeps what was bought, and is the only one that knows of the credit.
        quiet_seconds: How long a purchase that nobody has seen may still be under way.
    """

    def __init__(self, wallet_id: int, journal: Journal, quiet_seconds: float) -> None:
        self._wallet_id = wallet_id
        self._journal = journal
        self._quiet = quiet_seconds
        self._sends_once = True
        self._others = 0
        """Transactions that are not of this journal, when all were read last."""

    def learn(self, has: frozenset[str]) -> None:
        """See :meth:`Money.learn`. The client repeats a purchase by itself where the server recognises it."""
        self._sends_once = "idempotency" not in has

    def take(self, entry: Entry) -> GuardFlow[Entry]:
        """Uses credit, or buys what the payment can cost.

        Raises:
            TroveError: nothing was bought if the wallet refuses, else it may have been.
            PaymentDenied: the wallet booked less than it was asked for.
        """
        running = entry.to("running", drawn=entry.micros)
        pool = yield from do(lambda: self._journal.pool(self._wallet_id))
        if pool.credit >= entry.micros and (yield from do(lambda: self._journal.draw(entry))):
            return running
        wanted = entry.micros - min(0, pool.credit)  # with what tools have charged beyond what was bought
        bought = yield from self._buy(entry, wanted)
        if not (yield from self._book(bought, entry)):
            if (booked := sum(each.micros for each in bought)) < wanted:
                raise PaymentDenied(
                    f"the wallet booked {dollars(as_usd(booked))} and not the {dollars(as_usd(wanted))} asked for"
                )
            raise PaymentInDoubt(entry.key, "somebody else settled it, or used up what was bought for it")
        return replace(running, transaction_id=bought[0].transaction_id)

    def untaken(self, entry: Entry, error: BaseException) -> Entry:
        """See :meth:`Money.untaken`. A purchase that was sent and not refused may have been made, or may be later."""
        if refuses(error) or self._unsent(error):
            return entry.to("denied")
        return entry.to("settling", settle_micros=0)

    def settle(self, entry: Entry) -> GuardFlow[Entry]:
        """See :meth:`Money.settle`. What was not charged is credit from then on."""
        if entry.settle_micros:
            pool = yield from do(lambda: self._journal.pool(self._wallet_id))
            if (credit := pool.credit + entry.drawn - entry.settle_micros) < 0:
                warnings.warn(
                    f"tools have charged {dollars(as_usd(-credit))} more than was bought; the next payment buys it too",
                    UnsettledWarning,
                    stacklevel=2,
                )
            return entry.to("captured", drawn=entry.settle_micros)
        if entry.drawn:
            return entry.to("voided", drawn=0)
        return (yield from self._search(entry))

    def doubt(self, entry: Entry) -> GuardFlow[None]:  # noqa: ARG002 (of the seam)
        """Nothing: what may have been charged was bought."""
        yield from ()

    def write_off(self, entry: Entry) -> GuardFlow[Entry]:
        """See :meth:`Money.write_off`. It was bought."""
        yield from ()
        return entry.to("written_off", settle_micros=entry.micros)

    def look(self, entry: Entry) -> GuardFlow[Entry | None]:  # noqa: ARG002 (of the seam)
        """Nobody: the wallet knows of no doubts."""
        yield from ()
        return None

    def approved(self, entry: Entry, why: str) -> GuardFlow[Entry]:  # noqa: ARG002 (of the seam)
        """See :meth:`Money.approved`. The wallet has no approvals."""
        yield from ()
        raise ApprovalNeeded(why, None)

    def reconcile(self) -> GuardFlow[None]:
        """Books what was bought for payments that are over: it came late, or twice.

        What bears this journal's tag and is of no payment of it was bought by a copy of the file, which used it.
        """
        if (yield from self._nothing_new()):
            return
        found = yield from self._read()

        # Looked at after the transactions were read: what was bought before is booked by now, or under way
        def over() -> list[Purchase]:
            new = {tag for tag, bought in found.items() if not set(bought) <= set(self._known(tag))}
            if not new:
                return []
            unsettled = self._journal.those(self._wallet_id, ("intended", "settling"))
            open_ = {self._tag(entry.key, entry.attempt) for entry in unsettled if not entry.drawn}
            ours = {
                self._tag(key, attempt + 1)
                for key, attempts in self._journal.attempts(self._wallet_id)
                for attempt in range(attempts)
            }
            self._others += sum(len(found[tag]) for tag in new - ours)
            return [each for tag in new & ours - open_ for each in found[tag]]

        yield from self._book((yield from do(over)))

    def _buy(self, entry: Entry, wanted: int) -> GuardFlow[list[Purchase]]:
        """What was bought for a payment, also where the answer was lost. Not empty."""
        tag = self._tag(entry.key, entry.attempt)
        call = wallets.purchase(
            self._wallet_id,
            as_usd(wanted),
            description=f"{(entry.tool or entry.vendor or 'payment')[:_NAME]} {tag}",
            vendor=entry.vendor,
        )
        # Under a key of its own: most servers ignore it, and one that has learnt it does it once
        keyed = with_changes(call, once=False, idempotency_key=f'"{operation(entry, "purchase")}"')
        try:
            made = yield from ask(keyed)
        except TroveError as error:
            if refuses(error) or self._unsent(error):
                raise
            try:
                found = (yield from self._read(until=tag)).get(tag)
            except TroveError:
                raise error from None
            if not found:
                raise
            return found
        bought = _as_purchase(made, tag)
        _compare(made, bought, wanted)
        return [bought]

    def _search(self, entry: Entry) -> GuardFlow[Entry]:
        """What became of a purchase whose end is not known. The tool has not run, so what was bought is credit.

        Raises:
            PaymentInDoubt: it was not found, and may still be under way.
        """
        there = yield from do(lambda: self._journal.find(entry.wallet_id, entry.key))
        if there is None or (there.state, there.attempt) != ("settling", entry.attempt):
            raise PaymentInDoubt(entry.key, "it was settled elsewhere meanwhile")
        tag = self._tag(entry.key, entry.attempt)
        left = (entry.updated_at or there.updated_at) + self._quiet - time.time()
        found: dict[str, list[Purchase]] = {}
        bought = yield from do(lambda: self._journal.purchases(self._wallet_id, tag))
        if not bought and (left <= 0 or not (yield from self._nothing_new())):
            found = yield from self._read(until=tag)
            bought = found.get(tag, [])
            yield from self._book(bought)
        if bought:
            return entry.to("voided", transaction_id=bought[0].transaction_id)
        if left > 0:
            why = f"whether it was bought is not known yet, and is looked for again after {left:.0f} seconds"
            raise PaymentInDoubt(entry.key, why)
        if not found and (yield from do(lambda: self._journal.pool(self._wallet_id))).purchases:
            raise PaymentInDoubt(entry.key, "the wallet does not keep descriptions, so nobody can tell")
        return entry.to("denied")

    def _nothing_new(self) -> GuardFlow[bool]:
        """Whether the wallet has no transaction that was not seen. One under way may still come."""
        # In this order: what is bought between the two makes the wallet's number the larger one
        pool = yield from do(lambda: self._journal.pool(self._wallet_id))
        balance = yield from ask(wallets.balance(self._wallet_id))
        return balance.transaction_count == pool.purchases + self._others

    def _read(self, until: str | None = None) -> GuardFlow[dict[str, list[Purchase]]]:
        """The wallet's transactions that bear this journal's tags, by tag: all, or up to the page with one of them."""
        found: dict[str, list[Purchase]] = {}
        others, unseen, cursor = 0, wallets.Unseen(), None
        while True:
            page = yield from ask(wallets.transactions_page(self._wallet_id, cursor))
            for each in unseen.of(page):
                tagged = _TAG.search(each.description or "")
                if tagged is None or tagged[1] != self._journal.id or each.type != "debit":
                    others += 1
                else:
                    found.setdefault(tagged[0], []).append(_as_purchase(each, tagged[0]))
            if until in found:
                return found
            if (cursor := page.next_cursor) is None:
                self._others = others
                return found

    def _book(self, bought: Iterable[Purchase], entry: Entry | None = None) -> GuardFlow[bool]:
        """Writes purchases down, and sets credit aside for a payment: whether there was enough."""
        bought = list(bought)

        def book() -> tuple[bool, list[Purchase]]:
            new = [each for each in bought if each not in self._known(each.tag)]
            enough = entry is not None and self._journal.draw(entry, bought)
            if entry is None:
                self._journal.book(self._wallet_id, bought)
            return enough, [each for each in new if len(self._known(each.tag)) > 1]

        enough, twice = yield from do(book)
        for tag in {each.tag for each in twice}:
            said = f"the wallet was charged more than once for the same payment, {tag}: what was too much is credit"
            _LOG.error(said)
            warnings.warn(said, DoubleChargeWarning, stacklevel=2)
        return enough

    def _known(self, tag: str) -> list[Purchase]:
        return self._journal.purchases(self._wallet_id, tag)

    def _unsent(self, error: BaseException) -> bool:
        """Whether a purchase never left this machine."""
        return self._sends_once and isinstance(error, TroveConnectionError) and not error.may_have_committed

    def _tag(self, key: str, attempt: int) -> str:
        """What marks the purchase of one attempt at a payment. Also of a repetition: then a late one shows as a second."""
        return f"[trove {self._journal.id}-{digest('v1', self._wallet_id, key, attempt)[:16]}]"


def _as_purchase(made: WalletTransaction, tag: str) -> Purchase:
    return Purchase(transaction_id=made.id, tag=tag, micros=micros(total(made.amount_usd)))


def _compare(made: WalletTransaction, bought: Purchase, wanted: int) -> None:
    """Looks whether a purchase was booked as it was asked for."""
    if bought.micros != wanted:
        said = f"the wallet booked {dollars(made.amount_usd)} for a purchase of {dollars(as_usd(wanted))}: it counts what it booked"
        warnings.warn(said, EchoWarning, stacklevel=2)
    if bought.tag not in (made.description or ""):
        said = "the wallet does not keep descriptions whole: a purchase whose answer is lost cannot be found again"
        warnings.warn(said, EchoWarning, stacklevel=2)
