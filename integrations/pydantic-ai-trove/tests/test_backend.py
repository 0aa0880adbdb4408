"""The workspace protocol against the embedded server: Pydantic AI's own suite, and what it does not ask."""

import asyncio

import psutil
import pytest
from pydantic_ai.exceptions import UserError
from pydantic_ai.workspaces import (
    Workspace,
    WorkspaceError,
    WorkspaceOutputLimitError,
    WorkspaceRef,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
)
from pydantic_ai.workspaces.conformance import WorkspaceBackendSuite

from pydantic_ai_trove import TroveWorkspaceBackend
from trove_agents import AsyncTroveClient


@pytest.fixture(scope="session")
def trove(isolated):
    return isolated


class TestConformance(WorkspaceBackendSuite):
    pytestmark = pytest.mark.sandbox

    @pytest.fixture
    def anyio_backend(self):
        return "asyncio"

    @pytest.fixture
    def backend(self, trove):
        return TroveWorkspaceBackend(trove)

    @pytest.fixture
    def fresh_backend(self, trove):
        return lambda: TroveWorkspaceBackend(trove)

    @pytest.fixture
    def attach_backend(self, trove):
        return lambda ref: TroveWorkspaceBackend(trove, ref=ref)

    @pytest.fixture
    def destroy_environment(self, trove):
        async def destroy(backend):
            trove.admin().delete_namespace(backend.ref.id)

        return destroy

    # Four rules of the suite watch a command's files, or its processes, from outside while it runs or after it. Here its
    # files are there when it has ended, and its processes end with it. What holds instead is tried in their place.

    async def test_background_child_does_not_hold_up_completed_command(self, backend):
        script = "(sleep 3601.25; echo late > late) & printf done"
        result = await backend.run(script, shell=True)
        assert (result.exit_code, result.stdout) == (0, "done")
        await gone("3601.25")

    async def test_cancellation_stops_foreground_work(self, backend):
        running = asyncio.create_task(backend.run("echo > begun; sleep 3602.25", shell=True))
        await there("3602.25")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await gone("3602.25")
        assert (await backend.run(["ls"])).stdout == ""

    async def test_a_backend_attached_by_ref_reaches_a_detached_process(self, backend):
        script = "setsid sleep 3603.25 </dev/null >/dev/null 2>&1 & printf done"
        assert (await backend.run(script, shell=True)).stdout == "done"
        await gone("3603.25")

    async def test_destroying_environment_during_command_raises_unavailable(
        self, backend, attach_backend, trove
    ):
        running = asyncio.create_task(backend.run("sleep 1.3604; echo", shell=True))
        await there("1.3604")
        await asyncio.to_thread(trove.admin().delete_namespace, backend.ref.id)  # waits for the command
        assert (await running).exit_code == 0
        with pytest.raises(WorkspaceUnavailableError):
            await attach_backend(backend.ref).run(["true"])


def sleeping(sign):
    return [each for each in psutil.process_iter(["cmdline"]) if sign in (each.info["cmdline"] or ())]


async def there(sign):
    async with asyncio.timeout(30):
        while not sleeping(sign):
            await asyncio.sleep(0.01)


async def gone(sign):
    async with asyncio.timeout(30):
        while sleeping(sign):
            await asyncio.sleep(0.01)


@pytest.fixture
def backend(trove):
    return TroveWorkspaceBackend(trove)


@pytest.fixture
def workspace(backend):
    return Workspace(backend)


@pytest.mark.sandbox
class TestCommands:
    async def test_text_passes_as_it_is(self, workspace):
        script = "printf '%s %s' workspace/a /workspace/b; cd ..; pwd"
        assert (await workspace.run(script, shell=True)).stdout == "workspace/a /workspace/b/\n"
        echoed = await workspace.run(["printf", "%s\n", "workspace/x", "", "/workspace", "'"])
        assert echoed.stdout == "workspace/x\n\n/workspace\n'\n"

    async def test_events_say_what_was_run(self, workspace, trove):
        await workspace.run("echo 'first line'\necho second", shell=True)
        events = trove.admin().list_events(types=["exec.completed"], namespace=workspace.ref.id)
        assert [event.data["command"].startswith("# echo 'first line'\n") for event in events] == [True]

    async def test_init_sh_holds_but_for_the_directory(self, workspace):
        await workspace.write_text(".trove/init.sh", "export WHO=me\nhi() { echo hi; }\ncd /tmp\n")
        assert (await workspace.run("echo $WHO; hi; pwd", shell=True)).stdout == "me\nhi\n/workspace\n"

    async def test_syntax_errors_are_results(self, workspace):
        result = await workspace.run("if", shell=True)
        assert result.exit_code != 0 and "syntax error" in result.stderr

    async def test_too_much_output_is_an_error_with_its_beginning(self, workspace):
        with pytest.raises(WorkspaceOutputLimitError) as caught:
            await workspace.run("head -c 2000000 /dev/zero | tr '\\0' x", shell=True)
        assert set(caught.value.stdout) == {"x"}

    async def test_what_was_printed_before_the_time_was_up_is_lost_but_files_stay(self, workspace):
        with pytest.raises(WorkspaceTimeoutError):
            await workspace.run("echo > kept; sleep 60", shell=True, timeout=0.5)
        assert await workspace.exists("kept")

    @pytest.mark.parametrize(
        "wrong", [{"timeout": -1}, {"timeout": float("nan")}, {"timeout": 1e9}, {"env": {"a b": "c"}}]
    )
    async def test_wrong_options(self, backend, wrong):
        with pytest.raises(ValueError):
            await backend.run(["true"], **wrong)

    @pytest.mark.parametrize("wrong", [["a\0b"], []])
    async def test_wrong_commands(self, backend, wrong):
        with pytest.raises(ValueError):
            await backend.run(wrong)

    async def test_links_that_lead_out_are_followed_by_commands_only(self, workspace):
        await workspace.run("ln -s /usr out; ln -s /usr/bin/env tool; ln -s nothing dead", shell=True)
        assert await workspace.realpath("out/bin") == "/usr/bin"
        for path in ("out/bin/env", "tool", "dead"):
            assert not await workspace.exists(path)
            with pytest.raises(FileNotFoundError):
                await workspace.read_bytes(path)
        assert [(each.name, each.is_dir) for each in await workspace.list_dir(".")] == [
            ("dead", False),
            ("out", False),
            ("tool", False),
        ]
        await workspace.remove("out")
        assert not await workspace.exists("out")

    async def test_a_link_to_a_file_says_its_size(self, workspace):
        await workspace.write_bytes("d/file", b"12345")
        await workspace.run(["ln", "-s", "d/file", "link"])
        entry = await workspace.stat("link")
        assert (entry.name, entry.is_dir, entry.size) == ("link", False, 5)


class TestFiles:
    async def test_what_a_namespace_holds_is_kept(self, trove):
        trove.client("uploaded").write("a.txt", "before")
        workspace = Workspace(TroveWorkspaceBackend(trove, namespace="uploaded"))
        assert workspace.ref is None
        assert await workspace.read_text("a.txt") == "before"
        assert workspace.ref == WorkspaceRef(provider="trove", id="uploaded")

    async def test_only_the_workspace_is_kept(self, workspace):
        for operation in (workspace.read_bytes, workspace.stat, workspace.list_dir):
            with pytest.raises(FileNotFoundError):
                await operation("/etc/passwd")
        assert not await workspace.exists("/tmp")
        assert not await workspace.exists("/workspace/workspace/a")
        for operation in (
            workspace.make_dir,
            workspace.remove,
            lambda path: workspace.write_bytes(path, b""),
        ):
            with pytest.raises(PermissionError):
                await operation("/tmp/x")
        with pytest.raises(ValueError):
            await workspace.backend.read_bytes("relative")
        with pytest.raises(ValueError):
            await workspace.backend.realpath("relative")

    async def test_the_root_itself(self, workspace):
        assert (await workspace.stat("/workspace")).is_dir
        assert list(await workspace.list_dir("/workspace")) == []
        await workspace.make_dir("/workspace")
        for operation in (workspace.read_bytes, lambda path: workspace.write_bytes(path, b"")):
            with pytest.raises(IsADirectoryError):
                await operation("/workspace")

    async def test_directories_of_any_size(self, workspace):
        await workspace.run("mkdir many && cd many && touch $(seq -w 1010)", shell=True)
        assert len(await workspace.list_dir("many")) == 1_010

    async def test_over_the_quota(self, workspace, trove):
        await workspace.working_dir()
        trove.admin().set_quota(workspace.ref.id, max_bytes=10)
        with pytest.raises(WorkspaceError, match="may hold 10 bytes"):
            await workspace.write_bytes("a", b"x" * 11)

    async def test_bad_names_are_os_errors(self, workspace):
        with pytest.raises(OSError):
            await workspace.write_bytes("a\nb", b"")


class TestWhose:
    async def test_a_single_client(self, trove):
        client = trove.async_client("single")
        backend = TroveWorkspaceBackend(client)
        await backend.write_bytes("/workspace/a", b"1")
        assert backend.ref.id == backend.namespace == "single"
        await backend.aclose()
        assert await client.read_text("a") == "1"  # it is the caller's, and stays open
        trove.client("other").write("a", "2")
        other = TroveWorkspaceBackend(client, ref=WorkspaceRef(provider="trove", id="other"))
        assert await other.read_bytes("/workspace/a") == b"2"
        with pytest.raises(UserError, match="name the namespace"):
            TroveWorkspaceBackend(AsyncTroveClient("key", transport=client._transport))

    async def test_it_opens_its_client_again(self, backend):
        await backend.write_bytes("/workspace/a", b"1")
        await backend.aclose()
        await backend.aclose()
        assert await backend.read_bytes("/workspace/a") == b"1"

    def test_references_of_others_and_contradictions(self, trove):
        with pytest.raises(ValueError):
            TroveWorkspaceBackend(trove, ref=WorkspaceRef(provider="local", id="x"))
        with pytest.raises(ValueError):
            TroveWorkspaceBackend(trove, namespace="a", ref=WorkspaceRef(provider="trove", id="a"))

    async def test_what_is_gone_is_not_replaced(self, trove):
        backend = TroveWorkspaceBackend(trove, ref=WorkspaceRef(provider="trove", id="never-was"))
        with pytest.raises(WorkspaceUnavailableError, match="gone"):
            await backend.working_dir()
        assert "never-was" not in [each.name for each in trove.admin().list_namespaces()]

    async def test_a_key_that_may_not(self, trove):
        admin = trove.admin()
        key = admin.create_key("mine", namespace="mine").api_key
        other = AsyncTroveClient(key, "theirs", transport=trove.async_client("theirs")._transport)
        with pytest.raises(WorkspaceUnavailableError, match="may not"):
            await TroveWorkspaceBackend(other).working_dir()
