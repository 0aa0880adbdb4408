"""A crash before and after every call of the journal and the wallet: what the vendor took is never forgotten or paid twice."""

from decimal import Decimal
from itertools import count

import pytest

from trove_agents import Wallet, WalletClient
from trove_agents.embedded import Trove
from trove_agents.guard import Guard, NotCharged, PaymentInDoubt, SqliteJournal

CALLS = {"add", "find", "replace", "those", "book", "draw", "pool", "purchases", "send"}
PRICE = Decimal("0.3")


class Crash(BaseException):
    """The process is gone: after it nothing else is called either."""


class Power:
    """Fails at the n-th moment, and for good. Every call has two: before it and after it."""

    def __init__(self, moments):
        self.left = moments

    @property
    def failed(self):
        return self.left <= 0

    def moment(self):
        self.left -= 1
        if self.failed:
            raise Crash


class Powered:
    def __init__(self, inner, power):
        self.inner, self.power = inner, power

    def __getattr__(self, name):
        if name not in CALLS:
            return getattr(self.inner, name)

        def call(*args, **named):
            self.power.moment()
            answer = getattr(self.inner, name)(*args, **named)
            self.power.moment()
            return answer

        return call


def guarding(wallets, wallet, journal, power=None):
    """A guard whose every call, of the journal and over the wallet's transport, has its moments."""
    transport = wallets._transport
    if power is not None:
        transport, journal = Powered(transport, power), Powered(journal, power)
    client = WalletClient(dict(wallets._headers)["x-trove-key"], transport=transport)
    return Guard(Wallet(client, wallet, "bot"), journal=journal)


class Vendor:
    def __init__(self, charges, error, power):
        self.charges, self.error, self.power = charges, error, power
        self.runs = 0
        self.took = Decimal(0)

    def __call__(self):
        self.power.moment()
        self.runs += 1
        if self.charges:
            self.took += PRICE
        self.power.moment()
        if self.error:
            raise self.error
        return self.runs


@pytest.fixture(scope="module")
def wallets():
    with Trove.temporary() as trove:
        yield trove.wallets()


def counted(wallets, wallet):
    found = wallets.balance(wallet)
    return found.total_spent, found.held_usd, found.in_doubt_usd


@pytest.mark.parametrize(
    ("charges", "error"),
    [(True, None), (True, TimeoutError), (False, TimeoutError), (False, NotCharged)],
    ids=["returns", "charges and raises", "raises", "not charged"],
)
@pytest.mark.parametrize("again", [None, 1, 2, 3, 4, 5, 6, 7, 8], ids=lambda n: f"recovery fails at {n}")
def test_a_crash_at_any_moment(wallets, tmp_path, request, charges, error, again):
    for moment in count(1):
        wallet = wallets.create_wallet(f"{request.node.name} {moment}", "Bot", 1).id
        journal = SqliteJournal(tmp_path / f"{moment}.db")
        power = Power(moment)
        vendor = Vendor(charges, error, power)
        guard = guarding(wallets, wallet, journal, power)
        try:
            guard.pay(vendor, PRICE, key="k")
        except (Crash, TimeoutError, NotCharged):
            pass
        crashed, started = power.failed, vendor.runs > 0
        assert sum(counted(wallets, wallet)) >= vendor.took, moment

        if again is not None:
            second = Power(again)
            try:
                guarding(wallets, wallet, journal, second).recover()
            except Crash:
                pass
            assert sum(counted(wallets, wallet)) >= vendor.took, moment

        journal.close()
        journal = SqliteJournal(tmp_path / f"{moment}.db")
        guard = guarding(wallets, wallet, journal)
        guard.recover()
        spent, held, in_doubt = counted(wallets, wallet)
        assert spent <= vendor.took <= spent + in_doubt, moment
        assert in_doubt == guard.in_doubt_usd(), moment
        assert held == 0, moment
        assert guard.recover() == [], moment

        vendor.power, vendor.error = Power(10**6), None
        try:
            guard.pay(vendor, PRICE, key="k")
        except PaymentInDoubt:
            assert in_doubt == PRICE, moment
        assert vendor.runs <= (2 if error is NotCharged and started else 1), moment
        spent, held, in_doubt = counted(wallets, wallet)
        assert vendor.took <= PRICE, moment
        assert spent <= vendor.took + (0 if charges else PRICE), moment
        assert spent + held + in_doubt >= vendor.took, moment
        journal.close()
        if not crashed:
            assert moment > 12
            return
