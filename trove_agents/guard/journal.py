"""The journal: what was about to be done, on the disk before it is done."""

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import astuple

from trove_agents.guard.states import Entry, Pool, Purchase, State
from trove_agents.wire.steps import Step, to_header

BUSY_SECONDS: Final = 30.0
"""How long a process waits for another that writes."""
_COLUMNS: Final = Entry.__struct_fields__
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS payments (
    wallet_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    micros INTEGER NOT NULL CHECK (micros > 0),
    tool TEXT,
    vendor TEXT,
    intent TEXT,
    step TEXT,
    approval TEXT,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    hold_id INTEGER,
    transaction_id INTEGER,
    drawn INTEGER NOT NULL CHECK (drawn BETWEEN 0 AND micros),
    settle_micros INTEGER CHECK (settle_micros BETWEEN 0 AND micros),
    result BLOB,
    note TEXT,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    PRIMARY KEY (wallet_id, key)
) WITHOUT ROWID
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS doubts ON payments (wallet_id, intent) WHERE state = 'in_doubt'"
"""Each payment looks there for one of the same intent."""
_PREPAID: Final = (
    """
CREATE TABLE IF NOT EXISTS purchases (
    wallet_id INTEGER NOT NULL,
    transaction_id INTEGER NOT NULL,
    tag TEXT NOT NULL,
    micros INTEGER NOT NULL,
    PRIMARY KEY (wallet_id, transaction_id)
) WITHOUT ROWID
""",
    "CREATE INDEX IF NOT EXISTS tags ON purchases (wallet_id, tag)",
    """
CREATE TABLE IF NOT EXISTS pools (
    wallet_id INTEGER PRIMARY KEY,
    credit INTEGER NOT NULL,
    purchases INTEGER NOT NULL
)
""",
    """
CREATE TRIGGER IF NOT EXISTS purchase_is_credit AFTER INSERT ON purchases BEGIN
    INSERT INTO pools VALUES (NEW.wallet_id, NEW.micros, 1)
    ON CONFLICT (wallet_id) DO UPDATE SET credit = credit + excluded.credit, purchases = purchases + 1;
END
""",
    """
CREATE TRIGGER IF NOT EXISTS payment_draws AFTER UPDATE OF drawn ON payments WHEN NEW.drawn <> OLD.drawn BEGIN
    INSERT INTO pools VALUES (NEW.wallet_id, OLD.drawn - NEW.drawn, 0)
    ON CONFLICT (wallet_id) DO UPDATE SET credit = credit + excluded.credit;
END
""",
    "CREATE TABLE IF NOT EXISTS journal (id TEXT NOT NULL)",
)
"""What was bought in advance. A pool is the sum of its purchases less what its payments use, kept by the database."""
_LAYOUT: Final = 1
"""Of the file, as its ``user_version``."""
_NONE: Final = 0
_INSERT: Final = (
    f"INSERT OR IGNORE INTO payments ({', '.join(_COLUMNS)})"  # noqa: S608 - names of our own
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_CHANGING: Final = (*_COLUMNS[2:-2], "updated_at")
"""Without the key before them, and the first of the two times behind them."""
_UPDATE: Final = (
    f"UPDATE payments SET {', '.join(f'{name} = ?' for name in _CHANGING)}"  # noqa: S608 - as above
    " WHERE wallet_id = ? AND key = ? AND state = ? AND attempt = ? AND settle_micros IS ?"
)
_BOOK: Final = "INSERT OR IGNORE INTO purchases (wallet_id, transaction_id, tag, micros) VALUES (?, ?, ?, ?)"
_DRAW: Final = (
    "UPDATE payments SET drawn = micros, updated_at = ?"
    " WHERE wallet_id = ? AND key = ? AND state = 'intended' AND attempt = ?"
    " AND micros <= (SELECT credit FROM pools WHERE pools.wallet_id = payments.wallet_id)"
)
_FROM: Final = f"SELECT {', '.join(_COLUMNS)} FROM payments"  # noqa: S608 - as above
_WITHOUT_RESULTS: Final = _FROM.replace(" result,", " NULL,")
_FIND: Final = f"{_FROM} WHERE wallet_id = ? AND key = ?"


class Journal(Protocol):
    """Where payments are written down, and what was bought in advance where a wallet has no holds.

    What a method has returned from is on the disk.
    """

    id: str
    """Which journal it is: 16 hexadecimal digits."""

    def add(self, entry: Entry) -> bool:
        """Writes a payment down; False: there is one of this wallet and key."""
        ...

    def find(self, wallet_id: int, key: str) -> Entry | None:
        """The payment of a wallet and key."""
        ...

    def replace(self, before: Entry, after: Entry, *, durable: bool = True) -> bool:
        """Moves a payment on; False: somebody else has, so nothing was done: it is not in the state and attempt of ``before``
        any more, or was charged something else.

        Not ``durable``: a power failure may undo it, but no end of the process.
        """
        ...

    def those(self, wallet_id: int, states: Iterable[State], *, intent: str | None = None) -> list[Entry]:
        """Payments of a wallet in some states, oldest first; of one intent, if it is given."""
        ...

    def of_thread(self, wallet_id: int, thread: str) -> list[Entry]:
        """Payments of a wallet that are for steps of a thread, oldest first, without what their tools returned."""
        ...

    def book(self, wallet_id: int, purchases: Iterable[Purchase]) -> None:
        """Writes down what was bought in advance, each once: it is credit."""
        ...

    def draw(self, entry: Entry, purchases: Iterable[Purchase] = ()) -> bool:
        """Books purchases, and at once sets credit aside for a payment that is intended.

        False: it is not intended any more, or the credit is less than it can cost. Then the purchases are booked only.
        A power failure may undo it, but no end of the process.
        """
        ...

    def pool(self, wallet_id: int) -> Pool:
        """What was bought in advance in a wallet, together."""
        ...

    def purchases(self, wallet_id: int, tag: str) -> list[Purchase]:
        """What was bought for one payment."""
        ...

    def attempts(self, wallet_id: int) -> list[tuple[str, int]]:
        """The key of each payment of a wallet, and how many attempts it had."""
        ...


class SqliteJournal:
    """A journal in one SQLite file on a local disk, readable by its owner only.

    Safe for several threads, and for several processes that each open their own.

    Raises:
        ValueError: the file is another's, or of another version; it is left as it is. Or there is none: ``:memory:`` would
            forget in a crash what was paid.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if os.fspath(path) == ":memory:":
            raise ValueError("a journal is a file: in memory it would forget in a crash what was paid")
        self.path = Path(path)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        if not self._is_ours():
            self._connection.close()
            raise ValueError(
                f"{self.path} is no journal of this version of trove-agents; it was left as it is"
            )
        self.path.chmod(0o600)  # also of a file that was there
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._durable = True
        self._lay_out()
        self.id: str = self._connection.execute("SELECT id FROM journal").fetchone()[0]

    def add(self, entry: Entry) -> bool:
        """See :meth:`Journal.add`."""
        now = time.time()
        return self._write(_INSERT, (*astuple(entry)[:-2], now, now))

    def find(self, wallet_id: int, key: str) -> Entry | None:
        """See :meth:`Journal.find`."""
        found = self._read(_FIND, (wallet_id, key))
        return found[0] if found else None

    def replace(self, before: Entry, after: Entry, *, durable: bool = True) -> bool:
        """See :meth:`Journal.replace`."""
        changed = (*astuple(after)[2:-2], time.time())
        values = (*changed, before.wallet_id, before.key, before.state, before.attempt, before.settle_micros)
        return self._write(_UPDATE, values, durable=durable)

    def those(self, wallet_id: int, states: Iterable[State], *, intent: str | None = None) -> list[Entry]:
        """See :meth:`Journal.those`."""
        select = _those(tuple(states), of_intent=intent is not None)
        return self._read(select, (wallet_id,) if intent is None else (wallet_id, intent))

    def of_thread(self, wallet_id: int, thread: str) -> list[Entry]:
        """See :meth:`Journal.of_thread`."""
        said = to_header(Step(thread=thread))  # which begins the header of each of its steps
        where = "wallet_id = ? AND (step = ? OR substr(step, 1, ?) = ?)"
        values = (wallet_id, said, len(said) + 1, f"{said},")
        return self._read(f"{_WITHOUT_RESULTS} WHERE {where} ORDER BY created_at, key", values)

    def attempts(self, wallet_id: int) -> list[tuple[str, int]]:
        """See :meth:`Journal.attempts`."""
        with self._lock:
            select = "SELECT key, attempt FROM payments WHERE wallet_id = ?"
            return self._connection.execute(select, (wallet_id,)).fetchall()

    def wallets(self) -> list[int]:
        """The ids of the wallets that payments are written down of."""
        with self._lock:
            rows = self._connection.execute("SELECT DISTINCT wallet_id FROM payments ORDER BY 1").fetchall()
        return [wallet_id for (wallet_id,) in rows]

    def held(self, wallet_id: int) -> Entry | None:
        """The newest payment of a wallet that had a hold: by it the wallet is known."""
        newest = "WHERE wallet_id = ? AND hold_id IS NOT NULL ORDER BY created_at DESC LIMIT 1"
        found = self._read(f"{_WITHOUT_RESULTS} {newest}", (wallet_id,))
        return found[0] if found else None

    def book(self, wallet_id: int, purchases: Iterable[Purchase]) -> None:
        """See :meth:`Journal.book`."""
        with self._transaction(durable=True) as connection:
            _book(connection, wallet_id, purchases)

    def draw(self, entry: Entry, purchases: Iterable[Purchase] = ()) -> bool:
        """See :meth:`Journal.draw`."""
        with self._transaction(durable=False) as connection:
            _book(connection, entry.wallet_id, purchases)
            values = (time.time(), entry.wallet_id, entry.key, entry.attempt)
            return connection.execute(_DRAW, values).rowcount == 1

    def pool(self, wallet_id: int) -> Pool:
        """See :meth:`Journal.pool`."""
        with self._lock:
            select = "SELECT credit, purchases FROM pools WHERE wallet_id = ?"
            found = self._connection.execute(select, (wallet_id,)).fetchone()
        return Pool() if found is None else Pool(credit=found[0], purchases=found[1])

    def purchases(self, wallet_id: int, tag: str) -> list[Purchase]:
        """See :meth:`Journal.purchases`."""
        with self._lock:
            select = "SELECT transaction_id, micros FROM purchases WHERE wallet_id = ? AND tag = ?"
            found = self._connection.execute(select, (wallet_id, tag)).fetchall()
        return [Purchase(transaction_id=row[0], tag=tag, micros=row[1]) for row in found]

    def close(self) -> None:
        """Closes the file: what is asked of it then raises ``RuntimeError``."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            raise RuntimeError(f"the journal {self.path} is closed, as is the guard that opened it")
        return self._opened

    def _lay_out(self) -> None:
        if self._layout() == _LAYOUT:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(_TABLE)
        self._connection.execute(_INDEX)
        for statement in _PREPAID:
            self._connection.execute(statement)
        if self._layout() == _NONE:
            self._connection.execute("INSERT INTO journal VALUES (?)", (secrets.token_hex(8),))
        self._connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        self._connection.execute("COMMIT")

    def _layout(self) -> int:
        version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        return version

    def _is_ours(self) -> bool:
        """Whether it is a journal, or a new file."""
        self._connection.execute("BEGIN")  # both looks see the same, whatever another process does
        try:
            layout = self._layout()
            there = self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            return False
        self._connection.execute("COMMIT")
        return layout == _LAYOUT or (layout == _NONE and there is None)

    def _write(self, statement: str, values: tuple[object, ...], *, durable: bool = True) -> bool:
        with self._lock:
            self._lasting(durable=durable)
            # One statement is a transaction of its own
            return self._connection.execute(statement, values).rowcount == 1

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """For more than one statement."""
        with self._lock:
            self._lasting(durable=durable)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _lasting(self, *, durable: bool) -> None:
        """Whether the next transaction is on the disk when it ends."""
        if durable != self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _read(self, statement: str, values: tuple[object, ...]) -> list[Entry]:
        with self._lock:
            rows = self._connection.execute(statement, values).fetchall()
        return [Entry(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


@cache
def _those(states: tuple[State, ...], *, of_intent: bool) -> str:
    # As literals and by name: else SQLite does not take the partial index
    index = " INDEXED BY doubts" if states == ("in_doubt",) else ""
    among = " OR ".join(f"state = '{state}'" for state in states)
    intent = " AND intent = ?" if of_intent else ""
    return f"{_FROM}{index} WHERE wallet_id = ? AND ({among}){intent} ORDER BY created_at, key"


def _book(connection: sqlite3.Connection, wallet_id: int, purchases: Iterable[Purchase]) -> None:
    connection.executemany(
        _BOOK, [(wallet_id, each.transaction_id, each.tag, each.micros) for each in purchases]
    )
