"""What nodes that are no steps of the workspace, such as those of a framework, do to its files."""

import threading

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Command, RetryPolicy, TimeoutPolicy

from langgraph_trove import (
    ForeignChangeWarning,
    NotBound,
    WorkspaceError,
    WorkspaceState,
    acurrent_workspace,
    aworkspace_step,
    bind,
    current_workspace,
    workspace_step,
)

from .graphs import Crash, State, agree, astep, before, bound, config, line, step, text, wide

NEW = {"log": []}


class Talk(MessagesState, WorkspaceState, total=False):
    pass


def plain(letters, crashes=None, *, between=None):
    """A node that adds its letters one by one, each in a step of its own."""

    def add(state: State):
        for letter in letters:
            with workspace_step() as workspace:
                workspace.write("log.txt", text(workspace) + letter)
            if between is not None:
                between(letter)
        if crashes and crashes.get(letters):
            crashes[letters] -= 1
            raise Crash(letters)
        return {"log": list(letters)}

    add.__name__ = letters
    return add


def aplain(letters, crashes):
    async def add(state: State):
        for letter in letters:
            there = await (await acurrent_workspace()).read_text("log.txt")
            async with aworkspace_step() as workspace:
                await workspace.write("log.txt", there + letter)
        if crashes.get(letters):
            crashes[letters] -= 1
            raise Crash(letters)
        return {"log": list(letters)}

    add.__name__ = letters
    return add


def test_what_any_node_writes_is_recorded_with_its_result(client, saver, durability):
    app = bound(line(step("a"), plain("bc"), step("d")), saver, client)
    app.invoke(NEW, config(), durability=durability)
    assert agree(app, client) == "abcd"
    if durability != "exit":
        app.invoke(None, before(app, "bc"), keep_both=True, durability=durability)
        assert agree(app, client) == "abcd"
        assert text(client) == "abcd", "the branch that was left"


def test_a_node_that_fails_after_its_steps_is_undone_before_anything_else(client, saver, durability):
    app = bound(line(step("a"), plain("bc", {"bc": 1}), step("d")), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability=durability)
    app.invoke(None, config(), durability=durability)
    assert agree(app, client) == "abcd"
    app = bound(line(step("a"), plain("bc", {"bc": 1})), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config(), durability=durability)
    app.invoke(NEW, config(), durability=durability)
    assert agree(app, client) == "abcdaabc"


@pytest.mark.parametrize("timeout", [None, TimeoutPolicy(run_timeout=60)])
async def test_another_attempt_begins_where_the_node_began(client, async_client, timeout):
    builder = line(astep("a"))
    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False, retry_on=Crash)
    builder.add_node("bc", aplain("bc", {"bc": 2}), retry_policy=policy, timeout=timeout).add_edge("a", "bc")
    app = bound(builder, InMemorySaver(), client, async_client=async_client)
    await app.ainvoke(NEW, config())
    assert agree(app, client) == "abc"


def test_parallel_steps_build_on_one_that_fails_and_are_done_again(client, saver):
    written, recorded = threading.Event(), threading.Event()

    def between(letter):
        if not written.is_set():
            written.set()
            recorded.wait(5)

    def last(workspace):
        written.wait(5)

    app = bound(
        wide(step("a"), plain("b", {"b": 1}, between=between), step("x", before=last), last=step("d")),
        saver,
        client,
    )

    def watch():
        for _ in range(500):
            if any(task.result for task in app.get_state(config()).tasks):
                break
            threading.Event().wait(0.01)
        recorded.set()

    watching = threading.Thread(target=watch)
    watching.start()
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    watching.join()
    app.invoke(None, config())
    assert sorted(agree(app, client)) == list("abdx")


def test_a_step_within_a_step(client, saver):
    def both(workspace):
        with workspace_step() as mine:
            mine.write("log.txt", text(mine) + "c")
        assert text(current_workspace()) == "abc"
        workspace.write("log.txt", "ab")

    app = bound(line(step("a"), step("b", before=both), step("d")), saver, client)
    app.invoke(NEW, config())
    assert agree(app, client) == "abd"


def test_who_only_looks_sees_the_branch_that_the_run_works_in(client, saver):
    seen = []

    def look(state: State):
        seen.append((current_workspace().namespace, text(current_workspace())))
        return {}

    app = bound(line(step("a"), look, step("b")), saver, client)
    app.invoke(NEW, config())
    app.invoke(None, before(app, "look"), keep_both=True)
    first, second = seen
    assert first == (client.namespace, "a")
    assert second[0] != client.namespace
    assert second[1] == "a"


def test_what_is_written_without_a_step_is_kept_like_what_others_write(client, saver):
    def upload(state: State):
        current_workspace().write("upload.txt", "x")
        return {}

    app = bound(line(step("a"), upload, step("b", {"b": 1})), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    with pytest.warns(ForeignChangeWarning, match=r"upload\.txt"):
        app.invoke(None, config())


def test_a_node_of_a_subgraph_records_too_and_one_that_is_called_says_that_it_cannot(client, saver):
    inner = line(plain("12"), step("3", {"3": 1})).compile()
    builder = line(step("a"))
    builder.add_node("sub", inner).add_edge("a", "sub")
    app = bound(builder, saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    assert text(client) == "a12"
    app.invoke(None, config())
    assert text(client) == "a123"

    def call(state: State):
        inner.invoke(NEW)
        return {}

    app = bound(line(call), saver, client, on_taken="fork")
    with pytest.raises(WorkspaceError, match="'12' is cached, a task, or a node of a graph that"):
        app.invoke(NEW, config("u"))


def test_a_node_that_is_cached_may_not_run_next_time(client, saver):
    builder = line(step("a"))
    builder.add_node("b", plain("b"), cache_policy=CachePolicy()).add_edge("a", "b")
    app = bind(builder.compile(saver, cache=InMemoryCache()), client)
    with pytest.raises(WorkspaceError, match="'b' is cached"):
        app.invoke(NEW, config())


def test_each_step_tells_of_its_files_and_the_way_out_of_a_graph_takes_them_along(client, saver):
    def out(state: State):
        for letter in "bc":
            with workspace_step() as workspace:
                workspace.write("log.txt", text(workspace) + letter)
        return Command(graph=Command.PARENT, update={"log": ["b", "c"]}, goto="d")

    inner = line(out).compile()
    builder = line(step("a"))
    builder.add_node("sub", inner, destinations=("d",)).add_node("d", step("d")).add_edge("a", "sub")
    app = bound(builder, saver, client)
    told = [each for _, each in app.stream(NEW, config(), stream_mode="custom", subgraphs=True)]
    assert [(each["node"], each["files"]) for each in told] == [
        ("a", [{"path": "workspace/log.txt", "change": "added"}]),
        *[("out", [{"path": "workspace/log.txt", "change": "changed"}])] * 2,
        ("d", [{"path": "workspace/log.txt", "change": "changed"}]),
    ]
    assert agree(app, client) == "abcd"


def test_e15_tools_that_run_in_one_task_are_all_done_again(client, saver):
    """A ``ToolNode`` of a graph of one's own runs all calls of a message as one task."""
    crashes, done = {"b": 1}, []

    @tool
    def add(letter: str) -> str:
        """Adds a letter."""
        with workspace_step() as workspace:
            workspace.write("log.txt", text(workspace) + letter)
        done.append(letter)
        if crashes.get(letter):
            crashes[letter] -= 1
            raise Crash(letter)
        return letter

    def ask(state: Talk):
        calls = [
            {"name": "add", "args": {"letter": letter}, "id": letter, "type": "tool_call"} for letter in "ab"
        ]
        return {"messages": [AIMessage("", tool_calls=calls)]}

    builder = StateGraph(Talk).add_node(ask).add_node("tools", ToolNode([add], handle_tool_errors=False))
    app = bound(builder.add_edge(START, "ask").add_edge("ask", "tools"), saver, client)
    with pytest.raises(Crash):
        app.invoke({"messages": []}, config())
    app.invoke(None, config())
    assert sorted(done) == ["a", "a", "b", "b"]
    assert sorted(text(client)) == ["a", "b"]
    assert sorted(text(client, at=app.get_state(config()).values["workspace"]["reference"])) == ["a", "b"]


async def test_there_is_none(client):
    with pytest.raises(NotBound):
        current_workspace()
    with pytest.raises(NotBound):
        await acurrent_workspace()
    with pytest.raises(NotBound), workspace_step():
        pass
    with pytest.raises(NotBound):
        async with aworkspace_step():
            pass
