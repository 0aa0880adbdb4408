"""Many at the edge of one budget: exactly what fits is admitted.

``TROVE_SOAK=200`` makes the longest of these 100,000 operations, another run of them each time.
"""

import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tests_spenders as spenders
from sqlalchemy import bindparam, update

from trove_agents.server.db import Database, tables
from trove_agents.server.wallets import spending
from trove_agents.server.wallets.holds import Holds
from trove_agents.server.wallets.keys import WalletKeys
from trove_agents.server.wallets.ledger import Movement
from trove_agents.server.wallets.refusals import InsufficientFunds
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire.money import from_micros
from trove_agents.wire.wallets import HoldRequest, PartRequest, PurchaseRequest, WalletRequest

THREADS, EACH = 16, 8
SOAK = "TROVE_SOAK" in os.environ
OPERATIONS = 100_000 if SOAK else 3_000


def together(function):
    """The answers of many threads that begin at once."""
    barrier = threading.Barrier(THREADS)

    def run(number):
        barrier.wait()
        return [function(number) for _ in range(EACH)]

    with ThreadPoolExecutor(THREADS) as pool:
        return [answer for answers in pool.map(run, range(THREADS)) for answer in answers]


def test_exactly_what_fits_is_admitted(wallets):
    wallet = wallets.wallet(1)

    def act(number):
        if number % 2:
            return wallets.buy(wallet, 0.03).status
        return wallets.post(f"/api/wallets/{wallet}/holds", {"amount_usd": 0.03}).status

    statuses = together(act)
    assert statuses.count(200) == 33
    assert statuses.count(402) == THREADS * EACH - 33
    balance = wallets.balance(wallet)
    assert balance["spent_micros"] + balance["held_micros"] == 990_000


def test_children_share_what_their_parent_has(wallets):
    root = wallets.wallet(1, agent="root")
    children = [
        wallets.post(
            f"/api/wallets/{root}/children",
            {"agent_id": f"c{number}", "name": "x", "budget_limit_usd": 0.5},
        ).json["wallet"]["id"]
        for number in range(4)
    ]
    statuses = together(lambda number: wallets.buy(children[number % 4], 0.03).status)
    assert statuses.count(200) == 33
    spent = [wallets.balance(child)["spent_micros"] for child in children]
    assert sum(spent) == wallets.balance(root)["spent_micros"] == 990_000
    assert max(spent) <= 500_000


def test_a_hold_is_captured_or_voided_and_never_both(wallets):
    wallet = wallets.wallet(1)
    made = [
        wallets.post(f"/api/wallets/{wallet}/holds", {"amount_usd": 0.1}).json["hold"]["id"]
        for _ in range(EACH)
    ]
    left = [iter(made) for _ in range(THREADS)]

    def act(number):
        what = "capture" if number % 2 else "void"
        hold = next(left[number])
        return hold, what, wallets.post(f"/api/holds/{hold}/{what}").status

    answers = together(act)
    for hold in made:
        mine = [(what, status) for one, what, status in answers if one == hold]
        captured = mine.count(("capture", 200))
        assert captured <= 1
        assert {status for what, status in mine if what == "void"} == ({409} if captured else {200})
    captures = [answer for answer in answers if answer[1:] == ("capture", 200)]
    balance = wallets.balance(wallet)
    assert (balance["spent_micros"], balance["held_micros"]) == (len(captures) * 100_000, 0)


def test_a_call_that_is_sent_many_times_at_once_is_done_once(wallets):
    wallet = wallets.wallet(1)
    path = f"/api/wallets/{wallet}/purchase"
    answers = together(lambda _: wallets.post(path, {"amount_usd": 0.01}, key="k").body)
    assert len(set(answers)) == 1
    assert wallets.balance(wallet)["spent_micros"] == 10_000


def test_the_ledger_at_the_edge_of_a_budget(tmp_path, place):
    database = Database.open(place(tmp_path))
    keys, service, holds = WalletKeys(database), Wallets(database), Holds(database)
    who = keys.authenticate({"x-trove-key": keys.create("ws-1", "mine").api_key})
    budget = from_micros(THREADS * spenders.PER_CALLER)
    wallet = service.create(who, WalletRequest("bot", "bot", budget)).wallet.id

    def call(what, *arguments):
        try:
            match what:
                case "purchase":
                    usd = from_micros(*arguments)
                    return service.purchase(who, wallet, PurchaseRequest(usd)).transaction.id
                case "hold":
                    return holds.create(who, wallet, HoldRequest(amount_usd=from_micros(*arguments))).hold.id
                case "capture":
                    hold, micros = arguments
                    return holds.capture(who, hold, PartRequest(from_micros(micros))).transaction.id
                case "refund":
                    return service.refund(who, *arguments, PartRequest()).transaction.id
                case _:
                    return getattr(holds, what)(who, *arguments).hold.id
        except InsufficientFunds as refused:
            return spenders.Refused(refused.requested, refused.remaining)

    seed = random.randrange(2**32) if SOAK else 5
    callers = [spenders.Spender(seed + number, OPERATIONS // THREADS) for number in range(THREADS)]
    begin = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        for half in (spenders.Spender.steps, spenders.Spender.rest):
            list(pool.map(lambda caller, half=half: spenders.drive(half(caller), call), callers))
    taken = time.monotonic() - begin
    told = [caller.told for caller in callers]
    spenders.check(database, wallet, told)
    database.close()
    print(spenders.summary(told, taken, seed))


class Between:
    """A connection that lets something happen between its first statement with rows and the next."""

    def __init__(self, tx, happens):
        self.tx, self.happens = tx, happens

    def __getattr__(self, name):
        return getattr(self.tx, name)

    def all(self, *arguments, **values):
        rows = self.tx.all(*arguments, **values)
        self.happens()
        return rows


def test_who_is_refused_is_told_less_than_was_asked_for(tmp_path):
    database = Database.open(sys.modules["tests_postgres"].url(tmp_path))
    keys, service = WalletKeys(database), Wallets(database)
    principal = keys.authenticate({"x-trove-key": keys.create("ws-1", "mine").api_key})
    made = service.create(principal, WalletRequest("bot", "bot", from_micros(10))).wallet.id
    spent = service.purchase(principal, made, PurchaseRequest(from_micros(8))).transaction.id
    given_back = []

    def give_back():
        if not given_back:
            with ThreadPoolExecutor(1) as other:
                given_back.append(other.submit(service.refund, principal, spent, PartRequest()).result())

    def take(tx):
        wallet = spending.find(tx, principal, made)
        return spending.take(Between(tx, give_back), wallet, Movement("debit", spent=5))

    moved = database.write(take)
    assert given_back and moved[made].after.remaining == 5
    database.close()


@pytest.mark.parametrize(("column", "value"), [("spent", 1_000_001), ("held", -1), ("budget", -1)])
def test_the_schema_itself_keeps_the_budget(trove, wallets, column, value):
    wallet = wallets.wallet(1)
    statement = update(tables.wallets).where(tables.wallets.c.id == bindparam("key")).values({column: value})
    with pytest.raises(Exception, match="wallets_"):
        trove.server.database.write(lambda tx: tx.run(statement, key=wallet))
    assert wallets.balance(wallet)["remaining_micros"] == 1_000_000
