"""Each test tries an attack on what a command must not see or change. They come from the project's threat list."""

import os
import signal
import socket
from pathlib import Path

import pytest

from trove_agents.server.sandbox.seccomp import MACHINES, NOT_THERE

pytestmark = pytest.mark.sandbox


class TestFiles:
    @pytest.mark.parametrize(
        "path",
        [
            "/etc/shadow",
            "/root",
            "/home",
            "/var",
            "/run",
            "/sys",
            "/boot",
            "/mnt",
            "/srv",
            "/proc/1/root/etc/shadow",
        ],
    )
    def test_files_of_the_machine_are_not_there(self, server, copy, path):
        outcome = server.run(copy, f"cat {path} || ls {path}")
        assert outcome.exit_code != 0
        assert outcome.stdout == b""

    def test_neither_the_server_nor_its_state_is_there(self, server, copy):
        (copy.parent / "state.db").write_text("secret")
        paths = [copy.parent, copy, Path(__file__), Path.home()]
        for path in paths:
            assert server.run(copy, f"ls {path}").exit_code == 2

    def test_another_working_copy_is_not_there(self, server, copy):
        other = copy.parent / "other"
        other.mkdir(mode=0o777)
        (other / "f").write_text("theirs")
        assert server.run(copy, f"cat ../other/f {other}/f; ls ..").stdout.split() == sorted(
            server.run(copy, "ls /").stdout.split()
        )

    def test_etc_holds_only_what_the_world_may_read(self, server, copy):
        listed = server.run(copy, "find /etc -type f ! -perm -o+r; cat /etc/passwd").stdout.decode()
        assert [line.partition(":")[0] for line in listed.splitlines()] == ["user", "nobody"]

    @pytest.mark.parametrize(
        "path",
        [
            "/new",
            "/usr/new",
            "/usr/bin/new",
            "/dev/new",
            "/etc/new",
            "/proc/new",
            "/opt/new",
            "/workspace/../new",
        ],
    )
    def test_nothing_outside_the_copy_can_be_made(self, server, copy, path):
        outcome = server.run(copy, f"mkdir {path}; echo x > {path}.file; ls -d {path} {path}.file")
        assert outcome.exit_code != 0
        assert outcome.stdout == b""

    def test_nothing_outside_the_copy_can_be_changed(self, server, copy):
        script = "for f in /etc/passwd /usr/bin/env /proc/version /usr; do echo x >> $f; done 2>&1"
        assert server.run(copy, script + "; rm -rf /usr/bin/env /etc; test -e /usr/bin/env").exit_code == 0

    def test_the_copy_can_be_written_and_its_files_belong_to_the_server(self, server, copy):
        outcome = server.run(
            copy, "mkdir d && echo hi > d/f && chmod 600 d/f && pwd && cat d/f && stat -c %u d/f"
        )
        assert outcome.stdout == b"/workspace\nhi\n1000\n"
        assert (copy / "d" / "f").stat().st_uid == copy.stat().st_uid

    def test_files_hidden_by_their_mode_can_be_removed(self, here, isolated, root):
        here.run(root, "mkdir -p a/b && echo x > a/b/f && chmod 000 a/b/f a/b a")
        for folder in ("a", "a/b"):
            (root / folder).chmod(0o700)
        (root / "a/b/f").unlink()

    def test_a_link_leads_nowhere_inside(self, server, copy):
        outcome = server.run(copy, "ln -s /etc/shadow s; ln -s / r; cat s r/etc/shadow; ls r/root")
        assert outcome.stdout == b""
        assert outcome.exit_code == 2

    def test_devices_cannot_be_made(self, server, copy):
        outcome = server.run(
            copy, "mkfifo pipe; for k in 'b 8 0' 'c 1 1'; do mknod dev $k && echo made; done"
        )
        assert outcome.stdout == b""
        assert not (copy / "dev").exists()

    def test_programs_that_gain_rights_gain_none(self, server, copy):
        script = "find / -xdev -perm /6000 -type f 2>/dev/null | head -1; grep -E '^(NoNewPrivs|Cap)' /proc/self/status"
        status = server.run(copy, script).stdout.decode()
        assert "NoNewPrivs:\t1" in status
        for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
            assert f"Cap{kind}:\t0000000000000000" in status


class TestServer:
    def test_the_environment_of_the_server_is_not_there(self, server, copy, monkeypatch):
        monkeypatch.setenv("KEY", "a-secret-of-the-server")
        outcome = server.run(copy, "cat /proc/*/environ | tr '\\0' '\\n'; env", env={"GIVEN": "x y"})
        assert b"secret" not in outcome.stdout
        names = {line.partition("=")[0] for line in outcome.stdout.decode().splitlines()}
        assert names <= {
            *("PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "SHELL", "LANG", "TERM", "GIVEN"),
            *("PWD", "OLDPWD", "SHLVL", "_"),
        }
        assert b"GIVEN=x y" in outcome.stdout

    def test_the_command_line_of_the_first_process_says_nothing(self, server, copy):
        line = server.run(copy, "tr '\\0' ' ' < /proc/1/cmdline").stdout.decode()
        assert str(copy.parent) not in line
        assert "--bind" not in line
        assert line.startswith("bwrap ")  # and not where it is installed

    def test_open_files_of_the_server_are_not_there(self, here, isolated, root):
        with open("/etc/shadow" if os.geteuid() == 0 else __file__) as file:
            os.set_inheritable(file.fileno(), True)
            outcome = here.run(root, "for p in 1 self; do ls -l /proc/$p/fd | sed 's/.*-> //'; done")
        allowed = ("/dev/null", "pipe:", "/proc/", "anon_inode:[eventfd]", "total")
        assert [line for line in outcome.stdout.decode().splitlines() if not line.startswith(allowed)] == []

    def test_memory_of_the_first_process_cannot_be_read(self, server, copy):
        script = "import re; m = open('/proc/1/maps').read(); open('/proc/1/mem', 'rb').read(1)"
        assert server.run(copy, f'python3 -c "{script}"').exit_code == 1


class TestNetwork:
    def test_only_its_own_loopback_is_there(self, server, copy):
        assert server.run(copy, "tail -n +3 /proc/net/dev | cut -d: -f1").stdout.strip() == b"lo"

    def test_services_of_the_machine_are_out_of_reach(self, server, copy):
        with socket.create_server(("127.0.0.1", 0)) as service:
            port = service.getsockname()[1]
            assert server.run(copy, f"exec 3<>/dev/tcp/127.0.0.1/{port}").exit_code == 1

    def test_other_machines_are_out_of_reach(self, server, copy):
        # An address for documentation (RFC 5737), should the attempt ever leave.
        outcome = server.run(copy, "exec 3<>/dev/tcp/203.0.113.1/80")
        assert b"Network is unreachable" in outcome.stderr

    def test_abstract_sockets_of_the_machine_are_out_of_reach(self, server, copy, mark):
        with socket.socket(socket.AF_UNIX) as service:
            service.bind(f"\0{mark}")
            service.listen()
            script = f"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + '{mark}')"
            outcome = server.run(copy, "python3 -", stdin=script.encode())
        assert outcome.exit_code == 1
        assert b"Error" in outcome.stderr

    @pytest.mark.skipif(
        os.uname().machine not in MACHINES, reason="no filter of system calls for this machine"
    )
    def test_no_socket_goes_past_the_network_namespace(self, server, copy):
        # vsock, among others, reaches the host of a virtual machine whatever the namespace
        script = (
            "import socket\n"
            "for family in range(64):\n"
            "    for kind in range(1, 6):\n"
            "        try: socket.socket(family, kind).close(); print(family)\n"
            "        except OSError: pass\n"
        )
        families = set(server.run(copy, "python3 -", stdin=script.encode()).stdout.split())
        assert b"1" in families
        assert families <= {b"1", b"2", b"10", b"16"}

    def test_names_are_not_looked_up(self, server, copy):
        script = "import socket; socket.getaddrinfo('localhost.localdomain.invalid', 1)"
        assert b"gaierror" in server.run(copy, f'python3 -c "{script}"').stderr


class TestProcesses:
    def test_others_are_not_seen(self, server, copy):
        numbers = server.run(copy, "echo /proc/[0-9]*").stdout.split()
        assert len(numbers) <= 4

    def test_others_are_not_killed(self, server, copy):
        outcome = server.run(copy, f"kill -9 {os.getpid()} && echo killed; kill -9 -1")
        assert outcome.stdout == b""

    @pytest.mark.parametrize(
        "attempt",
        [
            "su -c id",
            "sudo -n id",
            "mount -t tmpfs none /tmp",
            "umount /proc",
            "chroot / true",
            "unshare -U true",
            "unshare -m true",
            "nsenter -t 1 -m true",
            "mount -o remount,rw /",
            "hostname other",
            "date -s 2001-01-01",
            "nice -n -5 true 2>&1 | grep -v cannot",
            "chown 0 .",
            "echo -1000 > /proc/self/oom_score_adj",
        ],
    )
    def test_no_right_is_gained(self, server, copy, attempt):
        assert server.run(copy, attempt, stdin=b"").exit_code != 0

    @pytest.mark.parametrize("attempt", ["head -c 1 /dev/mem", "head -c 1 /dev/kmsg", "dmesg", "ls /sys"])
    def test_the_kernel_is_not_read(self, server, copy, attempt):
        outcome = server.run(copy, attempt)
        assert outcome.exit_code != 0
        assert outcome.stdout == b""

    def test_no_setting_of_the_kernel_can_be_written(self, server, copy):
        # Root may, as the owner, even without a capability. Opened only: a test that fails must change nothing.
        script = (
            "import os\n"
            "for folder, folders, files in os.walk('/proc'):\n"
            "    if folder == '/proc': folders[:] = [name for name in folders if not name.isdigit()]\n"
            "    for file in files:\n"
            "        try: os.close(os.open(f'{folder}/{file}', os.O_WRONLY)); print(folder, file)\n"
            "        except OSError: pass\n"
        )
        outcome = server.run(
            copy, "python3 - && test -e /proc/sys/kernel/core_pattern", stdin=script.encode()
        )
        assert outcome.stdout == b""
        assert outcome.exit_code == 0

    def test_what_only_root_may_read_of_the_kernel_is_covered(self, server, copy):
        script = "cd /proc; for f in *; do [[ -f $f && ! $f =~ ^[0-9] ]] && head -c1 $f >/dev/null && echo $f; done"
        readable = server.run(copy, script + " 2>/dev/null").stdout.decode().split()
        assert "version" in readable
        assert [name for name in readable if not Path("/proc", name).stat().st_mode & 0o004] == []

    def test_addresses_of_the_kernel_are_not_shown(self, server, copy):
        assert server.run(copy, "grep -qv '^0* ' /proc/kallsyms").exit_code != 0


@pytest.mark.skipif(os.uname().machine not in MACHINES, reason="no filter of system calls for this machine")
class TestSystemCalls:
    SCRIPT = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        "for number in {numbers}: libc.syscall(number, -1, 0, 0, 0, 0); print(ctypes.get_errno())"
    )

    def test_they_are_refused(self, server, copy):
        calls = MACHINES[os.uname().machine].calls
        script = self.SCRIPT.format(numbers=list(calls.values()))
        answers = server.run(copy, "python3 -", stdin=script.encode()).stdout.decode().split()
        assert answers == ["38" if name in NOT_THERE else "1" for name in calls]

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 is a way of x86-64 only")
    def test_the_second_numbering_is_not_there(self, server, copy):
        script = self.SCRIPT.format(numbers=[0x40000000 + 39])
        assert server.run(copy, "python3 -", stdin=script.encode()).stdout == b"38\n"

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 is an instruction of x86")
    def test_a_foreign_architecture_is_killed(self, server, copy):
        script = (
            "import ctypes, mmap\n"
            "code = mmap.mmap(-1, 4096, prot=7)\n"
            "code.write(bytes.fromhex('b814000000cd80c3'))  # getpid of 32-bit Linux\n"
            "address = ctypes.addressof(ctypes.c_char.from_buffer(code))\n"
            "print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())"
        )
        outcome = server.run(copy, "python3 -", stdin=script.encode())
        assert outcome.exit_code in {128 + signal.SIGSYS, 128 + signal.SIGSEGV}
        assert outcome.stdout == b""
