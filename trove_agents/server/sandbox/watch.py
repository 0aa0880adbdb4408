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
_RESIDENT = re.compile(rb"^Rss(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)
_SHARES = re.compile(rb"^Pss_(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)
_LEVELS = 100
"""Of directories that are measured; deeper ones count as hidden."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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

    Memory that no process has mapped shows in none: files in memory, System V's segments, what waits in sockets. For
    that the machine is kept from running out, as ``Disk`` does.
    """

    def __init__(
        self, first: Callable[[], int | None], limits: Limits, *, memory: Path = Path("/proc/meminfo")
    ) -> None:
        self._first = first
        self._folder = Path()
        self._limits = limits
        self._memory = memory
        self._floor = min(limits.free_memory, self._room() // 2)

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
        if self._room() < self._floor:
            return "memory"
        # The cheap sums count twice what several processes share; the exact one is asked when it matters.
        for measure in (self._resident, self._own, self._proportional):
            if sum(map(measure, pids)) <= self._limits.memory:
                return None
        return "memory"

    def _resident(self, pid: str) -> int:
        """All that is in memory, programs and libraries too."""
        try:
            return int((self._folder / pid / "statm").read_bytes().split()[1]) * PAGE
        except OSError:
            return 0

    def _own(self, pid: str) -> int:
        """Without what is a file on disk. What processes share by mapping it is none."""
        try:
            text = (self._folder / pid / "status").read_bytes()
        except OSError:
            return 0
        return sum(int(size) for size in _RESIDENT.findall(text)) * 1024

    def _proportional(self, pid: str) -> int:
        """The same, with shared pages divided among those that share them."""
        try:
            text = (self._folder / pid / "smaps_rollup").read_bytes()
        except OSError:
            return self._own(pid)
        shares = _SHARES.findall(text)
        return sum(int(size) for size in shares) * 1024 if shares else self._own(pid)

    def _room(self) -> int:
        """Bytes that this machine could still give to processes."""
        match = re.search(rb"^MemAvailable:\s+(\d+) kB", self._memory.read_bytes(), re.MULTILINE)
        return int(match[1]) * 1024 if match else self._limits.free_memory


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
        suspicious = self.suspicious()
        if not suspicious and not self._due():
            return None
        if self._room()[0] < self._floor:
            return "disk"
        began = time.monotonic()
        found = _Changed(self._since, self._limits)
        found.look(self._root)
        self._measured = time.monotonic()
        self._took = self._measured - began
        if found.written > self._limits.written or (found.hidden and suspicious):
            return "disk"
        return "files" if found.entries > self._limits.entries else None

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


class _Changed:
    """Bytes on disk and number of the entries of a folder changed since a time; enough of them to decide.

    The command goes on meanwhile and may put a link to anywhere in the place of a directory. So each is opened below
    the one that holds it, and no link is followed.
    """

    def __init__(self, since_ns: int, limits: Limits) -> None:
        self.written = 0
        self.entries = 0
        self.hidden = False
        """Something could not be looked at: the command's modes keep us out, or it lies too deep."""
        self._since = since_ns
        self._limits = limits

    def look(self, root: Path) -> None:
        """Adds up what is in `root`."""
        open_: list[
            tuple[int, list[str]]
        ] = []  # each below the one before, with what is to be looked at in it
        try:
            self._enter(open_, os.fspath(root), None)
            while open_ and self.written <= self._limits.written and self.entries <= self._limits.entries:
                descriptor, names = open_[-1]
                if not names:
                    os.close(open_.pop()[0])
                elif len(open_) < _LEVELS:
                    self._enter(open_, names.pop(), descriptor)
                else:
                    self.hidden = True
                    names.clear()
        finally:
            for descriptor, _ in open_:
                os.close(descriptor)

    def _enter(self, open_: list[tuple[int, list[str]]], name: str, above: int | None) -> None:
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=above)
        except PermissionError:
            self.hidden = True
            return
        except OSError:  # gone, or no directory any more
            return
        names: list[str] = []
        open_.append((descriptor, names))
        with contextlib.suppress(OSError), os.scandir(descriptor) as inside:
            for entry in inside:
                self._count(entry)
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)

    def _count(self, entry: "os.DirEntry[str]") -> None:
        try:
            about = entry.stat(follow_symlinks=False)
        except PermissionError:
            self.hidden = True
        except OSError:
            pass
        else:
            if about.st_ctime_ns >= self._since:
                self.written += about.st_blocks * 512 // max(about.st_nlink, 1)
                self.entries += 1
