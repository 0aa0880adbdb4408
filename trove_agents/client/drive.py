"""The drivers: what sends calls and runs flows, once synchronous and once asynchronous.

This is the only logic that exists twice. Everything above is calls and flows, everything below a ``Transport``.
"""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from trove_agents.client.acting import IDEMPOTENCY, Acting
from trove_agents.client.call import Call, Flow, Pairs, Step, Together
from trove_agents.client.capabilities import Capabilities
from trove_agents.client.failures import failure
from trove_agents.client.retry import Retries, passing
from trove_agents.client.transport import (
    AsyncStreamedReply,
    AsyncTransport,
    Outgoing,
    Reply,
    StreamedReply,
    Transport,
)
from trove_agents.client.upload import Upload
from trove_agents.errors import TroveError

__all__ = [
    "AsyncDriver",
    "AsyncStreamedReply",
    "AsyncTransport",
    "Driver",
    "Outgoing",
    "Reply",
    "StreamedReply",
    "Transport",
]

T = TypeVar("T")
P = TypeVar("P")


class Driver:
    """Sends calls over a transport, with the headers, the time limit and the retries of one client."""

    def __init__(
        self, transport: Transport, headers: Pairs, *, timeout: float, retries: Retries | None
    ) -> None:
        self._transport = transport
        self._headers = headers
        self._timeout = timeout
        self._retries = retries if retries is not None and transport.retries else None
        self._capabilities = Capabilities()
        self._acting = Acting()
        self._shares = False

    def send(self, call: Call[T]) -> T:
        """The result of one call.

        Raises:
            TroveError: the server refused, or no answer came.
        """
        self._check(call)
        call = self._acting.keyed(call, fresh=self._retries is not None)

        def once() -> T:
            try:
                return call.parse(_good(self._transport.send(self._outgoing(call))))
            except TroveError as error:
                if _asks(call, error):
                    self._learn()
                raise

        return self.repeat(once, lambda: _may_repeat(call, self._capabilities))

    def run(self, flow: Flow[T]) -> T:
        """The result of a flow. Failures of its calls are raised inside it first."""
        try:
            step = next(flow)
            while True:
                try:
                    result = self._perform(step)
                except Exception as error:  # noqa: BLE001 (the flow decides)
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            done: T = stop.value
            return done
        finally:
            flow.close()

    @contextmanager
    def stream(self, call: Call[Any]) -> Iterator[StreamedReply]:
        """The answer of a call as its body comes in. Sent once: who reads the body knows whether to repeat."""
        self._check(call)
        call = self._acting.keyed(call, fresh=False)
        with self._transport.stream(self._outgoing(call)) as reply:
            if not _is_success(reply.status):
                raise failure(Reply(reply.status, reply.headers, b"".join(reply.chunks)))
            yield reply

    def pages(self, page: Callable[[str | None], Step[P]], items: Callable[[P], Iterable[T]]) -> Iterator[T]:
        """The items of all pages, each page read when its first item is asked for.

        Args:
            page: Asks for the page that a cursor leads to; None: for the first.
            items: Takes them out of a page.
        """
        cursor: str | None = None
        while True:
            found = self._perform(page(cursor))
            yield from items(found)
            if not isinstance(found.next_cursor, str):
                return
            cursor = found.next_cursor

    def repeat(self, once: Callable[[], T], may_repeat: Callable[[], bool]) -> T:
        """The result of ``once``, under this client's retries."""
        return once() if self._retries is None else self._retries.call(once, may_repeat)

    def close(self) -> None:
        """Closes the connections, unless they are another client's. The client cannot be used afterwards."""
        if not self._shares:
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _perform(self, step: Step[Any] | Together) -> Any:
        if isinstance(step, Call):
            return self.send(step)
        if isinstance(step, Together):
            return tuple([self._perform(each) for each in step.steps])
        return self.run(step)

    def _saying(self, acting: Acting) -> Self:
        """This client, with its connections, saying something else with the calls that act."""
        other = copy.copy(self)
        other._acting, other._shares = acting, True  # noqa: SLF001 - of this class
        return other

    def _check(self, call: Call[Any]) -> None:
        """Raises ``NotSupported`` where the server would not understand what is said with the call."""
        if needs := self._acting.needs_of(call):
            self.run(self._capabilities.check(*needs))

    def _learn(self) -> None:
        """Finds out what the server has. Asked once: whoever waits wants to hear of the failure before."""
        other = copy.copy(self)
        other._retries = None  # noqa: SLF001 - of this class
        with suppress(TroveError):
            other.run(self._capabilities.learn())

    def _outgoing(self, call: Call[Any]) -> Outgoing:
        body = call.body.chunks() if isinstance(call.body, Upload) else call.body
        return call.outgoing((*self._headers, *self._acting.headers_of(call)), self._timeout, body)


class AsyncDriver:
    """As ``Driver``."""

    def __init__(
        self, transport: AsyncTransport, headers: Pairs, *, timeout: float, retries: Retries | None
    ) -> None:
        self._transport = transport
        self._headers = headers
        self._timeout = timeout
        self._retries = retries if retries is not None and transport.retries else None
        self._capabilities = Capabilities()
        self._acting = Acting()
        self._shares = False

    async def send(self, call: Call[T]) -> T:
        """As :meth:`Driver.send`."""
        await self._check(call)
        call = self._acting.keyed(call, fresh=self._retries is not None)

        async def once() -> T:
            try:
                return call.parse(_good(await self._transport.send(self._outgoing(call))))
            except TroveError as error:
                if _asks(call, error):
                    await self._learn()
                raise

        return await self.repeat(once, lambda: _may_repeat(call, self._capabilities))

    async def run(self, flow: Flow[T]) -> T:
        """As :meth:`Driver.run`. When the caller is cancelled, the flow is closed."""
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._perform(step)
                except Exception as error:  # noqa: BLE001 (the flow decides)
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            done: T = stop.value
            return done
        finally:
            flow.close()

    @asynccontextmanager
    async def stream(self, call: Call[Any]) -> AsyncIterator[AsyncStreamedReply]:
        """As :meth:`Driver.stream`."""
        await self._check(call)
        call = self._acting.keyed(call, fresh=False)
        async with self._transport.stream(self._outgoing(call)) as reply:
            if not _is_success(reply.status):
                raise failure(
                    Reply(reply.status, reply.headers, b"".join([chunk async for chunk in reply.chunks]))
                )
            yield reply

    async def pages(
        self, page: Callable[[str | None], Step[P]], items: Callable[[P], Iterable[T]]
    ) -> AsyncIterator[T]:
        """As :meth:`Driver.pages`."""
        cursor: str | None = None
        while True:
            found = await self._perform(page(cursor))
            for item in items(found):
                yield item
            if not isinstance(found.next_cursor, str):
                return
            cursor = found.next_cursor

    async def repeat(self, once: Callable[[], Awaitable[T]], may_repeat: Callable[[], bool]) -> T:
        """As :meth:`Driver.repeat`."""
        return await (once() if self._retries is None else self._retries.acall(once, may_repeat))

    async def aclose(self) -> None:
        """As :meth:`Driver.close`."""
        if not self._shares:
            await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _perform(self, step: Step[Any] | Together) -> Any:
        if isinstance(step, Call):
            return await self.send(step)
        if isinstance(step, Together):
            return await self._together(step)
        return await self.run(step)

    async def _together(self, step: Together) -> tuple[Any, ...]:
        import asyncio

        tasks = [asyncio.create_task(self._perform(each)) for each in step.steps]
        try:
            return tuple(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def _saying(self, acting: Acting) -> Self:
        other = copy.copy(self)
        other._acting, other._shares = acting, True  # noqa: SLF001 - of this class
        return other

    async def _check(self, call: Call[Any]) -> None:
        if needs := self._acting.needs_of(call):
            await self.run(self._capabilities.check(*needs))

    async def _learn(self) -> None:
        other = copy.copy(self)
        other._retries = None  # noqa: SLF001 - of this class
        with suppress(TroveError):
            await other.run(self._capabilities.learn())

    def _outgoing(self, call: Call[Any]) -> Outgoing:
        body = call.body.achunks() if isinstance(call.body, Upload) else call.body
        return call.outgoing((*self._headers, *self._acting.headers_of(call)), self._timeout, body)


def _asks(call: Call[Any], error: TroveError) -> bool:
    """Whether it depends on the server if a failed call may be sent again."""
    return bool(call.idempotency_key) and not call.idempotent and passing(error)


def _may_repeat(call: Call[Any], capabilities: Capabilities) -> bool:
    return call.repeatable and (call.idempotent or capabilities.known(IDEMPOTENCY))


def _good(reply: Reply) -> Reply:
    if not _is_success(reply.status):
        raise failure(reply)
    return reply


def _is_success(status: int) -> bool:
    return 200 <= status < 300
