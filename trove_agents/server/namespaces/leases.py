"""Leases: docs/wire.md, "Leases". Not the exec lock, which the server takes for each command by itself.

That a lease is held stands in two places, which change in one transaction: the namespace's row says until when, so that
a change learns from what it reads and locks anyway that there is no lease; the lease's own row has the rest, and stays
for the sake of its token.
"""

import re
import secrets
from typing import Final, cast

from sqlalchemy import bindparam, delete, select, update

from trove_agents.server import texts, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import leases, namespaces
from trove_agents.server.errors import LeaseLost, Unprocessable, WorkspaceLeased
from trove_agents.server.namespaces.service import ensure
from trove_agents.server.timelines import Namespace
from trove_agents.wire import limits, times
from trove_agents.wire.leases import Lease, LeaseHolder, LeaseReleased, LeaseRenewal, LeaseRequest

_MOST_US: Final = 2 * limits.LEASE_SECONDS * 1_000_000
"""None ends later than in half of that, by one clock; servers that share a database have several."""
_ASK_AGAIN_SECONDS: Final = 2
"""At most: a holder may give its lease back long before it ends."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_Row = tuple[str, str, int, int]
_BY_NAMESPACE: Final = select(leases.c.id, leases.c.holder, leases.c.token, leases.c.expires_us).where(
    leases.c.namespace == bindparam("ns")
)
_SET: Final = (
    update(leases).where(leases.c.namespace == bindparam("ns")).values(expires_us=bindparam("until"))
)
_FORGET: Final = delete(leases).where(leases.c.namespace == bindparam("ns"))
_MARK: Final = (
    update(namespaces).where(namespaces.c.id == bindparam("key")).values(leased_until_us=bindparam("until"))
)


class Leases:
    """Leases of all namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, principal: Principal, namespace: str, request: LeaseRequest) -> Lease:
        """A lease, if none is held. A namespace that nobody used yet is created.

        Raises:
            WorkspaceLeased: one is held, by whomever.
            Unprocessable: ``holder`` holds what no text should.
        """
        holder = principal.key_name if request.holder is None else _plain(request.holder)

        def commit(tx: Connection) -> Lease:
            space = ensure(tx, principal.workspace, namespace, now_ns=self._database.now_ns())
            now_us = self._database.now_ns() // 1000
            last = _row(tx, space)
            if last is not None and _live(last, now_us):
                raise _leased(last, now_us)
            identity = f"lease-{secrets.token_hex(16)}"
            # By the clock: so it also grows over a deletion, after which nothing is known of the last
            token = now_us if last is None else max(now_us, last[2] + 1)
            until = now_us + request.ttl * 1_000_000
            tx.upsert(leases, namespace=space.id, id=identity, holder=holder, token=token, expires_us=until)
            tx.later(_MARK, key=space.id, until=until)
            return Lease(identity, namespace, holder, token, times.from_micros(until))

        return self._database.write(commit)

    def renew(self, principal: Principal, namespace: str, lease_id: str, request: LeaseRenewal) -> Lease:
        """Lets a lease that is held end later, or earlier.

        Raises:
            LeaseLost: it is not held.
        """

        def commit(tx: Connection) -> Lease:
            space = timelines.namespace(tx, principal.workspace, namespace)
            now_us = self._database.now_ns() // 1000
            row = None if space is None else _row(tx, space)
            if space is None or row is None or row[0] != lease_id or not _live(row, now_us):
                raise _lost()
            until = now_us + request.ttl * 1_000_000
            _end_at(tx, space, until)
            return Lease(lease_id, namespace, row[1], row[2], times.from_micros(until))

        return self._database.write(commit)

    def release(self, principal: Principal, namespace: str, lease_id: str) -> LeaseReleased:
        """Gives a lease back; whether it was still held."""

        def commit(tx: Connection) -> LeaseReleased:
            space = timelines.namespace(tx, principal.workspace, namespace)
            row = None if space is None else _row(tx, space)
            if space is None or row is None or row[0] != lease_id:
                return LeaseReleased(False)
            held = _live(row, self._database.now_ns() // 1000)
            _end_at(tx, space, 0)
            return LeaseReleased(held)

        return self._database.write(commit)

    def end(self, principal: Principal, namespace: str, token: int) -> LeaseReleased:
        """Ends the lease with this token, whosever it is; whether it was held."""

        def commit(tx: Connection) -> LeaseReleased:
            space = timelines.namespace(tx, principal.workspace, namespace)
            row = None if space is None else _row(tx, space)
            if (
                space is None
                or row is None
                or row[2] != token
                or not _live(row, self._database.now_ns() // 1000)
            ):
                return LeaseReleased(False)
            _end_at(tx, space, 0)
            return LeaseReleased(True)

        return self._database.write(commit)

    def holder(self, principal: Principal, namespace: str) -> LeaseHolder:
        """Who holds the lease."""
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            row = None if space is None else _row(db, space)
        if row is None or not _live(row, self._database.now_ns() // 1000):
            return LeaseHolder()
        return LeaseHolder(row[1], row[2], times.from_micros(row[3]))


def check(tx: Connection, space: Namespace, principal: Principal, *, now_ns: int) -> None:
    """Lets a caller change a namespace, which was read in the same transaction, or refuses. Costs nothing where there
    is no lease.

    A lease that has run out is ended for good by the first change after it, so that its holder cannot go on when the
    clock goes back.

    Raises:
        WorkspaceLeased: another holds a lease.
        LeaseLost: the caller's is not held.
    """
    refuse(tx, space, principal, now_ns=now_ns)
    if principal.lease is None and space.leased_until_us:
        _end_at(tx, space, 0)


def refuse(db: Connection, space: Namespace, principal: Principal, *, now_ns: int) -> None:
    """``check`` ahead of time, for what will take long: it changes nothing, and decides nothing."""
    if principal.lease is None and not space.leased_until_us:
        return
    row, now_us = _row(db, space), now_ns // 1000
    live = row is not None and _live(row, now_us)
    if principal.lease is None:
        if row is not None and live:
            raise _leased(row, now_us)
    elif row is None or not live or row[0] != principal.lease:
        raise _lost()


def end(tx: Connection, space: Namespace) -> None:
    """Ends the lease on a namespace that is deleted."""
    tx.later(_FORGET, ns=space.id)


def _row(db: Connection, space: Namespace) -> _Row | None:
    return cast("_Row | None", db.one(_BY_NAMESPACE, ns=space.id))


def _live(row: _Row, now_us: int) -> bool:
    """One that would end later than any can was given before the clock went back, and would keep others out for as
    long as that.
    """
    return now_us < row[3] <= now_us + _MOST_US


def _end_at(tx: Connection, space: Namespace, until: int) -> None:
    tx.later(_SET, ns=space.id, until=until)
    tx.later(_MARK, key=space.id, until=until)


def _leased(row: _Row, now_us: int) -> WorkspaceLeased:
    _, holder, _, until = row
    left = -(-(until - now_us) // 1_000_000)
    return WorkspaceLeased(
        f"this namespace is leased by '{holder}'; nothing was done, try again shortly",
        holder=holder,
        expires_at=times.from_micros(until),
        retry_after=min(left, _ASK_AGAIN_SECONDS),
    )


def _lost() -> LeaseLost:
    return LeaseLost(
        "this lease is not held any more: it was released, ran out, or never was; nothing was done"
    )


def _plain(holder: str) -> str:
    texts.check("holder", holder)
    if _CONTROL.search(holder):
        message = "holder holds a control character"
        raise Unprocessable(message, errors=[{"field": "holder", "message": message}])
    return holder
