"""A state directory's database: readers, the group commit over the writer, and what a fork of the process needs."""

import os
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Self, TypeVar

from sqlalchemy.dialects import sqlite

from trove_agents.server.db import migrations
from trove_agents.server.db.commit import Closed, GroupCommit
from trove_agents.server.db.connection import Connection, Statements
from trove_agents.server.db.engine import Database
from trove_agents.server.db.readers import Readers
from trove_agents.server.db.writer import FILE, Writer

T = TypeVar("T")
_FORK_SECONDS: Final = 5.0
"""How long a fork waits for a transaction to end."""
_statements: Final = Statements(sqlite.dialect(paramstyle="named"), sqlite.insert)


class FileDatabase(Database):
    """In a folder: several processes may open it."""

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        self.now_ns = clock
        self._readers = Readers(folder, _statements)
        self._writer = Writer(folder, _statements)
        self._commits = GroupCommit(self._writer)
        self._paused: object | None = None
        self._closed = False
        _opened.add(self)

    @classmethod
    def of(cls, folder: Path, clock: Callable[[], int]) -> Self:
        """The database of a folder, which is made if it is not there, with the newest schema.

        Only the owner may enter the folder.

        Raises:
            UnknownSchema: a newer release wrote it.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        file = folder / FILE
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self = cls(folder.resolve(), clock)
        try:
            with self._writer.alone() as raw:
                migrations.prepare(raw, file)
        except BaseException:
            self.close()
            raise
        return self

    def read(self) -> AbstractContextManager[Connection]:
        if self._closed:
            raise Closed("the database was closed")
        return self._readers.lend()

    def write(self, function: Callable[[Connection], T]) -> T:
        return self._commits.write(function)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        _opened.discard(self)
        self._commits.close()
        self._readers.close()
        self._writer.close()

    def before_fork(self) -> None:
        """Closes what the child would inherit: SQLite's connections must not be carried across a fork."""
        self._paused = self._commits.pause(seconds=_FORK_SECONDS)
        if self._paused is not None:
            self._readers.close()
            self._writer.close()

    def after_fork_in_parent(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            self._commits.resume(paused)

    def after_fork_in_child(self) -> None:
        self._paused = None
        _inherited.append((self._writer.forget(), self._readers.forget()))
        self._commits.reset()


_opened: Final[weakref.WeakSet[FileDatabase]] = weakref.WeakSet()
_inherited: Final[list[object]] = []
"""Connections that could not be closed before a fork: closing one in the child would undo locks of the parent."""


def _each(action: Callable[[FileDatabase], None]) -> Callable[[], None]:
    def run() -> None:
        for database in list(_opened):
            action(database)

    return run


os.register_at_fork(
    before=_each(FileDatabase.before_fork),
    after_in_parent=_each(FileDatabase.after_fork_in_parent),
    after_in_child=_each(FileDatabase.after_fork_in_child),
)
