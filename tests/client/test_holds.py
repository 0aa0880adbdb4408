"""Holds, refunds, children and changes of wallets: against our server, and refused where a server has none of it."""

from decimal import Decimal

import pytest

from trove_agents import (
    BudgetExceededError,
    TroveConflictError,
    TroveError,
    TroveNotFoundError,
    WalletExists,
)
from trove_agents.embedded import Trove

from .conftest import SWIFT, reply


@pytest.fixture
def client(colour):
    with Trove.temporary() as trove:
        yield colour.embedded_wallets(trove)


@pytest.fixture
def wallet(colour, client):
    return colour.call(client, "create_wallet", "bot", "Bot", 1).id


def numbers(colour, client, wallet):
    found = colour.call(client, "balance", wallet)
    return found.total_spent, found.held_usd, found.in_doubt_usd, found.remaining_budget


def dollars(*amounts):
    return tuple(map(Decimal, amounts))


def test_what_is_held_is_captured_in_part_and_the_rest_given_back(colour, client, wallet):
    held = colour.call(
        client,
        "hold",
        wallet,
        "0.6",
        vendor="v",
        tool="t",
        description="d",
        metadata={"run": 1},
        expires_in=60,
    )
    assert (held.wallet_id, held.amount_usd, held.state, held.on_expiry) == (
        wallet,
        Decimal("0.6"),
        "held",
        "void",
    )
    assert (held.vendor, held.tool, held.description, held.metadata) == ("v", "t", "d", {"run": 1})
    assert numbers(colour, client, wallet) == dollars("0", "0.6", "0", "0.4")
    with pytest.raises(BudgetExceededError) as refused:
        colour.call(client, "hold", wallet, "0.400001")
    assert (refused.value.remaining_usd, refused.value.requested_usd) == dollars("0.4", "0.400001")
    with pytest.raises(TroveError) as over:
        colour.call(client, "capture", held.id, "0.600001")
    assert (over.value.status_code, over.value.code) == (422, "over-capture")
    spent = colour.call(client, "capture", held.id, "0.25")
    assert (spent.amount_usd, spent.type, spent.hold_id) == (Decimal("0.25"), "debit", held.id)
    assert numbers(colour, client, wallet) == dollars("0.25", "0", "0", "0.75")
    assert colour.call(client, "get_hold", held.id).state == "captured"
    with pytest.raises(TroveConflictError) as late:
        colour.call(client, "void", held.id)
    assert late.value.code == "already-captured"


def test_what_is_held_is_voided_as_often_as_said(colour, client, wallet):
    held = colour.call(client, "hold", wallet, 1)
    later = colour.call(client, "extend", held.id, 86_400)
    assert later.expires_at > held.expires_at
    assert [colour.call(client, "void", held.id).state for _ in range(2)] == ["voided", "voided"]
    assert numbers(colour, client, wallet) == dollars(0, 0, 0, 1)


def test_what_is_in_doubt_counts_until_somebody_knows(colour, client, wallet):
    first, second, third = [colour.call(client, "hold", wallet, "0.2", on_expiry="doubt") for _ in range(3)]
    assert first.on_expiry == "doubt"
    for each in (first, second):
        assert colour.call(client, "doubt", each.id).state == "in_doubt"
    assert numbers(colour, client, wallet) == dollars("0", "0.2", "0.4", "0.4")
    assert [each.id for each in colour.call(client, "list_holds", wallet, "in_doubt")] == [
        second.id,
        first.id,
    ]
    assert [each.id for each in colour.call(client, "list_holds", wallet)] == [third.id, second.id, first.id]
    assert colour.call(client, "write_off", first.id).type == "write_off"
    assert colour.call(client, "capture", second.id).amount_usd == Decimal("0.2")
    assert numbers(colour, client, wallet) == dollars("0.4", "0.2", "0", "0.4")


def test_all_holds_are_listed_though_they_end_meanwhile():
    with Trove.temporary() as trove:
        client = trove.wallets()
        wallet = client.wallet("bot", budget_usd=1)
        made = [client.hold(wallet.id, "0.001").id for _ in range(102)]
        voided = [client.void(each.id).id for each in client.list_holds(wallet.id, "held")]
        assert voided == made[::-1]


def test_all_wallets_are_listed(colour, client):
    made = [colour.call(client, "create_wallet", f"bot-{n}", "Bot", 1) for n in range(102)]
    assert colour.call(client, "list_wallets") == made


def test_what_was_spent_is_given_back(colour, client, wallet):
    bought = colour.call(client, "purchase", wallet, "0.5")
    back = colour.call(client, "refund", bought.id, "0.1")
    assert (back.type, back.refunds, bought.refunds, bought.hold_id) == ("credit", bought.id, None, None)
    assert colour.call(client, "refund", bought.id).amount_usd == Decimal("0.4")
    with pytest.raises(TroveError) as over:
        colour.call(client, "refund", bought.id, "0.000001")
    assert over.value.code == "over-refund"
    assert numbers(colour, client, wallet) == dollars(0, 0, 0, 1)


def test_a_child_spends_from_its_parent(colour, client, wallet):
    child = colour.call(client, "create_child", wallet, "sub", "Sub", "0.8")
    assert (child.parent_id, child.budget_limit_usd) == (wallet, Decimal("0.8"))
    colour.call(client, "purchase", child.id, "0.5")
    assert numbers(colour, client, wallet)[0] == Decimal("0.5")
    colour.call(client, "purchase", wallet, "0.4")
    with pytest.raises(BudgetExceededError) as refused:
        colour.call(client, "purchase", child.id, "0.2")
    assert refused.value.limiting_rule == "parent_budget"
    with pytest.raises(WalletExists):
        colour.call(client, "create_child", wallet, "sub", "Sub", "0.1")


def test_the_events_of_a_wallet_are_in_its_agents_feed(colour):
    with Trove.temporary() as trove:
        client = colour.embedded_wallets(trove)
        made = colour.call(client, "create_wallet", "bot", "Bot", 1, namespace="agent-1")
        child = colour.call(client, "create_child", made.id, "sub", "Sub", 1, namespace="agent-2")
        assert (made.namespace, child.namespace) == ("agent-1", "agent-2")
        got = colour.call(client, "wallet", "third", budget_usd=1, namespace="agent-3")
        assert colour.call(client, "get_wallet", got.id).namespace == "agent-3"
        colour.call(got, "purchase", "0.1")
        [event] = trove.admin().list_events(namespace="agent-3")
        assert (event.type, event.data["wallet_id"]) == ("wallet.captured", got.id)


def test_a_wallet_is_listed_changed_and_frozen(colour, client, wallet):
    colour.call(client, "purchase", wallet, "0.5")
    changed = colour.call(client, "update_wallet", wallet, budget_limit_usd="2.5", name="New", frozen=True)
    assert (changed.budget_limit_usd, changed.name, changed.frozen) == (Decimal("2.5"), "New", True)
    assert colour.call(client, "get_wallet", wallet) == changed
    assert colour.call(client, "list_wallets") == [changed]
    with pytest.raises(BudgetExceededError) as refused:
        colour.call(client, "purchase", wallet, "0.1")
    assert refused.value.limiting_rule == "frozen"
    assert colour.call(client, "update_wallet", wallet, frozen=False).name == "New"
    with pytest.raises(TroveError) as low:
        colour.call(client, "update_wallet", wallet, budget_limit_usd="0.4")
    assert low.value.code == "budget-too-low"
    with pytest.raises(TroveNotFoundError):
        colour.call(client, "get_wallet", wallet + 1)


def test_a_payment_says_the_step_that_it_is_for(colour):
    with Trove.temporary() as trove:
        client = colour.embedded_wallets(trove)
        wallet = colour.call(client, "create_wallet", "bot", "Bot", 1).id
        colour.call(client.with_step(run="r-1", call="c-1"), "hold", wallet, "0.1")
        [event] = trove.admin().list_events(types=["wallet.hold"])
        assert (event.step.run, event.step.call) == ("r-1", "c-1")


@pytest.mark.parametrize(
    ("method", "arguments", "key"),
    [("hold", (1, 1), True), ("capture", (1,), True), ("refund", (1,), True), ("void", (1,), False)],
)
def test_what_moves_money_is_repeated_under_one_key(colour, method, arguments, key):
    def server(request):
        if request.path == "/api/capabilities":
            return reply(200, b'{"holds": true, "refunds": true, "idempotency": true}')
        return reply(503)

    transport = colour.transport(server)
    with pytest.raises(TroveError):
        colour.call(colour.wallets(transport, retries=SWIFT), method, *arguments)
    keys = [dict(each.headers).get("idempotency-key") for each in transport.requests[1:]]
    assert len(keys) == SWIFT.attempts
    assert len(set(keys)) == 1
    assert (keys[0] is not None) == key


def test_a_hold_that_ran_out_is_to_be_taken_anew(colour):
    def server(request):
        if request.path == "/api/capabilities":
            return reply(200, b'{"holds": true}')
        return reply(410, b'{"success": false, "message": "gone", "code": "hold-expired"}')

    with pytest.raises(TroveError, match="gone") as failed:
        colour.call(colour.wallets(colour.transport(server)), "capture", 1)
    assert (failed.value.code, failed.value.recovery) == ("hold-expired", "adapt")
