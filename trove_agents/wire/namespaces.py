"""Names of namespaces, and the workspace they belong to."""

from typing import Literal, TypeAlias

import msgspec

from trove_agents.wire import limits

Workdir: TypeAlias = Literal["auto", "copy"]
"""How commands get their files: in the fastest way of the server's machine, or always in a plain folder of their own."""


def valid(name: str) -> bool:
    """Whether a name may be a namespace: 1 to 128 of ``A-Z a-z 0-9 _ -``."""
    return limits.NAMESPACE.fullmatch(name) is not None


class NamespaceInfo(msgspec.Struct, frozen=True):
    """A namespace as it is now."""

    name: str
    files: int
    """Files and symbolic links."""
    bytes: int
    """Sum of the files' sizes."""
    created_at: str
    last_activity: str
    """When it was last changed, snapshotted or restored."""
    workdir: Workdir = "auto"


class NamespaceSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of ``PATCH /v1/namespaces/{name}``: what is given is changed."""

    workdir: Workdir | None = None


class NamespacePage(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/namespaces``, by name."""

    namespaces: list[NamespaceInfo]
    next_cursor: str | None = None


class NamespaceDeleted(msgspec.Struct, frozen=True):
    """Answer of ``DELETE /v1/namespaces/{name}``."""

    namespace: str
    deleted: bool = True


class WorkspaceCreated(msgspec.Struct, frozen=True):
    """A new workspace and its first two keys: ``key`` works in every namespace, ``admin_key`` mints others."""

    workspace_id: str
    key: str
    admin_key: str
