"""The embedded server's wallets: one key per directory, whoever opens it."""

import stat
import subprocess
import sys
from decimal import Decimal

import pytest

from trove_agents import AsyncWalletClient, TroveNotFoundError, WalletClient
from trove_agents.embedded import Trove


def test_a_wallet_is_there_again_when_the_directory_is_opened_again(tmp_path):
    with Trove.local(tmp_path / "s") as trove:
        first = trove.wallet("bot", budget_usd=1)
        first.purchase("0.25")
        assert trove.wallet("bot", budget_usd=1).id == first.id
    with Trove.local(tmp_path / "s") as trove:
        again = trove.wallet("bot", budget_usd=1)
        assert (again.id, again.balance().remaining_budget) == (first.id, Decimal("0.75"))
        assert stat.S_IMODE((trove.folder / "wallet-key").stat().st_mode) == 0o600


def test_a_key_that_the_database_does_not_know_is_replaced(tmp_path):
    with Trove.local(tmp_path / "s") as trove:
        trove.wallets()
        (trove.folder / "wallet-key").write_text("tvpk_other")
    with Trove.local(tmp_path / "s") as trove:
        assert trove.wallet("bot", budget_usd=1).balance().remaining_budget == 1
        assert (trove.folder / "wallet-key").read_text() != "tvpk_other"


def test_processes_that_open_at_once_have_one_wallet(tmp_path):
    code = (
        "import sys; from trove_agents import Trove\n"
        "with Trove.local(sys.argv[1]) as trove: print(trove.wallet('bot', budget_usd=1).id)"
    )
    with Trove.local(tmp_path / "s"):
        pass
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert {process.communicate(timeout=60)[0] for process in started} == {"1\n"}


def test_wallets_of_another_key_are_not_seen(tmp_path):
    with Trove.local(tmp_path / "s") as trove:
        mine = trove.wallet("bot", budget_usd=1)
        key = trove.wallets().create_key("other").api_key
        other = WalletClient(key, transport=trove.wallets()._transport)
        with pytest.raises(TroveNotFoundError):
            other.balance(mine.id)
        assert other.wallet("bot", budget_usd=1).id != mine.id


class Watched:
    """What the clients send through, and what they sent."""

    def __init__(self, inner):
        self.inner, self.sent = inner, []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def send(self, request):
        self.sent.append(request.path)
        return self.inner.send(request)


async def test_a_client_of_ones_own_over_the_embedded_transport(tmp_path):
    with Trove.local(tmp_path / "state") as trove:
        key = trove.wallets().create_key("mine").api_key
        watched = Watched(trove.transport())
        made = WalletClient(key, transport=watched).wallet("bot", budget_usd=1)
        assert watched.sent == ["/api/wallets"]
        watched = Watched(trove.async_transport())
        assert (await AsyncWalletClient(key, transport=watched).balance(made.id)).remaining_budget == 1
        assert watched.sent == [f"/api/wallets/{made.id}/balance"]
