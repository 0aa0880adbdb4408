"""The end of old events."""

from sqlalchemy import bindparam, delete, func, select

from trove_agents.server.db import Database
from trove_agents.server.db.lists import Among, integers
from trove_agents.server.db.tables import events
from trove_agents.server.jobs import DAY, Turn

_BATCH = 1000
# The newest stays: SQLite would give its key to the next event, and keys are bookmarks
_OLD = (
    select(events.c.seq)
    .where(
        events.c.created_us < bindparam("before"),
        events.c.seq < select(func.max(events.c.seq)).scalar_subquery(),
    )
    .order_by(events.c.seq)
    .limit(_BATCH)
)
_DELETE = delete(events).where(Among(events.c.seq, "keys"))


class EventUpkeep:
    """One job over all workspaces."""

    def __init__(self, database: Database, *, days: int) -> None:
        self._database = database
        self._days = days

    def forget(self, turn: Turn) -> str | None:
        """Deletes events that are older than the setting says."""
        before = turn.now_us - self._days * DAY * 1_000_000
        while True:
            with self._database.read() as db:
                found = integers(key for (key,) in db.all(_OLD, before=before))
            if found == "[]":
                return None
            self._database.write(lambda tx, found=found: tx.run(_DELETE, keys=found))  # type: ignore[misc]
            if turn.over:
                return "more"
