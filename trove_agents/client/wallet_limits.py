"""Limits of a wallet beside its budget."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from trove_agents.client.call import Call, get, put, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.client.money import usd
from trove_agents.client.transport import Reply

LIMITS: Final = "limits"
"""The capability."""


class WalletLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Rules for what is taken from a wallet, beside its budget. What is not given is no rule. Amounts are in USD.

    A purchase or a hold counts when it is asked for, also what was before the limit; what is voided, runs out or is
    refunded counts no more.
    """

    per_call_usd: Decimal | None = None
    """The most that one payment may cost."""
    per_day_usd: Decimal | None = None
    """Of a day in UTC."""
    per_month_usd: Decimal | None = None
    """Of a month in UTC."""
    per_run_usd: Decimal | None = None
    """Of one run, where ``with_step`` names it."""
    per_thread_usd: Decimal | None = None
    """Of one thread, where ``with_step`` names it."""
    per_vendor_usd: Mapping[str, Decimal] = {}
    """In all, by vendor. Capitals and spaces around a vendor's name make no difference."""
    per_tool_usd: Mapping[str, Decimal] = {}
    """In all, by tool."""
    calls_per_minute: int | None = None
    """Purchases and holds in any 60 seconds."""
    vendors_allowed: tuple[str, ...] | None = None
    """Only these; who names no vendor is refused too."""
    vendors_denied: tuple[str, ...] = ()
    approval_above_usd: Decimal | None = None
    """A payment of more needs an approval."""


def get_limits(wallet_id: int) -> Call[WalletLimits]:
    """The limits that hold."""
    return get(_path(wallet_id), _limits)


def set_limits(wallet_id: int, limits: WalletLimits) -> Call[WalletLimits]:
    """Puts limits in the place of those that were."""
    given = {
        name: _said(name, kept) for name, kept in msgspec.structs.asdict(limits).items() if kept is not None
    }
    return put(_path(wallet_id), _limits, given)


class WalletLimitsMethods(Driver):
    """Limits of one wallet key's wallets, for servers that have them: others raise ``NotSupported``."""

    def get_limits(self, wallet_id: int) -> WalletLimits:
        """The limits of a wallet. Those of every wallet above it hold too."""
        return self.run(self._capabilities.need(LIMITS, get_limits(wallet_id)))

    def set_limits(self, wallet_id: int, limits: WalletLimits) -> WalletLimits:
        """Puts limits in the place of those that were, with the key that owns the wallet.

        A payment over one raises ``BudgetExceededError``, whose ``limiting_rule`` says which (``per_day``, ...).

        Args:
            wallet_id: The wallet.
            limits: All that shall hold. To change one: ``msgspec.structs.replace(client.get_limits(...), ...)``.

        Raises:
            NotSupported: the server has no limits.
            TypeError: an amount is a float.
            ValueError: an amount is negative or too large, or has more than six decimals.
        """
        return self.run(self._capabilities.need(LIMITS, set_limits(wallet_id, limits)))


class AsyncWalletLimitsMethods(AsyncDriver):
    """As ``WalletLimitsMethods``."""

    async def get_limits(self, wallet_id: int) -> WalletLimits:
        """See :meth:`WalletClient.get_limits`."""
        return await self.run(self._capabilities.need(LIMITS, get_limits(wallet_id)))

    async def set_limits(self, wallet_id: int, limits: WalletLimits) -> WalletLimits:
        """See :meth:`WalletClient.set_limits`."""
        return await self.run(self._capabilities.need(LIMITS, set_limits(wallet_id, limits)))


class _LimitsAnswer(msgspec.Struct, frozen=True):
    limits: WalletLimits


_LIMITS_ANSWER = value(_LimitsAnswer)


def _path(wallet_id: int) -> tuple[str, ...]:
    return ("api", "wallets", str(wallet_id), "limits")


def _said(name: str, kept: Any) -> Any:
    if not name.endswith("_usd"):
        return kept
    if isinstance(kept, Mapping):
        return {each: usd(amount) for each, amount in kept.items()}
    return usd(kept)


def _limits(reply: Reply) -> WalletLimits:
    return _LIMITS_ANSWER(reply).limits
