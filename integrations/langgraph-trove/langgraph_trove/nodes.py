"""Nodes that work in a workspace, and record what they leave it as."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.types import Command

from langgraph_trove import flows, inside
from langgraph_trove.errors import NotBound, WorkspaceError
from langgraph_trove.flows import Ask, Clients, Flow
from langgraph_trove.holds import Hold, ahold, hold, holding, outermost, still_held
from langgraph_trove.runs import Recorded, Run, here, reference
from langgraph_trove.state import WorkspaceRef
from trove_agents import AsyncTroveClient, Difference, TroveClient

R = TypeVar("R")
N = TypeVar("N")
_WORKS: Final = "__trove_workspace__"
_WORKSPACE: Final = "workspace"
"""The parameter that gets the client."""


def workspace_node(function: Callable[..., R]) -> Callable[..., R]:
    """A node, or a task of the functional API, that works in the graph's workspace: ``def node(state, workspace): ...``.

    ``workspace`` is a client, a ``TroveClient`` or, in an ``async def``, an ``AsyncTroveClient``; all else is passed as
    LangGraph passes it. While the node runs, changes of others are refused, and parallel nodes wait for it. What it leaves
    is recorded together with its result. When it fails, is cancelled or interrupts, the files are as they were before
    it: it will run again from its start.

    Raises:
        TypeError: the function takes no ``workspace``.
    """
    signature = inspect.signature(function)
    if _WORKSPACE not in signature.parameters:
        raise TypeError(f"{function.__name__} takes no '{_WORKSPACE}'")
    node: Any
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def node(*args: Any, **kwargs: Any) -> Any:
            run, config = here()
            name = node_name(config)
            async with ahold(run, name) as held:
                await flows.arun(anew(held, config))
                result = await function(*args, **kwargs, workspace=held.clients.aneeded())
                found = await flows.arun(left(held, config))
            return recorded(config, name, result, found)

    else:

        @functools.wraps(function)
        def node(*args: Any, **kwargs: Any) -> Any:
            run, config = here()
            name = node_name(config)
            with hold(run, name) as held:
                flows.run(anew(held, config))
                result = function(*args, **kwargs, workspace=held.clients.needed())
                found = flows.run(left(held, config))
            return recorded(config, name, result, found)

    # LangGraph reads what a node takes from its signature, and would look for a value for the client
    kept = [each for name, each in signature.parameters.items() if name != _WORKSPACE]
    node.__signature__ = signature.replace(parameters=kept)
    node.__annotations__ = {name: each for name, each in node.__annotations__.items() if name != _WORKSPACE}
    made: Callable[..., R] = working(node)
    return made


@contextmanager
def workspace_step() -> Iterator[TroveClient]:
    """A client with which the running node, or a function that it calls, works in the graph's workspace.

    For what frameworks and middlewares write beside the nodes of ``workspace_node``. While the block runs, changes of others
    are refused, and parallel steps wait for it. At its end what it leaves is recorded with the node's result; after an
    exception the files are as they were before the block. A node may have several, and each builds on the one before;
    when the node itself fails after them, they are undone before it, or what comes next, is run. Inside a step it is a part of
    that one.

    Raises:
        NotBound: no node of a graph with a workspace runs.
        WorkspaceError: what is left would not be recorded: the node is cached, a task of the functional API, for which there is
            ``workspace_node``, or of a graph that a node calls.
    """
    with stepping() as clients:
        yield clients.needed()


@asynccontextmanager
async def aworkspace_step() -> AsyncIterator[AsyncTroveClient]:
    """As :func:`workspace_step`."""
    async with astepping() as clients:
        yield clients.aneeded()


def current_workspace() -> TroveClient:
    """A client of the workspace that the running graph works in, a fork where its branch has one: for reading.

    Inside a step it is the step's own. Else its changes are like those that others make: see ``workspace_step``.

    Raises:
        NotBound: as for ``workspace_step``.
    """
    return looking().needed()


async def acurrent_workspace() -> AsyncTroveClient:
    """As :func:`current_workspace`."""
    return (await alooking()).aneeded()


@contextmanager
def stepping() -> Iterator[Clients]:
    """As ``workspace_step``, with whichever client there is."""
    run, config, within = _beginning()
    with hold(run, node_name(config)) as held:
        if within:
            yield held.clients
            return
        flows.run(anew(held, config))
        yield held.clients
        found = flows.run(left(held, config))
    recorded(config, node_name(config), None, found)


@asynccontextmanager
async def astepping() -> AsyncIterator[Clients]:
    """As ``stepping``."""
    run, config, within = _beginning()
    async with ahold(run, node_name(config)) as held:
        if within:
            yield held.clients
            return
        await flows.arun(anew(held, config))
        yield held.clients
        found = await flows.arun(left(held, config))
    recorded(config, node_name(config), None, found)


def steps_here() -> bool:
    """Whether ``workspace_step`` works here."""
    try:
        run, config = here()
    except NotBound:
        return False
    return holding(run) is not None or inside.node_in(config) in run.binding.records


def _beginning() -> tuple[Run, RunnableConfig, bool]:
    """A step in a node that is none; and whether it is inside one, which records what it leaves."""
    run, config = here()
    within = holding(run) is not None
    if not steps_here():
        raise WorkspaceError(
            f"'{node_name(config)}' is cached, a task, or a node of a graph that a node calls: what it leaves would not be"
            " recorded with its result"
        )
    return run, config, within


def ended(result: Any, config: RunnableConfig) -> Any:
    """What a node does at its end: it writes what steps inside it left. LangGraph stores what a node wrote also when it fails
    afterwards, and would take it for finished.
    """
    run = inside.run_of(config)
    ref = run.left.pop(inside.task_of(config), None) if isinstance(run, Run) else None
    return result if ref is None else _written(config, result, ref)


def looking() -> Clients:
    """As ``current_workspace``, whichever client there is."""
    run, config = here()
    if _is_retried(run, config):
        with hold(run, node_name(config)) as held:
            flows.run(anew(held, config))
    return _seen(run)


async def alooking() -> Clients:
    """As ``looking``."""
    run, config = here()
    if _is_retried(run, config):
        async with ahold(run, node_name(config)) as held:
            await flows.arun(anew(held, config))
    return _seen(run)


def _is_retried(run: Run, config: RunnableConfig) -> bool:
    """Whether the files are those that an attempt before this one left."""
    recorded = run.recorded.get(inside.task_of(config))
    return recorded is not None and recorded.attempt != inside.attempt_of(config)


def _seen(run: Run) -> Clients:
    inner = holding(run)
    return run.binding.clients.elsewhere(run.clients.namespace) if inner is None else inner.clients


def working(node: N) -> N:
    """Marks what works in the workspace, for ``bind`` to see."""
    setattr(node, _WORKS, True)
    return node


def works_in_workspace(runnable: object) -> bool:
    """Whether a node was made here."""
    return any(getattr(each, _WORKS, False) for each in inside.functions(runnable))


def node_name(config: RunnableConfig) -> str:
    """What the graph calls the running node or task."""
    return str(config["metadata"]["langgraph_node"])


def anew(held: Hold, config: RunnableConfig) -> Flow[None]:
    """Begins another attempt at a task that failed after it had recorded, as in an edge that chooses the next node. What the
    same attempt has recorded before stays.
    """
    run = held.run
    if not _is_retried(run, config):
        return
    recorded = run.recorded[inside.task_of(config)]
    before = recorded.before
    if run.ref != recorded.after or not recorded.alone:
        raise WorkspaceError(
            "an earlier attempt failed after it had recorded its files, and others worked on them since"
        )
    yield Ask(held.clients, lambda client: client.restore_to(before["reference"]))
    run.ref = before
    del run.recorded[inside.task_of(config)]
    run.left.pop(inside.task_of(config), None)
    line, tasks = run.line_after(inside.superstep_of(config)), inside.path_of(config)
    line.add(tasks, -line.own.get(tasks[-1], 0))


def left(held: Hold, config: RunnableConfig) -> Flow[tuple[WorkspaceRef, list[Difference]]]:
    """A reference to what a step leaves, and what it changed, where somebody wants to know."""
    run = held.run
    yield from still_held(held)
    ref = yield from reference(held.clients, run.thread)
    changed: list[Difference] = []
    if run.events and ref["version"] != run.ref["version"]:
        changed = yield Ask(held.clients, lambda client: client.diff(run.ref["version"], ref["reference"]))
    line, tasks = run.line_after(inside.superstep_of(config)), inside.path_of(config)
    if ref["reference"] != run.ref["reference"]:
        line.add(tasks, 1)
    ref["line"] = line.place(tasks)
    if held.outer is not None:
        ref["since"] = outermost(held).noted["ref"]["reference"]
    task, attempt = inside.task_of(config), inside.attempt_of(config)
    earlier = run.recorded.get(task)
    if earlier is None or earlier.attempt != attempt:
        run.recorded[task] = Recorded(run.ref, ref, attempt, alone=True)
    else:
        alone = earlier.alone and earlier.after == run.ref
        run.recorded[task] = Recorded(earlier.before, ref, attempt, alone=alone)
    run.ref = ref
    return ref, changed


def recorded(
    config: RunnableConfig, node: str, result: Any, found: tuple[WorkspaceRef, list[Difference]]
) -> Any:
    """A step's result, and its reference among what its node or task writes."""
    (run, _), (ref, changed) = here(), found
    if changed:
        get_stream_writer()(files_changed(node, ref, changed))
    names = inside.node_in(config)
    # Also the nodes around it, since one that calls a graph may pass nothing on of that graph's state
    for depth, task in enumerate(inside.path_of(config), 1):
        if names[:depth] in run.binding.records:
            run.left[task] = ref
    return result if names in run.binding.records else _written(config, result, ref)


def _written(config: RunnableConfig, result: Any, ref: WorkspaceRef) -> Any:
    inside.write(config, ref)
    # What goes to the graph above skips what this one writes
    if isinstance(result, Command):
        return _above(result, ref)
    return [_above(each, ref) for each in result] if isinstance(result, list) else result


def _above(result: Any, ref: WorkspaceRef) -> Any:
    leaves = isinstance(result, Command) and result.graph == Command.PARENT
    return inside.updating(result, ref) if leaves else result


def files_changed(node: str, ref: WorkspaceRef, changed: Sequence[Difference]) -> dict[str, Any]:
    """An event of ``stream_mode="custom"``: plain values."""
    return {
        "type": "files changed",
        "node": node,
        "reference": ref["reference"],
        "namespace": ref["namespace"],
        "files": [{"path": each.path, "change": each.change} for each in changed],
    }
