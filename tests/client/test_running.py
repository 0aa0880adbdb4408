"""A command's answer as it comes: what is asked for, and how the events are read."""

import msgspec
import pytest

from trove_agents import (
    ExecChunk,
    ExecResult,
    NotSupported,
    TroveConnectionError,
    TroveError,
    TroveServerError,
    TroveTimeoutError,
)
from trove_agents.client.running import Running

from .conftest import Colour, reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace", "namespace": None}
RESULT = b'event: result\ndata: {"exit_code":0,"stdout":"a","stderr":"b","duration_ms":5,"later":1}\n\n'
OUTPUT = b'event: output\ndata: {"stream":"stdout","text":"a"}\n\n:\n\nevent:output\r\ndata:{"stream":"stderr",\r\ndata: "text":"b"}\r\n\r\n'
ODD = b"id: 7\nretry: 1\n\nevent: later\ndata: {}\n\ndata: nameless\n\nevent: output\ndata\n: x\n"
ALL = [ExecChunk("stdout", "a"), ExecChunk("stderr", "b"), ExecResult(0, "a", "b", 5)]


def server(body: bytes, *capabilities: str, status: int = 200):
    me = reply(
        200, msgspec.json.encode({**ME, "capabilities": capabilities or ("exec.stream", "exec.options")})
    )
    return lambda request: me if request.path == "/v1/me" else reply(status, body)


def test_chunks_come_first_and_the_result_last(colour: Colour) -> None:
    transport = colour.transport(server(OUTPUT + RESULT))
    client = colour.client(transport, timeout=5.0)
    assert colour.call(client, "exec_stream", "ls", stdin="x", timeout=90, env={"A": "b"}, cwd="d") == ALL
    _, request = transport.requests
    assert (request.method, request.path) == ("POST", "/v1/exec")
    assert dict(request.headers)["accept"] == "text/event-stream"
    assert request.patience > 15  # the server's longest silence
    sent = {"command": "ls", "stdin": "x", "timeout": 90, "env": {"A": "b"}, "cwd": "d"}
    assert msgspec.json.decode(transport.bodies[1]) == sent


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_whatever_the_pieces_are(size: int) -> None:
    body = OUTPUT + ODD.replace(b"data\n", b"data: {}\nevent: none\n") + b"\n" + RESULT
    running, found = Running(), []
    for at in range(0, len(body), size):
        found += running.feed(body[at : at + size])
    running.end()
    assert found == ALL


@pytest.mark.parametrize(
    ("capabilities", "options", "missing"),
    [
        (["exec.options"], {}, "exec.stream"),
        (["exec.stream"], {"timeout": 1}, "exec.options"),
        (["exec.stream"], {"env": {}}, "exec.options"),
        (["exec.stream"], {"cwd": "d"}, "exec.options"),
    ],
)
def test_servers_without_it(colour: Colour, capabilities, options, missing) -> None:
    transport = colour.transport(server(RESULT, *capabilities))
    client = colour.client(transport)
    with pytest.raises(NotSupported, match=missing):
        colour.call(client, "exec_stream", "ls", **options)
    assert [request.path for request in transport.requests] == ["/v1/me"]


@pytest.mark.parametrize("body", [b"", OUTPUT, RESULT[:-1], b"<html>", b'{"exit_code":0}'])
def test_an_answer_that_breaks_off(colour: Colour, body: bytes) -> None:
    with pytest.raises(TroveConnectionError, match="before the command did") as caught:
        colour.call(colour.client(colour.transport(server(body))), "exec_stream", "ls")
    assert caught.value.may_have_committed and caught.value.recovery == "adapt"


def test_errors_are_those_of_exec(colour: Colour) -> None:
    told = b'event: error\ndata: {"status":%d,"detail":"words","code":"c","retry_after":7}\n\n'
    for status, kind in ((408, TroveTimeoutError), (413, TroveError), (503, TroveServerError)):
        client = colour.client(colour.transport(server(OUTPUT + told % status)))
        with pytest.raises(kind, match="words") as caught:
            colour.call(client, "exec_stream", "ls")
        assert (caught.value.status_code, caught.value.code, caught.value.retry_after) == (status, "c", 7)
    transport = colour.transport(server(b'{"detail":"busy","code":"busy"}', status=503))
    with pytest.raises(TroveServerError, match="busy"):
        colour.call(colour.client(transport), "exec_stream", "ls")
    assert len(transport.requests) == 2  # never sent again by itself


def test_events_that_make_no_sense(colour: Colour) -> None:
    for body in (
        b"event: output\ndata: x\n\n",
        b"event: result\ndata: {}\n\n",
        b"event: error\ndata: []\n\n",
    ):
        with pytest.raises(TroveServerError, match="is base_url"):
            colour.call(colour.client(colour.transport(server(body))), "exec_stream", "ls")
