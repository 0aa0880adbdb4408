"""Each test tries to use more of the machine than a command may."""

import os
import signal

import pytest

from trove_agents.server.sandbox import Limits
from trove_agents.server.sandbox.port import GB, MB
from trove_agents.server.sandbox.watch import Disk, Processes

pytestmark = pytest.mark.sandbox

FORKS = """
import os, time
count = 0
while count < 400:
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except OSError:
        break
    count += 1
print(count, flush=True)
"""
HOG = "import time; held = bytearray({size}); held[::4096] = bytes(len(held[::4096])); time.sleep(30)"


class TestMemory:
    def test_one_process_gets_no_more_than_its_address_space(self, server, copy):
        outcome = server.run(copy, "python3 -c 'bytearray(600 << 20)'", limits=Limits(address_space=512 * MB))
        assert b"MemoryError" in outcome.stderr

    def test_many_processes_get_no_more_together(self, server, copy):
        hog = HOG.format(size=40 * MB)
        outcome = server.run(
            copy, f"for i in 1 2 3 4; do python3 -c '{hog}' & done; sleep 20", limits=Limits(memory=100 * MB)
        )
        assert outcome.over_quota == "memory"
        assert not outcome.timed_out
        assert outcome.exit_code == 137

    def test_memory_shared_by_forks_counts_once(self, server, copy):
        script = (
            "import os, time\n"
            f"held = bytes({40 * MB})\n"
            "for i in range(4):\n"
            "    if os.fork() == 0: time.sleep(0.3); os._exit(0)\n"
            "for i in range(4): os.wait()\n"
            "print('ok')"
        )
        outcome = server.run(copy, "python3 -", stdin=script.encode(), limits=Limits(memory=100 * MB))
        assert outcome.stdout == b"ok\n"

    def test_memory_that_processes_share_is_limited(self, server, copy):
        script = (
            "import mmap, time\n"
            f"held = mmap.mmap(-1, {160 * MB})\n"
            f"for at in range(0, {160 * MB}, 4096): held[at] = 1\n"
            "time.sleep(20)"
        )
        outcome = server.run(copy, "python3 -", stdin=script.encode(), limits=Limits(memory=100 * MB))
        assert outcome.over_quota == "memory"

    def test_the_machine_keeps_some(self, tmp_path):
        # What no process has mapped shows in none of them: files of memfd_create, System V's segments
        memory = tmp_path / "meminfo"
        memory.write_text("MemTotal: 9000000 kB\nMemAvailable:  1000000 kB\n")
        watched = Processes(os.getpid, Limits(memory=1 << 60, processes=10_000), memory=memory)
        assert watched.over() is None
        memory.write_text("MemAvailable:   200000 kB\n")
        assert watched.over() == "memory"

    @pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
    def test_temporary_files_are_limited(self, server, copy, folder):
        outcome = server.run(copy, f"head -c 9000000 /dev/zero > {folder}/f", limits=Limits(temporary=8 * MB))
        assert b"No space left" in outcome.stderr


class TestProcesses:
    def test_forks_end(self, server, copy):
        outcome = server.run(copy, "python3 -", stdin=FORKS.encode(), limits=Limits(processes=60), timeout=20)
        forked = int(outcome.stdout or 0)
        assert forked < 60
        assert forked > 40 or outcome.over_quota == "processes"

    def test_two_commands_do_not_share_the_count(self, here, isolated, root):
        from trove_agents.server.sandbox import Command, choose

        sandbox = choose(None, limits=Limits(processes=60))
        runs = [here.submit(sandbox.run(Command("python3 -", root, stdin=FORKS.encode()))) for _ in range(2)]
        assert all(40 < int(run.result(60).stdout) < 60 for run in runs)

    def test_a_bomb_leaves_nothing(self, server, copy, survivors, mark):
        outcome = server.run(
            copy,
            f"f() {{ sleep {mark} & f | f & }}; f; sleep 20",
            limits=Limits(processes=60),
            timeout=1,
        )
        assert outcome.timed_out or outcome.over_quota
        assert survivors(mark) == []


class TestProcessor:
    def test_a_spinning_process_is_killed(self, server, copy):
        outcome = server.run(copy, "while :; do :; done", limits=Limits(cpu_seconds=1), timeout=40)
        assert outcome.exit_code == 128 + signal.SIGXCPU

    def test_without_a_limit_of_its_own_it_follows_the_time_limit(self, server, copy):
        limits = Limits()
        outcome = server.run(copy, "ulimit -t", timeout=7.5)
        assert int(outcome.stdout) == limits.cpu(7.5) >= 8


class TestDisk:
    def test_one_file_is_limited(self, server, copy):
        outcome = server.run(
            copy, "truncate -s 1T f; head -c 3000000 /dev/zero > g", limits=Limits(file_size=2 * MB)
        )
        assert outcome.exit_code == 128 + signal.SIGXFSZ
        assert (copy / "g").stat().st_size == 2 * MB

    def test_many_files_are_limited_by_their_bytes(self, server, copy):
        script = "i=0; while head -c 5000000 /dev/urandom > f$i; do i=$((i+1)); done"
        outcome = server.run(copy, script, limits=Limits(written=30 * MB), timeout=30)
        assert outcome.over_quota == "disk"
        assert outcome.exit_code == 137

    def test_many_files_are_limited_by_their_number(self, server, copy):
        script = "import itertools\nfor i in itertools.count(): open(f'f{i}', 'w').close()"
        outcome = server.run(
            copy, "python3 -", stdin=script.encode(), limits=Limits(entries=2000), timeout=30
        )
        assert outcome.over_quota == "files"

    def test_bytes_hidden_from_the_server_count(self, server, copy):
        script = "mkdir d; head -c 30000000 /dev/urandom > d/f; chmod 000 d; sleep 9"
        assert server.run(copy, script, limits=Limits(written=10 * MB)).over_quota == "disk"

    @pytest.mark.parametrize("mode", ["000", "444"])
    def test_a_closed_directory_alone_is_no_sign_of_bytes(self, server, copy, mode):
        script = f"mkdir d; touch d/f; chmod {mode} d; sleep 1.3; chmod 700 d"
        assert server.run(copy, script).over_quota is None

    def test_bytes_deeper_than_a_path_is_long_count(self, server, copy):
        script = (
            "import os, time\n"
            "for i in range(300): os.mkdir('d' * 50); os.chdir('d' * 50)\n"
            "open('f', 'wb').write(os.urandom(30_000_000)); time.sleep(9)"
        )
        outcome = server.run(copy, "python3 -", stdin=script.encode(), limits=Limits(written=10 * MB))
        assert outcome.over_quota == "disk"

    def test_no_link_is_followed_that_takes_a_directorys_place(self, tmp_path, monkeypatch):
        (tmp_path / "copy" / "d").mkdir(parents=True)
        (tmp_path / "outside").mkdir()
        disk = Disk(tmp_path / "copy", Limits(entries=20))
        for number in range(100):
            (tmp_path / "outside" / f"f{number}").touch()
        monkeypatch.setattr("trove_agents.server.sandbox.watch.MEASURE_SECONDS", -1)
        directory, real = tmp_path / "copy" / "d", os.scandir

        class Listing(list):
            def __enter__(self):
                return self

            def __exit__(self, *_):
                """As if the command won the race each time."""
                if not directory.is_symlink():
                    directory.rmdir()
                    directory.symlink_to(tmp_path / "outside")

        def swapped(place):
            with real(place) as inside:
                return Listing(inside)

        monkeypatch.setattr("os.scandir", swapped)
        assert disk.over() is None

    def test_what_was_there_before_does_not_count(self, server, copy):
        (copy / "big").write_bytes(bytes(range(256)) * 80_000)
        outcome = server.run(
            copy, "head -c 5000000 /dev/urandom > f; sleep 1.2", limits=Limits(written=10 * MB)
        )
        assert outcome.over_quota is None

    def test_a_sparse_file_counts_what_it_takes(self, server, copy):
        outcome = server.run(
            copy, "truncate -s 1G f; sleep 1.2", limits=Limits(written=10 * MB, file_size=2 * GB)
        )
        assert outcome.over_quota is None

    def test_space_is_left_to_others(self, server, copy):
        # Half of what is free at the start always remains to the command.
        assert server.run(copy, "echo x > f", limits=Limits(free_space=1 << 60)).over_quota is None


class TestOthers:
    def test_open_files_are_limited(self, server, copy):
        script = "import os\nwhile True: os.dup(0)"
        outcome = server.run(copy, "python3 -", stdin=script.encode(), limits=Limits(open_files=50))
        assert b"Too many open files" in outcome.stderr

    def test_no_core_is_written(self, server, copy):
        outcome = server.run(copy, "ulimit -c; bash -c 'kill -SEGV $$'")
        assert outcome.stdout == b"0\n"
        assert outcome.exit_code == 128 + signal.SIGSEGV
        assert list(copy.iterdir()) == []

    def test_limits_cannot_be_raised(self, server, copy):
        for flag in ("v", "n", "f", "t"):
            assert server.run(copy, f"ulimit -{flag} unlimited").exit_code == 1
