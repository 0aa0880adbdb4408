"""Connections that are written and read by hand."""

import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

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


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


def stored(http, path="f") -> bytes:
    return http.get(f"/files/{path}").raise_for_status().content
