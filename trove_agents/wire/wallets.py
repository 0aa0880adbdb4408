"""Wallets: a budget for an agent, and what was bought from it. Amounts are JSON numbers in USD: see ``money``."""

from typing import Annotated, Final, Literal

import msgspec

from trove_agents.wire.money import Usd

KEY: Final = "X-Trove-Key"
"""Request: the wallet key, ``tvpk_...``."""
KEY_PREFIX: Final = "tvpk_"
PAGE: Final = 100
"""The most transactions on a page."""
_NAME: Final = 256

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=_NAME, pattern=r"\S")]
TransactionKind = Literal["debit"]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an error: RFC 9457, and what callers of the public wallet service read."""

    success: bool
    message: str
    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    """Which field of the request is meant."""
    wallet_id: int | None = None
    """Of a conflict: the wallet that is there."""
    requested_usd: Usd | None = None
    requested_micros: int | None = None
    remaining_usd: Usd | None = None
    remaining_micros: int | None = None
    limiting_rule: str | None = None


class WalletKeyRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /api/keys``."""

    name: Name


class WalletKeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``POST /api/keys``."""

    success: bool = True
    api_key: str
    """Shown this once."""
    name: str
    id: int
    created_at: str
    message: str = "Save this key - it will not be shown again"


class WalletRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /api/wallets``."""

    agent_id: Name
    name: Name
    budget_limit_usd: Usd


class Wallet(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet as it is."""

    id: int
    agent_id: str
    name: str
    budget_limit_usd: Usd
    budget_limit_micros: int
    balance_usd: Usd
    """What was spent: it rises."""
    balance_micros: int
    created_at: str


class WalletAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the calls about one wallet."""

    success: bool = True
    wallet: Wallet


class PurchaseRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /api/wallets/{id}/purchase``."""

    amount_usd: Usd
    description: Text | None = None
    vendor: Name | None = None


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of money."""

    id: int
    wallet_id: int
    amount_usd: Usd
    amount_micros: int
    description: str | None
    vendor: str | None
    type: TransactionKind
    created_at: str


class SpentWallet(msgspec.Struct, frozen=True, kw_only=True):
    """The wallet after a movement."""

    id: int
    balance_usd: Usd
    balance_micros: int


class TransactionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the calls that move money."""

    success: bool = True
    transaction: Transaction
    wallet: SpentWallet


class WalletName(msgspec.Struct, frozen=True, kw_only=True):
    """Which wallet an answer is about."""

    id: int
    agent_id: str
    name: str


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet's counters. ``remaining = budget - spent - held - in_doubt``."""

    current_balance: Usd
    total_spent: Usd
    remaining_budget: Usd
    transaction_count: int
    budget_micros: int
    spent_micros: int
    held_micros: int
    in_doubt_micros: int
    remaining_micros: int
    held_usd: Usd
    in_doubt_usd: Usd


class BalanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /api/wallets/{id}/balance``."""

    success: bool = True
    wallet: WalletName
    balance: Balance


class PageQuery(msgspec.Struct, frozen=True):
    """Which page of a list; pages begin at 1."""

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE)] = 20


class Pagination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page stands in its list."""

    page: int
    limit: int
    total: int
    pages: int


class TransactionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /api/wallets/{id}/transactions``: newest first."""

    success: bool = True
    wallet: WalletName
    transactions: list[Transaction]
    pagination: Pagination
