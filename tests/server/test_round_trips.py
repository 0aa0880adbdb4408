"""How often a request waits for PostgreSQL, counted by a relay on the way there: each time the server answers after the
client spoke.
"""

import select
import socket
import sys
import threading
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from trove_agents.server import timelines
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Database
from trove_agents.server.files.conditions import Conditions
from trove_agents.server.files.service import Files
from trove_agents.server.idempotency.keys import Keyed
from trove_agents.server.snapshots.service import SnapshotService
from trove_agents.server.wallets.holds import Holds
from trove_agents.server.wallets.keys import WalletKeys
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire.money import from_micros
from trove_agents.wire.wallets import HoldRequest, PartRequest, PurchaseRequest, WalletRequest

PRINCIPAL = Principal("ws-1", "key-1", "k", "workspace", None)


class Relay:
    """A server's unix socket in another folder; counts the round trips of all connections made through it."""

    def __init__(self, folder, target):
        self.trips = 0
        self.last = b""
        """What the client said in the last one."""
        self._target = str(target)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client, server):
        asked = False
        with client, server:
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    if one is client:
                        self.last = self.last + data if asked else data
                        asked = True
                    elif asked:
                        asked = False
                        self.trips += 1
                    (server if one is client else client).sendall(data)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def trips(tmp_path, tmp_path_factory):
    """``trips(function, *arguments)``: how many a call takes, on a connection that is open."""
    url = sys.modules["tests_postgres"].url(tmp_path)
    real = parse_qs(urlsplit(url).query)["host"][0]
    folder = tmp_path_factory.mktemp("r")
    relay = Relay(folder, f"{real}/.s.PGSQL.5432")
    database = Database.open(url.replace(real, str(folder)))

    def count(function, *arguments, **options):
        with database.read():
            pass
        database.write(lambda tx: None)
        before = relay.trips
        function(*arguments, **options)
        return relay.trips - before

    count.relay = relay
    count.database, count.blobs = database, BlobStore.local(tmp_path / "blobs")
    yield count
    database.close()
    relay.close()


def test_a_read_is_one_and_a_write_at_most_four(trips):
    files = Files(trips.database, trips.blobs)
    write = lambda path, text, **more: trips(files.write, PRINCIPAL, "main", path, text, **more)
    write("first", "makes the namespace")
    for _ in range(7):  # after some uses the driver prepares a statement, once for each connection
        assert write("a/b/c/new", "text") <= 4
        assert write("a/b/c/new", "text") <= 4  # the same
        assert write("a/b/c/new", "next") <= 4  # as long, and another
        assert write("a/b/c/new", "longer text") <= 4
        assert trips(files.delete, PRINCIPAL, "main", "a") <= 6
    assert write("large", "x" * 100_000) <= 4
    for path, taken in (("first", 1), ("large", 2)):
        for _ in range(7):
            files.read(PRINCIPAL, "main", path)
        assert trips(files.read, PRINCIPAL, "main", path) == taken
    assert trips(files.delete, PRINCIPAL, "main", "large") <= 4


def test_what_else_a_change_asks_for_takes_one_more(trips):
    files = Files(trips.database, trips.blobs)
    files.write(PRINCIPAL, "main", "a", "1")
    assert trips(files.write, PRINCIPAL, "main", "a", "2", Conditions("*", None)) == 5
    keyed = replace(PRINCIPAL, keyed=Keyed("k", b"f", 200))
    assert trips(files.write, keyed, "main", "a", "3") == 5


def test_a_version_of_many_files_takes_one_for_each_content(trips):
    payload = [timelines.payload(trips.blobs, "ws-1", b"%d" % number) for number in range(50)]
    Files(trips.database, trips.blobs).write(PRINCIPAL, "main", "d/0", "old")

    def commit(tx):
        space = timelines.namespace(tx, "ws-1", "main")
        change = timelines.Change(tx, space, kind="exec", now_ns=trips.database.now_ns())
        change.expect(f"d/{number}" for number in range(50))
        for number in range(50):
            change.put_file(f"d/{number}", payload[number])
        assert change.commit().files == 50

    assert trips(trips.database.write, commit) == 50 + 3


def test_a_snapshot_takes_two(trips):
    Files(trips.database, trips.blobs).write(PRINCIPAL, "main", "a", "1")
    assert trips(SnapshotService(trips.database).create, PRINCIPAL, "main", None) == 2


def test_a_payment_keeps_the_others_of_its_workspace_waiting_in_its_last_one_alone(trips):
    keys, wallets, holds = WalletKeys(trips.database), Wallets(trips.database), Holds(trips.database)
    who = keys.authenticate({"x-trove-key": keys.create("ws-1", "mine").api_key})
    cent = from_micros(10_000)
    wallet = wallets.create(who, WalletRequest("bot", "bot", from_micros(1_000_000))).wallet.id
    one, other = (holds.create(who, wallet, HoldRequest(amount_usd=cent)).hold.id for _ in range(2))
    for pay, *arguments in (
        (wallets.purchase, wallet, PurchaseRequest(cent)),
        (holds.create, wallet, HoldRequest(amount_usd=cent)),
        (holds.capture, one, PartRequest()),
        (holds.void, other),
    ):
        trips(pay, who, *arguments)
        assert b"workspace ws-1" in trips.relay.last
