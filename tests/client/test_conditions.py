"""Conditions through the clients."""

import json

import pytest

from trove_agents import NotSupported, TroveConflictError, TrovePreconditionError
from trove_agents.client.transport import Reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace"}


def reply(status=200, body=b""):
    return Reply(status, {}, body)


RESULT = b'{"path": "workspace/a", "size_bytes": 1, "etag": "\\"7\\"", "deleted": "workspace/a"}'
CASES = [
    ("write", ("a", "x"), {"if_match": '"7"'}),
    ("write", ("a", "x"), {"if_none_match": "*"}),
    ("upload", ("a", b"x"), {"if_match": '"7"', "if_none_match": "*"}),
    ("delete", ("a",), {"if_match": '"7"'}),
]


def answers(*capabilities, status=200, body=RESULT):
    me = json.dumps(ME | {"capabilities": capabilities}).encode()
    return lambda request: reply(body=me) if request.path == "/v1/me" else reply(status, body)


def conditions(request):
    return {name.replace("-", "_"): v for name, v in request.headers if name in {"if-match", "if-none-match"}}


@pytest.mark.parametrize(("name", "arguments", "named"), CASES)
def test_they_are_sent_to_a_server_that_looks_at_them(colour, name, arguments, named):
    transport = colour.transport(answers("files.conditions"))
    client = colour.client(transport)
    for _ in range(2):
        result = colour.call(client, name, *arguments, **named)
    assert [request.path for request in transport.requests].count("/v1/me") == 1
    assert conditions(transport.requests[-1]) == named
    assert name == "delete" or result.etag == '"7"'


@pytest.mark.parametrize(("name", "arguments", "named"), CASES)
def test_they_are_not_sent_to_a_server_that_would_overlook_them(colour, name, arguments, named):
    transport = colour.transport(answers())
    with pytest.raises(NotSupported):
        colour.call(colour.client(transport), name, *arguments, **named)
    assert [request.path for request in transport.requests] == ["/v1/me"]


@pytest.mark.parametrize(("name", "arguments", "named"), CASES)
def test_without_them_nothing_is_asked(colour, name, arguments, named):
    transport = colour.transport(answers())
    colour.call(colour.client(transport), name, *arguments)
    assert len(transport.requests) == 1
    assert conditions(transport.requests[0]) == {}


@pytest.mark.parametrize(("name", "arguments", "named"), CASES)
@pytest.mark.parametrize(("status", "sent"), [(412, 1), (503, 1)])
def test_a_failure_is_not_repeated(colour, name, arguments, named, status, sent):
    body = b'{"detail": "no", "code": "precondition-failed"}'
    transport = colour.transport(answers("files.conditions", status=status, body=body))
    with pytest.raises(Exception, match="no") as caught:
        colour.call(colour.client(transport), name, *arguments, **named)
    assert len(transport.requests) == 1 + sent
    if status == 412:
        assert isinstance(caught.value, TrovePreconditionError) and isinstance(
            caught.value, TroveConflictError
        )
        assert (caught.value.code, caught.value.recovery) == ("precondition-failed", "adapt")
