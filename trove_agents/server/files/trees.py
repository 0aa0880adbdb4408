"""The rules of making directories, and of moving and copying trees. Contents are shared, whatever their size."""

from collections.abc import Iterator
from typing import Literal

from trove_agents.server import paths, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import Conflict, NotFound
from trove_agents.server.events import service as events
from trove_agents.server.files.links import find_itself, follow, past_links
from trove_agents.server.idempotency.answers import once
from trove_agents.server.namespaces import leases
from trove_agents.server.namespaces import service as namespaces
from trove_agents.server.namespaces.quotas import Quotas
from trove_agents.server.references import service as references
from trove_agents.server.timelines import At, Change, Entry, Kind
from trove_agents.wire.files import Directory, Transferred

Verb = Literal["move", "copy"]


class Trees:
    """Files and directories of all namespaces, as wholes."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    def make_directory(self, principal: Principal, namespace: str, path: str) -> Directory:
        """Makes a directory, with those above it; one that is there stays as it is.

        Raises:
            BadRequest: a bad path, or the root.
            Conflict: a file is there, or where a directory above must be.
            WorkspaceLeased, LeaseLost: as ``leases.check``.
        """
        target = paths.below_root(path)

        def commit(tx: Connection) -> Directory:
            now = self._database.now_ns()
            space = namespaces.ensure(tx, principal.workspace, namespace, now_ns=now)
            leases.check(tx, space, principal, now_ns=now)
            shown = paths.shown(target)
            _, there = follow(tx, space.at, target)
            if there is not None and there.is_dir:
                reference = references.with_change(tx, principal, space, now_ns=now)
                return Directory(shown, created=False, reference_id=reference)
            change = Change(tx, space, kind="mkdir", now_ns=now, actor=principal.key_id, step=principal.step)
            try:
                past_links(tx, space.at, target, change.put_directory, timelines.NotADirectory)
            except timelines.NotADirectory as error:
                raise _not_a_directory(error) from None
            moved = change.commit()
            events.record(
                tx,
                principal=principal,
                namespace=namespace,
                kind="directory.created",
                data={"path": shown},
                now_ns=now,
            )
            reference = references.with_change(tx, principal, moved, now_ns=now)
            return Directory(shown, created=True, reference_id=reference)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def move(
        self, principal: Principal, namespace: str, source: str, target: str, *, overwrite: bool
    ) -> Transferred:
        """Gives a file, a link itself, or a directory with all it holds another path, in one version.

        Raises:
            BadRequest: a bad path, or the root.
            NotFound: nothing is there.
            Conflict: something is at the target, and not ``overwrite``; a file is where a directory above it must
                be; or one of the two paths lies below the other.
            WorkspaceLeased, LeaseLost: as ``leases.check``.
        """
        return self._transfer("move", principal, namespace, source, target, overwrite=overwrite)

    def copy(
        self, principal: Principal, namespace: str, source: str, target: str, *, overwrite: bool
    ) -> Transferred:
        """As ``move``, and what was there stays. Files keep their modes and times.

        Raises:
            QuotaExceeded: the namespace would be larger than it may be.
        """
        return self._transfer("copy", principal, namespace, source, target, overwrite=overwrite)

    def _transfer(
        self, verb: Verb, principal: Principal, namespace: str, source: str, target: str, *, overwrite: bool
    ) -> Transferred:
        start, end = paths.below_root(source), paths.below_root(target)

        def commit(tx: Connection) -> Transferred:
            now = self._database.now_ns()
            space = timelines.namespace(tx, principal.workspace, namespace)
            if space is None:
                raise _missing(start)
            leases.check(tx, space, principal, now_ns=now)
            real, entry = find_itself(tx, space.at, start)
            if entry is None:
                raise _missing(start)
            aim, there = find_itself(tx, space.at, end)
            _check_apart(real, aim)
            if there is not None and not overwrite:
                raise Conflict(f"{paths.shown(end)} exists; send overwrite to replace it")
            change = Change(tx, space, kind=verb, now_ns=now, actor=principal.key_id, step=principal.step)
            if there is not None:
                change.remove(aim)
            files = 0
            try:
                for each in _whole(tx, space.at, entry):
                    to = aim + each.path[len(real) :]
                    paths.check(to)
                    change.put_content(to, each)
                    files += not each.is_dir
            except timelines.NotADirectory as error:
                raise _not_a_directory(error) from None
            if verb == "move":
                change.remove(real)
            moved = change.commit()
            self._quotas.check(space, moved)
            reference = references.with_change(tx, principal, moved, now_ns=now)
            done = Transferred(paths.shown(start), paths.shown(end), files, reference)
            events.record(
                tx,
                principal=principal,
                namespace=namespace,
                kind="file.moved" if verb == "move" else "file.copied",
                data={"from": done.source, "to": done.to, "files": files},
                now_ns=now,
            )
            return done

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))


def _check_apart(source: str, target: str) -> None:
    if target == source:
        raise Conflict("both paths are the same")
    if target.startswith(source + "/"):
        raise Conflict(f"{paths.shown(target)} lies below {paths.shown(source)}")
    if source.startswith(target + "/"):
        raise Conflict(f"{paths.shown(source)} lies below {paths.shown(target)}, which would have to go")


def _whole(db: Connection, at: At, entry: Entry) -> Iterator[Entry]:
    """An entry and all below it, a directory before its content."""
    yield entry
    if entry.kind is Kind.DIRECTORY:
        yield from timelines.walk(db, at, entry.path)


def _missing(path: str) -> NotFound:
    return NotFound(f"{paths.shown(path)} does not exist")


def _not_a_directory(error: timelines.NotADirectory) -> Conflict:
    return Conflict(f"{paths.shown(error.path)} is not a directory")
