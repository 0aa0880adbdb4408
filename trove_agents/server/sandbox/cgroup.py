"""Limits that the kernel keeps for a whole tree: memory and processes, by plain writes to control groups (v1).

Used where the server may make groups below its own, which is as root. Elsewhere `watch` stands in; so it does with
cgroup v2, where the server would have to move itself out of its own group first, and starting a command in another
one costs ten milliseconds.
"""

import contextlib
import functools
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trove_agents.server.sandbox.port import Limits

CONTROLLERS: Final = ("memory", "pids")
PREFIX = "trove-"
REMOVE_SECONDS = 1.0
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class Place:
    """The server's own group in one hierarchy, and the controllers of that."""

    folder: Path
    controllers: tuple[str, ...]

    def settings(self, limits: Limits) -> dict[str, int]:
        """File -> value of a group below, in the order they must be written."""
        settings: dict[str, int] = {}
        if "memory" in self.controllers:
            settings |= {"memory.limit_in_bytes": limits.memory, SWAP: limits.memory}
        if "pids" in self.controllers:
            settings |= {"pids.max": limits.processes}
        return settings


SWAP = "memory.memsw.limit_in_bytes"
"""Memory and swap together; a kernel that does not account for swap has no such file."""


class Group:
    """The groups of one command, one in each hierarchy."""

    def __init__(self, places: tuple[Place, ...], limits: Limits) -> None:
        """Raises OSError when a group cannot be made; nothing is left then."""
        self._places = places
        self._folders: list[Path] = []
        name = f"{PREFIX}{os.getpid()}-{next(_serial)}"
        try:
            for place in places:
                folder = place.folder / name
                folder.mkdir()
                self._folders.append(folder)
                for file, value in place.settings(limits).items():
                    with contextlib.suppress(*((FileNotFoundError,) if file == SWAP else ())):
                        _write(folder / file, value)
        except OSError:
            self.close()
            raise

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """What the calling thread starts meanwhile starts in these groups.

        A thread that moves itself is moved at once; to move another process the kernel waits for all of them to
        pass a quiet moment.
        """
        try:
            for folder in self._folders:
                _write(folder / "tasks", 0)
            yield
        finally:
            for place in self._places:
                _write(place.folder / "tasks", 0)

    def killed(self) -> bool:
        """Whether the kernel has killed for memory here."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                events = (folder / "memory.oom_control").read_bytes()
                match = re.search(rb"^oom_kill (\d+)$", events, re.MULTILINE)
                if match and int(match[1]):
                    return True
        return False

    def close(self) -> None:
        """Removes the groups; every process in them has ended."""
        for folder in self._folders:
            deadline = time.monotonic() + REMOVE_SECONDS
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:  # the last process is still being taken out
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.001)
                else:
                    break


@functools.cache
def usable(limits: Limits) -> tuple[Place, ...]:
    """Where groups with these limits can really be made on this machine: all controllers, or () for none."""
    try:
        own, mounts = Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    except OSError:
        return ()
    found: list[Place] = []
    for place in candidates(own, mounts):
        try:
            group = Group((place,), limits)
        except OSError:
            continue
        try:
            with group.joined():
                found.append(place)
        except OSError:
            continue
        finally:
            group.close()
    if {name for place in found for name in place.controllers} != set(CONTROLLERS):
        return ()
    sweep(tuple(found))
    return tuple(found)


def candidates(own: str, mounts: str) -> list[Place]:
    """The server's groups, from the text of /proc/self/cgroup and of /proc/self/mountinfo (cgroups(7), proc(5))."""
    groups: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), path)
    places: dict[tuple[str, ...], Place] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        present = tuple(name for name in CONTROLLERS if name in options.split(","))
        if kind == "cgroup" and present and present[0] in groups:
            path = groups[present[0]]
            below = os.path.relpath(path, root) if path.startswith(root) else path.lstrip("/")
            places.setdefault(present, Place(Path(os.path.normpath(Path(point, below))), present))
    return list(places.values())


def sweep(places: tuple[Place, ...]) -> None:
    """Removes the groups that a killed server has left, and the processes in them.

    No command survives its server. But a bwrap whose server dies in the first milliseconds of its life may wait for
    ever to be told to go on.
    """
    for place in places:
        for left in place.folder.glob(f"{PREFIX}*-*"):
            server = left.name.removeprefix(PREFIX).partition("-")[0]
            if server.isdigit() and not Path("/proc", server).exists():
                with contextlib.suppress(OSError):
                    for pid in (left / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                    left.rmdir()


def _write(path: Path, value: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)
