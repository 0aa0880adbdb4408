"""Rewindable workspaces from trove-agents for LangChain agents."""

from langchain_trove.clients import per_thread
from langchain_trove.errors import NoThread
from langchain_trove.toolkit import TroveToolkit

__all__ = ["NoThread", "TroveToolkit", "per_thread"]
