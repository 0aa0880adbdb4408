"""The pid namespace of one command, held by bwrap from outside: released, limited, ended, gone."""

import contextlib
import os
import re
import resource
import select
import subprocess

from trove_agents.server.sandbox.pipes import Drain, readable
from trove_agents.server.sandbox.port import Limits, SandboxFailed
from trove_agents.server.sandbox.processes import Watched

REAP_SECONDS = 1.0
SETUP_SECONDS = 0.5
"""bwrap names the first process within milliseconds; a run cancelled before that waits for it, to kill it."""


class Namespace:
    """The processes of one command: bwrap's monitor on this side, the first process of the namespace, the rest.

    When the first process dies the kernel kills every other one of the namespace, and lets it go only when they
    are gone. The monitor ends earlier, as soon as the shell has.
    """

    def __init__(self, bwrap: subprocess.Popen[bytes], status: int, block: int, stderr: Drain) -> None:
        """`status` is read for bwrap's reports in JSON; the command starts when something is written to `block`."""
        self._bwrap = bwrap
        self._monitor = Watched(bwrap.pid, lambda: bwrap.poll() is not None)
        self._first: Watched | None = None
        self._status = status
        self._block = block
        self._stderr = stderr
        self._told = b""
        self._silent = False

    async def ready(self) -> int:
        """The number of the first process, on this side.

        Raises:
            SandboxFailed: there is none.
        """
        while self._find_first() is None:
            if self._silent:
                await self._monitor.ended()
                raise self._failed()
            await self._listen()
        assert self._first is not None
        return self._first.pid

    def limit(self, limits: Limits, timeout: float) -> None:
        """Sets the limits of the first process, which the command inherits.

        From outside and only now: processes are counted per user namespace, so set any earlier the limit would
        count what else the server's user runs.
        """
        assert self._first is not None
        cpu = limits.cpu(timeout)
        for kind, wanted, hard in (
            (resource.RLIMIT_AS, limits.address_space, limits.address_space),
            (resource.RLIMIT_NPROC, limits.processes, limits.processes),
            (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
            (resource.RLIMIT_FSIZE, limits.file_size, limits.file_size),
            (resource.RLIMIT_CPU, cpu, cpu + 1),
            (resource.RLIMIT_CORE, 0, 0),
        ):
            # A process whose set-up failed is already gone: `exit_code` tells.
            with contextlib.suppress(ProcessLookupError):
                most = resource.prlimit(self._first.pid, kind)[1]
                most = hard if most == resource.RLIM_INFINITY else min(hard, most)
                resource.prlimit(self._first.pid, kind, (min(wanted, most), most))

    def release(self) -> None:
        """Lets the command start."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._block, b"\0")

    async def ended(self) -> None:
        """Returns once the command's shell has ended."""
        while self._code() is None and not self._silent:
            await self._listen()

    def kill(self) -> None:
        """Kills the namespace, and with it every process in it."""
        if self._first is not None:
            self._first.kill()
        self._monitor.kill()

    async def gone(self) -> None:
        """Returns once no process is left."""
        if self._first is not None:
            await self._first.ended()
        await self._monitor.ended()

    def exit_code(self) -> int:
        """Of the shell.

        Raises:
            SandboxFailed: there was no shell, the set-up failed before.
        """
        code = self._code()
        if code is None:
            raise self._failed()
        return code

    def close(self) -> None:
        """Kills what is left and gives up the descriptors."""
        while self._find_first() is None and not self._silent:
            if not select.select((self._status,), (), (), SETUP_SECONDS)[0]:
                break
            self._read()
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._bwrap.wait(REAP_SECONDS)
        if self._first is not None:
            self._first.wait(REAP_SECONDS)
            # If this process is the first of its container it has inherited the orphan.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._first.pid, os.WNOHANG)
            self._first.close()
        self._monitor.close()
        os.close(self._status)
        os.close(self._block)

    def _find_first(self) -> Watched | None:
        match = re.search(rb'"child-pid": (\d+)\D', self._told)
        if self._first is None and match is not None:
            self._first = Watched(int(match[1]))
        return self._first

    def _code(self) -> int | None:
        """The exit code that bwrap has reported; it reports none of a command that could not be started."""
        match = re.search(rb'"exit-code": (\d+)\D', self._told)
        return int(match[1]) if match else None

    async def _listen(self) -> None:
        await readable(self._status)
        self._read()

    def _read(self) -> None:
        """Takes a piece of bwrap's reports; after the last it is silent."""
        piece = os.read(self._status, 4096)
        self._told += piece
        self._silent = not piece

    def _failed(self) -> SandboxFailed:
        self._stderr.close()
        said = bytes(self._stderr.kept).decode(errors="replace").strip()
        return SandboxFailed(said or "bwrap ended before the command started")
