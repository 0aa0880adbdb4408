"""The socket that the server listens on."""

import asyncio
import errno
import socket

import pytest
import uvicorn
from uvicorn.server import ServerState

from trove_agents.server import listening


def test_small_answers_are_not_held_back():
    """asyncio sets TCP_NODELAY only on sockets that say they are TCP."""
    with listening.listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")],
)
def test_the_address_shown_is_one_that_can_be_called(host, shown):
    try:
        listener = listening.listen(host, 0)
    except OSError as error:
        if error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            pytest.skip(f"this machine has no {host}: {error}")
        raise
    with listener:
        url = listening.url(listener)
        assert url == f"http://{shown}:{listener.getsockname()[1]}"
        socket.create_connection((shown.strip("[]"), listener.getsockname()[1])).close()


def test_a_taken_port_is_an_error_and_leaves_nothing_open():
    with listening.listen("127.0.0.1", 0) as first, pytest.raises(OSError) as caught:
        listening.listen("127.0.0.1", first.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE


async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def connected(pieces, *, every=0.0, patience=0.3):
    """What comes back on a connection on which ``pieces`` were sent and nothing more."""

    class Hasty(listening.Protocol):
        pass

    Hasty.patience = patience
    config = uvicorn.Config(app, http=Hasty, ws="none", lifespan="off")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Hasty(config, ServerState(), {}, loop), "127.0.0.1", 0)
    async with server, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            if reader.at_eof():
                break
            writer.write(piece)
            await asyncio.sleep(every)
        answer = await reader.read()
        writer.close()
        return answer


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"POST / HT"],
        [HEAD],
        [HEAD + b"\r\n"],
        [HEAD + b"\r\nab"],
    ],
)
async def test_who_keeps_the_server_waiting_is_left(pieces):
    assert await connected(pieces) == b""


async def test_a_head_in_drops_is_no_head():
    assert await connected([bytes([byte]) for byte in HEAD + b"\r\nabcd"], every=0.03) == b""


async def test_a_slow_body_that_comes_is_waited_for():
    answer = await connected([HEAD + b"\r\na", b"b", b"c", b"d"], every=0.5, patience=1.2)
    assert answer.endswith(b"ok")
