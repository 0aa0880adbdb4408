import asyncio
import warnings
from contextlib import nullcontext

import pytest

pytest.importorskip("deepagents", reason="in an environment of its own: make deepagents")

from deepagents import create_deep_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from langchain_trove import NoThread, WorkspaceMiddleware, per_thread
from langchain_trove.sandbox import TroveSandbox
from langgraph_trove import ForeignChangeWarning, UndoneFilesWarning, bind, files_at, workspace_of
from trove_agents import TroveAuthError, TroveClient
from trove_agents.client.transport import Reply

pytestmark = pytest.mark.sandbox


@pytest.fixture
def client(isolated, namespace):
    return isolated.client(namespace)


@pytest.fixture
def sandbox(client):
    return TroveSandbox(client)


def test_what_is_written_is_there_for_commands_and_the_other_way_round(sandbox, client):
    assert sandbox.write("/workspace/d/a.txt", "one\n").path == "/workspace/d/a.txt"
    result = sandbox.execute("cat d/a.txt /workspace/d/a.txt; echo oops >&2; echo two > b.txt; exit 3")
    assert (result.output, result.exit_code, result.truncated) == ("one\none\noops\n", 3, False)
    assert sandbox.read("/workspace/b.txt").file_data["content"] == "two"
    assert [entry["path"] for entry in sandbox.ls("/workspace").entries] == [
        "/workspace/d",
        "/workspace/b.txt",
    ]
    assert sandbox.delete("/workspace/d").error is None
    assert [each.path for each in client.list_dir()] == ["workspace/b.txt"]
    assert sandbox.delete("/workspace/d").error == "Error: '/workspace/d' not found"


def test_commands_that_take_too_long(client):
    result = TroveSandbox(client).execute("echo 1 > a; sleep 30", timeout=1)
    assert result.exit_code == 124
    assert "1" in result.output
    assert client.read("a") == "1\n"
    assert TroveSandbox(client, timeout=1).execute("sleep 30", timeout=0).exit_code == 124


# Places


def test_nothing_is_kept_elsewhere(sandbox, client):
    for path in ("/etc/passwd", "/a.txt", "/workspace/../a.txt", "/workspacex/a"):
        assert sandbox.write(path, "x").error == f"Failed to write file '{path}': permission_denied"
        assert "Permission denied" in sandbox.edit(path, "a", "b").error
        assert "only what is below /workspace" in sandbox.delete(path).error
    assert sandbox.download_files(["/etc/passwd"])[0].error == "permission_denied"
    assert client.list_dir() == []


def test_what_commands_see_of_the_system_can_be_looked_at(sandbox):
    assert "workspace" in {entry["path"].strip("/") for entry in sandbox.ls("/").entries}
    assert "/bin/bash" in sandbox.read("/etc/passwd").file_data["content"]
    assert sandbox.read("/nowhere").error == "File '/nowhere': file_not_found"


def test_what_deep_agents_keeps_for_itself_is_found_under_both_names(sandbox, client):
    path = "/large_tool_results/call_1"
    sandbox.write(path, "needle\n")
    assert client.read("workspace/.trove/deepagents/large_tool_results/call_1") == "needle\n"
    assert sandbox.read(path).file_data["content"] == "needle"
    [match] = sandbox.grep("needle", "/large_tool_results").matches
    assert match["path"] == "/workspace/.trove/deepagents/large_tool_results/call_1"
    assert sandbox.read(match["path"]).file_data["content"] == "needle"
    assert len(sandbox.glob("*", "/large_tool_results").matches) == 1


# Reading


def test_all_of_a_directory_is_listed(sandbox):
    sandbox.execute("mkdir d; cd d; seq 1500 | xargs touch")
    assert len(sandbox.ls("/workspace/d").entries) == 1_500


def test_windows_of_a_text(sandbox):
    sandbox.write("/workspace/a.txt", "1\r\n2\n3")
    read = sandbox.read("/workspace/a.txt", 1, 1)
    assert (
        read.file_data["content"],
        read.start_line,
        read.end_line,
        read.next_offset,
        read.total_lines,
    ) == (
        "2",
        2,
        2,
        2,
        3,
    )
    assert sandbox.read("/workspace/a.txt", -5, 1).file_data["content"] == "1"
    assert sandbox.read("/workspace/a.txt", 2, 9).next_offset is None
    assert sandbox.read("/workspace/a.txt", 0, 0).no_lines_requested
    assert "exceeds file length (3 lines)" in sandbox.read("/workspace/a.txt", 3).error


def test_a_text_past_what_the_server_reads_at_once(sandbox):
    sandbox.upload_files([("/workspace/a.txt", b"".join(b"%07d\n" % n for n in range(300_000)))])
    early = sandbox.read("/workspace/a.txt", 10, 2)
    assert (early.file_data["content"], early.total_lines, early.next_offset) == (
        "0000010\n0000011",
        None,
        12,
    )
    late = sandbox.read("/workspace/a.txt", 299_998, 5)
    assert (late.file_data["content"], late.total_lines, late.next_offset) == (
        "0299998\n0299999",
        300_000,
        None,
    )


def test_more_than_one_result_holds(sandbox):
    sandbox.write("/workspace/a.txt", ("x" * 99 + "\n") * 6_000 + "y" * 600_000)
    first = sandbox.read("/workspace/a.txt", 0, 9_999)
    assert "Output was truncated" in first.file_data["content"]
    assert 5_000 < first.next_offset < 5_200
    assert sandbox.read("/workspace/a.txt", first.next_offset, 1).file_data["content"] == "x" * 99
    last = sandbox.read("/workspace/a.txt", 6_000, 1)  # one line that is too long on its own
    assert (last.start_line, last.end_line) == (6_001, 6_001)
    assert len(last.file_data["content"]) <= 500 * 1024


def test_pdfs_are_never_text(sandbox):
    sandbox.write("/workspace/a.pdf", "%PDF-1.7\n")
    assert sandbox.read("/workspace/a.pdf").file_data["encoding"] == "base64"


# Edits


def test_edits_keep_the_ends_of_lines(sandbox, client):
    client.write("a.txt", "one\r\ntwo\r\n")
    assert sandbox.edit("/workspace/a.txt", "one\ntwo", "1\n2").occurrences == 1
    assert client.read("a.txt") == "1\r\n2\r\n"
    client.write("a.txt", "one\ntwo\n")
    assert sandbox.edit("/workspace/a.txt", "one\r\ntwo", "1\r\n2").occurrences == 1
    assert client.read("a.txt") == "1\n2\n"


def test_edits_of_large_files(sandbox, client):
    client.upload("a.txt", b"x" * 2_000_000 + b"end")
    assert sandbox.edit("/workspace/a.txt", "end", "END").occurrences == 1
    assert client.read_bytes("a.txt").endswith(b"xEND")
    client.upload("a.txt", b"x" * 2_000_000 + b"\xff")
    assert "is binary" in sandbox.edit("/workspace/a.txt", "x", "y", replace_all=True).error
    assert client.read_bytes("a.txt").endswith(b"x\xff")
    assert sandbox.read("/workspace/a.txt", 0, 2).file_data["content"].startswith("xxx")


def test_edits_that_cannot_be(sandbox, client):
    client.upload("a.bin", b"\0\xff")
    assert "is binary" in sandbox.edit("/workspace/a.bin", "a", "b").error
    assert "lone surrogate" in sandbox.write("/workspace/a.txt", "\ud800").error
    assert sandbox.edit("/workspace/none", "a", "b").error == "Error: File '/workspace/none' not found"
    assert "cannot be empty" in sandbox.edit("/workspace/a.bin", "", "b").error


async def test_edits_at_the_same_time_are_all_kept(isolated, client):
    client.write("a.txt", "".join(f"<{n}>" for n in range(8)))
    async with isolated.async_client(client.namespace) as async_client:
        sandbox = TroveSandbox(client, async_client=async_client)
        await asyncio.gather(*(sandbox.aedit("/workspace/a.txt", f"<{n}>", f"[{n}]") for n in range(4)))
    await asyncio.gather(
        *(TroveSandbox(client).aedit("/workspace/a.txt", f"<{n}>", f"[{n}]") for n in range(4, 8))
    )
    assert client.read("a.txt") == "".join(f"[{n}]" for n in range(8))


# Whose


async def test_everything_is_there_for_asyncio_natively(isolated, namespace):
    async with isolated.async_client(namespace) as client:
        sandbox = TroveSandbox(client)
        await sandbox.awrite("/workspace/a.txt", "one")
        await sandbox.aedit("/workspace/a.txt", "one", "two")
        assert (await sandbox.aread("/workspace/a.txt")).file_data["content"] == "two"
        assert (await sandbox.aexecute("cat a.txt")).output == "two"
        assert [each["path"] for each in (await sandbox.als("/workspace")).entries] == ["/workspace/a.txt"]
        assert [each["path"] for each in (await sandbox.agrep("two")).matches] == ["/workspace/a.txt"]
        assert [each["path"] for each in (await sandbox.aglob("*.txt")).matches] == ["/workspace/a.txt"]
        assert (await sandbox.adownload_files(["/workspace/a.txt"]))[0].content == b"two"
        assert (await sandbox.adelete("/workspace/a.txt")).error is None
        with pytest.raises(TypeError, match="use ainvoke"):
            sandbox.read("/workspace/a.txt")
        assert sandbox.id == f"trove-{namespace}"


async def test_all_of_a_directory_is_listed_for_asyncio(isolated, namespace):
    async with isolated.async_client(namespace) as client:
        sandbox = TroveSandbox(client)
        await sandbox.aexecute("mkdir d; cd d; seq 1200 | xargs touch")
        assert len((await sandbox.als("/workspace/d")).entries) == 1_200


def test_what_the_model_can_act_on_is_a_result(sandbox, client):
    client.write("a.txt", "x")
    with client.lease(holder="somebody"):
        refused = sandbox.execute("echo hi")
        assert (refused.exit_code, "Try again" in refused.output) == (None, True)
        for result in (
            sandbox.write("/workspace/a.txt", "y"),
            sandbox.edit("/workspace/a.txt", "x", "y"),
            sandbox.delete("/workspace/a.txt"),
        ):
            assert "Try again" in result.error
    assert sandbox.write("/workspace/a.txt/b", "y").error.endswith("is_directory")
    assert sandbox.read("/workspace").error == "File '/workspace': invalid_path"
    assert sandbox.download_files(["/workspace/"])[0].error == "invalid_path"
    assert client.read("a.txt") == "x"


class PublicServer:
    """One that has nothing beyond the public API: it knows one directory and one file."""

    retries = False

    def send(self, request):
        if request.path == "/v1/me":
            return Reply(404, {}, b"{}")
        answers = {
            "/v1/files": b'{"entries": [], "truncated": true, "path": "workspace"}',
            "/v1/files/content": b'{"path": "workspace/a", "size_bytes": 3, "modified_at": "", "encoding": "utf-8", "content": "one"}',
            "/write": b'{"path": "workspace/a", "size_bytes": 3}',
            "/files/a": b"one",
        }
        return Reply(200, {}, answers[request.path])

    def stream(self, request):
        raise NotImplementedError

    def close(self):
        pass


def test_a_server_of_the_public_calls_alone_will_do():
    sandbox = TroveSandbox(TroveClient("key", "n", transport=PublicServer()))
    assert sandbox.download_files(["/workspace/a"])[0].content == b"one"
    assert sandbox.edit("/workspace/a", "one", "two").occurrences == 1
    assert sandbox.ls("/workspace").entries == []


def agent(scripted, backend, *turns):
    return create_deep_agent(scripted(*turns, "done"), backend=backend)


def go(made, thread="t"):
    messages = made.invoke({"messages": [("user", "go")]}, {"configurable": {"thread_id": thread}})[
        "messages"
    ]
    return [message for message in messages if message.type == "tool"]


def test_a_deep_agent_works_in_it(scripted, sandbox, client):
    turns = (
        [("write_file", {"file_path": "/workspace/a.py", "content": "print(1 + 1)\n"})],
        [("edit_file", {"file_path": "/workspace/a.py", "old_string": "1 + 1", "new_string": "2 + 2"})],
        [("execute", {"command": "python3 a.py; exit 1"})],
        [("read_file", {"file_path": "/workspace/a.py"})],
        [("delete", {"file_path": "/workspace/a.py"})],
    )
    results = go(agent(scripted, sandbox, *turns))
    assert all(message.status == "success" for message in results)
    assert "4" in results[2].content
    assert results[2].artifact["exit_code"] == 1
    assert "print(2 + 2)" in results[3].content
    assert client.list_dir() == []


def test_large_results_are_put_where_the_agent_can_read_them(scripted, sandbox):
    turns = (
        [("execute", {"command": "seq 100000"})],
        [("read_file", {"file_path": "/large_tool_results/0_0", "offset": 99_990})],
    )
    cut, read = go(agent(scripted, sandbox, *turns))
    assert len(cut.content) < 10_000
    assert "/large_tool_results/0_0" in cut.content
    assert "100000" in read.content


def test_each_thread_has_a_workspace_of_its_own(scripted, isolated, namespace):
    backend = TroveSandbox(per_thread(isolated.client("any")))
    write = [("write_file", {"file_path": "/workspace/a.txt", "content": "mine"})]
    go(agent(scripted, backend, write), f"{namespace} 1")
    look = [("ls", {"path": "/workspace"})]
    assert "a.txt" not in go(agent(scripted, backend, look), f"{namespace} 2")[0].content
    assert "a.txt" in go(agent(scripted, backend, look), f"{namespace} 1")[0].content
    with pytest.raises(NoThread):
        backend.read("/workspace/a.txt")


async def test_the_same_when_async(scripted, isolated, namespace):
    async with isolated.async_client("any") as client:
        made = agent(
            scripted, TroveSandbox(per_thread(client)), [("execute", {"command": "echo hi > a; cat a"})]
        )
        result = await made.ainvoke(
            {"messages": [("user", "go")]}, {"configurable": {"thread_id": f"{namespace} 3"}}
        )
        assert "hi" in next(message.content for message in result["messages"] if message.type == "tool")


def test_its_files_follow_the_checkpoints_of_a_deep_agent(scripted, isolated, client):
    turns = (
        [("write_file", {"file_path": "/workspace/log", "content": "one"})],
        [("edit_file", {"file_path": "/workspace/log", "old_string": "one", "new_string": "two"})],
        [("execute", {"command": "cat log"})],
        "done",
    )
    made = create_deep_agent(
        scripted(*turns),
        backend=TroveSandbox(isolated.client("elsewhere")),
        middleware=[WorkspaceMiddleware(handoff=False)],
        checkpointer=InMemorySaver(),
    )
    app, config = bind(made, client), {"configurable": {"thread_id": "t"}}
    result = app.invoke({"messages": [("user", "go")]}, config)
    assert [each.content for each in result["messages"] if each.type == "tool"][-1].startswith("two")
    assert result["workspace"]["namespace"] == client.namespace
    [before] = [each for each in app.get_state_history(config) if len(each.values.get("messages", ())) == 4]
    assert files_at(app, before.config).read_text("log") == "one"
    app.invoke(None, before.config)
    assert client.read_text("log") == "two"
    assert isolated.client("elsewhere").list_dir() == []


class Out(Exception):
    """The power, as it were."""


class Failing(AgentMiddleware):
    """Fails where a model is called for the second time, once; and has the backend written to where the model is called."""

    def __init__(self, backend):
        super().__init__()
        self.backend, self.left = backend, 1

    def wrap_model_call(self, request, handler):
        turn = sum(message.type == "ai" for message in request.messages)
        self.backend.write("/workspace/turns.txt", f"{turn}\n")
        response = handler(request)
        if turn == 1 and self.left:
            self.left -= 1
            raise Out
        return response

    async def awrap_model_call(self, request, handler):
        turn = sum(message.type == "ai" for message in request.messages)
        await self.backend.awrite("/workspace/turns.txt", f"{turn}\n")
        response = await handler(request)
        if turn == 1 and self.left:
            self.left -= 1
            raise Out
        return response


def everywhere(files):
    return {each.path.removeprefix("workspace/"): each.is_dir for each in files.iter_dir(recursive=True)}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_written_beside_tool_calls_follows_the_checkpoints_too(
    scripted, isolated, client, asynchronous
):
    """The results that Deep Agents cuts, and what middlewares write where the model is called."""
    backend = TroveSandbox(isolated.client("nowhere"), async_client=isolated.async_client("nowhere"))
    turns = [("execute", {"command": "seq 100000"}), ("execute", {"command": "seq 200000"})], "done"
    made = create_deep_agent(
        scripted(*turns),
        backend=backend,
        middleware=[WorkspaceMiddleware(handoff=False), Failing(backend)],
        checkpointer=InMemorySaver(),
    )
    other = isolated.async_client(client.namespace)
    app, config = bind(made, client, async_client=other), {"configurable": {"thread_id": "t"}}
    go = {"messages": [("user", "go")]}

    def invoke(given, config, **options):
        if asynchronous:
            return asyncio.run(app.ainvoke(given, config, **options))
        return app.invoke(given, config, **options)

    with pytest.raises(Out):
        invoke(go, config)
    cut = {f".trove/deepagents/large_tool_results/0_{number}" for number in range(2)}
    asked = app.get_state(config).config
    assert cut <= everywhere(files_at(app, asked)).keys()
    assert files_at(app, asked).read_text("turns.txt") == "0\n", "of the model's failed call nothing is left"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ForeignChangeWarning)
        invoke(None, config)
    assert cut <= everywhere(files_at(app, config)).keys()
    assert files_at(app, config).read_text("turns.txt") == "1\n"
    first = next(
        each.config
        for each in reversed(list(app.get_state_history(config)))
        if each.next == ("tools", "tools")
    )
    assert not cut & everywhere(files_at(app, first)).keys()
    invoke(None, first, keep_both=True)
    assert cut <= everywhere(files_at(app, config)).keys()
    assert workspace_of(app, config).namespace != client.namespace
    assert isolated.client("nowhere").list_dir() == []


def with_subagent(scripted, client, between, middleware):
    """An agent whose subagent writes a file, calls a tool, and writes another file."""
    name = "writer"
    files = [("write_file", {"file_path": f"/workspace/{each}", "content": each}) for each in "bc"]
    subagent = {
        "name": name,
        "description": "writes",
        "system_prompt": "write",
        "model": scripted([files[0]], [(between.name, {})], [files[1]], "did"),
        "tools": [between],
        "middleware": middleware,
    }
    made = create_deep_agent(
        scripted([("task", {"description": "write", "subagent_type": name})], "done"),
        backend=TroveSandbox(client),
        subagents=[subagent],
        middleware=[WorkspaceMiddleware(handoff=False)],
        checkpointer=InMemorySaver(),
    )
    return bind(made, client)


def fails_once():
    left = [1]

    @tool
    def look() -> str:
        """Looks."""
        if left:
            raise Out(left.pop())
        return "seen"

    return look


@tool
def ask() -> str:
    """Asks."""
    return str(interrupt("go on?"))


@pytest.mark.parametrize("asks", [False, True])
def test_a_subagent_that_stops_in_the_middle_goes_on_with_its_files(scripted, isolated, client, asks):
    own = [WorkspaceMiddleware(handoff=False)]
    app = with_subagent(scripted, client, ask if asks else fails_once(), own)
    config = {"configurable": {"thread_id": "t"}}
    with nullcontext() if asks else pytest.raises(Out):
        app.invoke({"messages": [("user", "go")]}, config)
    assert client.list_dir() == []
    result = app.invoke(Command(resume="yes") if asks else None, config)
    assert "since" not in result["workspace"]
    assert everywhere(files_at(app, config)).keys() == everywhere(client).keys() == {"b", "c"}


def test_a_subagent_without_the_middleware_that_stops_in_the_middle(scripted, isolated, client):
    app = with_subagent(scripted, client, fails_once(), [])
    config = {"configurable": {"thread_id": "t"}}
    with pytest.raises(Out):
        app.invoke({"messages": [("user", "go")]}, config)
    with pytest.warns(UndoneFilesWarning, match=r"files: b\."):
        app.invoke(None, config)


def test_what_the_model_cannot_help_is_raised(isolated, client, namespace):
    revoked = TroveClient("tvsk_nobodys", namespace, transport=client._transport)
    for use in (
        lambda sandbox: sandbox.execute("ls"),
        lambda sandbox: sandbox.read("/workspace/a"),
        lambda sandbox: sandbox.write("/workspace/a", ""),
        lambda sandbox: sandbox.download_files(["/workspace/a"]),
    ):
        with pytest.raises(TroveAuthError):
            use(TroveSandbox(revoked))
