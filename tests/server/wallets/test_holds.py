"""Holds, refunds, keys of calls, children and freezing."""

import pytest

from trove_agents.server.db import Database
from trove_agents.server.jobs import Turn
from trove_agents.server.wallets.holds import Holds


class Clock:
    """The database's clock, moved by hand."""

    def __init__(self, trove, monkeypatch):
        self.database: Database = trove.server.database
        self.real = self.database.now_ns
        self.ahead = 0
        monkeypatch.setattr(self.database, "now_ns", lambda: self.real() + self.ahead)

    def forward(self, seconds):
        self.ahead += seconds * 1_000_000_000

    def sweep(self):
        Holds(self.database).sweep(Turn(self.database.now_ns()))


@pytest.fixture
def clock(trove, monkeypatch):
    return Clock(trove, monkeypatch)


def hold(wallets, wallet, amount, **more):
    answer = wallets.post(f"/api/wallets/{wallet}/holds", {"amount_usd": amount, **more})
    assert answer.status == 200, answer.body
    return answer.json["hold"]["id"]


def numbers(wallets, wallet):
    """Spent, held and in doubt, in cents."""
    balance = wallets.balance(wallet)
    found = [balance[f"{name}_micros"] // 10_000 for name in ("spent", "held", "in_doubt", "remaining")]
    assert balance["budget_micros"] // 10_000 == sum(found)
    return found[:3]


def act(wallets, hold_id, what, **body):
    return wallets.post(f"/api/holds/{hold_id}/{what}", body)


def test_a_hold_counts_against_the_budget_until_it_is_captured_in_part(wallets):
    wallet = wallets.wallet(10)
    made = hold(wallets, wallet, 8, vendor="twilio", tool="sms", metadata={"a": [1]}, description="x")
    assert numbers(wallets, wallet) == [0, 800, 0]
    assert wallets.buy(wallet, 2.01).status == 402
    captured = act(wallets, made, "capture", amount_usd=3).json["transaction"]
    assert captured["hold_id"] == made
    assert captured["vendor"] == "twilio"
    assert numbers(wallets, wallet) == [300, 0, 0]
    shown = wallets.get(f"/api/holds/{made}").json["hold"]
    assert (shown["state"], shown["captured_micros"], shown["metadata"]) == (
        "captured",
        3_000_000,
        {"a": [1]},
    )


def test_more_than_is_held_is_not_captured(wallets):
    wallet = wallets.wallet(10)
    made = hold(wallets, wallet, 1)
    answer = act(wallets, made, "capture", amount_usd=1.000001)
    assert (answer.status, answer.json["code"]) == (422, "over-capture")
    assert numbers(wallets, wallet) == [0, 100, 0]


def test_a_hold_ends_once(wallets):
    wallet = wallets.wallet(10)
    taken, given = hold(wallets, wallet, 1), hold(wallets, wallet, 1)
    assert act(wallets, taken, "capture").status == 200
    assert act(wallets, given, "void").status == 200
    again = act(wallets, given, "void")
    assert (again.status, again.json["hold"]["state"]) == (200, "voided")
    for made, what, code in (
        (taken, "capture", "already-captured"),
        (taken, "void", "already-captured"),
        (taken, "doubt", "already-captured"),
        (given, "capture", "already-voided"),
        (given, "extend", "already-voided"),
    ):
        answer = act(wallets, made, what)
        assert (answer.status, answer.json["code"]) == (409, code)
    assert numbers(wallets, wallet) == [100, 0, 0]


def test_what_is_in_doubt_stays_until_somebody_knows(wallets, clock):
    wallet = wallets.wallet(10)
    charged, free, lost = (hold(wallets, wallet, 1) for _ in range(3))
    for made in (charged, free, lost):
        assert act(wallets, made, "write-off").json["code"] == "hold-not-in-doubt"
        assert act(wallets, made, "doubt").status == 200
        assert act(wallets, made, "doubt").status == 200
    clock.forward(10**6)
    clock.sweep()
    assert numbers(wallets, wallet) == [0, 0, 300]
    assert act(wallets, charged, "extend").json["code"] == "hold-in-doubt"
    assert act(wallets, charged, "capture", amount_usd=0.5).status == 200
    assert act(wallets, free, "void").status == 200
    assert act(wallets, lost, "write-off").json["transaction"]["type"] == "write_off"
    assert numbers(wallets, wallet) == [150, 0, 0]


@pytest.mark.parametrize("swept", [False, True])
def test_a_hold_that_ran_out_is_given_back_at_once(wallets, clock, swept):
    wallet = wallets.wallet(10)
    made = hold(wallets, wallet, 8, expires_in=60)
    clock.forward(59)
    assert act(wallets, made, "extend", expires_in=60).status == 200
    clock.forward(59)
    assert numbers(wallets, wallet) == [0, 800, 0]
    clock.forward(1)
    if swept:
        clock.sweep()
    assert numbers(wallets, wallet) == [0, 0, 0]
    for what in ("capture", "extend", "doubt"):
        answer = act(wallets, made, what)
        assert (answer.status, answer.json["code"]) == (410, "hold-expired")
    assert act(wallets, made, "void").json["hold"]["state"] == "expired"
    assert [
        one["id"] for one in wallets.get(f"/api/wallets/{wallet}/holds", "state=expired").json["holds"]
    ] == [made]
    assert wallets.buy(wallet, 10).status == 200
    assert numbers(wallets, wallet) == [1000, 0, 0]


@pytest.mark.parametrize("swept", [False, True])
def test_a_hold_that_ran_out_while_a_tool_ran_is_in_doubt(wallets, clock, swept):
    wallet = wallets.wallet(10)
    made = hold(wallets, wallet, 8, expires_in=60, on_expiry="doubt")
    clock.forward(60)
    if swept:
        clock.sweep()
    assert numbers(wallets, wallet) == [0, 0, 800]
    assert wallets.buy(wallet, 2.01).status == 402
    assert act(wallets, made, "capture", amount_usd=5).status == 200
    assert numbers(wallets, wallet) == [500, 0, 0]


def test_no_more_is_given_back_than_was_spent(wallets):
    wallet = wallets.wallet(10)
    spent = wallets.buy(wallet, 5, vendor="twilio").json["transaction"]["id"]
    part = wallets.post(f"/api/transactions/{spent}/refund", {"amount_usd": 2}).json["transaction"]
    assert (part["type"], part["refunds"], part["vendor"], part["amount_micros"]) == (
        "credit",
        spent,
        "twilio",
        2_000_000,
    )
    over = wallets.post(f"/api/transactions/{spent}/refund", {"amount_usd": 3.000001})
    assert (over.status, over.json["code"], over.json["remaining_micros"]) == (422, "over-refund", 3_000_000)
    assert wallets.post(f"/api/transactions/{spent}/refund").status == 200
    assert wallets.post(f"/api/transactions/{spent}/refund").status == 422
    assert wallets.post(f"/api/transactions/{part['id']}/refund").status == 422
    assert wallets.other().post(f"/api/transactions/{spent}/refund").status == 404
    assert numbers(wallets, wallet) == [0, 0, 0]


def test_a_call_with_a_key_is_done_once(wallets):
    wallet = wallets.wallet(10)
    path = f"/api/wallets/{wallet}/purchase"
    first = wallets.post(path, {"amount_usd": 4}, key='"k-1"')
    again = wallets.post(path, {"amount_usd": 4}, key="k-1")
    assert again.body == first.body
    assert again.headers["idempotency-replayed"] == "true"
    other = wallets.post(path, {"amount_usd": 5}, key="k-1")
    assert (other.status, other.json["code"]) == (422, "idempotency-mismatch")
    assert wallets.other().post(path, {"amount_usd": 4}, key="k-1").status == 404
    made = wallets.post(f"/api/wallets/{wallet}/holds", {"amount_usd": 1}, key="k-2").json["hold"]["id"]
    captures = [wallets.post(f"/api/holds/{made}/capture", key="k-3").json for _ in range(2)]
    assert captures[0] == captures[1]
    assert numbers(wallets, wallet) == [500, 0, 0]


def test_a_refusal_is_not_kept_under_the_key(wallets):
    wallet = wallets.wallet(1)
    path = f"/api/wallets/{wallet}/purchase"
    assert wallets.post(path, {"amount_usd": 4}, key="k-1").status == 402
    assert wallets("PATCH", f"/api/wallets/{wallet}", {"budget_limit_usd": 4}).status == 200
    assert wallets.post(path, {"amount_usd": 4}, key="k-1").status == 200


def test_a_budget_is_not_lowered_below_what_is_taken(wallets):
    wallet = wallets.wallet(10)
    wallets.buy(wallet, 1)
    hold(wallets, wallet, 2)
    act(wallets, hold(wallets, wallet, 3), "doubt")
    low = wallets("PATCH", f"/api/wallets/{wallet}", {"budget_limit_usd": 5.999999, "name": "new"})
    assert (low.status, low.json["code"]) == (422, "budget-too-low")
    changed = wallets("PATCH", f"/api/wallets/{wallet}", {"budget_limit_usd": 6, "name": "new"}).json[
        "wallet"
    ]
    assert (changed["budget_limit_micros"], changed["name"]) == (6_000_000, "new")
    assert wallets.buy(wallet, 0.000001).status == 402


def test_from_a_frozen_wallet_nothing_is_taken(wallets):
    wallet = wallets.wallet(10)
    made = hold(wallets, wallet, 1)
    assert wallets("PATCH", f"/api/wallets/{wallet}", {"frozen": True}).json["wallet"]["frozen"] is True
    refused = wallets.buy(wallet, 1)
    assert (refused.status, refused.json["limiting_rule"]) == (402, "frozen")
    assert act(wallets, made, "capture").status == 200
    wallets("PATCH", f"/api/wallets/{wallet}", {"frozen": False})
    assert wallets.buy(wallet, 1).status == 200


def test_what_a_child_takes_is_taken_from_every_ancestor_or_from_none(wallets):
    root = wallets.wallet(10, agent="root")

    def child(parent, budget, agent):
        body = {"agent_id": agent, "name": agent, "budget_limit_usd": budget}
        return wallets.post(f"/api/wallets/{parent}/children", body)

    assert child(root, 10.01, "x").status == 400
    left, right = child(root, 8, "left").json["wallet"]["id"], child(root, 8, "right").json["wallet"]["id"]
    below = child(left, 8, "below").json["wallet"]
    assert below["parent_id"] == left
    made = hold(wallets, below["id"], 6)
    assert [numbers(wallets, one) for one in (root, left, right, below["id"])] == [
        [0, 600, 0],
        [0, 600, 0],
        [0, 0, 0],
        [0, 600, 0],
    ]
    refused = wallets.buy(right, 5)
    assert (refused.status, refused.json["limiting_rule"], refused.json["remaining_micros"]) == (
        402,
        "parent_budget",
        4_000_000,
    )
    assert numbers(wallets, right) == [0, 0, 0]
    assert act(wallets, made, "capture", amount_usd=1).status == 200
    assert wallets.buy(right, 5).status == 200
    assert numbers(wallets, root) == [600, 0, 0]
    assert {
        one["wallet_id"] for one in wallets.get(f"/api/wallets/{root}/transactions").json["transactions"]
    } == {below["id"], right}


def test_another_keys_holds_are_not_there(wallets):
    wallet = wallets.wallet(10)
    made = hold(wallets, wallet, 1)
    other = wallets.other()
    assert other.get(f"/api/holds/{made}").status == 404
    assert other.get(f"/api/wallets/{wallet}/holds").status == 404
    for what in ("capture", "void", "extend", "doubt", "write-off"):
        assert act(other, made, what).status == 404
    assert numbers(wallets, wallet) == [0, 100, 0]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount_usd"),
        ({"amount_usd": 0}, "amount_usd"),
        ({"amount_usd": 1, "expires_in": 0}, "expires_in"),
        ({"amount_usd": 1, "on_expiry": "x"}, "on_expiry"),
        ({"amount_usd": 1, "vendor": ""}, "vendor"),
    ],
)
def test_a_hold_that_is_none_is_named(wallets, body, field):
    answer = wallets.post(f"/api/wallets/{wallets.wallet()}/holds", body)
    assert (answer.status, answer.json["field"]) == (400, field)


def test_the_step_of_a_movement_is_kept(trove, wallets, api):
    from sqlalchemy import select

    from trove_agents.server.db.tables import wallet_entries

    wallet = wallets.wallet()
    wallets(
        "POST",
        f"/api/wallets/{wallet}/holds",
        {"amount_usd": 1},
        headers=[("X-Trove-Step", 'thread="t", step="4"')],
    )
    with trove.server.database.read() as db:
        ((kind, step),) = db.all(select(wallet_entries.c.kind, wallet_entries.c.step))
    assert (kind, step) == ("hold", '{"thread":"t","step":"4"}')
    assert api.events(types="wallet.hold")["events"][0]["step"]["thread"] == "t"


def test_what_there_is_can_be_asked(wallets):
    told = wallets.get("/api/capabilities").json
    assert told["holds"] is told["idempotency"] is told["refunds"] is told["children"] is True
    assert [one["id"] for one in wallets.get("/api/wallets").json["wallets"]] == []
    wallet = wallets.wallet()
    assert [one["id"] for one in wallets.get("/api/wallets").json["wallets"]] == [wallet]
    assert wallets.get(f"/api/wallets/{wallet}").json["wallet"]["parent_id"] is None
