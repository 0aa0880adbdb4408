"""A PostgreSQL database that several servers may share.

Each ``write`` is a transaction of its own, READ COMMITTED, beside others. What services may rely on:

- ``Connection.locked`` keeps the row it read as it is. The head of a namespace is read so, hence changes of one
  namespace come one after the other and those of two do not wait for each other.
- ``Connection.alone`` is a lock by name, for what has no row. Events take it for their workspace, so that their times
  strictly increase and are committed in that order; so do the last admin key and the exec lock.
- A statement sees what was committed when it began, so a lock comes before the reading that relies on it. Order, against
  deadlocks: a namespace's row, its exec lock, its workspace.
- A transaction that lost a race (``Stale``, a unique key that somebody else had just made, a deadlock, a connection that
  broke before the commit) is run again from its start, a bounded number of times.

A connection that breaks in the commit itself leaves it open whether that happened: ``CommitFailed``.

Round trips are what a transaction costs, so it is one pipeline: BEGIN and what does not answer go out with the next
statement that does, or with COMMIT. The server runs them one after the other all the same, each with a view of its own.
"""

import contextlib
import os
import random
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from sqlalchemy import ClauseElement, Select, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from trove_agents.server.db import migrations
from trove_agents.server.db.commit import Closed, CommitFailed, Stale, Unreachable
from trove_agents.server.db.connection import Connection, Row, Statements
from trove_agents.server.db.engine import Database

T = TypeVar("T")
Raw = psycopg.Connection[Row]
_KEPT: Final = 16
"""Connections of each kind that are kept open. When more are needed at once for reading they are opened for the time.
Who writes waits instead: to open a connection takes longer than most transactions, and the server has a limited number
of them for everybody.
"""
_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.005
_CONNECT_SECONDS: Final = 10
_LOST: Final = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.UniqueViolation,
    Stale,
)
_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_ALIVE: Final = "SELECT pg_advisory_lock_shared(hashtextextended(%s, 1))"
_NOT_ALIVE: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))"
_MISSED_SOON: Final = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
"""A machine that lost its power says no goodbye: the server asks after it, and misses it within half a minute."""
_EXACTLY: Final = "WITH done AS ({} RETURNING 1) SELECT 1 / count(*) FROM done"
"""Fails where nothing was changed; SQL has no plainer way to demand it of a statement whose answer nobody awaits."""
_HAD_FAILED: Final = "the transaction was lost: a statement in it had failed"
_statements: Final = Statements(PGDialect_psycopg(), postgresql.insert)  # type: ignore[no-untyped-call]
_inherited: Final[list[object]] = []
"""A parent's connections, which a forked child must neither use nor close."""


class ServerConnection(Connection):
    """To a PostgreSQL server."""

    __slots__ = ("_must", "_pipeline", "_raw")
    far = True

    def __init__(self, raw: Raw, pipeline: psycopg.Pipeline | None) -> None:
        """``pipeline`` is that of the transaction, when it is one that writes."""
        self._raw = raw
        self._pipeline = pipeline
        self._must: list[tuple[psycopg.Cursor[Row], Exception]] = []

    def one(self, statement: ClauseElement, /, **values: Any) -> Row | None:
        return self._execute(_statements.text(statement, values), values).fetchone()

    def all(self, statement: ClauseElement, /, **values: Any) -> list[Row]:
        return self._execute(_statements.text(statement, values), values).fetchall()

    def run(self, statement: ClauseElement, /, **values: Any) -> int:
        cursor = self._execute(_statements.text(statement, values), values)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def later(self, statement: ClauseElement, /, **values: Any) -> None:
        self._execute(_statements.text(statement, values), values)

    def exactly(self, statement: ClauseElement, otherwise: Exception, /, **values: Any) -> None:
        text, constants = _statements.text(statement, values)
        self._must.append((self._execute((_EXACTLY.format(text), constants), values), otherwise))

    def each(self, statement: ClauseElement, rows: Sequence[Mapping[str, Any]], /) -> list[Row | None]:
        if not rows:
            return []
        compiled = _statements.text(statement, rows[0])
        cursors = [self._execute(compiled, row) for row in rows]  # in a pipeline none of them waits
        return [cursor.fetchone() for cursor in cursors]

    def refusal(self) -> Exception | None:
        """What to raise for the division by zero in a statement of ``exactly``: the first that has no result."""
        return next((otherwise for cursor, otherwise in self._must if cursor.pgresult is None), None)

    def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, Any]], /) -> None:
        if len(rows) == 1:
            self.later(statement, **rows[0])
        elif rows:
            text, constants = _statements.text(statement, rows[0])
            self._raw.cursor().executemany(text, [{**constants, **row} for row in rows])

    def insert(self, statement: ClauseElement, /, **values: Any) -> int:
        row = self._execute(_statements.returning(statement, values), values).fetchone()
        assert row is not None
        key: int = row[0]
        return key

    def upsert(self, table: Table, /, **values: Any) -> None:
        self._execute((_statements.upsert(table, values), {}), values)

    def locked(self, statement: Select[Any], /, **values: Any) -> Row | None:
        if self._pipeline is None:
            return self.one(statement, **values)
        return self._execute(_statements.locking(statement), values).fetchone()

    def alone(self, what: str) -> None:
        self._raw.execute(_ALONE, (what,))

    def _execute(
        self, compiled: tuple[str, dict[str, Any]], values: Mapping[str, Any]
    ) -> psycopg.Cursor[Row]:
        text, constants = compiled
        return self._raw.execute(text, {**constants, **values})


class _Room:
    """Has a number of places; who finds none waits, and gets one in turn."""

    def __init__(self, places: int) -> None:
        self._mutex = threading.Lock()
        self._free = places
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        own = threading.Lock()
        with self._mutex:
            if self._free:
                self._free -= 1
                return
            own.acquire()
            self._waiting.append(own)
        try:
            own.acquire()
        except BaseException:
            with self._mutex:
                still = own in self._waiting
                if still:
                    self._waiting.remove(own)
            if not still:
                self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class _Pool:
    """Connections that are not in use; each is in autocommit mode and used by one thread at a time."""

    def __init__(self, url: str, *, writes: bool) -> None:
        self._url = url
        self._writes = writes
        self._room = self._emptied()
        self._idle: deque[Raw] = deque()
        self._process = os.getpid()
        self._closed = False

    @contextlib.contextmanager
    def lend(self) -> Iterator[Raw]:
        with self._room:
            yield from self._lend()

    def _lend(self) -> Iterator[Raw]:
        process, raw = self._process, self._take()
        try:
            yield raw
        finally:
            if process != os.getpid():
                _inherited.append(raw)
            elif (
                not self._closed
                and len(self._idle) < _KEPT
                and raw.info.transaction_status is TransactionStatus.IDLE
            ):
                self._idle.append(raw)
            else:
                raw.close()

    def forget(self) -> None:
        """In a forked child, where the connections are the parent's."""
        _inherited.append(self._idle)
        self._idle = deque()
        self._room = self._emptied()
        self._process = os.getpid()

    def _emptied(self) -> contextlib.AbstractContextManager[None]:
        return _Room(_KEPT) if self._writes else contextlib.nullcontext()

    def close(self) -> None:
        """Closes what is idle now, and the others when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Raw:
        while True:
            try:
                raw = self._idle.pop()
            except IndexError:
                return connect(self._url, writes=self._writes)
            if not raw.closed and not _hung_up(raw):
                return raw
            raw.close()


class PostgresDatabase(Database):
    """Behind a ``postgresql://`` URL."""

    shared = True

    def __init__(self, url: str, clock: Callable[[], int]) -> None:
        self.now_ns = clock
        self._url = url
        self._readers = _Pool(url, writes=False)
        self._writers = _Pool(url, writes=True)
        self._alive: dict[str, Raw] = {}
        self._announcing = threading.Lock()
        self._own = threading.local()
        self._closed = False
        _opened.add(self)

    @classmethod
    def of(cls, url: str, clock: Callable[[], int]) -> Self:
        """The database, with the newest schema in the first schema of the connection's search path.

        Raises:
            UnknownSchema: a newer release wrote it.
            Unreachable: no server answers, or it refuses.
        """
        raw = connect(url, writes=True)
        try:
            migrations.prepare_server(raw, lambda: connect(url, writes=True, autocommit=False))
        finally:
            raw.close()
        return cls(url, clock)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        if self._closed:
            raise Closed("the database was closed")
        with self._readers.lend() as raw:
            yield ServerConnection(raw, None)

    def write(self, function: Callable[[Connection], T], *, durable: bool = True) -> T:  # noqa: ARG002 - it is, always
        if getattr(self._own, "writing", False):
            raise RuntimeError("write() inside a function that write() runs")
        self._own.writing = True
        try:
            for attempt in range(1, _ATTEMPTS):
                try:
                    return self._transact(function)
                except (*_LOST, Unreachable, _Broken):
                    time.sleep(random.uniform(0, _PAUSE_SECONDS * attempt))  # noqa: S311 - no secret
            return self._transact(function)
        except (Unreachable, _Broken) as error:
            cause = error.__cause__ or error
            raise CommitFailed(f"the database cannot be used: {cause}") from cause
        finally:
            self._own.writing = False

    def announce(self, name: str) -> None:
        # A lock of the session: it ends with the connection, and that with the process
        with self._announcing:
            raw = self._alive.get(name)
            if raw is not None and not raw.closed and not _hung_up(raw):
                return
            if raw is not None:
                raw.close()
            raw = connect(self._url, writes=False)
            try:
                raw.execute(_MISSED_SOON)
                raw.execute(_ALIVE, (name,))
            except BaseException:
                raw.close()
                raise
            self._alive[name] = raw  # only with the lock: else it would not be taken at the next call

    def gone(self, name: str) -> bool:
        if self._closed:
            return False
        with self._readers.lend() as raw:
            row = raw.execute(_NOT_ALIVE, (name,)).fetchone()
        return row is not None and bool(row[0])

    def close(self) -> None:
        self._closed = True
        _opened.discard(self)
        while self._alive:
            self._alive.popitem()[1].close()
        self._readers.close()
        self._writers.close()

    def after_fork_in_child(self) -> None:
        self._readers.forget()
        self._writers.forget()
        _inherited.append(self._alive)
        self._alive = {}
        self._announcing = threading.Lock()
        self._own = threading.local()

    def _transact(self, function: Callable[[Connection], T]) -> T:
        if self._closed:
            raise Closed("the database was closed")
        with self._writers.lend() as raw:
            tx: ServerConnection | None = None
            commit: psycopg.Cursor[Row] | None = None
            try:
                with raw.pipeline() as pipeline:
                    tx = ServerConnection(raw, pipeline)
                    raw.execute("BEGIN")
                    value = function(tx)
                    commit = raw.execute("COMMIT")
            except BaseException as error:
                broken = raw.closed
                over = broken or raw.info.transaction_status is TransactionStatus.IDLE
                _roll_back(raw, failed=isinstance(error, psycopg.Error))
                meant = _meaning(error, tx, in_commit=over and commit is not None, broken=broken)
                if meant is error:
                    raise
                raise meant from error
            if commit.statusmessage != "COMMIT":
                raw.close()  # as in _roll_back
                raise CommitFailed(_HAD_FAILED)
            return value


def _meaning(
    error: BaseException, tx: ServerConnection | None, *, in_commit: bool, broken: bool
) -> BaseException:
    """What to tell of a transaction that failed, or that was lost in its commit."""
    if isinstance(error, errors.DivisionByZero) and tx is not None:
        return tx.refusal() or error
    if isinstance(error, _LOST) or not isinstance(error, psycopg.Error):
        return error
    if in_commit:
        return CommitFailed(f"the transaction was lost: {error}")
    if isinstance(error, errors.PipelineAborted):
        return CommitFailed(_HAD_FAILED)
    return _Broken(str(error)) if broken and isinstance(error, psycopg.OperationalError) else error


class _Broken(Exception):
    """The connection went before the commit: nothing was kept."""


def connect(url: str, *, writes: bool, autocommit: bool = True) -> Raw:
    """A new connection.

    Raises:
        Unreachable: no server answers there, or it refuses.
    """
    options = "-c default_transaction_isolation=read\\ committed"
    if not writes:
        options += " -c default_transaction_read_only=on"
    try:
        given = conninfo_to_dict(url).get("options")
        options = f"{given} {options}" if given else options
        return psycopg.connect(url, autocommit=autocommit, options=options, connect_timeout=_CONNECT_SECONDS)
    except psycopg.Error as error:
        raise Unreachable(str(error).strip()) from error


def _hung_up(raw: Raw) -> bool:
    """Whether the server ended an idle connection, as at its own restart: nothing else makes it readable."""
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _roll_back(raw: Raw, *, failed: bool) -> None:
    """After a statement ``failed``, those behind it in the pipeline were skipped, and with them perhaps preparations that
    the driver believes were made: such a connection is not used again.
    """
    if failed:
        raw.close()
        return
    try:
        raw.execute("ROLLBACK")
    except BaseException:  # noqa: BLE001 - whatever the connection is in, the server rolls back when it ends
        raw.close()


_opened: Final[weakref.WeakSet[PostgresDatabase]] = weakref.WeakSet()


def _forget_all() -> None:
    for database in list(_opened):
        database.after_fork_in_child()


os.register_at_fork(after_in_child=_forget_all)
