"""Commands as plain processes of this machine: no isolation at all, and only for those who ask for it by name."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trove_agents.server.sandbox.pipes import memory_file
from trove_agents.server.sandbox.port import Command, Limits, Network, Outcome, SandboxFailed
from trove_agents.server.sandbox.processes import Watched
from trove_agents.server.sandbox.shell import bash
from trove_agents.server.sandbox.supervise import Streams, supervise
from trove_agents.server.sandbox.watch import Watcher

MARK = "TROVE_COMMAND"
"""A variable with a random value marks the processes of one command, also those that left its group."""
ROUND_SECONDS = 0.005
WARNING = (
    "Commands run without a sandbox: they can read and change whatever this user can, reach the network, and "
    "leave processes behind."
)
_log = logging.getLogger(__name__)


class Unisolated:
    """Runs each command as a process group of the server's own user."""

    name = "none"
    inner_root = None
    network: Network = "host"

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        _log.warning(WARNING)

    async def run(self, command: Command) -> Outcome:
        """See `Sandbox.run`; only processes that keep their group or their environment are sure to be killed."""
        mark = secrets.token_hex(8)
        with contextlib.ExitStack() as stack:
            streams = Streams.open(command)
            stack.callback(streams.close)
            tree = _Group(_start(command, streams, mark), mark)
            stack.callback(tree.close)
            watch = Watcher(command.root, self.limits)
            return await supervise(command, tree, streams, watch)


class _Group:
    """The processes of one command, as far as they can be found."""

    def __init__(self, shell: subprocess.Popen[bytes], mark: str) -> None:
        self._shell = shell
        self._watched = Watched(shell.pid, lambda: shell.poll() is not None)
        self._mark = f"{MARK}={mark}".encode()

    async def ended(self) -> None:
        await self._watched.ended()

    def kill(self) -> None:
        # Until the shell is reaped the number of its group cannot be given to another.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._kill_marked()

    async def gone(self) -> None:
        await self._watched.ended()
        # A process may have forked while the others were found: until a round finds none.
        while self._kill_marked():  # noqa: ASYNC110 - nothing would set an event
            await asyncio.sleep(ROUND_SECONDS)

    def exit_code(self) -> int:
        code = self._shell.wait()
        return 128 - code if code < 0 else code

    def close(self) -> None:
        if self._shell.returncode is None:
            self.kill()
            self._shell.wait()
        self._watched.close()

    def _kill_marked(self) -> bool:
        """Whether there was any."""
        found = False
        for pid in self._marked():
            found = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return found

    def _marked(self) -> Iterator[int]:
        """Processes with the mark in their environment; none where there is no /proc."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


def _start(command: Command, streams: Streams, mark: str) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as handed:
        descriptors: list[int] = []

        def file(content: bytes) -> int:
            fd = _unnamed(content, handed)
            descriptors.append(fd)
            return fd

        env = {name: value for name, value in command.env.items() if name != MARK}
        shell = bash(command.script, file, env=env)
        try:
            process = subprocess.Popen(  # noqa: S603 - commands are what this is for
                shell,
                cwd=command.root,
                env=_environment(mark),
                pass_fds=descriptors,
                stdin=streams.stdin.reader,
                stdout=streams.stdout.writer,
                stderr=streams.stderr.writer,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxFailed(f"bash cannot be started: {error}") from error
    streams.started()
    return process


def _unnamed(content: bytes, handed: contextlib.ExitStack) -> int:
    """A file without a name, in memory where this system has such: there may be secrets in it."""
    if hasattr(os, "memfd_create"):
        fd = memory_file(content)
        handed.callback(os.close, fd)
        return fd
    opened = handed.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - with `handed`
    opened.write(content)
    opened.seek(0)
    return opened.fileno()


def _environment(mark: str) -> dict[str, str]:
    """A few variables of the server's that programs need, none that could hold a secret."""
    temporary = tempfile.gettempdir()
    kept = {name: os.environ[name] for name in ("PATH", "USER", "LOGNAME", "SHELL") if name in os.environ}
    fixed = {"HOME": temporary, "TMPDIR": temporary, "LANG": "C.UTF-8", "TERM": "dumb"}
    return {**kept, **fixed, MARK: mark}
