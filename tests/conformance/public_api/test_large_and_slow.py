"""Too much of something, too slowly, or too many at once: the server stays up and says so."""

import contextlib
import json
import select

import psutil
import pytest

from .lines import MB, chunked, stored


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
