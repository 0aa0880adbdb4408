"""What two readers of one request could understand differently is refused."""

import pytest

from .lines import chunked, stored


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
