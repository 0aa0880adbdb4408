import base64

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig

from langchain_trove import NoThread, TroveToolkit, per_thread
from trove_agents.tools import CATALOG

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
ALL = tuple(CATALOG)


def call(name, id="1", **arguments):
    return {"name": name, "args": arguments, "id": id, "type": "tool_call"}


def tools(*clients, names=ALL, **options):
    return {tool.name: tool for tool in TroveToolkit(*clients, tools=names, **options).get_tools()}


def test_which_tools(client):
    assert [tool.name for tool in TroveToolkit(client).get_tools()] == ["bash"]
    assert list(tools(client)) == [
        "bash",
        "read",
        "write",
        "edit",
        "list",
        "glob",
        "grep",
        "snapshot",
        "restore",
        "diff",
    ]
    with pytest.raises(ValueError, match="no tool 'rm'; there are: bash, read"):
        TroveToolkit(client, tools=["bash", "rm"])


def test_the_tools_do_what_they_say(workspace):
    given = tools(workspace)
    given["write"].invoke({"path": "a.txt", "content": "one\ntwo\n"})
    kept = given["snapshot"].invoke(call("snapshot")).artifact["snapshot_id"]
    given["edit"].invoke({"path": "a.txt", "old": "two", "new": "2"})
    assert given["read"].invoke({"path": "a.txt"}) == "one\n2"
    assert given["diff"].invoke({"since": kept}) == "changed workspace/a.txt (8 -> 6 bytes)"
    assert given["grep"].invoke({"pattern": "2"}) == "workspace/a.txt:2:2"
    assert given["glob"].invoke({"pattern": "*.txt"}) == "workspace/a.txt"
    given["restore"].invoke({"to": kept})
    assert given["list"].invoke({}) == "workspace/a.txt (8 bytes)"
    failed = given["edit"].invoke(call("edit", path="a.txt", old="three", new=""))
    assert (failed.status, failed.content) == (
        "error",
        "the text to replace is not in workspace/a.txt: read the file again",
    )


async def test_the_same_when_async(workspace, async_workspace):
    given = tools(workspace, async_client=async_workspace)
    await given["write"].ainvoke({"path": "a.txt", "content": "one"})
    message = await given["bash"].ainvoke(call("bash", command="cat a.txt; echo x > b"))
    assert message.content == "one"
    assert message.artifact["files_changed"] == [{"path": "workspace/b", "change": "added"}]


def test_images_and_pdfs_are_content_blocks(workspace):
    read = tools(workspace)["read"]
    workspace.upload("a.png", PNG)
    message = read.invoke(call("read", path="a.png"))
    text, image = message.content
    assert text == {"type": "text", "text": "[workspace/a.png, 24 bytes, image/png]"}
    assert image == {"type": "image", "base64": base64.b64encode(PNG).decode(), "mime_type": "image/png"}
    assert message.content_blocks[1]["type"] == "image"
    workspace.upload("d/a.pdf", b"%PDF-1.7\n\0\xff")
    _, file = read.invoke(call("read", path="d/a.pdf")).content
    assert (file["type"], file["mime_type"]) == ("file", "application/pdf")
    assert file["extras"] == {"filename": "a.pdf"}


def test_no_runtime_is_told_to_the_model(workspace):
    bash = tools(workspace)["bash"]
    assert set(bash.args) == {"command", "timeout"}
    assert "runtime" not in str(bash.tool_call_schema)


def run(scripted, toolkit, *turns, thread="t-1", **options):
    agent = create_agent(scripted(*turns, "done"), toolkit.get_tools())
    config = {"configurable": {"thread_id": thread}} if thread is not None else {}
    return agent.invoke({"messages": [("user", "go")]}, config, **options)


def contents(result):
    return [message.content for message in result["messages"] if message.type == "tool"]


# Output as it comes


def deltas(parts):
    return [part["delta"] for part in parts if part["event"] == "tool-output-delta"]


SLOW = [("bash", {"command": "echo one; echo two >&2"})]
TOLD = [{"stream": "stderr", "text": "two\n"}, {"stream": "stdout", "text": "one\n"}]


def test_output_is_streamed(scripted, workspace):
    agent = create_agent(scripted(SLOW, "done"), TroveToolkit(workspace).get_tools())
    parts = list(agent.stream({"messages": [("user", "go")]}, stream_mode="tools"))
    assert sorted(deltas(parts), key=lambda each: each["stream"]) == TOLD
    assert parts[-1]["event"] == "tool-finished"


@pytest.mark.parametrize("native", [True, False], ids=["async client", "sync client"])
async def test_output_is_streamed_when_async(scripted, workspace, async_workspace, native):
    toolkit = TroveToolkit(async_workspace if native else workspace)
    agent = create_agent(scripted(SLOW, "done"), toolkit.get_tools())
    parts = [part async for part in agent.astream({"messages": [("user", "go")]}, stream_mode="tools")]
    assert sorted(deltas(parts), key=lambda each: each["stream"]) == TOLD


# Steps


@pytest.mark.parametrize(
    ("thread", "marked"),
    [("t-1", "t-1"), (7, "7"), (None, None), ("x" * 600, None), ("\0", "c-")],
    ids=["plain", "number", "none", "long", "control"],
)
def test_changes_say_which_thread_and_call_they_are_for(scripted, workspace, thread, marked):
    run(scripted, TroveToolkit(workspace), [("bash", {"command": "echo > a"})], thread=thread)
    step = next(workspace.history("a")).step
    assert step.call.startswith("0")
    if isinstance(thread, str) and len(thread) > 512:
        assert step.thread.startswith("xxx") and len(step.thread) == 128
    elif marked == "c-":
        assert step.thread.startswith("c-")
    else:
        assert step.thread == marked


# Threads


def in_thread(thread):
    return {"configurable": {"thread_id": thread}}


def test_each_thread_has_a_workspace_of_its_own(scripted, trove, namespace):
    toolkit = TroveToolkit(per_thread(trove.client(namespace)))
    write, look = ("bash", {"command": "echo hi > a"}), ("bash", {"command": "ls"})
    first, second = f"{namespace}/first", f"{namespace}/FIRST"
    run(scripted, toolkit, [write], thread=first)
    assert contents(run(scripted, toolkit, [look], thread=second)) == ["(no output)"]
    assert contents(run(scripted, toolkit, [look], thread=first)) == ["a"]
    assert trove.client(namespace).list_dir() == []


async def test_the_same_when_async_natively(trove, namespace):
    async with trove.async_client(namespace) as client:
        [bash] = TroveToolkit(
            per_thread(trove.client(namespace)), async_client=per_thread(client)
        ).get_tools()
        await bash.ainvoke({"command": "echo hi > a"}, in_thread(f"{namespace} 1"))
        assert await bash.ainvoke({"command": "ls"}, in_thread(f"{namespace} 2")) == "(no output)"
        assert bash.invoke({"command": "ls"}, in_thread(f"{namespace} 1")) == "a"


@pytest.mark.parametrize("thread", [None, ""])
def test_without_a_thread_nothing_is_shared(scripted, workspace, thread):
    with pytest.raises(NoThread, match="thread_id"):
        run(scripted, TroveToolkit(per_thread(workspace)), [("bash", {"command": "ls"})], thread=thread)
    [bash] = TroveToolkit(per_thread(workspace)).get_tools()
    with pytest.raises(NoThread):
        bash.invoke({"command": "ls"})


async def test_without_a_thread_when_async(async_workspace):
    [bash] = TroveToolkit(per_thread(async_workspace)).get_tools()
    with pytest.raises(NoThread):
        await bash.ainvoke({"command": "ls"})


async def test_a_function_may_give_either_client(trove, workspace, async_workspace):
    def find(config: RunnableConfig):
        return async_workspace if config["configurable"].get("native") else workspace

    [bash] = TroveToolkit(find).get_tools()
    workspace.write("a", "")
    for native in (True, False):
        assert await bash.ainvoke({"command": "ls"}, {"configurable": {"native": native}}) == "a"
    with pytest.raises(TypeError, match="use ainvoke"):
        bash.invoke({"command": "ls"}, {"configurable": {"native": True}})


def test_a_synchronous_client_is_no_asynchronous_one(workspace):
    with pytest.raises(TypeError, match="async_client is a synchronous client"):
        TroveToolkit(workspace, async_client=workspace)
