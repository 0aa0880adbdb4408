"""A client that marks its changes with a step: what is sent, and where it is not."""

import msgspec
import pytest

from trove_agents import NotSupported

from .conftest import Colour, reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace", "namespace": None}
TEXT = {"path": "workspace/a", "size_bytes": 2, "modified_at": "t", "encoding": "utf-8", "content": "hi"}


def server(*capabilities):
    bodies = {
        "/v1/me": {**ME, "capabilities": capabilities},
        "/write": {"path": "workspace/a", "size_bytes": 1},
        "/files/a": {"path": "workspace/a", "size_bytes": 1},
        "/delete": {"deleted": "workspace/a"},
        "/v1/files/content": TEXT,
        "/v1/exec": {"exit_code": 0},
        "/v1/files/mkdir": {"path": "workspace/a", "created": True},
    }
    return lambda request: reply(200, msgspec.json.encode(bodies[request.path]))


def sent(transport):
    return [(request.path, dict(request.headers).get("x-trove-step")) for request in transport.requests]


def test_changes_are_marked_and_reads_are_not(colour: Colour):
    transport = colour.transport(server("steps", "files.mkdir"))
    client = colour.client(transport)
    marked = client.with_step(thread="für", run="r", step="4", call="c")
    assert transport.requests == []
    colour.call(marked, "read_text", "a")
    colour.call(marked, "write", "a", "x")
    colour.call(marked, "upload", "a", b"x")
    colour.call(marked, "delete", "a")
    colour.call(marked, "exec", "ls")
    colour.call(marked, "mkdir", "a")
    colour.call(client, "write", "a", "x")
    text = 'thread=%"f%c3%bcr", run="r", step="4", call="c"'
    assert sent(transport) == [
        ("/v1/files/content", None),
        ("/v1/me", None),
        ("/write", text),
        ("/files/a", text),
        ("/delete", text),
        ("/v1/exec", text),
        ("/v1/files/mkdir", text),
        ("/write", None),
    ]


def test_a_step_is_narrowed(colour: Colour):
    transport = colour.transport(server("steps"))
    run = colour.client(transport).with_step(thread="t", call="1")
    colour.call(run.with_step(call="2", step=""), "write", "a", "x")
    colour.call(run, "write", "a", "x")
    assert sent(transport)[1:] == [
        ("/write", 'thread="t", step="", call="2"'),
        ("/write", 'thread="t", call="1"'),
    ]


def test_a_public_server_is_asked_once_and_sent_no_change(colour: Colour):
    transport = colour.transport(server("exec.stdin"))
    client = colour.client(transport)
    marked = client.with_step(thread="t")
    for method, arguments in (("write", ("a", "x")), ("upload", ("a", b"x")), ("exec", ("ls",))):
        with pytest.raises(NotSupported, match="steps"):
            colour.call(marked, method, *arguments)
    assert colour.call(marked, "read_text", "a") == "hi"
    colour.call(client, "write", "a", "x")
    assert sent(transport) == [("/v1/me", None), ("/v1/files/content", None), ("/write", None)]


def test_it_closes_nothing(colour: Colour):
    transport = colour.transport(server("steps"))
    client = colour.client(transport)
    close = "close" if colour.name == "sync" else "aclose"
    colour.call(client.with_step(thread="t"), close)
    assert transport.closed == 0
    colour.call(client, close)
    assert transport.closed == 1


@pytest.mark.parametrize("thread", ["x" * 513, "a\nb", "\ud800"])
def test_what_makes_no_header_is_refused_at_once(colour: Colour, thread):
    transport = colour.transport(server("steps"))
    with pytest.raises(ValueError, match="step|thread"):
        colour.client(transport).with_step(thread=thread)


def test_it_is_the_same_kind_of_client_for_the_same_namespace(colour: Colour):
    client = colour.client(colour.transport(server("steps")))
    marked = client.with_step(thread="t")
    assert type(marked) is type(client)
    assert marked.namespace == "ns"
