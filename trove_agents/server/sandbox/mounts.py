"""Giving up the mounts of commands that have ended, off everybody's way.

When the last holder of a mount namespace goes, the kernel unmounts what is in it, and unmounting an overlay writes out
the whole file system under it, whoever's data is waiting there: milliseconds to seconds. So the server holds the
namespace until the command's processes are gone, and a thread of its own gives it up. Nobody can enter it meanwhile.
It waits a moment before that: the command's own commit is about to write to the same disk.
"""

import os
import queue
import threading
import time
from typing import Final

REST_SECONDS: Final = 0.05
"""From the end of a command until its mounts are given up."""
_MOST: Final = 256
"""Mounts that wait; beyond it callers wait, too."""


class _Closer:
    """One thread that closes descriptors in turn; it ends with the process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._waiting: queue.Queue[tuple[float, int]] = queue.Queue(_MOST)
        """Descriptors, each with the time from which it may be closed."""
        threading.Thread(target=self._work, name="trove-unmount", daemon=True).start()

    def close(self, descriptor: int) -> None:
        try:
            self._waiting.put_nowait((time.monotonic() + REST_SECONDS, descriptor))
        except queue.Full:
            os.close(descriptor)

    def _work(self) -> None:
        while True:
            due, descriptor = self._waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            os.close(descriptor)


_closer: _Closer | None = None


def hold(pid: int) -> int | None:
    """A descriptor of a process's mounts; None when it has gone."""
    try:
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def give_up(descriptor: int) -> None:
    """Closes what `hold` gave, without waiting for the unmounting."""
    global _closer  # noqa: PLW0603 - one thread for the process, and another after a fork
    if _closer is None or _closer.process != os.getpid():
        _closer = _Closer()
    _closer.close(descriptor)
