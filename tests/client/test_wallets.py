"""The wallet client: the same against the public service's calls alone and against our server, in both colours."""

import asyncio
import decimal
import itertools
import json
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents import (
    AsyncWalletClient,
    BudgetExceededError,
    NotSupported,
    TroveAuthError,
    TroveConflictError,
    TroveConnectionError,
    TroveError,
    TroveNotFoundError,
    WalletBudgetWarning,
    WalletClient,
    WalletExists,
    WalletLimits,
)
from trove_agents.client import money
from trove_agents.client.drive import Outgoing
from trove_agents.embedded import Trove
from trove_agents.embedded.driver import AsyncInProcess, InProcess

from .conftest import SWIFT
from .plain_wallets import PlainWallets


@pytest.fixture(params=["plain", "ours"])
def client(request, colour):
    """With a new key, on a server without wallets."""
    if request.param == "plain":
        yield colour.wallets(colour.transport(PlainWallets()))
        return
    with Trove.temporary() as trove:
        trove.credentials
        kind = InProcess if colour.name == "sync" else AsyncInProcess
        transport = kind(trove._runtime)
        key = colour.call(colour.wallets(transport, None), "create_key", "mine")
        yield colour.wallets(transport, key.api_key)


def test_a_wallet_is_made_and_spent_to_its_last_micro_dollar(colour, client):
    made = colour.call(client, "create_wallet", "bot", "Bot", Decimal("0.30"))
    assert (made.agent_id, made.name, made.budget_limit_usd) == ("bot", "Bot", Decimal("0.3"))
    first = colour.call(client, "purchase", made.id, "0.1", description="a text", vendor="twilio")
    assert (first.wallet_id, first.amount_usd, first.type) == (made.id, Decimal("0.1"), "debit")
    assert (first.description, first.vendor) == ("a text", "twilio")
    colour.call(client, "purchase", made.id, Decimal("0.2"))
    balance = colour.call(client, "balance", made.id)
    assert (balance.total_spent, balance.remaining_budget) == (Decimal("0.3"), 0)
    assert balance.budget_usd == Decimal("0.3")
    assert balance.transaction_count == 2
    with pytest.raises(BudgetExceededError) as refused:
        colour.call(client, "purchase", made.id, "0.000001")
    assert (refused.value.status_code, refused.value.recovery) == (402, "adapt")
    assert colour.call(client, "balance", made.id) == balance


def test_the_largest_amount_arrives_and_returns_exactly(colour, client):
    most = Decimal("999999999.999999")
    made = colour.call(client, "create_wallet", "bot", "Bot", most)
    assert made.budget_limit_usd == most
    bought = colour.call(client, "purchase", made.id, most - Decimal("0.000001"))
    assert bought.amount_usd == Decimal("999999999.999998")
    assert colour.call(client, "balance", made.id).remaining_budget == Decimal("0.000001")


def test_amounts_are_exact_in_a_coarse_decimal_context(colour, client):
    with decimal.localcontext() as context:
        context.prec = 3
        made = colour.call(client, "create_wallet", "bot", "Bot", "123456.789012")
        colour.call(client, "purchase", made.id, "23456.789011")
        balance = colour.call(client, "balance", made.id)
    assert str(balance.remaining_budget).rstrip("0") == "100000.000001"
    assert str(balance.budget_usd) == "123456.789012"


@pytest.mark.parametrize("amount", [0.1, 5.0, float("nan"), True, None, b"1"])
@pytest.mark.parametrize("method", ["purchase", "create_wallet"])
def test_what_is_no_amount_is_refused_before_anything_is_sent(colour, method, amount):
    transport = colour.transport(PlainWallets())
    arguments = (1, amount) if method == "purchase" else ("bot", "Bot", amount)
    with pytest.raises(TypeError, match="Decimal"):
        colour.call(colour.wallets(transport), method, *arguments)
    assert transport.requests == []


@pytest.mark.parametrize(
    "amount",
    [
        "0.0000001",
        "1.00000000000000000000000000000001",
        "NaN",
        "Infinity",
        "-1",
        "1000000000",
        "1e50",
        "$5",
        "",
    ],
)
def test_amounts_that_would_be_rounded_or_make_no_sense_are_refused(amount):
    with pytest.raises(ValueError, match="amount"):
        money.usd(amount)


@given(st.integers(0, 999_999_999_999_999))
def test_every_amount_is_written_as_the_number_that_it_is(micros):
    amount = Decimal(micros).scaleb(-6)
    assert json.loads(bytes(money.usd(amount)), parse_float=Decimal) == amount
    assert money.usd(str(amount)) == money.usd(amount)


def test_what_the_server_refuses(colour, client):
    made = colour.call(client, "create_wallet", "bot", "Bot", 1)
    with pytest.raises(TroveNotFoundError):
        colour.call(client, "balance", made.id + 1)
    with pytest.raises(TroveNotFoundError):
        colour.call(client, "transactions", made.id + 1)
    with pytest.raises(TroveError, match="amount_usd") as refused:
        colour.call(client, "purchase", made.id, 0)
    assert (refused.value.status_code, refused.value.recovery) == (400, "fix-arguments")
    with pytest.raises(WalletExists) as there:
        colour.call(client, "create_wallet", "bot", "Bot", 1)
    assert there.value.wallet_id == made.id
    assert isinstance(there.value, TroveConflictError)
    assert pickle.loads(pickle.dumps(there.value)).wallet_id == made.id
    other = colour.wallets(client._transport, "tvpk_unknown")
    with pytest.raises(TroveAuthError):
        colour.call(other, "balance", made.id)


def test_what_was_bought_is_listed_once_newest_first(colour, client):
    made = colour.call(client, "create_wallet", "bot", "Bot", 1)
    other = colour.call(client, "create_wallet", "other", "Other", 1)
    assert colour.call(client, "transactions", made.id) == []
    bought = [colour.call(client, "purchase", made.id, "0.001") for _ in range(205)]
    colour.call(client, "purchase", other.id, "0.001")
    assert colour.call(client, "transactions", made.id) == bought[::-1]


def test_what_is_bought_while_pages_are_read_repeats_nothing():
    server = PlainWallets()
    client = WalletClient("tvpk_1", transport=InMemory(server))
    wallet = client.wallet("bot", budget_usd=1)
    bought = [wallet.purchase("0.001") for _ in range(150)]
    listed = wallet.transactions()
    first = list(itertools.islice(listed, 100))
    for _ in range(3):
        wallet.purchase("0.001")
    assert first + list(listed) == bought[::-1]


class InMemory:
    retries = False

    def __init__(self, server):
        self.send = server


def test_the_wallet_of_an_agent_is_made_once(colour, client):
    made = colour.call(client, "wallet", "bot", budget_usd="0.50")
    assert colour.call(made, "purchase", "0.2", vendor="x").wallet_id == made.id
    again = colour.call(client, "wallet", "bot", budget_usd=Decimal("0.5"), name="ignored")
    assert (again.id, again.agent_id) == (made.id, "bot")
    assert colour.call(again, "balance").remaining_budget == Decimal("0.3")
    assert [each.vendor for each in colour.call(again, "transactions")] == ["x"]
    assert repr(again).endswith(f"Wallet(id={made.id}, agent_id='bot')")


def test_another_budget_warns_and_changes_nothing(colour, client):
    made = colour.call(client, "wallet", "bot", budget_usd="0.50")
    colour.call(made, "purchase", "0.2")
    with pytest.warns(WalletBudgetWarning, match=r"'bot' is there, with a budget of \$0.50?, not \$5"):
        again = colour.call(client, "wallet", "bot", budget_usd=5)
    assert colour.call(again, "balance").budget_usd == Decimal("0.5")


def test_a_server_that_counts_in_floats_gives_no_false_warning(colour):
    class Floats(PlainWallets):
        def balance(self, wallet):
            counters = {"total_spent": 0.1 + 0.2, "remaining_budget": 1 - 0.9 + 0.6, "transaction_count": 3}
            return 200, {"balance": counters}

    client = colour.wallets(colour.transport(Floats()))
    made = colour.call(client, "create_wallet", "bot", "Bot", 1)
    assert colour.call(client, "wallet", "bot", budget_usd=1).id == made.id


def test_an_existing_wallet_without_its_id_cannot_be_found(colour):
    class Silent(PlainWallets):
        def create(self, body):
            return 409, {"message": "Wallet exists", "wallet_id": None}

    with pytest.raises(WalletExists, match="Wallet exists"):
        colour.call(colour.wallets(colour.transport(Silent())), "wallet", "bot", budget_usd=1)


def test_a_key_is_made_without_one(colour):
    transport = colour.transport(PlainWallets())
    made = colour.call(colour.wallets(transport, None), "create_key", "mine", admin_key="k")
    assert made.api_key == "tvpk_1"
    sent = dict(transport.requests[0].headers)
    assert "x-trove-key" not in sent
    assert sent["authorization"] == "Bearer k"
    colour.call(colour.wallets(transport), "create_key", "mine")
    assert "authorization" not in dict(transport.requests[1].headers)


def test_a_key_that_no_header_can_carry_is_refused():
    with pytest.raises(ValueError, match="api_key"):
        WalletClient("tvpk\n1", transport=InMemory(None))


# Repeating
def sent_to(transport):
    return [(each.method, each.path) for each in transport.requests]


PURCHASE, ASKED = ("POST", "/api/wallets/1/purchase"), ("GET", "/api/capabilities")


def test_a_plain_server_is_never_asked_twice_to_spend(colour):
    server = PlainWallets()
    transport = colour.transport(server)
    client = colour.wallets(transport)
    wallet = colour.call(client, "wallet", "bot", budget_usd=5)
    server.lost = 1
    with pytest.raises(TroveError) as failed:
        colour.call(wallet, "purchase", 1)
    assert failed.value.status_code == 503
    assert sent_to(transport)[1:] == [PURCHASE, ASKED]
    assert len(server.bought) == 1


def test_a_server_that_keeps_answers_is_asked_again_under_the_same_key(colour):
    class Keeping(PlainWallets):
        kept = {}

        def answer(self, request, body, query):
            if request.path == "/api/capabilities":
                return 200, {"idempotency": True, "holds": False, "version": "1"}
            key = dict(request.headers).get("idempotency-key")
            if key in self.kept:
                return self.kept[key]
            status, answer = super().answer(request, body, query)
            if status == 503:
                spent = {"id": 1, "balance_usd": 1}
                self.kept[key] = 200, {"transaction": self.bought[-1], "wallet": spent}
            return status, answer

    server = Keeping()
    transport = colour.transport(server)
    client = colour.wallets(transport, retries=SWIFT)
    wallet = colour.call(client, "wallet", "bot", budget_usd=5)
    server.lost = 1
    assert colour.call(wallet, "purchase", 1).amount_usd == 1
    assert sent_to(transport)[1:] == [PURCHASE, ASKED, PURCHASE]
    assert len(server.bought) == 1


def test_a_key_of_ones_own_needs_a_server_that_keeps_answers(colour):
    server = PlainWallets()
    client = colour.wallets(colour.transport(server))
    with pytest.raises(NotSupported):
        colour.call(client.with_idempotency_key("k"), "purchase", 1, 1)
    assert server.bought == []


def test_with_a_key_of_ones_own_it_is_bought_once(colour):
    with Trove.temporary() as trove:
        client = colour.embedded_wallets(trove)
        wallet = colour.call(client, "wallet", "bot", budget_usd=1)
        first, again = [
            colour.call(client.with_idempotency_key("k"), "purchase", wallet.id, "0.4") for _ in range(2)
        ]
        assert first == again
        assert colour.call(wallet, "balance").total_spent == Decimal("0.4")
        with pytest.raises(BudgetExceededError) as refused:
            colour.call(wallet, "purchase", "0.600001")
        assert refused.value.requested_usd == Decimal("0.600001")
        assert refused.value.remaining_usd == Decimal("0.6")
        assert refused.value.limiting_rule == "budget"


# Over a network
@pytest.fixture(scope="module")
def served(serving, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), "--sandbox", "none") as server:
        yield server.base_url


def test_over_loopback(served):
    with WalletClient(base_url=served) as opening:
        key = opening.create_key("mine").api_key
    with WalletClient(key, base_url=served) as client:
        wallet = client.wallet("bot", budget_usd="0.3")
        bought = [wallet.purchase("0.1") for _ in range(3)]
        with pytest.raises(BudgetExceededError):
            wallet.purchase("0.000001")
        assert list(wallet.transactions()) == bought[::-1]
        assert wallet.balance().remaining_budget == 0
        client.refund(bought[0].id)
        assert client.capture(client.hold(wallet.id, "0.1").id).amount_usd == Decimal("0.1")
        asked = client.request_approval(
            wallet.id, operation_key="k", arguments_digest="d", max_amount_usd="0.1"
        )
        limits = WalletLimits(approval_above_usd=Decimal("0.01"), per_vendor_usd={"v": Decimal("0.05")})
        assert client.set_limits(wallet.id, limits) == client.get_limits(wallet.id) == limits
        spends = client.create_key("agent", role="spend", wallet_id=wallet.id)
        client.refund(bought[1].id)
        with WalletClient(spends.api_key, base_url=served) as spender:
            with pytest.raises(BudgetExceededError):
                spender.purchase(wallet.id, "0.05", vendor="v")
            approved = client.approve(asked.id)
            assert spender.purchase(wallet.id, "0.05", vendor="v", approval=approved).vendor == "v"
            assert [each.state for each in spender.list_approvals(wallet.id)] == ["used"]


def test_over_loopback_many_at_once_cannot_overdraw(served):
    async def main():
        async with AsyncWalletClient(base_url=served) as opening:
            key = (await opening.create_key("mine")).api_key
        async with AsyncWalletClient(key, base_url=served) as client:
            wallet = await client.wallet("bot", budget_usd="0.5")
            done = await asyncio.gather(*(wallet.purchase("0.1") for _ in range(8)), return_exceptions=True)
            listed = [each async for each in wallet.transactions()]
            return done, listed, await wallet.balance()

    done, listed, balance = asyncio.run(main())
    assert sum(isinstance(each, BudgetExceededError) for each in done) == 3
    assert len(listed) == 5
    assert balance.remaining_budget == 0


def test_nobody_there(colour):
    def gone(request: Outgoing):
        raise TroveConnectionError("gone", may_have_committed=True)

    client = colour.wallets(colour.transport(gone))
    with pytest.raises(TroveConnectionError) as failed:
        colour.call(client, "purchase", 1, 1)
    assert failed.value.may_have_committed
