"""The rules of step references: docs/wire.md, "Step references". Taking one costs the same at any size."""

import re
import secrets
from typing import Any, Final

from trove_agents.server import cursors, texts, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import NotFound, Unprocessable
from trove_agents.server.events import service as events
from trove_agents.server.idempotency.answers import once
from trove_agents.server.namespaces import service as namespaces
from trove_agents.server.namespaces import states
from trove_agents.server.timelines import Namespace, ReferenceRow
from trove_agents.wire import limits, times
from trove_agents.wire.references import (
    REFERENCE,
    ReferenceDeleted,
    ReferencePage,
    ReferencesDelete,
    ReferencesDeleted,
    StepReference,
)
from trove_agents.wire.steps import Step

_LAST: Final = 2**63 - 1
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class References:
    """Step references of all namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, principal: Principal, namespace: str, *, thread: str | None, step: str | None
    ) -> StepReference:
        """Refers to the namespace as it is now; one that was never used comes into being, and is empty.

        What is not given is that of the step in which the call is made. Where the same step of the same thread has referred to this very state, that reference is the answer.

        Raises:
            Unprocessable: ``thread`` or ``step`` is over 512 bytes, or no plain text.
        """
        for field, name in (("thread", thread), ("step", step)):
            _check_name(field, name)

        def commit(tx: Connection) -> StepReference:
            now = self._database.now_ns()
            space = namespaces.ensure(tx, principal.workspace, namespace, now_ns=now)
            return _shown(_take(tx, space, principal.step, thread, step, now_ns=now), namespace)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def page(
        self, principal: Principal, namespace: str, *, thread: str | None, limit: int, cursor: str | None
    ) -> ReferencePage:
        """Newest first, of one thread or of all.

        Raises:
            BadRequest: a cursor that this server did not give.
            Unprocessable: a limit below 1, or ``thread`` as for ``create``.
        """
        if limit < 1:
            raise _invalid("limit", "limit is at least 1")
        _check_name("thread", thread)
        most = min(limit, limits.REFERENCES_PAGE)
        before = None if cursor is None else min(max(cursors.decode(cursor, int), 0), _LAST)
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            if space is None:
                return ReferencePage()
            rows = timelines.references(db, space.id, thread=thread, before_us=before, limit=most + 1)
        more = len(rows) > most
        shown = [_shown(row, namespace) for row in rows[:most]]
        return ReferencePage(shown, cursors.encode(rows[most - 1].created_us) if more else None)

    def info(self, principal: Principal, namespace: str, reference_id: str) -> StepReference:
        """One reference.

        Raises:
            NotFound: unknown, or another namespace's.
        """
        with self._database.read() as db:
            return _shown(_find(db, principal, namespace, reference_id)[1], namespace)

    def delete(self, principal: Principal, namespace: str, reference_id: str) -> ReferenceDeleted:
        """Forgets one reference. Errors as ``info``."""

        def commit(tx: Connection) -> ReferenceDeleted:
            space, row = _find(tx, principal, namespace, reference_id)
            self._forget(tx, principal, space, [row.id])
            return ReferenceDeleted(reference_id)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def delete_many(self, principal: Principal, namespace: str, which: ReferencesDelete) -> ReferencesDeleted:
        """Forgets up to 1,000: those of a list that are this namespace's, or those of a thread, of a time, or both.

        Raises:
            Unprocessable: it does not say which, or says it in two ways; over 1,000 ids; a name or a time that
                cannot be one.
        """
        most = limits.REFERENCES_DELETED
        if (which.ids is None) == (which.thread is None and which.before is None):
            raise _invalid("ids", "say which: ids, or else thread, before or both")
        if which.ids is not None and len(which.ids) > most:
            raise _invalid("ids", f"at most {most:,} ids")
        _check_name("thread", which.thread)
        before = None if which.before is None else _time(which.before)

        def commit(tx: Connection) -> ReferencesDeleted:
            space = timelines.namespace(tx, principal.workspace, namespace)
            if space is None:
                return ReferencesDeleted(0)
            if which.ids is not None:
                found = [each for each in which.ids if REFERENCE.fullmatch(each)]
            else:
                rows = timelines.references(
                    tx, space.id, thread=which.thread, before_us=before, limit=most + 1
                )
                found = [row.id for row in rows]
            deleted = self._forget(tx, principal, space, found[:most], which.thread)
            return ReferencesDeleted(deleted, more=len(found) > most)

        return self._database.write(once(principal, commit, now_ns=self._database.now_ns))

    def _forget(
        self,
        tx: Connection,
        principal: Principal,
        space: Namespace,
        ids: list[str],
        thread: str | None = None,
    ) -> int:
        count = timelines.delete_references(tx, space.id, ids) if ids else 0
        if count:
            data: dict[str, Any] = {"count": count}
            if thread is not None:
                data["thread"] = thread
            events.record(
                tx,
                principal=principal,
                namespace=space.name,
                kind="references.deleted",
                data=data,
                now_ns=self._database.now_ns(),
            )
        return count


def with_change(tx: Connection, principal: Principal, space: Namespace, *, now_ns: int) -> str | None:
    """The id of the reference that the caller of a change wants with it: to the head that the change led to, in its
    transaction. None where none was asked for.
    """
    if not principal.refers:
        return None
    return _take(tx, space, principal.step, now_ns=now_ns).id


def _take(
    tx: Connection,
    space: Namespace,
    context: Step | None,
    thread: str | None = None,
    step: str | None = None,
    *,
    now_ns: int,
) -> ReferenceRow:
    if context is not None:
        thread = context.thread if thread is None else thread
        step = context.step if step is None else step
    identity = f"ref-{secrets.token_hex(8)}"
    return timelines.refer(tx, space, id=identity, thread=thread, step=step, now_ns=now_ns)


def _find(
    db: Connection, principal: Principal, namespace: str, reference_id: str
) -> tuple[Namespace, ReferenceRow]:
    space = timelines.namespace(db, principal.workspace, namespace)
    if space is None:
        raise NotFound("no such reference in this namespace")
    return space, states.reference(db, space, reference_id)


def _shown(row: ReferenceRow, namespace: str) -> StepReference:
    return StepReference(
        reference_id=row.id,
        namespace=namespace,
        version=row.at.version,
        files=row.files,
        size_bytes=row.bytes,
        created_at=times.from_micros(row.created_us),
        thread=row.thread,
        step=row.step,
    )


def _check_name(field: str, name: str | None) -> None:
    if name is None:
        return
    texts.check(field, name)
    if _CONTROL.search(name):
        raise _invalid(field, f"{field} holds a control character")
    if len(name.encode()) > limits.REFERENCE_NAME_BYTES:
        raise _invalid(field, f"{field} is at most {limits.REFERENCE_NAME_BYTES} bytes")


def _time(text: str) -> int:
    try:
        return times.to_micros(text.strip())
    except (ValueError, OverflowError):
        raise _invalid("before", "before is an ISO 8601 timestamp") from None


def _invalid(field: str, message: str) -> Unprocessable:
    return Unprocessable(message, errors=[{"field": field, "message": message}])
