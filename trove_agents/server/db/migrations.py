"""The schema: made at once in a new file, brought forward by Alembic in an old one.

Alembic takes longer to import than the rest of an opening takes, so it is imported only when there is something to
migrate. A test holds the two ways to the same schema.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from trove_agents.server.db.tables import metadata

HEAD: Final = "0002"
"""The newest revision in ``versions/``."""
_FOLDER: Final = Path(__file__).parent
_VERSION_TABLE: Final = (
    "CREATE TABLE alembic_version ("
    "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


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
    dialect = sqlite.dialect()
    raw.execute("BEGIN IMMEDIATE")
    try:
        for table in metadata.sorted_tables:
            raw.execute(str(CreateTable(table).compile(dialect=dialect)))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                raw.execute(str(CreateIndex(index).compile(dialect=dialect)))
        raw.execute(_VERSION_TABLE)
        raw.execute("INSERT INTO alembic_version VALUES (?)", (HEAD,))
    except BaseException:
        raw.execute("ROLLBACK")
        raise
    raw.execute("COMMIT")


def upgrade(file: Path, revision: str = "head") -> None:
    """Runs the migration scripts that a database lacks, in one transaction. An empty file gets all of them.

    Raises:
        UnknownSchema: it has a revision that this release does not know.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, isolation_level=None, timeout=30)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    # The driver would commit before each CREATE: a crash half way must leave the old schema
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
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
