"""Which state of a namespace a caller means by ``at``: docs/wire.md, "Reading the past"."""

from typing import Final

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.errors import NotFound, Unprocessable
from trove_agents.server.timelines import At, Namespace
from trove_agents.wire import times

_SNAPSHOTS: Final = ("snap-", "auto-")
_LAST: Final = 2**63 - 1
"""The largest version that a database can hold."""


def state(db: Connection, space: Namespace, at: str | None, *, field: str = "at") -> At:
    """The state behind a snapshot id, a version, or a timestamp; the head for None.

    A moment still to come is the head. A timestamp takes in all that happened in its microsecond.

    Raises:
        NotFound: no such snapshot in this namespace, or the namespace did not exist yet, or that is longer
            ago than its history is kept.
        Unprocessable: the text is none of the three; ``field`` is what the caller calls it.
    """
    if at is None:
        return space.at
    if at.startswith(_SNAPSHOTS):
        row = timelines.snapshot_by_id(db, at)
        if row is None or row.namespace != space.id:
            raise NotFound("no such snapshot in this namespace")
        return row.at
    version = min(_version(at, field), _LAST)
    if version < 0:
        raise _too_early()
    try:
        return timelines.at_version(db, space.id, version)
    except timelines.NotFound:
        raise _too_early() from None


def recheck(db: Connection, space: Namespace, at: str | None, *, field: str = "at") -> None:
    """Refuses what was just read of a past state if that was forgotten meanwhile: it may be incomplete.

    Raises:
        NotFound: as ``state``.
    """
    if at is not None:
        state(db, space, at, field=field)


def _version(at: str, field: str) -> int:
    if at.isascii() and at.isdigit():
        return int(at) if len(at) <= len(str(_LAST)) else _LAST
    try:
        return times.to_micros(at.strip().replace(" ", "+")) * 1000 + 999  # as in the listing of events
    except (ValueError, OverflowError):
        message = f"{field} is a snapshot id, a version, or an ISO 8601 timestamp"
        raise Unprocessable(message, errors=[{"field": field, "message": message}]) from None


def _too_early() -> NotFound:
    return NotFound("this namespace did not exist at that time, or its history does not go back so far")
