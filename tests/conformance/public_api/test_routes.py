"""Every route: methods, paths, bodies and answers as they are documented (wire 1.1, 3.3)."""

import threading

import pytest

from .lines import stored


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
