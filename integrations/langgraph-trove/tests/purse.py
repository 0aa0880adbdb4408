"""The money of a case of the fuzz: a wallet and its guards, a vendor whose books no crash touches, and what must hold of both.

Each purchase has a price of its own, made from what it is for. So the vendor's books and the wallet's ledger can be
compared by their amounts alone, without asking the guard, which is what is tried.
"""

import hashlib
import json
from collections import Counter
from decimal import Decimal

from trove_agents.guard import AsyncGuard, Guard, SqliteJournal, ask_above
from trove_agents.guard.faults import Vendor

BUDGET = 1_000
ASKED = Decimal("0.8")
"""Purchases that cost more need a yes: one in five."""


class DyingJournal(SqliteJournal):
    """Misfortune also strikes before and after what is written down."""

    misfortune = None

    def add(self, entry):
        self.pass_point()
        done = super().add(entry)
        self.pass_point()
        return done

    def replace(self, before, after, *, durable=True):
        self.pass_point()
        done = super().replace(before, after, durable=durable)
        self.pass_point()
        return done

    def pass_point(self):
        if self.misfortune.deadly:
            self.misfortune.point()


class Purse:
    """
    Args:
        folder: Of the vendor's books and the journal.
        wallet: One of its own.
        async_wallet: The same, for asyncio.
    """

    def __init__(self, folder, wallet, async_wallet=None):
        self.wallet = wallet
        self.vendor = Vendor(folder / "vendor.txt")
        self.journal = DyingJournal(folder / "payments.db")
        self.guard = Guard(wallet, journal=self.journal, policy=ask_above(ASKED))
        self.async_guard = None
        if async_wallet is not None:
            self.async_guard = AsyncGuard(async_wallet, journal=self.journal, policy=ask_above(ASKED))

    def purchase(self, name, state):
        """What a node buys: another thing in each turn, and after another past."""
        return {"node": name, "turn": state.get("turn"), "log": sorted(state.get("log", []))}

    def price(self, arguments):
        digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
        return Decimal(1 + int(digest[:12], 16) % 999_999).scaleb(-6)

    def receipt(self, arguments):
        """What the vendor gives for a purchase."""
        return f"{arguments['node']}-{self.price(arguments)}"

    def charge(self, arguments, checkpoint=None):
        """The vendor takes the price, and gives the receipt. What is bought anew from each checkpoint has its id."""
        receipt = self.receipt(arguments)
        self.vendor.charge(
            receipt if checkpoint is None else f"{receipt}-{checkpoint}", self.price(arguments)
        )
        return receipt

    def in_doubt(self, arguments):
        """Whether the tool was run for the same before, and nobody knows how that ended."""
        doubts = self.guard.doubts()
        return any(each.state == "in_doubt" and each.held_usd == self.price(arguments) for each in doubts)

    def receipts(self):
        """Those that the vendor gave."""
        return {"-".join(key.split("-")[:2]) for key in self.vendor.charges()}

    def check(self, *, recovered=True):
        """The vendor's books are the ledger's.

        Args:
            recovered: What a process left that was killed was looked after.
        """
        charged, captured, held = self.charged(), self.captured(), self.held()
        assert set(self.vendor.charges().values()) <= {1}, f"charged twice: {self.vendor.charges()}"
        assert captured <= charged, f"captured and never charged: {captured - charged}"
        assert charged <= captured + held, f"charged without money: {charged - captured - held}"
        if recovered:
            doubts = Counter(each.held_usd for each in self.guard.doubts())
            # What was cancelled while it told the wallet, which `recover` does
            left = Counter(
                Decimal(each.micros).scaleb(-6) for each in self.journal.those(self.wallet.id, ("settling",))
            )
            assert doubts <= held <= doubts + left, f"held {held}, in doubt {doubts}, to be told {left}"
        balance = self.wallet.balance()
        assert balance.total_spent == sum(captured.elements())
        assert balance.held_usd + balance.in_doubt_usd == sum(held.elements())
        assert balance.remaining_budget == BUDGET - sum(captured.elements()) - sum(held.elements())

    def charged(self):
        books = self.vendor.charges()
        return Counter(Decimal(key.split("-")[1]) for key in books.elements())

    def captured(self):
        return Counter(each.amount_usd for each in self.wallet.transactions())

    def held(self):
        held = self.wallet.client.list_holds(self.wallet.id)
        return Counter(each.amount_usd for each in held if each.state in ("held", "in_doubt"))

    def resolve(self, *, waiting=False):
        """Somebody looks into the vendor's books, and says how the payments in doubt ended."""
        unbooked = self.charged() - self.captured()
        doubts = [each for each in self.guard.doubts() if waiting or each.state == "in_doubt"]
        alike = Counter(each.held_usd for each in doubts)
        for each in doubts:
            if unbooked[each.held_usd] in (0, alike[each.held_usd]):  # else nobody can tell which
                self.guard.resolve(each.key, "charged" if unbooked[each.held_usd] else "not-charged")

    def close(self):
        """The last look: whatever was in doubt is known now."""
        self.guard.recover()
        self.check()
        self.resolve(waiting=True)
        self.check()
        assert self.guard.doubts() or (self.charged() == self.captured() and not self.held())
        self.journal.close()
