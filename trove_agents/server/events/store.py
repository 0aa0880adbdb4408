"""SQL of events. Times are microseconds and strictly increase within a workspace, so one number is a bookmark."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Select, bindparam, func, insert, literal_column, select

from trove_agents.server.db.connection import Connection
from trove_agents.server.db.tables import events
from trove_agents.wire.events import Actor
from trove_agents.wire.steps import Step

_later = events.alias("later").c
_ADD = insert(events).values(
    created_us=func.coalesce(
        select(func.max(_later.created_us) + 1)
        .where(_later.workspace == bindparam("of"), _later.created_us >= bindparam("now"))
        .scalar_subquery(),
        bindparam("now"),
    )
)
_COLUMNS = (
    events.c.id,
    events.c.type,
    events.c.namespace,
    events.c.created_us,
    events.c.actor_id,
    events.c.actor_name,
    events.c.step,
    events.c.data,
)
Row = tuple[Any, ...]


def add(
    tx: Connection,
    *,
    workspace: str,
    namespace: str | None,
    kind: str,
    actor: Actor | None,
    step: Step | None,
    data: Mapping[str, Any],
    now_us: int,
) -> str:
    """Stores an event and returns its id. On a tie, or when the clock went back, its time is one past the last."""
    tx.alone(f"workspace {workspace}")  # until the commit: a later time never shows before an earlier one
    event_id = f"evt-{secrets.token_hex(12)}"
    tx.later(
        _ADD,
        id=event_id,
        workspace=workspace,
        of=workspace,
        namespace=namespace,
        type=kind,
        now=now_us,
        actor_id=actor.key_id if actor else None,
        actor_name=actor.key_name if actor else None,
        step=None if step is None else msgspec.json.encode(step).decode(),
        data=msgspec.json.encode(data).decode(),
    )
    return event_id


def _page(*, namespace: bool, types: bool) -> Select[Any]:
    statement = (
        select(*_COLUMNS)
        .where(
            events.c.workspace == bindparam("workspace"),
            events.c.created_us > bindparam("since"),
            events.c.created_us < bindparam("before"),
        )
        .order_by(events.c.created_us.desc())
        .limit(bindparam("limit"))
    )
    if namespace:
        statement = statement.where(events.c.namespace == bindparam("namespace"))
    if types:
        # A list of any length as one parameter: the statement is compiled once
        wanted = literal_column("','").concat(bindparam("types")).concat(literal_column("','"))
        statement = statement.where(
            wanted.contains(literal_column("','").concat(events.c.type).concat(literal_column("','")))
        )
    return statement


_PAGES = {(n, t): _page(namespace=n, types=t) for n in (False, True) for t in (False, True)}


def page(
    db: Connection,
    workspace: str,
    *,
    namespace: str | None,
    types: list[str] | None,
    since_us: int,
    before_us: int,
    limit: int,
) -> list[Row]:
    """At most ``limit`` events between two times, both exclusive, newest first."""
    values: dict[str, Any] = {"workspace": workspace, "since": since_us, "before": before_us, "limit": limit}
    if namespace is not None:
        values["namespace"] = namespace
    if types is not None:
        values["types"] = ",".join(types)
    return db.all(_PAGES[namespace is not None, types is not None], **values)
