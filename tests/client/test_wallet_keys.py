"""Keys that own wallets, and keys that only spend from one, in the client."""

import pytest

from trove_agents import TroveAuthError, TroveNotFoundError, WalletBudgetWarning, WalletLimits
from trove_agents.embedded import Trove

from .plain_wallets import PlainWallets


@pytest.fixture
def client(colour):
    with Trove.temporary() as trove:
        yield colour.embedded_wallets(trove)


@pytest.fixture
def wallet(colour, client):
    return colour.call(client, "create_wallet", "bot", "Bot", 1).id


@pytest.fixture
def made(colour, client, wallet):
    return colour.call(client, "create_key", "agent", role="spend", wallet_id=wallet)


@pytest.fixture
def spender(colour, client, made):
    return colour.wallets(client._transport, made.api_key)


def test_a_key_that_spends_sees_one_wallet_and_decides_nothing(colour, client, wallet, made, spender):
    assert (made.role, made.wallet_id) == ("spend", wallet)
    other = colour.call(client, "create_wallet", "other", "Other", 1).id
    assert colour.call(spender, "purchase", wallet, "0.1").wallet_id == wallet
    assert colour.call(spender, "get_limits", wallet) == WalletLimits()
    asked = {"operation_key": "k", "arguments_digest": "d", "max_amount_usd": 1}
    approval = colour.call(spender, "request_approval", wallet, **asked)
    assert colour.call(spender, "get_approval", approval.id) == approval
    with pytest.raises(TroveNotFoundError):
        colour.call(spender, "purchase", other, "0.1")
    for method, arguments in (
        ("approve", (approval.id,)),
        ("deny", (approval.id,)),
        ("set_limits", (wallet, WalletLimits())),
        ("update_wallet", (wallet,)),
        ("list_keys", ()),
        ("create_wallet", ("new", "New", 1)),
    ):
        with pytest.raises(TroveAuthError) as refused:
            colour.call(spender, method, *arguments)
        assert refused.value.status_code == 403


def test_a_key_that_spends_finds_its_wallet_by_the_agent(colour, wallet, spender):
    found = colour.call(spender, "wallet", "bot", budget_usd=1)
    assert found.id == wallet
    assert colour.call(found, "purchase", "0.1").wallet_id == wallet
    with pytest.warns(WalletBudgetWarning):
        assert colour.call(spender, "wallet", "bot", budget_usd=2).id == wallet
    with pytest.raises(TroveAuthError) as refused:
        colour.call(spender, "wallet", "other", budget_usd=1)
    assert refused.value.status_code == 403


@pytest.mark.parametrize("status", [401, 403])
def test_a_plain_server_that_refuses_a_key_is_believed(colour, status):
    class Refusing(PlainWallets):
        def create(self, body):
            return status, {"message": "not with this key"}

    with pytest.raises(TroveAuthError, match="not with this key") as refused:
        colour.call(colour.wallets(colour.transport(Refusing())), "wallet", "bot", budget_usd=1)
    assert refused.value.status_code == status


def test_keys_are_listed_and_ended(colour, client, wallet, made, spender):
    mine, given_out = colour.call(client, "list_keys")
    assert (mine.role, mine.wallet_id) == ("owner", None)
    assert (given_out.id, given_out.name, given_out.role) == (made.id, "agent", "spend")
    assert (given_out.wallet_id, given_out.created_at) == (wallet, made.created_at)
    assert colour.call(client, "delete_key", made.id) is None
    with pytest.raises(TroveAuthError) as ended:
        colour.call(spender, "balance", wallet)
    assert ended.value.status_code == 401
    assert colour.call(client, "list_keys") == [mine]
    with pytest.raises(TroveNotFoundError):
        colour.call(client, "delete_key", made.id)
