"""Limits that the kernel does not keep for us: looked after every 50 ms while a command runs."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from trove_agents.server.sandbox.cgroup import Group
from trove_agents.server.sandbox.port import Limits

PERIOD_SECONDS = 0.05
MEASURE_SECONDS = 1.0
PAGE = os.sysconf("SC_PAGE_SIZE")


class Watcher:
    """Looks at the processes and the disk of one command until one of its limits is passed."""

    def __init__(
        self,
        root: Path,
        limits: Limits,
        *,
        first: Callable[[], int | None] | None = None,
        group: Group | None = None,
    ) -> None:
        """`first` gives the first process of the command's pid namespace, `group` is the control groups that
        keep memory and processes; with neither, only the disk is looked at.
        """
        self._processes = Processes(first, limits) if first is not None and group is None else None
        self._group = group
        self._disk = Disk(root, limits)

    async def over(self) -> str:
        """Returns with the name of the first limit that is passed."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            passed = await asyncio.to_thread(self._look)
            if passed:
                return passed

    async def last(self) -> str | None:
        """What is passed now, with all processes gone."""
        if self._group is not None and self._group.killed():
            return "memory"
        return await asyncio.to_thread(self._disk.over) if self._disk.suspicious() else None

    def _look(self) -> str | None:
        if self._group is not None and self._group.killed():
            return "memory"
        return (self._processes and self._processes.over()) or self._disk.over()


class Processes:
    """Memory and number of the processes of one pid namespace, read through its own /proc.

    Not every kernel lists a process's children; the namespace's /proc shows exactly the tree, orphans included.
    """

    def __init__(self, first: Callable[[], int | None], limits: Limits) -> None:
        self._first = first
        self._folder = Path()
        self._limits = limits

    def over(self) -> str | None:
        """The limit that is passed now."""
        first = self._first()
        if first is None:
            return None  # it is being set up
        self._folder = Path(f"/proc/{first}/root/proc")
        try:
            pids = [name for name in os.listdir(self._folder) if name.isdigit()]  # noqa: PTH208 - names only
        except OSError:
            return None  # it has just ended
        if len(pids) > self._limits.processes:
            return "processes"
        # Pages that parent and child share count twice in the cheap sum; the exact one is asked when it matters.
        for measure in (self._private, self._proportional):
            if sum(map(measure, pids)) <= self._limits.memory:
                return None
        return "memory"

    def _private(self, pid: str) -> int:
        """Resident pages that no file backs."""
        try:
            fields = (self._folder / pid / "statm").read_bytes().split()
        except OSError:
            return 0
        return (int(fields[1]) - int(fields[2])) * PAGE

    def _proportional(self, pid: str) -> int:
        """The same, with shared pages divided among those that share them."""
        try:
            text = (self._folder / pid / "smaps_rollup").read_bytes()
        except OSError:
            return self._private(pid)
        match = re.search(rb"^Pss_Anon:\s+(\d+) kB", text, re.MULTILINE)
        return int(match[1]) * 1024 if match else self._private(pid)


class Disk:
    """Room on the file system of the working copy.

    The free space of the whole file system is the cheap sign, and what this command wrote is measured when the
    sign shows, since others write there too. As others also delete, it is measured now and then without a sign.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._since = time.time_ns()
        self._free, self._entries = self._room()
        self._floor = min(limits.free_space, self._free // 2)
        self._measured = time.monotonic()
        self._took = 0.0

    def suspicious(self) -> bool:
        """Whether the file system has lost more than one command may take, or is nearly full."""
        free, entries = self._room()
        return (
            free < self._floor
            or self._free - free > self._limits.written
            or self._entries - entries > self._limits.entries
        )

    def over(self) -> str | None:
        """The limit that is passed now."""
        if not self.suspicious() and not self._due():
            return None
        if self._room()[0] < self._floor:
            return "disk"
        began = time.monotonic()
        written, entries = self._changed()
        self._measured = time.monotonic()
        self._took = self._measured - began
        return (
            "disk" if written > self._limits.written else "files" if entries > self._limits.entries else None
        )

    def _due(self) -> bool:
        """Whether it is time to measure: a second after the last time, and twenty times what that took."""
        return time.monotonic() - self._measured > max(MEASURE_SECONDS, 20 * self._took)

    def _room(self) -> tuple[int, int]:
        """Bytes and entries that the file system could still take; 0 entries where it does not count them."""
        try:
            now = os.statvfs(self._root)
        except FileNotFoundError:
            return self._free, self._entries
        return now.f_bavail * now.f_frsize, now.f_favail

    def _changed(self) -> tuple[int, int]:
        """Bytes on disk and number of the entries changed since the command began; enough of them to decide."""
        written = entries = 0
        folders = [os.fspath(self._root)]
        while folders and written <= self._limits.written and entries <= self._limits.entries:
            try:
                inside = os.scandir(folders.pop())
            except PermissionError:  # hidden from us by its mode: let the sign decide
                return self._limits.written + 1, entries
            except OSError:
                continue
            with inside:
                for entry in inside:
                    with contextlib.suppress(OSError):
                        about = entry.stat(follow_symlinks=False)
                        if about.st_ctime_ns >= self._since:
                            written += about.st_blocks * 512 // max(about.st_nlink, 1)
                            entries += 1
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
        return written, entries
