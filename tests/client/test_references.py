"""Step references and going back to any state: what is sent, and what happens where a server has none of it."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from trove_agents import NotSupported, Snapshot, StepReference
from trove_agents.client.drive import Outgoing

from .conftest import Colour, reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace", "namespace": None}
MADE = {"reference_id": "ref-1", "namespace": "ns", "version": 7, "files": 1, "size_bytes": 2, "created_at": "t",
        "thread": "t", "step": None}  # fmt: skip
REFERENCE = StepReference("ref-1", "ns", 7, 1, 2, "t", "t")
RESTORED = {"to": 7, "version": 9, "files_restored": 1, "changed": True}
USES = {
    "references": [
        ("create_reference", (), {}),
        ("get_reference", ("ref-1",), {}),
        ("references", (), {}),
        ("delete_reference", ("ref-1",), {}),
        ("delete_references", (["ref-1"],), {}),
        ("delete_references", (), {"thread": "t"}),
    ],
    "restore": [("restore_to", (7,), {})],
}


class Server:
    """A stand-in that answers as documented, with some capabilities; the public API names none of these."""

    def __init__(self, capabilities=tuple(USES), *answers):
        self.capabilities = capabilities
        self.answers = list(answers)

    def __call__(self, request: Outgoing):
        if request.path == "/v1/me":
            return reply(200, msgspec.json.encode({**ME, "capabilities": self.capabilities}))
        if self.answers:
            return reply(200, msgspec.json.encode(self.answers.pop(0)))
        if request.path == "/v1/restore":
            return reply(200, msgspec.json.encode(RESTORED))
        if request.path == "/v1/references/delete":
            return reply(200, b'{"deleted": 1, "more": false}')
        page = request.path == "/v1/references" and request.method == "GET"
        return reply(200, msgspec.json.encode({"references": [MADE]} if page else MADE))


def client_of(colour, server):
    transport = colour.transport(server)
    return colour.client(transport), transport


def sent(transport):
    return [(each.method, each.path, each.query) for each in transport.requests[1:]]


@pytest.mark.parametrize(("method", "arguments", "named"), [use for uses in USES.values() for use in uses])
def test_a_public_server_is_asked_once_and_sent_nothing_else(colour: Colour, method, arguments, named):
    client, transport = client_of(colour, Server(["exec.stdin"]))
    for _ in range(2):
        with pytest.raises(NotSupported):
            colour.call(client, method, *arguments, **named)
    assert [request.path for request in transport.requests] == ["/v1/me"]


@pytest.mark.parametrize("name", USES)
def test_each_capability_stands_for_itself(colour: Colour, name):
    client, _ = client_of(colour, Server([name]))
    for capability, uses in USES.items():
        for method, arguments, named in uses:
            if capability == name:
                colour.call(client, method, *arguments, **named)
            else:
                with pytest.raises(NotSupported):
                    colour.call(client, method, *arguments, **named)


def test_making_one_and_looking_at_it(colour: Colour):
    client, transport = client_of(colour, Server())
    assert colour.call(client, "create_reference") == REFERENCE
    colour.call(client, "create_reference", thread="t", step="s")
    assert colour.call(client, "get_reference", "ref-1") == REFERENCE
    colour.call(client, "delete_reference", "ref-1")
    assert sent(transport) == [
        ("POST", "/v1/references", ""),
        ("POST", "/v1/references", ""),
        ("GET", "/v1/references/ref-1", ""),
        ("DELETE", "/v1/references/ref-1", ""),
    ]
    assert [msgspec.json.decode(body) for body in transport.bodies[1:3]] == [{}, {"thread": "t", "step": "s"}]


def test_a_lost_answer_is_asked_for_again(colour: Colour):
    """Of what may be done twice. A restore would undo what others did in between."""
    for method, arguments, times in (
        ("create_reference", (), 2), ("delete_references", (["ref-1"],), 2), ("restore_to", (7,), 1),
    ):  # fmt: skip
        failing = [True]

        def answer(request, failing=failing, server=Server()):
            if request.path != "/v1/me" and failing.pop():
                failing.append(False)
                return reply(503, b'{"detail": "busy"}')
            return server(request)

        client, transport = client_of(colour, answer)
        try:
            colour.call(client, method, *arguments)
        except Exception:
            assert times == 1
        assert len(sent(transport)) == times, method


def test_a_listing_is_read_page_by_page(colour: Colour):
    pages = [{"references": [MADE, MADE], "next_cursor": "c"}, {"references": [MADE]}]
    client, transport = client_of(colour, Server(tuple(USES), *pages))
    found = client.references(thread="a b")
    first = next(found) if colour.name == "sync" else asyncio.run(anext(found))
    assert first == REFERENCE
    assert sent(transport) == [("GET", "/v1/references", "thread=a%20b")]
    client, transport = client_of(colour, Server(tuple(USES), *pages))
    assert colour.call(client, "references") == [REFERENCE] * 3
    assert [query for _, _, query in sent(transport)] == ["", "cursor=c"]


def test_many_are_deleted_a_thousand_at_a_time(colour: Colour):
    many = [f"ref-{number}" for number in range(2500)]
    client, transport = client_of(colour, Server(tuple(USES), *({"deleted": n} for n in (1000, 999, 500))))
    assert colour.call(client, "delete_references", many) == 2499
    bodies = [msgspec.json.decode(body) for body in transport.bodies[1:]]
    assert [list(body) for body in bodies] == [["ids"]] * 3
    assert [each for body in bodies for each in body["ids"]] == many

    answers = [{"deleted": 1000, "more": True}, {"deleted": 7, "more": False}]
    client, transport = client_of(colour, Server(tuple(USES), *answers))
    before = datetime(2026, 5, 7, tzinfo=UTC)
    assert colour.call(client, "delete_references", thread="t", before=before) == 1007
    body = {"thread": "t", "before": "2026-05-07T00:00:00+00:00"}
    assert [msgspec.json.decode(each) for each in transport.bodies[1:]] == [body, body]
    assert colour.call(client, "delete_references", []) == 0


def test_with_each_change(colour: Colour):
    done = {"path": "workspace/a", "size_bytes": 1}
    server = Server([*USES, "steps"], {**done, "reference_id": "ref-9"}, done, MADE, done)
    client, transport = client_of(colour, server)
    referring = client.with_references()
    assert colour.call(referring, "write", "a", "x").reference_id == "ref-9"
    assert colour.call(client, "write", "a", "x").reference_id is None
    colour.call(referring, "get_reference", "ref-1")
    named = referring.with_step(thread="t")
    colour.call(named, "write", "a", "x")
    said = [dict(request.headers) for request in transport.requests[1:]]
    assert [each.get("x-trove-reference") for each in said] == ["1", None, None, "1"]
    assert said[3]["x-trove-step"] == 'thread="t"'


def test_with_each_change_only_where_the_server_can(colour: Colour):
    client, transport = client_of(colour, Server(["restore"]))
    with pytest.raises(NotSupported):
        colour.call(client.with_references(), "write", "a", "x")
    assert [request.path for request in transport.requests] == ["/v1/me"]


@pytest.mark.parametrize("named", [{}, {"ids": [], "thread": "t"}, {"ids": [], "before": "t"}])
def test_it_must_be_said_which(colour: Colour, named):
    client, transport = client_of(colour, Server())
    with pytest.raises(ValueError):
        colour.call(client, "delete_references", **named)
    assert sent(transport) == []


@pytest.mark.parametrize(
    ("state", "text"), [(REFERENCE, "ref-1"), (Snapshot("snap-1", "ns", 2, "t"), "snap-1"), (7, "7")]
)
def test_going_back(colour: Colour, state, text):
    client, transport = client_of(colour, Server())
    done = colour.call(client, "restore_to", state)
    assert (done.to, done.version, done.files_restored, done.changed) == (7, 9, 1, True)
    assert sent(transport) == [("POST", "/v1/restore", "")]
    assert msgspec.json.decode(transport.bodies[1]) == {"to": text}
