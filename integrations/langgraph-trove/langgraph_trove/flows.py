"""What is asked of the workspace and of the saver, written once for threads and for asyncio.

A flow is a generator that yields what it wants done and is sent the result; two drivers do it, one waiting and one
awaiting. So the rules of this package stand in flows, and only who holds a lock or a lease exists twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from trove_agents import AsyncTroveClient, TroveClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one workspace: for threads, for asyncio, or both."""

    sync: TroveClient | None
    asynchronous: AsyncTroveClient | None

    @property
    def namespace(self) -> str:
        """The workspace's name; of a key that is locked to one, as far as the client knows."""
        found = (self.sync or self.asynchronous).namespace  # type: ignore[union-attr]
        assert found is not None
        return found

    def needed(self) -> TroveClient:
        """The one for threads.

        Raises:
            TypeError: there is none.
        """
        if self.sync is None:
            raise TypeError(
                "only an asynchronous client here: give bind a TroveClient for synchronous runs and nodes"
            )
        return self.sync

    def aneeded(self) -> AsyncTroveClient:
        """The one for asyncio, as ``needed``."""
        if self.asynchronous is None:
            raise TypeError("only a synchronous client here: give bind async_client= for asynchronous nodes")
        return self.asynchronous

    def elsewhere(self, namespace: str) -> Self:
        """Those of another workspace."""
        return self._each(lambda client: client.for_namespace(namespace))

    def in_step(self, **step: str) -> Self:
        """Those whose changes are marked with a step."""
        return self._each(lambda client: client.with_step(**step))

    def _each(self, made: Callable[[Any], Any]) -> Self:
        return type(self)(self.sync and made(self.sync), self.asynchronous and made(self.asynchronous))


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of a client."""

    clients: Clients
    call: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Take:
    """The items of a client's listing, up to and including the first that is the ``last``, or all there are."""

    clients: Clients
    listing: Callable[[Any], Any]
    last: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Read:
    """A method of a saver or a graph, whose asynchronous twin has an ``a`` before its name; a listing as a list."""

    of: Any
    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


Flow = Generator[Ask | Take | Read, Any, T]


def read(of: Any, method: str, *arguments: Any, **options: Any) -> Read:
    """See ``Read``."""
    return Read(of, method, arguments, options)


def run(flow: Flow[T]) -> T:
    """What a flow comes to. Failures of what it asks for are raised inside it first."""
    result: Any = None
    error: Exception | None = None
    while True:
        try:
            step = flow.send(result) if error is None else flow.throw(error)
        except StopIteration as stop:
            done: T = stop.value
            return done
        try:
            result, error = _do(step), None
        except Exception as failed:  # noqa: BLE001 - the flow decides
            error = failed


async def arun(flow: Flow[T]) -> T:
    """As ``run``. With a synchronous client alone, its calls are made in a thread."""
    result: Any = None
    error: Exception | None = None
    while True:
        try:
            step = flow.send(result) if error is None else flow.throw(error)
        except StopIteration as stop:
            done: T = stop.value
            return done
        try:
            result, error = await _ado(step), None
        except Exception as failed:  # noqa: BLE001 - the flow decides
            error = failed


async def arun_whole(flow: Flow[T]) -> T:
    """As ``arun``, to its end even when the caller is cancelled meanwhile, maybe more than once; then that is raised."""
    running = asyncio.ensure_future(arun(flow))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise


def _do(step: Ask | Take | Read) -> Any:
    if isinstance(step, Read):
        found = getattr(step.of, step.method)(*step.arguments, **step.options)
        return list(found) if isinstance(found, Iterator) else found
    client = step.clients.needed()
    return step.call(client) if isinstance(step, Ask) else _until(step.listing(client), step.last)


async def _ado(step: Ask | Take | Read) -> Any:
    if isinstance(step, Read):
        found = getattr(step.of, f"a{step.method}")(*step.arguments, **step.options)
        return [each async for each in found] if isinstance(found, AsyncIterator) else await found
    if step.clients.asynchronous is None:
        return await asyncio.to_thread(_do, step)
    if isinstance(step, Ask):
        answer: Awaitable[Any] = step.call(step.clients.asynchronous)
        return await answer
    return await _auntil(step.listing(step.clients.asynchronous), step.last)


def _until(items: Iterator[Any], last: Callable[[Any], bool]) -> list[Any]:
    taken = []
    for each in items:
        taken.append(each)
        if last(each):
            break
    return taken


async def _auntil(items: AsyncIterator[Any], last: Callable[[Any], bool]) -> list[Any]:
    taken = []
    async for each in items:
        taken.append(each)
        if last(each):
            break
    return taken
