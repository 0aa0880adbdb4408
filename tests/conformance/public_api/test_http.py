"""HTTP as it may really arrive: curl, chunks, calls sent ahead, half a body (wire 1.1, 3.3)."""

import contextlib
import json
import shutil
import subprocess
import time

import pytest

from .lines import MB, chunked, stored


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
