from urllib.parse import parse_qsl, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents.client import files
from trove_agents.client.call import Call, gather, nothing, value
from trove_agents.client.exec import execute
from trove_agents.client.transport import Reply
from trove_agents.client.upload import Upload
from trove_agents.errors import TroveError, TroveServerError
from trove_agents.wire import names
from trove_agents.wire.files import FileResult

SEGMENTS = st.text(st.characters(exclude_characters="/", exclude_categories=("Cs",)), min_size=1)


def path_of(call: Call[object]) -> str:
    return call.outgoing((), 1.0, None).path


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("a.txt", "/files/a.txt"),
        ("/workspace/a.txt", "/files/a.txt"),
        ("workspace/workspace/a", "/files/workspace/a"),
        ("a#b", "/files/a%23b"),
        ("a?b=c", "/files/a%3Fb%3Dc"),
        ("100%20.txt", "/files/100%2520.txt"),
        ("100%.txt", "/files/100%25.txt"),
        ("naïve/日本.txt", "/files/na%C3%AFve/%E6%97%A5%E6%9C%AC.txt"),
        ("a b+c&d", "/files/a%20b%2Bc%26d"),
        ("../x", "/files/%2E%2E/x"),
        ("./x", "/files/%2E/x"),
        ("...", "/files/..."),
        ("dir/", "/files/dir/"),
    ],
)
def test_paths_are_escaped_segment_by_segment(path: str, sent: str) -> None:
    assert path_of(files.read_bytes_full(path)) == sent


@given(st.lists(SEGMENTS, min_size=1, max_size=4))
def test_any_path_arrives_as_written(segments: list[str]) -> None:
    sent = path_of(Call("GET", tuple(segments), nothing))
    assert [unquote(each) for each in sent[1:].split("/")] == segments
    # Nor does the HTTP library change what it is given
    assert httpx.URL("http://host" + sent).raw_path.decode() == sent


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_query_arrives_as_written(path: str) -> None:
    query = files.list_dir(path).outgoing((), 1.0, None).query
    assert parse_qsl(query, keep_blank_values=True) == [("path", path)]


def test_names_that_are_not_utf_8_travel_in_wire_form() -> None:
    local = names.from_bytes(b"caf\xe9")
    listed = names.to_wire(local)
    assert path_of(files.read_bytes_full(local)) == path_of(files.read_bytes_full(listed))
    assert names.from_wire(unquote(path_of(files.read_bytes_full(local)).removeprefix("/files/"))) == local
    assert files.write(local, "x").body == files.write(listed, "x").body


def test_an_outgoing_request_carries_everything_but_shows_no_key() -> None:
    call = Call("POST", ("x",), nothing, headers=(("a", "b"),), body=b"1234", idempotency_key="once")
    request = call.outgoing((("authorization", "Bearer secret"),), 5.0, call.body)
    assert request.headers == (("authorization", "Bearer secret"), ("a", "b"), ("idempotency-key", "once"))
    assert (request.method, request.body, request.length, request.timeout) == ("POST", b"1234", 4, 5.0)
    assert "secret" not in repr(request)


def test_what_may_be_repeated() -> None:
    def call(**fields: object) -> Call[None]:
        return Call("POST", ("x",), nothing, **fields)

    assert not call().repeatable
    assert call(idempotent=True).repeatable
    assert call(idempotency_key="k").repeatable
    used = Upload(iter([b"x"]))
    assert call(idempotent=True, body=used).repeatable
    assert list(used.chunks()) == [b"x"]
    assert not call(idempotent=True, body=used).repeatable


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'"text"', b'{"path": "a"}', b"\xff\xfe", b'{"path": 1, "size_bytes": 1}']
)
def test_an_answer_of_another_shape_is_a_server_error_that_names_the_cause(body: bytes) -> None:
    with pytest.raises(TroveServerError, match="FileResult.*base_url") as caught:
        value(FileResult)(Reply(200, {}, body))
    assert (caught.value.status_code, caught.value.code, caught.value.recovery) == (
        200,
        "bad-answer",
        "operator",
    )


def test_fields_of_newer_servers_are_ignored() -> None:
    body = b'{"path": "workspace/a", "size_bytes": 1, "colour": {"new": true}}'
    assert value(FileResult)(Reply(201, {}, body)) == FileResult("workspace/a", 1)


def test_gather_without_steps_is_empty() -> None:
    flow = gather()
    assert next(flow).steps == ()
    with pytest.raises(StopIteration) as stop:
        flow.send(())
    assert stop.value.value == ()


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff"])
def test_text_that_utf_8_cannot_carry_is_the_callers_to_fix(text: str) -> None:
    calls = [
        lambda: files.write("a", text),
        lambda: files.write(text, "a"),
        lambda: path_of(files.read_bytes_full(text)),
        lambda: path_of(files.read_file(text)),
        lambda: execute(text),
    ]
    for call in calls:
        with pytest.raises(TroveError, match="lone surrogate") as caught:
            call()
        assert (caught.value.status_code, caught.value.recovery) == (422, "fix-arguments")
