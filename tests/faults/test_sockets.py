"""Callers whose connection breaks in the middle of a call: nothing half is kept, nothing goes on running, and the
server has no more open files than before.
"""

import contextlib
import json
import os
import secrets
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

LARGE = bytes(range(256)) * 20_000
LIMIT = 60.0


@pytest.fixture
def server(stem, tmp_path):
    server = stem.serve(tmp_path / "state", "none")
    with server.http("main") as http:
        http.put("/files/f", content=b"old").raise_for_status()
        http.put("/files/large", content=LARGE).raise_for_status()
        http.post("/v1/exec", json={"command": "true"}).raise_for_status()
    yield server
    server.stop()


def begin(server, method, path, headers, body=b""):
    """A socket on which a part of a call was sent."""
    at = urlsplit(server.base_url)
    lines = {"Host": at.netloc, "Authorization": f"Bearer {server.key}", "X-Namespace": "main", **headers}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    sent = socket.create_connection((at.hostname, at.port))
    sent.sendall(head.encode() + b"\r\n" + body)
    return sent


def until(holds):
    ends = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def incoming(tmp_path):
    return list((tmp_path / "state" / "blobs" / "incoming").iterdir())


def running(word):
    return any(
        word in part for each in psutil.process_iter(["cmdline"]) for part in each.info["cmdline"] or ()
    )


def opened(server):
    """Sockets and blobs that the server has open."""
    found = []
    for each in Path(f"/proc/{server.process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(each))
    return [each for each in found if each.startswith("socket:") or "/blobs/" in each]


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_an_upload(server, tmp_path, chunked):
    before = len(opened(server))
    for sent in (0, 1, 70_000, 1_500_000):
        part = LARGE[:sent]
        if chunked:
            body = b"%x\r\n%s\r\n" % (len(part), part) if part else b""
            caller = begin(server, "PUT", "/files/f", {"Transfer-Encoding": "chunked"}, body)
        else:
            caller = begin(server, "PUT", "/files/f", {"Content-Length": len(LARGE) + 1}, part)
        if sent > 1:  # the first 16 KB are held in memory
            until(lambda: incoming(tmp_path))
        caller.close()
    until(lambda: not incoming(tmp_path))
    with server.http("main") as http:
        assert http.get("/files/f").content == b"old"
        assert http.put("/files/f", content=LARGE + b"x").status_code == 200
        assert http.get("/files/f").content == LARGE + b"x"
    until(lambda: len(opened(server)) <= before)


@pytest.mark.parametrize("streams", [False, True], ids=["one answer", "streamed"])
def test_a_command(server, streams):
    word = f"97.{secrets.randbelow(10**12)}"
    before = len(opened(server))
    body = json.dumps({"command": f"echo half > f; echo half > g; echo said; sleep {word}"}).encode()
    headers = {"Content-Length": len(body), "Content-Type": "application/json"}
    if streams:
        headers["Accept"] = "text/event-stream"
    caller = begin(server, "POST", "/v1/exec", headers, body)
    until(lambda: running(word))
    if streams:
        assert b"200 OK" in caller.recv(1000)
    caller.close()
    until(lambda: not running(word))
    with server.http("main") as http:
        answer = http.post("/v1/exec", json={"command": "cat f; ls"}).raise_for_status().json()
        assert answer["stdout"] == "oldf\nlarge\n"
        assert http.get("/files/g").status_code == 404
    assert len(list(server.events(types="exec.completed"))) == 2
    until(lambda: len(opened(server)) <= before)


def test_a_download(server):
    before = len(opened(server))
    for _ in range(20):
        caller = begin(server, "GET", "/files/large", {})
        assert b"200 OK" in caller.recv(1000)
        caller.close()
    until(lambda: len(opened(server)) <= before)
    with server.http("main") as http:
        assert http.get("/files/large").content == LARGE


def test_a_head_that_never_ends(server):
    before = len(opened(server))
    for part in (b"", b"PUT /fi", b"PUT /files/f HTTP/1.1\r\nHost: x\r\n"):
        at = urlsplit(server.base_url)
        caller = socket.create_connection((at.hostname, at.port))
        caller.sendall(part)
        caller.close()
    until(lambda: len(opened(server)) <= before)
    with server.http("main") as http:
        assert http.get("/files/f").content == b"old"
