"""Forks: a new namespace that starts as a state of another."""

import msgspec

from trove_agents.wire.keys import KeyCreated


class ForkRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of ``POST /v1/forks``."""

    namespace: str
    """The new name."""
    start: str | None = msgspec.field(name="from", default=None)
    """A snapshot id, a version, or a timestamp; None: as it is now."""
    key: bool = False
    """Asks for a key that is locked to the fork. A locked key gets one unasked."""


class Fork(msgspec.Struct, frozen=True):
    """A new namespace."""

    namespace: str
    forked_from: str
    at: int
    """The version of the other namespace that it starts as."""
    version: int
    """Its own first version, above ``at``."""
    files: int
    """Files and links."""
    bytes: int
    """Sum of the files' sizes."""
    key: KeyCreated | None = None
    """A key that is locked to the fork. Its secret is shown this once."""
