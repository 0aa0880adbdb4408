"""Where a call of a sandbox works: in a graph that is bound, in the graph's workspace."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from langchain_core.runnables import RunnableConfig

from langchain_trove.clients import Clients, held
from langgraph_trove import current_workspace
from langgraph_trove.nodes import alooking, astepping, stepping, steps_here
from trove_agents import AsyncTroveClient, TroveClient


@contextmanager
def working(clients: Clients, config: RunnableConfig, *, changes: bool) -> Iterator[TroveClient]:
    """For a synchronous call, in the workspace of a bound graph also where no step holds it: what it ``changes`` is
    recorded with the node that makes it.

    Raises:
        TypeError: there are only asynchronous clients.
    """
    if held() or not steps_here():
        yield clients.sync(config)
    elif changes:
        with stepping() as there:
            yield there.needed()
    else:
        yield current_workspace()


@asynccontextmanager
async def aworking(
    clients: Clients, config: RunnableConfig, *, changes: bool
) -> AsyncIterator[TroveClient | AsyncTroveClient]:
    """As ``working``; a synchronous client is to be called in a thread."""
    if held() or not steps_here():
        yield clients.asynchronous(config) or clients.sync(config)
    elif changes:
        async with astepping() as there:
            yield there.asynchronous or there.needed()
    else:
        there = await alooking()
        yield there.asynchronous or there.needed()
