"""Webhooks of a workspace, and what a receiver of deliveries needs."""

import time

import msgspec

from trove_agents.client.call import Call, delete, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.transport import Reply
from trove_agents.errors import WebhookSignatureError
from trove_agents.wire import signatures
from trove_agents.wire.webhooks import (
    WebhookCreated,
    WebhookEvent,
    WebhookMetadata,
    WebhookRequest,
    Webhooks,
    WebhookTestResult,
)


def verify_webhook(
    *,
    secret: str,
    body: str | bytes,
    signature_header: str,
    tolerance_seconds: float = signatures.TOLERANCE_SECONDS,
) -> WebhookEvent:
    """The event of a webhook delivery, once it is known to be authentic and fresh.

    Args:
        secret: The signing secret, as shown when the webhook was made.
        body: The raw body of the request. JSON that was parsed and written again has another signature.
        signature_header: The value of ``X-Trove-Signature``.
        tolerance_seconds: How old (or how far ahead) the signature may be.

    Raises:
        WebhookSignatureError: do not act on this delivery.
    """
    raw = body.encode() if isinstance(body, str) else body
    try:
        signatures.verify(secret, raw, signature_header, now=time.time(), tolerance=tolerance_seconds)
    except signatures.BadSignature as error:
        raise WebhookSignatureError(str(error)) from error
    try:
        return _EVENT(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WebhookSignatureError(f"Body is not a valid event: {error}") from error


def create_webhook(
    workspace: str,
    url: str,
    *,
    events: list[str] | None = None,
    namespace: str | None = None,
    description: str | None = None,
) -> Call[WebhookCreated]:
    """Subscribes a URL. Not repeated: it would subscribe twice."""
    body = WebhookRequest(url, events or ["*"], namespace, description)
    return post(_webhooks(workspace), _WEBHOOK_CREATED, body)


def list_webhooks(workspace: str) -> Call[list[WebhookMetadata]]:
    """Lists the subscriptions."""
    return get(_webhooks(workspace), _webhook_list)


def delete_webhook(workspace: str, webhook_id: str) -> Call[None]:
    """Ends a subscription."""
    return delete((*_webhooks(workspace), webhook_id))


def test_webhook(workspace: str, webhook_id: str) -> Call[WebhookTestResult]:
    """Sends a test delivery."""
    return post((*_webhooks(workspace), webhook_id, "test"), _WEBHOOK_TEST_RESULT)


class WebhooksMethods(Driver):
    """Webhooks of one workspace. An unknown id raises ``TroveNotFoundError``."""

    workspace_id: str

    def create_webhook(
        self,
        url: str,
        *,
        events: list[str] | None = None,
        namespace: str | None = None,
        description: str | None = None,
    ) -> WebhookCreated:
        """Subscribes a URL to events. The signing secret is in the result, and shown this once.

        Args:
            url: Where events are posted, http or https; it is not probed.
            events: Types; None: every type, those added later included.
            namespace: Only events of this one; None: of the whole workspace.
            description: For people.
        """
        return self.send(
            create_webhook(
                self.workspace_id, url, events=events, namespace=namespace, description=description
            )
        )

    def list_webhooks(self) -> list[WebhookMetadata]:
        """The subscriptions, each with how its last delivery went."""
        return self.send(list_webhooks(self.workspace_id))

    def delete_webhook(self, webhook_id: str) -> None:
        """Ends a subscription."""
        self.send(delete_webhook(self.workspace_id, webhook_id))

    def test_webhook(self, webhook_id: str) -> WebhookTestResult:
        """Delivers a ``webhook.test`` event and says what came back; a failed delivery is a result, too."""
        return self.send(test_webhook(self.workspace_id, webhook_id))


class AsyncWebhooksMethods(AsyncDriver):
    """As ``WebhooksMethods``."""

    workspace_id: str

    async def create_webhook(
        self,
        url: str,
        *,
        events: list[str] | None = None,
        namespace: str | None = None,
        description: str | None = None,
    ) -> WebhookCreated:
        """See :meth:`TroveAdminClient.create_webhook`."""
        return await self.send(
            create_webhook(
                self.workspace_id, url, events=events, namespace=namespace, description=description
            )
        )

    async def list_webhooks(self) -> list[WebhookMetadata]:
        """See :meth:`TroveAdminClient.list_webhooks`."""
        return await self.send(list_webhooks(self.workspace_id))

    async def delete_webhook(self, webhook_id: str) -> None:
        """See :meth:`TroveAdminClient.delete_webhook`."""
        await self.send(delete_webhook(self.workspace_id, webhook_id))

    async def test_webhook(self, webhook_id: str) -> WebhookTestResult:
        """See :meth:`TroveAdminClient.test_webhook`."""
        return await self.send(test_webhook(self.workspace_id, webhook_id))


_EVENT = msgspec.json.Decoder(WebhookEvent).decode
_WEBHOOK_CREATED = value(WebhookCreated)
_WEBHOOKS = value(Webhooks)
_WEBHOOK_TEST_RESULT = value(WebhookTestResult)


def _webhooks(workspace: str) -> tuple[str, ...]:
    return ("v1", "workspaces", workspace, "webhooks")


def _webhook_list(reply: Reply) -> list[WebhookMetadata]:
    return _WEBHOOKS(reply).webhooks
