"""Reading the past, comparisons, history and forks: what is sent, and what happens where a server has none of it."""

import asyncio
import io
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from trove_agents import NotSupported, Snapshot, TroveNotFoundError
from trove_agents.client.drive import Outgoing

from .conftest import Colour, reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace", "namespace": None}
ALL = ["exec.stdin", "files.at", "diff", "history", "forks"]
SNAPSHOT = Snapshot("snap-1", "ns", 2, "t")
SIDE = {"size_bytes": 1, "mode": 420, "modified_at": "t", "is_dir": False}
STAT = {"path": "workspace/a", "kind": "file", "size_bytes": 1, "mode": 420, "modified_at": "t", "version": 7, "etag": '"7"'}  # fmt: skip
TEXT = {"path": "workspace/a", "size_bytes": 2, "modified_at": "t", "encoding": "utf-8", "content": "hi"}
FORK = {"namespace": "copy", "forked_from": "ns", "at": 5, "version": 6, "files": 1, "bytes": 2}
READS = [
    ("list_dir", ("d",), {}),
    ("read", ("a",), {}),
    ("read_file", ("a",), {}),
    ("read_text", ("a",), {}),
    ("read_bytes", ("a",), {}),
    ("read_bytes_full", ("a",), {}),
    ("stat", ("a",), {}),  # no part of the public API
]
USES = [*((name, args, {"at": 7}) for name, args, _ in READS), ("stat", ("a",), {}), ("diff", (1,), {}),
        ("diff", (1, 2), {}), ("history", (), {}), ("history", ("a",), {}), ("fork", ("copy",), {})]  # fmt: skip


class Server:
    """A stand-in that answers as documented, with some capabilities; the public API names none of these."""

    def __init__(self, capabilities, *pages):
        self.capabilities = capabilities
        self.pages = list(pages)
        self.asked = 0

    def __call__(self, request: Outgoing):
        if request.path == "/v1/me":
            self.asked += 1
            return reply(200, msgspec.json.encode({**ME, "capabilities": self.capabilities}))
        if request.path in {"/v1/diff", "/v1/history"}:
            return reply(200, msgspec.json.encode(self.pages.pop(0) if self.pages else {"from": 1, "to": 2}))
        body = {"/v1/files": {}, "/v1/files/content": TEXT, "/v1/files/stat": STAT, "/v1/forks": FORK}
        found = body.get(request.path)
        return reply(200, b"bytes" if found is None else msgspec.json.encode(found))


def client_of(colour, server):
    transport = colour.transport(server)
    return colour.client(transport), transport


@pytest.mark.parametrize(("method", "arguments", "named"), USES)
def test_a_public_server_is_asked_once_and_sent_nothing_else(colour: Colour, method, arguments, named):
    client, transport = client_of(colour, Server(["exec.stdin"]))
    for _ in range(2):
        with pytest.raises(NotSupported):
            colour.call(client, method, *arguments, **named)
    assert [request.path for request in transport.requests] == ["/v1/me"]


def test_a_server_too_old_for_the_question(colour: Colour):
    client, transport = client_of(colour, lambda _: reply(404, b'{"detail": "no such endpoint"}'))
    with pytest.raises(NotSupported):
        colour.call(client, "fork", "copy")
    assert len(transport.requests) == 1


def test_a_refused_question_is_not_an_answer(colour: Colour):
    answers = [
        reply(404, b'{"detail": "not there"}'),
        reply(200, msgspec.json.encode({**ME, "capabilities": ALL})),
    ]
    client, transport = client_of(colour, lambda _: answers.pop())
    with pytest.raises(TroveNotFoundError):
        colour.call(client, "stat", "a")
    assert [request.path for request in transport.requests] == ["/v1/me", "/v1/files/stat"]


@pytest.mark.parametrize("name", ["files.at", "diff", "history", "forks"])
def test_each_capability_stands_for_itself(colour: Colour, name):
    server = Server([each for each in ALL if each != name])
    client, _ = client_of(colour, server)
    refused = set()
    for method, arguments, named in USES:
        try:
            colour.call(client, method, *arguments, **named)
        except NotSupported:
            refused.add(method)
    wanted = {
        "files.at": {method for method, _, _ in READS},
        "diff": {"diff"},
        "history": {"history"},
        "forks": {"fork"},
    }
    assert refused == wanted[name]
    assert server.asked == 1


@pytest.mark.parametrize(("method", "arguments", "named"), READS[:-1])
def test_the_present_is_read_as_ever(colour: Colour, method, arguments, named):
    client, transport = client_of(colour, Server([]))
    colour.call(client, method, *arguments, **named)
    colour.call(client, method, *arguments, **named, at=None)
    first, second = transport.requests
    assert first.path != "/v1/me" and "at=" not in first.query
    assert (first.path, first.query) == (second.path, second.query)


@pytest.mark.parametrize(("method", "arguments", "named"), READS)
@pytest.mark.parametrize(
    ("at", "sent"),
    [
        (SNAPSHOT, "snap-1"),
        ("auto-2", "auto-2"),
        (1795000000000000001, "1795000000000000001"),
        ("2026-05-07T20:00:00Z", "2026-05-07T20%3A00%3A00Z"),
        (datetime(2026, 5, 7, 20, 0, 0, 5, UTC), "2026-05-07T20%3A00%3A00.000005%2B00%3A00"),
        (datetime(2026, 5, 7, 20), "2026-05-07T20%3A00%3A00%2B00%3A00"),
        (datetime(2026, 5, 7, tzinfo=timezone(timedelta(hours=-3))), "2026-05-07T00%3A00%3A00-03%3A00"),
    ],
)
def test_how_a_state_is_sent(colour: Colour, method, arguments, named, at, sent):
    client, transport = client_of(colour, Server(ALL))
    colour.call(client, method, *arguments, **named, at=at)
    assert next(request.path for request in transport.requests) == "/v1/me"
    assert all(request.query.split("&")[-1] == f"at={sent}" for request in transport.requests[1:])
    assert len(transport.requests) == 2


def test_a_binary_file_of_the_past_takes_two_reads_of_it(colour: Colour):
    def answer(request):
        if request.path == "/v1/files/content":
            return reply(200, msgspec.json.encode(TEXT | {"encoding": "binary", "content": None}))
        return Server(ALL)(request)

    client, transport = client_of(colour, answer)
    assert colour.call(client, "read", "a", at=7) == b"bytes"
    assert [request.query for request in transport.requests[1:]] == ["path=a&at=7", "at=7"]


@pytest.mark.parametrize("supported", [True, False])
def test_download(colour: Colour, supported):
    client, transport = client_of(colour, Server(ALL if supported else []))
    target = io.BytesIO()
    if supported:
        colour.call(client, "download", "a", target, at=SNAPSHOT)
        assert target.getvalue() == b"bytes"
        assert transport.requests[1].query == "at=snap-1"
        return
    with pytest.raises(NotSupported):
        colour.call(client, "download", "a", target, at=SNAPSHOT)
    assert target.getvalue() == b""
    assert [request.path for request in transport.requests] == ["/v1/me"]


def test_a_comparison_is_read_to_its_end(colour: Colour):
    entries = [{"path": f"workspace/{n}", "change": "added", "after": SIDE} for n in range(3)]
    pages = [
        {"from": 1, "to": 2, "entries": entries[:2], "next_cursor": "c"},
        {"from": 1, "to": 2, "entries": entries[2:]},
    ]
    client, transport = client_of(colour, Server(ALL, *pages))
    found = colour.call(client, "diff", SNAPSHOT)
    assert [(each.path, each.change, each.before, each.after.mode) for each in found] == [
        (f"workspace/{n}", "added", None, 420) for n in range(3)
    ]
    assert [request.query for request in transport.requests[1:]] == ["from=snap-1", "from=snap-1&cursor=c"]
    client, transport = client_of(colour, Server(ALL))
    assert colour.call(client, "diff", 1, "auto-2") == []
    assert transport.requests[1].query == "from=1&to=auto-2"


def test_a_history_is_read_page_by_page(colour: Colour):
    entry = {"created_at": "t", "kind": "write", "actor": {"key_id": "k", "key_name": "n"}, "change": "added"}
    pages = [
        {"entries": [entry | {"version": 9}, entry | {"version": 8}], "next_cursor": "c"},
        {"entries": [entry | {"version": 7}]},
    ]
    client, transport = client_of(colour, Server(ALL, *pages))
    found = client.history("a")
    if colour.name == "sync":
        assert next(found).version == 9
    else:
        assert asyncio.run(anext(found)).version == 9
    assert [request.query for request in transport.requests] == ["", "path=a&limit=10"]
    client, transport = client_of(colour, Server(ALL, *pages))
    found = colour.call(client, "history")
    assert [each.version for each in found] == [9, 8, 7]
    assert found[0].actor.key_name == "n"
    assert [request.query for request in transport.requests] == ["", "limit=10", "cursor=c"]


def test_a_fork(colour: Colour):
    client, transport = client_of(colour, Server(ALL))
    made = colour.call(client, "fork", "copy")
    assert (made.namespace, made.at, made.key) == ("copy", 5, None)
    colour.call(client, "fork", "copy", SNAPSHOT, key=True)
    assert [msgspec.json.decode(body) for body in transport.bodies[1:]] == [
        {"namespace": "copy"},
        {"namespace": "copy", "from": "snap-1", "key": True},
    ]
