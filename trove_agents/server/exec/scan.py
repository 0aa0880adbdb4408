"""What a command changed in a working copy, found by comparing it with what was known of it.

Runs only when the command's whole process tree is dead: a store into a page that is already dirty moves no time stamp.
An entry is unchanged when mode, size, times and inode are what they were; mtime alone can be set back, ctime cannot.
As in git, one whose times are not older than the start of the command is read again: within one tick of the clock a
change leaves no trace in them.

What the store does not keep is taken out of the copy as well, so that a copy always equals what would be made anew:
devices, sockets and FIFOs go, setuid, setgid and sticky bits go, hard links become copies.
"""

import os
import secrets
import stat
from dataclasses import dataclass, field
from typing import Final

import msgspec
from blake3 import blake3

from trove_agents.server.errors import QuotaExceeded
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.tree import Tree
from trove_agents.server.paths import shown
from trove_agents.server.timelines import Kind, Payload

PERMISSIONS: Final = 0o777
_SPECIAL: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_MOST_WARNINGS: Final = 100


class Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of a working copy as it was when the copy was last equal to the store."""

    mode: int
    """With the type of the entry; the rest is 0 for directories."""
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    digest: bytes = b""
    """Of a file's bytes or a link's target."""


Names = dict[str, Known]
Index = dict[str, Names]
"""By directory, then by name; the root is ""."""


def known(found: os.stat_result, digest: bytes) -> Known:
    return Known(found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, digest)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a namespace may hold after a command."""

    bytes: int = 4 * 1024**3
    """Sum of the sizes of its files; a sparse file counts whole."""
    entries: int = 200_000
    """Files, links and directories."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that is new or changed."""

    path: str
    kind: Kind
    mode: int
    size: int
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
        for path, now in sorted(self._suspects, key=lambda suspect: suspect[0]):
            self._examine(path, now)
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
            if self._entries > quota.entries or self._bytes > quota.bytes:
                raise QuotaExceeded(
                    f"the command left more than {quota.bytes:,} bytes or {quota.entries:,} entries in the "
                    "workspace; nothing of it was kept"
                )
        return visited

    def _look(self, directory: str, started_ns: int) -> list[str]:
        """Notes what may have changed in one directory; the directories in it."""
        names = self._index.setdefault(directory, {})
        below = f"{directory}/" if directory else ""
        inside: list[str] = []
        met = 0
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
        if met != len(names):
            here = set(os.listdir(self._tree.enter(directory)))  # noqa: PTH208 - a descriptor, not a path
            for name in [name for name in names if name not in here]:
                del names[name]
                self._result.removed.append(below + name)
        return inside

    def _drop(self, path: str) -> None:
        directory, _, name = path.rpartition("/")
        kind = stat.S_IFMT(self._tree.lstat(path).st_mode)
        self._result.warn(path, f"{_SPECIAL.get(kind, 'a special file')} is not kept")
        self._tree.remove(path)
        if self._index[directory].pop(name, None) is not None:
            self._result.removed.append(path)

    def _examine(self, path: str, now: os.stat_result) -> None:
        directory, _, name = path.rpartition("/")
        names = self._index[directory]
        was = names.get(name)
        kind = stat.S_IFMT(now.st_mode)
        if was is not None and stat.S_IFMT(was.mode) != kind:
            was = None
        mode = now.st_mode & PERMISSIONS
        found = self._result.found
        if kind == stat.S_IFDIR:
            if now.st_mode != kind | mode:
                self._tree.set_directory_mode(path, mode)
            names[name] = new = Known(kind | mode)
            if was is None or was.mode != new.mode:
                found.append(Found(path, Kind.DIRECTORY, mode, 0, _time(now)))
        elif kind == stat.S_IFLNK:
            above, own = self._tree.parent(path)
            target = os.fsencode(os.readlink(own, dir_fd=above))
            names[name] = new = known(now, blake3(target).digest())
            if was is None or (was.digest, was.mtime_ns) != (new.digest, new.mtime_ns):
                found.append(Found(path, Kind.LINK, PERMISSIONS, len(target), _time(now), target=target))
        else:
            names[name], payload = self._take(path, now, was)
            new = names[name]
            if payload is not None or was is None or (was.mode, was.mtime_ns) != (new.mode, new.mtime_ns):
                found.append(Found(path, Kind.FILE, mode, new.size, _time(now), payload))

    def _take(self, path: str, now: os.stat_result, was: Known | None) -> tuple[Known, Payload | None]:
        """Reads a file. The stat that is kept is older than the reading: a change in between shows next time."""
        mode = now.st_mode & PERMISSIONS
        readable = mode | stat.S_IRUSR
        above, name = self._tree.parent(path)
        if now.st_mode != stat.S_IFREG | readable:
            os.chmod(name, readable, dir_fd=above)
        if now.st_nlink > 1 and self._tree.lstat(path).st_nlink > 1:
            self._split(path, readable, now.st_mtime_ns)
        descriptor = self._tree.read(path)
        try:
            opened = os.fstat(descriptor)
            digest, payload = self._contents.take(descriptor, opened.st_size, was.digest if was else None)
            if readable != mode:
                os.fchmod(descriptor, mode)
                opened = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return known(opened, digest), payload

    def _split(self, path: str, mode: int, mtime_ns: int) -> None:
        """Makes one name of a hard-linked file a file of its own."""
        directory, _, name = path.rpartition("/")
        aside = f".{secrets.token_hex(16)}"
        source = self._tree.read(path)
        try:
            self._tree.write(
                f"{directory}/{aside}" if directory else aside,
                iter(lambda: os.read(source, 1024 * 1024), b""),
                mode=mode,
                mtime_ns=mtime_ns,
            )
        finally:
            os.close(source)
        above = self._tree.enter(directory)
        os.rename(aside, name, src_dir_fd=above, dst_dir_fd=above)


def _same(was: Known, now: os.stat_result, started_ns: int) -> bool:
    return (
        was.ctime_ns == now.st_ctime_ns < started_ns
        and was.mtime_ns == now.st_mtime_ns < started_ns
        and was.size == now.st_size
        and was.inode == now.st_ino
        and was.mode == now.st_mode
    )


def _time(found: os.stat_result) -> int:
    """The store keeps 64 bits; some file systems keep times further off than that (1677 to 2262)."""
    return max(-(2**63), min(found.st_mtime_ns, 2**63 - 1))
