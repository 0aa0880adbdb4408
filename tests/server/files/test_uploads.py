"""Uploads that do not come to their end: nothing is closed under a thread that still uses it, and nothing is left."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from trove_agents.client.transport import Outgoing
from trove_agents.embedded.driver import AsyncInProcess
from trove_agents.embedded.loop import LoopThread
from trove_agents.errors import TroveConnectionError
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import Stored
from trove_agents.server.files.routes import routes
from trove_agents.server.http import Edge

SECONDS = 20.0  # only guards against hanging


class Blobs:
    """A store whose one writer can be held up in a method, and which sees what comes in between."""

    def __init__(self, slow):
        self.slow = slow
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.calls = []
        self.inside = 0

    def _enter(self, name):
        assert self.inside == 0, f"{name} while {self.calls[-1]} runs"
        self.inside += 1
        self.calls.append(name)
        if name == self.slow:
            self.reached.set()
            assert self.go_on.wait(SECONDS)
        self.inside -= 1

    def writer(self, workspace):
        self._enter("open")
        return self

    def write(self, piece):
        self._enter("write")

    def finish(self):
        self._enter("finish")
        return Stored(b"d" * 32, 100_000)

    def abort(self):
        self._enter("abort")


@pytest.mark.parametrize("slow", ["open", "write", "finish"])
def test_a_writer_is_given_up_only_when_no_thread_uses_it(slow):
    blobs = Blobs(slow)
    app = Edge(
        routes(SimpleNamespace(check_room=lambda *_: None), None, blobs),
        authenticate=lambda _: Principal("ws-1", "key-1", "one", "workspace", "main"),
    )
    server = SimpleNamespace(app=app, thread=LoopThread())
    request = Outgoing("PUT", "/files/f", "", (), b"x" * 100_000, 100_000, SECONDS)

    async def main():
        call = asyncio.create_task(AsyncInProcess(lambda: server).send(request))
        await asyncio.to_thread(blobs.reached.wait, SECONDS)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(main())
    threading.Timer(0.05, blobs.go_on.set).start()
    server.thread.close()
    app.close()
    assert blobs.calls[-1] == "abort"
    assert blobs.calls.count("abort") == 1


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_upload_shorter_than_announced_leaves_the_old_file(api, size):
    api.put("f", b"old")
    request = Outgoing(
        "PUT",
        "/files/f",
        "",
        (("Authorization", f"Bearer {api.key}"), ("X-Namespace", "main")),
        iter([b"x" * size]),
        size + 1,
        SECONDS,
    )
    with pytest.raises(TroveConnectionError, match="no answer"):
        api.transport.send(request)
    assert api.get("f").body == b"old"
    assert not list((api.trove.folder / "blobs" / "incoming").glob("*"))
