"""The rules of trees as archives: one version out, one version in."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trove_agents.server import paths, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import BadRequest, Conflict, NotFound
from trove_agents.server.events import service as events
from trove_agents.server.files.arrival import Arrival
from trove_agents.server.files.links import follow
from trove_agents.server.files.service import pieces
from trove_agents.server.idempotency.answers import once
from trove_agents.server.namespaces import leases
from trove_agents.server.namespaces import service as namespaces
from trove_agents.server.namespaces.quotas import Quotas
from trove_agents.server.namespaces.states import named, recheck, state
from trove_agents.server.references import service as references
from trove_agents.server.timelines import At, Change, Entry, Kind, Payload, Place
from trove_agents.wire import tars
from trove_agents.wire.files import FileKind, TreeResult
from trove_agents.wire.tars import Member

_KINDS: Final[dict[Kind, FileKind]] = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.LINK: "link"}
_AT_ONCE: Final = 200
"""Entries read at once; their small contents are in memory together."""
_PIECE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Export:
    """A directory to send, of one state."""

    workspace: str
    namespace: str
    at: At
    pinned: str
    """The state as text, to ask whether it is still kept."""
    path: str


class Archives:
    """Trees of all namespaces as archives.

    Args:
        database: Where the trees are.
        blobs: Where larger contents are.
        quotas: What namespaces may grow to.
        folder: For what waits while an archive arrives; nothing in it has a name.
    """

    def __init__(self, database: Database, blobs: BlobStore, quotas: Quotas, folder: Path) -> None:
        self._database = database
        self._blobs = blobs
        self._quotas = quotas
        self._folder = folder

    def arrival(self, principal: Principal, path: str) -> Arrival:
        """What takes an archive for a directory.

        Raises:
            BadRequest: a bad path.
        """
        return Arrival(self._blobs, principal.workspace, paths.canonical(path), self._folder)

    def put(self, principal: Principal, namespace: str, arrival: Arrival, *, replace: bool) -> TreeResult:
        """Lays an archive that has arrived over a directory; with ``replace`` what is not in it goes.

        Raises:
            BadRequest: the directory's path leads out of the root.
            Conflict: a file is where a directory must be, or the other way round.
            WorkspaceLeased, LeaseLost: as ``leases.check``.
            QuotaExceeded: the namespace would be larger than it may be.
        """

        def commit(tx: Connection) -> TreeResult:
            now = self._database.now_ns()
            space = namespaces.ensure(tx, principal.workspace, namespace, now_ns=now)
            leases.check(tx, space, principal, now_ns=now)
            real, there = follow(tx, space.at, arrival.target)
            paths.check(real)
            change = Change(tx, space, kind="tree", now_ns=now, actor=principal.key_id, step=principal.step)
            if there is None or not there.is_dir:
                _make(change, real)
            _lay(change, real, arrival, replace=replace)
            if replace and there is not None:
                _remove_others(tx, space.at, change, real, arrival)
            moved = change.commit()
            self._quotas.check(space, moved)
            shown = paths.shown(arrival.target)
            if moved != space:
                events.record(
                    tx,
                    principal=principal,
                    namespace=namespace,
                    kind="tree.written",
                    data={
                        "path": shown,
                        "files": arrival.files,
                        "size_bytes": arrival.bytes,
                        "replaced": replace,
                    },
                    now_ns=now,
                )
            reference = references.with_change(tx, principal, moved, now_ns=now)
            return TreeResult(shown, arrival.files, arrival.bytes, reference)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def export(self, principal: Principal, namespace: str, path: str, *, at: str | None) -> Export | None:
        """A directory to send; None for the root of a namespace that was never used, which is empty.

        Raises:
            BadRequest: a file, or a bad path.
            NotFound: no such directory, or no such past.
        """
        target = paths.canonical(path)
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            if space is None:
                if target or at is not None:
                    raise _missing(target)
                return None
            then = state(db, space, at)
            pinned = at if at is not None and named(at) else str(then.version)
            real, entry = follow(db, then, target)
            recheck(db, space, at)
        if entry is None:
            raise _missing(target)
        if not entry.is_dir:
            raise BadRequest(f"{paths.shown(target)} is a file, not a directory")
        return Export(principal.workspace, namespace, then, pinned, real)

    def archive(self, export: Export | None) -> Iterator[bytes]:
        """The archive, in pieces of about 1 MB at most; of an empty directory for None.

        Raises:
            NotFound: the state ceased to be kept meanwhile.
        """
        pending = bytearray()
        after: Place | None = None
        while export is not None and (found := self._some(export, after)):
            for entry, payload in found:
                for piece in self._archived(export, entry, payload):
                    pending += piece
                    if len(pending) >= _PIECE:
                        yield bytes(pending)
                        pending.clear()
            after = Place(found[-1][0].path, found[-1][0].is_dir)
        yield bytes(pending) + tars.END

    def _some(self, export: Export, after: Place | None) -> list[tuple[Entry, Payload | None]]:
        """The next entries behind a place, files and links with their contents; none at the end."""
        with self._database.read() as db:
            found = list(timelines.walk(db, export.at, export.path, limit=_AT_ONCE, after=after))
            wanted = [entry.content for entry in found if entry.content is not None]
            contents = timelines.read_contents(db, wanted)
            space = timelines.namespace(db, export.workspace, export.namespace)
            if space is None or any(key not in contents for key in wanted):
                raise _missing(export.path)
            recheck(db, space, export.pinned)
        return [(entry, None if entry.content is None else contents[entry.content]) for entry in found]

    def _archived(self, export: Export, entry: Entry, payload: Payload | None) -> Iterator[bytes]:
        path = entry.path[len(export.path) + 1 if export.path else 0 :]
        kind = _KINDS[entry.kind]
        if payload is None:
            yield tars.head(Member(path, kind, entry.mode, entry.mtime_ns))
        elif entry.kind is Kind.LINK:
            yield tars.head(Member(path, kind, entry.mode, entry.mtime_ns, target=payload.data or b""))
        else:
            yield tars.head(Member(path, kind, entry.mode, entry.mtime_ns, payload.size))
            yield from pieces(self._blobs, export.workspace, payload, payload.size)
            yield tars.padding(payload.size)


def _make(change: Change, path: str) -> None:
    try:
        change.put_directory(path)
    except timelines.NotADirectory as error:
        raise _not_a_directory(error.path) from None


def _lay(change: Change, directory: str, arrival: Arrival, *, replace: bool) -> None:
    try:
        for member, payload in arrival.entries():
            _put(change, paths.inside(directory, member.path), member, payload, replace=replace)
    except timelines.IsADirectory as error:
        raise Conflict(f"{paths.shown(error.path)} is a directory") from None
    except timelines.NotADirectory as error:
        raise _not_a_directory(error.path) from None


def _remove_others(tx: Connection, before: At, change: Change, directory: str, arrival: Arrival) -> None:
    """Removes what was below a directory and is not in the archive; last, so that what stays the same stays as it is."""
    kept = {paths.inside(directory, name) for name in arrival.names}
    for entry in timelines.walk(tx, before, directory):
        if entry.path not in kept:
            with contextlib.suppress(timelines.Missing):  # with a directory above it, or replaced by one
                change.remove(entry.path)


def _put(change: Change, path: str, member: Member, payload: Payload | None, *, replace: bool) -> None:
    if payload is not None:
        change.put_file(path, payload, mode=member.mode, mtime_ns=member.mtime_ns, replace=replace)
    elif member.kind == "link":
        change.put_link(path, member.target, mtime_ns=member.mtime_ns, replace=replace)
    else:
        change.put_directory(path, mode=member.mode, mtime_ns=member.mtime_ns, replace=replace)


def _missing(path: str) -> NotFound:
    return NotFound(f"{paths.shown(path)} does not exist")


def _not_a_directory(path: str) -> Conflict:
    return Conflict(f"{paths.shown(path)} is not a directory")
