"""Two processes that share a journal and make the same payments."""

import subprocess
import sys
from decimal import Decimal

from trove_agents import WalletClient
from trove_agents.guard import SqliteJournal

PAYS = """
import sys
from trove_agents import WalletClient
from trove_agents.guard import Guard, PaymentInDoubt

base_url, key, wallet, path = sys.argv[1:]
with WalletClient(key, base_url=base_url) as wallets:
    guard = Guard(wallets.wallet(wallet, budget_usd=1), journal=path)
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(20):
        try:
            guard.pay(lambda: print(n, flush=True), "0.01", key=str(n))
        except PaymentInDoubt:
            pass
"""


def test_the_vendor_is_called_once_for_each_key(serving, tmp_path):
    path = tmp_path / "journal.db"
    SqliteJournal(path).close()
    with serving(tmp_path, "--credentials-file", "keys.json") as server:
        base_url = server.credentials("keys.json")["base_url"]
        with WalletClient(base_url=base_url) as opening:
            key = opening.create_key("guard").api_key
        with WalletClient(key, base_url=base_url) as wallets:
            wallet = wallets.wallet("bot", budget_usd=1)
            paying = [
                subprocess.Popen(
                    [sys.executable, "-c", PAYS, base_url, key, "bot", path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(2)
            ]
            assert [each.stdout.readline() for each in paying] == ["ready\n", "ready\n"]
            for each in paying:
                each.stdin.write("\n")
                each.stdin.flush()
            called = [int(n) for each in paying for n in each.communicate()[0].split()]
            assert [each.returncode for each in paying] == [0, 0]
            assert sorted(called) == list(range(20))
            found = wallet.balance()
            assert (found.total_spent, found.held_usd, found.in_doubt_usd) == (Decimal("0.2"), 0, 0)
