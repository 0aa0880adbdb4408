"""One version in the making: any number of puts and removals, all of them or nothing.

What is put is kept in memory and laid over the head until ``commit``, which writes the rows at once: a path that
changes several times in one version has one row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from blake3 import blake3
from sqlalchemy import bindparam, insert, literal_column, update

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import LIVE, entries
from trove_agents.server.timelines import chain, contents, namespaces
from trove_agents.server.timelines.errors import BadPath, IsADirectory, Missing, NotADirectory
from trove_agents.server.timelines.reads import Row, lookup, lookups, root, split, tree
from trove_agents.server.timelines.values import At, Entry, Kind, Namespace, Payload
from trove_agents.wire import limits, names
from trove_agents.wire.steps import Step

_e = entries.c
_ADD = insert(entries)
CLOSE: Final = (
    update(entries)
    .where(
        _e.timeline == bindparam("t"),
        _e.dir == bindparam("d"),
        _e.name == bindparam("n"),
        _e.since == bindparam("s"),
        _e.until + chain.ZERO == literal_column(str(LIVE)),  # + 0: by the primary key, not by ``until``
    )
    .values(until=bindparam("v"))
)
_PERMISSIONS: Final = 0o1777
"""Kept of a mode; setuid and setgid are not."""
_NO_NAMES: Final = frozenset({b"", b".", b".."})


@dataclass(slots=True)
class _State:
    """What a path will be; ``GONE`` included."""

    kind: Kind
    mode: int = 0
    size: int = 0
    mtime_ns: int = 0
    content: int | None = None
    media_type: str | None = None

    @property
    def stat(self) -> tuple[Kind, int, int, int, int | None]:
        return self.kind, self.mode, self.size, self.mtime_ns, self.content


class Change:
    """Changes to a namespace, which must have been read in the same transaction."""

    def __init__(
        self,
        db: Connection,
        namespace: Namespace,
        *,
        kind: str,
        now_ns: int,
        actor: str | None = None,
        step: Step | None = None,
    ) -> None:
        self.version = namespaces.next_version(namespace, now_ns)
        """The version that ``commit`` makes."""
        self._db = db
        self._namespace = namespace
        self._kind = kind
        self._now_ns = now_ns
        self._actor = actor
        self._step = step
        self._states: dict[str, _State] = {}
        self._below: dict[str, set[str]] = {}  # directory -> paths of it that are in _states and not gone
        self._rows: dict[str, Row | None] = {}  # as of the head
        self._base: list[At | None] = []  # of the head, once it was asked for
        self._files = namespace.files
        self._bytes = namespace.bytes

    def expect(self, paths: Iterable[str]) -> None:
        """Reads along what is at many paths that will be changed, where one after the other would be as many round trips."""
        if self._db.far:
            self._look(paths)

    def put_file(
        self,
        path: str,
        payload: Payload,
        *,
        mode: int | None = None,
        mtime_ns: int | None = None,
        media_type: str | None = None,
        replace: bool = False,
    ) -> Entry:
        """Puts a file, with the directories above it. A file or link that is there goes.

        Without a mode a file keeps the one it has, so that a script that is written anew stays executable; a new
        one gets 644.

        Raises:
            BadPath: a part of it is empty, ``.``, ``..``, over 255 bytes, or holds a NUL.
            IsADirectory: a directory is there, and not ``replace``: then it goes, with all it holds.
            NotADirectory: a file or link is where a directory above must be, and not ``replace``.
        """
        now = self._room(path, replace=replace)
        if mode is None:
            mode = now.mode if now is not None and now.kind is Kind.FILE else 0o644
        content = self._content(now, payload)
        return self._set(
            path,
            _State(Kind.FILE, mode & _PERMISSIONS, payload.size, self._time(mtime_ns), content, media_type),
        )

    def put_link(
        self, path: str, target: bytes, *, mtime_ns: int | None = None, replace: bool = False
    ) -> Entry:
        """Puts a symbolic link, whose target is any bytes. Errors as ``put_file``."""
        now = self._room(path, replace=replace)
        payload = Payload(blake3(target).digest(), len(target), target, ())
        content = self._content(now, payload)
        return self._set(path, _State(Kind.LINK, 0o777, len(target), self._time(mtime_ns), content))

    def put_content(self, path: str, entry: Entry, *, replace: bool = False) -> Entry:
        """Puts what an entry of the same workspace is, with its mode, its time and its content, which is shared.

        Of a directory only itself, without what it holds. Errors as ``put_file``, of a directory as ``put_directory``.
        """
        if entry.kind is Kind.DIRECTORY:
            return self.put_directory(path, mode=entry.mode, mtime_ns=entry.mtime_ns, replace=replace)
        self._room(path, replace=replace)
        return self._set(path, _State(entry.kind, entry.mode, entry.size, entry.mtime_ns, entry.content))

    def put_directory(
        self, path: str, *, mode: int = 0o755, mtime_ns: int | None = None, replace: bool = False
    ) -> Entry:
        """Makes a directory, with those above it, or gives one that is there its mode and time.

        The root is always there and has neither.

        Raises:
            BadPath: as ``put_file``.
            NotADirectory: a file or link is there or above, and not ``replace``: then it goes.
        """
        if not path:
            return root()
        _check(path)
        now = self._now(path)
        if now is not None and now.kind is Kind.DIRECTORY:
            mtime = now.mtime_ns if mtime_ns is None else mtime_ns
            return self._set(path, _State(Kind.DIRECTORY, mode & _PERMISSIONS, mtime_ns=mtime))
        if now is not None:
            self._clear(path, replace=replace)
        self._parents(path, replace=replace)
        return self._set(path, _State(Kind.DIRECTORY, mode & _PERMISSIONS, mtime_ns=self._time(mtime_ns)))

    def remove(self, path: str) -> int:
        """Removes what is at a path, with all below, and says how many files and links that were.

        Of the root: all there is.

        Raises:
            Missing: nothing is there.
        """
        now = self._now(path)
        if now is None:
            raise Missing(path)
        before = self._files
        if now.kind is Kind.DIRECTORY:
            directories = [path]
            for below, row in tree(self._db, self._namespace.at, path):
                self._rows.setdefault(below, row)
                there = self._now(below)
                if there is not None and there.kind is Kind.DIRECTORY:
                    directories.append(below)
                if there is not None:
                    self._set(below, _State(Kind.GONE))
            self._remove_new(directories)
        self._set(path, _State(Kind.GONE))
        return before - self._files

    def commit(self) -> Namespace:
        """Makes the version and returns the namespace at it. Where nothing changed there is no new version.

        Raises:
            Conflict: the head moved since the namespace was read.
        """
        closed: list[dict[str, Any]] = []
        added: list[dict[str, Any]] = []
        was = self._namespace
        for path, state in self._states.items():
            row = self._row(path)
            there = row is not None and row[0] != Kind.GONE
            if not there and state.kind is Kind.GONE:
                continue
            if row is not None and row[:5] == state.stat and state.media_type is None:
                continue
            directory, name = split(path)
            own = row is not None and row[6] == was.at.timeline
            if row is not None and own:
                closed.append({"t": row[6], "d": directory, "n": name, "s": row[5], "v": self.version})
            shown = state.kind is not Kind.GONE or not own or self._below_has(path)
            added.append(
                {
                    "timeline": was.at.timeline,
                    "dir": directory,
                    "name": name,
                    "since": self.version,
                    "until": LIVE if shown else self.version,
                    "kind": state.kind.value,
                    "mode": state.mode,
                    "size": state.size,
                    "mtime_ns": state.mtime_ns,
                    "content": state.content,
                    "media_type": state.media_type,
                    "etag": None,
                    "attributes": None,
                }
            )
        if not added:
            return was
        self._db.many(CLOSE, closed)
        self._db.many(_ADD, added)
        return namespaces.move(
            self._db,
            was,
            At(was.at.timeline, self.version),
            files=self._files,
            bytes=self._bytes,
            kind=self._kind,
            now_ns=self._now_ns,
            actor=self._actor,
            step=self._step,
        )

    def _time(self, mtime_ns: int | None) -> int:
        return self._now_ns if mtime_ns is None else mtime_ns

    def _row(self, path: str) -> Row | None:
        if path not in self._rows:
            parent = path.rpartition("/")[0]
            # Where a directory never was, nothing below it was
            if parent in self._rows and self._rows[parent] is None:
                self._rows[path] = None
            else:
                self._look([path])
        return self._rows[path]

    def _look(self, paths: Iterable[str]) -> None:
        """Reads the rows of paths. Those of the directories above will be asked for if there is none: where that would
        be one round trip after the other they are read along.
        """
        wanted = dict.fromkeys(path for path in paths if path not in self._rows)
        for path in list(wanted) if self._db.far else ():
            above = path.rpartition("/")[0]
            while above and above not in self._rows and above not in wanted:
                wanted[above] = None
                above = above.rpartition("/")[0]
        found = lookups(self._db, self._namespace.at, list(wanted))
        self._rows.update(zip(wanted, found, strict=True))

    def _now(self, path: str) -> _State | None:
        """What is at a path, as changed so far."""
        if not path:
            return _State(Kind.DIRECTORY)
        state = self._states.get(path)
        if state is None and (row := self._row(path)) is not None:
            state = _State(Kind(row[0]), *row[1:5])
        return None if state is None or state.kind is Kind.GONE else state

    def _room(self, path: str, *, replace: bool) -> _State | None:
        """Makes room for a file or a link; what it will take the place of."""
        if path:
            _check(path)
        now = self._now(path)
        if now is None:
            self._parents(path, replace=replace)
        elif now.kind is Kind.DIRECTORY:
            if not replace or not path:
                raise IsADirectory(path)
            self.remove(path)
            return None
        return now

    def _parents(self, path: str, *, replace: bool) -> None:
        missing: list[str] = []
        parent = path.rpartition("/")[0]
        while parent:
            now = self._now(parent)
            if now is not None and now.kind is Kind.DIRECTORY:
                break
            if now is not None:
                self._clear(parent, replace=replace)
            missing.append(parent)
            parent = parent.rpartition("/")[0]
        for parent in reversed(missing):
            self._set(parent, _State(Kind.DIRECTORY, 0o755, mtime_ns=self._now_ns))

    def _clear(self, path: str, *, replace: bool) -> None:
        if not replace:
            raise NotADirectory(path)
        self.remove(path)

    def _content(self, now: _State | None, payload: Payload) -> int:
        """The key of a content, which is the one that is already there if it is the same bytes."""
        known = now.content if now is not None and now.size == payload.size else None
        now_us = self._now_ns // 1000
        return contents.add_content(self._db, self._namespace.workspace, payload, now_us=now_us, known=known)

    def _set(self, path: str, state: _State) -> Entry:
        was = self._now(path)
        if was is not None and was.kind is not Kind.DIRECTORY:
            self._files -= 1
            self._bytes -= was.size if was.kind is Kind.FILE else 0
        if state.kind in {Kind.FILE, Kind.LINK}:
            self._files += 1
            self._bytes += state.size if state.kind is Kind.FILE else 0
        siblings = self._below.setdefault(path.rpartition("/")[0], set())
        if state.kind is Kind.GONE:
            siblings.discard(path)
        else:
            siblings.add(path)
        self._states[path] = state
        return Entry(path, *state.stat, self.version)

    def _remove_new(self, directories: list[str]) -> None:
        """Removes what this change itself put below directories."""
        while directories:
            for below in list(self._below.get(directories.pop(), ())):
                directories.append(below)
                self._set(below, _State(Kind.GONE))

    def _below_has(self, path: str) -> bool:
        """Whether the base would show through where the timeline has no row: then its absence needs one."""
        if not self._base:
            self._base = [chain.base(self._db, self._namespace.at)]
        if (under := self._base[0]) is None:
            return False
        row = lookup(self._db, under, path)
        return row is not None and row[0] != Kind.GONE


def _check(path: str) -> None:
    """Refuses what could not be laid out for a command, or would be laid out elsewhere."""
    raw = names.to_bytes(path)
    parts = raw.split(b"/")
    longest = len(raw) > limits.SEGMENT_BYTES and max(map(len, parts)) > limits.SEGMENT_BYTES
    if longest or b"\0" in raw or not _NO_NAMES.isdisjoint(parts):
        raise BadPath(path)
