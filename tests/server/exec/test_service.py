"""Commands over real sandboxes: the one of this machine, where it can isolate, and none."""

import asyncio
import os
import subprocess
import sys
import time

import pytest
from sqlalchemy import update

from trove_agents.server import timelines
from trove_agents.server.db.tables import locks, namespaces
from trove_agents.server.errors import (
    Busy,
    CommandTimeout,
    Conflict,
    QuotaExceeded,
    SandboxMissing,
    Unprocessable,
)
from trove_agents.server.exec.scan import Quota
from trove_agents.server.exec.service import ExecService
from trove_agents.server.sandbox import SandboxFailed
from trove_agents.wire.exec import ExecRequest

from .conftest import GATE, Shell, choose, gates, hop

MB = 1024 * 1024


# What a command finds and leaves


async def test_files_are_found_under_every_name(sh, bench):
    bench.put("notes/a.txt", b"hello\n")
    assert (
        await sh.out("cat notes/a.txt workspace/notes/a.txt && cd workspace/notes && cat a.txt && pwd")
        == "hello\n" * 3 + "workspace/notes\n"
    )
    assert await sh.out("find workspace/ -name '*.txt'") == "workspace/notes/a.txt\n"
    assert await sh.out("pwd") == "workspace\n"
    result = await sh("ls workspace/none")
    assert result.exit_code == 2 and "'workspace/none'" in result.stderr


async def test_what_it_leaves_is_one_version_with_one_event(sh, bench):
    before = bench.head().at
    result = await sh(
        "mkdir -p d && echo hi > workspace/d/f && ln -s f d/l && printf x > g && chmod 750 g", "input"
    )
    assert result.exit_code == 0 and bench.head().at != before
    store = bench.store()
    assert store["d/f"][2] == b"hi\n" and store["d/l"][1] == b"f" and store["g"][1:3] == (0o750, b"x")
    (event,) = sh.events()
    assert event.type == "exec.completed" and event.namespace == "main" and event.actor.key_id == "key-1"
    assert event.data == {
        "command": "mkdir -p d && echo hi > workspace/d/f && ln -s f d/l && printf x > g && chmod 750 g",
        "exit_code": 0,
        "duration_ms": result.duration_ms,
        "stdout": "",
        "stderr": "",
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "stdin_bytes": 5,
    }


async def test_of_a_long_command_the_event_keeps_the_beginning(sh):
    command = "true # " + "é" * 20_000
    assert (await sh(command)).exit_code == 0
    (event,) = sh.events()
    assert command.startswith(event.data["command"])
    assert 16 * 1024 - 1 <= len(event.data["command"].encode()) <= 16 * 1024
    assert event.data["command_bytes"] == len(command.encode())


async def test_only_files_survive(sh):
    await sh("export A=1; cd /; f() { :; }; touch workspace/kept")
    assert await sh.out("echo ${A:-unset}; type f 2>/dev/null; pwd; ls") == "unset\nworkspace\nkept\n"


async def test_a_command_that_changes_nothing_makes_an_event_only(sh, bench):
    bench.put("f")
    before = bench.head()
    await sh("cat f; exit 3")
    assert bench.head() == before
    assert [event.data["exit_code"] for event in sh.events()] == [3]


async def test_an_unknown_namespace_is_created(sh, bench):
    result = await sh("rm -rf workspace/* 2>/dev/null; ls workspace/", namespace="fresh")
    assert (result.exit_code, result.stdout) == (0, "")
    with bench.database.read() as db:
        assert timelines.namespace(db, "ws-0000000000000001", "fresh").files == 0


async def test_exit_codes_and_both_streams(sh):
    result = await sh("echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert (await sh("kill -9 $$")).exit_code == 137
    assert (await sh("nosuchprogram")).exit_code == 127
    assert (await sh("echo 'unbalanced")).exit_code == 2
    result = await sh("printf '\\377 \\342\\202\\254'")
    assert result.stdout == "\ufffd €"


async def test_output_is_capped(sh):
    result = await sh("head -c 3000000 /dev/zero | tr '\\0' a; echo end >&2")
    assert len(result.stdout) == MB and result.stdout_truncated and not result.stderr_truncated
    data = sh.events()[0].data
    assert len(data["stdout"]) == 4096 and data["stdout_bytes"] == MB and data["stdout_truncated"]


async def test_stdin(sh):
    assert await sh.out("cat", "a\nworkspace/b") == "a\nworkspace/b"
    assert await sh.out("cat", "") == ""
    assert await sh.out("cat") == ""
    assert await sh.out("wc -c", "é" * (MB // 2)) == f"{MB}\n"


async def test_a_venv_works_in_the_next_command(sh):
    made = await sh(
        f"{sys.executable if sh.service._sandbox().name == 'none' else 'python3'} -m venv --without-pip workspace/v"
    )
    if made.exit_code:
        pytest.skip(made.stderr)
    assert await sh.out("workspace/v/bin/python -c 'import sys; print(sys.prefix)'") == "workspace/v\n"
    assert (
        await sh.out(
            ". workspace/v/bin/activate && python -c 'import sys; print(sys.prefix != sys.base_prefix)'"
        )
        == "True\n"
    )


async def test_the_path_is_the_same_at_every_call_and_after_a_restore(sh, bench):
    await sh(
        'printf \'#!%s\\necho found\\n\' "$(command -v bash)" > workspace/tool; chmod +x tool; ln -s "$PWD/tool" link; echo "$PWD/tool" > where'
    )
    kept = bench.head()
    await sh("rm tool where")
    bench.database.write(
        lambda tx: timelines.restore(
            tx, bench.head(), kept.at, files=kept.files, bytes=kept.bytes, now_ns=time.time_ns()
        )
    )
    assert await sh.out("$(cat where); ./link") == "found\nfound\n"


# init.sh


async def test_init_sets_up_every_command(sh, bench):
    bench.put(".trove/init.sh", b"cd workspace/data\nexport A=1\n. ../env.sh\nnosuchprogram\n")
    bench.put("env.sh", b"B=2\n")
    bench.put("data/f", b"x")
    result = await sh("echo $A $B; ls; ls workspace/")
    assert (result.exit_code, result.stdout) == (0, "1 2\nf\ndata\nenv.sh\n")
    assert result.stderr == "workspace/.trove/init.sh: line 4: nosuchprogram: command not found\n"
    assert bench.store()[".trove/init.sh"][2].startswith(b"cd workspace/data")


async def test_init_neither_eats_stdin_nor_ends_the_shell(sh, bench):
    bench.put(".trove/init.sh", b"cat\nset -e\nfalse\n")
    assert await sh.out("cat", "mine") == "mine"
    bench.put(".trove/init.sh", b"echo 'unbalanced\n")
    assert (await sh("echo ran")).stdout == "ran\n"
    bench.put(".trove/init.sh", b"exit 9\n")
    assert (await sh("echo ran")).exit_code == 9
    bench.change(lambda change: change.put_link(".trove/init.sh", b"../evil", replace=True))
    assert await sh.out("echo not sourced") == "not sourced\n"
    bench.change(lambda change: change.remove(".trove"))
    assert await sh.out("echo ran") == "ran\n"


async def test_init_that_is_no_text(sh, bench):
    bench.put(".trove/init.sh", b"A=$'\\xff'\xff\0\nB=2\n")
    assert await sh.out("echo $B") == "2\n"
    bench.put(".trove/init.sh", b"# " + b"x" * 300_000 + b"\nC=3\n")
    assert await sh.out("echo $C") == "3\n"
    bench.put(".trove/init.sh", b"# " + b"x" * MB + b"\nC=3\n")
    result = await sh("echo $C")
    assert result.stdout == "\n" and result.warnings == [
        "workspace/.trove/init.sh: over 1,048,576 bytes, not sourced"
    ]


async def test_a_long_command(sh):
    text = "x" * 500_000
    assert await sh.out(f"cat > f <<'END'\n{text}\nEND\nwc -c < f") == "500001\n"


# Refusals


@pytest.mark.parametrize(
    "request_",
    [
        ExecRequest(""),
        ExecRequest(" \n\t"),
        ExecRequest("a\0b"),
        ExecRequest("\ud800"),
        ExecRequest("a", "\udfff"),
        ExecRequest("x" * (MB + 1)),
        ExecRequest("cat", "é" * (MB // 2) + "x"),
    ],
)
async def test_what_is_no_command(plain, request_):
    with pytest.raises(Unprocessable) as caught:
        await plain.service.run(plain.principal, "main", request_, hop=hop)
    assert caught.value.errors[0]["field"] in {"command", "stdin"}
    assert plain.events() == []


async def test_no_sandbox_no_namespace(bench, plain):
    def none():
        raise SandboxMissing("no")

    service = ExecService(bench.database, bench.blobs, plain.locks, none, bench.folder / "other")
    with pytest.raises(SandboxMissing):
        await service.run(plain.principal, "fresh", ExecRequest("true"), hop=hop)
    with bench.database.read() as db:
        assert timelines.namespace(db, "ws-0000000000000001", "fresh") is None


async def test_why_a_sandbox_failed_is_for_the_log_only(bench, plain, caplog):
    class Broken:
        name, network, inner_root = "broken", "none", None

        def layered(self, root, overlay, script):
            return "no"

        async def run(self, command):
            raise SandboxFailed(f"bwrap: Can't bind mount {command.root}")

    service = ExecService(bench.database, bench.blobs, plain.locks, Broken, bench.folder / "other")
    with pytest.raises(SandboxMissing) as caught:
        await service.run(plain.principal, "main", ExecRequest("true"), hop=hop)
    assert str(bench.folder) not in str(caught.value.body)
    assert str(bench.folder / "other") in caplog.text
    service.close()


# Time, quota, cancellation


async def test_the_time_limit_keeps_files_so_that_a_retry_resumes(make, bench):
    sh = make(seconds=1.0)
    chain = "{ [ -e one ] || echo 1 > one; } && { [ -e go ] || sleep 60; } && { echo 2 > two; }"
    with pytest.raises(CommandTimeout):
        await sh(chain)
    assert list(bench.store()) == ["one"]
    (event,) = sh.events()
    assert (event.data["exit_code"], event.data["timed_out"]) == (124, True)
    bench.put("go")
    assert (await sh(chain)).exit_code == 0
    assert bench.store()["two"][2] == b"2\n"


async def test_what_runs_in_the_background_ends_with_the_command(sh):
    mark = f"{os.getpid()}.25"
    started = time.monotonic()
    result = await sh(
        f"sleep 100{mark} & (setsid sleep 100{mark} &) ; nohup sleep 100{mark} >/dev/null 2>&1 & echo ok"
    )
    assert (result.exit_code, result.stdout) == (0, "ok\n")
    assert time.monotonic() - started < 50  # it did not wait for them
    await asyncio.sleep(0.05)
    assert subprocess.run(["pgrep", "-f", f"sleep 100{mark}"], capture_output=True).stdout == b""


async def test_over_quota_nothing_is_kept(make, bench):
    sh = make(quota=Quota(bytes=1000))
    bench.put("f", b"before")
    with pytest.raises(QuotaExceeded):
        await sh("echo after > f; truncate -s 1M huge")
    assert {path: what[2] for path, what in bench.store().items()} == {"f": b"before"}
    assert sh.events() == [] and await sh.out("ls; cat f") == "f\nbefore"


async def test_a_cancelled_command_leaves_nothing(sh, bench):
    bench.put("f", b"before")
    running = asyncio.create_task(sh("echo after > f; touch started; sleep 60"))
    await gates(bench)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert {path: what[2] for path, what in bench.store().items()} == {"f": b"before"}
    assert sh.events() == []
    assert await sh.out("ls; cat f") == "f\nbefore"


async def test_cancelled_at_any_moment(plain, bench):
    """Wherever it is, the lock and the copy come back, and the store holds all of a command or nothing."""
    bench.put("f", b"0")
    for number in range(40):
        running = asyncio.create_task(plain(f"echo {number} > f; echo {number} > g"))
        await asyncio.sleep(number / 2000)
        running.cancel()
        await asyncio.wait([running])
        store = bench.store()
        if number and "g" in store:
            assert store["f"][2] == store["g"][2]
    assert await asyncio.wait_for(plain.out("echo end > f; cat f"), 30) == "end\n"
    assert bench.store()["f"][2] == b"end\n"


# Others


async def test_commands_of_a_namespace_run_one_after_another(sh, bench):
    bench.put("n", b"0")
    results = await asyncio.gather(*(sh("n=$(cat n); sleep 0.05; echo $((n + 1)) > n") for _ in range(5)))
    assert {result.exit_code for result in results} == {0} and bench.store()["n"][2] == b"5\n"


async def test_commands_of_two_namespaces_run_at_once(sh, bench):
    running = [asyncio.create_task(sh(GATE, namespace=name)) for name in ("one", "two")]
    for gate in await gates(bench, 2):
        gate.touch()
    assert [(await one).exit_code for one in running] == [0, 0]


async def test_another_server_waits_and_then_sees_the_files(make, bench):
    one, two = make(), make()
    first, second = await asyncio.gather(one("sleep 0.2; echo 1 >> f"), two("sleep 0.2; echo 1 >> f"))
    assert first.exit_code == second.exit_code == 0 and bench.store()["f"][2] == b"1\n1\n"


async def test_a_busy_namespace_is_told_so(plain, bench):
    async with plain.locks.hold(bench.space.id, seconds=60, hop=hop):
        other = Shell(bench, "none")
        holding = other.locks.hold
        other.locks.hold = lambda *args, **more: holding(*args, wait=0.05, **more)
        with pytest.raises(Busy):
            await other("true")
        other.close()


async def test_what_others_change_meanwhile(sh, bench):
    bench.put("f", b"before")
    running = asyncio.create_task(sh(f"{GATE}; echo mine > f"))
    (gate,) = await gates(bench)
    bench.put("f", b"theirs")
    bench.put("g", b"theirs")
    gate.touch()
    result = await running
    assert result.conflicts == ["workspace/f"] and sh.events()[0].data["conflicts"] == ["workspace/f"]
    store = bench.store()
    assert (store["f"][2], store["g"][2]) == (b"mine\n", b"theirs")
    assert await sh.out("cat f g") == "mine\ntheirs"


async def test_a_restore_meanwhile_wins(sh, bench):
    bench.put("f", b"kept")
    kept = bench.head()
    bench.put("f", b"later")
    running = asyncio.create_task(sh(f"{GATE}; echo mine > f"))
    (gate,) = await gates(bench)
    bench.database.write(
        lambda tx: timelines.restore(tx, bench.head(), kept.at, files=1, bytes=4, now_ns=time.time_ns())
    )
    gate.touch()
    with pytest.raises(Conflict):
        await running
    assert {path: what[2] for path, what in bench.store().items()} == {"f": b"kept"} and sh.events() == []
    assert await sh.out("ls; cat f") == "f\nkept"


async def test_a_lost_lock_commits_nothing(sh, bench):

    bench.put("f", b"before")
    running = asyncio.create_task(sh(f"{GATE}; echo mine > f"))
    (gate,) = await gates(bench)
    steal = update(locks).values(holder="another", token=99)
    bench.database.write(lambda tx: tx.run(steal))
    gate.touch()
    with pytest.raises(Conflict):
        await running
    assert {path: what[2] for path, what in bench.store().items()} == {"f": b"before"}


# What is told


async def test_what_is_not_kept_is_said(sh):
    result = await sh("mkfifo p; mkdir workspace/workspace")
    assert result.warnings[0] == "workspace/p: a FIFO is not kept"
    assert result.warnings[1].startswith("workspace/workspace: only commands reach it")
    assert sh.events()[0].data["warnings"] == result.warnings


@pytest.mark.sandbox
async def test_a_lack_of_network_is_explained(bench):
    sh = Shell(bench, "bubblewrap")
    choose("bubblewrap")
    result = await sh("echo 'curl: (6) Could not resolve host: example.test' >&2; exit 6")
    assert result.stderr.splitlines()[-1].startswith("trove: commands have no network")
    assert "trove:" not in (await sh("echo 'Could not resolve host' >&2")).stderr
    sh.close()


async def test_a_namespace_may_have_a_plain_folder(sh, bench):
    """By its settings; going to and fro, each form finds the newest files."""
    mounts = "grep -c ' /workspace .* overlay ' /proc/self/mountinfo; cat f"
    bench.put("f", b"1\n")
    before = (await sh(mounts)).stdout
    set_to = update(namespaces).where(namespaces.c.id == bench.space.id)
    bench.database.write(lambda tx: tx.run(set_to.values(workdir="copy")))
    assert (await sh(mounts)).stdout == "0\n1\n"
    assert (await sh("echo 2 > f")).exit_code == 0
    bench.database.write(lambda tx: tx.run(set_to.values(workdir="auto")))
    assert (await sh(mounts)).stdout == f"{before[0]}\n2\n"
