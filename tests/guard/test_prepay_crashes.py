"""A crash before and after every call of the journal and of a wallet without holds: nothing is bought twice or lost."""

import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest

from trove_agents import Wallet, WalletClient
from trove_agents.client.drive import Outgoing
from trove_agents.guard import Guard, NotCharged, PaymentInDoubt, SqliteJournal

from .plain import Plain, adds_up, micros, totals
from .powered import PRICE, Crash, Power, Powered, Vendor


def guarding(plain, journal, power=None):
    transport = plain
    if power is not None:
        transport, journal = Powered(plain, power), Powered(journal, power)
    client = WalletClient("tvpk_1", transport=transport, retries=None)
    return Guard(Wallet(client, plain.wallet["id"], "bot"), journal=journal, quiet_seconds=0)


@pytest.mark.parametrize("lost", [0, 1], ids=["answered", "its answer lost"])
@pytest.mark.parametrize(
    ("charges", "error"),
    [(True, None), (True, TimeoutError), (False, TimeoutError), (False, NotCharged)],
    ids=["returns", "charges and raises", "raises", "not charged"],
)
@pytest.mark.parametrize("again", [None, 3, 7], ids=lambda n: f"recovery fails at {n}")
def test_a_crash_at_any_moment(tmp_path, charges, error, again, lost):
    for moment in count(1):
        plain = Plain()
        plain.service.lost = lost
        journal = SqliteJournal(tmp_path / f"{moment}.db")
        power = Power(moment)
        vendor = Vendor(charges, error, power)
        with suppress(Crash, TimeoutError, NotCharged):
            guarding(plain, journal, power).pay(vendor, PRICE, key="k")
        crashed, started = power.failed, vendor.runs > 0
        assert plain.spent >= vendor.took, moment

        if again is not None:
            with suppress(Crash):
                guarding(plain, journal, Power(again)).recover()

        journal.close()
        journal = SqliteJournal(tmp_path / f"{moment}.db")
        guard = guarding(plain, journal)
        guard.recover()
        adds_up(journal, plain)
        in_doubt = guard.in_doubt_usd()
        assert plain.spent in (0, PRICE), moment
        assert vendor.took <= plain.spent - guard.credit_usd(), moment
        assert guard.recover() == [], moment

        vendor.power, vendor.error = Power(10**6), None
        try:
            guard.pay(vendor, PRICE, key="k")
        except PaymentInDoubt:
            assert in_doubt == PRICE, moment
        assert vendor.runs <= (2 if error is NotCharged and started else 1), moment
        assert vendor.took <= PRICE, moment
        assert plain.spent == PRICE, moment  # bought once, whatever happened
        assert guard.credit_usd() == 0, moment
        adds_up(journal, plain)
        journal.close()
        if not crashed:
            assert moment > 12
            return


PAYS = """
import sys
from trove_agents import Wallet, WalletClient
from trove_agents.guard import Guard, Metered, NotCharged, PaymentInDoubt

base_url, path, me = sys.argv[1:]
client = WalletClient("tvpk_1", base_url=base_url)
guard = Guard(Wallet(client, 1, "bot"), journal=path)
print("ready", flush=True)
sys.stdin.readline()
for n in range(24):
    def tool():
        print(n, flush=True)
        if n % 4 == 3:
            raise NotCharged
        return "0.004"
    try:
        guard.pay(tool, Metered("0.01", lambda cost: cost) if n % 2 else "0.01", key=str(n))
    except (PaymentInDoubt, NotCharged):
        pass
"""


@contextmanager
def listening(plain):
    """The plain wallet service at a port; each third answer to a purchase is lost on the way."""
    lock, bought = threading.Lock(), count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path, _, query = self.path.partition("?")
            headers = tuple((name.lower(), text) for name, text in self.headers.items())
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                reply = plain.send(Outgoing(self.command, path, query, headers, body, len(body), 1.0))
                if path.endswith("purchase") and next(bought) % 3 == 0:
                    self.close_connection = True
                    return
            self.send_response(reply.status)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_two_processes_share_a_journal_and_its_credit(tmp_path):
    plain, path = Plain(), tmp_path / "journal.db"
    journal = SqliteJournal(path)
    with listening(plain) as base_url:
        paying = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", PAYS, base_url, path, str(n)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(2)
        ]
        assert [each.stdout.readline() for each in paying] == ["ready\n", "ready\n"]
        for each in paying:
            each.stdin.write("\n")
            each.stdin.flush()
        called = [int(n) for each in paying for n in each.communicate()[0].split()]
        assert [each.returncode for each in paying] == [0, 0]
    charged = [n for n in called if n % 4 != 3]
    assert sorted(charged) == [n for n in range(24) if n % 4 != 3]
    assert set(called) == set(range(24))
    adds_up(journal, plain)
    _, _, drawn = totals(journal)
    assert drawn == sum(micros(Decimal("0.004") if n % 2 else Decimal("0.01")) for n in charged)
    assert len({each["description"] for each in plain.bought}) == len(plain.bought)
    journal.close()
