"""Workspaces and paid tools from trove-agents for Pydantic AI: files that follow the conversation, payments made once."""

from pydantic_ai_trove.backend import TroveWorkspaceBackend
from pydantic_ai_trove.errors import ForeignChanges, ReferenceGone
from pydantic_ai_trove.events import FilesChanged, FilesFound, PaymentWaits, Spent
from pydantic_ai_trove.records import WorkspaceStep, without_references
from pydantic_ai_trove.requests import UnpricedModelWarning
from pydantic_ai_trove.till import Priced
from pydantic_ai_trove.toolset import TroveToolset
from pydantic_ai_trove.wallet import TroveWallet, WalletToolset
from pydantic_ai_trove.workspace import Forked, Rewound, TroveWorkspace

__all__ = [
    "FilesChanged",
    "FilesFound",
    "ForeignChanges",
    "Forked",
    "PaymentWaits",
    "Priced",
    "ReferenceGone",
    "Rewound",
    "Spent",
    "TroveToolset",
    "TroveWallet",
    "TroveWorkspace",
    "TroveWorkspaceBackend",
    "UnpricedModelWarning",
    "WalletToolset",
    "WorkspaceStep",
    "without_references",
]
