"""Limits that the kernel keeps for a whole tree: memory and processes, by plain writes to a control group.

Used where the server may make groups below its own: as root with cgroup v1, or where a v2 group with both
controllers was delegated to it. It never moves the server itself. Elsewhere `watch` stands in.
"""

import contextlib
import functools
import itertools
import os
import re
import time
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
    """A folder in which groups can be made, and the controllers they have there."""

    folder: Path
    controllers: tuple[str, ...]
    unified: bool
    """cgroup v2."""

    def settings(self, limits: Limits) -> dict[str, int]:
        """File -> value of a new group here, in the order they must be written."""
        settings: dict[str, int] = {}
        if "memory" in self.controllers and self.unified:
            settings |= {"memory.max": limits.memory, "memory.swap.max": 0, "memory.oom.group": 1}
        elif "memory" in self.controllers:
            settings |= {
                "memory.limit_in_bytes": limits.memory,
                "memory.memsw.limit_in_bytes": limits.memory,
            }
        if "pids" in self.controllers:
            settings |= {"pids.max": limits.processes}
        return settings


OPTIONAL: Final = frozenset({"memory.swap.max", "memory.oom.group", "memory.memsw.limit_in_bytes"})
"""Files that a kernel without swap accounting, or an old one, does not have."""


class Group:
    """The groups of one command, one for each place."""

    def __init__(self, places: tuple[Place, ...], limits: Limits) -> None:
        """Raises OSError when a group cannot be made; nothing is left then."""
        self._folders: list[Path] = []
        name = f"{PREFIX}{os.getpid()}-{next(_serial)}"
        try:
            for place in places:
                folder = place.folder / name
                folder.mkdir()
                self._folders.append(folder)
                for file, value in place.settings(limits).items():
                    with contextlib.suppress(
                        *((FileNotFoundError, PermissionError) if file in OPTIONAL else ())
                    ):
                        _write(folder / file, value)
        except OSError:
            self.close()
            raise

    def add(self, pid: int) -> None:
        """Puts a process, and those it will start, under the limits; one that has ended needs none."""
        for folder in self._folders:
            with contextlib.suppress(ProcessLookupError):
                _write(folder / "cgroup.procs", pid)

    def killed(self) -> bool:
        """Whether the kernel has killed for memory here."""
        for folder in self._folders:
            for file in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    match = re.search(rb"^oom_kill (\d+)$", (folder / file).read_bytes(), re.MULTILINE)
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
            Group((place,), limits).close()
        except OSError:
            continue
        # The same controller in two places would be one too many to enter.
        if not any(set(place.controllers) & set(other.controllers) for other in found):
            found.append(place)
    complete = {name for place in found for name in place.controllers} == set(CONTROLLERS)
    if not complete:
        return ()
    sweep(tuple(found))
    return tuple(found)


def candidates(own: str, mounts: str) -> list[Place]:
    """Folders to try, from the text of /proc/self/cgroup and of /proc/self/mountinfo (cgroups(7), proc(5))."""
    groups: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), path)
    places = []
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup":
            present = tuple(name for name in CONTROLLERS if name in options.split(","))
            if present:
                places.append(Place(_below(point, root, groups.get(present[0], "/")), present, unified=False))
        elif kind == "cgroup2":
            folder = _below(point, root, groups.get("", "/"))
            places += [
                Place(each, CONTROLLERS, unified=True)
                for each in (folder, folder.parent)
                if _delegated(each, folder)
            ]
    return places


def _below(point: str, root: str, path: str) -> Path:
    """A group's folder under a mount that shows the hierarchy from `root` on."""
    return Path(point, os.path.relpath(path, root) if path.startswith(root) else path.lstrip("/"))


def _delegated(folder: Path, own: Path) -> bool:
    """Whether children of this v2 group have both controllers, and making them is ours to do.

    A group with processes in it cannot give controllers to children (cgroup-v2.rst, "no internal processes"), so
    the usual place is the parent of the server's own, which systemd marks when it delegates (DelegateSubgroup=).
    """
    try:
        enabled = (folder / "cgroup.subtree_control").read_text().split()
        if folder != own:
            os.getxattr(folder, "user.delegate")
    except (OSError, AttributeError):
        return False
    return set(CONTROLLERS) <= set(enabled)


def sweep(places: tuple[Place, ...]) -> None:
    """Removes the groups that a killed server has left."""
    for place in places:
        for left in place.folder.glob(f"{PREFIX}*-*"):
            pid = left.name.removeprefix(PREFIX).partition("-")[0]
            if pid.isdigit() and not Path("/proc", pid).exists():
                with contextlib.suppress(OSError):
                    left.rmdir()


def _write(path: Path, value: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)
