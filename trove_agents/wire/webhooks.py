"""Webhooks: URLs that a workspace's events are posted to."""

import msgspec

from trove_agents.wire.events import Event


class WebhookRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/workspaces/{ws}/webhooks``."""

    url: str
    events: list[str] = msgspec.field(default_factory=lambda: ["*"])
    """Types to deliver; ``*`` is every type, those added later included."""
    namespace: str | None = None
    """Only events of this one; those of the workspace as a whole are then left out."""
    description: str | None = None


class WebhookMetadata(msgspec.Struct, frozen=True):
    """A subscription without its secret."""

    webhook_id: str
    url: str
    events: list[str] = msgspec.field(default_factory=lambda: ["*"])
    namespace: str | None = None
    description: str | None = None
    enabled: bool = True
    created_at: str = ""
    last_delivery_at: str | None = None
    last_delivery_ok: bool | None = None
    last_delivery_status: int | None = None


class WebhookCreated(WebhookMetadata, frozen=True, kw_only=True):
    """A new subscription. The secret that signs its deliveries is shown this once."""

    signing_secret: str


class Webhooks(msgspec.Struct, frozen=True):
    """Answer of ``GET /v1/workspaces/{ws}/webhooks``."""

    webhooks: list[WebhookMetadata] = []


class WebhookDeleted(msgspec.Struct, frozen=True):
    """Answer of ``DELETE /v1/workspaces/{ws}/webhooks/{webhook_id}``."""

    webhook_id: str
    deleted: bool = True


class WebhookTestResult(msgspec.Struct, frozen=True):
    """Answer of ``POST /v1/workspaces/{ws}/webhooks/{webhook_id}/test``."""

    ok: bool = False
    """The receiver answered 2xx."""
    event_id: str = ""
    status: int | None = None
    """The receiver's answer; None when there was none."""
    error: str | None = None


class WebhookEvent(Event, frozen=True):
    """The body of a delivery, once its signature is verified."""
