import pytest
from langchain.agents import create_agent
from langchain_core.tools import ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_trove import TroveToolkit
from trove_agents import TroveAuthError, TroveConnectionError

GOOD = {"exit_code": 0, "stdout": "hi\n"}


def call(command="x", id="1"):
    return {"name": "bash", "args": {"command": command}, "id": id, "type": "tool_call"}


def bash(*clients, **options):
    [tool] = TroveToolkit(*clients, **options).get_tools()
    return tool


def test_sync_with_artifact(client, server):
    server.answers["x"] = GOOD
    message = bash(client).invoke(call())
    assert (message.content, message.status, message.tool_call_id) == ("hi", "success", "1")
    assert message.artifact == {"exit_code": 0, "stdout": "hi\n", "stderr": "", "duration_ms": 1}


async def test_async_uses_the_async_client(client, async_client, server, async_server):
    async_server.answers["x"] = GOOD
    message = await bash(client, async_client=async_client).ainvoke(call())
    assert (message.content, message.artifact["exit_code"]) == ("hi", 0)
    assert server.commands == []


async def test_async_with_a_sync_client(client, server):
    server.answers["x"] = GOOD
    assert (await bash(client).ainvoke(call())).content == "hi"


async def test_an_async_client_alone(async_client, async_server):
    async_server.answers["x"] = GOOD
    tool = bash(async_client)
    assert (await tool.ainvoke({"command": "x"})) == "hi"
    with pytest.raises(TypeError, match="use ainvoke"):
        tool.invoke({"command": "x"})


def test_a_failing_command_is_a_result(client, server):
    server.answers["x"] = {"exit_code": 2, "stderr": "no\n", "stdout": "half\n"}
    message = bash(client).invoke(call())
    assert (message.content, message.status, message.artifact["exit_code"]) == (
        "[exit 2]\nno\nhalf",
        "success",
        2,
    )


def test_long_output_is_cut_for_the_model_and_kept_in_a_file(workspace):
    message = bash(workspace, max_characters=1_000).invoke(call("yes line | head -n 10000"))
    assert len(message.content) < 1_300
    path = message.artifact["output_path"]
    assert f"all of it is in {path}]" in message.content
    assert workspace.read_text(path) == "line\n" * 10_000
    assert message.artifact["truncated"]
    assert len(str(message.artifact)) < 1_000  # it is stored with every checkpoint


@pytest.mark.parametrize("status", [408, 409, 413, 422, 503])
def test_what_the_model_can_act_on_becomes_a_message(client, server, status):
    server.answers["x"] = status, {"detail": "the reason"}
    message = bash(client).invoke(call())
    assert message.status == "error"
    assert message.content.startswith("the reason")


async def test_the_same_when_async(async_client, async_server):
    async_server.answers["x"] = 408, {"detail": "stopped after 30 s"}
    message = await bash(async_client).ainvoke(call())
    assert (message.status, message.content) == ("error", "stopped after 30 s")


def test_handling_can_be_left_to_the_caller(client, server):
    server.answers["x"] = 408, {"detail": "stopped after 30 s"}
    tool = bash(client)
    tool.handle_tool_error = False
    with pytest.raises(ToolException, match="stopped"):
        tool.invoke(call())


@pytest.mark.parametrize("status", [401, 403, 500])
def test_operators_errors_end_the_run(client, server, status):
    server.answers["x"] = status, {"detail": "no"}
    with pytest.raises(Exception, match="no") as caught:
        bash(client).invoke(call())
    assert not isinstance(caught.value, ToolException)


async def test_lost_connections_end_the_run(client, async_client, server, async_server):
    server.failure = async_server.failure = TroveConnectionError("refused")
    with pytest.raises(TroveConnectionError):
        bash(client).invoke(call())
    with pytest.raises(TroveConnectionError):
        await bash(async_client).ainvoke(call())


def test_wrong_arguments_come_back_to_the_model(client, server):
    message = bash(client).invoke({"name": "bash", "args": {"cmd": "x"}, "id": "1", "type": "tool_call"})
    assert (message.status, message.content) == (
        "error",
        "bash has no argument 'cmd'; it takes: command, timeout",
    )
    assert server.commands == []


def test_what_providers_are_sent(client):
    function = convert_to_openai_tool(bash(client))["function"]
    assert function["name"] == "bash"
    assert function["description"].startswith("Run a bash command")
    assert function["parameters"]["required"] == ["command"]
    assert function["parameters"]["properties"]["command"]["type"] == "string"


def test_keys_are_not_shown(client):
    tool = bash(client)
    assert "Bearer" not in repr(tool)
    assert "client" not in tool.model_dump(exclude={"args_schema"})


def test_clients_are_checked(client, async_client):
    with pytest.raises(TypeError, match="a TroveClient is needed"):
        TroveToolkit()
    with pytest.raises(TypeError, match="which one"):
        TroveToolkit(async_client, async_client=async_client)


def agent(scripted, *clients, commands):
    turns = [[("bash", {"command": command})] for command in commands]
    return create_agent(scripted(*turns, "done"), TroveToolkit(*clients).get_tools())


def test_in_an_agent(scripted, client, server):
    server.answers |= {"x": GOOD, "y": (422, {"detail": "empty"})}
    messages = agent(scripted, client, commands="xy").invoke({"messages": [("user", "go")]})["messages"]
    results = [(message.content, message.status) for message in messages if message.type == "tool"]
    assert results == [("hi", "success"), ("empty", "error")]
    assert messages[-1].content == "done"


async def test_in_an_async_agent(scripted, async_client, async_server):
    async_server.answers["x"] = GOOD
    result = await agent(scripted, async_client, commands="x").ainvoke({"messages": [("user", "go")]})
    assert [message.content for message in result["messages"]] == ["go", "", "hi", "done"]


def test_operators_errors_stop_the_agent(scripted, client, server):
    server.answers["x"] = 401, {"detail": "revoked"}
    with pytest.raises(TroveAuthError, match="revoked"):
        agent(scripted, client, commands="x").invoke({"messages": [("user", "go")]})
