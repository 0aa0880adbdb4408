"""A step's time with the workspace: nobody else changes it, and a step that fails leaves no trace."""

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from langgraph_trove.errors import RunOver, WorkspaceError
from langgraph_trove.flows import Ask, Clients, Flow, Take, arun_whole, run
from langgraph_trove.leasing import Lease
from langgraph_trove.runs import Run, thread_name
from langgraph_trove.turns import Turns
from trove_agents import HistoryEntry, TroveError


@dataclass(frozen=True)
class Hold:
    """What a step holds."""

    run: Run
    node: str
    """Its name, as changes are marked with it."""
    clients: Clients
    """Their changes are made under the lease, and marked with the step."""
    lease: Lease
    calls: set[str]
    """The marks of the step and of the steps inside it."""
    outer: "Hold | None"
    noted: dict[str, Any]
    """What the run knew before the step."""
    since: float = field(default_factory=time.monotonic)
    turns: Turns = field(default_factory=Turns)
    """The queue of the steps inside it."""


_HELD: ContextVar[Hold | None] = ContextVar("held", default=None)


@contextmanager
def hold(of: Run, node: str) -> Iterator[Hold]:
    """Waits for the workspace and keeps it; after a failure inside it is as it was.

    A step inside another, such as a node of a graph that a node calls, works under that one's lease.

    Raises:
        WorkspaceLeased: another process held it all the time that a step waits.
    """
    outer = holding(of)
    if outer is not None:
        with outer.turns.mine(), _undone(_begun(of, node, outer.clients, outer.lease, outer)) as mine:
            yield mine
        return
    with (
        of.turns.mine(),
        of.binding.leasing.held(of.clients, of.thread) as (clients, lease),
        _undone(_begun(of, node, clients, lease, None)) as mine,
    ):
        yield mine


@asynccontextmanager
async def ahold(of: Run, node: str) -> AsyncIterator[Hold]:
    """As ``hold``."""
    outer = holding(of)
    if outer is not None:
        async with outer.turns.amine(), _aundone(_begun(of, node, outer.clients, outer.lease, outer)) as mine:
            yield mine
        return
    async with (
        of.turns.amine(),
        of.binding.leasing.aheld(of.clients, of.thread) as (clients, lease),
        _aundone(_begun(of, node, clients, lease, None)) as mine,
    ):
        yield mine


def holding(of: Run) -> Hold | None:
    """What the step holds that the caller is inside of, if it is inside of one of this run."""
    held = _HELD.get()
    return held if held is not None and held.run is of else None


def outermost(held: Hold) -> Hold:
    """The step that is inside no other."""
    while held.outer is not None:
        held = held.outer
    return held


def still_held(held: Hold) -> Flow[None]:
    """Makes sure that nobody came in between, where that may be: the process may have stood still.

    Raises:
        LeaseLost: the lease ran out.
        RunOver: nobody waits for the step any more.
    """
    _check(held.run)
    if time.monotonic() - held.since > held.run.binding.leasing.ttl / 2:
        yield Ask(held.clients, lambda _: held.lease.renew())


def check_free(namespace: str) -> None:
    """Raises ``WorkspaceError`` inside a step that holds the workspace: a run of its own would wait for it for ever."""
    held = _HELD.get()
    while held is not None:
        if held.clients.namespace == namespace:
            raise WorkspaceError(
                f"this step holds the workspace '{namespace}': another thread cannot run in it now"
            )
        held = held.outer


def _check(run: Run) -> None:
    if run.over:
        raise RunOver("the run has ended without this step, which is undone")


def _begun(of: Run, node: str, clients: Clients, lease: Lease, outer: Hold | None) -> Hold:
    _check(of)
    call = secrets.token_hex(8)
    if outer is None:
        of.resumed = None
    above = outer
    while above is not None:
        above.calls.add(call)
        above = above.outer
    name = thread_name(node)
    return Hold(of, name, clients.in_step(step=name, call=call), lease, {call}, outer, of.noted())


@contextmanager
def _undone(held: Hold) -> Iterator[Hold]:
    token = _HELD.set(held)
    try:
        yield held
    except BaseException:
        held.run.forget_since(held.noted)
        with suppress(
            TroveError
        ):  # what cannot be undone now, as without the lease, is before the thread goes on
            run(_undo(held))
        raise
    finally:
        _HELD.reset(token)


@asynccontextmanager
async def _aundone(held: Hold) -> AsyncIterator[Hold]:
    token = _HELD.set(held)
    try:
        yield held
    except BaseException:
        held.run.forget_since(held.noted)
        with suppress(TroveError):
            await arun_whole(_undo(held))
        raise
    finally:
        _HELD.reset(token)


def _undo(held: Hold) -> Flow[None]:
    """Goes back to before the step's first change, if it made any."""

    def before(entry: HistoryEntry) -> bool:
        if entry.kind == "snapshot":  # changes nothing, and may have been taken amidst the step
            return False
        return entry.kind == "create" or entry.step is None or entry.step.call not in held.calls

    entries = yield Take(held.clients, lambda client: client.history(), before)
    if entries and before(entries[-1]) and len([each for each in entries if each.kind != "snapshot"]) > 1:
        version = entries[-1].version
        yield Ask(held.clients, lambda client: client.restore_to(version))
