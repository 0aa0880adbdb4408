import pytest
from pydantic_ai import Agent, ModelMessagesTypeAdapter, models
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai_trove import bash_toolset
from trove_agents import TroveAuthError, TroveConnectionError

GOOD = {"exit_code": 0, "stdout": "hi\n"}

models.ALLOW_MODEL_REQUESTS = False


def agent(client, *turns, **options):
    """An agent whose model sends the calls of each turn, then says done; its turn follows from the messages."""

    def answer(messages, info):
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        if turn == len(turns):
            return ModelResponse([TextPart("done")])
        calls = [
            ToolCallPart("bash", {"command": command} if isinstance(command, str) else command, f"{turn}-{n}")
            for n, command in enumerate(turns[turn])
        ]
        return ModelResponse(calls)

    return Agent(FunctionModel(answer), toolsets=[bash_toolset(client, **options)])


def returns(result):
    return [
        part
        for message in result.all_messages()
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


async def test_a_command(client, server):
    server.answers["x"] = GOOD
    result = await agent(client, ["x"]).run("go")
    [part] = returns(result)
    assert (part.content, part.outcome, result.output) == ("hi", "success", "done")
    assert part.metadata == {"exit_code": 0, "stdout": "hi\n", "stderr": "", "duration_ms": 1}


async def test_async(async_client, async_server):
    async_server.answers["x"] = {"exit_code": 3, "stderr": "no"}
    [part] = returns(await agent(async_client, ["x"]).run("go"))
    assert (part.content, part.outcome) == ("[exit 3]\nno", "success")


async def test_commands_of_one_response_run_in_order(async_client, async_server):
    commands = [str(n) for n in range(8)]
    async_server.answers = dict.fromkeys(commands, GOOD)
    await agent(async_client, commands).run("go")
    assert async_server.commands == commands


async def test_histories_can_be_stored(client, server):
    server.answers["x"] = GOOD
    history = (await agent(client, ["x"]).run("go")).all_messages()
    assert ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(history)) == history


async def test_long_output_is_cut(client, server):
    server.answers["x"] = {"exit_code": 0, "stdout": "line\n" * 10_000}
    [part] = returns(await agent(client, ["x"], max_characters=1_000).run("go"))
    assert len(part.content) < 1_300


async def test_arguments_that_can_be_fixed_are_retried(client, server):
    server.answers |= {"": (422, {"detail": "the command is empty"}), "x": GOOD}
    result = await agent(client, [""], ["x"]).run("go")
    first, second = returns(result)
    assert (first.outcome, second.content) == ("retried", "hi")
    assert "the command is empty" in first.model_response_str()


async def test_the_retry_budget_holds(client, server):
    server.answers[""] = 422, {"detail": "the command is empty"}
    with pytest.raises(UnexpectedModelBehavior, match="retries"):
        await agent(client, [""], [""], [""]).run("go")


async def test_wrong_arguments_are_retried(client, server):
    server.answers["x"] = GOOD
    first, _ = returns(await agent(client, [{"cmd": "x"}], ["x"]).run("go"))
    assert "no argument 'cmd'" in first.model_response_str()
    assert server.commands == ["x"]


@pytest.mark.parametrize("status", [408, 409, 503])
async def test_what_the_model_must_adapt_to_is_a_failed_result(client, server, status):
    server.answers["x"] = status, {"detail": "the reason"}
    result = await agent(client, ["x"], ["x"], ["x"]).run("go")
    assert [part.outcome for part in returns(result)] == ["failed"] * 3
    assert returns(result)[0].content.startswith("the reason")


async def test_operators_errors_end_the_run(client, server):
    server.answers["x"] = 401, {"detail": "revoked"}
    with pytest.raises(TroveAuthError):
        await agent(client, ["x"]).run("go")


async def test_lost_connections_end_the_run(client, server):
    server.failure = TroveConnectionError("refused")
    with pytest.raises(TroveConnectionError):
        await agent(client, ["x"]).run("go")


async def test_what_the_model_is_told(client):
    seen = []

    def answer(messages, info):
        seen.extend(info.function_tools)
        return ModelResponse([TextPart("done")])

    await Agent(FunctionModel(answer), toolsets=[bash_toolset(client, id="trove")]).run("go")
    [tool] = seen
    assert (tool.name, tool.sequential) == ("bash", True)
    assert tool.parameters_json_schema["required"] == ["command"]
    assert bash_toolset(client, id="trove").id == "trove"
