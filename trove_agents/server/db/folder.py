"""A state directory's database: readers, the group commit over the writer, and what a fork of the process needs."""

import os
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Self, TypeVar

from sqlalchemy.dialects import sqlite

from trove_agents.server.db import forking, migrations
from trove_agents.server.db.commit import Closed, GroupCommit
from trove_agents.server.db.connection import Connection, Statements
from trove_agents.server.db.engine import Database
from trove_agents.server.db.readers import Readers
from trove_agents.server.db.writer import FILE, Writer

T = TypeVar("T")
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
        self._folder = folder
        self._quiet = True
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
        folder = folder.resolve()
        _refuse(folder)
        file = folder / FILE
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        entered = forking.enter()
        try:
            self = cls(folder, clock)
            try:
                with self._writer.alone() as raw:
                    migrations.prepare(raw, file)
            except BaseException:
                self.close()
                raise
        finally:
            forking.leave(entered)
        return self

    def read(self) -> AbstractContextManager[Connection]:
        if self._closed:
            raise Closed("the database was closed")
        _refuse(self._folder)
        return self._readers.lend()

    def write(self, function: Callable[[Connection], T], *, durable: bool = True) -> T:
        _refuse(self._folder)
        return self._commits.write(function, durable=durable)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        entered = forking.enter()
        try:
            self._commits.close()
            _opened.discard(self)
            self._readers.close()
            self._writer.close()
        finally:
            forking.leave(entered)

    def before_fork(self, *, quiet: bool) -> None:
        """Closes what the child would inherit; ``quiet`` says that no reader is lent."""
        self._paused = self._commits.pause(seconds=forking.SECONDS)
        if self._paused is not None:
            self._readers.close()
            self._writer.close()
        self._quiet = quiet and self._paused is not None

    def after_fork_in_parent(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            self._commits.resume(paused)

    def after_fork_in_child(self) -> None:
        self._paused = None
        _inherited.append((self._writer.forget(), self._readers.forget()))
        self._commits.reset()
        if not self._quiet:
            _lost.add(self._folder)


def _refuse(folder: Path) -> None:
    if folder in _lost:
        raise Closed(
            "this process was forked in the middle of a call that did not end in time: open the state in a process "
            "that is started anew"
        )


_opened: Final[weakref.WeakSet[FileDatabase]] = weakref.WeakSet()
_lost: Final[set[Path]] = set()
"""Folders that this process cannot use, since it was forked while a connection was in use."""
_inherited: Final[list[object]] = []
"""Connections that could not be closed before a fork: closing one in the child would undo locks of the parent."""


def _before_fork() -> None:
    quiet = forking.keep_out()
    for database in list(_opened):
        database.before_fork(quiet=quiet)


def _after_fork_in_parent() -> None:
    for database in list(_opened):
        database.after_fork_in_parent()
    forking.let_in()


def _after_fork_in_child() -> None:
    forking.begin_anew()
    for database in list(_opened):
        database.after_fork_in_child()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
