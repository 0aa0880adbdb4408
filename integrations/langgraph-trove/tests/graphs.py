"""Graphs whose steps add a letter to a file and to the state: whatever happens, both must say the same."""

import itertools
import operator
from collections import Counter
from typing import Annotated

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from langgraph_trove import WorkspaceState, bind, workspace_node
from trove_agents import TroveNotFoundError

FILE = "log.txt"


class State(WorkspaceState, total=False):
    log: Annotated[list[str], operator.add]


class Crash(Exception):
    pass


def config(thread="t", **more):
    return {"configurable": {"thread_id": thread, **more}}


def text(client, at=None):
    try:
        return client.read_text(FILE, at=at)
    except TroveNotFoundError:
        return ""


def step(letter, crashes=None, *, asks=False, before=None):
    """A node that adds its letter. It fails as often as ``crashes`` says for it, after it wrote."""

    def add(state: State, workspace):
        workspace.write(FILE, text(workspace) + letter)
        if before is not None:
            before(workspace)
        if asks:
            interrupt("go on?")
        if crashes and crashes.get(letter):
            crashes[letter] -= 1
            raise Crash(letter)
        return {"log": [letter]}

    add.__name__ = letter
    return workspace_node(add)


def astep(letter, crashes=None, *, asks=False):
    """As ``step``, for asyncio."""

    async def add(state: State, workspace):
        try:
            before = await workspace.read_text(FILE)
        except TroveNotFoundError:
            before = ""
        await workspace.write(FILE, before + letter)
        if asks:
            interrupt("go on?")
        if crashes and crashes.get(letter):
            crashes[letter] -= 1
            raise Crash(letter)
        return {"log": [letter]}

    add.__name__ = letter
    return workspace_node(add)


def line(*nodes):
    """A graph that does one node after the other."""
    builder = StateGraph(State)
    for node in nodes:
        builder.add_node(node.__name__, node)
    names = [START, *(node.__name__ for node in nodes), END]
    for before, after in itertools.pairwise(names):
        builder.add_edge(before, after)
    return builder


def wide(first, *parallel, last):
    """A graph that does several nodes side by side between two others."""
    builder = StateGraph(State)
    for node in (first, *parallel, last):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, first.__name__)
    for node in parallel:
        builder.add_edge(first.__name__, node.__name__)
    builder.add_edge([node.__name__ for node in parallel], last.__name__)
    return builder.add_edge(last.__name__, END)


def bound(builder, saver, client, **options):
    return bind(builder.compile(checkpointer=saver), client, **options)


def place(client, ref):
    return client.for_namespace(ref["namespace"])


def agree(app, client, thread="t"):
    """Every checkpoint's files are what its log says, and so are those of the workspace now. The log of the last one."""
    last = None
    for state in app.get_state_history(config(thread)):
        ref, log = state.values["workspace"], state.values.get("log", [])
        found = text(place(client, ref), at=ref["reference"])
        assert Counter(found) == Counter(log), f"{state.metadata}: {log} and '{found}'"
        last = last or state
    now = text(place(client, last.values["workspace"]))
    assert Counter(now) == Counter(last.values["log"]), f"now: {last.values['log']} and '{now}'"
    return "".join(last.values["log"])


def before(app, node, thread="t"):
    """The configuration of the latest checkpoint before a node."""
    return next(state.config for state in app.get_state_history(config(thread)) if node in state.next)
