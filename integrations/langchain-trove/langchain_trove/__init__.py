"""Rewindable workspaces from trove-agents as LangChain tools."""

from langchain_trove.tool import TroveTool
from langchain_trove.toolkit import TroveToolkit

__all__ = ["TroveTool", "TroveToolkit"]
