"""API keys, and who a key is."""

from typing import Literal

import msgspec

Scope = Literal["admin", "workspace"]


class KeyRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/workspaces/{ws}/keys``."""

    name: str
    namespace: str | None = None
    """Locks the key to one namespace."""
    admin: bool = False
    """An admin key manages keys and webhooks and never touches files."""


class KeyMetadata(msgspec.Struct, frozen=True):
    """A key without its secret."""

    key_id: str
    name: str
    prefix: str
    """The first characters of the secret, for display."""
    scope: Scope
    created_at: str
    namespace: str | None = None


class KeyCreated(KeyMetadata, frozen=True, kw_only=True):
    """A new key. Its secret is shown this once: the server keeps a hash."""

    api_key: str


class Keys(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/workspaces/{ws}/keys``: the active ones."""

    keys: list[KeyMetadata] = []


class KeyRevoked(msgspec.Struct, frozen=True):
    """Answer of ``DELETE /v1/workspaces/{ws}/keys/{key_id}``."""

    key_id: str
    revoked: bool = True


class Me(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/me``."""

    workspace_id: str
    key_id: str
    key_name: str
    scope: Scope
    namespace: str | None = None
    """The namespace the key is locked to."""
    capabilities: list[str] = []
    """Every optional feature of this server by name."""
