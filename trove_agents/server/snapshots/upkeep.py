"""Snapshots that nobody asks for: one a day of what changed, and the end of those whose time is over (wire 3.8)."""

import datetime as dt
import functools
import secrets
from typing import Any, Final

from sqlalchemy import and_, bindparam, exists, or_, select

from trove_agents.server import timelines
from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import namespaces, snapshots
from trove_agents.server.events import service as events
from trove_agents.server.jobs import DAY, Turn

AUTOMATIC_DAYS: Final = 30
"""How long daily snapshots are kept."""
_BATCH: Final = 100
"""Namespaces or snapshots in one transaction."""

_n, _s = namespaces.c, snapshots.c
_LABELLED = exists().where(_s.namespace == _n.id, _s.automatic.is_(True), _s.label == bindparam("today"))
_UNCHANGED = exists().where(_s.namespace == _n.id, _s.timeline == _n.timeline, _s.version == _n.version)
_WANTING: Final = (
    select(_n.id)
    .where(_n.id > bindparam("after"), _n.files > 0, ~_LABELLED, ~_UNCHANGED)
    .order_by(_n.id)
    .limit(_BATCH)
)
_STILL: Final = select(_n.id).where(_n.id == bindparam("id"), _n.files > 0, ~_LABELLED, ~_UNCHANGED)
_EXPIRED: Final = (
    select(_s.id, _n.workspace, _n.name)
    .join(namespaces, _n.id == _s.namespace)
    .where(
        or_(
            and_(_s.automatic.is_(True), _s.created_us < bindparam("automatic")),
            and_(_s.automatic.is_(False), _s.created_us < bindparam("manual")),
        )
    )
    .limit(_BATCH)
)


def expiry_us(created_us: int, days: int | None) -> int | None:
    """When a snapshot that is kept for so many days may go."""
    return None if days is None else created_us + days * DAY * 1_000_000


class SnapshotUpkeep:
    """Two jobs over all namespaces."""

    def __init__(self, database: Database, *, manual_days: int | None) -> None:
        self._database = database
        self._manual_days = manual_days

    def take_daily(self, turn: Turn) -> str | None:
        """Snapshots every namespace that holds files and differs from its newest snapshots; once a day (UTC) each."""
        label = f"auto-daily-{dt.datetime.fromtimestamp(turn.now_ns // 10**9, dt.UTC):%Y-%m-%d}"
        after = int(turn.place or 0)
        while True:
            with self._database.read() as db:
                found = [key for (key,) in db.all(_WANTING, after=after, today=label)]
            if not found:
                return None
            self._database.write(functools.partial(_take, found=found, label=label, now_ns=turn.now_ns))
            after = found[-1]
            if turn.over:
                return str(after)

    def expire(self, turn: Turn) -> str | None:
        """Deletes daily snapshots after 30 days, and others when a setting says after how many."""
        manual = -1 if self._manual_days is None else turn.now_us - self._manual_days * DAY * 1_000_000
        automatic = turn.now_us - AUTOMATIC_DAYS * DAY * 1_000_000
        while True:
            with self._database.read() as db:
                found = db.all(_EXPIRED, automatic=automatic, manual=manual)
            if not found:
                return None
            self._database.write(functools.partial(_delete, found=found, now_ns=turn.now_ns))
            if turn.over:
                return "more"


def _take(tx: Connection, found: list[int], label: str, now_ns: int) -> None:
    for key in found:
        if tx.one(_STILL, id=key, today=label) is None:
            continue
        space = timelines.head(tx, key)
        identity = f"auto-{secrets.token_hex(8)}"
        row = timelines.snapshot(tx, space, id=identity, label=label, now_ns=now_ns, automatic=True)
        events.record_automatic(
            tx,
            workspace=space.workspace,
            namespace=space.name,
            kind="snapshot.created",
            data={"snapshot_id": identity, "label": label, "size_bytes": row.bytes},
            now_ns=now_ns,
        )


def _delete(tx: Connection, found: list[tuple[Any, ...]], now_ns: int) -> None:
    for identity, workspace, namespace in found:
        if timelines.delete_snapshot(tx, identity):
            events.record_automatic(
                tx,
                workspace=workspace,
                namespace=namespace,
                kind="snapshot.deleted",
                data={"snapshot_id": identity},
                now_ns=now_ns,
            )
