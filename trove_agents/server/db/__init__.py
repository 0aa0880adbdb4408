"""The database: tables, migrations, statements on a connection, group commit.

The only place that knows which database it is. Everything above writes SQLAlchemy Core statements, begins no
transaction of its own and asks ``Database`` for a reading connection or a transaction.
"""

from trove_agents.server.db.commit import CommitFailed, Stale, Unreachable
from trove_agents.server.db.connection import Connection
from trove_agents.server.db.engine import Database

__all__ = ["CommitFailed", "Connection", "Database", "Stale", "Unreachable"]
