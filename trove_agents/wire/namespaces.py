"""Names of namespaces, and the workspace they belong to."""

import msgspec

from trove_agents.wire import limits


def valid(name: str) -> bool:
    """Whether a name may be a namespace: 1 to 128 of ``A-Z a-z 0-9 _ -``."""
    return limits.NAMESPACE.fullmatch(name) is not None


class WorkspaceCreated(msgspec.Struct, frozen=True):
    """A new workspace and its first two keys: ``key`` works in every namespace, ``admin_key`` mints others."""

    workspace_id: str
    key: str
    admin_key: str
