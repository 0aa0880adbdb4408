"""The schema: made at once in a new file, brought forward by Alembic in an old one.

Alembic takes longer to import than the rest of an opening takes, so it is imported only when there is something to
migrate. A test holds the two ways to the same schema.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Dialect, Engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from trove_agents.server.db.tables import metadata

if TYPE_CHECKING:
    import psycopg

HEAD: Final = "0006"
"""The newest revision in ``versions/``."""
_FOLDER: Final = Path(__file__).parent
_VERSION_TABLE: Final = (
    "CREATE TABLE alembic_version ("
    "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


_ALONE: Final = 0x74726F7665
"""The advisory lock of whoever looks after the schema on a PostgreSQL server."""


class UnknownSchema(Exception):
    """The database was written by a newer release, or is not one of ours."""


def prepare(raw: sqlite3.Connection, file: Path) -> None:
    """Brings a database to ``HEAD``. The caller keeps other processes from writing.

    Raises:
        UnknownSchema: it has a revision that this release does not know.
    """
    revision = current(raw)
    if revision == HEAD:
        return
    if revision is None:
        create(raw)
    else:
        upgrade(file)


def prepare_server(raw: "psycopg.Connection[Any]", connect: Callable[[], "psycopg.Connection[Any]"]) -> None:
    """``prepare`` for a PostgreSQL server, while no other process does the same. ``connect`` opens a connection that
    is not in autocommit mode.

    Raises:
        UnknownSchema: it has a revision that this release does not know.
    """
    raw.execute("SELECT pg_advisory_lock(%s)", (_ALONE,))  # until the connection closes
    revision = current_of_server(raw)
    if revision == HEAD:
        return
    if revision is None:
        from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

        with raw.transaction():
            for statement in _statements(PGDialect_psycopg()):  # type: ignore[no-untyped-call]
                raw.execute(statement.encode())
        return
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    _upgrade(create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool), "head")


def current_of_server(raw: "psycopg.Connection[Any]") -> str | None:
    """``current`` of the first schema in the search path."""
    tables = {
        name
        for (name,) in raw.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
        )
    }
    if "alembic_version" in tables:
        row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None
    if tables:
        raise UnknownSchema("the database holds tables of something else")
    return None


def current(raw: sqlite3.Connection) -> str | None:
    """The revision of a database; None for an empty one."""
    tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" in tables:
        row = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None
    if tables:
        raise UnknownSchema("the database holds tables of something else")
    return None


def create(raw: sqlite3.Connection) -> None:
    """Every table, as of ``HEAD``, in one transaction."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(sqlite.dialect()):
            raw.execute(statement)
    except BaseException:
        raw.execute("ROLLBACK")
        raise
    raw.execute("COMMIT")


def _statements(dialect: Dialect) -> Iterator[str]:
    for table in metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))
    yield _VERSION_TABLE
    yield f"INSERT INTO alembic_version VALUES ('{HEAD}')"  # noqa: S608 - a constant


def upgrade(file: Path, revision: str = "head") -> None:
    """Runs the migration scripts that a database lacks, in one transaction. An empty file gets all of them.

    Raises:
        UnknownSchema: it has a revision that this release does not know.
    """
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, isolation_level=None, timeout=30)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    # The driver would commit before each CREATE: a crash half way must leave the old schema
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    _upgrade(engine, revision)


def _upgrade(engine: Engine, revision: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)

    def steps(have: Any, _: Any) -> Any:
        return script._upgrade_revs(revision, have)  # noqa: SLF001 - what alembic.command.upgrade calls

    try:
        with EnvironmentContext(config, script, fn=steps) as environment, engine.begin() as connection:
            environment.configure(connection=connection, target_metadata=metadata)
            environment.run_migrations()
    except CommandError as error:
        raise UnknownSchema(f"the database was written by another release: {error}") from error
    finally:
        engine.dispose()
