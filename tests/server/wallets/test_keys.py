"""Keys that own wallets, and keys that only spend from one."""

import pytest


@pytest.fixture
def wallet(wallets):
    return wallets.wallet(10)


@pytest.fixture
def spender(wallets, wallet):
    made = wallets.post("/api/keys", {"name": "agent", "role": "spend", "wallet_id": wallet}).json
    assert (made["role"], made["wallet_id"]) == ("spend", wallet)
    return wallets.with_key(made["api_key"])


def test_a_spender_reads_and_spends_its_wallet_alone(wallets, wallet, spender):
    other = wallets.wallet(10, agent="other")
    assert spender.buy(wallet, 1).status == 200
    hold = spender.post(f"/api/wallets/{wallet}/holds", {"amount_usd": 1}).json["hold"]["id"]
    assert spender.post(f"/api/holds/{hold}/doubt").status == 200
    assert spender.post(f"/api/holds/{hold}/capture").status == 200
    assert spender.balance(wallet)["spent_micros"] == 2_000_000
    assert [one["id"] for one in spender.get("/api/wallets").json["wallets"]] == [wallet]
    assert spender.get(f"/api/wallets/{other}/balance").status == 404
    assert spender.buy(other, 1).status == 404


def test_what_a_spender_may_not(wallets, wallet, spender):
    spent = spender.buy(wallet, 1).json["transaction"]["id"]
    hold = spender.post(f"/api/wallets/{wallet}/holds", {"amount_usd": 1}).json["hold"]["id"]
    spender.post(f"/api/holds/{hold}/doubt")
    body = {"agent_id": "x", "name": "x", "budget_limit_usd": 1}
    for answer in (
        spender("PATCH", f"/api/wallets/{wallet}", {"budget_limit_usd": 100}),
        spender.post(f"/api/transactions/{spent}/refund"),
        spender.post(f"/api/holds/{hold}/write-off"),
        spender.post("/api/wallets", body),
        spender.post(f"/api/wallets/{wallet}/children", body),
        spender.post("/api/keys", {"name": "x", "role": "spend", "wallet_id": wallet}),
        spender.get("/api/keys"),
        spender("DELETE", "/api/keys/1"),
    ):
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert wallets.balance(wallet)["in_doubt_micros"] == 1_000_000


def test_only_the_owner_gives_out_keys_of_a_wallet(wallets, wallet):
    body = {"name": "x", "role": "spend", "wallet_id": wallet}
    assert wallets.other().post("/api/keys", body).status == 404
    assert wallets.with_key(None, bare=True).post("/api/keys", body).status == 401
    assert wallets.with_key("tvpk_unknown").post("/api/keys", body).status == 401
    for wrong in ({"name": "x", "role": "spend"}, {"name": "x", "wallet_id": wallet}):
        answer = wallets.post("/api/keys", wrong)
        assert (answer.status, answer.json["field"]) == (400, "wallet_id")


def test_keys_are_listed_without_their_secrets_and_ended(wallets, wallet, spender):
    listed = wallets.get("/api/keys")
    assert [(key["name"], key["role"], key["wallet_id"]) for key in listed.json["keys"]] == [
        ("mine", "owner", None),
        ("agent", "spend", wallet),
    ]
    assert b"tvpk_" not in listed.body
    mine, theirs = (key["id"] for key in listed.json["keys"])
    assert wallets.other()("DELETE", f"/api/keys/{theirs}").status == 404
    assert wallets("DELETE", f"/api/keys/{theirs}").json["id"] == theirs
    assert wallets("DELETE", f"/api/keys/{theirs}").status == 404
    assert spender.buy(wallet, 1).status == 401
    assert wallets("DELETE", f"/api/keys/{mine}").status == 200
    assert wallets.buy(wallet, 1).status == 401
