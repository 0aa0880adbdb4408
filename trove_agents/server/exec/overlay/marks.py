"""How an overlay says, in one folder, what is not to be seen of the folders under it.

The kernel's own form (Documentation/filesystems/overlayfs.rst) for a mount in a user namespace: a character device
0/0 stands for nothing (any user may make it since Linux 5.8), and a directory with the attribute below shows nothing
of the directories under it. A command cannot make either: of devices it may make none, and an attribute that it sets
under this name the kernel stores under another.
"""

import os
import stat
from enum import Enum
from typing import Final

from trove_agents.server.exec.tree import Tree

_OPAQUE: Final = "user.overlay.opaque"


class Seen(Enum):
    """What one folder says of a path."""

    NOTHING = 0
    """The folders under it decide."""
    HIDDEN = 1
    """Something above the path keeps it from being seen."""
    WHITEOUT = 2
    OTHER = 3
    """A file, a link, or what commands left and nobody keeps."""
    DIRECTORY = 4
    OPAQUE = 5
    """A directory that shows nothing of those under it."""

    @property
    def is_directory(self) -> bool:
        return self in {Seen.DIRECTORY, Seen.OPAQUE}


def is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def make_whiteout(tree: Tree, path: str) -> None:
    above, name = tree.parent(path)
    os.mknod(name, stat.S_IFCHR, 0, dir_fd=above)


def is_opaque(tree: Tree, directory: str) -> bool:
    try:
        return os.getxattr(tree.enter(directory), _OPAQUE) == b"y"
    except OSError:  # it has none
        return False


def make_opaque(tree: Tree, directory: str) -> None:
    os.setxattr(tree.enter(directory), _OPAQUE, b"y")


class Looker:
    """Looks at paths of one folder. What it has seen of directories it remembers, until told to forget."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._seen: dict[str, Seen] = {"": Seen.DIRECTORY}

    def look(self, path: str) -> Seen:
        pending = []
        while path not in self._seen:
            pending.append(path)
            path = path.rpartition("/")[0]
        seen = self._seen[path]
        for below in reversed(pending):
            seen = self._step(below, seen)
            if below is not pending[0] or seen.is_directory:
                self._seen[below] = seen
        return seen

    def note(self, path: str, seen: Seen) -> None:
        """What was just put at a path where nothing was."""
        self._seen[path] = seen

    def forget(self) -> None:
        self._seen = {"": Seen.DIRECTORY}

    def _step(self, path: str, above: Seen) -> Seen:
        if above is Seen.NOTHING:
            return above
        if not above.is_directory:
            return Seen.HIDDEN
        try:
            found = self._tree.lstat(path)
        except FileNotFoundError:
            return Seen.NOTHING if above is Seen.DIRECTORY else Seen.HIDDEN
        if is_whiteout(found):
            return Seen.WHITEOUT
        if not stat.S_ISDIR(found.st_mode):
            return Seen.OTHER
        return Seen.OPAQUE if above is Seen.OPAQUE or is_opaque(self._tree, path) else Seen.DIRECTORY
