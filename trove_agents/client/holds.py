"""Holds: money kept for a payment until it is known how the payment ended."""

from collections.abc import AsyncIterator, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from trove_agents.client.approvals import APPROVALS, WalletApproval, used
from trove_agents.client.call import Call, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.money import Amount, usd
from trove_agents.client.transport import Reply
from trove_agents.client.wallet_pages import Pagination
from trove_agents.client.wallets import WalletTransaction, transaction
from trove_agents.wire.wallets import PAGE, HoldState, OnExpiry

HOLDS: Final = "holds"
"""The capability."""


class WalletHold(msgspec.Struct, frozen=True, kw_only=True):
    """Money that is kept for one payment."""

    id: int
    wallet_id: int
    amount_usd: Decimal
    captured_usd: Decimal
    state: str
    """``held``, ``captured``, ``voided``, ``expired``, ``in_doubt`` or ``written_off``."""
    on_expiry: str
    expires_at: str
    created_at: str
    description: str | None = None
    vendor: str | None = None
    tool: str | None = None
    metadata: dict[str, Any] | None = None


class HoldsPage(msgspec.Struct, frozen=True):
    """Holds, newest first."""

    holds: list[WalletHold]
    next_cursor: str | None
    """The last one's id."""


def hold(
    wallet_id: int,
    amount_usd: Amount,
    *,
    expires_in: int | None = None,
    on_expiry: OnExpiry = "void",
    description: str | None = None,
    vendor: str | None = None,
    tool: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    approval: WalletApproval | None = None,
) -> Call[WalletHold]:
    """Keeps money. Not repeated by itself: it would keep it twice."""
    given = {
        "expires_in": expires_in,
        "description": description,
        "vendor": vendor,
        "tool": tool,
        "metadata": metadata,
        "approval": None if approval is None else used(approval),
    }
    body: dict[str, Any] = {"amount_usd": usd(amount_usd), "on_expiry": on_expiry}
    body |= {field: said for field, said in given.items() if said is not None}
    return post(("api", "wallets", str(wallet_id), "holds"), _hold, body, once=True)


def capture(hold_id: int, amount_usd: Amount | None = None) -> Call[WalletTransaction]:
    """Spends what is held. Not repeated by itself: the second would say that it is captured."""
    return post(_one(hold_id, "capture"), transaction, part(amount_usd), once=True)


def void(hold_id: int) -> Call[WalletHold]:
    """Gives back what is held; a second time it answers the same."""
    return post(_one(hold_id, "void"), _hold, {}, idempotent=True)


def extend(hold_id: int, expires_in: int) -> Call[WalletHold]:
    """Lets a hold last from now on; a second time it lasts that moment longer."""
    return post(_one(hold_id, "extend"), _hold, {"expires_in": expires_in}, idempotent=True)


def doubt(hold_id: int) -> Call[WalletHold]:
    """Keeps it until somebody knows more. Not repeated by itself."""
    return post(_one(hold_id, "doubt"), _hold, {}, once=True)


def write_off(hold_id: int) -> Call[WalletTransaction]:
    """Takes it for spent. Not repeated by itself."""
    return post(_one(hold_id, "write-off"), transaction, {}, once=True)


def get_hold(hold_id: int) -> Call[WalletHold]:
    """One hold."""
    return get(_one(hold_id), _hold)


def holds_page(wallet_id: int, state: HoldState | None = None, cursor: str | None = None) -> Call[HoldsPage]:
    """One page, newest first."""
    asked = {"state": state, "before": cursor, "limit": str(PAGE)}
    query = tuple((name, text) for name, text in asked.items() if text is not None)
    return get(("api", "wallets", str(wallet_id), "holds"), _page, query)


def part(amount_usd: Amount | None) -> dict[str, Any]:
    """The body of a call about a whole amount or a part of it."""
    return {} if amount_usd is None else {"amount_usd": usd(amount_usd)}


class HoldsMethods(Driver):
    """Holds of one wallet key's wallets, for servers that have them: others raise ``NotSupported``.

    An unknown hold raises ``TroveNotFoundError``. One that has ended otherwise raises ``TroveConflictError``
    (``already-captured``, ``already-voided``, ``already-written-off``), one that ran out ``TroveError`` (410,
    ``hold-expired``).
    """

    def hold(
        self,
        wallet_id: int,
        amount_usd: Amount,
        *,
        expires_in: int | None = None,
        on_expiry: OnExpiry = "void",
        description: str | None = None,
        vendor: str | None = None,
        tool: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        approval: WalletApproval | None = None,
    ) -> WalletHold:
        """Keeps money for a payment: it counts against the budget until it is captured or voided.

        Args:
            wallet_id: The wallet.
            amount_usd: More than 0: the most that the payment can cost.
            expires_in: Seconds that the hold lasts, at most 30 days; None: 15 minutes.
            on_expiry: ``void`` gives it back then, ``doubt`` keeps it until somebody knows how the payment ended.
            description: For people.
            vendor: Who would be paid.
            tool: What would be paid for.
            metadata: Kept with it; JSON.
            approval: A person's yes to this payment, which it uses up.

        Raises:
            NotSupported: the server has no holds, or it names an approval and the server has none.
            BudgetExceededError: it is more than what remains, or than a limit allows; nothing is held.
            TroveConflictError: the approval was not given, or not for this payment (``approval-unfit``).
            TypeError: the amount is a float.
            ValueError: the amount is negative or too large, or has more than six decimals.
        """
        step = hold(
            wallet_id,
            amount_usd,
            expires_in=expires_in,
            on_expiry=on_expiry,
            description=description,
            vendor=vendor,
            tool=tool,
            metadata=metadata,
            approval=approval,
        )
        needed = self._capabilities.need(HOLDS, step)
        return self.run(self._capabilities.need(APPROVALS, needed, when=approval is not None))

    def capture(self, hold_id: int, amount_usd: Amount | None = None) -> WalletTransaction:
        """Spends what is held, or in doubt; what is left of it goes back to the budget in the same moment.

        Args:
            hold_id: The hold.
            amount_usd: What the payment did cost; None: all of it. More than is held: 422 ``over-capture``.
        """
        return self.run(self._capabilities.need(HOLDS, capture(hold_id, amount_usd)))

    def void(self, hold_id: int) -> WalletHold:
        """Gives back what is held, or in doubt: the payment did not happen. May be said again."""
        return self.run(self._capabilities.need(HOLDS, void(hold_id)))

    def extend(self, hold_id: int, expires_in: int) -> WalletHold:
        """Lets a hold last ``expires_in`` seconds from now, at most 30 days: while a payment is still under way."""
        return self.run(self._capabilities.need(HOLDS, extend(hold_id, expires_in)))

    def doubt(self, hold_id: int) -> WalletHold:
        """Nobody knows whether the payment happened: the hold stays until captured, voided or written off."""
        return self.run(self._capabilities.need(HOLDS, doubt(hold_id)))

    def write_off(self, hold_id: int) -> WalletTransaction:
        """Takes what is in doubt for spent, since nobody will find out."""
        return self.run(self._capabilities.need(HOLDS, write_off(hold_id)))

    def get_hold(self, hold_id: int) -> WalletHold:
        """A hold as it is now."""
        return self.run(self._capabilities.need(HOLDS, get_hold(hold_id)))

    def list_holds(self, wallet_id: int, state: HoldState | None = None) -> Iterator[WalletHold]:
        """Holds of a wallet, newest first, read page by page; only those in one state, if it is given."""
        yield from self.pages(
            lambda cursor: self._capabilities.need(HOLDS, holds_page(wallet_id, state, cursor)),
            lambda page: page.holds,
        )


class AsyncHoldsMethods(AsyncDriver):
    """As ``HoldsMethods``."""

    async def hold(
        self,
        wallet_id: int,
        amount_usd: Amount,
        *,
        expires_in: int | None = None,
        on_expiry: OnExpiry = "void",
        description: str | None = None,
        vendor: str | None = None,
        tool: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        approval: WalletApproval | None = None,
    ) -> WalletHold:
        """See :meth:`WalletClient.hold`."""
        step = hold(
            wallet_id,
            amount_usd,
            expires_in=expires_in,
            on_expiry=on_expiry,
            description=description,
            vendor=vendor,
            tool=tool,
            metadata=metadata,
            approval=approval,
        )
        needed = self._capabilities.need(HOLDS, step)
        return await self.run(self._capabilities.need(APPROVALS, needed, when=approval is not None))

    async def capture(self, hold_id: int, amount_usd: Amount | None = None) -> WalletTransaction:
        """See :meth:`WalletClient.capture`."""
        return await self.run(self._capabilities.need(HOLDS, capture(hold_id, amount_usd)))

    async def void(self, hold_id: int) -> WalletHold:
        """See :meth:`WalletClient.void`."""
        return await self.run(self._capabilities.need(HOLDS, void(hold_id)))

    async def extend(self, hold_id: int, expires_in: int) -> WalletHold:
        """See :meth:`WalletClient.extend`."""
        return await self.run(self._capabilities.need(HOLDS, extend(hold_id, expires_in)))

    async def doubt(self, hold_id: int) -> WalletHold:
        """See :meth:`WalletClient.doubt`."""
        return await self.run(self._capabilities.need(HOLDS, doubt(hold_id)))

    async def write_off(self, hold_id: int) -> WalletTransaction:
        """See :meth:`WalletClient.write_off`."""
        return await self.run(self._capabilities.need(HOLDS, write_off(hold_id)))

    async def get_hold(self, hold_id: int) -> WalletHold:
        """See :meth:`WalletClient.get_hold`."""
        return await self.run(self._capabilities.need(HOLDS, get_hold(hold_id)))

    async def list_holds(self, wallet_id: int, state: HoldState | None = None) -> AsyncIterator[WalletHold]:
        """See :meth:`WalletClient.list_holds`; iterate with ``async for``."""
        pages = self.pages(
            lambda cursor: self._capabilities.need(HOLDS, holds_page(wallet_id, state, cursor)),
            lambda page: page.holds,
        )
        async for each in pages:
            yield each


class _HoldAnswer(msgspec.Struct, frozen=True):
    hold: WalletHold


class _HoldsAnswer(msgspec.Struct, frozen=True):
    holds: list[WalletHold]
    pagination: Pagination


_HOLD_ANSWER = value(_HoldAnswer)
_HOLDS_ANSWER = value(_HoldsAnswer)


def _one(hold_id: int, *rest: str) -> tuple[str, ...]:
    return ("api", "holds", str(hold_id), *rest)


def _hold(reply: Reply) -> WalletHold:
    return _HOLD_ANSWER(reply).hold


def _page(reply: Reply) -> HoldsPage:
    answer = _HOLDS_ANSWER(reply)
    return HoldsPage(answer.holds, answer.pagination.older(answer.holds))
