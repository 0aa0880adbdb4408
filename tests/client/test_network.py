import asyncio
import socket
import threading
import zlib
from contextlib import closing, contextmanager

import httpx
import pytest
import respx

from trove_agents.client.network import AsyncHttpTransport, HttpTransport
from trove_agents.client.retry import Retries
from trove_agents.errors import (
    TroveConnectionError,
    TroveConnectionTimeoutError,
    TroveError,
    TroveRateLimitError,
    TroveServerError,
    TroveTimeoutError,
)

from .conftest import Colour

BASE = "https://trove.test/base"
ONCE = Retries(attempts=1)


def client_of(colour: Colour, **named):
    return colour.client(colour.http(BASE), **named)


@pytest.mark.parametrize(
    ("fault", "kind", "write_may_have_committed"),
    [
        (httpx.ConnectError("refused"), TroveConnectionError, False),
        (httpx.ConnectTimeout("slow"), TroveConnectionTimeoutError, False),
        (httpx.PoolTimeout("full"), TroveConnectionTimeoutError, False),
        (httpx.ProxyError("407"), TroveConnectionError, False),
        (httpx.ReadTimeout("slow"), TroveConnectionTimeoutError, True),
        (httpx.WriteTimeout("slow"), TroveConnectionTimeoutError, True),
        (httpx.ReadError("reset by peer"), TroveConnectionError, True),
        (httpx.WriteError("broken pipe"), TroveConnectionError, True),
        (httpx.RemoteProtocolError("peer closed"), TroveConnectionError, True),
        (httpx.ReadError(""), TroveConnectionError, True),
    ],
)
@respx.mock
def test_network_faults_become_own_errors(colour: Colour, fault, kind, write_may_have_committed) -> None:
    respx.post(f"{BASE}/write").mock(side_effect=fault)
    respx.get(f"{BASE}/files/a").mock(side_effect=fault)
    client = client_of(colour, retries=ONCE, timeout=2.5)

    with pytest.raises(TroveConnectionError) as written:
        colour.call(client, "write", "a", "x")
    assert type(written.value) is kind
    assert written.value.may_have_committed is write_may_have_committed
    assert ("may have been committed" in str(written.value)) is write_may_have_committed
    assert BASE in str(written.value)
    assert written.value.__cause__ is fault
    assert isinstance(written.value, TroveTimeoutError) is isinstance(fault, httpx.TimeoutException)
    assert ("2.5 s" in str(written.value)) is isinstance(fault, httpx.TimeoutException)

    with pytest.raises(kind) as read:
        colour.call(client, "read_bytes", "a")
    assert not read.value.may_have_committed
    assert "committed" not in str(read.value)


@respx.mock
def test_a_fault_passes_and_the_call_succeeds(colour: Colour) -> None:
    route = respx.get(f"{BASE}/v1/files/content").mock(
        side_effect=[
            httpx.ReadTimeout("slow"),
            httpx.Response(503, headers={"Retry-After": "0"}, json={"detail": "busy"}),
            httpx.Response(429, headers={"Retry-After": "0"}, text="slow down"),
            httpx.Response(
                200,
                json={
                    "path": "workspace/a",
                    "size_bytes": 1,
                    "modified_at": "t",
                    "encoding": "utf-8",
                    "content": "x",
                },
            ),
        ]
    )
    assert colour.call(client_of(colour), "read_text", "a") == "x"
    assert route.call_count == 4


@respx.mock
def test_failures_that_stay_are_raised(colour: Colour) -> None:
    respx.get(f"{BASE}/v1/snapshots").respond(503, headers={"Retry-After": "0"}, text="<html>busy</html>")
    respx.get(f"{BASE}/v1/me").respond(
        429, headers={"Retry-After": "900"}, json={"detail": [{"msg": "slow down"}]}
    )
    respx.post(f"{BASE}/v1/exec").respond(502)
    client = client_of(colour)
    with pytest.raises(TroveServerError, match="<html>busy</html>") as busy:
        colour.call(client, "list_snapshots")
    assert busy.value.retry_after == 0.0
    assert respx.calls.call_count == 4
    with pytest.raises(TroveRateLimitError, match="slow down") as limited:
        colour.call(client, "me")
    assert limited.value.retry_after == 900.0
    with pytest.raises(TroveServerError, match="HTTP 502, without an explanation"):
        colour.call(client, "exec", "ls")
    assert respx.calls.call_count == 6


@respx.mock
def test_redirects_are_not_followed(colour: Colour) -> None:
    respx.get(f"{BASE}/files/a").respond(307, headers={"Location": "https://elsewhere.test/"})
    with pytest.raises(TroveError, match="elsewhere.test") as caught:
        colour.call(client_of(colour), "read_bytes", "a")
    assert caught.value.status_code == 307


@respx.mock
def test_streams_and_whole_answers_have_the_same_faults(colour: Colour, tmp_path) -> None:
    respx.get(f"{BASE}/files/a").mock(
        side_effect=[httpx.ReadError("reset"), httpx.Response(200, content=b"data")]
    )
    client = client_of(colour)
    assert colour.call(client, "download", "a", tmp_path / "a").bytes_written == 4
    respx.get(f"{BASE}/files/b").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(TroveConnectionError, match="is the server running"):
        colour.call(client, "download", "b", tmp_path / "b")


@respx.mock
def test_header_names_are_lower_case(colour: Colour) -> None:
    respx.get(f"{BASE}/files/a").respond(
        200, headers={"X-Trove-Size": "9", "X-Trove-Truncated": "1"}, content=b"x"
    )
    got = colour.call(client_of(colour), "read_bytes_full", "a")
    assert (got.content, got.truncated, got.size_bytes) == (b"x", True, 9)


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://host", "http://", "/path", "http://[::1", "https://host:port"]
)
@pytest.mark.parametrize("kind", [HttpTransport, AsyncHttpTransport])
def test_a_base_url_that_is_none_is_refused_at_once(kind, url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        kind(url)


def complete(request: bytes) -> bool:
    head, end, body = request.lower().partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or 0)


@contextmanager
def raw_server(*answers: bytes):
    """A real socket that reads one request for each answer, sends the bytes and hangs up."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with closing(connection):
                    received = b""
                    while not complete(received):
                        received += connection.recv(65536)
                    requests.append(received)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            thread.join(10)


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole"


def test_a_body_that_ends_early_is_no_answer(colour: Colour, tmp_path) -> None:
    with raw_server(CUT, CUT) as (base, _):
        client = colour.client(colour.http(base), retries=None)
        with pytest.raises(TroveConnectionError, match="broke before the answer was complete"):
            colour.call(client, "read_bytes", "a")
        target = tmp_path / "a"
        target.write_bytes(b"old")
        with pytest.raises(TroveConnectionError):
            colour.call(client, "download", "a", target)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert target.read_bytes() == b"old"


def test_a_download_that_broke_begins_again(colour: Colour, tmp_path) -> None:
    with raw_server(CUT, WHOLE) as (base, _):
        seen: list[tuple[int, int | None]] = []
        client = colour.client(colour.http(base))
        done = colour.call(client, "download", "a", tmp_path / "a", progress=lambda *at: seen.append(at))
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert done.bytes_written == 5
    assert (seen[0], seen[-1]) == ((9, 100), (5, 5))


def test_an_open_file_does_not_get_the_same_bytes_twice(colour: Colour, tmp_path) -> None:
    with raw_server(CUT) as (base, _), (tmp_path / "a").open("wb") as file:
        client = colour.client(colour.http(base))
        with pytest.raises(TroveConnectionError):
            colour.call(client, "download", "a", file)
    assert (tmp_path / "a").read_bytes() == b"only this"


def test_compressed_answers_are_read(colour: Colour, tmp_path) -> None:
    packed = zlib.compress(b"text" * 100)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        % len(packed)
    )
    with raw_server(head + packed, head + packed, head + b"\x00" * len(packed)) as (base, _):
        client = colour.client(colour.http(base), retries=None)
        assert colour.call(client, "read_bytes", "a") == b"text" * 100
        assert colour.call(client, "download", "a", tmp_path / "a").bytes_written == 400
        with pytest.raises(TroveConnectionError):
            colour.call(client, "read_bytes", "a")


def test_a_streamed_upload_announces_its_length_when_it_is_known(colour: Colour, tmp_path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 10)
    stored = b'{"path": "workspace/a", "size_bytes": 10}'
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(stored) + stored
    with raw_server(answer, answer) as (base, requests):
        client = colour.client(colour.http(base), retries=None)
        colour.call(client, "upload", "a", source)
        colour.call(client, "upload", "a", iter([b"x" * 10]))
    assert b"content-length: 10" in requests[0].lower()
    assert b"transfer-encoding" not in requests[0].lower()
    assert b"transfer-encoding: chunked" in requests[1].lower()
    assert b"content-type" not in requests[0].lower()


def test_leaving_a_stream_early_closes_it() -> None:
    from trove_agents.client.files import read_bytes_full

    async def later() -> bytes:
        client = Colour("async").client(Colour("async").http(base))
        async with client, client.stream(read_bytes_full("a")) as reply:
            return await anext(reply.chunks)

    with raw_server(CUT, CUT) as (base, _):
        with (
            Colour("sync").client(Colour("sync").http(base)) as client,
            client.stream(read_bytes_full("a")) as reply,
        ):
            assert next(reply.chunks) == b"only this"
        assert asyncio.run(later()) == b"only this"
