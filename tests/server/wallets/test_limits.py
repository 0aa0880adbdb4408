"""Limits beside the budget."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete

from trove_agents.server.db import tables


class Clock:
    """The database's clock, moved by hand: it begins a minute before the end of a month."""

    def __init__(self, trove, monkeypatch):
        self.seconds = int(datetime(2026, 1, 31, 23, 59, tzinfo=UTC).timestamp())
        monkeypatch.setattr(trove.server.database, "now_ns", lambda: self.seconds * 10**9)


@pytest.fixture
def clock(trove, monkeypatch):
    return Clock(trove, monkeypatch)


def limit(wallets, wallet, **rules):
    answer = wallets("PUT", f"/api/wallets/{wallet}/limits", rules)
    assert answer.status == 200, answer.body
    assert wallets.get(f"/api/wallets/{wallet}/limits").json["limits"] == answer.json["limits"]


def hold(wallets, wallet, amount, *, step=None, **more):
    headers = [("X-Trove-Step", step)] if step else []
    return wallets("POST", f"/api/wallets/{wallet}/holds", {"amount_usd": amount, **more}, headers=headers)


def refused(answer, rule, remaining=0):
    assert (answer.status, answer.json.get("limiting_rule")) == (402, rule), answer.body
    assert (answer.json["code"], answer.json["remaining_micros"]) == ("limit-exceeded", remaining * 1_000_000)
    return True


def test_one_call(wallets):
    wallet = wallets.wallet(100)
    limit(wallets, wallet, per_call_usd=5)
    assert wallets.buy(wallet, 5).status == 200
    assert refused(wallets.buy(wallet, 5.000001), "per_call", 5)
    assert refused(hold(wallets, wallet, 6), "per_call", 5)
    assert wallets.balance(wallet)["remaining_budget"] == 95


@pytest.mark.parametrize("rule", ["per_day", "per_month"])
def test_a_period_counts_what_is_asked_for_in_it(wallets, clock, rule):
    wallet = wallets.wallet(100)
    assert wallets.buy(wallet, 2).status == 200
    limit(wallets, wallet, **{f"{rule}_usd": 5})
    held = hold(wallets, wallet, 3).json["hold"]["id"]
    assert refused(wallets.buy(wallet, 1), rule)
    clock.seconds += 60
    assert wallets.post(f"/api/holds/{held}/capture").status == 200  # counts where it was asked for
    assert wallets.buy(wallet, 5).status == 200
    assert refused(wallets.buy(wallet, 1), rule)


def test_what_is_given_back_counts_no_more(wallets, clock):
    wallet = wallets.wallet(100)
    limit(wallets, wallet, per_day_usd=5)
    made = [hold(wallets, wallet, 1).json["hold"]["id"] for _ in range(3)]
    spent = wallets.buy(wallet, 2).json["transaction"]["id"]
    assert refused(wallets.buy(wallet, 1), "per_day")
    wallets.post(f"/api/holds/{made[0]}/void")
    wallets.post(f"/api/holds/{made[1]}/capture", {"amount_usd": 0.5})
    wallets.post(f"/api/transactions/{spent}/refund", {"amount_usd": 1.5})
    assert refused(wallets.buy(wallet, 4), "per_day", 3)
    assert wallets.buy(wallet, 3).status == 200


def test_a_hold_that_ran_out_counts_no_more(wallets, clock):
    wallet = wallets.wallet(100)
    limit(wallets, wallet, per_month_usd=5)
    assert hold(wallets, wallet, 5, expires_in=10).status == 200
    assert refused(wallets.buy(wallet, 1), "per_month")
    clock.seconds += 10
    assert wallets.buy(wallet, 5).status == 200


def test_vendors_and_tools(wallets):
    wallet = wallets.wallet(100)
    limit(wallets, wallet, per_vendor_usd={"Twilio": 5}, per_tool_usd={"sms": 3}, vendors_denied=["evil"])
    assert wallets.buy(wallet, 4, vendor="twilio").status == 200
    assert refused(wallets.buy(wallet, 2, vendor=" TWILIO "), "per_vendor", 1)
    assert wallets.buy(wallet, 50, vendor="other").status == 200
    assert hold(wallets, wallet, 3, tool="sms").status == 200
    assert refused(hold(wallets, wallet, 1, tool="sms"), "per_tool")
    assert refused(wallets.buy(wallet, 1, vendor="EVIL"), "vendors_denied")
    limit(wallets, wallet, vendors_allowed=["twilio"])
    assert wallets.buy(wallet, 2, vendor="Twilio").status == 200
    assert refused(wallets.buy(wallet, 1, vendor="other"), "vendors_allowed")
    assert refused(wallets.buy(wallet, 1), "vendors_allowed")


def test_runs_and_threads(wallets):
    wallet = wallets.wallet(100)
    limit(wallets, wallet, per_run_usd=2, per_thread_usd=3)
    assert hold(wallets, wallet, 2, step='thread="t", run="1"').status == 200
    assert refused(hold(wallets, wallet, 1, step='thread="t", run="1"'), "per_run")
    assert hold(wallets, wallet, 1, step='thread="t", run="2"').status == 200
    assert refused(hold(wallets, wallet, 1, step='thread="t", run="3"'), "per_thread")
    assert hold(wallets, wallet, 1, step='thread="u", run="4"').status == 200
    assert wallets.buy(wallet, 50).status == 200


def test_calls_in_a_minute(wallets, clock):
    wallet = wallets.wallet(100)
    limit(wallets, wallet, calls_per_minute=2)
    assert wallets.buy(wallet, 1).status == 200
    clock.seconds += 30
    assert hold(wallets, wallet, 1).status == 200
    assert refused(wallets.buy(wallet, 1), "calls_per_minute")
    clock.seconds += 30
    assert wallets.buy(wallet, 1).status == 200
    assert refused(wallets.buy(wallet, 1), "calls_per_minute")


def test_the_limits_of_an_ancestor_hold_for_all_below(wallets):
    root = wallets.wallet(100, agent="root")
    below = [
        wallets.post(
            f"/api/wallets/{root}/children", {"agent_id": f"c{n}", "name": "x", "budget_limit_usd": 50}
        ).json["wallet"]["id"]
        for n in range(2)
    ]
    limit(wallets, root, per_vendor_usd={"twilio": 5})
    assert wallets.buy(below[0], 3, vendor="twilio").status == 200
    answer = wallets.buy(below[1], 3, vendor="twilio")
    assert refused(answer, "per_vendor", 2)
    assert answer.json["wallet_id"] == root
    assert wallets.balance(root)["spent_micros"] == 3_000_000
    assert wallets.balance(below[1])["spent_micros"] == 0


def history(trove):
    """How many rows the ledgers have, which are then forgotten."""
    return trove.server.database.write(lambda tx: tx.run(delete(tables.wallet_entries)))


def test_what_was_taken_is_added_up_once(trove, wallets, clock):
    wallet, step = wallets.wallet(100), [("X-Trove-Step", 'thread="t", run="1"')]
    path = f"/api/wallets/{wallet}/purchase"

    def buy(amount):
        return wallets("POST", path, {"amount_usd": amount, "vendor": "shop"}, headers=step)

    for _ in range(3):
        assert buy(1).status == 200
    limit(wallets, wallet, per_day_usd=9, per_vendor_usd={"shop": 8}, per_run_usd=7, per_thread_usd=6)
    assert buy(1).status == 200
    assert history(trove) == 4
    assert refused(buy(3), "per_thread", 2)
    assert buy(1).status == 200
    limit(wallets, wallet, per_day_usd=9, per_vendor_usd={"shop": 8}, per_run_usd=7)
    assert refused(buy(3), "per_run", 2)
    limit(wallets, wallet, per_day_usd=9, per_vendor_usd={"shop": 8})
    assert refused(buy(4), "per_vendor", 3)


def test_it_is_added_up_once_also_for_who_is_refused(trove, wallets, clock):
    root = wallets.wallet(100, agent="root")
    child = wallets.post(
        f"/api/wallets/{root}/children", {"agent_id": "c", "name": "x", "budget_limit_usd": 50}
    ).json["wallet"]["id"]
    assert wallets.buy(child, 3).status == 200
    limit(wallets, root, per_day_usd=50)
    limit(wallets, child, per_month_usd=5)
    assert refused(wallets.buy(child, 3), "per_month", 2)
    assert history(trove) == 2
    assert refused(wallets.buy(child, 4), "per_month", 2)
    assert refused(wallets.buy(root, 48), "per_day", 47)


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"per_day_usd": -1}, "per_day_usd"),
        ({"per_call_usd": "1"}, "per_call_usd"),
        ({"per_vendor_usd": {"a": 0.0000001}}, "per_vendor_usd"),
        ({"calls_per_minute": -1}, "calls_per_minute"),
        ({"vendors_denied": ["a\0"]}, "vendors_denied"),
    ],
)
def test_a_limit_that_is_none_is_named(wallets, rules, field):
    answer = wallets("PUT", f"/api/wallets/{wallets.wallet()}/limits", rules)
    assert (answer.status, answer.json["field"]) == (400, field)


def test_only_the_owner_sets_limits(wallets):
    wallet = wallets.wallet(10)
    made = wallets.post("/api/keys", {"name": "a", "role": "spend", "wallet_id": wallet}).json["api_key"]
    spender = wallets.with_key(made)
    assert spender("PUT", f"/api/wallets/{wallet}/limits", {}).status == 403
    assert spender.get(f"/api/wallets/{wallet}/limits").json["limits"] == {}
    assert wallets.other()("PUT", f"/api/wallets/{wallet}/limits", {}).status == 404
