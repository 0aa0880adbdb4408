"""Any interleaving of what can be done to wallets: budgets hold and the ledger adds up after every step."""

import contextlib
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
import tests_postgres as postgres
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from trove_agents.server.db import Database
from trove_agents.server.db.tables import wallet_entries, wallet_tallies, wallet_transactions, wallets
from trove_agents.server.errors import ServiceError
from trove_agents.server.jobs import Turn
from trove_agents.server.wallets.holds import Holds
from trove_agents.server.wallets.keys import WalletKeys
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire.money import from_micros
from trove_agents.wire.steps import Step
from trove_agents.wire.wallets import (
    ExtendRequest,
    HoldRequest,
    Limits,
    PartRequest,
    PurchaseRequest,
    WalletChange,
    WalletRequest,
)

CENTS = st.integers(1, 30)
VENDORS = st.sampled_from([None, "shop", " SHOP"])
RUNS = st.sampled_from([None, "1", "2"])
BUDGET = st.integers(60, 400)
PICK = st.integers(0, 30)
_e = wallet_entries.c
ENTRIES = select(*_e).order_by(_e.wallet, _e.seq)
WALLETS = select(*wallets.c).order_by(wallets.c.id)
TRANSACTIONS = select(*wallet_transactions.c).order_by(wallet_transactions.c.id)
TALLIES = select(*wallet_tallies.c)
DAY = 86_400
MONTH = 31 * DAY


class Hold:
    """What the model knows of a hold, in cents."""

    def __init__(self, wallet, amount, names, ends, on_expiry):
        self.wallet, self.amount, self.names = wallet, amount, names
        self.ends, self.on_expiry = ends, on_expiry
        self.ended = None
        self.doubted = False

    def state(self, now):
        if self.ended:
            return self.ended
        if self.doubted:
            return "in_doubt"
        if now < self.ends:
            return "held"
        return "expired" if self.on_expiry == "void" else "in_doubt"


class Ledger(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.seconds = MONTH - 100
        self.database = Database.open(self.place(self.folder), clock=lambda: self.seconds * 10**9)
        self.stack.callback(self.database.close)
        self.wallets, self.holding = Wallets(self.database), Holds(self.database)
        keys = WalletKeys(self.database)
        self.who = keys.authenticate({"x-trove-key": keys.create("ws-1", "mine").api_key})
        self.parents, self.budgets, self.frozen, self.spent = {}, {}, set(), {}
        self.holds, self.paid, self.lost, self.limits = {}, {}, [], {}

    def teardown(self):
        self.stack.close()

    # The model
    def path(self, wallet):
        while wallet is not None:
            yield wallet
            wallet = self.parents[wallet]

    def counted(self, wallet, state):
        return sum(
            hold.amount
            for hold in self.holds.values()
            if hold.state(self.seconds) == state and wallet in self.path(hold.wallet)
        )

    def left(self, wallet):
        taken = self.spent[wallet] + self.counted(wallet, "held") + self.counted(wallet, "in_doubt")
        return self.budgets[wallet] - taken

    def fits(self, wallet, amount, names):
        return all(
            self.left(one) >= amount
            and one not in self.frozen
            and all(
                self.taken(one, kind, names[kind]) + amount <= most
                for kind, most in self.limits.get(one, {}).items()
                if names[kind] is not None
            )
            for one in self.path(wallet)
        )

    def names(self, vendor, run):
        """What limits count a payment of this moment by."""
        shop = None if vendor is None else "shop"
        return {"day": self.seconds // DAY, "month": self.seconds // MONTH, "vendor": shop, "run": run}

    def taken(self, wallet, kind, name):
        """By payments of a name, as limits count it."""
        open_ = [
            (hold.wallet, hold.amount, hold.names)
            for hold in self.holds.values()
            if hold.state(self.seconds) in {"held", "in_doubt"}
        ]
        return sum(
            amount
            for of, amount, names in [*open_, *self.paid.values(), *self.lost]
            if wallet in self.path(of) and names[kind] == name
        )

    def who_in(self, run):
        return self.who if run is None else replace(self.who, step=Step(run=run))

    def add(self, wallet, amount):
        for one in self.path(wallet):
            self.spent[one] += amount

    def some(self, things, pick):
        return list(things)[pick % len(things)]

    def does(self, function, expected):
        try:
            value = function()
        except ServiceError as error:
            assert not expected, error
            return None
        assert expected
        return value

    # What can be done
    @initialize(budget=BUDGET)
    def root(self, budget):
        self.make(None, budget)

    def make(self, parent, budget):
        number = len(self.parents)
        request = WalletRequest(f"a{number}", "x", usd(budget))
        fits = parent is None or budget <= self.budgets[parent]
        made = self.does(lambda: self.wallets.create(self.who, request, parent=parent), fits)
        if made is not None:
            wallet = made.wallet.id
            self.parents[wallet], self.budgets[wallet], self.spent[wallet] = parent, budget, 0

    @rule(pick=PICK, budget=BUDGET)
    def child(self, pick, budget):
        if len(self.parents) < 4:
            self.make(self.some(self.parents, pick), budget)

    @rule(pick=PICK, amount=CENTS, vendor=VENDORS, run=RUNS)
    def purchase(self, pick, amount, vendor, run):
        wallet, names = self.some(self.parents, pick), self.names(vendor, run)
        fits = self.fits(wallet, amount, names)
        request = PurchaseRequest(usd(amount), vendor=vendor)
        done = self.does(lambda: self.wallets.purchase(self.who_in(run), wallet, request), fits)
        if done is not None:
            self.add(wallet, amount)
            self.paid[done.transaction.id] = [wallet, amount, names]

    @rule(
        pick=PICK,
        amount=CENTS,
        vendor=VENDORS,
        run=RUNS,
        seconds=st.integers(1, 50),
        on_expiry=st.sampled_from(["void", "doubt"]),
    )
    def hold(self, pick, amount, vendor, run, seconds, on_expiry):
        wallet, names = self.some(self.parents, pick), self.names(vendor, run)
        fits = self.fits(wallet, amount, names)
        request = HoldRequest(amount_usd=usd(amount), vendor=vendor, expires_in=seconds, on_expiry=on_expiry)
        done = self.does(lambda: self.holding.create(self.who_in(run), wallet, request), fits)
        if done is not None:
            self.holds[done.hold.id] = Hold(wallet, amount, names, self.seconds + seconds, on_expiry)

    @rule(pick=PICK, amount=CENTS)
    def capture(self, pick, amount):
        if self.holds:
            identity = self.some(self.holds, pick)
            hold = self.holds[identity]
            can = hold.state(self.seconds) in {"held", "in_doubt"} and amount <= hold.amount
            done = self.does(lambda: self.holding.capture(self.who, identity, PartRequest(usd(amount))), can)
            if done is not None:
                hold.ended = "captured"
                self.add(hold.wallet, amount)
                self.paid[done.transaction.id] = [hold.wallet, amount, hold.names]

    @rule(pick=PICK)
    def void(self, pick):
        if self.holds:
            identity = self.some(self.holds, pick)
            hold = self.holds[identity]
            can = hold.state(self.seconds) not in {"captured", "written_off"}
            if self.does(lambda: self.holding.void(self.who, identity), can) is not None:
                hold.ended = hold.ended or ("expired" if hold.state(self.seconds) == "expired" else "voided")

    @rule(pick=PICK)
    def doubt(self, pick):
        if self.holds:
            identity = self.some(self.holds, pick)
            hold = self.holds[identity]
            can = hold.state(self.seconds) in {"held", "in_doubt"}
            if self.does(lambda: self.holding.doubt(self.who, identity), can) is not None:
                hold.doubted = True

    @rule(pick=PICK)
    def write_off(self, pick):
        if self.holds:
            identity = self.some(self.holds, pick)
            hold = self.holds[identity]
            can = hold.state(self.seconds) == "in_doubt"
            if self.does(lambda: self.holding.write_off(self.who, identity), can) is not None:
                hold.ended = "written_off"
                self.add(hold.wallet, hold.amount)
                self.lost.append((hold.wallet, hold.amount, hold.names))

    @rule(pick=PICK, seconds=st.integers(1, 50))
    def extend(self, pick, seconds):
        if self.holds:
            identity = self.some(self.holds, pick)
            hold = self.holds[identity]
            can = hold.state(self.seconds) == "held"
            if self.does(lambda: self.holding.extend(self.who, identity, ExtendRequest(seconds)), can):
                hold.ends = self.seconds + seconds

    @rule(pick=PICK, amount=CENTS)
    def refund(self, pick, amount):
        if self.paid:
            identity = self.some(self.paid, pick)
            wallet, left, _ = self.paid[identity]
            can = amount <= left
            if self.does(lambda: self.wallets.refund(self.who, identity, PartRequest(usd(amount))), can):
                self.paid[identity][1] -= amount
                self.add(wallet, -amount)

    @rule(pick=PICK, budget=st.integers(0, 400))
    def another_budget(self, pick, budget):
        wallet = self.some(self.parents, pick)
        if not any(hold.state(self.seconds) == "expired" and not hold.ended for hold in self.holds.values()):
            can = self.budgets[wallet] - self.left(wallet) <= budget
            request = WalletChange(budget_limit_usd=usd(budget))
            if self.does(lambda: self.wallets.change(self.who, wallet, request), can):
                self.budgets[wallet] = budget

    @rule(
        pick=PICK,
        most=st.integers(20, 300),
        kinds=st.sets(st.sampled_from(["day", "month", "vendor", "run"])),
    )
    def limit(self, pick, most, kinds):
        wallet = self.some(self.parents, pick)
        rules = {f"per_{kind}_usd": {"Shop": usd(most)} if kind == "vendor" else usd(most) for kind in kinds}
        self.wallets.limit(self.who, wallet, Limits(**rules))
        self.limits[wallet] = dict.fromkeys(kinds, most)

    @rule(pick=PICK, frozen=st.sampled_from([False, False, True]))
    def freeze(self, pick, frozen):
        wallet = self.some(self.parents, pick)
        self.wallets.change(self.who, wallet, WalletChange(frozen=frozen))
        (self.frozen.add if frozen else self.frozen.discard)(wallet)

    @rule(seconds=st.integers(1, 60), sweep=st.booleans())
    def wait(self, seconds, sweep):
        self.seconds += seconds
        if sweep:
            self.holding.sweep(Turn(self.database.now_ns()))

    # What always holds
    @invariant()
    def balances_are_those_of_the_model(self):
        for wallet in self.parents:
            shown = self.wallets.balance(self.who, wallet).balance
            found = [shown.spent_micros, shown.held_micros, shown.in_doubt_micros, shown.remaining_micros]
            states = [self.counted(wallet, state) for state in ("held", "in_doubt")]
            assert found == [cents * 10_000 for cents in (self.spent[wallet], *states, self.left(wallet))]
            assert min(found) >= 0

    @invariant()
    def the_rows_add_up(self):
        with self.database.read() as db:
            entries = [dict(zip(_e.keys(), row)) for row in db.all(ENTRIES)]
            rows = [dict(zip(wallets.c.keys(), row)) for row in db.all(WALLETS)]
            moved = {row[0]: row for row in db.all(TRANSACTIONS)}
        for wallet in rows:
            mine = [entry for entry in entries if entry["wallet"] == wallet["id"]]
            assert [entry["seq"] for entry in mine] == list(range(1, wallet["entries"] + 1))
            assert wallet["transactions"] == sum(entry["transaction"] is not None for entry in mine)
            for name in ("spent", "held", "in_doubt"):
                total = 0
                for entry in mine:
                    total += entry[name]
                    assert entry[f"{name}_after"] == total
                assert wallet[name] == total
            for entry in mine:
                assert (
                    entry["spent_after"] + entry["held_after"] + entry["in_doubt_after"]
                    <= entry["budget_after"]
                )
            paid = [moved[entry["transaction"]] for entry in mine if entry["transaction"] is not None]
            assert wallet["spent"] == sum(-row[3] if row[2] == "credit" else row[3] for row in paid)

    @invariant()
    def the_tallies_are_sums_of_the_rows(self):
        with self.database.read() as db:
            entries = [dict(zip(_e.keys(), row)) for row in db.all(ENTRIES)]
            tallies = db.all(TALLIES)
        for wallet, kind, name, amount in tallies:
            assert self.limits.get(wallet) is not None
            mine = [entry for entry in entries if entry["wallet"] == wallet and name == named(entry, kind)]
            assert amount == sum(entry["spent"] + entry["held"] + entry["in_doubt"] for entry in mine)


def named(entry, kind):
    """What a row counts for."""
    if kind not in {"day", "month"}:
        return entry[kind]
    if entry["authorised_us"] is None:
        return None
    date = datetime.fromtimestamp(entry["authorised_us"] // 10**6, UTC)
    return date.strftime("%Y-%m-%d" if kind == "day" else "%Y-%m")


def usd(cents):
    return from_micros(cents * 10_000)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_any_interleaving(engine):
    if engine == "postgresql":
        postgres.server()

    class On(Ledger):
        place = staticmethod(postgres.url if engine == "postgresql" else lambda folder: folder)

    settings = hypothesis.settings(
        max_examples=60 if engine == "sqlite" else 5,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.stateful.run_state_machine_as_test(On, settings=settings)
