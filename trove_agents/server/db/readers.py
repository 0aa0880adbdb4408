"""A small pool of reading connections, not one per thread: a server has many threads and few of them read at once."""

import os
import sqlite3
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final

from trove_agents.server.db import forking
from trove_agents.server.db.connection import Connection, FileConnection, Statements
from trove_agents.server.db.writer import connect

_KEPT: Final = 8
"""Connections that are kept open. When more are needed at once they are opened for the time."""


_inherited: Final[list[object]] = []
"""A parent's connections, which a forked child must neither use nor close."""


class _Generation:
    """The connections opened by one process between two times that all were closed."""

    __slots__ = ("process",)

    def __init__(self) -> None:
        self.process = os.getpid()


class Readers:
    """The connections that are not in use."""

    def __init__(self, folder: Path, statements: Statements) -> None:
        self._folder = folder
        self._statements = statements
        self._idle: deque[sqlite3.Connection] = deque()
        self._generation = _Generation()

    def lend(self) -> "Lent":
        return Lent(self)

    def take(self) -> tuple[sqlite3.Connection, "_Generation"]:
        generation = self._generation
        try:
            return self._idle.pop(), generation
        except IndexError:
            raw = connect(self._folder)
            raw.execute("PRAGMA query_only=1")
            raw.execute("PRAGMA cache_size=-8192")
            return raw, generation

    def give_back(self, raw: sqlite3.Connection, generation: "_Generation") -> None:
        if generation is self._generation and len(self._idle) < _KEPT and not raw.in_transaction:
            self._idle.append(raw)
        elif generation.process == os.getpid():
            raw.close()
        else:
            _inherited.append(raw)

    def connection(self, raw: sqlite3.Connection) -> Connection:
        return FileConnection(raw, self._statements)

    def forget(self) -> object:
        """Gives up the connections without touching them, as ``Writer.forget``."""
        idle, self._idle = self._idle, deque()
        self._generation = _Generation()
        return idle

    def close(self) -> None:
        """Closes what is idle now, and the others when they come back."""
        self._generation = _Generation()
        while self._idle:
            self._idle.pop().close()


class Lent:
    """A connection for the time of a ``with`` block."""

    __slots__ = ("_entered", "_generation", "_pool", "_raw")

    def __init__(self, pool: Readers) -> None:
        self._pool = pool

    def __enter__(self) -> Connection:
        self._entered = forking.enter()
        try:
            self._raw, self._generation = self._pool.take()
        except BaseException:
            forking.leave(self._entered)
            raise
        return self._pool.connection(self._raw)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._pool.give_back(self._raw, self._generation)
        finally:
            forking.leave(self._entered)
