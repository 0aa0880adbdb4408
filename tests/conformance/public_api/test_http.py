"""HTTP as it may really arrive: curl, chunks, half a body, doubled headers, slow and rude clients (wire 1.1, 3.3)."""

import contextlib
import json
import select
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import pytest

MB = 1024 * 1024


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Line:
    """One connection, written and read by hand."""

    def __init__(self, workspace, key: str | None = None) -> None:
        address = urlsplit(workspace.base_url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=60)
        self.reader = self.socket.makefile("rb")
        self.standard = (
            f"Host: {address.netloc}\r\nAuthorization: Bearer {key or workspace.key}\r\nX-Namespace: main\r\n"
        )

    def send(self, request: str, *headers: str, body: bytes = b"", standard: bool = True) -> None:
        head = (
            f"{request} HTTP/1.1\r\n"
            + (self.standard if standard else "")
            + "".join(h + "\r\n" for h in headers)
        )
        self.socket.sendall(head.encode("latin-1") + b"\r\n" + body)

    def read(self, *, bodiless: bool = False) -> Answer:
        status = int(self.reader.readline().split()[1])
        headers = {}
        while (line := self.reader.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value.strip()
        if status == 100 or bodiless:
            return Answer(status, headers, b"")
        if "content-length" not in headers:  # what the HTTP layer itself says of a head that is none
            assert (status, headers["connection"]) == (400, "close")
            return Answer(status, headers, self.reader.read())
        return Answer(status, headers, self.reader.read(int(headers["content-length"])))

    def call(self, request: str, *headers: str, body: bytes = b"", standard: bool = True) -> Answer:
        self.send(request, *headers, body=body, standard=standard)
        return self.read()

    def at_end(self) -> bool:
        """Whether the server has closed its side."""
        try:
            return self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


@pytest.fixture
def connect(workspace):
    with contextlib.ExitStack() as stack:

        def connect(key=None) -> Line:
            line = Line(workspace, key)
            stack.callback(line.close)
            return line

        yield connect


@pytest.fixture
def line(connect):
    return connect()


@pytest.fixture
def http(workspace):
    with workspace.http() as http:
        yield http


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


def stored(http, path="f") -> bytes:
    return http.get(f"/files/{path}").raise_for_status().content


class TestCurl:
    """The recipes of the public documents."""

    @pytest.fixture
    def curl(self, workspace, tmp_path):
        if shutil.which("curl") is None:
            pytest.skip("no curl on this machine")

        def run(path, *arguments, key=workspace.key):
            done = subprocess.run(
                [
                    "curl",
                    "-sS",
                    "--max-time",
                    "60",
                    "-H",
                    f"Authorization: Bearer {key}",
                    "-H",
                    "X-Namespace: main",
                    "-w",
                    "\n%{http_code}",
                    *arguments,
                    workspace.base_url + path,
                ],
                capture_output=True,
                cwd=tmp_path,
                timeout=90,
            )
            assert done.returncode == 0, done.stderr
            body, _, status = done.stdout.rpartition(b"\n")
            return int(status), body, done.stderr.decode()

        return run

    def test_form_content_type_is_not_a_form(self, curl, http, tmp_path):
        """Wire 11.9."""
        for data in (b"a=1&b=%20&c", b"\x00\xff" + bytes(range(256)) + b"\r\n\r\n", b"", b"x" * (3 * MB)):
            (tmp_path / "local").write_bytes(data)
            status, body, _ = curl("/files/ci/report.bin", "-X", "PUT", "--data-binary", "@local")
            answer = json.loads(body)
            assert (status, answer["path"], answer["size_bytes"]) == (
                200,
                "workspace/ci/report.bin",
                len(data),
            )
            assert stored(http, "ci/report.bin") == data

    def test_upload_by_option_t(self, curl, http, tmp_path):
        (tmp_path / "local").write_bytes(b"z" * (2 * MB))
        assert curl("/files/f", "-T", "local")[0] == 200
        assert len(stored(http)) == 2 * MB
        assert curl("/files/f", "-T", "local", "-H", "Transfer-Encoding: chunked")[0] == 200
        assert len(stored(http)) == 2 * MB

    def test_a_client_that_asks_first_is_answered(self, curl, http, tmp_path):
        (tmp_path / "local").write_bytes(b"y" * MB)
        status, _, said = curl(
            "/files/f", "-v", "-T", "local", "-H", "Expect: 100-continue", "--expect100-timeout", "50"
        )
        assert status == 200
        assert "< HTTP/1.1 100" in said
        assert len(stored(http)) == MB
        status, _, said = curl(
            "/files/f",
            "-v",
            "-T",
            "local",
            "-H",
            "Expect: 100-continue",
            "--expect100-timeout",
            "50",
            key="wrong",
        )
        assert status == 401
        assert "< HTTP/1.1 100" not in said

    def test_commands_and_text(self, curl, http):
        assert curl("/write", "-d", '{"path": "a.txt", "content": "hi"}')[0] == 200
        assert curl("/files/a.txt")[:2] == (200, b"hi")
        assert curl("/delete", "-d", '{"path": "a.txt"}', "-H", "Content-Type: application/json")[0] == 200


def test_asking_first(connect, http):
    """Who may not, or sends too much, is told so before sending it."""
    line = connect()
    line.send("PUT /files/f", "Content-Length: 5", "Expect: 100-continue")
    assert line.read().status == 100
    line.socket.sendall(b"hello")
    answer = line.read().json
    assert (answer["path"], answer["size_bytes"]) == ("workspace/f", 5)

    line.send("POST /write", "Content-Length: 31", "Content-Type: application/json", "Expect: 100-continue")
    assert line.read().status == 100
    line.socket.sendall(b'{"path": "g", "content": "hey"}')
    assert line.read().status == 200

    for request, length, key, status in (
        ("PUT /files/f", 5, "trove-sk-no", 401),
        ("PUT /files/f", 100 * MB + 1, None, 413),
        ("PUT /files/%2e%2e/f", 5, None, 400),
        ("POST /write", 200 * MB, None, 413),
        ("POST /write", 200 * MB, "trove-sk-no", 401),
        ("PUT /nowhere", 5, None, 404),
        ("DELETE /files/f", 5, None, 405),
    ):
        line = connect(key)
        assert line.call(request, f"Content-Length: {length}", "Expect: 100-continue").status == status, (
            request
        )
    assert stored(http) == b"hello"


def test_posts_without_a_body(line, http):
    http.put("/files/f", content=b"before")
    for length in (["Content-Length: 0"], []):
        taken = line.call("POST /v1/snapshots", *length)
        assert (taken.status, taken.json["label"]) == (201, None)
        http.put("/files/f", content=b"after")
        restored = line.call(f"POST /v1/snapshots/{taken.json['snapshot_id']}/restore", *length)
        assert (restored.status, restored.json["files_restored"]) == (200, 1)
        assert stored(http) == b"before"
        assert line.call("POST /write", *length).status == 422


def test_an_empty_upload_is_an_empty_file(line, http):
    for body in (["Content-Length: 0"], []):
        http.put("/files/f", content=b"old")
        assert line.call("PUT /files/f", *body).json["size_bytes"] == 0
        assert stored(http) == b""
    assert line.call("PUT /files/f", "Transfer-Encoding: chunked", body=b"0\r\n\r\n").json["size_bytes"] == 0


@pytest.mark.parametrize("sizes", [[1], [1, 2, 3], [16 * 1024], [16 * 1024, 1], [MB, 1, MB, 5], [7] * 3000])
def test_chunks(line, http, sizes):
    pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    answer = line.call("PUT /files/f", "Transfer-Encoding: chunked", body=chunked(*pieces))
    assert (answer.status, answer.json["size_bytes"]) == (200, sum(sizes))
    assert stored(http) == b"".join(pieces)


def test_chunks_with_extensions_and_trailers(line, http):
    body = b"5;name=value\r\nhello\r\n0\r\nX-Trailer: yes\r\n\r\n"
    assert line.call("PUT /files/f", "Transfer-Encoding: chunked", body=body).status == 200
    assert stored(http) == b"hello"
    text = b'{"path": "g", "content": "x"}'
    assert (
        line.call("POST /write", "Transfer-Encoding: chunked", body=chunked(text[:9], text[9:])).status == 200
    )


def test_one_connection_serves_many_calls(line, http):
    for number in range(20):
        assert line.call(f"PUT /files/{number}", "Content-Length: 3", body=b"abc").status == 200
        assert line.call("GET /files/nope").status == 404
        assert line.call("POST /v1/exec", "Content-Length: 2", body=b"{}").status == 422
        assert line.call("PATCH /write").status == 405
        assert line.call("GET /v1/files").status == 200


def test_calls_sent_ahead_are_answered_in_order(line):
    for number in range(30):
        line.send(f"PUT /files/f{number}", "Content-Length: 1", body=b"%d" % (number % 10))
    assert [line.read().json["path"] for _ in range(30)] == [f"workspace/f{number}" for number in range(30)]


def test_a_client_of_1996(connect, http):
    http.put("/files/f", content=b"hello")
    line = connect()
    line.socket.sendall(f"GET /files/f HTTP/1.0\r\n{line.standard}\r\n".encode())
    assert line.read().body == b"hello"
    assert line.at_end()


@pytest.mark.parametrize("sent", [0, 100, 20_000, 2 * MB])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_broken_upload_leaves_the_old_file(connect, http, workspace, served, sent, framing):
    http.put("/files/f", content=b"old")
    before = sizes(served)
    line = connect()
    if framing == "length":
        line.send("PUT /files/f", f"Content-Length: {sent + 10}", body=b"n" * sent)
    else:
        line.send(
            "PUT /files/f",
            "Transfer-Encoding: chunked",
            body=chunked(b"n" * sent, end=b"ff\r\nnot all of it") if sent else b"ff\r\n",
        )
    line.close()
    settle(http)
    assert stored(http) == b"old"
    assert len(workspace.events(types="file.written")) == 1
    for _ in range(200):
        if sizes(served) == before:
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"what had arrived is still kept: {sizes(served)} after {before}")


def test_a_broken_write_leaves_the_old_file(connect, http):
    http.put("/files/f", content=b"old")
    line = connect()
    line.send("POST /write", "Content-Length: 100", body=b'{"path": "f", "content": "new"}')
    line.close()
    settle(http)
    assert stored(http) == b"old"


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5" * 40 + b"\r\nhello\r\n",
    ],
)
def test_chunks_that_are_none(connect, http, body):
    http.put("/files/f", content=b"old")
    line = connect()
    line.send("PUT /files/f", "Transfer-Encoding: chunked", body=body)
    with contextlib.suppress(ConnectionResetError, IndexError):
        assert line.read().status >= 400
    settle(http)
    assert stored(http) == b"old"


def sizes(served) -> list[int]:
    """Of all that the server keeps outside its database."""
    return sorted(
        path.stat().st_size for path in (served.folder / "state" / "blobs").rglob("*") if path.is_file()
    )


def settle(http) -> None:
    """The server has seen the broken connection: answers on others have gone through its loop since."""
    for _ in range(3):
        http.get("/v1/files").raise_for_status()


class TestDoubledHeaders:
    """What two readers of one request could understand differently is refused."""

    @pytest.mark.parametrize(
        "again",
        [
            "Authorization: Bearer trove-sk-other",
            "authorization: Bearer trove-sk-other",
            "X-Namespace: other",
            "x-namespace: main",
            "X-NAMESPACE: other",
        ],
    )
    @pytest.mark.parametrize(
        "request_line", ["GET /v1/files", "GET /v1/files/content?path=f", "GET /files/f"]
    )
    def test_who_and_where(self, line, http, again, request_line):
        http.put("/files/f", content=b"x")
        assert line.call(request_line, again).status == 400

    @pytest.mark.parametrize(
        "lengths", [("5", "6"), ("6", "5"), ("5, 6",), ("+5",), ("-1",), ("5 5",), ("0x5",), ("5;",)]
    )
    def test_lengths_that_disagree(self, connect, http, lengths):
        http.put("/files/f", content=b"old")
        line = connect()
        line.send("PUT /files/f", *(f"Content-Length: {length}" for length in lengths), body=b"hello!")
        assert line.read().status == 400
        assert line.at_end()
        assert stored(http) == b"old"

    @pytest.mark.parametrize(
        "headers",
        [
            ("Content-Length: 5", "Transfer-Encoding: chunked"),
            ("Transfer-Encoding: chunked", "Content-Length: 500000"),
            ("Content-Length: 30000", "Transfer-Encoding: chunked"),
            ("Transfer-Encoding: chunked", "Content-Length: 0"),
        ],
    )
    @pytest.mark.parametrize("size", [5, 30_000])
    def test_a_length_beside_chunks(self, connect, http, headers, size):
        """RFC 9112, 6.3: an attempt to smuggle; refuse it, and end the connection in any case."""
        http.put("/files/f", content=b"old")
        line = connect()
        smuggled = b"GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n"
        line.send("PUT /files/f", *headers, body=chunked(b"n" * size) + smuggled)
        assert line.read().status == 400
        assert line.at_end()
        assert stored(http) == b"old"

    @pytest.mark.parametrize(
        "coding", ["identity", "gzip, chunked", "chunked, chunked", "xchunked", "chunked;q=1"]
    )
    def test_other_codings(self, connect, http, coding):
        line = connect()
        line.send("PUT /files/f", f"Transfer-Encoding: {coding}", body=chunked(b"hello"))
        assert line.read().status in {400, 501}
        assert line.at_end()
        assert http.get("/files/f").status_code == 404

    @pytest.mark.parametrize(
        "head",
        [
            "GET /v1/files HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /v1/files HTTP/1.1\r\n\r\n",
            "GET /v1/files\r\n\r\n",
            "GET  /v1/files HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /v1/files HTTP/1.1\r\nHost: a\r\nX-Namespace : main\r\n\r\n",
            "GET /v1/files HTTP/1.1\r\nHost: a\r\nX-Namespace: main\r\n folded\r\n\r\n",
            "GET /v1/files HTTP/3.0\r\nHost: a\r\n\r\n",
            "GET /v1/files HTTP/1.1\r\nHost: a\r\nX-Namespace: ma\x00in\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    )
    def test_heads_that_are_none(self, connect, head):
        line = connect()
        line.socket.sendall(head.encode("latin-1"))
        assert line.read().status in {400, 401, 404}

    def test_a_namespace_that_no_pattern_lets_through(self, connect):
        for value in ("ma in", "main,other", "main\t", "m\xe4in", "main/../other", "%6dain", "", "m" * 129):
            line = connect()
            line.standard = line.standard.replace("X-Namespace: main\r\n", "")
            answer = line.call("GET /v1/files", f"X-Namespace: {value}")
            assert answer.status == (200 if value == "main\t" else 400), value


class TestTooMuch:
    @pytest.mark.parametrize(
        "request_line",
        [
            "GET /files/" + "a" * 70_000,
            "GET /v1/files?path=" + "a" * 70_000,
            "GET /v1/files/content?path=" + "a/" * 40_000,
        ],
    )
    def test_long_targets(self, connect, request_line):
        assert connect().call(request_line).status in {400, 414}

    def test_long_and_many_headers(self, connect):
        for headers in (["X-Long: " + "a" * 1_000_000], [f"X-{number}: y" for number in range(100_000)]):
            line = connect()
            with contextlib.suppress(ConnectionError):
                line.send("GET /v1/files", *headers)
            with contextlib.suppress(ConnectionError, IndexError):
                assert line.read().status == 400
        assert connect().call("GET /v1/files", *(f"X-{number}: y" for number in range(200))).status == 200

    def test_paths_over_the_limit(self, http):
        deep = "/".join(["d" * 200] * 21)
        assert http.put(f"/files/{deep}", content=b"x").status_code == 400
        assert http.get("/v1/files", params={"path": deep}).status_code == 400
        assert http.put(f"/files/{deep[:4000]}", content=b"x").status_code == 200
        assert http.put("/files/" + "%C3%BC" * 128, content=b"x").status_code == 400
        assert http.put("/files/" + "%C3%BC" * 127, content=b"x").status_code == 200

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/exec", {"command": "true #" + "x" * (20 * MB)}),
            ("/delete", {"path": "x" * (20 * MB)}),
            ("/v1/snapshots", {"label": "x" * (20 * MB)}),
            ("/write", {"path": "f", "content": "x" * (11 * MB)}),
            ("/write", {"path": "f", "content": "x" * (90 * MB)}),
        ],
    )
    def test_bodies(self, http, path, body):
        content = json.dumps(body)
        answer = http.post(path, content=content)
        assert answer.status_code == 413
        assert "limit" in answer.json()["detail"] or "10 MB" in answer.json()["detail"]

    def test_a_body_in_chunks_that_never_ends(self, connect, http, served):
        """It is refused at 100 MB, in the middle of it, and at no point held in memory."""
        http.put("/files/f", content=b"old")
        server = psutil.Process(served.process.pid)
        before = server.memory_info().rss
        line = connect()
        line.send("PUT /files/f", "Transfer-Encoding: chunked")
        piece = chunked(b"x" * MB, end=b"")
        most = 0
        for sent in range(300):
            line.socket.sendall(piece)
            most = max(most, server.memory_info().rss)
            if select.select([line.socket], [], [], 0)[0]:
                break
        assert line.read().status == 413
        assert 100 <= sent < 250
        assert most - before < 64 * MB
        line.close()
        assert stored(http) == b"old"

    def test_deep_json(self, http):
        deep = b'{"path": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
        assert http.post("/delete", content=deep).status_code == 422
        assert http.post(
            "/delete", content=b'{"path": "f", "unknown": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}"
        ).status_code in {404, 422}
        assert http.post("/delete", content=b"[" * 60_000).status_code == 422


class TestSlow:
    """Slow clients hold a connection, and nothing else."""

    COUNT = 60
    """More than the server has worker threads."""

    def test_uploads_that_trickle(self, connect, http):
        lines = [connect() for _ in range(self.COUNT)]
        for number, line in enumerate(lines):
            line.send(f"PUT /files/slow{number}", "Content-Length: 40000", body=b"a" * 20_000)
        writers = [connect() for _ in range(self.COUNT)]
        for line in writers:
            line.send("POST /write", "Content-Length: 34", body=b'{"path": "s", ')
        assert http.put("/files/quick", content=b"x").status_code == 200
        assert http.post("/write", json={"path": "quick", "content": "y"}).status_code == 200
        assert stored(http, "quick") == b"y"
        for line in lines:
            line.socket.sendall(b"b" * 20_000)
        for line in lines:
            assert line.read().json["size_bytes"] == 40_000
        for line in writers:
            line.socket.sendall(b'"content": "slowly"}')
            assert line.read().status == 200
        assert stored(http, "slow7") == b"a" * 20_000 + b"b" * 20_000

    def test_heads_byte_by_byte(self, line):
        for byte in b"GET /v1/files HTTP/1.1\r\n" + line.standard.encode() + b"\r\n":
            line.socket.sendall(bytes([byte]))
        assert line.read().status == 200

    def test_downloads_that_nobody_reads(self, connect, http):
        data = bytes(range(256)) * (20 * 4096)
        http.put("/files/big", content=data)
        lines = [connect() for _ in range(self.COUNT)]
        for line in lines:
            line.send("GET /files/big")
        assert http.get("/v1/files").status_code == 200
        assert http.put("/files/quick", content=b"x").status_code == 200
        assert stored(http, "quick") == b"x"
        assert lines[0].read().body == data
        for line in lines:
            line.close()
        assert stored(http, "quick") == b"x"


class TestRoutes:
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/files/",
            "/v1/files/content/?path=f",
            "/v1/snapshots/",
            "/v1/me/",
            "/v1/exec/",
            "/write/",
            "/delete/",
            "/openapi.json/",
            "//v1/me",
            "/v1//me",
            "/V1/me",
            "/v1/me/../me",
            "/",
            "/v1",
            "/v1/",
            "/files",
            "/docs",
        ],
    )
    def test_no_path_is_redirected(self, line, path):
        for method in ("GET", "POST", "PUT"):
            answer = line.call(f"{method} {path}", "Content-Length: 0")
            assert answer.status in {404, 405}
            assert "location" not in answer.headers
            assert isinstance(answer.json["detail"], str)

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "FOO", "CONNECT", "get"])
    def test_methods_that_no_route_has(self, connect, http, method):
        http.put("/files/f", content=b"x")
        line = connect()
        line.send(f"{method} /files/f", "Content-Length: 0")
        answer = line.read(bodiless=method == "HEAD")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, PUT"
        if method == "HEAD":
            assert line.call("GET /files/f").body == b"x"

    @pytest.mark.parametrize(
        ("target", "path"),
        [
            ("a%20b", "a b"),
            ("100%.txt", "100%.txt"),
            ("100%zz", "100%zz"),
            ("a%2Fb", "a/b"),
            ("a//b/./c", "a/b/c"),
            ("%77orkspace/x", "x"),
            ("workspace/workspace/y", "y"),
            ("a+b", "a+b"),
            ("%252e%252e", "%2e%2e"),
            ("q%3Fr%23s", "q?r#s"),
            ("~!$&'()*,;=:@", "~!$&'()*,;=:@"),
            ("%E2%82%AC", "€"),
            ("...", "..."),
            ("..a", "..a"),
            ("a.", "a."),
        ],
    )
    def test_paths_are_decoded_once(self, line, http, target, path):
        assert (
            line.call(f"PUT /files/{target}", "Content-Length: 1", body=b"v").json["path"]
            == f"workspace/{path}"
        )
        assert line.call(f"GET /files/{target}").body == b"v"
        assert http.get("/v1/files/content", params={"path": path}).json()["content"] == "v"

    @pytest.mark.parametrize(
        "target",
        [
            "../x",
            "%2e%2e/x",
            "a/%2e%2e/%2e%2e/x",
            "..%2Fx",
            "..%5Cx",
            "..\\x",
            "a%00b",
            "%0a",
            "a%7Fb",
            ".",
            "",
            "workspace/",
            "%2F",
            "x" * 256,
        ],
    )
    def test_paths_that_are_refused(self, line, target):
        for method in ("PUT", "GET"):
            answer = line.call(f"{method} /files/{target}", "Content-Length: 0")
            assert answer.status == 400, target
            assert set(answer.json) >= {"detail", "code"}

    def test_absolute_targets(self, line, http, workspace):
        """A proxy's form of the same request (RFC 9112, 3.2.2)."""
        answer = line.call(f"GET {workspace.base_url}/v1/me")
        assert answer.status in {200, 400, 404}

    def test_queries(self, line, http):
        http.put("/files/f", content=b"x")
        assert line.call("GET /v1/files/content?path=f&unknown=1&x").json["content"] == "x"
        assert line.call("GET /v1/files/content?path=%66").json["content"] == "x"
        assert line.call("GET /v1/files/content").status == 422
        assert line.call("GET /v1/files?recursive=maybe").status == 422
        assert line.call("GET /v1/files?recursive=TRUE").status in {200, 422}
        assert line.call("GET /v1/files/content?path=%FF").status in {400, 404, 422}
        assert line.call("GET /v1/files/content?path=a%00b").status == 400

    def test_an_open_route_needs_no_key(self, connect, workspace):
        line = connect()
        line.standard = "Host: x\r\n"
        assert line.call("GET /openapi.json").json["openapi"].startswith("3.")
        assert line.call("GET /healthz").status == 200
        answer = line.call("GET /v1/me")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")

    @pytest.mark.parametrize(
        "value",
        ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "trove-sk-x", "Bearer  \xff\xfe", "Bearer a b"],
    )
    def test_authorizations_that_are_none(self, connect, value):
        line = connect()
        line.standard = "Host: x\r\nX-Namespace: main\r\n"
        assert line.call("GET /v1/files", f"Authorization: {value}").status == 401

    def test_the_scheme_is_any_case(self, connect, workspace):
        line = connect()
        line.standard = f"Host: x\r\nX-Namespace: main\r\nAuthorization: bEARER {workspace.key}\r\n"
        assert line.call("GET /v1/files").status == 200


def test_a_download_says_what_it_is(http):
    http.put("/files/page.html", content=b"<script>alert(1)</script>")
    answer = http.get("/files/page.html", headers={"Accept-Encoding": "gzip, br"})
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == answer.headers["x-trove-size"] == "25"


def test_a_body_is_taken_as_it_is(http):
    """Whatever its content type or encoding says."""
    for headers in (
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Encoding": "gzip"},
        {"Content-Type": "nonsense"},
    ):
        assert http.put("/files/f", content=b"\x1f\x8bnot really", headers=headers).status_code == 200
        assert stored(http) == b"\x1f\x8bnot really"
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        answer = http.post(
            "/write", content=b'{"path": "g", "content": "x"}', headers={"Content-Type": media_type}
        )
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"path": "f"',
        b'{"path": "f", "content": "x"} x',
        b"{'path': 'f'}",
        b'\xef\xbb\xbf{"path": "f", "content": "x"}',
    ],
)
def test_bodies_that_are_no_json(http, body):
    answer = http.post("/write", content=body)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_errors_name_no_path_of_the_host(http, served):
    for answer in (
        http.get("/files/nope"),
        http.get("/files/.."),
        http.post("/write", json={"path": "", "content": ""}),
        http.post("/write", content=b"{"),
        http.get("/v1/files", params={"path": "nope"}),
        http.get("/nowhere"),
        http.post("/v1/snapshots/snap-x/restore"),
    ):
        assert answer.status_code >= 400
        assert str(served.folder) not in answer.text
        assert "trove_agents" not in answer.text


def test_the_old_file_stays_readable_while_a_new_one_arrives(connect, http):
    http.put("/files/f", content=b"old" * 100_000)
    line = connect()
    line.send("PUT /files/f", "Content-Length: 3000000", body=b"n" * 2_000_000)
    for _ in range(5):
        assert stored(http) == b"old" * 100_000
    line.socket.sendall(b"n" * 1_000_000)
    assert line.read().status == 200
    assert stored(http) == b"n" * 3_000_000


def test_readers_never_see_half_of_a_write(workspace, http):
    sizes = {n: bytes([48 + n]) * (200_000 + n) for n in range(10)}
    http.put("/files/f", content=sizes[0])
    stop = threading.Event()
    seen = set()

    def read():
        with workspace.http() as reader:
            while not stop.is_set():
                seen.add(stored(reader))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(40):
        http.put("/files/f", content=sizes[number % 10]).raise_for_status()
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= set(sizes.values())


def test_hundreds_of_idle_connections(connect, http):
    lines = [connect() for _ in range(200)]
    assert http.get("/v1/files").status_code == 200
    assert lines[150].call("GET /v1/files").status == 200


def test_a_body_nobody_wants(connect):
    """A refused upload is answered before its end, and what follows of it is not taken for a request."""
    line = connect("trove-sk-no")
    smuggled = b"GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n"
    line.send("PUT /files/f", f"Content-Length: {5 * MB}", body=smuggled)
    assert line.read().status == 401
    line.socket.sendall(b"x" * (5 * MB - len(smuggled)))
    assert line.call("GET /healthz").json == {"status": "ok"}
