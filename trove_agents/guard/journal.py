"""The journal: what was about to be done, on the disk before it is done."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import astuple, replace

from trove_agents.guard.states import Entry, State

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
_LAYOUT: Final = 1
"""Of the file, as its ``user_version``."""
_NONE: Final = 0
_INSERT: Final = (
    f"INSERT OR IGNORE INTO payments ({', '.join(_COLUMNS)})"  # noqa: S608 - names of our own
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_UPDATE: Final = (
    f"UPDATE payments SET {', '.join(f'{name} = ?' for name in _COLUMNS)}"  # noqa: S608 - as above
    " WHERE wallet_id = ? AND key = ? AND state = ? AND attempt = ?"
)
_FROM: Final = f"SELECT {', '.join(_COLUMNS)} FROM payments"  # noqa: S608 - as above


class Journal(Protocol):
    """Where payments are written down. What a method has returned from is on the disk."""

    def add(self, entry: Entry) -> bool:
        """Writes a payment down; False: there is one of this wallet and key."""
        ...

    def find(self, wallet_id: int, key: str) -> Entry | None:
        """The payment of a wallet and key."""
        ...

    def replace(self, before: Entry, after: Entry, *, durable: bool = True) -> bool:
        """Moves a payment on; False: it is not in the state and attempt of ``before`` any more, nothing was done.

        Not ``durable``: a power failure may undo it, but no end of the process.
        """
        ...

    def those(self, wallet_id: int, states: Iterable[State], *, intent: str | None = None) -> list[Entry]:
        """Payments of a wallet in some states, oldest first; of one intent, if it is given."""
        ...


class SqliteJournal:
    """A journal in one SQLite file on a local disk, readable by its owner only.

    Safe for several threads, and for several processes that each open their own.

    Raises:
        ValueError: the file is another's, or of another version; it is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
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

    def add(self, entry: Entry) -> bool:
        """See :meth:`Journal.add`."""
        now = time.time()
        return self._write(_INSERT, astuple(replace(entry, created_at=now, updated_at=now)))

    def find(self, wallet_id: int, key: str) -> Entry | None:
        """See :meth:`Journal.find`."""
        found = self._read(f"{_FROM} WHERE wallet_id = ? AND key = ?", (wallet_id, key))
        return found[0] if found else None

    def replace(self, before: Entry, after: Entry, *, durable: bool = True) -> bool:
        """See :meth:`Journal.replace`."""
        now = replace(after, updated_at=time.time())
        values = (*astuple(now), before.wallet_id, before.key, before.state, before.attempt)
        return self._write(_UPDATE, values, durable=durable)

    def those(self, wallet_id: int, states: Iterable[State], *, intent: str | None = None) -> list[Entry]:
        """See :meth:`Journal.those`."""
        wanted = tuple(states)
        # As literals and by name: else SQLite does not take the partial index
        index = " INDEXED BY doubts" if wanted == ("in_doubt",) else ""
        among = " OR ".join(f"state = '{state}'" for state in wanted)
        select = f"{_FROM}{index} WHERE wallet_id = ? AND ({among})"
        values: tuple[object, ...] = (wallet_id,)
        if intent is not None:
            select, values = f"{select} AND intent = ?", (*values, intent)
        return self._read(f"{select} ORDER BY created_at, key", values)

    def wallets(self) -> list[int]:
        """The ids of the wallets that payments are written down of."""
        with self._lock:
            rows = self._connection.execute("SELECT DISTINCT wallet_id FROM payments ORDER BY 1").fetchall()
        return [wallet_id for (wallet_id,) in rows]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def _lay_out(self) -> None:
        if self._layout() == _LAYOUT:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(_TABLE)
        self._connection.execute(_INDEX)
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
            if durable != self._durable:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            # One statement is a transaction of its own
            return self._connection.execute(statement, values).rowcount == 1

    def _read(self, statement: str, values: tuple[object, ...]) -> list[Entry]:
        with self._lock:
            rows = self._connection.execute(statement, values).fetchall()
        return [Entry(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]
