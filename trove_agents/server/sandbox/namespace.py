"""The pid namespace of one command, held by bwrap from outside: found, released, ended, gone."""

import contextlib
import os
import re
import select
import subprocess
from pathlib import Path

from trove_agents.server.sandbox import mounts
from trove_agents.server.sandbox.pipes import Drain, readable
from trove_agents.server.sandbox.port import SandboxFailed
from trove_agents.server.sandbox.processes import Watched

REAP_SECONDS = 1.0
SETUP_SECONDS = 0.5
"""bwrap names the first process within milliseconds; a run cancelled before that waits for it, to kill it."""


class Namespace:
    """The processes of one command: bwrap's monitor on this side, the first process of the namespace, the rest.

    When the first process dies the kernel kills every other one of the namespace, and lets it go only when they
    are gone. The monitor ends earlier, as soon as the shell has.
    """

    def __init__(self, bwrap: subprocess.Popen[bytes], status: int, lifeline: int, stderr: Drain) -> None:
        """`status` gives bwrap's reports in JSON; the command holds the other end of `lifeline`."""
        self._bwrap = bwrap
        self._monitor = Watched(bwrap.pid, lambda: bwrap.poll() is not None)
        self._first: Watched | None = None
        self._status = status
        self._lifeline = lifeline
        self._stderr = stderr
        self._told = b""
        self._silent = False
        self._mounts: int | None = None
        os.set_blocking(status, False)

    def first(self) -> int | None:
        """The number of the namespace's first process, on this side; None while, or if, there is none."""
        while self._read():
            pass
        found = re.search(rb'"child-pid": (\d+)\D', self._told)
        if self._first is None and found is not None:
            watched = Watched(int(found[1]))
            # It may have ended and its number been given to another, which would not be the first of a namespace.
            if _is_first(watched.pid):
                self._first = watched
            else:
                watched.close()
        return self._first.pid if self._first is not None else None

    async def hold_mounts(self) -> None:
        """Keeps the command's mounts until its processes are gone: see `mounts`. Returns once they are there, or when the
        command has ended already.
        """
        while (first := self.first()) is None and not self._silent:
            await readable(self._status)
        if first is not None:
            self._mounts = mounts.hold(first)

    async def ready(self) -> int:
        """The same once it is there.

        Raises:
            SandboxFailed: it never will.
        """
        while (first := self.first()) is None:
            if self._silent:
                await self._monitor.ended()
                raise self._failed()
            await readable(self._status)
        return first

    def release(self) -> None:
        """Lets a command start that was told to wait."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, b"\0")

    async def ended(self) -> None:
        """Returns once the command's shell has ended."""
        await self._monitor.ended()
        self.first()

    def kill(self) -> None:
        """Kills the namespace, and with it every process in it.

        One that is only being set up waits for its monitor's word, for ever if that is dead; so first it is named.
        """
        while self.first() is None and not self._silent:
            if not select.select((self._status,), (), (), SETUP_SECONDS)[0]:
                break
        if self._first is not None:
            self._first.kill()
        self._monitor.kill()

    async def gone(self) -> None:
        """Returns once no process is left."""
        await self._monitor.ended()
        if self._first is not None:
            await self._first.ended()

    def exit_code(self) -> int:
        """Of the shell.

        Raises:
            SandboxFailed: there was no shell, the set-up failed before.
        """
        match = re.search(rb'"exit-code": (\d+)\D', self._told)
        if match is None:
            raise self._failed()
        return int(match[1])

    def close(self) -> None:
        """Kills what is left and gives up the descriptors."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._bwrap.wait(REAP_SECONDS)
        if self._first is not None:
            self._first.wait(REAP_SECONDS)
            # If this process is the first of its container it has inherited the orphan.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._first.pid, os.WNOHANG)
            self._first.close()
        if self._mounts is not None:
            mounts.give_up(self._mounts)
        self._monitor.close()
        os.close(self._status)
        os.close(self._lifeline)

    def _read(self) -> bool:
        """Takes a piece of bwrap's reports; after the last it is silent."""
        try:
            piece = os.read(self._status, 4096)
        except BlockingIOError:
            return False
        self._told += piece
        self._silent = not piece
        return bool(piece)

    def _failed(self) -> SandboxFailed:
        self._stderr.close()
        said = bytes(self._stderr.kept).decode(errors="replace").strip()
        return SandboxFailed(said or "bwrap ended before the command started")


def _is_first(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return False
    numbers = re.search(rb"^NSpid:\t\d+\t(?:\d+\t)*1$", status, re.MULTILINE)
    return numbers is not None
