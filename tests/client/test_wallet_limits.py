"""Limits beside the budget, as a client sets and meets them."""

import json
from decimal import Decimal

import msgspec
import pytest

from trove_agents import BudgetExceededError, TroveError, WalletLimits
from trove_agents.embedded import Trove

from .conftest import reply


@pytest.fixture
def client(colour):
    with Trove.temporary() as trove:
        yield colour.embedded_wallets(trove)


@pytest.fixture
def wallet(colour, client):
    return colour.call(client, "create_wallet", "bot", "Bot", 10).id


ALL = WalletLimits(
    per_call_usd=Decimal("0.5"),
    per_day_usd=Decimal(2),
    per_month_usd=Decimal("20.000001"),
    per_run_usd=Decimal(1),
    per_thread_usd=Decimal(0),
    per_vendor_usd={"twilio": Decimal("0.1"), "search": Decimal(1)},
    per_tool_usd={"sms": Decimal("0.1")},
    calls_per_minute=0,
    vendors_allowed=("twilio", "search"),
    vendors_denied=("casino",),
    approval_above_usd=Decimal("999999999.999999"),
)


def test_all_rules_are_tried():
    assert None not in msgspec.structs.astuple(ALL)


@pytest.mark.parametrize("limits", [ALL, WalletLimits(), WalletLimits(vendors_allowed=())])
def test_what_is_set_is_read(colour, client, wallet, limits):
    colour.call(client, "set_limits", wallet, WalletLimits(per_call_usd=Decimal(1)))
    assert colour.call(client, "set_limits", wallet, limits) == limits
    assert colour.call(client, "get_limits", wallet) == limits


def test_a_payment_over_a_limit_says_which(colour, client, wallet):
    child = colour.call(client, "create_child", wallet, "sub", "Sub", 10).id
    limits = WalletLimits(per_call_usd=Decimal("0.5"), per_run_usd=Decimal("0.6"))
    colour.call(client, "set_limits", wallet, limits)
    with pytest.raises(BudgetExceededError) as refused:
        colour.call(client, "purchase", child, "0.500001")
    assert (refused.value.limiting_rule, refused.value.wallet_id) == ("per_call", wallet)
    assert refused.value.remaining_usd == Decimal("0.5")
    assert refused.value.code == "limit-exceeded"
    in_run = client.with_step(run="r-1")
    colour.call(in_run, "hold", child, "0.5")
    with pytest.raises(BudgetExceededError) as refused:
        colour.call(in_run, "purchase", wallet, "0.2")
    assert (refused.value.limiting_rule, refused.value.remaining_usd) == ("per_run", Decimal("0.1"))


@pytest.mark.parametrize("name", ["per_call_usd", "per_vendor_usd"])
def test_an_amount_that_is_none_is_refused_before_anything_is_sent(colour, name):
    def server(request):
        assert request.path == "/api/capabilities"
        return reply(200, json.dumps({"limits": True}).encode())

    for wrong, error in ((0.1, TypeError), (Decimal("0.0000001"), ValueError)):
        limits = WalletLimits(**{name: {"v": wrong} if name == "per_vendor_usd" else wrong})
        with pytest.raises(error, match="amount"):
            colour.call(colour.wallets(colour.transport(server)), "set_limits", 1, limits)


def test_a_text_that_is_none_is_refused_before_anything_is_sent(colour):
    client = colour.wallets(colour.transport(None))
    with pytest.raises(TroveError, match="surrogate"):
        colour.call(client, "set_limits", 1, WalletLimits(vendors_denied=("\ud800",)))
