"""Payments that wait for a person."""

import time

import pytest

PAYMENT = {"operation_key": "k", "arguments_digest": "d"}


@pytest.fixture
def wallet(wallets):
    wallet = wallets.wallet(100)
    assert wallets("PUT", f"/api/wallets/{wallet}/limits", {"approval_above_usd": 5}).status == 200
    return wallet


def ask(wallets, wallet, most=10, **more):
    answer = wallets.post(f"/api/wallets/{wallet}/approvals", {**PAYMENT, "max_amount_usd": most, **more})
    assert answer.status == 200, answer.body
    return answer.json["approval"]["id"]


def pay(wallets, wallet, amount, approval=None, *, hold=False, **other):
    body = {"amount_usd": amount}
    if approval is not None:
        body["approval"] = {"id": approval, **PAYMENT, **other}
    return wallets.post(f"/api/wallets/{wallet}/{'holds' if hold else 'purchase'}", body)


@pytest.mark.parametrize("hold", [False, True])
def test_above_the_limit_a_person_is_needed_once(wallets, wallet, hold):
    assert pay(wallets, wallet, 5, hold=hold).status == 200
    refused = pay(wallets, wallet, 6, hold=hold)
    assert (refused.status, refused.json["limiting_rule"]) == (402, "approval_above")
    approval = ask(wallets, wallet)
    assert pay(wallets, wallet, 6, approval, hold=hold).json["code"] == "approval-unfit"
    assert wallets.post(f"/api/approvals/{approval}/approve").json["approval"]["state"] == "approved"
    assert wallets.post(f"/api/approvals/{approval}/approve").status == 200
    for other in ({"operation_key": "x"}, {"arguments_digest": "x"}):
        assert pay(wallets, wallet, 6, approval, hold=hold, **other).status == 409
    assert pay(wallets, wallet, 10.000001, approval, hold=hold).status == 409
    assert pay(wallets, wallet, 10, approval, hold=hold).status == 200
    assert pay(wallets, wallet, 6, approval, hold=hold).status == 409
    listed = wallets.get(f"/api/wallets/{wallet}/approvals", "state=used").json["approvals"]
    assert [one["id"] for one in listed] == [approval]


def test_a_refused_payment_does_not_use_it_up(wallets, wallet):
    approval = ask(wallets, wallet, most=200)
    wallets.post(f"/api/approvals/{approval}/approve")
    assert pay(wallets, wallet, 101, approval).status == 402
    assert pay(wallets, wallet, 100, approval).status == 200


def test_a_no_stays_a_no(wallets, wallet, api):
    approval = ask(wallets, wallet)
    assert ask(wallets, wallet) == approval
    assert wallets.post(f"/api/approvals/{approval}/deny").json["approval"]["state"] == "denied"
    assert wallets.post(f"/api/approvals/{approval}/approve").status == 409
    assert ask(wallets, wallet) == approval
    assert pay(wallets, wallet, 6, approval).status == 409
    states = [event["data"]["state"] for event in api.events(types="wallet.approval")["events"]]
    assert states == ["denied", "pending"]


def test_an_approval_runs_out(trove, wallets, wallet, monkeypatch):
    approval = ask(wallets, wallet, expires_in=10)
    wallets.post(f"/api/approvals/{approval}/approve")
    monkeypatch.setattr(trove.server.database, "now_ns", lambda: time.time_ns() + 11 * 10**9)
    assert pay(wallets, wallet, 6, approval).status == 409
    assert wallets.post(f"/api/approvals/{approval}/approve").status == 409
    assert wallets.get(f"/api/wallets/{wallet}/approvals").json["approvals"][0]["state"] == "expired"
    assert ask(wallets, wallet) == approval
    assert pay(wallets, wallet, 6, approval).status == 409
    wallets.post(f"/api/approvals/{approval}/approve")
    assert pay(wallets, wallet, 6, approval).status == 200


def test_who_spends_asks_and_the_owner_answers(wallets, wallet):
    made = wallets.post("/api/keys", {"name": "a", "role": "spend", "wallet_id": wallet}).json["api_key"]
    spender = wallets.with_key(made)
    approval = ask(spender, wallet)
    for answer in ("approve", "deny"):
        assert spender.post(f"/api/approvals/{approval}/{answer}").status == 403
        assert wallets.other().post(f"/api/approvals/{approval}/{answer}").status == 404
    assert wallets.post(f"/api/approvals/{approval}/approve").status == 200
    assert pay(spender, wallet, 6, approval).status == 200


def test_an_approval_is_read_by_those_who_see_its_wallet(wallets, wallet):
    made = wallets.post("/api/keys", {"name": "a", "role": "spend", "wallet_id": wallet}).json["api_key"]
    spender = wallets.with_key(made)
    approval = ask(spender, wallet)
    for reader in (wallets, spender):
        assert reader.get(f"/api/approvals/{approval}").json["approval"]["state"] == "pending"
    assert wallets.other().get(f"/api/approvals/{approval}").status == 404
    for unknown in (approval + 1, 2**63):
        assert wallets.get(f"/api/approvals/{unknown}").json["detail"] == "approval not found"
    assert wallets.get("/api/approvals/x").json["field"] == "approval_id"


def test_approvals_are_listed_in_pages(trove, wallets, wallet, monkeypatch):
    path = f"/api/wallets/{wallet}/approvals"
    asked = [ask(wallets, wallet, most=n, expires_in=10 if n < 3 else 60) for n in range(1, 6)]
    wallets.post(f"/api/approvals/{asked[0]}/approve")
    wallets.post(f"/api/approvals/{asked[4]}/deny")

    def found(query):
        answer = wallets.get(path, query).json
        return [one["id"] for one in answer["approvals"]], answer["pagination"]

    place = {"page": 1, "limit": 500, "total": 5, "pages": 1}
    assert found("") == (asked[::-1], place)
    assert found("page=2&limit=2") == (asked[2:0:-1], {"page": 2, "limit": 2, "total": 5, "pages": 3})
    assert found("page=4&limit=2") == ([], {"page": 4, "limit": 2, "total": 5, "pages": 3})
    assert found(f"before={asked[2]}&limit=1") == (
        [asked[1]],
        {"page": 1, "limit": 1, "total": 2, "pages": 2},
    )
    assert found("state=pending&limit=1")[1] == {"page": 1, "limit": 1, "total": 3, "pages": 3}
    monkeypatch.setattr(trove.server.database, "now_ns", lambda: time.time_ns() + 11 * 10**9)
    assert found("state=expired")[0] == [asked[1], asked[0]]
    assert found("state=pending")[0] == [asked[3], asked[2]]
    assert found("state=denied")[0] == [asked[4]]
    assert found("state=approved")[0] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("before=0", "before"),
        ("state=lost", "state"),
    ],
)
def test_a_page_that_is_none_is_refused(wallets, wallet, query, field):
    answer = wallets.get(f"/api/wallets/{wallet}/approvals", query)
    assert (answer.status, answer.json["field"]) == (400, field)
