import shlex
from contextlib import nullcontext

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, RetryPolicy

from langgraph_trove import CommandResult, ExecNode, NotBound, WorkspaceState, WriteNode, workspace_node
from trove_agents import TroveClient, TroveServerError
from trove_agents.server.sandbox import probe

from .graphs import State, bound, config, line, step, text

isolated = pytest.mark.skipif(not probe(None, network="none").ok, reason="cannot isolate commands here")


class Checked(WorkspaceState, total=False):
    name: str
    tests: CommandResult
    exec: CommandResult


def graph(node, client, **options):
    builder = StateGraph(Checked).add_node("run", node).add_edge(START, "run").add_edge("run", END)
    return bound(builder, InMemorySaver(), client, **options)


@isolated
@pytest.mark.sandbox
def test_a_command_is_made_from_the_state_and_its_result_is_an_update(client):
    command = lambda state: f"echo hi > {shlex.quote(state['name'])}; exit 3"
    app = graph(ExecNode(command, key="tests", timeout=20), client)
    found = app.invoke({"name": "a b"}, config())["tests"]
    assert (found["exit_code"], found["command"]) == (3, "echo hi > 'a b'; exit 3")
    assert client.read_text("a b", at=app.get_state(config()).values["workspace"]["reference"]) == "hi\n"


@isolated
@pytest.mark.sandbox
async def test_a_command_for_asyncio(client, async_client):
    for options in ({}, {"async_client": async_client}):
        app = graph(ExecNode("echo hi"), client, **options)
        assert (await app.ainvoke({}, config()))["exec"]["stdout"] == "hi\n"


def test_a_file(client):
    app = graph(WriteNode(lambda state: f"{state['name']}.txt", "hi"), client)
    assert set(app.invoke({"name": "a"}, config())) == {"name", "workspace"}
    assert client.read_text("a.txt") == "hi"


def test_a_node_gets_what_langgraph_gives_and_keeps_its_name(client):
    seen = {}

    @workspace_node
    def look(state: State, workspace: TroveClient, config: RunnableConfig, *, runtime: Runtime):
        seen.update(name=config["metadata"]["langgraph_node"], attempt=runtime.execution_info.node_attempt)
        seen.update(namespace=workspace.namespace)

    builder = StateGraph(State).add_node(look).add_edge(START, "look")
    bound(builder, InMemorySaver(), client).invoke({"log": []}, config())
    assert seen == {"name": "look", "attempt": 1, "namespace": client.namespace}


def test_history_says_which_step_changed_a_file(client):
    app = bound(line(step("a")), InMemorySaver(), client)
    app.invoke({"log": []}, config("täg 1"))
    [made, *_] = client.history("log.txt")
    assert (made.step.step, made.step.thread[:6]) == ("a", "t-g-1~")
    assert made.step.run.startswith("langgraph-")


def test_a_function_needs_a_parameter_for_the_client():
    with pytest.raises(TypeError, match="takes no 'workspace'"):
        workspace_node(lambda state: None)


def test_a_node_needs_a_bound_graph(client):
    app = line(step("a")).compile()
    with pytest.raises(NotBound, match="bind"):
        app.invoke({"log": []})
    with pytest.raises(NotBound, match="bind"):
        step("a")({})


def test_a_command_to_the_graph_above_takes_the_reference_along(client):
    @workspace_node
    def leave(state: State, workspace):
        workspace.write("log.txt", text(workspace) + "l")
        return Command(graph=Command.PARENT, update={"log": ["l"]}, goto="after")

    inner = StateGraph(State).add_node("leave", leave).add_edge(START, "leave").compile()
    builder = StateGraph(State).add_node("inner", inner).add_node("after", step("z")).add_edge(START, "inner")
    app = bound(builder, InMemorySaver(), client)
    app.invoke({"log": []}, config())
    before = next(state for state in app.get_state_history(config()) if state.next == ("after",))
    assert before.values["log"] == ["l"]
    assert text(client, at=before.values["workspace"]["reference"]) == "l"


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_edge_that_fails_fails_the_step(client, attempts):
    """What a step did is undone when the step fails after it, as in a function that chooses the next one."""
    fails = [True]

    def choose(state):
        if fails:
            fails.pop()
            raise TroveServerError("broken")
        return END

    policy = RetryPolicy(max_attempts=attempts, initial_interval=0.001, retry_on=TroveServerError)
    builder = StateGraph(State).add_node("a", step("a"), retry_policy=policy).add_edge(START, "a")
    builder.add_conditional_edges("a", choose, [END])
    app = bound(builder, InMemorySaver(), client)
    with pytest.raises(TroveServerError) if attempts == 1 else nullcontext():
        app.invoke({"log": []}, config())
    app.invoke(None, config())
    assert (text(client), app.get_state(config()).values["log"]) == ("a", ["a"])


def test_events_say_which_files_changed(client):
    app = bound(line(step("a"), step("b")), InMemorySaver(), client)
    events = list(app.stream({"log": []}, config(), stream_mode="custom"))
    assert [(each["type"], each["node"], each["files"]) for each in events] == [
        ("files changed", "a", [{"path": "workspace/log.txt", "change": "added"}]),
        ("files changed", "b", [{"path": "workspace/log.txt", "change": "changed"}]),
    ]
    assert events[1]["reference"] == app.get_state(config()).values["workspace"]["reference"]
