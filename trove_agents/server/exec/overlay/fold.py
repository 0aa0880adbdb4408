"""A command's folder becomes part of the one under it, at the cost of what the command touched."""

import os
import stat
from typing import Final

from trove_agents.server.exec.index import PERMISSIONS
from trove_agents.server.exec.overlay.lay import Private
from trove_agents.server.exec.overlay.marks import Seen, is_opaque, is_whiteout
from trove_agents.server.exec.tree import Tree

_OWNER: Final = stat.S_IRWXU


def fold(upper: Tree, own: Private) -> None:
    """Moves what an upper folder holds into a copy's own, so that what is to be seen stays the same.

    Directories that are new or replaced move whole. After an error the own folder is worth nothing.
    """
    times: list[tuple[str, int]] = []
    pending = [""]
    while pending:
        for path, now in _entries(upper, pending.pop()):
            is_directory = stat.S_ISDIR(now.st_mode)
            seen = own.look(path)
            if is_directory and seen.is_directory and not is_opaque(upper, path):
                own.directory(path, now.st_mode & PERMISSIONS)
                times.append((path, now.st_mtime_ns))
                pending.append(path)
                continue
            own.take_out(path)
            if is_whiteout(now) and not (own.look(path) is Seen.NOTHING and own.covers(path)):
                continue  # what it hid was in the own folder only
            _move(upper, own, path, now)
            # what the own folder said of the path keeps hiding what the strata have there
            own.moved_in(path, opaque=is_directory and seen in {Seen.WHITEOUT, Seen.OTHER})
    for path, mtime_ns in reversed(times):
        own.tree.touch(path, mtime_ns=mtime_ns)


def _entries(upper: Tree, directory: str) -> list[tuple[str, os.stat_result]]:
    below = f"{directory}/" if directory else ""
    with os.scandir(upper.enter(directory)) as found:
        return [(below + entry.name, entry.stat(follow_symlinks=False)) for entry in found]


def _move(upper: Tree, own: Private, path: str, now: os.stat_result) -> None:
    source, name = upper.parent(path)
    target, _ = own.tree.parent(path)
    closed = stat.S_ISDIR(now.st_mode) and now.st_mode & _OWNER != _OWNER
    if closed:  # a directory that its owner may not write cannot be moved by one who is not root
        os.chmod(name, now.st_mode & PERMISSIONS | _OWNER, dir_fd=source)
    os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    if closed:
        own.tree.set_directory_mode(path, now.st_mode & PERMISSIONS)
