"""Wallets that know the namespace of their agent: its feed has their events."""

import pytest


def seen(api, **query):
    return [(event["type"], event["namespace"]) for event in api.events(**query)["events"]]


def test_what_happens_to_a_wallet_is_in_its_agents_feed(wallets, api):
    wallet = wallets.wallet(10, namespace="agent-1")
    assert wallets.get(f"/api/wallets/{wallet}").json["wallet"]["namespace"] == "agent-1"
    held = [
        wallets.post(f"/api/wallets/{wallet}/holds", {"amount_usd": 1}).json["hold"]["id"] for _ in range(2)
    ]
    wallets.post(f"/api/holds/{held[0]}/void")
    wallets.post(f"/api/holds/{held[1]}/capture")
    assert wallets.buy(wallet, 10).status == 402
    assert wallets.buy(wallet, 8.5).status == 200
    asked = {"operation_key": "k", "arguments_digest": "d", "max_amount_usd": 1}
    approval = wallets.post(f"/api/wallets/{wallet}/approvals", asked).json["approval"]["id"]
    wallets.post(f"/api/approvals/{approval}/deny")
    expected = ["hold", "hold", "voided", "captured", "denied", "captured", "low", "approval", "approval"]
    assert seen(api, namespace="agent-1") == [(f"wallet.{kind}", "agent-1") for kind in reversed(expected)]


def test_each_wallet_has_its_own(wallets, api):
    parent = wallets.wallet(10)
    body = {"agent_id": "sub", "name": "Sub", "budget_limit_usd": 5, "namespace": "agent-2"}
    child = wallets.post(f"/api/wallets/{parent}/children", body).json["wallet"]
    assert child["namespace"] == "agent-2"
    assert [one["namespace"] for one in wallets.get("/api/wallets").json["wallets"]] == [None, "agent-2"]
    wallets.buy(child["id"], 1)
    wallets.buy(parent, 1)
    assert seen(api, types="wallet.captured") == [("wallet.captured", None), ("wallet.captured", "agent-2")]


@pytest.mark.parametrize("namespace", ["", "a b", "a\n", "x" * 129, "\u00e9", 5])
def test_what_can_be_no_namespace_is_refused(wallets, namespace):
    body = {"agent_id": "bot", "name": "Bot", "budget_limit_usd": 5, "namespace": namespace}
    answer = wallets.post("/api/wallets", body)
    assert (answer.status, answer.json["field"]) == (400, "namespace")
    assert wallets.get("/api/wallets").json["wallets"] == []
