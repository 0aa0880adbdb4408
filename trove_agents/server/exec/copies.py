"""Working copies: what a command finds as its files. Caches of the store, each to be made anew at any time.

A port, and the form that works everywhere: a directory per namespace and server process, kept between commands and
compared with what was known of it. The other form is in ``overlay/``.
"""

import os
import secrets
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.exec import state
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.index import Index
from trove_agents.server.exec.lay import Layer
from trove_agents.server.exec.scan import Quota, Scan, Scanner
from trove_agents.server.exec.slots import Slot
from trove_agents.server.exec.tree import ROOT_MODE, Tree
from trove_agents.server.sandbox import Overlay
from trove_agents.server.timelines import At, Namespace

_KEPT: Final = 64
"""Copies on disk; the least recently used one makes room."""
_REMEMBERED: Final = 16
"""Copies whose index stays in memory; others are read from their state file."""


class WorkingCopy(Protocol):
    """The files of one namespace for one command. The caller holds the namespace's exec lock."""

    @property
    def root(self) -> Path:
        """The folder that the sandbox shows, and that takes what the command changes."""
        ...

    @property
    def overlay(self) -> Overlay | None:
        """What it shows through the root."""
        ...

    def bring_to(self, db: Connection, at: At, contents: Contents) -> None:
        """Makes it equal to a state of the store, at the cost of what differs."""
        ...

    def start(self) -> None:
        """Says that a command is about to run: until ``keep`` the copy is worth nothing to anybody else."""
        ...

    def changes(self, db: Connection, contents: Contents, quota: Quota) -> Scan:
        """What the command did, found once all its processes are dead.

        Raises:
            QuotaExceeded: what it left is too much to keep.
        """
        ...

    def keep(self, db: Connection, at: At, others: Iterable[str], contents: Contents) -> None:
        """Says that the changes are committed as ``at``, which differs from the copy at most in ``others``."""
        ...

    def give_back(self) -> None:
        """Leaves it for the next command. The caller must not use it any more."""
        ...


class WorkingCopies(Protocol):
    """Where working copies come from."""

    def take(self, namespace: Namespace) -> WorkingCopy:
        """The namespace's copy, for the caller alone until it is given back."""
        ...

    def prune(self, living: Callable[[], Iterable[str]]) -> None:
        """Removes the copies of namespaces that are no more. ``living`` gives the ``identity`` of those that are, once it
        is known which copies there are: a namespace that comes later has none among them.
        """
        ...

    def close(self) -> None:
        """Lets go of all of them; what is on disk serves the next process."""
        ...


def identity(workspace: str, name: str, key: int) -> str:
    """What a namespace's copy is named after."""
    return f"{workspace}/{name}/{key}"


class DirectoryCopy:
    """A plain directory, and the stat of each entry as it was when the directory equalled the store."""

    def __init__(self, root: Path, owner: "DirectoryCopies") -> None:
        self._root = root
        self._owner = owner
        self._state = root.with_suffix(".state")
        self._stamp = root.with_suffix(".stamp")
        self._at: At | None = None
        self._index: Index = {}
        self._started_ns = 0

    @property
    def root(self) -> Path:
        return self._root

    @property
    def overlay(self) -> None:
        return None

    def recall(self) -> None:
        """Takes up what a state file says of the directory, if there is a valid one."""
        found = state.load(self._state)
        if found is not None:
            self._at, self._index = found

    def bring_to(self, db: Connection, at: At, contents: Contents) -> None:
        if self._at == at:
            return
        was, self._at = self._at, None
        self._state.unlink(missing_ok=True)
        if was is None or not self._advance(db, was, at, contents):
            self._rebuild(db, at, contents)
        self._at = at

    def start(self) -> None:
        self._at = None
        self._state.unlink(missing_ok=True)
        # The file system's own clock: what a command changes from here on gets a time that is not older
        stamp = os.open(self._stamp, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(stamp)
            self._started_ns = os.fstat(stamp).st_mtime_ns
        finally:
            os.close(stamp)

    def changes(self, db: Connection, contents: Contents, quota: Quota) -> Scan:  # noqa: ARG002 - of the port
        with Tree(self._root) as tree:
            return Scanner(tree, self._index, contents).scan(started_ns=self._started_ns, quota=quota)

    def keep(self, db: Connection, at: At, others: Iterable[str], contents: Contents) -> None:
        wanted = {path: timelines.find(db, at, path) for path in with_parents(others)}
        if wanted:
            with Tree(self._root) as tree:
                Layer(tree, self._index, db, contents).apply(wanted.items())
        self._at = at
        state.save(self._state, at, self._index)

    def give_back(self) -> None:
        self._owner.give_back(self)

    def remove(self) -> None:
        """Leaves nothing of it on disk."""
        self._at = None
        self._state.unlink(missing_ok=True)
        self._stamp.unlink(missing_ok=True)
        remove_folder(self._root)

    def _advance(self, db: Connection, was: At, at: At, contents: Contents) -> bool:
        """Applies what differs; False when the directory is not what it should be."""
        changes = [(found.path, found.after) for found in timelines.differences(db, was, at)]
        if not timelines.kept(db, was):  # some of what differs may be forgotten
            return False
        try:
            with Tree(self._root) as tree:
                Layer(tree, self._index, db, contents).apply(changes)
        except OSError:
            return False
        return True

    def _rebuild(self, db: Connection, at: At, contents: Contents) -> None:
        """A new directory under the old name: what may still be open of the old one leads nowhere."""
        remove_folder(self._root)
        self._root.mkdir(ROOT_MODE)
        self._index = {}
        with Tree(self._root) as tree:
            Layer(tree, self._index, db, contents).whole(at)


class DirectoryCopies:
    """The copies of this process, in a slot that is its own for as long as it lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._slot: Slot | None = None
        self._idle: OrderedDict[str, DirectoryCopy | None] = OrderedDict()
        self._busy: set[str] = set()

    def take(self, namespace: Namespace) -> DirectoryCopy:
        """The namespace's copy, for the caller alone until it is given back.

        While a former holder of the exec lock still has it, another one: a takeover never shares its files.
        """
        with self._guard:
            slot = self._own_slot()
            name = slot.name(identity(namespace.workspace, namespace.name, namespace.id))
            while name in self._busy:
                name = slot.name(f"{name}/{secrets.token_hex(8)}")
            self._busy.add(name)
            copy = self._idle.pop(name, None)
        if copy is None:
            copy = DirectoryCopy(slot.folder / name, self)
            copy.recall()
        return copy

    def give_back(self, copy: DirectoryCopy) -> None:
        """Keeps a copy for the next command."""
        surplus: list[Path] = []
        with self._guard:
            name = copy.root.name
            self._busy.discard(name)
            if self._slot is None or copy.root.parent != self._slot.folder:
                return  # of a slot that this process no longer has
            self._idle[name] = copy
            while len(self._idle) > _KEPT:
                surplus.append(self._slot.folder / self._idle.popitem(last=False)[0])
            if len(self._idle) > _REMEMBERED:
                self._idle[list(self._idle)[-_REMEMBERED - 1]] = None
        for root in surplus:
            DirectoryCopy(root, self).remove()

    def prune(self, living: Callable[[], Iterable[str]]) -> None:
        with self._guard:
            if self._slot is None and not self._folder.exists():
                return
            slot = self._own_slot()
            known = list(self._idle)
        alive = {slot.name(each) for each in living()} if known else set()
        with self._guard:
            if self._slot is not slot:
                return
            gone = [name for name in known if name not in alive and name in self._idle]
            for name in gone:
                del self._idle[name]
        for name in gone:
            DirectoryCopy(slot.folder / name, self).remove()

    def close(self) -> None:
        """Lets go of the slot. The copies stay for the next process that takes it."""
        with self._guard:
            slot, self._slot = self._slot, None
            self._idle.clear()
            self._busy.clear()
        if slot is not None:
            slot.release()

    def _own_slot(self) -> Slot:
        if self._slot is None or self._slot.process != os.getpid():
            self._idle.clear()
            self._busy.clear()
            if self._slot is not None:  # after a fork: the parent keeps its slot and its copies
                self._slot.forget()
            self._slot = Slot.take(self._folder)
            self._idle.update((name, None) for name in self._slot.copies())
        return self._slot


def with_parents(paths: Iterable[str]) -> set[str]:
    """Paths, and every directory above them."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]  # noqa: PLW2901 - climbs to the root
    return found


def remove_folder(root: Path) -> None:
    """Removes a folder with all it holds, or what is in its place, if anything is."""
    try:
        found = root.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        with Tree(root) as tree:
            tree.clear()
        root.rmdir()
    else:
        root.unlink()
