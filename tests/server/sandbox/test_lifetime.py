"""A command's beginning and end: nothing of it is left, whatever it tried, and its output is never too much."""

import asyncio
import os
import pickle
import pty
import sys
import threading
import time
from pathlib import Path

import pytest

from trove_agents.server.sandbox import Command, Limits, SandboxFailed, cgroup, choose
from trove_agents.server.sandbox.binary import Bwrap
from trove_agents.server.sandbox.bubblewrap import Bubblewrap

from .conftest import WORKER, start_worker

pytestmark = pytest.mark.sandbox


STUBBORN = "trap '' TERM INT HUP; (setsid bash -c 'trap \"\" TERM; setsid sleep {mark} & sleep {mark}' &) ; sleep {mark}"


class TestEnd:
    def test_a_background_process_is_not_waited_for(self, server, copy, survivors, mark):
        outcome = server.run(copy, f"sleep {mark} & echo ok", timeout=20)
        assert (outcome.exit_code, outcome.stdout, outcome.timed_out) == (0, b"ok\n", False)
        assert survivors(mark) == []

    @pytest.mark.parametrize(
        "how", ["setsid sleep {} &", "nohup sleep {} &", "sleep {} & disown", "(setsid sleep {} &)"]
    )
    def test_no_background_process_survives(self, server, copy, survivors, mark, how):
        assert server.run(copy, f"{how.format(mark)}\nsleep 0.1; pgrep -c sleep").stdout == b"1\n"
        assert survivors(mark) == []

    def test_the_time_limit_kills_the_whole_tree(self, server, copy, survivors, mark):
        outcome = server.run(copy, f"echo before; echo x > kept; {STUBBORN.format(mark=mark)}", timeout=0.5)
        assert (outcome.exit_code, outcome.timed_out, outcome.over_quota) == (124, True, None)
        assert outcome.stdout == b"before\n"
        assert outcome.duration_ms >= 500
        assert survivors(mark) == []
        assert (copy / "kept").read_text() == "x\n"

    def test_cancellation_kills_the_tree(self, here, isolated, root, survivors, mark):
        async def cancelled():
            run = asyncio.ensure_future(choose(None).run(Command(STUBBORN.format(mark=mark), root)))
            while len(survivors(mark)) < 3:
                await asyncio.sleep(0.01)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        here.submit(cancelled()).result(30)
        assert survivors(mark) == []

    def test_cancellation_at_any_moment_of_the_start_leaves_nothing(
        self, here, isolated, root, survivors, mark
    ):
        async def cancelled(after):
            run = asyncio.ensure_future(choose(None).run(Command(f"sleep {mark}", root)))
            for _ in range(after):
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        for after in [*range(12)] * 4:
            here.submit(cancelled(after)).result(30)
        # A tree that was killed may take a moment to be gone on a busy machine
        deadline = time.monotonic() + 5
        while survivors(mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert survivors(mark) == []

    def test_descriptors_are_given_back(self, here, isolated, root):
        here.run(root, "true")
        before = set(os.listdir("/proc/self/fd"))
        for script in ("true", "sleep 9", "yes"):
            here.run(root, script, timeout=0.2, stdin=b"x" * 300_000)
        assert set(os.listdir("/proc/self/fd")) == before


class TestServerKilled:
    def start(self, root, script, **options):
        server = start_worker(**options)
        pickle.dump((None, "none", None, Command(script, root)), server.stdin)
        server.stdin.flush()
        return server

    def until(self, condition):
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def test_the_tree_dies_with_it(self, isolated, root, survivors, mark):
        server = self.start(root, STUBBORN.format(mark=mark))
        try:
            self.until(lambda: len(survivors(mark)) >= 3)
        finally:
            server.kill()
            server.communicate()
        self.until(lambda: not survivors(mark))

    @pytest.mark.parametrize("milliseconds", range(1, 14, 2))
    def test_no_command_begins_without_it(self, isolated, root, survivors, mark, milliseconds):
        server = self.start(root, "true")
        pickle.load(server.stdout)
        pickle.dump((None, "none", None, Command(f"exec -a {mark} sleep 60", root)), server.stdin)
        server.stdin.flush()
        time.sleep(milliseconds / 1000)
        server.kill()
        server.communicate()
        time.sleep(0.1)  # for what was being set up
        # A bwrap may be left that waits for its monitor, with the whole script in its command line: no command.
        self.until(
            lambda: not [pid for pid in survivors(mark) if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]
        )

    def test_groups_that_it_left_are_swept_by_the_next(self, isolated, root, survivors, mark):
        places = cgroup.usable(Limits())
        if not places:
            pytest.skip("no control groups can be made here")
        server = self.start(root, f"echo > started; sleep {mark}")
        self.until((root / "started").exists)
        server.kill()
        server.communicate()
        self.until(lambda: not survivors(mark))
        name = f"{cgroup.PREFIX}{server.pid}-*"
        assert all(list(place.folder.glob(name)) for place in places)

        def swept():
            cgroup.sweep(places)
            return not any(list(place.folder.glob(name)) for place in places)

        self.until(swept)


def test_the_terminal_of_the_server_is_out_of_reach(isolated, root):
    """TIOCSTI would type into it."""
    probe = "import fcntl, os; fcntl.ioctl(os.open('/dev/tty', os.O_RDWR), 0x5412, b'x')"
    order = pickle.dumps((None, "none", None, Command("python3 -", root, stdin=probe.encode())))
    readers = [os.pipe() for _ in range(2)]
    (order_end, order_writer), (answer_reader, answer_end) = readers
    server, terminal = pty.fork()
    if server == 0:
        os.dup2(order_end, 0)
        os.dup2(answer_end, 1)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        os.execv(sys.executable, [sys.executable, "-B", str(WORKER)])
    os.write(order_writer, order)
    for fd in (order_end, order_writer, answer_end):
        os.close(fd)
    with os.fdopen(answer_reader, "rb") as answers:
        outcome = pickle.load(answers)
    os.waitpid(server, 0)
    os.close(terminal)
    assert outcome.exit_code == 1
    assert b"No such device or address: '/dev/tty'" in outcome.stderr


class TestOutput:
    def test_a_flood_is_cut_and_the_rest_dropped(self, server, copy):
        outcome = server.run(copy, "head -c 50000000 /dev/zero; echo short >&2", output_bytes=1000)
        assert outcome.exit_code == 0
        assert (len(outcome.stdout), outcome.stdout_truncated) == (1000, True)
        assert (outcome.stderr, outcome.stderr_truncated) == (b"short\n", False)

    def test_exactly_the_cap_is_whole(self, server, copy):
        outcome = server.run(copy, "head -c 1000 /dev/zero | tee /dev/stderr", output_bytes=1000)
        assert (len(outcome.stdout), outcome.stdout_truncated) == (1000, False)
        assert (len(outcome.stderr), outcome.stderr_truncated) == (1000, False)

    def test_an_endless_flood_ends_with_the_time(self, server, copy):
        outcome = server.run(copy, "yes & yes >&2", timeout=0.5, output_bytes=10)
        assert (outcome.stdout, outcome.stderr, outcome.timed_out) == (
            b"y\ny\ny\ny\ny\n",
            b"y\ny\ny\ny\ny\n",
            True,
        )

    def test_all_of_it_is_there_when_the_shell_ends(self, server, copy):
        assert len(server.run(copy, "head -c 300000 /dev/zero").stdout) == 300_000

    def test_many_commands_at_once(self, here, isolated, root):
        sandbox = choose(None)
        runs = [here.submit(sandbox.run(Command(f"echo {i}; exit {i}", root))) for i in range(20)]
        assert [(run.result(60).stdout, run.result().exit_code) for run in runs] == [
            (f"{i}\n".encode(), i) for i in range(20)
        ]


class TestExit:
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            ("exit 7", 7),
            ("false", 1),
            ("nothing-of-that-name", 127),
            ("kill -9 $$", 137),
            ("kill -TERM $$", 143),
            ("(", 2),
        ],
    )
    def test_the_code_is_that_of_bash(self, server, copy, script, code):
        assert server.run(copy, script).exit_code == code


class TestInput:
    def test_bytes_are_piped(self, server, copy):
        content = bytes(range(256)) * 4096
        assert server.run(copy, "cat", stdin=content, output_bytes=len(content)).stdout == content

    def test_none_is_the_null_device(self, server, copy):
        assert server.run(copy, "readlink /proc/self/fd/0; cat").stdout == b"/dev/null\n"

    def test_empty_is_an_end_at_once(self, server, copy):
        outcome = server.run(copy, "readlink /proc/self/fd/0; cat", stdin=b"")
        assert outcome.stdout.startswith(b"pipe:")

    def test_a_reader_that_leaves_early_is_no_error(self, server, copy):
        assert server.run(copy, "head -c 1", stdin=b"a" * 1_000_000).stdout == b"a"


class TestScript:
    SHOW = (
        'echo "$0 [${BASH_SOURCE[*]}] $LINENO $# $-"; cat; missing-program\n'
        "set -e; trap 'echo end $?' EXIT\n"
        "echo $LINENO\n"
        "false\n"
        "echo not reached"
    )

    def test_a_long_one_behaves_as_a_short_one(self, server, copy):
        short = server.run(copy, self.SHOW, stdin=b"in\n")
        long = server.run(copy, f"{self.SHOW}\n#{'x' * 250_000}", stdin=b"in\n")
        assert (short.exit_code, short.stdout, short.stderr) == (long.exit_code, long.stdout, long.stderr)
        assert short.stdout.startswith(b"bash [] 1 0 hBc\nin\n3\n")

    def test_a_long_one_leaves_no_descriptor_open(self, server, copy):
        script = "ls /proc/self/fd | wc -l\n#"
        assert server.run(copy, script + "x" * 250_000).stdout == server.run(copy, script).stdout

    def test_any_bytes_go_through(self, server, copy):
        for filler in ("", "x" * 250_000):
            outcome = server.run(copy, f"printf %s '\udcff\u00e9' #{filler}")
            assert outcome.stdout == b"\xff\xc3\xa9"

    def test_a_nul_is_refused(self, here, isolated, root):
        for fields in (
            {"script": "true\0"},
            {"script": "true", "env": {"A": "\0"}},
            {"script": "true", "env": {"A=B": ""}},
        ):
            before = set(os.listdir("/proc/self/fd"))
            with pytest.raises(ValueError):
                here.run(root, **fields)
            assert set(os.listdir("/proc/self/fd")) == before


class TestPrograms:
    def test_awk_and_python_work(self, server, copy):
        script = "echo a b | awk '{print $2}'; python3 -c 'import ssl, json; print(1)'; python -c 'print(2)'"
        assert server.run(copy, script).stdout == b"b\n1\n2\n"

    def test_an_environment_made_by_one_command_works_in_the_next(self, server, copy):
        if server.run(copy, "python3 -c 'import venv'").exit_code:
            pytest.skip("this Python has no venv")
        assert (
            server.run(copy, "python -m venv --without-pip v && v/bin/python -c 'import json'").exit_code == 0
        )
        assert server.run(copy, ". v/bin/activate && python -c 'import sys; print(sys.prefix)'").stdout == (
            b"/workspace/v\n"
        )


class TestFailure:
    def test_a_copy_that_is_not_there(self, here, isolated, root):
        with pytest.raises(SandboxFailed, match="no folder"):
            here.run(root / "missing", "true")

    @pytest.mark.parametrize(
        "program", ["echo refused >&2; exit 1", "exit 0", "echo '{ \"child-pid\": 1' >&2; kill -9 $$"]
    )
    def test_a_bwrap_that_fails(self, here, isolated, root, program):
        fake = root / "bwrap"
        fake.write_text(f"#!/bin/bash\n{program}\n")
        fake.chmod(0o755)
        with pytest.raises(SandboxFailed):
            here.submit(Bubblewrap(Bwrap(str(fake), bundled=False)).run(Command("true", root))).result(30)

    def test_a_program_that_is_not_there(self, here, isolated, root):
        with pytest.raises(SandboxFailed):
            here.submit(Bubblewrap(Bwrap("/nowhere/bwrap", bundled=False)).run(Command("true", root))).result(
                30
            )

    def test_nothing_is_killed_when_another_thread_ends(self, here, isolated, root):
        """The signal that kills the tree with the server comes at the end of the thread that started it."""
        run = here.submit(choose(None).run(Command("sleep 0.3; echo ok", root)))
        thread = threading.Thread(target=time.sleep, args=(0.05,))
        thread.start()
        thread.join()
        assert run.result(30).stdout == b"ok\n"
