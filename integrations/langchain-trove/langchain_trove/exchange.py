"""What takes several calls of a client, written once for threads and for asyncio.

An exchange is a generator that yields what to call and is sent the result. Failures are raised inside it first.
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, TypeAlias, TypeVar

from trove_agents import AsyncTroveClient, TroveClient

T = TypeVar("T")

Exchange: TypeAlias = Generator[Callable[[Any], Any], Any, T]
"""Yields functions of a client of either kind, whose methods have the same names and arguments."""


def call(method: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """One call, to be yielded. What it iterates over comes back as a list."""
    return lambda client: getattr(client, method)(*arguments, **options)


def run(client: TroveClient, exchange: Exchange[T]) -> T:
    """What an exchange comes to."""
    try:
        step = next(exchange)
        while True:
            try:
                result = step(client)
                if isinstance(result, Iterator):
                    result = list(result)
            except Exception as error:  # noqa: BLE001 (the exchange decides)
                step = exchange.throw(error)
            else:
                step = exchange.send(result)
    except StopIteration as stop:
        done: T = stop.value
        return done


async def arun(client: AsyncTroveClient, exchange: Exchange[T]) -> T:
    """As ``run``."""
    try:
        step = next(exchange)
        while True:
            try:
                found = step(client)
                if isinstance(found, AsyncIterator):
                    result = [each async for each in found]
                else:
                    result = await found
            except Exception as error:  # noqa: BLE001 (the exchange decides)
                step = exchange.throw(error)
            else:
                step = exchange.send(result)
    except StopIteration as stop:
        done: T = stop.value
        return done
