"""Which namespaces a workspace has, and the end of one."""

from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, func, select, update

from trove_agents.server import timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import log, namespaces
from trove_agents.server.errors import BadRequest, Forbidden, NotFound, Unprocessable
from trove_agents.server.events import service as events
from trove_agents.server.idempotency.answers import once
from trove_agents.server.namespaces import leases, service
from trove_agents.server.namespaces.locks import ExecLocks
from trove_agents.server.namespaces.quotas import Quotas
from trove_agents.server.timelines import Namespace
from trove_agents.wire import limits, times
from trove_agents.wire.namespaces import (
    NamespaceDeleted,
    NamespaceInfo,
    NamespacePage,
    NamespaceSettings,
    valid,
)

_n = namespaces.c
# Each version has its row in the log, so the head's says when that was
_INFO = (
    select(
        *(_n.name, _n.files, _n.bytes, _n.created_us, func.coalesce(log.c.at_us, _n.created_us)),
        *(_n.workdir, _n.quota_files, _n.quota_bytes),
    )
    .select_from(namespaces.outerjoin(log, (log.c.namespace == _n.id) & (log.c.version == _n.version)))
    .where(_n.workspace == bindparam("workspace"))
)
_ONE: Final = _INFO.where(_n.name == bindparam("name"))
_PAGE: Final = (
    _INFO.where(_n.name > bindparam("after"), func.substr(_n.name, 1, 1) != timelines.FORGOTTEN)
    .order_by(_n.name)
    .limit(bindparam("most"))
)
_SET_WORKDIR = update(namespaces).where(_n.id == bindparam("key")).values(workdir=bindparam("value"))
_SET_QUOTAS = (
    update(namespaces)
    .where(_n.id == bindparam("key"))
    .values(quota_files=bindparam("files"), quota_bytes=bindparam("bytes"))
)


class NamespaceService:
    """Namespaces of all workspaces."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    def page(self, principal: Principal, limit: int, cursor: str | None) -> NamespacePage:
        """By name; a locked key sees its own.

        Raises:
            BadRequest: a cursor that is none.
            Unprocessable: a limit below 1.
        """
        if limit < 1:
            raise Unprocessable("limit is at least 1", errors=[{"field": "limit", "message": "at least 1"}])
        if cursor is not None and not valid(cursor):
            raise BadRequest("this cursor is not from this server")
        limit = min(limit, limits.NAMESPACES_PAGE)
        with self._database.read() as db:
            if principal.lock is not None:
                rows = db.all(_ONE, workspace=principal.workspace, name=principal.lock)
                rows = [row for row in rows if row[0] > (cursor or "")]
            else:
                rows = db.all(_PAGE, workspace=principal.workspace, after=cursor or "", most=limit + 1)
        more = rows[limit - 1][0] if len(rows) > limit else None
        return NamespacePage([self._info(row) for row in rows[:limit]], more)

    def info(self, principal: Principal, name: str) -> NamespaceInfo:
        """One namespace.

        Raises:
            Forbidden: a locked key asked for another's.
            NotFound: there is none.
        """
        if principal.lock not in {None, name}:
            raise Forbidden(f"this key is locked to namespace '{principal.lock}'")
        with self._database.read() as db:
            row = db.one(_ONE, workspace=principal.workspace, name=name) if valid(name) else None
        if row is None:
            raise _missing()
        return self._info(row)

    def configure(self, principal: Principal, name: str, settings: NamespaceSettings) -> NamespaceInfo:
        """Changes what is given; the namespace afterwards. One that was never used comes into being with its quota, so
        that its first user finds it so.

        Raises:
            Forbidden: as ``info``; quotas without an admin key.
            NotFound: as ``info``, unless quotas are given.
            Unprocessable: quotas for a name that cannot be a namespace's.
        """
        if settings.quotas:
            principal.administers(principal.workspace)
            if not valid(name):
                message = "a namespace is 1 to 128 characters of A-Z, a-z, 0-9, _ and -"
                raise Unprocessable(message, errors=[{"field": "name", "message": message}])
        else:
            self.info(principal, name)

        def commit(tx: Connection) -> None:
            if settings.quotas:
                self._set_quotas(tx, principal, name, settings)
            space = timelines.namespace(tx, principal.workspace, name)
            if space is not None and settings.workdir is not None:
                tx.later(_SET_WORKDIR, key=space.id, value=settings.workdir)

        self._database.write(commit)
        return self.info(principal, name)

    def _set_quotas(
        self, tx: Connection, principal: Principal, name: str, settings: NamespaceSettings
    ) -> None:
        now = self._database.now_ns()
        space = service.ensure(tx, principal.workspace, name, now_ns=now)
        files = _given(settings.quota_files, space.quota_files)
        size = _given(settings.quota_bytes, space.quota_bytes)
        tx.later(_SET_QUOTAS, key=space.id, files=files, bytes=size)
        data = {"quota_files": files, "quota_bytes": size}
        events.record(
            tx, principal=principal, namespace=name, kind="namespace.changed", data=data, now_ns=now
        )

    def namespace_of(self, principal: Principal, name: str) -> int:
        """The id of the namespace that a deletion will need the exec lock of. Errors as ``delete``."""
        with self._database.read() as db:
            return _find(db, principal, name).id

    def delete(self, principal: Principal, name: str, locks: ExecLocks) -> NamespaceDeleted | None:
        """Deletes a namespace with its snapshots, in one transaction; None while a command runs in it.

        Raises:
            Forbidden: a locked key.
            NotFound: there is none.
        """

        def commit(tx: Connection) -> NamespaceDeleted | None:
            space = _find(tx, principal, name)
            if not locks.free(tx, space.id):
                return None
            now = self._database.now_ns()
            leases.end(tx, space)
            timelines.forget(tx, space, now_ns=now, actor=principal.key_id, step=principal.step)
            events.record(
                tx,
                principal=principal,
                namespace=name,
                kind="namespace.deleted",
                data={"namespace": name},
                now_ns=now,
            )
            return NamespaceDeleted(name)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def _info(self, row: tuple[Any, ...]) -> NamespaceInfo:
        name, files, size, created, last, workdir, most_files, most_bytes = row
        return NamespaceInfo(
            name,
            files,
            size,
            times.from_micros(created),
            times.from_micros(last),
            workdir or "auto",
            self._quotas.files if most_files is None else most_files,
            self._quotas.bytes if most_bytes is None else most_bytes,
        )


def _given(value: int | msgspec.UnsetType | None, now: int | None) -> int | None:
    return now if value is msgspec.UNSET else value


def _find(db: Connection, principal: Principal, name: str) -> Namespace:
    if principal.lock is not None:
        raise Forbidden("a key that is locked to a namespace cannot delete it")
    space = timelines.namespace(db, principal.workspace, name) if valid(name) else None
    if space is None:
        raise _missing()
    return space


def _missing() -> NotFound:
    return NotFound("no such namespace")
