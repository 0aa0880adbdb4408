"""Which state of a namespace a caller means by ``at``: docs/wire.md, "Reading the past"."""

from typing import Final

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.errors import NotFound, Unprocessable
from trove_agents.server.timelines import At, Namespace, ReferenceRow, SnapshotRow
from trove_agents.wire import times
from trove_agents.wire.references import REFERENCE
from trove_agents.wire.snapshots import SNAPSHOT

_SNAPSHOTS: Final = ("snap-", "auto-")
_REFERENCES: Final = "ref-"
_LAST: Final = 2**63 - 1
"""The largest version that a database can hold."""


def state(db: Connection, space: Namespace, at: str | None, *, field: str = "at") -> At:
    """The state behind the id of a snapshot or a step reference, a version, or a timestamp; the head for None.

    A moment still to come is the head. A timestamp takes in all that happened in its microsecond.

    Raises:
        NotFound: no such snapshot or reference in this namespace, or the namespace did not exist yet, or that is
            longer ago than its history is kept.
        Unprocessable: the text is none of these; ``field`` is what the caller calls it.
    """
    if at is None:
        return space.at
    if at.startswith(_SNAPSHOTS):
        return snapshot(db, space, at).at
    if at.startswith(_REFERENCES):
        return reference(db, space, at).at
    version = min(_version(at, field), _LAST)
    if version < 0:
        raise _too_early()
    try:
        return timelines.at_version(db, space.id, version)
    except timelines.NotFound:
        raise _too_early() from None


def named(at: str) -> dict[str, str]:
    """The id that a state was given by, under its name on the wire; nothing for a version or a time."""
    if at.startswith(_SNAPSHOTS):
        return {"snapshot_id": at}
    return {"reference_id": at} if at.startswith(_REFERENCES) else {}


def snapshot(db: Connection, space: Namespace, id: str) -> SnapshotRow:  # noqa: A002 - the word of the wire
    """A namespace's snapshot.

    Raises:
        NotFound: unknown, or another namespace's.
    """
    row = timelines.snapshot_by_id(db, id) if SNAPSHOT.fullmatch(id) else None
    if row is None or row.namespace != space.id:
        raise NotFound("no such snapshot in this namespace")
    return row


def reference(db: Connection, space: Namespace, id: str) -> ReferenceRow:  # noqa: A002 - the word of the wire
    """A namespace's step reference.

    Raises:
        NotFound: unknown, or another namespace's.
    """
    row = timelines.reference(db, id) if REFERENCE.fullmatch(id) else None
    if row is None or row.namespace != space.id:
        raise NotFound("no such reference in this namespace")
    return row


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
        message = f"{field} is the id of a snapshot or a reference, a version, or an ISO 8601 timestamp"
        raise Unprocessable(message, errors=[{"field": field, "message": message}]) from None


def _too_early() -> NotFound:
    return NotFound("this namespace did not exist at that time, or its history does not go back so far")
