"""Which state of a namespace is meant: how programs say it, and how the wire does."""

from datetime import UTC, datetime
from typing import TypeAlias

from trove_agents.client.call import Pairs
from trove_agents.wire.references import StepReference
from trove_agents.wire.snapshots import Snapshot

State: TypeAlias = Snapshot | StepReference | str | int | datetime
"""A snapshot or a step reference or the id of one, a version, or a moment: ISO 8601 text or a datetime, UTC unless it says otherwise."""


def wire_state(state: State) -> str:
    """A state as a query or a body has it."""
    if isinstance(state, Snapshot):
        return state.snapshot_id
    if isinstance(state, StepReference):
        return state.reference_id
    if isinstance(state, datetime):
        return (state if state.tzinfo else state.replace(tzinfo=UTC)).isoformat()
    return str(state)


def at_query(at: State | None) -> Pairs:
    """The query of a read at a state; empty for the present."""
    return () if at is None else (("at", wire_state(at)),)
