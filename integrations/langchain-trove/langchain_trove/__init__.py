"""Rewindable workspaces and paid tools from trove-agents for LangChain agents."""

from typing import TYPE_CHECKING

from langchain_trove.clients import per_thread
from langchain_trove.errors import NoThread
from langchain_trove.toolkit import TroveToolkit

if TYPE_CHECKING:
    from langchain_trove.costs import mcp_costs
    from langchain_trove.models import ModelSpendMiddleware, UnpricedModelWarning
    from langchain_trove.paid_tool import paid
    from langchain_trove.paying import NotDurable
    from langchain_trove.priced import Priced
    from langchain_trove.wallet import WalletMiddleware
    from langchain_trove.workspace import WorkspaceMiddleware

__all__ = [
    "ModelSpendMiddleware",
    "NoThread",
    "NotDurable",
    "Priced",
    "TroveToolkit",
    "UnpricedModelWarning",
    "WalletMiddleware",
    "WorkspaceMiddleware",
    "mcp_costs",
    "paid",
    "per_thread",
]

_AGENT = {
    "ModelSpendMiddleware": "models",
    "NotDurable": "paying",
    "Priced": "priced",
    "UnpricedModelWarning": "models",
    "WalletMiddleware": "wallet",
    "WorkspaceMiddleware": "workspace",
    "mcp_costs": "costs",
    "paid": "paid_tool",
}
"""What is for agents, and needs the extra ``agent``: by the module that has it."""


def __getattr__(name: str) -> object:
    if name not in _AGENT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f"langchain_trove.{_AGENT[name]}")
    except ModuleNotFoundError as error:
        if error.name not in {"langchain", "langgraph_trove"}:
            raise
        raise ImportError(f"{name} is for agents: pip install 'langchain-trove[agent]'") from error
    return getattr(module, name)
