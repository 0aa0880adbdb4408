"""A command's answer while it runs, through both doors: in this process and over a socket."""

import asyncio
import contextlib
import json

import pytest

from trove_agents import (
    AsyncTroveClient,
    ExecChunk,
    ExecResult,
    TroveClient,
    TroveError,
    TroveTimeoutError,
)
from trove_agents.embedded import Trove
from trove_agents.server import sandbox
from trove_agents.server.exec import streaming
from trove_agents.wire.exec import ExecRequest

from .conftest import hop

HALVES = """p=$PWD; printf 'in %s' "${p:0:5}"; sleep 0.02; printf '%s/x' "${p:5}"; echo e >&2; printf '\\303\\251'; exit 3"""


class Door:
    """Clients of one server, of either colour."""

    def __init__(self, sync, other):
        self.client, self.async_client = sync, other


@pytest.fixture(params=[pytest.param("bubblewrap", marks=pytest.mark.sandbox), "none"])
def isolation(request):
    if request.param == "bubblewrap":
        report = sandbox.probe(None)
        if not report.ok:
            pytest.skip(" ".join(report.problems))
    return request.param


@pytest.fixture(params=["in process", "network"])
def door(request, isolation, tmp_path, serving):
    if request.param == "in process":
        with Trove.local(tmp_path / "state", sandbox=isolation) as trove:
            yield Door(trove.client("main"), lambda: trove.async_client("main"))
        return
    with serving(tmp_path, "--credentials-file", "keys.json", "--sandbox", isolation) as server:
        keys = server.credentials("keys.json")
        with TroveClient(keys["key"], "main", base_url=server.base_url) as client:
            yield Door(client, lambda: AsyncTroveClient(keys["key"], "main", base_url=server.base_url))
        code, errors = server.stop()
        assert (code, "Traceback" in errors) == (0, False), errors


def texts(parts, stream):
    return "".join(part.text for part in parts if isinstance(part, ExecChunk) and part.stream == stream)


def test_what_comes_and_what_ends(door):
    """One server for all of it: starting one takes longer than the rest."""
    client = door.client
    *parts, result = client.exec_stream(HALVES)
    assert isinstance(result, ExecResult) and result.exit_code == 3
    assert (result.stdout, result.stderr) == ("in workspace/xé", "e\n")
    assert (texts(parts, "stdout"), texts(parts, "stderr")) == (result.stdout, result.stderr)

    # While it runs; and who stops reading ends it, and nothing of it is kept
    client.write("f", "before")
    reading = client.exec_stream("echo after > f; echo 1; echo 2 >&2; sleep 3600", timeout=100)
    assert {next(reading), next(reading)} == {ExecChunk("stdout", "1\n"), ExecChunk("stderr", "2\n")}
    reading.close()
    assert client.exec("cat f") == "before"  # else the namespace would be busy

    async def one():
        async with door.async_client() as other:
            assert [part async for part in other.exec_stream("echo hi", env={"A": "b"})][-1].stdout == "hi\n"
            async with contextlib.aclosing(other.exec_stream("echo x > f; echo 1; sleep 3600")) as reading:
                assert await anext(reading) == ExecChunk("stdout", "1\n")
            task = asyncio.create_task(until_cancelled(other))
            while not started:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    started = []

    async def until_cancelled(other):
        async for part in other.exec_stream("echo y > f; echo 1; sleep 3600"):
            started.append(part)

    asyncio.run(one())
    assert client.exec("cat f; ls") == "beforef\n"

    # More than is kept, faster than it is read
    reading = client.exec_stream("seq 300000; echo end > done; seq 3 >&2")
    parts = [next(reading)]
    assert client.read_text("f") == "before"
    parts += reading
    assert parts[-1].stdout_truncated and texts(parts, "stdout") == parts[-1].stdout
    assert len(parts[-1].stdout) == 1024 * 1024 and client.read_text("done") == "end\n"

    # Ends that are no results
    with pytest.raises(TroveTimeoutError, match=r"longer than 0.3 s") as caught:
        for part in client.exec_stream("echo kept > kept; echo 1; sleep 3600", timeout=0.3):
            assert part == ExecChunk("stdout", "1\n")
    assert (caught.value.status_code, caught.value.code) == (408, "command-timeout")
    assert client.read_text("kept") == "kept\n"
    for refused in ({"cwd": "none"}, {"timeout": 1e6}, {"env": {"1": ""}}):
        with pytest.raises(TroveError) as caught:
            next(client.exec_stream("true", **refused))
        assert caught.value.status_code in {400, 422}


@pytest.mark.sandbox
def test_what_the_server_adds_is_said_too(tmp_path):
    if not (report := sandbox.probe(None)).ok:
        pytest.skip(" ".join(report.problems))
    with Trove.local(tmp_path / "state") as trove:
        *parts, result = trove.client("main").exec_stream("echo 'Could not resolve host' >&2; exit 6")
    assert "commands have no network" in result.stderr
    assert texts(parts, "stderr") == result.stderr


# The answer itself


class Caller:
    """One call as a server with sockets makes it."""

    def __init__(self, trove, command, *, breaks_at=None):
        self.sent = []
        self.gone = asyncio.Event()
        self.got = asyncio.Event()
        self._breaks_at = breaks_at
        self._body = json.dumps({"command": command}).encode()
        headers = {"authorization": f"Bearer {trove.credentials.key}", "x-namespace": "main"}
        headers["accept"] = "text/html, Text/Event-Stream;q=0.5"
        self._call = trove._runtime().app(
            {
                "type": "http",
                "method": "POST",
                "path": "/v1/exec",
                "query_string": b"",
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
                "client": ("127.0.0.1", 1),
                "root_path": "",
            },
            self._receive,
            self._send,
        )

    async def call(self):
        await self._call

    async def _receive(self):
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if len(self.sent) == self._breaks_at:
            raise OSError("no more")
        self.sent.append(message)
        if message.get("body"):
            self.got.set()


@pytest.fixture
def trove(tmp_path):
    with Trove.local(tmp_path / "state", sandbox="none") as trove:
        yield trove


async def test_a_reader_that_goes_away_ends_the_command(trove):
    caller = Caller(trove, "echo 1; echo x > f; sleep 3600")
    task = asyncio.create_task(caller.call())
    await asyncio.wait_for(caller.got.wait(), 30)
    assert caller.sent[0]["status"] == 200
    assert dict(caller.sent[0]["headers"])[b"content-type"] == b"text/event-stream"
    caller.gone.set()
    await asyncio.wait_for(task, 30)
    assert not any(b"event: result" in message.get("body", b"") for message in caller.sent)
    async with trove.async_client("main") as client:
        assert await client.exec("ls") == ""


@pytest.mark.parametrize("breaks_at", [0, 1])
async def test_an_answer_that_cannot_be_sent_ends_the_command(trove, breaks_at):
    with pytest.raises(OSError, match="no more"):
        await asyncio.wait_for(Caller(trove, "echo 1; sleep 3600", breaks_at=breaks_at).call(), 30)
    async with trove.async_client("main") as client:
        assert await client.exec("ls") == ""


class Asked:
    """As much of a request as an answer looks at."""

    scope = {"method": "POST", "path": "/v1/exec", "client": None}


async def test_silence_is_broken_and_the_last_event_is_the_result(plain):
    def run(output):
        return plain.service.run(
            plain.principal, "main", ExecRequest("sleep 0.1; echo 1"), hop=hop, output=output
        )

    pieces = [piece async for piece in streaming.events(Asked, run, heartbeat=0.01)]
    assert pieces[:2] == [b"", b":\n\n"]
    said, last = (piece for piece in pieces if piece not in {b"", b":\n\n"})
    assert said == b'event: output\ndata: {"stream":"stdout","text":"1\\n"}\n\n'
    assert last == pieces[-1]
    kind, data, *rest = last.split(b"\n")
    assert (kind, rest) == (b"event: result", [b"", b""])
    assert {**json.loads(data.removeprefix(b"data: ")), "duration_ms": 0} == {
        "exit_code": 0, "stdout": "1\n", "stderr": "", "duration_ms": 0}  # fmt: skip


async def test_a_failure_after_the_beginning_is_the_last_event():

    async def run(output):
        output.begin("/workspace", init=False)
        output.hear("stdout", b"1")
        raise ZeroDivisionError("a secret of the server")

    pieces = [piece async for piece in streaming.events(Asked, run)]
    assert pieces[1:] == [
        b'event: output\ndata: {"stream":"stdout","text":"1"}\n\n',
        b'event: error\ndata: {"status":500,"detail":"internal error","code":"internal"}\n\n',
    ]


async def test_closed_before_anything_was_read_it_ends_too():
    ended = asyncio.Event()

    async def run(output):
        output.begin("/workspace", init=False)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    events = streaming.events(Asked, run)
    assert await anext(events) == b""
    await events.aclose()
    assert ended.is_set()


async def test_a_slow_reader_does_not_hold_the_command_up(plain, bench):
    """Nothing is read until it has ended and its files are committed."""

    def run(output):
        command = (
            "for i in $(seq 300); do head -c 5000 /dev/zero | tr '\\0' x; echo . >&2; done; echo done > f"
        )
        return plain.service.run(plain.principal, "main", ExecRequest(command), hop=hop, output=output)

    events = streaming.events(Asked, run)
    await anext(events)
    while "f" not in bench.store():
        await asyncio.sleep(0.01)
    pieces = [piece async for piece in events]
    said = [json.loads(piece.split(b"data: ")[1]) for piece in pieces]
    assert "".join(part["text"] for part in said[:-1] if part["stream"] == "stdout") == "x" * 1024 * 1024
    assert "".join(part["text"] for part in said[:-1] if part["stream"] == "stderr") == ".\n" * 300
    assert said[-1]["stdout_truncated"]
