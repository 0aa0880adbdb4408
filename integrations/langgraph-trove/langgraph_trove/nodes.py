"""Nodes that work in a workspace, and record what they leave it as."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.types import Command

from langgraph_trove import flows, inside
from langgraph_trove.errors import WorkspaceError
from langgraph_trove.flows import Ask, Flow
from langgraph_trove.holds import Hold, ahold, hold, still_held
from langgraph_trove.runs import here, reference
from langgraph_trove.state import WorkspaceRef
from trove_agents import Difference

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
    """Begins another attempt at a task that failed after it had recorded, as in an edge that chooses the next node."""
    run, task = held.run, inside.task_of(config)
    if task not in run.recorded:
        return
    before, after = run.recorded[task]
    if run.ref != after:
        raise WorkspaceError(
            "an earlier attempt failed after it had recorded its files, and others worked on them since"
        )
    yield Ask(held.clients, lambda client: client.restore_to(before["reference"]))
    run.ref = before
    if before["reference"] != after["reference"]:
        run.line_after(inside.superstep_of(config)).add(inside.path_of(config), -1)


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
    run.recorded[inside.task_of(config)] = run.ref, ref
    run.ref = ref
    return ref, changed


def recorded(
    config: RunnableConfig, node: str, result: Any, found: tuple[WorkspaceRef, list[Difference]]
) -> Any:
    """A step's result, and its reference among what it writes."""
    ref, changed = found
    inside.write(config, ref)
    if changed:
        get_stream_writer()(files_changed(node, ref, changed))
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
