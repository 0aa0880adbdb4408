"""What differs between two states of a namespace, and what happened to it."""

from typing import Literal

import msgspec

from trove_agents.wire.events import Actor
from trove_agents.wire.steps import Step

Change = Literal["added", "removed", "changed"]


class Side(msgspec.Struct, frozen=True):
    """What is at a path on one side of a comparison."""

    size_bytes: int | None
    """None for directories."""
    mode: int
    """Permission bits."""
    modified_at: str
    is_dir: bool


class Difference(msgspec.Struct, frozen=True):
    """A path that two states hold differently: in kind, content, mode or time."""

    path: str
    """``workspace/...``"""
    change: Change
    before: Side | None = None
    """None for what was added."""
    after: Side | None = None
    """None for what was removed."""


class Differences(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/diff``: one page."""

    start: int = msgspec.field(name="from")
    """The version that is compared with ``to``."""
    to: int
    entries: list[Difference] = []
    """In byte order of their paths: a directory stands before its content."""
    next_cursor: str | None = None
    """Continues between the same two versions, whatever happened since; None on the last page."""


class HistoryEntry(msgspec.Struct, frozen=True):
    """One version: of a path, or of the namespace."""

    version: int
    created_at: str
    kind: str
    """What made it: ``write``, ``upload``, ``delete``, ``exec``, ``snapshot``, ``restore``, ``create``, ``fork`` ..."""
    actor: Actor | None = None
    """None for automatic acts."""
    step: Step | None = None
    """None where the caller named none."""
    change: Change | None = None
    """What became of the path; None in the history of the namespace."""
    size_bytes: int | None = None
    """Of the file from then on, None for directories and what is gone; of all files, in the history of the namespace."""
    files: int | None = None
    """Files and links from then on, in the history of the namespace."""


class HistoryPage(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/history``: newest first."""

    entries: list[HistoryEntry] = []
    next_cursor: str | None = None
    """Continues towards older versions; None on the last page."""
