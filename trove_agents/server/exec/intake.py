"""Regular files of a working copy on their way into the store."""

import contextlib
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from trove_agents.server import timelines
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.index import PERMISSIONS, Known, known
from trove_agents.server.exec.tree import Tree
from trove_agents.server.timelines import Payload

_AT_ONCE: Final = 8
"""Large files: each waits for the disk until it is durable, and the disk serves several as fast as one."""
_PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Open:
    path: str
    mode: int
    """What its mode should be in the end."""
    descriptor: int
    stat: os.stat_result
    """Older than the reading: a change in between shows next time."""
    result: "Future[tuple[bytes, Payload | None]]"


class Intake:
    """Reads files of a tree. What a command may have done to keep others from that is undone."""

    def __init__(self, tree: Tree, contents: Contents) -> None:
        self._tree = tree
        self._contents = contents

    def take(
        self, files: Iterable[tuple[str, os.stat_result, bytes | None]]
    ) -> Iterator[tuple[str, Known, Payload | None]]:
        """Of each file, given with its stat and the digest that was known of it: what is known of it now, and its
        content if that is another. In no order.
        """
        waiting: deque[_Open] = deque()
        with contextlib.ExitStack() as stack:
            stack.callback(_close_all, waiting)
            pool: ThreadPoolExecutor | None = None
            for path, now, digest in files:
                mode = now.st_mode & PERMISSIONS
                descriptor = self._open(path, now, mode)
                found = os.fstat(descriptor)
                if found.st_size <= timelines.INLINE_BYTES:
                    try:
                        result = self._contents.take(descriptor, found.st_size, digest)
                        new = _settle(descriptor, mode, found, result[0])
                    finally:
                        os.close(descriptor)
                    yield path, new, result[1]
                    continue
                pool = pool or stack.enter_context(ThreadPoolExecutor(_AT_ONCE))
                future = pool.submit(self._contents.take, descriptor, found.st_size, digest)
                waiting.append(_Open(path, mode, descriptor, found, future))
                if len(waiting) == _AT_ONCE:
                    yield _finished(waiting)
            while waiting:
                yield _finished(waiting)

    def _open(self, path: str, now: os.stat_result, mode: int) -> int:
        readable = mode | stat.S_IRUSR
        above, name = self._tree.parent(path)
        if now.st_mode != stat.S_IFREG | readable:
            os.chmod(name, readable, dir_fd=above)
        if now.st_nlink > 1 and self._tree.lstat(path).st_nlink > 1:
            self._split(path, readable, now.st_mtime_ns)
        return self._tree.read(path)

    def _split(self, path: str, mode: int, mtime_ns: int) -> None:
        """Makes one name of a hard-linked file a file of its own."""
        directory, _, name = path.rpartition("/")
        aside = f".{secrets.token_hex(16)}"
        source = self._tree.read(path)
        try:
            self._tree.write(
                f"{directory}/{aside}" if directory else aside,
                iter(lambda: os.read(source, _PIECE), b""),
                mode=mode,
                mtime_ns=mtime_ns,
            )
        finally:
            os.close(source)
        above = self._tree.enter(directory)
        os.rename(aside, name, src_dir_fd=above, dst_dir_fd=above)


def _finished(waiting: deque[_Open]) -> tuple[str, Known, Payload | None]:
    """The result of the file that waits longest."""
    digest, payload = waiting[0].result.result()
    one = waiting.popleft()
    try:
        return one.path, _settle(one.descriptor, one.mode, one.stat, digest), payload
    finally:
        os.close(one.descriptor)


def _settle(descriptor: int, mode: int, found: os.stat_result, digest: bytes) -> Known:
    if found.st_mode & PERMISSIONS != mode:
        os.fchmod(descriptor, mode)
        found = os.fstat(descriptor)
    return known(found, digest)


def _close_all(waiting: deque[_Open]) -> None:
    """After a failure; nothing reads any more."""
    for one in waiting:
        os.close(one.descriptor)
