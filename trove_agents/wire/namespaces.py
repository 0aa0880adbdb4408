"""Names of namespaces, and the workspace they belong to."""

from typing import Annotated, Literal, TypeAlias

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
    quota_files: int | None = None
    """What ``files`` may grow to, its own quota or the server's; None: no end."""
    quota_bytes: int | None = None
    """What ``bytes`` may grow to, as ``quota_files``."""


Quota = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class NamespaceSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of ``PATCH /v1/namespaces/{name}``: what is given is changed."""

    workdir: Workdir | None = None
    quota_files: Quota | msgspec.UnsetType | None = msgspec.UNSET
    """What ``files`` may grow to; null: what the server says for all. Admin keys only, as ``quota_bytes``."""
    quota_bytes: Quota | msgspec.UnsetType | None = msgspec.UNSET
    """What ``bytes`` may grow to."""

    @property
    def quotas(self) -> bool:
        """Whether a quota is given."""
        return self.quota_files is not msgspec.UNSET or self.quota_bytes is not msgspec.UNSET


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
