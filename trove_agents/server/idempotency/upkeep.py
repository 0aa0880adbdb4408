"""The end of old answers."""

from typing import Final

from sqlalchemy import bindparam, delete, select

from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import answers
from trove_agents.server.idempotency.answers import KEPT_SECONDS
from trove_agents.server.jobs import Turn

_BATCH: Final = 500
_a = answers.c
_OLD = (
    select(_a.workspace, _a.actor, _a.key, _a.created_us)
    .where(_a.created_us < bindparam("before"))
    .order_by(_a.created_us)
    .limit(_BATCH)
)
_DELETE = delete(answers).where(
    _a.workspace == bindparam("of"),
    _a.actor == bindparam("by"),
    _a.key == bindparam("called"),
    _a.created_us == bindparam("made"),  # one that was claimed anew meanwhile stays
)


class AnswerUpkeep:
    """One job over all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def forget(self, turn: Turn) -> str | None:
        """Deletes answers a day after they were given."""
        before = turn.now_us - KEPT_SECONDS * 1_000_000
        while True:
            with self._database.read() as db:
                found = db.all(_OLD, before=before)
            if not found:
                return None
            rows = [{"of": of, "by": by, "called": called, "made": made} for of, by, called, made in found]

            def remove(tx: Connection, rows: list[dict[str, object]] = rows) -> None:
                tx.many(_DELETE, rows)

            self._database.write(remove)
            if turn.over:
                return "more"
