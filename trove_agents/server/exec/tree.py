"""One folder of the host, reached only through directory descriptors.

A command may have left anything in it: links to anywhere, trees deeper than any path may be long, directories without
rights. So every step opens one name below an open directory and refuses to follow a link, nothing recurses, and no
path is ever handed to the kernel whole.
"""

import itertools
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_AT_ONCE: Final = 64
"""Directories above the current one that stay open; deeper trees are entered again from the root."""
_OWNER: Final = stat.S_IRWXU
ROOT_MODE: Final = 0o755


class Tree:
    """A folder with a current directory in it. Paths are relative to the folder; "" is the folder itself.

    A process that is not root is bound by the modes it finds: directories that deny their owner something are opened
    up while the tree is in use and closed again at its end.
    """

    def __init__(self, root: Path) -> None:
        self._bound = os.geteuid() != 0
        self._lifted: dict[str, int] = {}
        self._names: list[str] = []
        self._open: list[int | None] = [_open_root(root)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives directories their modes back."""
        try:
            for path in reversed(self._lifted):
                self._restore(path)
        finally:
            for descriptor in self._open:
                if descriptor is not None:
                    os.close(descriptor)
            self._open = []

    def enter(self, path: str) -> int:
        """The descriptor of a directory, valid until the next call.

        Raises:
            OSError: it is not there, or a part of the path is no directory.
        """
        names = path.split("/") if path else []
        level = 0
        for ours, theirs in zip(self._names, names, strict=False):
            if ours != theirs:
                break
            level += 1
        self._leave(level)
        start = level
        while self._open[start] is None:
            start -= 1
        for depth in range(start, len(names)):
            below = self._step(names, depth)
            if depth < len(self._names):
                self._open[depth + 1] = below
            else:
                self._names.append(names[depth])
                self._open.append(below)
            far = self._open[depth + 1 - _OPEN_AT_ONCE] if depth + 1 > _OPEN_AT_ONCE else None
            if far is not None:
                os.close(far)
                self._open[depth + 1 - _OPEN_AT_ONCE] = None
        return self._at(len(names))

    def parent(self, path: str) -> tuple[int, str]:
        """The descriptor of the directory that holds a path, and its name there."""
        above, _, name = path.rpartition("/")
        return self.enter(above), name

    def lstat(self, path: str) -> os.stat_result:
        above, name = self.parent(path)
        return os.stat(name, dir_fd=above, follow_symlinks=False)

    def make_directory(self, path: str, mode: int) -> None:
        above, name = self.parent(path)
        os.mkdir(name, _OWNER, dir_fd=above)
        self.set_directory_mode(path, mode)

    def set_directory_mode(self, path: str, mode: int) -> None:
        if self._bound and mode & _OWNER != _OWNER:
            self._lifted[path] = mode
        else:
            self._lifted.pop(path, None)
            above, name = self.parent(path)
            os.chmod(name, mode, dir_fd=above)

    def write(self, path: str, pieces: Iterable[bytes], *, mode: int, mtime_ns: int) -> os.stat_result:
        """A new file; its stat afterwards."""
        above, name = self.parent(path)
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=above)
        try:
            for piece in pieces:
                written = os.write(descriptor, piece)
                while written < len(piece):
                    written += os.write(descriptor, piece[written:])
            os.fchmod(descriptor, mode)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def link(self, path: str, target: bytes, *, mtime_ns: int) -> os.stat_result:
        """A new symbolic link; its stat afterwards."""
        above, name = self.parent(path)
        os.symlink(os.fsdecode(target), name, dir_fd=above)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=above, follow_symlinks=False)
        return os.stat(name, dir_fd=above, follow_symlinks=False)

    def touch(self, path: str, *, mtime_ns: int, mode: int | None = None) -> os.stat_result:
        """Mode and time of what is there, never through a link; its stat afterwards."""
        above, name = self.parent(path)
        if mode is not None:
            if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                raise FileExistsError(path)
            os.chmod(name, mode, dir_fd=above)
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=above, follow_symlinks=False)
        return os.stat(name, dir_fd=above, follow_symlinks=False)

    def read(self, path: str) -> int:
        """A new descriptor of what is there, a link excepted. Opening a FIFO or a device does not wait."""
        above, name = self.parent(path)
        return os.open(name, _READ, dir_fd=above)

    def remove(self, path: str) -> None:
        """Removes whatever is at a path below the root, a directory with all it holds."""
        above, name = self.parent(path)
        if not stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=above)
            return
        self._empty(path)
        above, name = self.parent(path)
        os.rmdir(name, dir_fd=above)
        below = f"{path}/"
        for lifted in [each for each in self._lifted if each == path or each.startswith(below)]:
            del self._lifted[lifted]

    def clear(self) -> None:
        """Removes everything below the root."""
        with os.scandir(self.enter("")) as found:
            names = [entry.name for entry in found]
        for name in names:
            self.remove(name)

    def _empty(self, path: str) -> None:
        """Removes all that is in a directory. What is deeper is moved up first: the paths of a deep tree are longer, all
        together, than any memory.
        """
        top = os.dup(self.enter(path))
        moved = (f"{prefix}{number}" for prefix in (secrets.token_hex(16),) for number in itertools.count())
        try:
            pending = self._strip(top, top, None)
            while pending:
                name = pending.pop()
                descriptor = self._open_below(top, name)
                try:
                    pending += self._strip(descriptor, top, moved)
                finally:
                    os.close(descriptor)
                os.rmdir(name, dir_fd=top)
        finally:
            os.close(top)

    def _strip(self, descriptor: int, top: int, moved: Iterator[str] | None) -> list[str]:
        """Leaves nothing in a directory; the directories that were in it, under their new names in ``top``."""
        found = []
        with os.scandir(descriptor) as entries:
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in inside:
            if not is_directory:
                os.unlink(name, dir_fd=descriptor)
            elif moved is None:
                found.append(name)
            else:
                if self._bound:  # who moves a directory writes into it, too
                    os.chmod(name, _OWNER, dir_fd=descriptor)
                found.append(next(moved))
                os.rename(name, found[-1], src_dir_fd=descriptor, dst_dir_fd=top)
        return found

    def _open_below(self, above: int, name: str) -> int:
        if self._bound:
            os.chmod(name, _OWNER, dir_fd=above)
        return os.open(name, _DIRECTORY, dir_fd=above)

    def _at(self, level: int) -> int:
        descriptor = self._open[level]
        assert descriptor is not None, "the current directory is open"
        return descriptor

    def _leave(self, level: int) -> None:
        for descriptor in self._open[level + 1 :]:
            if descriptor is not None:
                os.close(descriptor)
        del self._open[level + 1 :], self._names[level:]

    def _step(self, names: list[str], depth: int) -> int:
        above, name = self._at(depth), names[depth]
        try:
            below = os.open(name, _DIRECTORY, dir_fd=above)
        except PermissionError:
            mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode):
                raise
            os.chmod(name, _OWNER, dir_fd=above)
            self._lifted.setdefault("/".join(names[: depth + 1]), stat.S_IMODE(mode))
            return os.open(name, _DIRECTORY, dir_fd=above)
        if self._bound:
            mode = stat.S_IMODE(os.fstat(below).st_mode)
            if mode & _OWNER != _OWNER:
                os.fchmod(below, mode | _OWNER)
                self._lifted.setdefault("/".join(names[: depth + 1]), mode)
        return below

    def _restore(self, path: str) -> None:
        try:
            above, name = self.parent(path)
            if stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                os.chmod(name, self._lifted[path], dir_fd=above)
        except (FileNotFoundError, NotADirectoryError):
            pass  # removed or replaced since


def _open_root(root: Path) -> int:
    """A folder in which its owner, if nothing else, can work: its own mode is no part of the tree."""
    try:
        descriptor = os.open(root, _DIRECTORY)
    except PermissionError:
        if not stat.S_ISDIR(root.lstat().st_mode):
            raise
        root.chmod(ROOT_MODE)
        descriptor = os.open(root, _DIRECTORY)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != ROOT_MODE:
        os.fchmod(descriptor, ROOT_MODE)
    return descriptor
