"""One program, embedded or against a server: what it is given decides, for files and wallets alike."""

import asyncio
from decimal import Decimal

import pytest

from trove_agents import Trove, TroveAuthError, WalletClient, connect
from trove_agents.config import DEFAULT_BASE_URL
from trove_agents.embedded import Remote


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    for name in ("BASE_URL", "API_KEY", "WORKSPACE_ID", "NAMESPACE", "WALLET_KEY", "CONFIG"):
        monkeypatch.delenv(f"TROVE_{name}", raising=False)


@pytest.fixture(scope="module")
def served(serving, tmp_path_factory):
    with serving(
        tmp_path_factory.mktemp("served"), "--sandbox", "none", "--credentials-file", "keys.json"
    ) as server:
        keys = server.credentials("keys.json")
        with WalletClient(base_url=keys["base_url"]) as opening:
            yield keys | {"wallet_key": opening.create_key("mine").api_key}


def program(trove):
    """What runs the same everywhere."""
    with trove.client("agent") as agent:
        agent.write("a", "text")
        text = agent.read_text("a")
    wallet = trove.wallet("agent", budget_usd="0.50")
    wallet.purchase("0.1", vendor="v")
    wallet.client.close()

    async def more():
        async with trove.async_client("agent") as agent:
            await agent.write("b", text)
        wallet = await trove.async_wallet("agent", budget_usd="0.50")
        await wallet.purchase("0.1")
        await wallet.client.aclose()
        async with trove.async_wallets() as wallets:
            return wallet.id, (await wallets.balance(wallet.id)).remaining_budget

    found, remaining = asyncio.run(more())
    assert found == wallet.id
    with trove.wallets() as wallets:
        assert [each.vendor for each in wallets.transactions(found)] == [None, "v"]
    return text, remaining


def test_the_same_program_runs_everywhere(served, tmp_path):
    with Trove.local(tmp_path / "state") as trove:
        here = program(trove)
    with connect(
        base_url=served["base_url"], api_key=served["key"], wallet_key=served["wallet_key"]
    ) as there:
        assert isinstance(there, Remote)
        assert program(there) == here == ("text", Decimal("0.3"))


def test_the_workspace_of_a_server_is_found_out(served):
    with connect(base_url=served["base_url"], api_key=served["admin_key"]) as there:
        with there.admin() as admin:
            assert admin.workspace_id == served["workspace_id"]
            assert admin.list_keys()
        asyncio.run(there.async_admin().aclose())


def test_the_environment_says_it_too(served, monkeypatch):
    monkeypatch.setenv("TROVE_BASE_URL", served["base_url"])
    monkeypatch.setenv("TROVE_WALLET_KEY", served["wallet_key"])
    with connect() as there, there.wallets() as wallets:
        assert wallets.create_wallet("environment", "E", 1).agent_id == "environment"
        with pytest.raises(TroveAuthError, match="TROVE_API_KEY"):
            there.client("agent")


def test_nothing_said_is_the_embedded_server(tmp_path):
    with connect(path=tmp_path / "state") as trove:
        assert isinstance(trove, Trove)


def test_a_wallet_key_alone_is_for_the_hosted_service():
    assert connect(wallet_key="tvpk_1").base_url == DEFAULT_BASE_URL


def test_a_server_needs_a_key_for_what_is_done_there(served):
    url = served["base_url"]
    with pytest.raises(TroveAuthError, match="TROVE_API_KEY"):
        connect(base_url=url)
    there = connect(base_url=url, api_key=served["key"])
    for ask in (there.wallets, there.async_wallets, lambda: there.wallet("agent", budget_usd=1)):
        with pytest.raises(TroveAuthError, match="TROVE_WALLET_KEY"):
            ask()
    assert served["wallet_key"] not in repr(connect(base_url=url, wallet_key=served["wallet_key"]))


def test_a_wallet_that_is_refused_leaves_no_connection(served):
    there = connect(base_url=served["base_url"], wallet_key="tvpk_unknown")
    with pytest.raises(TroveAuthError):
        there.wallet("agent", budget_usd=1)
    with pytest.raises(TroveAuthError):
        asyncio.run(there.async_wallet("agent", budget_usd=1))
