"""Processes as the sandbox watches them: by pidfd, so that a number that was given out again is never killed."""

import asyncio
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

from trove_agents.server.sandbox.pipes import readable

POLL_SECONDS = 0.005


class Watched:
    """One process, ours or not: waited for and killed without mistaking another for it.

    Where the kernel has no pidfd (Linux before 5.3, macOS) it is asked for every few milliseconds.
    """

    def __init__(self, pid: int, poll: Callable[[], bool] | None = None) -> None:
        """`poll` tells whether the process has ended, for a child that somebody has to reap."""
        self.pid = pid
        self._poll = poll or self._gone
        try:
            self._fd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._fd = -1

    async def ended(self) -> None:
        """Returns once the process has ended; for the first of a pid namespace: once all of them have."""
        if self._fd >= 0:
            await readable(self._fd)
        else:
            while not self._poll():  # noqa: ASYNC110 - nothing would set an event
                await asyncio.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """Kills it, if it is still there."""
        try:
            if self._fd >= 0:
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)
            elif not self._poll():
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def wait(self, seconds: float) -> None:
        """The same as `ended` for one who cannot await, for a process that was killed."""
        if self._fd >= 0:
            select.select((self._fd,), (), (), seconds)
            return
        deadline = time.monotonic() + seconds
        while not self._poll() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Gives up the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _gone(self) -> bool:
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return True
        return stat[stat.rindex(b")") + 2 :][:1] in b"ZX"
