"""Lists of wallets and holds in pages."""

import time

import pytest


@pytest.fixture
def wallet(wallets):
    return wallets.wallet(100)


def hold(wallets, wallet, **more):
    return wallets.post(f"/api/wallets/{wallet}/holds", {"amount_usd": 1, **more}).json["hold"]["id"]


def found(wallets, path, query):
    answer = wallets.get(path, query).json
    [listed] = (answer[name] for name in ("wallets", "holds") if name in answer)
    place = answer["pagination"]
    return [one["id"] for one in listed], (place["page"], place["limit"], place["total"], place["pages"])


def test_wallets_are_listed_in_pages_oldest_first(wallets):
    assert found(wallets, "/api/wallets", "") == ([], (1, 500, 0, 0))
    made = [wallets.wallet(agent=f"bot-{n}") for n in range(5)]
    wallets.other().wallet()
    assert found(wallets, "/api/wallets", "") == (made, (1, 500, 5, 1))
    assert found(wallets, "/api/wallets", "page=2&limit=2") == (made[2:4], (2, 2, 5, 3))
    assert found(wallets, "/api/wallets", "page=4&limit=2") == ([], (4, 2, 5, 3))
    made_for_one = {"name": "a", "role": "spend", "wallet_id": made[3]}
    spender = wallets.with_key(wallets.post("/api/keys", made_for_one).json["api_key"])
    assert found(spender, "/api/wallets", "limit=1") == ([made[3]], (1, 1, 1, 1))


def test_holds_are_listed_in_pages_newest_first(wallets, wallet):
    path = f"/api/wallets/{wallet}/holds"
    made = [hold(wallets, wallet) for _ in range(5)]
    hold(wallets, wallets.wallet(agent="other"))
    assert found(wallets, path, "") == (made[::-1], (1, 500, 5, 1))
    assert found(wallets, path, "page=2&limit=2") == (made[2:0:-1], (2, 2, 5, 3))
    assert found(wallets, path, f"limit=2&before={made[3]}") == (made[2:0:-1], (1, 2, 3, 2))


def test_the_state_of_a_listed_hold_is_that_of_the_clock(trove, wallets, wallet, monkeypatch):
    path = f"/api/wallets/{wallet}/holds"
    lasting, doubted, over, over_in_doubt, captured, voided = (
        hold(wallets, wallet, **more)
        for more in (
            {},
            {},
            {"expires_in": 10},
            {"expires_in": 10, "on_expiry": "doubt"},
            {},
            {"expires_in": 10},
        )
    )
    wallets.post(f"/api/holds/{doubted}/doubt")
    wallets.post(f"/api/holds/{captured}/capture")
    wallets.post(f"/api/holds/{voided}/void")
    assert found(wallets, path, "state=held")[0] == [over_in_doubt, over, lasting]
    assert found(wallets, path, "state=expired")[0] == []
    monkeypatch.setattr(trove.server.database, "now_ns", lambda: time.time_ns() + 11 * 10**9)
    for state, holds in {
        "held": [lasting],
        "expired": [over],
        "in_doubt": [over_in_doubt, doubted],
        "captured": [captured],
        "voided": [voided],
        "written_off": [],
    }.items():
        assert found(wallets, path, f"state={state}") == (holds, (1, 500, len(holds), bool(holds)))
        listed = wallets.get(path, f"state={state}").json["holds"]
        assert {one["state"] for one in listed} <= {state}
    assert found(wallets, path, f"state=in_doubt&limit=1&before={over_in_doubt}")[0] == [doubted]


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "limit=0", "limit=501", "before=0", "before=x", "state=lost"]
)
def test_a_page_that_is_none_is_refused(wallets, wallet, query):
    answers = [wallets.get(f"/api/wallets/{wallet}/holds", query)]
    if query.startswith(("page", "limit")):
        answers.append(wallets.get("/api/wallets", query))
    for answer in answers:
        assert (answer.status, answer.json["field"]) == (400, query.partition("=")[0])
