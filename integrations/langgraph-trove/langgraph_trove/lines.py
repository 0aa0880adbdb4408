"""Whether the results that were stored have one line of files.

Steps that run beside one another, in the graph or in graphs that are steps of it, work in the workspace one after the other:
the files of each have what those before it did. LangGraph stores their results in no order. So after the end of a process one
may be missing that a later one builds on, and would be done again on files that have its work already. Each reference says
how many there were before it: where fewer are stored, all are done again.
"""

import itertools
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.types import PregelTask, StateSnapshot

from langgraph_trove import inside
from langgraph_trove.flows import Flow, read
from langgraph_trove.state import LinePlace, WorkspaceRef, later


@dataclass
class Line:
    """The references of the steps that follow one checkpoint of the whole graph, in one attempt at them."""

    superstep: str
    """The checkpoint."""
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    count: int = 0
    """Of the steps that changed something."""
    own: dict[str, int] = field(default_factory=dict)
    """By task: how many of them it was, or had inside."""

    def add(self, tasks: Sequence[str], number: int) -> None:
        """Counts what the innermost of some tasks did, or, with -1, what it did in vain."""
        self.count += number
        for task in tasks:
            self.own[task] = self.own.get(task, 0) + number

    def place(self, tasks: Sequence[str]) -> LinePlace:
        """Of the reference that the innermost of some tasks takes now."""
        return {"id": self.id, "count": self.count, "own": {task: self.own.get(task, 0) for task in tasks}}


class Stored(NamedTuple):
    """What a run finds that takes over what was finished."""

    ref: WorkspaceRef | None
    """The latest reference."""
    line: Line | None = None
    """What the steps that are left go on with; None: none was finished."""
    broken: bool = False
    """Whether steps are missing that others build on, or they are of several attempts at one checkpoint."""


def stored(
    saver: BaseCheckpointSaver[Any], saved: CheckpointTuple, tasks: Sequence[PregelTask] | None
) -> Flow[Stored]:
    """What is stored of the steps after a checkpoint.

    Args:
        saver: Of the graph.
        saved: The checkpoint.
        tasks: The steps, with the states of those that are graphs; None: there are none.
    """
    began, found = inside.stored(saved, pending=False), _Found({}, [])
    yield from _gather(saver, saved, tasks or (), found)
    floor = -1 if began is None else began["version"]
    refs = [ref for _, ref in found if ref["version"] > floor]
    if not refs:
        return Stored(began)
    last = max(refs, key=lambda ref: ref["version"])
    place = last.get("line")
    if place is None:
        return Stored(last)
    counted, line = 0, Line(saved.checkpoint["id"], place["id"], place["count"])
    for task, ref in found:
        there = ref.get("line")
        if there is None or ref["version"] <= floor or not (own := there["own"].get(task, 0)):
            continue
        if there["id"] != line.id:
            return Stored(began, broken=True)
        counted += own
        for name, number in there["own"].items():
            line.own[name] = max(number, line.own.get(name, 0))
    return Stored(last, line, broken=counted != line.count)


@dataclass
class _Found:
    """References that are stored."""

    finished: dict[str, WorkspaceRef]
    """By task."""
    begun: list[tuple[str, WorkspaceRef]]
    """Of graphs that are tasks and have not finished: what their last checkpoint has."""

    def __iter__(self) -> Iterator[tuple[str, WorkspaceRef]]:
        """Each once: what a finished task had inside is counted with it."""
        for task, ref in self.finished.items():
            within = ref.get("line", {"own": {}})["own"].keys() - {task}
            if within.isdisjoint(self.finished):
                yield task, ref
        yield from self.begun


def _gather(
    saver: BaseCheckpointSaver[Any], saved: CheckpointTuple, tasks: Sequence[PregelTask], found: _Found
) -> Flow[None]:
    names = {each.id: each.name for each in tasks}
    for task, ref in inside.finished(saved):
        if (
            "since" in ref
        ):  # undone with the step around it, and made once more when that is: see ``resuming``
            continue
        own = ref.get("line", {"own": {}})["own"]
        name = task if task in own else names.get(task, task)
        found.finished[name] = later(found.finished.get(name), ref) or ref
    for each in tasks:
        if isinstance(each.state, StateSnapshot) and found.finished.keys().isdisjoint((each.id, each.name)):
            yield from _gather_graphs(saver, each.state, found)


def _gather_graphs(saver: BaseCheckpointSaver[Any], state: StateSnapshot, found: _Found) -> Flow[None]:
    """Those of a task that is a graph, or of the graphs that it has called."""
    place = {name: state.config["configurable"][name] for name in ("thread_id", "checkpoint_ns")}
    task = inside.names_in(place["checkpoint_ns"])[-1]
    for number in itertools.count():
        namespace = inside.called(place["checkpoint_ns"], number)
        last: CheckpointTuple | None = yield read(
            saver, "get_tuple", {"configurable": {**place, "checkpoint_ns": namespace}}
        )
        if last is None:
            return
        ref = inside.stored(last, pending=False)
        if ref is not None and "since" not in ref:
            found.begun.append((task, ref))
        yield from _gather(saver, last, () if number else state.tasks, found)
