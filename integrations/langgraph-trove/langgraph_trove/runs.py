"""What the nodes of one run share: whose thread it is, where it works, and what it found the files to be."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from langgraph_trove import inside
from langgraph_trove.errors import NotBound
from langgraph_trove.flows import Ask, Clients, Flow
from langgraph_trove.leasing import Leasing
from langgraph_trove.lines import Line
from langgraph_trove.state import WorkspaceRef
from langgraph_trove.turns import Turns
from trove_agents import Difference, HistoryEntry, StepReference

MARK: Final = "langgraph-trove"
"""The ``step`` of references that this integration takes: equal for all, so that a step without a change gets the
reference that is there.
"""
KEPT: Final = "langgraph-trove kept"
"""That of references to what somebody else changed and the graph went back from."""
_NAMED: Final = 5
"""Paths in a message."""
_RUN: Final = "langgraph-"
_PLAIN: Final = re.compile(r"[!-~]{1,80}")

OnForeignChange = Literal["keep", "restore", "refuse"]
OnTaken = Literal["refuse", "fork"]


def thread_name(thread_id: object) -> str:
    """A thread's name in the workspace's history and references: its id, or, of one that is long or not plain ASCII
    without spaces, its beginning and a hash.
    """
    text = str(thread_id)
    if _PLAIN.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{re.sub('[^!-~]', '-', text)[:40]}~{digest[:32]}"


@dataclass(frozen=True)
class Binding:
    """What a graph was bound to, and how."""

    clients: Clients
    on_foreign_change: OnForeignChange
    on_taken: OnTaken
    leasing: Leasing
    records: frozenset[tuple[str, ...]]
    """The nodes that record at their end what steps inside them left, by ``inside.node_in``."""
    _turns: dict[str, Turns] = field(default_factory=dict)

    def turns_of(self, namespace: str) -> Turns:
        """The queue for a workspace, one for all runs of this binding."""
        return self._turns.setdefault(namespace, Turns())


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a task has recorded."""

    before: WorkspaceRef
    """What the files were before it."""
    after: WorkspaceRef
    attempt: object
    """At the task."""
    alone: bool
    """Whether all that changed in between is the task's."""


@dataclass
class Run:
    """One invocation of a bound graph."""

    binding: Binding
    thread: str
    clients: Clients
    """Of the workspace that the run works in, which may be a fork; its changes are marked with the run."""
    ref: WorkspaceRef
    """The last known state of the files: where the run started, then what its last step left."""
    events: bool
    """Whether somebody listens to custom events."""
    line: Line
    """Of the superstep that is under way."""
    recorded: dict[str, "Recorded"] = field(default_factory=dict)
    """By task."""
    left: dict[str, WorkspaceRef] = field(default_factory=dict)
    """By task: what steps inside it left, to be written with the task's result."""
    resumed: WorkspaceRef | None = None
    """Up to where the files have what graphs that the step calls did in an earlier attempt at it."""
    over: bool = False
    """It has ended; a step that still runs, in a thread that cannot be stopped, is to leave nothing behind."""

    @property
    def turns(self) -> Turns:
        """The queue for the workspace."""
        return self.binding.turns_of(self.clients.namespace)

    def noted(self) -> dict[str, Any]:
        """What the run knows of its steps, for ``forget_since``."""
        return {
            "ref": self.ref,
            "line": deepcopy(self.line),
            "recorded": dict(self.recorded),
            "resumed": self.resumed,
        }

    def forget_since(self, noted: dict[str, Any]) -> None:
        """What steps inside one recorded is undone with it."""
        for name, value in noted.items():
            setattr(self, name, value)
        # Steps that are done note theirs while others work, so this is not set back as a whole
        for task, ref in tuple(self.left.items()):
            if ref.get("since") == self.ref["reference"]:
                self.left[task] = self.ref

    def line_after(self, checkpoint: str) -> Line:
        """That of the steps which follow a checkpoint of the whole graph."""
        if self.line.superstep != checkpoint:
            self.line = Line(checkpoint)
        return self.line


def new_run() -> str:
    """A name for a run, by which its changes are known as this integration's."""
    return f"{_RUN}{secrets.token_hex(8)}"


def ours(entry: HistoryEntry, thread: str) -> bool:
    """Whether a change was made by a run of the thread."""
    step = entry.step
    return step is not None and step.thread == thread and (step.run or "").startswith(_RUN)


def here() -> tuple[Run, RunnableConfig]:
    """The run that the calling node belongs to, and the node's configuration.

    Raises:
        NotBound: there is none.
    """
    try:
        config = get_config()
    except RuntimeError:  # called outside a graph
        config = {}
    run = inside.run_of(config)
    if not isinstance(run, Run):
        raise NotBound("this node works in a workspace, but its graph has none: bind(graph, client)")
    return run, config


def reference(clients: Clients, thread: str, step: str = MARK) -> Flow[WorkspaceRef]:
    """Refers to the workspace as it is. Where nothing changed since the last time, that is the answer."""
    taken: StepReference = yield Ask(
        clients, lambda client: client.create_reference(thread=thread, step=step)
    )
    return written(taken)


def written(taken: StepReference) -> WorkspaceRef:
    """A reference as a checkpoint stores it."""
    return {
        "namespace": taken.namespace,
        "reference": taken.reference_id,
        "version": taken.version,
        "thread": taken.thread or "",
    }


def named(changes: Sequence[Difference]) -> str:
    """The paths that changed, for a message."""
    paths = ", ".join(each.path.removeprefix("workspace/") for each in changes[:_NAMED])
    return paths if len(changes) <= _NAMED else f"{paths} and {len(changes) - _NAMED} more"
