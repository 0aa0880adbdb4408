"""Events: what happened in a workspace, newest first in listings."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from trove_agents.wire.steps import Step

API_VERSION: Final = "2026-04-30"


class Actor(msgspec.Struct, frozen=True):
    """The key that acted."""

    key_id: str
    key_name: str


class Event(msgspec.Struct, frozen=True):
    """The envelope, the same in listings, streams and webhook bodies."""

    id: str
    type: str
    api_version: str
    workspace_id: str
    created_at: str
    """Strictly increasing within a workspace."""
    namespace: str | None = None
    """None for events of the workspace as a whole."""
    actor: Actor | None = None
    """None for automatic acts."""
    data: dict[str, Any] = {}
    step: Step | UnsetType = UNSET
    """Not there, and false, where the caller named none: the envelope is then the public API's."""


class ListedEvent(Event, frozen=True, kw_only=True):
    """An event in a listing, which carries the id under both names that public clients read."""

    event_id: str


class EventPage(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/workspaces/{ws}/events``."""

    events: list[ListedEvent] = []
    next_cursor: str | None = None
    """Continues towards older events under the same filters; None on the last page."""
