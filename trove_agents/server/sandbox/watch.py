"""Limits that the kernel does not keep for us: looked after every 50 ms while a command runs."""

import asyncio
import contextlib
import os
import re
from pathlib import Path

from trove_agents.server.sandbox.port import Limits

PERIOD_SECONDS = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")


class Watcher:
    """Looks at the processes and the disk of one command until one of its limits is passed."""

    def __init__(
        self,
        root: Path,
        limits: Limits,
        first: int | None = None,
        *,
        memory: bool = True,
        processes: bool = True,
    ) -> None:
        """`first` is the first process of the command's pid namespace, if it has one; `memory` and `processes`:
        no cgroup keeps them, so they are kept here.
        """
        self._limits = limits
        self._processes = _Processes(first, limits, memory=memory, count=processes) if first else None
        self._disk = _Disk(root, limits)

    async def over(self) -> str:
        """Returns with the name of the first limit that is passed."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            passed = await asyncio.to_thread(self._look)
            if passed:
                return passed

    def last(self) -> str | None:
        """What is passed now, with all processes gone."""
        return self._disk.over()

    def _look(self) -> str | None:
        return (self._processes and self._processes.over()) or self._disk.over()


class _Processes:
    """Memory and number of the processes of one pid namespace, read through its own /proc.

    Some kernels have no list of a process's children; the namespace's /proc has exactly the tree, orphans
    included.
    """

    def __init__(self, first: int, limits: Limits, *, memory: bool, count: bool) -> None:
        self._folder = f"/proc/{first}/root/proc"
        self._limits = limits
        self._memory = memory
        self._count = count

    def over(self) -> str | None:
        try:
            pids = [name for name in os.listdir(self._folder) if name.isdigit()]
        except OSError:
            return None  # it has just ended
        if self._count and len(pids) > self._limits.processes:
            return "processes"
        # Pages shared by parent and child count twice in the cheap sum; the exact one is asked only if it matters.
        if self._memory and sum(map(self._private, pids)) > self._limits.memory:
            if sum(map(self._proportional, pids)) > self._limits.memory:
                return "memory"
        return None

    def _private(self, pid: str) -> int:
        try:
            fields = Path(self._folder, pid, "statm").read_bytes().split()
        except OSError:
            return 0
        return (int(fields[1]) - int(fields[2])) * PAGE

    def _proportional(self, pid: str) -> int:
        try:
            text = Path(self._folder, pid, "smaps_rollup").read_bytes()
        except OSError:
            return self._private(pid)
        match = re.search(rb"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        return int(match[1]) * 1024 if match else 0


class _Disk:
    """Room on the file system of the working copy.

    The free space of the whole file system is the cheap sign; what this command itself wrote is measured only
    when the sign shows, since others write there too.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        before = os.statvfs(root)
        self._free = before.f_bavail * before.f_frsize
        self._entries = before.f_favail
        self._floor = min(limits.free_space, self._free // 2)
        # An entry that was changed before now is not this command's.
        self._since = os.stat(root).st_ctime_ns

    def over(self) -> str | None:
        with contextlib.suppress(FileNotFoundError):
            now = os.statvfs(self._root)
            free = now.f_bavail * now.f_frsize
            if free < self._floor:
                return "disk"
            if self._free - free > self._limits.written:
                return "disk"
            if self._entries - now.f_favail > self._limits.entries:
                return "files"
        return None
