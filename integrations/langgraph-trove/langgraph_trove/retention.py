"""Forgetting: references that no checkpoint names any more, and all that a thread has left."""

from collections import defaultdict
from operator import methodcaller
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.pregel import Pregel

from langgraph_trove import flows, inside
from langgraph_trove.aligning import is_fork_of
from langgraph_trove.bind import binding_of
from langgraph_trove.errors import NoCheckpointer
from langgraph_trove.flows import Ask, Clients, Flow, Take, read
from langgraph_trove.runs import KEPT, MARK, thread_name
from langgraph_trove.state import CHANNEL, WorkspaceRef
from trove_agents import NamespaceInfo, StepReference

Graph = Pregel[Any, Any, Any, Any]
_Named = dict[str, dict[str, int]]
"""The references of each workspace that checkpoints name, with their versions."""


def prune(app: Graph, thread_id: str, *, kept: bool = False) -> int:
    """Drops the references of a thread that no checkpoint names, and returns how many there were.

    There are such after checkpoints were deleted, and of steps whose result was never stored. A run may be at work:
    what is newer than all that is named stays. It reads all checkpoints that the saver has, since those of other
    threads may have started here.

    Args:
        app: A bound graph.
        thread_id: As in the configuration of its runs.
        kept: Drops those too that keep what others changed and a run went back from.
    """
    return flows.run(_prune(app, thread_id, kept=kept))


async def aprune(app: Graph, thread_id: str, *, kept: bool = False) -> int:
    """As :func:`prune`."""
    return await flows.arun(_prune(app, thread_id, kept=kept))


def delete_thread(app: Graph, thread_id: str) -> None:
    """Deletes a thread: its checkpoints, its references, and the forks that were made for it.

    The files of the workspace that the graph is bound to stay as they are, and another thread can take it. A fork that
    a checkpoint of another thread refers to stays as well. Can be repeated after a failure.
    """
    flows.run(_delete(app, thread_id))


async def adelete_thread(app: Graph, thread_id: str) -> None:
    """As :func:`delete_thread`."""
    await flows.arun(_delete(app, thread_id))


def _prune(app: Graph, thread_id: str, *, kept: bool) -> Flow[int]:
    named = yield from _named(_saver(app))
    dropped = 0
    for clients in (yield from _workspaces(app, thread_id)):
        here = named[clients.namespace]
        newest = max(here.values(), default=0)
        unused = [
            each.reference_id
            for each in (yield from _references(clients, thread_id))
            if each.reference_id not in here
            and ((each.step == MARK and each.version < newest) or (kept and each.step == KEPT))
        ]
        dropped += yield from _drop(clients, unused)
    return dropped


def _delete(app: Graph, thread_id: str) -> Flow[None]:
    saver = _saver(app)
    yield read(saver, "delete_thread", str(thread_id))
    named = yield from _named(saver)
    for clients in (yield from _workspaces(app, thread_id)):
        here, name = named[clients.namespace], clients.namespace
        if is_fork_of(name, thread_name(thread_id)) and not here:
            yield Ask(clients, methodcaller("delete_namespace", name))
        else:
            found = yield from _references(clients, thread_id)
            yield from _drop(clients, [each.reference_id for each in found if each.reference_id not in here])


def _saver(app: Graph) -> BaseCheckpointSaver[Any]:
    saver = inside.saver_of(app, inside.merged(app, None))
    if saver is None:
        raise NoCheckpointer("the graph has no checkpointer")
    return saver


def _named(saver: BaseCheckpointSaver[Any]) -> Flow[_Named]:
    named: _Named = defaultdict(dict)
    saved: list[CheckpointTuple] = yield read(saver, "list", None)
    for each in saved:
        refs: list[WorkspaceRef | None] = [each.checkpoint["channel_values"].get(CHANNEL)]
        refs += [value for _, channel, value in each.pending_writes or () if channel == CHANNEL]
        for ref in refs:
            if ref:
                here = named[ref["namespace"]]
                here[ref["reference"]] = ref["version"]
                if "since" in ref:
                    here.setdefault(ref["since"], 0)
    return named


def _workspaces(app: Graph, thread_id: str) -> Flow[list[Clients]]:
    """The one that the graph is bound to, and the forks that were made for the thread."""
    clients, thread = binding_of(app).clients, thread_name(thread_id)
    all_of_them: list[NamespaceInfo] = yield Take(
        clients, lambda client: client.list_namespaces(), lambda _: False
    )
    forks = [each.name for each in all_of_them if is_fork_of(each.name, thread)]
    return [clients, *(clients.elsewhere(name) for name in forks if name != clients.namespace)]


def _references(clients: Clients, thread_id: str) -> Flow[list[StepReference]]:
    """Those that this integration took for the thread."""
    thread = thread_name(thread_id)
    found: list[StepReference] = yield Take(
        clients, lambda client: client.references(thread=thread), lambda _: False
    )
    return [each for each in found if each.step in (MARK, KEPT)]


def _drop(clients: Clients, ids: list[str]) -> Flow[int]:
    if not ids:
        return 0
    count: int = yield Ask(clients, lambda client: client.delete_references(ids))
    return count
