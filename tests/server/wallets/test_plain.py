"""The public wallet service's own calls."""

import re
from decimal import Decimal

import pytest

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def test_the_answers_have_the_public_fields(wallets):
    made = wallets("POST", "/api/keys", {"name": "my-app"}).json
    assert made["success"] is True
    assert made["api_key"].startswith("tvpk_")
    assert made["name"] == "my-app"
    assert isinstance(made["id"], int)
    assert STAMP.fullmatch(made["created_at"])
    wallet = wallets.post(
        "/api/wallets", {"agent_id": "research-bot", "name": "Research Agent", "budget_limit_usd": 50}
    ).json["wallet"]
    assert {
        "agent_id": "research-bot",
        "name": "Research Agent",
        "budget_limit_usd": 50,
        "balance_usd": 0,
    }.items() <= wallet.items()
    bought = wallets.buy(wallet["id"], 5.00, description="Twilio SMS", vendor="twilio").json
    transaction = bought["transaction"]
    expected = {
        "wallet_id": wallet["id"],
        "amount_usd": 5,
        "description": "Twilio SMS",
        "vendor": "twilio",
        "type": "debit",
    }
    assert expected.items() <= transaction.items()
    assert {"id": wallet["id"], "balance_usd": 5}.items() <= bought["wallet"].items()
    balance = wallets.balance(wallet["id"])
    assert {
        "current_balance": 5,
        "total_spent": 5,
        "remaining_budget": 45,
        "transaction_count": 1,
    }.items() <= balance.items()
    listed = wallets.get(f"/api/wallets/{wallet['id']}/transactions").json
    assert listed["transactions"] == [transaction]
    assert listed["wallet"] == {"id": wallet["id"], "agent_id": "research-bot", "name": "Research Agent"}
    assert listed["pagination"] == {"page": 1, "limit": 20, "total": 1, "pages": 1}


def test_what_is_exactly_left_can_be_spent_and_not_a_micro_dollar_more(wallets):
    wallet = wallets.wallet(0.3)
    for _ in range(3):
        assert wallets.buy(wallet, 0.1).status == 200
    refused = wallets.buy(wallet, 0.000001)
    assert refused.status == 402
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json["success"] is False
    assert refused.json["code"] == "insufficient-funds"
    assert refused.json["remaining_micros"] == 0
    assert refused.json["requested_micros"] == 1
    assert wallets.balance(wallet)["remaining_budget"] == 0
    assert wallets.balance(wallet)["transaction_count"] == 3
    assert wallets.get(f"/api/wallets/{wallet}/transactions").json["pagination"]["total"] == 3


def test_nothing_can_be_bought_from_a_budget_of_nothing(wallets):
    assert wallets.buy(wallets.wallet(0), 0.000001).status == 402


@pytest.mark.parametrize(
    "amount",
    [
        "0",
        "-1",
        "0.0000001",
        "1e-7",
        "NaN",
        "Infinity",
        "true",
        '"5"',
        "null",
        "[]",
        "1000000000",
        "1e400",
        "1" * 60,
        "0.0",
    ],
)
def test_what_is_no_amount_is_refused_and_named(wallets, amount):
    wallet = wallets.wallet(10)
    answer = wallets("POST", f"/api/wallets/{wallet}/purchase", data=b'{"amount_usd": %s}' % amount.encode())
    assert answer.status == 400
    assert answer.json["success"] is False
    if amount not in {"NaN", "Infinity"}:  # those are not even JSON
        assert answer.json["field"] == "amount_usd"
    assert wallets.balance(wallet)["spent_micros"] == 0


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("999999999.999999", 999_999_999_999_999),
        ("0.000001", 1),
        ("1e-6", 1),
        ("5.00", 5_000_000),
        ("1.1000000", 1_100_000),
        ("2E3", 2_000_000_000),
    ],
)
def test_amounts_are_exact_both_ways(wallets, text, micros):
    wallet = wallets.wallet(999999999.999999)
    answer = wallets("POST", f"/api/wallets/{wallet}/purchase", data=b'{"amount_usd": %s}' % text.encode())
    assert answer.json["transaction"]["amount_micros"] == micros
    assert Decimal(answer.json["transaction"]["amount_usd"]) * 1_000_000 == micros
    assert wallets.balance(wallet)["spent_micros"] == micros


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a", "budget_limit_usd": 1}, "agent_id"),
        ({"agent_id": "", "name": "a", "budget_limit_usd": 1}, "agent_id"),
        ({"agent_id": "a", "name": " ", "budget_limit_usd": 1}, "name"),
        ({"agent_id": "a", "name": "a\0", "budget_limit_usd": 1}, "name"),
        ({"agent_id": 5, "name": "a", "budget_limit_usd": 1}, "agent_id"),
        ({"agent_id": "a", "name": "a"}, "budget_limit_usd"),
        ({"agent_id": "a", "name": "a", "budget_limit_usd": -1}, "budget_limit_usd"),
        ({"agent_id": "a", "name": "a", "budget_limit_usd": "1"}, "budget_limit_usd"),
    ],
)
def test_what_a_wallet_cannot_be_made_of_is_named(wallets, body, field):
    answer = wallets.post("/api/wallets", body)
    assert answer.status == 400
    assert answer.json["field"] == field
    assert field in answer.json["message"]


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=1.5", "limit=0", "limit=101", "limit="])
def test_a_page_that_is_none_is_named(wallets, query):
    answer = wallets.get(f"/api/wallets/{wallets.wallet()}/transactions", query)
    assert answer.status == 400
    assert answer.json["field"] == query.partition("=")[0]


@pytest.mark.parametrize("identity", ["x", "1.0", "-1", "9" * 30])
def test_an_id_that_is_no_number_is_refused(wallets, identity):
    answer = wallets.get(f"/api/wallets/{identity}/balance")
    assert answer.status == 400
    assert answer.json["field"] == "wallet_id"


def test_another_keys_wallet_is_not_there(wallets):
    wallet = wallets.wallet()
    other = wallets.other()
    for answer in (
        other.get(f"/api/wallets/{wallet}/balance"),
        other.get(f"/api/wallets/{wallet}/transactions"),
        other.buy(wallet, 1),
        wallets.buy(10**18, 1),
    ):
        assert answer.status == 404
        assert answer.json["code"] == "not-found"
    assert wallets.balance(wallet)["spent_micros"] == 0


def test_without_a_known_key_nothing_is_told(wallets):
    wallet = wallets.wallet()
    wallets.key = "tvpk_unknown"
    answer = wallets.get(f"/api/wallets/{wallet}/balance")
    assert (answer.status, answer.json["success"]) == (401, False)
    wallets.key = None
    assert wallets.get(f"/api/wallets/{wallet}/balance").status == 401


def test_an_agent_has_one_wallet_of_a_key(wallets):
    wallet = wallets.wallet(agent="bot")
    again = wallets.post("/api/wallets", {"agent_id": "bot", "name": "x", "budget_limit_usd": 1})
    assert again.status == 409
    assert again.json["wallet_id"] == wallet
    assert wallets.other().wallet(agent="bot") != wallet


def test_pages_are_newest_first_and_whole(wallets):
    wallet = wallets.wallet()
    made = [wallets.buy(wallet, 0.01 * (n + 1)).json["transaction"]["id"] for n in range(7)]
    seen = []
    for page in (1, 2, 3, 4):
        answer = wallets.get(f"/api/wallets/{wallet}/transactions", f"page={page}&limit=3").json
        assert answer["pagination"] == {"page": page, "limit": 3, "total": 7, "pages": 3}
        seen += [transaction["id"] for transaction in answer["transactions"]]
    assert seen == made[::-1]


def test_only_a_hash_of_the_key_is_kept(trove, wallets):
    from sqlalchemy import select

    from trove_agents.server.db.tables import wallet_keys

    with trove.server.database.read() as db:
        rows = db.all(select(*wallet_keys.c))
    assert rows
    assert wallets.key.encode() not in repr(rows).encode()


def test_events_tell_of_purchases_and_refusals(wallets, api):
    wallet = wallets.wallet(1)
    bought = wallets.buy(wallet, 0.95).json["transaction"]
    wallets.buy(wallet, 1)
    found = {event["type"]: event for event in api.events()["events"] if event["type"].startswith("wallet.")}
    assert found["wallet.captured"]["data"]["transaction_id"] == bought["id"]
    assert found["wallet.captured"]["workspace_id"] == wallets.trove.credentials.workspace_id
    assert found["wallet.low"]["data"]["remaining_micros"] == 50_000
    assert found["wallet.denied"]["data"]["amount_micros"] == 1_000_000
