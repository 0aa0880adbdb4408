import subprocess

import msgspec
import pytest

from trove_agents import ExecResult, NotSupported, TroveError, TroveExecError, TruncatedWarning
from trove_agents.client.exec import chain

from .conftest import Colour, reply


def ended(exit_code: int = 0, stdout: str = "", stderr: str = "", **more: object):
    body = {"exit_code": exit_code, "stdout": stdout, "stderr": stderr, "duration_ms": 5, **more}
    return reply(200, msgspec.json.encode(body))


def test_exec_returns_what_was_printed_or_raises(colour: Colour) -> None:
    assert (
        colour.call(colour.client(colour.transport(lambda _: ended(stdout="hi\n"))), "exec", "echo hi")
        == "hi\n"
    )
    client = colour.client(colour.transport(lambda _: ended(3, "out", "err")))
    with pytest.raises(TroveExecError, match=r"exit 3.*err") as caught:
        colour.call(client, "exec", "false", stdin="x")
    assert (caught.value.command, caught.value.exit_code) == ("false", 3)
    assert (caught.value.stdout, caught.value.stderr) == ("out", "err")


def test_exec_detailed_returns_any_end(colour: Colour) -> None:
    transport = colour.transport(
        lambda _: ended(3, "out", "err", warnings=["fifo"], conflicts=["workspace/a"])
    )
    result = colour.call(colour.client(transport), "exec_detailed", "false", stdin="")
    assert result == ExecResult(3, "out", "err", 5, warnings=["fifo"], conflicts=["workspace/a"])
    assert msgspec.json.decode(transport.bodies[0]) == {"command": "false", "stdin": ""}


def test_servers_that_say_less_are_understood(colour: Colour) -> None:
    for body in (
        b'{"exit_code": 0}',
        b'{"exit_code": "0", "stdout": null, "stderr": null, "duration_ms": null}',
    ):
        result = colour.call(
            colour.client(colour.transport(lambda _, body=body: reply(200, body))), "exec_detailed", "x"
        )
        assert result == ExecResult(0, "", "", 0)


def test_exec_chain_sends_one_command(colour: Colour) -> None:
    transport = colour.transport(lambda _: ended())
    colour.call(colour.client(transport), "exec_chain", ["cd a", "ls"], stdin="in")
    assert msgspec.json.decode(transport.bodies[0]) == {"command": "{ cd a; } && { ls; }", "stdin": "in"}


@pytest.mark.parametrize(
    ("commands", "line"),
    [
        (["ls"], "{ ls; }"),
        (["a", "b || c"], "{ a; } && { b || c; }"),
        (["ls # all", "pwd"], "{ ls # all\n} && { pwd; }"),
        (["sleep 1 &"], "{ sleep 1 &\n}"),
        (["ls; "], "{ ls; \n}"),
        (["cat <<E\nx\nE"], "{ cat <<E\nx\nE\n}"),
        ((each for each in ["a"]), None),
    ],
)
def test_the_line_of_a_chain(commands, line: str | None) -> None:
    if line is None:
        assert chain(list(commands)) == "{ a; }"
    else:
        assert chain(commands) == line


@pytest.mark.parametrize(
    ("commands", "output", "exit_code"),
    [
        (["cd /", "pwd"], "/\n", 0),
        (["X=1", "echo $X # shown", "echo after"], "1\nafter\n", 0),
        (["echo a", "false", "echo never"], "a\n", 1),
        (["false || echo b", "echo c"], "b\nc\n", 0),
        (["cat <<E\nhere\nE", "echo d"], "here\nd\n", 0),
        (["true &", "wait; echo e;", "echo f"], "e\nf\n", 0),
        (["echo '#'"], "#\n", 0),
    ],
)
def test_bash_runs_the_line(commands: list[str], output: str, exit_code: int) -> None:
    done = subprocess.run(
        ["bash", "-c", chain(commands)], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.stdout, done.returncode, done.stderr) == (output, exit_code, "")


@pytest.mark.parametrize("commands", [[], (), [""], ["ls", " \n"], ["ls", None], [1], "ls"])
def test_chains_that_are_none(colour: Colour, commands) -> None:
    transport = colour.transport(lambda _: ended())
    with pytest.raises(ValueError, match="exec_chain"):
        colour.call(colour.client(transport), "exec_chain", commands)
    assert transport.requests == []


def script(text: str | None, *, truncated: bool = False):
    body = {
        "path": "workspace/.trove/init.sh",
        "size_bytes": 9,
        "modified_at": "t",
        "content": text,
        "truncated": truncated,
    }
    return reply(200, msgspec.json.encode(body | {"encoding": "binary" if text is None else "utf-8"}))


MISSING = reply(404, b'{"detail": "not found"}')
DENIED = reply(403, b'{"detail": "no"}')


def test_the_init_script_is_set_read_and_cleared(colour: Colour) -> None:
    stored = reply(200, b'{"path": "workspace/.trove/init.sh", "size_bytes": 4}')
    transport = colour.transport(lambda _: stored)
    assert colour.call(colour.client(transport), "set_init", "cd x").size_bytes == 4
    assert msgspec.json.decode(transport.bodies[0]) == {"path": ".trove/init.sh", "content": "cd x"}
    assert colour.call(colour.client(colour.transport(lambda _: script("cd x"))), "get_init") == "cd x"
    gone = reply(200, b'{"deleted": "workspace/.trove/init.sh"}')
    assert colour.call(colour.client(colour.transport(lambda _: gone)), "clear_init") is True


def test_no_init_script_is_no_error_but_anything_else_is(colour: Colour) -> None:
    missing = colour.client(colour.transport(lambda _: MISSING))
    assert colour.call(missing, "get_init") is None
    assert colour.call(missing, "clear_init") is False
    for method, answer in [("get_init", DENIED), ("clear_init", DENIED), ("get_init", script(None))]:
        with pytest.raises(TroveError):
            colour.call(colour.client(colour.transport(lambda _, answer=answer: answer)), method)


def test_a_script_that_was_cut_warns(colour: Colour) -> None:
    with pytest.warns(TruncatedWarning, match="init.sh"):
        colour.call(colour.client(colour.transport(lambda _: script("x", truncated=True))), "get_init")


def test_output_that_was_cut_warns_only_where_the_flag_is_lost(colour: Colour) -> None:
    client = colour.client(colour.transport(lambda _: ended(stdout="x", stdout_truncated=True)))
    with pytest.warns(TruncatedWarning, match="only the beginning"):
        assert colour.call(client, "exec", "yes") == "x"
    assert colour.call(client, "exec_detailed", "yes").stdout_truncated


ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace", "namespace": None}


def server(*capabilities: str, then=ended):
    """One with these capabilities, that answers a command with ``then``."""
    me = reply(200, msgspec.json.encode({**ME, "capabilities": capabilities}))
    return lambda request: me if request.path == "/v1/me" else then()


OPTIONS = {"timeout": 90.5, "env": {"A": "b"}, "cwd": "workspace/d"}
RUNS = [("exec", "ls"), ("exec_detailed", "ls"), ("exec_chain", ["ls"])]


@pytest.mark.parametrize(("method", "command"), RUNS)
def test_options_are_sent_and_the_time_is_waited_for(colour: Colour, method: str, command) -> None:
    transport = colour.transport(server("exec.options"))
    client = colour.client(transport, timeout=7.0)
    colour.call(client, method, command, **OPTIONS)
    line = "ls" if isinstance(command, str) else "{ ls; }"
    assert msgspec.json.decode(transport.bodies[1]) == {"command": line, **OPTIONS}
    assert transport.requests[1].patience == 97.5 and transport.requests[1].timeout == 7.0
    assert "'A'" not in repr(transport.requests[1])
    colour.call(client, method, command, env={})
    assert transport.requests[2].patience == 7.0


@pytest.mark.parametrize(("method", "command"), RUNS)
@pytest.mark.parametrize("option", OPTIONS)
def test_a_server_without_options_is_not_sent_any(colour: Colour, method: str, command, option: str) -> None:
    transport = colour.transport(server("exec.stdin"))
    client = colour.client(transport)
    with pytest.raises(NotSupported, match="exec.options"):
        colour.call(client, method, command, **{option: OPTIONS[option]})
    colour.call(client, method, command, stdin="x")
    assert [request.path for request in transport.requests] == ["/v1/me", "/v1/exec"]
