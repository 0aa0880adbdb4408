import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from trove_agents.server.db import Database, migrations
from trove_agents.server.db.tables import metadata


def schema(file):
    """Every CREATE statement, whatever its line breaks."""
    connection = sqlite3.connect(file)
    statements = {
        " ".join(sql.split())
        for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    }
    connection.close()
    return {sql.replace("( ", "(").replace(" )", ")") for sql in statements}


def test_a_new_database_is_what_the_migrations_make(tmp_path):
    Database.open(tmp_path / "new").close()
    migrations.upgrade(tmp_path / "migrated.db")
    assert schema(tmp_path / "new" / "trove.db") == schema(tmp_path / "migrated.db")


def test_the_migrations_make_what_the_tables_say(tmp_path):
    migrations.upgrade(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_an_unknown_revision_is_refused(tmp_path):
    Database.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "trove.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(migrations.UnknownSchema, match="another release"):
        Database.open(tmp_path)


def test_a_database_of_the_first_revision_is_brought_forward_with_what_it_holds(tmp_path):
    migrations.upgrade(tmp_path / "trove.db", "0001")
    connection = sqlite3.connect(tmp_path / "trove.db")
    connection.execute("INSERT INTO workspaces VALUES ('ws-1', 'mine', 5)")
    connection.commit()
    connection.close()
    Database.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "trove.db")
    assert connection.execute("SELECT * FROM workspaces").fetchall() == [("ws-1", "mine", 5)]
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(migrations.HEAD,)]
    connection.close()
    migrations.upgrade(tmp_path / "new.db")
    assert schema(tmp_path / "trove.db") == schema(tmp_path / "new.db")
