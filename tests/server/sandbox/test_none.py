"""Plain processes: no isolation, but the same ends."""

import asyncio
import logging
import os

import pytest

from trove_agents.server.sandbox import Command, Limits, SandboxFailed, choose


def run(here, root, script, **fields):
    return here.run(root, script, name="none", **fields)


def test_it_is_never_chosen_unasked_and_warns(caplog):
    with caplog.at_level(logging.WARNING):
        sandbox = choose("none")
    assert (sandbox.name, sandbox.inner_root, sandbox.network) == ("none", None, "host")
    assert "without a sandbox" in caplog.text


def test_a_command_sees_the_path_of_its_folder(here, root):
    outcome = run(here, root, "pwd; cat; echo >&2 e; exit 3", stdin=b"in")
    assert (outcome.stdout, outcome.stderr, outcome.exit_code) == (f"{root}\nin".encode(), b"e\n", 3)


def test_the_environment_of_the_server_is_not_passed_on(here, root, monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    outcome = run(here, root, "env", env={"GIVEN": "x"})
    assert b"secret" not in outcome.stdout
    assert b"GIVEN=x\n" in outcome.stdout
    assert f"HOME={os.environ.get('HOME')}\n".encode() not in outcome.stdout


@pytest.mark.parametrize(
    "how", ["sleep {} &", "setsid sleep {} &", "(setsid nohup sleep {} &)", "setsid setsid sleep {} & disown"]
)
def test_background_processes_are_found_and_killed(here, root, survivors, mark, how):
    outcome = run(here, root, how.format(mark) + "\nsleep 0.05", timeout=20)
    assert not outcome.timed_out
    assert survivors(mark) == []


def test_the_time_limit_kills(here, root, survivors, mark):
    outcome = run(here, root, f"trap '' TERM; setsid sleep {mark} & sleep {mark}", timeout=0.3)
    assert (outcome.exit_code, outcome.timed_out) == (124, True)
    assert survivors(mark) == []


def test_cancellation_kills(here, root, survivors, mark):
    async def cancelled():
        task = asyncio.ensure_future(choose("none").run(Command(f"setsid sleep {mark} & sleep {mark}", root)))
        while len(survivors(mark)) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    here.submit(cancelled()).result(30)
    assert survivors(mark) == []


def test_output_and_scripts_have_no_length(here, root):
    outcome = run(
        here, root, f"head -c 5000000 /dev/zero; echo $0 $# >&2\n#{'x' * 250_000}", output_bytes=100
    )
    assert (len(outcome.stdout), outcome.stdout_truncated, outcome.stderr) == (100, True, b"bash 0\n")


def test_a_writer_that_survives_is_not_waited_for(here, root, mark):
    # It drops its mark: nothing can find it, and nothing waits for it.
    outcome = run(here, root, "env -i setsid sleep 1 & sleep 0.1; echo ok", timeout=20)
    assert (outcome.stdout, outcome.timed_out) == (b"ok\n", False)


def test_signals_are_told_as_bash_tells_them(here, root):
    assert run(here, root, "kill -9 $$").exit_code == 137


def test_a_folder_that_is_not_there(here, root):
    with pytest.raises(SandboxFailed):
        run(here, root / "missing", "true")


def test_the_disk_is_looked_after(here, root):
    script = "i=0; while head -c 5000000 /dev/urandom > f$i; do i=$((i+1)); done"
    outcome = run(here, root, script, limits=Limits(written=20 << 20), timeout=30)
    assert outcome.over_quota == "disk"


def test_descriptors_are_given_back(here, root):
    run(here, root, "true")
    before = set(os.listdir("/proc/self/fd"))
    run(here, root, f"true\n#{'x' * 250_000}", stdin=b"x" * 300_000)
    run(here, root, "sleep 9", timeout=0.1)
    assert set(os.listdir("/proc/self/fd")) == before
