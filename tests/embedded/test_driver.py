"""The in-process transports over an edge with routes of its own: what happens when one side leaves or breaks."""

import asyncio
import gc
import threading

import pytest

from trove_agents.client.transport import Outgoing
from trove_agents.embedded.driver import AsyncInProcess, InProcess
from trove_agents.embedded.loop import LoopThread
from trove_agents.errors import TroveConnectionError, TroveConnectionTimeoutError
from trove_agents.server.auth import Principal
from trove_agents.server.errors import NotFound
from trove_agents.server.http import Edge
from trove_agents.server.replies import Reply
from trove_agents.server.routing import Route

SECONDS = 20.0  # only guards against hanging


class Server:
    """Routes that tell when they begin and how they end."""

    def __init__(self):
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.taken = 0
        self.app = Edge(
            [
                Route("POST", "/wait", self._wait, run="loop", access="open", summary=""),
                Route("GET", "/endless", self._endless, run="loop", access="open", summary=""),
                Route("GET", "/broken", self._broken, run="loop", access="open", summary=""),
                Route("PUT", "/take", self._take, run="loop", access="open", summary="", raw_body=True),
            ],
            authenticate=lambda _: Principal("ws-1", "key-1", "one", "workspace", None),
        )
        self.thread = LoopThread()

    def __call__(self):
        return self

    async def _wait(self, request):
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended.set()

    async def _endless(self, request):
        async def body():
            try:
                while True:
                    yield b"x" * 1000
            finally:
                self.ended.set()

        return Reply(body())

    async def _broken(self, request):
        async def body():
            yield b"half"
            raise (NotFound if "refusal" in request.scope["query_string"].decode() else OSError)(
                "/srv/secret"
            )

        return Reply(body(), length=100)

    async def _take(self, request):
        self.begun.set()
        try:
            async for piece in request.stream():
                self.taken += len(piece)
        finally:
            self.ended.set()
        return Reply(b"done")

    def running(self):
        """Tasks of calls that still run on the loop thread."""

        async def count():
            await asyncio.sleep(0)
            return len(asyncio.all_tasks()) - 1

        return asyncio.run_coroutine_threadsafe(count(), self.thread.loop).result(SECONDS)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.thread.close()
    server.app.close()


def outgoing(method, path, body=None, *, query="", length=None, timeout=SECONDS):
    return Outgoing(method, path, query, (), body, length, timeout)


def in_thread(function):
    """A call in a thread of its own; its outcome, result or exception, in a list."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_closing_tells_who_waits_in_another_thread(server):
    thread, outcome = in_thread(lambda: InProcess(server).send(outgoing("POST", "/wait")))
    assert server.begun.wait(SECONDS)
    server.thread.close()
    thread.join(SECONDS)
    assert isinstance(outcome[0], TroveConnectionError)
    assert outcome[0].may_have_committed
    assert server.ended.is_set()


def test_closing_does_not_look_like_a_cancellation_to_async_callers(server):
    async def main():
        call = asyncio.create_task(AsyncInProcess(server).send(outgoing("POST", "/wait")))
        await asyncio.to_thread(server.begun.wait, SECONDS)
        await asyncio.to_thread(server.thread.close)
        with pytest.raises(TroveConnectionError):
            await call
        assert not call.cancelled()

    asyncio.run(main())


def test_a_call_that_comes_too_late_is_refused_and_starts_no_new_thread(server):
    server.thread.close()
    server.thread.close()
    before = threading.active_count()
    with pytest.raises(TroveConnectionError, match="closed"):
        InProcess(server).send(outgoing("POST", "/wait"))
    with (
        pytest.raises(TroveConnectionError, match="closed"),
        InProcess(server).stream(outgoing("GET", "/endless")),
    ):
        pass

    async def main():
        with pytest.raises(TroveConnectionError, match="closed"):
            await AsyncInProcess(server).send(outgoing("POST", "/wait"))

    asyncio.run(main())
    assert threading.active_count() == before


def test_a_stream_open_while_the_server_closes_breaks_off(server):
    with pytest.raises(TroveConnectionError), InProcess(server).stream(outgoing("GET", "/endless")) as reply:
        next(reply.chunks)
        server.thread.close()
        for _ in reply.chunks:
            pass
    assert server.ended.is_set()


def test_an_abandoned_download_ends_on_the_server(server):
    with InProcess(server).stream(outgoing("GET", "/endless")) as reply:
        assert next(reply.chunks) == b"x" * 1000
    assert server.ended.wait(SECONDS)
    assert server.running() == 0


def test_an_abandoned_download_of_an_async_caller_ends_too(server):
    async def main():
        async with AsyncInProcess(server).stream(outgoing("GET", "/endless")) as reply:
            assert await anext(reply.chunks) == b"x" * 1000

    asyncio.run(main())
    assert server.ended.wait(SECONDS)
    assert server.running() == 0


def test_a_caller_that_is_cancelled_at_any_moment_leaves_no_call_behind(server):
    """Cancelled after each number of turns of its loop: also between the head's arrival and its delivery."""

    async def download():
        async with AsyncInProcess(server).stream(outgoing("GET", "/endless")) as reply:
            async for _ in reply.chunks:
                pass

    async def main():
        for turns in range(60):
            task = asyncio.create_task(download())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    for _ in range(1000):
        if server.running() == 0:
            break
    assert server.running() == 0


def test_the_head_that_arrives_while_the_caller_is_cancelled_is_not_lost(server):
    """The loop of the caller is held up until the head is there; then the caller is cancelled before it sees it."""

    async def main():
        stream = AsyncInProcess(server).stream(outgoing("GET", "/endless"))
        task = asyncio.create_task(stream.__aenter__())
        await asyncio.sleep(0)
        while (
            server.running() != 1
        ):  # the call itself is left, blocked on a full queue; the wait for its head is over
            pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert server.ended.wait(SECONDS)
    assert server.running() == 0


@pytest.mark.parametrize("query", ["", "refusal"])
def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(server, caplog, query):
    request = outgoing("GET", "/broken", query=query)
    with pytest.raises(TroveConnectionError, match="broke off") as caught:
        InProcess(server).send(request)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is not None
    with pytest.raises(TroveConnectionError), InProcess(server).stream(request) as reply:
        assert b"".join(reply.chunks) == b"half"

    async def main():
        with pytest.raises(TroveConnectionError):
            await AsyncInProcess(server).send(request)

    asyncio.run(main())


def test_nothing_is_said_about_an_answer_that_broke_off_when_nobody_reads_on(server, caplog):
    with InProcess(server).stream(outgoing("GET", "/broken")):
        pass
    assert server.running() == 0
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_the_time_limit_ends_a_call(server):
    with pytest.raises(TroveConnectionTimeoutError, match="0.05 s") as caught:
        InProcess(server).send(outgoing("POST", "/wait", timeout=0.05))
    assert caught.value.may_have_committed
    assert server.ended.wait(SECONDS)

    async def main():
        with pytest.raises(TroveConnectionTimeoutError):
            await AsyncInProcess(server).send(outgoing("POST", "/wait", timeout=0.05))

    asyncio.run(main())
    assert server.running() == 0


def test_the_time_limit_does_not_count_while_the_caller_makes_its_body(server):
    pause = threading.Event()

    def pieces():
        for _ in range(4):
            pause.wait(0.1)
            yield b"x"

    assert InProcess(server).send(outgoing("PUT", "/take", pieces(), timeout=0.05)).body == b"done"
    assert server.taken == 4


def test_a_body_of_the_wrong_type_is_the_callers_error(server):
    with pytest.raises(TypeError, match="bytes"):
        InProcess(server).send(outgoing("PUT", "/take", 5))
    with pytest.raises(TypeError, match="bytes"):
        InProcess(server).send(outgoing("PUT", "/take", iter(["text"])))


def test_an_async_body_whose_caller_leaves_is_closed(server):
    closed = []

    async def pieces():
        try:
            yield b"x"
            await asyncio.sleep(3600)
        finally:
            closed.append(True)

    async def main():
        call = asyncio.create_task(AsyncInProcess(server).send(outgoing("PUT", "/take", pieces())))
        await asyncio.to_thread(server.begun.wait, SECONDS)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(server.ended.wait, SECONDS)

    asyncio.run(main())
    assert closed == [True]
    assert server.running() == 0
