"""The time, the variables and the directory that a caller gives a command."""

import logging
import os

import msgspec
import pytest

from trove_agents.server.errors import BadRequest, CommandTimeout, Unprocessable
from trove_agents.wire import limits
from trove_agents.wire.exec import ExecRequest

SECRET = "s3cr\u00e8t 'quoted' \"twice\" $HOME `id` \\ and\na line"


# The time limit


async def test_a_command_gets_the_time_it_asks_for(make):
    sh = make(seconds=0.3, max_seconds=30.0)
    assert await sh.out("sleep 0.5; echo ok", timeout=20) == "ok\n"
    with pytest.raises(CommandTimeout, match=r"longer than 0.3 s"):
        await sh("echo kept > f; sleep 60")
    with pytest.raises(CommandTimeout, match=r"longer than 0.2 s"):
        await sh("sleep 60", timeout=0.2)
    assert [event.data.get("timeout") for event in sh.events()] == [20, None, 0.2]


@pytest.mark.parametrize("timeout", [0, -1, 30.001, 1e9, float("inf"), float("nan")])
async def test_times_that_are_refused(plain, timeout):
    with pytest.raises(Unprocessable, match=r"timeout is more than 0 and at most 30 s") as caught:
        await plain("true", timeout=timeout)
    assert caught.value.errors[0]["field"] == "timeout"
    assert plain.events() == []


async def test_the_servers_limit_bounds_those_who_ask_for_nothing(make):
    with pytest.raises(CommandTimeout, match=r"longer than 0.2 s"):
        await make(max_seconds=0.2)("sleep 60")


async def test_the_lock_lasts_as_long_as_a_long_command_may(make, bench):
    from sqlalchemy import select

    from trove_agents.server.db.tables import locks

    sh = make(max_seconds=5000.0)
    held = []
    execute = sh.service._execute

    async def look(*args):
        with bench.database.read() as db:
            held.append(db.one(select(locks.c.expires_us))[0] / 1e6 - bench.database.now_ns() / 1e9)
        return await execute(*args)

    sh.service._execute = look
    await sh("true", timeout=4000)
    assert held[0] > 4000


# Variables


async def test_variables_arrive_as_they_are(sh):
    given = {"A": SECRET, "B_1": "", "_c": "x=y", "PATH": "/mine:/usr/bin:/bin", "LANG": "C"}
    script = "for name in A B_1 _c PATH LANG; do printf '%s\\0' \"${!name}\"; done; env | grep -c ^B_1="
    printed = await sh.out(script, env=given)
    assert printed.split("\0") == [*given.values(), "1\n"]


async def test_variables_reach_init_and_children_and_the_next_command_has_none(sh, bench):
    bench.put(".trove/init.sh", b"FROM_INIT=$A\n")
    assert await sh.out("echo $FROM_INIT; bash -c 'echo $A'", env={"A": "a b"}) == "a b\na b\n"
    assert await sh.out("echo $FROM_INIT$A") == "\n"


async def test_nothing_that_is_set_can_run_before_the_limits_do(make, bench):
    """``BASH_ENV`` and ``LD_PRELOAD`` would, were they there when the shell starts."""
    sh = make()
    bench.put("early.sh", b"echo early\n")
    env = {
        "BASH_ENV": "workspace/early.sh",
        "PS4": "$(echo early)",
        "IFS": "x",
        "BASH_EXECUTION_STRING": "echo no",
    }
    assert await sh.out("echo late", env=env) == "late\n"
    assert await sh.out("ulimit -c", env={"A": "1"}) == await sh.out("ulimit -c")
    result = await sh("echo late", env={"LD_PRELOAD": "/workspace/none.so"})
    assert (result.stdout, result.stderr) == ("late\n", "")


async def test_a_marked_process_cannot_lose_its_mark(plain):
    assert (
        await plain.out("[ ${#TROVE_COMMAND} -gt 10 ] && echo kept", env={"TROVE_COMMAND": "x"}) == "kept\n"
    )


async def test_variables_are_told_nobody(sh, bench, caplog):
    """Not in events, errors, logs, reprs, the database, or any command line of this machine."""
    caplog.set_level(logging.DEBUG)
    word = "xyzzy" + os.urandom(8).hex()
    lines = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; cat /proc/1/environ /proc/self/environ | tr '\\0' '\\n' | grep -c ^A="
    result = await sh(lines, env={"A": word})
    assert word not in result.stdout and word not in caplog.text
    with pytest.raises(Unprocessable) as caught:
        await sh("true", env={"A": word, "B": word + "\0"})
    assert word not in str(caught.value.errors) + str(caught.value)
    assert word not in repr(ExecRequest("true", word, env={"A": word}))
    assert word.encode() not in msgspec.json.encode(sh.events())
    for path in (bench.folder / "state").rglob("*"):
        assert not path.is_file() or word.encode() not in path.read_bytes()


@pytest.mark.sandbox
async def test_another_command_does_not_see_them(make, kind):
    if kind == "none":
        pytest.skip("processes of one user see each other")
    assert await make().out("cat /proc/*/environ | tr '\\0' '\\n' | grep -c ^A=; :") == "0\n"


@pytest.mark.parametrize(
    "env",
    [
        {"": "x"},
        {"1A": "x"},
        {"A-B": "x"},
        {"A=B": "x"},
        {"A\n": "x"},
        {"\u00c4": "x"},
        {"BASH_FUNC_ls%%": "() { :; }"},
        {"UID": "0"},
        {"SHELLOPTS": "xtrace"},
        {"A": "a\0b"},
        {"A": "\ud800"},
        {f"A{number}": "" for number in range(limits.EXEC_ENV_NAMES + 1)},
        {"A": "x" * limits.EXEC_ENV_BYTES},
        {"A": "\u00e9" * (limits.EXEC_ENV_BYTES // 2)},
    ],
    ids=range(14),
)
async def test_variables_that_are_refused(plain, env):
    with pytest.raises(Unprocessable) as caught:
        await plain("true", env=env)
    assert caught.value.errors[0]["field"] == "env"
    assert plain.events() == []


async def test_as_much_as_may_be(sh):
    env = {f"A{number}": "" for number in range(limits.EXEC_ENV_NAMES - 1)}
    rest = limits.EXEC_ENV_BYTES - sum(map(len, env)) - 1
    assert await sh.out("echo ${#Z}; env | grep -c ^A", env=env | {"Z": "'" * rest}) == f"{rest}\n127\n"


# The directory


async def test_where_a_command_begins(sh, bench):
    bench.put("a b/$(id)'/f", b"x")
    bench.change(lambda change: change.put_link("l", b"a b", replace=True))
    bench.change(lambda change: change.put_link("abs", b"/workspace/a b", replace=True))
    name = "a b/$(id)'"
    assert await sh.out("pwd; cat f", cwd=f"workspace/{name}") == f"workspace/{name}\nx"
    assert await sh.out("pwd", cwd="l") == await sh.out("pwd", cwd="/workspace/abs/.") == "workspace/a b\n"
    assert await sh.out("pwd", cwd="workspace") == await sh.out("pwd", cwd="") == "workspace\n"
    assert await sh.out("cat workspace/a[^b]*/*/f", cwd="l") == "x"
    assert [event.data.get("cwd") for event in sh.events()] == [
        f"workspace/{name}", "workspace/l", "workspace/abs", None, None, "workspace/l",
    ]  # fmt: skip


async def test_it_holds_whatever_init_does(sh, bench):
    bench.put("d/f")
    bench.put("e/f")
    bench.put(".trove/init.sh", b"AT=$(pwd); cd workspace/e; set -e\n")
    assert await sh.out("echo $AT; pwd", cwd="d") == "workspace\nworkspace/d\n"
    assert await sh.out("pwd") == "workspace/e\n"


@pytest.mark.parametrize("cwd", ["none", "f", "f/x", "../x", "out", "away", "round", "a\0b", "x" * 300])
async def test_directories_that_are_none(sh, bench, cwd):
    bench.put("f")
    for name, target in (("out", b"/etc"), ("away", b"../.."), ("round", b"round")):
        bench.change(lambda change, name=name, target=target: change.put_link(name, target, replace=True))
    before = bench.head().at
    with pytest.raises(BadRequest):
        await sh("echo ran > ran", cwd=cwd)
    assert bench.head().at == before and sh.events() == []
    assert await sh.out("ls") == "away\nf\nout\nround\n"


async def test_a_directory_that_went_while_waiting_for_the_lock(plain, bench):
    """Looked at when the command would begin, and not before."""
    import asyncio

    from .conftest import GATE, gates

    bench.put("d/f")
    first = asyncio.create_task(plain(f"{GATE}; rm -r d; mkdir e"))
    (gate,) = await gates(bench)
    gone, made = (asyncio.create_task(plain("pwd", cwd=name)) for name in ("d", "e"))
    await asyncio.sleep(0)
    gate.touch()
    await first
    with pytest.raises(BadRequest, match=r"workspace/d is no directory"):
        await gone
    assert (await made).stdout == "workspace/e\n"
