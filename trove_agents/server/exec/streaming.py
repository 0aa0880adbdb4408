"""A command's answer while it runs: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Chunks of its output as they come, and then one event with what the call without a stream would have answered.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from http import HTTPStatus
from typing import Any, Final

import msgspec

from trove_agents.server.errors import Replayed
from trove_agents.server.exec.output import Output
from trove_agents.server.http import Request
from trove_agents.server.replies import Disconnected, Scope, failure
from trove_agents.wire.exec import ExecChunk, ExecResult
from trove_agents.wire.limits import EXEC_HEARTBEAT_SECONDS

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""The second is for nginx, which would gather the events otherwise."""
_HEARTBEAT: Final = b":\n\n"


def wanted(request: Request) -> bool:
    """Whether the caller accepts such an answer."""
    accepted = request.headers.get("accept", "").split(",")
    return any(each.partition(";")[0].strip().lower() == MEDIA_TYPE for each in accepted)


async def events(
    request: Request,
    run: Callable[[Output], Coroutine[Any, Any, ExecResult]],
    *,
    heartbeat: float = EXEC_HEARTBEAT_SECONDS,
) -> AsyncGenerator[bytes, None]:
    """The body of the answer. Its first piece is empty and comes when the command begins: what is raised before has a
    status of its own. Closing it ends the command.

    Raises:
        ServiceError: the command did not begin.
        Disconnected: nobody reads any more.
    """
    running = _Running(request, run)
    try:
        await running.begin()
        yield b""
        while (piece := await running.next(heartbeat)) is not None:
            yield piece
        for piece in running.last(request.scope):
            yield piece
    finally:
        await running.end()


class _Running:
    """A command and what its reader was told of it."""

    def __init__(self, request: Request, run: Callable[[Output], Coroutine[Any, Any, ExecResult]]) -> None:
        self._output = Output()
        self._said = {"stdout": 0, "stderr": 0}
        self._work = asyncio.ensure_future(run(self._output))
        self._work.add_done_callback(self._wake)
        self._gone: asyncio.Future[Any] | None = None
        if request.scope.get("client") is not None:  # in process a caller who leaves closes the answer itself
            self._gone = asyncio.ensure_future(request.receive())
            self._gone.add_done_callback(self._wake)

    async def begin(self) -> None:
        """Returns when the command begins, or has run before; raises what keeps it from that."""
        while not self._output.begun:
            self._output.news.clear()
            if self._work.done():
                if isinstance(self._work.exception(), Replayed):
                    return
                self._work.result()
                raise AssertionError("a command has begun when it has a result")
            self._stay()
            await self._output.news.wait()

    async def next(self, heartbeat: float) -> bytes | None:
        """The next event, or a comment after ``heartbeat`` seconds of silence; None when the command has ended."""
        while True:
            self._stay()
            self._output.news.clear()  # before it is looked for: what comes later is news again
            ended = self._work.done()
            if (chunk := self._output.take()) is not None:
                self._said[chunk.stream] += len(chunk.text)
                return _event(b"output", chunk)
            if ended:
                return None
            try:
                async with asyncio.timeout(heartbeat):
                    await self._output.news.wait()
            except TimeoutError:
                return _HEARTBEAT

    def last(self, scope: Scope) -> Iterator[bytes]:
        """How it ended, after what the server itself has added to the output."""
        try:
            result = self._work.result()
        except Replayed as known:
            answer = msgspec.json.decode(known.body)
            success = known.status == HTTPStatus.OK
            yield (
                _event(b"result", answer) if success else _event(b"error", {"status": known.status, **answer})
            )
            return
        except Exception as error:  # noqa: BLE001 - told as the call without a stream would tell it
            status, body, headers = failure(error, scope)
            told = {"status": status, **msgspec.json.decode(body)}
            if (seconds := dict(headers).get(b"retry-after")) is not None:
                told["retry_after"] = int(seconds)
            yield _event(b"error", told)
            return
        if added := result.stderr[self._said["stderr"] :]:
            yield _event(b"output", ExecChunk("stderr", added))
        yield _event(b"result", result)

    async def end(self) -> None:
        """Ends the command, if it has not, and waits until it has."""
        if self._gone is not None:
            self._gone.cancel()
        if not self._work.done():
            self._work.cancel()
            await asyncio.wait({self._work})
        if not self._work.cancelled():
            self._work.exception()  # seen, also when nobody is left to be told

    def _wake(self, _: object) -> None:
        self._output.news.set()

    def _stay(self) -> None:
        if self._gone is not None and self._gone.done() and not self._work.done():
            raise Disconnected


def _event(kind: bytes, value: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind, msgspec.json.encode(value))
