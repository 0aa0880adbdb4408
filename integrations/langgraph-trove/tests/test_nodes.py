import shlex
from typing import NotRequired

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy
from langgraph_trove import CommandResult, exec_node
from trove_agents import TroveServerError
from typing_extensions import TypedDict

GOOD = {"exit_code": 0, "stdout": "hi\n"}
RESULT = {"command": "x", "exit_code": 0, "stdout": "hi\n", "stderr": "", "duration_ms": 1}


class State(TypedDict):
    file: NotRequired[str]
    exec: NotRequired[CommandResult]
    tests: NotRequired[CommandResult]


def graph(node, **options):
    builder = StateGraph(State).add_node("run", node, **options)
    return builder.add_edge(START, "run").add_edge("run", END).compile(checkpointer=InMemorySaver())


def config(thread="t"):
    return {"configurable": {"thread_id": thread}}


def test_the_result_is_a_state_update(client, server):
    server.answers["x"] = GOOD
    app = graph(exec_node(client, command="x"))
    assert app.invoke({}, config())["exec"] == RESULT
    assert app.get_state(config()).values["exec"] == RESULT


def test_the_command_is_made_from_the_state(client, server):
    server.answers["cat 'a b'"] = {"exit_code": 1, "stderr": "no such file\n"}
    node = exec_node(client, command=lambda state: "cat " + shlex.quote(state["file"]), key="tests")
    state = graph(node).invoke({"file": "a b"}, config())
    assert (state["tests"]["exit_code"], state["tests"]["stderr"]) == (1, "no such file\n")
    assert "exec" not in state


async def test_async(client, async_client, server, async_server):
    async_server.answers["x"] = GOOD
    for node in (
        exec_node(async_client, command="x"),
        exec_node(client, command="x", async_client=async_client),
    ):
        assert (await graph(node).ainvoke({}, config()))["exec"] == RESULT
    assert (server.commands, async_server.commands) == ([], ["x", "x"])


async def test_async_with_a_sync_client(client, server):
    server.answers["x"] = GOOD
    assert (await graph(exec_node(client, command="x")).ainvoke({}, config()))["exec"] == RESULT


def test_an_async_client_alone_cannot_run_synchronously(async_client):
    with pytest.raises(TypeError, match="use ainvoke"):
        graph(exec_node(async_client, command="x")).invoke({}, config())
    with pytest.raises(TypeError, match="which one"):
        exec_node(async_client, command="x", async_client=async_client)


def test_edges_decide_by_exit_code(client, server):
    server.answers |= {"make test": {"exit_code": 2}, "make clean": GOOD}
    builder = StateGraph(State)
    builder.add_node("test", exec_node(client, command="make test", key="tests"))
    builder.add_node("clean", exec_node(client, command="make clean"))
    builder.add_edge(START, "test").add_edge("clean", END)
    builder.add_conditional_edges(
        "test", lambda state: "clean" if state["tests"]["exit_code"] else END, ["clean", END]
    )
    state = builder.compile().invoke({})
    assert (server.commands, state["exec"]["exit_code"]) == (["make test", "make clean"], 0)


def test_refusals_are_left_to_the_retry_policy(client, server):
    answers = iter([(503, {"detail": "busy"}), GOOD])
    server.answers = type("Answers", (), {"__getitem__": lambda self, command: next(answers)})()
    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=lambda e: e.recovery == "retry")
    app = graph(exec_node(client, command="x"), retry_policy=policy)
    assert app.invoke({}, config())["exec"] == RESULT
    assert server.commands == ["x", "x"]


def test_other_refusals_end_the_run(client, server):
    server.answers["x"] = 500, {"detail": "broken"}
    with pytest.raises(TroveServerError, match="broken"):
        graph(exec_node(client, command="x")).invoke({}, config())
