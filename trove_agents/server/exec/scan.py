"""What a command changed in a working copy, found by comparing it with what was known of it.

Runs only when the command's whole process tree is dead: a store into a page that is already dirty moves no time stamp.
An entry is unchanged when mode, size, times and inode are what they were; mtime alone can be set back, ctime cannot.
As in git, one whose times are not older than the start of the command is read again: within one tick of the clock a
change leaves no trace in them.

What the store does not keep is taken out of the copy as well, so that a copy always equals what would be made anew:
devices, sockets and FIFOs go, setuid, setgid and sticky bits go, hard links become copies.
"""

import os
import stat
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from trove_agents.server.errors import QuotaExceeded
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.index import PERMISSIONS, Index, Known, known
from trove_agents.server.exec.intake import Intake
from trove_agents.server.exec.tree import Tree
from trove_agents.server.paths import shown
from trove_agents.server.timelines import Kind, Payload

SPECIAL: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What the store does not keep, in words."""
_MOST_WARNINGS: Final = 100


@dataclass(frozen=True, slots=True)
class Quota:
    """What a namespace may hold after a command."""

    bytes: int = 4 * 1024**3
    """Sum of the sizes of its files; a sparse file counts whole."""
    entries: int = 200_000
    """Files, links and directories."""
    paths: int = 32 * 1024**2
    """Sum of the lengths of the paths that one command changed: the store keeps each, and those of a deep tree are
    longer, all together, than anything in it."""

    def check(self, size: int, entries: int, paths: int) -> None:
        """Refuses what is more.

        Raises:
            QuotaExceeded: there are more bytes or more entries, or longer paths.
        """
        if paths > self.paths:
            raise QuotaExceeded(
                f"the paths of what the command changed are longer than {self.paths:,} characters together; nothing "
                "of it was kept"
            )
        if entries > self.entries or size > self.bytes:
            raise QuotaExceeded(
                f"the command left more than {self.bytes:,} bytes or {self.entries:,} entries in the "
                "workspace; nothing of it was kept"
            )


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that is new or changed."""

    path: str
    kind: Kind
    mode: int
    mtime_ns: int
    payload: Payload | None = None
    """A file's content; None when only its mode or time changed."""
    target: bytes | None = None
    """A link's."""


@dataclass(slots=True)
class Scan:
    """What a command changed."""

    found: list[Found] = field(default_factory=list)
    """By path, so a directory comes before what is in it."""
    removed: list[str] = field(default_factory=list)
    """By path; with a directory also everything that was in it."""
    warnings: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.found or self.removed)

    def warn(self, path: str, what: str) -> None:
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(f"{shown(path)}: {what}")


class Scanner:
    """Compares a tree with the index of what was known of it, and brings the index up to date.

    After an error the index is worth nothing.
    """

    def __init__(self, tree: Tree, index: Index, contents: Contents) -> None:
        self._tree = tree
        self._index = index
        self._contents = contents
        self._result = Scan()
        self._suspects: list[tuple[str, os.stat_result]] = []
        self._special: list[str] = []
        self._entries = 0
        self._bytes = 0
        self._paths = 0

    def scan(self, *, started_ns: int, quota: Quota) -> Scan:
        """What is new, changed or gone since the file system's clock showed ``started_ns``.

        Raises:
            QuotaExceeded: found out before any content is read.
        """
        visited = self._survey(started_ns, quota)
        for path in sorted(self._special):
            self._drop(path)
        result = self._result
        for directory in [directory for directory in self._index if directory not in visited]:
            result.removed.extend(f"{directory}/{name}" for name in self._index.pop(directory))
        for path, now in self._suspects:
            if not stat.S_ISREG(now.st_mode):
                self._examine(path, now)
        self._take_in({path: now for path, now in self._suspects if stat.S_ISREG(now.st_mode)})
        result.found.sort(key=lambda found: found.path)
        result.removed.sort()
        return result

    def _survey(self, started_ns: int, quota: Quota) -> set[str]:
        """Looks at every entry without opening any; the directories it met."""
        visited: set[str] = set()
        pending = [""]
        while pending:
            directory = pending.pop()
            visited.add(directory)
            pending += self._look(directory, started_ns)
            quota.check(self._bytes, self._entries, self._paths)
        return visited

    def _look(self, directory: str, started_ns: int) -> list[str]:
        """Notes what may have changed in one directory; the directories in it."""
        names = self._index.setdefault(directory, {})
        below = f"{directory}/" if directory else ""
        inside: list[str] = []
        met = 0
        suspected = len(self._suspects)
        with os.scandir(self._tree.enter(directory)) as listing:
            for item in listing:
                now = item.stat(follow_symlinks=False)
                was = names.get(item.name)
                mode = now.st_mode
                self._entries += 1
                met += was is not None
                if stat.S_ISREG(mode):
                    self._bytes += now.st_size
                elif stat.S_ISDIR(mode):
                    inside.append(below + item.name)
                    if was is None or was.mode != mode:
                        self._suspects.append((below + item.name, now))
                    continue
                elif not stat.S_ISLNK(mode):
                    self._special.append(below + item.name)
                    continue
                if was is None or not _same(was, now, started_ns):
                    self._suspects.append((below + item.name, now))
        self._paths += len(below) * (len(self._suspects) - suspected)
        if met != len(names):
            here = set(os.listdir(self._tree.enter(directory)))  # noqa: PTH208 - a descriptor, not a path
            for name in [name for name in names if name not in here]:
                del names[name]
                self._result.removed.append(below + name)
        return inside

    def _drop(self, path: str) -> None:
        directory, _, name = path.rpartition("/")
        kind = stat.S_IFMT(self._tree.lstat(path).st_mode)
        self._result.warn(path, f"{SPECIAL.get(kind, 'a special file')} is not kept")
        self._tree.remove(path)
        if self._index[directory].pop(name, None) is not None:
            self._result.removed.append(path)

    def _was(self, path: str, now: os.stat_result) -> Known | None:
        """What was known under a path, if it was of the same type."""
        directory, _, name = path.rpartition("/")
        was = self._index[directory].get(name)
        return was if was is not None and stat.S_IFMT(was.mode) == stat.S_IFMT(now.st_mode) else None

    def _examine(self, path: str, now: os.stat_result) -> None:
        """Takes up a directory or a link."""
        directory, _, name = path.rpartition("/")
        was = self._was(path, now)
        mode = now.st_mode & PERMISSIONS
        if stat.S_ISDIR(now.st_mode):
            new = Known(stat.S_IFDIR | mode)
            if now.st_mode != new.mode:
                self._tree.set_directory_mode(path, mode)
            if was is None or was.mode != new.mode:
                self._result.found.append(Found(path, Kind.DIRECTORY, mode, kept_time(now)))
        else:
            above, own = self._tree.parent(path)
            target = os.fsencode(os.readlink(own, dir_fd=above))
            new = known(now, blake3(target).digest())
            if was is None or (was.digest, was.mtime_ns) != (new.digest, new.mtime_ns):
                self._result.found.append(Found(path, Kind.LINK, PERMISSIONS, kept_time(now), target=target))
        self._index[directory][name] = new

    def _take_in(self, files: dict[str, os.stat_result]) -> None:
        """Reads the files that may have changed."""
        before = {path: self._was(path, now) for path, now in files.items()}
        wanted = ((path, now, was.digest if (was := before[path]) else None) for path, now in files.items())
        for path, new, payload in Intake(self._tree, self._contents).take(wanted):
            directory, _, name = path.rpartition("/")
            self._index[directory][name] = new
            was = before[path]
            if payload is not None or was is None or (was.mode, was.mtime_ns) != (new.mode, new.mtime_ns):
                mode = new.mode & PERMISSIONS
                self._result.found.append(Found(path, Kind.FILE, mode, kept_time(files[path]), payload))


def _same(was: Known, now: os.stat_result, started_ns: int) -> bool:
    return (
        was.ctime_ns == now.st_ctime_ns < started_ns
        and was.mtime_ns == now.st_mtime_ns < started_ns
        and was.size == now.st_size
        and was.inode == now.st_ino
        and was.mode == now.st_mode
    )


def kept_time(found: os.stat_result) -> int:
    """The store keeps 64 bits; some file systems keep times further off than that (1677 to 2262)."""
    return max(-(2**63), min(found.st_mtime_ns, 2**63 - 1))
