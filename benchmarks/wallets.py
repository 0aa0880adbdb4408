"""Payments: what one costs, and how many there are in a second, by layers, beside the bare statements.

A purchase is the conditional update of one row and the insert of another, durable. A pair is a hold and its capture: two
of those, one after the other. A layer that is added as one more ``Payer`` is measured as the others are.
"""

import contextlib
import json
import statistics
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import engines
import house
from floors import connect
from load import Caller, scattered
from race import Timing, race, timing, together
from report import Row, duration

from trove_agents import WalletClient
from trove_agents.embedded import Trove
from trove_agents.server.db import Connection, Database
from trove_agents.server.settings import Settings
from trove_agents.server.wallets import store
from trove_agents.server.wallets.holds import Holds
from trove_agents.server.wallets.keys import WalletKeys, WalletPrincipal
from trove_agents.server.wallets.service import Wallets
from trove_agents.wire.money import from_micros
from trove_agents.wire.wallets import HoldRequest, PartRequest, PurchaseRequest

BUDGET = 10**14
MICROS = 1_000
CLIENTS = (16, 64)
CONNECTIONS = 400
"""All payers are open at once, each with connections of its own."""
PROCESSES = 4
"""That the callers of a server are spread over."""
USD = Decimal(MICROS).scaleb(-6)


@dataclass(frozen=True, slots=True)
class Turns:
    """How much is measured."""

    wallets: int
    alone: int
    slices: int
    seconds: float


class Payer(ABC):
    """A way to pay from wallets with the ids ``first`` and up, for any number of threads."""

    first: int

    @abstractmethod
    def purchase(self, wallet: int) -> object: ...
    @abstractmethod
    def pair(self, wallet: int) -> object: ...
    @abstractmethod
    def close(self) -> None: ...

    def together(
        self, operation: str, *, wallets: int, clients: int, seconds: float
    ) -> tuple[float, list[float]]:
        """Calls per second, and the microseconds of each."""
        call: Callable[[int], object] = getattr(self, operation)
        return together(
            lambda writer, turn: call(self.first + scattered(writer, turn, wallets)),
            writers=clients,
            seconds=seconds,
        )


class BareSqlite(Payer):
    """The driver alone, under a lock, with a commit for each payment."""

    first = 0

    def __init__(self, folder: Path, wallets: int) -> None:
        folder.mkdir()
        self._raw = connect(folder / "bare.db")
        self._raw.execute(
            "CREATE TABLE wallets(id INTEGER PRIMARY KEY, budget INTEGER, spent INTEGER, held INTEGER, "
            "CHECK (spent + held <= budget))"
        )
        self._raw.execute(
            "CREATE TABLE payments(id INTEGER PRIMARY KEY, wallet INTEGER, spent INTEGER, held INTEGER)"
        )
        self._raw.execute("BEGIN")
        self._raw.executemany(
            "INSERT INTO wallets VALUES (?, ?, 0, 0)", ((wallet, BUDGET) for wallet in range(wallets))
        )
        self._raw.execute("COMMIT")
        self._lock = threading.Lock()

    def purchase(self, wallet: int) -> None:
        self._pay(wallet, MICROS, 0)

    def pair(self, wallet: int) -> None:
        self._pay(wallet, 0, MICROS)
        self._pay(wallet, MICROS, -MICROS)

    def _pay(self, wallet: int, spent: int, held: int) -> None:
        with self._lock:
            self._raw.execute("BEGIN IMMEDIATE")
            self._raw.execute(
                "UPDATE wallets SET spent = spent + ?, held = held + ? WHERE id = ? AND spent + held + ? <= budget "
                "RETURNING spent, held",
                (spent, held, wallet, spent + held),
            ).fetchone()
            self._raw.execute(
                "INSERT INTO payments(wallet, spent, held) VALUES (?, ?, ?)", (wallet, spent, held)
            )
            self._raw.execute("COMMIT")

    def close(self) -> None:
        self._raw.close()


class BarePostgres(Payer):
    """The driver alone: one statement for each payment, and as many connections as pay at once."""

    first = 0

    def __init__(self, url: str, wallets: int) -> None:
        self._url = url
        self._idle: list[Any] = []
        with self._connection() as raw:
            raw.execute("CREATE SCHEMA bare")
            raw.execute(
                "CREATE TABLE bare.wallets(id bigint PRIMARY KEY, budget bigint, spent bigint, held bigint, "
                "CHECK (spent + held <= budget))"
            )
            raw.execute(
                "CREATE TABLE bare.payments(id bigserial PRIMARY KEY, wallet bigint, spent bigint, held bigint)"
            )
            raw.execute(
                "INSERT INTO bare.wallets SELECT id, %s, 0, 0 FROM generate_series(0, %s) AS id",
                (BUDGET, wallets - 1),
            )

    purchase = BareSqlite.purchase
    pair = BareSqlite.pair

    def _pay(self, wallet: int, spent: int, held: int) -> None:
        statement = (
            "WITH taken AS (UPDATE bare.wallets SET spent = spent + %(spent)s, held = held + %(held)s "
            "WHERE id = %(wallet)s AND spent + held + %(spent)s + %(held)s <= budget RETURNING id) "
            "INSERT INTO bare.payments(wallet, spent, held) SELECT id, %(spent)s, %(held)s FROM taken RETURNING id"
        )
        with self._connection() as raw:
            raw.execute(statement, {"wallet": wallet, "spent": spent, "held": held}).fetchone()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        import psycopg

        try:
            raw = self._idle.pop()
        except IndexError:
            raw = psycopg.connect(self._url, autocommit=True)
        yield raw
        self._idle.append(raw)

    def close(self) -> None:
        for raw in self._idle:
            raw.close()


class Ledger(Payer):
    """The transaction, in threads of this process: no key is looked up, no JSON is read or written."""

    def __init__(self, place: Path | str, wallets: int) -> None:
        self._database = Database.open(place)
        keys = WalletKeys(self._database)
        self._who, self.first = filled(self._database, keys.create("ws-bench", "bench").api_key, wallets)
        self._wallets, self._holds = Wallets(self._database), Holds(self._database)
        self._amount = from_micros(MICROS)

    def purchase(self, wallet: int) -> None:
        self._wallets.purchase(self._who, wallet, PurchaseRequest(self._amount, vendor="bench"))

    def pair(self, wallet: int) -> None:
        held = self._holds.create(self._who, wallet, HoldRequest(amount_usd=self._amount, vendor="bench"))
        self._holds.capture(self._who, held.hold.id, PartRequest())

    def close(self) -> None:
        self._database.close()


class InProcess(Payer):
    """The sync client of an embedded server."""

    def __init__(self, settings: Settings, wallets: int) -> None:
        self._trove = Trove(settings)
        self._client = self._trove.wallets()
        key = (self._trove.folder / "wallet-key").read_text()
        _, self.first = filled(self._trove.server.database, key, wallets)

    def purchase(self, wallet: int) -> None:
        self._client.purchase(wallet, USD, vendor="bench")

    def pair(self, wallet: int) -> None:
        self._client.capture(self._client.hold(wallet, USD, vendor="bench").id)

    def close(self) -> None:
        self._client.close()
        self._trove.close()


class Served(Payer):
    """A server in a process of its own, over loopback, called without a client library."""

    def __init__(self, folder: Path, wallets: int, *, database_url: str | None = None) -> None:
        self._stack = contextlib.ExitStack()
        options = () if database_url is None else ("--database-url", database_url)
        _, made = self._stack.enter_context(house.serving(folder, *options))
        self._url = made["base_url"]
        with WalletClient(base_url=self._url) as opening:
            self._key = opening.create_key("bench").api_key
        with contextlib.closing(Database.open(database_url or folder / "state")) as database:
            _, self.first = filled(database, self._key, wallets)
        self._alone = Caller(self._url, self._key)
        self._stack.callback(self._alone.close)

    def purchase(self, wallet: int) -> None:
        self._alone.purchase(wallet)

    def pair(self, wallet: int) -> None:
        self._alone.pair(wallet)

    def together(
        self, operation: str, *, wallets: int, clients: int, seconds: float
    ) -> tuple[float, list[float]]:
        self._alone.close()  # it opens again by itself, where the server would not wait so long
        each = clients // PROCESSES
        command = [sys.executable, str(Path(__file__).with_name("load.py")), self._url, self._key, operation]
        command += [str(number) for number in (each, seconds, self.first, wallets)]
        processes = [
            subprocess.Popen(
                [*command, str(part * each)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for part in range(PROCESSES)
        ]
        for process in processes:
            process.stdout.readline()  # it is ready
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(process.communicate()[0]) for process in processes]
        return sum(rate for rate, _ in told), [taken for _, times in told for taken in times]

    def close(self) -> None:
        self._stack.close()


def filled(database: Database, key: str, count: int) -> tuple[WalletPrincipal, int]:
    """So many wallets of a key: who it is, and the first id."""
    who = WalletKeys(database).authenticate({"x-trove-key": key})

    def fill(tx: Connection) -> list[int]:
        return [
            store.add(
                tx,
                owner=who.owner,
                ancestors=[],
                agent=f"bench-{number}",
                name="bench",
                budget=BUDGET,
                namespace=None,
                created_us=0,
            ).id
            for number in range(count)
        ]

    ids = database.write(fill)
    assert ids == list(range(ids[0], ids[0] + count))
    return who, ids[0]


def rows(folder: Path, turns: Turns, say: Callable[[str], None]) -> list[Row]:
    """On SQLite, and on PostgreSQL where it is installed."""
    found: list[Row] = []
    with contextlib.ExitStack() as stack:
        kinds = {
            "bare": lambda: BareSqlite(folder / "bare", turns.wallets),
            "in the ledger": lambda: Ledger(folder / "ledger", turns.wallets),
            "in process": lambda: InProcess(Settings(folder / "process"), turns.wallets),
            "over HTTP": lambda: Served(folder / "served", turns.wallets),
        }
        found += _measured("", _opened(kinds, stack), turns, say)
    if engines.missing():
        return found
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(engines.running(connections=CONNECTIONS))
        kinds = {
            "bare": lambda: BarePostgres(url, turns.wallets),
            "over HTTP": lambda: Served(folder / "served-far", turns.wallets, database_url=url),
            "in the ledger": lambda: Ledger(url, turns.wallets),
            "in process": lambda: InProcess(Settings(folder / "far", database_url=url), turns.wallets),
        }
        found += _measured("PostgreSQL, ", _opened(kinds, stack), turns, say)
    return found


def _opened(kinds: dict[str, Callable[[], Payer]], stack: contextlib.ExitStack) -> dict[str, Payer]:
    payers = {}
    for name, kind in kinds.items():
        payers[name] = kind()
        stack.callback(payers[name].close)
    return payers


def _measured(
    engine: str, payers: dict[str, Payer], turns: Turns, say: Callable[[str], None]
) -> Iterator[Row]:
    for title, operation, wallets in (
        ("purchase, one wallet", "purchase", 1),
        (f"purchase, {turns.wallets:,} wallets", "purchase", turns.wallets),
        ("hold and capture, one wallet", "pair", 1),
    ):
        for clients in (1, *CLIENTS):
            taken = (
                _alone(payers, operation, wallets, turns)
                if clients == 1
                else _together(payers, operation, wallets, clients, turns)
            )
            bare, _ = taken.pop("bare")
            for name, (rate, measured) in taken.items():
                aim, met = (
                    _aim(name, operation, wallets, clients, rate, measured) if not engine else ("", None)
                )
                row = Row(
                    f"{engine}{clients} client{'s' if clients > 1 else ''}",
                    f"{title}, {name}",
                    f"{rate:,.0f}/s, {duration(measured.median)}",
                    rate,
                    f"bare {bare:,.0f}/s",
                    rate / bare,
                    aim,
                    met,
                    p99=measured.p99,
                )
                say(f"{row.section}, {row.operation}: {row.figure}, {row.ratio:.2f}x {row.floor}")
                yield row


Taken = dict[str, tuple[float, Timing]]


def _alone(payers: dict[str, Payer], operation: str, wallets: int, turns: Turns) -> Taken:
    """One caller; the payers take turns."""

    def step(payer: Payer) -> Callable[[int], object]:
        call: Callable[[int], object] = getattr(payer, operation)
        return lambda turn: call(payer.first + scattered(0, turn, wallets))

    times = race(turns.alone, {name: step(payer) for name, payer in payers.items()})
    return {name: (1e6 / each.median, each) for name, each in times.items()}


def _together(payers: dict[str, Payer], operation: str, wallets: int, clients: int, turns: Turns) -> Taken:
    """Many at once, for a while each, the payers in turn."""
    rates: dict[str, list[float]] = {name: [] for name in payers}
    times: dict[str, list[float]] = {name: [] for name in payers}
    for part in range(turns.slices):
        for name in list(payers) if part % 2 else reversed(payers):
            rate, taken = payers[name].together(
                operation, wallets=wallets, clients=clients, seconds=turns.seconds
            )
            rates[name].append(rate)
            times[name] += taken
    return {name: (statistics.median(rates[name]), timing(times[name])) for name in payers}


def _aim(
    name: str, operation: str, wallets: int, clients: int, rate: float, timing: Timing
) -> tuple[str, bool | None]:
    match name, operation, wallets, clients:
        case "in the ledger", "purchase", 1, 16:
            return "≥ 5,000/s", rate >= 5_000
        case "over HTTP", "pair", 1, 1:
            return "≤ 10 ms", timing.median <= 10_000
        case "over HTTP", "pair", 1, 16:
            return "≥ 500/s", rate >= 500
    return "", None
