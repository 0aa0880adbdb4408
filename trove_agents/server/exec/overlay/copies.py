"""The overlay form of working copies: shared strata, a folder of the copy's own, and one for each command.

A copy stands on a stratum (``strata.py``); what differs from it lies in the copy's own folder, and a command writes
into a third one, which is folded into the own folder once its changes are committed. So a command that fails leaves
nothing to repair. A fork freezes the own folder of the copy it was made from, as one more stratum for both.
"""

import contextlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.exec.contents import Contents
from trove_agents.server.exec.copies import identity, remove_folder, with_parents
from trove_agents.server.exec.lay import Layer
from trove_agents.server.exec.overlay import record
from trove_agents.server.exec.overlay.fold import fold
from trove_agents.server.exec.overlay.lay import Laying, Private
from trove_agents.server.exec.overlay.record import Record
from trove_agents.server.exec.overlay.scan import UpperScan
from trove_agents.server.exec.overlay.strata import Stratum
from trove_agents.server.exec.scan import Quota, Scan
from trove_agents.server.exec.slots import Slot
from trove_agents.server.exec.tree import ROOT_MODE, Tree
from trove_agents.server.sandbox import Overlay
from trove_agents.server.timelines import At, Entry, Namespace

KEPT: Final = 64
"""Copies on disk; the least recently used one makes room."""
KEPT_BYTES: Final = 20 * 1024**3
"""About what all of them, and what they stand on, may take; the one in use always has its place."""
STRATUM: Final = ".stratum"
COPY: Final = ".copy"


class OverlayCopy:
    """The files of one namespace: a stratum, what differs from it, and room for one command."""

    def __init__(
        self, name: str, space: Namespace, owner: "OverlayCopies", place: Path, workspace: str
    ) -> None:
        self.name = name
        self.workspace = workspace
        self.at: At | None = None
        """The state that it equals; None for none."""
        self.top: Stratum | None = None
        self.own: Path | None = None
        """What differs from the stratum; None for nothing."""
        self.bytes = 0
        """About what the own folder takes."""
        self._space = space
        self._owner = owner
        self._place = place
        self._record = place / f"{name}{COPY}"
        self._upper = _fresh(place)
        self._work = _fresh(place)
        self._changed = False

    @property
    def root(self) -> Path:
        return self._upper

    @property
    def overlay(self) -> Overlay:
        assert self.top is not None, "it was brought to a state"
        strata = tuple(each.folder for each in self.top.downwards())
        return Overlay(strata if self.own is None else (self.own, *strata), self._work)

    def recall(self, found: Record, top: Stratum) -> None:
        """Takes up what a record says of it."""
        self.at, self.top, self.bytes = found.at, top, found.bytes
        self.own = self._place / found.own if found.own else None

    def taken(self, space: Namespace) -> None:
        """Notes what the namespace is now."""
        self._space = space

    def bring_to(self, db: Connection, at: At, contents: Contents) -> None:
        shallow = self.top is not None and self.top.bears
        if self.at == at and shallow:
            return
        was = self.at
        self._forget()
        if was is None or not shallow or not self._advance(db, was, at, contents):
            self._found(db, at, contents)
        self._settle(at)

    def start(self) -> None:
        self._changed = False
        self._upper.mkdir(ROOT_MODE)
        self._work.mkdir(0o700)

    def changes(self, db: Connection, contents: Contents, quota: Quota) -> Scan:
        assert self.at is not None, "it was brought to a state"
        space = self._space
        if space.at != self.at:
            files, size = timelines.totals(db, self.at)
            space = replace(space, at=self.at, files=files, bytes=size)
        with Tree(self._upper) as tree:
            found = UpperScan(tree, db, space, contents, quota).scan()
        self._changed = bool(found)
        self.bytes += sum(each.payload.size for each in found.found if each.payload is not None)
        return found

    def keep(self, db: Connection, at: At, others: Iterable[str], contents: Contents) -> None:
        wanted = {path: timelines.find(db, at, path) for path in with_parents(others)}
        if self._changed or wanted or self.at != at:
            self._forget()
            if self._changed:
                self._fold()
            self._lay(db, at, wanted.items(), contents)
            self._settle(at)

    def give_back(self) -> None:
        self._clear()
        self._owner.give_back(self)

    def remove(self) -> None:
        """Leaves nothing on disk that is its own."""
        self._forget()
        self._leave()
        self._clear()

    def freeze(self, top: Stratum, own: Path, at: At) -> Stratum:
        """What is its own becomes a stratum, on which others may stand as well. Only while it is idle."""
        self._record.unlink(missing_ok=True)  # no moment at which both records call the folder theirs
        made = Stratum(own, self.workspace, at, top, self.bytes)
        found = Record(self.workspace, at.timeline, at.version, top.folder.name, "", self.bytes)
        record.save(own.with_suffix(STRATUM), found)
        self.top, self.own, self.bytes = made, None, 0
        self._settle(at)
        return made

    def _advance(self, db: Connection, was: At, at: At, contents: Contents) -> bool:
        """Lays what differs; False when the copy is not what it should be."""
        changes = _changes(db, was, at)
        if not timelines.kept(db, was):  # some of what differs may be forgotten
            return False
        try:
            self._lay(db, at, changes, contents)
        except OSError:
            return False
        return True

    def _found(self, db: Connection, at: At, contents: Contents) -> None:
        """Stands anew, on what comes nearest."""
        self._leave()
        top = self._owner.stand(self, db, at, contents)
        self._lay(db, at, _changes(db, top.at, at), contents)

    def _lay(
        self, db: Connection, at: At, changes: Iterable[tuple[str, Entry | None]], contents: Contents
    ) -> None:
        wanted = list(changes)
        if wanted:
            with self._opened() as own:
                laying = Laying(own, db, at, contents)
                laying.apply(wanted)
            self.bytes += laying.bytes

    def _fold(self) -> None:
        """Keeps what the command left."""
        with Tree(self._upper) as upper, self._opened() as own:
            fold(upper, own)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Private]:
        """The own folder, to be written."""
        assert self.top is not None, "it stands on something"
        if self.own is None:
            self.own = _fresh(self._place)
            self.own.mkdir(ROOT_MODE)
        with Tree(self.own) as tree, Private(tree, self.top) as own:
            yield own

    def _forget(self) -> None:
        """Equals no state until it is settled again."""
        self.at = None
        self._record.unlink(missing_ok=True)

    def _settle(self, at: At) -> None:
        assert self.top is not None, "it stands on something"
        self.at = at
        own = "" if self.own is None else self.own.name
        found = Record(self.workspace, at.timeline, at.version, self.top.folder.name, own, self.bytes)
        record.save(self._record, found)

    def _leave(self) -> None:
        """Stands on nothing and has nothing of its own."""
        own, self.own, self.bytes = self.own, None, 0
        if own is not None:
            remove_folder(own)
        self.top = None

    def _clear(self) -> None:
        """Removes the command's folders, whatever it left in them. The next ones have other names: to the kernel these may
        be in use for a while yet.
        """
        for folder in (self._upper, self._work):
            remove_folder(folder)
        self._upper, self._work = _fresh(self._place), _fresh(self._place)


class OverlayCopies:
    """The overlay copies of this process, in a slot that is its own for as long as it lives."""

    def __init__(self, folder: Path, *, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._folder = folder
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._guard = threading.Lock()
        self._slot: Slot | None = None
        self._idle: OrderedDict[str, OverlayCopy] = OrderedDict()
        self._busy: dict[str, OverlayCopy] = {}
        self._strata: set[Stratum] = set()

    @property
    def place(self) -> Path:
        """The folder that they lie in."""
        with self._guard:
            return self._own_slot().folder

    def take(self, namespace: Namespace) -> OverlayCopy:
        """The namespace's copy, for the caller alone until it is given back.

        While a former holder of the exec lock still has it, another one: a takeover never shares its files.
        """
        with self._guard:
            slot = self._own_slot()
            name = slot.name(identity(namespace.workspace, namespace.name, namespace.id))
            while name in self._busy:
                name = slot.name(f"{name}/{secrets.token_hex(8)}")
            copy = self._idle.pop(name, None)
            if copy is None:
                copy = OverlayCopy(name, namespace, self, slot.folder, slot.name(namespace.workspace))
            copy.taken(namespace)
            self._busy[name] = copy
        return copy

    def give_back(self, copy: OverlayCopy) -> None:
        """Keeps a copy for the next command."""
        with self._guard:
            if self._busy.pop(copy.name, None) is not copy:
                return  # of a slot that this process no longer has
            self._idle[copy.name] = copy
            surplus = self._surplus()
            useless = self._useless()
        for each in surplus:
            each.remove()
        for stratum in useless:
            _remove(stratum)

    def stand(self, copy: OverlayCopy, db: Connection, at: At, contents: Contents) -> Stratum:
        """Puts a copy on the stratum that comes nearest to a state, made now if there is none."""
        lineage = [state for state in timelines.ancestry(db, at) if state == at or timelines.kept(db, state)]
        with self._guard:
            copy.top = self._nearest(copy.workspace, db, lineage)
            if copy.top is not None:
                return copy.top
            place = self._own_slot().folder
        # Where it was cut from, so that other forks of the same state find it
        start = lineage[1] if len(lineage) > 1 else at
        made = _lay_out(place, copy.workspace, db, start, contents)
        with self._guard:
            self._strata.add(made)
            copy.top = made
        return made

    def prune(self, living: Callable[[], Iterable[str]]) -> None:
        """As ``WorkingCopies.prune``; with them go the strata that only they stood on."""
        with self._guard:
            if self._slot is None and not self._folder.exists():
                return
            slot = self._own_slot()
            known = list(self._idle)
        alive = {slot.name(each) for each in living()} if known else set()
        with self._guard:
            if self._slot is not slot:
                return
            gone = [self._idle.pop(name) for name in known if name not in alive and name in self._idle]
            useless = self._useless()
        for each in gone:
            each.remove()
        for stratum in useless:
            _remove(stratum)

    def close(self) -> None:
        """Lets go of the slot. The copies stay for the next process that takes it."""
        with self._guard:
            slot, self._slot = self._slot, None
            self._reset()
        if slot is not None:
            slot.release()

    def _nearest(self, workspace: str, db: Connection, lineage: list[At]) -> Stratum | None:
        """Of what a state descends from the youngest that there is, frozen now if need be."""
        for state in lineage:
            strata = (each for each in self._strata if each.workspace == workspace)
            best = max(
                (each for each in strata if _before(each.at, state)),
                key=lambda each: each.at.version,
                default=None,
            )
            for copy in self._idle.values():
                if (
                    copy.workspace == workspace
                    and copy.own is not None
                    and copy.at is not None
                    and copy.top is not None
                    and copy.top.bears
                    and _before(copy.at, state)
                    and (best is None or best.at.version < copy.at.version)
                ):
                    best = copy.freeze(copy.top, copy.own, copy.at)
                    self._strata.add(best)
            for found in () if best is None else (best, best.lowest):
                if found.bears and timelines.kept(db, found.at):
                    return found
        return None

    def _surplus(self) -> list[OverlayCopy]:
        """Copies that make room for others; they are no longer known."""
        found = []
        while self._idle and (len(self._idle) > self._kept or self._too_much()):
            if len(self._idle) == 1 and not self._busy:
                break
            found.append(self._idle.popitem(last=False)[1])
        return found

    def _too_much(self) -> bool:
        copies = [*self._idle.values(), *self._busy.values()]
        size = sum(each.bytes for each in copies) + sum(each.bytes for each in _under(copies))
        return size > self._kept_bytes

    def _useless(self) -> list[Stratum]:
        """Strata on which nothing stands any more; they are no longer known."""
        used = _under([*self._idle.values(), *self._busy.values()])
        found = [each for each in self._strata if each not in used]
        self._strata &= used
        return found

    def _own_slot(self) -> Slot:
        if self._slot is None or self._slot.process != os.getpid():
            self._reset()
            if self._slot is not None:  # after a fork: the parent keeps its slot and its copies
                self._slot.forget()
            self._slot = Slot.take(self._folder)
            self._recall(self._slot.folder)
        return self._slot

    def _reset(self) -> None:
        self._idle.clear()
        self._busy.clear()
        self._strata.clear()

    def _recall(self, place: Path) -> None:
        """Takes up what a former process left, and removes what is of no use."""
        strata = _recalled(place)
        for file in sorted(place.glob(f"*{COPY}"), key=_modified):
            found = record.load(file)
            top = None if found is None else strata.get(found.below)
            if found is not None and top is not None and (not found.own or (place / found.own).is_dir()):
                space = Namespace(0, "", "", found.at, 0, 0)
                copy = OverlayCopy(file.stem, space, self, place, found.workspace)
                copy.recall(found, top)
                self._idle[copy.name] = copy
        self._strata = _under(self._idle.values())
        used = {each.folder.stem for each in self._strata}
        used |= {each.own.name for each in self._idle.values() if each.own is not None} | set(self._idle)
        for file in list(place.iterdir()):
            if file.stem not in used:
                remove_folder(file)


def _recalled(place: Path) -> dict[str, Stratum]:
    """The strata that a former process wrote down, by the names of their folders."""
    records = {file.stem: record.load(file) for file in place.glob(f"*{STRATUM}")}
    strata: dict[str, Stratum] = {}
    waiting = dict(records)
    while waiting:
        for name, found in list(waiting.items()):
            below = None if found is None else strata.get(found.below)
            if found is None or not (place / name).is_dir() or (found.below and found.below not in records):
                del waiting[name]
                records.pop(name)
            elif not found.below or below is not None:
                strata[name] = Stratum(place / name, found.workspace, found.at, below, found.bytes)
                del waiting[name]
    return strata


def _lay_out(place: Path, workspace: str, db: Connection, at: At, contents: Contents) -> Stratum:
    """A stratum with all of a state."""
    folder = _fresh(place)
    folder.mkdir(ROOT_MODE)
    with Tree(folder) as tree:
        Layer(tree, {}, db, contents).whole(at)
    _, size = timelines.totals(db, at)
    record.save(folder.with_suffix(STRATUM), Record(workspace, at.timeline, at.version, "", "", size))
    return Stratum(folder, workspace, at, None, size)


def _changes(db: Connection, was: At, at: At) -> list[tuple[str, Entry | None]]:
    return [(found.path, found.after) for found in timelines.differences(db, was, at)]


def _before(at: At, state: At) -> bool:
    """Whether a state is on the way to another of the same timeline."""
    return at.timeline == state.timeline and at.version <= state.version


def _under(copies: Iterable[OverlayCopy]) -> set[Stratum]:
    """The strata that copies stand on."""
    found: set[Stratum] = set()
    for copy in copies:
        for each in () if copy.top is None else copy.top.downwards():
            if each in found:
                break
            found.add(each)
    return found


def _remove(stratum: Stratum) -> None:
    stratum.folder.with_suffix(STRATUM).unlink(missing_ok=True)
    remove_folder(stratum.folder)


def _fresh(place: Path) -> Path:
    """A name that says nothing: commands can see it in ``/proc/self/mountinfo``."""
    return place / secrets.token_hex(12)


def _modified(file: Path) -> float:
    return file.stat().st_mtime
