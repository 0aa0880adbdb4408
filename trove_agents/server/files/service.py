"""The rules of the Files API's files (wire 3.2 to 3.7). Paths come in as callers wrote them and go out as ``workspace/...``."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from trove_agents.server import paths, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import BadRequest, Conflict, NotFound, TooLarge, Unprocessable
from trove_agents.server.events import service as events
from trove_agents.server.files.conditions import Conditions, tag
from trove_agents.server.files.links import find_itself, follow, past_links
from trove_agents.server.idempotency.answers import once
from trove_agents.server.namespaces import leases
from trove_agents.server.namespaces import service as namespaces
from trove_agents.server.namespaces.quotas import NO_QUOTAS, Quotas
from trove_agents.server.namespaces.states import recheck, state
from trove_agents.server.references import service as references
from trove_agents.server.timelines import At, Change, Entry, Kind, Namespace, Payload
from trove_agents.wire import limits, times
from trove_agents.wire.files import Deleted, FileContent, FileKind, FileResult, FileStat

Source = Literal["write", "upload"]
_KINDS: Final[dict[Kind, FileKind]] = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.LINK: "link"}


@dataclass(frozen=True, slots=True)
class Download:
    """A file to send."""

    workspace: str
    size: int
    """The full size in bytes."""
    payload: Payload
    etag: str


class Files:
    """Files of all namespaces."""

    def __init__(self, database: Database, blobs: BlobStore, quotas: Quotas = NO_QUOTAS) -> None:
        self._database = database
        self._blobs = blobs
        self._quotas = quotas

    def write(
        self, principal: Principal, namespace: str, path: str, content: str, only: Conditions | None = None
    ) -> FileResult:
        """Creates or replaces one text file, with the directories above it; readers never see half.

        Raises:
            BadRequest: a bad path.
            Conflict: a directory is there, or a file where a directory must be.
            TooLarge: over 10 MB of UTF-8.
            WorkspaceLeased, LeaseLost: as ``leases.check``.
            PreconditionFailed: not ``only``.
            QuotaExceeded: the namespace would be larger than it may be.
        """
        target = paths.below_root(path)
        try:
            data = content.encode()
        except UnicodeEncodeError:
            raise Unprocessable("content is not Unicode text: it holds lone surrogates") from None
        if len(data) > limits.WRITE_BYTES:
            raise TooLarge("content is over 10 MB; upload larger files with PUT /files/{path}")
        payload = timelines.payload(self._blobs, principal.workspace, data)
        return self.store(principal, namespace, target, payload, source="write", only=only)

    def store(
        self,
        principal: Principal,
        namespace: str,
        target: str,
        payload: Payload,
        *,
        source: Source,
        only: Conditions | None = None,
    ) -> FileResult:
        """Puts content that is already in hand at a canonical path. Errors as ``write``."""

        def commit(tx: Connection) -> FileResult:
            now = self._database.now_ns()
            space = namespaces.ensure(tx, principal.workspace, namespace, now_ns=now)
            leases.check(tx, space, principal, now_ns=now)
            if only is not None:
                only.check(tx, space.at, target)
            change = Change(tx, space, kind=source, now_ns=now, actor=principal.key_id, step=principal.step)

            def put(path: str) -> Entry:
                return change.put_file(path, payload)

            try:
                entry = past_links(tx, space.at, target, put, timelines.NotADirectory)
            except timelines.IsADirectory:
                raise Conflict(f"{paths.shown(target)} is a directory") from None
            except timelines.NotADirectory as error:
                raise Conflict(f"{paths.shown(error.path)} is not a directory") from None
            moved = change.commit()
            self._quotas.check(space, moved)
            if moved == space:  # the same bytes in the same tick of the clock
                entry = timelines.find(tx, space.at, entry.path) or entry
            shown = paths.shown(target)
            data = {"path": shown, "size_bytes": payload.size, "source": source}
            events.record(
                tx, principal=principal, namespace=namespace, kind="file.written", data=data, now_ns=now
            )
            reference = references.with_change(tx, principal, moved, now_ns=now)
            return FileResult(shown, payload.size, tag(entry.since), reference)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def check_room(self, principal: Principal, namespace: str, target: str, size: int) -> None:
        """Refuses a file that is still to come, at a canonical path, if it cannot be taken.

        Raises:
            BadRequest: the path leads out of the root.
            QuotaExceeded: with what is there replaced by that many bytes the namespace would be larger than it may be.
        """
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            if space is None:
                space = Namespace(0, principal.workspace, namespace, At(0, 0), 0, 0)
                there = None
            else:
                _, there = find_itself(db, space.at, target)
        replaced = there.size if there is not None and there.kind is Kind.FILE else 0
        self._quotas.check_room(space, size - replaced)

    def delete(
        self, principal: Principal, namespace: str, path: str, only: Conditions | None = None
    ) -> Deleted:
        """Removes a file, a link itself, or a directory with all it holds.

        Raises:
            BadRequest: a bad path, or the root.
            NotFound: nothing is there.
            WorkspaceLeased, LeaseLost: as ``leases.check``.
            PreconditionFailed: something is, but not ``only``.
        """
        target = paths.below_root(path)

        def commit(tx: Connection) -> Deleted:
            now = self._database.now_ns()
            space = timelines.namespace(tx, principal.workspace, namespace)
            if space is None:
                raise _missing(target)
            leases.check(tx, space, principal, now_ns=now)
            change = Change(tx, space, kind="delete", now_ns=now, actor=principal.key_id, step=principal.step)
            try:
                past_links(tx, space.at, target, change.remove, timelines.Missing)
            except timelines.Missing:
                raise _missing(target) from None
            if only is not None:
                only.check(tx, space.at, target)
            moved = change.commit()
            shown = paths.shown(target)
            events.record(
                tx,
                principal=principal,
                namespace=namespace,
                kind="file.deleted",
                data={"path": shown},
                now_ns=now,
            )
            return Deleted(shown, references.with_change(tx, principal, moved, now_ns=now))

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def read(self, principal: Principal, namespace: str, path: str, *, at: str | None = None) -> FileContent:
        """A file's text, at most its first MB and never half a character; binary files only by what they are."""
        target = paths.below_root(path)
        entry, payload = self._file(principal, namespace, target, at)
        modified = times.from_micros(entry.mtime_ns // 1000)
        start = self._start(principal.workspace, payload, limits.TEXT_BYTES)
        text = _text(start, whole=payload.size <= limits.TEXT_BYTES)
        if text is None:
            return FileContent(paths.shown(target), payload.size, modified, "binary", etag=tag(entry.since))
        return FileContent(
            paths.shown(target),
            payload.size,
            modified,
            "utf-8",
            text,
            payload.size > limits.TEXT_BYTES,
            tag(entry.since),
        )

    def download(self, principal: Principal, namespace: str, path: str, *, at: str | None = None) -> Download:
        """What to send of a file. Errors as ``read``."""
        entry, payload = self._file(principal, namespace, paths.below_root(path), at)
        return Download(principal.workspace, payload.size, payload, tag(entry.since))

    def stat(self, principal: Principal, namespace: str, path: str, *, at: str | None) -> FileStat:
        """What is at a path; a link itself.

        Raises:
            BadRequest: a bad path, or the root.
            NotFound: nothing is there, or no such past.
        """
        target = paths.below_root(path)
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            if space is None:
                raise _missing(target)
            _, entry = find_itself(db, state(db, space, at), target)
            recheck(db, space, at)
        if entry is None:
            raise _missing(target)
        return FileStat(
            path=paths.shown(target),
            kind=_KINDS[entry.kind],
            size_bytes=None if entry.is_dir else entry.size,
            mode=entry.mode,
            modified_at=times.from_micros(entry.mtime_ns // 1000),
            version=entry.since,
            etag=tag(entry.since),
        )

    def _file(
        self, principal: Principal, namespace: str, target: str, at: str | None
    ) -> tuple[Entry, Payload]:
        with self._database.read() as db:
            if at is None:
                direct = timelines.read_head(db, principal.workspace, namespace, target)
                if direct is not None and direct[2] is not None and direct[1].kind is Kind.FILE:
                    return direct[1], direct[2]  # nearly all: the rest is links, and what is not there
            space = timelines.namespace(db, principal.workspace, namespace)
            if space is None:
                raise _missing(target)
            _, entry = follow(db, state(db, space, at), target)
            if entry is None:
                raise _missing(target)
            if entry.kind is not Kind.FILE or entry.content is None:
                raise BadRequest(f"{paths.shown(target)} is a directory")
            payload = timelines.read_content(db, entry.content)
            recheck(db, space, at)
            return entry, payload

    def _start(self, workspace: str, payload: Payload, size: int) -> bytes:
        if payload.data is not None:
            return payload.data[:size]
        return b"".join(pieces(self._blobs, workspace, payload, size))


def pieces(blobs: BlobStore, workspace: str, payload: Payload, size: int, start: int = 0) -> Iterator[bytes]:
    """``size`` bytes of a content from ``start`` on, in pieces of at most 1 MB."""
    if payload.data is not None:
        yield payload.data[start : start + size]
        return
    begin = 0
    for part in payload.parts:
        first, last = max(start - begin, 0), min(start + size - begin, part.size)
        if first < last:
            yield from blobs.stream(workspace, part.digest, start=first, stop=last)
        begin += part.size


def _text(data: bytes, *, whole: bool) -> str | None:
    """The text of a file's first bytes, cut before a character that the cap split; None when it is binary."""
    if b"\0" in data:
        return None
    try:
        return codecs.utf_8_decode(data, "strict", whole)[0]
    except UnicodeDecodeError:
        return None


def _missing(path: str) -> NotFound:
    return NotFound(f"{paths.shown(path)} does not exist")
