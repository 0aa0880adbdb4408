"""Going back to any state of the past."""

import msgspec


class RestoreRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/restore``."""

    to: str
    """The id of a snapshot or a step reference, a version, or a timestamp."""


class RestoredState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a namespace is after going back to a state."""

    to: int
    """The version of the state that was asked for."""
    version: int
    """The namespace's own version now."""
    files_restored: int
    """Files and symbolic links that it holds."""
    changed: bool
    """False: it was that state already, so there is no new version."""
    reference_id: str | None = None
    """The step reference that was asked for with the call."""
