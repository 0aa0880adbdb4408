"""The one connection that writes to a SQLite file, and the rules by which several processes share the file.

``wal_autocheckpoint=0`` everywhere: only a writer checkpoints, and commits and checkpoints of all processes exclude
each other by a lock on a file beside the database. (SQLite before 3.51.3 can corrupt the write-ahead log when one
connection commits while another restarts the log: https://sqlite.org/wal.html, "the WAL-reset bug".)
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trove_agents.server.db.connection import Connection, FileConnection, Statements

FILE: Final = "trove.db"
_LOCK: Final = "trove.lock"
_BUSY_MS: Final = 10_000
_CHECKPOINT_ROWS: Final = 1000
"""Changed rows after which the log is copied into the database: about 1,000 to 2,000 pages."""
_LOG_BYTES: Final = 64 * 1024 * 1024
"""A log that one large transaction made longer is cut when nobody reads from it."""
_COMMIT: Final = ("COMMIT",)


def connect(folder: Path) -> sqlite3.Connection:
    """A connection to the database of a folder, in autocommit mode, usable from any one thread at a time."""
    raw = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in (f"busy_timeout={_BUSY_MS}", "synchronous=FULL", "wal_autocheckpoint=0"):
        raw.execute("PRAGMA " + pragma)
    return raw


class Writer:
    """The transactions of one process; its methods are those of ``commit.Transactions``."""

    def __init__(self, folder: Path, statements: Statements) -> None:
        self._folder = folder
        self._statements = statements
        self._raw: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._changes = 0
        self._durable: bool | None = None
        """Whether commits wait for the disk, as the connection was last told. Without it they are only written to the
        log, in whose order everything becomes durable with the next one that waits (https://sqlite.org/wal.html)."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The connection, while no other process writes: to look after the schema."""
        self._acquire()
        try:
            yield self._opened()
        finally:
            self.release()

    def begin(self, *, durable: bool) -> Connection:
        self._acquire()
        raw = self._opened()
        if durable is not self._durable:
            self._durable = None  # an interrupt leaves it unknown
            raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        raw.execute("BEGIN IMMEDIATE")
        return self._connection

    def open(self) -> bool:
        return self._raw is not None and self._raw.in_transaction

    def savepoint(self) -> None:
        self._opened().execute("SAVEPOINT one")

    def undo(self) -> None:
        self._opened().execute("ROLLBACK TO one")

    def keep(self) -> None:
        self._opened().execute("RELEASE one")

    def commit(self, marks: list[object]) -> None:
        # One call into C runs the statement and stores its result: no interrupt comes between.
        marks.extend(map(self._opened().execute, _COMMIT))

    def rollback(self) -> None:
        raw = self._raw
        if raw is None or not raw.in_transaction:
            return
        try:
            raw.execute("ROLLBACK")
        except sqlite3.Error:  # closing rolls back too; the next transaction opens anew
            self._raw = None
            raw.close()

    def release(self) -> None:
        raw = self._raw
        if (
            raw is not None
            and self._lock is not None
            and raw.total_changes - self._changes >= _CHECKPOINT_ROWS
        ):
            self._checkpoint(raw)
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Copies the log into the database and closes. The next transaction would open again."""
        raw, lock = self._raw, self._lock
        if raw is not None:
            self._acquire()
            with contextlib.suppress(sqlite3.Error):  # busy: another process is reading; it will do it
                raw.execute("PRAGMA busy_timeout=0")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raw.close()
            self._raw = None
            lock = self._lock
        if lock is not None:
            os.close(lock)
            self._lock = None

    def forget(self) -> object:
        """Gives up the connection without touching it: in a forked child it is the parent's.

        What is returned must be kept for as long as the process lives.
        """
        raw, self._raw = self._raw, None
        if self._lock is not None:  # shared with the parent: kept open it would outlive the parent's hold
            os.close(self._lock)
            self._lock = None
        return raw

    def _acquire(self) -> None:
        if self._lock is None:
            self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def _opened(self) -> sqlite3.Connection:
        if self._raw is None:
            raw = connect(self._folder)
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute("PRAGMA cache_size=-16384")
            self._connection, self._changes = FileConnection(raw, self._statements), 0
            self._durable = None
            self._raw = raw  # last: an interrupt before it leaves all as it was
        return self._raw

    def _checkpoint(self, raw: sqlite3.Connection) -> None:
        self._changes = raw.total_changes
        try:
            _, pages, copied = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages == copied and (self._folder / f"{FILE}-wal").stat().st_size > _LOG_BYTES:
                raw.execute("PRAGMA busy_timeout=0")
                try:
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                finally:
                    raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        except (sqlite3.Error, OSError):
            return  # what was committed is safe in the log; the next turn tries again
