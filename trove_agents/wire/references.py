"""Step references: states of a namespace that are kept for the steps of a program."""

import re
from typing import Final

import msgspec

REFERENCE: Final = re.compile(r"ref-[0-9a-f]{16}")
"""An id, for ``fullmatch``."""


class ReferenceRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of ``POST /v1/references``. What is not given is taken from the step that the call is made in."""

    thread: str | None = None
    step: str | None = None


class StepReference(msgspec.Struct, frozen=True):
    """A namespace as it was at the end of a step, readable and restorable for as long as the reference exists."""

    reference_id: str
    namespace: str
    version: int
    """The namespace's version at that time. Equal versions of one namespace are equal states."""
    files: int
    """Files and symbolic links."""
    size_bytes: int
    """Sum of the files' sizes."""
    created_at: str
    thread: str | None = None
    """The caller's name for the run or the conversation."""
    step: str | None = None
    """The caller's name for the step."""


class ReferencePage(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/references``: newest first."""

    references: list[StepReference] = []
    next_cursor: str | None = None
    """Continues towards older ones; None on the last page."""


class ReferenceDeleted(msgspec.Struct, frozen=True):
    """Answer of ``DELETE /v1/references/{reference_id}``."""

    reference_id: str
    deleted: bool = True


class ReferencesDelete(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of ``POST /v1/references/delete``: ``ids``, or the others, which then must all hold."""

    ids: list[str] | None = None
    """At most ``limits.REFERENCES_DELETED``."""
    thread: str | None = None
    before: str | None = None
    """Those made before this timestamp."""


class ReferencesDeleted(msgspec.Struct, frozen=True):
    """Answer of ``POST /v1/references/delete``."""

    deleted: int
    more: bool = False
    """There are others, for the next call."""
