"""Leases: a namespace to oneself for some time, over many calls."""

from typing import Annotated

import msgspec

from trove_agents.wire import limits
from trove_agents.wire.errors import ErrorBody

Ttl = Annotated[int, msgspec.Meta(ge=1, le=limits.LEASE_SECONDS)]
"""Seconds until it ends by itself."""


class LeaseRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of ``POST /v1/leases``."""

    ttl: Ttl = 60
    holder: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    """What others are told; None: the key's name."""


class LeaseRenewal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of ``POST /v1/leases/{lease_id}``."""

    ttl: Ttl = 60
    """From now on."""


class Lease(msgspec.Struct, frozen=True):
    """A lease that was given, for its holder."""

    lease_id: str
    """Sent as ``X-Trove-Lease``; nobody else is told."""
    namespace: str
    holder: str
    token: int
    """Grows with every lease of a namespace of that name."""
    expires_at: str


class LeaseReleased(msgspec.Struct, frozen=True):
    """Answer of ``DELETE /v1/leases/{lease_id}`` and ``DELETE /v1/leases``."""

    released: bool
    """False: it was lost before."""


class LeaseHolder(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/leases``: who holds the lease; all None when nobody does."""

    holder: str | None = None
    token: int | None = None
    expires_at: str | None = None


class LeasedBody(ErrorBody, frozen=True, omit_defaults=True):
    """The error ``workspace-leased``."""

    holder: str | None = None
    expires_at: str | None = None
