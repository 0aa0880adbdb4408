"""Laying a namespace's state out as files: the whole of it, or what differs from what is there.

Files are copied from the store and never linked: a command may write into them in place.
"""

import stat
from collections.abc import Iterable, Iterator
from typing import Final

from blake3 import blake3

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.index import PERMISSIONS, Index, Known, Names, known
from trove_agents.server.exec.tree import Tree
from trove_agents.server.timelines import At, Entry, Kind, Payload

_TYPE: Final = {Kind.FILE: stat.S_IFREG, Kind.DIRECTORY: stat.S_IFDIR, Kind.LINK: stat.S_IFLNK}


class Layer:
    """Makes a tree and its index equal to states of the store. After an error both are worth nothing."""

    def __init__(self, tree: Tree, index: Index, db: Connection, contents: Contents) -> None:
        self._tree = tree
        self._index = index
        self._db = db
        self._contents = contents
        self._made: list[Entry] = []

    def whole(self, at: At) -> None:
        """Everything, into an empty tree."""
        for entry in timelines.walk(self._db, at):
            self._put(entry)
        self._settle()

    def apply(self, changes: Iterable[tuple[str, Entry | None]]) -> None:
        """Only these paths: what is there afterwards, or None where nothing is. Parents are among them or there."""
        wanted = sorted(changes, key=lambda change: change[0])
        for path, entry in wanted:
            was = self._index.get(path.rpartition("/")[0], {}).get(_name(path))
            if was is not None and (entry is None or stat.S_IFMT(was.mode) != _TYPE[entry.kind]):
                self._remove(path, was)
        for _, entry in wanted:
            if entry is not None:
                self._put(entry)
        self._settle()

    def _settle(self) -> None:
        """Times of new directories, once nothing more is put into them."""
        for entry in reversed(self._made):
            self._tree.touch(entry.path, mtime_ns=entry.mtime_ns)
        self._made.clear()

    def _names(self, path: str) -> Names:
        return self._index.setdefault(path.rpartition("/")[0], {})

    def _remove(self, path: str, was: Known) -> None:
        self._tree.remove(path)
        del self._names(path)[_name(path)]
        pending = [path] if stat.S_ISDIR(was.mode) else []
        while pending:
            directory = pending.pop()
            names = self._index.pop(directory, {})
            pending += [f"{directory}/{name}" for name, inside in names.items() if stat.S_ISDIR(inside.mode)]

    def _put(self, entry: Entry) -> None:
        names, name = self._names(entry.path), _name(entry.path)
        if entry.kind is Kind.DIRECTORY:
            self._put_directory(entry, names.get(name))
            names[name] = Known(stat.S_IFDIR | entry.mode & PERMISSIONS)
        else:
            assert entry.content is not None, "files and links have content"
            payload = timelines.read_content(self._db, entry.content)
            put = self._put_file if entry.kind is Kind.FILE else self._put_link
            names[name] = put(entry, payload, names.get(name))

    def _put_directory(self, entry: Entry, was: Known | None) -> None:
        mode = entry.mode & PERMISSIONS
        if was is None:
            self._tree.make_directory(entry.path, mode)
            self._index[entry.path] = {}
            self._made.append(entry)
        elif was.mode & PERMISSIONS != mode:
            self._tree.set_directory_mode(entry.path, mode)

    def _put_file(self, entry: Entry, payload: Payload, was: Known | None) -> Known:
        mode = entry.mode & PERMISSIONS
        if was is not None:
            if was.digest == payload.digest:
                return known(self._tree.touch(entry.path, mtime_ns=entry.mtime_ns, mode=mode), was.digest)
            self._tree.remove(entry.path)
        source = _Hashed(self._contents.stream(payload), payload)
        done = self._tree.write(entry.path, source, mode=mode, mtime_ns=entry.mtime_ns)
        return known(done, source.digest)

    def _put_link(self, entry: Entry, payload: Payload, was: Known | None) -> Known:
        if was is not None:
            self._tree.remove(entry.path)
        target = b"".join(self._contents.stream(payload))
        return known(self._tree.link(entry.path, target, mtime_ns=entry.mtime_ns), blake3(target).digest())


class _Hashed:
    """Pieces of a content, with the digest of its bytes: that of a content in several parts is not theirs."""

    def __init__(self, pieces: Iterable[bytes], payload: Payload) -> None:
        self._pieces = pieces
        self._hash = blake3() if len(payload.parts) > 1 else None
        self._digest = payload.digest

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if self._hash is not None:
                self._hash.update(piece)
            yield piece

    @property
    def digest(self) -> bytes:
        return self._digest if self._hash is None else self._hash.digest()


def _name(path: str) -> str:
    return path.rpartition("/")[2]
