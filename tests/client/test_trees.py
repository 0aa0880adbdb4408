"""Trees through the clients, and what servers without them get: nothing but the question."""

import json

import pytest

from trove_agents import NotSupported
from trove_agents.client.transport import Reply

CASES = [
    ("mkdir", ("workspace/d",), {}, {"path": "d"}, {"path": "workspace/d", "created": True}),
    (
        "move",
        ("/workspace/a", "b"),
        {},
        {"from": "a", "to": "b", "overwrite": False},
        {"from": "workspace/a", "to": "workspace/b", "files": 1},
    ),
    (
        "copy",
        ("a", "workspace/b"),
        {"overwrite": True},
        {"from": "a", "to": "b", "overwrite": True},
        {"from": "workspace/a", "to": "workspace/b", "files": 1},
    ),
]
ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace"}


def reply(status=200, body=b""):
    return Reply(status, {}, body)


def me(*capabilities):
    return reply(body=json.dumps(ME | {"capabilities": capabilities}).encode())


@pytest.mark.parametrize(("name", "arguments", "named", "body", "answer"), CASES)
def test_the_server_is_asked_once(colour, name, arguments, named, body, answer):
    def answers(request):
        return me(f"files.{name}") if request.path == "/v1/me" else reply(body=json.dumps(answer).encode())

    transport = colour.transport(answers)
    client = colour.client(transport)
    for _ in range(2):
        result = colour.call(client, name, *arguments, **named)
    path = f"/v1/files/{name}"
    assert [(r.method, r.path) for r in transport.requests] == [("GET", "/v1/me"), *[("POST", path)] * 2]
    assert json.loads(transport.bodies[-1]) == body
    if name == "mkdir":
        assert result is True
    else:
        assert (result.source, result.to, result.files) == ("workspace/a", "workspace/b", 1)


@pytest.mark.parametrize(("name", "arguments", "named", "body", "answer"), CASES)
@pytest.mark.parametrize("answered", [me("exec.stdin"), reply(404, b'{"detail": "no such endpoint"}')])
def test_a_server_without_it(colour, answered, name, arguments, named, body, answer):
    transport = colour.transport(lambda _: answered)
    client = colour.client(transport)
    for _ in range(2):
        with pytest.raises(NotSupported, match=f"files.{name}") as caught:
            colour.call(client, name, *arguments, **named)
    assert caught.value.code == "not-supported"
    assert [r.path for r in transport.requests] == ["/v1/me"]
