"""Approvals: payments that wait for a person."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from trove_agents.client.call import Call, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.money import Amount, usd
from trove_agents.client.transport import Reply
from trove_agents.client.wallet_pages import Pagination
from trove_agents.wire.wallets import PAGE, ApprovalState

APPROVALS: Final = "approvals"
"""The capability."""


class WalletApproval(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that waits for a person, or the answer."""

    id: int
    wallet_id: int
    operation_key: str
    arguments_digest: str
    max_amount_usd: Decimal
    state: str
    """``pending``, ``approved``, ``denied``, ``expired`` or ``used``."""
    expires_at: str
    created_at: str
    description: str | None = None
    vendor: str | None = None
    tool: str | None = None


class ApprovalsPage(msgspec.Struct, frozen=True):
    """Approvals, newest first."""

    approvals: list[WalletApproval]
    next_cursor: str | None
    """The last one's id."""


def request_approval(
    wallet_id: int,
    *,
    operation_key: str,
    arguments_digest: str,
    max_amount_usd: Amount,
    expires_in: int | None = None,
    description: str | None = None,
    vendor: str | None = None,
    tool: str | None = None,
) -> Call[WalletApproval]:
    """Asks a person; the same payment again is the same approval."""
    given = {"expires_in": expires_in, "description": description, "vendor": vendor, "tool": tool}
    body: dict[str, Any] = {
        "operation_key": operation_key,
        "arguments_digest": arguments_digest,
        "max_amount_usd": usd(max_amount_usd),
    }
    body |= {field: said for field, said in given.items() if said is not None}
    return post(_of(wallet_id), _approval, body, idempotent=True)


def get_approval(approval_id: int) -> Call[WalletApproval]:
    """One approval."""
    return get(_one(approval_id), _approval)


def approvals_page(
    wallet_id: int, state: ApprovalState | None = None, cursor: str | None = None
) -> Call[ApprovalsPage]:
    """One page, newest first."""
    asked = {"state": state, "before": cursor, "limit": str(PAGE)}
    query = tuple((name, text) for name, text in asked.items() if text is not None)
    return get(_of(wallet_id), _page, query)


def approve(approval_id: int) -> Call[WalletApproval]:
    """Says yes; a second time it answers the same."""
    return post(_one(approval_id, "approve"), _approval, {}, idempotent=True)


def deny(approval_id: int) -> Call[WalletApproval]:
    """Says no; a second time it answers the same."""
    return post(_one(approval_id, "deny"), _approval, {}, idempotent=True)


def used(approval: WalletApproval) -> dict[str, Any]:
    """What a payment says of the approval that it makes use of."""
    return {
        "id": approval.id,
        "operation_key": approval.operation_key,
        "arguments_digest": approval.arguments_digest,
    }


class ApprovalsMethods(Driver):
    """Approvals of payments, for servers that have them: others raise ``NotSupported``.

    An unknown approval raises ``TroveNotFoundError``. One that cannot be answered or used (any more) raises
    ``TroveConflictError`` (``approval-unfit``).
    """

    def request_approval(
        self,
        wallet_id: int,
        *,
        operation_key: str,
        arguments_digest: str,
        max_amount_usd: Amount,
        expires_in: int | None = None,
        description: str | None = None,
        vendor: str | None = None,
        tool: str | None = None,
    ) -> WalletApproval:
        """Asks a person for a payment over the limit ``approval_above_usd``.

        May be said again: the same payment is the same approval, whatever was answered; one that ran out is asked for
        anew. Pass the result to ``hold`` or ``purchase`` once ``get_approval`` says ``approved``.

        Args:
            wallet_id: The wallet.
            operation_key: What the payment is known by.
            arguments_digest: Of what is paid for: with other arguments it is another payment.
            max_amount_usd: More than 0: the most that the payment may cost.
            expires_in: Seconds for the answer and the use of it, at most 30 days; None: a day.
            description: For the person.
            vendor: Who would be paid.
            tool: What would be paid for.

        Raises:
            NotSupported: the server has no approvals.
            TypeError: the amount is a float.
            ValueError: the amount is negative or too large, or has more than six decimals.
        """
        step = request_approval(
            wallet_id,
            operation_key=operation_key,
            arguments_digest=arguments_digest,
            max_amount_usd=max_amount_usd,
            expires_in=expires_in,
            description=description,
            vendor=vendor,
            tool=tool,
        )
        return self.run(self._capabilities.need(APPROVALS, step))

    def get_approval(self, approval_id: int) -> WalletApproval:
        """An approval as it is now."""
        return self.run(self._capabilities.need(APPROVALS, get_approval(approval_id)))

    def list_approvals(self, wallet_id: int, state: ApprovalState | None = None) -> Iterator[WalletApproval]:
        """Approvals of a wallet, newest first, read page by page; only those in one state, if it is given."""
        yield from self.pages(
            lambda cursor: self._capabilities.need(APPROVALS, approvals_page(wallet_id, state, cursor)),
            lambda page: page.approvals,
        )

    def approve(self, approval_id: int) -> WalletApproval:
        """Says yes to a payment, with the key that owns the wallet. May be said again."""
        return self.run(self._capabilities.need(APPROVALS, approve(approval_id)))

    def deny(self, approval_id: int) -> WalletApproval:
        """Says no to a payment, with the key that owns the wallet. May be said again."""
        return self.run(self._capabilities.need(APPROVALS, deny(approval_id)))


class AsyncApprovalsMethods(AsyncDriver):
    """As ``ApprovalsMethods``."""

    async def request_approval(
        self,
        wallet_id: int,
        *,
        operation_key: str,
        arguments_digest: str,
        max_amount_usd: Amount,
        expires_in: int | None = None,
        description: str | None = None,
        vendor: str | None = None,
        tool: str | None = None,
    ) -> WalletApproval:
        """See :meth:`WalletClient.request_approval`."""
        step = request_approval(
            wallet_id,
            operation_key=operation_key,
            arguments_digest=arguments_digest,
            max_amount_usd=max_amount_usd,
            expires_in=expires_in,
            description=description,
            vendor=vendor,
            tool=tool,
        )
        return await self.run(self._capabilities.need(APPROVALS, step))

    async def get_approval(self, approval_id: int) -> WalletApproval:
        """See :meth:`WalletClient.get_approval`."""
        return await self.run(self._capabilities.need(APPROVALS, get_approval(approval_id)))

    async def list_approvals(
        self, wallet_id: int, state: ApprovalState | None = None
    ) -> AsyncIterator[WalletApproval]:
        """See :meth:`WalletClient.list_approvals`; iterate with ``async for``."""
        pages = self.pages(
            lambda cursor: self._capabilities.need(APPROVALS, approvals_page(wallet_id, state, cursor)),
            lambda page: page.approvals,
        )
        async for each in pages:
            yield each

    async def approve(self, approval_id: int) -> WalletApproval:
        """See :meth:`WalletClient.approve`."""
        return await self.run(self._capabilities.need(APPROVALS, approve(approval_id)))

    async def deny(self, approval_id: int) -> WalletApproval:
        """See :meth:`WalletClient.deny`."""
        return await self.run(self._capabilities.need(APPROVALS, deny(approval_id)))


class _ApprovalAnswer(msgspec.Struct, frozen=True):
    approval: WalletApproval


class _ApprovalsAnswer(msgspec.Struct, frozen=True):
    approvals: list[WalletApproval]
    pagination: Pagination


_APPROVAL_ANSWER = value(_ApprovalAnswer)
_APPROVALS_ANSWER = value(_ApprovalsAnswer)


def _of(wallet_id: int) -> tuple[str, ...]:
    return ("api", "wallets", str(wallet_id), "approvals")


def _one(approval_id: int, *rest: str) -> tuple[str, ...]:
    return ("api", "approvals", str(approval_id), *rest)


def _approval(reply: Reply) -> WalletApproval:
    return _APPROVAL_ANSWER(reply).approval


def _page(reply: Reply) -> ApprovalsPage:
    answer = _APPROVALS_ANSWER(reply)
    return ApprovalsPage(answer.approvals, answer.pagination.older(answer.approvals))
