"""The socket that the server listens on."""

import errno
import socket

import pytest

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
