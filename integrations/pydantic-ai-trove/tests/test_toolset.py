import base64

import pytest
from pydantic_ai import Agent, BinaryContent, ModelMessagesTypeAdapter
from pydantic_ai.exceptions import UnexpectedModelBehavior, UserError
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.workspaces import LocalWorkspaceBackend, ReadOnlyWorkspace, Workspace

from pydantic_ai_trove import TroveToolset, TroveWorkspaceBackend
from trove_agents import TroveAuthError, TroveConnectionError
from trove_agents.tools import CATALOG

from .histories import returns

GOOD = {"exit_code": 0, "stdout": "hi\n"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


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

    return Agent(FunctionModel(answer), toolsets=[TroveToolset(client, **options)])


async def test_a_command(client, server):
    server.answers["x"] = GOOD
    result = await agent(client, ["x"]).run("go")
    [part] = returns(result)
    assert (part.content, part.outcome, result.output) == ("hi", "success", "done")
    assert part.metadata["exit_code"] == 0 and part.metadata["duration_ms"] == 1


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


async def test_long_output_is_cut(trove, namespace):
    client = trove.async_client(namespace)
    [part] = returns(await agent(client, ["seq 10000"], max_characters=1_000).run("go"))
    assert len(part.content) < 1_300 and part.metadata["truncated"]


async def test_what_the_program_is_told_of_a_command(trove, namespace):
    client = trove.async_client(namespace)
    await client.write("gone", "")
    [part] = returns(await agent(client, ["seq 10000; rm gone; touch a b"], max_characters=1_000).run("go"))
    told = part.metadata
    assert (told["exit_code"], told["truncated"], told["duration_ms"] >= 0) == (0, True, True)
    assert told["files_changed"] == [
        {"path": "workspace/a", "change": "added"},
        {"path": "workspace/b", "change": "added"},
        {"path": "workspace/gone", "change": "removed"},
    ]
    assert "stdout" not in told and told["output_path"] in part.content
    assert await client.read_text(told["output_path"]) == "".join(f"{n}\n" for n in range(1, 10_001))


async def test_each_server_is_asked_what_it_has(trove, namespace, async_client, async_server, scripted):
    """One toolset in the workspaces of two: the second knows neither steps nor differences."""
    async_server.answers["touch a"] = GOOD
    mine = Agent(scripted([("bash", {"command": "touch a"})]), toolsets=[TroveToolset()])
    backends = [TroveWorkspaceBackend(trove, namespace=namespace), TroveWorkspaceBackend(async_client)]
    changed = []
    for backend in backends:
        [part] = returns(await mine.run("go", workspace=backend))
        changed.append(part.metadata.get("files_changed"))
    assert changed == [[{"path": "workspace/a", "change": "added"}], None]
    assert async_server.commands == ["touch a"]


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


def test_tools_are_chosen_by_name(client):
    assert list(TroveToolset(client, id="trove").tools) == ["bash"]
    assert list(TroveToolset(client, tools=CATALOG).tools) == list(CATALOG)
    assert TroveToolset(client, id="trove").id == "trove"
    with pytest.raises(ValueError, match="no tool 'rm'; there are: bash"):
        TroveToolset(client, tools=["rm"])


async def test_what_the_model_is_told(client, scripted):
    seen = []
    await Agent(scripted(seen=seen), toolsets=[TroveToolset(client, tools=["bash", "read"])]).run("go")
    bash, read = seen[0][1].function_tools
    assert (bash.name, bash.sequential, read.sequential) == ("bash", True, False)
    assert bash.parameters_json_schema["required"] == ["command"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_whole_catalogue(trove, namespace, scripted, asynchronous):
    client = trove.async_client(namespace) if asynchronous else trove.client(namespace)
    turns = [
        [("snapshot", {"label": "empty"})],
        [("write", {"path": "a.txt", "content": "one\ntwo\n"}), ("read", {"path": "a.txt"})],
        [("edit", {"path": "a.txt", "old": "two", "new": "three"}), ("grep", {"pattern": "three"})],
        [("list", {}), ("glob", {"pattern": "*.txt"})],
        [("bash", {"command": "wc -l < a.txt"})],
    ]
    found = returns(await Agent(scripted(*turns), toolsets=[TroveToolset(client, tools=CATALOG)]).run("go"))
    assert [part.outcome for part in found] == ["success"] * 8
    assert "one\ntwo" in found[2].content and "a.txt" in found[4].content and found[7].content == "2"
    assert trove.client(namespace).read_text("a.txt") == "one\nthree\n"


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [("dot.png", PIXEL, "image/png"), ("page.pdf", b"%PDF-1.4\n%\xe2\xe3\n%%EOF\n", "application/pdf")],
)
async def test_images_and_documents_are_shown(trove, namespace, scripted, name, data, kind):
    trove.client(namespace).upload(name, data)
    toolset = TroveToolset(trove.async_client(namespace), tools=["read"])
    result = await Agent(scripted([("read", {"path": name})]), toolsets=[toolset]).run("go")
    [part] = returns(result)
    text, shown = part.content
    assert isinstance(text, str) and isinstance(shown, BinaryContent)
    assert (shown.data, shown.media_type) == (data, kind)
    history = result.all_messages()
    assert ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(history)) == history


async def test_changes_say_which_call_made_them(trove, namespace, scripted):
    writing = [("write", {"path": "a", "content": ""})]
    for client in (trove.client(namespace), trove.async_client(namespace)):
        result = await Agent(scripted(writing), toolsets=[TroveToolset(client, tools=["write"])]).run(
            "go", conversation_id="Größe\n" * 99
        )
        step = next(trove.client(namespace).history("a")).step
        assert (step.run, step.step, step.call) == (result.run_id, "1", "0-0")
        assert step.thread.startswith("Gr-e-")
        trove.client(namespace).delete("a")


async def test_the_workspace_of_the_run(trove, namespace, scripted):
    mine = Agent(
        scripted([("write", {"path": "a", "content": "1"})]), toolsets=[TroveToolset(tools=["write"])]
    )
    await mine.run("go", workspace=TroveWorkspaceBackend(trove, namespace=namespace))
    assert trove.client(namespace).read_text("a") == "1"


async def test_a_run_that_may_only_read(trove, namespace, scripted):
    seen = []
    mine = Agent(scripted(seen=seen), toolsets=[TroveToolset(tools=CATALOG)])
    backend = TroveWorkspaceBackend(trove, namespace=namespace)
    await mine.run("go", workspace=ReadOnlyWorkspace(Workspace(backend)))
    assert {tool.name for tool in seen[0][1].function_tools} == {
        "read",
        "list",
        "glob",
        "grep",
        "diff",
        "snapshot",
    }


async def test_the_workspace_of_another_provider(scripted, tmp_path):
    mine = Agent(scripted([("bash", {"command": "true"})]), toolsets=[TroveToolset()])
    with pytest.raises(UserError, match="TroveWorkspace"):
        await mine.run("go", workspace=LocalWorkspaceBackend(tmp_path))
