"""Many at the edge of one budget: exactly what fits is admitted."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import bindparam, update

from trove_agents.server.db import tables

THREADS, EACH = 16, 8


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


@pytest.mark.parametrize(("column", "value"), [("spent", 1_000_001), ("held", -1), ("budget", -1)])
def test_the_schema_itself_keeps_the_budget(trove, wallets, column, value):
    wallet = wallets.wallet(1)
    statement = update(tables.wallets).where(tables.wallets.c.id == bindparam("key")).values({column: value})
    with pytest.raises(Exception, match="wallets_"):
        trove.server.database.write(lambda tx: tx.run(statement, key=wallet))
    assert wallets.balance(wallet)["remaining_micros"] == 1_000_000
