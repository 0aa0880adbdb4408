"""The values of the tree. A path is text relative to the root, ``""`` for the root, as in ``wire/names.py``."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import msgspec

from trove_agents.server.blobs import Stored
from trove_agents.wire.steps import Step


class Kind(IntEnum):
    """What is at a path. ``GONE`` is a row that says so; no function returns it."""

    GONE = 0
    FILE = 1
    DIRECTORY = 2
    LINK = 3


@dataclass(frozen=True, slots=True)
class At:
    """A place to read: any past or present state of any namespace. It never changes once it is the past."""

    timeline: int
    version: int


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is at a path in one state. A Struct, since listings make them by the thousand."""

    path: str
    kind: Kind
    mode: int
    """Permission bits."""
    size: int
    """Bytes: of a file's content, of a link's target, 0 for a directory."""
    mtime_ns: int
    content: int | None
    """Key of the content; a link's holds its target."""
    since: int
    """The version that put it there: with the path it identifies these bytes for good."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_dir(self) -> bool:
        return self.kind is Kind.DIRECTORY

    @property
    def stat(self) -> tuple[Kind, int, int, int, int | None]:
        """All that a comparison of two states looks at."""
        return self.kind, self.mode, self.size, self.mtime_ns, self.content


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace at its head."""

    id: int
    workspace: str
    name: str
    at: At
    files: int
    """Files and links."""
    bytes: int
    """Sum of the files' sizes."""
    leased_until_us: int = 0
    """When the lease on it ends, unless that was ended earlier; 0: there is none."""
    quota_files: int | None = None
    """What ``files`` may grow to; None: no more is said than the server's own default."""
    quota_bytes: int | None = None
    """What ``bytes`` may grow to, as ``quota_files``."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A content: small ones as ``data``, larger ones as blobs that are already stored."""

    digest: bytes
    """blake3 of the whole; of several parts, whatever the caller identifies them by."""
    size: int
    data: bytes | None
    parts: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A path whose ``stat`` differs between two states."""

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def change(self) -> Literal["added", "removed", "changed"]:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class LogRow:
    """One version: what made it, and the namespace's totals after it."""

    version: int
    timeline: int
    kind: str
    actor: str | None
    step: Step | None
    files: int
    bytes: int
    at_us: int


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """A state that is kept for a step of somebody's program."""

    id: str
    namespace: int
    at: At
    thread: str | None
    step: str | None
    files: int
    bytes: int
    created_us: int


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A state that is kept under a name."""

    id: str
    namespace: int
    at: At
    label: str | None
    files: int
    bytes: int
    automatic: bool
    created_us: int
