"""What steps and runs of LangGraph cost with a workspace, beside the same graph without one and beside copying its folder.

A run of one node again and again is stepped from outside, so that all take turns step by step. Everybody's checkpoints are
stored within the step (``durability="sync"``), by a saver of the same kind.
"""

import asyncio
import contextlib
import itertools
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import sample
from floors import Posix, Sqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from ops import Turns
from ours import Ours
from race import Contender, Step, Timing, race
from report import Row, added

from langgraph_trove import WorkspaceState, bind, workspace_node
from trove_agents import AsyncTroveClient, TroveClient

SECTION = "LangGraph, "
"""What its sections begin with."""
PLAIN = "the graph alone"
CHANGED = 10
AIM = 5_000.0
"""Microseconds more, for a step without a change."""
_CONFIG = {"configurable": {"thread_id": "bench"}, "recursion_limit": 10**9}
_OPTIONS = {"stream_mode": "updates", "durability": "sync"}
Node = Callable[..., Any]


class State(WorkspaceState, total=False):
    turn: int


def rows(folder: Path, files: int, turns: Turns, say: Callable[[str], None]) -> list[Row]:
    """The rows of one size."""
    found: list[Row] = []

    def take(operation: str, times: dict[str, Timing], within: float | None = None) -> None:
        row = added(f"{SECTION}{files:,} files", operation, times, to=PLAIN, within=within)
        found.append(row)
        say(f"{row.operation}: {row.figure} more, {row.ratio:.2f}x {row.floor}")

    with contextlib.ExitStack() as stack:
        bench = Bench(folder, files, stack)
        for saver in ("memory", "SQLite"):
            take(f"step, no change, {saver}", bench.steps(turns.write, saver), AIM)
            take(f"step, no change, asyncio, {saver}", bench.asteps(turns.write, saver), AIM)
        take(f"step, {CHANGED} files changed", bench.steps(turns.write, changed=CHANGED))
        take(f"step, {CHANGED} files changed, asyncio", bench.asteps(turns.write, changed=CHANGED))
        take("start of a run", bench.starts(turns.write))
        take("start at an older checkpoint", bench.returns(turns.write))
        take(f"step, {CHANGED} files changed, beside copies", bench.copies(turns.archive))
    return found


class Bench:
    """A workspace and a plain folder with the same files. Each contender has a thread, and ours a fork of the workspace."""

    def __init__(self, folder: Path, files: int, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._files = files
        self._ours = Ours(folder, files)
        stack.callback(self._ours.close)
        self._posix = Posix(folder, files)
        floor = Sqlite(folder, 1)
        stack.callback(floor.close)
        self._commit = {"SQLite commit": floor.commit}
        self._wait = stack.enter_context(asyncio.Runner()).get_loop().run_until_complete
        self._stack = stack
        self._numbers = itertools.count()

    def steps(self, turns: int, saver: str = "memory", *, changed: int = 0) -> dict[str, Timing]:
        """One step a turn."""
        plain = _graph(self._plain(changed), saver=self._saver(saver))
        ours = self._bound(_graph(self._working(changed), saver=self._saver(saver)))
        return race(turns, {PLAIN: self._stepped(plain), "ours": self._stepped(ours), **self._commit})

    def asteps(self, turns: int, saver: str = "memory", *, changed: int = 0) -> dict[str, Timing]:
        """As ``steps``, for asyncio."""
        plain = _graph(self._aplain(changed), saver=self._asaver(saver))
        ours = self._bound(_graph(self._aworking(changed), saver=self._asaver(saver)))
        return race(turns, {PLAIN: self._astepped(plain), "ours": self._astepped(ours), **self._commit})

    def copies(self, turns: int) -> dict[str, Timing]:
        """Of the whole folder, with each step: how a graph without a workspace gets states to go back to."""
        root, copy = self._posix.root, self._folder / "copy"

        def stepped(then: Callable[[], object] | None) -> Contender:
            step = self._stepped(_graph(self._plain(CHANGED, then), saver=InMemorySaver()))
            return Contender(step, lambda turn: shutil.rmtree(copy, ignore_errors=True))

        ours = self._bound(_graph(self._working(CHANGED), saver=InMemorySaver()))
        command = ["cp", "--archive", "--reflink=auto", str(root), str(copy)]
        return race(
            turns,
            {
                PLAIN: stepped(None),
                "ours": self._stepped(ours),
                "with shutil.copytree": stepped(lambda: shutil.copytree(root, copy)),
                "with cp --reflink=auto": stepped(lambda: subprocess.run(command, check=True)),
            },
            warm_up=1,
        )

    def starts(self, turns: int) -> dict[str, Timing]:
        """A run of one step without the workspace: what is left is looking whether that is where it has to be."""

        def run(app: Any) -> Step:
            return lambda turn: app.invoke({"turn": turn}, _CONFIG)

        def once() -> Any:
            return _graph(nothing, saver=InMemorySaver(), ends=True)

        return race(turns, {PLAIN: run(once()), "ours": run(self._bound(once()))})

    def returns(self, turns: int) -> dict[str, Timing]:
        """Such a run from a checkpoint before the last change of the thread, which is undone."""

        def run(app: Any) -> Contender:
            app.invoke({"turn": 0}, _CONFIG)
            changed = next(each for each in app.get_state_history(_CONFIG) if each.next == ("node 1",))
            return Contender(
                lambda turn: app.invoke(None, changed.config),
                lambda turn: app.invoke({"turn": turn}, _CONFIG),
            )

        def once(node: Node) -> Any:
            return _graph(node, nothing, saver=InMemorySaver(), ends=True)

        return race(
            turns,
            {
                PLAIN: run(once(self._plain(1))),
                "ours": run(self._bound(once(self._working(1)))),
            },
        )

    # Nodes
    def _plain(self, changed: int, then: Callable[[], object] | None = None) -> Node:
        def step(state: State) -> State:
            for each in range(changed):
                self._posix.write(state["turn"] * changed + each)
            if then is not None:
                then()
            return nothing(state)

        return step

    def _aplain(self, changed: int) -> Node:
        step = self._plain(changed)

        async def astep(state: State) -> State:
            return step(state)

        return astep

    def _working(self, changed: int) -> Node:
        @workspace_node
        def step(state: State, workspace: TroveClient) -> State:
            for name, text in self._changes(state["turn"], changed):
                workspace.write(name, text)
            return nothing(state)

        return step

    def _aworking(self, changed: int) -> Node:
        @workspace_node
        async def step(state: State, workspace: AsyncTroveClient) -> State:
            for name, text in self._changes(state["turn"], changed):
                await workspace.write(name, text)
            return nothing(state)

        return step

    def _changes(self, turn: int, changed: int) -> Iterator[tuple[str, str]]:
        for number in range(turn * changed, (turn + 1) * changed):
            yield sample.scattered(number, self._files), sample.content(number, "ours")

    # Graphs
    def _bound(self, graph: Any) -> Any:
        """In a workspace of its own: a thread has one to itself."""
        name = f"place-{next(self._numbers)}"
        self._ours.client.fork(name)
        return bind(graph, self._ours.trove.client(name), async_client=self._ours.trove.async_client(name))

    def _stepped(self, app: Any) -> Step:
        """Each call is a step of one run: what comes after the step before, the node, and what it is told to have done."""
        parts = self._stack.enter_context(contextlib.closing(app.stream({"turn": 0}, _CONFIG, **_OPTIONS)))
        return lambda turn: next(parts)

    def _astepped(self, app: Any) -> Step:
        parts = app.astream({"turn": 0}, _CONFIG, **_OPTIONS)

        async def step() -> object:
            return await anext(parts)

        self._stack.callback(lambda: self._wait(_closed(parts)))
        return lambda turn: self._wait(step())

    def _saver(self, kind: str) -> BaseCheckpointSaver[Any]:
        if kind == "memory":
            return InMemorySaver()
        file = self._folder / f"checkpoints-{next(self._numbers)}.db"
        raw = sqlite3.connect(file, check_same_thread=False)
        self._stack.callback(raw.close)
        return SqliteSaver(raw)

    def _asaver(self, kind: str) -> BaseCheckpointSaver[Any]:
        if kind == "memory":
            return InMemorySaver()
        file = self._folder / f"checkpoints-{next(self._numbers)}.db"
        opened = AsyncSqliteSaver.from_conn_string(str(file))
        self._stack.callback(lambda: self._wait(opened.__aexit__(None, None, None)))
        return self._wait(opened.__aenter__())


def nothing(state: State) -> State:
    """A step that does nothing."""
    return {"turn": state["turn"] + 1}


def _graph(*nodes: Node, saver: BaseCheckpointSaver[Any], ends: bool = False) -> Any:
    """Of these nodes, one after another; unless it ends, over and over."""
    graph = StateGraph(State)
    names = [f"node {number}" for number, _ in enumerate(nodes)]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    for before, after in itertools.pairwise([START, *names, *([] if ends else names[:1])]):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=saver)


async def _closed(parts: AsyncGenerator[Any]) -> None:
    await parts.aclose()
