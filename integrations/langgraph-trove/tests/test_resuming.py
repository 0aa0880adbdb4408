"""Steps that call graphs with checkpoints of their own: they are undone, and LangGraph goes on inside them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy

from langgraph_trove import UndoneFilesWarning, WorkspaceError, bind, prune, workspace_node
from trove_agents import Trove

from .calling import Calls, calling, plain
from .graphs import Crash, State, agree, astep, bound, config, line, step, text

NEW = {"log": []}


def after_a(node, **options):
    builder = line(step("a"))
    return builder.add_node("call", node, **options).add_edge("a", "call").add_edge("call", END)


def test_after_a_failure(client, saver):
    crashes, done = {"3": 1}, []
    noted = [step(name, crashes, before=lambda _, name=name: done.append(name)) for name in "123"]
    app = bound(after_a(calling(line(*noted))), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    assert text(client) == "a"
    app.invoke(None, config())
    assert done == ["1", "2", "3", "3"]
    assert agree(app, client) == "a123"


def test_after_questions(client, saver):
    app = bound(after_a(calling(line(step("1"), step("2", asks=True), step("3", asks=True)))), saver, client)
    app.invoke(NEW, config())
    assert text(client) == "a"
    app.invoke(Command(resume=1), config())
    assert text(client) == "a"
    app.invoke(Command(resume=1), config())
    assert agree(app, client) == "a123"


async def test_asynchronously(async_client, client, saver):
    crashes = {"2": 1}
    inner = line(astep("1"), astep("2", crashes), astep("3", asks=True)).compile()

    @workspace_node
    async def call(state: State, workspace):
        return {"log": (await inner.ainvoke({"log": []}))["log"]}

    app = bind(line(astep("a")).add_node("call", call).add_edge("a", "call").compile(saver), async_client)
    with pytest.raises(Crash):
        await app.ainvoke(NEW, config())
    await app.ainvoke(None, config())
    assert text(client) == "a"
    await app.ainvoke(Command(resume=1), config())
    assert agree(app, client) == "a123"


def test_what_the_step_itself_changes_is_not_there_twice(client, saver):
    def first(workspace):
        workspace.write("log.txt", text(workspace) + "0")

    inner = line(step("1"), step("2", {"2": 1}))
    app = bound(after_a(calling(inner, first=first, logged=["0"])), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    app.invoke(None, config())
    assert agree(app, client) == "a012"


def test_at_another_attempt(client, saver):
    crashes = {"2": 2}
    inner = calling(line(step("1"), step("2", crashes), step("3")))
    retry = RetryPolicy(max_attempts=3, initial_interval=0.01, retry_on=Crash)
    app = bound(after_a(inner, retry_policy=retry), saver, client)
    app.invoke(NEW, config())
    assert agree(app, client) == "a123"


def test_a_graph_in_a_graph(client, saver):
    crashes = {"2": 1, "3": 1}
    below = calling(line(step("1"), step("2", crashes), step("3", crashes)))
    inner = line(step("0")).add_node("below", below).add_edge("0", "below")
    app = bound(after_a(calling(inner)), saver, client)
    for _ in "23":
        with pytest.raises(Crash):
            app.invoke(None if client.list_dir() else NEW, config())
    app.invoke(None, config())
    assert agree(app, client) == "a0123"


def test_side_by_side_in_files_of_their_own(client, saver):
    """Each builds on files that lack what the other did and lost."""
    builder = StateGraph(State)
    for name in "xy":
        inner = line(plain(f"{name}1"), plain(f"{name}2", asks=True))
        builder.add_node(name, calling(inner)).add_edge(START, name)
    app = bound(builder, saver, client)
    asked = app.invoke(NEW, config())["__interrupt__"]
    assert client.list_dir() == []
    prune(app, "t")
    app.invoke(Command(resume={each.id: 1 for each in asked}), config())
    assert [each.path for each in client.list_dir()] == [
        f"workspace/{name}" for name in ("x1", "x2", "y1", "y2")
    ]


def test_beside_a_step_that_is_done(client, saver):
    builder = StateGraph(State).add_node("x", calling(line(plain("x1"), plain("x2", asks=True))))
    builder.add_edge(START, "x").add_node("b", step("b")).add_edge(START, "b")
    app = bound(builder, saver, client)
    app.invoke(NEW, config())
    app.invoke(Command(resume=1), config())
    assert [each.path for each in client.list_dir()] == [
        f"workspace/{name}" for name in ("log.txt", "x1", "x2")
    ]
    assert text(client) == "b"


def test_side_by_side_in_the_same_file(client, saver):
    builder = StateGraph(State)
    for name in "xy":
        inner = line(step(f"{name}"), step("?", asks=True))
        builder.add_node(f"call {name}", calling(inner)).add_edge(START, f"call {name}")
    app = bound(builder, saver, client)
    asked = app.invoke(NEW, config())["__interrupt__"]
    with pytest.raises(WorkspaceError, match=r"'ref-\w+' has its files"):
        app.invoke(Command(resume={each.id: 1 for each in asked}), config())


def test_a_graph_that_does_not_record_what_it_does(client, saver):
    """As a subagent without the middleware: the files are the step's own."""
    crashes = {"2": 1}

    def add(letter):
        def node(state: State):
            calls.workspace.write(letter, letter)
            if crashes.get(letter):
                crashes[letter] -= 1
                raise Crash(letter)

        return node

    builder = StateGraph(State).add_sequence([("1", add("1")), ("2", add("2"))]).add_edge(START, "1")
    calls = Calls(builder.compile())
    app = bound(after_a(calls.node), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    with pytest.warns(UndoneFilesWarning, match=r"version \d+ .* files: 1, 2\."):
        app.invoke(None, config())


def test_a_graph_that_has_nothing_to_lose(client, saver):
    """What the step itself changes before the call is there again, and the rest was never finished."""
    calls = StateGraph(State).add_node("look", lambda _: {}).add_node("1", step("1", {"1": 1}))
    calls.add_edge(START, "look").add_edge("look", "1")
    app = bound(after_a(calling(calls, first=lambda workspace: workspace.write("own", ""))), saver, client)
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    app.invoke(None, config())  # warns of nothing
    assert agree(app, client) == "a1"


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_after_the_end_of_the_process(tmp_path, durability):
    program = Path(__file__).with_name("dying.py")
    killed = subprocess.run([sys.executable, program, tmp_path, durability], check=False)
    assert killed.returncode == -signal.SIGKILL
    with (
        SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver,
        Trove.local(tmp_path / "state") as trove,
    ):
        client = trove.client("w")
        app = bound(after_a(calling(line(step("1"), step("2"), step("3")))), saver, client)
        app.invoke(None, config())
        assert agree(app, client) == "a123"
