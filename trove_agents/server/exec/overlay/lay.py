"""Laying what differs between two states into the one folder of a copy that is its own: files, and marks for no files.

Only while nothing is mounted. Files are copied from the store and never linked.
"""

from collections.abc import Iterable
from typing import Self

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.index import PERMISSIONS
from trove_agents.server.exec.overlay.marks import Looker, Seen, make_opaque, make_whiteout
from trove_agents.server.exec.overlay.strata import Ground, Stratum
from trove_agents.server.exec.tree import Tree
from trove_agents.server.timelines import At, Entry, Kind


class Private:
    """A copy's own folder over its strata, opened to be written."""

    def __init__(self, tree: Tree, top: Stratum) -> None:
        self.tree = tree
        self._own = Looker(tree)
        self._ground = Ground(top)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ground.__exit__(*error)

    def look(self, path: str) -> Seen:
        return self._own.look(path)

    def covers(self, path: str) -> bool:
        """Whether the strata would show something at a path."""
        return self._ground.shows(path) is not Seen.NOTHING

    def take_out(self, path: str) -> None:
        """Removes what this folder itself has at a path, marks included."""
        seen = self.look(path)
        if seen in {Seen.NOTHING, Seen.HIDDEN}:
            return
        self.tree.remove(path)
        self._own.forget()

    def hide(self, path: str) -> None:
        """Leaves nothing to be seen at a path. The directory that holds it is this folder's own, if there is one."""
        self.take_out(path)
        if self.look(path) is Seen.NOTHING and self.covers(path):
            self.whiteout(path)

    def noted(self, path: str) -> None:
        """Says that a file or a link was put there."""
        self._own.note(path, Seen.OTHER)

    def whiteout(self, path: str) -> None:
        make_whiteout(self.tree, path)
        self._own.note(path, Seen.WHITEOUT)

    def moved_in(self, path: str, *, opaque: bool) -> None:
        """Says that something came from elsewhere; ``opaque`` makes it show nothing of the strata."""
        self._own.forget()
        if opaque:
            make_opaque(self.tree, path)

    def directory(self, path: str, mode: int) -> bool:
        """Makes one with this mode; whether it is new here. One of the strata shows through unless it was hidden."""
        seen = self.look(path)
        if seen.is_directory:
            self.tree.set_directory_mode(path, mode)
            return False
        self.take_out(path)
        self.tree.make_directory(path, mode)
        if seen is Seen.NOTHING:
            self._own.note(path, Seen.DIRECTORY)
        else:
            make_opaque(self.tree, path)
            self._own.note(path, Seen.OPAQUE)
        return True


class Laying:
    """Makes a private folder, with the strata under it, equal to a state. After an error it is worth nothing."""

    def __init__(self, own: Private, db: Connection, at: At, contents: Contents) -> None:
        self._own = own
        self._db = db
        self._at = at
        self._contents = contents
        self._made: list[Entry] = []
        self.bytes = 0
        """Written so far."""

    def apply(self, changes: Iterable[tuple[str, Entry | None]]) -> None:
        """What is there afterwards at each path, or None where nothing is; all else is as in the state already."""
        wanted = sorted(changes, key=lambda change: change[0])
        for path, entry in wanted:
            if entry is None:
                self._remove(path)
        for _, entry in wanted:
            if entry is not None:
                self._put(entry)
        for made in reversed(self._made):
            self._own.tree.touch(made.path, mtime_ns=made.mtime_ns)
        self._made.clear()

    def _remove(self, path: str) -> None:
        if self._own.look(path) is Seen.NOTHING:
            if not self._own.covers(path):
                return
            if not self._above(path):
                return  # gone with its directory
        self._own.hide(path)

    def _put(self, entry: Entry) -> None:
        self._above(entry.path)
        if entry.kind is Kind.DIRECTORY:
            self._directory(entry)
            return
        self._own.take_out(entry.path)
        assert entry.content is not None, "files and links have content"
        payload = timelines.read_content(self._db, entry.content)
        pieces = self._contents.stream(payload)
        if entry.kind is Kind.FILE:
            mode = entry.mode & PERMISSIONS
            self._own.tree.write(entry.path, pieces, mode=mode, mtime_ns=entry.mtime_ns)
            self.bytes += entry.size
        else:
            self._own.tree.link(entry.path, b"".join(pieces), mtime_ns=entry.mtime_ns)
        self._own.noted(entry.path)

    def _directory(self, entry: Entry) -> None:
        if self._own.directory(entry.path, entry.mode & PERMISSIONS):
            self._made.append(entry)

    def _above(self, path: str) -> bool:
        """Gives the folder its own of each directory above a path; False if the state has none there."""
        missing = []
        above = path.rpartition("/")[0]
        while not self._own.look(above).is_directory:
            missing.append(above)
            above = above.rpartition("/")[0]
        for directory in reversed(missing):
            entry = timelines.find(self._db, self._at, directory)
            if entry is None or entry.kind is not Kind.DIRECTORY:
                return False
            self._directory(entry)
        return True
