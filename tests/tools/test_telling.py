import pytest

from trove_agents import ExecChunk, TroveClient, TroveError
from trove_agents.client.transport import Reply
from trove_agents.tools import CATALOG, ToolContext, arun_telling, run_telling

SCRIPT = {"command": "echo one; echo two >&2; seq 3 > a; exit 3"}
TOLD = [ExecChunk("stdout", "one\n"), ExecChunk("stderr", "two\n")]


def check(result, told):
    assert (result.text, sorted(told, key=lambda each: each.stream, reverse=True)) == (
        "[exit 3]\ntwo\none",
        sorted(TOLD, key=lambda each: each.stream, reverse=True),
    )
    assert [each.path for each in result.value.files_changed] == ["workspace/a"]
    assert result.plain["exit_code"] == 3


def test_what_is_printed_is_told_and_the_result_is_the_same(client):
    told = []
    result = run_telling(client, CATALOG["bash"], SCRIPT, ToolContext(), told.append)
    check(result, told)
    plain = client.run(CATALOG["bash"].call(SCRIPT, ToolContext()))
    assert (plain.text, plain.plain.keys()) == (result.text, result.plain.keys())


async def test_the_same_when_async(tool_trove, client):
    told = []
    async with tool_trove.async_client(client.namespace) as other:
        result = await arun_telling(other, CATALOG["bash"], SCRIPT, ToolContext(), told.append)
    check(result, told)


class Stop(Exception):
    pass


def stop(part):
    raise Stop


def test_who_does_not_want_to_hear_more_stops_the_command(client):
    with pytest.raises(Stop):
        run_telling(client, CATALOG["bash"], {"command": "echo 1 > a; echo x; sleep 60"}, ToolContext(), stop)
    assert client.list_dir() == []


async def test_the_same_again_when_async(tool_trove, client):
    async with tool_trove.async_client(client.namespace) as other:
        with pytest.raises(Stop):
            await arun_telling(
                other, CATALOG["bash"], {"command": "echo 1 > a; echo x; sleep 60"}, ToolContext(), stop
            )
        assert await other.list_dir() == []


async def test_other_tools_tell_nothing(tool_trove, client):
    told = []
    arguments = {"path": "a", "content": "b"}
    assert run_telling(client, CATALOG["write"], arguments, ToolContext(), told.append).text.startswith(
        "Wrote"
    )
    async with tool_trove.async_client(client.namespace) as other:
        await arun_telling(other, CATALOG["write"], arguments, ToolContext(), told.append)
    assert told == []


class PublicServer:
    """One that does not stream."""

    retries = False

    def send(self, request):
        if request.path == "/v1/me":
            return Reply(404, {}, b"{}")
        return Reply(200, {}, b'{"exit_code": 0, "stdout": "hi"}')

    def stream(self, request):
        raise NotImplementedError

    def close(self):
        pass


def test_servers_that_do_not_stream_answer_at_the_end():
    client = TroveClient("key", "n", transport=PublicServer())
    told = []
    result = run_telling(client, CATALOG["bash"], {"command": "echo hi"}, ToolContext(), told.append)
    assert (result.text, result.value.files_changed, told) == ("hi", None, [])


def test_wrong_arguments_start_nothing(client):
    with pytest.raises(TroveError, match="no argument 'cmd'"):
        run_telling(client, CATALOG["bash"], {"cmd": "x"}, ToolContext(), stop)
