"""The journal: what was about to be done, on the disk before it is done."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Final, Protocol

from trove_agents.guard.states import Entry, State

BUSY_SECONDS: Final = 30.0
"""How long a process waits for another that writes."""
_COLUMNS: Final = tuple(field.name for field in fields(Entry))
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS payments (
    wallet_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    micros INTEGER NOT NULL CHECK (micros > 0),
    tool TEXT,
    vendor TEXT,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    hold_id INTEGER,
    settle_micros INTEGER CHECK (settle_micros BETWEEN 0 AND micros),
    result BLOB,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    PRIMARY KEY (wallet_id, key)
) WITHOUT ROWID
"""
_INSERT: Final = (
    f"INSERT OR IGNORE INTO payments ({', '.join(_COLUMNS)})"  # noqa: S608 - names of our own
    f" VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_UPDATE: Final = (
    f"UPDATE payments SET {', '.join(f'{name} = ?' for name in _COLUMNS)}"  # noqa: S608 - as above
    " WHERE wallet_id = ? AND key = ? AND state = ? AND attempt = ?"
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM payments WHERE wallet_id = ?"  # noqa: S608 - as above


class Journal(Protocol):
    """Where payments are written down. What a method has returned from is on the disk."""

    def add(self, entry: Entry) -> bool:
        """Writes a payment down; False: there is one of this wallet and key."""
        ...

    def find(self, wallet_id: int, key: str) -> Entry | None:
        """The payment of a wallet and key."""
        ...

    def replace(self, before: Entry, after: Entry) -> bool:
        """Moves a payment on; False: it is not in the state and attempt of ``before`` any more, nothing was done."""
        ...

    def those(self, wallet_id: int, states: Iterable[State]) -> list[Entry]:
        """Payments of a wallet in some states, oldest first."""
        ...


class SqliteJournal:
    """A journal in one SQLite file on a local disk, readable by its owner only.

    Safe for several threads, and for several processes that each open their own.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self.path.chmod(0o600)  # also of a file that was there
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_TABLE)

    def add(self, entry: Entry) -> bool:
        """See :meth:`Journal.add`."""
        now = time.time()
        return self._write(_INSERT, astuple(replace(entry, created_at=now, updated_at=now)))

    def find(self, wallet_id: int, key: str) -> Entry | None:
        """See :meth:`Journal.find`."""
        found = self._read(f"{_SELECT} AND key = ?", (wallet_id, key))
        return found[0] if found else None

    def replace(self, before: Entry, after: Entry) -> bool:
        """See :meth:`Journal.replace`."""
        now = replace(after, updated_at=time.time())
        return self._write(
            _UPDATE, (*astuple(now), before.wallet_id, before.key, before.state, before.attempt)
        )

    def those(self, wallet_id: int, states: Iterable[State]) -> list[Entry]:
        """See :meth:`Journal.those`."""
        wanted = tuple(states)
        marks = ", ".join("?" * len(wanted))
        return self._read(f"{_SELECT} AND state IN ({marks}) ORDER BY created_at, key", (wallet_id, *wanted))

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> bool:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                done = self._connection.execute(statement, values).rowcount == 1
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return done

    def _read(self, statement: str, values: tuple[object, ...]) -> list[Entry]:
        with self._lock:
            rows = self._connection.execute(statement, values).fetchall()
        return [Entry(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]
