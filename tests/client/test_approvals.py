"""Approvals of payments, as a client asks for, answers and uses them."""

from decimal import Decimal

import pytest

from trove_agents import (
    BudgetExceededError,
    TroveConflictError,
    TroveNotFoundError,
    WalletLimits,
)
from trove_agents.embedded import Trove

PAYMENT = {"operation_key": "k", "arguments_digest": "d"}


@pytest.fixture
def client(colour):
    with Trove.temporary() as trove:
        yield colour.embedded_wallets(trove)


@pytest.fixture
def wallet(colour, client):
    """With a limit over which a person is asked."""
    wallet = colour.call(client, "wallet", "bot", budget_usd=100)
    colour.call(client, "set_limits", wallet.id, WalletLimits(approval_above_usd=Decimal(5)))
    return wallet


def ask(colour, client, wallet, most=10, **more):
    return colour.call(client, "request_approval", wallet.id, **PAYMENT, max_amount_usd=most, **more)


def test_a_payment_over_the_limit_uses_a_persons_yes(colour, client, wallet):
    with pytest.raises(BudgetExceededError) as refused:
        colour.call(wallet, "purchase", "5.01")
    assert refused.value.limiting_rule == "approval_above"
    asked = ask(
        colour, client, wallet, "7.5", expires_in=60, description="a ticket", vendor="rail", tool="book"
    )
    assert (asked.wallet_id, asked.operation_key, asked.arguments_digest) == (wallet.id, "k", "d")
    assert (asked.max_amount_usd, asked.state) == (Decimal("7.5"), "pending")
    assert (asked.description, asked.vendor, asked.tool) == ("a ticket", "rail", "book")
    assert ask(colour, client, wallet, "7.5") == asked
    with pytest.raises(TroveConflictError) as early:
        colour.call(wallet, "purchase", 6, approval=asked)
    assert early.value.code == "approval-unfit"
    assert [colour.call(client, "approve", asked.id).state for _ in range(2)] == ["approved", "approved"]
    assert colour.call(client, "get_approval", asked.id).state == "approved"
    assert colour.call(wallet, "purchase", 6, vendor="rail", approval=asked).amount_usd == 6
    assert colour.call(client, "get_approval", asked.id).state == "used"


def test_a_hold_uses_one_too(colour, client, wallet):
    asked = ask(colour, client, wallet)
    colour.call(client, "approve", asked.id)
    with pytest.raises(TroveConflictError) as over:
        colour.call(client, "hold", wallet.id, "10.01", approval=asked)
    assert over.value.code == "approval-unfit"
    assert colour.call(client, "hold", wallet.id, 10, approval=asked).state == "held"
    assert [each.id for each in colour.call(client, "list_approvals", wallet.id, "used")] == [asked.id]


def test_a_no_is_a_no(colour, client, wallet):
    asked = ask(colour, client, wallet)
    assert colour.call(client, "deny", asked.id).state == "denied"
    with pytest.raises(TroveConflictError):
        colour.call(client, "approve", asked.id)
    with pytest.raises(TroveNotFoundError):
        colour.call(client, "get_approval", asked.id + 1)


def test_all_approvals_are_listed_newest_first(colour, client, wallet):
    asked = [ask(colour, client, wallet, Decimal(n)) for n in range(1, 103)]
    assert colour.call(client, "list_approvals", wallet.id) == asked[::-1]
    assert colour.call(client, "list_approvals", wallet.id, "denied") == []


def test_those_that_are_answered_while_they_are_listed_hide_no_others():
    with Trove.temporary() as trove:
        client = trove.wallets()
        wallet = client.wallet("bot", budget_usd=1)
        asked = [client.request_approval(wallet.id, **PAYMENT, max_amount_usd=n).id for n in range(1, 103)]
        answered = [client.deny(each.id).id for each in client.list_approvals(wallet.id, "pending")]
        assert answered == asked[::-1]
