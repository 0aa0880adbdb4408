"""Wallets: a budget for an agent, and what was bought from it. Amounts are JSON numbers in USD: see ``money``."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from trove_agents.wire.money import Usd

KEY: Final = "X-Trove-Key"
"""Request: the wallet key, ``tvpk_...``."""
KEY_PREFIX: Final = "tvpk_"
PAGE: Final = 100
"""The most transactions on a page."""
LISTED: Final = 500
"""The most of other things on a page."""
LARGEST_ID: Final = 2**63 - 1
_NAME: Final = 256

Text = Annotated[str, msgspec.Meta(max_length=4096)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=_NAME, pattern=r"\S")]
TransactionKind = Literal["debit", "credit", "write_off"]
HoldState = Literal["held", "captured", "voided", "expired", "in_doubt", "written_off"]
ApprovalState = Literal["pending", "approved", "denied", "expired", "used"]
KeyRole = Literal["owner", "spend"]
OnExpiry = Literal["void", "doubt"]
HOLD_SECONDS: Final = 900
"""How long a hold lasts that says nothing else."""
HOLD_MOST_SECONDS: Final = 30 * 86_400
DEPTH: Final = 8
"""How many ancestors a wallet may have."""
ExpiresIn = Annotated[int, msgspec.Meta(ge=1, le=HOLD_MOST_SECONDS)]


Page = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Before = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_ID)]
"""Only what is older than that id: pages that nothing moves between, whatever happens while they are read."""
ListLimit = Annotated[int, msgspec.Meta(ge=1, le=LISTED)]


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
    requested_usd: Usd | UnsetType = UNSET
    requested_micros: int | None = None
    remaining_usd: Usd | UnsetType = UNSET
    remaining_micros: int | None = None
    limiting_rule: str | None = None


class WalletKeyRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /api/keys``."""

    name: Name
    role: KeyRole = "owner"
    wallet_id: int | None = None
    """Of a key that spends: the only wallet that it sees."""


class WalletKeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``POST /api/keys``."""

    success: bool = True
    api_key: str
    """Shown this once."""
    name: str
    id: int
    role: KeyRole
    wallet_id: int | None
    created_at: str
    message: str = "Save this key - it will not be shown again"


class WalletKey(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet key without its secret."""

    id: int
    name: str
    role: KeyRole
    wallet_id: int | None
    created_at: str


class WalletKeysAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /api/keys``: the key itself and those that it gave out, oldest first."""

    success: bool = True
    keys: list[WalletKey]


class WalletKeyRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``DELETE /api/keys/{id}``."""

    success: bool = True
    id: int


class WalletRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /api/wallets``."""

    agent_id: Name
    name: Name
    budget_limit_usd: Usd
    namespace: str | None = None
    """The agent's: its feed has the wallet's events too."""


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
    parent_id: int | None
    frozen: bool
    namespace: str | None
    created_at: str


class WalletAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the calls about one wallet."""

    success: bool = True
    wallet: Wallet


class UsedApproval(msgspec.Struct, frozen=True):
    """A person's yes that a payment makes use of, once, with what it was given for."""

    id: int
    operation_key: Name
    arguments_digest: Name


class PurchaseRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /api/wallets/{id}/purchase``."""

    amount_usd: Usd
    description: Text | None = None
    vendor: Name | None = None
    approval: UsedApproval | None = None


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of money."""

    id: int
    wallet_id: int
    amount_usd: Usd
    amount_micros: int
    description: str | None
    vendor: str | None
    type: TransactionKind
    hold_id: int | None
    refunds: int | None
    """Of a credit: the transaction that it gives back from."""
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

    page: Page = 1
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


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /api/capabilities``: what there is beside the public service's calls."""

    success: bool = True
    holds: bool = True
    idempotency: bool = True
    refunds: bool = True
    limits: bool = True
    children: bool = True
    approvals: bool = True
    key_roles: bool = True
    wallet_updates: bool = True
    namespaces: bool = True
    version: str


class WalletsQuery(msgspec.Struct, frozen=True):
    """Which wallets."""

    page: Page = 1
    limit: ListLimit = LISTED


class WalletsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /api/wallets``: oldest first."""

    success: bool = True
    wallets: list[Wallet]
    pagination: Pagination


class WalletChange(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``PATCH /api/wallets/{id}``; what is not there stays as it is."""

    budget_limit_usd: Usd | UnsetType = UNSET
    name: Name | None = None
    frozen: bool | None = None
    """Nothing can be bought or held; what is held can be captured and voided."""


class HoldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /api/wallets/{id}/holds``."""

    amount_usd: Usd
    expires_in: ExpiresIn = HOLD_SECONDS
    """Seconds."""
    on_expiry: OnExpiry = "void"
    description: Text | None = None
    vendor: Name | None = None
    tool: Name | None = None
    metadata: dict[str, Any] | None = None
    approval: UsedApproval | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Money that is kept for one payment."""

    id: int
    wallet_id: int
    amount_usd: Usd
    amount_micros: int
    captured_usd: Usd
    captured_micros: int
    state: HoldState
    on_expiry: OnExpiry
    expires_at: str
    description: str | None
    vendor: str | None
    tool: str | None
    metadata: dict[str, Any] | None
    created_at: str


class HoldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the calls about one hold."""

    success: bool = True
    hold: Hold
    balance: Balance


class HoldsQuery(msgspec.Struct, frozen=True):
    """Which holds."""

    state: HoldState | None = None
    before: Before = LARGEST_ID
    page: Page = 1
    limit: ListLimit = LISTED


class HoldsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /api/wallets/{id}/holds``: newest first."""

    success: bool = True
    holds: list[Hold]
    pagination: Pagination


class PartRequest(msgspec.Struct, frozen=True):
    """Body of a capture or a refund: all of it, or a part."""

    amount_usd: Usd | UnsetType = UNSET


class ExtendRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /api/holds/{id}/extend``."""

    expires_in: ExpiresIn = HOLD_SECONDS
    """Seconds from now."""


class Nothing(msgspec.Struct, frozen=True):
    """The body of calls that say all in their path: none, or ``{}``."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of ``PUT /api/wallets/{id}/limits``: rules beside the budget; what is not there is no rule."""

    per_call_usd: Usd | UnsetType = UNSET
    per_day_usd: Usd | UnsetType = UNSET
    """Of a day in UTC. What is held counts on the day when it was asked for."""
    per_month_usd: Usd | UnsetType = UNSET
    """Of a month in UTC, as a day."""
    per_run_usd: Usd | UnsetType = UNSET
    """Of one run, where ``X-Trove-Step`` names it."""
    per_thread_usd: Usd | UnsetType = UNSET
    """Of one thread, where ``X-Trove-Step`` names it."""
    per_vendor_usd: dict[Name, Usd] = {}
    """In all, by vendor. Capitals and spaces around a vendor's name make no difference."""
    per_tool_usd: dict[Name, Usd] = {}
    """In all, by tool."""
    calls_per_minute: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Purchases and holds in any 60 seconds."""
    vendors_allowed: list[Name] | None = None
    """Only these; who names no vendor is refused too."""
    vendors_denied: list[Name] = []
    approval_above_usd: Usd | UnsetType = UNSET
    """A payment of more needs an approval."""


class LimitsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``PUT`` and ``GET /api/wallets/{id}/limits``."""

    success: bool = True
    limits: Limits


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /api/wallets/{id}/approvals``."""

    operation_key: Name
    """What the payment is known by."""
    arguments_digest: Name
    """Of what the tool is called with."""
    max_amount_usd: Usd
    expires_in: ExpiresIn = 86_400
    """Seconds, for the answer and the use of it."""
    description: Text | None = None
    vendor: Name | None = None
    tool: Name | None = None


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that waits for a person, or the answer."""

    id: int
    wallet_id: int
    operation_key: str
    arguments_digest: str
    max_amount_usd: Usd
    max_amount_micros: int
    state: ApprovalState
    expires_at: str
    description: str | None
    vendor: str | None
    tool: str | None
    created_at: str


class ApprovalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the calls about one approval."""

    success: bool = True
    approval: Approval


class ApprovalsQuery(msgspec.Struct, frozen=True):
    """Which approvals."""

    state: ApprovalState | None = None
    before: Before = LARGEST_ID
    page: Page = 1
    limit: ListLimit = LISTED


class ApprovalsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``GET /api/wallets/{id}/approvals``: newest first."""

    success: bool = True
    approvals: list[Approval]
    pagination: Pagination
