"""Commands as processes of the server's own user: started, found again and killed without any namespace."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from trove_agents.server.sandbox.pipes import memory_file
from trove_agents.server.sandbox.port import Command, SandboxFailed
from trove_agents.server.sandbox.processes import Watched
from trove_agents.server.sandbox.shell import bash
from trove_agents.server.sandbox.supervise import Streams

MARK = "TROVE_COMMAND"
"""A variable with a random value marks the processes of one command, also those that left its group."""
ROUND_SECONDS = 0.005
_LISTING = ("/bin/ps", "-axEww", "-o", "pid=,command=")
"""Where there is no /proc: the processes with their environments, those of this user at least (macOS)."""


class Group:
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
        """Processes with the mark in their environment."""
        if not Path("/proc/self").exists():
            yield from self._listed()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)

    def _listed(self) -> Iterator[int]:
        try:
            listing = subprocess.run(_LISTING, capture_output=True, timeout=5, check=False).stdout  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return
        for line in listing.splitlines():
            if re.search(rb"(?:^| )" + self._mark + rb"(?: |$)", line):
                yield int(line.split(maxsplit=1)[0])


def start(
    command: Command, streams: Streams, temporary: str, *, before: Sequence[str] = (), begin: str = ""
) -> Group:
    """Starts a command in its folder.

    Args:
        command: what to run.
        streams: its pipes.
        temporary: its home and the place for its temporary files.
        before: the program, with its options, that runs the shell.
        begin: what the shell runs first.

    Raises:
        SandboxFailed: there is no bash, or no such program.
    """
    mark = secrets.token_hex(8)
    with contextlib.ExitStack() as handed:
        descriptors: list[int] = []

        def file(content: bytes) -> int:
            fd = _unnamed(content, handed)
            descriptors.append(fd)
            return fd

        env = {name: value for name, value in command.env.items() if name != MARK}
        shell = bash(command.script, file, env=env, begin=begin)
        try:
            process = subprocess.Popen(  # noqa: S603 - commands are what this is for
                [*before, *shell],
                cwd=command.root,
                env=_environment(temporary, mark),
                pass_fds=descriptors,
                stdin=streams.stdin.reader,
                stdout=streams.stdout.writer,
                stderr=streams.stderr.writer,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxFailed(f"the shell cannot be started: {error}") from error
    streams.started()
    return Group(process, mark)


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


def _environment(temporary: str, mark: str) -> dict[str, str]:
    """A few variables of the server's that programs need, none that could hold a secret."""
    kept = {name: os.environ[name] for name in ("PATH", "USER", "LOGNAME", "SHELL") if name in os.environ}
    fixed = {"HOME": temporary, "TMPDIR": temporary, "LANG": "C.UTF-8", "TERM": "dumb"}
    return {**kept, **fixed, MARK: mark}
