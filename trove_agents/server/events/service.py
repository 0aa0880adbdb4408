"""Recording events and listing them (wire 3.11 and 4)."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trove_agents.server import texts
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import BadRequest, Forbidden, Unprocessable
from trove_agents.server.events import store
from trove_agents.wire import limits, times
from trove_agents.wire.events import API_VERSION, Actor, EventPage, ListedEvent
from trove_agents.wire.steps import Step

_MAX_US: Final = 2**63 - 1


def record(
    tx: Connection,
    *,
    principal: Principal,
    namespace: str | None,
    kind: str,
    data: Mapping[str, Any],
    now_ns: int,
) -> str:
    """Stores an event in the transaction of the change it tells of, and returns its id.

    The row is also what deliveries will be made from: see docs/decisions.
    """
    return store.add(
        tx,
        workspace=principal.workspace,
        namespace=namespace,
        kind=kind,
        actor=principal.actor,
        step=principal.step,
        data=data,
        now_us=now_ns // 1000,
    )


def record_automatic(
    tx: Connection, *, workspace: str, namespace: str | None, kind: str, data: Mapping[str, Any], now_ns: int
) -> str:
    """``record`` for what no key asked for."""
    return store.add(
        tx,
        workspace=workspace,
        namespace=namespace,
        kind=kind,
        actor=None,
        step=None,
        data=data,
        now_us=now_ns // 1000,
    )


class EventsQuery(msgspec.Struct, frozen=True):
    """Filters of a listing."""

    limit: int = limits.EVENTS_PAGE
    namespace: str | None = None
    types: str | None = None
    since: str | None = None
    cursor: str | None = None


class Events:
    """The listing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, principal: Principal, query: EventsQuery) -> EventPage:
        """Newest first. A locked key sees its own namespace, and is refused another's.

        Raises:
            BadRequest: a cursor that this server did not give.
            Forbidden: a locked key asked for another namespace.
            Unprocessable: a limit below 1, ``since`` is no timestamp, or a filter holds a NUL.
        """
        namespace = query.namespace
        if principal.lock is not None:
            if namespace not in {None, principal.lock}:
                raise Forbidden(f"this key is locked to namespace '{principal.lock}'")
            namespace = principal.lock
        texts.check("namespace", namespace)
        texts.check("types", query.types)
        if query.limit < 1:
            raise Unprocessable("limit is at least 1", errors=[{"field": "limit", "message": "at least 1"}])
        limit = min(query.limit, limits.EVENTS_PAGE)
        types = None if not query.types else [name.strip() for name in query.types.split(",") if name.strip()]
        with self._database.read() as db:
            rows = store.page(
                db,
                principal.workspace,
                namespace=namespace,
                types=types,
                since_us=-1 if query.since is None else _since(query.since),
                before_us=_MAX_US if query.cursor is None else _position(query.cursor),
                limit=limit + 1,
            )
        shown = [_event(principal.workspace, row) for row in rows[:limit]]
        more = len(rows) > limit
        return EventPage(shown, _cursor(rows[limit - 1][3]) if more else None)


def _event(workspace: str, row: store.Row) -> ListedEvent:
    event_id, kind, namespace, created_us, actor_id, actor_name, step, data = row
    return ListedEvent(
        id=event_id,
        event_id=event_id,
        type=kind,
        api_version=API_VERSION,
        workspace_id=workspace,
        created_at=times.from_micros(created_us),
        namespace=namespace,
        actor=None if actor_id is None else Actor(actor_id, actor_name),
        data=msgspec.json.decode(data, type=dict[str, Any]),
        step=msgspec.UNSET if step is None else msgspec.json.decode(step, type=Step),
    )


def _since(text: str) -> int:
    try:
        return times.to_micros(text.strip().replace(" ", "+"))  # a '+' in a hand-made URL arrives as a space
    except (ValueError, OverflowError):
        message = "since is an ISO 8601 timestamp"
        raise Unprocessable(message, errors=[{"field": "since", "message": message}]) from None


def _cursor(created_us: int) -> str:
    return base64.urlsafe_b64encode(b"e%d" % created_us).decode().rstrip("=")


def _position(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = int(text.removeprefix(b"e"))
    except (ValueError, binascii.Error):
        raise BadRequest("this cursor is not from this server") from None
    if not text.startswith(b"e") or not 0 <= position <= _MAX_US or _cursor(position) != cursor:
        raise BadRequest("this cursor is not from this server")
    return position
