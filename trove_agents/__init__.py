"""A workspace that AI agents can rewind.

Everything for users is importable from here. Importing this package loads neither the HTTP library nor the
server: the first client over a network brings the one, ``Trove`` and ``connect`` the other (extra ``server``).
"""

from typing import TYPE_CHECKING

from trove_agents.client.approvals import WalletApproval
from trove_agents.client.bootstrap import WorkspaceBootstrap
from trove_agents.client.call import Call, Flow, gather
from trove_agents.client.clients import (
    AsyncTroveAdminClient,
    AsyncTroveClient,
    AsyncWalletClient,
    TroveAdminClient,
    TroveClient,
    WalletClient,
)
from trove_agents.client.download import Downloaded
from trove_agents.client.files import ListResult
from trove_agents.client.holds import WalletHold
from trove_agents.client.leases import AsyncHeldLease, HeldLease
from trove_agents.client.retry import Retries
from trove_agents.client.states import State
from trove_agents.client.transport import AsyncTransport, Transport
from trove_agents.client.wallet_keys import WalletKeyCreated, WalletKeyInfo
from trove_agents.client.wallet_limits import WalletLimits
from trove_agents.client.wallets import (
    AsyncWallet,
    Wallet,
    WalletBalance,
    WalletInfo,
    WalletTransaction,
)
from trove_agents.client.webhooks import verify_webhook
from trove_agents.config import Settings
from trove_agents.errors import (
    BudgetExceededError,
    LeaseLost,
    NotSupported,
    Recovery,
    TroveAuthError,
    TroveConflictError,
    TroveConnectionError,
    TroveConnectionTimeoutError,
    TroveError,
    TroveExecError,
    TroveNotFoundError,
    TrovePreconditionError,
    TroveQuotaError,
    TroveRateLimitError,
    TroveServerError,
    TroveTimeoutError,
    TruncatedWarning,
    WalletBudgetWarning,
    WalletExists,
    WebhookSignatureError,
    WorkspaceLeased,
)
from trove_agents.wire.events import Actor, ListedEvent
from trove_agents.wire.exec import ExecChunk, ExecResult
from trove_agents.wire.files import (
    BytesContent,
    FileContent,
    FileInfo,
    FileResult,
    FileStat,
    Transferred,
    TreeResult,
)
from trove_agents.wire.forks import Fork
from trove_agents.wire.history import Difference, HistoryEntry
from trove_agents.wire.keys import KeyCreated, KeyMetadata, Me
from trove_agents.wire.leases import Lease, LeaseHolder
from trove_agents.wire.namespaces import NamespaceInfo
from trove_agents.wire.references import StepReference
from trove_agents.wire.restores import RestoredState
from trove_agents.wire.snapshots import Snapshot
from trove_agents.wire.steps import Step
from trove_agents.wire.webhooks import WebhookCreated, WebhookEvent, WebhookMetadata, WebhookTestResult

if TYPE_CHECKING:
    from trove_agents.client.network import AsyncHttpTransport, HttpTransport
    from trove_agents.embedded import Trove, connect

__all__ = [
    "Actor",
    "AsyncHeldLease",
    "AsyncHttpTransport",
    "AsyncTransport",
    "AsyncTroveAdminClient",
    "AsyncTroveClient",
    "AsyncWallet",
    "AsyncWalletClient",
    "BudgetExceededError",
    "BytesContent",
    "Call",
    "Difference",
    "Downloaded",
    "ExecChunk",
    "ExecResult",
    "FileContent",
    "FileInfo",
    "FileResult",
    "FileStat",
    "Flow",
    "Fork",
    "HeldLease",
    "HistoryEntry",
    "HttpTransport",
    "KeyCreated",
    "KeyMetadata",
    "Lease",
    "LeaseHolder",
    "LeaseLost",
    "ListResult",
    "ListedEvent",
    "Me",
    "NamespaceInfo",
    "NotSupported",
    "Recovery",
    "RestoredState",
    "Retries",
    "Settings",
    "Snapshot",
    "State",
    "Step",
    "StepReference",
    "Transferred",
    "Transport",
    "TreeResult",
    "Trove",
    "TroveAdminClient",
    "TroveAuthError",
    "TroveClient",
    "TroveConflictError",
    "TroveConnectionError",
    "TroveConnectionTimeoutError",
    "TroveError",
    "TroveExecError",
    "TroveNotFoundError",
    "TrovePreconditionError",
    "TroveQuotaError",
    "TroveRateLimitError",
    "TroveServerError",
    "TroveTimeoutError",
    "TruncatedWarning",
    "Wallet",
    "WalletApproval",
    "WalletBalance",
    "WalletBudgetWarning",
    "WalletClient",
    "WalletExists",
    "WalletHold",
    "WalletInfo",
    "WalletKeyCreated",
    "WalletKeyInfo",
    "WalletLimits",
    "WalletTransaction",
    "WebhookCreated",
    "WebhookEvent",
    "WebhookMetadata",
    "WebhookSignatureError",
    "WebhookTestResult",
    "WorkspaceBootstrap",
    "WorkspaceLeased",
    "connect",
    "gather",
    "verify_webhook",
]

_NETWORK = ("AsyncHttpTransport", "HttpTransport")
_EMBEDDED = ("Trove", "connect")


def __getattr__(name: str) -> object:
    if name in _NETWORK:
        from trove_agents.client import network

        return getattr(network, name)
    if name in _EMBEDDED:
        try:
            from trove_agents import embedded
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{name} brings its own server ({error}): pip install 'trove-agents[server]'"
            ) from error
        return getattr(embedded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
