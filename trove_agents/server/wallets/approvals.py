"""Payments that wait for a person: asked for with what the payment is, answered by the wallet's owner, used once."""

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import and_, bindparam, case, insert, or_, select, update

from trove_agents.server import texts
from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import wallet_approvals
from trove_agents.server.errors import NotFound
from trove_agents.server.wallets import announcements
from trove_agents.server.wallets.answers import once
from trove_agents.server.wallets.keys import WalletPrincipal
from trove_agents.server.wallets.paging import Paged
from trove_agents.server.wallets.refusals import ApprovalUnfit, positive
from trove_agents.server.wallets.spending import find
from trove_agents.server.wallets.store import WalletRow
from trove_agents.wire import times
from trove_agents.wire.money import from_micros
from trove_agents.wire.wallets import (
    LARGEST_ID,
    Approval,
    ApprovalAnswer,
    ApprovalRequest,
    ApprovalsAnswer,
    ApprovalsQuery,
    ApprovalState,
    UsedApproval,
)

_a = wallet_approvals.c
_APPROVAL: Final = (
    _a.id,
    _a.wallet,
    _a.operation,
    _a.arguments,
    _a.amount,
    _a.state,
    _a.expires_us,
    _a.description,
    _a.vendor,
    _a.tool,
    _a.created_us,
)
_ADD: Final = insert(wallet_approvals)
_ONE: Final = select(*_APPROVAL).where(_a.id == bindparam("key"))
_SAME: Final = select(*_APPROVAL).where(
    _a.wallet == bindparam("of"),
    _a.operation == bindparam("by"),
    _a.arguments == bindparam("with"),
    _a.amount == bindparam("most"),
)
_OF: Final = (_a.wallet == bindparam("of"), _a.id < bindparam("before"))
_STATE_NOW: Final = case(
    (
        and_(or_(_a.state == "pending", _a.state == "approved"), _a.expires_us <= bindparam("now")),
        "expired",
    ),
    else_=_a.state,
)
_ALL: Final = Paged(_APPROVAL, *_OF, order=_a.id.desc())
_IN_STATE: Final = Paged(_APPROVAL, *_OF, bindparam("wanted") == _STATE_NOW, order=_a.id.desc())
_RENEW: Final = (
    update(wallet_approvals)
    .where(_a.id == bindparam("key"))
    .values(state="pending", expires_us=bindparam("until"))
)
_SET: Final = update(wallet_approvals).where(_a.id == bindparam("key")).values(state=bindparam("now"))


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    wallet: int
    operation: str
    arguments: str
    amount: int
    state: ApprovalState
    expires_us: int
    description: str | None
    vendor: str | None
    tool: str | None
    created_us: int

    def state_at(self, now_us: int) -> ApprovalState:
        over = self.state in {"pending", "approved"} and now_us >= self.expires_us
        return "expired" if over else self.state

    def shown(self, now_us: int) -> Approval:
        return Approval(
            id=self.id,
            wallet_id=self.wallet,
            operation_key=self.operation,
            arguments_digest=self.arguments,
            max_amount_usd=from_micros(self.amount),
            max_amount_micros=self.amount,
            state=self.state_at(now_us),
            expires_at=times.from_micros(self.expires_us),
            description=self.description,
            vendor=self.vendor,
            tool=self.tool,
            created_at=times.whole_second(self.created_us),
        )


class Approvals:
    """Approvals of all wallets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, principal: WalletPrincipal, wallet_id: int, request: ApprovalRequest) -> ApprovalAnswer:
        """Asks a person. The same payment again is the same approval, whatever was answered; one that ran out is asked
        for anew.

        Raises:
            NotFound: no such wallet of this key.
            Unprocessable: the amount is none, or a text cannot be stored.
        """
        for field in ("operation_key", "arguments_digest", "description", "vendor", "tool"):
            texts.check(field, getattr(request, field))
        most = positive("max_amount_usd", request.max_amount_usd)

        def commit(tx: Connection) -> ApprovalAnswer:
            now_ns = self._database.now_ns()
            now_us = now_ns // 1000
            wallet = find(tx, principal, wallet_id)
            tx.alone(f"wallet approvals {wallet.id}")
            key = {"by": request.operation_key, "with": request.arguments_digest, "most": most}
            if (same := tx.one(_SAME, of=wallet.id, **key)) is not None:
                row = _Row(*same)
                if row.state_at(now_us) == "expired":
                    row = replace(row, state="pending", expires_us=now_us + request.expires_in * 1_000_000)
                    tx.run(_RENEW, key=row.id, until=row.expires_us)
                    announcements.approval(tx, principal, wallet, row.shown(now_us), now_ns=now_ns)
                return ApprovalAnswer(approval=row.shown(now_us))
            row = _Row(
                0,
                wallet.id,
                request.operation_key,
                request.arguments_digest,
                most,
                "pending",
                now_us + request.expires_in * 1_000_000,
                request.description,
                request.vendor,
                request.tool,
                now_us,
            )
            values = {name: getattr(row, name) for name in _Row.__slots__ if name != "id"}
            row = replace(row, id=tx.insert(_ADD, **values))
            announcements.approval(tx, principal, wallet, row.shown(now_us), now_ns=now_ns)
            return ApprovalAnswer(approval=row.shown(now_us))

        return self._database.write(once(principal, commit))

    def listing(self, principal: WalletPrincipal, wallet_id: int, query: ApprovalsQuery) -> ApprovalsAnswer:
        """A page of a wallet's approvals, newest first.

        Raises:
            NotFound: no such wallet of this key.
        """
        now_us = self._database.now_ns() // 1000
        with self._database.read() as db:
            which = {"of": find(db, principal, wallet_id).id, "before": query.before}
            if query.state is None:
                rows, place = _ALL.read(db, query, **which)
            else:
                rows, place = _IN_STATE.read(db, query, **which, wanted=query.state, now=now_us)
        return ApprovalsAnswer(approvals=[_Row(*row).shown(now_us) for row in rows], pagination=place)

    def one(self, principal: WalletPrincipal, approval_id: int) -> ApprovalAnswer:
        """An approval.

        Raises:
            NotFound: no such approval of this key's.
        """
        with self._database.read() as db:
            row, _ = _find(db, principal, approval_id)
        return ApprovalAnswer(approval=row.shown(self._database.now_ns() // 1000))

    def answer(self, principal: WalletPrincipal, approval_id: int, answer: ApprovalState) -> ApprovalAnswer:
        """A person's yes or no; the same once more is the same.

        Raises:
            ApprovalUnfit: it ran out, was used, or was answered otherwise.
            Forbidden: a key that only spends.
            NotFound: no such approval of this key's.
        """
        principal.owns()

        def commit(tx: Connection) -> ApprovalAnswer:
            now_ns = self._database.now_ns()
            now_us = now_ns // 1000
            row, wallet = _find(tx, principal, approval_id)
            state = row.state_at(now_us)
            if state not in {"pending", answer}:
                raise ApprovalUnfit(f"the approval is {state}")
            shown = replace(row, state=answer).shown(now_us)
            if state == "pending":
                tx.run(_SET, key=row.id, now=answer)
                announcements.approval(tx, principal, wallet, shown, now_ns=now_ns)
            return ApprovalAnswer(approval=shown)

        return self._database.write(once(principal, commit))


def use(
    tx: Connection,
    principal: WalletPrincipal,
    wallet: int,
    used: UsedApproval | None,
    *,
    asked: int,
    now_us: int,
) -> bool:
    """Whether a payment has an approval, which serves no other from now on.

    Raises:
        ApprovalUnfit: it was not given, ran out, was used, or is for another payment or for less.
        NotFound: no such approval of this key's.
    """
    if used is None:
        return False
    row, _ = _find(tx, principal, used.id)
    if (state := row.state_at(now_us)) != "approved":
        raise ApprovalUnfit(f"the approval is {state}")
    if (row.wallet, row.operation, row.arguments) != (wallet, used.operation_key, used.arguments_digest):
        raise ApprovalUnfit("the approval is for another payment")
    if asked > row.amount:
        raise ApprovalUnfit("the approval is for a smaller amount")
    tx.run(_SET, key=row.id, now="used")
    return True


def _find(tx: Connection, principal: WalletPrincipal, approval_id: int) -> tuple[_Row, WalletRow]:
    found = tx.locked(_ONE, key=approval_id) if approval_id <= LARGEST_ID else None
    try:
        if found is not None:
            row = _Row(*found)
            return row, find(tx, principal, row.wallet)
    except NotFound:
        pass
    raise NotFound("approval not found")
