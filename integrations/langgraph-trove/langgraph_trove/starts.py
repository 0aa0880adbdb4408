"""Which reference a run starts from: what LangGraph will load, decided by LangGraph's own rules.

They are those of ``PregelLoop._first``: a run goes on with what is stored when it is given no new input; it then takes over
what finished tasks wrote, unless it is sent back to an earlier checkpoint.
"""

from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.pregel import Pregel
from langgraph.types import Command, StateSnapshot

from langgraph_trove import inside
from langgraph_trove.errors import WorkspaceError
from langgraph_trove.flows import Flow, read
from langgraph_trove.lines import Line, stored
from langgraph_trove.state import WorkspaceRef


class Start(NamedTuple):
    """What a run begins with."""

    ref: WorkspaceRef | None
    """None: nothing is stored of the workspace."""
    known: bool
    """Whether the thread has a checkpoint."""
    fresh: bool
    """Whether the run has new input, and so begins a turn."""
    latest: bool
    """Whether it begins at the end of the thread, and not at an earlier checkpoint."""
    again: CheckpointTuple | None = None
    """The checkpoint to begin at, so that what was finished after it is done again; None: as LangGraph would."""
    line: Line | None = None
    """What the steps that are left go on with, where finished ones are taken over."""


def start(
    graph: Pregel[Any, Any, Any, Any], saver: BaseCheckpointSaver[Any], config: RunnableConfig, given: Any
) -> Flow[Start]:
    """Where a run with this input starts."""
    place = inside.root(config)
    saved: CheckpointTuple | None = yield read(saver, "get_tuple", place)
    if saved is None:
        return Start(None, known=False, fresh=True, latest=True)
    fresh = not (given is None or isinstance(given, Command) or _same_run(config, saved))
    addressed = bool(place["configurable"].get("checkpoint_id"))
    latest = not addressed
    if addressed:
        newest: CheckpointTuple | None = yield read(saver, "get_tuple", _newest(place))
        latest = newest is None or newest.checkpoint["id"] == saved.checkpoint["id"]
    travels = addressed and not (isinstance(given, Command) and given.resume is not None)
    takes_over = not fresh and latest and not travels
    ref = inside.stored(saved, pending=False)
    forks = travels and (saved.metadata.get("source") not in ("update", "fork") or not latest)
    if not fresh and not forks and (below := inside.addressed_below(config)) is not None:
        # A step that is a graph has its own checkpoint addressed. A fork would begin that step anew
        within: CheckpointTuple | None = yield read(saver, "get_tuple", below)
        ref = ref if within is None else inside.stored(within, pending=False)
        return Start(ref, known=True, fresh=False, latest=False)
    if takes_over:
        tasks = None
        if next(iter(graph.get_subgraphs()), None) is not None:
            state: StateSnapshot = yield read(graph, "get_state", _newest(place), subgraphs=True)
            tasks = state.tasks
        found = yield from stored(saver, saved, tasks)
        if not found.broken:
            return Start(found.ref, known=True, fresh=False, latest=True, line=found.line)
        if given is not None:
            raise WorkspaceError(
                "the process died while parallel steps were stored, and one is missing that a later one's files depend"
                " on: go on with None, which does them again, and give the command then"
            )
        return Start(ref, known=True, fresh=False, latest=False, again=saved)
    return Start(ref, known=True, fresh=fresh, latest=latest)


def _newest(place: RunnableConfig) -> RunnableConfig:
    return {
        "configurable": {key: each for key, each in place["configurable"].items() if key != "checkpoint_id"}
    }


def _same_run(config: RunnableConfig, saved: CheckpointTuple) -> bool:
    """Whether a caller comes back to a run of its own, as after a lost connection: its input is not used again."""
    run = config.get("metadata", {}).get("run_id")
    return run is not None and run == saved.metadata.get("run_id")
