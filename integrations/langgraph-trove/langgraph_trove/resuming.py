"""A graph that a step calls goes on where it was, and its files with it.

A step that fails or asks a person is undone as a whole. But a graph that it calls may have checkpoints of its own: LangGraph
begins the step anew, and goes on in that graph after what was finished there. The files of that are then made once more.
"""

import warnings
from typing import Any, Final

from langgraph.callbacks import GraphCallbackHandler, GraphResumeEvent
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from langgraph_trove import flows, inside
from langgraph_trove.errors import UndoneFilesWarning, WorkspaceError
from langgraph_trove.flows import Ask, Flow, Take, read
from langgraph_trove.holds import Hold, ahold, hold, holding, outermost
from langgraph_trove.repeating import made_again
from langgraph_trove.runs import Run, named, ours
from trove_agents import HistoryEntry

_STEP: Final = "resume"


class Resuming(GraphCallbackHandler):
    """Told by LangGraph of each graph that goes on, before its first node.

    Args:
        run: Whose steps call the graphs.
        saver: Where their checkpoints are.
        thread_id: As LangGraph knows it.
    """

    run_inline = True
    raise_error = True

    def __init__(self, run: Run, saver: BaseCheckpointSaver[Any], thread_id: str) -> None:
        self._run = run
        self._saver = saver
        self._thread_id = thread_id

    def on_resume(self, event: GraphResumeEvent) -> None:
        """Gives the graph its files.

        Raises:
            WorkspaceError: they do not go together with what others did since.
        """
        if any(event.checkpoint_ns) and holding(self._run) is not None:
            with hold(self._run, _STEP) as held:
                flows.run(self._made(held, inside.joined(event.checkpoint_ns)))

    def _made(self, held: Hold, namespace: str) -> Flow[None]:
        place = {"thread_id": self._thread_id, "checkpoint_ns": namespace}
        saved: CheckpointTuple | None = yield read(self._saver, "get_tuple", {"configurable": place})
        ref = None if saved is None else inside.stored(saved, pending=True)
        if ref is None or "since" not in ref:
            if saved is not None and saved.metadata["step"] > 0:
                yield from self._told(held, namespace)
            return
        there, step = self._run.resumed, outermost(held)
        if there is not None and there["version"] >= ref["version"]:
            return
        if step.noted["ref"]["reference"] == ref["since"]:  # it did the same again up to here
            yield Ask(held.clients, lambda client: client.restore_to(ref["reference"]))
            self._run.resumed = ref
            return
        before = ref["since"] if there is None else there["reference"]
        fits = yield from made_again(
            held.clients, {"namespace": ref["namespace"], "before": before, "after": ref["reference"]}
        )
        if not fits:
            raise WorkspaceError(
                f"a graph that a step calls would go on after what it did in the workspace '{ref['namespace']}', which was"
                f" undone with the step, and does not fit in with what others did since: '{ref['reference']}' has its files."
                " Give new input, or go back to an earlier checkpoint"
            )
        self._run.resumed = ref

    def _told(self, held: Hold, namespace: str) -> Flow[None]:
        """Warns where the step itself had changed something at an earlier attempt that is not there now."""
        node, version = outermost(held).node, self._run.ref["version"]
        walked: list[HistoryEntry] = yield Take(
            held.clients, lambda client: client.history(), lambda entry: entry.version <= version
        )
        undone = next((each for each in walked if each.version > version and self._is_by(each, node)), None)
        if undone is None:
            return
        changes = yield Ask(held.clients, lambda client: client.diff(undone.version))
        if changes:
            warnings.warn(
                f"the graph '{namespace}' goes on where it was, but what it changed was undone with the step that calls it:"
                f" version {undone.version} of the workspace '{held.clients.namespace}' had other files: {named(changes)}. Let"
                " its own steps work in the workspace, and record what they leave",
                UndoneFilesWarning,
                stacklevel=2,
            )

    def _is_by(self, entry: HistoryEntry, node: str) -> bool:
        made = entry.step is not None and entry.step.step == node and ours(entry, self._run.thread)
        return made and entry.kind not in ("snapshot", "restore")


class AsyncResuming(Resuming):
    """As ``Resuming``, for asyncio."""

    async def on_resume(self, event: GraphResumeEvent) -> None:  # type: ignore[override]
        """As ``Resuming.on_resume``."""
        if any(event.checkpoint_ns) and holding(self._run) is not None:
            async with ahold(self._run, _STEP) as held:
                await flows.arun(self._made(held, inside.joined(event.checkpoint_ns)))
