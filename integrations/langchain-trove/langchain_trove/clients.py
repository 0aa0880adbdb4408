"""Whose workspace a call works in: one for all runs, or that of the run's thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias, TypeVar

from langchain_core.runnables import RunnableConfig

from langchain_trove.errors import NoThread
from trove_agents import AsyncTroveClient, TroveClient
from trove_agents.tools import namespace_of

C = TypeVar("C", TroveClient, AsyncTroveClient)

Source: TypeAlias = (
    TroveClient | AsyncTroveClient | Callable[[RunnableConfig], TroveClient | AsyncTroveClient]
)
"""A client, or what finds one for the configuration of a run: see ``per_thread``."""


def per_thread(client: C) -> Callable[[RunnableConfig], C]:
    """Finds the workspace of each run's thread: a namespace of its own, made with its first use.

    Thread ids may be any text. Different ones never share a namespace, and one always gets the same.

    Args:
        client: Its key must be good for all those namespaces. Its own namespace is not used.

    Raises (when a run asks):
        NoThread: the run has no ``thread_id``.
    """

    def of_thread(config: RunnableConfig) -> C:
        thread = thread_of(config)
        if thread is None:
            raise NoThread(
                'each thread has a workspace of its own: run with {"configurable": {"thread_id": ...}}'
            )
        return client.for_namespace(namespace_of(thread))

    return of_thread


def thread_of(config: RunnableConfig) -> str | None:
    """The run's thread; None when it has none."""
    thread: Any = config.get("configurable", {}).get("thread_id")
    return None if thread is None or thread == "" else str(thread)


_held: ContextVar[TroveClient | AsyncTroveClient | None] = ContextVar("held", default=None)


@contextmanager
def holding(client: TroveClient | AsyncTroveClient) -> Iterator[None]:
    """Inside, calls work with this client, which holds the workspace for them, whatever they were given."""
    token = _held.set(client)
    try:
        yield
    finally:
        _held.reset(token)


def held() -> TroveClient | AsyncTroveClient | None:
    """The client that holds the workspace for the call that is being made. Its changes are marked already."""
    return _held.get()


@dataclass(frozen=True, slots=True)
class Clients:
    """What a run finds its clients by."""

    source: Source | None
    async_source: Source | None

    @classmethod
    def of(cls, client: Source | None, async_client: Source | None) -> Self:
        """From the arguments of what users make.

        Raises:
            TypeError: there is none, or two where one is meant.
        """
        if client is None and async_client is None:
            raise TypeError("a TroveClient is needed, an AsyncTroveClient, or both")
        if isinstance(async_client, TroveClient):
            raise TypeError("async_client is a synchronous client")
        if isinstance(client, AsyncTroveClient):
            if async_client is not None:
                raise TypeError("two asynchronous clients: which one?")
            return cls(None, client)
        return cls(client, async_client)

    def sync(self, config: RunnableConfig) -> TroveClient:
        """For a synchronous call.

        Raises:
            TypeError: there are only asynchronous clients.
        """
        found = held() or _found(self.source, config)
        if not isinstance(found, TroveClient):
            raise TypeError("there is only an asynchronous client: use ainvoke, or add a TroveClient")
        return found

    def asynchronous(self, config: RunnableConfig) -> AsyncTroveClient | None:
        """For an asynchronous call; None: there is only a synchronous client, to be called in a thread."""
        found = held() or _found(self.async_source or self.source, config)
        return found if isinstance(found, AsyncTroveClient) else None


HELD: Final = Clients(None, None)
"""For what works only where a client holds the workspace."""


def _found(source: Source | None, config: RunnableConfig) -> TroveClient | AsyncTroveClient | None:
    return source(config) if callable(source) else source
