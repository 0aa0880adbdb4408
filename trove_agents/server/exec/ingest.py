"""A command's changes as one version of the namespace. Runs in the transaction that commits them.

The command's changed paths win. What others changed since it started stays where the command did not touch it, and
is named as a conflict where it did.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.exec.scan import Found, Scan
from trove_agents.server.timelines import At, Change, Difference, Entry, Kind, Namespace, Payload
from trove_agents.wire.steps import Step


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a command's changes."""

    namespace: Namespace
    """At the new head; the old one when nothing changed."""
    conflicts: list[str]
    """Paths that others changed since the command started and whose change was replaced."""
    others: list[str]
    """All paths that others changed."""


def ingest(
    tx: Connection,
    head: Namespace,
    start: At,
    scan: Scan,
    *,
    now_ns: int,
    actor: str,
    step: Step | None = None,
) -> Ingested:
    """Commits what a command changed on top of a head of the same timeline, which may be newer than its start."""
    others = {} if head.at == start else {d.path: d for d in timelines.differences(tx, start, head.at)}
    change = Change(tx, head, kind="exec", now_ns=now_ns, actor=actor, step=step)
    clashes = Clashes(others, scan)
    change.expect([*scan.removed, *(found.path for found in scan.found)])
    for path in clashes.removals():
        with contextlib.suppress(timelines.Missing):  # others removed it as well
            change.remove(path)
    for found in scan.found:
        _put(tx, change, start, found)
    moved = change.commit() if scan else head
    return Ingested(moved, clashes.conflicts, sorted(others))


class Clashes:
    """Where the changes of a command and of others meet."""

    def __init__(self, others: dict[str, Difference], scan: Scan) -> None:
        self._others = others
        self._put = {found.path: found for found in scan.found}
        self._removed = set(scan.removed)
        self._above = _parents(others)
        self._above_ours = _parents(self._put)

    def removals(self) -> Iterator[str]:
        """What to remove, each with all below it. A directory stays for what others have put into it."""
        whole: set[str] = set()
        for path in sorted(self._removed):
            if path in self._put or _parents([path]) & whole:
                continue
            if path in self._above and self._kept(path):
                continue
            whole.add(path)
            yield path

    @property
    def conflicts(self) -> list[str]:
        """Changes of others that are no more."""
        return sorted(path for path, theirs in self._others.items() if self._replaced(path, theirs.after))

    def _replaced(self, path: str, theirs: Entry | None) -> bool:
        ours = self._put.get(path)
        if ours is not None:
            return theirs is None or not ours.kind is theirs.kind is Kind.DIRECTORY
        if theirs is None:
            return False
        if path in self._removed:
            return theirs.kind is not Kind.DIRECTORY or not self._kept(path)
        # something that is no directory is above it now, or something is below it though it was no directory
        return any(
            (above := self._put.get(parent)) is not None and above.kind is not Kind.DIRECTORY
            for parent in _parents([path])
        ) or (theirs.kind is not Kind.DIRECTORY and path in self._above_ours)

    def _kept(self, directory: str) -> bool:
        """Whether others put something below a directory that the command did not touch."""
        return any(
            path.startswith(f"{directory}/")
            and theirs.after is not None
            and path not in self._removed
            and path not in self._put
            for path, theirs in self._others.items()
        )


def _put(tx: Connection, change: Change, start: At, found: Found) -> None:
    if found.kind is Kind.DIRECTORY:
        change.put_directory(found.path, mode=found.mode, mtime_ns=found.mtime_ns, replace=True)
    elif found.target is not None:
        change.put_link(found.path, found.target, mtime_ns=found.mtime_ns, replace=True)
    else:
        payload = found.payload or _before(tx, start, found.path)
        change.put_file(found.path, payload, mode=found.mode, mtime_ns=found.mtime_ns, replace=True)


def _before(tx: Connection, start: At, path: str) -> Payload:
    """The content that a file already had when the command started."""
    entry = timelines.find(tx, start, path)
    assert entry is not None, "an unchanged content was there before"
    assert entry.content is not None, "files have content"
    return timelines.read_content(tx, entry.content)


def _parents(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        above = path.rpartition("/")[0]
        while above and above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found
