"""What a command changed, read from the folder that took its changes and from nowhere else.

Runs only when the command's whole process tree is dead. What was there before is asked of the store, for the paths
that the folder names: an entry that was only touched is none that changed.

What the store does not keep is taken out of the folder as well: devices, sockets and FIFOs go, setuid, setgid and
sticky bits go, hard links become copies.
"""

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.index import PERMISSIONS
from trove_agents.server.exec.intake import Intake
from trove_agents.server.exec.overlay.marks import is_opaque, is_whiteout, make_whiteout
from trove_agents.server.exec.scan import SPECIAL, Found, Quota, Scan, kept_time
from trove_agents.server.exec.tree import Tree
from trove_agents.server.timelines import At, Entry, Kind, Namespace, Payload


@dataclass(frozen=True, slots=True)
class _Directory:
    """One that is still to be looked at."""

    path: str
    fresh: bool = False
    """There was no directory here before."""
    opaque: bool = False
    """What was in it before and is not in the folder is gone."""


class UpperScan:
    """Looks through one upper folder."""

    def __init__(
        self, tree: Tree, db: Connection, start: Namespace, contents: Contents, quota: Quota
    ) -> None:
        """`start` is what the command found."""
        self._tree = tree
        self._db = db
        self._at: At = start.at
        self._contents = contents
        self._quota = quota
        self._entries = start.files
        self._bytes = start.bytes
        self._paths = 0
        self._result = Scan()
        self._files: dict[str, tuple[os.stat_result, Entry | None]] = {}
        self._special: list[tuple[str, os.stat_result, Entry | None, bool]] = []

    def scan(self) -> Scan:
        """What is new, changed or gone.

        Raises:
            QuotaExceeded: found out before any content is read.
        """
        pending = [_Directory("")]
        while pending:
            pending += self._look(pending.pop())
            self._quota.check(self._bytes, self._entries, self._paths)
        for special in sorted(self._special, key=lambda special: special[0]):
            self._drop(*special)
        self._take_in()
        self._result.found.sort(key=lambda found: found.path)
        self._result.removed.sort()
        return self._result

    def _look(self, directory: _Directory) -> list[_Directory]:
        below = f"{directory.path}/" if directory.path else ""
        with os.scandir(self._tree.enter(directory.path)) as listing:
            here = {entry.name: entry.stat(follow_symlinks=False) for entry in listing}
        self._paths += len(below) * len(here)
        before = self._before(directory, here)
        inside = []
        for name, now in here.items():
            was = before.get(name)
            if is_whiteout(now):
                if was is not None:
                    self._gone(was)
                continue
            path = below + name
            if stat.S_ISDIR(now.st_mode):
                inside.append(self._directory(path, now, was, directory))
                continue
            self._replaced(was)
            self._entries += 1
            if stat.S_ISREG(now.st_mode):
                self._bytes += now.st_size
                self._files[path] = now, was
            elif stat.S_ISLNK(now.st_mode):
                self._link(path, now, was)
            else:
                self._special.append((path, now, was, directory.opaque))
        for name in before.keys() - here.keys():
            self._gone(before[name])
        return inside

    def _before(self, directory: _Directory, here: Collection[str]) -> dict[str, Entry]:
        """What was in a directory, of an opaque one all of it, else under the names that the folder has."""
        if directory.fresh:
            return {}
        if directory.opaque:
            return {entry.name: entry for entry in timelines.children(self._db, self._at, directory.path)}
        return timelines.some(self._db, self._at, directory.path, here)

    def _directory(self, path: str, now: os.stat_result, was: Entry | None, above: _Directory) -> _Directory:
        mode = now.st_mode & PERMISSIONS
        if now.st_mode != stat.S_IFDIR | mode:
            self._tree.set_directory_mode(path, mode)
        fresh = was is None or was.kind is not Kind.DIRECTORY
        if fresh:
            self._replaced(was)
            self._entries += 1
        if fresh or was is None or was.mode != mode:
            self._result.found.append(Found(path, Kind.DIRECTORY, mode, kept_time(now)))
        return _Directory(path, fresh=fresh, opaque=above.opaque or is_opaque(self._tree, path))

    def _link(self, path: str, now: os.stat_result, was: Entry | None) -> None:
        above, name = self._tree.parent(path)
        target = os.fsencode(os.readlink(name, dir_fd=above))
        same = was is not None and was.kind is Kind.LINK and was.mtime_ns == kept_time(now)
        if same and was is not None and b"".join(self._contents.stream(self._payload(was))) == target:
            return  # only touched
        self._result.found.append(Found(path, Kind.LINK, PERMISSIONS, kept_time(now), target=target))

    def _payload(self, was: Entry) -> Payload:
        assert was.content is not None, "files and links have content"
        return timelines.read_content(self._db, was.content)

    def _replaced(self, was: Entry | None) -> None:
        """Of what was at a path that something else has now, or the same."""
        if was is None:
            return
        if was.kind is Kind.DIRECTORY:
            self._emptied(was.path)
        else:
            self._count_out(was)

    def _gone(self, was: Entry) -> None:
        self._result.removed.append(was.path)
        self._replaced(was)

    def _emptied(self, directory: str) -> None:
        for entry in timelines.walk(self._db, self._at, directory):
            self._result.removed.append(entry.path)
            if entry.kind is not Kind.DIRECTORY:
                self._count_out(entry)

    def _count_out(self, was: Entry) -> None:
        self._entries -= 1
        self._bytes -= was.size if was.kind is Kind.FILE else 0

    def _drop(self, path: str, now: os.stat_result, was: Entry | None, opaque: bool) -> None:
        kind = SPECIAL.get(stat.S_IFMT(now.st_mode), "a special file")
        self._result.warn(path, f"{kind} is not kept")
        self._tree.remove(path)
        if was is not None:
            self._result.removed.append(path)
            if not opaque:  # where nothing shows through a mark would be listed
                make_whiteout(self._tree, path)

    def _take_in(self) -> None:
        """Reads the files that are new or were touched."""
        wanted = ((path, now, self._known(now, was)) for path, (now, was) in sorted(self._files.items()))
        for path, new, payload in Intake(self._tree, self._contents).take(wanted):
            now, was = self._files[path]
            mode = new.mode & PERMISSIONS
            # without a payload there was a file before, with the same bytes
            if payload is None and was is not None and (was.mode, was.mtime_ns) == (mode, kept_time(now)):
                continue
            self._result.found.append(Found(path, Kind.FILE, mode, kept_time(now), payload))

    def _known(self, now: os.stat_result, was: Entry | None) -> bytes | None:
        """The digest that the file had, if it may still have it."""
        if was is None or was.kind is not Kind.FILE or was.size != now.st_size:
            return None
        return self._payload(was).digest
