import time

import msgspec
import pytest
import trove_sdk

from trove_agents import TroveError, WebhookEvent, WebhookSignatureError, verify_webhook
from trove_agents.wire import signatures
from trove_agents.wire.events import Actor

SECRET = "trove-whsec-0123456789abcdef"
ENVELOPE = {
    "id": "evt-1",
    "type": "file.written",
    "api_version": "2026-04-30",
    "workspace_id": "ws-1",
    "namespace": "ns",
    "created_at": "2026-05-07T20:00:00.000000Z",
    "actor": {"key_id": "key-1", "key_name": "ci"},
    "data": {"path": "workspace/naïve"},
}
BODY = msgspec.json.encode(ENVELOPE)


def verify(body: str | bytes = BODY, header: str | None = None, **named) -> WebhookEvent:
    raw = body.encode() if isinstance(body, str) else body
    header = signatures.sign(SECRET, raw, at=int(time.time())) if header is None else header
    return verify_webhook(secret=SECRET, body=body, signature_header=header, **named)


@pytest.mark.parametrize("body", [BODY, BODY.decode()])
def test_an_authentic_delivery_is_an_event(body: str | bytes) -> None:
    event = verify(body)
    assert isinstance(event, WebhookEvent)
    assert (event.id, event.type, event.namespace, event.data) == (
        "evt-1",
        "file.written",
        "ns",
        ENVELOPE["data"],
    )
    assert event.actor == Actor("key-1", "ci")


def test_the_public_sdk_agrees() -> None:
    header = signatures.sign(SECRET, BODY, at=int(time.time()))
    theirs = trove_sdk.verify_webhook(secret=SECRET, body=BODY, signature_header=header)
    ours = verify(header=header)
    for field in ("id", "type", "api_version", "workspace_id", "namespace", "created_at", "data"):
        assert getattr(ours, field) == getattr(theirs, field)


@pytest.mark.parametrize(
    "make", [lambda now: "", lambda now: "t=1", lambda now: f"t={now},v1=00", lambda now: "v1=00"]
)
def test_what_is_not_authentic_is_refused_by_both(make) -> None:
    header = make(int(time.time()))
    with pytest.raises(trove_sdk.WebhookSignatureError) as theirs:
        trove_sdk.verify_webhook(secret=SECRET, body=BODY, signature_header=header)
    with pytest.raises(WebhookSignatureError) as ours:
        verify(header=header)
    assert str(ours.value) == str(theirs.value)
    assert isinstance(ours.value, TroveError)


def test_the_tolerance_is_the_receivers() -> None:
    header = signatures.sign(SECRET, BODY, at=int(time.time()) - 400)
    with pytest.raises(WebhookSignatureError, match="outside tolerance"):
        verify(header=header)
    assert verify(header=header, tolerance_seconds=500).id == "evt-1"


@pytest.mark.parametrize("body", [b"not json", b"{}", b"[]", b"\xff", b'{"id": "evt-1"}'])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookSignatureError, match="not a valid event"):
        verify(body)
