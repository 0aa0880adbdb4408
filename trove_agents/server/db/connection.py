"""SQLAlchemy Core statements on one open connection, each compiled once and sent with the driver's own cursor.

That costs a fifth of what executing a statement through SQLAlchemy costs. In return statements must be module
constants (the cache keeps every statement it saw), parameters are named, and values pass as they are: no type
conversion in either direction, so a boolean may come back as 0 or 1.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ClauseElement, Dialect, Insert, Select, Table
from sqlalchemy.sql.compiler import SQLCompiler

Row = tuple[Any, ...]


class Statements:
    """The SQL text of each statement, for one database's dialect, with the constants it holds."""

    def __init__(self, dialect: Dialect, insert: Callable[[Table], Any]) -> None:
        """``insert`` is the dialect's own, which knows ``ON CONFLICT``."""
        self._dialect = dialect
        self._insert = insert
        self._compiled: dict[Any, tuple[str, dict[str, Any]]] = {}

    def text(self, statement: ClauseElement, names: Iterable[str]) -> tuple[str, dict[str, Any]]:
        """The text, and the values of constants that were written into the statement.

        A plain ``insert(table)`` takes its columns from the names that are sent.
        """
        key: Any = (statement, *names) if isinstance(statement, Insert) else statement
        if (found := self._compiled.get(key)) is None:
            found = self._compiled[key] = self._compile(statement, list(names))
        return found

    def returning(self, statement: ClauseElement, names: Iterable[str]) -> tuple[str, dict[str, Any]]:
        """``text`` of an insert that answers with the new row's primary key."""
        key = ("returning", statement, *names)
        if (found := self._compiled.get(key)) is None:
            plain = cast("Insert", statement)
            keyed = plain.returning(*cast("Table", plain.table).primary_key.columns)
            found = self._compiled[key] = self._compile(keyed, list(names))
        return found

    def locking(self, statement: Select[Any]) -> tuple[str, dict[str, Any]]:
        """``text`` of a select whose rows stay as they are until the transaction ends."""
        key = ("locking", statement)
        if (found := self._compiled.get(key)) is None:
            found = self._compiled[key] = self._compile(statement.with_for_update(), [])
        return found

    def upsert(self, table: Table, names: Iterable[str]) -> str:
        """Inserts a row, or sets the other columns of the row that has its primary key."""
        key = (table, *names)
        if (found := self._compiled.get(key)) is None:
            keys = [column.name for column in table.primary_key.columns]
            statement = self._insert(table).inline()
            others = {name: statement.excluded[name] for name in names if name not in keys}
            statement = statement.on_conflict_do_update(index_elements=keys, set_=others)
            found = self._compiled[key] = self._compile(statement, list(names))
        return found[0]

    def _compile(self, statement: ClauseElement, names: list[str]) -> tuple[str, dict[str, Any]]:
        columns = None
        if isinstance(statement, Insert):
            statement = statement.inline()  # else the compiler adds RETURNING of the key
            columns = [name for name in names if name in statement.table.columns]
        compiled = cast("SQLCompiler", statement.compile(dialect=self._dialect, column_keys=columns))
        constants = {
            name: bind.value
            for bind, name in compiled.bind_names.items()
            if not bind.required and name not in names
        }
        return str(compiled), constants


class Connection(ABC):
    """Runs statements; who opened it decides whether they are one transaction.

    A call that answers waits for its statement. One that does not answer may leave that to the next that does, or to
    the commit, which then raises what it would have raised.
    """

    __slots__ = ()
    far: bool = False
    """Whether an answer costs a round trip: then asking at once for what may be needed next is cheaper."""

    @abstractmethod
    def one(self, statement: ClauseElement, /, **values: Any) -> Row | None:
        """The first row."""

    @abstractmethod
    def all(self, statement: ClauseElement, /, **values: Any) -> list[Row]:
        """Every row."""

    @abstractmethod
    def run(self, statement: ClauseElement, /, **values: Any) -> int:
        """How many rows were changed."""

    @abstractmethod
    def later(self, statement: ClauseElement, /, **values: Any) -> None:
        """``run`` that does not answer."""

    @abstractmethod
    def exactly(self, statement: ClauseElement, otherwise: Exception, /, **values: Any) -> None:
        """``later`` of an update by primary key; if there is no such row, the transaction fails with ``otherwise``."""

    @abstractmethod
    def each(self, statement: ClauseElement, rows: Sequence[Mapping[str, Any]], /) -> list[Row | None]:
        """``one`` for each of the rows, which must all have the names of the first."""

    @abstractmethod
    def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, Any]], /) -> None:
        """``later`` for each of the rows, which must all have the names of the first."""

    @abstractmethod
    def insert(self, statement: ClauseElement, /, **values: Any) -> int:
        """The integer key that the database gave to the new row."""

    @abstractmethod
    def upsert(self, table: Table, /, **values: Any) -> None:
        """Inserts a row, or sets the other columns of the row that has the same primary key."""

    @abstractmethod
    def locked(self, statement: Select[Any], /, **values: Any) -> Row | None:
        """``one``; in a transaction that writes, nobody else changes that row until it ends."""

    @abstractmethod
    def alone(self, what: str) -> None:
        """Waits until no other transaction is alone with that, and is, until it ends: for rows not yet there."""


class FileConnection(Connection):
    """To a SQLite file. Transactions that write run one after the other, so each is alone with everything."""

    __slots__ = ("_execute", "_raw", "_statements")

    def __init__(self, raw: sqlite3.Connection, statements: Statements) -> None:
        self._raw = raw
        self._execute = raw.execute
        self._statements = statements

    def one(self, statement: ClauseElement, /, **values: Any) -> Row | None:
        text, constants = self._statements.text(statement, values)
        row: Row | None = self._execute(text, {**constants, **values} if constants else values).fetchone()
        return row

    def all(self, statement: ClauseElement, /, **values: Any) -> list[Row]:
        text, constants = self._statements.text(statement, values)
        return self._execute(text, {**constants, **values} if constants else values).fetchall()

    def run(self, statement: ClauseElement, /, **values: Any) -> int:
        text, constants = self._statements.text(statement, values)
        return self._execute(text, {**constants, **values} if constants else values).rowcount

    def later(self, statement: ClauseElement, /, **values: Any) -> None:
        self.run(statement, **values)

    def exactly(self, statement: ClauseElement, otherwise: Exception, /, **values: Any) -> None:
        if self.run(statement, **values) != 1:
            raise otherwise

    def each(self, statement: ClauseElement, rows: Sequence[Mapping[str, Any]], /) -> list[Row | None]:
        return [self.one(statement, **row) for row in rows]

    def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, Any]], /) -> None:
        if rows:
            text, constants = self._statements.text(statement, rows[0])
            self._raw.executemany(text, [{**constants, **row} for row in rows] if constants else rows)

    def insert(self, statement: ClauseElement, /, **values: Any) -> int:
        text, constants = self._statements.text(statement, values)
        key = self._execute(text, {**constants, **values} if constants else values).lastrowid
        assert key is not None
        return key

    def upsert(self, table: Table, /, **values: Any) -> None:
        self._execute(self._statements.upsert(table, values), values)

    def locked(self, statement: Select[Any], /, **values: Any) -> Row | None:
        return self.one(statement, **values)

    def alone(self, what: str) -> None:
        """It is."""
